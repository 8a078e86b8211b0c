"""Each example is built as its own head says, run, and prints the text that `bitnet run` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bitnet_ffi.config as config

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROMPTS = ["The capital of France is", "def fibonacci(n):"]
N = 12


def run(*command):
    # The package under test, installed or in the source tree: a script's own path begins at examples/.
    environment = {**os.environ, "PYTHONPATH": str(config.PACKAGE.parent)}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for source, compiler in (("simple.c", os.environ.get("CC", "cc")), ("simple.cpp", os.environ.get("CXX", "c++"))):
        run(compiler, "-Wall", "-Wextra", "-Werror", EXAMPLES / source, *config.cflags(), *config.libs(), "-o",
            folder / source.replace(".", "_"))
    return folder


def bitnet_run(path, prompt):
    return run(sys.executable, "-m", "bitnet_ffi", "run", "-m", path, "-p", prompt, "--greedy", "-n", N, "-q")


def commands(programs, path, prompt):
    return {
        "simple.c": [programs / "simple_c", path, prompt, N],
        "simple.cpp": [programs / "simple_cpp", path, prompt, N],
        "chat_ctypes.py": [sys.executable, EXAMPLES / "chat_ctypes.py", path, "--raw", prompt, N],
        "stream.py": [sys.executable, EXAMPLES / "stream.py", path, prompt, N],
    }


@pytest.mark.parametrize("name", ["simple.c", "simple.cpp", "chat_ctypes.py", "stream.py"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_example_prints_what_bitnet_run_prints(programs, smollm2_path, name, prompt):
    text = run(*commands(programs, smollm2_path, prompt)[name])
    assert text.strip() and text == bitnet_run(smollm2_path, prompt)


@pytest.mark.parametrize("name", ["simple.c", "simple.cpp"])
def test_example_with_a_wrong_path_says_why(programs, name):
    done = subprocess.run([programs / name.replace(".", "_"), "/no/such.gguf", "x"], capture_output=True, text=True)
    assert done.returncode == 1 and "/no/such.gguf" in done.stderr


def test_c_example_needs_no_python(programs, smollm2_path):
    """Run with an empty environment: ldd shows libc, libm and the loader beside our own library."""
    needed = run("ldd", programs / "simple_c")
    names = {line.split()[0].split("/")[-1].split(".so")[0] for line in needed.splitlines()}
    assert names <= {"linux-vdso", "libbitnet_ffi", "libm", "libc", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64"}
    text = run("env", "-i", programs / "simple_c", smollm2_path, PROMPTS[0], N)
    assert text == bitnet_run(smollm2_path, PROMPTS[0])
