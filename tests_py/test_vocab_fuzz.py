"""Damaged and hostile vocabularies: the load is refused with a sentence or gives a vocabulary that tokenizes, detokenizes
and answers; nothing crashes, hangs or grows. Fixed seeds; BITNET_FUZZ_SECONDS=600 goes on with new ones for so long, and
prints the seed of what fails, to be added to FOUND.
"""
import ctypes as C
import math
import os
import random
import struct
import time

import pytest

import model_abi
import vocab_tools
from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U8, U32, Gguf
from vocab_tools import lib

FOUND: list[int] = []  # seeds of what was found, kept for ever
SEEDS = [*FOUND, *range(300)]
PREFIX = "tokenizer.ggml."
TEXTS = [b"", b"a", b"the cat <s></s><|end|> 123", b"\xff\xfe\x80 \xe2\x96", "caf\u00e9 \u4e2d\u6587 \U0001f600\u2581".encode(), b" " * 99,
         b"e" * 400, b"\0\0", bytes(range(256))]
STRANGE = ["", " ", "  ", "a b", "\u2581", "\u2581\u2581", "<0x41>", "<0xZZ>", "<s>", "\u0120the", "\u0120" * 300, "x" * 5000, "\ufffd",
           "\0", "a\0b", "\u00e9", "\u00c3\u00a9", "\u0100", "\u0144", "unused", "<|end|>", "\U0001f600"]
NUMBERS = [0, 1, -1, 2**31 - 1, -2**31, 5, 259]
SCORES = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e38, -1e38, 1e-45]


def arrays(rng, kv: dict) -> None:
    """Change elements of the arrays: repeated, empty, strange, shorter, longer, gone, of another type."""
    for key in ("tokens", "merges", "scores", "token_type"):
        if PREFIX + key not in kv or rng.random() < 0.5:
            continue
        kind, (element, values) = kv[PREFIX + key]
        values = list(values)
        choices = {STRING: STRANGE + values[:50], F32: SCORES, I32: NUMBERS}.get(element, NUMBERS)
        for _ in range(rng.choice([1, 3, 40, len(values)])):
            if values:
                values[rng.randrange(len(values))] = rng.choice(choices)
        change = rng.randrange(12)
        if change == 0:
            del values[rng.randrange(len(values) + 1):]
        elif change == 1:
            values += rng.choices(choices, k=rng.randrange(1, 300))
        elif change == 2:
            rng.shuffle(values)
        elif change == 3:
            del kv[PREFIX + key]
            continue
        elif change == 4:
            element, values = rng.choice([(U8, [7] * len(values)), (BOOL, [True] * len(values)), (STRING, ["7"] * len(values))])
        elif change == 5:
            kv[PREFIX + key] = rng.choice([(STRING, "text"), (U32, 3)])
            continue
        kv[PREFIX + key] = (kind, (element, values))


def keys(rng, kv: dict) -> None:
    """Change what the scalar keys say."""
    for name in ("bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id", "eot_token_id", "fim_pre_token_id"):
        if rng.random() < 0.3:
            kv[PREFIX + name] = rng.choice([(U32, rng.choice([0, 1, 300, 2**32 - 1])), (I32, -1), (STRING, "2")])
    for name in ("add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix"):
        if rng.random() < 0.3:
            kv[PREFIX + name] = rng.choice([(BOOL, True), (BOOL, False), (U32, 1)])
    if rng.random() < 0.3:
        kv[PREFIX + "pre"] = (STRING, rng.choice(["gpt-2", "llama-bpe", "default", "falcon", "qwen2", "gpt-4o", "nonsense", ""]))
    if rng.random() < 0.2:
        kv[PREFIX + "model"] = (STRING, rng.choice(["gpt2", "llama", "none", "bert", "t5", "rwkv", ""]))
    if rng.random() < 0.2:
        kv["general.name"] = (STRING, rng.choice(["Phi-3", "modern-bert", "jina-v2-de"]))


def damaged(seed: int, path) -> None:
    """The file of a seed: values changed first, then perhaps bytes."""
    rng = random.Random(seed)
    base = vocab_tools.spm_gguf({"\u2581": -1.0, "t": -2.0, "h": -3.0, "e": -4.0, "th": -5.0, "the": -6.0, "\u2581the": -0.5}) \
        if rng.random() < 0.5 else vocab_tools.bpe_gguf(rng.choice(["gpt-2", "llama-bpe", "default"]))
    kv = {key: (kind, value) for key, kind, value in base.kv}
    arrays(rng, kv)
    keys(rng, kv)
    Gguf(kv=[(key, *value) for key, value in kv.items()]).write(path)
    if rng.random() < 0.4:
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 5, 100])):
            at = rng.randrange(24, len(data))
            if rng.random() < 0.5:
                data[at] = rng.randrange(256)
            else:
                data[at:at + 8] = struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63, 2**64 - 1, len(data)]))[:len(data[at:at + 8])]
        if rng.random() < 0.2:
            del data[rng.randrange(24, len(data)):]
        path.write_bytes(data)


def try_seed(seed: int, path) -> bool:
    """True: it loaded. Raises what is wrong."""
    damaged(seed, path)
    start = time.process_time()
    model = model_abi.load(path, vocab_only=True)
    if not model:
        code, text = model_abi.last_error()
        assert code < 0 and len(text) > 10
        return False
    try:
        n = lib.llama_vocab_n_tokens(model)
        rng = random.Random(seed)
        for text in TEXTS:
            room = 3 * len(text) + 16
            ids, ranges = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
            flags = rng.randrange(16)
            count = lib.bitnet_tokenize(model, text, len(text), ids, ranges, room, flags)
            if count < 0:
                assert model_abi.last_error()[0] < 0   # a vocabulary without tokens
                continue
            assert all(0 <= token < n for token in ids[:count])
            assert all(0 <= a <= b <= len(text) for a, b in zip(ranges[:2 * count:2], ranges[1:2 * count:2]))
            again = (C.c_int32 * room)()
            assert lib.llama_tokenize(model, text, len(text), again, room, flags & 1, flags & 2) >= 0
            if not flags & 12:
                assert again[:count] == ids[:count]
            assert 0 <= lib.bitnet_tokenize_cut(model, text, len(text), flags) < max(len(text), 1)
            buffer = C.create_string_buffer(1 << 16)
            lib.llama_detokenize(model, ids, count, buffer, len(buffer), bool(flags & 4), bool(flags & 8))
        for token in [-1, 0, n - 1, n, *(rng.randrange(-2, n + 2) for _ in range(50))]:
            lib.llama_vocab_get_text(model, token), lib.llama_vocab_get_score(model, token), lib.llama_vocab_get_attr(model, token)
            lib.llama_vocab_is_eog(model, token)
            assert abs(lib.llama_token_to_piece(model, token, None, 0, 0, True)) < 1 << 20
        for role in vocab_tools.ROLES:
            assert -1 <= getattr(lib, f"llama_vocab_{role}")(model) < max(n, 1)
    finally:
        lib.llama_model_free(model)
    assert time.process_time() - start < 20   # a second is far more than any of these takes
    return True


@pytest.fixture
def path(tmp_path):
    lib.bitnet_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.POINTER(C.c_int32), C.c_int32, C.c_uint32]
    lib.bitnet_tokenize_cut.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.c_uint32]
    return tmp_path / "v.gguf"


def test_damaged_vocabularies(path):
    loaded = 0
    for seed in SEEDS:
        try:
            loaded += try_seed(seed, path)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert 0.2 < loaded / len(SEEDS) < 0.9   # both ways are tried


@pytest.mark.skipif("BITNET_FUZZ_SECONDS" not in os.environ, reason="BITNET_FUZZ_SECONDS says how long to go on")
def test_damaged_vocabularies_for_long(path):
    end, seed = time.monotonic() + float(os.environ["BITNET_FUZZ_SECONDS"]), time.time_ns()
    while time.monotonic() < end:
        seed += 1
        print(f"seed {seed}", flush=True)   # the last line says which one crashed
        try_seed(seed, path)
