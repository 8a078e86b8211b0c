"""Every pre-tokenizer against llama.cpp's recorded ids, and those that are regular expressions against `tokenizers`.

tests_py/data/split_ids.json: record_splits.py wrote it. EXPRESSIONS are llama.cpp's as `tokenizers` spells them: where llama.cpp
reads an expression its own way (\\p{Lu} as any letter, AFMoE's digits, Kimi's Han) it is followed, and there is no oracle but the
recorded ids. Next: fuzz_split.py, which asks llama.cpp itself.
"""
from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

import fuzz_split
import model_abi
import split_tools
import vocab_tools
from split_tools import PROBE, TEXTS
from test_vocab import TEXT
from vocab_tools import DATA, detokenize, lib, split, tokenize

RECORDED = json.loads((DATA / "split_ids.json").read_text())
NAMES = RECORDED["names"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORD, MARKS, LINES, SPACES = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+", r"\s*[\r\n]+", r"\s+(?!\S)|\s+"
CASED = r"[^\r\n\p{L}\p{N}]?(?:(?=[LETTER])[^a-z])*(?:(?=[LETTER])[^A-Z])+|[^\r\n\p{L}\p{N}]?(?:(?=[LETTER])[^a-z])+(?:(?=[LETTER])[^A-Z])*"
KANA = r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
TAGGED = r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
DOUBLED = "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) + r"|\s"
PORO = r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"


def llama3(number: str, *, contraction=True, word=WORD, marks=MARKS, tail=r"[\r\n]*", lines=LINES, spaces=SPACES) -> str:
    return "|".join([*([CONTRACTION] if contraction else []), word, number, marks + tail, lines, spaces])


def o200k(letter: str, number: str, contraction: str) -> str:
    words = "|".join(word + contraction for word in CASED.replace("LETTER", letter).split("|"))
    return llama3(number, contraction=False, word=words, tail=r"[\r\n/]*")


EXPRESSIONS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "gpt-2": [GPT2], "smollm": [r"\p{N}", GPT2], "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "dbrx": [llama3(r"\p{N}{1,3}")], "qwen2": [llama3(r"\p{N}")], "ufakzeka": [llama3(r"\p{N}", contraction=False)],
    "qwen35": [llama3(r"\p{N}", word=r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", marks=r" ?[^\s\p{L}\p{M}\p{N}]+")],
    "seed-coder": [llama3(r"\p{N}", tail="")], "jais-2": [llama3(r"\p{N}{1,3}", spaces=DOUBLED)],
    "laguna": [r"[^\n]+|[\n]+", llama3(r"\p{N}")],
    "exaone-moe": [llama3(r"\p{N}", word=r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+", tail=r"[\r\n/]?", lines=r"\s*[\r\n]")],
    "bailingmoe": [llama3(r"\p{N}", lines=r"\s*[\r\n]")],
    "deepseek-v3": [r"\p{N}{1,3}", KANA, TAGGED + r"[\r\n]*|\s*[\r\n]+|" + SPACES],
    "spark2_5": [r"\p{N}{1,3}", KANA, TAGGED + r"|[\r\n]|" + SPACES, r"\p{N}"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[\u0800-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e"
                       r"\u2060-\u2fff\u3001-\u9fa5\uac00-\ud7ff]+", r"\p{N}"],
    "gpt-4o": [o200k(r"\p{L}", r"\p{N}{1,3}", CONTRACTION + "?")], "tekken": [o200k(r"\p{L}", r"\p{N}", "")],
    "granite-embed-multi-97m": [o200k(r"\p{L}\p{M}", r"\p{N}{1,3}", CONTRACTION + "?")],
    "poro-chat": [PORO], "viking": [PORO, r"\p{N}"],
    "chameleon": ["<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", r"[\t\n]|    |  ", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
}
WHOLE_WORDS = {"tekken", "granite-embed-multi-97m"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("split")


def show(ids: list[int]) -> list[str]:
    tokens = split_tools.pair_tokens()
    return [tokens[i] for i in ids]


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_rules_are_llama_cpps(folder, name):
    number, *rules, cleans = NAMES[name]
    with model_abi.loaded(split_tools.pair_gguf(name).write(folder / "v.gguf"), vocab_only=True) as model:
        for text, expected in zip(TEXTS, RECORDED["ids"][number], strict=True):
            ids = tokenize(model, text)
            assert ids == expected, (text, show(ids), show(expected))
            assert detokenize(model, ids) == split_tools.repaired(text) or cleans
        assert [getattr(lib, f"llama_vocab_get_add_{role}")(model) for role in ("bos", "eos", "sep")] == rules
        assert (detokenize(model, tokenize(model, PROBE)) != PROBE) == cleans


def test_families_differ_on_the_texts():
    assert len(RECORDED["ids"]) == len({json.dumps(ids) for ids in RECORDED["ids"]}) == 29


def test_a_moment_of_fuzzing_finds_nothing():
    n, findings = fuzz_split.fuzz(list(NAMES), seconds=4, seed=1)
    assert n > len(NAMES) and findings == []


@pytest.fixture(scope="module", params=EXPRESSIONS)
def family(request, folder):
    """(a loaded model, `tokenizers` with the same vocabulary and expressions)."""
    name = request.param
    merges = [tuple(m.split(" ")) for m in split_tools.pair_merges()]
    vocab = {token: i for i, token in enumerate(split_tools.pair_tokens())}
    oracle = Tokenizer(models.BPE(vocab, merges, ignore_merges=name in WHOLE_WORDS))
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    oracle.pre_tokenizer = pre_tokenizers.Sequence([*map(split, EXPRESSIONS[name]), to_bytes])
    with model_abi.loaded(split_tools.pair_gguf(name).write(folder / "family.gguf"), vocab_only=True) as model:
        yield model, oracle


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_ids_are_those_of_the_expressions(family, text):
    model, oracle = family
    assert tokenize(model, text.encode()) == oracle.encode(text).ids
