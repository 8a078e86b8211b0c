"""Rank files of tiktoken: a line "base64 rank" a token. Which tokenizer it is, and its special tokens, stand in no such
file; the number of ranks tells the known ones apart.

Merges are found again by merging each token from its bytes with the ranks below its own, which must leave two parts.
Next: vocabulary.py. Source: tiktoken's load.py and openai_public.py; Llama 3's tokenizer.py.
"""

from __future__ import annotations

import base64
import binascii

from ..errors import InvalidModelError
from .vocabulary import CONTROL, NORMAL, Vocabulary, byte_alphabet, place


def _llama3_specials() -> dict[int, str]:
    names = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(4)), "<|start_header_id|>",
             "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
    names += [f"<|reserved_special_token_{i}|>" for i in range(5, 251)]
    return dict(enumerate(names, 128000))


# ranks: (name, pre, special tokens, bos, eos)
_KNOWN = {
    50256: ("r50k / GPT-2", "gpt-2", {50256: "<|endoftext|>"}, None, 50256),
    100256: ("cl100k", "dbrx", {100257: "<|endoftext|>", 100258: "<|fim_prefix|>", 100259: "<|fim_middle|>",
                                100260: "<|fim_suffix|>", 100276: "<|endofprompt|>"}, None, 100257),
    199998: ("o200k", "gpt-4o", {199999: "<|endoftext|>", 200018: "<|endofprompt|>"}, None, 199999),
    128000: ("Llama 3", "llama-bpe", _llama3_specials(), 128000, 128001),
}


def looks_like(data: bytes) -> bool:
    """Is the first line "base64 number"?"""
    words = data[:4096].split(b"\n", 1)[0].split()
    try:
        return len(words) == 2 and words[1].isdigit() and bool(base64.b64decode(words[0], validate=True))
    except binascii.Error:
        return False


def read_ranks(data: bytes, source: str) -> dict[bytes, int]:
    """Rank by token. Errors: InvalidModelError with the line."""
    ranks: dict[bytes, int] = {}
    for no, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            text, rank = line.split()
            token = base64.b64decode(text, validate=True)
            if not token or token in ranks:
                raise ValueError
            ranks[token] = int(rank)
        except ValueError:  # binascii.Error is one
            raise InvalidModelError(f"{source}: line {no} is no new token and its rank") from None
    if len(set(ranks.values())) != len(ranks) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise InvalidModelError(f"{source}: two tokens have one rank, or a byte has none")
    return ranks


def merge_parts(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The parts that are left when only tokens below this one's rank may be made."""
    limit = ranks[token]
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(a + b, limit) for a, b in zip(parts, parts[1:])]
        best = min(joined)
        if best >= limit:
            break
        i = joined.index(best)
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return parts


def vocabulary_of(ranks: dict[bytes, int], pre: str, specials: dict[int, str], source: str) -> Vocabulary:
    """Byte-level BPE with these ranks as ids and merges in their order."""
    letters = byte_alphabet()

    def spelled(data: bytes) -> str:
        return "".join([letters[byte] for byte in data])

    merges, alone = [], 0
    for token in sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__):
        parts = merge_parts(token, ranks)
        if len(parts) == 2:
            merges.append(f"{spelled(parts[0])} {spelled(parts[1])}")
        else:
            alone += 1
    tokens, types = place({rank: spelled(token) for token, rank in ranks.items()} | specials,
                          dict.fromkeys(ranks.values(), NORMAL) | dict.fromkeys(specials, CONTROL), source)
    vocabulary = Vocabulary(source, "gpt2", tokens, types, merges=merges, pre=pre)
    if alone:
        vocabulary.notes.append(f"{alone} tokens cannot be merged from two others")
    return vocabulary


def parse(data: bytes, source: str) -> Vocabulary:
    """The vocabulary in the bytes of a rank file. Errors: InvalidModelError."""
    ranks = read_ranks(data, source)
    known = _KNOWN.get(len(ranks))
    if known is None:
        names = ", ".join(f"{n} ({entry[0]})" for n, entry in _KNOWN.items())
        raise InvalidModelError(f"{source}: {len(ranks)} ranks, expected {names}; use the tokenizer.json of the model")
    name, pre, specials, bos, eos = known
    vocabulary = vocabulary_of(ranks, pre, specials, source)
    vocabulary.roles = {"eos": eos} if bos is None else {"bos": bos, "eos": eos}
    vocabulary.flags = {"add_bos_token": bos is not None, "add_eos_token": False}
    vocabulary.notes.append(f"known by its size as {name}; special tokens are that tokenizer's")
    return vocabulary
