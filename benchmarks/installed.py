"""What is installed to compare with. Knows names of packages only; engines.py imports them."""

from importlib.util import find_spec
from pathlib import Path


def is_installed(module: str) -> bool:
    """llama-cpp-python counts if llama.cpp is in it: without, it is a client that runs on this library (docs/CLIENTS.md)."""
    spec = find_spec(module)
    return spec is not None and (module != "llama_cpp" or Path(spec.origin).with_name("lib").is_dir())
