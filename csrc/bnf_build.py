"""Compile and link libbitnet_ffi: Cython to C, C to objects, objects to one shared library without Python in it.

Used by setup.py (which puts the results into the package) and by tests_c/conftest.py (which links test programs with
the same objects). Standard library only; knows nothing of setuptools or of installing. Everything it writes lies in
build/, and a step runs again only when its command, its compiler or one of its inputs changed.
Why the linker can take Python out: docs/ARCHITECTURE.md, "Cython writes the library".
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "bitnet_ffi.h"
SONAME = "libbitnet_ffi.so.0"

# kernels/<isa>/ is compiled with these flags, for the machines named; other files get the baseline of the target.
ISA_FLAGS = {
    "scalar": ("", []),
    "avx2": ("x86_64", ["-mavx2", "-mfma", "-mf16c"]),
    "avxvnni": ("x86_64", ["-mavx2", "-mfma", "-mf16c"]),   # its one instruction more is written as assembly
    "avx512vnni": ("x86_64", ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni",
                              "-mavx2", "-mfma", "-mf16c"]),
    "avx512vbmi": ("x86_64", ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512vbmi",
                              "-mavx2", "-mfma", "-mf16c"]),
    "neon": ("aarch64", ["-march=armv8.2-a+dotprod"]),
    "i8mm": ("aarch64", ["-march=armv8.2-a+dotprod+i8mm"]),
}
# -ffp-contract=off: a fused product is written fma, everything else rounds once per operation, on every target.
# The section flags let --gc-sections drop Cython's module frame, and with it every reference to Python.
COMMON_FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-ffunction-sections",
                "-fdata-sections", "-pthread"]
C_FLAGS = COMMON_FLAGS + ["-Wall", "-Wextra", "-Wshadow", "-Wconversion"]
# Cython reads structs through casts, and its frame (which the linker drops) holds helpers that nobody calls. The library defines
# today's functions: the macros for older calls (bitnet_ffi_older.h) would rewrite them.
CYTHON_FLAGS = COMMON_FLAGS + ["-DBITNET_FFI_API=2026", "-O2", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"]
CXX_FLAGS = ["-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"]
INCLUDES = ["-Iinclude", "-Icsrc"]


class BuildError(Exception):
    """The build stopped; the text says why in one sentence, followed by the tool's own output where there is one."""


@dataclass
class Step:
    """One command that writes `output`. It is up to date while `key` (by default the command) and `inputs` stand."""
    output: Path
    command: list[str]
    inputs: list[Path] = field(default_factory=list)
    key: str = ""
    depfile: bool = False   # the command also writes output + ".d", which names the headers it read

    def is_current(self) -> bool:
        try:
            made = self.output.stat().st_mtime_ns
            if self._stamp().read_text() != self._key():
                return False
            return all(path.stat().st_mtime_ns <= made for path in self.inputs + self._headers())
        except OSError:
            return False

    def run(self) -> None:
        """Write in a folder of its own and rename, so that two builds at once never read half a file. The output is
        dated to the start of the command: an input saved meanwhile counts as newer."""
        start = time.time_ns()
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.output.parent) as folder:
            partial = Path(folder, self.output.name)
            command = [arg.replace("@OUT@", str(partial)) for arg in self.command]
            if self.depfile:
                command += ["-MMD", "-MF", str(self._deps())]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if done.returncode != 0:
                raise BuildError(f"{relative(self.output)}: {Path(command[0]).name} failed.\n{shlex.join(command)}\n"
                                 f"{done.stdout}{done.stderr}")
            if done.stderr:
                print(done.stderr, file=sys.stderr, end="")
            os.utime(partial, ns=(start, start))
            os.replace(partial, self.output)
        self._stamp().write_text(self._key())

    def _key(self) -> str:
        return self.key or shlex.join(self.command)

    def _stamp(self) -> Path:
        return self.output.with_name(self.output.name + ".key")

    def _deps(self) -> Path:
        return self.output.with_name(self.output.name + ".d")

    def _headers(self) -> list[Path]:
        if not self.depfile:
            return []
        rule = self._deps().read_text().replace("\\\n", " ")
        return [ROOT / name for name in rule.split(": ", 1)[1].split()]


def run_steps(steps: Iterable[Step]) -> dict[Path, BuildError]:
    """Run what is out of date on all cores; the failures, by output. Steps must not depend on each other."""
    stale = [step for step in steps if not step.is_current()]
    failures: dict[Path, BuildError] = {}

    def run(step: Step) -> None:
        sys.stdout.write(f"building {relative(step.output)}\n")
        try:
            step.run()
        except BuildError as error:
            failures[step.output] = error

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(run, stale))
    return failures


def run_all(steps: list[Step]) -> list[Path]:
    """Run steps that must all succeed; their outputs."""
    for error in run_steps(steps).values():
        raise error
    return [step.output for step in steps]


def relative(path: Path) -> str:
    return os.path.relpath(path, ROOT)


class Toolchain:
    """A C compiler (and the C++ compiler beside it), what it compiles for, and the folder of its objects."""

    def __init__(self, cc: str | None = None, cxx: str | None = None):
        self.cc = shlex.split(cc or os.environ.get("CC") or "cc")
        self.cxx = shlex.split(cxx or os.environ.get("CXX") or "c++")
        self.target = self._ask("-dumpmachine").strip()
        self.machine = self.target.split("-")[0]
        self.identity = self._ask("--version").splitlines()[0]
        self.folder = ROOT / "build" / self.machine
        self.flags = shlex.split(os.environ.get("CFLAGS", ""))
        self.link_flags = shlex.split(os.environ.get("LDFLAGS", ""))

    def _ask(self, option: str) -> str:
        try:
            return subprocess.run([*self.cc, option], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            raise BuildError(f"no working C compiler: '{shlex.join(self.cc)}' cannot be run; install gcc "
                             "(on Debian or Ubuntu: apt install gcc libc6-dev) or set CC.") from None

    def object(self, source: Path, flags: list[str], compiler: list[str] | None = None) -> Step:
        name = relative(source).removeprefix("build/")
        command = [*(compiler or self.cc), *flags, *INCLUDES, *self.flags, "-c", relative(source), "-o", "@OUT@"]
        return Step(self.folder / (name + ".o"), command, [source], depfile=True,
                    key=f"{self.identity}\n{shlex.join(command)}")


def c_steps(tools: Toolchain) -> list[Step]:
    """Objects of csrc/*.c and of the kernel folders that this target can use."""
    steps = [tools.object(source, C_FLAGS) for source in sorted((ROOT / "csrc").glob("*.c"))]
    for source in sorted((ROOT / "csrc" / "kernels").glob("*/*.c")):
        if source.parent.name not in ISA_FLAGS:
            raise BuildError(f"{relative(source.parent)}: no compiler flags are known for this folder; "
                             "add it to ISA_FLAGS in csrc/bnf_build.py.")
        machine, flags = ISA_FLAGS[source.parent.name]
        if machine in ("", tools.machine):
            steps.append(tools.object(source, C_FLAGS + flags))
    return steps


def cimported(source: Path) -> set[Path]:
    """The engine's .pxd files that a source reads, directly or through others."""
    found: set[Path] = set()
    unread = [source]
    while unread:
        for name in re.findall(r"^from bitnet_ffi\._core\.(\w+) cimport", unread.pop().read_text(), re.MULTILINE):
            path = ROOT / "bitnet_ffi" / "_core" / f"{name}.pxd"
            if path.exists() and path not in found:     # Cython says what is missing
                found.add(path)
                unread.append(path)
    return found


def cython_steps(sources: Iterable[Path]) -> list[Step]:
    """C from .pyx files."""
    try:
        from Cython import __version__ as version
    except ImportError:
        raise BuildError("Cython is missing: pip install 'cython>=3.3'.") from None
    steps = []
    for source in sorted(sources):
        output = ROOT / "build" / "cython" / (source.stem + ".c")
        command = [sys.executable, "-m", "cython", "-3", "-Ibitnet_ffi/_core", relative(source), "-o", "@OUT@"]
        steps.append(Step(output, command, [source, *sorted(cimported(source))],
                          key=f"Cython {version}\n{shlex.join(command[1:])}"))
    return steps


def python_flags(tools: Toolchain) -> list[str]:
    """Where Python.h is. A cross compiler uses the host's: both are 64-bit Linux, and nothing of Python is linked."""
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise BuildError(f"{include}/Python.h is missing: it is needed to compile (never to run) the library; "
                         "on Debian or Ubuntu: apt install python3-dev.")
    flags = ["-isystem", str(include)]
    # Debian's pyconfig.h includes <MACHINE/python3.x/pyconfig.h>, and has that file for the host only.
    host = include.parent / str(sysconfig.get_config_var("MULTIARCH")) / include.name / "pyconfig.h"
    if tools.machine != platform.machine() and host.exists():
        forward = tools.folder / "python" / tools.target / include.name / "pyconfig.h"
        forward.parent.mkdir(parents=True, exist_ok=True)
        forward.write_text(f'#include "{host}"\n')
        flags += ["-isystem", relative(tools.folder / "python")]
    return flags


def engine_steps(tools: Toolchain) -> list[Step]:
    """Objects of the engine, the .pyx files in the rooms of bitnet_ffi/_core."""
    flags = [*CYTHON_FLAGS, *python_flags(tools)]
    sources = run_all(cython_steps((ROOT / "bitnet_ffi" / "_core").rglob("*.pyx")))
    return [tools.object(source, flags) for source in sources]


def library_objects(tools: Toolchain) -> list[Path]:
    return run_all(c_steps(tools) + engine_steps(tools))


# ---- the public header, as the preprocessor sees it ----

def preprocessed_header(tools: Toolchain) -> str:
    """The header's own lines (not those of the system headers it includes) after preprocessing; #defines are kept."""
    command = [*tools.cc, "-E", "-dD", "-std=c11", relative(HEADER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"include/bitnet_ffi.h does not preprocess.\n{done.stderr}")
    lines, ours = [], False
    for line in done.stdout.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = marker[1] == relative(HEADER)
        elif ours:
            lines.append(line)
    return "\n".join(lines)


EXPORT_MARK = '__attribute__((visibility("default")))'


def exported_functions(tools: Toolchain) -> list[str]:
    """Names of all functions that the header marks LLAMA_API or BITNET_API."""
    text = re.sub(r"^#.*$", "", preprocessed_header(tools), flags=re.M)
    return sorted(re.findall(re.escape(EXPORT_MARK) + r"[^;(]*?\b(\w+)\s*\(", text))


def version_string() -> str:
    return re.search(r'#define BITNET_FFI_VERSION_STRING "([^"]+)"', HEADER.read_text())[1]


# ---- the library ----

def defined_symbols(library: Path) -> set[str]:
    text = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", str(library)], check=True,
                          capture_output=True, text=True).stdout
    return {line.split()[0] for line in text.splitlines()}


def build_library(tools: Toolchain) -> Path:
    """libbitnet_ffi.so.0 in the target's folder under build/. The link fails when a function can still reach Python."""
    objects = library_objects(tools)
    exports = exported_functions(tools)
    script = tools.folder / "exports.map"
    text = "{\nglobal:\n" + "".join(f"    {name};\n" for name in exports) + "local:\n    *;\n};\n"
    if not script.exists() or script.read_text() != text:
        script.write_text(text)
    output = tools.folder / SONAME
    command = [*tools.cc, *tools.link_flags, "-shared", "-o", "@OUT@", *map(relative, objects),
               f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={relative(script)}", "-Wl,--gc-sections",
               "-Wl,-z,defs", "-Wl,-z,relro,-z,now", "-Wl,-Bsymbolic-functions", "-Wl,--as-needed", "-lm", "-lpthread", "-ldl"]
    run_all([Step(output, command, [*objects, script])])
    missing = sorted(set(exports) - defined_symbols(output))
    if missing:
        output.unlink()
        raise BuildError(f"include/bitnet_ffi.h declares {len(missing)} functions that no source defines: "
                         f"{', '.join(missing)}.")
    return output


def build_extension(tools: Toolchain, source: Path, library: Path) -> Path:
    """A Python extension module of the limited API (any CPython from 3.11 on) that finds the library in ./lib."""
    flags = [*CYTHON_FLAGS, "-DPy_LIMITED_API=0x030B0000", *python_flags(tools)]
    objects = run_all([tools.object(c, flags) for c in run_all(cython_steps([source]))])
    output = tools.folder / f"{source.stem}.abi3.so"
    command = [*tools.cc, *tools.link_flags, "-shared", "-o", "@OUT@", *map(relative, objects), relative(library),
               "-Wl,-rpath,$ORIGIN/lib"]
    run_all([Step(output, command, [*objects, library])])
    return output


# ---- programs for tests: linked with the objects themselves, so that they reach hidden functions too ----

def main_object(tools: Toolchain, source: Path, flags: list[str]) -> Path:
    """A main function that many programs share; not optimized, since it runs once."""
    return run_all([tools.object(source, [*CXX_FLAGS, "-O0", *flags], tools.cxx)])[0]


def build_programs(tools: Toolchain, sources: list[Path], flags: list[str],
                   objects: list[Path]) -> dict[Path, Path | BuildError]:
    """One C++ program for each source, linked with `objects`; or why there is none."""
    compiles = [tools.object(source, [*CXX_FLAGS, *flags], tools.cxx) for source in sources]
    failures = run_steps(compiles)
    links = []
    for compiled in compiles:
        inputs = [compiled.output, *objects]
        # --gc-sections again takes out what only Cython's frame needs; without it Python would be undefined here.
        command = [*tools.cxx, *tools.link_flags, "-o", "@OUT@", *map(relative, inputs), "-Wl,--gc-sections", "-lm",
                   "-lpthread"]
        links.append(Step(compiled.output.with_suffix("").with_suffix(""), command, inputs))
    failures |= run_steps([link for link, compiled in zip(links, compiles) if compiled.output not in failures])
    return {source: failures.get(compiled.output) or failures.get(link.output) or link.output
            for source, compiled, link in zip(sources, compiles, links)}
