"""How to compile and link against the library here: `cc app.c $(python -m bitnet_ffi.config --cflags --libs)`.

Answers from the place of this file alone: it does not load the library, so it works for any target and in any build
system. pkg-config (--pkgconfigdir) and CMake (--cmakedir) users find the same facts in the files it points to.
"""

import argparse
import re
import shlex
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def include_dir() -> Path:
    """Folder of bitnet_ffi.h."""
    return PACKAGE / "include"


def lib_dir() -> Path:
    """Folder of libbitnet_ffi.so and libllama.so, two names of one library."""
    return PACKAGE / "lib"


def pkgconfig_dir() -> Path:
    """Folder of bitnet_ffi.pc, for PKG_CONFIG_PATH."""
    return lib_dir() / "pkgconfig"


def cmake_dir() -> Path:
    """Folder of bitnet_ffi-config.cmake, for -Dbitnet_ffi_DIR=."""
    return lib_dir() / "cmake" / "bitnet_ffi"


def cflags() -> list[str]:
    """Compiler arguments."""
    return [f"-I{include_dir()}"]


def libs() -> list[str]:
    """Linker arguments; the run path makes the program start without LD_LIBRARY_PATH."""
    return [f"-L{lib_dir()}", "-lbitnet_ffi", f"-Wl,-rpath,{lib_dir()}"]


def version() -> str:
    """Version of the library, as its header states it."""
    header = (include_dir() / "bitnet_ffi.h").read_text()
    return re.search(r'#define BITNET_FFI_VERSION_STRING "([^"]+)"', header)[1]


ANSWERS = {
    "cflags": (cflags, "compiler arguments"),
    "libs": (libs, "linker arguments"),
    "includedir": (include_dir, "folder of bitnet_ffi.h"),
    "libdir": (lib_dir, "folder of the library"),
    "pkgconfigdir": (pkgconfig_dir, "folder of bitnet_ffi.pc"),
    "cmakedir": (cmake_dir, "folder of bitnet_ffi-config.cmake"),
    "version": (version, "version of the library"),
}


def main(arguments: list[str] | None = None) -> None:
    """Print the answers asked for, in the order asked, on one line, quoted for a shell."""
    parser = argparse.ArgumentParser(prog="python -m bitnet_ffi.config", description=__doc__.splitlines()[0])
    for name, (_, text) in ANSWERS.items():
        parser.add_argument(f"--{name}", action="append_const", const=name, dest="names", help=text)
    names = parser.parse_args(arguments).names
    if not names:
        parser.error("ask for at least one thing: --" + ", --".join(ANSWERS))
    words: list[str] = []
    for name in names:
        answer = ANSWERS[name][0]()
        words += answer if isinstance(answer, list) else [str(answer)]
    print(shlex.join(words))


if __name__ == "__main__":
    main()
