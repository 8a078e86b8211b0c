"""The GGUF container in Python: its metadata as typed values that can be changed, and a copy with other metadata.

Reads every length with suspicion and nothing of the tensors; a copy streams them, holes of a sparse file included, so a file
larger than memory costs 8 MiB. What keys mean is none of its business. Next: repair.py decides what to change.
Source of the format: ggml's docs/gguf.md; the library's own reader is _core/gguf/gguf_part.pyx.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InvalidArgumentError, InvalidModelError, ModelLoadError, ModelNotFoundError

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_FORMAT = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
_SIZE = {kind: struct.calcsize(letter) for kind, letter in _FORMAT.items()}
DEFAULT_ALIGNMENT = 32
MOST_ALIGNMENT = 1 << 16
MOST_ITEMS = 65536        # keys, and tensors: as the library's reader
CHUNK = 8 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Value:
    """One metadata value. `raw` is what stands in the file behind the type number; `elem` is set for arrays alone."""

    type: int
    raw: bytes
    elem: int | None = None
    count: int = 1

    def get(self):
        """As Python: int, float, bool, bytes of a string, or a list of those."""
        kind = self.type if self.elem is None else self.elem
        begin = 0 if self.elem is None else 12
        if kind == STRING:
            items = list(_strings(self.raw, begin, self.count))
        else:
            items = list(struct.unpack_from(f"<{self.count}{_FORMAT[kind]}", self.raw, begin))
        return items[0] if self.elem is None else items

    def text(self) -> str:
        """A string, as str."""
        if self.type != STRING:
            raise InvalidModelError(f"a value is of type {self.type}, expected a string")
        return self.get().decode("utf-8", "replace")


def value(kind: int, item) -> Value:
    """A scalar or string (str or bytes) of this type."""
    return Value(kind, _pack(kind, [item]))


def array(kind: int, items: Iterable) -> Value:
    """An array of scalars or strings of this type."""
    items = list(items)
    return Value(ARRAY, struct.pack("<IQ", kind, len(items)) + _pack(kind, items), kind, len(items))


def _pack(kind: int, items: list) -> bytes:
    if kind != STRING:
        return struct.pack(f"<{len(items)}{_FORMAT[kind]}", *items)
    out = bytearray()
    for item in items:
        data = item.encode("utf-8") if isinstance(item, str) else item
        out += len(data).to_bytes(8, "little") + data
    return bytes(out)


def _strings(raw: bytes, at: int, count: int):
    for _ in range(count):
        length = int.from_bytes(raw[at:at + 8], "little")
        yield raw[at + 8:at + 8 + length]
        at += 8 + length


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: dimensions with the inner one first, ggml's type number, offset into the data section."""

    name: bytes
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass
class Head:
    """What stands in front of a file's tensors."""

    path: str
    kv: dict[str, Value] = field(default_factory=dict)
    tensors: list[TensorInfo] = field(default_factory=list)
    alignment: int = DEFAULT_ALIGNMENT
    data_start: int = 0
    file_size: int = 0

    def tensor(self, name: str) -> TensorInfo | None:
        return next((t for t in self.tensors if t.name == name.encode()), None)


class _Reader:
    """A cursor over the file that never goes past its end."""

    def __init__(self, path: str, data):
        self.path, self.data, self.at = path, data, 0

    def fail(self, sentence: str):
        raise InvalidModelError(f"{os.path.basename(self.path)}: {sentence}")

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            self.fail(f"the file ends inside its metadata ({len(self.data)} bytes); it is truncated or damaged")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, letter: str) -> int:
        return struct.unpack("<" + letter, self.take(struct.calcsize(letter)))[0]

    def string(self, most: int) -> bytes:
        n = self.number("Q")
        if n > most:
            self.fail(f"a name of {n} bytes, expected at most {most}; the file is damaged")
        return self.take(n)

    def value(self, key: str) -> Value:
        kind = self.number("I")
        begin = self.at
        if kind == STRING:
            self.take(self.number("Q"))
        elif kind in _SIZE:
            self.take(_SIZE[kind])
        elif kind == ARRAY:
            elem, count = self.number("I"), self.number("Q")
            if elem == STRING:
                for _ in range(count):  # every step takes 8 bytes at least, so a lie about the count ends with the file
                    self.take(self.number("Q"))
            elif elem in _SIZE:
                self.take(count * _SIZE[elem])
            else:
                self.fail(f"key '{key}' is an array of type {elem}, expected 0 to 8 or 10 to 12")
            return Value(ARRAY, self.data[begin:self.at], elem, count)
        else:
            self.fail(f"key '{key}' is of type {kind}, expected 0 to 12")
        return Value(kind, self.data[begin:self.at])


def read(path: str | os.PathLike) -> Head:
    """The head of a GGUF 2 or 3 file. Errors: ModelNotFoundError, ModelLoadError, InvalidModelError."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < 24:
                raise InvalidModelError(f"{os.path.basename(path)}: too short for a GGUF model")
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                return _read(_Reader(path, data))
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(f"{path}: {error.strerror}") from None


def _read(r: _Reader) -> Head:
    if r.take(4) != b"GGUF":
        r.fail("this is no GGUF model: it does not begin with GGUF")
    version = r.number("I")
    if version not in (2, 3):
        r.fail(f"GGUF version is {version}, expected 2 or 3")
    n_tensors, n_kv = r.number("Q"), r.number("Q")
    if n_tensors > MOST_ITEMS or n_kv > MOST_ITEMS:
        r.fail(f"the header announces {n_tensors} tensors and {n_kv} keys, expected at most {MOST_ITEMS}")
    head = Head(r.path, file_size=len(r.data))
    extra = _extra_header(r, n_kv)
    for _ in range(n_kv):
        key = r.string(65535).decode("utf-8", "surrogateescape")
        if key in head.kv:
            r.fail(f"key '{key}' stands there twice")
        head.kv[key] = r.value(key)
    for _ in range(n_tensors):
        name, n_dims = r.string(65535), r.number("I")
        if not 1 <= n_dims <= 4:
            r.fail(f"a tensor has {n_dims} dimensions, expected 1 to 4")
        shape = tuple(r.number("Q") for _ in range(n_dims))
        head.tensors.append(TensorInfo(name, shape, r.number("I"), r.number("Q")))
    stated = extra[0] if extra else None
    if "general.alignment" in head.kv:
        stated = head.kv["general.alignment"].get()
    if isinstance(stated, int) and 0 < stated <= MOST_ALIGNMENT and stated & (stated - 1) == 0:
        head.alignment = stated
    head.data_start = extra[1] if extra and extra[1] >= r.at else padded(r.at, head.alignment)
    if head.tensors and head.data_start > head.file_size:
        r.fail("the file ends before its tensors; it is truncated or damaged")
    return head


def _extra_header(r: _Reader, n_kv: int) -> tuple[int, int] | None:
    """(alignment, data offset) where a third-party writer put them behind the counts; the first key then stands at 36, not 24."""
    def key_at(at: int) -> bool:
        n = int.from_bytes(r.data[at:at + 8], "little")
        text = r.data[at + 8:at + 8 + min(n, 20)]
        return 0 < n < 256 and len(text) == min(n, 20) and all(chr(c).isascii() and (chr(c).isalnum() or c in b"._-") for c in text)
    if n_kv == 0 or key_at(24) or not key_at(36):
        return None
    return r.number("I"), r.number("Q")


def padded(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment


# ---- writing ----

def encode(head: Head) -> bytes:
    """The head of a GGUF 3 file with these keys and tensors, up to where the data section begins."""
    kv = {key: item for key, item in head.kv.items() if key != "general.alignment"}
    if head.alignment != DEFAULT_ALIGNMENT:
        kv["general.alignment"] = value(U32, head.alignment)
    out = [b"GGUF", struct.pack("<IQQ", 3, len(head.tensors), len(kv))]
    for key, item in kv.items():
        name = key.encode("utf-8", "surrogateescape")
        out += (struct.pack("<Q", len(name)), name, struct.pack("<I", item.type), item.raw)
    for t in head.tensors:
        out += (struct.pack("<Q", len(t.name)), t.name, struct.pack(f"<I{len(t.shape)}QIQ", len(t.shape), *t.shape, t.type, t.offset))
    text = b"".join(out)
    return text.ljust(padded(len(text), head.alignment), b"\0") if head.tensors else text


def copy(head: Head, out, progress: Progress | None = None) -> None:
    """Write `head`, then the data section of the file that it was read from, byte for byte, to the new file `out`."""
    text = encode(head)
    out.write(text)
    out.flush()
    if not head.tensors:
        return
    size = head.file_size - head.data_start
    with open(head.path, "rb", buffering=0) as source:
        if os.fstat(source.fileno()).st_size != head.file_size:
            raise ModelLoadError(f"{head.path}: the file changed while it was read")
        for begin, end in _stretches(source.fileno(), head.data_start, head.file_size):
            while begin < end:
                chunk = os.pread(source.fileno(), min(CHUNK, end - begin), begin)
                if not chunk:
                    raise ModelLoadError(f"{head.path}: the file became shorter while it was read")
                written = 0
                while written < len(chunk):
                    written += os.pwrite(out.fileno(), chunk[written:], len(text) + begin - head.data_start + written)
                begin += len(chunk)
                if progress is not None:
                    progress(begin - head.data_start, size)
    os.ftruncate(out.fileno(), len(text) + size)


def _stretches(descriptor: int, begin: int, end: int):
    """What of [begin, end) is not a hole of a sparse file."""
    while begin < end:
        try:
            start = os.lseek(descriptor, begin, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        if start >= end:
            return
        yield start, min(stop, end)
        begin = stop


def _name_once(partial: Path, path: Path) -> None:
    """Give a file its name unless something has that name already."""
    try:
        os.link(partial, path)  # unlike a rename, this does not replace a file
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if path.exists():  # a file system without links
            raise FileExistsError(errno.EEXIST, f"{path} exists", None) from None
        os.rename(partial, path)


@contextmanager
def new_file(path: str | os.PathLike, *, force: bool = False):
    """A binary file to write, beside `path`, which takes its place when the block ends well and vanishes otherwise, also
    on Ctrl-C. Errors: InvalidArgumentError when it exists, unless `force`; FileExistsError when it appears meanwhile."""
    path = Path(path)
    if not force and path.exists():
        raise InvalidArgumentError(f"{path} exists; pass --force to replace it")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(partial, path)
        else:
            _name_once(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
