"""Checks of the header's "Vocabulary" and "Tokenization", by today's names and by those of 2023 and 2024, and of chat templates."""
from calls import INT_MAX, INT_MIN, N_VOCAB, NULL, REAL, ROLES, Room, exact_text, ffi, items, last_error

room = Room()
LETTERS = {"e": 260, "t": 261, "a": 262, "o": 263}       # of the tiny vocabulary: they follow the bytes and the space
TOKENIZE = REAL.BITNET_ERROR_TOKENIZE


# ---- single tokens ----

room.gives("llama_vocab_n_tokens llama_n_vocab", lambda w: (w.model,), N_VOCAB)
room.gives("llama_vocab_type", lambda w: (w.model,), REAL.LLAMA_VOCAB_TYPE_SPM)
for names, token in {
    "llama_vocab_bos llama_vocab_cls llama_token_bos llama_token_cls": 1,
    "llama_vocab_eos llama_token_eos": 2,
    "llama_vocab_eot llama_token_eot": ROLES["eot"],
    "llama_vocab_sep llama_token_sep": ROLES["seperator"],
    "llama_vocab_nl llama_token_nl": 3 + ord("\n"),
    "llama_vocab_pad llama_token_pad": ROLES["padding"],
    "llama_vocab_mask": ROLES["mask"],
    "llama_vocab_fim_pre llama_token_fim_pre llama_token_prefix": ROLES["fim_pre"],
    "llama_vocab_fim_suf llama_token_fim_suf llama_token_suffix": ROLES["fim_suf"],
    "llama_vocab_fim_mid llama_token_fim_mid llama_token_middle": ROLES["fim_mid"],
    "llama_vocab_fim_pad llama_token_fim_pad": ROLES["fim_pad"],
    "llama_vocab_fim_rep llama_token_fim_rep": ROLES["fim_rep"],
    "llama_vocab_fim_sep llama_token_fim_sep": ROLES["fim_sep"],
}.items():
    room.gives(names, lambda w: (w.model,), token)
    room.answers(names, lambda w: (w.bare,), token)
room.gives("llama_vocab_get_add_bos llama_vocab_get_add_eos llama_vocab_get_add_sep llama_add_bos_token llama_add_eos_token",
           lambda w: (w.model,), True)

ABOUT_A_TOKEN = {
    "llama_vocab_get_text llama_token_get_text": (LETTERS["t"], b"t", None),
    "llama_vocab_get_score llama_token_get_score": (LETTERS["t"], -2.0, 0.0),
    "llama_vocab_get_attr llama_token_get_attr": (LETTERS["t"], REAL.LLAMA_TOKEN_ATTR_NORMAL, REAL.LLAMA_TOKEN_ATTR_UNDEFINED),
    "llama_vocab_is_eog llama_token_is_eog": (ROLES["eot"], True, False),
    "llama_vocab_is_control llama_token_is_control": (1, True, False),
    "llama_token_get_type": (1, REAL.LLAMA_TOKEN_TYPE_CONTROL, REAL.LLAMA_TOKEN_TYPE_UNDEFINED),
    "bitnet_token_text": (LETTERS["t"], b"t", None),
}
NO_TOKENS = (-1, N_VOCAB, INT_MAX, INT_MIN)
for names, (token, value, nothing) in ABOUT_A_TOKEN.items():
    room.gives(names, lambda w, token=token: (w.model, token), value)
    for none in NO_TOKENS:
        room.refuses(names, lambda w, none=none: (w.model, none), nothing, f"{none}")
room.gives("llama_token_is_prefix", lambda w: (w.model, LETTERS["t"], LETTERS["t"]), True)
room.answers("llama_token_is_prefix", lambda w: (w.model, LETTERS["t"], LETTERS["e"]), False)
for none in NO_TOKENS:
    room.refuses("llama_token_is_prefix", lambda w, none=none: (w.model, none, 5), False, f"{none}")
    room.refuses("llama_token_is_prefix", lambda w, none=none: (w.model, 5, none), False, f"{none}")


@room.use("llama_vocab_get_suppress_tokens")
def _(api, w):
    n = ffi.new("int32_t *", 99)
    assert items(api.llama_vocab_get_suppress_tokens(w.model, n), 2) == [7, 9] and n[0] == 2


room.refuses("llama_vocab_get_suppress_tokens", lambda w: (w.model, NULL), NULL, "n_suppress_tokens is NULL")


@room.use("llama_get_vocab_from_model", "llama_get_vocab")
def _(api, w):
    for call, handle in ((api.llama_get_vocab_from_model, w.model), (api.llama_get_vocab, w.ctx)):
        strings, scores = ffi.new("char const *[]", N_VOCAB), ffi.new("float[]", N_VOCAB)
        assert call(handle, strings, scores, 262) == 262
        assert [ffi.string(strings[i]) for i in (260, 261)] == [b"e", b"t"] and scores[261] == -2.0
        assert strings[262] == NULL and scores[262] == 0


for names, handle in (("llama_get_vocab_from_model", "model"), ("llama_get_vocab", "ctx")):
    room.refuses(names, lambda w, handle=handle: (getattr(w, handle), NULL, ffi.new("float[1]"), 1), 0, "NULL")
    room.refuses(names, lambda w, handle=handle: (getattr(w, handle), ffi.new("char const *[1]"), NULL, 1), 0, "NULL")
    room.refuses(names, lambda w, handle=handle: (getattr(w, handle), ffi.new("char const *[1]"), ffi.new("float[1]"), -1), 0, "-1")


# ---- text to tokens ----

def ids_of(call):
    """The tokens of call(tokens, room): minus their number where they do not fit, and nothing behind the room."""
    n = -call(NULL, 0)
    assert n > 0, last_error()
    for size in range(n + 1):
        tokens = ffi.new("llama_token[]", [-99] * (n + 1))
        assert call(tokens, size) == (n if size == n else -n)
        assert list(tokens)[size:] == [-99] * (n + 1 - size)
    return list(tokens)[:n]


@room.use("llama_tokenize", "llama_tokenize_with_model", "llama_tokenize_bpe", "bitnet_tokenize")
def _(api, w):
    words = b"toe toe\xff"
    found = ids_of(lambda out, room: api.llama_tokenize(w.model, words, len(words), out, room, True, False))
    assert (found[0], found[-1]) == (1, 2) and 3 + 0xff in found           # BOS and EOS, and the invalid byte as itself
    text = ffi.new("char[]", 64)
    n = REAL.llama_detokenize(w.model, found, len(found), text, 64, True, False)
    assert bytes(ffi.buffer(text, n)) == b" " + words      # without BOS the space in front stays, as in llama.cpp
    assert ids_of(lambda out, room: api.llama_tokenize_with_model(w.model, words, len(words), out, room, True)) == found
    assert ids_of(lambda out, room: api.llama_tokenize_bpe(w.ctx, words, out, room, True)) == found
    assert ids_of(lambda out, room: api.llama_tokenize(w.model, words, -1, out, room, True, False)) == found
    ranges = ffi.new("int32_t[]", 2 * len(found) + 2)
    ranges[2 * len(found)] = 77
    assert ids_of(lambda out, room: api.bitnet_tokenize(w.model, words, len(words), out, ranges, room, 1)) == found
    assert [i for i in range(len(found)) if found[i] == 3 + 0xff and (ranges[2 * i], ranges[2 * i + 1]) == (7, 8)]
    assert ranges[2 * len(found)] == 77


for name, extra in (("llama_tokenize", (True, False)), ("llama_tokenize_with_model", (True,))):
    room.refuses(name, lambda w, extra=extra: (w.model, NULL, 3, NULL, 0, *extra), INT_MIN, "text: NULL, expected 3 bytes")
    room.answers(name, lambda w, extra=extra: (w.model, NULL, 0, NULL, 0, *extra), -2)                    # BOS and EOS do not fit
    room.answers(name, lambda w, extra=extra: (w.model, b"", 0, ffi.new("llama_token[2]"), INT_MIN, *extra), -2)
room.refuses("llama_tokenize_bpe", lambda w: (w.ctx, NULL, NULL, 0, True), INT_MIN, "text: NULL")
room.refuses("bitnet_tokenize", lambda w: (w.model, NULL, -1, NULL, NULL, 0, 1), INT_MIN, "text: NULL")
room.answers("bitnet_tokenize", lambda w: (w.model, b"", 0, NULL, NULL, INT_MIN, 1), -2)


@room.use("bitnet_tokenize_batch")
def _(api, w):
    texts = [b"toe toe\xff", b"", b"toe\0toe", b"e" * 300]
    ids, ranges = ffi.new("llama_token[]", 999), ffi.new("int32_t[]", 1998)
    expected, places = [], []
    for text in texts:
        n = REAL.bitnet_tokenize(w.model, text, len(text), ids, ranges, 999, 1)
        expected.append(list(ids)[:n])
        places.append(list(ranges)[:2 * n])
    total = sum(map(len, expected))
    held = [ffi.new("char[]", text) for text in texts]
    given, lengths = ffi.new("char *[]", held), ffi.new("int64_t[]", [len(text) for text in texts])
    for size in (0, total - 1, total, total + 1):
        ids, ranges = ffi.new("llama_token[]", [-99] * (total + 1)), ffi.new("int32_t[]", 2 * total + 2)
        offsets = ffi.new("int64_t[]", [-1] * 6)
        n = api.bitnet_tokenize_batch(w.model, given, lengths, 4, ids, ranges, size, offsets, 1, 2)
        assert n == (total if size >= total else -total) and offsets[5] == -1
        assert [offsets[i + 1] - offsets[i] for i in range(4)] == [len(found) for found in expected] and offsets[0] == 0
        assert list(ids) == (sum(expected, []) + [-99] if size >= total else [-99] * (total + 1))
        assert list(ranges)[:2 * total] == (sum(places, []) if size >= total else [0] * 2 * total)
    lengths[0], lengths[2] = -1, -5            # up to the NUL
    assert api.bitnet_tokenize_batch(w.model, given, lengths, 3, NULL, ranges, 999, offsets, 1, 0) == -(offsets[3])
    assert offsets[3] == len(expected[0]) + len(expected[1]) + REAL.bitnet_tokenize(w.model, b"toe", 3, ids, NULL, total, 1)
    assert api.bitnet_tokenize_batch(w.model, given, NULL, 2, ids, NULL, total, offsets, 1, 1) == offsets[2]
    assert list(ids)[:offsets[2]] == expected[0] + expected[1]


def batch_of(w, texts, lengths, n=None, ids=NULL, room=0, offsets=True):
    """The arguments; offsets: False for NULL."""
    w.keep = [ffi.NULL if text is None else ffi.new("char[]", text) for text in texts] + [ffi.new("int64_t[]", lengths)]
    w.keep += [ffi.new("char *[]", w.keep[:-1]), ffi.new("int64_t[]", len(texts) + 1)]
    return (w.model, w.keep[-2], w.keep[-3], len(texts) if n is None else n, ids, NULL, room, w.keep[-1] if offsets else NULL, 1, 2)


room.refuses("bitnet_tokenize_batch", lambda w: batch_of(w, [b"a", None, None], [1, 3, 3]), -2**63, "text 1: NULL, expected 3 bytes")
room.refuses("bitnet_tokenize_batch", lambda w: batch_of(w, [b"a", None], [1, -1]), -2**63, "text 1: NULL")
room.refuses("bitnet_tokenize_batch", lambda w: batch_of(w, [b"a", b"b"], [1, 2**31]), -2**63,
             "text 1: 2147483648 bytes, expected at most 2147483647", TOKENIZE)
room.refuses("bitnet_tokenize_batch", lambda w: batch_of(w, [b"a"], [1], n=-1), -2**63, "texts: NULL or a negative number of them (-1)")
room.refuses("bitnet_tokenize_batch", lambda w: batch_of(w, [b"a"], [1], offsets=False), -2**63,
             "offsets: NULL, expected room for 2 numbers")
room.refuses("bitnet_tokenize_batch", lambda w: (w.model, NULL, NULL, 2, NULL, NULL, 0, ffi.new("int64_t[3]"), 1, 2), -2**63, "texts: NULL")
room.answers("bitnet_tokenize_batch", lambda w: (w.model, NULL, NULL, 0, NULL, NULL, INT_MIN, ffi.new("int64_t[1]"), 1, -7), 0)
room.answers("bitnet_tokenize_batch", lambda w: batch_of(w, [b"", None], [0, 0], ids=ffi.new("llama_token[4]"), room=INT_MIN), -4)


room.refuses("bitnet_tokenize_cut", lambda w: (w.model, NULL, 3, 0), 0, "text: NULL")
room.answers("bitnet_tokenize_cut", lambda w: (w.model, b"", 0, 2**32 - 1), 0)


@room.use("bitnet_tokenize_cut")
def _(api, w):
    words = b"one two three " * 40
    at = api.bitnet_tokenize_cut(w.model, words, len(words), 0)
    assert 0 < at < len(words) and words[at:at + 1] == b" "


# ---- tokens to text ----

PIECES = {"llama_token_to_piece": ("model", (0, True)), "llama_token_to_piece_with_model": ("model", ()),
          "llama_token_to_str_with_model": ("model", ()), "llama_token_to_str": ("ctx", ()), "llama_token_to_str_bpe": ("ctx", ())}


@room.use(*PIECES)
def _(api, w):
    tokens = ffi.new("llama_token[]", 8)
    token = max(tokens[0:REAL.llama_tokenize(w.model, b"tt", 2, tokens, 8, False, False)])
    piece = ffi.string(REAL.bitnet_token_text(w.model, token))
    assert len(piece) >= 1
    for name, (handle, extra) in PIECES.items():
        assert exact_text(lambda buf, size: getattr(api, name)(getattr(w, handle), token, buf, size, *extra)) == piece


for name, (handle, extra) in PIECES.items():
    for none in NO_TOKENS:
        room.refuses(name, lambda w, handle=handle, extra=extra, none=none: (getattr(w, handle), none, NULL, 0, *extra), 0, f"{none}",
                     TOKENIZE)
    room.answers(name, lambda w, handle=handle, extra=extra: (getattr(w, handle), LETTERS["t"], NULL, INT_MAX, *extra), -1)
    room.answers(name, lambda w, handle=handle, extra=extra: (getattr(w, handle), LETTERS["t"], ffi.new("char[4]"), INT_MIN, *extra), -1)


@room.use("llama_detokenize")
def _(api, w):
    tokens = [1, LETTERS["t"], LETTERS["o"], 3 + 0xff, 2]
    assert exact_text(lambda buf, size: api.llama_detokenize(w.model, tokens, 5, buf, size, True, True)) == b"to\xff"
    assert exact_text(lambda buf, size: api.llama_detokenize(w.model, tokens, 5, buf, size, False, True)) == b"<s>to\xff</s>"


room.refuses("llama_detokenize", lambda w: (w.model, NULL, 2, NULL, 0, False, False), 0, "tokens: NULL")
room.refuses("llama_detokenize", lambda w: (w.model, [5], -1, NULL, 0, False, False), 0, "(-1)")
for none in NO_TOKENS:
    room.refuses("llama_detokenize", lambda w, none=none: (w.model, [5, none], 2, NULL, 0, False, False), 0, f"token {none}", TOKENIZE)
room.answers("llama_detokenize", lambda w: (w.model, [LETTERS["t"]] * 2, 2, NULL, INT_MAX, False, False), -2)


# ---- chat ----

def chat(*turns):
    keep = [(ffi.new("char[]", role), ffi.new("char[]", content)) for role, content in turns]
    array = ffi.new("struct llama_chat_message[]", keep)
    KEPT.append((array, keep))
    return array


KEPT = []


@room.use("llama_chat_apply_template")
def _(api, w):
    turns = chat((b"user", b"Hi \xff"))
    expected = b"<|im_start|>user\nHi \xff<|im_end|>\n<|im_start|>assistant\n"
    n = len(expected)
    for name in (b"chatml", NULL):
        for size in (0, 1, n - 1, n, n + 1):
            buffer = ffi.new("char[]", b"\xa5" * (n + 2))
            assert api.llama_chat_apply_template(name, turns, 1, True, buffer, size) == n
            assert bytes(ffi.buffer(buffer))[:n + 2] == (expected[:size] + b"\0" * (size > n)).ljust(n + 2, b"\xa5")


room.refuses("llama_chat_apply_template", lambda w: (b"no such template", chat((b"user", b"x")), 1, True, NULL, 0), -1, "template")
room.refuses("llama_chat_apply_template", lambda w: (b"chatml", NULL, 1, True, NULL, 0), -1, "NULL")
for buf, length in ((NULL, 5), (ffi.new("char[9]"), -1), (NULL, INT_MAX)):
    room.answers("llama_chat_apply_template", lambda w, to=(buf, length): (b"chatml", chat((b"user", b"x")), 1, False, *to),
                 len("<|im_start|>user\nx<|im_end|>\n"))
room.answers("llama_chat_apply_template", lambda w: (b"chatml", NULL, 0, False, NULL, 0), 0)
room.answers("llama_chat_apply_template", lambda w: (b"chatml", ffi.new("struct llama_chat_message[1]"), 1, False, NULL, 0),
             len("<|im_start|>\n<|im_end|>\n"))


@room.use("llama_chat_builtin_templates")
def _(api, w):
    n = api.llama_chat_builtin_templates(NULL, 0)
    names = ffi.new("const char *[]", n + 1)
    assert api.llama_chat_builtin_templates(names, 2) == n and names[2] == NULL
    assert api.llama_chat_builtin_templates(names, n + 1) == n and names[n] == NULL
    assert {b"chatml", b"llama3", b"bitnet"} < {ffi.string(names[i]) for i in range(n)}


room.refuses("llama_chat_builtin_templates", (NULL, 3), -1, "NULL")
