"""Contexts and batches at the level of the C API, for the tests of the engine: names of bitnet_ffi.h, no class of the package in between.

Next: test_decode.py, test_failures.py.
"""
import numpy as np

from bitnet_ffi._ffi import ffi, lib

ERROR, MEMORY, THREAD, FULL = -1, -7, -8, -10
NO_ROOM, ABORTED = 1, 2


def last_error() -> tuple[int, str]:
    return lib.bitnet_last_error_code(), ffi.string(lib.bitnet_last_error()).decode(errors="replace")  # paths are bytes


def forget_error() -> None:
    """Put another error in its place, so that a stale one cannot pass for a new one."""
    lib.llama_n_vocab(ffi.NULL)
    lib.llama_model_load_from_file(b"/no/such/file", lib.llama_model_default_params())


def init(model, **fields):
    """A context, freed by the garbage collector, or NULL. Sequences share n_ctx unless fields say otherwise."""
    params = lib.llama_context_default_params()
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = 1
    for name, value in fields.items():
        setattr(params, name, value)
    pointer = lib.llama_init_from_model(model, params)
    return ffi.gc(pointer, lib.llama_free) if pointer else ffi.NULL


class Batch:
    """struct llama_batch over arrays of its own; what is not given is NULL. seq: a list of lists."""

    def __init__(self, token=None, pos=None, seq=None, logits=None, **fields):
        self.keep = []
        n = len(token) if token is not None else 0
        values = {"n_tokens": n, "token": self.array("llama_token[]", token), "pos": self.array("llama_pos[]", pos),
                  "logits": self.array("int8_t[]", logits)}
        if seq is not None:
            values["n_seq_id"] = self.array("int32_t[]", [len(row) for row in seq])
            values["seq_id"] = self.array("llama_seq_id *[]", [self.array("llama_seq_id[]", row or [0]) for row in seq])
        self.pointer = ffi.new("struct llama_batch *", {**values, **fields})

    def array(self, kind, values):
        if values is None:
            return ffi.NULL
        self.keep.append(ffi.new(kind, list(values)))
        return self.keep[-1]


def decode(ctx, token=None, **fields) -> int:
    batch = Batch(token, **fields)
    return lib.llama_decode(ctx, batch.pointer[0])


def row(ctx, i=-1) -> bytes:
    """The bits of a row of logits; b"" when there is none."""
    pointer = lib.llama_get_logits_ith(ctx, i)
    return bytes(ffi.buffer(pointer, 4 * lib.llama_n_vocab(lib.llama_get_model(ctx)))) if pointer else b""


def span(ctx, seq=0) -> tuple[int, int]:
    memory = lib.llama_get_memory(ctx)
    return lib.llama_memory_seq_pos_min(memory, seq), lib.llama_memory_seq_pos_max(memory, seq)


def rows_alone(model, tokens, **fields) -> list[bytes]:
    """All rows of a text decoded in one call in a context of its own."""
    ctx = init(model, n_ctx=len(tokens), **fields)
    assert decode(ctx, tokens, logits=np.ones(len(tokens), np.int8)) == 0, last_error()
    return [row(ctx, i) for i in range(len(tokens))]
