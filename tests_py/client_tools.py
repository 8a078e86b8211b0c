"""What .ci/clients has brought of other people's programs: in the folder that BITNET_FFI_CLIENTS names, or nowhere."""
import os
import subprocess
from pathlib import Path

import pytest

from bitnet_ffi import config

HERE = Path(__file__).parent


def fetched(*parts) -> Path:
    """A path in that folder; the test is skipped where it is not there."""
    folder = os.environ.get("BITNET_FFI_CLIENTS")
    path = Path(folder, *parts) if folder else None
    if path is None or not path.exists():
        pytest.skip(f"no {'/'.join(parts)}: .ci/clients DIR, and BITNET_FFI_CLIENTS=DIR")
    return path


def libllama_of_october(out: Path) -> None:
    """client_october.cpp as a library that takes libllama.so's place, with ours behind it."""
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", HERE / "client_october.cpp", *config.cflags(),
               "-Wl,--no-as-needed", *config.libs(), "-o", out]
    subprocess.run(list(map(str, command)), check=True)
