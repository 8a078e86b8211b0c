"""bitnet_ffi: run BitNet b1.58 and llama-family GGUF models on the CPU.

    from bitnet_ffi import Model
    with Model.open("smollm2") as model:
        for piece in model.generate("The capital of France is", max_tokens=16):
            print(piece, end="", flush=True)

Names load on first use, so `bitnet --help` and `python -m bitnet_ffi.config` start without NumPy or the library.
Next: model.py, context.py, sampling.py, generate.py; kernels.pyx for products without a model.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"  # equal to include/bitnet_ffi.h's; _ffi.py and a test hold it

_HOMES = {
    "Model": "model",
    "Context": "context",
    "Sampling": "sampling",
    "Sampler": "sampling",
    "Generation": "generate",
    "Metrics": "generate",
    "kernel_name": "model",
    "system_info": "model",
}
_HOMES.update(dict.fromkeys((
    "BitnetError", "ModelNotFoundError", "ModelLoadError", "InvalidModelError", "TokenizeError", "Utf8Error",
    "InvalidArgumentError", "InferenceError", "OutOfMemoryError", "ConcurrencyError", "ContextFullError", "Cancelled",
    "RegistryError", "OfflineError"), "errors"))

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
