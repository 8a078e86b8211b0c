"""What is measured, in which order, and what a number is compared with.

A cell is one test with one number of threads, sequences and tokens of context. Tests are pp128 (a prompt of 128 tokens),
tg32 (32 steps of decoding) and lg32 (the same, reading all logits). The engines take turns at every repetition, so that
other work on the machine meets all of them. Next: report.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from . import roofs
from .roofs import Roof
from .shapes import KV_BYTES, Shape, step_bytes
from .worker import Worker


SHORT = {"prompt": "pp", "generate": "tg", "logits": "lg"}  # what a worker is asked for -> the test's name


@dataclass(frozen=True)
class Plan:
    """batches other than 1 are measured without context unless deep_batches: filling 8 x 3,500 tokens takes minutes.

    weight_bits, head_bits: how many bits of memory a weight is counted with, for GB/s and the roof.
    """

    shape: Shape
    threads: list[int]
    prompts: list[int] = field(default_factory=lambda: [128, 512])
    n_generate: int = 32
    batches: list[int] = field(default_factory=lambda: [1, 8, 32])
    contexts: list[int] = field(default_factory=lambda: [0, 3500])
    repeats: int = 5
    deep_batches: bool = False
    weight_bits: float = 2.0
    head_bits: float = 16.0
    kv_type: str = "f16"

    def groups(self) -> Iterator[tuple[int, int]]:
        """(context, sequences): cells of a group share a filled context."""
        for context in self.contexts:
            for batch in self.batches:
                if context == 0 or batch == 1 or self.deep_batches:
                    yield context, batch

    def tests(self, batch: int) -> list[tuple[str, int]]:
        single = [("prompt", n) for n in self.prompts] + [("logits", self.n_generate)] if batch == 1 else []
        return [*single, ("generate", self.n_generate)]

    def n_cells(self) -> int:
        return sum(len(self.tests(batch)) * len(self.threads) for _, batch in self.groups())


@dataclass(frozen=True)
class Cell:
    engine: str
    test: str              # "pp128", "tg32"
    threads: int
    batch: int
    context: int
    seconds: list[float]   # of each repetition
    tokens_per_s: float    # all sequences together, of the median
    spread: float          # (slowest - fastest) / median
    gb_per_s: float        # bytes that the tokens needed, over the median
    gmac_per_s: float      # ternary multiply-adds, likewise
    roof_fraction: float | None

    @property
    def key(self) -> tuple:
        """What the same cell of another engine or another run has in common."""
        return self.test, self.threads, self.batch, self.context


def make_cell(plan: Plan, engine: str, what: str, n: int, threads: int, batch: int, context: int, seconds: list[float],
              read: Roof, mac: Roof) -> Cell:
    """The roof fraction is the least time the machine could take, which is the larger of bytes / bandwidth and
    multiply-adds / their peak, over the time taken. None where a roof is not known."""
    n_tokens = n * batch
    steps, positions = (1, context + n) if what == "prompt" else (n, context + (n + 1) / 2)
    size = steps * step_bytes(plan.shape, weight_bits=plan.weight_bits, head_bits=plan.head_bits, batch=batch,
                              positions=positions, kv_bytes=KV_BYTES[plan.kv_type]).total
    macs = n_tokens * plan.shape.n_ternary
    median = statistics.median(seconds)
    least = max(size / read.best, macs / mac.best) if read.best and mac.best else None
    return Cell(engine, f"{SHORT[what]}{n}", threads, batch, context, seconds, n_tokens / median,
                (max(seconds) - min(seconds)) / median, size / median / 1e9, macs / median / 1e9,
                None if least is None else least / median)


def measure_loads(plan: Plan, workers: dict[Worker, str], tick: Callable[[str], None]) -> list[dict]:
    """Each engine loads its file `repeats` times with a warm page cache and keeps the last."""
    loads = []
    for worker, path in workers.items():
        tick(f"{worker.name}: loading")
        with open(path, "rb") as file:
            while file.read(1 << 24):   # into the page cache
                pass
        result = worker.ask("load", path=path, repeats=plan.repeats, n_threads=max(plan.threads))
        loads.append({"engine": worker.name, **result, "ready_median_s": statistics.median(result["ready_s"]),
                      "first_token_median_s": statistics.median(result["first_token_s"])})
    return loads


def measure_cells(plan: Plan, workers: list[Worker], roof_of: dict[int, dict[str, Roof]],
                  tick: Callable[[str], None]) -> Iterator[Cell]:
    """All cells of all workers, whose models are loaded."""
    for context, batch in plan.groups():
        tests = plan.tests(batch)
        room = context + max(n for _, n in tests) + 1
        for worker in workers:
            tick(f"{worker.name}: filling {context} x {batch}")
            worker.ask("open", n_ctx=room, n_seq=batch, n_threads=max(plan.threads), context=context, kv_type=plan.kv_type)
        for threads in plan.threads:
            for what, n in tests:
                tick(f"{what} {n}, {threads} threads, {batch} sequences, context {context}")
                seconds: dict[Worker, list[float]] = {worker: [] for worker in workers}
                for worker in workers:
                    worker.ask(what, n=min(n, 4), n_threads=threads)   # wakes the threads, touches the memory
                for _ in range(plan.repeats):
                    for worker in workers:
                        seconds[worker].append(worker.ask(what, n=n, n_threads=threads))
                for worker in workers:
                    yield make_cell(plan, worker.name, what, n, threads, batch, context, seconds[worker],
                                    roof_of[threads]["read"], roof_of[threads]["mac"])
        for worker in workers:
            worker.ask("close")


def measure_roofs(threads: list[int], tick: Callable[[str], None]) -> dict[int, dict[str, Roof]]:
    found = {}
    for n in threads:
        tick(f"roofs, {n} threads")
        found[n] = {what: roofs.measure(what, n) for what in ("read", "mac")}
    return found


def run(plan: Plan, workers: dict[Worker, str], tick: Callable[[str], None]) -> dict:
    """Everything: loads, roofs before and after the cells (a better pass afterwards raises the roof of all), cells.
    Ctrl-C or SIGTERM ends the cells; those that are done count, by the roofs of before: whoever interrupts does not wait."""
    loads = measure_loads(plan, workers, tick)
    before = measure_roofs(plan.threads, tick)
    cells: list[Cell] = []
    after: dict[int, dict[str, Roof]] = {}
    try:
        for cell in measure_cells(plan, list(workers), before, tick):
            cells.append(cell)
        after = measure_roofs(plan.threads, tick)
    except KeyboardInterrupt:
        if not cells:
            raise
        for worker in workers:
            worker.kill()
    roof_of = {n: {what: Roof(roof.what, roof.per_second + (after[n][what].per_second if after else []))
                   for what, roof in before[n].items()} for n in plan.threads}
    cells = [_with_roof(plan, cell, roof_of[cell.threads]) for cell in cells]
    return {"loads": loads, "cells": [asdict(cell) for cell in cells],
            "roofs": {str(n): {what: {"what": roof.what, "per_second": roof.per_second, "best": roof.best}
                               for what, roof in pair.items()} for n, pair in roof_of.items()}}


def _with_roof(plan: Plan, cell: Cell, pair: dict[str, Roof]) -> Cell:
    what = next(what for what, short in SHORT.items() if cell.test.startswith(short))
    return make_cell(plan, cell.engine, what, int(cell.test[2:]), cell.threads, cell.batch, cell.context, cell.seconds,
                     pair["read"], pair["mac"])
