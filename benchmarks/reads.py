"""What a token must read from memory, in the layouts that an engine uses.

bitnet_ffi says it itself, in a log line after each load (bitnet_ffi/_core/load/load.pyx, log_reads): five ternary weights a byte on one
machine are four on another, and a head may be read through a smaller copy. Loaded in place it says what a file holds, which is what
llama.cpp reads of its file. Next: cells.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"a token reads (\d+) bytes of (\d+) layer weights, (\d+) of the head to choose one, (\d+) for all logits; "
                   r"a position keeps (\d+) keys and values")

# Bytes per number of the KV cache.
KV_BYTES = {"f16": 2.0, "f32": 4.0, "q8_0": 34 / 32}


@dataclass(frozen=True)
class Reads:
    """layers, choose, logits: bytes of all layers, and of the head to choose a token or for all logits; n_weights: multiply-adds of
    a token in the layers; kv_numbers: keys and values of a position in all layers."""

    layers: int
    n_weights: int
    choose: int
    logits: int
    kv_numbers: int

    def step(self, what: str, *, batch: int, positions: float, kv_type: str) -> float:
        """Bytes of one decode and what follows it ("prompt", "generate", "draws" or "logits"): every layer and the head once, and the
        keys and values of `positions` in each sequence. Norms (under 0.1 %) and activations, which stay in the caches, are not counted."""
        head = self.logits if what == "logits" else self.choose
        return self.layers + head + self.kv_numbers * KV_BYTES[kv_type] * positions * batch


def from_log(lines: list[str]) -> Reads:
    """The last model that these lines speak of. Errors: ValueError when they speak of none."""
    for line in reversed(lines):
        if match := _LINE.search(line):
            return Reads(*map(int, match.groups()))
    raise ValueError("the library did not log what a token reads")
