"""Decoding beside other work: threads that do not get a CPU must not hold up those that do.

A child process, which may use two CPUs, measures; busy processes take the same two, or the first. What is compared is one thread
and more threads, in turns. The bounds are generous: a team that waits at every barrier for a thread without a CPU is below 0.35.
"""
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from gguf_writer import tiny_model

CHILD = """
import json, os, sys, time
from bitnet_ffi import Model

path, cpus, counts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
os.sched_setaffinity(0, cpus)
best = {n: 0.0 for n in counts}
with Model(path) as model:
    contexts = {n: model.context(n_ctx=4096, n_threads=n) for n in counts}
    for turn in range(4):                  # the first finds out how busy the machine is
        for n, context in contexts.items():
            context.seq_remove(0, 0, -1)
            begin, steps = time.perf_counter(), 0
            while time.perf_counter() - begin < 0.6 and steps < 4000:
                context.decode([steps % 250])
                steps += 1
            if turn > 0:
                best[n] = max(best[n], steps / (time.perf_counter() - begin))
    print(json.dumps({n: [rate, contexts[n].n_threads] for n, rate in best.items()}))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """48 M weights in 16 layers: about a millisecond a token, 80 barriers in it."""
    path = tmp_path_factory.mktemp("models") / "thin.gguf"
    return tiny_model(arch="bitnet-b1.58", weights="i2_s", embd="f16", n_layer=16, n_embd=512, n_ff=1536, n_head=8, n_head_kv=2,
                      n_ctx=4096).write(path)


@pytest.fixture(scope="module")
def cpus():
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("needs two CPUs")
    return usable[:2]


@contextmanager
def busy(cpus):
    """A process that always runs, on these CPUs; gone when its parent is."""
    loop = "import os, sys\nos.sched_setaffinity(0, %r)\nparent = os.getppid()\nwhile os.getppid() == parent: pass" % (cpus,)
    process = subprocess.Popen([sys.executable, "-c", loop])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def rates(path, cpus, counts, busy_on):
    """By number of threads: tokens/s, and the threads that the context has."""
    with ExitStack() as stack:
        for own in busy_on:
            stack.enter_context(busy(own))
        done = subprocess.run([sys.executable, "-c", CHILD, str(path), json.dumps(cpus), json.dumps(counts)], capture_output=True, text=True,
                              timeout=120)
    assert done.returncode == 0, done.stderr
    return {int(n): found for n, found in json.loads(done.stdout).items()}


@pytest.mark.parametrize("n_busy, pinned", [(1, True), (1, False), (2, False)])
def test_two_threads_beside_busy_processes(path, cpus, n_busy, pinned):
    found = rates(path, cpus, [1, 2], [cpus[:1] if pinned else cpus] * n_busy)
    assert found[2][1] == 2
    assert found[2][0] > 0.6 * found[1][0], found


def test_sixteen_threads_on_two_cpus(path, cpus):
    found = rates(path, cpus, [1, 16], [])
    assert found[16][1] == 2
    assert found[16][0] > 0.6 * found[1][0], found


def test_two_threads_on_one_cpu(path, cpus):
    found = rates(path, cpus[:1], [1, 2], [])
    assert found[2][1] == 1
    assert found[2][0] > 0.6 * found[1][0], found
