"""llama-cpp-py-sync (PyPI, 0.11739, October 2026), a binding by cffi, with this library in the place of its own (docs/CLIENTS.md).

The wheel is unpacked and its libllama.so replaced: by client_october.cpp, since its llama.h is that of October. What it says is compared with
`bitnet run`. .ci/clients fetches it. Next: test_client_debian.py.
"""
import json
import subprocess
import sys
import zipfile

import pytest

from bitnet_ffi import config
from client_tools import fetched, libllama_of_october

PROMPT = "The capital of France is"
WHEEL = "llama_cpp_py_sync-0.11739-1cpu-py3-none-manylinux2014_x86_64.whl"
GREEDY = dict(temperature=0, repeat_penalty=1.0)

# In a process of its own: what is asked for as JSON, the answers likewise.
ASK = """
import json, sys
from llama_cpp_py_sync import Llama
from llama_cpp_py_sync._cffi_bindings import get_lib
model, asked = json.loads(sys.stdin.read())
answers = []
for how, calls in asked:
    with Llama(model, n_threads=2, **how) as llama:
        for name, arguments, keywords in calls:
            answer = getattr(llama, name)
            answer = answer(*arguments, **keywords) if callable(answer) else answer
            answers.append(answer if isinstance(answer, (str, int, list, dict)) else list(answer))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory, smollm2_path):
    folder = tmp_path_factory.mktemp("py_sync")
    with zipfile.ZipFile(fetched(WHEEL)) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if ".so" not in name])
    libllama_of_october(folder / "llama_cpp_py_sync" / "libllama.so")

    def ask(*asked):
        done = subprocess.run([sys.executable, "-c", ASK], input=json.dumps([str(smollm2_path), asked]), capture_output=True, text=True,
                              timeout=90, cwd=folder)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)
    return ask


def test_generate_says_what_bitnet_run_says(ask, smollm2_path):
    run = subprocess.run([sys.executable, "-m", "bitnet_ffi", "run", "-m", smollm2_path, "-p", PROMPT, "--greedy", "-n", "24", "-q"],
                         capture_output=True, text=True, check=True, env={"PYTHONPATH": str(config.PACKAGE.parent), "PATH": "/usr/bin:/bin"})
    said = run.stdout.removesuffix("\n")
    text, streamed, size = ask([dict(n_ctx=256), [("generate", [PROMPT], dict(max_tokens=24, **GREEDY)),
                                                  ("generate", [PROMPT], dict(max_tokens=24, stream=True, **GREEDY)), ("n_ctx", [], {})]])
    assert (text, "".join(streamed), size) == (said, said, 256) and len(streamed) > 10


def test_seeds_stop_words_and_grammars(ask):
    hot = dict(max_tokens=16, temperature=1.0, seed=7)
    a, b, stopped, ruled = ask([dict(n_ctx=256), [
        ("generate", [PROMPT], hot), ("generate", [PROMPT], hot), ("generate", [PROMPT], dict(max_tokens=24, stop_sequences=["answer"], **GREEDY)),
        ("generate", ["Is water wet?"], dict(max_tokens=8, grammar='root ::= " " ("yes" | "no") "!"'))]])
    assert a == b and stopped == " Paris.\n\nThe " and ruled in (" yes!", " no!")


def test_tokens_and_the_model(ask):
    tokens, text, n_vocab, n_embd, eos, n_params = ask([dict(n_ctx=64), [
        ("tokenize", [PROMPT], {}), ("detokenize", [[504, 3575, 282, 4649, 314]], {}), ("n_vocab", [], {}), ("n_embd", [], {}), ("eos_token", [], {}),
        ("get_model_n_params", [], {})]])
    assert tokens[-5:] == [504, 3575, 282, 4649, 314] and text == PROMPT
    assert (n_vocab, n_embd, eos, n_params) == (49152, 576, 2, 134515008)


def test_embeddings_are_of_length_one(ask):
    vector, = ask([dict(n_ctx=64, embedding=True, pooling_type="mean"), [("get_embeddings", [PROMPT], dict(normalize=True))]])
    assert len(vector) == 576 and abs(sum(x * x for x in vector) - 1) < 1e-5
