"""Every exported function: a check of what it is for, and a call that it must refuse with a result, a code and a sentence.

The rows are in calls_*.py, by room. A check of a use is made twice: with the library it must pass, and with its function replaced by one
that does nothing it must fail, so that no row can be there for show. What a function says to NULL handles is asked of all of them here.
Next: test_api_misuse.py, which looks for crashes only, with every absurd number.
"""
import pytest

import bnf_build
import calls_context
import calls_ggml
import calls_library
import calls_memory
import calls_model
import calls_older
import calls_sampling
import calls_tensors
import calls_vocab
from bitnet_ffi._ffi import ffi, lib
from calls import LOSES_ROWS, NULL, Stub, World, answered, plain, refused
from engine_abi import ERROR, last_error

MODULES = (calls_library, calls_ggml, calls_tensors, calls_model, calls_vocab, calls_context, calls_memory, calls_sampling, calls_older)
ROOMS = {module.__name__.removeprefix("calls_"): module.room for module in MODULES}
USES = [(where, name) for where, room in ROOMS.items() for name in room.uses]
REFUSALS = [(where, i) for where, room in ROOMS.items() for i in range(len(room.refusals))]
QUERIES = [(where, i) for where, room in ROOMS.items() for i in range(len(room.queries))]
TRIALS = [(where, i) for where, room in ROOMS.items() for i in range(len(room.trials))]
WORLD = World()
EXPORTED = bnf_build.exported_functions(bnf_build.Toolchain())


@pytest.mark.parametrize("where, name", USES, ids=[f"{where}-{name}" for where, name in USES])
def test_use(where, name):
    room = ROOMS[where]
    check = room.uses[name]
    check(lib, World())
    noticed = notices(check, Stub(name, 0)) or notices(check, Stub(name, 77))
    assert noticed == (name not in room.idle), f"the check of {name} does not see it do nothing"


def notices(check, stub) -> bool:
    try:
        check(stub, World())
    except Exception:
        return True
    return False


@pytest.mark.parametrize("where, i", REFUSALS, ids=[f"{where}-{i}-{ROOMS[where].refusals[i][0]}" for where, i in REFUSALS])
def test_refusal(where, i):
    """They share a world, as none may change it."""
    name, *row = ROOMS[where].refusals[i]
    refused(lib, World() if name in LOSES_ROWS else WORLD, name, *row)


@pytest.mark.parametrize("where, i", QUERIES, ids=[f"{where}-{i}-{ROOMS[where].queries[i][0]}" for where, i in QUERIES])
def test_strange_question(where, i):
    answered(lib, WORLD, *ROOMS[where].queries[i])


@pytest.mark.parametrize("where, i", TRIALS, ids=[f"{where}-{i}-{ROOMS[where].trials[i][0]}" for where, i in TRIALS])
def test_trial(where, i):
    ROOMS[where].trials[i][1](lib, World())


# ---- NULL handles, of every function that takes one ----

HANDLES = {"struct llama_model *", "struct llama_context *", "struct llama_memory_i *", "struct llama_sampler *", "struct llama_batch_ext *",
           "struct llama_adapter_lora *", "struct llama_grammar *", "struct ggml_backend_device *", "struct gguf_context *", "struct ggml_context *"}
# Their manual says that NULL is accepted.
TAKE_NULL = {"llama_adapter_lora_free", "llama_lora_adapter_free", "llama_free", "llama_free_model", "llama_model_free", "llama_sampler_free",
             "llama_batch_ext_free", "llama_grammar_free", "ggml_free", "gguf_free"}
# What is returned where it is not 0, false or NULL: "no token", "no position" and "an error" are negative numbers in llama.h.
RETURNS = {
    -1: """llama_decode llama_encode llama_process bitnet_decode_at llama_get_sampled_token_ith llama_sampler_sample llama_sample_token
        llama_sample_token_greedy llama_sample_token_mirostat llama_sample_token_mirostat_v2 llama_sample_top_p_top_k
        llama_model_decoder_start_token llama_model_rope_type llama_rope_type llama_model_desc llama_model_type llama_model_meta_val_str
        llama_model_meta_key_by_index llama_model_meta_val_str_by_index llama_adapter_meta_val_str llama_adapter_meta_key_by_index
        llama_adapter_meta_val_str_by_index llama_memory_seq_pos_min llama_memory_seq_pos_max llama_kv_self_seq_pos_min
        llama_kv_self_seq_pos_max llama_kv_cache_seq_pos_max llama_set_adapters_lora llama_set_adapter_lora llama_rm_adapter_lora
        llama_lora_adapter_set llama_lora_adapter_remove llama_set_adapter_cvec llama_apply_adapter_cvec llama_control_vector_apply
        llama_vocab_bos llama_vocab_eos llama_vocab_eot llama_vocab_sep llama_vocab_nl llama_vocab_pad llama_vocab_mask llama_vocab_cls
        llama_vocab_fim_pre llama_vocab_fim_suf llama_vocab_fim_mid llama_vocab_fim_pad llama_vocab_fim_rep llama_vocab_fim_sep llama_token_bos
        llama_token_eos llama_token_eot llama_token_sep llama_token_nl llama_token_pad llama_token_cls llama_token_fim_pre llama_token_fim_suf
        llama_token_fim_mid llama_token_fim_pad llama_token_fim_rep llama_token_fim_sep llama_token_prefix llama_token_middle
        llama_token_suffix gguf_find_key gguf_find_tensor""",
    -2: "llama_batch_ext_add llama_batch_ext_add_token llama_batch_ext_add_embd",
    -2**31: "llama_tokenize bitnet_tokenize llama_tokenize_with_model llama_tokenize_bpe",
    -2**63: "bitnet_tokenize_batch",
    1: "llama_eval llama_eval_embd bitnet_eval_n_threads llama_eval_export llama_apply_lora_from_file llama_model_apply_lora_from_file",
    13: "gguf_get_kv_type gguf_get_arr_type",
    43: "gguf_get_tensor_type",
    2**32 - 1: "llama_sampler_get_seed",
    b"(null)": "llama_sampler_name",
    (0, 0, 0, 0, 0, -1, NULL, NULL): "llama_kv_cache_view_init",
    (0.0, 0.0, 0.0, 0.0, 0, 0, 0): "llama_perf_context",
    (0.0,) * 6 + (0, 0, 0): "llama_get_timings",
    (0.0, 0): "llama_perf_sampler",
}
SAME_TO_ALL = {"ggml_backend_device_register"}          # it refuses every device, there or not
RESULT_OF = {name: value for value, names in RETURNS.items() for name in names.split()}


def kinds(name):
    return ffi.typeof(getattr(lib, name)).args


def nothing(kind):
    """A valid value of an argument that is no handle: the error must be about the handle."""
    if kind.kind in ("pointer", "function", "enum"):
        return 0 if kind.kind == "enum" else NULL
    if kind.kind == "struct":
        defaults = {"struct llama_context_params": lib.llama_context_default_params, "struct llama_model_params": lib.llama_model_default_params}
        return defaults.get(kind.cname, lambda: ffi.new(ffi.getctype(kind, "*"))[0])()
    return 0


@pytest.mark.parametrize("name", [name for name in EXPORTED if any(kind.cname in HANDLES for kind in kinds(name))])
def test_null_handle(name):
    result = RESULT_OF.get(name, plain(Stub(name, 0)._nothing()))
    lib.llama_synchronize(WORLD.ctx)
    assert plain(getattr(lib, name)(*map(nothing, kinds(name)))) == result
    code, sentence = last_error()
    assert (code, sentence) == (0, "") if name in TAKE_NULL else code == ERROR and ("NULL" in sentence or "not a " in sentence or name in SAME_TO_ALL), sentence


# ---- nothing is left out ----

def named(rows):
    return {row[0] for room in ROOMS.values() for row in getattr(room, rows)}


def test_every_function_has_a_check_of_its_use():
    used = [name for _, name in USES]
    assert sorted(used) == sorted(EXPORTED)


def test_every_function_has_a_check_of_its_misuse():
    """Handles are misused above. Who takes anything else that can be wrong (not a bool, nor data of a callback) has rows of its own."""
    misused = named("refusals") | named("queries") | named("trials")
    can_be_wrong = {name for name in EXPORTED if any(kind.cname not in HANDLES and kind.cname not in ("_Bool", "bool") for kind in kinds(name))}
    assert can_be_wrong - misused == NOTHING_WRONG and misused <= set(EXPORTED)


# Any number and any pointer is right.
NOTHING_WRONG = {"ggml_opt_get_default_optimizer_params", "llama_log_get", "llama_log_set", "llama_opt_param_filter_all", "llama_sampler_chain_init", "llama_set_abort_callback", "llama_set_rng_seed",
                 "ggml_set_abort_callback"}
