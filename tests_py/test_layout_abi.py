"""The header is llama.h of 2026 to a compiler (sizes, offsets, values, signatures) and compiles in every dialect.

The tables in data/ were taken from llama.h of August 2026 and ggml.h of October (MIT). Every row becomes one assertion at compile
time, so a program built against llama.h and this library agree about every byte.
"""

import csv
import subprocess
from pathlib import Path

import pytest

import bnf_build

DATA = Path(__file__).parent / "data"
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-Iinclude"]


@pytest.fixture(scope="module")
def tools():
    return bnf_build.Toolchain()


def rows(name):
    with open(DATA / f"llama_h_2026_{name}.tsv", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def compile_text(compiler, text, *flags):
    """Check a program that includes the header and stddef.h; the compiler's words are the message of a failure."""
    language = "c++" if any("c++" in flag for flag in flags) else "c"
    done = subprocess.run([*compiler, "-x", language, *flags, *STRICT, "-fsyntax-only", "-"], cwd=bnf_build.ROOT,
                          input=f'#include "bitnet_ffi.h"\n#include <stddef.h>\n{text}\n',
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def holds(condition, sentence):
    return f'_Static_assert({condition}, "{sentence}");'


def assert_offset(row):
    # llama.h has typedefs for some structs and tags for all.
    name, field = f"struct {row['struct']}", row["field"]
    if field == "(whole)":
        return (holds(f"sizeof({name}) == {row['size']}", f"size of {name} is {row['size']}")
                + holds(f"_Alignof({name}) == {row['align']}", f"alignment of {name} is {row['align']}"))
    return (holds(f"offsetof({name}, {field}) == {row['offset']}", f"{name}: offset of {field} is {row['offset']}")
            + holds(f"sizeof((({name} *)0)->{field}) == {row['size']}", f"{name}: size of {field} is {row['size']}"))


def test_structs_have_the_layout_of_llama_h(tools):
    compile_text(tools.cc, "\n".join(map(assert_offset, rows("structs"))), "-std=c11")


def test_enums_have_the_values_of_llama_h(tools):
    asserts = [holds(f"{row['constant']} == {row['value']}", f"{row['constant']} is {row['value']}")
               for row in rows("enums")]
    types = {row["enum"] for row in rows("enums")}
    asserts += [holds(f"sizeof(enum {name}) == 4", f"enum {name} is an int") for name in sorted(types)]
    compile_text(tools.cc, "\n".join(asserts), "-std=c11")


def test_functions_have_the_signatures_of_llama_h(tools):
    # A second declaration of a function must agree with the first. #undef: the header may wrap a name in a macro.
    declared = set(bnf_build.exported_functions(tools))
    text = [f"#undef {row['name']}\n{row['signature']};" for row in rows("functions") if row["name"] in declared]
    assert len(text) > 100
    compile_text(tools.cc, "\n".join(text), "-std=c11")


def test_every_function_that_clients_need_is_declared(tools):
    needed = {row["name"] for row in rows("functions") if row["priority"] == "P0"}
    assert needed - set(bnf_build.exported_functions(tools)) == set()


@pytest.mark.parametrize("standard", ["c11", "c17", "c++11", "c++17", "c++20"])
def test_header_compiles_without_a_warning(tools, standard):
    compiler = tools.cxx if "++" in standard else tools.cc
    compile_text(compiler, "int unused_translation_unit;", f"-std={standard}")

