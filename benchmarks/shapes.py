"""The shapes of published models.

Knows no file format and no engine. Sizes are those of the published checkpoints. Next: maker.py writes a file of a shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import BenchError


@dataclass(frozen=True)
class Shape:
    """One model's sizes. arch: general.architecture where llama.cpp has none that differs (see `arch_of`)."""

    name: str
    arch: str
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    n_vocab: int
    n_ctx: int
    rope_base: float
    tied: bool = True

    @property
    def head_width(self) -> int:
        return self.n_embd // self.n_head

    @property
    def has_sub_norms(self) -> bool:
        return self.arch != "llama"

    def products(self) -> Iterator[tuple[str, int, int]]:
        """(name, columns, rows) of one layer's ternary products."""
        kv = self.n_head_kv * self.head_width
        yield from (("attn_q", self.n_embd, self.n_embd), ("attn_k", self.n_embd, kv), ("attn_v", self.n_embd, kv),
                    ("attn_output", self.n_embd, self.n_embd), ("ffn_gate", self.n_embd, self.n_ff),
                    ("ffn_up", self.n_embd, self.n_ff), ("ffn_down", self.n_ff, self.n_embd))

    @property
    def n_ternary(self) -> int:
        """Ternary weights in all layers."""
        return self.n_layer * sum(k * m for _, k, m in self.products())

    @property
    def n_head_weights(self) -> int:
        return self.n_vocab * self.n_embd

    def arch_of(self, weights: str) -> str:
        """llama.cpp reads this family as `bitnet` only (SiLU in place of squared ReLU, under 0.1 % of the time)."""
        return "bitnet" if self.arch == "bitnet-b1.58" and weights == "tq2_0" else self.arch


SHAPES = {shape.name: shape for shape in (
    Shape("2b-4t", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128256, 4096, 500000.0),
    Shape("0.7b", "bitnet", 24, 1536, 4096, 16, 16, 32002, 2048, 10000.0),
    Shape("3b", "bitnet", 26, 3200, 8640, 32, 32, 32002, 2048, 10000.0),
    Shape("8b", "llama", 32, 4096, 14336, 32, 8, 128256, 8192, 500000.0, tied=False),
    Shape("tiny", "bitnet-b1.58", 2, 256, 512, 4, 2, 512, 512, 10000.0),  # to try the tool itself, in seconds
)}


def shape_of(name: str) -> Shape:
    try:
        return SHAPES[name.lower()]
    except KeyError:
        raise BenchError(f"no shape is named '{name}'; known: {', '.join(SHAPES)}") from None
