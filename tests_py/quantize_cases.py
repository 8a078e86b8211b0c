"""Floats that are hard to quantize, made of integers so that they are the same on every machine; for test_quantize_file.py and
make_quantize_golden.py. May not import the library."""
import numpy as np

K = 512
# name: ggml number. What this library can write in blocks.
TYPES = {"f16": 1, "bf16": 30, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q3_k": 11, "q4_k": 12, "q5_k": 13,
         "q6_k": 14, "tq1_0": 34, "tq2_0": 35}
# What an importance matrix changes.
WEIGHED = {kind: TYPES[kind] for kind in ("q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k")}


def _numbers(n: int, seed: int) -> np.ndarray:
    """n integers in [-2^23, 2^23): the upper bits of a linear congruence."""
    out, state = np.empty(n, np.int64), seed
    for i in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = (state >> 40) - 2**23
    return out


def importances() -> dict[str, np.ndarray]:
    """float32[K] by name: of columns, from 0 up."""
    a, b = np.abs(_numbers(K, 5)), np.abs(_numbers(K, 6))
    made = {"even": a * 0.0 + 1, "steep": a.astype(np.float64) ** 3 / 2**60, "wide": (a + 1) * 2.0 ** (b % 50 - 25),
            "holes": a * (b % 3 == 0)}
    return {name: values.astype(np.float32) for name, values in made.items()}


def cases() -> dict[str, np.ndarray]:
    """float32[m, K] by name. Every operation here is exact or rounded once."""
    a, b = _numbers(8 * K, 1), _numbers(8 * K, 2)
    bell = (a + b + _numbers(8 * K, 3) + _numbers(8 * K, 4)).astype(np.float64)
    made = {"flat": a / 2**23, "bell": bell / 2**28, "small": bell / 2**50, "subnormal": bell * 2.0**-158, "large": bell / 2**14,
            "sparse": np.where(b % 64 == 0, a / 2**20, 0), "ties": (a >> 20) / 8.0, "positive": (a + 2**24) / 2**22,
            "ternary": (np.abs(a) % 3 - 1) * 0.3701171875, "zeros": a * 0.0, "wide": a * 2.0**(-8 - np.abs(b) % 48),
            "below": -(np.abs(a) + 2**24) / 2**22, "shifted": 5 + bell / 2**38, "constant": a * 0.0 - 0.7,
            "outliers": bell / 2**28 * (1 + 999 * (b % 97 == 0))}
    return {name: values.astype(np.float32).reshape(8, K) for name, values in made.items()}
