"""llama-cpp-python, which is installed in one of two ways: with llama.cpp in it, a peer to compare with, or without, a client that
runs on this library and shares its one log. Next: test_vocab_peer.py and test_client_llama_cpp.py.
"""
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

import model_abi
from bitnet_ffi import config


def llama_cpp_python() -> str | None:
    """"peer", "client", or None where it is not installed."""
    spec = find_spec("llama_cpp")
    if spec is None:
        return None
    return "peer" if Path(spec.origin).with_name("lib").is_dir() else "client"


def peer():
    """The module with llama.cpp in it, which prints nothing; None without one: a client would be compared with itself."""
    if llama_cpp_python() != "peer":
        return None
    import llama_cpp
    if not hasattr(peer, "quiet"):   # kept: llama.cpp calls it as long as the process lives
        peer.quiet = llama_cpp.llama_log_callback(lambda level, text, user_data: None)
        llama_cpp.llama_log_set(peer.quiet, None)
    return llama_cpp


def peer_or_skip():
    return peer() or pytest.skip("no llama-cpp-python with llama.cpp in it", allow_module_level=True)


def client_or_skip():
    """The module on this library, whose log stays with whom it belonged to: the import takes it for good."""
    if llama_cpp_python() != "client":
        pytest.skip("no llama-cpp-python without an engine of its own: CMAKE_ARGS=-DLLAMA_BUILD=OFF pip install -e '.[clients]'",
                    allow_module_level=True)
    os.environ.setdefault("LLAMA_CPP_LIB_PATH", str(config.lib_dir()))
    with model_abi.log_kept():
        import llama_cpp
    return llama_cpp
