"""Writes a GGUF file of a shape with random ternary weights, tensor by tensor, so that memory stays small.

The file is a valid model for bitnet_ffi and for llama.cpp; what it says is noise. The same seed gives the same weights
as I2_S and as TQ2_0: both keep elements e, e + 32, e + 64, e + 96 of 128 in one byte, in opposite order of the bits
(csrc/bnf_layout.h). Next: `cached_model` is what the command calls.
"""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from bitnet_ffi import registry

from . import BenchError
from .shapes import Shape

FILE_VERSION = 1  # part of the file's name: another number when the bytes written change
ALIGNMENT = 32
CHUNK = 1 << 24   # random numbers drawn at once
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
TYPE_NUMBERS = {"f32": 0, "f16": 1, "tq2_0": 35, "i2_s": 36}

# Byte i holds four trits, the digits of i in base 3; the first of them in the top bits (I2_S) or the lowest (TQ2_0).
_TRITS = np.array(list(itertools.product(range(3), repeat=4)), np.uint8)
_BYTES = {"i2_s": (_TRITS << np.array([6, 4, 2, 0], np.uint8)).sum(1, dtype=np.uint8),
          "tq2_0": (_TRITS << np.array([0, 2, 4, 6], np.uint8)).sum(1, dtype=np.uint8)}


# ---- the vocabulary ----

def vocabulary(n_vocab: int) -> list[tuple[str, int, object]]:
    """A byte-level BPE vocabulary of n_vocab tokens with about two merges each, as many as a real one has: 256 bytes,
    all words of two and three letters, then of four until it is full, and control tokens at the end."""
    n_special = 256 if n_vocab > 100_000 else 2
    n_words = n_vocab - 256 - n_special
    words = list(itertools.islice(("".join(letters) for length in (2, 3, 4)
                                   for letters in itertools.product(ascii_lowercase, repeat=length)), n_words))
    if n_words < 0 or len(words) < n_words:
        raise BenchError(f"a vocabulary of {n_vocab} tokens: expected 258 to {256 + 256 + 26**2 + 26**3 + 26**4}")
    known = set(words) | set(ascii_lowercase)
    merges = []
    for word in words:
        splits = dict.fromkeys([(word[:-1], word[-1]), (word[0], word[1:])])  # of two letters: one split
        merges += [f"{a} {b}" for a, b in splits if a in known and b in known]
    special = ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(n_special - 2)]
    bos = n_vocab - n_special
    return [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "llama-bpe"),
            ("tokenizer.ggml.tokens", ARRAY, (STRING, _byte_letters() + words + special)),
            ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * bos + [3] * n_special)),
            ("tokenizer.ggml.merges", ARRAY, (STRING, merges)),
            ("tokenizer.ggml.bos_token_id", U32, bos), ("tokenizer.ggml.eos_token_id", U32, bos + 1)]


def _byte_letters() -> list[str]:
    """The visible letters that byte-level BPE writes for bytes (GPT-2's encoder): printable Latin-1 as itself, the others
    from U+0100 on."""
    others = itertools.count(0x100)
    return [chr(b if 0x21 <= b < 0x7F or 0xA1 <= b < 0xAD or b >= 0xAE else next(others)) for b in range(256)]


# ---- the head of the file ----

def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value) -> bytes:
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        element, items = value
        body = b"".join(map(_string, items)) if element == STRING else struct.pack(f"<{len(items)}i", *items)
        return struct.pack("<IQ", element, len(items)) + body
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)


def _metadata(shape: Shape, weights: str) -> list[tuple[str, int, object]]:
    arch = shape.arch_of(weights)
    return [("general.architecture", STRING, arch), ("general.name", STRING, f"random weights of shape {shape.name}"),
            (f"{arch}.block_count", U32, shape.n_layer), (f"{arch}.context_length", U32, shape.n_ctx),
            (f"{arch}.embedding_length", U32, shape.n_embd), (f"{arch}.feed_forward_length", U32, shape.n_ff),
            (f"{arch}.attention.head_count", U32, shape.n_head), (f"{arch}.attention.head_count_kv", U32, shape.n_head_kv),
            (f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5), (f"{arch}.rope.freq_base", F32, shape.rope_base),
            (f"{arch}.rope.dimension_count", U32, shape.head_width), (f"{arch}.vocab_size", U32, shape.n_vocab),
            *vocabulary(shape.n_vocab)]


def tensors(shape: Shape, weights: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(name, type, dimensions, the inner one first) in the order of the file."""
    yield "token_embd.weight", "f16", (shape.n_embd, shape.n_vocab)
    if not shape.tied:
        yield "output.weight", "f16", (shape.n_embd, shape.n_vocab)
    yield "output_norm.weight", "f32", (shape.n_embd,)
    for i in range(shape.n_layer):
        yield f"blk.{i}.attn_norm.weight", "f32", (shape.n_embd,)
        yield f"blk.{i}.ffn_norm.weight", "f32", (shape.n_embd,)
        if shape.has_sub_norms:
            yield f"blk.{i}.attn_sub_norm.weight", "f32", (shape.n_embd,)
            yield f"blk.{i}.ffn_sub_norm.weight", "f32", (shape.n_ff,)
        for name, k, m in shape.products():
            yield f"blk.{i}.{name}.weight", weights, (k, m)


def tensor_size(name: str, kind: str, ne: tuple[int, ...]) -> int:
    n = int(np.prod(ne, dtype=np.int64))
    if kind == "tq2_0":
        if ne[0] % 256:
            raise BenchError(f"tensor '{name}': {ne[0]} columns, and TQ2_0 needs a multiple of 256; use --weights i2_s")
        return n // 256 * 66
    return n // 4 + 32 if kind == "i2_s" else n * (4 if kind == "f32" else 2)


def _padded(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def file_head(shape: Shape, weights: str) -> tuple[bytes, int]:
    """Everything before the first tensor's bytes, and the size of the whole file."""
    metadata = _metadata(shape, weights)
    listed = list(tensors(shape, weights))
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(listed), len(metadata))]
    parts += [_string(key) + struct.pack("<I", kind) + _value(kind, value) for key, kind, value in metadata]
    offset = 0
    for name, kind, ne in listed:
        parts.append(_string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, TYPE_NUMBERS[kind], offset))
        offset += _padded(tensor_size(name, kind, ne))
    head = b"".join(parts)
    return head.ljust(_padded(len(head)), b"\0"), _padded(len(head)) + offset


# ---- random weights ----

def _ternary(kind: str, k: int, m: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Standard deviation 1 / sqrt(k), so that activations keep their size from layer to layer."""
    scale = np.float16(np.sqrt(1.5 / k))  # the trits' own standard deviation is sqrt(2 / 3)
    left = k * m // 4
    while left:
        n = min(left, CHUNK)              # CHUNK is a multiple of 64, so blocks are never cut
        packed = _BYTES[kind][rng.integers(0, 81, n, np.uint8)]
        if kind == "tq2_0":
            blocks = np.empty((n // 64, 66), np.uint8)
            blocks[:, :64] = packed.reshape(-1, 64)
            blocks[:, 64:] = np.frombuffer(scale.tobytes(), np.uint8)
            packed = blocks
        yield packed.tobytes()
        left -= n
    if kind == "i2_s":
        yield np.float32(scale).tobytes() + bytes(28)


def _halves(k: int, m: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Half-precision numbers that came from bfloat16, as those of published files did: eight significant bits."""
    left = k * m
    while left:
        n = min(left, CHUNK)
        x = rng.standard_normal(n, np.float32) * np.float32(1 / np.sqrt(k))
        yield (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype("<f2").tobytes()
        left -= n


def tensor_bytes(name: str, kind: str, ne: tuple[int, ...], seed: int) -> Iterator[bytes]:
    """The tensor in pieces. Its random numbers depend on its name and the seed alone."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if kind == "f32":
        yield rng.normal(1, 0.1, ne[0]).astype("<f4").tobytes()
    elif kind == "f16":
        yield from _halves(*ne, rng)
    else:
        yield from _ternary(kind, *ne, rng)


# ---- files ----

def write_model(path: Path, shape: Shape, weights: str, *, seed: int = 1,
                progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the file; it appears under its name complete or not at all.

    progress: called with bytes done and in all. Errors: BenchError for no room, or a shape that the type cannot hold.
    """
    head, size = file_head(shape, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise BenchError(f"{path.parent}: no room for a file of {size / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; "
                         "free some or set BITNET_CACHE to another folder")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    done = 0
    try:
        with open(partial, "wb") as file:
            file.write(head)
            for name, kind, ne in tensors(shape, weights):
                for piece in tensor_bytes(name, kind, ne, seed):
                    file.write(piece)
                    done += len(piece)
                    progress(done, size)
                file.write(bytes(-file.tell() % ALIGNMENT))
        os.replace(partial, path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror}; free some room or set BITNET_CACHE") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def cached_model(shape: Shape, weights: str, *, seed: int = 1,
                 progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The model's file in the user's cache folder, made on first use."""
    path = registry.cache_dir() / f"bench-{shape.name}-{weights}-seed{seed}-v{FILE_VERSION}.gguf"
    return path if path.exists() else write_model(path, shape, weights, seed=seed, progress=progress)
