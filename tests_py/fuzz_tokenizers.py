"""Random vocabularies and texts of every family, and damaged files, until the time is over; a finding is printed with its input.

    PYTHONPATH=. python -m tests_py.fuzz_tokenizers [--minutes 1] [--seed 1] [--families spm,bpe] [--sanitized] [--only FINDING]
                                                    [--record FILE]
Each vocabulary is small and made of few characters, so that everything collides: its texts are tokenized here, by
token_reference.py and, where llama-cpp-python is installed, by llama.cpp. --sanitized builds the library with gcc's address and
undefined-behaviour checks first and runs under it. --record writes a few inputs of each family with their ids, as
tests_py/data/fuzzed_tokens.json has them. Next: test_fuzz_tokenizers.py.
"""
from __future__ import annotations

import argparse
import ctypes as C
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_split  # noqa: E402
import model_abi  # noqa: E402
import peer_tools  # noqa: E402
from gguf_writer import BOOL, U32, byte_chars  # noqa: E402
from split_tools import repaired  # noqa: E402
from token_reference import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED, Reference, Vocab, unescaped  # noqa: E402

llama_cpp = peer_tools.peer()
lib = model_abi.lib
ADD, PARSE, NOT_FIRST, NOT_LAST = 1, 2, 4, 8
LETTERS = ["a", "b", "c", "ab", "e", "A", "\u00e9", "\u4e16", "\u754c", "\U0001f642", "0", "1", "_", "-", ".", "'s", "<", " ", " ", "\n"]
BYTE_TEXTS = [b"<0x%02X>" % i for i in range(256)]


# ---- vocabularies ----

def letters(rng) -> list[str]:
    return rng.sample(LETTERS, rng.randint(2, 7))


def words(rng, chars: list[str], n: int, longest: int = 6) -> list[str]:
    return ["".join(rng.choices(chars, k=rng.randint(1, longest))) for _ in range(n)]


def specials(rng, chars: list[str]) -> list[tuple[bytes, int]]:
    """Control and user-defined tokens, some of which hold others or white space."""
    made = [("".join(rng.choices([*chars, "<", ">", "|"], k=rng.randint(2, 5))).encode(), rng.choice([CONTROL, USER_DEFINED]))
            for _ in range(rng.choice([0, 0, 1, 3]))]
    return [(text, kind) for text, kind in made if text.strip()]


def unique(*groups: list[tuple]) -> list[tuple]:
    """Entries whose first item, the text, was not there before; no empty ones."""
    seen: dict = {}
    for entry in (entry for group in groups for entry in group):
        if entry[0]:
            seen.setdefault(entry[0], entry)
    return list(seen.values())


def roles(**ids: int) -> list:
    return [(f"{name}_token_id", U32, i) for name, i in ids.items()]


def flags(rng, *names: str) -> list:
    return [(name, BOOL, rng.random() < 0.5) for name in names]


def scored(rng, texts: list[bytes]) -> list[tuple[bytes, int, float]]:
    return [(text, NORMAL, -float(rng.choice([1, 2, 2.5, 3, rng.randint(1, 40)]))) for text in texts]


def spm(rng) -> Vocab:
    chars = letters(rng)
    texts = [text.replace(" ", "\u2581").encode() for text in words(rng, chars, rng.randint(1, 60))]
    entries = unique([(b"<unk>", UNKNOWN, 0.0), (b"<s>", CONTROL, 0.0), (b"</s>", CONTROL, 0.0)], [(b, BYTE, 0.0) for b in BYTE_TEXTS],
                     [(text, kind, 0.0) for text, kind in specials(rng, chars)], scored(rng, texts))
    return Vocab("llama", *map(list, zip(*[(t, k, s) for t, k, s in entries])),
                 kv=roles(unknown=0, bos=1, eos=2) + [("add_space_prefix", BOOL, rng.random() < 0.7)]
                 + flags(rng, "add_bos_token", "add_eos_token"))


def grow_merges(rng, parts: list[bytes], n: int) -> list[tuple[bytes, bytes]]:
    parts, merges = list(parts), []
    for _ in range(n):
        pair = rng.choice(parts), rng.choice(parts)
        if len(pair[0] + pair[1]) <= 24:
            merges.append(pair)
            parts.append(pair[0] + pair[1])
    return merges


def merging(rng, model: str, pre: str, base: list[bytes], chars: list[bytes], extra: list[tuple[bytes, int]], kv: list) -> Vocab:
    """Base tokens, merges of `chars`, then special tokens."""
    merges = grow_merges(rng, chars, rng.randint(0, 60))
    entries = unique([(b"<s>", CONTROL), (b"<unk>", UNKNOWN)], [(text, BYTE if text in BYTE_TEXTS else NORMAL) for text in base],
                     [(a + b, NORMAL) for a, b in merges], extra)
    return Vocab(model, *map(list, zip(*entries)), merges=merges, pre=pre, kv=roles(bos=0, eos=0, unknown=1) + kv)


def bpe(rng) -> Vocab:
    alphabet = byte_chars()
    chars = letters(rng)
    kept = sorted({byte for text in chars for byte in text.encode()})
    wholes = [("".join(alphabet[b] for b in text.encode()).encode(), NORMAL) for text in words(rng, chars, rng.choice([0, 3]))]
    return merging(rng, "gpt2", rng.choice(["gpt-2", "llama-bpe", "qwen2"]), [c.encode() for c in alphabet],
                   [alphabet[b].encode() for b in kept], wholes + specials(rng, chars), flags(rng, "add_bos_token", "add_eos_token"))


def wordpiece(rng) -> Vocab:
    chars = [c for c in letters(rng) if not c.isspace()] or ["a"]
    texts = [(SPACE if rng.random() < 0.5 else b"") + text.lower().replace("\u00e9", "e").encode()
             for text in words(rng, chars, rng.randint(1, 60))]
    entries = unique([(b"[PAD]", CONTROL), (b"[UNK]", UNKNOWN), (b"[CLS]", CONTROL), (b"[SEP]", CONTROL)], specials(rng, chars),
                     [(text, NORMAL) for text in texts])
    return Vocab("bert", *map(list, zip(*entries)), kv=roles(padding=0, unknown=1, bos=2, seperator=3)
                 + rng.choice([[], [("normalizer.lowercase", BOOL, False)]]))


def unigram(rng) -> Vocab:
    chars = letters(rng)
    texts = [text.replace(" ", "\u2581").encode() for text in words(rng, chars, rng.randint(1, 60))]
    entries = unique([(b"<pad>", CONTROL, 0.0), (b"</s>", CONTROL, 0.0), (b"<unk>", UNKNOWN, 0.0)],
                     [(text, kind, 0.0) for text, kind in specials(rng, chars)], scored(rng, texts))
    return Vocab("t5", *map(list, zip(*entries)),
                 kv=roles(padding=0, eos=1, unknown=2) + flags(rng, "add_space_prefix", "remove_extra_whitespaces"))


def escaped(text: bytes, rng) -> bytes:
    """As RWKV's vocabularies are written."""
    names = {0x5C: b"\\\\", 10: b"\\n", 9: b"\\t", 13: b"\\r"}
    return b"".join(names.get(b, b"\\x%02x" % b if not 32 <= b < 127 or rng.random() < 0.1 else bytes([b])) for b in text)


def rwkv(rng) -> Vocab:
    chars = [*letters(rng), "\\", "\t"]
    texts = [escaped(text.encode()[: rng.choice([99, 99, 3])], rng) for text in words(rng, chars, rng.randint(1, 60))]
    entries = unique([(b"<s>", CONTROL)], [(escaped(bytes([b]), random.Random(b)), NORMAL) for b in range(256)],
                     [(text, NORMAL) for text in texts], specials(rng, chars))
    return Vocab("rwkv", *map(list, zip(*entries)), kv=roles(bos=0, eos=0))


def plamo2(rng) -> Vocab:
    chars = [*letters(rng), "\ufeff"]
    entries = unique([(b"<|unk|>", UNKNOWN, 0.0), (b"<|bos|>", CONTROL, 0.0), (b"<|eos|>", CONTROL, 0.0), (b"<|pad|>", CONTROL, 0.0)],
                     [(b, BYTE, 0.0) for b in BYTE_TEXTS], [(text, kind, 0.0) for text, kind in specials(rng, chars)],
                     scored(rng, [text.encode() for text in words(rng, chars, rng.randint(1, 60))]))
    return Vocab("plamo2", *map(list, zip(*entries)), kv=roles(unknown=0, bos=1, eos=2, padding=3))


def raw(rng) -> Vocab:
    """BPE on the text itself, as gemma4 and its like."""
    chars = [char.replace(" ", "\u2581").encode() for text in letters(rng) for char in text]
    model, pre = rng.choice([("gemma4", None), ("gpt2", "gemma4"), ("gpt2", "granite-embed-multi-311m"), ("gpt2", "sarvam-moe")])
    lines = [(b"\n" * n, NORMAL) for n in rng.sample(range(1, 6), rng.randint(0, 3))]
    return merging(rng, model, pre, [*BYTE_TEXTS, *chars], chars, lines + specials(rng, ["a", "b"]), flags(rng, "add_bos_token"))


def white(rng) -> Vocab:
    """Words between white space, BPE on the text itself."""
    chars = [char.encode() for text in letters(rng) for char in text if not char.isspace()] or [b"a"]
    return merging(rng, "whitespace", "whitespace", chars + BYTE_TEXTS * rng.randint(0, 1), chars, specials(rng, ["a", "b"]),
                   flags(rng, "normalizer.lowercase"))


def dna(rng) -> Vocab:
    """Between <dna> and </dna> six letters are a token, whose text ends with U+E000."""
    made = bpe(rng)
    made.model = "hybriddna"
    strands = {"".join(rng.choices("ACGT", k=6)) for _ in range(40)} | {"AAAAAA"}
    strands |= {"".join(rng.choices("ACGT", k=rng.randint(1, 5))).ljust(6, "A") for _ in range(20)}
    texts = [b"<dna>", b"</dna>", b"<oov>"][: rng.choice([3, 3, 3, 2])]
    texts += [strand.encode() + "\ue000".encode() for strand in sorted(strands)]
    made.texts += [text for text in texts if text not in made.texts]
    made.types += [NORMAL] * (len(made.texts) - len(made.types))
    return made


FAMILIES = {f.__name__: f for f in (spm, bpe, wordpiece, unigram, rwkv, plamo2, raw, white, dna)}


# ---- texts ----

def own_text(rng, vocab: Vocab) -> bytes:
    """Of what the vocabulary is made of, so that much is found and much is nearly found."""
    parts = []
    texts = rng.sample(vocab.texts, min(len(vocab.texts), 40)) + vocab.texts[-30:]
    for _ in range(rng.choice([0, 1, 2, 5, 12, 30])):
        if rng.random() < 0.6:
            text = rng.choice(texts)
            text = unescaped(text) if vocab.model == "rwkv" and text.count(b"\\x") * 4 <= len(text) and rng.random() < 0.9 else text
            text = decoded(text) if vocab.model in ("gpt2", "hybriddna") else text
            parts.append(text.replace(SPACE, b" "))
        else:
            parts.append(rng.choice(LETTERS).encode())
    if vocab.model == "hybriddna":
        for _ in range(rng.choice([0, 1, 2])):
            strand = "".join(rng.choices("ACGTacgtN", (40, 40, 40, 40, 4, 4, 4, 4, 1), k=rng.randint(0, 40))).encode()
            strand = rng.choice([b"<dna>", b"<dna>", b""]) + strand + rng.choice([b"</dna>", b"</dna>", b""])
            parts.insert(rng.randint(0, len(parts)), strand)
    text = b"".join(part * rng.choice([1, 1, 1, 1, 2, 3, 17]) for part in parts)
    return text[:400]


def decoded(text: bytes) -> bytes:
    byte_of = {c: i for i, c in enumerate(byte_chars())}
    found = text.decode("utf-8", "replace")
    return bytes(byte_of[c] for c in found) if all(c in byte_of for c in found) else text


def broken(rng, text: bytes) -> bytes:
    data = bytearray(text)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 3]) if data else 0):
        data[rng.randrange(len(data))] = rng.choice(fuzz_split.BROKEN)
    return bytes(data)


KNOWN = set("".join(LETTERS) + "\ufffd" + "".join(map(chr, range(32, 127))))


def has_reference(vocab: Vocab, text: bytes) -> bool:
    """Is the text made of characters that token_reference.py knows the properties of?"""
    if vocab.model not in ("bert", "gpt2", "hybriddna", "whitespace"):
        return True
    return set(repaired(text).decode("utf-8", "surrogatepass")) <= KNOWN


def half_begun(own: bytes, text: bytes) -> bool:
    """Does it stand in the text up to the middle of a character, and not to that character's end?"""
    inside = [k for k in range(1, len(own)) if own[k] & 0xC0 == 0x80]
    return any(text.count(own[:k]) != text.count(own[: k + 1]) for k in inside)


# ---- one input ----

class Loaded:
    """A vocabulary, loaded here and, where it is installed, in llama.cpp."""

    def __init__(self, vocab: Vocab, path: Path):
        self.vocab, self.reference, self.peer = vocab, Reference(vocab), None
        vocab.gguf().write(path)
        self.model = C.c_void_p(model_abi.load(path, vocab_only=True))
        assert self.model.value, f"does not load: {model_abi.last_error()}"
        if llama_cpp is not None:
            params = llama_cpp.llama_model_default_params()
            params.vocab_only = True
            self.peer_model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
            assert self.peer_model, "llama.cpp does not load it"
            self.peer = llama_cpp.llama_model_get_vocab(self.peer_model)
        self.pieces = [self.piece(token) for token in range(len(vocab.texts))]

    def close(self) -> None:
        lib.llama_model_free(self.model)
        if self.peer is not None:
            llama_cpp.llama_model_free(self.peer_model)

    def piece(self, token: int, library=lib, model=None) -> bytes:
        buffer = C.create_string_buffer(4096)
        n = library.llama_token_to_piece(model or self.model, token, buffer, len(buffer), 0, True)
        assert n >= 0, f"token {token} has a piece of {-n} bytes"
        return buffer.raw[:n]

    def tokens(self, text: bytes, flag_bits: int) -> tuple[list[int], list[tuple[int, int]]]:
        room = 4 * len(text) + 8
        ids, ranges = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
        n = lib.bitnet_tokenize(self.model, text, len(text), ids, ranges, room, flag_bits)
        assert n >= 0, f"{n}: {model_abi.last_error()}"
        return ids[:n], list(zip(ranges[: 2 * n : 2], ranges[1 : 2 * n : 2]))

    def check(self, text: bytes, flag_bits: int) -> list[int]:
        """The ids; raises AssertionError with what is wrong."""
        ids, ranges = self.tokens(text, flag_bits)
        assert all(0 <= token < len(self.pieces) for token in ids), ids
        assert all(0 <= a <= b <= len(text) for a, b in ranges), ranges
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(ranges, ranges[1:])), ranges
        exact = (C.c_int32 * (len(ids) + 1))()
        add, parse = bool(flag_bits & ADD), bool(flag_bits & PARSE)
        assert lib.llama_tokenize(self.model, text, len(text), exact, len(ids), add, parse) == len(ids)
        assert exact[: len(ids)] == ids and exact[len(ids)] == 0
        if ids:
            assert lib.llama_tokenize(self.model, text, len(text), exact, len(ids) - 1, add, parse) == -len(ids)
        cut = lib.bitnet_tokenize_cut(self.model, text, len(text), flag_bits)
        if cut:
            parts = self.tokens(text[:cut], flag_bits | NOT_LAST)[0] + self.tokens(text[cut:], flag_bits | NOT_FIRST)[0]
            assert parts == ids, f"cut at {cut}: {parts}, whole: {ids}"
        if not add and has_reference(self.vocab, text):
            expected = self.reference.ids(text, parse)
            assert ids == expected, f"ids {ids}, the reference has {expected}"
        self.check_pieces(text, ids, ranges, add or parse)
        if self.peer is not None and self.comparable(text):
            theirs = (C.c_int32 * (4 * len(text) + 8))()
            n = llama_cpp.llama_tokenize(self.peer, text, len(text), theirs, len(theirs), add, parse)
            assert ids == theirs[: max(n, 0)], f"ids {ids}, llama.cpp has {theirs[:max(n, 0)]} ({n})"
        return ids

    def comparable(self, text: bytes) -> bool:
        """Not where llama.cpp throws or aborts: beyond U+10FFFF, at a space in overlong bytes where it has escaped all spaces; nor
        where it lets a part of a character pass because a user-defined token begins so."""
        parts = self.vocab.model == "t5" and any(
            kind == USER_DEFINED and half_begun(own, text) for own, kind in zip(self.vocab.texts, self.vocab.types))
        overlong = self.spaces_escaped() and b" " in repaired(text.replace(b" ", SPACE))
        return not parts and not overlong and not set(text) & set(range(0xF4, 0xF8))

    def spaces_escaped(self) -> bool:
        """BPE of the text itself with U+2581 for spaces."""
        return self.vocab.model == "gemma4" or self.vocab.pre in ("gemma4", "granite-embed-multi-311m", "sarvam-moe")

    def check_pieces(self, text: bytes, ids: list[int], ranges: list[tuple[int, int]], special: bool) -> None:
        array = (C.c_int32 * len(ids))(*ids)
        joined = b"".join(self.pieces[token] for token in ids)
        buffer = C.create_string_buffer(len(joined) + 1)
        n = lib.llama_detokenize(self.model, array, len(ids), buffer, len(joined), False, True)
        assert n >= 0
        if self.clean_free():
            lead = joined[:1] == b" " and self.vocab.flag("add_space_prefix")
            assert buffer.raw[:n] == joined[lead:], f"detokenize {buffer.raw[:n]!r}, pieces {joined!r}"
            if n:
                assert lib.llama_detokenize(self.model, array, len(ids), buffer, n - 1 - lead, False, True) < 0
        model = self.vocab.model
        if special or any(kind == USER_DEFINED for kind in self.vocab.types) or model in ("bert", "t5", "whitespace"):
            return
        begins = (0, 3) if model == "plamo2" else (0,)   # there a byte order mark is left out
        if text and text != b"\xef\xbb\xbf":
            assert ranges[0][0] in begins and ranges[-1][1] == len(text), f"{ranges} of {len(text)} bytes"
        if model == "llama":
            expected = (b" " if self.vocab.flag("add_space_prefix") and text else b"") + text.replace(SPACE, b" ")
            assert joined.replace(SPACE, b" ") == expected, f"pieces {joined!r}"
        elif model == "rwkv":
            assert joined == text, f"pieces {joined!r}"
        elif model != "hybriddna":
            expected = repaired(text)
            if model == "plamo2":
                expected = expected.removeprefix(b"\xef\xbb\xbf")
            elif self.spaces_escaped():
                expected = expected.replace(SPACE, b" ")
                joined = joined.replace(SPACE, b" ")
            assert joined == expected, f"pieces {joined!r}"

    def clean_free(self) -> bool:
        """Does detokenizing leave spaces alone?"""
        return self.vocab.model in ("llama", "t5", "rwkv", "plamo2") or self.vocab.pre in ("qwen2", "sarvam-moe")


def shortened(loaded: Loaded, text: bytes, flag_bits: int) -> bytes:
    at = 0
    while at < len(text):
        shorter = text[:at] + text[at + 1 :]
        try:
            loaded.check(shorter, flag_bits)
            at += 1
        except AssertionError:
            text, at = shorter, 0
    return text


def try_vocabulary(family: str, seed: str, path: Path, n_texts: int, keep: list | None = None) -> str | None:
    """Fuzz one vocabulary; the finding, if there is one. keep: gets (vocabulary, texts) as `--record` writes them."""
    rng = random.Random(seed)
    vocab = FAMILIES[family](rng)
    try:
        loaded = Loaded(vocab, path)
    except AssertionError as error:
        return f"{family}:{seed}: {error}"
    try:
        texts = []
        for _ in range(n_texts):
            text = broken(rng, own_text(rng, vocab) if rng.random() < 0.8 else fuzz_split.random_text(rng))
            flag_bits = rng.choice([0, 0, ADD, PARSE])
            try:
                ids = loaded.check(text, flag_bits)
            except AssertionError as error:
                return f"{family}:{seed}: {shortened(loaded, text, flag_bits)!r} flags {flag_bits}: {text!r}: {error}"
            texts.append((text.decode("latin-1"), flag_bits, ids))
        if keep is not None:
            texts.sort(key=lambda item: -len(set(item[2])))
            keep.append({"family": family, "vocab": vocab.record(), "texts": texts[:6]})
        return None
    finally:
        loaded.close()


# ---- the hour ----

def fuzz(families: list[str], seconds: float, seed: int, damaged: bool = True) -> tuple[int, int, list[str]]:
    """(vocabularies, texts, findings)."""
    declare()
    end, n, n_texts, findings = time.monotonic() + seconds, 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.gguf"
        while time.monotonic() < end and len(findings) < 10:
            if damaged and n % (len(families) + 1) == len(families):
                import test_vocab_fuzz
                number = seed * 10_000_000 + n
                print(f"damaged {number}", file=sys.stderr, flush=True)   # the last line says what crashed
                try:
                    test_vocab_fuzz.try_seed(number, path)
                except AssertionError as error:
                    findings.append(f"damaged {number}: {error}")
                n_texts += len(test_vocab_fuzz.TEXTS)
            else:
                family = families[n % (len(families) + damaged)]
                print(f"{family} {seed} {n}", file=sys.stderr, flush=True)
                finding = try_vocabulary(family, f"{seed} {n}", path, 60)
                findings += [finding] if finding else []
                n_texts += 60
            n += 1
    return n, n_texts, findings


def declare() -> None:
    lib.bitnet_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.POINTER(C.c_int32), C.c_int32, C.c_uint32]
    lib.bitnet_tokenize_cut.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.c_uint32]
    lib.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32, C.c_bool, C.c_bool]
    lib.llama_token_to_piece.argtypes = [C.c_void_p, C.c_int32, C.c_char_p, C.c_int32, C.c_int32, C.c_bool]
    lib.llama_detokenize.argtypes = [C.c_void_p, C.POINTER(C.c_int32), C.c_int32, C.c_char_p, C.c_int32, C.c_bool, C.c_bool]


def record(file: Path, seed: int) -> None:
    declare()
    kept: list = []
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            for n in range(2):
                finding = try_vocabulary(family, f"{seed} {family} {n}", Path(folder) / "v.gguf", 40, kept)
                if finding:
                    raise SystemExit(finding)
    made_with = "python -m tests_py.fuzz_tokenizers --record" + (f", llama-cpp-python {llama_cpp.__version__}" if llama_cpp else "")
    lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in kept)
    file.write_text(f'{{"made_with": "{made_with}", "cases": [\n{lines}\n]}}\n')


def sanitized_library() -> Path:
    """The library with gcc's address and undefined-behaviour checks, in build/memory."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "csrc"))
    import bnf_build
    tools = bnf_build.Toolchain()
    tools.folder = bnf_build.ROOT / "build" / "memory"
    tools.flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "--param=asan-globals=0", "-O1", "-g"]
    tools.link_flags = tools.flags[:1]
    return bnf_build.build_library(tools)


def run_sanitized() -> None:
    """Start this again with the sanitized library; the sanitizer must be in the process before Python."""
    runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    environment = os.environ | {"BITNET_FFI_LIBRARY": str(sanitized_library()), "LD_PRELOAD": runtime,
                                "ASAN_OPTIONS": "detect_leaks=0", "BITNET_FFI_FUZZ_SANITIZED": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "tests_py.fuzz_tokenizers", *sys.argv[1:]], environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", type=lambda text: text.split(","), default=list(FAMILIES))
    parser.add_argument("--only", metavar="FINDING", help="One vocabulary again, as a finding begins: spm:1 17")
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--record", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.sanitized and "BITNET_FFI_FUZZ_SANITIZED" not in os.environ:
        run_sanitized()
    if args.only:
        declare()
        with tempfile.TemporaryDirectory() as folder:
            print(try_vocabulary(*args.only.split(":"), Path(folder) / "v.gguf", 60))
        return
    if args.record:
        record(args.record, args.seed)
        return
    damaged = llama_cpp is None   # what is damaged, llama.cpp may answer with an abort
    n, n_texts, findings = fuzz(args.families, 60 * args.minutes, args.seed, damaged)
    print(*findings, sep="\n", end="\n" if findings else "")
    print(f"{n} vocabularies, {n_texts} texts, seed {args.seed}, {'with' if llama_cpp else 'without'} llama.cpp"
          f"{', sanitized' if args.sanitized else ''}: {len(findings)} findings")
    raise SystemExit(1 if findings else 0)


if __name__ == "__main__":
    main()
