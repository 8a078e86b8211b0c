"""The newer samplers against what llama.cpp's did with the same logits (make_sampler_golden.py), and what has no golden:
softmax, tail-free, DRY and infill against plain statements of them."""

import ctypes as C
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import make_sampler_golden as golden
import model_abi
import sampling_abi as abi
from sampling_abi import Candidates
from test_sampler import Owned, best_first, lib, make, shuffled, shuffles, softmax, tame_logits

CASES = json.loads(Path(__file__).with_name("data").joinpath("samplers_llama_cpp.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case["sampler"])))
def test_sampler_equals_llama_cpp(case):
    for step, (size, token, ids, logits, p) in zip(golden.steps(lib, *case["sampler"]), case["steps"], strict=True):
        assert step[:3] == [size, token, ids]
        # Written with 5 and 6 decimals; llama.cpp sums in floats, and takes exp, log and pow from the C library.
        np.testing.assert_allclose(np.float64([-np.inf if x is None else x for x in step[3]]),
                                   np.float64([-np.inf if x is None else x for x in logits]), rtol=4e-6, atol=3e-5)
        np.testing.assert_allclose(step[4], p, atol=3e-6)


@pytest.mark.parametrize("kind, settings", [("xtc", (0.5, 0.1, 1, 9)), ("mirostat", (50, 9, 3.0, 0.1, 20)),
                                            ("mirostat_v2", (9, 3.0, 0.1)), ("adaptive_p", (0.5, 0.9, 9))])
def test_sampler_that_draws_can_be_cloned_and_reset(kind, settings):
    random = np.random.RandomState(3)
    rows = [(random.normal(size=50) * 2).astype(np.float32) for _ in range(30)]

    def run(sampler, part):
        out = []
        for row in part:
            candidates = sampler.apply(Candidates(row))
            out.append((candidates.token, candidates.ids))
            lib.llama_sampler_accept(sampler, candidates.token)
        return out

    sampler = make(kind, *settings)
    assert lib.llama_sampler_get_seed(sampler) == 9
    first = run(sampler, rows[:15])
    clone = Owned(lib.llama_sampler_clone(sampler))
    expected = run(sampler, rows[15:])
    assert run(clone, rows[15:]) == expected
    lib.llama_sampler_reset(clone)
    assert run(clone, rows[:15]) == first


def test_adaptive_p_learns_from_accepted_tokens_only():
    """A sampler whose tokens were never accepted keeps its target; one that took likely tokens turns to unlikely ones."""
    logits = np.float32([2.0, 1.0, 0.0, -1.0])
    kept, learned = make("adaptive_p", 0.5, 0.9, 4), make("adaptive_p", 0.5, 0.9, 4)
    for sampler, token in ((kept, -1), (learned, 0)):
        for _ in range(20):
            candidates = sampler.apply(Candidates(logits))
            lib.llama_sampler_accept(sampler, candidates.token if candidates.token == token else -1)
    chances = [sampler.apply(Candidates(logits)).items["p"][0] for sampler in (make("adaptive_p", 0.5, 0.9, 4), kept, learned)]
    assert chances[0] == chances[1] > chances[2]


@given(tame_logits, shuffles)
def test_softmax_sorts_and_norms(logits, random):
    candidates = shuffled(logits, random)
    order = best_first(candidates)
    ids, p = [candidates.ids[i] for i in order], softmax(candidates.items)[order]
    make("softmax").apply(candidates)
    assert candidates.ids == ids and candidates.c.sorted
    np.testing.assert_allclose(candidates.items["p"], p, rtol=1e-5, atol=1e-38)


@given(tame_logits, st.floats(0, 0.984375, width=32), st.integers(0, 10))
def test_tail_free_cuts_where_the_curve_flattens(logits, z, min_keep):
    candidates = Candidates(logits)
    p = np.sort(softmax(candidates.items))[::-1]
    make("tail_free", z, min_keep).apply(candidates)
    n = candidates.c.size
    if len(logits) <= 2:
        assert n == len(logits)
        return
    bend = abs(p[:-2] - 2 * p[1:-1] + p[2:])
    if 0.5e-6 < bend.sum() < 2e-6:
        return      # either side of the limit below which the curve counts as straight
    weight = np.cumsum(bend / bend.sum() if bend.sum() > 1e-6 else np.full(len(bend), 1 / len(bend)))
    slack = 1e-3 if bend.sum() < 1e-2 else 1e-4      # p is a float: the bend has an error of 2^-23 of the sum
    over = [i for i in range(len(bend)) if weight[i] > z + slack and i >= min_keep]
    surely = [i for i in range(len(bend)) if weight[i] > z - slack and i >= min_keep]
    first = min(surely, default=len(logits))
    last = min(over, default=len(logits))
    assert max(first, 1) <= n <= max(last, 1)


# ---- with a vocabulary ----

@pytest.fixture(scope="module")
def vocab():
    model = model_abi.load(Path(__file__).with_name("data") / "tiny-bitnet-tq2.gguf", vocab_only=True)
    assert model, model_abi.last_error()
    yield C.c_void_p(model)
    lib.llama_model_free.argtypes = [C.c_void_p]
    lib.llama_model_free(model)


def dry(vocab, multiplier, base, allowed, last_n, *breakers):
    return make("dry", vocab, multiplier, base, allowed, last_n, (C.c_char_p * len(breakers))(*breakers), len(breakers))


def repeats(tokens, allowed):
    """Longest repetition that each token would lengthen, by looking everywhere."""
    longest = {}
    for end in range(1, len(tokens)):      # tokens[:end] may end like the whole does; tokens[end] came next
        n = 0
        while n < end and tokens[end - 1 - n] == tokens[-1 - n]:
            n += 1
        if n >= allowed:
            longest[tokens[end]] = max(longest.get(tokens[end], 0), n)
    return longest


@settings(max_examples=200)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 4), st.integers(1, 40))
def test_dry_punishes_what_would_repeat(vocab, tokens, allowed, last_n):
    sampler = dry(vocab, 0.5, 2.0, allowed, last_n)
    for token in tokens:
        lib.llama_sampler_accept(sampler, token)
    seen = tokens[-last_n:]
    expected = np.zeros(5, np.float32)
    if len(seen) > allowed:
        for token, length in repeats(seen, allowed).items():
            expected[token] = -0.5 * 2.0 ** (length - allowed)
    for wanted in (expected, expected):      # applying changes nothing
        np.testing.assert_allclose(sampler.apply(Candidates(np.zeros(5))).items["logit"], wanted, rtol=1e-6)
    clone = Owned(lib.llama_sampler_clone(sampler))
    np.testing.assert_allclose(clone.apply(Candidates(np.zeros(5))).items["logit"], expected, rtol=1e-6)
    lib.llama_sampler_reset(sampler)
    assert not sampler.apply(Candidates(np.zeros(5))).items["logit"].any()


def tokens_of(vocab, text):
    lib.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32, C.c_bool, C.c_bool]
    out = (C.c_int32 * 256)()
    return list(out[:lib.llama_tokenize(vocab, text, len(text), out, 256, False, False)])


def test_dry_breaker_ends_a_repetition(vocab):
    text = tokens_of(vocab, b"a b c d; a b c d; a b c")
    n = 300
    plain, broken = dry(vocab, 1.0, 1.5, 2, 1000), dry(vocab, 1.0, 1.5, 2, 1000, b";")
    for token in text:
        lib.llama_sampler_accept(plain, token)
        lib.llama_sampler_accept(broken, token)
    without, with_breaker = (s.apply(Candidates(np.zeros(n))).items["logit"] for s in (plain, broken))
    assert (with_breaker < 0).any() and (without <= with_breaker).all() and without.min() < with_breaker.min()


def test_dry_is_linear_in_its_window(vocab):
    """The worst text, one token for ever: 64 times the window must not take 64^2 times as long."""
    import time
    seconds = []
    for last_n in (4_000, 64_000):
        sampler = dry(vocab, 1.0, 1.5, 2, last_n)
        for _ in range(last_n):
            lib.llama_sampler_accept(sampler, 1)
        start = time.perf_counter()
        for _ in range(3):
            sampler.apply(Candidates(np.zeros(10)))
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 80 * seconds[0] + 0.1      # 16 if linear, 256 if quadratic


def test_dry_and_infill_refuse_what_they_cannot_use(vocab):
    assert not lib.llama_sampler_init_dry(None, 1.0, 1.5, 2, 10, None, 0)
    assert b"vocab is NULL" in lib.bitnet_last_error()
    assert not lib.llama_sampler_init_dry(vocab, 1.0, 1.5, 2, 10, None, 3)
    assert b"seq_breakers is NULL" in lib.bitnet_last_error()
    assert not lib.llama_sampler_init_infill(None)
    assert b"vocab is NULL" in lib.bitnet_last_error()
    for settings in ((0.0, 1.5, 2, 10), (1.0, 0.5, 2, 10), (1.0, float("nan"), 2, 10), (1.0, 1.5, 2, 0), (1.0, 1.5, 2, -1)):
        assert lib.llama_sampler_name(dry(vocab, *settings)) == b"?dry"
    dry(vocab, 1.0, 1.5, 2, 10, b"", b"x" * 5000, b"\xff\xfe")


def test_infill_keeps_only_ends_where_an_end_is_likely(vocab):
    lib.llama_vocab_eos.argtypes = [C.c_void_p]
    end = lib.llama_vocab_eos(vocab)
    assert end >= 0
    others = [t for t in tokens_of(vocab, b" abc def") if t != end][:3]
    sampler = make("infill", vocab)
    assert sampler.apply(Candidates([0.0] * 4, [end, *others])).ids == [end]
    unsure = sampler.apply(Candidates([-9.0] + [0.0] * len(others), [end, *others]))
    assert end in unsure.ids and set(unsure.ids) <= {end, *others}
    np.testing.assert_allclose(unsure.items["p"].sum(), 1, rtol=1e-6)
    assert Owned(lib.llama_sampler_clone(sampler)).apply(Candidates([0.0] * 4, [end, *others])).ids == [end]
