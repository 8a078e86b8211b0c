"""No text costs more than its length times a logarithm: four times the text takes about four times as long, for every family.

CPU time, the least of several runs; a quadratic step would give a ratio of 16. Next: test_vocab.py and test_families.py for the ids.
"""
import ctypes as C
import itertools
import random
import time

import pytest

import family_tools
import model_abi
import vocab_tools
from test_vocab import SPM
from vocab_tools import lib

N = 200_000
MOST = 6.0     # n log n gives 4.5; the rest is caches
TRIES = 6
FAMILIES = {"llama-bpe": lambda: vocab_tools.bpe_gguf("llama-bpe"), "gpt-2": lambda: vocab_tools.bpe_gguf("gpt-2"),
            "spm": lambda: vocab_tools.spm_gguf(SPM | {"\u2581\u2581": -5.0, "\u2581\u2581\u2581\u2581": -4.0}),
            "wordpiece": family_tools.wordpiece_gguf, "unigram": family_tools.unigram_gguf}
CJK = "".join(chr(0x4E00 + i * 37 % 3000) for i in range(1000))
TEXTS = {"one letter": b"e", "spaces": b" ", "newlines": b"\n", "one emoji": "\U0001F600".encode(), "two letters": b"ab", "digits": b"7",
         "marks": "\u0301".encode(), "invalid": b"\xff", "broken": b"\xe4\xb8", "a word of Chinese": CJK.encode(), "a special": b"<|end|>",
         "half a special": b"<|im_", "escapes": "\u2581".encode(), "a letter and marks": "a\u0301\u0316".encode(), "random": None}


def text_of(kind: str, n: int) -> bytes:
    piece = TEXTS[kind]
    return random.Random(1).randbytes(n) if piece is None else (piece * (n // len(piece) + 1))[:n]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    with model_abi.loaded(FAMILIES[request.param]().write(tmp_path_factory.mktemp("scaling") / "v.gguf"), vocab_only=True) as loaded:
        yield loaded


@pytest.mark.parametrize("kind", TEXTS)
def test_four_times_the_text(model, kind):
    texts = [text_of(kind, n) for n in (N, 4 * N)]
    ids = (C.c_int32 * (12 * N + 16))()
    least = [float("inf")] * 2
    for i in itertools.count(1):
        for k, text in enumerate(texts):
            start = time.process_time()
            assert lib.llama_tokenize(model, text, len(text), ids, len(ids), False, True) >= 0, model_abi.last_error()
            least[k] = min(least[k], time.process_time() - start)
        if i > 1 and least[1] <= MOST * least[0] + 0.002:
            return
        assert i < TRIES, f"{kind}: {least[0] * 1e3:.1f} ms for {N} bytes, {least[1] * 1e3:.1f} ms for four times as many"
