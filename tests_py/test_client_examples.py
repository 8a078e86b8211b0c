"""llama.cpp's own example programs of 2023, 2024 and 2026, compiled as they are against bitnet_ffi.h (docs/CLIENTS.md).

Their #include "llama.h" finds a file of one line, which includes ours. .ci/clients fetches them. Next: test_eras.py, whose programs of each
year are our own.
"""
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client_tools import GGML_CPU_STUBS, Sources

HERE = Path(__file__).parent
PROMPT = "The capital of France is"
# version of the sources: their month, what says their year, and what the programs are linked with
YEARS = {
    "0.2.18": ("November 2023", ["-DBITNET_FFI_API=2023"], ["common", "sampling", "grammar-parser", "console", "build-info"]),
    "0.2.42": ("February 2024", ["-DBITNET_FFI_API=2023"], ["common", "sampling", "grammar-parser", "console", "build-info"]),
    "0.2.42/2024": ("the same", ["-DBITNET_FFI_API=2024"], ["common", "sampling", "grammar-parser", "console", "build-info"]),
    "0.3.2": ("November 2024", ["-DBITNET_FFI_API=2024"], []),
    "0.3.36": ("October 2026", [], []),
}
# simple-chat takes its seed from the operating system: here from the header.
SEED = "#undef LLAMA_DEFAULT_SEED\n#define LLAMA_DEFAULT_SEED 1\n"
WANTED = ("common/", "examples/")
OLD = ["0.2.18", "0.2.42", "0.2.42/2024"]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """build(year, name): a program of a year; what it shares with others is compiled once."""
    years = {}

    def program(year, name):
        month, flags, parts = YEARS[year]
        if year not in years:
            years[year] = Sources(year.split("/")[0], tmp_path_factory.mktemp("examples"), WANTED, flags, GGML_CPU_STUBS if parts else SEED,
                                  ["ggml.h"])
        return years[year].program(*[f"common/{part}.cpp" for part in parts], f"examples/{name}/{name}.cpp")

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


@pytest.mark.parametrize("version", OLD)
def test_simple_of_old(build, version, smollm2_path, said, monkeypatch, tmp_path):
    """To 32 tokens, the prompt's 5 among them."""
    program = build(version, "simple")
    monkeypatch.chdir(tmp_path)                 # it writes a log
    done = run(program, smollm2_path, PROMPT)
    assert PROMPT + said in done.stderr + done.stdout


@pytest.mark.parametrize("version", OLD)
def test_main(build, version, smollm2_path, said, monkeypatch, tmp_path):
    program = build(version, "main")
    monkeypatch.chdir(tmp_path)                 # it writes a log
    done = run(program, "-m", smollm2_path, "-p", PROMPT, "-n", 24, "--temp", 0, "--repeat-penalty", 1, "-t", 2, "-c", 256)
    assert done.stdout.strip() == (PROMPT + said).strip()


@pytest.mark.parametrize("version", OLD)
def test_main_keeps_to_a_grammar(build, version, smollm2_path, monkeypatch, tmp_path):
    program = build(version, "main")
    monkeypatch.chdir(tmp_path)
    grammar = 'root ::= " " ("yes" | "no") "!"'
    done = run(program, "-m", smollm2_path, "-p", "Is water wet?", "-n", 8, "-t", 2, "-c", 256, "--grammar", grammar)
    assert done.stdout.strip() in ("Is water wet? yes!", "Is water wet? no!")


@pytest.mark.parametrize("version", OLD)
def test_batched(build, version, smollm2_path, monkeypatch, tmp_path):
    """Three sequences go on from one prompt."""
    program = build(version, "batched")
    monkeypatch.chdir(tmp_path)
    done = run(program, smollm2_path, PROMPT, 3, 16)
    text = done.stdout + done.stderr
    assert all(f"sequence {i}:" in text for i in range(3)) and text.count(PROMPT) == 4 and "decoded 33 tokens" in text


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("seed", [[], ["-s", 7]])
def test_save_load_state(build, version, seed, smollm2_path, monkeypatch, tmp_path):
    """It ends with 1 when a text drawn from the state is not the text drawn before: also where nobody has chosen a seed."""
    program = build(version, "save-load-state")
    monkeypatch.chdir(tmp_path)                 # it writes the state
    done = run(program, "-m", smollm2_path, "-p", PROMPT, "-n", 24, "-c", 256, "-t", 2, *seed)
    first, second = done.stdout.split("first run: ")[1].split("\n\n\nsecond run: ")
    assert first.startswith(PROMPT) and len(first) > len(PROMPT) and second == first + "\n"


# What each says, on stdout or stderr, of a prompt, or of arguments of its own; lookahead, lookup and speculative decode several tokens at
# once, and their text is that of one at a time.
OTHERS = {
    "embedding": (["-m", "MODEL", "-p", PROMPT, "-c", 64, "-b", 64], "embedding 0:"),
    "lookahead": (["-m", "MODEL", "-p", PROMPT, "-n", 24, "-c", 512, "-t", 2, "--temp", 0, "--repeat-penalty", 1], "SAID"),
    "lookup": (["-m", "MODEL", "-p", PROMPT, "-n", 24, "--draft", 4, "-c", 256, "-t", 2, "--temp", 0, "--repeat-penalty", 1], "SAID"),
    "parallel": (["-m", "MODEL", "-np", 2, "-ns", 2, "-n", 8, "-c", 1024, "-t", 2], "Cache misses:             0"),
    "passkey": (["MODEL", 10], "decoded 16 tokens"),
    "perplexity": (["-m", "MODEL", "-f", HERE.parent / "docs" / "CLIENTS.md", "-c", 128, "--chunks", 2, "-t", 2], "Final estimate: PPL = "),
    "speculative": (["-m", "MODEL", "-md", "MODEL", "-p", PROMPT, "-n", 24, "--draft", 4, "-c", 256, "-t", 2, "--temp", 0,
                     "--repeat-penalty", 1], "SAID"),
    "tokenize": (["MODEL", "Hello world"], "19556 -> 'Hello'\n   905 -> ' world'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_of_february_2024(build, name, smollm2_path, said, monkeypatch, tmp_path):
    arguments, expected = OTHERS[name]
    program = build("0.2.42/2024", name)
    monkeypatch.chdir(tmp_path)
    done = run(program, *[smollm2_path if argument == "MODEL" else argument for argument in arguments])
    written = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout) + done.stderr      # colours tell what was guessed right
    assert (said[:-1] if expected == "SAID" else expected) in written


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
