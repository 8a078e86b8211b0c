"""node-llama-cpp, as npm brings it compiled, with this library in the place of its libllama (docs/CLIENTS.md).

Its addon is not built again: the file libllama.v0.5.0.so is replaced by client_node.cpp, linked with ours. .ci/clients fetches the package.
Skipped where it, node or a C++ compiler is absent. Next: client_node.mjs, the program that uses it.
"""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_ffi import config
from client_tools import fetched

HERE = Path(__file__).parent
PROMPT = "The capital of France is"
N = 24


@pytest.fixture(scope="module")
def found(smollm2_path, tmp_path_factory):
    """What client_node.mjs says."""
    packages = fetched("node_modules", "@node-llama-cpp", "linux-x64").parents[1]
    if shutil.which("node") is None or shutil.which("g++") is None:
        pytest.skip("needs node and g++")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(packages, folder / "node_modules", symlinks=True)
    libllama = folder / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libllama.v0.5.0.so"
    libllama.unlink()
    # Linked with ours, and not ours itself: the addon's own libggml*.so then come first for the names of ggml that both have.
    command = ["g++", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", HERE / "client_node.cpp", f"-Wl,-soname,{libllama.name}",
               "-Wl,--no-as-needed", *config.libs(), "-o", libllama]
    subprocess.run(list(map(str, command)), check=True)
    shutil.copy(HERE / "client_node.mjs", folder)
    command = ["node", "client_node.mjs", str(smollm2_path), PROMPT, str(N)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def bitnet_run(path, prompt, *flags) -> str:
    command = [sys.executable, "-m", "bitnet_ffi", "run", "-m", str(path), "-p", prompt, "--greedy", "-n", str(N), "-q", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.removesuffix("\n")


def test_greedy_text_is_that_of_bitnet_run(found, smollm2_path):
    assert found["text"].rstrip() == bitnet_run(smollm2_path, PROMPT).rstrip() != ""


def test_streaming_and_a_second_time(found):
    assert found["text"] == found["streamed"] == found["again"]


def test_a_seed_gives_the_same_text(found):
    first, again, other = found["seeds"]
    assert first == again != other


def test_grammar(found):
    assert found["allowed"] in (" yes!", " no!")


def test_chat_is_that_of_bitnet_run(found, smollm2_path):
    assert found["answer"].strip() == bitnet_run(smollm2_path, "Name a colour.", "--system-prompt", "You are terse.").strip() != ""


def test_model_and_tokenizer(found, smollm2):
    assert found["tokens"] == list(smollm2.encode("Hello, world!", add_special=False, parse_special=False))
    assert found["detokenized"] == "Hello, world!"
    assert (found["trainContextSize"], found["embeddingVectorSize"]) == (8192, 576)
