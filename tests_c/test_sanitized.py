"""The C tests under gcc's sanitizers: all for memory and undefined behaviour, those with threads for data races.

The parts of the objects that reach Python must stay removable by the linker, so address checks leave globals out.
"""

import re
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
SOURCES = {
    "memory": c_programs.sources(),
    "threads": [source for source in c_programs.sources() if re.search(r"<thread>|bnf_pool\.h", source.read_text())],
}
# The sanitizers' address maps and a kernel with much address randomness do not always agree.
FIXED_ADDRESSES = ["setarch", "-R"] if shutil.which("setarch") else []


@pytest.fixture(scope="module")
def programs():
    """By sanitizer, the programs of its sources; built when first asked for."""
    built = {}

    def ask(sanitizer):
        if sanitizer not in built:
            plain, tools = bnf_build.Toolchain(), bnf_build.Toolchain()
            if "clang" in tools.identity:
                pytest.skip("clang has no --param=asan-globals=0")
            tools.folder = bnf_build.ROOT / "build" / sanitizer
            tools.flags = [*SANITIZERS[sanitizer], "-O1", "-g"]
            tools.link_flags = SANITIZERS[sanitizer][:1]
            built[sanitizer] = c_programs.build_all(tools, SOURCES[sanitizer], plain)
        return built[sanitizer]
    return ask


@pytest.mark.parametrize("sanitizer, source", [(name, source) for name in SANITIZERS for source in SOURCES[name]],
                         ids=lambda value: value if isinstance(value, str) else value.stem)
def test_passes_sanitized(programs, sanitizer, source):
    program = programs(sanitizer)[source]
    assert isinstance(program, Path), str(program)
    done = subprocess.run([*FIXED_ADDRESSES, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
