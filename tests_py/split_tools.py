"""Texts that are hard to cut, and a vocabulary whose ids show where they were cut; shared by the recorder and the tests.

The vocabulary has the 256 bytes, a merge for every two bytes that are neighbours in the texts, in an order drawn by chance, one
for every three equal bytes, and one word that no merge makes. Next: record_splits.py asks llama.cpp, test_split.py compares.
"""
from __future__ import annotations

import random

from gguf_writer import ARRAY, F32, I32, STRING, U32, Gguf, byte_chars

TEXTS: list[bytes] = [text.encode() for text in (
    # contractions, in both cases, at ends and in rows
    "I'm he's we'll they'd you're I've don't", "I'M HE'S WE'LL THEY'D YOU'RE I'VE DON'T", "'s't'm'd're've'll", "x's'sX'S'Sy", "'",
    "''s '' 's",
    "it'sn't 'llama 'tis rock'n'roll '90s", "o'\u017fa 'Re 'rE 'lL 'vE 'l 'r 'v '", "T\u00fcrkiye'de \u0130stanbul'un e\u2019s",
    # letters: case, scripts, accents as characters of their own
    "camelCase PascalCase XMLHttpRequest HTTPServer2Go iPhone eBay McDonald's USA's NaNs",
    "\u00e9AB \u00c9COLE'S \u00e9\u00c9e\u00e9 A\u00e9B aB\u00e9 Ab\u00c9\u00e9 \u01c5ungla A\u01c5b",
    "na\u00efve nai\u0308ve \u0308a a\u0301\u0302b \u0301 \u0301a x\u0301'\u0301s",
    "क्षत्रिय नमस्ते สวัสดีชาวโลก မြန်မာ ខ្មែរ",
    "Привет, мир! Καλημέρα Բարեւ გამარჯობა ᏣᎳᎩ ἀνήρ ᾳ\u1fbc \U00010400\U00010428",
    "שלום مرحبا\u060c کیا\u061f \u06d4 राम \u0964 অব", "a b c d  e  f a\u0301 b\u0302 c ab  cd 1 a b",
    # Han, kana, hangul, and marks between them
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u4e00\u4e8c\u4e09123\u56db\u4e94abc\u9fa5\u9fa6\u9fff\u3400\u4dbf",
    "\u3053\u3093\u306b\u3061\u306f\u30ab\u30ca\u30fc\uff8a\uff9f\u3001\u6f22\u5b57kanji\u304b\u306a",
    "\uc548\ub155\ud558\uc138\uc694 \ud55c\uad6d\uc5b4\u3131\u3134 \u1112\u1161\u11ab \ud7a4 \u3105\u3106\u312f",
    "\u8c48\ufa0e\uf900\ufaff\u2f00\u2fd5\ud7b0\ue000 \u3007\u3021", "\U00020000\U0002a6df\U0002f800x\u4e00",
    "\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001\u3003\ufe30 \u2015\u2013 ＡＢｃ \uff11\uff12\uff13\uff0e\uff5e",
    # numbers
    "0 12 345 6789 12345 123456 1234567 12345678", "1,234,567.89 3.14e-10 0x1F 1st 2nd a1b22c333d4444e",
    "\u00bd\u00b2\u00b3\u2167\u0661\u0662\u0663\u0664\u096a\u096b 12\u00bd34 \u00bd123456\u00bd1234", "x1234567y12 v1.2.3-rc4 123abc456",
    "007\n0007\n00007 1 12 123 1234", "\u2460\u2461 1\u20442 \u0be7\u0be8\u0be9 \U0001d7ce\U0001d7cf",
    # marks and symbols
    "a+b=c; x<y>z ^~|` $5 50% #tag @you &c *p _q \\r /s", "!?!? ... -- --- ==> <= => // /* */ `code` ```",
    "(a) [b] {c} <d> \"e\" 'f' _x .y -z ~w ^v $u +t =s |r",
    "!abc #define $HOME %d &amp; *args +x -Wall .gitignore /usr/bin :tag ;x <p =y >z ?q @me [i \\n ]k ^m _n `p {q |r }s ~t",
    "\u20ac100 \u00a35 \u00b0C \u00b1 \u00d7 \u2192 \u2200x\u2203y \u221e \u2122 \u00a9 \u2020 \u00a7 \u00b6 \u00ab\u00bb \u2039\u203a",
    "'\u00e9 (\u00e9 !\u00e9a #\u4e00 $a\u00e9b", " !\n ?\r\n  .\n\n;/\n//\n /x\n/ \n",
    "\U0001f642 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    " \U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd! \u2764\ufe0f a\U0001f642b",
    # white space
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "a ", "a  ", "a \n", " a", "  a", "   a", "\ta", "\t\ta", "\na", "\n a", " \na",
    "a\n\nb", "a\r\n\r\nb", "a\rb",
    "a \n \n b", "a\n  b\n    c\n\td\n", "x    y     z        w", "if x:\n    y = 1\n\n    # no\n\treturn  y  \n\n\n",
    "\u00a0a\u00a0\u00a0b\u3000c\u2003\u2003d\u2028e\u2029f\u0085g\u1680h\u202fi\u205fj",
    "a\u3000\n\u00a0b \u00a0 c\x0b\x0cd\x1ce\x1ff", " " * 70 + "a" + " " * 33, "\n" * 9 + "a" + " " * 13 + "\n" + " " * 5,
    "12  34 \n56\n 78", " . , ! ? ) ( | x .y ,z",
    # nothing in particular
    "\x00\x01a\x7fb\x00 c", "\u200b\u200ca\u200d\ufeff \u00adb", "\ue000a\uf8ff\U000f0000 \U000e0001b \u0378\u0379 \ufffdc",
    "zebra zebras azebra Zebra",
    "<sentinel:1><sentinel:23>a<sentinel:> <sentinel:4 IMGIMGABZ IMGIMGABCDEZ IMGIMGZ xIMGIMGIZ", "<|end|><|x|> <s> </s> [INST]",
    "The quick brown fox can't jump 32.3 feet, right? Well, 1,000,000 people think so: \u201cyes\u201d.",
    "https://example.org/a_b?c=d&e=%20f#g user@example.org C:\\dir\\file.txt",
    "def f(self, *args, **kwargs) -> Dict[str, int]:\n\t\"\"\"Doc's.\"\"\"\n\treturn {k: v for k, v in args if k != 'x'}\n",
    "a\tb\t\tc \t d\t \te")] + [
    # not UTF-8: stray and missing bytes, overlong forms, surrogates
    b"\xff\xfe a\x80\xbf b\xc3 c\xe4\xb8 d\xf0\x9f\x98", b"\xc1\x81\xe0\x81\x81 x\xc0\x80y", b"\xed\xa0\x80\xed\xbf\xbf a"]
WHOLE_WORD = "zebra"
PROBE = b"x . y 's"   # does detokenizing remove the spaces?


def repaired(text: bytes) -> bytes:
    """U+FFFD for every byte that begins no character, overlong forms shortened: what both sides cut."""
    out, at = bytearray(), 0
    while at < len(text):
        lead = text[at]
        n = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        tail = text[at + 1 : at + n]
        if lead < 0x80:
            out.append(lead)
        elif n == 1 or len(tail) < n - 1 or any(b & 0xC0 != 0x80 for b in tail) or lead >= 0xF8:
            out += "\ufffd".encode()
            n = 1
        else:
            c = lead & (0x7F >> n)
            for b in tail:
                c = c << 6 | b & 0x3F
            n = n if c < 0x110000 else 1
            out += chr(c if c < 0x110000 else 0xFFFD).encode("utf-8", "surrogatepass")
        at += n
    return bytes(out)


def pair_merges() -> list[str]:
    chars = byte_chars()
    pairs = sorted({(a, b) for text in map(repaired, TEXTS) for a, b in zip(text, text[1:])})
    random.Random(5).shuffle(pairs)
    threes = sorted({a for text in map(repaired, TEXTS) for a, b, c in zip(text, text[1:], text[2:]) if a == b == c})
    return [f"{chars[a]} {chars[b]}" for a, b in pairs] + [f"{chars[a] * 2} {chars[a]}" for a in threes]


def pair_tokens() -> list[str]:
    return byte_chars() + [merge.replace(" ", "") for merge in pair_merges()] + [WHOLE_WORD, "<|end|>"]


def pair_pieces() -> list[bytes]:
    """What each token stands for."""
    byte_of = {c: bytes([b]) for b, c in enumerate(byte_chars())}
    return [b"".join(byte_of[c] for c in token) for token in pair_tokens()]


def pair_gguf(pre: str) -> Gguf:
    """Also with what llama.cpp wants of a model of which only the vocabulary is loaded."""
    tokens = pair_tokens()
    kv = [("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, pre),
          ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
          ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * (len(tokens) - 1) + [3])),
          ("tokenizer.ggml.merges", ARRAY, (STRING, pair_merges()))]
    kv += [(f"tokenizer.ggml.{role}_token_id", U32, len(tokens) - 1) for role in ("bos", "eos", "seperator")]
    kv += [("llama." + key, U32, n) for key, n in (("block_count", 1), ("context_length", 8), ("embedding_length", 32),
                                                   ("feed_forward_length", 32), ("attention.head_count", 1))]
    return Gguf(kv=kv + [("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)])
