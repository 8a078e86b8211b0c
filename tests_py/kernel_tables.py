"""A test's probe in a child process under each kernel table, because a process chooses its table once. Next: test_same_bits.py."""
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TABLES = ["avx2", "avxvnni", "avx512vnni", "avx512vbmi", "neon", "i8mm"]      # each must have the bits of "scalar"


@functools.cache
def run_under(table: str, probe: str, *args):
    """What the probe, a program, prints as JSON under the table; the test is skipped where this CPU cannot run it.

    The probe finds the modules of this folder, and its arguments from sys.argv[1] on. What it printed is kept for the next test.
    """
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run([sys.executable, "-c", f"{probe}\nimport bitnet_ffi\nprint(bitnet_ffi.kernel_name())", *map(str, args)],
                          capture_output=True, text=True,
                          env={**os.environ, "BITNET_FFI_KERNELS": table, "PYTHONPATH": os.pathsep.join(path)})
    if "no such kernel table" in done.stderr or "cannot run" in done.stderr:
        pytest.skip(f"this CPU cannot run the {table} kernels")
    assert done.returncode == 0, done.stderr
    printed, name = done.stdout.splitlines()
    assert name == table
    return json.loads(printed)
