"""The AVX-VNNI kernels where the CPU lacks them but has AVX-512 VL and VNNI: the same sources with vpdpbusd in its EVEX encoding,
against scalar. What this cannot show is the VEX encoding itself; a CPU that has it runs the avxvnni table in every other test."""

import subprocess
from pathlib import Path

import bnf_build
import c_programs
import pytest

SOURCES = [c_programs.FOLDER / name for name in ("test_packed.cpp", "test_sums.cpp")]
CPUINFO = Path("/proc/cpuinfo")


def cpu_has(*flags: str) -> bool:
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    return set(flags) <= {flag for line in lines if line.startswith("flags") for flag in line.split()}


@pytest.fixture(scope="module")
def programs():
    if not cpu_has("avx512vl", "avx512_vnni"):
        pytest.skip("this CPU has no AVX-512 VL and VNNI")
    tools = bnf_build.Toolchain()
    evex = bnf_build.Toolchain()
    evex.folder = tools.folder / "evex"
    folder = bnf_build.ROOT / "csrc" / "kernels" / "avxvnni"
    flags = [*bnf_build.C_FLAGS, *bnf_build.ISA_FLAGS["avxvnni"][1], "-mavx512vl", "-mavx512vnni", "-DBNF_EVEX"]
    ours = bnf_build.run_all([evex.object(source, flags) for source in sorted(folder.glob("*.c"))])
    others = [path for path in bnf_build.library_objects(tools) if path.parent.name != "avxvnni"]
    catch = [] if c_programs.has_catch(tools) else ["-isystem", str(c_programs.fetched_catch())]
    runner = bnf_build.main_object(tools, c_programs.FOLDER / "main.cpp", catch)
    return bnf_build.build_programs(evex, SOURCES, [*catch, "-DBNF_EVEX"], [runner, *ours, *others])


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_passes_in_evex_encoding(programs, source):
    program = programs[source]
    assert isinstance(program, Path), str(program)
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True).stdout
    assert "{vex} vpdpbusd" not in code
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
