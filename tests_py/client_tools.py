"""What .ci/clients has brought of other people's programs: in the folder that BITNET_FFI_CLIENTS names, or nowhere."""
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from bitnet_ffi import config

HERE = Path(__file__).parent
# Functions of ggml.h, not of llama.h, that llama.cpp's `common` of 2023 and 2024 calls for a line about the machine.
GGML_CPU_STUBS = "".join(f"static inline int ggml_cpu_has_{what}(void) {{ return 0; }}\n" for what in """
    arm_fma avx avx2 avx512 avx512_vbmi avx512_vnni avx_vnni blas clblast cublas cuda f16c fma fp16_va gpublas kompute matmul_int8 metal neon
    sse3 ssse3 sycl vsx vulkan wasm_simd""".split())


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


class Sources:
    """llama.cpp's own sources as llama-cpp-python `version` carries them, in `folder`, to be compiled against bitnet_ffi.h: their
    llama.h is a file of one line, and of `more`; the headers of ggml named in `ggml` are that file again. wanted: starts of paths."""

    def __init__(self, version: str, folder: Path, wanted: tuple, flags=(), more="", ggml=()):
        self.folder, self._objects = folder, {}
        self._flags = ["-std=c++17", "-O0", "-w", "-ffunction-sections", *flags, "-I", folder, "-I", folder / "common", "-I", folder / "vendor"]
        inside = f"llama_cpp_python-{version}/vendor/llama.cpp/"
        with tarfile.open(fetched(f"llama_cpp_python-{version}.tar.gz")) as tar:
            for member in tar:
                name = member.name.removeprefix(inside)
                if member.isfile() and name.startswith(wanted):
                    member.name = name
                    tar.extract(member, folder, filter="data")
        (folder / "llama.h").write_text("#pragma once\n#include <bitnet_ffi.h>\n" + more)
        for header in ggml:
            (folder / header).write_text('#include "llama.h"\n')

    def object(self, source) -> Path:
        """A source, compiled once."""
        source = self.folder / source
        out = self.folder / "objects" / (str(source).replace("/", "-") + ".o")
        if source not in self._objects:
            out.parent.mkdir(exist_ok=True)
            run(["g++", *self._flags, *config.cflags(), "-c", source, "-o", out])
            self._objects[source] = out
        return out

    def program(self, *sources) -> Path:
        """What of these the program needs: functions that nobody calls may want what is not there."""
        out = self.folder / f"run-{Path(sources[-1]).stem}"
        if not out.exists():
            run(["g++", "-pthread", *map(self.object, sources), "-Wl,--gc-sections", *config.libs(), "-o", out])
        return out


def run(command) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
