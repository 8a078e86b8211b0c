"""Context: one model's working state: KV cache, scratch memory, threads and the logits of the last decode.

One thread at a time: a call that finds another one inside raises ConcurrencyError. Many contexts may share a model.
Next: generate.py for text; sampling.py picks tokens from a context's logits.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ._ffi import check, check_done, check_pointer, fail, ffi, lib
from ._interrupt import Interrupt
from .errors import Cancelled, ConcurrencyError, ContextFullError, InferenceError
from .model import Model

_ABORTED = 2  # llama_decode: the abort callback said so
_NO_ROOM = 1  # llama_decode: no KV slot


def default_threads() -> int:
    """Physical cores that this process may use: decoding is bound by memory, and a core's second thread adds none."""
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        folder = f"/sys/devices/system/cpu/cpu{cpu}/topology/"
        try:
            with open(folder + "physical_package_id") as package, open(folder + "core_id") as core:
                cores.add((package.read(), core.read()))
        except OSError:  # no sysfs here: count every CPU
            return len(allowed)
    return max(1, len(cores))


@dataclass(frozen=True)
class Perf:
    """What a context has done since its birth or reset_perf(). Milliseconds; prompt = decodes of more than one token."""

    load_ms: float
    prompt_ms: float
    eval_ms: float
    n_prompt: int
    n_eval: int


class _Rows:
    """Float memory of a context as a NumPy source; holds the context's memory for as long as an array looks at it."""

    def __init__(self, handle, pointer, shape: tuple[int, ...]):
        self.handle = handle
        self.__array_interface__ = {
            "version": 3, "typestr": "<f4", "shape": shape,
            "data": (int(ffi.cast("uintptr_t", pointer)), False),
        }


class Context:
    """A model ready to decode.

    model: kept alive by the context.
    n_ctx: tokens that fit, all sequences together; None: what the model was trained for, at most 4096.
    n_batch, n_ubatch: the smaller is how many tokens are computed at once; decode() takes any number and cuts it, and no
        logit changes.
    n_seq_max: sequences, 1 to 256.
    n_threads: None: the physical cores that this process may use.
    kv_type: numbers of the KV cache, "f16", "f32" (twice the memory) or "q8_0" (17/32 of it, rounded to 8 bits; head widths
        that are multiples of 32). kv_type_v: of the values alone; None: as kv_type.
    abort with cancel() from any thread, or Ctrl-C in the main thread.
    Errors: OutOfMemoryError; InvalidArgumentError.
    """

    def __init__(self, model: Model, *, n_ctx: int | None = None, n_batch: int = 2048, n_ubatch: int = 512,
                 n_seq_max: int = 1, n_threads: int | None = None, kv_type: str = "f16",
                 kv_type_v: str | None = None):
        self._handle = None
        self.model = model
        params = lib.llama_context_default_params()
        params.n_ctx = min(model.n_ctx_train, 4096) if n_ctx is None else n_ctx
        params.n_batch = n_batch
        params.n_ubatch = n_ubatch
        params.n_seq_max = n_seq_max
        params.kv_unified = True
        params.type_k = _kv_type("kv_type", kv_type)
        params.type_v = params.type_k if kv_type_v is None else _kv_type("kv_type_v", kv_type_v)
        params.n_threads = params.n_threads_batch = default_threads() if n_threads is None else n_threads
        self._interrupt = Interrupt()
        params.abort_callback = ffi.cast("ggml_abort_callback", self._interrupt.function)
        params.abort_callback_data = ffi.cast("void *", self._interrupt.data)
        pointer = check_pointer(lib.llama_init_from_model(model._pointer, params))
        self._handle = ffi.gc(pointer, lib.llama_free)
        self._memory = lib.llama_get_memory(self._handle)
        self._owner = threading.Lock()
        self._n_vocab = model.n_vocab
        self._n_outputs = 0

    # ---- lifetime ----

    @contextmanager
    def _inside(self):
        """The C pointer, for one caller at a time."""
        if not self._owner.acquire(blocking=False):
            raise ConcurrencyError("the context is in use by another thread")
        try:
            if self._handle is None:
                raise ValueError("the context is closed")
            yield self._handle
        finally:
            self._owner.release()

    def close(self) -> None:
        """Give the memory back, as soon as no logits array looks at it. Calling it again does nothing.

        Errors: ConcurrencyError while another thread decodes.
        """
        if self._handle is not None:
            with self._inside():
                self._handle = None  # cffi frees with the last reference

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<Context closed>" if self.closed else f"<Context n_ctx={self.n_ctx} of {self.model!r}>"

    @property
    def _pointer(self):
        if self._handle is None:
            raise ValueError("the context is closed")
        return self._handle

    @property
    def n_ctx(self) -> int:
        return lib.llama_n_ctx(self._pointer)

    @property
    def n_batch(self) -> int:
        return lib.llama_n_batch(self._pointer)

    @property
    def n_ubatch(self) -> int:
        return lib.llama_n_ubatch(self._pointer)

    @property
    def n_seq_max(self) -> int:
        return lib.llama_n_seq_max(self._pointer)

    @property
    def n_threads(self) -> int:
        """Threads of a decode; assign 1 or more to change it."""
        return lib.llama_n_threads(self._pointer)

    @n_threads.setter
    def n_threads(self, n: int) -> None:
        with self._inside() as pointer:
            lib.llama_set_n_threads(pointer, n, n)
            check_done()

    # ---- decoding ----

    def decode(self, tokens: Sequence[int], *, pos: Sequence[int] | None = None,
               seq: int | Sequence[int | Iterable[int]] | None = None, logits: str | Sequence[bool] = "last") -> None:
        """Compute a batch of any mix of sequences and store its keys and values.

        tokens: ids, any number (ints or an integer array).
        pos: position of each token; None: each continues its sequence.
        seq: None for sequence 0, one id for all, or per token an id or the ids that share it.
        logits: "last" for the last token, "all", "none", or a flag per token.
        Errors: ContextFullError (no room; nothing changed), Cancelled (cancel(); nothing changed), InvalidArgumentError,
            InferenceError, OutOfMemoryError, KeyboardInterrupt.
        Threads: the calling one and n_threads - 1 helpers; the GIL is free meanwhile.
        """
        batch, keep, n_outputs = _batch(tokens, pos, seq, logits)
        with self._inside() as pointer:
            self._interrupt.begin()
            self._n_outputs = 0
            status = lib.llama_decode(pointer, batch)
            if status == _ABORTED:
                self._interrupt.clear()
            self._interrupt.finish()  # whatever the status: a handler's exception must not be lost
            if status == _ABORTED:
                raise Cancelled("the decode was cancelled")
            if status == _NO_ROOM:
                n = len(keep[0])
                raise ContextFullError(f"no room for {n} more token{'s' * (n > 1)} in a context of {self.n_ctx}")
            if status > 0:
                raise InferenceError(f"llama_decode returned {status}")
            check(status)
            self._n_outputs = n_outputs

    def cancel(self) -> None:
        """Stop the decode that runs, or the next one if none does, within a layer. Any thread."""
        self._interrupt.cancel()

    # ---- results ----

    def logits(self, i: int = -1) -> np.ndarray:
        """Logits of the batch's token i, which must have asked for them; negative i count the rows from the last one.

        float32[n_vocab], a view without a copy: logits of a later decode() overwrite it, so copy what must stay. The view
        keeps the memory alive, also past close(). Errors: InvalidArgumentError.
        """
        with self._inside() as pointer:
            row = check_pointer(lib.llama_get_logits_ith(pointer, i))
            return np.asarray(_Rows(pointer, row, (self._n_vocab,)))

    def all_logits(self) -> np.ndarray:
        """Logits of all tokens that asked for them, in batch order: float32[n_outputs, n_vocab], a view as in logits()."""
        with self._inside() as pointer:
            if self._n_outputs is None:
                self._n_outputs = next(n for n in itertools.count() if not lib.llama_get_logits_ith(pointer, -1 - n))
            if self._n_outputs == 0:
                return np.empty((0, self._n_vocab), np.float32)
            rows = check_pointer(lib.llama_get_logits(pointer))
            return np.asarray(_Rows(pointer, rows, (self._n_outputs, self._n_vocab)))

    # ---- memory: positions are half-open ranges [p0, p1); a negative end means the sequence's ----

    def clear(self) -> None:
        """Forget all sequences."""
        with self._inside():
            lib.llama_memory_clear(self._memory, True)

    def seq_remove(self, seq: int, p0: int = -1, p1: int = -1) -> bool:
        """Forget positions of a sequence (-1: of all). False when there is no such sequence."""
        with self._inside():
            return lib.llama_memory_seq_rm(self._memory, seq, p0, p1)

    def seq_copy(self, source: int, target: int, p0: int = -1, p1: int = -1) -> None:
        """Let `target` share positions of `source`; nothing is computed.

        Errors: InvalidArgumentError (no such sequence), OutOfMemoryError (no free page to copy one that `target` has tokens
        of its own in; nothing changed).
        """
        with self._inside():
            lib.llama_memory_seq_cp(self._memory, source, target, p0, p1)
            check_done()

    def seq_keep(self, seq: int) -> None:
        """Forget all sequences but this one. Errors: InvalidArgumentError (no such sequence)."""
        with self._inside():
            lib.llama_memory_seq_keep(self._memory, seq)
            check_done()

    def seq_add(self, seq: int, delta: int, p0: int = -1, p1: int = -1) -> None:
        """Move positions of a sequence by `delta`; what would be negative is forgotten. Their keys are rotated to where they go.

        The context shift, when n_ctx is full: seq_remove(seq, keep, keep + n), then seq_add(seq, -n, keep + n).
        Errors, nothing changed: InvalidArgumentError, OutOfMemoryError, ContextFullError (tokens shared with another sequence that
        do not fit twice).
        """
        with self._inside():
            lib.llama_memory_seq_add(self._memory, seq, p0, p1, delta)
            check_done()

    def seq_divide(self, seq: int, divisor: int, p0: int = -1, p1: int = -1) -> None:
        """Divide positions of a sequence, rounding down: `divisor` tokens come to share each. Errors: as for seq_add()."""
        with self._inside():
            lib.llama_memory_seq_div(self._memory, seq, p0, p1, divisor)
            check_done()

    def seq_range(self, seq: int = 0) -> range:
        """Positions that a sequence holds: from its smallest to its largest; empty when it holds none."""
        with self._inside():
            first = lib.llama_memory_seq_pos_min(self._memory, seq)
            last = lib.llama_memory_seq_pos_max(self._memory, seq)
        return range(max(first, 0), last + 1)

    # ---- state: what all sequences hold, or one of them. Work that goes on from it gives the same bits ----

    def get_state(self, seq: int | None = None) -> bytes:
        """All sequences and the rows of the last decode as bytes; seq: that sequence alone.

        Errors: InvalidArgumentError (no such sequence), OutOfMemoryError.
        """
        with self._inside() as pointer:
            size = lib.llama_state_get_size(pointer) if seq is None else lib.llama_state_seq_get_size(pointer, seq)
            check_done()
            room = ffi.new("uint8_t[]", size)
            if seq is None:
                lib.llama_state_get_data(pointer, room, size)
            else:
                lib.llama_state_seq_get_data(pointer, room, size, seq)
            check_done()
        return ffi.buffer(room)[:]

    def set_state(self, state: bytes, seq: int | None = None) -> None:
        """Take over what get_state() gave, here or in another context of the same model and kv_type; seq: as this sequence.

        Errors, nothing changed: InvalidArgumentError (damaged, or of another model), ContextFullError, OutOfMemoryError.
        """
        with self._inside() as pointer:
            data = ffi.from_buffer("uint8_t[]", state)
            if seq is None:
                lib.llama_state_set_data(pointer, data, len(data))
            else:
                lib.llama_state_seq_set_data(pointer, data, len(data), seq)
            self._state_taken(seq)

    def save_state(self, path: str | os.PathLike, tokens: Sequence[int] = (), seq: int | None = None) -> None:
        """get_state() into a file, which appears when it is whole; tokens: kept with it, for load_state() to give back.

        Errors: ModelLoadError (the file cannot be written), InvalidArgumentError, OutOfMemoryError.
        """
        ids = _ids(tokens) if len(tokens) else np.empty(0, np.int32)
        with self._inside() as pointer:
            data = ffi.from_buffer("int32_t[]", ids)
            if seq is None:
                lib.llama_state_save_file(pointer, os.fsencode(path), data, len(ids))
            else:
                lib.llama_state_seq_save_file(pointer, os.fsencode(path), seq, data, len(ids))
            check_done()

    def load_state(self, path: str | os.PathLike, seq: int | None = None) -> np.ndarray:
        """set_state() from a file. The tokens that were kept with it, int32[n]. Errors: as set_state(), and no such file."""
        room = np.empty(max(0, os.path.getsize(path)) // 4, np.int32)  # a file has no more
        n = ffi.new("size_t *")
        with self._inside() as pointer:
            data = ffi.from_buffer("int32_t[]", room)
            if seq is None:
                lib.llama_state_load_file(pointer, os.fsencode(path), data, len(room), n)
            else:
                lib.llama_state_seq_load_file(pointer, os.fsencode(path), seq, data, len(room), n)
            self._state_taken(seq)
        return room[:n[0]].copy()

    def _state_taken(self, seq: int | None) -> None:
        check_done()
        if seq is None:
            self._n_outputs = None  # the state's: all_logits() counts them

    # ---- times ----

    def perf(self) -> Perf:
        with self._inside() as pointer:
            data = lib.llama_perf_context(pointer)
        return Perf(data.t_load_ms, data.t_p_eval_ms, data.t_eval_ms, data.n_p_eval, data.n_eval)

    def reset_perf(self) -> None:
        with self._inside() as pointer:
            lib.llama_perf_context_reset(pointer)


def _kv_type(option: str, name: str) -> int:
    types = {"f16": lib.GGML_TYPE_F16, "f32": lib.GGML_TYPE_F32, "q8_0": lib.GGML_TYPE_Q8_0}
    if name not in types:
        raise ValueError(f"{option}: {name!r}, expected 'f16', 'f32' or 'q8_0'")
    return types[name]


def _ids(values) -> np.ndarray:
    """values as int32, refusing what does not fit (NumPy would wrap int64 arrays silently)."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"tokens: {array.ndim} dimensions, expected 1")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"tokens: {array.dtype}, expected integers")
    if array.size and (array.min() < -2**31 or array.max() >= 2**31):
        raise ValueError("tokens: a number does not fit int32")
    return np.ascontiguousarray(array, np.int32)


def _batch(tokens, pos, seq, logits):
    """The C batch, the arrays it points into (to be held during the call), and how many rows it asks for.

    What is None stays NULL, and the library fills it in.
    """
    ids = _ids(tokens)
    n = len(ids)
    keep: list = [ids]
    batch = ffi.new("struct llama_batch *")
    batch.n_tokens = n
    batch.token = _view(keep, "int32_t[]", ids)
    if pos is not None:
        batch.pos = _view(keep, "int32_t[]", _exact(_ids(pos), n, "pos"))
    if seq is not None:
        groups = [(seq,)] * n if isinstance(seq, int) else [
            (s,) if isinstance(s, (int, np.integer)) else tuple(s) for s in _exact(seq, n, "seq")]
        flat = np.fromiter((s for group in groups for s in group), np.int32)
        counts = np.fromiter(map(len, groups), np.int32)
        base = _view(keep, "int32_t[]", flat)
        rows = ffi.new("int32_t *[]", n)
        for i, begin in enumerate(np.cumsum(counts) - counts):
            rows[i] = base + int(begin)
        keep.append(rows)
        batch.seq_id = rows
        batch.n_seq_id = _view(keep, "int32_t[]", counts)
    if isinstance(logits, str):
        if logits not in ("last", "all", "none"):
            raise ValueError(f"logits: {logits!r}, expected 'last', 'all', 'none' or a flag per token")
        if logits == "last":
            return batch[0], keep, 1
        flags = np.full(n, logits == "all", np.int8)
    else:
        flags = np.asarray(_exact(logits, n, "logits"), bool).astype(np.int8)
    batch.logits = _view(keep, "int8_t[]", flags)
    return batch[0], [*keep, batch], int(flags.sum())


def _view(keep: list, kind: str, array: np.ndarray):
    pointer = ffi.from_buffer(kind, array)
    keep.append(pointer)
    return pointer


def _exact(values, n: int, name: str):
    if len(values) != n:
        raise ValueError(f"{name}: {len(values)} entries, expected {n}, one per token")
    return values
