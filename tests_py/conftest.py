"""Fixtures that many tests share."""
import os

import pytest

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
