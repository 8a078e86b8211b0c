"""Checks of the header's "Model" and "Writing models": loading, what a model is, its metadata, its splits, its file anew."""
from calls import (INT_MAX, INT_MIN, N_VOCAB, NULL, REAL, SHAPE, Room, SIZE_MAX, ffi, folder, mapped, path, snprintf_text)

room = Room()
NOT_FOUND, LOAD, MODEL = REAL.BITNET_ERROR_NOT_FOUND, REAL.BITNET_ERROR_LOAD, REAL.BITNET_ERROR_MODEL


def defaults(**fields):
    params = REAL.llama_model_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    return params


def freed(model):
    return ffi.gc(model, REAL.llama_model_free)


# ---- loading ----

@room.use("llama_model_default_params")
def _(api, w):
    p = api.llama_model_default_params()
    assert (p.n_gpu_layers, p.split_mode, p.load_mode, p.lazy_mode, p.use_extra_bufts) == (-1, REAL.LLAMA_SPLIT_MODE_LAYER, -1, 1, True)
    assert not (p.vocab_only or p.check_tensors or p.no_host or p.no_alloc or p.load_mtp) and p.kv_overrides == NULL == p.progress_callback


@room.use("llama_model_load_from_file", "llama_load_model_from_file")
def _(api, w):
    for load in (api.llama_model_load_from_file, api.llama_load_model_from_file):
        assert REAL.llama_model_n_embd(freed(load(path(), defaults()))) == SHAPE["n_embd"]


@room.use("llama_model_load_from_file_ptr")
def _(api, w):
    with open(path(), "rb") as file:
        model = freed(api.llama_model_load_from_file_ptr(file, defaults()))
    assert REAL.llama_model_n_embd(model) == SHAPE["n_embd"]


def paths(*names):
    keep = [ffi.new("char[]", name) for name in names]
    array = ffi.new("const char *[]", [*keep])
    KEPT[array] = keep
    return array


KEPT = {}


@room.use("llama_model_load_from_splits")
def _(api, w):
    assert REAL.llama_model_n_embd(freed(api.llama_model_load_from_splits(paths(path()), 1, defaults()))) == SHAPE["n_embd"]


@room.use("llama_model_free", "llama_free_model")
def _(api, w):
    for free in (api.llama_model_free, api.llama_free_model):
        model = REAL.llama_model_load_from_file(path(), defaults())
        n = mapped(path())
        free(model)
        assert mapped(path()) < n
        free(NULL)


NOTHING = str(folder / "empty.gguf").encode()
(folder / "empty.gguf").write_bytes(b"")
LOADERS = "llama_model_load_from_file llama_load_model_from_file"
room.refuses(LOADERS, lambda w: (NULL, defaults()), NULL, "path of the model is NULL", LOAD)
room.refuses(LOADERS, lambda w: (b"", defaults()), NULL, "no such file", NOT_FOUND)
room.refuses(LOADERS, lambda w: (b"/no/such\xff\xfe/file.gguf", defaults()), NULL, "no such file", NOT_FOUND)
room.refuses(LOADERS, lambda w: (b"/tmp", defaults()), NULL, "is a directory, expected a file", LOAD)
room.refuses(LOADERS, lambda w: (NOTHING, defaults()), NULL, "the file is empty", LOAD)
room.refuses(LOADERS, lambda w: (b"/dev/zero", defaults()), NULL, "is not a regular file", LOAD)
room.refuses("llama_model_load_from_splits", lambda w: (NULL, 1, defaults()), NULL, "no paths")
room.refuses("llama_model_load_from_splits", lambda w: (paths(path()), 0, defaults()), NULL, "no paths")
room.refuses("llama_model_load_from_splits", lambda w: (paths(path(), path()), 2, defaults()), NULL, "has 1 parts, but 2 paths are given",
             LOAD)
room.refuses("llama_model_load_from_splits", lambda w: (ffi.new("const char *[1]"), 1, defaults()), NULL, "path 1 of 1 is NULL")
room.refuses("llama_model_load_from_file_ptr", lambda w: (NULL, defaults()), NULL, "file is NULL")
room.refuses("llama_model_load_from_file_ptr", lambda w: (open(NOTHING, "rb"), defaults()), NULL, "stands at byte 0 and ends at 0", LOAD)


# ---- sizes and kinds ----

for names, value in {
    "llama_model_n_ctx_train llama_n_ctx_train llama_model_n_ctx llama_n_ctx_from_model": SHAPE["n_ctx"],
    "llama_model_n_embd llama_n_embd llama_model_n_embd_inp llama_model_n_embd_out llama_n_embd_from_model": SHAPE["n_embd"],
    "llama_model_n_layer llama_n_layer": SHAPE["n_layer"],
    "llama_model_n_head llama_n_head": SHAPE["n_head"],
    "llama_model_n_head_kv": SHAPE["n_head_kv"],
}.items():
    room.gives(names, lambda w: (w.model,), value)
    room.answers(names, lambda w: (w.bare,), 0)
room.gives("llama_model_n_vocab llama_n_vocab_from_model", lambda w: (w.model,), N_VOCAB)
room.gives("llama_model_get_vocab", lambda w: (w.model,), lambda w: w.model)
room.gives("llama_model_rope_type llama_rope_type", lambda w: (w.model,), REAL.LLAMA_ROPE_TYPE_NORM)
room.answers("llama_model_rope_type llama_rope_type", lambda w: (w.bare,), REAL.LLAMA_ROPE_TYPE_NONE)
room.gives("llama_model_rope_freq_scale_train llama_rope_freq_scale_train", lambda w: (w.model,), 1.0)
E, F, V = SHAPE["n_embd"], SHAPE["n_ff"], N_VOCAB
N_WEIGHTS = SHAPE["n_layer"] * (2 * E + 3 * E * E + 3 * E * F) + E + 2 * E * V      # a narrow K and V are together as wide as Q
room.gives("llama_model_n_params", lambda w: (w.model,), N_WEIGHTS)
room.gives("llama_model_size", lambda w: (w.model,), 4 * N_WEIGHTS)
room.gives("llama_model_ftype", lambda w: (w.model,), REAL.LLAMA_FTYPE_GUESSED)
room.gives("llama_ftype_name", (REAL.LLAMA_FTYPE_MOSTLY_Q8_0,), b"Q8_0")
room.refuses("llama_ftype_name", (INT_MAX,), b"unknown, may not work", "is no type of file")
room.gives("llama_model_has_decoder", lambda w: (w.model,), True)
room.gives("llama_model_n_layer_nextn llama_model_n_swa", lambda w: (w.model,), 0)
room.gives("llama_model_n_cls_out", lambda w: (w.model,), 1)
room.gives("llama_model_cls_label", lambda w: (w.model, 0), None)
room.answers("llama_model_cls_label", lambda w: (w.model, 2**32 - 1), None)
room.gives("llama_model_has_encoder llama_model_is_recurrent llama_model_is_hybrid llama_model_is_diffusion", lambda w: (w.model,), False)
room.gives("llama_model_decoder_start_token", lambda w: (w.model,), -1)


@room.use("llama_model_desc", "llama_model_type")
def _(api, w):
    for call in (api.llama_model_desc, api.llama_model_type):
        assert snprintf_text(lambda buf, size: call(w.model, buf, size)) == b"llama 49K all F32"
        assert snprintf_text(lambda buf, size: call(w.bare, buf, size)) == b"llama vocabulary only"


room.refuses("llama_model_desc llama_model_type", lambda w: (w.model, NULL, 9), -1, "buf is NULL but buf_size is 9")


# ---- metadata ----

META = [("general.architecture", "llama"), ("general.name", "tiny llama"), ("llama.block_count", "3")]


@room.use("llama_model_meta_count", "llama_model_meta_key_by_index", "llama_model_meta_val_str_by_index", "llama_model_meta_val_str")
def _(api, w):
    n = api.llama_model_meta_count(w.model)
    pairs = [tuple(snprintf_text(lambda buf, size: call(w.model, i, buf, size)).decode() for call in (
        api.llama_model_meta_key_by_index, api.llama_model_meta_val_str_by_index)) for i in range(n)]
    assert n > 20 and set(META) < set(pairs)
    for key, value in META:
        assert snprintf_text(lambda buf, size: api.llama_model_meta_val_str(w.model, key.encode(), buf, size)) == value.encode()
    assert api.llama_model_meta_val_str(w.model, b"tokenizer.ggml.suppress_tokens", NULL, 0) == len("[7, 9]")


BY_INDEX = "llama_model_meta_key_by_index llama_model_meta_val_str_by_index"
for i in (-1, 99, INT_MAX, INT_MIN):
    room.refuses(BY_INDEX, lambda w, i=i: (w.model, i, NULL, 0), -1, f"metadata index is {i}, expected 0 to")
room.refuses(BY_INDEX, lambda w: (w.model, 0, NULL, 1), -1, "buf is NULL but buf_size is 1")
room.refuses("llama_model_meta_val_str", lambda w: (w.model, NULL, NULL, 0), -1, "key is NULL")
room.refuses("llama_model_meta_val_str", lambda w: (w.model, b"no.such.key", NULL, 0), -1, "no key 'no.such.key'")
room.refuses("llama_model_meta_val_str", lambda w: (w.model, b"\xff\xfe\n", NULL, 0), -1, "no key")
room.refuses("llama_model_meta_val_str", lambda w: (w.model, b"general.name", NULL, SIZE_MAX), -1, "buf is NULL but buf_size is")

room.gives("llama_model_chat_template", lambda w: (w.model, NULL), b"{{ chatml }}")
room.answers("llama_model_chat_template", lambda w: (w.model, b""), b"{{ chatml }}")
room.answers("llama_model_chat_template", lambda w: (w.model, b"no such template"), None)
room.gives("llama_model_meta_key_str", (REAL.LLAMA_MODEL_META_KEY_SAMPLING_TOP_K,), b"general.sampling.top_k")
room.refuses("llama_model_meta_key_str", (12,), None, "12 is no key")
room.refuses("llama_model_meta_key_str", (2**32 - 1,), None, "is no key")
room.gives("llama_load_mode_name", (REAL.LLAMA_LOAD_MODE_MMAP_MLOCK,), b"mmap+mlock")
room.refuses("llama_load_mode_name", (INT_MAX,), None, "is no load mode")
room.gives("llama_load_mode_from_str", (b"mlock",), REAL.LLAMA_LOAD_MODE_MLOCK)
room.refuses("llama_load_mode_from_str", (NULL,), -1, "NULL")
room.refuses("llama_load_mode_from_str", (b"swift",), -1, "load mode 'swift'")
room.gives("llama_flash_attn_type_name", (REAL.LLAMA_FLASH_ATTN_TYPE_ENABLED,), b"enabled")
room.refuses("llama_flash_attn_type_name", (INT_MIN,), None, "is no such type")


# ---- splits ----

@room.use("llama_split_path", "llama_split_prefix")
def _(api, w):
    whole = b"/m/abc-00003-of-00004.gguf"
    buffer = ffi.new("char[]", b"#" * 40)
    assert api.llama_split_path(buffer, 27, b"/m/abc", 2, 4) == 26 and ffi.string(buffer) == whole
    assert snprintf_text(lambda buf, size: api.llama_split_prefix(buf, size, whole, 2, 4)) == b"/m/abc"


for no, count in ((4, 4), (-1, 4), (0, 0), (0, -1), (INT_MAX, INT_MAX), (INT_MIN, INT_MIN)):
    room.refuses("llama_split_path llama_split_prefix", (NULL, 0, b"x", no, count), 0, f"part {no} of {count}")
room.refuses("llama_split_path llama_split_prefix", (NULL, 0, NULL, 0, 1), 0, "a path is NULL")
room.refuses("llama_split_path", (NULL, 0, b"/m/abc", 2, 4), 0, "0 bytes, the path and its NUL take 27")
room.refuses("llama_split_path llama_split_prefix", (NULL, 9, b"x", 0, 1), 0, "a path is NULL")
room.answers("llama_split_prefix", (NULL, 0, b"/m/abc-00002-of-00004.gguf", 2, 4), 0)


# ---- writing ----

@room.use("llama_model_quantize_default_params")
def _(api, w):
    p = api.llama_model_quantize_default_params()
    assert (p.quantize_output_tensor, p.output_tensor_type, p.token_embedding_type) == (True, REAL.GGML_TYPE_COUNT, REAL.GGML_TYPE_COUNT)
    assert not (p.allow_requantize or p.only_copy or p.pure or p.keep_split or p.dry_run) and p.imatrix == NULL == p.kv_overrides


def ftype(**fields):
    params = ffi.new("struct llama_model_quantize_params *", REAL.llama_model_quantize_default_params())
    for name, value in fields.items():
        setattr(params, name, value)
    return params


OUT = str(folder / "out.gguf").encode()


@room.use("llama_model_quantize")
def _(api, w):
    (folder / "out.gguf").unlink(missing_ok=True)
    assert api.llama_model_quantize(path(), OUT, ftype(ftype=REAL.LLAMA_FTYPE_MOSTLY_Q8_0)) == 0
    assert REAL.llama_model_ftype(freed(REAL.llama_model_load_from_file(OUT, defaults()))) == REAL.LLAMA_FTYPE_MOSTLY_Q8_0


@room.use("llama_model_save_to_file")
def _(api, w):
    (folder / "out.gguf").unlink(missing_ok=True)
    api.llama_model_save_to_file(w.model, OUT)
    saved = freed(REAL.llama_model_load_from_file(OUT, defaults()))
    assert REAL.llama_model_n_params(saved) == REAL.llama_model_n_params(w.model)


room.refuses("llama_model_quantize", (NULL, OUT, NULL), 1, "a path is NULL")
room.refuses("llama_model_quantize", (path(), NULL, NULL), 1, "a path is NULL")
room.refuses("llama_model_quantize", (path(), path(), NULL), 1, "both what to read and what to write")
room.refuses("llama_model_quantize", (b"/no/such/file", OUT, NULL), 1, "no such file", NOT_FOUND)
room.refuses("llama_model_quantize", (path(), b"/no/such/folder/out.gguf", NULL), 1, "cannot be written", LOAD)
room.refuses("llama_model_quantize", lambda w: (path(), OUT, ftype(ftype=1000)), 1, "file type 1000")
room.refuses("llama_model_quantize", lambda w: (path(), OUT, ftype(ftype=REAL.LLAMA_FTYPE_MOSTLY_IQ2_XXS)), 1, "file type 19 (IQ2_XXS")
LAYERS = ffi.new("int32_t[]", [99, -1])
room.refuses("llama_model_quantize", lambda w: (path(), OUT, ftype(prune_layers=LAYERS)), 1, "prune_layers: there is no layer 99")
room.refuses("llama_model_save_to_file", lambda w: (w.model, NULL), None, "path_model is NULL")
room.refuses("llama_model_save_to_file", lambda w: (w.model, b"/no/such/folder/out.gguf"), None, "cannot be written", LOAD)
