"""Every allocation of a tokenization failing in turn: the least integer and error -7, nothing leaked, and the next call works.

failing_memory.c is preloaded into a child process.
"""
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Special tokens, malformed bytes (a repaired copy), words longer than the array (a heap) that grow, spaces to escape.
TEXT = b"<|im_start|>a b\xff " + b"the" * 40 + b" <s>" + b"e" * 300 + b"<|im_end|> !" + b" " * 900


def child(path: str, call: str, failed: int) -> None:
    from model_abi import MEMORY, load
    run = getattr(ctypes.CDLL(None), call)
    run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_long,
                    ctypes.POINTER(ctypes.c_long)]
    run.restype = None
    model = load(path, vocab_only=True)
    ids, result = (ctypes.c_int32 * 8000)(), (ctypes.c_long * 5)()

    def tokens(fail_at):
        ids[0] = -99
        run(model, TEXT, len(TEXT), ids, len(ids), fail_at, result)
        assert (result[3], result[4]) == (0, 0), f"allocation {fail_at}: {result[3]} blocks leaked"
        return ids[: result[1]] if result[1] >= 0 else None

    expected = tokens(-1)
    n = result[0]
    for fail_at in range(n):
        assert tokens(fail_at) is None and result[1] == failed and result[2] == MEMORY, f"allocation {fail_at}: {result[:]}"
        assert call == "bnf_test_tokenize" or ids[0] == -99    # nothing was written
        assert tokens(-1) == expected
    print(n)


@pytest.mark.parametrize("call, failed", [("bnf_test_tokenize", -2**31), ("bnf_test_tokenize_batch", -2**63)])
@pytest.mark.parametrize("kind", ["bpe", "spm"])
def test_tokenize_when_memory_runs_out(kind, call, failed, tmp_path, preload):
    import vocab_tools
    from model_abi import library_path
    gguf = vocab_tools.bpe_gguf("smollm") if kind == "bpe" else vocab_tools.spm_gguf({"\u2581": -1.0, "e": -2.0, "the": -3.0, "ee": -4.0})
    done = subprocess.run([sys.executable, __file__, gguf.write(tmp_path / "v.gguf"), call, str(failed)], cwd=HERE, capture_output=True,
                          text=True, timeout=120,
                          env={**os.environ, "LD_PRELOAD": str(preload), "BITNET_FFI_LIBRARY": str(library_path())})
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert int(done.stdout) > 5


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
