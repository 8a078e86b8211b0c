"""The Gumbel sampler: a draw from the softmax, the same from all logits as from the few that the screened head computes."""
import math
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bitnet_ffi import Model
from bitnet_ffi._ffi import check_pointer, ffi, lib
from gguf_writer import tiny_model
from kernel_tables import TABLES, run_under

INF, NAN = float("inf"), float("nan")
SHAPE = dict(arch="bitnet-b1.58", weights="i2_s", n_embd=256, n_ff=256, n_head=4, n_head_kv=2, n_layer=1)
N_VOCAB = 2003


# ---- a plain statement of it ----

def philox(counter, key):
    """Philox 4x32, ten rounds (Salmon et al. 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xd2511f53 * c[0], 0xcd9e8d57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xffffffff, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xffffffff]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff, (k[1] + 0xbb67ae85) & 0xffffffff]
    return c


@lru_cache(maxsize=None)
def noise(seed, step, token):
    high, low = (philox((token // 64 * 16 + token % 16, step, 0, plane), (seed, 0))[token // 16 % 4] for plane in (0, 1))
    return -math.log(-math.log1p(-((((high ^ 0xffffffff) << 32 | low) + 0.5) / 2.0**64)))


def expected(logits, ids, seed, step):
    """The token with the largest sum; its lead is looked at too, as the library's logarithm is another."""
    logits = np.where(np.isnan(logits), -INF, np.asarray(logits, np.float32)).astype(np.float64)
    best = logits.max()
    if np.isinf(best):
        logits = np.where(logits == best, 0.0, -INF)
    scores = sorted(((l + noise(seed, step, t), -t) for l, t in zip(logits, ids)), reverse=True)
    assert len(scores) == 1 or scores[0][0] - scores[1][0] > 1e-12
    return -scores[0][1]


class Sampler:
    """A sampler or a chain of several, freed with the Python object."""

    def __init__(self, *members):
        if len(members) == 1:
            self.pointer = ffi.gc(check_pointer(members[0]), lib.llama_sampler_free)
            return
        self.pointer = ffi.gc(lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params()), lib.llama_sampler_free)
        for member in members:
            lib.llama_sampler_chain_add(self.pointer, check_pointer(member))

    def clone(self):
        return Sampler(lib.llama_sampler_clone(self.pointer))

    def choose(self, logits, ids=None):
        """The token it selects from candidates, without accepting it."""
        data = np.zeros(len(logits), [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
        data["logit"] = logits
        data["id"] = np.arange(len(logits)) if ids is None else ids
        array = ffi.new("llama_token_data_array *", [ffi.from_buffer("llama_token_data[]", data), len(data), -1, False])
        lib.llama_sampler_apply(self.pointer, array)
        return None if array.selected < 0 else int(array.data[array.selected].id)

    def sample(self, context, i=-1):
        return lib.llama_sampler_sample(self.pointer, context._pointer, i)


def gumbel(seed):
    return Sampler(lib.bitnet_sampler_init_gumbel(seed))


# ---- the choice ----

some_logits = st.lists(st.one_of(st.sampled_from([0.0, -0.0, 1.0, 3.5, INF, -INF, NAN]), st.floats(-20, 20, width=32)),
                       min_size=1, max_size=90)


@given(some_logits, st.integers(0, 2**32 - 2), st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None)
def test_takes_the_largest_sum_of_logit_and_noise(logits, seed, random, in_order):
    ids = list(range(len(logits))) if in_order else random.sample(range(10**6), len(logits))
    sampler = gumbel(seed)
    for step in range(3):
        assert sampler.choose(logits, ids) == expected(logits, ids, seed, step)


@pytest.mark.parametrize("n", [63, 64, 65, 128, 1000])
def test_blocks_of_candidates_in_order_of_id(n):
    logits = np.random.default_rng(n).normal(0, 3, n).astype(np.float32)
    sampler = gumbel(8)
    for step in range(20):
        assert sampler.choose(logits) == expected(logits, range(n), 8, step)


def test_order_and_absent_losers_change_nothing():
    random = np.random.default_rng(1)
    logits = random.normal(0, 4, 5000).astype(np.float32)
    every, shuffled, few = gumbel(5), gumbel(5), gumbel(5)
    for _ in range(50):
        token = every.choose(logits)
        order = random.permutation(5000)
        assert shuffled.choose(logits[order], order) == token
        kept = np.union1d(np.flatnonzero(random.random(5000) < 0.1), [token])
        assert few.choose(logits[kept], kept) == token


def test_follows_the_probabilities():
    logits = np.array([1.0, -INF, 0.0, 2.0, NAN, -1.0, 0.5, -4.0], np.float32)
    n = 100_000
    finite = np.isfinite(logits)
    p = np.exp(logits[finite].astype(np.float64))
    wanted = n * p / p.sum()
    sampler = gumbel(1234)
    seen = np.bincount([sampler.choose(logits) for _ in range(n)], minlength=len(logits))
    assert not seen[~finite].any()
    # 99.9 % of draws of a chi-square with 5 degrees of freedom stay below 20.52; the seed makes it one fixed draw.
    assert ((seen[finite] - wanted) ** 2 / wanted).sum() < 20.52


def test_large_vocabulary_follows_the_probabilities():
    """Twenty groups of tokens of about the same probability, drawn through the vector kernel."""
    random = np.random.default_rng(2)
    logits = random.normal(0, 2, 20_000).astype(np.float32)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum()
    group = np.empty(len(p), int)
    order = np.argsort(p)
    group[order] = np.minimum(20 * np.cumsum(p[order]), 19).astype(int)
    n = 5000
    sampler = gumbel(4321)
    seen = np.bincount(group[[sampler.choose(logits) for _ in range(n)]], minlength=20)
    wanted = n * np.bincount(group, p, minlength=20)
    # 19 degrees of freedom: 99.9 % below 43.82.
    assert ((seen - wanted) ** 2 / wanted).sum() < 43.82


def test_neighbouring_seeds_and_steps_are_independent():
    """Of flat logits over 1024, pairs of choices agree one time in 1024: 5 of 5000, and 20 or more once in a million times."""
    flat = np.zeros(1024, np.float32)
    samplers = [gumbel(seed) for seed in range(2)]
    tokens = np.array([[s.choose(flat) for s in samplers] for _ in range(5000)])
    assert (tokens[:, 0] == tokens[:, 1]).sum() < 20
    assert (tokens[1:, 0] == tokens[:-1, 0]).sum() < 20


def test_leaves_p_alone_and_nothing_selects_nothing():
    data = ffi.new("llama_token_data[]", [[0, 1.0, 0.25], [1, 2.0, 0.75]])
    array = ffi.new("llama_token_data_array *", [data, 2, -1, False])
    sampler = gumbel(1)
    lib.llama_sampler_apply(sampler.pointer, array)
    assert (data[0].p, data[1].p) == (0.25, 0.75) and array.size == 2
    assert sampler.choose([]) is None
    assert ffi.string(lib.llama_sampler_name(sampler.pointer)) == b"gumbel"


@pytest.mark.parametrize("value", [-INF, NAN, INF])
def test_logits_all_alike_and_not_finite_share_alike(value):
    sampler = gumbel(1)
    assert {sampler.choose([value] * 4) for _ in range(100)} == {0, 1, 2, 3}


def test_reset_clone_and_seed():
    flat = np.zeros(5000, np.float32)
    sampler = gumbel(9)
    first = [sampler.choose(flat) for _ in range(6)]
    clone = sampler.clone()
    assert [clone.choose(flat) for _ in range(6)] == [sampler.choose(flat) for _ in range(6)] != first
    lib.llama_sampler_reset(sampler.pointer)
    lib.llama_sampler_accept(sampler.pointer, 3)
    assert [sampler.choose(flat) for _ in range(6)] == first
    assert lib.llama_sampler_get_seed(sampler.pointer) == lib.llama_sampler_get_seed(clone.pointer) == 9
    chain = Sampler(lib.llama_sampler_init_temp(0.5), lib.bitnet_sampler_init_gumbel(17), lib.llama_sampler_init_temp(2))
    assert lib.llama_sampler_get_seed(chain.pointer) == 17


def test_without_a_seed_chooses_one_at_each_reset():
    seeds = set()
    for _ in range(4):
        sampler = gumbel(lib.LLAMA_DEFAULT_SEED)
        for _ in range(2):
            seed = lib.llama_sampler_get_seed(sampler.pointer)
            assert sampler.choose(np.zeros(3000)) == gumbel(seed).choose(np.zeros(3000))
            seeds.add(seed)
            lib.llama_sampler_reset(sampler.pointer)
    assert len(seeds) > 2 and lib.LLAMA_DEFAULT_SEED not in seeds


# ---- through the screened head ----

def biases(*pairs):
    return lib.llama_sampler_init_logit_bias(N_VOCAB, len(pairs), ffi.new("llama_logit_bias[]", [list(pair) for pair in pairs]))


def penalties(*settings):
    return lib.llama_sampler_init_penalties(N_VOCAB, *settings)


NOISE = lib.bitnet_sampler_init_gumbel
CHAINS = {
    "alone": lambda seed: Sampler(NOISE(seed)),
    "cold": lambda seed: Sampler(lib.llama_sampler_init_temp(0.1), NOISE(seed)),
    "0.7": lambda seed: Sampler(lib.llama_sampler_init_temp(0.7), NOISE(seed)),
    "hot": lambda seed: Sampler(lib.llama_sampler_init_temp(1), lib.llama_sampler_init_temp(5), NOISE(seed)),
    "zero": lambda seed: Sampler(biases((5, 2)), lib.llama_sampler_init_temp(0), NOISE(seed)),
    "tiny": lambda seed: Sampler(lib.llama_sampler_init_temp(1e-38), NOISE(seed)),
    "huge": lambda seed: Sampler(lib.llama_sampler_init_temp(1e38), NOISE(seed)),
    "biases": lambda seed: Sampler(biases((3, 2.5), (7, -INF), (2002, 4), (5000, 1), (-2, 9)), lib.llama_sampler_init_temp(0.8),
                                   NOISE(seed)),
    "forbidden": lambda seed: Sampler(lib.llama_sampler_init_temp(0.3), biases(*((i, -INF) for i in range(0, 2000, 8))), NOISE(seed)),
    "certain": lambda seed: Sampler(biases((70, INF), (1000, INF)), NOISE(seed)),
    "penalties": lambda seed: Sampler(penalties(12, 1.5, 0.1, 0.2), lib.llama_sampler_init_temp(1.3), NOISE(seed)),
    "rewards": lambda seed: Sampler(lib.llama_sampler_init_temp(0.6), penalties(12, 0.8, -0.5, 0), NOISE(seed)),
    "top-k": lambda seed: Sampler(lib.llama_sampler_init_top_k(20), lib.llama_sampler_init_temp(0.7), NOISE(seed)),
    "all": lambda seed: Sampler(penalties(12, 1.1, 0, 0), lib.llama_sampler_init_top_k(25), lib.llama_sampler_init_top_p(0.9, 1),
                                lib.llama_sampler_init_min_p(0.05, 1), lib.llama_sampler_init_temp(0.7), NOISE(seed)),
    "top-p": lambda seed: Sampler(lib.llama_sampler_init_top_p(0.9, 1), NOISE(seed)),
}


def head(seed, change=lambda w: None, rounded=True):
    """A tiny model with an F16 head, whose numbers came from bfloat16 (twelve bits are stored then) or did not."""
    g = tiny_model(**SHAPE, n_vocab=N_VOCAB, embd="f16", head="f16", seed=seed)
    w = np.random.default_rng(seed).normal(0, 0.06, (N_VOCAB, 256)).astype(np.float32)
    change(w)
    if rounded:
        w = (w.view(np.uint32) & 0xffff0000).view(np.float32)
    g.get_tensor("output.weight").data = w.astype(np.float16).tobytes()
    return g


def ties(w):
    w[1000:2000] = w[:1000]
    w[500:600] = w[500]


def outliers(w):
    w[5] = 0
    w[6:9, 40:60] *= 1e-6
    w[100, ::31] = 300
    w[300:400] *= 20


def broken(w):
    w[700, 3] = w[2002, 255] = NAN
    w[0, 0] = INF
    w[900, 0] = -INF


def flat(w):
    w[:] = w[0]


HEADS = {"plain": dict(seed=1), "f16": dict(seed=2, rounded=False), "ties": dict(seed=3, change=ties),
         "outliers": dict(seed=4, change=outliers), "broken": dict(seed=5, change=broken), "flat": dict(seed=6, change=flat)}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_few_logits_choose_what_all_do(tmp_path, name, n_threads):
    """One of thousands of cases each: a state, a chain, a seed. The same chains then choose from the logits of that state."""
    path = head(**HEADS[name]).write(tmp_path / "model.gguf")
    n_tokens = 0
    with Model(path) as model, model.context(n_ctx=64, n_threads=n_threads) as context:
        samplers = {(kind, seed): CHAINS[kind](seed) for kind in CHAINS for seed in range(6)}
        chosen = set()
        for i in range(8):
            context.decode([(37 * i * i + 11) % N_VOCAB])
            copies = {key: sampler.clone() for key, sampler in samplers.items()}
            tokens = {key: sampler.sample(context) for key, sampler in samplers.items()}
            logits = context.logits().copy()
            for key, token in tokens.items():
                assert copies[key].choose(logits) == token, (key, i)
                n_tokens += 1
            chosen.update(tokens.values())
    assert n_tokens == 8 * 6 * len(CHAINS) and len(chosen) > (2 if name == "broken" else 50)


def test_rows_of_a_batch(tmp_path):
    path = head(7).write(tmp_path / "model.gguf")
    with Model(path) as model, model.context(n_ctx=256, n_seq_max=14, n_threads=2) as context:
        context.decode([(17 * i) % 2000 for i in range(14)], pos=[0] * 14, seq=list(range(14)), logits="all")
        for seed in range(20):
            samplers = [CHAINS["0.7"](seed) for _ in range(14)]
            copies = [sampler.clone() for sampler in samplers]
            tokens = [samplers[i].sample(context, i) for i in reversed(range(14))][::-1]
            if seed == 19:
                assert tokens == [copies[i].choose(row) for i, row in enumerate(context.all_logits())]


def stream(model, n_threads, seed, n=30):
    """Tokens of a chain, each fed back."""
    token, tokens, chain = 1, [], CHAINS["penalties"](seed)
    with model.context(n_ctx=64, n_threads=n_threads) as context:
        for _ in range(n):
            context.decode([token])
            token = chain.sample(context)
            tokens.append(token)
    return tokens


# The streams of four seeds.
PROBE = """
import json, sys
import test_gumbel as t
with t.Model(sys.argv[1]) as model:
    print(json.dumps([t.stream(model, 2, seed) for seed in range(4)]))
"""


@pytest.mark.parametrize("table", ["scalar", *TABLES])
def test_every_table_gives_the_same_tokens(tmp_path, table):
    path = head(8).write(tmp_path / "model.gguf")
    streams = run_under(table, PROBE, path)
    with Model(path) as model:
        assert streams == [stream(model, 1, seed) for seed in range(4)]
    assert len(set(map(tuple, streams))) == 4


def test_same_stream_without_a_screen(tmp_path):
    path = head(9).write(tmp_path / "model.gguf")
    params = lib.llama_model_default_params()
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    plain = ffi.gc(check_pointer(lib.llama_model_load_from_file(str(path).encode(), params)), lib.llama_model_free)
    ctx = ffi.gc(lib.llama_init_from_model(plain, lib.llama_context_default_params()), lib.llama_free)
    with Model(path) as model:
        for seed in range(5):
            chain, token, tokens = CHAINS["penalties"](seed), 1, []
            lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
            for _ in range(30):
                assert lib.llama_decode(ctx, lib.llama_batch_get_one(ffi.new("int32_t[]", [token]), 1)) == 0
                token = lib.llama_sampler_sample(chain.pointer, ctx, -1)
                tokens.append(token)
            assert tokens == stream(model, 2, seed)


def test_a_real_head(smollm2_path, tmp_path):
    """SmolLM2's tied head as F16: of its 49,152 rows a few are computed, and the text is that of all of them."""
    path = tmp_path / "f16_head.gguf"
    params = lib.llama_model_quantize_default_params()
    params.ftype = lib.LLAMA_FTYPE_MOSTLY_Q4_1
    params.allow_requantize, params.token_embedding_type = True, lib.GGML_TYPE_F16
    assert lib.llama_model_quantize(str(smollm2_path).encode(), str(path).encode(), ffi.addressof(params)) == 0
    with Model(path) as model, model.context(n_ctx=128, n_threads=2) as context:
        chains = {(kind, seed): CHAINS[kind](seed) for kind in ("alone", "0.7", "top-k") for seed in range(3)}
        text = list(model.encode("Once upon a time", add_special=True))
        context.decode(text)
        for _ in range(40):
            copies = {key: chain.clone() for key, chain in chains.items()}
            tokens = {key: chain.sample(context) for key, chain in chains.items()}
            logits = context.logits().copy()
            assert tokens == {key: copy.choose(logits) for key, copy in copies.items()}
            context.decode([tokens["0.7", 1]])
            text.append(tokens["0.7", 1])
    assert len(set(text)) > 20
