"""Every allocation of a load failing in turn: error -7 with a sentence, nothing leaked, and the next load works.

failing_memory.c is preloaded into a child process.
"""
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODELS = {
    "plain": dict(arch="llama", weights="q4_0"),
    "converted": dict(arch="bitnet", weights="tq2_0", norms="f16", bias=True, scales=True),
    "split": dict(arch="bitnet-b1.58", weights="i2_s"),
}


def child(path: str, check: str) -> None:
    from model_abi import MEMORY, last_error, lib
    load = ctypes.CDLL(None).bnf_test_load
    load.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.POINTER(ctypes.c_long)]
    load.restype = None
    result = (ctypes.c_long * 5)()
    n_allocations = n = 0
    load(path.encode(), int(check), -1, result)  # the first call may set up what lasts for the whole process
    while n <= n_allocations:
        for fail_at in (n, -1):
            load(path.encode(), int(check), fail_at, result)
            n_allocations, loaded, code, held, maps = result
            assert (held, maps) == (0, 0), f"allocation {fail_at} of {n_allocations}: {held} blocks and {maps} mappings leaked"
            if fail_at == -1:
                assert loaded, last_error()
            elif not loaded:
                text = last_error()[1]
                assert code == MEMORY and len(text) > 10, f"allocation {fail_at}: {code} {text}"
        n += 1
    print(f"{n} allocations")


@pytest.mark.parametrize("check", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_load_when_memory_runs_out(name, check, tmp_path, preload):
    from gguf_writer import tiny_model
    from model_abi import library_path
    g = tiny_model(**MODELS[name])
    path = g.write_split(tmp_path / "m", 2)[0] if name == "split" else g.write(tmp_path / "m.gguf")
    done = subprocess.run([sys.executable, __file__, path, str(check)], cwd=HERE, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "LD_PRELOAD": str(preload), "BITNET_FFI_LIBRARY": str(library_path())})
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 10


if __name__ == "__main__":
    child(*sys.argv[1:])
