"""Models by name: where their files are kept, and fetching them on first use.

A file in the cache is complete and verified: it appears there by rename alone. BITNET_OFFLINE=1 forbids every fetch.
This file opens no connection itself; next: _fetch.py, which does, and named_models.py for the names.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ModelNotFoundError, OfflineError, RegistryError
from .named_models import MODELS, NamedModel, Note, Progress


def find(name: str) -> NamedModel | None:
    """The entry of that name or alias, in any case of letters."""
    wanted = name.lower()
    for model in MODELS:
        if wanted in (model.name.lower(), *(alias.lower() for alias in model.aliases)):
            return model
    return None


def get(name: str) -> NamedModel:
    """As find(), or RegistryError with the names there are."""
    model = find(name)
    if model is None:
        raise RegistryError(f"no model is named {name!r}; known: {', '.join(m.name for m in MODELS)}")
    return model


# ---- the cache ----

def cache_dir() -> Path:
    """Where model files are kept: $BITNET_CACHE, else bitnet_ffi in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("BITNET_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "bitnet_ffi"


def cached_path(model: NamedModel) -> Path:
    """Where the model's file is, or would be."""
    return cache_dir() / model.file


def is_cached(model: NamedModel) -> bool:
    path = cached_path(model)
    return path.is_file() and model.size in (None, path.stat().st_size)


def is_offline() -> bool:
    return os.environ.get("BITNET_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


@contextmanager
def _lock(model: NamedModel, note: Note) -> Iterator[None]:
    """One process at a time for a model. The lock goes with the process, whatever ends it; its empty file stays."""
    path = cache_dir() / f".{model.file}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that works on {model.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _quiet(*_args) -> None:
    pass


def pull(name: str, *, progress: Progress = _quiet, note: Note = _quiet) -> Path:
    """Fetch a named model unless it is there; its file.

    progress: called with bytes so far and in all. note: called with one line on where the file is kept.
    Errors: RegistryError (unknown name, no connection, wrong hash, full disk), OfflineError. Nothing half-written stays
    under the file's name; an interrupted download from the hub goes on where it stopped. Threads and processes: any.
    """
    from . import _fetch  # here, because few runs fetch: it takes its time to import HTTP
    model = get(name)
    path = cached_path(model)
    if is_cached(model):
        return path
    if is_offline():
        raise OfflineError(f"{model.name} is not on this machine and BITNET_OFFLINE forbids fetching it; "
                           f"unset BITNET_OFFLINE, or put the file at {path}")
    try:
        with _lock(model, note):
            if not is_cached(model):  # another process may have finished it while we waited
                _fetch.fetch(model, path, progress, note)
                note(f"kept in {path} ({path.stat().st_size / 1e6:.0f} MB)")
    except OSError as error:
        raise RegistryError(_disk_sentence(error, path)) from error
    return path


def _disk_sentence(error: OSError, path: Path) -> str:
    return f"cannot keep the model in {path.parent}: {error.strerror or error}; BITNET_CACHE names another folder"


def remove(name: str) -> Path | None:
    """Delete a model's file, and what an interrupted fetch left of it; the path, or None when nothing was there."""
    from . import _fetch
    model = get(name)
    path = cached_path(model)
    if not path.parent.is_dir():
        return None
    with _lock(model, _quiet):
        found = _fetch.discard(path) or path.exists()
        path.unlink(missing_ok=True)
    return path if found else None


def resolve(source: str | os.PathLike, *, download: bool = True, progress: Progress = _quiet,
            note: Note = _quiet) -> str:
    """The file for a path or a name: an existing path wins, then names. download=False: only what is cached.

    Errors: ModelNotFoundError, RegistryError, OfflineError.
    """
    text = os.fspath(source)
    if os.path.exists(text):
        return text
    model = find(text) if isinstance(text, str) else None
    if model is None:
        known = ", ".join(m.name for m in MODELS)
        raise ModelNotFoundError(f"{os.fsdecode(text)}: no such file, and no model of that name (known: {known})")
    return str(pull(model.name, progress=progress, note=note) if download else fetched_path(model.name))


def fetched_path(name: str) -> Path:
    """The file of a named model that is here; RegistryError says how to get one that is not."""
    model = get(name)
    if not is_cached(model):
        raise RegistryError(f"{model.name} is not on this machine; fetch it with: bitnet models pull {model.name}")
    return cached_path(model)
