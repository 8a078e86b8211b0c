"""Loading: how long until a model is ready and has chosen its first token, and what memory that takes, with a warm page cache.

Every figure comes from processes of their own, in which the model is loaded twice: a first load also pays for the process's memory,
threads and kernel tables. A process before them is not counted: in a virtual machine, memory that no process has had yet must first be
found by the host (a 2B model's first load took 2.8 s there, the next processes' 1.2 and 0.5). Knows no engine.

Next: worker.py, first_token().
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

from .reads import Reads
from .worker import Worker

PROCESSES = 3   # the median of so many


def warm(path: str) -> None:
    """The file into the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def measure(workers: dict[Worker, str], n_threads: int, processes: int, tick: Callable[[str], None]) -> list[dict]:
    """Each engine's file, in every mode that the engine has. Times are medians; the peak is of the first load."""
    loads = []
    for worker, path in workers.items():
        warm(path)
        for mode in worker.about["modes"]:
            tick(f"{worker.name}: loading, {mode}")
            pairs = []
            for _ in range(1 + processes):
                with Worker(worker.engine, worker.kernels) as fresh:
                    pairs.append([fresh.ask("first_token", path=path, mode=mode, n_threads=n_threads) for _ in range(2)])
            first, second = zip(*pairs[1:])
            loads.append({"engine": worker.name, "mode": mode, "file_bytes": os.path.getsize(path),
                          "ready_s": [load["ready_s"] for load in first], "resident": first[0]["resident"],
                          "resident_before": first[0]["resident_before"],
                          **{f"{name}_median_s": statistics.median(load[f"{what}_s"] for load in which)
                             for name, what, which in (("ready", "ready", first), ("first_token", "first_token", first),
                                                       ("second_ready", "ready", second),
                                                       ("second_first_token", "first_token", second))}})
    return loads


def reads_of_file(path: str) -> Reads:
    """What a token reads of the weights where the file has them: this library loads it in place and says so."""
    with Worker("bitnet_ffi") as counter:
        return Reads(**counter.ask("load", path=path, mode="in place"))


def load_all(workers: dict[Worker, str]) -> dict[Worker, tuple[Reads, Reads]]:
    """Load each engine's file in its default mode; what a token reads, in use and in the file."""
    in_file = {path: reads_of_file(path) for path in dict.fromkeys(workers.values())}
    found = {}
    for worker, path in workers.items():
        reads = worker.ask("load", path=path, mode=worker.about["modes"][0])
        found[worker] = (in_file[path] if reads is None else Reads(**reads)), in_file[path]
    return found
