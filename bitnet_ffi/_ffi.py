"""The only file that knows cffi: opens libbitnet_ffi and turns its statuses into exceptions.

`ffi` and `lib` go to _log, model, context and sampling alone; no raw pointer leaves those files.
cffi drops the GIL for the length of every call of the library, so other Python threads run while one decodes.
Declarations come from _cdef.py, which the build makes from include/bitnet_ffi.h. Next: errors.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from . import __version__
from .errors import BitnetError, from_status

try:
    from ._cdef import ffi
except ModuleNotFoundError as error:
    raise ImportError("bitnet_ffi is not built: run `pip install -e .` in the source folder") from error


def _open_library():
    """The library of BITNET_FFI_LIBRARY, or the one inside this package; ImportError says what to do."""
    path = os.environ.get("BITNET_FFI_LIBRARY") or str(Path(__file__).parent / "lib" / "libbitnet_ffi.so")
    try:
        library = ffi.dlopen(path)
    except OSError as error:
        raise ImportError(f"cannot open the library: {error}; reinstall bitnet_ffi, or set BITNET_FFI_LIBRARY") from error
    # Structs pass by value, so a library of another version could read them differently: refuse before the first call.
    found = ffi.string(library.bitnet_version()).decode()
    if found != __version__:
        raise ImportError(f"{path}: version {found}, expected {__version__}")
    return library


lib = _open_library()


def last_error() -> BitnetError:
    """This thread's last error, as an exception to raise. Call it only after a call that failed."""
    return from_status(lib.bitnet_last_error_code(), text_of(lib.bitnet_last_error()))


def fail() -> NoReturn:
    """Raise this thread's last error."""
    raise last_error()


def check(status: int) -> int:
    """`status` when it is 0 or positive; else raise what it means."""
    if status < 0:
        raise from_status(status, text_of(lib.bitnet_last_error()))
    return status


def check_done() -> None:
    """After a function that returns nothing: raise why it failed, if it did."""
    if lib.bitnet_last_error_code() != 0:
        fail()


def check_pointer(pointer):
    """`pointer` unless it is NULL; else raise why."""
    if pointer == ffi.NULL:
        fail()
    return pointer


def text_of(pointer) -> str:
    """A C string of the library as str."""
    return ffi.string(pointer).decode("utf-8", "replace")


def read_string(call) -> str | None:
    """The text of an snprintf-like call(buffer, size) that returns the full length; None when that is negative."""
    size = 256
    while True:
        buffer = ffi.new("char[]", size)
        length = call(buffer, size)
        if length < 0:
            return None
        if length < size:
            return ffi.buffer(buffer, length)[:].decode("utf-8", "replace")
        size = length + 1
