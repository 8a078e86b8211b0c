"""Checks of the header's "Tensors, from ggml" and "Files, from gguf.h", and of the calls of ggml-opt.h, which are there and refuse."""
import functools

from calls import INT_MAX, INT_MIN, N_VOCAB, NULL, REAL, Room, SIZE_MAX, ffi, folder, items
from gguf_writer import ARRAY, BOOL, F32, F64, Gguf, I8, I16, I32, I64, STRING, Tensor, U8, U16, U32, U64

room = Room()
INT64_MAX, INT64_MIN = 2**63 - 1, -2**63
VALUES = {"u8": (U8, 200), "i8": (I8, -100), "u16": (U16, 60000), "i16": (I16, -30000), "u32": (U32, 4000000000), "i32": (I32, -2000000000),
          "u64": (U64, 2**64 - 5), "i64": (I64, -2**63), "f32": (F32, 1.5), "f64": (F64, 1e300), "bool": (BOOL, True), "str": (STRING, "a text")}
KEYS = [*VALUES, "numbers", "texts"]
DATA = bytes(range(128))


@functools.cache
def file() -> bytes:
    g = Gguf()
    for key, (kind, value) in VALUES.items():
        g.set(key, kind, value)
    g.set("numbers", ARRAY, (I16, [3, -4, 5])).set("texts", ARRAY, (STRING, ["one", "", "three"]))
    g.tensors.append(Tensor("first", (4, 3), 0, DATA[:48]))
    g.tensors.append(Tensor("second", (32, 1, 2), 8, DATA[48:116]))
    return str(g.write(folder / "tensors.gguf")).encode()


def opened(api=REAL, name=None, tensors=True, no_alloc=False):
    """(gguf_context, ggml_context) of a file, which live as long as the gguf_context's wrapper."""
    out = ffi.new("struct ggml_context **")
    gguf = api.gguf_init_from_file(name or file(), {"no_alloc": no_alloc, "ctx": out if tensors else NULL})
    return ffi.gc(gguf, REAL.gguf_free), ffi.gc(out[0], REAL.ggml_free)


@functools.cache
def shared():
    return opened()


def gguf():
    return shared()[0]


def tensors():
    return shared()[1]


def tensor(name=b"second"):
    return REAL.ggml_get_tensor(tensors(), name)


def made(**fields):
    """A tensor of a client's own."""
    return ffi.new("struct ggml_tensor *", fields)


# ---- types and numbers ----

room.gives("ggml_blck_size", (REAL.GGML_TYPE_Q6_K,), 256)
room.gives("ggml_type_size", (REAL.GGML_TYPE_Q6_K,), 210)
room.gives("ggml_row_size", (REAL.GGML_TYPE_Q6_K, 512), 420)
room.answers("ggml_row_size", (REAL.GGML_TYPE_Q6_K, 0), 0)
for kind in (1000, 4, 37):
    room.refuses("ggml_blck_size ggml_type_size", (kind,), 0, f"the blocks of type {kind} (")
    room.refuses("ggml_row_size", (kind, 256), 0, f"the blocks of type {kind} (")
room.refuses("ggml_row_size", (REAL.GGML_TYPE_F64, INT64_MAX), 0, "expected a multiple of 1")
for ne in (255, -256, INT64_MIN, INT64_MAX):
    room.refuses("ggml_row_size", (REAL.GGML_TYPE_Q6_K, ne), 0, f"ne is {ne}, expected a multiple of 256")
room.gives("ggml_fp16_to_fp32", (0x3555,), 0.333251953125)
room.gives("ggml_bf16_to_fp32", ({"bits": 0x3eab},), 0.333984375)
room.answers("ggml_bf16_to_fp32", ({"bits": 0x8000},), -0.0)
room.answers("ggml_fp16_to_fp32", (0xfc00,), float("-inf"))


@room.use("ggml_fp16_to_fp32_row", "ggml_bf16_to_fp32_row")
def _(api, w):
    for call, kind, bits in ((api.ggml_fp16_to_fp32_row, "ggml_fp16_t[]", [0x3c00, 0xc000, 0]),
                             (api.ggml_bf16_to_fp32_row, "ggml_bf16_t[]", [{"bits": 0x3f80}, {"bits": 0xc000}, {"bits": 0}])):
        y = ffi.new("float[]", [7, 7, 7])
        call(ffi.new(kind, bits), y, 2)
        assert list(y) == [1, -2, 7]


for name, kind in (("ggml_fp16_to_fp32_row", "ggml_fp16_t[1]"), ("ggml_bf16_to_fp32_row", "ggml_bf16_t[1]")):
    room.refuses(name, lambda w: (NULL, ffi.new("float[1]"), 1), None, "x is NULL")
    room.refuses(name, lambda w, kind=kind: (ffi.new(kind), NULL, 1), None, "y is NULL")
    room.answers(name, (NULL, NULL, INT64_MIN), None)


# ---- a tensor ----

room.gives("ggml_nelements", lambda w: (tensor(),), 64)
room.gives("ggml_nrows", lambda w: (tensor(b"first"),), 3)
room.gives("ggml_nbytes", lambda w: (tensor(),), 68)
room.gives("ggml_n_dims", lambda w: (tensor(),), 3)
room.gives("ggml_element_size", lambda w: (tensor(),), 34)
room.gives("ggml_is_contiguous", lambda w: (tensor(),), True)
room.gives("ggml_get_name", lambda w: (tensor(),), b"second")
room.gives("ggml_get_data", lambda w: (tensor(),), lambda w: tensor().data)
room.gives("ggml_op_name", (REAL.GGML_OP_RMS_NORM,), b"RMS_NORM")
room.gives("ggml_op_desc", lambda w: (made(op=REAL.GGML_OP_UNARY, op_params=[REAL.GGML_UNARY_OP_SILU]),), b"SILU")
for name in "nelements nrows nbytes n_dims element_size".split():
    room.refuses(f"ggml_{name}", (NULL,), 0, "tensor is NULL")
room.refuses("ggml_is_contiguous", (NULL,), False, "tensor is NULL")
room.refuses("ggml_get_name", (NULL,), None, "tensor is NULL")
room.refuses("ggml_get_data", (NULL,), NULL, "tensor is NULL")
room.refuses("ggml_op_desc", (NULL,), None, "t is NULL")
room.refuses("ggml_op_desc", lambda w: (made(op=REAL.GGML_OP_GLU, op_params=[-1]),), None, "no operation 100, -1")
room.refuses("ggml_op_name", (1000000,), None, "no operation 1000000")
# Numbers that mean nothing.
room.answers("ggml_nbytes ggml_nelements ggml_nrows", lambda w: (made(),), 0)
room.answers("ggml_nbytes", lambda w: (made(ne=[INT64_MAX] * 4, nb=[SIZE_MAX] * 4),), 0)
room.answers("ggml_nbytes", lambda w: (made(type=REAL.GGML_TYPE_I2_S, ne=[128, INT64_MAX, 2, 2]),), 0)
room.answers("ggml_nbytes", lambda w: (made(ne=[4, -3, 1, 1], nb=[4, 16, 48, 48]),), 0)
room.refuses("ggml_element_size", lambda w: (made(type=1000),), 0, "the blocks of type 1000")


@room.use("ggml_backend_tensor_get")
def _(api, w):
    data = ffi.new("uint8_t[]", 30)
    api.ggml_backend_tensor_get(tensor(), data, 40, 28)
    assert bytes(data) == DATA[88:116] + b"\0\0"


room.refuses("ggml_backend_tensor_get", (NULL, NULL, 0, 0), None, "tensor is NULL")
room.refuses("ggml_backend_tensor_get", lambda w: (tensor(), NULL, 0, 68), None, "data is NULL")
for offset, size in ((0, 69), (68, 1), (SIZE_MAX, 2), (2, SIZE_MAX)):
    room.refuses("ggml_backend_tensor_get", lambda w, offset=offset, size=size: (tensor(), NULL, offset, size), None, "'second' has 68")
room.answers("ggml_backend_tensor_get", lambda w: (tensor(), NULL, 68, 0), None)


def without_data(w):
    w.bare_file = opened(no_alloc=True)
    return REAL.ggml_get_tensor(w.bare_file[1], b"first"), ffi.new("char[48]"), 0, 48


room.refuses("ggml_backend_tensor_get", without_data, None, "'first' was read without its data")
room.gives("ggml_backend_buffer_is_host", lambda w: (tensor().buffer,), True)
room.gives("ggml_backend_buffer_name", lambda w: (tensor().buffer,), b"CPU")
room.gives("ggml_backend_buffer_get_type", lambda w: (tensor().buffer,), lambda w: REAL.ggml_backend_cpu_buffer_type())
for none in (NULL, ffi.cast("ggml_backend_buffer_t", 16)):
    room.refuses("ggml_backend_buffer_is_host", (none,), False, "not a buffer")
    room.refuses("ggml_backend_buffer_name", (none,), None, "not a buffer")
    room.refuses("ggml_backend_buffer_get_type", (none,), NULL, "not a buffer")


@room.use("llama_get_model_tensor")
def _(api, w):
    found = api.llama_get_model_tensor(w.model, b"token_embd.weight")
    assert found == REAL.llama_get_model_tensor(w.model, b"token_embd.weight")
    assert list(found.ne) == [32, N_VOCAB, 1, 1] and ffi.string(found.name) == b"token_embd.weight"


room.refuses("llama_get_model_tensor", lambda w: (w.model, NULL), NULL, "name is NULL")
room.refuses("llama_get_model_tensor", lambda w: (w.model, b"blk.99.attn_q.weight"), NULL, "has no tensor 'blk.99.attn_q.weight'")

# ---- the tensors of a file ----

room.gives("ggml_get_first_tensor", lambda w: (tensors(),), lambda w: tensor(b"GGUF tensor data binary blob"))
room.gives("ggml_get_next_tensor", lambda w: (tensors(), tensor(b"first")), lambda w: tensor())
room.answers("ggml_get_next_tensor", lambda w: (tensors(), tensor()), NULL)
room.refuses("ggml_get_next_tensor", lambda w: (tensors(), NULL), NULL, "tensor is NULL")
room.refuses("ggml_get_next_tensor", lambda w: (tensors(), made()), NULL, "tensor is not of ctx")
room.refuses("ggml_get_next_tensor", lambda w: (tensors(), ffi.cast("struct ggml_tensor *", ffi.cast("char *", tensor()) + 8)), NULL,
             "tensor is not of ctx")
room.gives("ggml_get_tensor", lambda w: (tensors(), b"first"), lambda w: REAL.ggml_get_next_tensor(tensors(), REAL.ggml_get_first_tensor(tensors())))
room.refuses("ggml_get_tensor", lambda w: (tensors(), b"third"), NULL, "no tensor 'third'")
room.refuses("ggml_get_tensor", lambda w: (tensors(), NULL), NULL, "name is NULL")
room.gives("ggml_get_mem_size", lambda w: (tensors(),), 3 * ffi.sizeof("struct ggml_tensor") + 160)

OTHER = ffi.new("void *[8]")                            # a context of somebody else's
for name, more, result in (("get_first_tensor", (), NULL), ("get_next_tensor", (NULL,), NULL), ("get_tensor", (b"first",), NULL),
                           ("get_mem_size", (), 0), ("free", (), None)):
    room.refuses(f"ggml_{name}", (ffi.cast("struct ggml_context *", OTHER), *more), result, "ctx is not of gguf_init_from_file")


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


LARGE = 16 << 20


@functools.cache
def large() -> bytes:
    g = Gguf(tensors=[Tensor("large", (LARGE,), 24, bytes(LARGE))]).set("large", ARRAY, (U8, [1] * LARGE))
    return str(g.write(folder / "large.gguf")).encode()


@room.use("ggml_free", "gguf_free")
def _(api, w):
    """What does not free leaves 5 x 16 MiB behind."""
    out = ffi.new("struct ggml_context **")
    before = resident()
    for _ in range(6):
        made = REAL.gguf_init_from_file(large(), {"no_alloc": False, "ctx": out})
        api.gguf_free(made)
        api.ggml_free(out[0])
    assert resident() - before < 4 * LARGE


# ---- files ----

@room.use("gguf_init_from_file")
def _(api, w):
    made, tensors = opened(api)
    assert REAL.gguf_get_n_tensors(made) == 2 and REAL.ggml_get_tensor(tensors, b"second") != NULL
    alone, none = opened(api, tensors=False)
    assert REAL.gguf_get_n_kv(alone) == len(KEYS) and none == NULL


def params(out=NULL):
    return {"no_alloc": False, "ctx": out}


room.refuses("gguf_init_from_file", (NULL, params()), NULL, "fname is NULL")
room.refuses("gguf_init_from_file", (b"/no/such/file", params()), NULL, "no such file", REAL.BITNET_ERROR_NOT_FOUND)
room.refuses("gguf_init_from_file", (str(folder).encode(), params()), NULL, "is a directory", REAL.BITNET_ERROR_LOAD)


def touched(api, w):
    out = ffi.new("struct ggml_context **", ffi.cast("struct ggml_context *", 16))
    assert api.gguf_init_from_file(b"/no/such/file", params(out)) == NULL and out[0] == NULL


room.behaves("gguf_init_from_file", touched)

room.gives("gguf_get_version", lambda w: (gguf(),), 3)
room.gives("gguf_get_alignment", lambda w: (gguf(),), 32)
room.gives("gguf_get_data_offset", lambda w: (gguf(),), lambda w: open(file(), "rb").read().index(DATA[:48]))
room.gives("gguf_type_name", (REAL.GGUF_TYPE_ARRAY,), b"arr")
room.answers("gguf_type_name", (1000,), None)
room.gives("gguf_get_n_kv", lambda w: (gguf(),), len(KEYS))
room.gives("gguf_find_key", lambda w: (gguf(), b"f64"), KEYS.index("f64"))
room.answers("gguf_find_key", lambda w: (gguf(), b"f128"), -1)
room.refuses("gguf_find_key", lambda w: (gguf(), NULL), -1, "key is NULL")
room.gives("gguf_get_key", lambda w: (gguf(), 2), KEYS[2].encode())
room.gives("gguf_get_kv_type", lambda w: (gguf(), KEYS.index("numbers")), REAL.GGUF_TYPE_ARRAY)
room.gives("gguf_get_arr_type", lambda w: (gguf(), KEYS.index("numbers")), REAL.GGUF_TYPE_INT16)
room.refuses("gguf_get_arr_type", lambda w: (gguf(), 0), 13, "key 'u8' is of type u8, expected an array")
for name, (_, value) in VALUES.items():
    room.gives(f"gguf_get_val_{name}", lambda w, name=name: (gguf(), KEYS.index(name)), value.encode() if name == "str" else value)
    wrong = "u8" if name != "u8" else "i8"
    room.refuses(f"gguf_get_val_{name}", lambda w, wrong=wrong: (gguf(), KEYS.index(wrong)), None if name == "str" else 0,
                 f"key '{wrong}' is of type {wrong}, expected")


@room.use("gguf_get_val_data")
def _(api, w):
    assert items(ffi.cast("int64_t *", api.gguf_get_val_data(gguf(), KEYS.index("i64"))), 1) == [-2**63]


for name in ("str", "numbers"):
    room.refuses("gguf_get_val_data", lambda w, name=name: (gguf(), KEYS.index(name)), NULL, "expected a number")
room.gives("gguf_get_arr_n", lambda w: (gguf(), KEYS.index("texts")), 3)
room.answers("gguf_get_arr_n", lambda w: (gguf(), KEYS.index("f64")), 1)


@room.use("gguf_get_arr_data")
def _(api, w):
    assert items(ffi.cast("int16_t *", api.gguf_get_arr_data(gguf(), KEYS.index("numbers"))), 3) == [3, -4, 5]


room.refuses("gguf_get_arr_data", lambda w: (gguf(), KEYS.index("texts")), NULL, "an array of strings, expected numbers")
room.gives("gguf_get_arr_str", lambda w: (gguf(), KEYS.index("texts"), 2), b"three")
for i in (3, SIZE_MAX):
    room.refuses("gguf_get_arr_str", lambda w, i=i: (gguf(), KEYS.index("texts"), i), None, f"i is {i}, but key 'texts' has 3 strings")
room.refuses("gguf_get_arr_str", lambda w: (gguf(), KEYS.index("numbers"), 0), None, "an array of i16, expected strings")
room.refuses("gguf_get_arr_str", lambda w: (gguf(), KEYS.index("str"), 0), None, "is of type string, expected an array")

room.gives("gguf_get_n_tensors", lambda w: (gguf(),), 2)
room.gives("gguf_find_tensor", lambda w: (gguf(), b"second"), 1)
room.answers("gguf_find_tensor", lambda w: (gguf(), b"third"), -1)
room.refuses("gguf_find_tensor", lambda w: (gguf(), NULL), -1, "name is NULL")
room.gives("gguf_get_tensor_offset", lambda w: (gguf(), 1), 64)
room.gives("gguf_get_tensor_name", lambda w: (gguf(), 0), b"first")
room.gives("gguf_get_tensor_type", lambda w: (gguf(), 1), REAL.GGML_TYPE_Q8_0)
room.gives("gguf_get_tensor_size", lambda w: (gguf(), 1), 68)


@room.use("gguf_get_tensor_ne")
def _(api, w):
    assert items(api.gguf_get_tensor_ne(gguf(), 1), 4) == [32, 1, 2, 1]


OF_KEYS = {"get_key": None, "get_kv_type": 13, "get_arr_type": 13, "get_val_data": NULL, "get_arr_n": 0, "get_arr_data": NULL, "get_arr_str": None,
           **{f"get_val_{name}": None if name == "str" else 0 for name in VALUES}}
OF_TENSORS = {"offset": 0, "name": None, "ne": NULL, "type": REAL.GGML_TYPE_COUNT, "size": 0}
for i in (-1, len(KEYS), INT64_MIN, INT64_MAX):
    for name, result in OF_KEYS.items():
        more = (0,) if name == "get_arr_str" else ()
        room.refuses(f"gguf_{name}", lambda w, i=i, more=more: (gguf(), i, *more), result, f"key_id is {i}, expected 0 to {len(KEYS) - 1}")
for i in (-1, 2, INT_MIN, INT_MAX):
    for name, result in OF_TENSORS.items():
        room.refuses(f"gguf_get_tensor_{name}", lambda w, i=i: (gguf(), i), result, f"tensor_id is {i}, expected 0 to 1")
FOREIGN = ffi.cast("struct gguf_context *", OTHER)
for name in ("get_version", "get_alignment", "get_data_offset", "get_n_kv", "get_n_tensors"):
    room.refuses(f"gguf_{name}", (FOREIGN,), 0, "ctx is not of gguf_init_from_file")
room.refuses("gguf_free", (FOREIGN,), None, "ctx is not of gguf_init_from_file")

room.absent("llama_model_init_from_user", lambda w: (gguf(), NULL, NULL, REAL.llama_model_default_params()), NULL, "loaded from a file",
            REAL.BITNET_ERROR_LOAD)

# ---- training ----

TRAINING = "training is not supported"
HANDLE = ffi.cast("void *", 16)
room.absent("ggml_opt_dataset_init", (0, 26, 8, 8, 4, 1), NULL, TRAINING)
room.absent("ggml_opt_result_init", (), NULL, TRAINING)
room.refuses("ggml_opt_result_init", (), NULL, TRAINING)
for name, result in (("dataset_ndata", 0), ("dataset_data", NULL), ("dataset_labels", NULL), ("result_reset", None)):
    room.absent(f"ggml_opt_{name}", (NULL,), result, TRAINING)
room.absent("ggml_opt_dataset_free", lambda w: (ffi.cast("ggml_opt_dataset_t", HANDLE),), None, TRAINING)
room.absent("ggml_opt_result_free", lambda w: (ffi.cast("ggml_opt_result_t", HANDLE),), None, TRAINING)
room.answers("ggml_opt_dataset_free ggml_opt_result_free", (NULL,), None)
room.absent("ggml_opt_epoch_callback_progress_bar", (True, NULL, NULL, NULL, 0, 1, 0), None, TRAINING)
room.gives("ggml_opt_optimizer_name", (REAL.GGML_OPT_OPTIMIZER_TYPE_SGD,), b"sgd")
room.answers("ggml_opt_optimizer_name", (1000,), b"undefined")


@room.use("ggml_opt_get_default_optimizer_params")
def _(api, w):
    params = api.ggml_opt_get_default_optimizer_params(NULL)
    assert abs(params.adamw.alpha - 1e-3) < 1e-9 and abs(params.sgd.alpha - 1e-3) < 1e-9

