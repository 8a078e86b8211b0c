"""The C tests for aarch64, cross-compiled and run under qemu: the NEON kernels, on a machine that has none.

On an aarch64 machine the C tests themselves cover this.
"""

import shutil
import subprocess
from pathlib import Path

import bnf_build
import c_programs
import pytest

COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
LIBRARIES = "/usr/aarch64-linux-gnu"

pytestmark = [
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed (apt: g++-aarch64-linux-gnu)"),
    pytest.mark.skipif(not EMULATOR, reason="qemu-aarch64 is not installed (apt: qemu-user)"),
]


@pytest.fixture(scope="module")
def programs():
    tools = bnf_build.Toolchain(cc="aarch64-linux-gnu-gcc", cxx=COMPILER)
    tools.flags = []
    return c_programs.build_all(tools)


@pytest.mark.parametrize("source", c_programs.sources(), ids=lambda source: source.stem)
def test_passes_on_aarch64(programs, source):
    program = programs[source]
    assert isinstance(program, Path), str(program)
    done = subprocess.run([EMULATOR, "-L", LIBRARIES, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cpu, table", [("cortex-a53", "scalar"), ("neoverse-n1", "neon"), ("max", "i8mm")])
def test_cpu_gets_the_table_it_can_run(programs, cpu, table):
    """AArch64 without the dot product extension takes the scalar table, which its compiler vectorizes for plain NEON."""
    program = programs[c_programs.FOLDER / "test_cpu.cpp"]
    done = subprocess.run([EMULATOR, "-cpu", cpu, "-L", LIBRARIES, program, "-s", "the best table that runs is chosen"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'"{table}" == "{table}"' in done.stdout
