"""Models written to files: quantized blocks equal llama.cpp's bit for bit, ternary weights lose nothing, files appear whole or not.

data/quantize_llama_cpp.json: what llama.cpp's quantizers make of quantize_cases.py (make_quantize_golden.py).
Next: bitnet_ffi/_core/gguf/gguf_write.pyx.
"""
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bitnet_ffi import container, kernels
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row
from gguf_writer import ARRAY, I32, U32, tiny_model
from quantize_cases import TYPES, cases

GOLDEN = json.loads((Path(__file__).parent / "data" / "quantize_llama_cpp.json").read_text())
ERROR, NOT_FOUND, LOAD, MODEL = -1, -4, -5, -9
COUNT = lib.GGML_TYPE_COUNT
I2_S = lib.BITNET_FTYPE_MOSTLY_I2_S
SMALL = dict(n_layer=1, n_embd=256, n_ff=512, n_vocab=280)
NUMBER = {**TYPES, "f32": 0, "i2_s": 36}


# ---- blocks ----

@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("case", cases())
def test_blocks_are_llama_cpps(case, kind):
    found = kernels.quantize(cases()[case], kind)
    assert hashlib.sha256(found.tobytes()).hexdigest() == GOLDEN[f"{case} {kind}"]


# ---- whole files ----

def quantize(source, target, ftype, overrides=None, **fields) -> int:
    params = ffi.new("llama_model_quantize_params *", lib.llama_model_quantize_default_params())
    params.ftype = ftype
    keep = None
    if overrides is not None:
        keep = ffi.new("struct llama_model_kv_override[]", len(overrides) + 1)
        for item, (key, tag, field, value) in zip(keep, overrides):
            item.tag, item.key = tag, key
            setattr(item, field, value)
        params.kv_overrides = keep
    for name, value in fields.items():
        setattr(params, name, value)
    return lib.llama_model_quantize(str(source).encode(), str(target).encode(), params)


def read(path):
    """Keys, and tensors by name: (type, bytes)."""
    head = container.read(path)
    data = Path(path).read_bytes()
    return {key: value.get() for key, value in head.kv.items()}, {
        t.name.decode(): (t.type, data[head.data_start + t.offset : head.data_start + t.offset + size_of(t)]) for t in head.tensors}


def size_of(t) -> int:
    return lib.bitnet_tensor_size(t.type, t.shape[0], int(np.prod(t.shape[1:])))


def loads(path) -> bytes:
    """The file loads and computes."""
    params = lib.llama_model_default_params()
    params.check_tensors = True
    model = ffi.gc(lib.llama_model_load_from_file(str(path).encode(), params), lib.llama_model_free)
    assert model != ffi.NULL, last_error()
    ctx = init(model, n_ctx=16)
    assert decode(ctx, [1, 5, 9]) == 0
    return row(ctx)


@pytest.mark.parametrize("kind, ftype", [("f16", 1), ("bf16", 32), ("q4_0", 2), ("q4_1", 3), ("q5_0", 8), ("q5_1", 9), ("q8_0", 7),
                                         ("q2_k", 10), ("q3_k", 11), ("q4_k", 14), ("q5_k", 16), ("q6_k", 18)])
def test_every_matrix_is_quantized(tmp_path, kind, ftype):
    source = tiny_model(weights="f32", head="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", ftype, pure=True) == 0, last_error()
    keys, tensors = read(tmp_path / "q.gguf")
    _, before = read(source)
    assert (keys["general.file_type"], keys["general.quantization_version"]) == (ftype, 2)
    assert set(tensors) == set(before)
    for name, (number, data) in tensors.items():
        if name.endswith("_norm.weight"):
            assert (number, data) == before[name]
        else:
            k = 512 if name == "blk.0.ffn_down.weight" else 256
            x = np.frombuffer(before[name][1], "<f4").reshape(-1, k)
            assert number == NUMBER[kind]
            assert data == kernels.quantize(x, number).tobytes()
    loads(tmp_path / "q.gguf")


@pytest.mark.parametrize("head", [None, "f32"])
def test_ends_of_a_small_type(tmp_path, head):
    source = tiny_model(weights="f16", head=head, **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 2) == 0
    tensors = read(tmp_path / "q.gguf")[1]
    assert tensors["token_embd.weight"][0] == (NUMBER["q6_k"] if head is None else NUMBER["q4_0"])
    assert head is None or tensors["output.weight"][0] == NUMBER["q6_k"]
    assert tensors["blk.0.attn_q.weight"][0] == NUMBER["q4_0"]


def test_types_of_the_ends_can_be_chosen(tmp_path):
    source = tiny_model(weights="f16", head="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 2, output_tensor_type=NUMBER["q8_0"], token_embedding_type=NUMBER["f16"]) == 0
    tensors = read(tmp_path / "q.gguf")[1]
    assert (tensors["output.weight"][0], tensors["token_embd.weight"][0]) == (NUMBER["q8_0"], NUMBER["f16"])
    assert quantize(source, tmp_path / "r.gguf", 2, quantize_output_tensor=False) == 0
    assert read(tmp_path / "r.gguf")[1]["output.weight"][0] == NUMBER["f32"]


def test_rows_that_do_not_fill_blocks_of_256(tmp_path):
    source = tiny_model(weights="f32", n_layer=1, n_embd=96, n_ff=160, n_head=3, n_head_kv=1, n_vocab=280).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 2) == 0
    tensors = read(tmp_path / "q.gguf")[1]
    assert (tensors["token_embd.weight"][0], tensors["blk.0.ffn_up.weight"][0]) == (NUMBER["q8_0"], NUMBER["q4_0"])
    loads(tmp_path / "q.gguf")


# ---- ternary weights ----

@pytest.mark.parametrize("source_kind", ["i2_s", "tq1_0", "tq2_0"])
@pytest.mark.parametrize("ftype, kind", [(I2_S, "i2_s"), (36, "tq1_0"), (37, "tq2_0"), (0, "f32")])
def test_ternary_weights_lose_nothing(tmp_path, source_kind, ftype, kind):
    """From any ternary type to any, through floats of one scale that f16 holds."""
    model = tiny_model("bitnet-b1.58", weights="f32", embd="f16", **SMALL)
    rng = np.random.default_rng(5)
    for t in model.tensors:
        if t.name.startswith("blk.") and len(t.ne) == 2:
            t.data = (rng.integers(-1, 2, t.ne[::-1]) * np.float32(0.4375)).astype("<f4").tobytes()
    floats = model.write(tmp_path / "f.gguf")
    first, second, back = tmp_path / "a.gguf", tmp_path / "b.gguf", tmp_path / "c.gguf"
    numbers = {"i2_s": I2_S, "tq1_0": 36, "tq2_0": 37}
    assert quantize(floats, first, numbers[source_kind]) == 0, last_error()
    assert quantize(first, second, ftype, allow_requantize=True, token_embedding_type=NUMBER["f16"]) == 0, last_error()
    assert read(second)[1]["blk.0.attn_q.weight"][0] == NUMBER[kind]
    assert quantize(second, back, 0, allow_requantize=True) == 0
    for name, (_, data) in read(floats)[1].items():
        if name.startswith("blk."):
            assert read(back)[1][name][1] == data, name


@pytest.mark.parametrize("kind", ["i2_s", "tq2_0", "tq1_0"])
def test_files_of_ternary_weights(tmp_path, kind):
    source = tiny_model("bitnet-b1.58", weights="i2_s", embd="f32", **SMALL).write(tmp_path / "m.gguf")
    ftype = {"i2_s": I2_S, "tq1_0": 36, "tq2_0": 37}[kind]
    assert quantize(source, tmp_path / "q.gguf", ftype) == 0, last_error()
    keys, tensors = read(tmp_path / "q.gguf")
    assert keys["general.file_type"] == (40 if kind == "i2_s" else ftype)
    assert tensors["token_embd.weight"][0] == (NUMBER["f16"] if kind == "i2_s" else NUMBER["q6_k"])
    loads(tmp_path / "q.gguf")


def test_weights_that_are_not_ternary(tmp_path):
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    for ftype, kind in ((I2_S, "i2_s"), (36, "tq1_0"), (37, "tq2_0")):
        assert quantize(source, tmp_path / "q.gguf", ftype) == 1
        assert last_error()[0] == MODEL and f"tensor 'blk.0.attn_k.weight' is not ternary: {kind} holds" in last_error()[1]
    assert list(tmp_path.iterdir()) == [source]


# ---- threads, splits, keys ----

def test_threads_change_nothing(tmp_path):
    source = tiny_model(weights="f32", n_layer=1, n_embd=512, n_ff=1536, n_vocab=1000).write(tmp_path / "m.gguf")
    for n in (1, 2, 7):
        assert quantize(source, tmp_path / f"{n}.gguf", 2, nthread=n) == 0
    assert len({(tmp_path / f"{n}.gguf").read_bytes() for n in (1, 2, 7)}) == 1


def test_splits_become_one_file(tmp_path):
    model = tiny_model(weights="f32", **SMALL)
    parts, whole = model.write_split(tmp_path / "s", 3), model.write(tmp_path / "m.gguf")
    assert quantize(parts[0], tmp_path / "a.gguf", 7) == 0 and quantize(whole, tmp_path / "b.gguf", 7) == 0
    assert read(tmp_path / "a.gguf") == read(tmp_path / "b.gguf")


def test_keys_can_be_overridden(tmp_path):
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 7, overrides=[
        (b"llama.context_length", 0, "val_i64", 77), (b"my.number", 0, "val_i64", -3), (b"my.factor", 1, "val_f64", 0.5),
        (b"my.flag", 2, "val_bool", True), (b"general.name", 3, "val_str", b"renamed")]) == 0
    keys = read(tmp_path / "q.gguf")[0]
    assert [keys[key] for key in ("llama.context_length", "my.number", "my.flag", "general.name")] == [77, -3, True, b"renamed"]
    assert keys["my.factor"] == 0.5


def test_only_copy(tmp_path):
    source = tiny_model(weights="q4_0", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 99, only_copy=True) == 0
    assert read(tmp_path / "q.gguf") == read(source)


def test_dry_run_writes_nothing(tmp_path):
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 7, dry_run=True) == 0
    assert list(tmp_path.iterdir()) == [source]


# ---- refusals ----

@pytest.mark.parametrize("ftype, fields, code, text", [
    (19, {}, ERROR, "file type 19 (IQ2_XXS - 2.0625 bpw): what can be written is F32, F16"), (4, {}, ERROR, "file type 4 (unknown)"),
    (40, {}, ERROR, "file type 40 (Q1_0)"),
    (7, dict(output_tensor_type=16), ERROR, "output_tensor_type is 16 (iq2_xxs)"),
    (7, dict(token_embedding_type=9), ERROR, "token_embedding_type is 9 (q8_1)"),
])
def test_what_is_not_supported(tmp_path, ftype, fields, code, text):
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", ftype, **fields) == 1
    assert last_error()[0] == code and text in last_error()[1]
    assert list(tmp_path.iterdir()) == [source]


def test_requantizing_must_be_asked_for(tmp_path):
    source = tiny_model(weights="q8_0", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", 2) == 1
    assert last_error()[0] == ERROR and "tensor 'blk.0.attn_k.weight' is q8_0 already" in last_error()[1]
    assert quantize(source, tmp_path / "q.gguf", 2, allow_requantize=True) == 0
    loads(tmp_path / "q.gguf")


@pytest.mark.parametrize("bad, text", [(np.nan, "not finite"), (np.inf, "not finite"), (1e7, "beyond the scales of q8_0")])
def test_weights_that_have_no_code(tmp_path, bad, text):
    model = tiny_model(weights="f32", **SMALL)
    t = model.get_tensor("blk.0.ffn_up.weight")
    values = np.frombuffer(t.data, "<f4").copy()
    values[-1] = bad
    t.data = values.tobytes()
    assert quantize(model.write(tmp_path / "m.gguf"), tmp_path / "q.gguf", 7) == 1
    assert last_error()[0] == MODEL and "tensor 'blk.0.ffn_up.weight'" in last_error()[1] and text in last_error()[1]
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]


def test_paths(tmp_path):
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize("/no/such/file", tmp_path / "q", 7) == 1 and last_error()[0] == NOT_FOUND
    assert quantize(source, source, 7) == 1 and "both what to read and what to write" in last_error()[1]
    assert quantize(source, tmp_path / "no" / "q", 7) == 1 and last_error()[0] == LOAD
    assert lib.llama_model_quantize(ffi.NULL, b"x", ffi.NULL) == 1 and last_error()[0] == ERROR
    assert lib.llama_model_quantize(b"x", ffi.NULL, ffi.NULL) == 1 and last_error()[0] == ERROR


def test_a_full_disk_leaves_nothing(tmp_path):
    """/dev/full stands for it: its folder cannot take a temporary file, so nothing is begun."""
    source = tiny_model(weights="f32", **SMALL).write(tmp_path / "m.gguf")
    assert quantize(source, "/dev/full/q.gguf", 7) == 1 and last_error()[0] == LOAD


def test_defaults():
    p = lib.llama_model_quantize_default_params()
    assert (p.ftype, p.output_tensor_type, p.token_embedding_type) == (7, COUNT, COUNT)
    assert (p.quantize_output_tensor, p.max_buf_size) == (True, 8 << 30)
    assert not (p.allow_requantize or p.only_copy or p.pure or p.keep_split or p.dry_run)


# ---- saving what was loaded ----

def save(path, target, **fields):
    params = lib.llama_model_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    model = ffi.gc(lib.llama_model_load_from_file(str(path).encode(), params), lib.llama_model_free)
    assert model != ffi.NULL
    lib.llama_model_save_to_file(model, str(target).encode())
    return last_error()


@pytest.mark.parametrize("weights", ["i2_s", "tq1_0", "q4_k", "f16"])
def test_saved_is_what_was_loaded(tmp_path, weights):
    model = tiny_model("bitnet-b1.58", weights=weights, embd="f16", **SMALL).set("some.numbers", ARRAY, (I32, [1, -2, 3]))
    source = model.write(tmp_path / "m.gguf")
    assert save(source, tmp_path / "s.gguf") == (0, "")
    assert read(tmp_path / "s.gguf") == read(source)
    assert loads(tmp_path / "s.gguf") == loads(source)


def test_saved_alignment(tmp_path):
    model = tiny_model(weights="q4_0", **SMALL)
    model.alignment = 4096
    source = model.write(tmp_path / "m.gguf")
    assert save(source, tmp_path / "s.gguf") == (0, "")
    assert container.read(tmp_path / "s.gguf").data_start % 4096 == 0 and loads(tmp_path / "s.gguf") == loads(source)


def test_saved_vocabulary(tmp_path):
    source = tiny_model(weights="q4_0", **SMALL).write(tmp_path / "m.gguf")
    assert save(source, tmp_path / "s.gguf", vocab_only=True) == (0, "")
    assert read(tmp_path / "s.gguf") == read(source)


def test_save_that_fails(tmp_path):
    source = tiny_model(weights="q4_0", **SMALL).write(tmp_path / "m.gguf")
    code, text = save(source, tmp_path / "no" / "s.gguf")
    assert code == LOAD and "cannot be written" in text
    lib.llama_model_save_to_file(ffi.NULL, b"x")
    assert last_error()[0] == ERROR
