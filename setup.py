"""Build the library and put it, with all that a C, CMake or Python project needs of it, into the package.

csrc/bnf_build.py compiles and links; this file only places the results: under bitnet_ffi/ in the source tree
(`pip install -e .`, `python setup.py build_ext --inplace`) or in the folder that becomes a wheel (`pip install .`).
Every other setting is in pyproject.toml.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "csrc"))
import bnf_build  # noqa: E402
import bnf_cdef  # noqa: E402

PACKAGE = bnf_build.ROOT / "bitnet_ffi"
PKG_FILES = bnf_build.ROOT / "csrc" / "pkg"
# Link names: -lbitnet_ffi, and libllama for programs that look for that; both are the one library with its one SONAME.
LINK_NAMES = ["libbitnet_ffi.so", "libllama.so", "libllama.so.0"]


def place(source: Path, target: Path) -> Path:
    """Copy when the content differs; replaces by rename, so a running program keeps the file it has mapped."""
    content = source.read_bytes()
    if target.is_symlink() or not target.exists() or target.read_bytes() != content:
        write(target, content)
        shutil.copymode(source, target)
    return target


def write(target: Path, content: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    partial.write_bytes(content)
    os.replace(partial, target)
    return target


class BuildLibrary(build_ext):
    """build_ext, with the library and its companions in place of a list of extension modules."""

    def run(self) -> None:
        try:
            self.products = self.build()
        except bnf_build.BuildError as error:
            raise SystemExit(f"error: {error}") from None

    def build(self) -> list[Path]:
        tools = bnf_build.Toolchain()
        package = PACKAGE if self.inplace else Path(self.build_lib).absolute() / "bitnet_ffi"
        built = bnf_build.build_library(tools)
        library = place(built, package / "lib" / bnf_build.SONAME)
        products = [library]
        for name in LINK_NAMES:
            link = library.with_name(name)
            if self.inplace:
                if not link.is_symlink():
                    link.unlink(missing_ok=True)
                    link.symlink_to(bnf_build.SONAME)
            else:  # a wheel holds no links
                place(library, link)
            products.append(link)
        products += [place(header, package / "include" / header.name) for header in sorted(bnf_build.HEADER.parent.glob("*.h"))]
        for template, folder in [("bitnet_ffi.pc", "pkgconfig"), ("bitnet_ffi-config.cmake", "cmake/bitnet_ffi"),
                                 ("bitnet_ffi-config-version.cmake", "cmake/bitnet_ffi")]:
            text = (PKG_FILES / template).read_text().replace("@VERSION@", bnf_build.version_string())
            products.append(write(package / "lib" / folder / template, text.encode()))
        products.append(write(package / "_cdef.py", bnf_cdef.module_text(tools).encode()))
        for extension in self.extensions:
            source = bnf_build.ROOT / extension.sources[0]
            products.append(place(bnf_build.build_extension(tools, source, built),
                                  package / f"{source.stem}.abi3.so"))
        return products

    def get_outputs(self) -> list[str]:
        return [str(path) for path in self.products]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class NativeDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return True


extensions = [Extension(f"bitnet_ffi.{source.stem}", [f"bitnet_ffi/{source.name}"], py_limited_api=True)
              for source in sorted(PACKAGE.glob("*.pyx"))]
setup(
    version=bnf_build.version_string(),
    distclass=NativeDistribution,
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=extensions,
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
