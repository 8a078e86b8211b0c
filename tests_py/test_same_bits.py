"""The same bits: logits do not depend on how a prompt is cut, ubatch size, thread count, other sequences, or kernel table.

Compared with ==, never with a tolerance. Every table runs in its own process (it is chosen once per process) and reports digests.
"""
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bitnet_ffi.model
from bitnet_ffi import Model
from bitnet_ffi._ffi import lib
from gguf_writer import TYPES, tiny_model
from kernel_tables import TABLES, run_under

N = 150                      # tokens: more than two pages of the KV cache
TOKENS = [(7 * i * i + 3 * i + 11) % 320 for i in range(N)]

# One model a line: architecture, weights, head, and shapes that leave tails (dk = 80 and 100, three heads per kv head, an odd ubatch).
MODELS = {
    "b158-i2_s": dict(arch="bitnet-b1.58", weights="i2_s", embd="f16", n_embd=384, n_ff=640, n_head=6, n_head_kv=2),
    "bitnet-tq": dict(arch="bitnet", weights={"": "tq2_0", "ffn_down": "tq1_0", "attn_v": "i2_s"}, embd="q6_k", scales=True, n_embd=512,
                      n_ff=256, n_head=4, n_head_kv=4),
    "llama-k": dict(arch="llama", weights={"attn_q": "q4_k", "attn_k": "q5_k", "attn_v": "q6_k", "attn_output": "q3_k", "ffn_gate": "q2_k",
                                           "ffn_up": "q4_k", "ffn_down": "q6_k"}, embd="q8_0", head="q6_k", n_embd=512, n_ff=512, n_head=8,
                    n_head_kv=1, rope_freqs=True),
    "llama-0": dict(arch="llama", weights={"attn_q": "q4_0", "attn_k": "q4_1", "attn_v": "q5_0", "attn_output": "q5_1", "ffn_gate": "q8_0",
                                           "ffn_up": "q4_1", "ffn_down": "q4_0"}, embd="q4_1", bias=True, n_embd=320, n_ff=352, n_head=4,
                                           n_head_kv=2),
    "llama-float": dict(arch="llama", weights={"": "f16", "attn_v": "bf16", "ffn_up": "f32"}, embd="bf16", head="f16", norms="bf16",
                        n_embd=200, n_ff=232, n_head=2, n_head_kv=1),
}


def digest(rows) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: tiny_model(**shape, seed=i).write(folder / f"{name}.gguf") for i, (name, shape) in enumerate(MODELS.items())}


def whole(model, **options):
    """Logits of all tokens from one decode."""
    with model.context(n_ctx=2 * N, **options) as context:
        context.decode(TOKENS, logits="all")
        return context.all_logits().copy()


@pytest.fixture(scope="module", params=MODELS)
def case(request, paths):
    with Model(paths[request.param]) as model:
        rows = whole(model, n_threads=1)
        assert np.isfinite(rows).all() and rows.std() > 0.01
        yield model, rows


# ---- one process ----

@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_cut_ubatch_and_threads_give_the_same_bits(case, data):
    model, rows = case
    n_ubatch = data.draw(st.sampled_from([1, 2, 3, 5, 8, 31, 32, 64, 512]), "n_ubatch")
    n_threads = data.draw(st.sampled_from([1, 2, 3]), "n_threads")
    with model.context(n_ctx=2 * N, n_ubatch=n_ubatch, n_threads=n_threads) as context:
        begin = 0
        while begin < N:
            end = min(N, begin + data.draw(st.sampled_from([1, 2, 3, 5, 8, 32, 63, 64, 65, N]), "piece"))
            context.decode(TOKENS[begin:end], logits="all")
            assert (context.all_logits() == rows[begin:end]).all(), f"tokens {begin} to {end}"
            begin = end


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n_ubatch=st.sampled_from([1, 7, 64, 512]))
def test_neighbours_in_the_batch_change_nothing(case, seed, n_ubatch):
    """Four sequences with prefixes of the same text, their tokens shuffled together in every batch."""
    model, rows = case
    rng = np.random.default_rng(seed)
    done = [0] * 4
    with model.context(n_ctx=4 * N, n_seq_max=4, n_ubatch=n_ubatch, n_threads=2) as context:
        while min(done) < 70:
            order = rng.permutation(np.repeat(np.arange(4), rng.integers(0, 30, 4)))
            order = [s for s in order if done[s] < 70 or rng.random() < 0.3][:120]
            order = [s for i, s in enumerate(order) if done[s] + order[:i].count(s) < N]
            if not order:
                continue
            pos = [done[s] + order[:i].count(s) for i, s in enumerate(order)]
            context.decode([TOKENS[p] for p in pos], pos=pos, seq=[int(s) for s in order], logits="all")
            got = context.all_logits()
            for i, p in enumerate(pos):
                assert (got[i] == rows[p]).all(), f"sequence {order[i]}, position {p}"
            for s in order:
                done[s] += 1


def test_a_shared_prefix_and_a_repeated_tail_give_the_same_bits(case):
    model, rows = case
    with model.context(n_ctx=2 * N, n_seq_max=3) as context:
        context.decode(TOKENS[:100], logits="none")
        context.seq_copy(0, 1)                       # shares pages, the last one half full
        context.seq_copy(0, 2, 0, 40)
        context.decode(TOKENS[100:], seq=1, logits="all")
        assert (context.all_logits() == rows[100:]).all()
        context.decode(TOKENS[100:], seq=0, logits="all")
        assert (context.all_logits() == rows[100:]).all()
        context.decode(TOKENS[40:100], seq=2, logits="all")
        assert (context.all_logits() == rows[40:100]).all()
        context.seq_remove(0, 70)
        context.decode(TOKENS[70:], seq=0, logits="all")
        assert (context.all_logits() == rows[70:]).all()


def test_one_token_of_two_sequences_serves_both(case):
    model, rows = case
    with model.context(n_ctx=2 * N, n_seq_max=2) as context:
        context.decode(TOKENS[:80], seq=[(0, 1)] * 80, logits="all")
        assert (context.all_logits() == rows[:80]).all()
        for s in (1, 0):
            context.decode(TOKENS[80:], seq=s, logits="all")
            assert (context.all_logits() == rows[80:]).all()


def test_repeating_a_decode_gives_the_same_bits(case):
    model, rows = case
    for _ in range(3):
        assert (whole(model, n_threads=2) == rows).all()


class InPlace:
    """The library, with LLAMA_LOAD_MODE_MMAP in place of the automatic load mode: weights stay as the file has them."""
    LLAMA_LOAD_MODE_AUTO = lib.LLAMA_LOAD_MODE_MMAP

    def __getattr__(self, name):
        return getattr(lib, name)


def test_weights_in_place_give_the_same_bits_as_packed_ones(case, monkeypatch):
    packed, rows = case
    monkeypatch.setattr(bitnet_ffi.model, "lib", InPlace())
    with Model(packed.path) as model:
        monkeypatch.undo()
        for n_ubatch in (1, 5, 64):
            assert (whole(model, n_threads=2, n_ubatch=n_ubatch) == rows).all()


# ---- every table ----

# Prints {model: digest of a whole decode}, for types of keys and values, each for several ubatches and numbers of threads.
PROBE = """
import json, sys
import test_same_bits as t
out = {}
for path in sys.argv[1:]:
    with t.Model(path) as model:
        shape = t.MODELS[t.Path(path).stem]
        fit = shape["n_embd"] // shape["n_head"] % 32 == 0
        for kv, kv_v in (("f16", "f16"), ("f32", "f32"), ("f16", "f32")) + fit * (("q8_0", "q8_0"), ("q8_0", "f16"), ("f32", "q8_0")):
            rows = t.whole(model, kv_type=kv, kv_type_v=kv_v, n_threads=2, n_ubatch=64)
            out[path + kv + kv_v] = t.digest(rows)
            for n_threads, n_ubatch in ((1, 1), (2, 7), (1, 512)):
                found = t.whole(model, kv_type=kv, kv_type_v=kv_v, n_threads=n_threads, n_ubatch=n_ubatch)
                assert (found == rows).all(), (path, kv, kv_v, n_threads, n_ubatch)
print(json.dumps(out))
"""


@pytest.mark.parametrize("table", TABLES)
def test_every_table_gives_the_bits_of_scalar(table, paths):
    assert run_under(table, PROBE, *paths.values()) == run_under("scalar", PROBE, *paths.values())


def test_models_cover_every_weight_type():
    weights = [shape["weights"] for shape in MODELS.values()]
    used = {kind for w in weights for kind in (w.values() if isinstance(w, dict) else [w])}
    used |= {shape.get("embd", "f32") for shape in MODELS.values()} | {shape.get("head") for shape in MODELS.values()}
    assert used >= set(TYPES)
