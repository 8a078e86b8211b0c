"""Texts of megabytes: ids beside llama.cpp's where it is installed, and hashes of ids everywhere.

BITNET_PARITY_MB says how many megabytes the texts beside llama.cpp have (2; it was run with 100). Its vocabulary files are used too
where they are. The hashes are of the same ids for the small vocabularies. Next: test_vocab_peer.py for texts of all kinds.
"""
import ctypes as C
import hashlib
import os
import random
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

import model_abi
import vocab_tools
from model_abi import lib
from peer_tools import llama_cpp_python
from test_vocab import SPM

SIZE_MB = float(os.environ.get("BITNET_PARITY_MB", "2"))
SHARED = Path(__file__).resolve().parents[2] / "shared" / "vocab"
SMALL = {"gpt-2": lambda: vocab_tools.bpe_gguf("gpt-2"), "llama-bpe": lambda: vocab_tools.bpe_gguf("llama-bpe"),
         "llama-spm": lambda: vocab_tools.spm_gguf(SPM)}
ASCII = ((0x61, 26),)
ALPHABETS = (*ASCII * 3, (0x430, 32), (0x3B1, 25), (0x5D0, 27), (0x905, 53), (0x4E00, 3000), (0x3042, 80), (0xAC00, 3000), (0x1F600, 60))
COMMON = "the of and to in is was for on that with as by it from at be this have are not or which one you all The It In Tokens".split()
BETWEEN = (" ",) * 12 + (", ", ". ", "\n", "\n\n", "  ", "-", "'s ", " (", ") ", ": ", "\t", " 12 ", " 2026", "/", "_", "!\n")
BLOCK = 1_000_000


def text_of(kind: str, size: int) -> bytes:
    """Words as often used as words are (by Zipf's law), of one alphabet or ten, with what stands between words. Every block of
    a megabyte is another one; the same on every machine."""
    out = bytearray()
    words = random.Random(kind)
    made = [*COMMON, *(word_of(words, ASCII if kind == "english" else ALPHABETS) for _ in range(20_000))]
    weights = list(accumulate(1 / (i + 3) for i in range(len(made))))
    while len(out) < size:
        rng = random.Random(f"{kind} {len(out)}")
        n = BLOCK // 4
        parts = [""] * (2 * n)
        parts[::2], parts[1::2] = rng.choices(made, cum_weights=weights, k=n), rng.choices(BETWEEN, k=n)
        block = "".join(parts)
        out += (block[0].upper() + block[1:]).encode()[:BLOCK].decode(errors="ignore").encode()
    return bytes(out[:size]).decode(errors="ignore").encode()


def word_of(rng: random.Random, alphabets) -> str:
    first, n = alphabets[int(rng.random() * len(alphabets))]
    return "".join(chr(first + int(rng.random() * rng.random() * n)) for _ in range(1 + int(rng.random() * 9)))


def ids_of(library, vocab, text: bytes) -> np.ndarray:
    ids = np.empty(len(text) + 16, np.int32)
    n = library.llama_tokenize(vocab, text, len(text), ids.ctypes.data_as(C.POINTER(C.c_int32)), len(ids), True, False)
    assert n > 0
    return ids[:n]


@pytest.fixture(scope="module", params=SMALL)
def small(request, tmp_path_factory):
    path = SMALL[request.param]().write(tmp_path_factory.mktemp("large") / f"{request.param}.gguf")
    return request.param, path


# The first quarter of SHA-256 of the ids, int32, of two megabytes; llama.cpp (llama-cpp-python 0.3.36) has the same ids.
HASHES = {("gpt-2", "english"): "f3c79e9c486383e3", ("gpt-2", "mixed"): "7ab78432ff1df32b",
          ("llama-bpe", "english"): "2e2e1853289154fa", ("llama-bpe", "mixed"): "c52ac577fa5bdb9e",
          ("llama-spm", "english"): "e4e888b80dae6e0c", ("llama-spm", "mixed"): "beefd0a6df299d41"}


@pytest.mark.parametrize("kind", ["english", "mixed"])
def test_ids_are_those_of_the_record(small, kind):
    name, path = small
    with model_abi.loaded(path, vocab_only=True) as model:
        assert hashlib.sha256(ids_of(lib, model, text_of(kind, 2_000_000)).astype("<i4").tobytes()).hexdigest()[:16] == HASHES[name, kind]


@pytest.mark.skipif(llama_cpp_python() != "peer", reason="no llama-cpp-python with llama.cpp in it")
@pytest.mark.parametrize("kind", ["english", "mixed"])
def test_ids_are_those_of_llama_cpp(small, kind):
    import llama_cpp
    name, path = small
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    text = text_of(kind, int(SIZE_MB * 1e6))
    original = SHARED / f"ggml-vocab-{name}.gguf"
    files = {path, original} if original.is_file() else {path}
    for file in files if SIZE_MB <= 10 or len(files) == 1 else {original}:
        with model_abi.loaded(file, vocab_only=True) as model:
            ours = ids_of(lib, model, text)
        theirs = llama_cpp.llama_model_load_from_file(str(file).encode(), params)
        try:
            expected = ids_of(llama_cpp, llama_cpp.llama_model_get_vocab(theirs), text)
        finally:
            llama_cpp.llama_model_free(theirs)
        assert len(ours) == len(expected) and np.array_equal(ours, expected), f"{file}: first difference at {np.argmax(ours != expected)}"
