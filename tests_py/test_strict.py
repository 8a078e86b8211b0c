"""BITNET_STRICT_MODE: what loading would make good outside of the vocabulary is refused, with the sentence of the warning; so are
vocabularies from Python and the command line. Each repair of a vocabulary: test_vocab_repair.py.
"""
from __future__ import annotations

import json

import pytest

import gguf_writer
import model_abi
from bitnet_ffi import Model, repair
from bitnet_ffi.errors import InvalidModelError
from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U32
from test_cli import bitnet, environment, one_line  # noqa: F401  fixtures
from vocab_tools import bpe_gguf

KEY = "tokenizer.ggml."


def whole():
    """A model that loads without a word."""
    return gguf_writer.tiny_model().set(KEY + "add_space_prefix", BOOL, True)


def fewer_tokens(gguf, n):
    for key, kind in (("tokens", STRING), ("scores", F32), ("token_type", I32)):
        values = next(value for name, _, value in gguf.kv if name == KEY + key)[1]
        gguf.set(KEY + key, ARRAY, (kind, values[:n]))
    return gguf


FILES = {
    "the tokenizer has 300 tokens but the embedding 320 rows": lambda: fewer_tokens(whole(), 300),
    "general.alignment is 24, expected a power of two; 32 is used": lambda: whole().set("general.alignment", U32, 24),
    "1 of 21 tensors are not used by architecture llama": lambda: whole().add(
        "blk.0.attn_q_norm.weight", "f32", (64,), bytes(256)),
    "tokenizer.ggml.add_space_prefix is missing": lambda: whole().drop(KEY + "add_space_prefix"),
}


@pytest.mark.parametrize("sentence", FILES)
def test_what_is_a_warning_is_an_error(tmp_path, monkeypatch, sentence):
    path = FILES[sentence]().write(tmp_path / "m.gguf")
    with model_abi.warnings() as warned, model_abi.loaded(path):
        assert sum(sentence in line for line in warned) == 1, warned
    monkeypatch.setenv("BITNET_STRICT_MODE", "1")
    code, text = model_abi.error_of(path)
    assert code == model_abi.MODEL and sentence in text and "BITNET_STRICT_MODE=1 forbids this repair" in text
    with pytest.raises(InvalidModelError, match="BITNET_STRICT_MODE"):
        Model(path)
    monkeypatch.setenv("BITNET_STRICT_MODE", "0")
    with model_abi.loaded(path):
        pass


def test_a_whole_model_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("BITNET_STRICT_MODE", "1")
    with model_abi.warnings() as warned, model_abi.loaded(whole().write(tmp_path / "m.gguf")):
        assert warned == []


def test_tools_that_repair_look_past_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BITNET_STRICT_MODE", "1")
    path = bpe_gguf(None).write(tmp_path / "m.gguf")
    plan = repair.plan(path)
    repair.write(plan, tmp_path / "fixed.gguf")
    with Model(tmp_path / "fixed.gguf", vocab_only=True) as model:   # and what they write passes it
        assert model.tokenize("a b")


def test_flag_of_the_command_line(bitnet, tmp_path, monkeypatch):
    path = str(bpe_gguf(None).write(tmp_path / "m.gguf"))
    done = bitnet("tokenize", "-m", path, "--strict", "--json", "a b")
    assert done.returncode == 1 and "tokenizer.ggml.pre is missing" in one_line(done)
    done = bitnet("tokenize", "-m", path, "--json", "a b")   # the flag was of that command alone
    assert done.returncode == 0 and json.loads(done.stdout)
