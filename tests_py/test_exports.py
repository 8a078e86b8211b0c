"""The library exports what the header declares, and needs nothing but libc."""

import re
import subprocess
from pathlib import Path

import pytest

import bnf_build
from bitnet_ffi import config

LIBRARY = config.lib_dir() / bnf_build.SONAME


def lines(*command):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout.splitlines()


def dynamic(tag):
    return re.findall(rf"\({tag}\).*\[(.+)\]", "\n".join(lines("readelf", "--wide", "-d", LIBRARY)))


@pytest.fixture(scope="module")
def declared():
    """Names after LLAMA_API or BITNET_API in the header's text: read without the preprocessor that the build uses."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*|^#.*?(?<!\\)$", "", bnf_build.HEADER.read_text(), flags=re.S | re.M)
    names = re.findall(r"\b(?:LLAMA|BITNET)_API\b[^;(]*?\b(\w+)\s*\(", text)
    assert len(names) == len(set(names)) and len(names) > 100
    return set(names)


def test_exports_equal_the_header(declared):
    exported = {line.split()[-1] for line in lines("nm", "-D", "--defined-only", LIBRARY)}
    assert exported == declared


def test_version_script_equals_the_header(declared):
    script = (bnf_build.Toolchain().folder / "exports.map").read_text()
    assert set(re.findall(r"^ +(\w+);$", script, flags=re.M)) == declared


def test_no_python_symbol_is_wanted():
    wanted = [line.split()[-1] for line in lines("nm", "-D", "--undefined-only", LIBRARY)]
    assert [name for name in wanted if name.startswith(("Py", "_Py"))] == []


def test_needs_only_libc():
    allowed = re.compile(r"lib(c|m)\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux-.*")
    assert [name for name in dynamic("NEEDED") if not allowed.fullmatch(name)] == []


def test_soname_carries_the_abi_number():
    assert dynamic("SONAME") == ["libbitnet_ffi.so.0"]


@pytest.mark.parametrize("name", ["libbitnet_ffi.so", "libllama.so", "libllama.so.0"])
def test_every_name_is_the_same_library(name):
    assert Path(config.lib_dir(), name).read_bytes() == LIBRARY.read_bytes()


HEADERS = ["bitnet_ffi.h", "bitnet_ffi_eras.h", "bitnet_ffi_older.h"]


def test_installed_headers_are_the_source_headers():
    for folder in (bnf_build.HEADER.parent, config.include_dir()):
        assert sorted(path.name for path in folder.iterdir()) == HEADERS
    for name in HEADERS:
        assert (config.include_dir() / name).read_bytes() == bnf_build.HEADER.with_name(name).read_bytes()


@pytest.mark.parametrize("name", HEADERS[1:])
def test_headers_of_older_calls_export_nothing(name):
    """They only give older forms to what bitnet_ffi.h declares."""
    assert not re.search(r"\b(LLAMA|BITNET)_API\b", bnf_build.HEADER.with_name(name).read_text())


@pytest.mark.parametrize("other", [False, True])
def test_it_comes_and_goes_beside_another_of_its_names(tmp_path, tiny_path, declared, other):
    """-Bsymbolic-functions: a library that exports every name, and was there first, is never called."""
    program = tmp_path / "load_again"
    subprocess.run(["cc", Path(__file__).with_name("load_again.c"), *config.cflags(), "-o", program, "-ldl"], check=True)
    command = [program, LIBRARY.resolve(), tiny_path]
    if other:
        text = "#include <stdlib.h>\n" + "".join(f"void {name}(void) {{ abort(); }}\n" for name in sorted(declared))
        command.append(tmp_path / "other.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", command[-1]], input=text, text=True, check=True)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_declared_function_without_a_definition_stops_the_build(tmp_path, monkeypatch):
    header = tmp_path / "bitnet_ffi.h"
    header.write_text("#define BITNET_API __attribute__((visibility(\"default\")))\n"
                      "BITNET_API int present(void);\n"
                      "BITNET_API int absent_one(void);\nBITNET_API int absent_two(void);\n")
    source = tmp_path / "present.c"
    source.write_text("__attribute__((visibility(\"default\"))) int present(void) { return 1; }\n")
    tools = bnf_build.Toolchain()
    tools.folder = tmp_path
    lines(*tools.cc, "-fPIC", "-c", source, "-o", tmp_path / "present.o")
    monkeypatch.setattr(bnf_build, "HEADER", header)
    monkeypatch.setattr(bnf_build, "library_objects", lambda tools: [tmp_path / "present.o"])
    with pytest.raises(bnf_build.BuildError, match=r"declares 2 functions .*: absent_one, absent_two\."):
        bnf_build.build_library(tools)
