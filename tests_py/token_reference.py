"""Every family of tokenizers once more, as plain as can be: short loops over Python strings, quadratic where that is shorter.

Written from what llama.cpp does, shares nothing with the engine; fuzz_tokenizers.py holds the engine (and llama.cpp) against it.
A Vocab is what a file says; `ids` is the answer without BOS and EOS. Characters are those whose properties nobody disputes:
fuzz_tokenizers.py draws no others where a property matters.
"""
from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field

from family_tools import SHAPE
from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U32, Gguf, byte_chars
from split_tools import repaired

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SPACE = "\u2581".encode()
PRES = {   # for words of ASCII, a few letters and Han: enough to see where merging stops
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d{1,3}| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


@dataclass
class Vocab:
    """texts: as the file has them; types: tokenizer.ggml.token_type. kv: roles and flags, (short key, kind, value)."""
    model: str
    texts: list[bytes]
    types: list[int]
    scores: list[float] | None = None
    merges: list[tuple[bytes, bytes]] | None = None
    pre: str | None = None
    kv: list = field(default_factory=list)

    def flag(self, name: str) -> bool:
        return any(key == name and value for key, _, value in self.kv)

    def role(self, name: str) -> int:
        return next((value for key, _, value in self.kv if key == name + "_token_id"), -1)

    def gguf(self) -> Gguf:
        shape = [("llama." + key, kind, n) for key, kind, n in SHAPE] + [("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
        kv = [("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, self.model),
              ("tokenizer.ggml.tokens", ARRAY, (STRING, self.texts)), ("tokenizer.ggml.token_type", ARRAY, (I32, self.types))]
        if self.scores is not None:
            kv.append(("tokenizer.ggml.scores", ARRAY, (F32, self.scores)))
        if self.merges is not None:
            kv.append(("tokenizer.ggml.merges", ARRAY, (STRING, [b" ".join(merge) for merge in self.merges])))
        if self.pre is not None:
            kv.append(("tokenizer.ggml.pre", STRING, self.pre))
        return Gguf(kv=kv + [("tokenizer.ggml." + key, kind, value) for key, kind, value in self.kv] + shape)

    @classmethod
    def from_record(cls, record: dict) -> Vocab:
        """Of what `record` wrote; bytes are characters there."""
        merges = record["merges"]
        return cls(record["model"], [text.encode("latin-1") for text in record["texts"]], record["types"], record["scores"],
                   merges and [(a.encode("latin-1"), b.encode("latin-1")) for a, b in merges], record["pre"],
                   [tuple(item) for item in record["kv"]])

    def record(self) -> dict:
        return {"model": self.model, "texts": [text.decode("latin-1") for text in self.texts], "types": self.types, "scores": self.scores,
                "merges": self.merges and [(a.decode("latin-1"), b.decode("latin-1")) for a, b in self.merges], "pre": self.pre,
                "kv": self.kv}


def char_len(lead: int) -> int:
    return 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def characters(text: bytes) -> list[bytes]:
    """Cut by lead bytes alone."""
    found, at = [], 0
    while at < len(text):
        found.append(text[at : at + char_len(text[at])])
        at += len(found[-1])
    return found


def merged(parts: list[bytes], rank) -> list[bytes]:
    """Merge the neighbours of the smallest rank(left, right), the first of them, until none has one."""
    parts = list(parts)
    while True:
        ranks = [(r, i) for i, pair in enumerate(zip(parts, parts[1:])) if (r := rank(*pair)) is not None]
        if not ranks:
            return parts
        at = min(ranks)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


class Reference:
    def __init__(self, vocab: Vocab):
        self.v = vocab
        self.by_text = {}
        for i, text in enumerate(vocab.texts):
            self.by_text.setdefault(text, i)
        self.ranks = {}
        for i, merge in enumerate(vocab.merges or ()):
            self.ranks.setdefault(tuple(merge), i)
        self.alphabet = {bytes([i]): c.encode() for i, c in enumerate(byte_chars())}
        self.cut = {"llama": self.spm, "bert": self.wordpiece, "t5": self.unigram, "rwkv": self.rwkv, "plamo2": self.plamo2,
                    "gpt2": self.raw_bpe if vocab.pre in ("gemma4", "granite-embed-multi-311m", "sarvam-moe") else self.bpe,
                    "gemma4": self.raw_bpe, "whitespace": self.white_bpe, "hybriddna": self.dna}[vocab.model]

    def ids(self, text: bytes, parse: bool) -> list[int]:
        """Special tokens first, the longest before all others; what is left goes to the family."""
        wanted = {CONTROL, UNKNOWN, USER_DEFINED} if parse else {USER_DEFINED}
        specials = [i for i, kind in enumerate(self.v.types) if kind in wanted]
        parts: list = [text] if text else []
        for i in sorted(specials, key=lambda i: (-len(self.v.texts[i]), i)):
            new: list = []
            for part in parts:
                if isinstance(part, int):
                    new.append(part)
                    continue
                pieces = part.split(self.v.texts[i])
                for n, piece in enumerate(pieces):
                    new += [i] if n else []
                    new += [piece] if piece else []
            parts = new
        found: list[int] = []
        lead = self.v.flag("add_space_prefix")
        after_special = True
        for part in parts:
            found += [part] if isinstance(part, int) else self.cut(part, lead and after_special)
            after_special = isinstance(part, int)
        return found

    # ---- families: the ids of a stretch ----

    def fall_back(self, part: bytes) -> list[int]:
        """<0xHH> of each byte; what has none is left out."""
        return [token for byte in part if (token := self.by_text.get(b"<0x%02X>" % byte)) is not None]

    def spm(self, text: bytes, lead: bool) -> list[int]:
        text = ((b" " if lead else b"") + text).replace(b" ", SPACE)

        def rank(left, right):
            token = self.by_text.get(left + right)
            return None if token is None else -self.v.scores[token]
        found = []
        for part in merged(characters(text), rank):
            found += [self.by_text[part]] if part in self.by_text else self.fall_back(part)
        return found

    def bpe(self, text: bytes, _lead: bool) -> list[int]:
        found = []
        for word in re.findall(PRES[self.v.pre], repaired(text).decode()):
            parts = [self.alphabet[bytes([byte])] for byte in word.encode()]
            if self.v.pre == "llama-bpe" and b"".join(parts) in self.by_text:
                found.append(self.by_text[b"".join(parts)])
                continue
            found += [self.by_text[part] for part in merged(parts, lambda *pair: self.ranks.get(pair)) if part in self.by_text]
        return found

    def raw_word(self, word: bytes) -> list[int]:
        found = []
        for part in merged(characters(word), lambda *pair: self.ranks.get(pair)):
            found += [self.by_text[part]] if part in self.by_text else self.fall_back(part)
        return found

    def raw_bpe(self, text: bytes, _lead: bool) -> list[int]:
        found = []
        for word in re.findall(b"[^\n]+|\n+", repaired(text.replace(b" ", SPACE))):
            whole = self.v.pre != "sarvam-moe" and word[:1] == b"\n" and word in self.by_text
            found += [self.by_text[word]] if whole else self.raw_word(word)
        return found

    def white_bpe(self, text: bytes, _lead: bool) -> list[int]:
        text = repaired(text)
        words = (text.decode("utf-8", "surrogatepass").lower().encode("utf-8", "surrogatepass")
                 if self.v.flag("normalizer.lowercase") else text)
        words = [word.encode("utf-8", "surrogatepass") for word in words.decode("utf-8", "surrogatepass").split()]
        return [token for word in words for token in self.raw_word(word)]

    def dna(self, text: bytes, lead: bool) -> list[int]:
        begin, end, strange = (self.by_text.get(name) for name in (b"<dna>", b"</dna>", b"<oov>"))
        if None in (begin, end, strange):
            return self.bpe(text, lead)
        found = []
        while text:
            before, tag, text = text.partition(b"<dna>")
            found += self.bpe(before, lead)
            if not tag:
                break
            strand, tag, text = text.partition(b"</dna>")
            strand = bytes(byte - 32 if 97 <= byte <= 122 else byte for byte in strand)
            found.append(begin)
            for at in range(0, len(strand), 6):
                found.append(self.by_text.get(strand[at : at + 6].ljust(6, b"A") + "\ue000".encode(), strange))
            found += [end] if tag else []
        return found

    def wordpiece(self, text: bytes, _lead: bool) -> list[int]:
        lower = not any(key == "normalizer.lowercase" and not value for key, _, value in self.v.kv)
        words = [""]
        for c in repaired(text).decode("utf-8", "surrogatepass"):
            if lower:   # accents go with capitals
                c = unicodedata.normalize("NFD", c)[0]
            if c.isspace():
                words.append("")
                continue
            kind = unicodedata.category(c)
            if c in "\0\ufffd" or kind.startswith("C") or (lower and kind.startswith("M")):
                continue
            small = c.lower() if lower else c
            if kind.startswith("P") or (ord(c) < 127 and kind.startswith("S")) or "\u4e00" <= c <= "\u9fff":
                words += [small, ""]
            else:
                words[-1] += small
        found = []
        for word in filter(None, words):
            rest, parts = SPACE + word.encode(), []
            while rest:
                n = next((n for n in range(len(rest), 0, -1) if rest[:n] in self.by_text), 0)
                if n == 0:
                    parts = [self.v.role("unknown")]
                    break
                parts.append(self.by_text[rest[:n]])
                rest = rest[n:]
            found += parts
        return found

    def unigram(self, text: bytes, _lead: bool) -> list[int]:
        user = sorted((self.v.texts[i] for i, kind in enumerate(self.v.types) if kind == USER_DEFINED), key=len, reverse=True)
        normal, at, in_word = b"", 0, False
        prefix, squeeze = self.v.flag("add_space_prefix"), self.v.flag("remove_extra_whitespaces")
        while at < len(text):
            own = next((u for u in user if text.startswith(u, at)), None)
            n = len(own) if own else char_len(text[at])
            char = text[at : at + n]
            wrong = len(char) < n or (n == 1 and text[at] >= 0x80) or any(b & 0xC0 != 0x80 for b in char[1:]) or char[0] >= 0xF8
            if own is None and wrong:
                char, n = "\ufffd".encode(), 1
            at += n
            for byte in char:
                if byte == 0x20:
                    in_word = False
                    normal += b"" if squeeze else SPACE
                else:
                    if not in_word and (prefix or squeeze):
                        normal += SPACE
                        prefix = False
                    in_word = True
                    normal += bytes([byte])
        usable = {text: i for text, i in self.by_text.items() if self.v.types[i] in (NORMAL, USER_DEFINED, UNUSED)}
        unknown = min(score for score, kind in zip(self.v.scores, self.v.types) if kind == NORMAL) - 10.0
        best: list = [(-math.inf, None, 0)] * (len(normal) + 1)
        best[0] = (0.0, None, 0)
        at = 0
        while at < len(normal):
            width = min(char_len(normal[at]), len(normal) - at)
            whole = False
            for n in range(1, len(normal) - at + 1):
                token = usable.get(normal[at : at + n])
                if token is None:
                    continue
                whole |= n == width
                score = best[at][0] + (0.0 if self.v.types[token] == USER_DEFINED else self.v.scores[token])
                if score > best[at + n][0]:
                    best[at + n] = (score, token, at)
            if not whole and best[at][0] + unknown > best[at + width][0]:
                best[at + width] = (best[at][0] + unknown, None, at)
            at += width
        found, at = [], len(normal)
        while at:
            _, token, at = best[at]
            token = self.v.role("unknown") if token is None else token
            if not (found and found[-1] == token == self.v.role("unknown")):
                found.append(token)
        return found[::-1]

    def rwkv(self, text: bytes, _lead: bool) -> list[int]:
        own = {unescaped(text): i for i, text in enumerate(self.v.texts)}   # the last of equal ones
        longest = max(map(len, own))
        found, at = [], 0
        while at < len(text):
            n = next((n for n in range(longest, 0, -1) if text[at : at + n] in own and at + n <= len(text)), 0)
            if n:
                found.append(own[text[at : at + n]])
            elif self.v.role("unknown") >= 0:
                found.append(self.v.role("unknown"))
            at += max(n, 1)
        return found

    def plamo2(self, text: bytes, _lead: bool) -> list[int]:
        chars = repaired(text).decode("utf-8", "surrogatepass").removeprefix("\ufeff")
        costs = {t.decode(): (-math.floor(abs(s) * 1e4 + 0.5) * (1 if s > 0 else -1), i)
                 for i, (t, s) in enumerate(zip(self.v.texts, self.v.scores)) if self.v.types[i] != BYTE}
        longest = max(map(len, costs))
        best: list = [(0, 0, None)] * (len(chars) + 1)   # cost, characters, token
        for at in range(len(chars) - 1, -1, -1):
            ways = []
            for n in range(min(longest, len(chars) - at), 0, -1):
                if chars[at : at + n] in costs and costs[chars[at : at + n]][0] < 20_000_000:
                    cost, token = costs[chars[at : at + n]]
                    ways.append((best[at + n][0] + cost, n, token))
            ways.append((best[at + 1][0] + 10_000_000, 1, None))
            best[at] = min(ways, key=lambda way: way[0])   # the first of equal ones: the longest
        found, at = [], 0
        while at < len(chars):
            _, n, token = best[at]
            found += self.fall_back(chars[at].encode("utf-8", "surrogatepass")) if token is None else [token]
            at += n
        return found


def unescaped(text: bytes) -> bytes:
    """RWKV's texts: backslash escapes with two hexadecimal digits, \\t, \\n, \\r, and any other character for itself."""
    out, at = bytearray(), 0
    while at < len(text):
        if text[at] != 0x5C:
            out.append(text[at])
            at += 1
        elif text[at + 1 : at + 2] == b"x":
            out.append(int(text[at + 2 : at + 4], 16))
            at += 4
        else:
            out += {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(text[at + 1 : at + 2], text[at + 1 : at + 2])
            at += 2
    return bytes(out)
