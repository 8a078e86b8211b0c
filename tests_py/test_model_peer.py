"""What a model says of itself, its files and what changes it, beside llama.cpp itself, where llama-cpp-python is: metadata of every kind
into buffers of every size, names of split files, files saved by one and loaded by the other, adapters and control vectors.

llama.cpp's descriptions guess sizes from the number of layers; ours count. Next: test_model_info.py and test_adapter.py, without a peer.
"""
import ctypes as C
import random

import numpy as np
import pytest

import adapter_tools as tools
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, row
from gguf_writer import ARRAY, BOOL, F32, F64, I8, I16, I32, I64, STRING, U8, U16, U32, U64, tiny_model
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
TEXT = [(11 * i * i + 5 * i + 3) % tools.N_VOCAB for i in range(12)]

ODD = {
    "u8": (U8, 255), "i8": (I8, -128), "u16": (U16, 65535), "i16": (I16, -32768), "u32": (U32, 2**32 - 1), "i32": (I32, -2**31),
    "u64": (U64, 2**64 - 1), "i64": (I64, -2**63), "yes": (BOOL, True), "no": (BOOL, False), "empty": (STRING, ""),
    **{f"f32.{i}": (F32, x) for i, x in enumerate([0.0, -0.0, 1.0, 0.1, 1e-5, 1e-10, 1e20, 3.4e38, -123456.789, 16777217.0])},
    **{f"f64.{i}": (F64, x) for i, x in enumerate([0.1, 1 / 3, 1e300, -2.5e-7, 123456789.125])},
    "quoted": (STRING, 'a "b" \\ c\n\t\x01'), "utf8": (STRING, "日本 \U0001F600 é"), "long": (STRING, "x" * 5000),
    "numbers": (ARRAY, (I32, [1, -2, 3])), "none": (ARRAY, (U8, [])), "bytes": (ARRAY, (U8, [0, 255])),
    "floats": (ARRAY, (F32, [0.5, -1.25, 1e10])), "bools": (ARRAY, (BOOL, [True, False])),
    "texts": (ARRAY, (STRING, ["a", 'b"c\\d', "", "é\n"])), "large": (ARRAY, (U64, [2**63])),
    "k" * 200: (STRING, "a long key"), "key with spaces": (U32, 1), "ключ": (STRING, "значение"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    g = tiny_model(**tools.SHAPE, head="f32").set("tokenizer.chat_template", STRING, "{{ default }}")
    g.set("tokenizer.chat_template.tool_use", STRING, "{{ tools }}").set("general.name", STRING, "Tiny")
    for key, (kind, value) in ODD.items():
        g.set(f"odd.{key}", kind, value)
    return g.write(tmp_path_factory.mktemp("peer") / "tiny.gguf")


def load_theirs(path):
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert model
    return model


@pytest.fixture(scope="module")
def both(path):
    theirs = load_theirs(path)
    with Model(path) as ours:
        yield ours._pointer, theirs
    llama_cpp.llama_model_free(theirs)


def our_text(call, *arguments, size):
    buffer = ffi.new("char[]", b"#" * (size + 8))
    n = call(*arguments, buffer, size)
    return n, bytes(ffi.buffer(buffer))[:-1]


def their_text(call, *arguments, size):
    buffer = C.create_string_buffer(b"#" * (size + 8))
    n = call(*arguments, buffer, size)
    return n, buffer.raw[:-1]


def keys_of(model):
    n = lib.llama_model_meta_count(model)
    return [our_text(lib.llama_model_meta_key_by_index, model, i, size=300)[1].partition(b"\0")[0] for i in range(n)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 6000])
def test_metadata(both, size):
    ours, theirs = both
    assert lib.llama_model_meta_count(ours) == llama_cpp.llama_model_meta_count(theirs) > len(ODD)
    for name in [*keys_of(ours), b"", b"nothing", b"odd.u8 ", b"odd."]:
        said = our_text(lib.llama_model_meta_val_str, ours, name, size=size)
        assert said == their_text(llama_cpp.llama_model_meta_val_str, theirs, name, size=size), name
    said = []
    for call, api, model in ((our_text, lib, ours), (their_text, llama_cpp, theirs)):
        keys, values = api.llama_model_meta_key_by_index, api.llama_model_meta_val_str_by_index
        said.append({(call(keys, model, i, size=300), call(values, model, i, size=size)) for i in range(lib.llama_model_meta_count(ours))})
    assert said[0] == said[1]            # llama.cpp's have no order
    for i in (-1, lib.llama_model_meta_count(ours), 2**31 - 1, -2**31):
        for name in ("llama_model_meta_key_by_index", "llama_model_meta_val_str_by_index"):
            assert our_text(getattr(lib, name), ours, i, size=size) == their_text(getattr(llama_cpp, name), theirs, i, size=size)


ASKED = """n_ctx_train n_embd n_embd_inp n_embd_out n_layer n_head n_head_kv n_swa rope_type rope_freq_scale_train n_cls_out size n_params
has_encoder has_decoder is_recurrent is_hybrid is_diffusion decoder_start_token""".split()


def test_numbers(both):
    ours, theirs = both
    found = {name: getattr(lib, f"llama_model_{name}")(ours) for name in ASKED}
    assert found == {name: getattr(llama_cpp, f"llama_model_{name}")(theirs) for name in ASKED}
    for name in (None, b"tool_use", b"default", b"Tool_use", b"tool"):
        text = lib.llama_model_chat_template(ours, ffi.NULL if name is None else name)
        assert (None if text == ffi.NULL else ffi.string(text)) == llama_cpp.llama_model_chat_template(theirs, name)


def test_names_of_split_files():
    choose = random.Random(4)
    names = [b"", b"m", b"/a/b/model", b"x" * 100, b"%d%s", b"m-00001-of-00003.gguf", b"-00001-of-00003.gguf", b"m.gguf",
             b"/a/m-00010-of-00010.gguf"]
    for _ in range(2000):
        count = choose.choice([1, 3, 10, 99999, 2**31 - 1])
        name, part = choose.choice(names), choose.choice([x for x in (0, 1, 2, 9, 99998) if x < count])
        size = choose.choice([1, 5, 18, 19, 22, 23, 64, 300])
        for call in ("llama_split_path", "llama_split_prefix"):
            buffers = ffi.new("char[]", b"#" * (size + 8)), C.create_string_buffer(b"#" * (size + 8))
            said = getattr(lib, call)(buffers[0], size, name, part, count), getattr(llama_cpp, call)(buffers[1], size, name, part, count)
            assert said[0] == said[1] and bytes(ffi.buffer(buffers[0])) == buffers[1].raw, (call, name, part, count, size)


# ---- files, adapters, control vectors: logits ----

def our_rows(model, change=lambda ctx: None):
    ctx = init(model, n_ctx=64, type_k=0, type_v=0)
    change(ctx)
    assert decode(ctx, TEXT, logits=[1] * len(TEXT)) == 0
    return np.array([np.frombuffer(row(ctx, i), "<f4") for i in range(len(TEXT))])


def their_rows(model, change=lambda ctx: None):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.flash_attn_type, params.type_k, params.type_v = 64, 1, 0, 0, 0
    ctx = llama_cpp.llama_init_from_model(model, params)
    change(ctx)
    batch = llama_cpp.llama_batch_init(len(TEXT), 0, 1)
    batch.n_tokens = len(TEXT)
    for i, token in enumerate(TEXT):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    assert llama_cpp.llama_decode(ctx, batch) == 0
    rows = np.array([np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(ctx, i), (tools.N_VOCAB,)).copy() for i in range(len(TEXT))])
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(ctx)
    return rows


def same(ours, theirs):
    """Sums of floats in another order, and exp from elsewhere: some 1e-5 of the logits' spread through two layers."""
    assert np.abs(ours - theirs).max() < 1e-3 * theirs.std(), np.abs(ours - theirs).max()


def test_saved_files_are_read_by_the_other(both, tmp_path):
    ours, theirs = both
    plain = our_rows(ours)
    same(plain, their_rows(theirs))
    lib.llama_model_save_to_file(ours, str(tmp_path / "ours.gguf").encode())
    llama_cpp.llama_model_save_to_file(theirs, str(tmp_path / "theirs.gguf").encode())
    model = load_theirs(tmp_path / "ours.gguf")
    same(plain, their_rows(model))
    assert llama_cpp.llama_model_meta_count(model) == llama_cpp.llama_model_meta_count(theirs)
    llama_cpp.llama_model_free(model)
    with Model(tmp_path / "theirs.gguf") as model:
        assert (our_rows(model._pointer) == plain).all()


@pytest.fixture(scope="module")
def adapters(both, tmp_path_factory):
    """Two, loaded by both: [(ours, theirs)]."""
    pairs = []
    for rank, alpha in ((2, 4.0), (7, None)):
        made = tools.adapter(tools.random_pairs(tools.all_weights(), rank, rank), alpha=alpha)
        path = str(made.write(tmp_path_factory.mktemp("lora") / f"{rank}.gguf")).encode()
        pairs.append((lib.llama_adapter_lora_init(both[0], path), llama_cpp.llama_adapter_lora_init(both[1], path)))
    return pairs


@pytest.mark.parametrize("scales", [(1.0,), (0.0,), (-0.5,), (1e-3,), (0.25, 1.0), (0.0, 1.0), (1.0, -1.0), (0.0, 0.0)], ids=str)
def test_adapters(both, adapters, scales):
    n = len(scales)
    ours, theirs = zip(*adapters[:n])

    def set_ours(ctx):
        assert lib.llama_set_adapters_lora(ctx, ours, n, scales) == 0

    def set_theirs(ctx):
        handles = (llama_cpp.llama_adapter_lora_p_ctypes * n)(*theirs)
        assert llama_cpp.llama_set_adapters_lora(ctx, handles, n, (C.c_float * n)(*scales)) == 0
    changed = our_rows(both[0], set_ours)
    same(changed, their_rows(both[1], set_theirs))
    assert (changed != our_rows(both[0])).any() == any(scales)


N = tools.E * (tools.N_LAYER - 1)
RANGES = [(-1, -1), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (1, 100), (2, 1), (0, -1), (-5, 5)]


@pytest.mark.parametrize("first, last", RANGES, ids=str)
@pytest.mark.parametrize("length", [N, N - 1, N + tools.E, 1, 0, 5 * N], ids=lambda n: f"{n} floats")
def test_control_vectors(both, first, last, length):
    data = np.random.default_rng(5).normal(0, 0.5, max(1, length)).astype("<f4")
    codes = []

    def set_ours(ctx):
        codes.append(lib.llama_set_adapter_cvec(ctx, ffi.cast("float *", data.ctypes.data), length, tools.E, first, last))

    def set_theirs(ctx):
        codes.append(llama_cpp.llama_set_adapter_cvec(ctx, data.ctypes.data_as(C.POINTER(C.c_float)), length, tools.E, first, last))
    same(our_rows(both[0], set_ours), their_rows(both[1], set_theirs))
    assert codes == [0, 0]
