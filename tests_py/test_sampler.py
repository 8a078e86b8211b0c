"""Every sampler against a plain NumPy statement of it; chains, clones, client samplers and odd logits."""

import ctypes as C
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import model_abi
import sampling_abi as abi
from sampling_abi import Candidates

lib = abi.load()
INF = float("inf")

# A busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A few values repeat, so that ties are common; infinities and NaN are rare but there.
odd_logits = st.lists(st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, INF, -INF, float("nan")]),
                                st.floats(-30, 30, width=32)), min_size=1, max_size=60)
tame_logits = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=60)
shuffles = st.randoms(use_true_random=False)
# Relative error of p where logits differ by 40 at most: half an ulp of the difference (2^-19), exp within 2 ulp, one rounding.
P_ERROR = 2.0**-19 + 3 * 2.0**-23


class Owned:
    """A sampler of the library's, freed with the Python object; itself the argument, so that it outlives the call."""

    def __init__(self, pointer):
        assert pointer, lib.bitnet_last_error()
        self._as_parameter_ = pointer

    def __del__(self):
        lib.llama_sampler_free(self)

    def apply(self, candidates):
        lib.llama_sampler_apply(self, C.byref(candidates.c))
        return candidates


def make(kind, *settings):
    return Owned(getattr(lib, f"llama_sampler_init_{kind}")(*settings))


def chain_of(*pointers, no_perf=True):
    chain = Owned(lib.llama_sampler_chain_init(abi.ChainParams(no_perf)))
    for pointer in pointers:
        lib.llama_sampler_chain_add(chain, pointer)
    return chain


def effective(items):
    return np.where(np.isnan(items["logit"]), -np.inf, items["logit"]).astype(np.float64)


def best_first(candidates):
    """Indices by falling logit, the smaller id among equals: the one order of candidates."""
    items = candidates.items
    return np.lexsort((items["id"], -effective(items)))


def softmax(items):
    logits = effective(items)
    with np.errstate(invalid="ignore"):
        e = np.where(logits == logits.max(), 1.0, np.exp(logits - logits.max()))
    return e / e.sum()


def shuffled(logits, random):
    ids = list(range(len(logits)))
    random.shuffle(ids)
    return Candidates([logits[i] for i in ids], ids)


# ---- one sampler at a time ----

@given(odd_logits, shuffles)
def test_greedy_takes_the_best(logits, random):
    candidates = shuffled(logits, random)
    expected = candidates.ids[best_first(candidates)[0]]
    assert make("greedy").apply(candidates).token == expected


@given(odd_logits, shuffles, st.integers(1, 70))
def test_top_k_keeps_the_best_in_order(logits, random, k):
    candidates = shuffled(logits, random)
    expected = [candidates.ids[i] for i in best_first(candidates)[:k]]
    make("top_k", k).apply(candidates)
    assert candidates.ids == expected
    assert candidates.c.sorted


@pytest.mark.parametrize("k", [1, 40, 1000, 20000, 128_256])
def test_top_k_of_a_large_vocabulary(k):
    logits = np.random.RandomState(k).normal(size=128_256).astype(np.float32).round(2)  # many ties
    candidates = Candidates(logits)
    expected = best_first(candidates)[:k].tolist()
    assert make("top_k", k).apply(candidates).ids == expected


@pytest.mark.parametrize("logits", [np.arange(5000), -np.arange(5000), np.zeros(5000), np.arange(5000) % 7,
                                    -abs(np.arange(5000) - 2500), np.full(5000, np.nan)],
                         ids=["rising", "falling", "flat", "sawtooth", "peak", "nan"])
def test_top_k_of_patterns_that_split_badly(logits):
    candidates = Candidates(logits, np.arange(5000)[::-1])
    expected = [candidates.ids[i] for i in best_first(candidates)]
    assert make("top_k", 5000).apply(candidates).ids == expected


@given(tame_logits, shuffles, st.floats(0, 0.9990234375, width=32), st.integers(0, 70))
def test_top_p_keeps_the_fewest_that_reach_p(logits, random, p, min_keep):
    candidates = shuffled(logits, random)
    order = best_first(candidates)
    probabilities = softmax(candidates.items)[order]
    running = np.cumsum(probabilities)
    expected = [candidates.ids[i] for i in order]
    make("top_p", p, min_keep).apply(candidates)
    n = candidates.c.size
    assert candidates.ids == expected[:n]
    assert candidates.c.sorted
    # p and probabilities are floats: a sum may lie on either side of p within n roundings of 2^-24 each, and 8 for exp.
    slack = (len(logits) + 8) * 2.0**-24
    assert n == len(logits) or (running[n - 1] >= p - slack and n >= min_keep)
    assert n == 1 or n <= min_keep or running[n - 2] <= p + slack
    np.testing.assert_allclose(candidates.items["p"], probabilities[:n], rtol=P_ERROR, atol=1e-38)


def test_top_p_over_a_flat_large_vocabulary_sorts_on():
    logits = np.random.RandomState(3).normal(scale=0.1, size=50_000).astype(np.float32)
    candidates = Candidates(logits)
    order = best_first(candidates)
    n = int(np.searchsorted(np.cumsum(softmax(candidates.items)[order]), 0.5)) + 1
    make("top_p", 0.5, 1).apply(candidates)
    assert abs(candidates.c.size - n) <= 1  # the sum of 20 000 floats against one of doubles
    assert candidates.ids == order[:candidates.c.size].tolist()


@given(odd_logits, shuffles, st.floats(2.0**-20, 1.5, width=32), st.integers(0, 70))
def test_min_p_keeps_what_is_near_the_best(logits, random, p, min_keep):
    candidates = shuffled(logits, random)
    values = effective(candidates.items).astype(np.float32)
    kept = values >= values.max() + np.float32(np.log(np.float64(p)))
    n = min(max(int(kept.sum()), min_keep, 1), len(logits))
    ids, order = candidates.ids, best_first(candidates)
    expected = [ids[i] for i in order[:n]] if max(min_keep, 1) > kept.sum() else [i for i, k in zip(ids, kept) if k]
    assert make("min_p", p, min_keep).apply(candidates).ids == expected


@given(tame_logits, shuffles, st.floats(0, 0.9990234375, width=32), st.integers(0, 70))
def test_typical_keeps_the_least_surprising(logits, random, p, min_keep):
    candidates = shuffled(logits, random)
    before = {int(t["id"]): float(t["logit"]) for t in candidates.items}
    probabilities = dict(zip(candidates.ids, softmax(candidates.items)))
    with np.errstate(divide="ignore"):
        surprise = {i: -np.log(q) for i, q in probabilities.items()}
    entropy = sum(q * surprise[i] for i, q in probabilities.items() if q > 0)
    score = {i: abs(s - entropy) for i, s in surprise.items()}
    make("typical", p, min_keep).apply(candidates)
    kept = candidates.ids
    running = np.cumsum([probabilities[i] for i in kept])
    slack = 1e-5  # scores are compared as floats near 20, an ulp of which is 2e-6
    assert all(score[a] <= score[b] + slack for a, b in zip(kept, kept[1:]))
    assert max(score[i] for i in kept) <= min((s for i, s in score.items() if i not in kept), default=INF) + slack
    assert len(kept) == len(logits) or (running[-1] > p - slack and len(kept) >= min_keep)
    assert len(kept) == 1 or len(kept) <= min_keep or running[-2] <= p + slack
    assert {i: before[i] for i in kept} == {int(t["id"]): float(t["logit"]) for t in candidates.items}
    np.testing.assert_allclose(candidates.items["p"], [probabilities[i] for i in kept], rtol=P_ERROR, atol=1e-38)


@given(odd_logits, st.floats(2.0**-6, 64, width=32))
def test_temp_divides(logits, temp):
    candidates = make("temp", temp).apply(Candidates(logits))
    np.testing.assert_array_equal(candidates.items["logit"], np.float32(logits) / np.float32(temp))


@given(odd_logits, shuffles, st.sampled_from([0.0, -1.0, float("nan")]))
def test_temp_zero_leaves_the_best_alone(logits, random, temp):
    candidates = shuffled(logits, random)
    best = best_first(candidates)[0]
    expected = np.full(len(logits), -np.inf, np.float32)
    expected[best] = candidates.items["logit"][best]
    np.testing.assert_array_equal(make("temp", temp).apply(candidates).items["logit"], expected)


@given(st.lists(st.integers(0, 9), max_size=40), tame_logits, shuffles, st.booleans(), st.integers(1, 20),
       st.sampled_from([1.0, 1.1, 2.0]), st.sampled_from([0.0, 0.5]), st.sampled_from([0.25, -0.5]))
def test_penalties_count_the_last_n(tokens, logits, random, move, last_n, repeat, freq, present):
    sampler = make("penalties", len(logits), last_n, repeat, freq, present)
    for token in tokens:
        lib.llama_sampler_accept(sampler, token)
    candidates = shuffled(logits, random) if move else Candidates(logits)
    counts = Counter(tokens[-last_n:])
    expected = []
    for token, logit in zip(candidates.ids, candidates.items["logit"].tolist()):
        logit = np.float32(logit)
        if counts[token]:
            logit = logit * np.float32(repeat) if logit <= 0 else logit / np.float32(repeat)
            logit -= np.float32(counts[token]) * np.float32(freq) + np.float32(present)
        expected.append(logit)
    np.testing.assert_array_equal(sampler.apply(candidates).items["logit"], np.float32(expected))


def test_penalties_with_a_long_window_keep_it():
    window, recent = 1000, deque(maxlen=1000)
    sampler = make("penalties", 0, window, 1.0, 1.0, 0.0)
    for token in np.random.RandomState(0).randint(0, 300, 3500).tolist():
        lib.llama_sampler_accept(sampler, token)
        recent.append(token)
    counts = Counter(recent)
    expected = [-counts[i] for i in range(300)]
    assert sampler.apply(Candidates(np.zeros(300))).items["logit"].tolist() == expected
    lib.llama_sampler_reset(sampler)
    assert not sampler.apply(Candidates(np.zeros(300))).items["logit"].any()


@given(st.lists(st.tuples(st.integers(-3, 70), st.sampled_from([-INF, -1.5, 0.5, 4.0])), min_size=1, max_size=20),
       tame_logits, shuffles, st.booleans())
def test_logit_bias_adds_up(biases, logits, random, move):
    sampler = make("logit_bias", len(logits), len(biases), (abi.LogitBias * len(biases))(*biases))
    candidates = shuffled(logits, random) if move else Candidates(logits)
    total = Counter()
    for token, bias in biases:
        total[token] = np.float32(total[token] + bias)  # halves: exact in any order
    expected = [np.float32(l) + np.float32(total[i]) for i, l in zip(candidates.ids, candidates.items["logit"].tolist())]
    np.testing.assert_array_equal(sampler.apply(candidates).items["logit"], expected)


@pytest.mark.parametrize("kind, settings, name", [
    ("top_k", (0,), b"?top-k"), ("top_k", (-1,), b"?top-k"), ("top_p", (1.0, 1), b"?top-p"), ("min_p", (0.0, 1), b"?min-p"),
    ("typical", (1.0, 1), b"?typical"), ("temp", (1.0,), b"?temp"), ("penalties", (9, 0, 2.0, 1.0, 1.0), b"?penalties"),
    ("penalties", (9, -1, 2.0, 1.0, 1.0), b"?penalties"), ("penalties", (9, 64, 1.0, 0.0, 0.0), b"?penalties"),
    ("logit_bias", (9, 0, None), b"?logit-bias"), ("temp_ext", (1.0, 0.0, 2.0), b"?temp-ext"), ("top_n_sigma", (0.0,), b"?top-n-sigma"),
    ("tail_free", (1.0, 1), b"?tail-free"), ("xtc", (0.0, 0.1, 1, 1), b"?xtc"), ("xtc", (0.5, 0.6, 1, 1), b"?xtc")])
def test_settings_without_effect_change_nothing(kind, settings, name):
    sampler = make(kind, *settings)
    candidates = Candidates([1, 3, 2])
    before = candidates.memory.copy()
    lib.llama_sampler_accept(sampler, 1)
    sampler.apply(candidates)
    assert (candidates.memory == before).all() and candidates.c.size == 3
    assert lib.llama_sampler_name(sampler) == name


ALL = [("greedy",), ("dist", 1), ("top_k", 2), ("top_p", 0.5, 1), ("min_p", 0.1, 1), ("typical", 0.5, 1), ("temp", 0.5),
       ("temp", 0.0), ("temp_ext", 1.0, 0.5, 1.0), ("top_n_sigma", 1.0), ("softmax",), ("tail_free", 0.5, 1), ("xtc", 1.0, 0.1, 1, 1),
       ("mirostat", 9, 1, 5.0, 0.1, 100), ("mirostat_v2", 1, 5.0, 0.1), ("adaptive_p", 0.5, 0.9, 1), ("penalties", 9, 4, 2.0, 1.0, 1.0), ("logit_bias", 9, 1, (abi.LogitBias * 1)((0, 1.0)))]


@pytest.mark.parametrize("kind, settings", [(kind, settings) for kind, *settings in ALL])
def test_nothing_to_choose_from(kind, settings):
    sampler = make(kind, *settings)
    lib.llama_sampler_accept(sampler, 0)
    candidates = sampler.apply(Candidates([]))
    assert candidates.c.size == 0 and candidates.c.selected == -1


@pytest.mark.parametrize("value", [-INF, float("nan"), INF])
@pytest.mark.parametrize("kind, settings", [(kind, settings) for kind, *settings in ALL])
def test_logits_all_alike_and_not_finite(kind, settings, value):
    candidates = make(kind, *settings).apply(Candidates([value] * 5))
    assert 1 <= candidates.c.size <= 5
    assert candidates.c.selected < candidates.c.size
    assert not np.isnan(candidates.items["p"]).any()


# ---- the random choice ----

def raw_words(seed):
    return np.random.RandomState(seed).randint(0, 2**32, 4000, dtype=np.uint32)


@pytest.mark.parametrize("seed", [0, 1, 42, 5489, 2**31, 2**32 - 2])
def test_dist_draws_the_mersenne_twister_of_its_seed(seed):
    """1000 tokens of a flat distribution over 4096 spell the uniforms that NumPy's generator gives for the seed."""
    words = raw_words(seed)[:2000].astype(np.float64)
    uniform = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    sampler = make("dist", seed)
    tokens = [sampler.apply(Candidates(np.zeros(4096))).token for _ in range(1000)]
    # The running sum at token i is i + 1: the first i with i + 1 >= 4096 u.
    assert tokens == np.maximum(np.ceil(uniform * 4096) - 1, 0).astype(int).tolist()
    assert lib.llama_sampler_get_seed(sampler) == seed


def test_dist_follows_the_probabilities():
    logits = np.array([1.0, -INF, 0.0, 2.0, float("nan"), -1.0, 0.5], np.float32)
    sampler, n = make("dist", 1234), 20_000
    expected = softmax(Candidates(logits).items) * n
    seen = np.bincount([sampler.apply(Candidates(logits)).token for _ in range(n)], minlength=len(logits))
    possible = expected > 0
    assert not seen[~possible].any()
    # 99.9 % of draws of a chi-square with 4 degrees of freedom stay below 18.47; the seed makes it one fixed draw.
    assert ((seen - expected)[possible] ** 2 / expected[possible]).sum() < 18.47


def test_dist_leaves_the_softmax_in_p():
    candidates = make("dist", 7).apply(Candidates([0.5, -2, INF, 3, INF]))
    assert candidates.items["p"].tolist() == [0, 0, 0.5, 0, 0.5]
    candidates = make("dist", 7).apply(Candidates([0.5, -2, 4, 3, -100]))
    np.testing.assert_allclose(candidates.items["p"], softmax(candidates.items), rtol=P_ERROR, atol=1e-38)


def test_dist_draws_for_a_single_candidate():
    """As in llama.cpp since 2026: the stream does not depend on how many candidates a chain left."""
    one, other = make("dist", 5), make("dist", 5)
    for _ in range(3):
        assert one.apply(Candidates([-INF])).token == 0
        other.apply(Candidates(np.zeros(1000)))
    draws = [[s.apply(Candidates(np.zeros(1000))).token for _ in range(5)] for s in (one, other)]
    assert draws[0] == draws[1]


def test_dist_reset_starts_the_stream_again():
    sampler = make("dist", 99)
    first = [sampler.apply(Candidates(np.zeros(1000))).token for _ in range(5)]
    lib.llama_sampler_reset(sampler)
    assert [sampler.apply(Candidates(np.zeros(1000))).token for _ in range(5)] == first


def test_dist_without_a_seed_chooses_one():
    seeds = {lib.llama_sampler_get_seed(make("dist", abi.DEFAULT_SEED)) for _ in range(8)}
    assert len(seeds) > 1 and abi.DEFAULT_SEED not in seeds


# ---- chains ----

def test_chain_applies_its_members_in_order():
    logits = np.random.RandomState(8).normal(size=500).astype(np.float32)
    chain = chain_of(lib.llama_sampler_init_top_k(20), lib.llama_sampler_init_temp(0.0), lib.llama_sampler_init_dist(3))
    candidates = chain.apply(Candidates(logits))
    assert candidates.c.size == 20
    assert candidates.token == int(np.argmax(logits))
    assert lib.llama_sampler_name(chain) == b"chain"


def test_chain_gives_and_takes_members():
    parts = [lib.llama_sampler_init_top_k(k) for k in range(1, 12)]
    chain = chain_of(*parts)
    address = lambda pointer: C.cast(pointer, C.c_void_p).value  # noqa: E731
    assert lib.llama_sampler_chain_n(chain) == 11
    assert address(lib.llama_sampler_chain_get(chain, 10)) == address(parts[10])
    assert address(lib.llama_sampler_chain_get(chain, -1)) == address(chain._as_parameter_)
    removed = Owned(lib.llama_sampler_chain_remove(chain, 4))
    assert address(removed._as_parameter_) == address(parts[4])
    assert lib.llama_sampler_chain_n(chain) == 10
    assert address(lib.llama_sampler_chain_get(chain, 4)) == address(parts[5])


def test_chain_wrong_member_or_not_a_chain():
    chain, greedy = chain_of(), make("greedy")
    assert not lib.llama_sampler_chain_get(chain, 0)
    assert b"no member 0 in a chain of 0" in lib.bitnet_last_error()
    assert not lib.llama_sampler_chain_remove(chain, -1)
    assert not lib.llama_sampler_chain_get(greedy, 0)
    assert b"not a chain" in lib.bitnet_last_error()
    assert lib.llama_sampler_chain_n(None) == 0
    lib.llama_sampler_chain_add(greedy, None)
    lib.llama_sampler_chain_add(chain, chain)
    assert b"the chain itself" in lib.bitnet_last_error()
    assert lib.llama_sampler_chain_n(chain) == 0
    assert lib.llama_perf_sampler(greedy).n_sample == 0


def test_chain_seed_is_that_of_its_last_member_with_one():
    assert lib.llama_sampler_get_seed(chain_of(lib.llama_sampler_init_greedy())) == abi.DEFAULT_SEED
    chain = chain_of(lib.llama_sampler_init_dist(1), lib.llama_sampler_init_dist(2), lib.llama_sampler_init_temp(0.5))
    assert lib.llama_sampler_get_seed(chain) == 2
    assert lib.llama_sampler_get_seed(None) == abi.DEFAULT_SEED


def test_chain_measures_unless_told_not_to():
    assert lib.llama_sampler_chain_default_params().no_perf
    for no_perf in (True, False):
        chain = chain_of(lib.llama_sampler_init_dist(1), no_perf=no_perf)
        for _ in range(3):
            chain.apply(Candidates(np.zeros(100_000)))
            lib.llama_sampler_accept(chain, 1)
        perf = lib.llama_perf_sampler(chain)
        assert perf.n_sample == 3
        assert (perf.t_sample_ms == 0) == no_perf
        lib.llama_perf_sampler_print(chain)
        lib.llama_perf_sampler_reset(chain)
        assert lib.llama_perf_sampler(chain).n_sample == 0


def test_clone_goes_its_own_way():
    chain = chain_of(lib.llama_sampler_init_penalties(100, 8, 1.5, 0.1, 0.1), lib.llama_sampler_init_top_k(50),
                     lib.llama_sampler_init_logit_bias(100, 2, (abi.LogitBias * 2)((3, 2.0), (4, -INF))),
                     lib.llama_sampler_init_dist(11))
    logits = np.random.RandomState(5).normal(size=100).astype(np.float32)

    def draw(sampler, n):
        tokens = []
        for _ in range(n):
            tokens.append(sampler.apply(Candidates(logits)).token)
            lib.llama_sampler_accept(sampler, tokens[-1])
        return tokens

    draw(chain, 10)
    clone, other = Owned(lib.llama_sampler_clone(chain)), Owned(lib.llama_sampler_clone(chain))
    expected = draw(chain, 20)
    assert draw(clone, 20) == expected
    del chain
    assert draw(other, 20) == expected
    assert 4 not in expected


# ---- client samplers ----

def test_client_sampler_with_a_full_vtable():
    log = []
    text = C.create_string_buffer(b"mine")

    @abi.SamplerI.NAME
    def name(smpl):
        return C.addressof(text)

    @abi.SamplerI.ACCEPT
    def accept(smpl, token):
        log.append(("accept", token))

    @abi.SamplerI.APPLY
    def apply(smpl, cur):
        log.append(("apply", cur.contents.size))
        cur.contents.data[0].logit = 99

    @abi.SamplerI.RESET
    def reset(smpl):
        log.append("reset")

    @abi.SamplerI.FREE
    def free(smpl):
        log.append("free")

    iface = abi.SamplerI(name, accept, apply, reset, abi.SamplerI.CLONE(), free)
    sampler = lib.llama_sampler_init(C.byref(iface), 1)
    chain = chain_of(sampler, lib.llama_sampler_init_greedy())
    assert lib.llama_sampler_name(sampler) == b"mine"
    assert chain.apply(Candidates([1, 2, 3])).token == 0
    lib.llama_sampler_accept(chain, 0)
    lib.llama_sampler_reset(chain)
    assert not lib.llama_sampler_clone(chain)  # a state, but no clone function
    assert b"'mine' has a state but no clone function" in lib.bitnet_last_error()
    del chain
    assert log == [("apply", 3), ("accept", 0), "reset", "free"]


@pytest.mark.parametrize("iface", [None, abi.SamplerI()])
def test_client_sampler_with_nothing_in_it(iface):
    chain = chain_of(lib.llama_sampler_init(C.byref(iface) if iface else None, None), lib.llama_sampler_init_greedy())
    clone = Owned(lib.llama_sampler_clone(chain))
    for each in (chain, clone):
        assert each.apply(Candidates([1, 3, 2])).token == 1
        lib.llama_sampler_accept(each, 1)
        lib.llama_sampler_reset(each)
        assert lib.llama_sampler_name(lib.llama_sampler_chain_get(each, 0)) == b"(null)"


def test_null_is_no_sampler():
    lib.llama_sampler_accept(None, 1)
    lib.llama_sampler_apply(None, C.byref(Candidates([1]).c))
    lib.llama_sampler_apply(make("greedy"), None)
    lib.llama_sampler_reset(None)
    lib.llama_sampler_free(None)
    assert not lib.llama_sampler_clone(None)
    assert lib.llama_sampler_name(None) == b"(null)"
    assert lib.llama_sampler_sample(None, None, -1) == abi.NULL_TOKEN
    assert b"NULL" in lib.bitnet_last_error()
    assert not lib.llama_sampler_init_logit_bias(10, 2, None)


# ---- llama_sampler_sample ----

@pytest.fixture(scope="module")
def context():
    """A context of the tiny model after a prompt of three tokens; the logits of the last one are there."""
    with model_abi.loaded(Path(__file__).parent / "data" / "tiny-b158-i2_s.gguf") as model:
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = 64
        ctx = lib.llama_init_from_model(model, params)
        assert ctx, lib.bitnet_last_error()
        assert lib.llama_decode(ctx, lib.llama_batch_get_one((C.c_int32 * 3)(1, 5, 9), 3)) == 0
        yield ctx
        lib.llama_free(ctx)


@pytest.fixture
def logits(context):
    n_vocab = 512  # of the file
    return np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (n_vocab,))


def test_sample_takes_the_logits_of_a_row(context, logits):
    assert lib.llama_sampler_sample(make("greedy"), context, -1) == int(np.argmax(logits))
    assert lib.llama_sampler_sample(chain_of(lib.llama_sampler_init_greedy()), context, 2) == int(np.argmax(logits))
    one, other = make("dist", 3), make("dist", 3)
    for _ in range(20):
        assert lib.llama_sampler_sample(one, context, -1) == other.apply(Candidates(logits)).token


def test_sample_accepts_what_it_returns(context, logits):
    chain = chain_of(lib.llama_sampler_init_penalties(0, 64, 1.0, 1000.0, 0.0), lib.llama_sampler_init_greedy())
    tokens = [lib.llama_sampler_sample(chain, context, -1) for _ in range(10)]
    assert tokens == best_first(Candidates(logits))[:10].tolist()
    assert lib.llama_perf_sampler(chain).n_sample == 10


def test_sample_without_logits_or_choice_gives_no_token(context):
    chain = chain_of(lib.llama_sampler_init_top_k(5), no_perf=False)
    for idx in (0, 3, -2, 2**31 - 1, -2**31):
        assert lib.llama_sampler_sample(chain, context, idx) == abi.NULL_TOKEN
        assert lib.bitnet_last_error()
    assert lib.llama_sampler_sample(chain, context, -1) == abi.NULL_TOKEN
    assert b"'chain' selected none of its 5 candidates" in lib.bitnet_last_error()
    assert lib.llama_perf_sampler(chain).n_sample == 0
