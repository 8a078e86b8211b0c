"""Stretched contexts beside llama.cpp itself, where llama-cpp-python is: a random model in F32 with YaRN and LongRoPE by keys and by
parameters, and SmolLM2 with YaRN. Next: test_rope.py, which needs no peer.
"""
import ctypes as C

import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import lib
from engine_abi import decode, init, last_error, row
from gguf_writer import tiny_model
from peer_tools import peer_or_skip
from test_rope import keys

llama_cpp = peer_or_skip()
TEXT = [(11 * i * i + 5 * i + 3) % 280 for i in range(80)]
YARN = lib.LLAMA_ROPE_SCALING_TYPE_YARN


def their_model(path):
    return llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())


def their_logits(model, n_vocab, **fields):
    params = llama_cpp.llama_context_default_params()
    for name, value in {"n_threads": 1, "flash_attn_type": 0, **fields}.items():
        setattr(params, name, value)
    ctx = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(TEXT), 0, 1)
    for i, token in enumerate(TEXT):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    batch.n_tokens = len(TEXT)
    assert llama_cpp.llama_decode(ctx, batch) == 0
    rows = np.array([np.ctypeslib.as_array(C.cast(llama_cpp.llama_get_logits_ith(ctx, i), C.POINTER(C.c_float)), (n_vocab,))
                     for i in range(len(TEXT))])
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(ctx)
    return rows


def our_logits(model, **fields):
    ctx = init(model, **fields)
    assert decode(ctx, TEXT, logits=[1] * len(TEXT)) == 0, last_error()
    return np.array([np.frombuffer(row(ctx, i), np.float32) for i in range(len(TEXT))])


def distance(a, b):
    return float(np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(b, axis=1).mean())


FILES = {
    "plain": {},
    "yarn": dict(type="yarn", factor=4.0, original_context_length=64),
    "yarn-attention": dict(type="yarn", factor=8.0, original_context_length=2000, attn_factor=1.25),
    "linear-attention": dict(type="linear", factor=2.0, attn_factor=0.75),
    "none": dict(type="none", factor=2.0),
    "longrope": dict(type="longrope", original_context_length=256, attn_factor=1.19),
}
FIELDS = {
    "default": {},
    "yarn": dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_orig_ctx=64),
    "betas": dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_orig_ctx=300, yarn_beta_fast=10.0, yarn_beta_slow=0.5),
    "part": dict(rope_freq_scale=0.25, yarn_ext_factor=0.5, yarn_attn_factor=3.0),
    "attention": dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_ext_factor=0.0, yarn_attn_factor=1.5),
    "base": dict(rope_scaling_type=YARN, rope_freq_base=1000.0, yarn_orig_ctx=64),
    "longer": dict(n_ctx=512),
}


@pytest.mark.parametrize("name", FILES)
def test_logits_equal_llama_cpp(tmp_path, name):
    g = keys(tiny_model(n_layer=2, n_embd=64, n_ff=96, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=512, head="f32"), **FILES[name])
    if name == "longrope":
        for kind, most in (("long", 9.0), ("short", 1.5)):
            g.add(f"rope_factors_{kind}.weight", "f32", (16,), np.linspace(1, most, 16).astype("<f4").tobytes())
    path = g.write(tmp_path / "tiny.gguf")
    theirs = their_model(path)
    found = {}
    with Model(path) as ours:
        assert lib.llama_model_rope_freq_scale_train(ours._pointer) == llama_cpp.llama_model_rope_freq_scale_train(theirs)
        for kind, fields in FIELDS.items():
            fields = {"n_ctx": 256, "type_k": 0, "type_v": 0, **fields}
            found[kind] = distance(our_logits(ours._pointer, **fields), their_logits(theirs, 280, **fields))
    llama_cpp.llama_model_free(theirs)
    assert max(found.values()) < 1e-4, found


def test_smollm2_with_yarn_is_as_near_as_without(smollm2, smollm2_path):
    """Both quantize activations, each in its own way: what is left of the distance has nothing to do with positions."""
    theirs = their_model(smollm2_path)
    n_vocab = lib.llama_n_vocab(smollm2._pointer)
    found, moved = [], []
    for fields in ({}, dict(rope_scaling_type=YARN, rope_freq_scale=0.25)):
        fields = dict(n_ctx=256, **fields)
        rows = our_logits(smollm2._pointer, **fields)
        found.append(distance(rows, their_logits(theirs, n_vocab, **fields)))
        moved.append(rows)
    llama_cpp.llama_model_free(theirs)
    assert found[1] < 1.3 * found[0] and distance(*moved) > 3 * found[0], (found, distance(*moved))
