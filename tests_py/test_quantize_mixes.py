"""Quantized files are llama.cpp's, byte for byte: types of tensors by the type of the file, importance matrices, patterns, pruned layers,
splits. data/quantize_mixes_llama_cpp.json: what llama.cpp writes of quantize_models.py (make_mixes_golden.py).

Next: bitnet_ffi/_core/gguf/quantize_mix.pyx, test_quantize_file.py.
"""
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitnet_ffi import container, kernels
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row
from gguf_writer import STRING, U32, Gguf
from quantize_cases import WEIGHED, cases, importances
from quantize_models import FTYPES, imatrix_of, jobs, models

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "quantize_mixes_llama_cpp.json").read_text())
BLOCKS = json.loads((DATA / "quantize_llama_cpp.json").read_text())
ERROR, LOAD = -1, -5
MODELS = models()


def quantize(source, target, ftype, imatrix=None, patterns=None, pruned=None, **fields) -> int:
    params = ffi.new("llama_model_quantize_params *", lib.llama_model_quantize_default_params())
    params.ftype = ftype
    keep = []
    if isinstance(imatrix, list):
        params.imatrix = entries = ffi.new("struct llama_model_imatrix_data[]", len(imatrix) + 1)
        for entry, (name, data) in zip(entries, imatrix):
            keep += [entries, ffi.new("char[]", name.encode()), ffi.new("float[]", data.tolist())]
            entry.name, entry.data, entry.size = keep[-2], keep[-1], len(data)
    elif imatrix is not None:
        params.imatrix = imatrix
    if patterns is not None:
        params.tt_overrides = overrides = ffi.new("struct llama_model_tensor_override[]", len(patterns) + 1)
        for override, (text, number) in zip(overrides, patterns):
            keep += [overrides, ffi.new("char[]", text.encode())]
            override.pattern, override.type = keep[-1], number
    if pruned is not None:
        params.prune_layers = layers = ffi.new("int32_t[]", [*pruned, -1])
        keep.append(layers)
    for name, value in fields.items():
        setattr(params, name, value)
    return lib.llama_model_quantize(str(source).encode(), str(target).encode(), params)


def sha(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def types(path) -> dict[str, int]:
    return {t.name.decode(): t.type for t in container.read(path).tensors}


# ---- llama.cpp's bytes ----

@pytest.mark.parametrize("name", jobs())
def test_file_is_llama_cpps(tmp_path, name):
    job = jobs()[name]
    model = MODELS[job.pop("model")]
    if job.pop("imatrix", False):
        job["imatrix"] = imatrix_of(model)
    assert quantize(model.write(tmp_path / "m.gguf"), tmp_path / "q.gguf", nthread=3, **job) == 0, last_error()
    assert sha(tmp_path / "q.gguf") == GOLDEN[name]


@pytest.mark.parametrize("kind", WEIGHED)
@pytest.mark.parametrize("weighing", importances())
def test_weighted_blocks_are_llama_cpps(tmp_path, kind, weighing):
    """Every hard case as a tensor of a file, all with one importance."""
    g = Gguf(kv=[("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1)])
    for name, x in cases().items():
        g.add(f"blk.0.{name}.weight", "f32", x.shape[::-1], x.tobytes())
    imatrix = [(t.name, importances()[weighing]) for t in g.tensors]
    source = g.write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", FTYPES["Q8_0"], imatrix, [("", WEIGHED[kind])]) == 0, last_error()
    head, data = container.read(tmp_path / "q.gguf"), (tmp_path / "q.gguf").read_bytes()
    for t in head.tensors:
        size = lib.bitnet_tensor_size(t.type, t.shape[0], t.shape[1])
        at = head.data_start + t.offset
        assert hashlib.sha256(data[at : at + size]).hexdigest() == BLOCKS[f"{t.name.decode()[6:-7]} {kind} {weighing}"], t.name


def test_threads_and_tables_change_nothing(tmp_path):
    source, imatrix = MODELS["experts"].write(tmp_path / "m.gguf"), imatrix_of(MODELS["experts"])
    for n in (1, 2, 5):
        assert quantize(source, tmp_path / f"{n}.gguf", FTYPES["Q4_K_M"], imatrix, nthread=n) == 0
    assert {sha(tmp_path / f"{n}.gguf") for n in (1, 2, 5)} == {GOLDEN["experts Q4_K_M imatrix"]}


# ---- parts ----

def test_split_stays_split(tmp_path):
    parts = MODELS["grouped"].write_split(tmp_path / "m", 3)
    whole = MODELS["grouped"].write(tmp_path / "whole.gguf")
    assert quantize(parts[0], tmp_path / "q", FTYPES["Q4_K_M"], keep_split=True) == 0, last_error()
    assert quantize(whole, tmp_path / "one.gguf", FTYPES["Q4_K_M"]) == 0
    found = {}
    for i, part in enumerate(parts):
        path = tmp_path / f"q-0000{i + 1}-of-00003.gguf"
        assert list(types(path)) == list(types(part))
        assert {key: value.get() for key, value in container.read(path).kv.items() if key.startswith("split.")} == {
            "split.no": i, "split.count": 3, "split.tensors.count": len(types(whole))}
        found |= types(path)
    assert found == types(tmp_path / "one.gguf")
    assert quantize(tmp_path / "q-00001-of-00003.gguf", tmp_path / "two.gguf", 0, only_copy=True) == 0
    assert types(tmp_path / "two.gguf") == found


def test_a_part_that_cannot_be_written_leaves_none(tmp_path):
    parts = MODELS["grouped"].write_split(tmp_path / "m", 3)
    (tmp_path / "q-00003-of-00003.gguf").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert quantize(parts[0], tmp_path / "q", FTYPES["Q4_K_M"], keep_split=True) == 1
    assert last_error()[0] == LOAD and sorted(tmp_path.rglob("*")) == before


# ---- what is refused ----

@pytest.mark.parametrize("ftype, fields, text", [
    ("Q2_K_S", {}, "tensor 'blk.0.attn_k.weight' becomes q2_K, and a file of this type is of no use without an importance matrix"),
    ("Q4_K_M", dict(pruned=[17]), "prune_layers: there is no layer 17, the model has 17"),
    ("Q4_K_M", dict(pruned=[-2]), "prune_layers: there is no layer -2"),
    ("Q4_K_M", dict(patterns=[("attn_(", 8)]), "attn_("),
    ("Q4_K_M", dict(patterns=[("attn", 16)]), "a type of tt_overrides is 16 (iq2_xxs), which cannot be written"),
    ("Q4_K_M", dict(imatrix=[("blk.0.attn_q.weight", np.ones(255))]), "imatrix: 'blk.0.attn_q.weight' has 255 numbers, expected 256"),
    ("Q4_K_M", dict(imatrix=[("x", np.array([1, np.nan]))]), "imatrix: number 1 of 'x' is nan, expected a finite one from 0 up"),
    ("Q4_K_M", dict(imatrix=[("x", np.array([-1.0]))]), "imatrix: number 0 of 'x' is -1"),
])
def test_refused_before_anything_is_written(tmp_path, ftype, fields, text):
    source = MODELS["tied"].write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", FTYPES[ftype], **fields) == 1
    assert last_error()[0] == ERROR and text in last_error()[1]
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("field, kind, words", [
    ("imatrix", "struct llama_model_imatrix_data *", (1, 13, 0)),
    ("kv_overrides", "struct llama_model_kv_override *", (0x7F1234567890, 0, 0)),
    ("tt_overrides", "struct llama_model_tensor_override *", (1, 0x7F1234567890, 0)),
    ("prune_layers", "int32_t *", (0x7F1234567890, 0, 0))])
def test_containers_of_2025_are_refused(tmp_path, field, kind, words):
    """Programs built for the older llama.h pass std::unordered_map and std::vector: three words that are no array."""
    source = MODELS["tied"].write(tmp_path / "m.gguf")
    memory = ffi.new("size_t[64]", words)
    assert quantize(source, tmp_path / "q.gguf", FTYPES["Q4_K_M"], **{field: ffi.cast(kind, memory)}) == 1
    assert last_error()[0] == ERROR and field in last_error()[1]
    assert list(tmp_path.iterdir()) == [source]


def test_a_dry_run_needs_no_imatrix(tmp_path):
    source = MODELS["tied"].write(tmp_path / "m.gguf")
    assert quantize(source, tmp_path / "q.gguf", FTYPES["Q2_K_S"], dry_run=True) == 0
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_grows_beyond_a_limit_leaves_nothing(tmp_path):
    """RLIMIT_FSIZE stands for a full disk; in a process of its own, since a limit cannot be taken back."""
    MODELS["experts"].write(tmp_path / "m.gguf")
    code = ("import resource, signal, sys; from bitnet_ffi._ffi import ffi, lib; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)); params = ffi.new('llama_model_quantize_params *',"
            " lib.llama_model_quantize_default_params()); params.ftype = 15;"
            "print(lib.llama_model_quantize(b'm.gguf', b'q.gguf', params), ffi.string(lib.bitnet_last_error()).decode())")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(Path(__file__).parent.parent)})
    assert done.stdout.startswith("1 ") and "'q.gguf': writing failed" in done.stdout, done
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]


# ---- what bits mean ----

@pytest.mark.parametrize("kind, bound", [("q2_k", 0.36), ("q3_k", 0.20), ("q4_k", 0.09), ("q5_k", 0.045), ("q6_k", 0.024)])
def test_round_trip_error(kind, bound):
    """Root of the mean square error over that of the weights, for bell-shaped weights: the width of a step over sqrt(12), where a group
    of 16 or 32 has its 2 to 2.3 standard deviations on either side; the bounds are a quarter above what was found."""
    x = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    back = kernels.dequantize(kernels.quantize(x, kind), kind, x.shape)
    assert np.sqrt(((back - x) ** 2).mean()) < bound


def test_importance_moves_the_error_away(tmp_path):
    """Columns that count a hundred times as much have a smaller error than without the matrix, and the others a larger one."""
    x = np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)
    importance = np.where(np.arange(512) % 4 == 0, 100, 1).astype(np.float32)
    g = Gguf(kv=[("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1)])
    g.add("blk.0.a.weight", "f32", (512, 64), x.tobytes())
    source = g.write(tmp_path / "m.gguf")
    for ftype in ("Q4_0", "Q2_K", "Q4_K_S"):
        errors = []
        for imatrix in (None, [("blk.0.a.weight", importance)]):
            assert quantize(source, tmp_path / "q.gguf", FTYPES[ftype], imatrix) == 0
            assert quantize(tmp_path / "q.gguf", tmp_path / "f.gguf", 0, allow_requantize=True) == 0
            head = container.read(tmp_path / "f.gguf")
            back = np.frombuffer((tmp_path / "f.gguf").read_bytes(), "<f4", 64 * 512, head.data_start).reshape(64, 512)
            errors.append(((back - x) ** 2).reshape(64, 128, 4).mean(axis=(0, 1)))
        assert errors[1][0] < 0.8 * errors[0][0] and errors[1][1:].mean() > errors[0][1:].mean(), ftype


@pytest.mark.parametrize("ftype", ["Q3_K_L", "Q4_K_M", "Q5_K_S"])
def test_smollm2_as_k_quants(smollm2_path, tmp_path, ftype):
    """A real model, of 576 columns (where other types stand in) and of 1536: it loads, and says nearly what it said."""
    assert quantize(smollm2_path, tmp_path / "q.gguf", FTYPES[ftype], allow_requantize=True) == 0, last_error()
    rows = []
    for path in (smollm2_path, tmp_path / "q.gguf"):
        model = ffi.gc(lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params()), lib.llama_model_free)
        ctx = init(model, n_ctx=64)
        assert decode(ctx, [504, 3575, 282, 4649, 314]) == 0
        rows.append(np.frombuffer(row(ctx), np.float32))
    assert np.corrcoef(rows)[0, 1] > 0.9
    assert rows[0].argmax() in np.argsort(rows[1])[-5:]
