"""The model section of bitnet_ffi.h through ctypes, as a client in another language would declare it.

Knows only the header, not the package's classes. Next: test_gguf.py, test_load.py.
"""
import ctypes as C
import os
from contextlib import contextmanager
from pathlib import Path

ERROR, NOT_FOUND, LOAD, MEMORY, MODEL = -1, -4, -5, -7, -9
INT, FLOAT, BOOL, STR = range(4)
WARN = 3


def library_path() -> Path:
    """What BITNET_FFI_LIBRARY names, or the library inside the installed package."""
    if os.environ.get("BITNET_FFI_LIBRARY"):
        return Path(os.environ["BITNET_FFI_LIBRARY"])
    from bitnet_ffi import config
    return config.lib_dir() / "libbitnet_ffi.so"


class _Value(C.Union):
    _fields_ = [("i", C.c_int64), ("f", C.c_double), ("b", C.c_bool), ("s", C.c_char * 128)]


class Override(C.Structure):
    _fields_ = [("tag", C.c_int), ("key", C.c_char * 128), ("value", _Value)]


Progress = C.CFUNCTYPE(C.c_bool, C.c_float, C.c_void_p)
Log = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)


class Params(C.Structure):
    _fields_ = [("devices", C.c_void_p), ("tensor_buft_overrides", C.c_void_p), ("n_gpu_layers", C.c_int32), ("split_mode", C.c_int),
                ("load_mode", C.c_int), ("lazy_mode", C.c_int), ("main_gpu", C.c_int32), ("tensor_split", C.c_void_p),
                ("progress_callback", Progress), ("progress_callback_user_data", C.c_void_p), ("kv_overrides", C.POINTER(Override)),
                ("vocab_only", C.c_bool), ("check_tensors", C.c_bool), ("use_extra_bufts", C.c_bool), ("no_host", C.c_bool),
                ("no_alloc", C.c_bool), ("load_mtp", C.c_bool)]


lib = C.CDLL(str(library_path()))


def _declare(name, result, *args):
    f = getattr(lib, name)
    f.restype, f.argtypes = result, args


_declare("llama_model_default_params", Params)
for _name in ("llama_model_load_from_file", "llama_load_model_from_file"):
    _declare(_name, C.c_void_p, C.c_char_p, Params)
for _name in ("llama_model_free", "llama_free_model"):
    _declare(_name, None, C.c_void_p)
SIZES = ("llama_model_n_ctx_train", "llama_model_n_embd", "llama_model_n_layer", "llama_model_n_head", "llama_model_n_head_kv",
         "llama_n_ctx_train", "llama_n_embd", "llama_model_meta_count")
for _name in SIZES + ("llama_model_rope_type", "llama_model_decoder_start_token"):
    _declare(_name, C.c_int32, C.c_void_p)
for _name in ("llama_model_has_encoder", "llama_model_is_recurrent", "llama_model_is_hybrid"):
    _declare(_name, C.c_bool, C.c_void_p)
for _name in ("llama_model_size", "llama_model_n_params"):
    _declare(_name, C.c_uint64, C.c_void_p)
_declare("llama_model_rope_freq_scale_train", C.c_float, C.c_void_p)
_declare("llama_model_get_vocab", C.c_void_p, C.c_void_p)
_declare("llama_model_desc", C.c_int32, C.c_void_p, C.c_char_p, C.c_size_t)
for _name in ("llama_model_meta_key_by_index", "llama_model_meta_val_str_by_index"):
    _declare(_name, C.c_int32, C.c_void_p, C.c_int32, C.c_char_p, C.c_size_t)
_declare("llama_model_meta_val_str", C.c_int32, C.c_void_p, C.c_char_p, C.c_char_p, C.c_size_t)
_declare("llama_model_chat_template", C.c_char_p, C.c_void_p, C.c_char_p)
_declare("llama_log_set", None, C.c_void_p, C.c_void_p)
_declare("llama_log_get", None, C.POINTER(C.c_void_p), C.POINTER(C.c_void_p))
_declare("bitnet_last_error", C.c_char_p)
_declare("bitnet_last_error_code", C.c_int32)


def last_error() -> tuple[int, str]:
    return lib.bitnet_last_error_code(), lib.bitnet_last_error().decode()


def params(overrides=None, progress=None, **fields) -> Params:
    """Default parameters with these fields changed; overrides: {key: (INT, 3)}."""
    p = lib.llama_model_default_params()
    for name, value in fields.items():
        setattr(p, name, value)
    if progress is not None:
        p.progress_callback = Progress(progress)
    if overrides is not None:
        array = (Override * (len(overrides) + 1))()
        for item, (key, (tag, value)) in zip(array, overrides.items()):
            item.tag, item.key = tag, key.encode()
            setattr(item.value, "ifbs"[tag], value)
        p.kv_overrides = array
    return p


def load(path, **options) -> int | None:
    return lib.llama_model_load_from_file(os.fsencode(path), params(**options))


@contextmanager
def loaded(path, **options):
    """A model that must load; freed at the end."""
    model = load(path, **options)
    assert model, last_error()
    try:
        yield model
    finally:
        lib.llama_model_free(model)


def error_of(path, **options) -> tuple[int, str]:
    """Code and sentence of a load that must fail."""
    model = load(path, **options)
    if model:
        lib.llama_model_free(model)
        raise AssertionError("the file loaded, expected an error")
    return last_error()


def text_of(call, *args) -> str | None:
    """The text of an snprintf-like call."""
    n = call(*args, None, 0)
    if n < 0:
        return None
    buffer = C.create_string_buffer(n + 1)
    assert call(*args, buffer, n + 1) == n
    return buffer.value.decode(errors="replace")


def meta(model, key: str) -> str | None:
    return text_of(lib.llama_model_meta_val_str, model, key.encode())


def desc(model) -> str:
    return text_of(lib.llama_model_desc, model)


@contextmanager
def log_kept():
    """The process's one log afterwards goes where it went: to the package's own callback, which other tests read."""
    callback, data = C.c_void_p(), C.c_void_p()
    lib.llama_log_get(callback, data)
    try:
        yield
    finally:
        lib.llama_log_set(callback, data)


@contextmanager
def warnings():
    """A list that the library's warnings are added to."""
    lines = []
    callback = Log(lambda level, text, _: lines.append(text.decode().rstrip("\n")) if level == WARN else None)
    with log_kept():
        lib.llama_log_set(C.cast(callback, C.c_void_p), None)
        yield lines
