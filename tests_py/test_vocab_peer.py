"""Tokenizing beside llama.cpp itself, where llama-cpp-python and llama.cpp's vocabulary files are: random texts of all kinds,
every token's bytes and attributes, and tokens back to text. Next: test_vocab.py, which needs neither.
"""
import ctypes as C
import random
import re
from pathlib import Path

import pytest

import family_tools
import model_abi
import test_hf_parity
import vocab_tools
from bitnet_ffi import container, vocab_sources
from peer_tools import peer_or_skip
from gguf_writer import F32
from vocab_tools import lib

llama_cpp = peer_or_skip()

SHARED = Path(__file__).resolve().parents[2] / "shared" / "vocab"
FILES = sorted(SHARED.glob("*.gguf"))
WORDS = ["the", " The", "'s", "'LL", " ", "  ", "\n", " \n", "\r\n", "\t", "1", "1234", ",", "...", " (", "\u00e9", " \u00e9", "\u4e2d\u6587",
         "\u3042", "\ud55c\uad6d", "\u0e01\u0e32", "\u0301", "\U0001f600", "<|end|>", "<s>", "</s>", "<unk>", "<|begin_of_text|>",
         "<|endoftext|>", "\u2581", "<0x0A>", "\0", "\u00a0", "\u3000", "zebra", "ing", "tion"]


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem[11:])
def both(request):
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    theirs = llama_cpp.llama_model_load_from_file(str(request.param).encode(), params)
    with model_abi.loaded(request.param, vocab_only=True) as ours:
        yield ours, llama_cpp.llama_model_get_vocab(theirs)
    llama_cpp.llama_model_free(theirs)


def random_text(rng) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return re.sub(rb"[\xf4-\xff]", b"\xf3", rng.randbytes(rng.randrange(60)))  # llama.cpp aborts beyond U+10FFFF
    if kind == 1:
        return "".join(chr(rng.choice([rng.randrange(128), rng.randrange(0x800), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
                       for _ in range(rng.randrange(40))).encode()
    if kind == 2:
        return (rng.choice(WORDS) * rng.randrange(100)).encode()
    return "".join(rng.choices(WORDS, k=rng.randrange(40))).encode()


def theirs_of(vocab, text, special, parse):
    ids = (C.c_int32 * (3 * len(text) + 16))()
    return ids[:llama_cpp.llama_tokenize(vocab, text, len(text), ids, len(ids), special, parse)]


def test_ids_of_random_texts(both):
    ours, theirs = both
    rng = random.Random(5)
    for _ in range(1500):
        text, special, parse = random_text(rng), rng.random() < 0.5, rng.random() < 0.5
        assert vocab_tools.tokenize(ours, text, special=special, parse=parse) == theirs_of(theirs, text, special, parse), text


def test_room_is_told_alike(both):
    ours, theirs = both
    ids = (C.c_int32 * 4)()
    for room in (0, 1, 3):
        text = b"one two three four five"
        assert lib.llama_tokenize(ours, text, len(text), ids, room, True, False) == \
            llama_cpp.llama_tokenize(theirs, text, len(text), ids, room, True, False) < 0


def test_bytes_of_every_token(both):
    ours, theirs = both
    buffers = C.create_string_buffer(512), C.create_string_buffer(512)
    n = lib.llama_vocab_n_tokens(ours)
    assert n == llama_cpp.llama_vocab_n_tokens(theirs)
    for token in range(n):
        for room, lstrip, special in ((512, 0, True), (512, 0, False), (512, 1, True), (2, 0, True)):
            found = [f(v, token, b, room, lstrip, special) for f, v, b in (
                (lib.llama_token_to_piece, ours, buffers[0]), (llama_cpp.llama_token_to_piece, theirs, buffers[1]))]
            assert found[0] == found[1], (token, room, lstrip, special)
            assert buffers[0].raw[:max(found[0], 0)] == buffers[1].raw[:max(found[1], 0)], (token, room, lstrip, special)
        assert lib.llama_vocab_get_text(ours, token) == llama_cpp.llama_vocab_get_text(theirs, token)
        assert lib.llama_vocab_is_eog(ours, token) == llama_cpp.llama_vocab_is_eog(theirs, token), token
        assert lib.llama_vocab_is_control(ours, token) == llama_cpp.llama_vocab_is_control(theirs, token), token


def test_roles(both):
    ours, theirs = both
    for name in vocab_tools.ROLES:
        assert getattr(lib, f"llama_vocab_{name}")(ours) == getattr(llama_cpp, f"llama_vocab_{name}")(theirs), name


def test_text_of_random_tokens(both):
    ours, theirs = both
    rng = random.Random(6)
    n = lib.llama_vocab_n_tokens(ours)
    buffers = C.create_string_buffer(1 << 14), C.create_string_buffer(1 << 14)
    for _ in range(1500):
        if rng.random() < 0.5:
            ids = theirs_of(theirs, random_text(rng), True, True)
        else:
            ids = [rng.randrange(n) for _ in range(rng.randrange(30))]
        array, remove, unparse = (C.c_int32 * len(ids))(*ids), rng.random() < 0.5, rng.random() < 0.5
        room = rng.choice([len(buffers[0]), 5])
        found = [f(v, array, len(ids), b, room, remove, unparse) for f, v, b in (
            (lib.llama_detokenize, ours, buffers[0]), (llama_cpp.llama_detokenize, theirs, buffers[1]))]
        if room == 5 and found[0] != found[1]:   # llama.cpp stops counting where the room ends; both say that it is too little
            assert found[0] < 0 and found[1] < 0
            continue
        assert found[0] == found[1] and buffers[0].raw[:max(found[0], 0)] == buffers[1].raw[:max(found[1], 0)], (ids, remove, unparse, room)


@pytest.mark.parametrize("kind", [
    "bert uncased", "bert cased", "bert accents", "unigram", "unigram without space", "t5", "sentencepiece", "gpt-4o"])
def test_embedded_tokenizers_mean_the_same(kind, tmp_path):
    """What is made of a tokenizer.json loads in llama.cpp too and has these ids there, where Hugging Face's differ as well."""
    kv = {"llama." + key: container.value(form, n) for key, form, n in family_tools.SHAPE}
    kv |= {"general.architecture": container.value(container.STRING, "llama"),
           "llama.attention.layer_norm_rms_epsilon": container.value(F32, 1e-5)}
    source = test_hf_parity.save(test_hf_parity.KINDS[kind][0](), tmp_path / "tokenizer.json")
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(container.encode(container.Head(str(path), kv | vocab_sources.read(source).metadata())))
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    theirs = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    vocab = llama_cpp.llama_model_get_vocab(theirs)
    with model_abi.loaded(path, vocab_only=True) as ours:
        for text in map(str.encode, test_hf_parity.strings("peer", 500, lambda c: True)):
            assert vocab_tools.tokenize(ours, text, special=True, parse=True) == theirs_of(vocab, text, True, True), text
    llama_cpp.llama_model_free(theirs)
