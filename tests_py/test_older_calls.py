"""The calls of 2023 and 2024 through cffi: sampling, grammars, texts, timings; each against today's call of the same work, and misused.

Next: test_eras.py, whole programs of those years; test_api_misuse.py, every call with nonsense.
"""
import numpy as np
import pytest

from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, NO_ROOM, decode, init, last_error, row, rows_alone, span
from gguf_writer import ARRAY, I32, tiny_model

NULL = ffi.NULL
PROMPT = [1, 20, 30, 40, 50]
INF = float("inf")


@pytest.fixture(scope="module")
def pointer(model):
    return model._pointer


@pytest.fixture(scope="module")
def n_vocab(pointer):
    return lib.llama_n_vocab(pointer)


@pytest.fixture
def ctx(pointer):
    ctx = init(pointer, n_ctx=64)
    assert decode(ctx, PROMPT) == 0
    return ctx


def logits(ctx, n_vocab):
    return np.frombuffer(row(ctx), np.float32)[:n_vocab].copy()


class Cur:
    """A llama_token_data_array."""

    def __init__(self, values, ids=None):
        self.memory = ffi.new("llama_token_data[]", len(values))
        for i, value in enumerate(values):
            self.memory[i].id = i if ids is None else ids[i]
            self.memory[i].logit = value
        self.c = ffi.new("llama_token_data_array *", {"data": self.memory, "size": len(values), "selected": -1})

    @property
    def items(self):
        return [(self.c.data[i].id, self.c.data[i].logit) for i in range(self.c.size)]


VALUES = [float(x) for x in np.random.default_rng(7).normal(0, 3, 200).astype(np.float32)]


def by_sampler(sampler, values=VALUES):
    sampler = ffi.gc(sampler, lib.llama_sampler_free)
    cur = Cur(values)
    lib.llama_sampler_apply(sampler, cur.c)
    return cur.items


# ---- narrowing: the same candidates as the sampler of that name ----

@pytest.mark.parametrize("call, arguments, sampler", [
    (lib.llama_sample_softmax, (), lib.llama_sampler_init_softmax()),
    (lib.llama_sample_top_k, (5, 1), lib.llama_sampler_init_top_k(5)),
    (lib.llama_sample_top_k, (2, 9), lib.llama_sampler_init_top_k(9)),
    (lib.llama_sample_top_k, (0, 1), lib.llama_sampler_init_top_k(len(VALUES))),
    (lib.llama_sample_top_p, (0.7, 1), lib.llama_sampler_init_top_p(0.7, 1)),
    (lib.llama_sample_top_p, (1.0, 1), lib.llama_sampler_init_top_p(1.0, 1)),
    (lib.llama_sample_min_p, (0.1, 1), lib.llama_sampler_init_min_p(0.1, 1)),
    (lib.llama_sample_min_p, (0.0, 1), lib.llama_sampler_init_min_p(0.0, 1)),
    (lib.llama_sample_tail_free, (0.9, 1), lib.llama_sampler_init_tail_free(0.9, 1)),
    (lib.llama_sample_tail_free, (1.0, 1), lib.llama_sampler_init_tail_free(1.0, 1)),
    (lib.llama_sample_typical, (0.6, 1), lib.llama_sampler_init_typical(0.6, 1)),
    (lib.llama_sample_typical, (1.0, 1), lib.llama_sampler_init_typical(1.0, 1)),
    (lib.llama_sample_temp, (0.5,), lib.llama_sampler_init_temp(0.5)),
    (lib.llama_sample_temperature, (0.0,), lib.llama_sampler_init_temp(0.0)),
    (lib.llama_sample_entropy, (0.5, 1.5, 2.0), lib.llama_sampler_init_temp_ext(1.0, 0.5, 2.0)),
])
def test_narrowing_is_that_of_the_sampler(call, arguments, sampler):
    cur = Cur(VALUES)
    call(NULL, cur.c, *arguments)
    assert cur.items == by_sampler(sampler)


@pytest.mark.parametrize("call, arguments", [
    (lib.llama_sample_softmax, ()), (lib.llama_sample_top_k, (5, 1)), (lib.llama_sample_top_p, (0.5, 1)),
    (lib.llama_sample_min_p, (0.5, 1)), (lib.llama_sample_tail_free, (0.5, 1)), (lib.llama_sample_typical, (0.5, 1)),
    (lib.llama_sample_temp, (0.5,)),
    (lib.llama_sample_temperature, (0.5,)), (lib.llama_sample_entropy, (0.5, 1.5, 1.0)), (lib.llama_sample_token_greedy, ()),
    (lib.llama_sample_token, ()), (lib.llama_sample_repetition_penalty, (NULL, 0, 1.1)),
    (lib.llama_sample_frequency_and_presence_penalties, (NULL, 0, 0.5, 0.5)),
    (lib.llama_sample_repetition_penalties, (NULL, 0, 1.1, 0.5, 0.5)),
])
def test_candidates_may_be_none_but_not_null(ctx, call, arguments):
    call(ctx, NULL, *arguments)
    assert last_error()[0] == ERROR
    nowhere = ffi.new("llama_token_data_array *", {"size": 3})
    call(ctx, nowhere, *arguments)
    assert last_error()[0] == ERROR
    empty = Cur([])
    result = call(ctx, empty.c, *arguments)
    assert empty.c.size == 0 and result in (None, -1)


# ---- penalties ----

LAST = [3, 5, 3, 8]


@pytest.mark.parametrize("call, arguments, settings", [
    (lib.llama_sample_repetition_penalties, (1.5, 0.25, 0.5), (1.5, 0.25, 0.5)),
    (lib.llama_sample_repetition_penalty, (1.5,), (1.5, 0, 0)),
    (lib.llama_sample_frequency_and_presence_penalties, (0.25, 0.5), (1, 0.25, 0.5)),
])
def test_penalties_are_those_of_the_sampler(call, arguments, settings):
    sampler = lib.llama_sampler_init_penalties(0, len(LAST), *settings)
    for token in LAST:
        lib.llama_sampler_accept(sampler, token)
    cur = Cur(VALUES)
    call(NULL, cur.c, LAST, len(LAST), *arguments)
    assert cur.items == by_sampler(sampler) != Cur(VALUES).items


def test_penalties_refuse_absurd_windows():
    cur = Cur(VALUES)
    lib.llama_sample_repetition_penalty(NULL, cur.c, NULL, 4, 1.5)
    assert last_error() == (ERROR, "llama_sample_repetition_penalty: last_tokens is NULL, expected 4 tokens")
    lib.llama_sample_repetition_penalty(NULL, cur.c, LAST, 2**63, 1.5)
    assert last_error()[0] == ERROR and cur.items == Cur(VALUES).items


def test_penalties_of_nine_arguments():
    def penalized(*arguments):
        sampler = lib.bitnet_sampler_init_penalties_2024(200, 9, 3, *arguments)
        for token in LAST:
            lib.llama_sampler_accept(sampler, token)
        return [logit for _, logit in by_sampler(sampler)]

    plain = lib.llama_sampler_init_penalties(200, 4, 1.5, 0, 0)
    for token in LAST:
        lib.llama_sampler_accept(plain, token)
    plain = [logit for _, logit in by_sampler(plain)]
    assert penalized(4, 1.5, 0, 0, True, False) == plain
    spared = list(plain)
    spared[3] = VALUES[3]
    assert penalized(4, 1.5, 0, 0, False, False) == spared
    spared[9] = -INF
    assert penalized(4, 1.5, 0, 0, False, True) == spared
    assert penalized(0, 1.0, 0, 0, True, True) == VALUES[:9] + [-INF] + VALUES[10:]


# ---- choosing ----

def test_seed_gives_the_tokens_of_the_dist_sampler(ctx):
    lib.llama_set_rng_seed(ctx, 42)
    drawn = [lib.llama_sample_token(ctx, Cur(VALUES).c) for _ in range(20)]
    dist = ffi.gc(lib.llama_sampler_init_dist(42), lib.llama_sampler_free)
    expected = []
    for _ in range(20):
        cur = Cur(VALUES)
        lib.llama_sample_softmax(NULL, cur.c)
        lib.llama_sampler_apply(dist, cur.c)
        expected.append(cur.c.data[cur.c.selected].id)
    assert drawn == expected and len(set(drawn)) > 3
    lib.llama_set_rng_seed(ctx, 42)
    assert [lib.llama_sample_token(ctx, Cur(VALUES).c) for _ in range(20)] == expected


def test_without_a_seed_contexts_draw_different_tokens(pointer):
    values = [0.0] * 1000
    drawn = {tuple(lib.llama_sample_token(ctx, Cur(values).c) for _ in range(4)) for ctx in [init(pointer, n_ctx=64) for _ in range(3)]}
    assert len(drawn) == 3


def test_greedy_takes_the_largest(ctx):
    assert lib.llama_sample_token_greedy(NULL, Cur(VALUES).c) == int(np.argmax(VALUES))
    assert lib.llama_sample_token_greedy(ctx, Cur([1.0, float("nan"), 2.0], [7, 8, 9]).c) == 9


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_is_that_of_the_sampler(ctx, n_vocab, version):
    lib.llama_set_rng_seed(ctx, 5)
    mu = ffi.new("float *", 2 * 3.0)
    first, second = lib.llama_sampler_init_mirostat, lib.llama_sampler_init_mirostat_v2
    sampler = first(n_vocab, 5, 3.0, 0.1, 100) if version == 1 else second(5, 3.0, 0.1)
    sampler = ffi.gc(sampler, lib.llama_sampler_free)
    for _ in range(10):
        new, old = Cur(VALUES), Cur(VALUES)
        lib.llama_sampler_apply(sampler, new.c)
        token = (lib.llama_sample_token_mirostat(ctx, old.c, 3.0, 0.1, 100, mu) if version == 1
                 else lib.llama_sample_token_mirostat_v2(ctx, old.c, 3.0, 0.1, mu))
        assert token == new.c.data[new.c.selected].id and old.items == new.items
    assert mu[0] != 6.0


def test_mirostat_wants_mu(ctx):
    assert lib.llama_sample_token_mirostat(ctx, Cur(VALUES).c, 3.0, 0.1, 100, NULL) == -1
    assert last_error() == (ERROR, "llama_sample_token_mirostat: mu is NULL")


def test_top_p_top_k_is_its_parts(ctx, n_vocab):
    lib.llama_set_rng_seed(ctx, 3)
    tokens = [lib.llama_sample_top_p_top_k(ctx, LAST, len(LAST), 10, 0.9, 0.8, 1.3) for _ in range(8)]
    lib.llama_set_rng_seed(ctx, 3)
    expected = []
    for _ in range(8):
        cur = Cur(logits(ctx, n_vocab))
        lib.llama_sample_repetition_penalty(ctx, cur.c, LAST, len(LAST), 1.3)
        lib.llama_sample_temp(ctx, cur.c, 0.8)
        lib.llama_sample_top_k(ctx, cur.c, 10, 1)
        lib.llama_sample_top_p(ctx, cur.c, 0.9, 1)
        expected.append(lib.llama_sample_token(ctx, cur.c))
    assert tokens == expected
    assert lib.llama_sample_top_p_top_k(ctx, NULL, 0, 10, 0.9, 0.0, 1.3) == int(np.argmax(logits(ctx, n_vocab)))


def test_top_p_top_k_without_logits(pointer):
    assert lib.llama_sample_top_p_top_k(init(pointer, n_ctx=64), NULL, 0, 10, 0.9, 0.8, 1.3) == -1
    assert last_error()[0] == ERROR


# ---- guidance ----

def log_softmax(x):
    x = x.astype(np.float64) - x.max()
    return x - np.log(np.exp(x).sum())


def test_guidance_moves_away_from_the_other_context(pointer, ctx, n_vocab):
    other = init(pointer, n_ctx=64)
    assert decode(other, [1, 60, 70]) == 0
    base, away = log_softmax(logits(ctx, n_vocab)), log_softmax(logits(other, n_vocab))
    # each float operand is rounded once, the result twice: scaled by 3, below 1e-5 for logarithms down to -30
    cur = Cur(logits(ctx, n_vocab))
    lib.llama_sample_classifier_free_guidance(ctx, cur.c, other, 3.0)
    np.testing.assert_allclose([logit for _, logit in cur.items], 3 * (base - away) + away, atol=3e-5)
    assert decode(other, [80]) == 0
    x, y = ffi.new("float[]", logits(ctx, n_vocab).tolist()), ffi.new("float[]", logits(other, n_vocab).tolist())
    away = log_softmax(logits(other, n_vocab))
    lib.llama_sample_apply_guidance(ctx, x, y, 3.0)
    np.testing.assert_allclose(list(x), 3 * (base - away) + away, atol=3e-5)
    cur = Cur(logits(ctx, n_vocab))
    lib.bitnet_sample_guidance(ctx, cur.c, other, 3.0, 0.25)
    expected = 0.25 * log_softmax(3 * (base - away) + away) + 0.75 * base
    np.testing.assert_allclose([logit for _, logit in cur.items], expected, atol=3e-5)


def test_guidance_wants_all_tokens_in_order(ctx, n_vocab):
    few = Cur(VALUES)
    lib.llama_sample_classifier_free_guidance(ctx, few.c, ctx, 3.0)
    assert last_error()[0] == ERROR and few.items == Cur(VALUES).items
    turned = Cur(logits(ctx, n_vocab), list(range(n_vocab))[::-1])
    lib.llama_sample_classifier_free_guidance(ctx, turned.c, ctx, 3.0)
    assert last_error()[0] == ERROR


# ---- grammars from arrays ----

END, ALT, RULE, CHAR, NOT, UPPER, MORE, ANY = range(8)


def grammar(rules, root=0):
    keep = [ffi.new("llama_grammar_element[]", [(kind, value) for kind, value in rule]) for rule in rules]
    pointers = ffi.new("llama_grammar_element const *[]", keep)
    return ffi.gc(lib.llama_grammar_init(pointers, len(keep), root), lib.llama_grammar_free)


# root ::= ("a" | "b" [0-9]) more?    more ::= [^xy]
RULES = [
    [(CHAR, 97), (RULE, 1), (ALT, 0), (CHAR, 98), (CHAR, 48), (UPPER, 57), (RULE, 1), (END, 0)],
    [(NOT, 120), (MORE, 121), (ALT, 0), (END, 0)],
]
GBNF = b'root ::= "a" more | "b" [0-9] more\nmore ::= [^xy] |'


def allowed(apply, n_vocab):
    cur = Cur([0.0] * n_vocab)
    apply(cur.c)
    return {token for token, logit in cur.items if logit == 0}


def test_grammar_of_arrays_is_that_of_its_text(pointer, ctx, n_vocab):
    old = grammar(RULES)
    new = ffi.gc(lib.llama_sampler_init_grammar(pointer, GBNF, b"root"), lib.llama_sampler_free)
    for _ in range(3):
        tokens = allowed(lambda cur: lib.llama_sampler_apply(new, cur), n_vocab)
        assert allowed(lambda cur: lib.llama_sample_grammar(ctx, cur, old), n_vocab) == tokens
        assert allowed(lambda cur: lib.llama_grammar_sample(old, ctx, cur), n_vocab) == tokens
        copy = ffi.gc(lib.llama_grammar_copy(old), lib.llama_grammar_free)
        assert allowed(lambda cur: lib.llama_sample_grammar(ctx, cur, copy), n_vocab) == tokens
        if not tokens:
            break
        token = max(tokens)
        lib.llama_grammar_accept_token(old, ctx, token)
        lib.llama_sampler_accept(new, token)


def test_grammar_keeps_its_model_alive(tmp_path):
    path = tiny_model(n_layer=1, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=64).write(tmp_path / "small.gguf")
    small = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    context = lib.llama_init_from_model(small, lib.llama_context_default_params())
    rules = grammar(RULES)
    first = allowed(lambda cur: lib.llama_sample_grammar(context, cur, rules), 280)
    lib.llama_free(context)
    lib.llama_model_free(small)
    copy = ffi.gc(lib.llama_grammar_copy(rules), lib.llama_grammar_free)
    again = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    context = lib.llama_init_from_model(again, lib.llama_context_default_params())
    assert allowed(lambda cur: lib.llama_sample_grammar(context, cur, copy), 280) == first != set()
    lib.llama_free(context)
    lib.llama_model_free(again)


@pytest.mark.parametrize("rules, root, words", [
    ([[(RULE, 0), (CHAR, 97), (END, 0)]], 0, "left recursion"),
    ([[(RULE, 7), (END, 0)]], 0, "rule 0"),
    ([[(UPPER, 7), (END, 0)]], 0, "rule 0"),
    ([[(CHAR, 97), (99, 7), (END, 0)]], 0, "rule 0"),
    (RULES, 2, "rule 2 of 2"),
    ([], 0, "rule 0 of 0"),
])
def test_wrong_rules_are_refused(rules, root, words):
    assert grammar(rules, root) == NULL
    assert last_error()[0] == ERROR and words in last_error()[1]


def test_absurd_number_of_rules_is_refused():
    assert lib.llama_grammar_init(NULL, 2**62, 0) == NULL and last_error()[0] == ERROR
    assert lib.llama_grammar_init(NULL, 1, 0) == NULL and last_error()[0] == ERROR


def test_token_that_does_not_fit_is_an_error(ctx, n_vocab):
    rules = grammar(RULES)
    fits = allowed(lambda cur: lib.llama_sample_grammar(ctx, cur, rules), n_vocab)
    lib.llama_grammar_accept_token(rules, ctx, next(token for token in range(3, n_vocab) if token not in fits))
    assert last_error()[0] == ERROR
    assert allowed(lambda cur: lib.llama_sample_grammar(ctx, cur, rules), n_vocab) == set()


# ---- contexts and batches ----

def test_init_from_file_is_load_and_init(pointer, tiny_path):
    ctx = ffi.gc(lib.llama_init_from_file(str(tiny_path).encode(), lib.llama_context_default_params()), lib.llama_free)
    assert decode(ctx, PROMPT) == 0
    assert row(ctx) == rows_alone(pointer, PROMPT)[-1]
    assert lib.llama_init_from_file(b"/no/such/file", lib.llama_context_default_params()) == NULL
    assert last_error()[0] == -4


def at(ctx, tokens, pos_0, pos_1, seq):
    return lib.bitnet_decode_at(ctx, lib.llama_batch_get_one(ffi.new("llama_token[]", tokens), len(tokens)), pos_0, pos_1, seq)


def test_decode_at_places_tokens(pointer):
    ctx = init(pointer, n_ctx=64, n_seq_max=2)
    assert at(ctx, PROMPT[:3], 0, 1, 1) == 0
    assert at(ctx, PROMPT[3:], 3, 1, 1) == 0
    assert row(ctx) == rows_alone(pointer, PROMPT)[-1]
    assert span(ctx, 1) == (0, 4) and span(ctx, 0) == (-1, -1)


@pytest.mark.parametrize("pos_0, pos_1, seq", [
    (-1, 1, 0), (2**31 - 2, 1, 0), (0, -1, 0), (0, 2**31 - 1, 0), (9, 1, 0), (0, 1, 5), (0, 1, -1)])
def test_decode_at_refuses_absurd_places(ctx, pos_0, pos_1, seq):
    assert at(ctx, PROMPT, pos_0, pos_1, seq) < 0
    assert last_error()[0] == ERROR and span(ctx) == (0, 4)


def test_logits_all_keeps_every_row(pointer):
    ctx = init(pointer, n_ctx=64)
    lib.bitnet_set_logits_all(ctx, True)
    assert lib.llama_eval(ctx, PROMPT, len(PROMPT), 0) == 0
    assert [row(ctx, i) for i in range(len(PROMPT))] == rows_alone(pointer, PROMPT)
    lib.bitnet_set_logits_all(ctx, False)
    assert decode(ctx, [60, 61]) == 0 and row(ctx, 0) == b"" and row(ctx, 1) != b""


def test_names_of_then(pointer, ctx):
    lib.llama_init_backend(True)
    lib.llama_init_backend(False)
    lib.llama_numa_init(lib.GGML_NUMA_STRATEGY_DISABLED)
    assert lib.llama_mmap_supported() and lib.llama_mlock_supported()
    assert lib.llama_n_max_seq(ctx) == lib.llama_n_seq_max(ctx) == 1
    assert lib.llama_n_vocab_from_model(pointer) == lib.llama_vocab_n_tokens(pointer)
    assert lib.llama_n_ctx_from_model(pointer) == lib.llama_model_n_ctx_train(pointer) == 256
    assert lib.llama_n_embd_from_model(pointer) == lib.llama_model_n_embd(pointer)
    assert NO_ROOM == decode(ctx, [5] * 100)


# ---- texts ----

def piece(pointer, token):
    buffer = ffi.new("char[]", 64)
    return bytes(ffi.buffer(buffer, lib.llama_token_to_piece(pointer, token, buffer, 64, 0, False)))


def test_texts_of_then_are_those_of_today(pointer, ctx):
    text, tokens, expected = b"hello world", ffi.new("llama_token[]", 64), ffi.new("llama_token[]", 64)
    n = lib.llama_tokenize(pointer, text, len(text), expected, 64, True, False)
    assert n > 0
    assert lib.llama_tokenize_with_model(pointer, text, len(text), tokens, 64, True) == n and list(tokens) == list(expected)
    assert lib.llama_tokenize_bpe(ctx, text, tokens, 64, True) == n and list(tokens) == list(expected)
    assert lib.llama_tokenize_bpe(ctx, text, NULL, 0, True) == -n
    buffer = ffi.new("char[]", 64)
    for token in list(expected)[:n]:
        for call, handle in [(lib.llama_token_to_piece_with_model, pointer), (lib.llama_token_to_str_with_model, pointer),
                             (lib.llama_token_to_str, ctx), (lib.llama_token_to_str_bpe, ctx)]:
            assert bytes(ffi.buffer(buffer, call(handle, token, buffer, 64))) == piece(pointer, token)
    token = list(expected)[n - 1]
    assert ffi.string(lib.bitnet_token_text(pointer, token)) == piece(pointer, token)
    assert lib.llama_token_to_str(ctx, token, buffer, 0) == -len(piece(pointer, token))


def test_texts_of_tokens_that_are_none(pointer, ctx, n_vocab):
    for token in (-1, n_vocab, 2**31 - 1):
        assert lib.bitnet_token_text(pointer, token) == NULL and last_error()[0] == ERROR
        assert not lib.llama_token_is_prefix(pointer, 5, token) and last_error()[0] == ERROR
        assert lib.llama_token_to_str(ctx, token, NULL, 0) == 0 and last_error()[0] != 0
        assert lib.llama_token_get_type(pointer, token) == lib.LLAMA_TOKEN_TYPE_UNDEFINED and last_error()[0] == ERROR


def test_prefix_is_a_prefix(pointer, n_vocab):
    texts = [piece(pointer, token) for token in range(n_vocab)]
    for a in range(3, n_vocab, 7):
        for b in range(3, n_vocab, 11):
            assert lib.llama_token_is_prefix(pointer, a, b) == (bool(texts[a]) and texts[b].startswith(texts[a]))


def test_types_follow_attributes(pointer, n_vocab):
    kinds = {lib.llama_token_get_type(pointer, token) for token in range(n_vocab)}
    assert {lib.LLAMA_TOKEN_TYPE_NORMAL, lib.LLAMA_TOKEN_TYPE_CONTROL, lib.LLAMA_TOKEN_TYPE_BYTE} <= kinds
    assert lib.llama_token_get_type(pointer, lib.llama_vocab_bos(pointer)) == lib.LLAMA_TOKEN_TYPE_CONTROL


def test_whole_vocabulary_at_once(pointer, ctx, n_vocab):
    strings, scores = ffi.new("char const *[]", n_vocab), ffi.new("float[]", n_vocab)
    assert lib.llama_get_vocab_from_model(pointer, strings, scores, n_vocab) == n_vocab
    assert [strings[i] for i in range(n_vocab)] == [lib.bitnet_token_text(pointer, i) for i in range(n_vocab)]
    assert list(scores) == [lib.llama_vocab_get_score(pointer, i) for i in range(n_vocab)]
    assert lib.llama_get_vocab(ctx, strings, scores, 7) == 7
    assert lib.llama_get_vocab(ctx, NULL, scores, 7) == 0 and last_error()[0] == ERROR
    assert lib.llama_get_vocab(ctx, strings, scores, -1) == 0 and last_error()[0] == ERROR


def test_names_of_special_tokens(pointer):
    same = [(f"fim_{x}", x) for x in ("pre", "suf", "mid", "pad", "rep", "sep")]
    for old, new in [("prefix", "pre"), ("middle", "mid"), ("suffix", "suf"), *same]:
        assert getattr(lib, f"llama_token_{old}")(pointer) == getattr(lib, f"llama_vocab_fim_{new}")(pointer)
    assert lib.llama_vocab_cls(pointer) == lib.llama_vocab_bos(pointer)


@pytest.mark.parametrize("tokens, kept", [([5, 9, 7], [5, 9, 7]), ([5, 280, -1, 6], [5, 6]), ([], [])])
def test_suppressed_tokens_are_the_files(tmp_path, tokens, kept):
    gguf = tiny_model(n_layer=1, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=64)
    gguf.set("tokenizer.ggml.suppress_tokens", ARRAY, (I32, tokens))
    loaded = lib.llama_model_load_from_file(str(gguf.write(tmp_path / "s.gguf")).encode(), lib.llama_model_default_params())
    assert loaded, last_error()
    n = ffi.new("int32_t *", 99)
    found = lib.llama_vocab_get_suppress_tokens(loaded, n)
    assert [found[i] for i in range(n[0])] == kept and (found == NULL) == (kept == [])
    assert lib.llama_vocab_get_suppress_tokens(loaded, NULL) == NULL and last_error()[0] == ERROR
    lib.llama_model_free(loaded)


# ---- copying a sampler's state ----

def test_copied_sampler_goes_on_like_the_other():
    def chain(seed):
        made = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(made, lib.llama_sampler_init_penalties(200, 8, 1.5, 0, 0))
        lib.llama_sampler_chain_add(made, lib.llama_sampler_init_dist(seed))
        return ffi.gc(made, lib.llama_sampler_free)

    def draw(sampler):
        cur = Cur(VALUES)
        lib.llama_sampler_apply(sampler, cur.c)
        token = cur.c.data[cur.c.selected].id
        lib.llama_sampler_accept(sampler, token)
        return token

    a, b = chain(1), chain(2)
    member = lib.llama_sampler_chain_get(b, 1)
    [draw(a) for _ in range(5)]
    lib.llama_sampler_copy(a, b)
    assert last_error()[0] == 0 and lib.llama_sampler_chain_get(b, 1) == member
    assert [draw(b) for _ in range(10)] == [draw(a) for _ in range(10)]
    lib.llama_sampler_copy(a, a)
    assert last_error()[0] == 0
    lib.llama_sampler_copy(member, b)
    assert last_error()[0] == ERROR and "chain" in last_error()[1]
    lib.llama_sampler_copy(NULL, b)
    assert last_error()[0] == ERROR


def test_copy_of_a_sampler_of_ones_own():
    seen = []

    @ffi.callback("void(struct llama_sampler const *, struct llama_sampler *)")
    def copy_state(src, dst):
        seen.append((src, dst))

    iface = ffi.new("struct llama_sampler_i *")
    state = ffi.new("int *")
    a, b = (ffi.gc(lib.llama_sampler_init(iface, state), lib.llama_sampler_free) for _ in range(2))
    lib.llama_sampler_copy(a, b)
    assert last_error()[0] == ERROR       # it has a state, and no way to copy it
    iface.copy_state = copy_state
    lib.llama_sampler_copy(a, b)
    assert last_error()[0] == 0 and seen == [(a, b)]


# ---- timings ----

def test_timings_count_what_was_sampled(pointer):
    ctx = init(pointer, n_ctx=64)
    decode(ctx, PROMPT)
    decode(ctx, [60])
    lib.llama_sample_token(ctx, Cur(VALUES).c)
    lib.llama_sample_token_greedy(ctx, Cur(VALUES).c)
    t = lib.llama_get_timings(ctx)
    assert (t.n_sample, t.n_p_eval, t.n_eval) == (2, 5, 1)
    assert t.t_end_ms >= t.t_start_ms and t.t_p_eval_ms > 0 and t.t_sample_ms >= 0
    lib.llama_reset_timings(ctx)
    t = lib.llama_get_timings(ctx)
    assert (t.n_sample, t.n_p_eval, t.n_eval, t.t_sample_ms, t.t_eval_ms) == (1, 1, 1, 0, 0)


@pytest.fixture
def lines():
    found = []

    @ffi.callback("void(enum ggml_log_level, char const *, void *)")
    def note(level, text, data):
        found.append(ffi.string(text).decode())

    callback, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(callback, data)
    lib.llama_log_set(note, NULL)
    yield found
    lib.llama_log_set(callback[0], data[0])


def test_timings_are_printed_to_the_log(ctx, lines, capfd):
    lib.llama_print_timings(ctx)
    first = len(lines)
    assert first >= 4 and any(line.startswith("sampling") for line in lines)
    lib.llama_perf_print(ctx, lib.LLAMA_PERF_TYPE_CONTEXT)
    assert len(lines) == 2 * first
    chain = ffi.gc(lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params()), lib.llama_sampler_free)
    lib.llama_perf_print(chain, lib.LLAMA_PERF_TYPE_SAMPLER_CHAIN)
    assert lines[-1].startswith("samplers:")
    lib.llama_perf_reset(chain, lib.LLAMA_PERF_TYPE_SAMPLER_CHAIN)
    lib.llama_perf_reset(ctx, lib.LLAMA_PERF_TYPE_CONTEXT)
    assert last_error()[0] == 0 and lib.llama_get_timings(ctx).t_p_eval_ms == 0
    assert capfd.readouterr() == ("", "")


def test_perf_of_no_known_type(ctx):
    for call in (lib.llama_perf_print, lib.llama_perf_reset):
        call(ctx, 2)
        assert last_error()[0] == ERROR
        call(NULL, 0)
        assert last_error()[0] == ERROR


@pytest.mark.parametrize("call", [lib.llama_dump_timing_info_yaml, lib.llama_perf_dump_yaml])
def test_yaml_goes_to_the_stream(ctx, tmp_path, call):
    with open(tmp_path / "t.yaml", "w") as stream:
        call(stream, ctx)
        assert last_error()[0] == 0
    values = dict(line.split("#")[0].split(": ") for line in (tmp_path / "t.yaml").read_text().splitlines())
    assert int(values["n_p_eval"]) == 5 and float(values["t_p_eval_us"]) > 0
    call(NULL, ctx)
    assert last_error()[0] == ERROR
