"""Fixtures that many tests share."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gguf_writer
from bitnet_ffi import Model, _log, registry
from bitnet_ffi._ffi import ffi, lib
from bitnet_ffi.errors import BitnetError


@pytest.fixture(scope="module", autouse=True)
def log_stays():
    """The log is one for the process: a module that keeps it takes the warnings away from every test after it."""
    yield
    callback, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(callback, data)
    assert callback[0] == _log._on_line, "the log was taken and not given back: model_abi.log_kept"


@pytest.fixture(scope="session")
def smollm2_path():
    """SmolLM2-135M-Instruct as a Q4_1 GGUF, fetched into the user's cache on first use as `bitnet run -m smollm2` does."""
    try:
        return registry.pull("smollm2")
    except BitnetError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"no SmolLM2 here: {error}")


@pytest.fixture(scope="session")
def smollm2(smollm2_path):
    with Model(smollm2_path) as model:
        yield model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    gguf_writer.tiny_model(weights="q8_0", n_ctx=256).write(path)
    return path


@pytest.fixture(scope="session")
def model(tiny_path):
    with Model(tiny_path) as model:
        yield model


@pytest.fixture(scope="module")
def owner(path):
    """The model of a module's own `path`, for the tests of the C API: its _pointer is what they use."""
    with Model(path) as model:
        yield model


@pytest.fixture(scope="session")
def slow_path(tmp_path_factory):
    """A model whose prompt takes seconds: many thin layers, so that a cancel meets a layer's border soon."""
    path = tmp_path_factory.mktemp("models") / "slow.gguf"
    gguf_writer.tiny_model(weights="f32", n_layer=48, n_ctx=4096).write(path)
    return path


@pytest.fixture(scope="session")
def preload(tmp_path_factory):
    """failing_memory.c, built: for LD_PRELOAD of a child process. It needs glibc and a C compiler, as the library's own build does."""
    from model_abi import library_path
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and glibc")
    here = Path(__file__).parent
    out = tmp_path_factory.mktemp("preload") / "failing_memory.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", out, here / "failing_memory.c", f"-I{here.parent / 'include'}", library_path(),
                    f"-Wl,-rpath,{library_path().parent}"], check=True)
    return out
