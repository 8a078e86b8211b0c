"""Every example is compiled and run; on a real model they and `bitnet run` print the same greedy text."""
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_ffi import config

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TINY = ROOT / "tests_py" / "data" / "tiny-b158-i2_s.gguf"
GREEDY = json.loads((ROOT / "tests_py" / "data" / "smollm2_greedy.json").read_text())
N = 30


def compile_program(source: Path, target: Path) -> Path:
    compiler = os.environ.get("CXX", "g++") if source.suffix == ".cpp" else os.environ.get("CC", "gcc")
    standard = "-std=c++17" if source.suffix == ".cpp" else "-std=c11"
    subprocess.run([*shlex.split(compiler), standard, "-Wall", "-Wextra", "-Werror", str(source), *config.cflags(), *config.libs(), "-o", str(target)],
                   check=True)
    return target


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Name to command that completes MODEL PROMPT N in the same way."""
    folder = tmp_path_factory.mktemp("examples")
    python = [sys.executable]
    return {
        "simple.c": [str(compile_program(EXAMPLES / "simple.c", folder / "simple_c"))],
        "simple.cpp": [str(compile_program(EXAMPLES / "simple.cpp", folder / "simple_cpp"))],
        "chat_ctypes.py": python + [str(EXAMPLES / "chat_ctypes.py"), "--raw"],
        "stream.py": python + [str(EXAMPLES / "stream.py")],
    }


def complete(command, model, prompt, n=N):
    if "--raw" in command:
        command = [*command[:-1], str(model), "--raw", prompt, str(n)]
    else:
        command = [*command, str(model), prompt, str(n)]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="replace")


def bitnet_run(model, prompt, n=N, *options):
    return subprocess.run([sys.executable, "-m", "bitnet_ffi", "run", "-m", str(model), "-p", prompt, "--greedy", "-n", str(n), "--quiet", *options],
                          capture_output=True, text=True, check=True).stdout


NAMES = ["simple.c", "simple.cpp", "chat_ctypes.py", "stream.py"]


@pytest.mark.parametrize("name", NAMES)
def test_example_completes_a_prompt(programs, name):
    assert complete(programs[name], TINY, "the sea and") == complete(programs["simple.c"], TINY, "the sea and") != "\n"


@pytest.mark.parametrize("name", NAMES)
def test_example_says_in_one_line_what_is_wrong(programs, name):
    command = programs[name]
    rest = ["--raw", "x"] if "--raw" in command else ["x"]
    command = [part for part in command if part != "--raw"]
    done = subprocess.run([*command, "/nowhere/model.gguf", *rest], capture_output=True, text=True)
    assert done.returncode == 1
    assert "/nowhere/model.gguf" in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert subprocess.run(command, capture_output=True).returncode == 2


@pytest.mark.parametrize("case", GREEDY, ids=[case["prompt"][:16].strip() for case in GREEDY])
def test_smollm2_greedy_text_is_the_same_from_every_language(programs, smollm2_path, case):
    texts = {name: complete(command, smollm2_path, case["prompt"]) for name, command in programs.items()}
    texts["bitnet run"] = bitnet_run(smollm2_path, case["prompt"])
    assert len({text.rstrip("\n") for text in texts.values()}) == 1, texts
    assert len(texts["simple.c"]) > 5


def test_chat_answers_over_the_models_template(programs, smollm2_path):
    command = [part for part in programs["chat_ctypes.py"] if part != "--raw"]
    done = subprocess.run([*command, str(smollm2_path)], input="What is 2+2? Answer briefly.\n", capture_output=True, text=True, check=True)
    assert "4" in done.stdout
