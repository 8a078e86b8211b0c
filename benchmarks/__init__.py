"""Benchmarks: decode and prompt speed on models of published shapes, beside what the machine can do and beside llama.cpp.

Run `python -m benchmarks --help` in the source tree; docs/BENCHMARKS.md says what each figure means. A client of the
Python package: nothing here may use bitnet_ffi._ffi. Read next: shapes.py (what is measured), cells.py (how), then
worker.py (each engine in a process of its own).
"""


class BenchError(Exception):
    """What stopped a benchmark, in one sentence that says what to do."""
