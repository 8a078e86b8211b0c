"""bitnet_tokenize_batch and Model.encode_batch: the tokens and ranges of every text are those of a call of its own, for every family,
flag and number of threads, though words are remembered from text to text; and a text that is refused is named.

Single calls with wrong arguments: calls_vocab.py. Memory that runs out: test_vocab_memory.py.
"""
import ctypes as C
import mmap
import os
import random

import numpy as np
import pytest

import family_tools
import model_abi
import vocab_tools
from bitnet_ffi import Model
from test_vocab import SPM
from vocab_tools import lib

POINTER = C.POINTER(C.c_int32)
lib.bitnet_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, POINTER, POINTER, C.c_int32, C.c_uint32]
lib.bitnet_tokenize_batch.argtypes = [C.c_void_p, C.POINTER(C.c_char_p), C.POINTER(C.c_int64), C.c_int32, POINTER, POINTER, C.c_int64,
                                      C.POINTER(C.c_int64), C.c_uint32, C.c_int32]
lib.bitnet_tokenize_batch.restype = C.c_int64
WORDS = ["the", " The", "'s", " ", "  ", "\n", "\t", "1234", ",", "...", "\u00e9", " \u00e9t\u00e9", "\u4e2d\u6587", "\u3042",
         "\ud55c\uad6d", "\U0001f600", "<|im_end|>", "<s>", "<user>", "<dna>ACGTN</dna>", "supercalifragilistic", "e" * 50]


def made_up(seed, n_texts):
    """Texts of 0 to 4000 bytes, most of them short; some cut within a character."""
    rng = random.Random(seed)
    return [("".join(rng.choices(WORDS, k=rng.choice([0, 1, 3, 20, 20, 700])))).encode()[rng.randrange(3):] for _ in range(n_texts)]


def one_by_one(model, texts, flags):
    ids, ranges, offsets = [], [], [0]
    for text in texts:
        room = 8 * len(text) + 8
        found, places = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
        n = lib.bitnet_tokenize(model, text, len(text), found, places, room, flags)
        assert n >= 0, model_abi.last_error()
        ids += found[:n]
        ranges += places[:2 * n]
        offsets.append(len(ids))
    return ids, ranges, offsets


def together(model, texts, flags, n_threads, room):
    ids, ranges, offsets = (C.c_int32 * room)(), (C.c_int32 * (2 * room))(), (C.c_int64 * (len(texts) + 1))()
    n = lib.bitnet_tokenize_batch(model, (C.c_char_p * len(texts))(*texts), (C.c_int64 * len(texts))(*map(len, texts)), len(texts),
                                  ids, ranges, room, offsets, flags, n_threads)
    assert n == room, model_abi.last_error()
    return list(ids), list(ranges), list(offsets)


FAMILIES = {"bpe": lambda: vocab_tools.bpe_gguf("llama-bpe"), "spm": lambda: vocab_tools.spm_gguf(SPM, add_bos_token=True),
            **{name: make for name, make in family_tools.FILES.items()}}


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_together_are_texts_one_by_one(name, tmp_path):
    texts = made_up(name, 120)
    assert sum(map(len, texts)) > 3 * 16384     # enough for several threads
    with model_abi.loaded(FAMILIES[name]().write(tmp_path / "v.gguf"), vocab_only=True) as model:
        for flags in (0, 3, 4, 8 + 2):
            expected = one_by_one(model, texts, flags)
            for n_threads in (1, 2, 5):
                assert together(model, texts, flags, n_threads, len(expected[0])) == expected


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = vocab_tools.bpe_gguf("llama-bpe").write(tmp_path_factory.mktemp("vocab") / "v.gguf")
    with Model(path, vocab_only=True) as model:
        yield model


def test_arrays_of_python(model):
    texts = made_up(1, 200) + [b"\xff" * 3000]        # more tokens than bytes
    assert sum(len(model.encode(text)) for text in texts[-1:]) > 3000
    for n_threads in (None, 1, 2):
        for text, (ids, offsets) in zip(texts, model.encode_batch(texts, n_threads=n_threads, return_offsets=True), strict=True):
            expected = model.encode(text, return_offsets=True)
            assert np.array_equal(ids, expected[0]) and np.array_equal(offsets, expected[1]) and ids.dtype == np.int32
    assert [len(ids) for ids in model.encode_batch([b"\xff" * 100] * 9)] == [len(model.encode(b"\xff" * 100))] * 9   # asked for again
    assert [len(ids) for ids in model.encode_batch(["", b""], add_special=False)] == [0, 0]


def test_the_first_of_the_texts_that_fail_is_named(tmp_path):
    """A space takes 3 bytes there: 2^31 / 3 of them are too many. They lie in one block of memory that is mapped again and again."""
    block, n_blocks = 1 << 21, 342
    size, file = block * n_blocks, os.memfd_create("spaces")
    os.write(file, b" " * block)
    libc = C.CDLL(None)
    libc.mmap.restype, libc.mmap.argtypes = C.c_void_p, [C.c_void_p, C.c_size_t, C.c_int, C.c_int, C.c_int, C.c_long]
    libc.munmap.argtypes = [C.c_void_p, C.c_size_t]
    spaces = libc.mmap(None, size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)   # PROT_NONE
    for i in range(n_blocks):
        assert libc.mmap(spaces + i * block, block, mmap.PROT_READ, mmap.MAP_SHARED | 0x10, file, 0) == spaces + i * block   # MAP_FIXED
    texts = (C.c_char_p * 4)(b"the", C.cast(spaces, C.c_char_p), b"the", C.cast(spaces, C.c_char_p))
    lengths, offsets, ids = (C.c_int64 * 4)(3, size, 3, size), (C.c_int64 * 5)(*[7] * 5), (C.c_int32 * 99)(*[7] * 99)
    with model_abi.loaded(vocab_tools.spm_gguf(SPM).write(tmp_path / "v.gguf"), vocab_only=True) as model:
        for n_threads in (1, 2):
            assert lib.bitnet_tokenize_batch(model, texts, lengths, 4, ids, None, 99, offsets, 0, n_threads) == -2**63
            code, sentence = model_abi.last_error()
            assert sentence == f"text 1: text: {3 * size + 3} bytes with its spaces escaped, expected at most 2147483647"
            assert set(offsets) == set(ids) == {7}
    libc.munmap(spaces, size)
    os.close(file)
