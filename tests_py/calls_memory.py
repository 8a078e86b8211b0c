"""Checks of the header's "Memory", by today's names and those of 2023 to 2025, and of "State". The world's context holds positions 0 to 4 in
sequence 0, and shares the first three with sequence 1."""
from calls import (INT_MAX, INT_MIN, NULL, REAL, Room, SIZE_MAX, TEXT, ffi, folder, last_error, row, span)

room = Room()
MEMORY, LOAD, NOT_FOUND = REAL.BITNET_ERROR_MEMORY, REAL.BITNET_ERROR_LOAD, REAL.BITNET_ERROR_NOT_FOUND
EMPTY = (-1, -1)


def spans(ctx):
    return [span(ctx, seq) for seq in range(3)]


# ---- sequences, by three names: what each call leaves ----

CALLS = [
    ("clear", (), [EMPTY, EMPTY, EMPTY]),
    ("seq_rm", (0, 2, -1), [(0, 1), (0, 2), EMPTY]),
    ("seq_cp", (0, 2, 1, 4), [(0, 4), (0, 2), (1, 3)]),
    ("seq_keep", (1,), [EMPTY, (0, 2), EMPTY]),
    ("seq_add", (0, 4, -1, 7), [(0, 11), (0, 2), EMPTY]),
    ("seq_shift", (0, 0, -1, 9), [(9, 13), (0, 2), EMPTY]),
    ("seq_div", (0, 4, -1, 4), [(0, 3), (0, 2), EMPTY]),
    ("tokens_rm", (3, -1), [(0, 2), (0, 2), EMPTY]),
]
FAMILIES = {"llama_memory_": "memory", "llama_kv_cache_": "ctx", "llama_kv_self_": "ctx"}


def named(call, **families):
    """(name, handle) of each function that does this call."""
    return [(family + call, handle) for family, handle in FAMILIES.items() if hasattr(REAL, family + call)]


for call, arguments, after in CALLS:
    for name, handle in named(call):
        def check(api, w, name=name, handle=handle, arguments=arguments, after=after):
            more = (True,) if name == "llama_memory_clear" else ()
            assert getattr(api, name)(getattr(w, handle), *arguments, *more) in (None, True)
            assert last_error() == (0, "") and spans(w.ctx) == after
        room.use(name)(check)

for name, handle in named("seq_pos_min"):
    room.gives(name, lambda w, handle=handle: (getattr(w, handle), 0), 0)
    room.answers(name, lambda w, handle=handle: (getattr(w, handle), 2), -1)
for name, handle in named("seq_pos_max"):
    room.gives(name, lambda w, handle=handle: (getattr(w, handle), 0), 4)
for name, handle in named("can_shift"):
    room.gives(name, lambda w, handle=handle: (getattr(w, handle),), True)
for call in ("defrag", "update"):
    for name, handle in named(call):
        room.does_nothing(name, lambda w, handle=handle: (getattr(w, handle),))

for seq in (3, INT_MAX):
    words = f"sequence {seq}, expected 0 to 2"
    for call, rest, result in (("seq_rm", (-1, -1), False), ("seq_keep", (), None), ("seq_add", (-1, -1, 1), None),
                               ("seq_shift", (-1, -1, 1), None),
                               ("seq_div", (-1, -1, 2), None), ("seq_pos_min", (), -1), ("seq_pos_max", (), -1),
                               ("seq_cp", (0, -1, -1), None)):
        for name, handle in named(call):
            for no in (seq,) if call == "seq_rm" else (seq, INT_MIN):     # a negative one means all there
                room.refuses(name, lambda w, handle=handle, no=no, rest=rest: (getattr(w, handle), no, *rest), result,
                             f"sequence {no}, expected 0 to 2")
    for name, handle in named("seq_cp"):
        room.refuses(name, lambda w, handle=handle, seq=seq: (getattr(w, handle), 0, seq, -1, -1), None, words)
for d in (0, -1, INT_MIN):
    for name, handle in named("seq_div"):
        room.refuses(name, lambda w, handle=handle, d=d: (getattr(w, handle), 0, -1, -1, d), None, f"d is {d}, expected 1 or more")
for delta in (2**24, INT_MAX):
    for name, handle in named("seq_add") + named("seq_shift"):
        room.refuses(name, lambda w, handle=handle, delta=delta: (getattr(w, handle), 0, -1, -1, delta), None,
                     f"cannot move by {delta}: expected to end before 16777216")
# Ranges that hold nothing, and ends beyond all: no error.
for name, handle in named("seq_rm"):
    for p0, p1 in ((5, INT_MAX), (INT_MAX, -1), (3, 2), (2, 2), (INT_MAX, INT_MIN)):
        room.answers(name, lambda w, handle=handle, at=(p0, p1): (getattr(w, handle), 0, *at), True)
for name, handle in named("tokens_rm"):
    room.answers(name, lambda w, handle=handle: (getattr(w, handle), INT_MAX, INT_MIN), None)
for name, handle in named("seq_add"):
    room.answers(name, lambda w, handle=handle: (getattr(w, handle), 0, 5, INT_MAX, INT_MAX), None)
    room.answers(name, lambda w, handle=handle: (getattr(w, handle), 2, -1, -1, INT_MIN), None)

room.gives("llama_get_memory", lambda w: (w.ctx,), lambda w: ffi.cast("llama_memory_t", w.ctx))
room.gives("llama_get_kv_self", lambda w: (w.ctx,), lambda w: ffi.cast("struct llama_kv_cache *", w.ctx))
room.gives("llama_get_kv_cache_token_count llama_kv_self_n_tokens", lambda w: (w.ctx,), 8)
room.gives("llama_get_kv_cache_used_cells llama_kv_self_used_cells", lambda w: (w.ctx,), 5)


# ---- the view ----

def view_of(w, n_seq_max=3):
    return ffi.new("struct llama_kv_cache_view *", REAL.llama_kv_cache_view_init(w.ctx, n_seq_max))


@room.use("llama_kv_cache_view_init", "llama_kv_cache_view_update", "llama_kv_cache_view_free")
def _(api, w):
    view = ffi.new("struct llama_kv_cache_view *", api.llama_kv_cache_view_init(w.ctx, 3))
    api.llama_kv_cache_view_update(w.ctx, view)
    assert (view.n_cells, view.n_seq_max, view.token_count, view.used_cells) == (64, 3, 8, 5)
    assert (view.max_contiguous, view.max_contiguous_idx) == (59, 5)
    assert [view.cells[i].pos for i in range(6)] == [0, 1, 2, 3, 4, -1] and [view.cells_sequences[i] for i in (0, 1, 2)] == [0, 1, -1]
    api.llama_kv_cache_view_free(view)
    assert view.cells == NULL == view.cells_sequences
    api.llama_kv_cache_view_free(view)
    api.llama_kv_cache_view_free(NULL)


for n in (-1, INT_MIN):
    room.refuses("llama_kv_cache_view_init", lambda w, n=n: (w.ctx, n), (0, 0, 0, 0, 0, -1, NULL, NULL), f"n_seq_max is {n}")
room.refuses("llama_kv_cache_view_update", lambda w: (w.ctx, NULL), None, "view is NULL")
room.refuses("llama_kv_cache_view_update", lambda w: (w.ctx, view_of(w, INT_MAX)), None, "no memory", MEMORY)
room.answers("llama_kv_cache_view_free", (NULL,), None)


# ---- states: of the context, then of a sequence ----

def saved(w, seq=None) -> bytes:
    n = REAL.llama_state_get_size(w.ctx) if seq is None else REAL.llama_state_seq_get_size(w.ctx, seq)
    buffer = ffi.new("uint8_t[]", n)
    assert (REAL.llama_state_get_data(w.ctx, buffer, n) if seq is None else REAL.llama_state_seq_get_data(w.ctx, buffer, n, seq)) == n
    return bytes(buffer)


def whole(get, n):
    """What get(dst, size) writes, n bytes: nothing when one does not fit, and none behind the end when more would."""
    dst = ffi.new("uint8_t[]", [0xA5] * (n + 8))
    assert get(dst, n - 1) == 0 and get(dst, 0) == 0 and bytes(dst)[n - 1:] == b"\xa5" * 9
    assert get(dst, n + 8) == n and bytes(dst)[n:] == b"\xa5" * 8
    return bytes(dst)[:n]


@room.use("llama_state_get_size", "llama_state_get_data", "llama_state_set_data")
def _(api, w):
    data = whole(lambda dst, size: api.llama_state_get_data(w.ctx, dst, size), api.llama_state_get_size(w.ctx))
    assert api.llama_state_set_data(w.fresh, data + b"more", len(data) + 4) == len(data)
    assert spans(w.fresh) == spans(w.ctx) and row(w.fresh) == row(w.ctx)


@room.use("llama_state_seq_get_size", "llama_state_seq_get_data", "llama_state_seq_set_data", "llama_state_seq_get_size_ext",
          "llama_state_seq_get_data_ext", "llama_state_seq_set_data_ext")
def _(api, w):
    for end, more in (("", ()), ("_ext", (0,))):
        size_of, get, put = (getattr(api, f"llama_state_seq_{what}{end}") for what in ("get_size", "get_data", "set_data"))
        data = whole(lambda dst, size: get(w.ctx, dst, size, 1, *more), size_of(w.ctx, 1, *more))
        fresh = w.context()
        assert put(fresh, data, len(data), 2, *more) == len(data) and spans(fresh) == [EMPTY, EMPTY, (0, 2)]


@room.use("llama_get_state_size", "llama_copy_state_data", "llama_set_state_data", "bitnet_state_seq_copy_data", "bitnet_state_seq_put_data")
def _(api, w):
    n = REAL.llama_state_get_size(w.ctx)
    size = api.llama_get_state_size(w.ctx)
    assert size >= n
    dst = ffi.new("uint8_t[]", n)
    assert api.llama_copy_state_data(w.ctx, dst) == n and bytes(dst) == saved(w)
    assert api.llama_set_state_data(w.fresh, dst) == n and spans(w.fresh) == spans(w.ctx)
    n = REAL.llama_state_seq_get_size(w.ctx, 1)
    assert api.bitnet_state_seq_copy_data(w.ctx, dst, 1) == n and bytes(dst)[:n] == saved(w, 1)
    assert api.bitnet_state_seq_put_data(w.fresh, dst, 2) == n and span(w.fresh, 2) == (0, 2)


FILE = str(folder / "state").encode()


@room.use("llama_state_save_file", "llama_state_load_file", "llama_save_session_file", "llama_load_session_file", "llama_state_seq_save_file",
          "llama_state_seq_load_file")
def _(api, w):
    for save, load, to, after in (
            (api.llama_state_save_file, api.llama_state_load_file, (), spans(w.ctx)),
            (api.llama_save_session_file, api.llama_load_session_file, (), spans(w.ctx)),
            (lambda ctx, *more: api.llama_state_seq_save_file(ctx, FILE, 1, *more[1:]), api.llama_state_seq_load_file, (2,),
             [EMPTY, EMPTY, (0, 2)])):
        (folder / "state").unlink(missing_ok=True)
        assert save(w.ctx, FILE, TEXT, 5)
        fresh, tokens, n = w.context(), ffi.new("llama_token[6]"), ffi.new("size_t *")
        assert load(fresh, FILE, *to, tokens, 5, n) and list(tokens) == TEXT + [0] and n[0] == 5 and spans(fresh) == after


@room.use("llama_get_kv_cache", "llama_get_kv_cache_size", "llama_set_kv_cache")
def _(api, w):
    n = api.llama_get_kv_cache_size(w.ctx)
    data = api.llama_get_kv_cache(w.ctx)
    assert data != NULL and bytes(ffi.buffer(data, n)) == saved(w, 0)
    api.llama_set_kv_cache(w.fresh, data, n, 4)
    assert spans(w.fresh) == [(0, 3), EMPTY, EMPTY]


def spoilt(w, at, seq=None):
    data = bytearray(saved(w, seq))
    data[at] ^= 0x40
    return bytes(data)


BUFFER = ffi.new("uint8_t[]", 1 << 16)
for size in (0, 1, SIZE_MAX):
    room.refuses("llama_state_get_data", lambda w, size=size: (w.ctx, NULL, size), 0, "dst is NULL")
    room.refuses("llama_state_set_data", lambda w, size=size: (w.ctx, NULL, size), 0, "src is NULL")
room.refuses("llama_state_get_data", lambda w: (w.ctx, BUFFER, 7), 0, "7 bytes")
room.refuses("llama_copy_state_data", lambda w: (w.ctx, NULL), 0, "dst is NULL")
room.refuses("llama_set_state_data", lambda w: (w.ctx, NULL), 0, "src is NULL")
room.refuses("llama_set_state_data", lambda w: (w.ctx, BUFFER), 0, "no state that bitnet_ffi wrote")
SEQ = "llama_state_seq_"
for seq in (-1, 3, INT_MAX, INT_MIN):
    words = f"sequence {seq}, expected 0 to 2"
    room.refuses(SEQ + "get_size", lambda w, seq=seq: (w.ctx, seq), 0, words)
    room.refuses(SEQ + "get_size_ext", lambda w, seq=seq: (w.ctx, seq, 0), 0, words)
    room.refuses(SEQ + "get_data", lambda w, seq=seq: (w.ctx, BUFFER, 1 << 16, seq), 0, words)
    room.refuses(SEQ + "get_data_ext", lambda w, seq=seq: (w.ctx, BUFFER, 1 << 16, seq, 0), 0, words)
    room.refuses(SEQ + "set_data", lambda w, seq=seq: (w.ctx, saved(w, 0), 9, seq), 0, words)
    room.refuses(SEQ + "set_data_ext", lambda w, seq=seq: (w.ctx, saved(w, 0), 9, seq, 0), 0, words)
    room.refuses(SEQ + "save_file", lambda w, seq=seq: (w.ctx, FILE, seq, NULL, 0), 0, words)
    room.refuses(SEQ + "load_file", lambda w, seq=seq: (w.ctx, FILE, seq, NULL, 0, NULL), 0, words)
    room.refuses("bitnet_state_seq_copy_data bitnet_state_seq_put_data", lambda w, seq=seq: (w.ctx, BUFFER, seq), 0, words)
for flags in (4, 2**32 - 1):
    room.refuses(SEQ + "get_size_ext", lambda w, flags=flags: (w.ctx, 0, flags), 0, f"flags are {flags}")
    room.refuses(SEQ + "get_data_ext", lambda w, flags=flags: (w.ctx, BUFFER, 1 << 16, 0, flags), 0, f"flags are {flags}")
    room.refuses(SEQ + "set_data_ext", lambda w, flags=flags: (w.ctx, BUFFER, 1 << 16, 0, flags), 0, f"flags are {flags}")
room.refuses(SEQ + "get_data", lambda w: (w.ctx, NULL, SIZE_MAX, 0), 0, "dst is NULL")
room.refuses(SEQ + "set_data", lambda w: (w.ctx, NULL, SIZE_MAX, 0), 0, "src is NULL")
room.refuses("bitnet_state_seq_copy_data", lambda w: (w.ctx, NULL, 0), 0, "dst is NULL")
room.refuses("bitnet_state_seq_put_data", lambda w: (w.ctx, NULL, 0), 0, "src is NULL")
# Bits that are not those that were written, and states of the other kind.
for at, words in ((0, "no state that bitnet_ffi wrote"), (8, "another byte order"), (100, "header is damaged"), (-1, "the state is damaged")):
    room.refuses("llama_state_set_data", lambda w, at=at: (w.ctx, spoilt(w, at), len(saved(w))), 0, words)
    room.refuses(SEQ + "set_data", lambda w, at=at: (w.ctx, spoilt(w, at, 0), len(saved(w, 0)), 0), 0, words)
room.refuses("llama_state_set_data", lambda w: (w.ctx, saved(w), len(saved(w)) - 1), 0, "cut off")
room.refuses("llama_state_set_data", lambda w: (w.ctx, saved(w, 0), len(saved(w, 0))), 0, "the state of one sequence")
room.refuses(SEQ + "set_data", lambda w: (w.ctx, saved(w), len(saved(w)), 0), 0, "the state of a context")

SAVERS, LOADERS = "llama_state_save_file llama_save_session_file", "llama_state_load_file llama_load_session_file"
(folder / "no state").write_bytes(b"x" * 300)
for name, code, words in ((b"/no/such/folder/file", NOT_FOUND, "cannot write"), (NULL, -1, "path is NULL"),
                          (b"/tmp", LOAD, "it is not a regular file")):
    room.refuses(SAVERS, lambda w, name=name: (w.ctx, name, NULL, 0), False, words, code)
    room.refuses(SEQ + "save_file", lambda w, name=name: (w.ctx, name, 0, NULL, 0), 0, words, code)
room.refuses(SAVERS, lambda w: (w.ctx, FILE, NULL, 1), False, "tokens is NULL")
room.refuses(SEQ + "save_file", lambda w: (w.ctx, FILE, 0, NULL, 1), 0, "tokens is NULL")
room.refuses(SAVERS, lambda w: (w.ctx, FILE, TEXT, SIZE_MAX), False, "too many tokens")
for name, code, words in ((b"/no/such/file", NOT_FOUND, "cannot read"), (NULL, -1, "path is NULL"),
                          (b"/tmp", LOAD, "it is not a regular file"),
                          (str(folder / "no state").encode(), -1, "no state that bitnet_ffi wrote")):
    room.refuses(LOADERS, lambda w, name=name: (w.ctx, name, NULL, 0, NULL), False, words, code)
    room.refuses(SEQ + "load_file", lambda w, name=name: (w.ctx, name, 0, NULL, 0, NULL), 0, words, code)


def kept_with_tokens(w, *more):
    assert REAL.llama_state_save_file(w.ctx, FILE, TEXT, 5)
    return (w.ctx, FILE, *more)


room.refuses(LOADERS, lambda w: kept_with_tokens(w, ffi.new("llama_token[4]"), 4, NULL), False, "5 tokens, and there is room for 4")
room.refuses(LOADERS, lambda w: kept_with_tokens(w, NULL, 5, NULL), False, "room for 0")
for n in (-1, INT_MIN):
    room.refuses("llama_set_kv_cache", lambda w, n=n: (w.ctx, saved(w, 0), len(saved(w, 0)), n), None, f"n_token_count is {n}")
room.refuses("llama_set_kv_cache", lambda w: (w.ctx, NULL, 9, 1), None, "src is NULL")
room.refuses("llama_set_kv_cache", lambda w: (w.ctx, BUFFER, 9, 1), None, "cut off: 9 bytes")
