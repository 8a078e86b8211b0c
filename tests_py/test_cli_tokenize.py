"""`bitnet tokenize`: its forms, long input in constant memory, wrong usage, signals and terminals."""
import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from bitnet_ffi import Model
from test_cli import bitnet, environment, one_line, tiny  # noqa: F401  fixtures
from vocab_tools import bpe_gguf

TEXT = "It's 12 o'clock in the caf\u00e9.\n\n  Is it? "


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return bpe_gguf("llama-bpe").write(tmp_path_factory.mktemp("vocab") / "v.gguf")


@pytest.fixture(scope="module")
def expected(vocabulary):
    with Model(vocabulary, vocab_only=True) as model:
        ids, offsets = model.encode(TEXT, return_offsets=True)
        return ids.tolist(), offsets.tolist(), [model.token_to_piece(i).decode("utf-8", "backslashreplace") for i in ids]


def test_forms(bitnet, vocabulary, expected, tmp_path):
    ids, offsets, pieces = expected
    (tmp_path / "text").write_text(TEXT)
    def out(*options, **given):
        done = bitnet("tokenize", "-m", vocabulary, *options, **given)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout
    for source in ({"stdin": TEXT}, {}):
        text = () if source else ("-f", str(tmp_path / "text"))
        assert json.loads(out("--json", *text, **source)) == ids
        assert out("--ids", *text, **source).split() == [str(i) for i in ids]
        assert out("--count", *text, **source) == f"{len(ids)}\n"
        assert out("--pieces", *text, **source).splitlines() == [repr(piece) for piece in pieces]
        assert json.loads(out("--json", "--offsets", *text, **source)) == [[i, *place] for i, place in zip(ids, offsets)]
        lines = out("--offsets", *text, **source).splitlines()
        assert [line.split(None, 3) for line in lines] == [[str(i), str(a), str(b), repr(piece)]
                                                           for i, (a, b), piece in zip(ids, offsets, pieces)]
    assert out("--json", stdin="") == "[]\n" and out("--count", stdin="") == "0\n"


@pytest.mark.parametrize("options, problem", [
    (("x", "-f", __file__), "given twice"), (("--count", "--offsets", "x"), "--offsets has no place in --count"),
    (("-f", "/nowhere/at/all"), "does not exist")])
def test_wrong_usage(bitnet, vocabulary, options, problem):
    done = bitnet("tokenize", "-m", vocabulary, *options)
    assert done.returncode == 2 and done.stdout == "" and problem in done.stderr
    one_line(done)


def test_bytes_that_are_not_utf8(vocabulary):
    done = subprocess.run([sys.executable, "-m", "bitnet_ffi", "tokenize", "-m", vocabulary, "--json", "--offsets", b"a\xffb"],
                          capture_output=True, check=True)
    assert json.loads(done.stdout)[-1][1:] == [2, 3]


LIMITED = ("import resource, sys; sys.argv[0] = 'bitnet'\nfrom bitnet_ffi.cli import main\nimport numpy, bitnet_ffi.model\n"
           "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
           "resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)\nmain()\n")


def test_long_input_in_constant_memory(vocabulary, expected):
    # 60 MB would take 60 MB and 16 bytes a token at once; 200 MB more than Python has are allowed.
    n = 60_000_000 // len(TEXT.encode())
    writer = subprocess.Popen([sys.executable, "-c", f"import sys\nfor _ in range({n}): sys.stdout.write({TEXT!r})"],
                              stdout=subprocess.PIPE, env={**os.environ, "PYTHONUTF8": "1"})
    done = subprocess.run([sys.executable, "-c", LIMITED, "tokenize", "-m", vocabulary, "--count"], stdin=writer.stdout,
                          capture_output=True, text=True, timeout=120)
    writer.stdout.close()
    assert writer.wait() == 0 and done.returncode == 0, done.stderr
    with Model(vocabulary, vocab_only=True) as model:
        a, b = len(model.encode(TEXT * 2)), len(model.encode(TEXT * 3))
    assert int(done.stdout) == b + (n - 3) * (b - a)


def test_interrupt_ends_with_130(vocabulary, tmp_path):
    (tmp_path / "text").write_text("one two three " * 500_000)
    child = subprocess.Popen([sys.executable, "-m", "bitnet_ffi", "tokenize", "-m", vocabulary, "--ids", "-f", tmp_path / "text"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(4)   # it is at work, and stops when the pipe is full
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130 and b"Traceback" not in errors


def test_pieces_have_colours_on_a_terminal_only(vocabulary):
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "bitnet_ffi", "tokenize", "-m", vocabulary, "--pieces", "one two"], stdout=slave):
        os.close(slave)
        shown = b""
        while not shown.endswith(b"\n"):
            shown += os.read(master, 4096)
    os.close(master)
    assert b"\x1b[3" in shown and b"'" not in shown


# ---- another tokenizer ----

@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory):
    """The same words, numbered from the end, so that the file's own ids would be seen."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from vocab_tools import MERGES, bpe_tokens
    tokens = bpe_tokens()[::-1]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path, tokenizer


def test_tokenizer_option_takes_the_place_of_the_models_own(bitnet, vocabulary, tokenizer_json):
    path, oracle = tokenizer_json
    for model in (("-m", vocabulary), ()):   # it needs no model
        done = bitnet("tokenize", *model, "--tokenizer", str(path), "--json", "--offsets", TEXT)
        assert (done.returncode, done.stderr) == (0, "")
        items = json.loads(done.stdout)
        assert [token for token, _, _ in items] == oracle.encode(TEXT).ids
        assert b"".join(TEXT.encode()[a:b] for _, a, b in items) == TEXT.encode()
    done = bitnet("tokenize", "--tokenizer", str(path.parent), "--count", TEXT)   # a folder that has one
    assert int(done.stdout) == len(oracle.encode(TEXT).ids)


def test_tokenizer_option_with_a_wrong_file(bitnet, vocabulary, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    done = bitnet("tokenize", "--tokenizer", str(tmp_path / "tokenizer.json"), "--json", "a")
    assert done.returncode == 1 and "tokenizer.json" in one_line(done)
    done = bitnet("tokenize", "--tokenizer", str(tmp_path / "none"), "--json", "a")
    assert done.returncode == 1 and "no such file" in one_line(done)
