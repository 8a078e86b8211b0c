"""Every function of bitnet_ffi.h with NULL handles, and with good handles and absurd values: it returns, and says why.

The calls are made from the header's own declarations, so a new function is covered by being declared. They run in one child process per
kind, which names each call before it makes it: a crash names its culprit. Next: test_decode.py for what the engine's sentences say.
"""
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bnf_build
from bitnet_ffi import config

HERE = Path(__file__).parent
ROOT = HERE.parent

# What is not answered with an error: NULL is said to be accepted, or there is nothing to refuse.
NULL_IS_ACCEPTED = {"llama_adapter_lora_free", "llama_lora_adapter_free", "llama_free", "llama_free_model", "llama_model_free",
                    "llama_sampler_free", "llama_batch_ext_free"}
ENDS_THE_PROCESS = {"ggml_abort"}     # what it is for: test_ggml.py
ENDS_ITS_HANDLE = NULL_IS_ACCEPTED


def values(kind, lib, ffi):
    """Absurd values of an argument that is no handle."""
    if kind.kind == "pointer":
        return [ffi.NULL]
    if kind.kind == "enum":
        return [0, 1000000]
    if kind.kind == "primitive" and kind.cname in ("float", "double"):
        return [float("nan"), float("-inf"), 1e30]
    if kind.kind == "primitive" and kind.cname in ("_Bool", "bool"):
        return [True]
    if kind.kind == "primitive":
        bits = 8 * ffi.sizeof(kind)
        signed = int(ffi.cast(kind, -1)) < 0
        return [0, -1, 2**(bits - 1) - 1, -2**(bits - 1)] if signed else [0, 2**bits - 1]
    if kind.cname == "struct llama_context_params":
        return [lib.llama_context_default_params()]
    if kind.cname == "struct llama_model_params":
        return [lib.llama_model_default_params()]
    return [ffi.new(ffi.getctype(kind, "*"))[0]]


def call_all(handles_are_good: str) -> None:
    """In the child: one line of JSON for each function: its name, then whether each call left a last error."""
    from bitnet_ffi import Model
    from bitnet_ffi._ffi import ffi, lib
    from engine_abi import Batch, forget_error, init, last_error
    owner = Model(ROOT / "tests_py" / "data" / "tiny-b158-i2_s.gguf")
    ctx = init(owner._pointer, n_ctx=16)
    lib.llama_decode(ctx, Batch([1, 2]).pointer[0])
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
    good = {"struct llama_model *": owner._pointer, "struct llama_context *": ctx, "struct llama_memory_i *": lib.llama_get_memory(ctx),
            "llama_memory_t": lib.llama_get_memory(ctx), "struct llama_sampler *": chain,
            "struct llama_batch_ext *": lib.llama_batch_ext_init(ctx)}
    for name in sys.stdin.read().split():
        function = ffi.typeof(getattr(lib, name))
        print(json.dumps(name), flush=True)
        handles = [kind.cname.replace("const ", "") in good for kind in function.args]
        if handles_are_good == "True" and (not any(handles) or name in ENDS_ITS_HANDLE):
            continue
        choices = [[good[kind.cname.replace("const ", "")] if is_handle and handles_are_good == "True" else ffi.NULL] if is_handle
                   else values(kind, lib, ffi) for kind, is_handle in zip(function.args, handles)]
        silent = []
        for arguments in itertools.product(*choices):
            forget_error()
            before = last_error()
            getattr(lib, name)(*arguments)
            if last_error() == before:
                silent.append(str(arguments))
        print(json.dumps([any(handles), silent[:3]]), flush=True)
    print(json.dumps("end"), flush=True)


def run(handles_are_good):
    names = [name for name in bnf_build.exported_functions(bnf_build.Toolchain()) if name not in ENDS_THE_PROCESS]
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT / 'csrc'}:{config.PACKAGE.parent}"}
    done = subprocess.run([sys.executable, __file__, str(handles_are_good)], input=" ".join(names), capture_output=True, text=True,
                          timeout=120, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert done.returncode == 0 and lines[-1] == "end", f"{lines[-1]}: {done.stderr[-2000:]}"
    seen = [line for line in lines[:-1] if isinstance(line, str)]
    assert seen == names and len(names) > 150
    return {name: lines[i + 1] for i, name in enumerate(lines[:-1]) if isinstance(name, str) and isinstance(lines[i + 1], list)}


def test_null_handles_return_with_an_error():
    silent = {name: calls for name, (has_handle, calls) in run(False).items() if has_handle and calls and name not in NULL_IS_ACCEPTED}
    assert silent == {}


def test_absurd_values_return():
    assert len(run(True)) > 100


if __name__ == "__main__":
    call_all(sys.argv[1])
