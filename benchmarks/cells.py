"""What is measured, in which order, and what a number is compared with.

A cell is one test with one number of threads, sequences and tokens of context. Tests are pp128 (a prompt of 128 tokens),
tg32 (32 steps of decoding), sm32 (the same, drawing tokens at a temperature) and lg32 (the same, reading all logits). The
engines take turns at every repetition, so that other work on the machine meets all of them. Next: loads.py, report.py.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from . import roofs
from .reads import Reads
from .roofs import Roof
from .worker import Worker


SHORT = {"prompt": "pp", "generate": "tg", "draws": "sm", "logits": "lg"}  # what a worker is asked for -> the test's name
LEAST_REPEATS, LONG_CELL_S = 3, 30   # a cell that has taken so long, over all engines, is not repeated more often than this


@dataclass(frozen=True)
class Test:
    """what: a key of SHORT; n: tokens of a prompt, or steps."""

    what: str
    n: int
    threads: int
    batch: int = 1
    context: int = 0

    @property
    def name(self) -> str:
        return f"{SHORT[self.what]}{self.n}"

    @property
    def group(self) -> tuple[int, int]:
        """Tests of a group share a filled context."""
        return self.context, self.batch


def test_of(name: str, threads: int, batch: int, context: int) -> Test:
    """The test that is called so ("pp128")."""
    what = next(what for what, short in SHORT.items() if name.startswith(short))
    return Test(what, int(name[2:]), threads, batch, context)


@dataclass(frozen=True)
class Plan:
    """model: its name. tests: in order, those of a group together."""

    model: str
    tests: list[Test]
    repeats: int = 5
    kv_type: str = "f16"

    @property
    def threads(self) -> list[int]:
        return sorted({test.threads for test in self.tests})


def all_tests(threads: list[int], prompts: list[int], n_generate: int, batches: list[int], contexts: list[int],
              deep_batches: bool) -> Iterator[Test]:
    """Several sequences are measured without context unless deep_batches (filling 8 x 3,500 tokens takes minutes), and without
    prompts: those are of one sequence."""
    for context, batch, n_threads in itertools.product(contexts, batches, threads):
        if context == 0 or batch == 1 or deep_batches:
            if batch == 1:
                for n in prompts:
                    yield Test("prompt", n, n_threads, batch, context)
                yield Test("logits", n_generate, n_threads, batch, context)
                yield Test("draws", n_generate, n_threads, batch, context)
            yield Test("generate", n_generate, n_threads, batch, context)


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
    gb_per_s: float        # bytes that the tokens needed in the layouts in use, over the median
    gmac_per_s: float      # multiply-adds of the layers, likewise
    read_fraction: float | None   # gb_per_s over the read bandwidth
    mac_fraction: float | None    # gmac_per_s over the int8 peak
    roof_fraction: float | None   # the least time of the file's own bytes and multiply-adds, over the median: for baselines


def make_cell(plan: Plan, engine: str, test: Test, seconds: list[float], in_use: Reads, in_file: Reads,
              read: Roof, mac: Roof) -> Cell:
    """The roof fraction counts bytes as the file holds them, so that an engine which comes to read fewer is a faster one.
    Fractions are None where a roof is not known."""
    n_tokens = test.n * test.batch
    steps, positions = (1, test.context + test.n) if test.what == "prompt" else (test.n, test.context + (test.n + 1) / 2)
    size, file_size = (steps * reads.step(test.what, batch=test.batch, positions=positions, kv_type=plan.kv_type)
                       for reads in (in_use, in_file))
    macs = n_tokens * in_file.n_weights
    median = statistics.median(seconds)
    return Cell(engine, test.name, test.threads, test.batch, test.context, seconds, n_tokens / median,
                (max(seconds) - min(seconds)) / median, size / median / 1e9, macs / median / 1e9,
                size / median / read.best if read.best else None, macs / median / mac.best if mac.best else None,
                max(file_size / read.best, macs / mac.best) / median if read.best and mac.best else None)


@dataclass(frozen=True)
class Timed:
    """A cell before its roofs are known."""

    worker: Worker
    test: Test
    seconds: list[float]


def time_tests(plan: Plan, workers: list[Worker], fills: list[dict], tick: Callable[[str], None]) -> Iterator[Timed]:
    """All tests on all workers, whose models are loaded. fills: gets how long each took to fill a context."""
    for (context, batch), group in itertools.groupby(plan.tests, key=lambda test: test.group):
        tests = list(group)
        room = context + max(test.n for test in tests) + 1
        for worker in workers:
            tick(f"{worker.name}: filling {context} x {batch}")
            seconds = worker.ask("open", n_ctx=room, n_seq=batch, n_threads=max(test.threads for test in tests), context=context,
                                 kv_type=plan.kv_type)
            if context:
                fills.append({"engine": worker.name, "context": context, "batch": batch, "seconds": seconds})
        for test in tests:
            tick(f"{test.name}, {test.threads} threads, {batch} sequences, context {context}")
            timed = {worker: [] for worker in workers}
            for worker in workers:
                worker.ask(test.what, n=min(test.n, 4), n_threads=test.threads)   # wakes the threads, touches the memory
            for i in range(plan.repeats):
                if i >= LEAST_REPEATS and sum(map(sum, timed.values())) > LONG_CELL_S:
                    break
                for worker in workers:
                    timed[worker].append(worker.ask(test.what, n=test.n, n_threads=test.threads))
            for worker, seconds in timed.items():
                yield Timed(worker, test, seconds)
        for worker in workers:
            worker.ask("close")


def measure_roofs(threads: list[int], tick: Callable[[str], None]) -> dict[int, dict[str, Roof]]:
    found = {}
    for n in threads:
        tick(f"roofs, {n} threads")
        found[n] = {what: roofs.measure(what, n) for what in ("read", "mac")}
    return found


def run(plan: Plan, workers: dict[Worker, tuple[Reads, Reads]], tick: Callable[[str], None]) -> dict:
    """All cells, with roofs measured before and after them (a better pass afterwards raises the roof of all). workers: with models
    loaded, and what a token reads in the layouts in use and in the file.
    Ctrl-C or SIGTERM ends the cells; those that are done count, by the roofs of before: whoever interrupts does not wait."""
    before = measure_roofs(plan.threads, tick)
    found: list[Timed] = []
    fills: list[dict] = []
    after: dict[int, dict[str, Roof]] = {}
    try:
        for timed in time_tests(plan, list(workers), fills, tick):
            found.append(timed)
        after = measure_roofs(plan.threads, tick)
    except KeyboardInterrupt:
        if not found:
            raise
        for worker in workers:
            worker.kill()
    roof_of = {n: {what: Roof(roof.what, roof.per_second + (after[n][what].per_second if after else []))
                   for what, roof in before[n].items()} for n in plan.threads}
    cells = [make_cell(plan, timed.worker.name, timed.test, timed.seconds, *workers[timed.worker],
                       **roof_of[timed.test.threads]) for timed in found]
    return {"cells": [asdict(cell) for cell in cells], "fills": fills,
            "roofs": {str(n): {what: {"what": roof.what, "per_second": roof.per_second, "best": roof.best}
                               for what, roof in pair.items()} for n, pair in roof_of.items()}}
