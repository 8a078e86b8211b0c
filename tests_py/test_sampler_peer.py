"""Samplers beside llama.cpp itself, where llama-cpp-python is: random chains with settings at their edges, on random candidates, accepted,
cloned and reset on the way.

Left out is where llama.cpp is not to be followed: equal logits (a sort that is not stable; here the smaller id comes first), infinite
ones (NaN), biases named twice where ids are not in order (it takes one of them), clones of adaptive-p (which forget), and mirostat 1
where its law asks for more candidates than an int counts (it takes one; here all stay). Next: test_sampler_golden.py, which needs no peer.
"""
import ctypes as C
import random
from pathlib import Path

import numpy as np
import pytest

import make_grammar_golden as golden
import sampling_abi as abi
from peer_tools import peer_or_skip
from sampling_abi import Candidates

llama_cpp = peer_or_skip()
ours, theirs = abi.load(), C.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libllama.so"))
for name, (result, *arguments) in abi.SIGNATURES.items():
    if hasattr(theirs, name):
        getattr(theirs, name).restype, getattr(theirs, name).argtypes = result, arguments
APIS = ours, theirs

FRACTIONS = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.999, 1.0, 1.5, 2.0, -0.5]
KEEP = [0, 1, 2, 3, 5, 100, 2**40]


def biases(choose, n):
    count = choose.choice([0, 1, 5, 20])
    tokens = {choose.choice([-1, 0, 1, 2, n - 1, n, n + 5, 2**31 - 1, -2**31, choose.randrange(n)]) for _ in range(count)}
    found = [(token, choose.choice([-np.inf if n == 300 else -50.0, 1.0, -2.0, 0.5, 100.0])) for token in tokens]
    return n, len(found), (abi.LogitBias * max(1, len(found)))(*found)


SETTINGS = {
    "top_k": lambda c, n: (c.choice([-1, 0, 1, 2, 3, 5, n, n + 1, 2**31 - 1, -2**31]),),
    "top_p": lambda c, n: (c.choice(FRACTIONS), c.choice(KEEP)),
    "min_p": lambda c, n: (c.choice([p for p in FRACTIONS if p <= 1]), c.choice(KEEP)),        # above 1, llama.cpp leaves none
    "typical": lambda c, n: (c.choice(FRACTIONS), c.choice(KEEP)),
    "temp": lambda c, n: (c.choice([0.25, 0.5, 0.9, 1.0, 1.5, 2.0]),),
    "temp_ext": lambda c, n: (c.choice([0.75, 1.0, 1.5]), c.choice([0.0, 0.5, -1.0]), c.choice([1.0, 0.5, 2.0])),
    "top_n_sigma": lambda c, n: (c.choice([-1.0, 0.0, 0.37, 1.03, 2.71]),),
    "xtc": lambda c, n: (c.choice([0.0, 0.5, 1.0, 2.0]), c.choice([0.0, 0.01, 0.05, 0.1, 0.3, 0.5, 0.6]), c.choice([0, 1, 2, 5]),
                         c.randrange(50)),
    "penalties": lambda c, n: (n, c.choice([0, 1, 2, 5, 64, -1]), c.choice([1.0, 1.1, 2.0, 0.5, -1.0]), c.choice([0.0, 0.5, -1.0]),
                               c.choice([0.0, 0.25, -1.0])),
    "logit_bias": biases,
    "greedy": lambda c, n: (),
    "dist": lambda c, n: (c.randrange(100),),
    "mirostat": lambda c, n: (n, c.randrange(50), c.choice([1.0, 2.0, 3.0]), c.choice([0.1, 0.5]), c.choice([3, 10, 100, 1000])),
    "mirostat_v2": lambda c, n: (c.randrange(50), c.choice([0.1, 1.0, 3.0, 5.0, 10.0]), c.choice([0.0, 0.1, 0.5])),
    "adaptive_p": lambda c, n: (c.choice([-1.0, 0.0, 0.3, 0.5, 1.0, 1.5]), c.choice([0.0, 0.5, 0.9, 0.99, 1.5, -1.0]), c.randrange(50)),
}
SELECT = ["greedy", "dist", "mirostat", "mirostat_v2", "adaptive_p"]
# What leaves logits of minus infinity, or takes a sorted array and leaves it unsorted but marked as sorted, in llama.cpp.
MASK = ["top_n_sigma", "logit_bias"]
CUT = [kind for kind in SETTINGS if kind not in SELECT + MASK]


def chain(api, parts):
    made = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    for kind, settings in parts:
        api.llama_sampler_chain_add(made, getattr(api, f"llama_sampler_init_{kind}")(*settings))
    return made


def applied(api, sampler, logits, ids):
    candidates = Candidates(logits, ids)
    api.llama_sampler_apply(sampler, C.byref(candidates.c))
    left = C.cast(candidates.c.data, C.POINTER(C.c_byte * (candidates.c.size * abi.DTYPE.itemsize))).contents
    left = np.frombuffer(bytes(left), abi.DTYPE)                                          # llama.cpp's xtc moves `data`
    return left, int(left["id"][candidates.c.selected]) if candidates.c.selected >= 0 else None


def walk(choose, kinds, n, spread):
    parts = [(kind, SETTINGS[kind](choose, n)) for kind in kinds]
    samplers = [chain(api, parts) for api in APIS]
    for _ in range(12):
        rows = np.random.RandomState(choose.randrange(2**31))
        logits, ids = (rows.normal(size=n) * spread).astype(np.float32), rows.permutation(n) if rows.rand() < 0.3 else None
        (our_left, our_token), (their_left, their_token) = [applied(api, s, logits, ids) for api, s in zip(APIS, samplers)]
        assert our_token == their_token and our_left["id"].tolist() == their_left["id"].tolist(), parts
        # llama.cpp sums in floats, and takes exp, log and pow from the C library.
        np.testing.assert_allclose(our_left["logit"], their_left["logit"], rtol=2e-5, atol=2e-4, err_msg=str(parts))
        np.testing.assert_allclose(our_left["p"], their_left["p"], rtol=1e-3, atol=1e-5, err_msg=str(parts))
        tokens = [choose.randrange(n) for _ in range(choose.choice([0, 0, 1, 3]))] + [our_token] * (our_token is not None)
        clones = [api.llama_sampler_clone(s) for api, s in zip(APIS, samplers)] if "adaptive_p" not in kinds else samplers
        for api, sampler, clone in zip(APIS, samplers, clones):
            if clone is not sampler:
                api.llama_sampler_free(sampler)
            for token in tokens:
                api.llama_sampler_accept(clone, token)
        samplers = clones
        if choose.random() < 0.1:
            for api, sampler in zip(APIS, samplers):
                api.llama_sampler_reset(sampler)
    for api, sampler in zip(APIS, samplers):
        api.llama_sampler_free(sampler)


def length(choose, kinds):
    """Mirostat's law wants many candidates; among many, typical's scores come so near that floats order them otherwise."""
    return 300 if "mirostat" in kinds else choose.choice([1, 2, 3, 5, 10, 50, 50 if "typical" in kinds else 300])


def belong(first, last):
    """Not mirostat 1 behind what leaves few candidates, nor what computes surprises behind impossible ones."""
    if last == "mirostat":
        return first in ([], ["penalties"])
    return last in ("greedy", "dist") or not set(first) & set(MASK)


FIRST = [[], *([kind] for kind in CUT + MASK), *([kind] * 2 for kind in CUT)]


@pytest.mark.parametrize("first, last", [(first, last) for first in FIRST for last in SELECT if belong(first, last)], ids=str)
def test_chains_do_what_llama_cpps_do(first, last):
    choose = random.Random("-".join(first + [last]))
    for _ in range(12):
        walk(choose, first + [last], length(choose, first + [last]), choose.choice([1.0, 2.0, 3.0]))


def test_long_chains_do_what_llama_cpps_do():
    choose = random.Random(11)
    for _ in range(150):
        kinds = choose.sample(CUT, choose.randrange(1, 6)) + [choose.choice(["greedy", "dist"])]
        walk(choose, kinds, length(choose, kinds), choose.choice([0.5, 1.0, 3.0]))


# ---- with a vocabulary ----

VOCABS = golden.vocab_of(golden.declare(ours)), golden.vocab_of(golden.declare(theirs))
N_VOCAB = ours.llama_vocab_n_tokens(VOCABS[0])
BREAKERS = [b"\n", b":", b'"', b" ", b"the", b"\xff", b"\xc3", b"\xc3\xa9", b"", b"a", b"begin", b"\xe6\x97", b"e" * 39, b"e" * 45, b"in",
            b"</s>", b"er in", b"z" * 300]


def both_allow(samplers, logits, ids=None):
    found = [Candidates(logits, ids), Candidates(logits, ids)]
    for api, sampler, candidates in zip(APIS, samplers, found):
        api.llama_sampler_apply(sampler, C.byref(candidates.c))
    assert found[0].ids == found[1].ids
    np.testing.assert_allclose(found[0].items["logit"], found[1].items["logit"], rtol=1e-5)
    return found[0]


def test_dry_punishes_what_llama_cpps_does():
    choose, punished = random.Random(3), 0
    for _ in range(150):
        breakers = choose.sample(BREAKERS, choose.choice([0, 0, 1, 2, 4]))
        settings = [choose.choice(values) for values in ([0.0, 0.8, 1.0, -1.0], [0.5, 1.0, 1.75, 2.0], [0, 1, 2, 3, -1],
                                                         [0, 1, 3, 8, 64, -1])]
        samplers = [api.llama_sampler_init_dry(vocab, *settings, (C.c_char_p * max(1, len(breakers)))(*breakers), len(breakers))
                    for api, vocab in zip(APIS, VOCABS)]
        assert ours.llama_sampler_name(samplers[0]) == theirs.llama_sampler_name(samplers[1])
        words = choose.choice([[1, 2, 3], [300, 301, 302, 101], list(range(N_VOCAB))[::37], [100, 102, 103, 104, 262, 261]])
        for step in range(20):
            for token in choose.choices(words, k=choose.choice([1, 3, 10])):
                for api, sampler in zip(APIS, samplers):
                    api.llama_sampler_accept(sampler, token)
            punished += bool(both_allow(samplers, np.zeros(N_VOCAB)).items["logit"].any())
            if step % 9 == 8:
                samplers = [api.llama_sampler_clone(sampler) for api, sampler in zip(APIS, samplers)]
            if step == 13:
                for api, sampler in zip(APIS, samplers):
                    api.llama_sampler_reset(sampler)
    assert punished > 500


def test_infill_ends_where_llama_cpps_does():
    samplers = [api.llama_sampler_init_infill(vocab) for api, vocab in zip(APIS, VOCABS)]
    for seed in range(400):
        rows = np.random.RandomState(seed)
        n = rows.choice([1, 2, 5, 40, N_VOCAB])
        logits = (rows.normal(size=n) * rows.choice([0.1, 1, 4])).astype(np.float32)
        logits[rows.randint(n)] += rows.choice([0, 3, 6, 20])
        ids = rows.permutation(N_VOCAB)[:n]
        if seed % 3 == 0 and 2 not in ids:
            ids[0] = 2                           # the end of the text is a candidate
        both_allow(samplers, logits, ids)
