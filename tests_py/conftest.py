"""Fixtures that many tests share."""
import os

import pytest

import gguf_writer
from bitnet_ffi import Model, registry
from bitnet_ffi.errors import BitnetError


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


@pytest.fixture(scope="session")
def slow_path(tmp_path_factory):
    """A model whose prompt takes seconds: many thin layers, so that a cancel meets a layer's border soon."""
    path = tmp_path_factory.mktemp("models") / "slow.gguf"
    gguf_writer.tiny_model(weights="f32", n_layer=48, n_ctx=4096).write(path)
    return path
