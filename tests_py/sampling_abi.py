"""The sampling and chat section of bitnet_ffi.h through ctypes, as a client in another language would declare it.

Knows only the header, not the package: its structs and signatures are written out by hand. Next: test_sampler.py.
"""

import ctypes as C

import numpy as np

from model_abi import library_path

NULL_TOKEN = -1
DEFAULT_SEED = 0xFFFFFFFF


class TokenData(C.Structure):
    _fields_ = [("id", C.c_int32), ("logit", C.c_float), ("p", C.c_float)]


class TokenDataArray(C.Structure):
    _fields_ = [("data", C.POINTER(TokenData)), ("size", C.c_size_t), ("selected", C.c_int64), ("sorted", C.c_bool)]


class Sampler(C.Structure):
    pass


SamplerP = C.POINTER(Sampler)


class SamplerI(C.Structure):
    NAME = C.CFUNCTYPE(C.c_void_p, SamplerP)
    ACCEPT = C.CFUNCTYPE(None, SamplerP, C.c_int32)
    APPLY = C.CFUNCTYPE(None, SamplerP, C.POINTER(TokenDataArray))
    RESET = C.CFUNCTYPE(None, SamplerP)
    CLONE = C.CFUNCTYPE(C.c_void_p, SamplerP)
    FREE = C.CFUNCTYPE(None, SamplerP)
    _fields_ = [("name", NAME), ("accept", ACCEPT), ("apply", APPLY), ("reset", RESET), ("clone", CLONE), ("free", FREE),
                ("backend_init", C.c_void_p), ("backend_accept", C.c_void_p), ("backend_apply", C.c_void_p),
                ("backend_set_input", C.c_void_p), ("backend_reset", C.c_void_p), ("copy_state", C.c_void_p)]


Sampler._fields_ = [("iface", C.POINTER(SamplerI)), ("ctx", C.c_void_p)]


class ChainParams(C.Structure):
    _fields_ = [("no_perf", C.c_bool)]


class LogitBias(C.Structure):
    _fields_ = [("token", C.c_int32), ("bias", C.c_float)]


class PerfSampler(C.Structure):
    _fields_ = [("t_sample_ms", C.c_double), ("n_sample", C.c_int32)]


class ChatMessage(C.Structure):
    _fields_ = [("role", C.c_char_p), ("content", C.c_char_p)]


class ContextParams(C.Structure):
    _fields_ = [(name, C.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max",
                                                "n_outputs_max_per_seq")]
    _fields_ += [(name, C.c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type",
                                                "attention_type", "flash_attn_type")]
    _fields_ += [(name, C.c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor",
                                                "yarn_beta_fast", "yarn_beta_slow")]
    _fields_ += [("yarn_orig_ctx", C.c_uint32), ("defrag_thold", C.c_float), ("cb_eval", C.c_void_p),
                 ("cb_eval_user_data", C.c_void_p), ("type_k", C.c_int), ("type_v", C.c_int), ("abort_callback", C.c_void_p),
                 ("abort_callback_data", C.c_void_p)]
    _fields_ += [(name, C.c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")]
    _fields_ += [("samplers", C.c_void_p), ("n_samplers", C.c_size_t), ("ctx_other", C.c_void_p)]


class Batch(C.Structure):
    _fields_ = [("n_tokens", C.c_int32), ("token", C.POINTER(C.c_int32)), ("embd", C.c_void_p), ("pos", C.c_void_p),
                ("n_seq_id", C.c_void_p), ("seq_id", C.c_void_p), ("logits", C.c_void_p)]


SIGNATURES = {
    "llama_context_default_params": (ContextParams,),
    "llama_init_from_model": (C.c_void_p, C.c_void_p, ContextParams),
    "llama_free": (None, C.c_void_p),
    "llama_batch_get_one": (Batch, C.POINTER(C.c_int32), C.c_int32),
    "llama_decode": (C.c_int32, C.c_void_p, Batch),
    "llama_get_logits_ith": (C.POINTER(C.c_float), C.c_void_p, C.c_int32),
    "llama_sampler_init": (SamplerP, C.POINTER(SamplerI), C.c_void_p),
    "llama_sampler_name": (C.c_char_p, SamplerP),
    "llama_sampler_accept": (None, SamplerP, C.c_int32),
    "llama_sampler_apply": (None, SamplerP, C.POINTER(TokenDataArray)),
    "llama_sampler_reset": (None, SamplerP),
    "llama_sampler_clone": (SamplerP, SamplerP),
    "llama_sampler_free": (None, SamplerP),
    "llama_sampler_get_seed": (C.c_uint32, SamplerP),
    "llama_sampler_chain_default_params": (ChainParams,),
    "llama_sampler_chain_init": (SamplerP, ChainParams),
    "llama_sampler_chain_add": (None, SamplerP, SamplerP),
    "llama_sampler_chain_get": (SamplerP, SamplerP, C.c_int32),
    "llama_sampler_chain_n": (C.c_int32, SamplerP),
    "llama_sampler_chain_remove": (SamplerP, SamplerP, C.c_int32),
    "llama_sampler_init_greedy": (SamplerP,),
    "llama_sampler_init_dist": (SamplerP, C.c_uint32),
    "llama_sampler_init_top_k": (SamplerP, C.c_int32),
    "llama_sampler_init_top_p": (SamplerP, C.c_float, C.c_size_t),
    "llama_sampler_init_min_p": (SamplerP, C.c_float, C.c_size_t),
    "llama_sampler_init_typical": (SamplerP, C.c_float, C.c_size_t),
    "llama_sampler_init_temp": (SamplerP, C.c_float),
    "llama_sampler_init_penalties": (SamplerP, C.c_int32, C.c_int32, C.c_float, C.c_float, C.c_float),
    "llama_sampler_init_logit_bias": (SamplerP, C.c_int32, C.c_int32, C.POINTER(LogitBias)),
    "llama_sampler_init_temp_ext": (SamplerP, C.c_float, C.c_float, C.c_float),
    "llama_sampler_init_top_n_sigma": (SamplerP, C.c_float),
    "llama_sampler_init_softmax": (SamplerP,),
    "llama_sampler_init_tail_free": (SamplerP, C.c_float, C.c_size_t),
    "llama_sampler_init_xtc": (SamplerP, C.c_float, C.c_float, C.c_size_t, C.c_uint32),
    "llama_sampler_init_mirostat": (SamplerP, C.c_int32, C.c_uint32, C.c_float, C.c_float, C.c_int32),
    "llama_sampler_init_mirostat_v2": (SamplerP, C.c_uint32, C.c_float, C.c_float),
    "llama_sampler_init_adaptive_p": (SamplerP, C.c_float, C.c_float, C.c_uint32),
    "llama_sampler_init_dry": (SamplerP, C.c_void_p, C.c_float, C.c_float, C.c_int32, C.c_int32, C.POINTER(C.c_char_p), C.c_size_t),
    "llama_sampler_init_grammar": (SamplerP, C.c_void_p, C.c_char_p, C.c_char_p),
    "llama_sampler_init_grammar_lazy": (SamplerP, C.c_void_p, C.c_char_p, C.c_char_p, C.POINTER(C.c_char_p), C.c_size_t,
                                        C.POINTER(C.c_int32), C.c_size_t),
    "llama_sampler_init_grammar_lazy_patterns": (SamplerP, C.c_void_p, C.c_char_p, C.c_char_p, C.POINTER(C.c_char_p), C.c_size_t,
                                                 C.POINTER(C.c_int32), C.c_size_t),
    "llama_sampler_init_infill": (SamplerP, C.c_void_p),
    "llama_sampler_sample": (C.c_int32, SamplerP, C.c_void_p, C.c_int32),
    "llama_perf_sampler": (PerfSampler, SamplerP),
    "llama_perf_sampler_print": (None, SamplerP),
    "llama_perf_sampler_reset": (None, SamplerP),
    "llama_chat_apply_template": (C.c_int32, C.c_char_p, C.POINTER(ChatMessage), C.c_size_t, C.c_bool, C.c_void_p, C.c_int32),
    "bitnet_last_error": (C.c_char_p,),
}


def load():
    lib = C.CDLL(str(library_path()))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


DTYPE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])


class Candidates:
    """A llama_token_data_array over a NumPy array; `items` is the part of it that is still a candidate."""

    def __init__(self, logits, ids=None, sorted=False):
        self.memory = np.zeros(len(logits), DTYPE)
        self.memory["logit"] = logits
        self.memory["id"] = np.arange(len(logits)) if ids is None else ids
        self.c = TokenDataArray(self.memory.ctypes.data_as(C.POINTER(TokenData)), len(logits), -1, sorted)

    @property
    def items(self):
        return self.memory[:self.c.size]

    @property
    def ids(self):
        return self.items["id"].tolist()

    @property
    def token(self):
        return NULL_TOKEN if self.c.selected < 0 else int(self.items["id"][self.c.selected])
