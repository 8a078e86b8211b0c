"""Checks of the calls of 2023 and 2024 that sample from candidates, their guidance and grammars; and of adapters and control vectors."""
import math

from calls import (INF, INT_MAX, INT_MIN, N_VOCAB, NAN, NULL, REAL, Room, SHAPE, SIZE_MAX, TEXT, Batch, ffi, folder, items, last_error,
                   lora_path, path, row, snprintf_text)
from calls_sampling import BEST, LOGITS, LOGIT_ROWS, NUMBERS, items_best, letter

room = Room()
E = SHAPE["n_embd"]


# ---- sampling from candidates: the ids that are left, or the logits after ----

NARROW = {"llama_sample_softmax": ((), BEST), "llama_sample_top_k": ((2, 1), BEST[:2]), "llama_sample_top_p": ((0.85, 1), BEST[:2]),
          "llama_sample_min_p": ((0.3, 1), BEST[:2]), "llama_sample_tail_free": ((0.5, 1), BEST[:1]),
          "llama_sample_typical": ((0.5, 1), BEST[:1])}
for name, (settings, kept) in NARROW.items():
    def check(api, w, name=name, settings=settings, kept=kept):
        cur = w.candidates(LOGITS)
        getattr(api, name)(w.ctx, cur, *settings)
        assert [token for token, _ in w.chosen()] == kept and last_error() == (0, "")
    room.use(name)(check)

LAST = [1, 1]
CHANGE = {"llama_sample_temp": ((0.5,), [2 * x for x in LOGITS]), "llama_sample_temperature": ((0.5,), [2 * x for x in LOGITS]),
          "llama_sample_entropy": ((0.5, 0.5, 1.0), [2 * x for x in LOGITS]),
          "llama_sample_repetition_penalty": ((LAST, 2, 2.0), [1.0, 2.5, 3.0, -2.0, 4.0]),
          "llama_sample_repetition_penalties": ((LAST, 2, 2.0, 0.5, 0.25), [1.0, 1.25, 3.0, -2.0, 4.0]),
          "llama_sample_frequency_and_presence_penalties": ((LAST, 2, 0.5, 0.25), [1.0, 3.75, 3.0, -2.0, 4.0])}
for name, (settings, after) in CHANGE.items():
    def check(api, w, name=name, settings=settings, after=after):
        cur = w.candidates(LOGITS)
        getattr(api, name)(w.ctx, cur, *settings)
        assert [logit for _, logit in sorted(w.chosen())] == after and last_error() == (0, "")
    room.use(name)(check)


@room.use("llama_sample_token_greedy", "llama_sample_token", "llama_set_rng_seed")
def _(api, w):
    assert api.llama_sample_token_greedy(w.ctx, w.candidates(LOGITS)) == 1
    draws = []
    for _ in range(2):
        api.llama_set_rng_seed(w.ctx, 7)
        draws.append([api.llama_sample_token(w.ctx, w.candidates([0.0] * 50)) for _ in range(20)])
    assert draws[0] == draws[1] and len(set(draws[0])) > 10


@room.use("llama_sample_token_mirostat", "llama_sample_token_mirostat_v2")
def _(api, w):
    for call, more in ((api.llama_sample_token_mirostat, (100,)), (api.llama_sample_token_mirostat_v2, ())):
        mu = ffi.new("float *", 0.2)
        assert call(w.ctx, w.candidates(LOGITS), 0.1, 0.5, *more, mu) == 1 and w.cur.size == 1
        assert abs(mu[0] - (0.2 + 0.5 * 0.1)) < 1e-6                       # a sure choice has no surprise, 0.1 is wanted


@room.use("llama_sample_top_p_top_k")
def _(api, w):
    best = items_best(w)
    assert api.llama_sample_top_p_top_k(w.ctx, NULL, 0, 1, 1.0, 1.0, 1.0) == best
    assert api.llama_sample_top_p_top_k(w.ctx, [best], 1, 1, 1.0, 1.0, 1e9) != best


@room.use("llama_sample_apply_guidance", "llama_sample_classifier_free_guidance", "bitnet_sample_guidance")
def _(api, w):
    other = w.context()
    assert REAL.llama_decode(other, w.batch([1, 300])) == 0

    def logs(values):
        total = math.log(sum(math.exp(x - max(values)) for x in values)) + max(values)
        return [x - total for x in values]
    own, away = (logs(items(REAL.llama_get_logits_ith(ctx, -1), N_VOCAB)) for ctx in (w.ctx, other))
    expected = [3 * (x - y) + y for x, y in zip(own, away)]
    x, y = ffi.new("float[]", own), ffi.new("float[]", away)
    api.llama_sample_apply_guidance(w.ctx, x, y, 3.0)
    # the logits are a few units, and so is each operand: some roundings of 2^-22
    assert max(abs(a - b) for a, b in zip(x, expected)) < 1e-4
    for call, more in ((api.llama_sample_classifier_free_guidance, ()), (api.bitnet_sample_guidance, (1.0,))):
        assert REAL.llama_eval(other, [1, 300], 2, 0) == 0
        call(w.ctx, w.candidates(own), other, 3.0, *more)
        assert max(abs(a - b) for (_, a), b in zip(w.chosen(), expected)) < 1e-4


ALL = {**{name: settings for name, (settings, _) in {**NARROW, **CHANGE}.items()}, "llama_sample_token": (), "llama_sample_token_greedy": (),
       "llama_sample_token_mirostat": (1.0, 0.1, 5, ffi.new("float *")), "llama_sample_token_mirostat_v2": (1.0, 0.1, ffi.new("float *"))}
NOWHERE = ffi.new("llama_token_data_array *", {"size": 3})
for name, settings in ALL.items():
    nothing = -1 if "_token" in name else None
    room.refuses(name, lambda w, more=settings: (w.ctx, NULL, *more), nothing, f"{name}: candidates are NULL")
    room.refuses(name, lambda w, more=settings: (w.ctx, NOWHERE, *more), nothing, f"{name}: candidates")
    if nothing == -1:
        room.refuses(name, lambda w, more=settings: (w.ctx, w.candidates([]), *more), -1, "there are no candidates")
for name, more in (("llama_sample_token", ()), ("llama_sample_token_mirostat", (1.0, 0.1, 5, ffi.new("float *"))),
                   ("llama_sample_token_mirostat_v2", (1.0, 0.1, ffi.new("float *")))):
    room.refuses(name, lambda w, more=more: (NULL, w.candidates(), *more), -1, f"{name}: ctx is NULL")
room.refuses("llama_sample_token_mirostat", lambda w: (w.ctx, w.candidates(), 1.0, 0.1, 5, NULL), -1, "mu is NULL")
room.refuses("llama_sample_token_mirostat_v2", lambda w: (w.ctx, w.candidates(), 1.0, 0.1, NULL), -1, "mu is NULL")
for name in CHANGE:
    if "penalt" in name:
        more = CHANGE[name][0][2:]
        room.refuses(name, lambda w, more=more: (w.ctx, w.candidates(), NULL, 4, *more), None, "last_tokens is NULL, expected 4 tokens")
        room.refuses(name, lambda w, more=more: (w.ctx, w.candidates(), LAST, SIZE_MAX, *more), None, "expected at most")
for n, words in ((-1, "its size -1 is negative"), (INT_MIN, "is negative"), (3, "last_n_tokens_data is NULL")):
    room.refuses("llama_sample_top_p_top_k", lambda w, n=n: (w.ctx, NULL, n, 1, 1.0, 1.0, 1.0), -1, words)
room.refuses("llama_sample_top_p_top_k", lambda w: (w.fresh, NULL, 0, 1, 1.0, 1.0, 1.0), -1, "nothing decoded yet")
room.refuses("llama_sample_apply_guidance", lambda w: (w.ctx, NULL, ffi.new("float[1]"), 1.0), None, "logits is NULL")
room.refuses("llama_sample_apply_guidance", lambda w: (w.ctx, ffi.new("float[1]"), NULL, 1.0), None, "logits_guidance is NULL")
for name, more in (("llama_sample_classifier_free_guidance", ()), ("bitnet_sample_guidance", (1.0,))):
    full = [0.0] * N_VOCAB
    room.refuses(name, lambda w, more=more: (w.ctx, w.candidates(LOGITS), w.ctx, 3.0, *more), None, "5 candidates, expected all 330 tokens")
    room.refuses(name, lambda w, more=more: (w.ctx, w.candidates(full), NULL, 3.0, *more), None, "guidance_ctx is NULL")
    room.refuses(name, lambda w, more=more: (NULL, w.candidates(full), w.ctx, 3.0, *more), None, "ctx is NULL")
    room.refuses(name, lambda w, more=more: (w.ctx, w.candidates(full), w.fresh, 3.0, *more), None, "nothing decoded yet")

ODD = {name: [tuple(x if isinstance(s, float) else s for s in settings) for x in NUMBERS] for name, settings in ALL.items()}
ODD["llama_sample_top_k"] += [(k, n) for k in (INT_MIN, 0, INT_MAX) for n in (0, SIZE_MAX)]
ODD["llama_sample_token_mirostat"] += [(1.0, 0.1, m, ffi.new("float *", x)) for m in (INT_MIN, INT_MAX) for x in NUMBERS]


def chooses_among_them(api, w, name, choices):
    for settings in choices:
        for values in LOGIT_ROWS:
            cur = w.candidates(values)
            token = getattr(api, name)(w.ctx, cur, *settings)
            assert 1 <= cur.size <= 5 and {i for i, _ in w.chosen()} <= set(range(5)) and token in (None, 0, 1, 2, 3, 4), (settings, values)


for name, choices in ODD.items():
    room.behaves(name, lambda api, w, name=name, choices=choices: chooses_among_them(api, w, name, choices))
room.behaves("llama_sample_top_p_top_k", lambda api, w: [api.llama_sample_top_p_top_k(w.ctx, [-1, INT_MAX], 2, k, x, x, x) in range(N_VOCAB) or 1 / 0
                                                         for k in (INT_MIN, 0, INT_MAX) for x in NUMBERS])


# ---- grammars of arrays ----

END, ALT, RULE, CHAR, NOT, UPPER, MORE, ANY = range(8)


def rules(*given):
    keep = [ffi.new("llama_grammar_element[]", rule) for rule in given]
    array = ffi.new("llama_grammar_element const *[]", keep)
    KEPT.append((array, keep))
    return array


KEPT = []


@room.use("llama_grammar_init", "llama_grammar_copy", "llama_grammar_free", "llama_grammar_sample", "llama_sample_grammar", "llama_grammar_accept_token")
def _(api, w):
    grammar = api.llama_grammar_init(rules([(CHAR, ord("t")), (CHAR, ord("o")), (END, 0)]), 1, 0)

    def allowed(sample):
        cur = w.candidates([0.0] * N_VOCAB)
        sample(cur)
        return {ffi.string(REAL.bitnet_token_text(w.model, token)) for token, logit in w.chosen() if logit == 0}
    assert allowed(lambda cur: api.llama_grammar_sample(grammar, w.ctx, cur)) == {b"t", b"to"}
    api.llama_grammar_accept_token(grammar, w.ctx, 3 + ord("t"))
    copy = api.llama_grammar_copy(grammar)
    api.llama_grammar_accept_token(grammar, w.ctx, 3 + ord("o"))
    assert allowed(lambda cur: api.llama_sample_grammar(w.ctx, cur, copy)) == {b"o"}
    assert b"o" not in allowed(lambda cur: api.llama_sample_grammar(w.ctx, cur, grammar))
    api.llama_grammar_free(copy)
    api.llama_grammar_free(NULL)
    # The last who holds a model is a grammar: freeing it takes the file out of memory.
    from calls import mapped
    before = mapped(path())
    ctx = REAL.llama_init_from_file(path(), REAL.llama_context_default_params())
    api.llama_grammar_sample(grammar, ctx, w.candidates([0.0]))
    REAL.llama_free(ctx)
    assert mapped(path()) > before
    api.llama_grammar_free(grammar)
    assert mapped(path()) == before


for given, n, root, words in (([(RULE, 7), (END, 0)], 1, 0, "rule 0"), ([(RULE, 0), (CHAR, 97), (END, 0)], 1, 0, "left recursion"), ([(UPPER, 7), (END, 0)], 1, 0, "rule 0"),
                              ([(99, 7), (END, 0)], 1, 0, "rule 0"), ([(CHAR, 97), (END, 0)], 1, 1, "rule 1 of 1"), ([(CHAR, 97), (END, 0)], 1, SIZE_MAX, "of 1"),
                              ([(CHAR, 97), (END, 0)], 0, 0, "rule 0 of 0"), ([(CHAR, 97), (END, 0)], SIZE_MAX, 0, "at most")):
    room.refuses("llama_grammar_init", lambda w, given=given, n=n, root=root: (rules(given), n, root), NULL, words)
room.refuses("llama_grammar_init", (NULL, 1, 0), NULL, "cannot be its start")
room.refuses("llama_grammar_sample", lambda w: (w.grammar, NULL, w.candidates()), None, "ctx is NULL")
room.refuses("llama_grammar_sample", lambda w: (w.grammar, w.ctx, NULL), None, "candidates is NULL")
room.refuses("llama_grammar_sample", lambda w: (w.grammar, w.ctx, NOWHERE), None, "candidates->data is NULL")
room.refuses("llama_sample_grammar", lambda w: (w.ctx, w.candidates(), NULL), None, "grammar is NULL")
room.refuses("llama_sample_grammar", lambda w: (NULL, w.candidates(), w.grammar), None, "ctx is NULL")
room.refuses("llama_grammar_accept_token", lambda w: (w.grammar, NULL, 5), None, "ctx is NULL")
for token in (5, -1, N_VOCAB, INT_MAX, INT_MIN):
    room.refuses("llama_grammar_accept_token", lambda w, token=token: (REAL.llama_grammar_copy(w.grammar), w.ctx, token), None, f"token {token}")


# ---- adapters ----

@room.use("llama_adapter_lora_init", "llama_lora_adapter_init", "llama_adapter_lora_init_from_file_ptr")
def _(api, w):
    def from_stream(model, name):
        with open(name, "rb") as file:
            return api.llama_adapter_lora_init_from_file_ptr(model, file)
    for load in (api.llama_adapter_lora_init, api.llama_lora_adapter_init, from_stream):
        adapter = load(w.model, lora_path())
        assert REAL.llama_adapter_meta_count(adapter) == 4
        REAL.llama_adapter_lora_free(adapter)


@room.use("llama_adapter_lora_free", "llama_lora_adapter_free")
def _(api, w):
    for free in (api.llama_adapter_lora_free, api.llama_lora_adapter_free):
        adapter = REAL.llama_adapter_lora_init(w.model, lora_path())
        assert REAL.llama_set_adapter_lora(w.fresh, adapter, 1.0) == 0      # which keeps it for as long as that
        free(adapter)
        assert REAL.llama_adapter_meta_count(adapter) == 0 and "is free" in last_error()[1], last_error()
        REAL.llama_clear_adapter_lora(w.fresh)
        free(NULL)


@room.use("llama_adapter_meta_count", "llama_adapter_meta_key_by_index", "llama_adapter_meta_val_str_by_index", "llama_adapter_meta_val_str")
def _(api, w):
    pairs = {tuple(snprintf_text(lambda buf, size: call(w.adapter, i, buf, size)) for call in (
        api.llama_adapter_meta_key_by_index, api.llama_adapter_meta_val_str_by_index)) for i in range(api.llama_adapter_meta_count(w.adapter))}
    assert pairs == {(b"general.type", b"adapter"), (b"general.architecture", b"llama"), (b"adapter.type", b"lora"), (b"adapter.lora.alpha", b"4.000000")}
    assert snprintf_text(lambda buf, size: api.llama_adapter_meta_val_str(w.adapter, b"adapter.type", buf, size)) == b"lora"


@room.use("llama_adapter_get_alora_invocation_tokens", "llama_adapter_get_alora_n_invocation_tokens")
def _(api, w):
    assert api.llama_adapter_get_alora_n_invocation_tokens(w.adapter) == 2
    assert items(api.llama_adapter_get_alora_invocation_tokens(w.adapter), 2) == [17, 23]


def decoded(ctx) -> bytes:
    assert REAL.llama_eval(ctx, TEXT, 5, 0) == 0
    return row(ctx)


@room.use("llama_set_adapters_lora", "llama_set_adapter_lora", "llama_rm_adapter_lora", "llama_clear_adapter_lora", "llama_lora_adapter_set",
          "llama_lora_adapter_remove", "llama_lora_adapter_clear")
def _(api, w):
    without, halves = decoded(w.fresh), set()
    for put in (lambda: api.llama_set_adapters_lora(w.fresh, [w.adapter], 1, [0.5]), lambda: api.llama_set_adapter_lora(w.fresh, w.adapter, 0.5),
                lambda: api.llama_lora_adapter_set(w.fresh, w.adapter, 0.5)):
        for take in (lambda: api.llama_rm_adapter_lora(w.fresh, w.adapter), lambda: api.llama_clear_adapter_lora(w.fresh) or 0,
                     lambda: api.llama_lora_adapter_remove(w.fresh, w.adapter), lambda: api.llama_lora_adapter_clear(w.fresh) or 0):
            assert put() == 0 and (half := decoded(w.fresh)) != without
            assert take() == 0 and decoded(w.fresh) == without
            halves.add(half)
    assert len(halves) == 1


@room.use("llama_apply_lora_from_file", "llama_model_apply_lora_from_file")
def _(api, w):
    model = ffi.gc(REAL.llama_model_load_from_file(path(), REAL.llama_model_default_params()), REAL.llama_model_free)
    ctx = ffi.gc(REAL.llama_init_from_model(model, REAL.llama_context_default_params()), REAL.llama_free)
    without = decoded(ctx)
    adapter = REAL.llama_adapter_lora_init(model, lora_path())
    assert REAL.llama_set_adapter_lora(ctx, adapter, 0.5) == 0 and (half := decoded(ctx)) != without
    assert REAL.llama_set_adapter_lora(ctx, adapter, 0.0) == 0 and decoded(ctx) == without
    assert api.llama_apply_lora_from_file(ctx, lora_path(), 0.5, NULL, 1) == 0 and (first := decoded(ctx)) == half
    assert api.llama_model_apply_lora_from_file(model, lora_path(), 0.5, NULL, 1) == 0 and decoded(ctx) not in (first, without)


LOADERS = "llama_adapter_lora_init llama_lora_adapter_init"
FILES = ((b"/no/such/file", REAL.BITNET_ERROR_NOT_FOUND, "no such file"), (path(), REAL.BITNET_ERROR_MODEL, "'general.type' is missing"))
for name, code, words in FILES:
    room.refuses(LOADERS, lambda w, name=name: (w.model, name), NULL, words, code)
    room.refuses("llama_apply_lora_from_file", lambda w, name=name: (w.ctx, name, 1.0, NULL, 1), 1, words, code)
    room.refuses("llama_model_apply_lora_from_file", lambda w, name=name: (w.model, name, 1.0, NULL, 1), 1, words, code)
room.refuses(LOADERS, lambda w: (w.model, NULL), NULL, "path is NULL")
room.refuses(LOADERS, lambda w: (w.bare, lora_path()), NULL, "vocab_only")
room.refuses("llama_adapter_lora_init_from_file_ptr", lambda w: (w.model, NULL), NULL, "file is NULL")
room.refuses("llama_adapter_lora_init_from_file_ptr", lambda w: (w.model, open(path(), "rb")), NULL, "'general.type' is missing", REAL.BITNET_ERROR_MODEL)
room.refuses("llama_apply_lora_from_file", lambda w: (w.ctx, NULL, 1.0, NULL, 1), 1, "path is NULL")
room.refuses("llama_apply_lora_from_file", lambda w: (w.ctx, lora_path(), NAN, NULL, INT_MIN), 1, "scale is nan")
room.refuses("llama_model_apply_lora_from_file", lambda w: (w.model, lora_path(), INF, NULL, INT_MIN), 1, "scale is inf")
room.refuses("llama_model_apply_lora_from_file", lambda w: (w.bare, lora_path(), 1.0, NULL, 1), 1, "vocab_only")
for i in (-1, 4, INT_MAX, INT_MIN):
    room.refuses("llama_adapter_meta_key_by_index llama_adapter_meta_val_str_by_index", lambda w, i=i: (w.adapter, i, NULL, 0), -1, f"metadata index is {i}")
room.refuses("llama_adapter_meta_key_by_index llama_adapter_meta_val_str_by_index", lambda w: (w.adapter, 0, NULL, 1), -1, "buf is NULL")
room.refuses("llama_adapter_meta_val_str", lambda w: (w.adapter, NULL, NULL, 0), -1, "key is NULL")
room.refuses("llama_adapter_meta_val_str", lambda w: (w.adapter, b"no.such.key", NULL, 0), -1, "no number or text 'no.such.key'")
for name in ("llama_set_adapter_lora", "llama_lora_adapter_set"):
    room.refuses(name, lambda w: (w.ctx, NULL, 1.0), -1, "NULL")
    room.refuses(name, lambda w: (w.ctx, w.foreign_adapter, 1.0), -1, "another model")
    for scale in (NAN, INF, -INF):
        room.refuses(name, lambda w, scale=scale: (w.ctx, w.adapter, scale), -1, f"scale is {scale}")
room.refuses("llama_rm_adapter_lora llama_lora_adapter_remove", lambda w: (w.ctx, w.adapter), -1, "does not use this adapter")
room.refuses("llama_rm_adapter_lora llama_lora_adapter_remove", lambda w: (w.ctx, NULL), -1, "does not use this adapter")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, NULL, 1, [1.0]), -1, "adapters is NULL")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, [w.adapter], 1, NULL), -1, "scales is NULL")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, [w.adapter], SIZE_MAX, [1.0]), -1, "expected at most 65536")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, [w.adapter, w.adapter], 2, [1.0, 1.0]), -1, "adapters 0 and 1 are the same")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, [w.adapter, NULL], 2, [1.0, 1.0]), -1, "NULL")
room.refuses("llama_set_adapters_lora", lambda w: (w.ctx, [w.adapter, w.foreign_adapter], 2, [1.0, 1.0]), -1, "another model")

CVEC = "llama_set_adapter_cvec llama_apply_adapter_cvec llama_control_vector_apply"
PUSH = ffi.new("float[]", [0.5] * 2 * E)


@room.use(*CVEC.split())
def _(api, w):
    without = decoded(w.fresh)
    for name in CVEC.split():
        found = []
        for n, first, last in ((2, 1, 2), (2, 1, 1), (2, 2, 2), (1, 1, 2), (1, 1, 1)):      # of data: the last two are (2, 1, 1)
            assert getattr(api, name)(w.fresh, PUSH, n * E, E, first, last) == 0
            found.append(decoded(w.fresh))
        assert len({*found, without}) == 4 and found[1] == found[3] == found[4] != without
        assert getattr(api, name)(w.fresh, NULL, 0, E, 0, 0) == 0 and decoded(w.fresh) == without


for n in (E - 1, 0, -1, INT_MAX):
    room.refuses(CVEC, lambda w, n=n: (w.ctx, PUSH, 2 * E, n, 1, 2), -1, f"n_embd is {n}, expected the model's {E}")
for x in (NAN, INF):
    room.refuses(CVEC, lambda w, x=x: (w.ctx, ffi.new("float[]", [0.0, x] + [0.0] * (E - 2)), E, E, 1, 2), -1, "number 1 is")
