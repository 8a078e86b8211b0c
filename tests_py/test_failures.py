"""What the machine can do to a context: an allocation that fails, a fork. The next call works, with the same bits.

failing_memory.c is preloaded into a child process, where the Nth allocation of a context and its first decode fails, for each N.
Next: test_load_memory.py does the same to loading.
"""
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_ffi import config
from gguf_writer import tiny_model

HERE = Path(__file__).parent


def fail_each_allocation(path: str) -> None:
    """In the child: every N in turn, each followed by a run without failure on the same model."""
    from model_abi import MEMORY, last_error, load
    from model_abi import lib as model_lib
    run = ctypes.CDLL(None).bnf_test_decode
    run.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.POINTER(ctypes.c_long), ctypes.POINTER(ctypes.c_float)]
    run.restype = None
    model = load(path)
    result, logits = (ctypes.c_long * 7)(), (ctypes.c_float * 280)()
    run(model, -1, result, logits)                  # the first call may set up what lasts for the whole process
    run(model, -1, result, logits)
    n, expected = result[0], bytes(logits)
    no_context = no_decode = 0
    for fail_at in range(n):
        ctypes.memset(logits, 0, 4 * 280)
        run(model, fail_at, result, logits)
        _, made, first, last, code, held, maps = result
        text = last_error()[1]
        assert (held, maps) == (0, 0), f"allocation {fail_at}: {held} blocks and {maps} mappings leaked"
        if not made or first != 0:
            no_context += not made
            no_decode += made
            assert code == MEMORY and first in (0, MEMORY) and len(text) > 10, f"allocation {fail_at}: {code} {first} {text}"
        assert last == 0 and (not made or bytes(logits) == expected), f"allocation {fail_at}: the context is spoilt"
        run(model, -1, result, logits)
        assert result[1] and result[3] == 0 and bytes(logits) == expected, f"after allocation {fail_at}: the model is spoilt"
    model_lib.llama_model_free(model)
    print(n, no_context, no_decode)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    tiny = tiny_model(weights="q8_0", n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280)
    return tiny.write(tmp_path_factory.mktemp("failures") / "tiny.gguf")


def run(call, path, **environment):
    from model_abi import library_path
    environment = {**os.environ, "BITNET_FFI_LIBRARY": str(library_path()), "PYTHONPATH": str(config.PACKAGE.parent), **environment}
    done = subprocess.run([sys.executable, __file__, call, path], cwd=HERE, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    return done.stdout.split()


def test_context_and_decode_when_memory_runs_out(path, preload):
    n, no_context, no_decode = map(int, run("fail_each_allocation", path, LD_PRELOAD=str(preload)))
    assert no_context >= 10 and no_decode >= 3 and no_context + no_decode <= n


def fork_and_decode(path: str) -> None:
    """In the child: a context with two threads is used, the process forks, and both go on with it, and with new ones."""
    from engine_abi import decode, init, row, rows_alone
    from bitnet_ffi import Model
    with Model(path) as owner:
        model = owner._pointer
        tokens = [(5 * i * i + 1) % 280 for i in range(80)]
        rows = rows_alone(model, tokens)
        ctx = init(model, n_ctx=128, n_threads=2, n_threads_batch=2)
        assert decode(ctx, tokens[:70]) == 0 and row(ctx) == rows[69]
        child = os.fork()
        assert decode(ctx, tokens[70:79]) == 0 and row(ctx) == rows[78]
        assert decode(ctx, tokens[79:]) == 0 and row(ctx) == rows[79]
        assert rows_alone(model, tokens, n_threads=2, n_threads_batch=2) == rows
        from bitnet_ffi._ffi import lib
        lib.llama_set_n_threads(ctx, 1, 2)
        lib.llama_kv_cache_clear(ctx)
        assert decode(ctx, tokens) == 0 and row(ctx) == rows[79]
        del ctx
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both")
        sys.stdout.flush()


def test_both_sides_of_a_fork_go_on(path):
    assert run("fork_and_decode", path) == ["both"]


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
