"""What the fuzzer of tokenizers kept, and a moment of it: tests_py/data/fuzzed_tokens.json has small vocabularies of every family,
texts, and ids on which the engine, token_reference.py and llama.cpp agreed. Next: fuzz_tokenizers.py.
"""
from __future__ import annotations

import json

import pytest

import fuzz_tokenizers
from token_reference import Vocab
from vocab_tools import DATA

CASES = json.loads((DATA / "fuzzed_tokens.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["family"])
def test_kept_inputs_have_the_same_ids(tmp_path, case):
    fuzz_tokenizers.declare()
    loaded = fuzz_tokenizers.Loaded(Vocab.from_record(case["vocab"]), tmp_path / "v.gguf")
    try:
        for text, flags, ids in case["texts"]:
            assert loaded.check(text.encode("latin-1"), flags) == ids
    finally:
        loaded.close()


def test_every_family_was_kept():
    assert {case["family"] for case in CASES} == set(fuzz_tokenizers.FAMILIES)


def test_a_moment_of_fuzzing_finds_nothing():
    n, n_texts, findings = fuzz_tokenizers.fuzz(list(fuzz_tokenizers.FAMILIES), seconds=6, seed=1)
    assert not findings, "\n".join(findings)
    assert n > 10 and n_texts > 300


def test_a_wrong_id_is_a_finding(tmp_path, monkeypatch):
    """The fuzzer must be able to fail."""
    fuzz_tokenizers.declare()
    monkeypatch.setattr(fuzz_tokenizers.Reference, "ids", lambda self, text, parse: [0] * len(text))
    assert "the reference has" in fuzz_tokenizers.try_vocabulary("spm", "1 0", tmp_path / "v.gguf", 60)
