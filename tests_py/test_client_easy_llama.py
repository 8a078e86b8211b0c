"""easy-llama, a binding by ctypes of July 2025, on this library (docs/CLIENTS.md): its Llama, chat and samplers.

It finds the library through LIBLLAMA. Two structs have grown since, as in llama.cpp of 2026: here they are replaced by today's, and
nothing else is changed. Skipped where it is not installed. Next: test_client_llama_cpp.py, a binding of 2026.
"""
import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from bitnet_ffi import config
from bitnet_ffi._ffi import ffi

os.environ.setdefault("LIBLLAMA", str(config.lib_dir() / "libllama.so"))
easy_llama = pytest.importorskip("easy_llama", reason="pip install -e '.[clients]'")
low = easy_llama.libllama

PROMPT = "The capital of France is"
GREEDY = easy_llama.SamplerPresets.Greedy
C_TYPES = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "size_t": ctypes.c_size_t, "float": ctypes.c_float,
           "_Bool": ctypes.c_bool}


def todays(name):
    """A struct of today's header as the binding would declare it: its own callback types, and fields that it does not know."""
    known = dict(getattr(low, name)._fields_)

    def c_type(member, type):
        if member in known:
            return known[member]
        return {"pointer": ctypes.c_void_p, "enum": ctypes.c_int}.get(type.kind) or C_TYPES[type.cname]

    described = ffi.typeof(f"struct {name}")
    fields = [(member, c_type(member, field.type)) for member, field in described.fields]
    struct = type(name, (ctypes.Structure,), {"_fields_": fields})
    assert ctypes.sizeof(struct) == ffi.sizeof(described)
    assert all(getattr(struct, member).offset == field.offset for member, field in described.fields)
    return struct


for name in ("llama_model_params", "llama_context_params"):
    setattr(low, name, todays(name))


def open_llama(path, **options):
    return easy_llama.Llama(str(path), n_gpu_layers=0, n_ctx=512, n_threads=2, n_threads_batch=2, **options)


@pytest.fixture(scope="module")
def llm(smollm2_path):
    easy_llama.set_verbose(False)
    llm = open_llama(smollm2_path)
    yield llm
    llm.free()


def tokens_of(llm, text=PROMPT):
    return llm.tokenize(text.encode(), add_special=True, parse_special=False)


def generate(llm, n=12, preset=GREEDY, prompt=PROMPT):
    llm.reset()
    return llm.generate(tokens_of(llm, prompt), n_predict=n, stop_tokens=[], sampler_preset=preset)


@pytest.mark.parametrize("name", ["llama_token_data", "llama_token_data_array", "llama_batch", "llama_chat_message", "llama_logit_bias",
                                  "llama_sampler_chain_params", "llama_model_kv_override", "llama_perf_sampler_data"])
def test_its_other_structs_are_ours(name):
    theirs, ours = getattr(low, name), ffi.typeof(f"struct {name}")
    assert ctypes.sizeof(theirs) == ffi.sizeof(ours)


def bitnet_run(path, prompt, n, *flags) -> str:
    command = [sys.executable, "-m", "bitnet_ffi", "run", "-m", str(path), "-p", prompt, "--greedy", "-n", str(n), "-q", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.removesuffix("\n")


def test_greedy_text_is_that_of_bitnet_run(llm, smollm2_path):
    assert llm.detokenize(generate(llm, 24), special=False) == bitnet_run(smollm2_path, PROMPT, 24)


def test_streaming(llm):
    whole = generate(llm, 16)
    llm.reset()
    assert list(llm.stream(tokens_of(llm), n_predict=16, stop_tokens=[], sampler_preset=GREEDY)) == whole


# Not penalties and not DRY: the arguments of their constructors have changed since.
@pytest.mark.parametrize("options", [dict(temp=0.8), dict(temp=0.8, top_k=20, top_p=0.9, min_p=0.1),
                                     dict(temp=1.0, xtc_probability=0.5, xtc_threshold=0.1), dict(temp=1.0, typical_p=0.8),
                                     dict(mirostat=2), dict(temp=1.0, top_n_sigma=1.0)])
def test_a_seed_gives_the_same_tokens(llm, options):
    first, again, other = (generate(llm, preset=easy_llama.SamplerPreset(seed=seed, **options)) for seed in (7, 7, 8))
    assert first == again and len(first) == len(other) == 12


def test_logits_are_those_of_bitnet_ffi(llm, smollm2):
    llm.reset()
    tokens = tokens_of(llm)
    llm.eval(tokens)
    context = smollm2.context(n_ctx=64)
    context.decode(tokens)
    ours = np.asarray(context.logits()).reshape(-1)[-llm.n_vocab():]
    assert np.array_equal(llm.get_logits(), ours)


def test_tokenizer(llm, smollm2):
    for text in ("Hello, world!", "  two  spaces\n\n", "\u4f60\u597d \U0001f600"):
        tokens = llm.tokenize(text.encode(), add_special=False, parse_special=False)
        assert tokens == list(smollm2.encode(text, add_special=False, parse_special=False))
        assert llm.detokenize(tokens, special=False) == text


def test_state_goes_back(llm, tmp_path):
    expected, path, tokens = generate(llm), str(tmp_path / "state"), tokens_of(llm)
    llm.reset()
    llm.eval(tokens)
    llm.save_state(path)
    generate(llm, prompt="Something else entirely, and longer than that")
    llm.load_state(path)
    assert llm.context_tokens == tokens and llm.memory_seq_pos_max(0) == len(tokens) - 1
    assert llm.generate(tokens, n_predict=12, stop_tokens=[], sampler_preset=GREEDY) == expected


def test_chat_is_that_of_bitnet_run(llm, smollm2_path):
    thread = easy_llama.Thread(llm, sampler_preset=GREEDY)
    thread.add_message(easy_llama.Role.SYSTEM, "You are terse.")
    thread.add_message(easy_llama.Role.USER, "Name a colour.")
    llm.reset()
    answer = llm.generate(thread.get_input_ids(), n_predict=16, sampler_preset=GREEDY)
    assert llm.detokenize(answer, special=False) == bitnet_run(smollm2_path, "Name a colour.", 16, "--system-prompt", "You are terse.")


def test_what_it_says_of_the_model(llm):
    assert (llm.n_vocab(), llm.n_embd(), llm.n_layer(), llm.n_ctx()) == (49152, 576, 30, 512)
    assert (llm.token_bos(), llm.token_eos()) == (1, 2)


def test_the_cache(llm):
    llm.reset()
    tokens = tokens_of(llm)
    llm.eval(tokens)
    assert llm.memory_seq_pos_max(0) == len(tokens) - 1 and llm.memory_can_shift()
    assert llm.memory_seq_rm(0, 2, -1) and llm.memory_seq_pos_max(0) == 1
