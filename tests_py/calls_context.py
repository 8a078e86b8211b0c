"""Checks of "Context", "Decoding", "Memory" (and its older names), "State" and "Performance" of the header."""
import ctypes

from calls import (INF, INT_MAX, INT_MIN, N_VOCAB, NAN, NULL, REAL, Room, SHAPE, SIZE_MAX, TEXT, Batch, ffi, folder, items, last_error,
                   mapped, path, row, span)
from calls_library import Log

room = Room()
THREAD, FULL, MEMORY = REAL.BITNET_ERROR_THREAD, REAL.BITNET_ERROR_CONTEXT, REAL.BITNET_ERROR_MEMORY
E = SHAPE["n_embd"]


def defaults(**fields):
    params = REAL.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    for name, value in fields.items():
        setattr(params, name, value)
    return params


def owned(ctx):
    return ffi.gc(ctx, REAL.llama_free)


def decode(ctx, tokens, **fields):
    batch = Batch(tokens, **fields)
    return REAL.llama_decode(ctx, batch.pointer[0])


# ---- contexts ----

@room.use("llama_context_default_params")
def _(api, w):
    p = api.llama_context_default_params()
    assert (p.n_ctx, p.n_seq_max, p.type_k, p.type_v) == (512, 1, REAL.GGML_TYPE_F16, REAL.GGML_TYPE_F16)
    assert (p.pooling_type, p.attention_type, p.rope_scaling_type) == (-1, -1, -1) and not p.embeddings and p.abort_callback == NULL


@room.use("llama_init_from_model", "llama_new_context_with_model")
def _(api, w):
    for make in (api.llama_init_from_model, api.llama_new_context_with_model):
        ctx = owned(make(w.model, defaults()))
        assert decode(ctx, TEXT) == 0 and row(ctx) == row(w.ctx)


@room.use("llama_init_from_file")
def _(api, w):
    ctx = owned(api.llama_init_from_file(path(), defaults()))
    assert decode(ctx, TEXT) == 0 and row(ctx) == row(w.ctx)


@room.use("llama_free")
def _(api, w):
    before = mapped(path())
    ctx = REAL.llama_init_from_file(path(), defaults())     # the model goes with it
    assert mapped(path()) > before
    api.llama_free(ctx)
    assert mapped(path()) == before
    api.llama_free(NULL)


MAKERS = "llama_init_from_model llama_new_context_with_model"
room.refuses(MAKERS, lambda w: (w.bare, defaults(n_ctx=0)), NULL, "vocab_only")
for field, value, words in (("n_ctx", 2**32 - 1, "expected at most 16777216"), ("n_seq_max", 257, "expected at most 256"),
                            ("type_k", 1000, "type_k is 1000"), ("type_v", 2, "type_v is 2"), ("pooling_type", 99, "pooling_type"),
                            ("attention_type", -2, "attention_type"), ("rope_freq_base", NAN, "rope_freq_base"),
                            ("rope_freq_scale", INF, "rope_freq_scale"),
                            ("n_samplers", 1, "samplers")):
    room.refuses(MAKERS, lambda w, field=field, value=value: (w.model, defaults(**{field: value})), NULL, words)
    room.refuses("llama_init_from_file", lambda w, field=field, value=value: (path(), defaults(**{field: value})), NULL, words)
room.refuses("llama_init_from_file", lambda w: (b"/no/such/file", defaults()), NULL, "no such file", REAL.BITNET_ERROR_NOT_FOUND)
room.refuses("llama_init_from_file", lambda w: (NULL, defaults()), NULL, "NULL", REAL.BITNET_ERROR_LOAD)

room.gives("llama_get_model", lambda w: (w.ctx,), lambda w: w.model)
room.gives("llama_n_ctx llama_n_batch llama_n_ubatch llama_n_ctx_seq", lambda w: (w.ctx,), 64)
room.gives("llama_n_seq_max llama_n_max_seq", lambda w: (w.ctx,), 3)
room.gives("llama_n_rs_seq", lambda w: (w.ctx,), 0)
room.gives("llama_n_threads llama_n_threads_batch", lambda w: (w.ctx,), 1)
room.does_nothing("llama_synchronize", lambda w: (w.ctx,))


@room.use("llama_set_n_threads")
def _(api, w):
    limit = REAL.llama_n_threads(w.context(n_threads=INT_MAX))
    for n, n_batch in ((2, 1), (INT_MAX, 2), (1, INT_MAX)):
        api.llama_set_n_threads(w.fresh, n, n_batch)
        assert (REAL.llama_n_threads(w.fresh), REAL.llama_n_threads_batch(w.fresh)) == (min(n, limit), min(n_batch, limit)), last_error()
    assert decode(w.fresh, TEXT) == 0 and row(w.fresh) == row(w.ctx)


for n, n_batch in ((0, 1), (1, 0), (-1, 1), (1, INT_MIN)):
    room.refuses("llama_set_n_threads", lambda w, n=n, m=n_batch: (w.ctx, n, m), None, f"n_threads is {n} and n_threads_batch {n_batch}")


@room.use("llama_set_abort_callback")
def _(api, w):
    calls = []
    stop = ffi.callback("bool(void *)", lambda data: calls.append(data) or len(calls) == 2)
    api.llama_set_abort_callback(w.fresh, stop, SOME_DATA)
    assert decode(w.fresh, TEXT) == 2 and calls == [SOME_DATA] * 2        # within one layer of the three
    assert span(w.fresh) == (-1, -1) and row(w.fresh) == b""
    api.llama_set_abort_callback(w.fresh, NULL, NULL)
    assert decode(w.fresh, TEXT) == 0 and len(calls) == 2


SOME_DATA = ffi.cast("void *", 42)


# ---- batches ----

@room.use("llama_batch_get_one")
def _(api, w):
    tokens = ffi.new("llama_token[]", TEXT)
    batch = api.llama_batch_get_one(tokens, len(TEXT))
    assert (batch.n_tokens, batch.token) == (len(TEXT), tokens) and NULL == batch.pos == batch.seq_id == batch.n_seq_id == batch.logits == batch.embd
    assert REAL.llama_decode(w.fresh, batch) == 0 and row(w.fresh) == row(w.ctx)


@room.use("llama_batch_init")
def _(api, w):
    batch = api.llama_batch_init(5, 0, 2)
    for i, token in enumerate(TEXT):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 2, i == 4
        batch.seq_id[i][0], batch.seq_id[i][1] = 0, 2
    batch.n_tokens = 5
    assert REAL.llama_decode(w.fresh, batch) == 0 and row(w.fresh) == row(w.ctx) and span(w.fresh, 2) == (0, 4)
    REAL.llama_batch_free(batch)


EMPTY = (0, NULL, NULL, NULL, NULL, NULL, NULL)
for sizes in ((-1, 0, 1), (1, -1, 1), (1, 0, -1), (INT_MIN, 0, 1), (INT_MAX, 0, 1), (2**24, INT_MAX, 1)):
    room.refuses("llama_batch_init", sizes, EMPTY, "batch", MEMORY if sizes == (2**24, INT_MAX, 1) else -1)


room.answers("llama_batch_get_one", (NULL, INT_MIN), (INT_MIN, NULL, NULL, NULL, NULL, NULL, NULL))       # it is llama_decode that looks
room.answers("llama_batch_free", lambda w: (ffi.new("struct llama_batch *")[0],), None)


def in_use() -> int:
    """Bytes that malloc has given out and not got back."""
    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Info
    info = mallinfo2()
    return info.uordblks + info.hblkhd


@room.use("llama_batch_free", "llama_batch_ext_free")
def _(api, w):
    batch, ext = REAL.llama_batch_init(1 << 20, 0, 1), REAL.llama_batch_ext_init(w.ctx)
    for _ in range(1 << 12):
        REAL.llama_batch_ext_add_embd(ext, 0, (EMBD, 1, E))
    full = in_use()
    api.llama_batch_free(batch)
    assert in_use() < full - (1 << 24)
    full = in_use()
    api.llama_batch_ext_free(ext)
    assert in_use() < full - (1 << 18)
    api.llama_batch_ext_free(NULL)
    api.llama_batch_free(ffi.new("struct llama_batch *")[0])


EMBD = ffi.new("float[]", [0.5] * E)


# ---- decoding ----

@room.use("llama_decode")
def _(api, w):
    for begin, end in ((0, 2), (2, 5)):
        assert api.llama_decode(w.fresh, w.batch(TEXT[begin:end])) == 0
    assert row(w.fresh) == row(w.ctx)
    assert api.llama_decode(w.fresh, w.batch([1] * 60)) == 1 and last_error()[0] == FULL and span(w.fresh) == (0, 4)


@room.use("llama_encode")
def _(api, w):
    assert api.llama_encode(w.fresh, w.batch(TEXT)) == 0
    first, last = row(w.fresh, 0), row(w.fresh)
    assert span(w.fresh) == (-1, -1) and last != row(w.ctx)               # nothing is kept, and tokens see what follows
    assert api.llama_encode(w.fresh, w.batch(TEXT[:4] + [5])) == 0 and row(w.fresh, 0) != first


WRONG_BATCHES = [
    (dict(token=[]), "n_tokens is 0"), (dict(n_tokens=-1), "n_tokens is -1"), (dict(n_tokens=INT_MAX), "n_tokens is 2147483647"),
    (dict(token=None, n_tokens=1), "batch.token is NULL"), (dict(token=[-1]), "batch.token[0] is -1"), (dict(token=[N_VOCAB]), f"batch.token[0] is {N_VOCAB}"),
    (dict(token=[1], pos=[9]), "goes on at position"), (dict(token=[1], pos=[INT_MAX]), "batch.pos[0] is 2147483647"),
    (dict(token=[1], pos=[INT_MIN]), "batch.pos[0] is -2147483648"), (dict(token=[1], seq=[[3]]), "batch.seq_id[0][0] is 3"),
    (dict(token=[1], seq=[[-1]]), "batch.seq_id[0][0] is -1"), (dict(token=[1], seq=[[]]), "batch.n_seq_id[0] is 0"),
    (dict(token=None, embd=ffi.new("float[]", [NAN] * E), n_tokens=1), "number 0 of token 0 is nan")]
for fields, words in WRONG_BATCHES:
    room.refuses("llama_decode", lambda w, fields=fields: (w.ctx, w.batch(**fields)), -1, words)
    if "pos" not in fields or abs(fields["pos"][0]) > 9:                  # it begins anew
        room.refuses("llama_encode", lambda w, fields=fields: (w.ctx, w.batch(**fields)), -1, words)
room.refuses("llama_decode", lambda w: (w.ctx, w.batch([1] * 60)), 1, "no room for 60 tokens", FULL)
room.refuses("llama_encode", lambda w: (w.ctx, w.batch([1] * 65)), -1, "at most n_ubatch = 64")


@room.use("llama_process")
def _(api, w):
    ext = ffi.gc(REAL.llama_batch_ext_init(w.fresh), REAL.llama_batch_ext_free)
    for token in TEXT:
        REAL.llama_batch_ext_set_output_logits(ext, REAL.llama_batch_ext_add_token(ext, 0, token), True)
    assert api.llama_process(w.fresh, REAL.LLAMA_PROCESS_TYPE_ENCODE, ext) == 0 and row(w.fresh) != row(w.ctx) and span(w.fresh) == (-1, -1)
    assert api.llama_process(w.fresh, REAL.LLAMA_PROCESS_TYPE_DECODE, ext) == 0 and row(w.fresh) == row(w.ctx) and span(w.fresh) == (0, 4)


room.refuses("llama_process", lambda w: (w.ctx, 2, w.ext), -1, "type is 2, expected 0 (encode) or 1 (decode)")
room.refuses("llama_process", lambda w: (w.ctx, 2**32 - 1, w.ext), -1, "expected 0 (encode) or 1 (decode)")
room.refuses("llama_process", lambda w: (w.ctx, 1, NULL), -1, "batch is NULL")
room.refuses("llama_process", lambda w: (w.ctx, 1, ffi.gc(REAL.llama_batch_ext_init(w.ctx), REAL.llama_batch_ext_free)), -1, "n_tokens is 0")


@room.use("llama_eval", "bitnet_eval_n_threads")
def _(api, w):
    for call, more in ((api.llama_eval, ()), (api.bitnet_eval_n_threads, (1,))):
        assert call(w.fresh, TEXT, 4, 0, *more) == 0
        assert call(w.fresh, TEXT[2:], 3, 2, *more) == 0 and row(w.fresh) == row(w.ctx) and span(w.fresh) == (0, 4)
        REAL.llama_memory_clear(REAL.llama_get_memory(w.fresh), False)


@room.use("llama_eval_embd")
def _(api, w):
    assert api.llama_eval_embd(w.fresh, EMBD, 1, 0) == 0 and span(w.fresh) == (0, 0) and row(w.fresh) != b""


for name, more in (("llama_eval", ()), ("bitnet_eval_n_threads", (1,)), ("llama_eval_embd", ())):
    given = EMBD if name == "llama_eval_embd" else TEXT
    room.refuses(name, lambda w, more=more: (w.ctx, NULL, 1, 0, *more), 1, "NULL")
    for n, n_past, words in ((0, 0, "n_tokens is 0"), (INT_MIN, 0, "n_tokens is"), (1, 6, "n_past is 6"), (1, -1, "n_past is -1"), (1, INT_MAX, "n_past is")):
        room.refuses(name, lambda w, given=given, n=n, n_past=n_past, more=more: (w.ctx, given, n, n_past, *more), 1, words)
room.refuses("llama_eval", lambda w: (w.ctx, [N_VOCAB], 1, 0), 1, f"token[0] is {N_VOCAB}")
room.refuses("bitnet_eval_n_threads", lambda w: (w.ctx, [-1], 1, 0, INT_MIN), 1, "token[0] is -1")


@room.use("bitnet_decode_at")
def _(api, w):
    tokens = ffi.new("llama_token[]", TEXT)
    assert api.bitnet_decode_at(w.fresh, REAL.llama_batch_get_one(tokens, 5), 0, 1, 2) == 0
    assert span(w.fresh, 2) == (0, 4) and row(w.fresh) == row(w.ctx)


TOKENS = ffi.new("llama_token[]", TEXT)
for pos_0, pos_1, seq in ((-1, 1, 0), (INT_MAX, 1, 0), (5, INT_MAX, 0), (5, INT_MIN, 0), (5, 1, 3), (5, 1, INT_MIN)):
    room.refuses("bitnet_decode_at", lambda w, at=(pos_0, pos_1, seq): (w.ctx, REAL.llama_batch_get_one(TOKENS, 2), *at), -1, "")


@room.use("bitnet_set_logits_all")
def _(api, w):
    api.bitnet_set_logits_all(w.fresh, True)
    assert decode(w.fresh, TEXT) == 0 and row(w.fresh, 0) != b""
    api.bitnet_set_logits_all(w.fresh, False)
    assert decode(w.fresh, TEXT) == 0 and row(w.fresh, 0) == b"" != row(w.fresh, 4)


# ---- what a decode leaves ----

@room.use("llama_get_logits", "llama_get_logits_ith")
def _(api, w):
    rows = items(api.llama_get_logits(w.ctx), 2 * N_VOCAB)
    assert [items(api.llama_get_logits_ith(w.ctx, i), N_VOCAB) for i in (3, 4, -2, -1)] == [rows[:N_VOCAB], rows[N_VOCAB:]] * 2
    assert len(set(rows)) > N_VOCAB


room.refuses("llama_get_logits", lambda w: (w.fresh,), NULL, "nothing decoded yet")
room.refuses("llama_get_logits_ith", lambda w: (w.fresh, -1), NULL, "nothing decoded yet")
for i, words in ((0, "token 0 did not ask"), (5, "the last batch had 5 tokens"), (INT_MAX, "had 5 tokens"), (-3, "left 2 rows"), (INT_MIN, "left 2 rows")):
    room.refuses("llama_get_logits_ith", lambda w, i=i: (w.ctx, i), NULL, words)


@room.use("llama_get_embeddings", "llama_get_embeddings_ith")
def _(api, w):
    rows = items(api.llama_get_embeddings(w.embedder), 5 * E)
    assert sum(([*items(api.llama_get_embeddings_ith(w.embedder, i), E)] for i in range(5)), []) == rows and len(set(rows)) > E


@room.use("llama_get_embeddings_seq")
def _(api, w):
    rows = items(REAL.llama_get_embeddings(w.embedder), 5 * E)
    mean = items(api.llama_get_embeddings_seq(w.pooler, 0), E)
    assert all(abs(mean[c] - sum(rows[c::E]) / 5) < 1e-5 for c in range(E))


room.refuses("llama_get_embeddings", lambda w: (w.ctx,), NULL, "no embeddings")
room.refuses("llama_get_embeddings", lambda w: (w.pooler,), NULL, "the context pools")
room.refuses("llama_get_embeddings_ith", lambda w: (w.ctx, 0), NULL, "no embeddings")
room.refuses("llama_get_embeddings_ith", lambda w: (w.pooler, 0), NULL, "the context pools")
room.refuses("llama_get_embeddings_seq", lambda w: (w.ctx, 0), NULL, "no embeddings")
room.refuses("llama_get_embeddings_seq", lambda w: (w.embedder, 0), NULL, "does not pool")
room.refuses("llama_get_embeddings_seq", lambda w: (w.pooler, 1), NULL, "no token of that sequence")
for i in (5, INT_MAX, -6, INT_MIN):
    room.refuses("llama_get_embeddings_ith", lambda w, i=i: (w.embedder, i), NULL, f"({i})")
for seq in (-1, 3, INT_MAX):
    room.refuses("llama_get_embeddings_seq", lambda w, seq=seq: (w.pooler, seq), NULL, f"sequence {seq}")


@room.use("llama_set_embeddings")
def _(api, w):
    api.llama_set_embeddings(w.fresh, True)
    assert decode(w.fresh, TEXT) == 0
    assert items(REAL.llama_get_embeddings(w.fresh), E) == items(REAL.llama_get_embeddings(w.embedder), E)


room.gives("llama_pooling_type", lambda w: (w.pooler,), REAL.LLAMA_POOLING_TYPE_MEAN)


@room.use("llama_set_causal_attn", "llama_get_causal_attn")
def _(api, w):
    assert api.llama_get_causal_attn(w.fresh) is True
    api.llama_set_causal_attn(w.fresh, False)
    assert api.llama_get_causal_attn(w.fresh) is False
    assert decode(w.fresh, TEXT, logits=[1] * 5) == 0 and row(w.fresh, 3) != row(w.ctx, 3)


# ---- batches that grow ----

@room.use("llama_batch_ext_init", "llama_batch_ext_add_token", "llama_batch_ext_add_seq", "llama_batch_ext_set_output_logits",
          "llama_batch_ext_set_pos", "llama_batch_ext_clear")
def _(api, w):
    ext = ffi.gc(api.llama_batch_ext_init(w.fresh), REAL.llama_batch_ext_free)
    assert api.llama_batch_ext_add_token(ext, 1, 99) == 0
    api.llama_batch_ext_clear(ext)
    for i, token in enumerate(TEXT):
        assert api.llama_batch_ext_add_token(ext, 0, token) == i and api.llama_batch_ext_add_seq(ext, i, 2)
    assert api.llama_batch_ext_set_pos(ext, 0, ffi.new("llama_pos *", 7)) and api.llama_batch_ext_set_output_logits(ext, 4, True)
    assert REAL.llama_process(w.fresh, 1, ext) == 0
    assert span(w.fresh) == span(w.fresh, 2) == (7, 11) and row(w.fresh, 3) == b"" != row(w.fresh, 4)
    api.llama_batch_ext_set_pos(ext, 0, NULL)
    assert REAL.llama_process(w.fresh, 1, ext) == 0 and span(w.fresh) == (7, 16)


@room.use("llama_batch_ext_add", "llama_batch_ext_add_embd", "llama_batch_ext_set_embd_token", "llama_batch_ext_set_output_embd")
def _(api, w):
    assert decode(w.embedder, TEXT[:1], seq=[[1]]) == 0
    embd = (EMBD, 1, E)
    assert REAL.llama_eval_embd(w.fresh, EMBD, 1, 0) == 0
    for add in (lambda ext: api.llama_batch_ext_add_embd(ext, 0, embd),
                lambda ext: api.llama_batch_ext_add(ext, 0) or (0 if api.llama_batch_ext_set_embd_token(ext, 0, embd) else -1)):
        ctx = w.context()
        ext = ffi.gc(REAL.llama_batch_ext_init(ctx), REAL.llama_batch_ext_free)
        assert add(ext) == 0 and api.llama_batch_ext_set_output_embd(ext, 0, True)
        assert REAL.llama_process(ctx, 1, ext) == 0 and row(ctx, 0) == row(w.fresh)


room.absent("llama_batch_ext_set_embd_state", lambda w: (w.ext, 0, (EMBD, 1, E)), False, "takes no states")
for seq in (-1, 3, INT_MAX, INT_MIN):
    words = f"sequence {seq}, expected 0 to 2"
    room.refuses("llama_batch_ext_add", lambda w, seq=seq: (w.ext, seq), -3, words)
    room.refuses("llama_batch_ext_add_token", lambda w, seq=seq: (w.ext, seq, 1), -3, words)
    room.refuses("llama_batch_ext_add_embd", lambda w, seq=seq: (w.ext, seq, (EMBD, 1, E)), -3, words)
    room.refuses("llama_batch_ext_add_seq", lambda w, seq=seq: (w.ext, 0, seq), False, words)
for token in (-1, N_VOCAB, INT_MAX, INT_MIN):
    room.refuses("llama_batch_ext_add_token", lambda w, token=token: (w.ext, 0, token), -2, f"token {token}")
for embd in ((NULL, 1, E), (EMBD, 0, E), (EMBD, 2, E), (EMBD, 1, E - 1), (EMBD, SIZE_MAX, SIZE_MAX)):
    room.refuses("llama_batch_ext_add_embd", lambda w, embd=embd: (w.ext, 0, embd), -2, "NULL" if embd[0] == NULL else f"expected 1 row of {E}")
    room.refuses("llama_batch_ext_set_embd_token", lambda w, embd=embd: (w.ext, 0, embd), False, "NULL" if embd[0] == NULL else f"expected 1 row of {E}")
for i in (-1, 1, INT_MAX, INT_MIN):
    for name, more in (("add_seq", (1,)), ("set_embd_token", ((EMBD, 1, E),)), ("set_embd_state", ((EMBD, 1, E),)), ("set_pos", (NULL,)),
                       ("set_output_logits", (True,)), ("set_output_embd", (True,))):
        room.refuses(f"llama_batch_ext_{name}", lambda w, i=i, more=more: (w.ext, i, *more), False, f"token {i} of a batch, expected 0 to 0")
room.refuses("llama_batch_ext_set_pos", lambda w: (w.ext, 0, ffi.new("llama_pos *", -1)), False, "position -1")


# ---- performance ----

@room.use("llama_perf_context", "llama_perf_context_reset", "llama_get_timings", "llama_reset_timings")
def _(api, w):
    assert decode(w.ctx, [5]) == 0
    REAL.llama_sample_token_greedy(w.ctx, w.candidates())
    p, t = api.llama_perf_context(w.ctx), api.llama_get_timings(w.ctx)
    assert (p.n_p_eval, p.n_eval) == (5, 1) == (t.n_p_eval, t.n_eval) and p.t_p_eval_ms > 0 and t.t_p_eval_ms == p.t_p_eval_ms
    assert t.n_sample == 1 and 0 < t.t_start_ms <= t.t_end_ms
    api.llama_perf_context_reset(w.ctx)
    p = REAL.llama_perf_context(w.ctx)
    assert (p.n_p_eval, p.n_eval, p.t_p_eval_ms) == (0, 0, 0)
    REAL.llama_sample_token_greedy(w.ctx, w.candidates())
    assert decode(w.ctx, [5, 6]) == 0 and REAL.llama_get_timings(w.ctx).n_p_eval == 2 == REAL.llama_get_timings(w.ctx).n_sample
    api.llama_reset_timings(w.ctx)
    t = REAL.llama_get_timings(w.ctx)
    assert (t.n_p_eval, t.n_sample, t.t_sample_ms) == (1, 1, 0)           # at least 1, by its manual


@room.use("llama_perf_context_print", "llama_print_timings", "llama_memory_breakdown_print", "llama_perf_print")
def _(api, w):
    for call, words in ((lambda: api.llama_perf_context_print(w.ctx), "prompt eval"), (lambda: api.llama_print_timings(w.ctx), "sampling"),
                        (lambda: api.llama_memory_breakdown_print(w.ctx), "MB of weights"), (lambda: api.llama_perf_print(w.ctx, 0), "prompt eval"),
                        (lambda: api.llama_perf_print(w.chain, 1), "samplers")):
        with Log() as log:
            REAL.llama_log_set(log.callback, NULL)
            call()
        assert any(words in line for _, line, _ in log.lines)


@room.use("llama_perf_reset")
def _(api, w):
    REAL.llama_sampler_sample(w.chain, w.ctx, -1)
    api.llama_perf_reset(w.ctx, REAL.LLAMA_PERF_TYPE_CONTEXT)
    api.llama_perf_reset(w.chain, REAL.LLAMA_PERF_TYPE_SAMPLER_CHAIN)
    assert (REAL.llama_perf_context(w.ctx).n_p_eval, REAL.llama_perf_sampler(w.chain).n_sample) == (0, 0)


for kind in (2, -1 % 2**32):
    room.refuses("llama_perf_print llama_perf_reset", lambda w, kind=kind: (w.ctx, kind), None, "expected 0 (a context) or 1 (a chain)")
room.refuses("llama_perf_print llama_perf_reset", lambda w: (NULL, 0), None, "NULL")


@room.use("llama_dump_timing_info_yaml", "llama_perf_dump_yaml")
def _(api, w):
    for call in (api.llama_dump_timing_info_yaml, api.llama_perf_dump_yaml):
        with open(folder / "timings.yaml", "w") as stream:
            call(stream, w.ctx)
        assert "\nn_p_eval: 5\n" in (folder / "timings.yaml").read_text()


room.refuses("llama_dump_timing_info_yaml llama_perf_dump_yaml", lambda w: (NULL, w.ctx), None, "stream is NULL")
