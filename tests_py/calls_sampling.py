"""Checks of the header's "Sampling": samplers, chains and grammars of today, and the calls of 2023 and 2024 that sample."""
import math

import pytest

from calls import (INF, INT_MAX, INT_MIN, N_VOCAB, NAN, NULL, REAL, Room, SIZE_MAX, ffi, items, last_error)

room = Room()
LOGITS = [1.0, 5.0, 3.0, -2.0, 4.0]
BEST = [1, 4, 2, 0, 3]


def owned(sampler):
    assert sampler != NULL, last_error()
    return ffi.gc(sampler, REAL.llama_sampler_free)


def apply(w, sampler, values=LOGITS):
    """The candidates that are left, as (id, logit), and the token that is selected."""
    cur = w.candidates(values)
    REAL.llama_sampler_apply(owned(sampler), cur)
    return w.chosen(), cur.data[cur.selected].id if 0 <= cur.selected < cur.size else None


def ids(chosen):
    return [token for token, _ in chosen[0]]


def name_of(sampler):
    return ffi.string(REAL.llama_sampler_name(sampler))


# ---- what each sampler does to five candidates ----

# By settings: probabilities are 0.665, 0.245, 0.090, 0.012 and 0.0006. Of those with 0.1 or more, xtc keeps the least likely.
KEEPS = {"top_k": {(2,): 2, (3,): 3}, "top_p": {(0.85, 1): 2, (0.1, 3): 3}, "min_p": {(0.3, 1): 2, (0.9, 3): 3},
         "typical": {(0.5, 1): 1, (0.8, 1): 2, (0.01, 3): 3}, "softmax": {(): 5}, "tail_free": {(0.5, 1): 1, (0.9, 1): 2, (0.01, 2): 2},
         "xtc": {(1.0, 0.1, 1, 7): [4, 2, 0, 3], (1.0, 0.05, 1, 7): [2, 0, 3], (1.0, 0.1, 4, 7): [4, 2, 0, 3], (1.0, 0.1, 5, 7): BEST}}
for kind, choices in KEEPS.items():
    def check(api, w, kind=kind, choices=choices):
        for settings, kept in choices.items():
            sampler = owned(getattr(api, f"llama_sampler_init_{kind}")(*settings))
            cur = w.candidates(LOGITS)
            REAL.llama_sampler_apply(sampler, cur)
            assert sorted(ids((w.chosen(), None))) == sorted(BEST[:kept] if isinstance(kept, int) else kept), settings
            assert REAL.llama_sampler_get_seed(sampler) == (7 if kind == "xtc" else 2**32 - 1)
    room.use(f"llama_sampler_init_{kind}")(check)

@room.use("llama_sampler_init_greedy")
def _(api, w):
    assert apply(w, api.llama_sampler_init_greedy())[1] == 1


@room.use("llama_sampler_init_mirostat", "llama_sampler_init_mirostat_v2")
def _(api, w):
    """tau near 0: only the best has so little surprise; more of it keeps more, and eta says how fast a surprise is answered. Version 1 takes
    its law from n_vocab and the m best; one pair (m = 2) says too little here, no vocabulary nothing."""
    for name, choices in (("llama_sampler_init_mirostat", {(5, 7, 0.1, 0.1, 100): [1, 1], (5, 7, 1.5, 0.1, 100): [2, 2],
                                                           (5, 7, 1.5, 9.0, 100): [2, 5], (5, 7, 1.5, 0.1, 3): [3, 3],
                                                           (5, 7, 2.0, 0.1, 2): [5, 5], (0, 7, 1.0, 0.1, 100): [5, 5]}),
                          ("llama_sampler_init_mirostat_v2", {(7, 0.1, 0.1): [1, 1], (7, 1.0, 0.1): [1, 2], (7, 2.0, 0.0): [3, 3],
                                                              (7, 1.6, 2.0): [2, 3]})):
        for settings, sizes in choices.items():
            sampler, found = owned(getattr(api, name)(*settings)), []
            for _ in sizes:
                cur = w.candidates(LOGITS)
                REAL.llama_sampler_apply(sampler, cur)
                found.append(cur.size)
            assert found == sizes and REAL.llama_sampler_get_seed(sampler) == 7, (settings, found)

DRAWS = [("llama_sampler_init_dist", (7,)), ("bitnet_sampler_init_gumbel", (7,)), ("llama_sampler_init_adaptive_p", (-1.0, 0.5, 7))]
for name, settings in DRAWS:
    def check(api, w, name=name, settings=settings):
        sampler = owned(getattr(api, name)(*settings))
        drawn = []
        for _ in range(200):
            cur = w.candidates(LOGITS)
            REAL.llama_sampler_apply(sampler, cur)
            drawn.append(cur.data[cur.selected].id)
            REAL.llama_sampler_accept(sampler, drawn[-1])
        assert 100 < drawn.count(1) < 170 and len(set(drawn)) >= 3         # of probability 0.66; 5 deviations on either side
        assert REAL.llama_sampler_get_seed(sampler) == 7
    room.use(name)(check)

CHANCES = [math.exp(x - 5) / sum(math.exp(y - 5) for y in LOGITS) for x in LOGITS]
ENTROPY = -sum(p * math.log(p) for p in CHANCES)
CHANGES = [
    ("temp", (0.5,), lambda: [2 * x for x in LOGITS]),
    ("temp_ext", (0.5, 0.0, 1.0), lambda: [2 * x for x in LOGITS]),
    ("temp_ext", (1.0, 0.5, 2.0), lambda: [x / (0.5 + (ENTROPY / math.log(5)) ** 2) for x in LOGITS]),
    ("top_n_sigma", (1.0,), lambda: [x if x >= 5 - math.sqrt(sum((y - 2.2) ** 2 for y in LOGITS) / 5) else -INF for x in LOGITS]),
    ("logit_bias", (5, 1, ffi.new("llama_logit_bias[]", [(3, 2.5)])), lambda: [1.0, 5.0, 3.0, 0.5, 4.0]),
]
for kind in dict.fromkeys(kind for kind, *_ in CHANGES):
    def check(api, w, kind=kind):
        for settings, after in [row for name, *row in CHANGES if name == kind]:
            found = apply(w, getattr(api, f"llama_sampler_init_{kind}")(*settings))[0]
            assert [logit for _, logit in sorted(found)] == pytest.approx(after(), rel=1e-6)
    room.use(f"llama_sampler_init_{kind}")(check)


@room.use("llama_sampler_init_penalties", "bitnet_sampler_init_penalties_2024", "llama_sampler_init_dry", "llama_sampler_accept")
def _(api, w):
    for sampler, tokens, after in (
            (api.llama_sampler_init_penalties(5, 4, 2.0, 0.5, 0.25), [1, 1], {1: 5 / 2 - 1.0 - 0.25}),
            (api.bitnet_sampler_init_penalties_2024(5, 4, 2, 4, 2.0, 0.0, 0.0, False, True), [1, 2], {1: 2.5, 4: -INF}),
            (api.llama_sampler_init_penalties(5, 1, 2.0, 0.5, 0.25), [4, 1], {1: 5 / 2 - 0.5 - 0.25}),
            (api.llama_sampler_init_dry(w.model, 1.0, 2.0, 1, 4, NULL, 0), [0, 1, 2, 0, 1], {2: 3.0 - 1.0}),
            (api.llama_sampler_init_dry(w.model, 1.0, 2.0, 1, 64, NULL, 0), [0, 1, 2, 0, 1], {2: 3.0 - 2.0})):
        for token in tokens:
            api.llama_sampler_accept(sampler, token)
        assert dict(apply(w, sampler)[0]) == {**dict(enumerate(LOGITS)), **after}


@room.use("llama_sampler_init_infill")
def _(api, w):
    assert 0 < len(apply(w, api.llama_sampler_init_infill(w.model))[0]) < 5   # llama.cpp's rule: unsure, so only the end of the text is left


def letter(w, sampler, text=b"a"):
    """Which tokens a sampler allows, as texts."""
    cur = w.candidates([0.0] * N_VOCAB)
    REAL.llama_sampler_apply(sampler, cur)
    return {ffi.string(REAL.bitnet_token_text(w.model, token)) for token, logit in w.chosen() if logit == 0}


A = b'root ::= "a"'
BYTE_A = 3 + ord("a")


@room.use("llama_sampler_init_grammar")
def _(api, w):
    assert letter(w, owned(api.llama_sampler_init_grammar(w.model, A, b"root"))) == {b"a"}


@room.use("llama_sampler_init_grammar_lazy", "llama_sampler_init_grammar_lazy_patterns")
def _(api, w):
    for make, trigger in ((api.llama_sampler_init_grammar_lazy, b"t"), (api.llama_sampler_init_grammar_lazy_patterns, b"[t]")):
        text = ffi.new("char[]", trigger)
        sampler = owned(make(w.model, b'root ::= "ta"', b"root", [text], 1, NULL, 0))
        assert len(letter(w, sampler)) > 100
        REAL.llama_sampler_accept(sampler, 3 + ord("t"))
        assert letter(w, sampler) == {b"a"}
        sampler = owned(make(w.model, A, b"root", NULL, 0, [BYTE_A + 1, BYTE_A], 2))
        REAL.llama_sampler_accept(sampler, BYTE_A)
        assert b"</s>" in (left := letter(w, sampler)) and not left & {b"a", b"b"}


# ---- settings that mean "off", and absurd ones: documented, so a sampler comes back ----

OFF = [("top_k", (0,)), ("top_k", (INT_MIN,)), ("top_p", (1.0, 1)), ("top_p", (INF, SIZE_MAX)), ("min_p", (0.0, 1)), ("min_p", (NAN, 1)),
       ("typical", (1.0, 1)),
       ("temp", (1.0,)), ("temp_ext", (1.0, 0.0, 1.0)), ("temp_ext", (1.0, NAN, NAN)), ("top_n_sigma", (0.0,)), ("top_n_sigma", (NAN,)),
       ("xtc", (0.0, 0.1, 1, 7)), ("xtc", (1.0, 0.6, 1, 7)), ("xtc", (NAN, NAN, SIZE_MAX, 7)), ("tail_free", (1.0, 1)),
       ("penalties", (5, 0, 2.0, 1.0, 1.0)),
       ("penalties", (INT_MIN, INT_MIN, NAN, NAN, NAN)), ("logit_bias", (5, 0, NULL)), ("logit_bias", (5, INT_MIN, NULL)),
       ("dry", lambda w: (w.model, 0.0, 2.0, 1, 64, NULL, 0)), ("dry", lambda w: (w.model, 1.0, 0.5, 1, 64, NULL, 0)),
       ("dry", lambda w: (w.model, NAN, NAN, INT_MIN, INT_MIN, NULL, 0))]
for kind, settings in OFF:
    room.behaves(f"llama_sampler_init_{kind}", lambda api, w, kind=kind, settings=settings: unchanged(
        w, getattr(api, f"llama_sampler_init_{kind}")(*(settings(w) if callable(settings) else settings))))


def unchanged(w, sampler):
    name = name_of(sampler)
    assert apply(w, sampler)[0] == list(enumerate(LOGITS)) and name.startswith(b"?"), name


# Everything else that numbers can say: some candidate is left, and who selects selects one of them, also where logits are no numbers.
NUMBERS = (NAN, INF, -INF, -1.0, 0.0, 1e-38, 3e38)
LOGIT_ROWS = (LOGITS, [NAN, 2.0, INF, -INF, NAN], [NAN] * 5, [INF] * 5, [-INF] * 5, [3e38, -3e38, 3e38, 0.0, NAN])
ODD = {"llama_sampler_init_top_k": [(INT_MAX,), (1,)], "llama_sampler_init_greedy": [()], "llama_sampler_init_softmax": [()],
       "llama_sampler_init_dist": [(0,), (2**32 - 1,)], "bitnet_sampler_init_gumbel": [(0,), (2**32 - 1,)],
       "llama_sampler_init_top_p": [(x, n) for x in NUMBERS for n in (0, SIZE_MAX)],
       "llama_sampler_init_min_p": [(x, n) for x in NUMBERS for n in (0, SIZE_MAX)],
       "llama_sampler_init_typical": [(x, n) for x in NUMBERS for n in (0, SIZE_MAX)],
       "llama_sampler_init_tail_free": [(x, n) for x in NUMBERS for n in (0, SIZE_MAX)],
       "llama_sampler_init_temp": [(x,) for x in NUMBERS],
       "llama_sampler_init_temp_ext": [(x, y, z) for x in NUMBERS for y in NUMBERS for z in (NAN, -1.0, 1e30)],
       "llama_sampler_init_top_n_sigma": [(x,) for x in NUMBERS],
       "llama_sampler_init_xtc": [(x, y, n, 7) for x in (1.0, INF) for y in NUMBERS for n in (0, SIZE_MAX)],
       "llama_sampler_init_mirostat": [(n, 7, x, y, m) for n in (INT_MIN, 0, INT_MAX) for x in NUMBERS for y in NUMBERS
                                       for m in (INT_MIN, 0, INT_MAX)],
       "llama_sampler_init_mirostat_v2": [(7, x, y) for x in NUMBERS for y in NUMBERS],
       "llama_sampler_init_adaptive_p": [(x, y, 7) for x in NUMBERS for y in NUMBERS],
       "llama_sampler_init_penalties": [(0, n, x, y, x) for n in (1, INT_MAX) for x in NUMBERS for y in NUMBERS],
       "bitnet_sampler_init_penalties_2024": [(INT_MIN, t, t, 4, x, x, x, False, True) for t in (-1, INT_MAX, INT_MIN) for x in NUMBERS],
       "llama_sampler_init_logit_bias": [(INT_MIN, 2, ffi.new("llama_logit_bias[]", [(-1, x), (1, x)])) for x in NUMBERS],
       "llama_sampler_init_infill": [None],
       "llama_sampler_init_dry": [(x, y, n, n) for x in NUMBERS for y in (2.0, NAN, INF) for n in (0, 3, INT_MAX, INT_MIN)],
       "llama_sampler_init_grammar": [None], "llama_sampler_init_grammar_lazy": [None], "llama_sampler_init_grammar_lazy_patterns": [None]}


def made(api, w, name, settings):
    call = getattr(api, name)
    if name.endswith("grammar"):
        return call(w.model, A, b"root")
    if "grammar_lazy" in name:
        return call(w.model, A, b"root", NULL, 0, [BYTE_A], 1)
    if name.endswith("infill"):
        return call(w.model)
    return call(w.model, *settings, NULL, 0) if name.endswith("dry") else call(*settings)


def selects_one(api, w, name, settings):
    for values in LOGIT_ROWS:
        sampler = owned(made(api, w, name, settings))
        for token in (1, -1, INT_MAX, 1):                # tokens that are none are accepted, or refused, but harm nothing
            REAL.llama_sampler_accept(sampler, token)
        cur = w.candidates(values)
        REAL.llama_sampler_apply(sampler, cur)
        assert 1 <= cur.size <= 5 and -1 <= cur.selected < cur.size, (name, settings, values)
        assert {token for token, _ in w.chosen()} <= set(range(5))
        assert all(cur.data[i].p == cur.data[i].p for i in range(cur.size)), (name, settings, values)


for name, choices in ODD.items():
    room.behaves(name, lambda api, w, name=name, choices=choices: [selects_one(api, w, name, settings) for settings in choices])

room.refuses("llama_sampler_init_logit_bias", (5, 2, NULL), NULL, "2 biases at NULL")
room.refuses("llama_sampler_init_logit_bias", (5, INT_MAX, NULL), NULL, "biases at NULL")
room.refuses("llama_sampler_init_dry", lambda w: (w.model, 1.0, 2.0, 1, 64, NULL, 3), NULL, "seq_breakers is NULL")
room.refuses("llama_sampler_init_grammar", lambda w: (w.model, A, NULL), NULL, "grammar_root is NULL")
for text, words in ((b"root ::= b", "b"), (b'root ::= root "a"', "left recursion"), (b"root ::= " + b"(" * 1000, "nested too deep"),
                    (b'root ::= "\xff"', "not UTF-8"),
                    (b'a ::= "a"', "root")):
    room.refuses("llama_sampler_init_grammar", lambda w, text=text: (w.model, text, b"root"), NULL, words)
LAZY = "llama_sampler_init_grammar_lazy llama_sampler_init_grammar_lazy_patterns"
room.refuses(LAZY, lambda w: (w.model, A, NULL, NULL, 0, NULL, 0), NULL, "grammar_root is NULL")
room.refuses(LAZY, lambda w: (w.model, A, b"root", NULL, 1, NULL, 0), NULL, "a trigger is NULL")
room.refuses(LAZY, lambda w: (w.model, A, b"root", [NULL], 1, NULL, 0), NULL, "a trigger is NULL")
room.refuses(LAZY, lambda w: (w.model, A, b"root", NULL, 0, NULL, 1), NULL, "a trigger is NULL")
room.refuses(LAZY, lambda w: (w.model, A, b"root", NULL, SIZE_MAX, NULL, 0), NULL, "at most")
room.refuses(LAZY, lambda w: (w.model, A, b"root", NULL, 0, NULL, SIZE_MAX), NULL, "at most")


# ---- any sampler, and chains ----

@room.use("llama_sampler_init", "llama_sampler_name", "llama_sampler_apply", "llama_sampler_reset", "llama_sampler_free")
def _(api, w):
    seen, text = [], ffi.new("char[]", b"mine")
    iface = ffi.new("struct llama_sampler_i *")
    keep = [ffi.callback("char const *(struct llama_sampler const *)", lambda s: text),
            ffi.callback("void(struct llama_sampler *, llama_token_data_array *)", lambda s, cur: seen.append(("apply", cur.size))),
            ffi.callback("void(struct llama_sampler *)", lambda s: seen.append("reset")),
            ffi.callback("void(struct llama_sampler *)", lambda s: seen.append("free"))]
    iface.name, iface.apply, iface.reset, iface.free = keep
    sampler = api.llama_sampler_init(iface, SOME_DATA)
    assert sampler != NULL and sampler.ctx == SOME_DATA and sampler.iface == iface
    assert api.llama_sampler_name(sampler) == text
    api.llama_sampler_apply(sampler, w.candidates())
    api.llama_sampler_reset(sampler)
    api.llama_sampler_free(sampler)
    assert seen == [("apply", 3), "reset", "free"]
    api.llama_sampler_free(NULL)


CALLS = ("name", "accept", "apply", "reset", "clone", "free")


def with_one_member_null(api, w, missing):
    """A vtable in which all but one function are there, and another in which only that one is."""
    kinds = {"name": ("char const *(struct llama_sampler const *)", lambda s: ffi.NULL),
             "accept": ("void(struct llama_sampler *, llama_token)", lambda s, t: None),
             "apply": ("void(struct llama_sampler *, llama_token_data_array *)", lambda s, cur: None),
             "reset": ("void(struct llama_sampler *)", lambda s: None),
             "clone": ("struct llama_sampler *(struct llama_sampler const *)", lambda s: ffi.NULL),
             "free": ("void(struct llama_sampler *)", lambda s: None)}
    keep = {name: ffi.callback(*kind) for name, kind in kinds.items()}
    for given in (set(CALLS) - {missing}, {missing}):
        iface = ffi.new("struct llama_sampler_i *", {name: keep[name] for name in given})
        chain = owned(api.llama_sampler_chain_init(api.llama_sampler_chain_default_params()))
        member = api.llama_sampler_init(iface, SOME_DATA)
        api.llama_sampler_chain_add(chain, member)
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_greedy())
        assert name_of(member) == b"(null)" if "name" not in given else api.llama_sampler_name(member) == NULL
        cur = w.candidates(LOGITS)
        api.llama_sampler_apply(chain, cur)
        assert cur.selected == 1
        api.llama_sampler_accept(chain, 1)
        api.llama_sampler_reset(chain)
        assert api.llama_sampler_clone(chain) == NULL                      # a state that nothing clones, or a clone that is none
        assert api.llama_sampler_get_seed(chain) == 2**32 - 1


SOME_DATA = ffi.cast("void *", 42)
for missing in CALLS:
    room.behaves("llama_sampler_init", lambda api, w, missing=missing: with_one_member_null(api, w, missing))


@room.use("llama_sampler_clone", "llama_sampler_copy", "llama_sampler_get_seed")
def _(api, w):
    def draws(sampler):
        found = []
        for _ in range(20):
            cur = w.candidates([0.0] * 50)
            REAL.llama_sampler_apply(sampler, cur)
            found.append(cur.data[cur.selected].id)
        return found
    draws(w.chain)
    other, clone = owned(REAL.llama_sampler_clone(w.chain)), owned(api.llama_sampler_clone(w.chain))
    assert draws(other)[5:] == draws(clone)[5:]
    api.llama_sampler_copy(w.chain, other)
    assert draws(other) == draws(w.chain) and api.llama_sampler_get_seed(w.chain) == 7


@room.use("llama_sampler_chain_default_params", "llama_sampler_chain_init", "llama_sampler_chain_add", "llama_sampler_chain_get",
          "llama_sampler_chain_n", "llama_sampler_chain_remove", "llama_perf_sampler", "llama_perf_sampler_reset")
def _(api, w):
    params = api.llama_sampler_chain_default_params()
    assert params.no_perf is True
    params.no_perf = False
    chain = owned(api.llama_sampler_chain_init(params))
    top, greedy = REAL.llama_sampler_init_top_k(2), REAL.llama_sampler_init_greedy()
    api.llama_sampler_chain_add(chain, top)
    api.llama_sampler_chain_add(chain, greedy)
    assert api.llama_sampler_chain_n(chain) == 2
    assert [api.llama_sampler_chain_get(chain, i) for i in (-1, 0, 1)] == [chain, top, greedy]
    assert REAL.llama_sampler_sample(chain, w.ctx, -1) == items_best(w)
    assert api.llama_perf_sampler(chain).n_sample == 1
    api.llama_perf_sampler_reset(chain)
    assert REAL.llama_perf_sampler(chain).n_sample == 0
    removed = api.llama_sampler_chain_remove(chain, 0)
    assert removed == top and api.llama_sampler_chain_n(chain) == 1
    REAL.llama_sampler_free(removed)


def items_best(w):
    logits = items(REAL.llama_get_logits_ith(w.ctx, -1), N_VOCAB)
    return logits.index(max(logits))


room.gives("llama_sampler_sample", lambda w: (w.greedy, w.ctx, -1), items_best)
NO_CHAIN = "expected a sampler of llama_sampler_chain_init"
room.refuses("llama_sampler_chain_add", lambda w: (w.greedy, w.chain), None, NO_CHAIN)
room.refuses("llama_sampler_chain_add", lambda w: (w.chain, NULL), None, "the member is NULL")
room.refuses("llama_sampler_chain_add", lambda w: (w.chain, w.chain), None, "the chain itself")
room.refuses("llama_sampler_chain_add", lambda w: (w.chain, REAL.llama_sampler_chain_get(w.chain, 0)), None, "in the chain already")
room.refuses("llama_sampler_chain_add", lambda w: (nested(w)[1], nested(w)[0]), None, "the chain itself, or holds it")
for i in (2, -2, INT_MAX, INT_MIN):
    room.refuses("llama_sampler_chain_get llama_sampler_chain_remove", lambda w, i=i: (w.chain, i), NULL, f"no member {i} in a chain of 2")
room.refuses("llama_sampler_chain_remove", lambda w: (w.chain, -1), NULL, "no member -1")
room.refuses("llama_sampler_chain_get", lambda w: (w.greedy, 0), NULL, NO_CHAIN)
room.refuses("llama_sampler_chain_n", lambda w: (w.greedy,), 0, NO_CHAIN)
room.refuses("llama_perf_sampler", lambda w: (w.greedy,), (0, 0), NO_CHAIN)
room.refuses("llama_perf_sampler_print llama_perf_sampler_reset", lambda w: (w.greedy,), None, NO_CHAIN)
room.refuses("llama_sampler_apply", lambda w: (w.greedy, NULL), None, "cur_p is NULL")
for token in (-1, N_VOCAB, INT_MAX, INT_MIN):
    room.answers("llama_sampler_accept", lambda w, token=token: (w.greedy, token), None)
    room.refuses("llama_sampler_accept", lambda w, token=token: (owned(REAL.llama_sampler_init_grammar(w.model, A, b"root")), token), None,
                 f"token {token}")
room.refuses("llama_sampler_copy", lambda w: (w.greedy, w.chain), None, "another kind of sampler")
room.refuses("llama_sampler_copy", lambda w: (w.greedy, NULL), None, "NULL")
room.refuses("llama_sampler_sample", lambda w: (w.greedy, NULL, -1), -1, "the context is NULL")
room.refuses("llama_sampler_sample", lambda w: (w.greedy, w.fresh, -1), -1, "nothing decoded yet")
for i in (0, 5, -3, INT_MAX, INT_MIN):
    room.refuses("llama_sampler_sample", lambda w, i=i: (w.greedy, w.ctx, i), -1, f"({i})")
room.refuses("llama_sampler_sample", lambda w: (owned(REAL.llama_sampler_init_top_k(2)), w.ctx, -1), -1, "selected none of its")


def nested(w):
    """A chain inside another: (outer, inner)."""
    if not hasattr(w, "_nested"):
        outer, inner = (REAL.llama_sampler_chain_init(REAL.llama_sampler_chain_default_params()) for _ in range(2))
        REAL.llama_sampler_chain_add(outer, inner)
        w._nested = ffi.gc(outer, REAL.llama_sampler_free), inner
    return w._nested


@room.use("llama_perf_sampler_print")
def _(api, w):
    from calls_library import Log
    with Log() as log:
        REAL.llama_log_set(log.callback, NULL)
        api.llama_perf_sampler_print(w.chain)
    assert ["samplers:" in line for _, line, _ in log.lines] == [True]
