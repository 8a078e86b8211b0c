"""An engine in a process of its own: memory is counted per engine, and engines can take turns, repetition by repetition.

The parent's side is `Worker`; the child's is this file as a program (`python -m benchmarks.worker ENGINE`), which answers
requests, one JSON object a line. Times are taken in the child, around the engine's calls alone. Next: cells.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import BenchError
from .engines import ENGINES

ROOT = Path(__file__).resolve().parent.parent


def worker_name(engine: str, kernels: str | None) -> str:
    return engine if kernels is None else f"{engine}:{kernels}"


class Worker:
    """The parent's handle. `engine`: a name of ENGINES; `kernels`: the table to force, None: the engine's choice."""

    def __init__(self, engine: str, kernels: str | None = None):
        self.name = worker_name(engine, kernels)
        self.engine, self.kernels = engine, kernels
        env = os.environ | ({} if kernels is None else {"BITNET_FFI_KERNELS": kernels})
        env["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's threads would spin beside the engine's
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.worker", engine], env=env, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.about = self._answer()
        except BenchError:
            self.close()
            raise

    def ask(self, what: str, **arguments):
        """Let the child run `what`; its result. Errors: BenchError with the child's own sentence."""
        try:
            self._process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the answer that is missing says how
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self.name}: the process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}")
        return answer["result"]

    def kill(self) -> None:
        """End the child in the middle of whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End the child: it leaves when its input does."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind, *_exc) -> None:
        if kind is not None:  # it may be in the middle of something long
            self.kill()
        self.close()


# ---- the child ----

def resident() -> dict[str, int]:
    """Bytes of this process that are in memory: its own, and those of mapped files; and the most there ever were."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anonymous, file, peak = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile", "VmHWM"))
    return {"anonymous": anonymous, "file": file, "total": anonymous + file, "peak": max(peak, anonymous + file)}


class Session:
    """What a child can be asked: each public method is a request."""

    def __init__(self, engine):
        self.engine = engine
        self.tokens = np.random.default_rng(7).integers(0, 256, 1 << 16)  # ordinary tokens of most vocabularies: bytes

    def load(self, path: str, mode: str) -> dict | None:
        """Load and keep; what a token reads, None where the engine does not say."""
        self.engine.load(path, mode)
        reads = self.engine.reads()
        return None if reads is None else asdict(reads)

    def first_token(self, path: str, mode: str, n_threads: int) -> dict:
        """Seconds of a load to a model with a context, and with its first token; memory then. Nothing is kept."""
        before = resident()["total"]
        begin = time.perf_counter()
        self.engine.load(path, mode)
        self.engine.open(64, 1, n_threads, "f16")
        ready = time.perf_counter() - begin
        self.engine.decode([1], [0], [0], False)
        self.engine.sample(-1)
        first = time.perf_counter() - begin
        memory = resident()
        self.engine.close()
        self.engine.unload()
        return {"ready_s": ready, "first_token_s": first, "resident": memory, "resident_before": before}

    def open(self, n_ctx: int, n_seq: int, n_threads: int, context: int, kv_type: str) -> float:
        """A context with room for n_ctx tokens in each sequence, and `context` of them filled in each; seconds of the filling."""
        self.engine.open(n_ctx, n_seq, n_threads, kv_type)
        self.n_seq, self.context = n_seq, context
        begin = time.perf_counter()
        for seq in range(n_seq if context else 0):
            ids = [int(token) for token in np.resize(np.roll(self.tokens, -97 * seq), context)]  # sequences differ
            self.engine.decode(ids, range(context), [seq] * context, False)
        return time.perf_counter() - begin

    def close(self) -> None:
        self.engine.close()

    def prompt(self, n: int, n_threads: int) -> float:
        """Seconds for n tokens after the filled context in sequence 0, and the choice of the next."""
        ids, pos = [int(token) for token in self.tokens[:n]], range(self.context, self.context + n)
        self.engine.set_threads(n_threads)
        begin = time.perf_counter()
        self.engine.decode(ids, pos, [0] * n, False)
        self.engine.sample(-1)
        seconds = time.perf_counter() - begin
        self.engine.forget(1, self.context)
        return seconds

    def generate(self, n: int, n_threads: int) -> float:
        """Seconds for n steps; each gives every sequence one token, the greedy choice of the step before, as users do."""
        return self._steps(n, n_threads, self.engine.sample)

    def draws(self, n: int, n_threads: int) -> float:
        """As generate(), each token drawn from the softmax at a temperature of 0.8."""
        return self._steps(n, n_threads, self.engine.draw)

    def logits(self, n: int, n_threads: int) -> float:
        """As generate(), by callers that look at all logits: whatever an engine saves when it is asked for a token only, it
        cannot save here."""
        return self._steps(n, n_threads, lambda row: int(self.engine.logits(row).argmax()))

    def _steps(self, n: int, n_threads: int, choose: Callable[[int], int]) -> float:
        seqs = list(range(self.n_seq))
        last = [int(token) for token in self.tokens[:self.n_seq]]
        self.engine.set_threads(n_threads)
        begin = time.perf_counter()
        for pos in range(self.context, self.context + n):
            self.engine.decode(last, [pos] * self.n_seq, seqs, True)
            last = [choose(i) for i in seqs]
        seconds = time.perf_counter() - begin
        self.engine.forget(self.n_seq, self.context)
        return seconds


def main(name: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints must not get between the answers

    def answer(**fields) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        engine = ENGINES[name]()
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(result={"version": engine.version, "kernels": engine.kernels, "modes": engine.modes})
    session = Session(engine)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(result=getattr(session, request.pop("what"))(**request))
        except Exception as error:  # the parent says it and stops
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
