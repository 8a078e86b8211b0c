"""Writes tests_py/data/quantize_llama_cpp.json: SHA-256 of what llama.cpp's reference quantizers make of quantize_cases.py.

    python tests_py/make_quantize_golden.py LIBGGML_BASE      # a libggml-base.so of 2026

Read by test_quantize_file.py, which quantizes the same floats with bitnet_ffi.
"""
import ctypes as C
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from quantize_cases import K, TYPES, WEIGHED, cases, importances

OUT = Path(__file__).parent / "data" / "quantize_llama_cpp.json"


def main() -> None:
    lib = C.CDLL(sys.argv[1])
    lib.ggml_quantize_chunk.restype = lib.ggml_row_size.restype = C.c_size_t
    lib.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p]
    lib.ggml_row_size.argtypes = [C.c_int, C.c_int64]
    found = {}

    def write(name: str, x: np.ndarray, number: int, importance: np.ndarray | None) -> None:
        out = np.zeros(lib.ggml_row_size(number, K) * len(x), np.uint8)
        pointer = None if importance is None else importance.ctypes.data
        assert lib.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, len(x), K, pointer) == out.size
        found[name] = hashlib.sha256(out.tobytes()).hexdigest()

    for name, x in cases().items():
        for kind, number in TYPES.items():
            write(f"{name} {kind}", x, number, None)
        for kind, number in WEIGHED.items():
            for weighing, importance in importances().items():
                write(f"{name} {kind} {weighing}", x, number, importance)
    OUT.write_text(json.dumps(found, indent=0) + "\n")


main()
