"""Debian's compiled llama.cpp (0.7.0, testing) on this library: its binaries as they are, its C library, our libllama.so.0 (docs/CLIENTS.md).

llama-simple uses llama.h alone and needs nothing else. The others share `common`, which takes C++ functions from inside of llama.cpp:
client_october.cpp has those, and two structs of October. .ci/clients fetches the packages. Next: test_ggml.py for the symbols.
"""
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from bitnet_ffi import config
from bitnet_ffi._ffi import ffi, lib
from client_tools import fetched, libllama_of_october
from reference import read_gguf

PROMPT = "The capital of France is"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """command(program, *arguments): that program of Debian's, on our library. alone: with nothing of llama.cpp or ggml beside it."""
    system = fetched("debian", "usr", "lib", "x86_64-linux-gnu")
    folder = tmp_path_factory.mktemp("debian")
    shim = folder / "client_october.so"
    libllama_of_october(shim)
    for names, where in ((["libllama.so.0", "libggml-base.so.0"], "alone"), (["libllama.so.0"], "beside")):
        (folder / where).mkdir()
        for name in names:
            (folder / where / name).symlink_to(config.lib_dir() / "libbitnet_ffi.so.0")
    libc = folder / "libc"                      # what is of the C and C++ languages, apart from Debian's llama.cpp and ggml
    libc.mkdir()
    for path in system.iterdir():
        if not path.name.startswith(("libllama", "libggml", "libmtmd")):
            (libc / path.name).symlink_to(path)

    def command(program, *arguments, alone=False, preload=shim):
        path = [folder / "alone", libc] if alone else [folder / "beside", system, system / "llama"]
        return [str(part) for part in (system / "ld-linux-x86-64.so.2", *([] if alone else ["--preload", preload]), "--library-path",
                                       ":".join(map(str, path)), fetched("debian", "usr", "bin", program), *arguments)]
    return command


def run(command, text=""):
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def run_for(wanted, command):
    """Run it until `wanted` holds of what it writes, to stdout and to stderr. `common` writes through a thread of its own, which the
    end of the program may cut off in the middle of a line: so up to five runs, of which one must have come through."""
    for _ in range(5):
        done = run(command)
        if wanted(done.stdout, done.stderr):
            return
    raise AssertionError(done.stdout)


@pytest.fixture(scope="module")
def said(smollm2_path):
    done = run([sys.executable, "-m", "bitnet_ffi", "run", "-m", str(smollm2_path), "-p", PROMPT, "--greedy", "-n", "24", "-q"])
    return done.stdout.removesuffix("\n")


def test_simple_alone(debian, smollm2_path, said):
    done = run(debian("llama-simple", "-m", smollm2_path, "-n", 24, PROMPT, alone=True))
    assert done.stdout.strip() == (PROMPT + said).strip()


def test_simple_chat_alone(debian, smollm2_path):
    done = run(debian("llama-simple-chat", "-m", smollm2_path, "-c", 192, alone=True), "Say hello.\n\n")
    assert re.search(r"\x1b\[33m[^\x1b]*\w", done.stdout)      # its answer is yellow; it draws with another seed every time


def test_gguf_hash_alone(debian):
    """It reads with ggml's and gguf's calls: those of this library, and Debian's where its libggml-base is there too."""
    model = HERE / "data" / "tiny-bitnet-tq2.gguf"
    hashes = run(debian("llama-gguf-hash", "--all", model, alone=True)).stdout
    assert hashes.count("sha256") == 36 and hashes == run(debian("llama-gguf-hash", "--all", model)).stdout


def test_gguf_writes_with_ggml_beside(debian, tmp_path):
    """What writes is Debian's alone, and asks its contexts by calls that this library has too, and has first."""
    file, ours = tmp_path / "written.gguf", config.lib_dir() / "libbitnet_ffi.so.0"
    run(debian("llama-gguf", file, "w", preload=ours))
    read = run(debian("llama-gguf", file, "r", preload=ours)).stdout
    assert "gguf_ex_read_1: n_kv: 15" in read and "gguf_ex_read_1: n_tensors: 10" in read


def test_bench_names_what_it_measures(debian, smollm2_path):
    done = run(debian("llama-bench", "-m", smollm2_path, "-p", 16, "-n", 4, "-r", 1, "-t", 1, "-o", "json"))
    prompt, generation = json.loads(done.stdout)
    cpu = ffi.string(lib.ggml_backend_dev_description(lib.ggml_backend_dev_get(0))).decode()
    for result in (prompt, generation):
        assert (result["backends"], result["cpu_info"], result["gpu_info"], result["n_threads"]) == ("CPU", cpu, "", 1)
        assert result["model_type"] == "llama 135M Q4_1" and result["avg_ts"] > 0
    assert (prompt["n_prompt"], generation["n_gen"]) == (16, 4)


def test_completion(debian, smollm2_path, said):
    run_for(lambda written, _: written.strip() == (PROMPT + said).strip(),
            debian("llama-completion", "-m", smollm2_path, "-p", PROMPT, "-n", 24, "--temp", 0, "-no-cnv"))


def test_completion_keeps_to_a_grammar(debian, smollm2_path):
    run_for(lambda written, _: re.match(r"Is water wet\? (yes|no)!", written.strip()),
            debian("llama-completion", "-m", smollm2_path, "-p", "Is water wet?", "-n", 8, "-no-cnv", "--grammar",
                   'root ::= " " ("yes" | "no") "!"'))


def test_tokenize_needs_no_weights(debian, smollm2_path, smollm2):
    done = run(debian("llama-tokenize", "-m", smollm2_path, "-p", PROMPT + " d\u00e9j\u00e0 vu", "--ids", "--log-disable"))
    assert json.loads(done.stdout) == smollm2.tokenize(PROMPT + " d\u00e9j\u00e0 vu", parse_special=True)


@pytest.mark.parametrize("program, more", [("llama-speculative-simple", ["--spec-type", "draft-simple"]), ("llama-lookup", []),
                                           ("llama-lookahead", [])])
def test_guessing_ahead_does_not_change_the_text(debian, smollm2_path, said, program, more):
    """Several tokens are decoded at once and what was guessed wrong is taken back: the greedy text stays."""
    if "speculative" in program:
        more = [*more, "-md", smollm2_path]
    run_for(lambda written, _: (PROMPT + said)[:80] in written,
            debian(program, "-m", smollm2_path, "-p", PROMPT, "-n", 24, "--temp", 0, "-c", 512, *more))


@pytest.mark.parametrize("unified", [[], ["--kv-unified"]])
def test_batched_goes_on_in_four_ways(debian, smollm2_path, unified):
    run_for(lambda written, _: all(f"sequence {i}:" in written for i in range(4)) and written.count(PROMPT) == 5,
            debian("llama-batched", "-m", smollm2_path, "-p", PROMPT, "-np", 4, "-n", 12, *unified))


def test_embedding_is_of_length_one(debian, smollm2_path):
    done = run(debian("llama-embedding", "-m", smollm2_path, "-p", PROMPT, "--pooling", "mean", "--embd-output-format", "array"))
    vector, = json.loads(done.stdout)
    assert len(vector) == 576 and abs(sum(x * x for x in vector) - 1) < 1e-4      # printed with 7 digits: 576 * 2 * 1e-7


def test_perplexity(debian, smollm2_path):
    def final(written, logged):
        found = re.search(r"Final estimate: PPL = (\S+) ", written + logged)
        return found is not None and 5 < float(found[1]) < 500
    run_for(final, debian("llama-perplexity", "-m", smollm2_path, "-f", HERE.parent / "docs" / "ARCHITECTURE.md", "-c", 128, "--chunks", 4))


def test_quantize_writes_a_model(debian, smollm2_path, tmp_path):
    run(debian("llama-quantize", "--allow-requantize", smollm2_path, tmp_path / "q8.gguf", "Q8_0", 2))
    done = run(debian("llama-simple", "-m", tmp_path / "q8.gguf", "-n", 4, PROMPT))
    assert done.stdout.startswith(PROMPT + " Paris")


# ---- programs that watch decodes (cb_eval); test_observe.py says what they are shown ----

@pytest.fixture(scope="module")
def their_own(debian):
    """command(program, *arguments): that program of Debian's, on Debian's llama.cpp."""
    system = fetched("debian", "usr", "lib", "x86_64-linux-gnu")
    backend = fetched("debian", "usr", "lib", "x86_64-linux-gnu", "ggml", "backends0", "libggml-cpu-haswell.so")

    def command(program, *arguments):
        return ["env", f"GGML_BACKEND_PATH={backend}", str(system / "ld-linux-x86-64.so.2"), "--library-path",
                f"{system}:{system / 'llama'}", str(fetched("debian", "usr", "bin", program)), *map(str, arguments)]
    return command


def importance(path):
    """{weight: mean of squares of what goes into it} of a file of llama-imatrix."""
    _, tensors, data = read_gguf(path)
    floats = {name: np.frombuffer(data, "<f4", int(np.prod(dims)), offset) for name, (dims, _, offset) in tensors.items()}
    return {name.removesuffix(".in_sum2"): sums / floats[name.removesuffix(".in_sum2") + ".counts"]
            for name, sums in floats.items() if name.endswith(".in_sum2")}


def test_imatrix_is_near_that_of_llama_cpp(debian, their_own, smollm2_path, tmp_path):
    wanted = ["-m", smollm2_path, "-f", HERE.parent / "docs" / "ARCHITECTURE.md", "-c", 128, "--chunks", 2, "-t", 1, "-o"]
    run(debian("llama-imatrix", *wanted, tmp_path / "ours.gguf"))
    run(their_own("llama-imatrix", *wanted, tmp_path / "theirs.gguf"))
    ours, theirs = importance(tmp_path / "ours.gguf"), importance(tmp_path / "theirs.gguf")
    assert len(ours) == 30 * 7 and ours.keys() == theirs.keys()
    far = [np.linalg.norm(ours[name] - theirs[name]) / np.linalg.norm(theirs[name]) for name in ours]
    # Squares of values that are apart as in test_observe_peer.py, at random: over 256 tokens most of it is gone.
    assert np.mean(far) < 0.01 and max(far) < 0.05


def test_quantize_by_an_imatrix_writes_the_bytes_of_llama_cpp(debian, their_own, smollm2_path, tmp_path):
    """From text to file with programs of Debian's: llama-imatrix, then llama-quantize, once on each library."""
    wanted = ["--allow-requantize", "--imatrix", tmp_path / "imatrix.gguf", "--tensor-type", "attn_v=q8_0", smollm2_path]
    text = HERE.parent / "README.md"
    run(debian("llama-imatrix", "-m", smollm2_path, "-f", text, "-c", 128, "--chunks", 2, "-o", tmp_path / "imatrix.gguf"))
    run(debian("llama-quantize", *wanted, tmp_path / "ours.gguf", "Q4_K_M", 2))
    run(their_own("llama-quantize", *wanted, tmp_path / "theirs.gguf", "Q4_K_M", 2))
    (keys, tensors, data), (their_keys, their_tensors, their_data) = (read_gguf(tmp_path / name) for name in ("ours.gguf", "theirs.gguf"))
    assert keys == their_keys and tensors == their_tensors and bytes(data) == bytes(their_data)
    assert "quantize.imatrix.file" in keys


def test_eval_callback_prints_the_lines_of_llama_cpp(debian, their_own, smollm2_path):
    """Names, operations, sources and shapes; without what only llama.cpp computes."""
    def lines(command):
        for _ in range(5):
            done = run(command)
            found = re.findall(r"common_debug_cb_eval:\s+(\S+ = .*)", done.stdout + done.stderr)
            if any(line.startswith("result_output") for line in found):
                return found
        raise AssertionError(done.stdout[-2000:])

    wanted = ["-m", smollm2_path, "-p", PROMPT, "-t", 1]
    ours, theirs = lines(debian("llama-eval-callback", *wanted)), lines(their_own("llama-eval-callback", *wanted))
    same = [line for line in ours if line in set(theirs)]
    assert same == [line for line in theirs if line in set(ours)] and len(ours) == 1 + 30 * 20 + 3
    # The rest: what comes before kqv_out, and rows chosen for the last layer, are tensors without names there.
    assert [line.split()[0] for line in ours if line not in set(theirs)] == [f"kqv_out-{i}" for i in range(30)] + ["ffn_inp-29"]


def test_server_answers(debian, smollm2_path, said):
    """Two slots; the text of /completion is that of bitnet run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(debian("llama-server", "-m", smollm2_path, "--port", port, "-np", 2, "-c", 1024),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path, **body):
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    try:
        for _ in range(300):
            try:
                if urllib.request.urlopen(url + "/health", timeout=5).status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        assert ask("/completion", prompt=PROMPT, n_predict=24, temperature=0)["content"] == said
        chat = ask("/v1/chat/completions", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8)
        assert chat["choices"][0]["message"]["content"] and chat["usage"]["completion_tokens"] <= 8
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
