"""Writes tests_py/data/samplers_llama_cpp.json: what llama.cpp's samplers do with made-up logits.

    python tests_py/make_sampler_golden.py LIBLLAMA      # a libllama.so of 2026, its ggml libraries beside it

Read by test_sampler_golden.py, which runs the same cases through bitnet_ffi.
"""

import ctypes as C
import json
import sys
from pathlib import Path

import numpy as np

import sampling_abi as abi
from sampling_abi import Candidates

CASES = [("temp_ext", 1.0, 0.0, 1.0), ("temp_ext", 0.75, 0.0, 1.0), ("temp_ext", 0.75, 0.5, 1.0), ("temp_ext", 1.0, 2.0, 0.5),
         ("temp_ext", 0.0, 0.5, 1.0), ("top_n_sigma", 1.0), ("top_n_sigma", 2.5), ("xtc", 1.0, 0.125, 0, 1),
         ("xtc", 0.5, 0.0625, 1, 7), ("xtc", 0.5, 0.25, 3, 7), ("mirostat_v2", 1, 5.0, 0.125), ("mirostat_v2", 3, 2.0, 0.25),
         ("mirostat", 500, 3, 2.0, 0.25, 10), ("mirostat", 500, 4, 3.0, 0.125, 100),
         ("adaptive_p", 0.5, 0.875, 1), ("adaptive_p", -1.0, 0.5, 2), ("adaptive_p", 0.25, 2.0, 3)]
STEPS = 40


def steps(lib, kind, *settings):
    """What a sampler leaves at each step: [size, selected token or -1, ids of the first 8, their logits, their p]."""
    sampler = getattr(lib, f"llama_sampler_init_{kind}")(*settings)
    random = np.random.RandomState(1)
    for _ in range(STEPS):
        n = random.choice([3, 10, 50, 500])
        candidates = Candidates((random.normal(size=n) * 2.5).astype(np.float32))
        lib.llama_sampler_apply(sampler, C.byref(candidates.c))
        # llama.cpp's xtc moves `data` forward.
        items = np.ctypeslib.as_array(C.cast(candidates.c.data, C.POINTER(C.c_byte)), (candidates.c.size * abi.DTYPE.itemsize,))
        items = items.view(abi.DTYPE)
        token = -1 if candidates.c.selected < 0 else int(items["id"][candidates.c.selected])
        if token >= 0:
            lib.llama_sampler_accept(sampler, token)
        head = items[:8]
        yield [int(candidates.c.size), token, head["id"].tolist(),
               [None if x == -np.inf else round(float(x), 5) for x in head["logit"]], [round(float(x), 6) for x in head["p"]]]
    lib.llama_sampler_free(sampler)


def main(path):
    for name in ("libggml-base.so", "libggml-cpu.so", "libggml.so"):
        for library in sorted(Path(path).parent.glob(name + "*")):
            C.CDLL(str(library), mode=C.RTLD_GLOBAL)
    lib = C.CDLL(path)
    for name, (result, *arguments) in abi.SIGNATURES.items():
        if hasattr(lib, name):
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    cases = [{"sampler": list(case), "steps": list(steps(lib, *case))} for case in CASES]
    Path(__file__).with_name("data").joinpath("samplers_llama_cpp.json").write_text(
        json.dumps(cases, separators=(",", ":")).replace('{"sampler"', '\n{"sampler"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
