"""RWKV, PLaMo-2, BPE on the text itself, DNA: what ids of llama.cpp cannot show - round trips, ranges, time, odd vocabularies.

test_families.py has llama.cpp's ids of the same vocabularies. Next: text_vocabularies.py makes them.
"""
from __future__ import annotations

import ctypes as C
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import family_tools
import model_abi
from gguf_writer import ARRAY, F32
from split_tools import repaired
from text_vocabularies import BYTES
from vocab_tools import detokenize, lib, piece, tokenize

SPACE = "\u2581"
ROUND_TRIPS = ("rwkv", "plamo2", "gpt2-gemma4", "sarvam-whole", "t5-bytes-plain")


def make(name: str):
    if name == "sarvam-whole":   # with all byte tokens
        return family_tools.text_vocabularies.raw_bpe(family_tools.base_gguf, "gpt2", "gemma4", add_eos_token=True)
    if name == "t5-bytes-plain":
        return family_tools.unigram_gguf(spell=True)
    return family_tools.FILES[name]()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    loaded = {}
    for name in {*ROUND_TRIPS, *family_tools.text_vocabularies.FILES}:
        loaded[name] = C.c_void_p(model_abi.load(make(name).write(folder / f"{name}.gguf"), vocab_only=True))
        assert loaded[name].value, model_abi.last_error()
    yield loaded
    for model in loaded.values():
        lib.llama_model_free(model)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40) | st.binary(max_size=40))
@example(text="\ufeff\ufeffa  b\n\n\n\u2581")
@example(text=b"\xf0\x9f\x99\xc3")
def test_detokenize_gives_the_text_back(models, text):
    """Bytes for bytes where all bytes are tokens; what is no UTF-8 comes back as U+FFFD, but from RWKV as it was."""
    given_bytes = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if any(special in given_bytes for special in (b"<user>", b"\0")):
        return
    for name in ROUND_TRIPS:
        ids = tokenize(models[name], given_bytes)
        spelled = b"".join(piece(models[name], token) for token in ids)
        clean = repaired(given_bytes)
        if name == "rwkv":
            assert spelled == given_bytes
            assert detokenize(models[name], ids, unparse=True) == given_bytes
        elif name == "plamo2":
            assert spelled == clean.removeprefix(b"\xef\xbb\xbf")
        elif name == "t5-bytes-plain":   # bytes above 0x7F are no tokens of characters there: only ASCII comes back
            if given_bytes.isascii():
                assert spelled == given_bytes
        else:
            assert spelled.replace(SPACE.encode(), b" ") == clean.replace(SPACE.encode(), b" ")


@pytest.mark.parametrize("name", family_tools.text_vocabularies.FILES)
def test_ranges_are_places_in_the_text(models, name):
    for text in family_tools.TEXTS:
        room = 4 * len(text) + 8
        ids, ranges = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
        n = lib.bitnet_tokenize(models[name], text, len(text), ids, ranges, room, 0)
        assert ids[:n] == tokenize(models[name], text)
        places = list(zip(ranges[: 2 * n : 2], ranges[1 : 2 * n : 2]))
        assert all(0 <= a <= b <= len(text) for a, b in places), text
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(places, places[1:])), text
        if name == "rwkv":
            assert all(text[a:b] == piece(models[name], token) or token in (257, 0) for token, (a, b) in zip(ids, places)), text


def test_ranges_of_small_letters(models):
    """A letter can become longer or shorter when it becomes small: U+0130 (2 bytes) is i, U+023A (2) is U+2C65 (3)."""
    text = "\u0130x \u023aB".encode() + b"\xff c"
    ids, ranges = (C.c_int32 * 99)(), (C.c_int32 * 198)()
    n = lib.bitnet_tokenize(models["whitespace"], text, len(text), ids, ranges, 99, 0)
    places = list(zip(ranges[: 2 * n : 2], ranges[1 : 2 * n : 2]))
    assert [text[a:b] for a, b in places if text[a:b] in (b"x", b"c")] == [b"x", b"c"]
    assert any(text[a:b] == "\u0130".encode() for a, b in places)


@pytest.mark.parametrize("name", ["rwkv", "plamo2", "gemma4", "whitespace", "hybriddna"])
@pytest.mark.parametrize("text", ["a", " ", "\n", "\U0001f642", "<dna>", "\xff", "ab "],
                         ids=["a", "space", "line", "emoji", "dna", "byte", "words"])
def test_time_is_linear(models, name, text):
    data = text.encode("latin-1" if text == "\xff" else "utf-8")
    seconds = []
    for n in (100_000, 1_600_000):
        began = time.process_time()
        tokenize(models[name], data * (n // len(data)))
        seconds.append(time.process_time() - began)
    assert seconds[1] < 100 * seconds[0] + 0.5   # 16 times as long, a square would take 256 times


def test_rwkv_without_a_byte_goes_on(tmp_path):
    """llama.cpp never returns from such a vocabulary; the byte is left out, or the unknown token where there is one."""
    tokens = ["<s>", "a", "abc", "\\xe4\\xb8"]
    with model_abi.loaded(family_tools.base_gguf("rwkv", tokens, [3, 1, 1, 1], []).write(tmp_path / "v.gguf"), vocab_only=True) as model:
        assert tokenize(model, b"ababcz\xe4\xb8\x96") == [1, 2, 3]


def test_plamo_prefers_long_tokens_and_leaves_out_the_impossible(tmp_path):
    tokens = ["<unk>", "<s>", "</s>", "<pad>", *BYTES, "a", "ab", "b", "abc", "c"]
    scores = [0.0] * 260 + [-1.0, -2.0, -1.0, -2500.0, -1.0]
    kv = [("tokenizer.ggml.scores", ARRAY, (F32, scores))]
    with model_abi.loaded(family_tools.base_gguf("plamo2", tokens, [2, 3, 3, 3] + [6] * 256 + [1] * 5, kv).write(tmp_path / "v.gguf"),
                          vocab_only=True) as model:
        assert tokenize(model, b"abc") == [261, 264]   # ab and a b cost the same
        assert tokenize(model, "\ufeff\u00e9".encode()) == [4 + 0xC3, 4 + 0xA9]
        assert lib.llama_vocab_nl(model) == 14


def test_plamo_scores_that_are_no_numbers(tmp_path):
    tokens = ["<unk>", "<s>", "</s>", "<pad>", *BYTES, "a", "b", "c", "d"]
    scores = [0.0] * 260 + [float("nan"), float("inf"), float("-inf"), 3e38]
    kv = [("tokenizer.ggml.scores", ARRAY, (F32, scores))]
    with model_abi.loaded(family_tools.base_gguf("plamo2", tokens, [2, 3, 3, 3] + [6] * 256 + [1] * 4, kv).write(tmp_path / "v.gguf"),
                          vocab_only=True) as model:
        assert tokenize(model, b"abcd") == [4 + 97, 4 + 98, 4 + 99, 4 + 100]


def test_dna_tags_need_all_three_tokens(tmp_path):
    """Without <oov> it is byte-level BPE, as in llama.cpp."""
    gguf = family_tools.FILES["hybriddna"]()
    tokens = next(value for key, _, value in gguf.kv if key == "tokenizer.ggml.tokens")[1]
    tokens[tokens.index("<oov>")] = "<oo>"
    with model_abi.loaded(gguf.write(tmp_path / "v.gguf"), vocab_only=True) as model:
        assert b"".join(piece(model, token) for token in tokenize(model, b"<dna>ACGTAC")) == b"<dna>ACGTAC"
        assert tokens.index("<dna>") not in tokenize(model, b"<dna>ACGTAC")


def test_an_overlong_space_is_no_space(models):
    """llama.cpp escapes spaces first and shortens overlong characters then."""
    ids = tokenize(models["gpt2-gemma4"], b"\xe0\x80\xa0a \xc0\xa0")
    assert b"".join(piece(models["gpt2-gemma4"], token) for token in ids) == b" a  "
    texts = [lib.llama_vocab_get_text(models["gpt2-gemma4"], token) for token in ids]
    assert texts.count(b"<0x20>") == 2 and SPACE.encode() in b"".join(texts)


def test_gemma4_adds_bos_whatever_the_file_says(models):
    assert lib.llama_vocab_get_add_bos(models["gemma4"])
    assert tokenize(models["gemma4"], b"a", special=True)[0] == 1
