"""Programs of 2023, 2024 and 2026: compiled in every dialect by gcc and clang, run, and saying what examples/simple.c says.

examples/era_*.c are whole programs in the style of their years; era_calls.c has every call whose arguments have changed since, in each of
its shapes. Next: include/bitnet_ffi_older.h and bitnet_ffi_eras.h, which make them compile; test_older_calls.py for what the calls do.
"""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bitnet_ffi import config
from gguf_writer import tiny_model

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
STANDARDS = ["c11", "c17", "c++11", "c++14", "c++17", "c++20"]
COMPILERS = {"gcc": ("gcc", "g++"), "clang": ("clang", "clang++")}
DIALECTS = [(name, standard) for name in COMPILERS for standard in STANDARDS]
N = 12


@pytest.fixture(scope="module", params=DIALECTS, ids=lambda dialect: "-".join(dialect))
def build(request, tmp_path_factory):
    """Builds a source of C in one dialect for an era ("": none is said)."""
    name, standard = request.param
    is_cxx = "++" in standard
    compiler = COMPILERS[name][is_cxx]
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    folder = tmp_path_factory.mktemp("eras")

    def program(source, era):
        out = folder / f"{source.stem}_{era}"
        command = [compiler, "-x", "c++" if is_cxx else "c", f"-std={standard}", *STRICT, *([f"-DBITNET_FFI_API={era}"] if era else []),
                   source, "-x", "none", *config.cflags(), *config.libs(), "-o", out]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return out

    return program


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Mostly tokens of letters, so that a random model says something."""
    return tiny_model(weights="q8_0", n_vocab=4000, n_ctx=256).write(tmp_path_factory.mktemp("eras") / "letters.gguf")


@pytest.fixture(scope="module")
def said(path, tmp_path_factory):
    """What today's shortest program says."""
    simple = tmp_path_factory.mktemp("simple") / "simple"
    run("cc", EXAMPLES / "simple.c", *config.cflags(), *config.libs(), "-o", simple)
    text = run(simple, path, "hello world", N)
    assert len(text) > N
    return text


@pytest.mark.parametrize("source, era", [("era_2023", 2023), ("era_2024", 2024), ("era_2026", 2026), ("era_2026", "")])
def test_program_of_an_era_says_the_same(build, said, path, source, era):
    assert run(build(EXAMPLES / f"{source}.c", era), path, "hello world", N) == said


@pytest.mark.parametrize("era", ["", 2023, 2024])
def test_every_shape_of_a_call_does_what_todays_does(build, path, era):
    assert run(build(HERE / "era_calls.c", era), path) == b""


# What careful programs ask for beside -Wall -Wextra -pedantic, and llama.h, which has no code in it, fulfils.
CAREFUL = ["-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Wcast-qual", "-Wredundant-decls", "-Wdouble-promotion"]
CAREFUL_C = ["-Wstrict-prototypes", "-Wmissing-prototypes", "-Wold-style-definition"]
CAREFUL_CXX = ["-Wold-style-cast", "-Wzero-as-null-pointer-constant"]


@pytest.mark.parametrize("era", ["", 2023, 2024, 2026])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++", "clang++"])
def test_the_headers_are_clean_for_careful_programs(compiler, era):
    """Included twice, the first time inside an extern "C" of the program's own, and used in no other way."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    is_cxx = "++" in compiler
    text = '#ifdef __cplusplus\nextern "C" {\n#endif\n#include "bitnet_ffi.h"\n#ifdef __cplusplus\n}\n#endif\n#include "bitnet_ffi.h"\n'
    command = [compiler, "-x", "c++" if is_cxx else "c", "-std=c++11" if is_cxx else "-std=c11", *STRICT, *CAREFUL,
               *(CAREFUL_CXX if is_cxx else CAREFUL_C), *([f"-DBITNET_FFI_API={era}"] if era else []), *config.cflags(), "-fsyntax-only", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_units_of_several_eras_in_one_program(tmp_path, path):
    """Each with its own structs under one name: nothing of an era has a symbol that another one could take."""
    text = """#include "bitnet_ffi.h"
              int NAME(const char *path) {
                  struct llama_model *model = llama_load_model_from_file(path, llama_model_default_params());
                  struct llama_context_params params = llama_context_default_params();
                  struct llama_context *ctx;
                  llama_token token = 5;
                  int ok;
                  params.n_ctx = 32;
                  ctx = llama_new_context_with_model(model, params);
                  ok = ctx && llama_decode(ctx, llama_batch_get_one(&token, 1 POSITION)) == 0 && llama_get_logits_ith(ctx, -1);
                  llama_free(ctx);
                  llama_free_model(model);
                  return ok; }"""
    for compiler in ("cc", "c++"):
        parts = []
        for era in (2023, 2024, 2026):
            parts.append(tmp_path / f"{era}.o")
            source = text.replace("NAME", f"of_{era}").replace("POSITION", ", 0, 0" if era < 2026 else "")
            subprocess.run([compiler, "-x", "c++" if compiler == "c++" else "c", "-O0", f"-DBITNET_FFI_API={era}", "-c", "-", "-o", parts[-1],
                            *config.cflags()], input=source, text=True, check=True)
        main = "".join(f"int of_{era}(const char *path);" for era in (2023, 2024, 2026))
        main += "int main(int n, char **argv) { return n == 2 && of_2023(argv[1]) && of_2024(argv[1]) && of_2026(argv[1]) ? 0 : 1; }"
        subprocess.run([compiler, "-x", "c++" if compiler == "c++" else "c", "-", "-x", "none", *parts, *config.libs(), "-o", tmp_path / "all"],
                       input=main, text=True, check=True)
        run(tmp_path / "all", path)


@pytest.mark.parametrize("era", ["", 2024])
def test_a_program_that_watches_sees_every_product(build, path, era):
    lines = [line.split() for line in run(build(HERE / "era_observe.c", era), path).decode().splitlines()]
    parts = ("attn_q", "attn_v", "attn_k", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert [line[0] for line in lines] == [f"blk.{i}.{part}.weight" for i in range(2) for part in parts] + ["token_embd.weight"]
    assert all(line[1:3] == ["256", "5"] and float(line[3]) > 0 for line in lines)


def test_unknown_era_is_refused():
    done = subprocess.run(["cc", "-DBITNET_FFI_API=2022", "-fsyntax-only", "-x", "c", "-", *config.cflags()],
                          input='#include "bitnet_ffi.h"\n', capture_output=True, text=True)
    assert done.returncode != 0 and "expected 2023, 2024 or 2026" in done.stderr


def test_2026_has_no_macro_of_an_older_call():
    done = subprocess.run(["cc", "-DBITNET_FFI_API=2026", "-E", "-dM", "-x", "c", "-", *config.cflags()], input='#include "bitnet_ffi.h"\n',
                          capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if re.match(r"#define llama_\w+\(", line)] == []
