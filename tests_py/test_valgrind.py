"""examples/simple.c under valgrind: no bad access, no use of what was never written, nothing leaked. And without any Python around."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bitnet_ffi import config

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "tests_py" / "data" / "tiny-b158-i2_s.gguf"


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    program = tmp_path_factory.mktemp("valgrind") / "simple"
    subprocess.run([os.environ.get("CC", "cc"), "-g", ROOT / "examples" / "simple.c", *config.cflags(), *config.libs(), "-o", program],
                   check=True)
    return program


def run(*command, env=None):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, env=env)


# valgrind 3.19 translates AVX2, FMA and F16C, but not AVX-512.
@pytest.mark.parametrize("table", ["scalar", "avx2"])
def test_c_example_under_valgrind(simple, table):
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not installed")
    env = {**os.environ, "BITNET_FFI_KERNELS": table}
    plain = run(simple, MODEL, "hello world", 3, env=env)
    if plain.returncode != 0 and "BITNET_FFI_KERNELS" in plain.stderr:
        pytest.skip(f"this CPU cannot run the {table} kernels")
    done = run(valgrind, "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=all", "--quiet",
               simple, MODEL, "hello world", 3, env=env)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-3000:]
    assert done.stdout == plain.stdout


def test_c_example_without_python(simple):
    """An empty environment and a PATH that leads nowhere; ldd shows libc, libm (and libpthread, where it is apart) and the loader."""
    plain = run(simple, MODEL, "hello world", 3)
    bare = run(shutil.which("env"), "-i", "PATH=/nonexistent", simple, MODEL, "hello world", 3)
    assert bare.returncode == 0 and bare.stdout == plain.stdout
    needed = {line.split()[0].split("/")[-1].split(".so")[0] for line in run("ldd", simple).stdout.splitlines()}
    assert needed - {"libbitnet_ffi", "linux-vdso", "libc", "libm", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64"} == set()
