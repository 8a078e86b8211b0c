"""Which llama-cpp-python is installed: with llama.cpp in it (a peer to compare with) or without (a client of this library)."""
from importlib.util import find_spec
from pathlib import Path


def llama_cpp_python() -> str | None:
    """"peer", "client", or None where it is not installed."""
    spec = find_spec("llama_cpp")
    if spec is None:
        return None
    return "peer" if Path(spec.origin).with_name("lib").is_dir() else "client"
