"""Merging beside its definition: the lowest rank first, from left to right, over the bytes of a word. Vocabularies of random merges,
in an order that no training gives, hold what seeds, pieces and remembered words must not change. Next: test_vocab.py for real ones.
"""
import random

import pytest

import model_abi
from gguf_writer import ARRAY, I32, STRING, Gguf, byte_chars
from vocab_tools import tokenize

# Characters of two, three and four bytes that share bytes with each other, and what may stand between words.
LETTERS = "aбвжꙁ中串丰事가각갂뀁𐐁𐐂𐑂"
CHARS = byte_chars()


def plain(word: bytes, ranks: dict[tuple[bytes, bytes], int]) -> list[bytes]:
    parts = [word[i:i + 1] for i in range(len(word))]
    while len(parts) > 1:
        rank, at = min((ranks.get((parts[i], parts[i + 1]), 1 << 30), i) for i in range(len(parts) - 1))
        if rank == 1 << 30:
            break
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts


def random_ranks(rng: random.Random, letters: list[str]) -> dict[tuple[bytes, bytes], int]:
    """Neighbours in random texts, so that many merges apply; then lines are moved, so that some stand before those of their parts."""
    pairs = []
    for _ in range(rng.randint(5, 60)):
        ranks = {pair: i for i, pair in enumerate(pairs)}
        parts = plain("".join(rng.choices([*letters, " "], k=8)).encode()[rng.randrange(3):], ranks)
        at = rng.randrange(len(parts))
        if at + 1 < len(parts):
            pairs.append((parts[at], parts[at + 1]))
    for _ in range(rng.randrange(len(pairs) + 1)):
        pairs.insert(rng.randrange(len(pairs)), pairs.pop(rng.randrange(len(pairs))))
    return {pair: i for i, pair in enumerate(pairs)}


def write(path, ranks, pre="gpt-2") -> list[bytes]:
    """A vocabulary of these merges; its tokens."""
    tokens = list(dict.fromkeys([bytes([b]) for b in range(256)] + [left + right for left, right in ranks]))
    spell = {data: "".join(CHARS[b] for b in data) for data in tokens}
    Gguf(kv=[("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, "gpt2"),
             ("tokenizer.ggml.pre", STRING, pre), ("tokenizer.ggml.tokens", ARRAY, (STRING, list(spell.values()))),
             ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * len(tokens))),
             ("tokenizer.ggml.merges", ARRAY, (STRING, [f"{spell[a]} {spell[b]}" for a, b in ranks]))]).write(path)
    return tokens


@pytest.mark.parametrize("seed", range(100))
def test_words_of_random_merges(seed, tmp_path):
    rng = random.Random(seed)
    letters = rng.sample(LETTERS, rng.randint(2, 5))
    ranks = random_ranks(rng, letters)
    tokens = write(tmp_path / "v.gguf", ranks)
    with model_abi.loaded(tmp_path / "v.gguf", vocab_only=True) as model:
        for length in [*range(1, 12), 20, 33, 60] * 2:
            word = "".join(rng.choices(letters, k=length)).encode()
            for text in (word, b" " + word):
                assert [tokens[i] for i in tokenize(model, text)] == plain(text, ranks), text


@pytest.mark.parametrize("seed", range(40))
def test_texts_of_random_merges(seed, tmp_path):
    """Long enough that words and their pieces are remembered; what is a token is one where it is a word (llama-bpe), not as a piece."""
    rng = random.Random(1000 + seed)
    letters = rng.sample(LETTERS, rng.randint(3, 6))
    ranks = random_ranks(rng, letters)
    tokens = write(tmp_path / "v.gguf", ranks, "llama-bpe")
    words = ["".join(rng.choices(letters, k=rng.choice([1, 1, 2, 3, 5, 8, 20]))) for _ in range(200)]
    words += [t.decode() for t in tokens if len(t) > 1 and set(t.decode(errors="replace")) <= set(letters)]
    text = [b" " + word.encode() for word in rng.choices(words, k=500)]
    expected = [part for word in text for part in ([word] if word in tokens else plain(word, ranks))]
    with model_abi.loaded(tmp_path / "v.gguf", vocab_only=True) as model:
        assert [tokens[i] for i in tokenize(model, b"".join(text))] == expected
