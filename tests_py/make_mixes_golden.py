"""Writes tests_py/data/quantize_mixes_llama_cpp.json: SHA-256 of the files that llama.cpp makes of quantize_models.py.

    python tests_py/make_mixes_golden.py LIBLLAMA      # a libllama.so of 2026

Read by test_quantize_mixes.py, which writes the same files with bitnet_ffi.
"""
import ctypes as C
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from quantize_models import imatrix_of, jobs, models

OUT = Path(__file__).parent / "data" / "quantize_mixes_llama_cpp.json"


class Entry(C.Structure):
    _fields_ = [("name", C.c_char_p), ("data", C.POINTER(C.c_float)), ("size", C.c_size_t)]


class Pattern(C.Structure):
    _fields_ = [("pattern", C.c_char_p), ("type", C.c_int)]


class Params(C.Structure):
    _fields_ = [("nthread", C.c_int32), ("ftype", C.c_int), ("output_tensor_type", C.c_int), ("token_embedding_type", C.c_int),
                ("allow_requantize", C.c_bool), ("quantize_output_tensor", C.c_bool), ("only_copy", C.c_bool), ("pure", C.c_bool),
                ("keep_split", C.c_bool), ("dry_run", C.c_bool), ("imatrix", C.POINTER(Entry)), ("kv_overrides", C.c_void_p),
                ("tt_overrides", C.POINTER(Pattern)), ("prune_layers", C.POINTER(C.c_int32)), ("max_buf_size", C.c_size_t)]


def main() -> None:
    lib = C.CDLL(sys.argv[1])
    lib.llama_model_quantize_default_params.restype = Params
    lib.llama_model_quantize.argtypes = [C.c_char_p, C.c_char_p, C.POINTER(Params)]
    lib.llama_model_quantize.restype = C.c_uint32
    found, sources = {}, models()
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs().items():
            source, target = Path(folder, job["model"] + ".gguf"), Path(folder, "q.gguf")
            g = sources[job.pop("model")]
            g.write(source)
            p = lib.llama_model_quantize_default_params()
            if job.pop("imatrix", False):
                entries = imatrix_of(g)
                rows = [(n.encode(), x.ctypes.data_as(C.POINTER(C.c_float)), x.size) for n, x in entries]
                p.imatrix = (Entry * (len(rows) + 1))(*rows)
            if patterns := job.pop("patterns", None):
                p.tt_overrides = (Pattern * (len(patterns) + 1))(*[(text.encode(), type) for text, type in patterns])
            if pruned := job.pop("pruned", None):
                p.prune_layers = (C.c_int32 * (len(pruned) + 1))(*pruned, -1)
            for key, value in job.items():
                setattr(p, key, value)
            status = lib.llama_model_quantize(str(source).encode(), str(target).encode(), C.byref(p))
            found[name] = hashlib.sha256(target.read_bytes()).hexdigest() if status == 0 else "refused"
    OUT.write_text(json.dumps(found, indent=0) + "\n")


main()
