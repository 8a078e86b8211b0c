"""Thread pools that a program makes and attaches: their threads compute, where and as the pool says, with the bits of any other threads.

The threads of a pool are those that /proc shows once it is made; the abort callback looks at the caller while it computes.
Next: tests_c/test_pool.cpp for the threads, tests_c/test_stress.cpp for pools that come and go under ThreadSanitizer.
"""
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row
from gguf_writer import tiny_model

NULL = ffi.NULL
TEXT = [(7 * i + 1) % 256 for i in range(60)]      # more than the few tokens for which a context tries fewer threads
CPUS = sorted(os.sched_getaffinity(0))
two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model(weights="q8_0", n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280).write(
        tmp_path_factory.mktemp("threadpool") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(owner):
    return owner._pointer


def tasks() -> set[int]:
    return {int(task) for task in os.listdir("/proc/self/task")}


def end(tids) -> bool:
    """Do these threads end? A joined one leaves /proc a moment later."""
    deadline = time.monotonic() + 10
    while tasks() & set(tids) and time.monotonic() < deadline:
        time.sleep(0.001)
    return not tasks() & set(tids)


class Pool:
    """A pool of the program; tids: its own threads."""

    def __init__(self, n_threads, cpus=(), **fields):
        params = ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(n_threads))
        for name, value in fields.items():
            setattr(params, name, value)
        for cpu in cpus:
            params.cpumask[cpu] = True
        before = tasks()
        self.pointer = lib.ggml_threadpool_new(params)
        assert self.pointer != NULL, last_error()
        self.tids = sorted(tasks() - before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pointer != NULL:
            self.free()

    def free(self):
        lib.ggml_threadpool_free(self.pointer)
        self.pointer = NULL

    def worked(self) -> list[int]:
        """Nanoseconds that each of its threads has run; asleep by now, unless it polls: the kernel counts at switches and ticks."""
        time.sleep(0.01)
        return [int(Path(f"/proc/self/task/{tid}/schedstat").read_text().split()[0]) for tid in self.tids]


def attached(model, pool, batch=NULL, **fields):
    ctx = init(model, n_ctx=256, **{"n_threads": 2, "n_threads_batch": 2, **fields})
    lib.llama_attach_threadpool(ctx, pool.pointer, batch)
    assert last_error() == (0, "")
    return ctx


def run(ctx, tokens=TEXT) -> bytes:
    """The last row of the text, decoded in a context that is emptied first."""
    lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
    assert decode(ctx, tokens) == 0, last_error()
    return row(ctx)


def seen_inside(ctx, look):
    """What look() says in the calling thread while it computes, every time."""
    found = []

    @ffi.callback("bool(void *)")
    def ask(_):
        found.append(look())
        return False
    lib.llama_set_abort_callback(ctx, ask, NULL)
    run(ctx)
    lib.llama_set_abort_callback(ctx, NULL, NULL)
    assert found
    return found


@pytest.fixture(scope="module")
def bits(model):
    return run(init(model, n_ctx=256))


def test_the_threads_of_an_attached_pool_compute(model, bits):
    with Pool(2) as pool:
        assert len(pool.tids) == 1
        ctx = attached(model, pool)
        before = pool.worked()
        for _ in range(5):
            assert run(ctx) == bits
        assert pool.worked()[0] > before[0]
        lib.llama_detach_threadpool(ctx)
        before = pool.worked()
        assert run(ctx) == bits and pool.worked() == before


def test_a_pool_for_one_token_and_one_for_prompts(model, bits):
    with Pool(2) as one, Pool(2) as more:
        ctx = attached(model, one, more.pointer)
        before = one.worked()
        lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
        assert decode(ctx, TEXT, logits=[0] * len(TEXT)) == 0 and one.worked() == before and more.worked()[0] > 0
        before = more.worked()
        assert decode(ctx, [3]) == 0 and row(ctx) and more.worked() == before
        assert run(ctx) == bits


def test_numbers_of_threads_beside_a_pool(model, bits):
    limit = min(3, len(CPUS))
    ctx = init(model, n_ctx=256, n_threads=3, n_threads_batch=2)
    def numbers(): return lib.llama_n_threads(ctx), lib.llama_n_threads_batch(ctx)
    own = numbers()
    assert own[0] <= limit
    with Pool(3) as three, Pool(1) as one:
        lib.llama_attach_threadpool(ctx, three.pointer, NULL)
        assert numbers() == (3, 2) and run(ctx) == bits      # the pool's threads are not cut to the CPUs
        lib.llama_set_n_threads(ctx, 1, 9)
        assert numbers() == (1, 3) and run(ctx) == bits
        lib.llama_attach_threadpool(ctx, one.pointer, three.pointer)
        assert numbers() == (1, 3) and run(ctx) == bits
        lib.llama_attach_threadpool(ctx, NULL, one.pointer)
        assert numbers() == (1, 1)
        lib.llama_set_n_threads(ctx, 3, 2)
        assert numbers() == (own[0], 1) and run(ctx) == bits
        lib.llama_detach_threadpool(ctx)
        assert numbers() == own and run(ctx) == bits


def test_more_threads_than_cpus(model, bits):
    n = len(CPUS) + 3
    with Pool(n) as pool:
        ctx = attached(model, pool, n_threads=n, n_threads_batch=n)
        assert len(pool.tids) == n - 1 and lib.llama_n_threads(ctx) == n
        assert run(ctx) == bits and [decode(ctx, [i]) for i in range(20)] == [0] * 20


@two_cpus
def test_threads_run_on_the_cpus_of_the_mask(model, bits):
    for cpus in (CPUS[:1], CPUS[1:2], CPUS[:2]):
        with Pool(3, cpus) as pool:
            ctx = attached(model, pool)
            assert run(ctx) == bits                     # by now they have come to the start
            assert all(os.sched_getaffinity(tid) == set(cpus) for tid in pool.tids)
            assert all(found == set(cpus) for found in seen_inside(ctx, lambda: os.sched_getaffinity(0)))
            assert os.sched_getaffinity(0) == set(CPUS)


@two_cpus
def test_strict_masks_are_one_cpu_a_thread_and_the_caller_last(model, bits):
    with Pool(2, CPUS[:2], strict_cpu=True) as pool:
        ctx = attached(model, pool)
        assert run(ctx) == bits and os.sched_getaffinity(pool.tids[0]) == {CPUS[0]}
        assert all(found == {CPUS[1]} for found in seen_inside(ctx, lambda: os.sched_getaffinity(0)))
        assert os.sched_getaffinity(0) == set(CPUS)
    with Pool(4, CPUS[:2], strict_cpu=True) as pool:    # and around
        ctx = attached(model, pool, n_threads=4, n_threads_batch=4)
        assert run(ctx) == bits
        assert sorted(min(os.sched_getaffinity(tid)) for tid in pool.tids) == [CPUS[0], CPUS[0], CPUS[1]]


@two_cpus
def test_a_caller_with_one_cpu_has_all_threads_of_a_pool(model, bits):
    os.sched_setaffinity(0, CPUS[:1])
    try:
        with Pool(2, CPUS[:2]) as pool:
            ctx = attached(model, pool)
            assert lib.llama_n_threads(ctx) == 2 and run(ctx) == bits
            assert all(found == set(CPUS[:2]) for found in seen_inside(ctx, lambda: os.sched_getaffinity(0)))
            assert os.sched_getaffinity(0) == {CPUS[0]}
            lib.llama_detach_threadpool(ctx)
            assert lib.llama_n_threads(ctx) == 1
    finally:
        os.sched_setaffinity(0, CPUS)


def test_low_priority_lasts_as_long_as_the_work(model, bits):
    with Pool(2, prio=lib.GGML_SCHED_PRIO_LOW) as pool:
        ctx = attached(model, pool)
        assert run(ctx) == bits and os.sched_getscheduler(pool.tids[0]) == os.SCHED_BATCH
        assert set(seen_inside(ctx, lambda: os.sched_getscheduler(0))) == {os.SCHED_BATCH}
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


WITHOUT_RIGHTS = """
import os, sys
from test_threadpool import Pool, attached, run, ffi, lib
from bitnet_ffi import Model
model = Model(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
lines = []
@ffi.callback("void(enum ggml_log_level, const char *, void *)")
def keep(level, text, _):
    lines.append(ffi.string(text).decode())
lib.llama_log_set(keep, ffi.NULL)
for fields in (dict(prio=lib.GGML_SCHED_PRIO_HIGH), dict(cpus=[511])):
    lines.clear()
    with Pool(3, **fields) as pool:
        ctx = attached(model._pointer, pool, n_threads=3, n_threads_batch=3)
        rows = {run(ctx) for _ in range(3)}
        print(len(rows), sum("threads of a pool run without the" in line for line in lines), os.sched_getscheduler(0))
lib.llama_log_set(ffi.NULL, ffi.NULL)
"""


def test_what_the_system_refuses_is_a_line_in_the_log(path):
    """Priorities that need rights, CPUs that are not there: once a pool, and the work is done."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_RIGHTS, path], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0 and done.stdout.split("\n")[:2] == ["1 1 0", "1 1 0"], done.stdout + done.stderr


@pytest.mark.parametrize("poll, paused", [(0, False), (50, True), (100, False), (2**32 - 1, False)])
def test_polling_and_pauses_change_no_bit(model, bits, poll, paused):
    with Pool(2, poll=poll, paused=paused) as pool:
        ctx = attached(model, pool)
        assert run(ctx) == bits
        lib.ggml_threadpool_pause(pool.pointer)
        assert run(ctx) == bits
        lib.ggml_threadpool_resume(pool.pointer)
        assert run(ctx) == bits


@two_cpus
def test_a_pool_that_spins_does_not_when_paused(model):
    """Threads that poll for a second take CPU time between runs, and none once they are paused."""
    with Pool(2, poll=1_000_000) as pool:
        ctx = attached(model, pool)
        run(ctx)
        before = pool.worked()[0]
        time.sleep(0.2)
        assert pool.worked()[0] - before > 20_000_000    # of 200 ms, on a busy machine
        lib.ggml_threadpool_pause(pool.pointer)
        before = pool.worked()[0]
        time.sleep(0.05)
        assert pool.worked()[0] == before


# ---- one pool, several contexts ----

def test_contexts_of_two_threads_take_turns_on_a_pool(model, bits):
    with Pool(2) as pool:
        contexts = [attached(model, pool) for _ in range(3)]
        found = [[] for _ in contexts]
        threads = [threading.Thread(target=lambda c=c, out=out: out.extend(run(c) for _ in range(20)))
                   for c, out in zip(contexts, found)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [[bits] * 20] * 3


def test_a_context_waits_for_the_run_of_another(model, bits):
    with Pool(2) as pool:
        first, second = attached(model, pool), attached(model, pool)
        inside, go_on = threading.Event(), threading.Event()

        @ffi.callback("bool(void *)")
        def hold(_):
            inside.set()
            go_on.wait(30)
            return False
        lib.llama_set_abort_callback(first, hold, NULL)
        found = []
        threads = [threading.Thread(target=lambda c=c: found.append((c, run(c)))) for c in (first, second)]
        threads[0].start()
        assert inside.wait(30)
        threads[1].start()
        time.sleep(0.1)
        assert found == []
        go_on.set()
        for thread in threads:
            thread.join()
        lib.llama_set_abort_callback(first, NULL, NULL)
        assert {c: r for c, r in found} == {first: bits, second: bits}


def test_a_callback_may_compute_on_the_pool_that_called_it(model, bits):
    """It cannot wait for itself: the inner context takes its own threads."""
    with Pool(2) as pool:
        outer, inner = attached(model, pool), attached(model, pool)
        assert set(seen_inside(outer, lambda: run(inner))) == {bits} and run(inner) == bits


# ---- freed pools, dead contexts, forks ----

def test_freeing_an_attached_pool_ends_its_threads(model, bits):
    with Pool(3) as pool:
        ctx = attached(model, pool, pool.pointer, n_threads=3, n_threads_batch=3)
        assert run(ctx) == bits
        pool.free()
        assert end(pool.tids)
        assert run(ctx) == bits and decode(ctx, [1]) == 0
        assert lib.llama_n_threads(ctx) == min(3, len(CPUS)) == lib.llama_n_threads_batch(ctx)
        lib.llama_detach_threadpool(ctx)
        assert last_error() == (0, "") and run(ctx) == bits


def test_a_pool_freed_by_a_callback_ends_after_the_run(model, bits):
    with Pool(2) as pool:
        ctx, waiting = attached(model, pool), attached(model, pool)
        threads_inside = seen_inside(ctx, lambda: (pool.free() if pool.pointer != NULL else None, pool.tids[0] in tasks())[1])
        assert threads_inside[0] and end(pool.tids)
        assert run(ctx) == bits == run(waiting)


def test_a_pool_outlives_its_contexts_and_contexts_their_pool(model, bits):
    with Pool(2) as pool:
        for _ in range(3):
            ctx = attached(model, pool, pool.pointer)
            assert run(ctx) == bits
            ffi.release(ctx)
    pool = Pool(2)
    ctx = attached(model, pool)
    pool.free()
    ffi.release(ctx)
    assert end(pool.tids)


def test_a_forked_child_computes_without_the_pool(model, bits):
    with Pool(2) as pool:
        ctx = attached(model, pool)
        assert run(ctx) == bits
        child = os.fork()
        if child == 0:
            try:
                right = run(ctx) == bits
                pool.free()
                os._exit(0 if right and run(ctx) == bits else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0 and run(ctx) == bits


def test_states_move_between_pools(model, bits):
    """Positions that move, a LoRA rank or more threads make new scratch: the pool stays."""
    with Pool(2) as pool:
        ctx, alone = attached(model, pool), init(model, n_ctx=256)
        for c in (ctx, alone):
            run(c)
            memory = lib.llama_get_memory(c)
            lib.llama_memory_seq_rm(memory, 0, 0, 20)
            lib.llama_memory_seq_add(memory, 0, 20, -1, -20)
            assert decode(c, [9, 4]) == 0
        lib.llama_set_n_threads(ctx, 2, 2)
        assert row(ctx) == row(alone)
