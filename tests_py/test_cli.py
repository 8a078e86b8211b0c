"""The command `bitnet`: text on stdout, everything else on stderr, exit codes, one-line errors; signals on a real process."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest

import bitnet_ffi
import gguf_writer
from bitnet_ffi import Model, Sampling
from bitnet_ffi.cli import main


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    gguf_writer.tiny_model(weights="q8_0", n_ctx=256).write(path)
    return str(path)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A slow model that never ends by itself."""
    path = tmp_path_factory.mktemp("models") / "endless.gguf"
    gguf_writer.tiny_model(weights="f32", n_layer=32, n_ctx=4096).write(path)
    return str(path)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("BITNET_") and name not in (
            "BITNET_FFI_KERNELS", "BITNET_FFI_LIBRARY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BITNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BITNET_OFFLINE", "1")


@pytest.fixture
def bitnet(capsys, monkeypatch):
    """Run a command line in this process, which is quicker by the start of Python and NumPy."""
    def run(*arguments, stdin="", **variables):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
            for name, value in variables.items():
                patch.setenv(name, value)
            main(arguments)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, caught.value.code, out, err)
    return run


def one_line(done):
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("bitnet: "), done.stderr
    return done.stderr


def greedy_text(path, prompt, n):
    with Model(path) as model:
        return "".join(model.generate(prompt, max_tokens=n, sampling=Sampling(greedy=True)))


# ---- without a model ----

def test_help_names_the_commands(bitnet):
    done = bitnet("--help")
    assert done.returncode == 0 and all(name in done.stdout for name in ("run", "models", "tokenize", "inspect"))


def test_versions(bitnet):
    assert bitnet_ffi.__version__ in bitnet("--version").stdout
    assert bitnet("--interface-version").stdout == bitnet("run", "--interface-version").stdout == "1.0.0\n"


@pytest.mark.parametrize("arguments, match", [
    (["run", "hello"], "no model: pass -m FILE or -m NAME"),
    (["run", "-m", "x", "a", "-p", "b"], "given twice"),
    (["run", "-m", "x", "--temperature", "-1", "a"], "--temperature"),
    (["run", "-m", "x", "--system-prompt", "s", "--prompt-template", "raw", "a"], "has no place"),
    (["run", "-m", "x", "--prompt-template", "alpaca", "a"], "raw"),
    (["run", "-m", "x", ""], "the prompt is empty"),
    (["run", "--nonsense"], "--nonsense"),
    (["sing"], "sing")])
def test_wrong_usage_is_one_line_and_2(bitnet, arguments, match):
    done = bitnet(*arguments)
    assert done.returncode == 2 and done.stdout == "" and match in one_line(done)


@pytest.mark.parametrize("arguments, match", [
    (["run", "-m", "/no/such.gguf", "a"], "/no/such.gguf: no such file, and no model of that name (known: smollm2"),
    (["run", "-m", "smollm2", "a"], "BITNET_OFFLINE forbids"),
    (["models", "pull", "2b-4t"], "BITNET_OFFLINE forbids"),
    (["models", "path", "smollm2"], "bitnet models pull smollm2"),
    (["models", "path", "nobody"], "no model is named 'nobody'")])
def test_failure_is_one_line_and_1(bitnet, arguments, match):
    done = bitnet(*arguments)
    assert done.returncode == 1 and done.stdout == "" and match in one_line(done)


def test_models_lists_names_places_and_aliases(bitnet):
    for arguments in (["models"], ["models", "list"]):
        done = bitnet(*arguments)
        assert done.returncode == 0
        assert "smollm2" in done.stdout and "microsoft/BitNet-b1.58-2B-4T-gguf" in done.stdout and "not fetched" in done.stdout


def test_models_remove_what_is_not_there(bitnet):
    done = bitnet("models", "remove", "smollm2")
    assert done.returncode == 0 and "was not there" in done.stderr


# ---- run ----

def test_run_prints_the_greedy_text_and_figures(bitnet, tiny):
    done = bitnet("run", "-m", tiny, "-p", "hello", "--greedy", "-n", "12")
    assert done.returncode == 0
    assert done.stdout == greedy_text(tiny, "hello", 12) + "\n"
    assert re.search(r"prompt \d+ tokens .* first token .* generated \d+ tokens .* total .* stopped: ", done.stderr)
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr


def test_prompt_as_argument_or_on_stdin(bitnet, tiny):
    flags = ["run", "-m", tiny, "--temperature", "0", "-n", "6", "-q"]
    expected = greedy_text(tiny, "hello", 6) + "\n"
    for done in (bitnet(*flags, "hello"), bitnet(*flags, stdin="hello\n")):
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize("flag", ["--max-tokens", "-n", "--n-predict", "--max-new-tokens"])
def test_aliases_of_max_tokens(bitnet, tiny, flag, tmp_path):
    out = tmp_path / "out.json"
    assert bitnet("run", "-m", tiny, "hi", "--greedy", flag, "3", "--json-out", str(out)).returncode == 0
    assert len(json.loads(out.read_text())["tokens"]) <= 3


@pytest.mark.parametrize("flag", ["--stop", "--stop-sequence", "--stop_sequences"])
def test_aliases_of_stop(bitnet, tiny, flag):
    whole = greedy_text(tiny, "hello", 12)
    stop = whole[5:7]
    done = bitnet("run", "-m", tiny, "hello", "--greedy", "-n", "12", flag, stop)
    assert done.stdout == whole[:whole.find(stop)] + "\n" and "stop string" in done.stderr


def test_json_out_has_text_tokens_and_figures(bitnet, tiny, tmp_path):
    out = tmp_path / "out.json"
    done = bitnet("run", "-m", tiny, "hello", "--seed", "5", "-n", "4", "--threads", "1", "--json-out", str(out))
    record = json.loads(out.read_text())
    assert record["text"] + "\n" == done.stdout and record["seed"] == 5 and record["threads"] == 1
    assert record["metrics"]["generated_tokens"] == len(record["tokens"])
    assert record["prompt_template"] == "raw" and record["finish_reason"] in ("length", "stop")


def test_seed_from_flag_variable_or_deterministic(bitnet, tiny):
    flags = ["run", "-m", tiny, "hello", "--temperature", "2", "-n", "8", "-q"]
    by_flag = bitnet(*flags, "--seed", "7").stdout
    assert bitnet(*flags, BITNET_SEED="7").stdout == by_flag
    assert bitnet(*flags, "--seed", "7", BITNET_SEED="8").stdout == by_flag
    assert bitnet(*flags, "--deterministic").stdout == bitnet(*flags, "--seed", "0").stdout
    assert bitnet(*flags, BITNET_DETERMINISTIC="1").stdout == bitnet(*flags, "--seed", "0").stdout


def test_model_and_threads_from_variables(bitnet, tiny):
    done = bitnet("run", "hello", "--greedy", "-n", "4", BITNET_GGUF=tiny, BITNET_NUM_THREADS="1", BITNET_BATCH_SIZE="2")
    assert done.returncode == 0 and "1 threads" in done.stderr
    assert done.stdout == greedy_text(tiny, "hello", 4) + "\n"


def test_wrong_variable_is_named(bitnet, tiny):
    done = bitnet("run", "-m", tiny, "hello", BITNET_SEED="many")
    assert done.returncode == 2 and "--seed" in one_line(done)


def test_instruct_template(bitnet, tiny, tmp_path):
    out = tmp_path / "out.json"
    done = bitnet("run", "-m", tiny, "why", "--greedy", "-n", "4", "--prompt-template", "instruct", "--system-prompt", "Be brief.",
                  "--json-out", str(out))
    assert done.stdout == greedy_text(tiny, "Be brief.\n\nQ: why\nA:", 4) + "\n"


def test_auto_template_without_one_is_raw(bitnet, tiny):
    done = bitnet("run", "-m", tiny, "hello", "--greedy", "-n", "4", "--prompt-template", "auto", "-q")
    assert done.stdout == greedy_text(tiny, "hello", 4) + "\n"


def test_system_prompt_without_a_template_is_refused(bitnet, tiny):
    done = bitnet("run", "-m", tiny, "hello", "--system-prompt", "Be brief.")
    assert done.returncode == 2 and "no chat template" in one_line(done)


def test_prompt_too_long_names_the_flag(bitnet, tiny):
    done = bitnet("run", "-m", tiny, "x " * 400, "--ctx-size", "64")
    assert done.returncode == 1 and "--ctx-size" in one_line(done)


def test_file_that_is_no_model(bitnet, tmp_path):
    path = tmp_path / "page.gguf"
    path.write_text("<!doctype html>" * 100)
    done = bitnet("run", "-m", str(path), "hello")
    assert done.returncode == 1 and "page.gguf" in one_line(done)


def test_reader_that_leaves_is_no_traceback(endless):
    process = subprocess.Popen([sys.executable, "-m", "bitnet_ffi", "run", "-m", endless, "hi", "--greedy", "-n", "2000"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.read(1)
    process.stdout.close()
    process.wait(30)
    assert "Traceback" not in process.stderr.read() and process.returncode == 1


def test_text_streams_and_ctrl_c_ends_it_cleanly(endless):
    process = subprocess.Popen([sys.executable, "-m", "bitnet_ffi", "run", "-m", endless, "hi", "-n", "4000", "--seed", "1",
                                "--temperature", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 100)  # a pipe, and still there before the end
    assert first and process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out.endswith(b"\n") and b"Traceback" not in err and b"stopped: Ctrl-C" in err


def test_colours_on_a_terminal_only(tiny):
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "bitnet_ffi", "run", "-m", "/no/such"], stdin=slave, stderr=slave,
                               stdout=slave, env={**os.environ, "TERM": "xterm"})
    process.wait(30)
    text = b""
    while select.select([master], [], [], 0.2)[0]:
        text += os.read(master, 4096)
    os.close(master)
    os.close(slave)
    assert b"\x1b[31m" in text and process.returncode == 2


# ---- tokenize, inspect ----

def test_tokenize_prints_ids_and_pieces(bitnet, tiny):
    with Model(tiny, vocab_only=True) as model:
        tokens = model.tokenize("hello")
    done = bitnet("tokenize", "-m", tiny, "hello")
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == tokens
    assert json.loads(bitnet("tokenize", "-m", tiny, "--json", stdin="hello").stdout) == tokens


def test_inspect_prints_sizes_and_metadata(bitnet, tiny):
    done = bitnet("inspect", tiny)
    assert "n_layer: 2" in done.stdout and "general.architecture: llama" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 160
    record = json.loads(bitnet("inspect", "-m", tiny, "--json").stdout)
    assert record["n_layer"] == 2 and record["metadata"]["general.architecture"] == "llama"
