"""WordPiece and Unigram vocabularies for tests, a charsmap compiled here, and texts that are hard for all families.

`wordpiece_gguf` and `unigram_gguf` make files that llama.cpp loads too (vocab_only). Next: record_families.py asks llama.cpp,
test_families.py compares.
"""
from __future__ import annotations

import functools
import struct
import unicodedata

from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U8, U32, Gguf
import text_vocabularies
from split_tools import TEXTS as SPLIT_TEXTS

SPACE = "\u2581"
SHAPE = [(key, U32, n) for key, n in (("block_count", 1), ("context_length", 8), ("embedding_length", 32), ("feed_forward_length", 32),
                                      ("attention.head_count", 1))]
BYTES = [b"<nul>"] + [bytes([b]) for b in range(1, 256)]   # llama.cpp reads token texts up to a NUL


def base_gguf(model: str, tokens: list, types: list[int], kv: list) -> Gguf:
    shape = [("llama." + key, kind, n) for key, kind, n in SHAPE] + [("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
    return Gguf(kv=[("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, model),
                    ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
                    ("tokenizer.ggml.token_type", ARRAY, (I32, types))] + kv + shape)


# ---- WordPiece ----

WORDS = """the quick brown fox jump over lazy dog he hello world un want runn ing able iphone e bay don t s i a b c d x y z m ' " ( ) [ ]
, . ! ? - _ + = < > ^ ~ | ` $ % # @ & * / \\ : ; { } 1 2 3 12 123 90 0 caf\u00e9 cafe na nai ive \u00efve \u00e9cole ecole
\u4f60 \u597d \u4e16 \u754c \u1112 \u3053 \u041f\u0440\u0438 \u043f\u0440\u0438 \u043c\u0438\u0440 \u03ba \u03b1 \u03bb \u03b7 \u0561 stra
\u00df strasse \u00b5 \u2122 \u20ac \u00a3 \u201c \u201d \u2019 \u2014 \u2026 \U00020000 \U0001f642 \u2764 \u00a9""".split()
PARTS = """s ed er ing ly t e a b c d h i k l m n o p r u w x y z ello orld umps ick own 1 2 3 00 \u00e9 fe \u00e8
\u0440 \u0438 \u0432 \u0435 \u0442 \u03b1 \u03b7 \u03bc \u03ad \u03c1 \u03b5 \u0301 \u0308 \u0302 sse \u00df \u1161 \u11ab
\u3093 \u306b \u3061 \u306f able un runn \u2122 \ufe0f \u200d""".split()


def wordpiece_tokens() -> tuple[list[str], list[int]]:
    """[PAD] [UNK] [CLS] [SEP] [MASK], 30 unused, a user-defined token, words with U+2581, parts of words."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"[unused{i}]" for i in range(30)] + ["<user>"]
    types = [3, 2, 3, 3, 3] + [1] * 30 + [4]
    rest = list(dict.fromkeys([SPACE + w for w in WORDS] + PARTS))
    return tokens + rest, types + [1] * len(rest)


def wordpiece_gguf(spell: bool = False, **flags: bool) -> Gguf:
    """spell: every byte is a token, so that the ids spell the normalized text; otherwise BERT-like."""
    tokens, types = wordpiece_tokens()
    if spell:
        tokens, types = tokens[:5] + [SPACE] + BYTES, types[:5] + [1] * 257
    roles = [("padding", 0), ("unknown", 1), ("bos", 2), ("seperator", 3), ("mask", 4)]
    kv = [(f"tokenizer.ggml.{name}_token_id", U32, i) for name, i in roles]
    return base_gguf("bert", tokens, types, kv + [(f"tokenizer.ggml.{k}", BOOL, v) for k, v in flags.items()])


# ---- texts ----

TEXTS: list[bytes] = SPLIT_TEXTS + [text.encode() for text in (
    "", "The quick brown fox jumps over the lazy dogs.", "unwantedly running unwantable RUNNABLE", "[CLS] the fox [SEP] [MASK]ed [UNK]",
    "<user>the<user> fox <user", "caf\u00e9 cafe\u0301 CAF\u00c9 \u00c9cole na\u00efve nai\u0308ve stra\u00dfe STRASSE \u1e9e",
    "\u0130stanbul \u212a\u212b\u2126 \ufb01 \u01c5 \u1fbc \u0345 \u0344", "\ud55c\uad6d \u1112\u1161\u11ab \uac00\ud7a3",
    "a\u00adb a\u200db a\ufeffb \ufffd x\x00y z\x7f", "\u4f60\u597dhello\u4e16\u754c \u2b820\U0002b820\U0002b920 \uf900 \U0002f800",
    "\u3000\u2581the \u2581\u2581 fox\u2581", "the " * 40, "hello," * 20, "x" * 200, "\u2764\ufe0f\U0001f642 \u2122\u00a9",
    "$5.00+3=8 ~ `a` ^b|c"
)] + [b"the\xff fox\xc3 \xe4\xb8 hello\x80world", b"\xed\xa0\x80the \xc1\xa1bc \xe0\x81\xa1",
             b"\xef\xbb\xbfbom \xef\xbb\xbf<user>\xef\xbb\xbf\xef\xbb\xbf", b"\xf0\x8f\xbb\xbfx"] + text_vocabularies.DNA_TEXTS


# ---- Unigram ----

def compile_charsmap(rules: dict[bytes, bytes]) -> bytes:
    """SentencePiece's precompiled charsmap: a double array over the keys, then NUL-terminated replacements."""
    strings, places = bytearray(), {}
    for value in rules.values():
        if value not in places:
            places[value] = len(strings)
            strings += value + b"\0"
    trie: dict = {}
    for key, value in rules.items():
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = places[value]
    units: dict[int, int] = {}

    def place(node: dict, at: int, unit: int) -> None:
        """Children of the node at index `at` go to (at ^ offset) ^ byte; a value to at ^ offset."""
        wanted = [0 if byte is None else byte for byte in node]
        offset = 1
        while any((at ^ offset ^ byte) in units or (at ^ offset ^ byte) == 0 for byte in wanted):
            offset += 1
            assert offset < 1 << 21
        for byte in wanted:
            units[at ^ offset ^ byte] = -1
        units[at] = unit | offset << 10 | (256 if None in node else 0)
        for byte, child in node.items():
            if byte is None:
                units[at ^ offset] = child | 1 << 31
            else:
                place(child, at ^ offset ^ byte, byte)

    units[0] = -1
    place(trie, 0, 0)
    size = (max(units) | 255) + 1
    array = struct.pack(f"<{size}I", *(units.get(i, 0) for i in range(size)))
    return struct.pack("<I", len(array)) + array + bytes(strings)


def nfkc_rules() -> dict[bytes, bytes]:
    """A small nmt_nfkc: white space, control characters, ligatures, wide letters, a few accents, sequences of two."""
    chars = [*range(0xA0, 0x180), *range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), *range(0x2460, 0x2474),
             0x2126, 0x212B, 0xFDFA, 0x3000, 0x2003]
    made = {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in chars}
    rules = {char.encode(): text.encode() for char, text in made.items() if text != char}
    rules |= {bytes([c]): b"" for c in (*range(1, 9), 0x0B, 0x7F)} | {bytes([c]): b" " for c in (9, 10, 12, 13)}
    rules |= {(a + "\u0301").encode(): unicodedata.normalize("NFC", a + "\u0301").encode() for a in "aeiouAEIOU"}
    return rules | {"\u200b".encode(): b" ", "\u00ad".encode(): b"", b"...": "\u2026".encode()}


def unigram_tokens() -> tuple[list[str], list[float], list[int]]:
    tokens = {"<pad>": (0.0, 3), "</s>": (0.0, 3), "<unk>": (0.0, 2), "<s>": (0.0, 3), "<user>": (0.0, 4), "x<u>": (-1.0, 4),
              "old": (-3.0, 5)}
    score = -1.5
    for text in [SPACE] + [SPACE + w for w in WORDS[:40]] + WORDS + PARTS + [
            "ab", "abc", "bc", "aa", "aaa", "th", "he" + SPACE + "q", SPACE * 2]:
        tokens.setdefault(text, (score, 1))
        score = -1.5 - (score * 7.31) % 9.7
    tokens["<0x41>"] = (-20.0, 6)
    return list(tokens), [score for score, _ in tokens.values()], [kind for _, kind in tokens.values()]


def unigram_gguf(spell: bool = False, charsmap: bytes | None = None, **flags: bool) -> Gguf:
    tokens, scores, types = unigram_tokens()
    if spell:
        tokens = tokens[:4] + [SPACE] + BYTES
        scores, types = [0.0] * 4 + [-1.0] * 257, types[:4] + [1] * 257
    kv = [(f"tokenizer.ggml.{name}_token_id", U32, i) for name, i in (("padding", 0), ("eos", 1), ("unknown", 2))]
    kv += [("tokenizer.ggml.scores", ARRAY, (F32, scores))] + [(f"tokenizer.ggml.{k}", BOOL, v) for k, v in flags.items()]
    if charsmap is not None:
        kv.append(("tokenizer.ggml.precompiled_charsmap", ARRAY, (U8, list(charsmap))))
    return base_gguf("t5", tokens, types, kv)


ROLES = ("bos", "eos", "sep", "pad", "mask", "nl", "get_add_bos", "get_add_eos", "get_add_sep")
FLAGS = ((False, False), (True, False), (False, True))   # (add_special, parse_special)
CASED = {"normalizer.lowercase": False}
FILES = {"bert": wordpiece_gguf, "bert-cased": lambda: wordpiece_gguf(**CASED),
         "bert-accents": lambda: wordpiece_gguf(**{"normalizer.strip_accents": False}),
         "bert-cased-plain": lambda: wordpiece_gguf(**CASED, **{"normalizer.strip_accents": True}),
         "bert-no-bos": lambda: wordpiece_gguf(add_bos_token=False, add_space_prefix=True)}
UNIGRAM_FILES = {"t5": lambda: unigram_gguf(charsmap=compile_charsmap(nfkc_rules()), add_space_prefix=True, remove_extra_whitespaces=True),
                 "t5-plain": unigram_gguf, "t5-prefix": lambda: unigram_gguf(add_space_prefix=True),
                 "t5-spaces": lambda: unigram_gguf(charsmap=compile_charsmap(nfkc_rules()), remove_extra_whitespaces=True),
                 "t5-bytes": lambda: unigram_gguf(spell=True, charsmap=compile_charsmap(nfkc_rules()), add_space_prefix=True)}
FILES |= UNIGRAM_FILES
FILES |= {name: functools.partial(make, base_gguf) for name, make in text_vocabularies.FILES.items()}
