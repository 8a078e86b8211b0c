"""Backend sampling beside llama.cpp itself, where llama-cpp-python is: what chains attached to a sequence of the same random model,
F32 throughout, hand out through the getters.

Next: test_sampled.py, which needs no peer.
"""
import ctypes as C

import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init
from gguf_writer import tiny_model
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
V = 280
TEXT = [(11 * i * i + 5 * i + 3) % V for i in range(12)]
# Constructors and their arguments. No choice stands behind top-k: llama.cpp's leaves the candidates in no order, so its draws are
# others, and its greedy takes the place among them for the token.
CHAINS = {
    "greedy": [("greedy",)], "temp greedy": [("temp", 0.7), ("greedy",)],
    "dist": [("dist", 3)], "temp dist": [("temp", 0.8), ("dist", 42)], "min-p dist": [("min_p", 0.2, 1), ("dist", 5)],
    "temp": [("temp", 0.5)], "top-k": [("top_k", 7)], "top-k temp": [("top_k", 7), ("temp", 2.0)],
}
TEMPERATURE = {"temp": 1 / 0.5, "top-k temp": 1 / 2.0}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tiny_model(n_layer=2, n_embd=64, n_ff=96, n_head=4, n_head_kv=2, n_vocab=V, n_ctx=128, head="f32").write(
        tmp_path_factory.mktemp("peer") / "tiny.gguf")
    theirs = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    with Model(path) as ours:
        yield ours._pointer, theirs
    llama_cpp.llama_model_free(theirs)


def chain(api, name):
    made = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    for member, *arguments in CHAINS[name]:
        api.llama_sampler_chain_add(made, getattr(api, f"llama_sampler_init_{member}")(*arguments))
    return made


def said(api, ctx, read):
    """Token, and how many probabilities, logits and candidates there are; the logits by candidate."""
    n_probs, n_logits, n_ids = (getattr(api, f"llama_get_sampled_{what}_count_ith")(ctx, -1) for what in ("probs", "logits", "candidates"))
    logits = read(api.llama_get_sampled_logits_ith(ctx, -1), n_logits, np.float32) if n_logits else []
    ids = read(api.llama_get_sampled_candidates_ith(ctx, -1), n_ids, np.int32) if n_ids else range(len(logits))
    return api.llama_get_sampled_token_ith(ctx, -1), n_probs, n_logits, n_ids, {int(i): float(x) for i, x in zip(ids, logits)}


def ours_of(model, name):
    ctx, made = init(model, n_ctx=64, type_k=0, type_v=0), chain(lib, name)
    assert lib.llama_set_sampler(ctx, 0, made) and decode(ctx, TEXT) == 0
    found = said(lib, ctx, lambda pointer, n, kind: np.frombuffer(ffi.buffer(pointer, 4 * n), kind).copy())
    token = lib.llama_sampler_sample(made, ctx, -1) if found[0] >= 0 else None
    lib.llama_sampler_free(made)
    return found, token


def theirs_of(model, name):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.flash_attn_type, params.type_k, params.type_v = 64, 1, 0, 0, 0
    ctx, made = llama_cpp.llama_init_from_model(model, params), chain(llama_cpp, name)
    assert llama_cpp.llama_set_sampler(ctx, 0, made)
    tokens = (C.c_int32 * len(TEXT))(*TEXT)
    assert llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, len(TEXT))) == 0
    found = said(llama_cpp, ctx, lambda pointer, n, kind: np.ctypeslib.as_array(
        C.cast(pointer, C.POINTER(C.c_int32 if kind is np.int32 else C.c_float)), (n,)).copy())
    token = llama_cpp.llama_sampler_sample(made, ctx, -1) if found[0] >= 0 else None
    llama_cpp.llama_sampler_free(made)
    llama_cpp.llama_free(ctx)
    return found, token


@pytest.mark.parametrize("name", CHAINS)
def test_getters_say_what_llama_cpps_say(both, name):
    (*ours, our_logits), our_token = ours_of(both[0], name)
    (*theirs, their_logits), their_token = theirs_of(both[1], name)
    assert ours == theirs and our_token == their_token
    assert set(our_logits) == set(their_logits)
    same = [i for i in our_logits if our_logits[i] == their_logits[i] or abs(our_logits[i] - their_logits[i]) < 1e-3 * TEMPERATURE.get(name, 2)]
    assert len(same) == len(our_logits)   # masked ones are minus infinity on both sides
