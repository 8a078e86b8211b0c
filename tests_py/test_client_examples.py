"""llama.cpp's own example programs of 2023, 2024 and 2026, compiled as they are against bitnet_ffi.h (docs/CLIENTS.md).

Their #include "llama.h" finds a file of one line, which includes ours. .ci/clients fetches them. Next: test_eras.py, whose programs of each
year are our own.
"""
import subprocess
import sys
import tarfile

import pytest

from bitnet_ffi import config
from client_tools import fetched

PROMPT = "The capital of France is"
# version of the sources: their month, what says their year, and what the programs are linked with
YEARS = {
    "0.2.18": ("November 2023", ["-DBITNET_FFI_API=2023"], ["common", "sampling", "grammar-parser", "console", "build-info"]),
    "0.2.42": ("February 2024", ["-DBITNET_FFI_API=2023"], ["common", "sampling", "grammar-parser", "console", "build-info"]),
    "0.3.2": ("November 2024", ["-DBITNET_FFI_API=2024"], []),
    "0.3.36": ("October 2026", [], []),
}
# simple-chat takes its seed from the operating system: here from the header.
SEED = "#undef LLAMA_DEFAULT_SEED\n#define LLAMA_DEFAULT_SEED 1\n"
WANTED = ("common/", "examples/simple", "examples/main/", "examples/batched/", "examples/save-load-state/")
# Functions of ggml.h, not of llama.h, that `common` calls for a line about the machine.
CPU = ["arm_fma", "avx", "avx2", "avx512", "avx512_vbmi", "avx512_vnni", "avx_vnni", "blas", "clblast", "cublas", "cuda", "f16c", "fma",
       "fp16_va", "gpublas", "kompute", "matmul_int8", "metal", "neon", "sse3", "ssse3", "sycl", "vsx", "vulkan", "wasm_simd"]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Builds a program of a version, once."""
    folders, objects = {}, {}

    def compile(folder, source, flags):
        out = folder / (source.name + ".o")
        if out not in objects:
            command = ["g++", "-std=c++17", "-O0", "-w", *flags, "-I", folder, "-I", folder / "common", *config.cflags(), "-c", source,
                       "-o", out]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            objects[out] = out
        return out

    def program(version, name):
        month, flags, parts = YEARS[version]
        archive = fetched(f"llama_cpp_python-{version}.tar.gz")
        if version not in folders:
            folder = folders[version] = tmp_path_factory.mktemp("examples")
            inside = f"llama_cpp_python-{version}/vendor/llama.cpp/"
            with tarfile.open(archive) as tar:
                for member in tar:
                    name_inside = member.name.removeprefix(inside)
                    if member.isfile() and name_inside.startswith(WANTED):
                        member.name = name_inside
                        tar.extract(member, folder, filter="data")
            stubs = "".join(f"static inline int ggml_cpu_has_{what}(void) {{ return 0; }}\n" for what in CPU)
            (folder / "llama.h").write_text("#pragma once\n#include <bitnet_ffi.h>\n" + (stubs if parts else SEED))
        folder = folders[version]
        sources = [folder / "common" / f"{part}.cpp" for part in parts] + [folder / "examples" / name / f"{name}.cpp"]
        out = folder / f"run-{name}"
        command = ["g++", "-pthread", *[compile(folder, source, flags) for source in sources], *config.libs(), "-o", out]
        subprocess.run(list(map(str, command)), check=True)
        return out

    return program


def run(*command, text="") -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def said(smollm2_path):
    """What `bitnet run` says, 24 tokens of it."""
    done = run(sys.executable, "-m", "bitnet_ffi", "run", "-m", smollm2_path, "-p", PROMPT, "--greedy", "-n", 24, "-q")
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("version", ["0.2.18", "0.2.42"])
def test_simple_of_old(build, version, smollm2_path, said, monkeypatch, tmp_path):
    """To 32 tokens, the prompt's 5 among them."""
    program = build(version, "simple")
    monkeypatch.chdir(tmp_path)                 # it writes a log
    done = run(program, smollm2_path, PROMPT)
    assert PROMPT + said in done.stderr + done.stdout


@pytest.mark.parametrize("version", ["0.2.18", "0.2.42"])
def test_main(build, version, smollm2_path, said, monkeypatch, tmp_path):
    program = build(version, "main")
    monkeypatch.chdir(tmp_path)                 # it writes a log
    done = run(program, "-m", smollm2_path, "-p", PROMPT, "-n", 24, "--temp", 0, "--repeat-penalty", 1, "-t", 2, "-c", 256)
    assert done.stdout.strip() == (PROMPT + said).strip()


@pytest.mark.parametrize("version", ["0.2.18", "0.2.42"])
def test_main_keeps_to_a_grammar(build, version, smollm2_path, monkeypatch, tmp_path):
    program = build(version, "main")
    monkeypatch.chdir(tmp_path)
    grammar = 'root ::= " " ("yes" | "no") "!"'
    done = run(program, "-m", smollm2_path, "-p", "Is water wet?", "-n", 8, "-t", 2, "-c", 256, "--grammar", grammar)
    assert done.stdout.strip() in ("Is water wet? yes!", "Is water wet? no!")


@pytest.mark.parametrize("version", ["0.2.18", "0.2.42"])
def test_batched(build, version, smollm2_path, monkeypatch, tmp_path):
    """Three sequences go on from one prompt."""
    program = build(version, "batched")
    monkeypatch.chdir(tmp_path)
    done = run(program, smollm2_path, PROMPT, 3, 16)
    text = done.stdout + done.stderr
    assert all(f"sequence {i}:" in text for i in range(3)) and text.count(PROMPT) == 4 and "decoded 33 tokens" in text


@pytest.mark.parametrize("version", ["0.2.18", "0.2.42"])
@pytest.mark.parametrize("seed", [[], ["-s", 7]])
def test_save_load_state(build, version, seed, smollm2_path, monkeypatch, tmp_path):
    """It ends with 1 when a text drawn from the state is not the text drawn before: also where nobody has chosen a seed."""
    program = build(version, "save-load-state")
    monkeypatch.chdir(tmp_path)                 # it writes the state
    done = run(program, "-m", smollm2_path, "-p", PROMPT, "-n", 24, "-c", 256, "-t", 2, *seed)
    first, second = done.stdout.split("first run: ")[1].split("\n\n\nsecond run: ")
    assert first.startswith(PROMPT) and len(first) > len(PROMPT) and second == first + "\n"


@pytest.mark.parametrize("version", ["0.3.2", "0.3.36"])
def test_simple(build, version, smollm2_path, said):
    done = run(build(version, "simple"), "-m", smollm2_path, "-n", 24, PROMPT)
    assert done.stdout.strip() == (PROMPT + said).strip()


@pytest.mark.parametrize("version", ["0.3.2", "0.3.36"])
def test_simple_chat(build, version, smollm2_path):
    """An empty line ends the program; so does a full context, with 0, too."""
    done = run(build(version, "simple-chat"), "-m", smollm2_path, "-c", 192, text="Say hello.\n\n")
    prompt, answer = done.stdout.split("\x1b[33m", 1)
    assert prompt.endswith("> \x1b[0m") and any(c.isalpha() for c in answer.split("\x1b")[0])
    assert run(build(version, "simple-chat"), "-m", smollm2_path, "-c", 192, text="Say hello.\n\n").stdout == done.stdout
