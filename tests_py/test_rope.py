"""Stretched contexts: YaRN and LongRoPE, by the file's keys and by the parameters of a context, against float64 NumPy.

Next: test_rope_peer.py, beside llama.cpp.
"""
import numpy as np
import pytest

import test_architectures
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row, rows_alone
from gguf_writer import F32, STRING, U32, tiny_model
from test_architectures import ODD, TOKENS, relative

N_ROT, BASE = ODD["dk"], 10000.0
YARN = lib.LLAMA_ROPE_SCALING_TYPE_YARN
F32_CACHE = dict(type_k=0, type_v=0)


def plain():
    return tiny_model(arch="llama", n_layer=3, **ODD)


def keys(g, **values):
    for key, value in values.items():
        kind = STRING if isinstance(value, str) else U32 if isinstance(value, int) else F32
        g.set("llama.rope.scaling." + key, kind, value)
    return g


def yarn(factor, n_orig, fast=32.0, slow=1.0, ext=1.0, base=BASE):
    """Frequencies by section 3 of arXiv 2309.00071: a pair is stretched the more, the fewer turns it makes in n_orig tokens."""
    freq = base ** (-np.arange(0, N_ROT, 2) / N_ROT)
    def pair(turns): return N_ROT * np.log(n_orig / (turns * 2 * np.pi)) / (2 * np.log(base))
    low, high = max(np.floor(pair(fast)), 0), min(np.ceil(pair(slow)), N_ROT - 1)
    kept = (1 - np.clip((np.arange(N_ROT // 2) - low) / max(high - low, 0.001), 0, 1)) * ext
    return freq / factor * (1 - kept) + freq * kept


@pytest.fixture
def expected(monkeypatch):
    """Logits of a file by these frequencies, with queries and keys so much longer."""
    def logits(path, frequency, length):
        monkeypatch.setattr(test_architectures, "rotation", lambda kv, w: (frequency, length))
        return test_architectures.reference(path, TOKENS)
    return logits


def logits(model, **fields):
    ctx = init(model, **{"n_ctx": 128, **F32_CACHE, **fields})
    assert decode(ctx, TOKENS, logits=[1] * len(TOKENS)) == 0, last_error()
    return np.array([np.frombuffer(row(ctx, i), np.float32) for i in range(len(TOKENS))])


FILES = {
    "yarn": (dict(type="yarn", factor=4.0, original_context_length=64), yarn(4, 64), 1 + 0.1 * np.log(4)),
    "yarn-attention": (dict(type="yarn", factor=8.0, original_context_length=2000, attn_factor=1.25), yarn(8, 2000),
                       1.25 * (1 + 0.1 * np.log(8))),
    "yarn-no-factor": (dict(type="yarn", original_context_length=64), BASE ** (-np.arange(0, N_ROT, 2) / N_ROT), 1.0),
    "linear-attention": (dict(factor=2.0, attn_factor=0.75), BASE ** (-np.arange(0, N_ROT, 2) / N_ROT) / 2, 0.75),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_stretch(tmp_path, expected, name):
    values, frequency, length = FILES[name]
    path = keys(plain(), **values).write(tmp_path / "model.gguf")
    with Model(path) as model:
        found = logits(model._pointer)
    assert relative(found, expected(path, frequency, length)) < 2e-5


PARAMETERS = {
    "plain": (dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_orig_ctx=64), yarn(4, 64), 1 + 0.1 * np.log(4)),
    "base": (dict(rope_scaling_type=YARN, rope_freq_scale=0.125, yarn_orig_ctx=500, rope_freq_base=1000.0),
             yarn(8, 500, base=1000.0), 1 + 0.1 * np.log(8)),
    "betas": (dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_orig_ctx=300, yarn_beta_fast=10.0, yarn_beta_slow=0.5),
              yarn(4, 300, 10, 0.5), 1 + 0.1 * np.log(4)),
    "part": (dict(rope_freq_scale=0.25, yarn_orig_ctx=64, yarn_ext_factor=0.5, yarn_attn_factor=3.0), yarn(4, 64, ext=0.5),
             1 + 0.1 * np.log(4)),
    "none": (dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_ext_factor=0.0, yarn_attn_factor=1.5), yarn(4, 64, ext=0), 1.5),
    "shrunk": (dict(rope_scaling_type=YARN, rope_freq_scale=2.0, yarn_orig_ctx=64), yarn(0.5, 64), 1.0),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_that_stretch(tmp_path, expected, name):
    fields, frequency, length = PARAMETERS[name]
    path = plain().write(tmp_path / "model.gguf")
    with Model(path) as model:
        found = logits(model._pointer, **fields)
    assert relative(found, expected(path, frequency, length)) < 2e-5


def test_parameters_and_keys_are_the_same_bits(tmp_path):
    with Model(plain().write(tmp_path / "plain.gguf")) as model:
        stretched = dict(rope_scaling_type=YARN, rope_freq_scale=0.25, yarn_orig_ctx=64)
        asked = rows_alone(model._pointer, TOKENS, **stretched)
        straight = rows_alone(model._pointer, TOKENS)
    assert asked != straight
    with Model(keys(plain(), type="yarn", factor=4.0, original_context_length=64).write(tmp_path / "yarn.gguf")) as model:
        assert rows_alone(model._pointer, TOKENS) == asked
        assert rows_alone(model._pointer, TOKENS, rope_scaling_type=lib.LLAMA_ROPE_SCALING_TYPE_NONE) == straight


def test_longrope_has_factors_for_long_and_short_contexts(tmp_path, expected):
    n = N_ROT // 2
    long, short = np.linspace(1, 9, n), np.linspace(1, 1.5, n)
    g = keys(plain(), type="longrope", original_context_length=100, attn_factor=1.19)
    for name, values in (("long", long), ("short", short)):
        g.add(f"rope_factors_{name}.weight", "f32", (n,), values.astype("<f4").tobytes())
    path = g.write(tmp_path / "model.gguf")
    freq = BASE ** (-np.arange(0, N_ROT, 2) / N_ROT)
    with Model(path) as model:
        for n_ctx, factors in ((128, long), (100, short)):
            assert relative(logits(model._pointer, n_ctx=n_ctx), expected(path, freq / factors.astype(np.float32), 1.19)) < 2e-5


@pytest.mark.parametrize("name", ["yarn", "yarn-attention"])
def test_keys_that_move_are_turned_by_the_same_table(tmp_path, name):
    """Only distances count: a text decoded at positions 20 on and moved to 0 goes on as one that was decoded there. Keys are turned, and
    not lengthened again."""
    path = keys(plain(), **FILES[name][0]).write(tmp_path / "model.gguf")
    with Model(path) as model:
        near, far = (init(model._pointer, n_ctx=128, **F32_CACHE) for _ in range(2))
        assert decode(near, TOKENS) == 0
        assert decode(far, TOKENS, pos=range(20, 20 + len(TOKENS))) == 0
        for distance in (-13, -7):
            lib.llama_memory_seq_add(lib.llama_get_memory(far), 0, 0, -1, distance)
        assert decode(near, [5]) == 0 == decode(far, [5])
        a, b = (np.frombuffer(row(c), np.float32)[None, :] for c in (near, far))
        assert relative(b, a) < 5e-5      # two turns round each key once more


def test_what_gives_no_frequency_is_refused(tmp_path):
    with Model(plain().write(tmp_path / "model.gguf")) as model:
        for fields in (dict(rope_freq_base=1e-30, rope_freq_scale=1e38), dict(rope_freq_base=1.0, yarn_orig_ctx=1, yarn_beta_fast=1 / 2 / np.pi,
                                                                            rope_scaling_type=YARN)):
            ctx = init(model._pointer, n_ctx=32, **fields)
            assert ctx != ffi.NULL or "rope_freq_* and yarn_*" in last_error()[1]
            if ctx != ffi.NULL:
                assert decode(ctx, TOKENS[:5]) == 0


def test_a_state_is_of_one_stretch(tmp_path):
    with Model(plain().write(tmp_path / "model.gguf")) as model:
        one = init(model._pointer, n_ctx=64)
        two = init(model._pointer, n_ctx=64, yarn_attn_factor=1.5)
        assert decode(one, TOKENS[:9]) == 0
        size = lib.llama_state_get_size(one)
        state = ffi.new("uint8_t[]", size)
        assert lib.llama_state_get_data(one, state, size) == size
        assert lib.llama_state_set_data(two, state, size) == 0 and "other rope_freq_base" in last_error()[1]
        assert lib.llama_state_set_data(one, state, size) == size
