"""The exceptions of bitnet_ffi.

One short tree under BitnetError, which is never raised itself. A negative status of the library becomes the class of that
status (`from_status`); the sentence is the library's own and names what was found and what was expected.
Where Python has a class of its own for the case (FileNotFoundError, MemoryError, ValueError), ours is one of those too.
"""

from __future__ import annotations

__all__ = [
    "BitnetError", "ModelNotFoundError", "ModelLoadError", "InvalidModelError", "TokenizeError", "Utf8Error",
    "InvalidArgumentError", "InferenceError", "OutOfMemoryError", "ConcurrencyError", "ContextFullError", "Cancelled",
    "RegistryError", "OfflineError",
]


class BitnetError(Exception):
    """Everything that bitnet_ffi raises on its own account. `code` is the C status, 0 where there is none."""

    code = 0


class InvalidArgumentError(BitnetError, ValueError):
    """An argument that the library refuses: an index out of range, a size that does not fit."""

    code = -1


class Utf8Error(BitnetError, ValueError):
    """Text that is not Unicode (a lone surrogate, bytes that are not UTF-8)."""

    code = -2


class TokenizeError(BitnetError):
    """A text that this vocabulary cannot express, or a token id outside it."""

    code = -3


class ModelNotFoundError(BitnetError, FileNotFoundError):
    """No such file."""

    code = -4

    def __str__(self) -> str:  # FileNotFoundError would show errno and file name
        return str(self.args[0]) if self.args else ""


class ModelLoadError(BitnetError, OSError):
    """The file cannot be read: a folder, no permission, an interrupted load."""

    code = -5

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InferenceError(BitnetError, RuntimeError):
    """A decode failed."""

    code = -6


class OutOfMemoryError(BitnetError, MemoryError):
    """The model, the cache or a batch does not fit."""

    code = -7


class ConcurrencyError(BitnetError, RuntimeError):
    """A context used by two threads at once."""

    code = -8


class InvalidModelError(BitnetError, ValueError):
    """A file that is not a model this library can run; the sentence names the key or tensor."""

    code = -9


class ContextFullError(BitnetError, RuntimeError):
    """No room in the context for these tokens. Nothing was changed: remove some, or use a larger n_ctx."""

    code = -10


class Cancelled(BitnetError):
    """A decode that cancel() stopped. The cache is as it was before the call."""


class RegistryError(BitnetError, RuntimeError):
    """A named model that cannot be found, fetched or verified."""


class OfflineError(RegistryError):
    """A fetch that BITNET_OFFLINE forbids."""


_BY_STATUS = {
    cls.code: cls
    for cls in (InvalidArgumentError, Utf8Error, TokenizeError, ModelNotFoundError, ModelLoadError, InferenceError,
                OutOfMemoryError, ConcurrencyError, InvalidModelError, ContextFullError)
}


def from_status(code: int, text: str) -> BitnetError:
    """The exception for a negative status and its sentence. A number from a newer library becomes InferenceError."""
    cls = _BY_STATUS.get(code, InferenceError)
    error = cls(text or f"the library reported status {code} without a sentence")
    error.code = code
    return error
