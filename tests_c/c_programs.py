"""Builds the C tests: tests_c/test_<name>.cpp becomes build/<machine>/tests_c/test_<name>, with the library's objects.

Catch2 version 2 is one header. Where no package of the system brings it, pip fetches the wheel that holds just that
header; nothing is installed. conftest.py runs the programs here, test_cross.py those for another machine.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import bnf_build

FOLDER = Path(__file__).resolve().parent
CATCH_WHEEL = "comma-deps-catch2==2.13.10.post96"
CATCH_SHA256 = "ab456417e68147784be2e42d47919067cf20500913be1fac0a53877c546c46fb"


def sources() -> list[Path]:
    return sorted(FOLDER.glob("test_*.cpp"))


def has_catch(tools: bnf_build.Toolchain) -> bool:
    """Does the compiler find the header by itself?"""
    return subprocess.run([*tools.cxx, "-E", "-x", "c++", "-"], input="#include <catch2/catch.hpp>", text=True,
                          capture_output=True).returncode == 0


def fetched_catch() -> Path:
    """An include folder with catch2/catch.hpp, under build/. Needs the network once."""
    folder = bnf_build.ROOT / "build" / "catch2"
    header = folder / "catch2" / "catch.hpp"
    if header.exists():
        return folder
    # The wheel holds headers only, for any Python; pip wants to hear one that its metadata allows.
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                           "--python-version", "3.12", "--dest", str(folder), CATCH_WHEEL],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise bnf_build.BuildError("the C tests need Catch2 version 2, and pip could not fetch it: apt install catch2 "
                                   f"(Debian 12, Ubuntu 22.04) or try again with a network.\n{done.stderr}")
    wheel, = folder.glob("*.whl")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != CATCH_SHA256:
        raise bnf_build.BuildError(f"{wheel.name}: SHA-256 is not the expected {CATCH_SHA256}; the file is not used.")
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("catch2/install/include/catch2/catch.hpp")
    header.parent.mkdir(exist_ok=True)
    header.write_bytes(text)
    return folder


def build_all(tools: bnf_build.Toolchain, chosen: list[Path] | None = None,
              runner_tools: bnf_build.Toolchain | None = None) -> dict[Path, Path | bnf_build.BuildError]:
    """The C test programs (or the chosen ones) for this toolchain, by source; the reason where one does not build.
    `runner_tools`: whose main function to use, where another toolchain for the same machine has it (it compiles
    slowly)."""
    flags = [] if has_catch(tools) else ["-isystem", str(fetched_catch())]
    runner = bnf_build.main_object(runner_tools or tools, FOLDER / "main.cpp", flags)
    return bnf_build.build_programs(tools, chosen or sources(), flags, [runner, *bnf_build.library_objects(tools)])
