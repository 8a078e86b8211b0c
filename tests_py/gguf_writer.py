"""Write GGUF files for tests: tiny random models of any architecture, weight type and shape, split files, and lies.

Knows the container (GGUF 2 and 3, little-endian) and the block layouts only as far as making *random* weights needs:
random code bytes with finite scales. Nothing here may import the library under test.
Next: `tiny_model` makes a whole model; `Gguf` writes any container; tests_py/test_gguf.py shows both.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_SCALAR = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}

# name: (ggml number, elements per block, bytes per block, byte offsets of the block's f16 numbers)
TYPES = {
    "f32": (0, 1, 4, ()), "f16": (1, 1, 2, ()), "bf16": (30, 1, 2, ()),
    "q4_0": (2, 32, 18, (0,)), "q4_1": (3, 32, 20, (0, 2)), "q5_0": (6, 32, 22, (0,)), "q5_1": (7, 32, 24, (0, 2)),
    "q8_0": (8, 32, 34, (0,)),
    "q2_k": (10, 256, 84, (80, 82)), "q3_k": (11, 256, 110, (108,)), "q4_k": (12, 256, 144, (0, 2)),
    "q5_k": (13, 256, 176, (0, 2)), "q6_k": (14, 256, 210, (208,)),
    "tq1_0": (34, 256, 54, (52,)), "tq2_0": (35, 256, 66, (64,)), "i2_s": (36, 128, 32, ()),
}
# About 1 / (standard deviation of a weight whose scale is 1): keeps random models in a healthy range.
_UNIT = {"q4_0": 1 / 4.6, "q4_1": 1 / 9, "q5_0": 1 / 9.2, "q5_1": 1 / 18, "q8_0": 1 / 74, "q2_k": 1 / 14, "q3_k": 1 / 40,
         "q4_k": 1 / 330, "q5_k": 1 / 680, "q6_k": 1 / 1300, "tq1_0": 1.2, "tq2_0": 1.2, "i2_s": 1.2}


def pack_string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pack_value(kind: int, value) -> bytes:
    """A value without its type number. `kind` ARRAY takes (element type, list)."""
    if kind == STRING:
        return pack_string(value)
    if kind == ARRAY:
        elem, items = value
        head = struct.pack("<IQ", elem, len(items))
        if elem == STRING:
            return head + b"".join(map(pack_string, items))
        return head + struct.pack(f"<{len(items)}{_SCALAR[elem]}", *items)
    return struct.pack("<" + _SCALAR[kind], value)


def tensor_size(kind: str, k: int, m: int = 1) -> int:
    _, block_len, block_size, _ = TYPES[kind]
    assert (k * m if kind == "i2_s" else k) % block_len == 0, (kind, k, m)
    return k * m // block_len * block_size + (32 if kind == "i2_s" else 0)


@dataclass
class Tensor:
    name: str | bytes
    ne: tuple[int, ...]               # inner dimension first
    type: int                         # ggml number
    data: bytes
    offset: int | None = None         # None: after the one before, aligned


@dataclass
class Gguf:
    """A container in the making. The fields after `tensors` are for files that lie."""
    kv: list[tuple[str, int, object]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    version: int = 3
    magic: bytes = b"GGUF"
    alignment: int = 32               # for padding; written as general.alignment when not 32
    write_alignment: int | None = None
    n_kv: int | None = None
    n_tensors: int | None = None
    rs_header: bool = False           # the 36-byte header some files have: alignment and data offset after the counts
    rs_offset: int | None = None      # the data offset it says; None: the true one
    pad_last: bool = True

    def set(self, key: str, kind: int, value) -> "Gguf":
        self.kv = [entry for entry in self.kv if entry[0] != key] + [(key, kind, value)]
        return self

    def drop(self, key: str) -> "Gguf":
        self.kv = [entry for entry in self.kv if entry[0] != key]
        return self

    def add(self, name: str, kind: str, ne, data: bytes) -> "Gguf":
        self.tensors.append(Tensor(name, tuple(ne), TYPES[kind][0], data))
        return self

    def get_tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)

    def drop_tensor(self, name: str) -> "Gguf":
        self.tensors = [t for t in self.tensors if t.name != name]
        return self

    def _offsets(self) -> list[int]:
        offsets, at = [], 0
        for t in self.tensors:
            offsets.append(at if t.offset is None else t.offset)
            at = _pad(offsets[-1] + len(t.data), self.alignment)
        return offsets

    def head(self, data_offset: int = 0) -> bytes:
        """Everything before the data section, without its padding."""
        kv = list(self.kv)
        written = self.write_alignment if self.write_alignment is not None else self.alignment
        if written != 32 and not any(key == "general.alignment" for key, _, _ in kv):
            kv.append(("general.alignment", U32, written))
        out = self.magic + struct.pack("<IQQ", self.version, len(self.tensors) if self.n_tensors is None else self.n_tensors,
                                       len(kv) if self.n_kv is None else self.n_kv)
        if self.rs_header:
            out += struct.pack("<IQ", self.alignment, data_offset)
        for key, kind, value in kv:
            out += pack_string(key) + struct.pack("<I", kind) + pack_value(kind, value)
        for t, offset in zip(self.tensors, self._offsets()):
            out += pack_string(t.name) + struct.pack(f"<I{len(t.ne)}Q", len(t.ne), *t.ne) + struct.pack("<IQ", t.type, offset)
        return out

    def to_bytes(self) -> bytes:
        start = _pad(len(self.head()), self.alignment)
        out = bytearray(self.head(start if self.rs_offset is None else self.rs_offset).ljust(start if self.tensors else 0, b"\0"))
        for i, (t, offset) in enumerate(zip(self.tensors, self._offsets())):
            size = start + offset + len(t.data)
            if i + 1 < len(self.tensors) or self.pad_last:
                size = _pad(size, self.alignment)
            if size > len(out) and offset <= 1 << 40:
                out.extend(bytes(size - len(out)))
                out[start + offset : start + offset + len(t.data)] = t.data
        return bytes(out)

    def write(self, path) -> Path:
        path = Path(path)
        path.write_bytes(self.to_bytes())
        return path

    def write_split(self, prefix, n_parts: int, total: int | None = None) -> list[Path]:
        """PREFIX-00001-of-0000N.gguf and so on, tensors dealt out in order; the first part holds the model's keys."""
        paths = []
        for no in range(n_parts):
            part = Gguf(kv=list(self.kv) if no == 0 else [], alignment=self.alignment)
            part.set("split.no", U16, no).set("split.count", U16, n_parts)
            part.set("split.tensors.count", I32, len(self.tensors) if total is None else total)
            begin, end = (len(self.tensors) * i // n_parts for i in (no, no + 1))
            part.tensors = self.tensors[begin:end]
            paths.append(part.write(f"{prefix}-{no + 1:05d}-of-{n_parts:05d}.gguf"))
        return paths


def _pad(n: int, a: int) -> int:
    return n if a == 0 else -(-n // a) * a


def random_weights(kind: str, k: int, m: int, rng: np.random.Generator) -> bytes:
    """m rows of k random weights of standard deviation about 1 / sqrt(k)."""
    std = 1 / np.sqrt(k)
    if kind in ("f32", "f16", "bf16"):
        w = rng.normal(0, std, k * m).astype("<f4")
        if kind == "bf16":
            return (w.view("<u4") >> 16).astype("<u2").tobytes()
        return w.astype("<f2" if kind == "f16" else "<f4").tobytes()
    _, block_len, block_size, halves = TYPES[kind]
    n_blocks = k * m // block_len
    if kind == "i2_s":
        codes = rng.integers(0, 3, (n_blocks, 4, 32), dtype=np.uint8)
        packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
        return packed.tobytes() + struct.pack("<f", _UNIT[kind] * std) + bytes(28)
    blocks = rng.integers(0, 256, (n_blocks, block_size), dtype=np.uint8)
    if kind == "tq2_0":
        codes = rng.integers(0, 3, (n_blocks, 4, 64), dtype=np.uint8)
        blocks[:, :64] = codes[:, 0] | codes[:, 1] << 2 | codes[:, 2] << 4 | codes[:, 3] << 6
    scale = (_UNIT[kind] * std * rng.uniform(0.5, 1.5, (len(halves), n_blocks))).astype("<f2")
    for i, at in enumerate(halves):
        half = scale[i]
        if i == 1:  # the minimum: centre the weights. Positive in K formats (it is subtracted), negative in the _1 formats.
            middle = {"q4_1": -7.5, "q5_1": -15.5, "q2_k": 1.5, "q4_k": 7.5, "q5_k": 15.5}[kind]
            half = (scale[0].astype("f4") * middle).astype("<f2")
        blocks[:, at : at + 2] = half.view(np.uint8).reshape(n_blocks, 2)
    return blocks.tobytes()


def spm_vocab(n_vocab: int) -> list[tuple[str, int, object]]:
    """A SentencePiece-style vocabulary: <unk> <s> </s>, 256 byte tokens, then pieces; every prefix of a piece is a piece."""
    letters = "etaoinshrdlucmfwypvbgk"
    pieces = ["\u2581"] + list(letters) + ["\u2581" + c for c in letters]
    pieces += [a + b for a in letters for b in letters] + ["\u2581" + a + b for a in letters for b in letters]
    pieces += [a + b + c for a in letters for b in letters for c in letters]
    tokens = (["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces)[:n_vocab]
    assert len(tokens) == n_vocab, "at most 11000 tokens"
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    return [("tokenizer.ggml.model", STRING, "llama"), ("tokenizer.ggml.pre", STRING, "default"),
            ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)), ("tokenizer.ggml.scores", ARRAY, (F32, scores[:n_vocab])),
            ("tokenizer.ggml.token_type", ARRAY, (I32, types[:n_vocab])),
            ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
            ("tokenizer.ggml.unknown_token_id", U32, 0), ("tokenizer.ggml.add_bos_token", BOOL, True),
            ("tokenizer.ggml.add_eos_token", BOOL, False)]


def byte_chars() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes: printable Latin-1 stands for itself, the rest follow from U+0100."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spare = iter(range(0x100, 0x200))
    return [chr(b) if b in keep else chr(next(spare)) for b in range(256)]


def bpe_vocab(n_vocab: int, pre: str | None = "gpt-2") -> list[tuple[str, int, object]]:
    """A byte-level BPE vocabulary: 256 bytes, two-letter merges, and <|end|> as the last token."""
    letters = "etaoinshrdlucmfwypvbgk"
    space = "\u0120"
    pairs = [(space, a) for a in letters] + [(a, b) for a in letters for b in letters]
    pairs += [(space + a, b) for a in letters for b in letters] + [(a + b, c) for a in letters for b in letters for c in letters]
    n_merges = n_vocab - 257
    assert 0 <= n_merges <= len(pairs)
    tokens = byte_chars() + [a + b for a, b in pairs[:n_merges]] + ["<|end|>"]
    kv = [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
          ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * (n_vocab - 1) + [3])),
          ("tokenizer.ggml.merges", ARRAY, (STRING, [f"{a} {b}" for a, b in pairs[:n_merges]])),
          ("tokenizer.ggml.bos_token_id", U32, n_vocab - 1), ("tokenizer.ggml.eos_token_id", U32, n_vocab - 1),
          ("tokenizer.ggml.add_bos_token", BOOL, False)]
    return kv if pre is None else kv + [("tokenizer.ggml.pre", STRING, pre)]


def tiny_model(arch: str = "llama", *, weights: str | dict[str, str] = "f32", embd: str = "f32", head: str | None = None,
               norms: str = "f32", n_layer: int = 2, n_embd: int = 256, n_ff: int = 256, n_head: int = 4, n_head_kv: int = 2,
               dk: int | None = None, dv: int | None = None, n_rot: int | None = None, n_vocab: int = 320, n_ctx: int = 512,
               rope_base: float = 10000.0, rms_eps: float = 1e-5, bias: bool = False, scales: bool = False,
               rope_freqs: bool = False, classifier: str | None = None, n_cls_out: int = 1, vocab: list | None = None,
               seed: int = 0) -> Gguf:
    """A whole random model. `weights`: type of the seven products, or a dict by short name ("attn_q", ...) with "" as default.
    `head`: type of output.weight, None: tied. `bias`: biases on every product. `scales`: the .scale companions of arch bitnet.
    `classifier`: type of its matrices; a layer of n_embd, then n_cls_out numbers with labels, both with biases.
    `vocab`: key-value pairs of the tokenizer; spm_vocab(n_vocab) unless given. Change the result before write() to make it lie."""
    rng = np.random.default_rng(seed)
    g = Gguf(kv=[("general.architecture", STRING, arch), ("general.name", STRING, f"tiny {arch}")])
    g.set(f"{arch}.block_count", U32, n_layer).set(f"{arch}.context_length", U32, n_ctx)
    g.set(f"{arch}.embedding_length", U32, n_embd).set(f"{arch}.feed_forward_length", U32, n_ff)
    g.set(f"{arch}.attention.head_count", U32, n_head).set(f"{arch}.attention.head_count_kv", U32, n_head_kv)
    g.set(f"{arch}.attention.layer_norm_rms_epsilon", F32, rms_eps).set(f"{arch}.rope.freq_base", F32, rope_base)
    if dk is not None:
        g.set(f"{arch}.attention.key_length", U32, dk)
    if dv is not None:
        g.set(f"{arch}.attention.value_length", U32, dv)
    dk = n_embd // n_head if dk is None else dk
    dv = n_embd // n_head if dv is None else dv
    if n_rot is not None:
        g.set(f"{arch}.rope.dimension_count", U32, n_rot)
    g.kv += spm_vocab(n_vocab) if vocab is None else vocab

    by_name = weights if isinstance(weights, dict) else {"": weights}

    def matrix(name: str, kind: str, k: int, m: int) -> None:
        g.add(name + ".weight", kind, (k, m), random_weights(kind, k, m, rng))

    def norm(name: str, n: int) -> None:
        w = rng.normal(1, 0.1, n).astype("<f4")
        raw = {"f32": w, "f16": w.astype("<f2"), "bf16": (w.view("<u4") >> 16).astype("<u2")}[norms]
        g.add(name + ".weight", norms, (n,), raw.tobytes())

    matrix("token_embd", embd, n_embd, n_vocab)
    for i in range(n_layer):
        norm(f"blk.{i}.attn_norm", n_embd)
        norm(f"blk.{i}.ffn_norm", n_embd)
        if arch != "llama":
            norm(f"blk.{i}.attn_sub_norm", n_head * dv)
            norm(f"blk.{i}.ffn_sub_norm", n_ff)
        for short, k, m in (("attn_q", n_embd, n_head * dk), ("attn_k", n_embd, n_head_kv * dk), ("attn_v", n_embd, n_head_kv * dv),
                            ("attn_output", n_head * dv, n_embd), ("ffn_gate", n_embd, n_ff), ("ffn_up", n_embd, n_ff),
                            ("ffn_down", n_ff, n_embd)):
            matrix(f"blk.{i}.{short}", by_name.get(short, by_name.get("", "f32")), k, m)
            if bias:
                g.add(f"blk.{i}.{short}.bias", "f32", (m,), rng.normal(0, 0.1, m).astype("<f4").tobytes())
            if scales:
                g.add(f"blk.{i}.{short}.scale", "f32", (1,), struct.pack("<f", rng.uniform(0.5, 2)))
    norm("output_norm", n_embd)
    if head is not None:
        matrix("output", head, n_embd, n_vocab)
    if rope_freqs:
        n = (n_rot or dk) // 2
        g.add("rope_freqs.weight", "f32", (n,), np.linspace(1, 8, n).astype("<f4").tobytes())
    if classifier is not None:
        g.set(f"{arch}.classifier.output_labels", ARRAY, (STRING, [f"label {i}" for i in range(n_cls_out)]))
        for name, m in (("cls", n_embd), ("cls.output", n_cls_out)):
            matrix(name, classifier, n_embd, m)
            g.add(name + ".bias", "f32", (m,), rng.normal(0, 0.3, m).astype("<f4").tobytes())
    return g
