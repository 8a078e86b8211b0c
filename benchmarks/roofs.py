"""Measures the machine's roofs: read bandwidth from memory, and int8 multiply-adds per second, per number of threads.

Compiles roofs.c for this CPU once and keeps the program in the cache folder. Next: cells.py compares engines with them.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bitnet_ffi import registry

from . import BenchError

SOURCE = Path(__file__).with_name("roofs.c")
READ_MIB = 512    # far more than any cache's size
MAC_MS = 5
PASSES = {"read": 15, "mac": 60}  # short and many: some pass meets a quiet moment of a busy machine


@dataclass(frozen=True)
class Roof:
    """The best pass is the roof: other work on the machine can only slow a pass down."""

    what: str
    per_second: list[float]

    @property
    def best(self) -> float:
        return max(self.per_second, default=0.0)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))), "")


def program() -> Path:
    """roofs.c compiled with $CC or cc; made again when the source, the compiler or the CPU changes."""
    command = [*shlex.split(os.environ.get("CC") or "cc"), "-O3", "-march=native", "-std=gnu11", "-pthread"]
    key = hashlib.sha256(SOURCE.read_bytes() + repr((command, _cpu_name())).encode()).hexdigest()[:16]
    path = registry.cache_dir() / f"roofs-{key}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        done = subprocess.run([*command, str(SOURCE), "-o", str(partial)], capture_output=True, text=True)
    except OSError as error:
        raise BenchError(f"no C compiler: '{command[0]}' cannot be run ({error.strerror}); install gcc or set CC"
                         ) from None
    if done.returncode != 0:
        raise BenchError(f"roofs.c does not compile with '{shlex.join(command)}': {done.stderr.strip()}")
    os.replace(partial, path)
    return path


def measure(what: str, n_threads: int, *, amount: int | None = None, passes: int | None = None) -> Roof:
    """what: "read" (bytes; amount in MiB) or "mac" (int8 multiply-adds; amount in milliseconds a pass)."""
    amount = amount or {"read": READ_MIB, "mac": MAC_MS}[what]
    arguments = [what, str(n_threads), str(amount), str(passes or PASSES[what])]
    done = subprocess.run([program(), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip() or f"roofs stopped with status {done.returncode}")
    name, *lines = done.stdout.splitlines()
    pairs = [tuple(map(float, line.split())) for line in lines]
    return Roof(name, [] if name == "none" else [count / seconds for seconds, count in pairs])
