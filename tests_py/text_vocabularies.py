"""Vocabularies of the families that read the text itself: RWKV, PLaMo-2, BPE without the byte alphabet, and DNA between tags.

Made by chance, with a fixed seed, from parts of split_tools.TEXTS, so that much of these texts is tokens and much nearly is.
Next: family_tools.py lists them with the others.
"""
from __future__ import annotations

import random

from gguf_writer import ARRAY, BOOL, F32, STRING, U32
from split_tools import TEXTS, pair_merges, pair_tokens, repaired

SPACE = "\u2581"
BYTES = [f"<0x{b:02X}>" for b in range(256)]
STRANDS = ["AAAAAA", "ACGTAC", "GTACGT", "TTTTTT", "CCCCCC", "ACGTAA", "GAAAAA", "NNNNNN"]
RESERVED = {"<s>", "</s>", "<pad>", "<user>", "<|end|>", "<|unk|>", "<|bos|>", "<|eos|>", "<|pad|>"}
DNA_TEXTS = [text.encode() for text in (
    "<dna>ACGTACGTACGTTTTTTT</dna>", "the <dna>acgtacgtacgtg</dna> strand CCCCCC<dna>CCCCCCCCCCC", "<dna></dna><dna>",
    "a<dna>ACGTAC<dna>GTACGT",
    "</dna>ACGTAC <dna>ACGTXC NNNNNNnnnnnn\u00e9</dna>\u00e9")] + [b"<dna>AC\xffGTA\x00</dna>"]


def parts(rng: random.Random, n: int, longest: int) -> list[str]:
    """Parts of the texts, different ones."""
    texts = [repaired(text).decode("utf-8", "replace") for text in TEXTS if len(text) > 8]
    found: dict[str, None] = {}
    while len(found) < n:
        text = rng.choice(texts)
        at = rng.randrange(len(text))
        found[text[at : at + rng.randint(1, longest)]] = None
    return [part for part in found if "\0" not in part and part not in RESERVED]


def roles(**ids: int) -> list:
    return [(f"tokenizer.ggml.{name}_token_id", U32, i) for name, i in ids.items()]


def escaped(data: bytes) -> str:
    names = {0x5C: "\\\\", 10: "\\n", 9: "\\t", 13: "\\r"}
    return "".join(names.get(b, chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)


def rwkv(base_gguf):
    """All bytes, parts of the texts (some of them ending within a character), a control and a user-defined token."""
    rng = random.Random(11)
    data = [part.encode() for part in parts(rng, 700, 7)]
    tokens = ["<s>"] + [escaped(bytes([b])) for b in range(256)] + [escaped(d) for d in data]
    tokens += [escaped(d[:-1]) for d in data if len(d) > 2]
    tokens = list(dict.fromkeys(tokens)) + ["\\x61", "<|end|>", "<user>"]   # 'a' once more
    return base_gguf("rwkv", tokens, [3] + [1] * (len(tokens) - 3) + [3, 4], [])


def plamo2(base_gguf):
    """Byte tokens and parts of the texts with scores, many of them equal."""
    rng = random.Random(12)
    texts = [part for part in parts(rng, 900, 6) if part not in (*BYTES, "\ufeff")] + ["\ufeff"]
    tokens = ["<|unk|>", "<|bos|>", "<|eos|>", "<|pad|>", "<user>"] + BYTES + texts
    scores = [0.0] * (5 + 256) + [-rng.choice([1.0, 2.0, 3.5, 9.25, rng.uniform(0, 20), 2000.0]) for _ in texts]
    kinds = [2, 3, 3, 3, 4] + [6] * 256 + [1] * len(texts)
    return base_gguf("plamo2", tokens, kinds, [("tokenizer.ggml.scores", ARRAY, (F32, scores))])


def raw_bpe(base_gguf, model: str, pre: str | None, **flags: bool):
    """Characters of the texts, but for some; merges of neighbours; runs of line feeds; byte tokens."""
    rng = random.Random(13)
    chars = sorted({c for part in parts(rng, 3000, 4) for c in part.replace(" ", SPACE)} - {"\r"})
    chars = [c for c in chars if rng.random() < 0.95 or c < "\x80"]
    known, merges = dict.fromkeys(chars), {}
    for part in parts(rng, 2500, 6):
        part = part.replace(" ", SPACE)
        for i in range(1, len(part)):
            left, right = part[:i], part[i:]
            if left in known and right in known and "\r" not in part and part not in RESERVED:
                merges[left, right] = None
                known[part] = None
                break
    lines = [line for line in ("\n\n", "\n\n\n\n") if line not in known]
    tokens = ["<pad>", "<s>", "</s>", "<user>"] + list(known) + lines
    bytes_ = BYTES if pre != "sarvam-moe" else BYTES[:0xE0]
    kinds = [3, 3, 3, 4] + [1] * (len(tokens) - 4) + [6] * len(bytes_)
    kv = [("tokenizer.ggml.merges", ARRAY, (STRING, [f"{a} {b}" for a, b in merges]))] + roles(padding=0, bos=1, eos=2)
    kv += [("tokenizer.ggml.pre", STRING, pre)] if pre else []
    return base_gguf(model, tokens + bytes_, kinds, kv + [(f"tokenizer.ggml.{key}", BOOL, value) for key, value in flags.items()])


def hybriddna(base_gguf):
    """Byte-level BPE, then tags, and strands that are marked with U+E000."""
    tokens = pair_tokens() + ["<dna>", "</dna>", "<oov>"] + [strand + "\ue000" for strand in STRANDS]
    kinds = [1] * (len(pair_tokens()) - 1) + [3] + [1] * (3 + len(STRANDS))
    kv = [("tokenizer.ggml.merges", ARRAY, (STRING, pair_merges())), ("tokenizer.ggml.pre", STRING, "qwen2")]
    return base_gguf("hybriddna", tokens, kinds, kv + roles(bos=0, eos=0))


FILES = {"rwkv": rwkv, "plamo2": plamo2, "gemma4": lambda base: raw_bpe(base, "gemma4", None, add_bos_token=False),
         "gpt2-gemma4": lambda base: raw_bpe(base, "gpt2", "granite-embed-multi-311m"),
         "sarvam-moe": lambda base: raw_bpe(base, "gpt2", "sarvam-moe", add_eos_token=True),
         "whitespace": lambda base: raw_bpe(base, "whitespace", "whitespace", **{"normalizer.lowercase": True}),
         "whitespace-cased": lambda base: raw_bpe(base, "whitespace", "whitespace"), "hybriddna": hybriddna}
