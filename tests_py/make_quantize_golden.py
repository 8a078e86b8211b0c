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

from quantize_cases import K, TYPES, cases

OUT = Path(__file__).parent / "data" / "quantize_llama_cpp.json"


def main() -> None:
    lib = C.CDLL(sys.argv[1])
    lib.ggml_quantize_chunk.restype = lib.ggml_row_size.restype = C.c_size_t
    lib.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p]
    lib.ggml_row_size.argtypes = [C.c_int, C.c_int64]
    found = {}
    for name, x in cases().items():
        for kind, number in TYPES.items():
            out = np.zeros(lib.ggml_row_size(number, K) * len(x), np.uint8)
            assert lib.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, len(x), K, None) == out.size
            found[f"{name} {kind}"] = hashlib.sha256(out.tobytes()).hexdigest()
    OUT.write_text(json.dumps(found, indent=0) + "\n")


main()
