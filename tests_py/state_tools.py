"""What the tests of states share: a small model, a context with sequences that fork, its state, and the way on from there."""
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row, span
from gguf_writer import tiny_model

NULL = ffi.NULL
TOKENS = [5, 6, 7]
SMALL = dict(n_layer=2, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=256)
HEADER = 120
SUMS = 16
GENERATOR = 625 * 4


def write(folder, name, **fields):
    return tiny_model(**{**SMALL, **fields}).write(folder / f"{name}.gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def model(folder):
    with Model(write(folder, "own")) as model:
        yield model._pointer


def get(ctx, seq=None) -> bytes:
    """The state, which is just as long as was said."""
    n = lib.llama_state_get_size(ctx) if seq is None else lib.llama_state_seq_get_size(ctx, seq)
    buffer = ffi.new("uint8_t[]", n + 64)
    ffi.memmove(buffer, b"\xa5" * (n + 64), n + 64)
    wrote = lib.llama_state_get_data(ctx, buffer, n) if seq is None else lib.llama_state_seq_get_data(ctx, buffer, n, seq)
    assert wrote == n > 0, last_error()
    assert bytes(ffi.buffer(buffer))[n:] == b"\xa5" * 64
    return bytes(ffi.buffer(buffer))[:n]


def put(ctx, data: bytes, seq=None) -> int:
    if seq is None:
        return lib.llama_state_set_data(ctx, ffi.from_buffer("uint8_t[]", data), len(data))
    return lib.llama_state_seq_set_data(ctx, ffi.from_buffer("uint8_t[]", data), len(data), seq)


def forked(model, **fields):
    """Three sequences: 0 and 1 share a prefix across a page and part, 2 holds positions twice."""
    ctx = init(model, **{"n_ctx": 400, "n_seq_max": 4, **fields})
    memory = lib.llama_get_memory(ctx)
    assert decode(ctx, range(70)) == 0
    lib.llama_memory_seq_cp(memory, 0, 1, -1, -1)
    assert decode(ctx, [1, 2, 3], seq=[[0]] * 3) == 0 and decode(ctx, [4, 5], seq=[[1]] * 2) == 0
    assert decode(ctx, range(20), seq=[[2]] * 20) == 0
    lib.llama_memory_seq_div(memory, 2, 4, -1, 3)
    assert decode(ctx, [7, 8, 9], seq=[[0], [1], [2]], logits=[1, 0, 1]) == 0
    return ctx


def spans(ctx):
    return [span(ctx, s) for s in range(lib.llama_n_seq_max(ctx))]


def go_on(ctx) -> list[bytes]:
    """Bits of the rows that are there, and of what comes next in three sequences."""
    rows = [row(ctx, -1)]
    for i in range(3):
        assert decode(ctx, [11 + i, 12, 13], seq=[[0], [1], [2]], logits=[1, 1, 1]) == 0, last_error()
        rows += [row(ctx, j) for j in range(3)]
    return rows


@pytest.fixture(scope="module")
def saved(model):
    """(state, what comes next, spans) of the forked context; the state of its sequence 2."""
    ctx = forked(model)
    data, one, where = get(ctx), get(ctx, 2), spans(ctx)
    return data, go_on(ctx), where, one


def untouched(ctx, before):
    assert get(ctx) == before


def load(call, *arguments, room=16):
    """(result, tokens)"""
    tokens, n = ffi.new("llama_token[]", room), ffi.new("size_t *", 99)
    result = call(*arguments, tokens, room, n)
    return result, list(tokens[0:n[0]]) if result else None
