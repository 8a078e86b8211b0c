"""The KV cache by its names of 2023 to 2025: each is a name of today's call, and the view lists what the sequences hold."""
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, MEMORY, decode, init, last_error, span
from gguf_writer import tiny_model

NULL = ffi.NULL
ALL = (-1, -1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_model(n_layer=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_vocab=280).write(tmp_path_factory.mktemp("old") / "tiny.gguf")
    with Model(path) as model:
        yield model._pointer


@pytest.fixture
def ctx(model):
    """Sequence 0: positions 0 to 9; sequence 1 shares the first four."""
    ctx = init(model, n_ctx=128, n_seq_max=3)
    assert decode(ctx, range(10)) == 0
    lib.llama_kv_cache_seq_cp(ctx, 0, 1, 0, 4)
    return ctx


def spans(ctx):
    return [span(ctx, s) for s in range(3)]


BEGIN = [(0, 9), (0, 3), (-1, -1)]

CALLS = [
    ("llama_kv_cache_clear", (), [(-1, -1)] * 3),
    ("llama_kv_self_clear", (), [(-1, -1)] * 3),
    ("llama_kv_cache_seq_rm", (0, 5, -1), [(0, 4), (0, 3), (-1, -1)]),
    ("llama_kv_self_seq_rm", (-1, 0, 2), [(2, 9), (2, 3), (-1, -1)]),
    ("llama_kv_cache_tokens_rm", (2, -1), [(0, 1), (0, 1), (-1, -1)]),
    ("llama_kv_cache_seq_cp", (0, 2, 3, 6), [(0, 9), (0, 3), (3, 5)]),
    ("llama_kv_self_seq_cp", (0, 2, *ALL), [(0, 9), (0, 3), (0, 9)]),
    ("llama_kv_cache_seq_keep", (1,), [(-1, -1), (0, 3), (-1, -1)]),
    ("llama_kv_self_seq_keep", (0,), [(0, 9), (-1, -1), (-1, -1)]),
    ("llama_kv_cache_seq_add", (0, *ALL, 7), [(7, 16), (0, 3), (-1, -1)]),
    ("llama_kv_cache_seq_shift", (0, 0, 10, -2), [(0, 7), (0, 3), (-1, -1)]),
    ("llama_kv_self_seq_add", (1, 2, 4, 70), [(0, 9), (0, 73), (-1, -1)]),
    ("llama_kv_cache_seq_div", (0, *ALL, 2), [(0, 4), (0, 3), (-1, -1)]),
    ("llama_kv_self_seq_div", (0, 4, 10, 4), [(0, 3), (0, 3), (-1, -1)]),
    ("llama_kv_cache_defrag", (), BEGIN),
    ("llama_kv_self_defrag", (), BEGIN),
    ("llama_kv_cache_update", (), BEGIN),
    ("llama_kv_self_update", (), BEGIN),
]


@pytest.mark.parametrize("name, arguments, after", CALLS, ids=[name for name, *_ in CALLS])
def test_old_name_does_what_it_says(ctx, name, arguments, after):
    assert getattr(lib, name)(ctx, *arguments) in (None, True)
    assert last_error() == (0, "")
    assert spans(ctx) == after


@pytest.mark.parametrize("name, arguments", [(name, arguments) for name, arguments, _ in CALLS])
def test_null_is_an_error(name, arguments):
    assert not getattr(lib, name)(NULL, *arguments)
    assert last_error()[0] == ERROR


def test_positions_and_counts(ctx):
    assert (lib.llama_kv_cache_seq_pos_max(ctx, 0), lib.llama_kv_self_seq_pos_max(ctx, 1)) == (9, 3)
    assert lib.llama_kv_self_seq_pos_min(ctx, 2) == -1
    assert lib.llama_get_kv_cache_token_count(ctx) == lib.llama_kv_self_n_tokens(ctx) == 14
    assert lib.llama_get_kv_cache_used_cells(ctx) == lib.llama_kv_self_used_cells(ctx) == 10
    assert lib.llama_kv_cache_can_shift(ctx) and lib.llama_kv_self_can_shift(ctx)
    assert lib.llama_get_kv_self(ctx) != NULL
    for count in (lib.llama_get_kv_cache_token_count, lib.llama_kv_self_n_tokens, lib.llama_get_kv_cache_used_cells,
                  lib.llama_kv_self_used_cells):
        assert count(NULL) == 0 and last_error()[0] == ERROR


# ---- the view ----

def cells(view):
    """{(position, sequences)} with how often; None: empty."""
    n = view.n_seq_max
    rows = [(view.cells[i].pos, [view.cells_sequences[i * n + j] for j in range(n)]) for i in range(view.n_cells)]
    assert all(seqs == [-1] * n for pos, seqs in rows if pos < 0)
    return sorted((pos, tuple(s for s in seqs if s >= 0)) for pos, seqs in rows if pos >= 0)


def a_view(ctx, n_seq_max):
    view = ffi.gc(ffi.new("struct llama_kv_cache_view *", lib.llama_kv_cache_view_init(ctx, n_seq_max)), lib.llama_kv_cache_view_free)
    assert (view.n_cells, view.max_contiguous_idx, view.cells) == (0, -1, NULL)
    return view


def test_view_lists_what_is_held(ctx):
    view = a_view(ctx, 3)
    lib.llama_kv_cache_view_update(ctx, view)
    assert (view.n_cells, view.token_count, view.used_cells, view.max_contiguous, view.max_contiguous_idx) == (128, 14, 10, 118, 10)
    assert cells(view) == [(p, (0, 1) if p < 4 else (0,)) for p in range(10)]
    lib.llama_kv_cache_seq_div(ctx, 1, -1, -1, 2)             # two at each position, and sequence 0 parts from them
    lib.llama_kv_cache_view_update(ctx, view)
    assert cells(view) == sorted([(p, (0,)) for p in range(10)] + [(p // 2, (1,)) for p in range(4)])
    lib.llama_kv_cache_clear(ctx)
    lib.llama_kv_cache_view_update(ctx, view)
    assert (view.used_cells, view.max_contiguous_idx, cells(view)) == (0, 0, [])


def test_view_of_a_full_cache(model):
    ctx = init(model, n_ctx=70)
    assert decode(ctx, range(70)) == 0
    view = a_view(ctx, 1)
    lib.llama_kv_cache_view_update(ctx, view)
    assert (view.used_cells, view.max_contiguous, view.max_contiguous_idx) == (70, 0, -1)
    assert cells(view) == [(p, (0,)) for p in range(70)]


def test_view_with_room_for_fewer_sequences(ctx):
    view = a_view(ctx, 1)
    lib.llama_kv_cache_view_update(ctx, view)
    assert cells(view) == [(p, (0,)) for p in range(10)]
    view = a_view(ctx, 0)
    lib.llama_kv_cache_view_update(ctx, view)
    assert cells(view) == [(p, ()) for p in range(10)]


def test_view_misuse(ctx):
    assert lib.llama_kv_cache_view_init(NULL, 1).n_seq_max == 0 and last_error()[0] == ERROR
    assert lib.llama_kv_cache_view_init(ctx, -1).n_seq_max == 0 and "n_seq_max is -1" in last_error()[1]
    lib.llama_kv_cache_view_update(ctx, NULL)
    assert last_error()[0] == ERROR
    view = a_view(ctx, 2)
    lib.llama_kv_cache_view_update(NULL, view)
    assert last_error()[0] == ERROR and view.cells == NULL
    view = a_view(ctx, 2**31 - 1)                             # 1 TiB of cells
    lib.llama_kv_cache_view_update(ctx, view)
    assert last_error()[0] == MEMORY and view.cells == NULL
    lib.llama_kv_cache_view_free(NULL)
