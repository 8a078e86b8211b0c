"""WordPiece and Unigram: llama.cpp's recorded ids, Hugging Face's on random text, ranges, hostile files, time.

tests_py/data/family_ids.json: record_families.py wrote it. Next: family_tools.py makes the vocabularies.
"""
from __future__ import annotations

import ctypes as C
import json
import random
import struct
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import family_tools
import model_abi
from family_tools import FILES, FLAGS, PARTS, ROLES, SPACE, TEXTS, WORDS
from vocab_tools import DATA, detokenize, lib, tokenize

RECORDED = json.loads((DATA / "family_ids.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.mark.parametrize("name", FILES)
def test_ids_and_texts_are_llama_cpps(folder, name):
    record = RECORDED[name]
    with model_abi.loaded(FILES[name]().write(folder / "v.gguf"), vocab_only=True) as model:
        for text, expected, spelled in zip(TEXTS, record["ids"], record["texts"], strict=True):
            for (special, parse), ids in zip(FLAGS, expected, strict=True):
                assert tokenize(model, text, special=special, parse=parse) == (expected[0] if ids is None else ids), (text, special, parse)
            if spelled is not None:
                assert detokenize(model, expected[0], unparse=True) == spelled.encode("latin-1"), text
        assert [getattr(lib, "llama_vocab_" + role)(model) for role in ROLES] == record["roles"]


# ---- WordPiece ----

@pytest.fixture(scope="module")
def bert(folder):
    """(a loaded model, `tokenizers` with the same vocabulary)."""
    tokens, _ = family_tools.wordpiece_tokens()
    words = {t: i for i, t in enumerate(tokens)}
    vocab = {(t[1:] if t.startswith(SPACE) else t if i < 36 else "##" + t): i for t, i in words.items()}
    oracle = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=10**6))
    oracle.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
    oracle.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with model_abi.loaded(FILES["bert"]().write(folder / "bert.gguf"), vocab_only=True) as model:
        yield model, oracle


PLAIN = st.text(st.sampled_from(sorted(set("".join(WORDS + PARTS)) - set("\u0301\u0308\u0302\u2122\u1112\u1161\u11ab"))
                                + list(" \n\tABCDEFGHI\u00c9\u4e16")),
                max_size=60).filter(lambda text: "<user>" not in text)   # a user-defined token


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PLAIN)
def test_wordpiece_equals_tokenizers(bert, text):
    model, oracle = bert
    assert tokenize(model, text.encode()) == oracle.encode(text).ids


def test_wordpiece_time_is_linear(bert):
    model, _ = bert
    seconds = []
    for n in (100_000, 1_600_000):
        began = time.process_time()
        tokenize(model, b"o" * n)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 100 * seconds[0] + 0.5   # 16 times as long; a square would be 256 times


# ---- ranges ----

lib.bitnet_tokenize.restype = C.c_int32


def ranges_of(model: int, text: bytes) -> tuple[list[int], list[bytes]]:
    room = 8 * len(text) + 8
    ids, ranges = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
    n = lib.bitnet_tokenize(C.c_void_p(model), text, len(text), ids, ranges, room, 0)
    assert n >= 0, model_abi.last_error()
    assert all(0 <= ranges[i] <= len(text) for i in range(2 * n))
    return ids[:n], [text[ranges[2 * i] : ranges[2 * i + 1]] for i in range(n)]


@pytest.mark.parametrize("name, text, parts", [
    ("bert", "The  CAF\u00c9s,\u4e16 zqz", ["The", "CAF\u00c9", "s", ",", "\u4e16", "zqz"]),
    ("t5", "  the  caf\u00e9\u3000\u00bd", ["the", "caf\u00e9", None]),
])
def test_ranges_are_places_in_the_text(folder, name, text, parts):
    with model_abi.loaded(FILES[name]().write(folder / "v.gguf"), vocab_only=True) as model:
        ids, found = ranges_of(model, text.encode())
        assert ids == tokenize(model, text.encode())
        for part in parts:
            assert part is None or part.encode() in found, found
        for other in TEXTS:
            assert ranges_of(model, other)[0] == tokenize(model, other)


# ---- Unigram ----

def test_unigram_takes_the_best_sum(folder):
    """Against every way to cut the text, scored in Python."""
    tokens, scores, types = family_tools.unigram_tokens()
    score = {t: 0.0 if k == 4 else float(np.float32(s)) for t, s, k in zip(tokens, scores, types) if k in (1, 4, 5)}
    unknown = min(float(np.float32(s)) for s, k in zip(scores, types) if k == 1) - 10
    rng = random.Random(3)
    with model_abi.loaded(FILES["t5-plain"]().write(folder / "v.gguf"), vocab_only=True) as model:
        for _ in range(300):
            text = "".join(rng.choice("abcthe qu.\u00e9\u4e16\u0416") for _ in range(rng.randrange(1, 12)))
            marked = text.replace(" ", SPACE)
            best = [0.0] + [-1e300] * len(marked)
            for end in range(1, len(marked) + 1):
                best[end] = max([best[b] + score[marked[b:end]] for b in range(end) if marked[b:end] in score]
                                + ([best[end - 1] + unknown] if marked[end - 1] not in score else []))
            ids = tokenize(model, text.encode())
            runs = sum(c not in score for c in marked)
            got = sum(score[tokens[i]] for i in ids if i != 2) + runs * unknown
            assert abs(got - best[-1]) < 1e-6, (text, ids)   # sums of at most 12 terms below 100


def test_unigram_time_is_linear(folder):
    with model_abi.loaded(FILES["t5"]().write(folder / "v.gguf"), vocab_only=True) as model:
        for letter in (b"a", b" ", b"\xff", "\u4e16".encode()):
            seconds = []
            for n in (20_000, 320_000):
                began = time.process_time()
                tokenize(model, letter * n)
                seconds.append(time.process_time() - began)
            assert seconds[1] < 100 * seconds[0] + 0.5   # 16 times as long; a square would be 256 times


CHARSMAP = family_tools.compile_charsmap(family_tools.nfkc_rules())


@pytest.mark.parametrize("charsmap, sentence", [
    (b"", "0 bytes"), (b"\0\0\0", "3 bytes"), (struct.pack("<I", 4) + bytes(4), "no room"), (b"\xff\xff\xff\xff" + bytes(8), "no room"),
    (CHARSMAP + b"x", "does not end"), (CHARSMAP + b"x" * 2000 + b"\0", "more than 1024 bytes")])
def test_charsmap_refused(folder, charsmap, sentence):
    with pytest.raises(AssertionError, match=sentence):
        with model_abi.loaded(family_tools.unigram_gguf(charsmap=charsmap).write(folder / "v.gguf"), vocab_only=True):
            pass


@pytest.mark.parametrize("seed", range(30))
def test_charsmap_damaged_does_no_harm(folder, seed):
    rng = random.Random(seed)
    damaged = bytearray(CHARSMAP)
    for _ in range(rng.choice([1, 10, 300])):
        damaged[rng.randrange(4, len(damaged) - 1)] = rng.randrange(256)
    with model_abi.loaded(family_tools.unigram_gguf(charsmap=bytes(damaged)).write(folder / "v.gguf"), vocab_only=True) as model:
        for text in TEXTS:
            assert all(0 <= token < 400 for token in tokenize(model, text))
