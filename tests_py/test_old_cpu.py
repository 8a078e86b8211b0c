"""x86-64 CPUs without AVX2, emulated: the scalar table is chosen there and gives the tokens and logits of the table that runs here."""
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from bitnet_ffi import config

TESTS = Path(__file__).resolve().parent
EMULATOR = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the library here is not for x86-64"),
    pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 is not installed (apt: qemu-user)"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    program = tmp_path_factory.mktemp("old_cpu") / "old_cpu"
    subprocess.run([os.environ.get("CC", "cc"), TESTS / "old_cpu.c", *config.cflags(), *config.libs(), "-o", program], check=True)
    return program


def run(*command):
    """The kernel table; the tokens and logits."""
    env = {key: value for key, value in os.environ.items() if key != "BITNET_FFI_KERNELS"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    table, _, numbers = done.stdout.partition("\n")
    return table, numbers


@pytest.mark.parametrize("model", ["tiny-b158-i2_s.gguf", "tiny-bitnet-tq2.gguf"])
@pytest.mark.parametrize("cpu", ["qemu64", "Nehalem", "SandyBridge"])
def test_cpu_without_avx2_gives_the_same_bits(program, cpu, model):
    path = TESTS / "data" / model
    expected = run(program, path)
    assert len(expected[1].split()) == 9
    assert run(EMULATOR, "-cpu", cpu, program, path) == ("scalar", expected[1])


def test_cpu_with_avx2_takes_that_table(program):
    path = TESTS / "data" / "tiny-b158-i2_s.gguf"
    assert run(EMULATOR, "-cpu", "Haswell", program, path) == ("avx2", run(program, path)[1])
