"""The C tests under the sanitizers of gcc or clang: memory, undefined behaviour, data races.

The parts of the objects that reach Python must stay removable by the linker, so address checks leave globals out.
"""

import shutil
import subprocess
from pathlib import Path

import bnf_build
import c_programs
import pytest

SANITIZERS = {
    "memory": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "--param=asan-globals=0"],
    "threads": ["-fsanitize=thread"],
}
# The sanitizers' address maps and a kernel with much address randomness do not always agree.
FIXED_ADDRESSES = ["setarch", "-R"] if shutil.which("setarch") else []


@pytest.fixture(scope="module", params=SANITIZERS)
def programs(request):
    tools = bnf_build.Toolchain()
    if "clang" in tools.identity:
        pytest.skip("clang has no --param=asan-globals=0")
    tools.folder = bnf_build.ROOT / "build" / request.param
    tools.flags = [*SANITIZERS[request.param], "-O1", "-g"]
    tools.link_flags = SANITIZERS[request.param][:1]
    return c_programs.build_all(tools, bnf_build.Toolchain())


@pytest.mark.parametrize("source", c_programs.sources(), ids=lambda source: source.stem)
def test_passes_sanitized(programs, source):
    program = programs[source]
    assert isinstance(program, Path), str(program)
    done = subprocess.run([*FIXED_ADDRESSES, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
