"""Loading a model: what is supported describes itself, what is wrong or unsupported is refused with a sentence.

Tiny random models from gguf_writer.py, made wrong one thing at a time. Next: test_gguf.py for the container itself.
"""
import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gguf_writer import ARRAY, BOOL, F32, I32, STRING, TYPES, U32, Gguf, bpe_vocab, spm_vocab, tiny_model
from model_abi import (BOOL as O_BOOL, ERROR, FLOAT, INT, LOAD, MODEL, SIZES, STR, Log, desc, error_of, last_error, lib, library_path,
                       load, loaded, log_kept, meta, params, text_of, warnings)

DATA = Path(__file__).parent / "data"
ARCHS = ["llama", "bitnet", "bitnet-25", "bitnet-b1.58"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.gguf"


def expect(file, g, sentence, code=MODEL, **options):
    g.write(file)
    found_code, found = error_of(file, **options)
    assert sentence in found
    assert found.startswith(str(file))
    assert found_code == code


def described(file, g, **options):
    with loaded(g.write(file), **options) as model:
        return desc(model)


# ---- what is supported ----

@pytest.mark.parametrize("name, text, layers, params_", [
    ("tiny-b158-i2_s.gguf", "bitnet-b1.58 2M I2_S - 2 bpw ternary", 3, 2_000_000),
    ("tiny-bitnet-tq2.gguf", "bitnet 2M TQ2_0 - 2.06 bpw ternary", 3, 2_500_000),
])
def test_golden_files(name, text, layers, params_):
    with warnings() as lines, loaded(DATA / name, check_tensors=True) as m:
        assert desc(m) == text
        assert lib.llama_model_n_layer(m) == layers
        assert lib.llama_model_n_embd(m) == lib.llama_n_embd(m) == 256
        assert (lib.llama_model_n_head(m), lib.llama_model_n_head_kv(m)) == (4, 2)
        assert lib.llama_model_n_ctx_train(m) == lib.llama_n_ctx_train(m) == 4096
        assert lib.llama_model_rope_type(m) == 2
        assert lib.llama_model_rope_freq_scale_train(m) == 1.0
        assert abs(lib.llama_model_n_params(m) - params_) < 600_000
        assert 0 < lib.llama_model_size(m) < (DATA / name).stat().st_size
        assert lib.llama_model_get_vocab(m) == m
        assert meta(m, "general.name") == "shape-model"
    assert [line for line in lines if "tensor" in line] == []


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_and_architecture(file, arch, kind):
    g = tiny_model(arch, n_layer=1, weights=kind, embd=kind, head=None if arch == "bitnet" else kind)
    upper = {"f32": "all F32"}.get(kind, kind.upper())
    assert described(file, g, check_tensors=True).startswith(f"{arch} {sum(int(np.prod(t.ne)) for t in g.tensors) / 1000:.0f}K {upper}")


@pytest.mark.parametrize("arch", ARCHS)
def test_other_shapes(file, arch):
    g = tiny_model(arch, n_embd=96, n_head=3, n_head_kv=1, n_ff=160, dk=48, dv=20, bias=True, norms="bf16", scales=arch == "bitnet",
                   rope_freqs=arch != "bitnet", n_vocab=400, vocab=bpe_vocab(400))
    with warnings() as lines:
        described(file, g)
    assert not [line for line in lines if "not used" in line]


def test_partial_rope_of_bitnet(file):
    described(file, tiny_model("bitnet", n_rot=32))


def test_arrays_with_equal_values(file):
    g = tiny_model("llama").set("llama.feed_forward_length", ARRAY, (I32, [256, 256]))
    described(file, g.set("llama.attention.head_count_kv", ARRAY, (U32, [2, 2])))


def test_rope_scaling(file):
    for keys, scale in [([("type", STRING, "linear"), ("factor", F32, 4.0)], 0.25), ([("factor", F32, 0.0)], 1.0),
                        ([("type", STRING, "none"), ("factor", F32, 4.0)], 0.25), ([("type", STRING, "yarn"), ("factor", F32, 2.0)], 0.5)]:
        g = tiny_model()
        for key, kind, value in keys:
            g.set(f"llama.rope.scaling.{key}", kind, value)
        with loaded(g.write(file)) as m:
            assert lib.llama_model_rope_freq_scale_train(m) == scale
            assert lib.llama_model_rope_type(m) == 0
    with loaded(tiny_model().set("llama.rope.scale_linear", F32, 2.0).write(file)) as m:
        assert lib.llama_model_rope_freq_scale_train(m) == 0.5


# ---- metadata ----

@pytest.mark.parametrize("key", ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
                                 "attention.layer_norm_rms_epsilon"])
@pytest.mark.parametrize("arch", ["llama", "bitnet-b1.58"])
def test_missing_keys(file, arch, key):
    expect(file, tiny_model(arch).drop(f"{arch}.{key}"), f"key '{arch}.{key}' is missing")


@pytest.mark.parametrize("key, kind, value, sentence", [
    ("block_count", U32, 0, "key 'llama.block_count' is 0, expected 1 to 512"),
    ("block_count", U32, 513, "key 'llama.block_count' is 513, expected 1 to 512"),
    ("block_count", U32, 3, "tensor 'blk.2.attn_norm.weight' of shape {256} is missing"),
    ("context_length", U32, 0, "key 'llama.context_length' is 0, expected 1 to 2147483647"),
    ("context_length", U32, 2**32 - 1, "key 'llama.context_length' is 4294967295, expected 1 to 2147483647"),
    ("embedding_length", U32, 0, "key 'llama.embedding_length' is 0, expected 1 to"),
    ("embedding_length", U32, 2**31, "key 'llama.embedding_length' is 2147483648, expected 1 to"),
    ("embedding_length", U32, 512, "tensor 'token_embd.weight' has shape {256, 320}, expected {512, at most"),
    ("embedding_length", U32, 257,
     "the embedding length 257 is not a multiple of the 4 heads, and key 'llama.attention.key_length' is missing"),
    ("feed_forward_length", U32, 512, "tensor 'blk.0.ffn_gate.weight' has shape {256, 256}, expected {256, 512}"),
    ("feed_forward_length", ARRAY, (U32, [256]),
     "key 'llama.feed_forward_length' is an array of 1 values, expected one integer, or u32 or i32 for "
                                                 "each of 2 layers"),
    ("feed_forward_length", ARRAY, (F32, [256, 256]), "key 'llama.feed_forward_length' is an array of 2 values"),
    ("feed_forward_length", ARRAY, (I32, [-1, -1]), "key 'llama.feed_forward_length' is -1, expected 1 to"),
    ("attention.head_count", U32, 0, "key 'llama.attention.head_count' is 0, expected 1 to"),
    ("attention.head_count", U32, 2**20, "key 'llama.attention.head_count' is 1048576, expected 1 to"),
    ("attention.head_count", U32, 8, "tensor 'blk.0.attn_k.weight' has shape {256, 128}, expected {256, 64}"),
    ("attention.head_count_kv", U32, 0, "key 'llama.attention.head_count_kv' is 0, expected 1 to"),
    ("attention.head_count_kv", U32, 3, "key 'llama.attention.head_count_kv' is 3, which does not divide the 4 heads"),
    ("attention.key_length", U32, 0, "key 'llama.attention.key_length' is 0, expected 1 to"),
    ("attention.key_length", U32, 128, "tensor 'blk.0.attn_q.weight' has shape {256, 256}, expected {256, 512}"),
    ("attention.key_length", U32, 63, "key 'llama.rope.dimension_count' is 63, expected an even number"),
    ("attention.value_length", U32, 32, "tensor 'blk.0.attn_v.weight' has shape {256, 128}, expected {256, 64}"),
    ("attention.layer_norm_rms_epsilon", F32, 0.0, "key 'llama.attention.layer_norm_rms_epsilon' is 0, expected a positive number"),
    ("attention.layer_norm_rms_epsilon", F32, float("nan"), "is nan, expected a positive number"),
    ("attention.layer_norm_rms_epsilon", U32, 1, "key 'llama.attention.layer_norm_rms_epsilon' is of type u32, expected f32 or f64"),
    ("rope.dimension_count", U32, 31, "key 'llama.rope.dimension_count' is 31, expected an even number"),
    ("rope.dimension_count", U32, 32, "key 'llama.rope.dimension_count' is 32, expected the head width 64"),
    ("rope.freq_base", F32, float("inf"), "key 'llama.rope.freq_base' is inf, expected a positive number"),
    ("rope.scaling.attn_factor", F32, -1.5, "key 'llama.rope.scaling.attn_factor' is -1.5, expected a positive number"),
    ("rope.scaling.original_context_length", U32, 0, "key 'llama.rope.scaling.original_context_length' is 0"),
    ("rope.scaling.factor", F32, -1.0, "is -1, expected a positive number, or 0 for none"),
])
def test_wrong_values(file, key, kind, value, sentence):
    expect(file, tiny_model().set(f"llama.{key}", kind, value), sentence)


@pytest.mark.parametrize("key, kind, value, sentence", [
    ("general.architecture", STRING, "qwen3", "architecture 'qwen3' is not supported, expected llama, bitnet, bitnet-25 or bitnet-b1.58"),
    ("llama.rope.scaling.type", STRING, "dynamic", "key 'llama.rope.scaling.type' is 'dynamic', expected none, linear, yarn or longrope"),
    ("llama.expert_count", U32, 8, "key 'llama.expert_count' is 8: mixture-of-experts models are not supported"),
    ("llama.feed_forward_length", ARRAY, (U32, [256, 512]), "key 'llama.feed_forward_length' is 256 for layer 0 and 512 for layer 1"),
])
def test_unsupported(file, key, kind, value, sentence):
    expect(file, tiny_model().set(key, kind, value), sentence, code=LOAD)


def test_architecture_name_too_long(file):
    expect(file, tiny_model().set("general.architecture", STRING, "x" * 64), "expected a name of at most 63 bytes", vocab_only=True)


def test_relabelled_3b_is_warned_of_and_obeyed(file):
    with warnings() as lines:
        described(file, tiny_model("bitnet-b1.58", n_embd=1536, n_head=16, n_head_kv=16, n_layer=1, weights="i2_s"))
    assert any("trained with SiLU" in line for line in lines)


def test_override_of_the_architecture_keeps_the_keys(file):
    tiny_model("bitnet-b1.58").write(file)
    with loaded(file, overrides={"general.architecture": (STR, b"bitnet")}) as m:
        assert lib.llama_model_n_layer(m) == 2


def test_overrides(file):
    g = tiny_model().drop("llama.rope.freq_base").write(file)
    with loaded(file, overrides={"llama.context_length": (INT, 77), "llama.rope.scaling.factor": (FLOAT, 8.0),
                                 "llama.rope.scaling.type": (STR, b"linear"), "llama.attention.causal": (O_BOOL, True)}) as m:
        assert lib.llama_model_n_ctx_train(m) == 77
        assert lib.llama_model_rope_freq_scale_train(m) == 0.125
        assert meta(m, "llama.context_length") == "512"
    assert "key 'llama.block_count' is -3, expected" in error_of(g, overrides={"llama.block_count": (INT, -3)})[1]


# ---- tensors ----

@pytest.mark.parametrize("arch, name, shape", [
    ("llama", "token_embd.weight", "{256, tokens}"), ("llama", "output_norm.weight", "{256}"),
    ("llama", "blk.1.ffn_down.weight", "{256, 256}"),
    ("bitnet", "blk.0.attn_sub_norm.weight", "{256}"), ("bitnet-b1.58", "blk.1.ffn_sub_norm.weight", "{256}"),
    ("bitnet-25", "blk.0.attn_k.weight", "{256, 128}"),
])
def test_missing_tensors(file, arch, name, shape):
    expect(file, tiny_model(arch).drop_tensor(name), f"tensor '{name}' of shape {shape} is missing")


def change(g: Gguf, name: str, data: bytes | None = None, **fields) -> Gguf:
    t = g.get_tensor(name)
    for field, value in fields.items():
        setattr(t, field, value)
    t.data = t.data if data is None else data
    return g


@pytest.mark.parametrize("name, fields, sentence", [
    ("blk.0.attn_norm.weight", dict(ne=(128,)), "tensor 'blk.0.attn_norm.weight' has shape {128}, expected {256}"),
    ("blk.0.attn_q.weight", dict(ne=(256, 128, 2)), "tensor 'blk.0.attn_q.weight' has shape {256, 128, 2}, expected {256, 256}"),
    ("blk.0.attn_q.weight", dict(ne=(256, 256, 1, 1)), None),
    ("output.weight", dict(ne=(256, 319)), "tensor 'output.weight' has shape {256, 319}, expected {256, 320}"),
    ("rope_freqs.weight", dict(ne=(16,)), "tensor 'rope_freqs.weight' has shape {16}, expected {32}"),
    ("rope_freqs.weight", dict(data=struct.pack("<32f", *[1.0] * 31, 0.0)),
     "tensor 'rope_freqs.weight': element 31 is 0, expected a positive number"),
    ("rope_freqs.weight", dict(data=struct.pack("<32f", *[float("nan")] * 32)), "tensor 'rope_freqs.weight': element 0 is nan"),
])
def test_wrong_tensors(file, name, fields, sentence):
    g = change(tiny_model(head="f32", rope_freqs=True), name, **fields)
    if sentence is None:
        described(file, g)
    else:
        expect(file, g, sentence)


def test_norm_of_a_block_type(file):
    g = change(tiny_model(), "output_norm.weight", data=bytes(8 * 34), type=8)
    expect(file, g, "tensor 'output_norm.weight' is of type q8_0 (8), expected f32, f16 or bf16", code=LOAD)


def test_tensor_that_nothing_uses_is_named(file):
    g = tiny_model().add("blk.0.attn_q_norm.weight", "f32", (64,), bytes(256))
    with warnings() as lines:
        described(file, g)
    assert any("1 of 21 tensors are not used by architecture llama; the first is 'blk.0.attn_q_norm.weight'" in line for line in lines)


@pytest.mark.parametrize("scale, sentence", [(float("nan"), "has the scale nan"), (float("inf"), "has the scale inf"), (-1.0, None),
                                             (0.0, None)])
def test_i2_s_scale(file, scale, sentence):
    g = tiny_model("bitnet-b1.58", weights="i2_s")
    data = g.get_tensor("blk.1.ffn_up.weight").data
    change(g, "blk.1.ffn_up.weight", data=data[:-32] + struct.pack("<f", scale) + bytes(28))
    if sentence:
        expect(file, g, "tensor 'blk.1.ffn_up.weight' of type i2_s " + sentence)
    else:
        with warnings() as lines:
            described(file, g)
        assert any("'blk.1.ffn_up.weight' of type i2_s has the scale" in line for line in lines)


def test_i2_s_rows_that_begin_inside_a_group(file):
    described(file, tiny_model("bitnet", weights={"ffn_down": "i2_s"}, n_ff=192, n_layer=1))


def test_post_scale_must_be_finite(file):
    g = change(tiny_model("bitnet", scales=True), "blk.1.attn_v.scale", data=struct.pack("<f", float("inf")))
    expect(file, g, "tensor 'blk.1.attn_v.scale' is inf, expected a finite number")


# ---- check_tensors ----

NAN16, NAN32 = b"\x00\x7e", struct.pack("<f", float("nan"))


@pytest.mark.parametrize("kind, at, bad, sentence", [
    ("f32", 4 * 77, NAN32, "type f32: element 77 is NaN or infinite"), ("f16", 2 * 77, b"\0\x7c", "type f16: element 77 is NaN or infinite"),
    ("bf16", 2 * 77, b"\x80\xff", "type bf16: element 77 is NaN or infinite"), ("i2_s", 40, b"\x0c", "type i2_s: code 3 at byte 40 to 47"),
    *((kind, 3 * size + half, NAN16, f"the {'scale' if i == 0 else 'minimum'} of block 3 is NaN or infinite")
      for kind, (_, _, size, halves) in TYPES.items() for i, half in enumerate(halves)),
])
def test_check_tensors_finds(file, kind, at, bad, sentence):
    g = tiny_model(weights={"attn_k": kind}, n_layer=1)
    data = g.get_tensor("blk.0.attn_k.weight").data
    change(g, "blk.0.attn_k.weight", data=data[:at] + bad + data[at + len(bad):])
    expect(file, g, sentence, check_tensors=True)
    assert "tensor 'blk.0.attn_k.weight' of type" in last_error()[1]
    described(file, g)


# ---- vocabulary ----

@pytest.mark.parametrize("n_tokens", [300, 340])
def test_tokens_and_rows_that_differ(file, n_tokens):
    g = tiny_model(vocab=spm_vocab(n_tokens), n_vocab=320)
    with warnings() as lines:
        described(file, g)
    assert any(f"the tokenizer has {n_tokens} tokens but the embedding 320 rows" in line for line in lines)


def test_vocab_only(file):
    g = Gguf(kv=[("general.architecture", STRING, "gpt2"), *bpe_vocab(300)])
    with loaded(g.write(file), vocab_only=True) as m:
        assert desc(m) == "gpt2 vocabulary only"
        assert lib.llama_model_n_embd(m) == 0
        assert lib.llama_model_rope_type(m) == -1
    g.set("general.architecture", STRING, "llama")
    with loaded(tiny_model().write(file), vocab_only=True) as m:
        assert lib.llama_model_n_params(m) == 0


def test_file_with_vocabulary_only(file):
    g = tiny_model()
    g.tensors = []
    expect(file, g, "the file has no tensors, only a vocabulary; load it with vocab_only")


def test_file_without_tokenizer(file):
    g = tiny_model(vocab=[])
    with loaded(g.write(file)) as m:
        assert lib.llama_model_n_embd(m) == 256


# ---- the calls ----

def test_no_kernel_table_no_model(file):
    tiny_model().write(file)
    code = f"import model_abi as m; print(m.error_of({str(file)!r})[1])"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
                          env={**os.environ, "BITNET_FFI_KERNELS": "abacus", "BITNET_FFI_LIBRARY": str(library_path())})
    assert "abacus" in done.stdout


def test_progress_rises_to_one(file):
    seen = []
    for check in (False, True):
        seen.clear()
        with loaded(tiny_model().write(file), check_tensors=check, progress=lambda x, _: seen.append(x) or True):
            assert seen == sorted(seen) and seen[0] > 0 and seen[-1] == 1.0


@pytest.mark.parametrize("after", [0, 1, 2])
def test_progress_cancels(file, after):
    seen = []

    def go_on(progress, _):
        seen.append(progress)
        return len(seen) <= after

    assert error_of(tiny_model().write(file), progress=go_on) == (LOAD, f"{file}: loading was cancelled by the progress callback")
    assert len(seen) == after + 1


@pytest.mark.parametrize("mode", [-1, 0, 1, 2, 3, 4])
def test_load_modes(file, mode):
    with loaded(tiny_model().write(file), load_mode=mode):
        pass


def test_old_names(file):
    model = lib.llama_load_model_from_file(str(tiny_model().write(file)).encode(), params())
    assert model
    lib.llama_free_model(model)


def test_default_params():
    p = params()
    assert (p.n_gpu_layers, p.split_mode, p.load_mode, p.lazy_mode, p.main_gpu) == (-1, 1, -1, 1, 0)
    assert p.use_extra_bufts and not (p.vocab_only or p.check_tensors or p.no_host or p.no_alloc or p.load_mtp)
    assert not p.devices and not p.kv_overrides and not p.progress_callback


def test_null_is_safe():
    assert load("") is None and last_error()[0] < 0
    assert lib.llama_model_load_from_file(None, params()) is None and "NULL" in last_error()[1]
    lib.llama_model_free(None)
    for name in SIZES:
        assert getattr(lib, name)(None) == 0 and last_error() == (ERROR, f"{name.replace('llama_n_', 'llama_model_n_')}: model is NULL")
    assert lib.llama_model_decoder_start_token(None) == -1 and lib.llama_model_rope_type(None) == -1
    assert not lib.llama_model_has_encoder(None) and not lib.llama_model_is_recurrent(None) and not lib.llama_model_is_hybrid(None)
    assert lib.llama_model_size(None) == lib.llama_model_n_params(None) == 0 == lib.llama_model_rope_freq_scale_train(None)
    assert lib.llama_model_get_vocab(None) is None and lib.llama_model_chat_template(None, None) is None
    assert lib.llama_model_desc(None, None, 0) == -1 == lib.llama_model_meta_val_str(None, b"k", None, 0)
    assert lib.llama_model_meta_key_by_index(None, 0, None, 0) == -1 == lib.llama_model_meta_val_str_by_index(None, 0, None, 0)


def test_metadata_calls(file):
    g = tiny_model()
    with loaded(g.write(file)) as m:
        scalars = [key for key, kind, _ in g.kv if kind != ARRAY]
        n = lib.llama_model_meta_count(m)
        assert [text_of(lib.llama_model_meta_key_by_index, m, i) for i in range(n)] == scalars
        assert [text_of(lib.llama_model_meta_val_str_by_index, m, i) for i in range(n)] == [meta(m, key) for key in scalars]
        for i in (-1, n, 2**31 - 1):
            assert lib.llama_model_meta_key_by_index(m, i, None, 0) == -1
            assert f"metadata index is {i}, expected 0 to {n - 1}" in last_error()[1]
            assert lib.llama_model_meta_val_str_by_index(m, i, None, 0) == -1
        assert meta(m, "none") is None and "no key 'none'" in last_error()[1]
        assert lib.llama_model_meta_val_str(m, None, None, 0) == -1 and "key is NULL" in last_error()[1]
        assert lib.llama_model_meta_val_str(m, b"general.name", None, 5) == -1 and "buf is NULL but buf_size is 5" in last_error()[1]
        buffer = ctypes.create_string_buffer(b"#" * 8, 8)
        assert lib.llama_model_meta_val_str(m, b"general.name", buffer, 5) == 10 and buffer.raw == b"tiny\0###"
        assert lib.llama_model_desc(m, buffer, 6) == len(desc(m)) and buffer.raw[:7] == b"llama\0#"


def test_chat_templates(file):
    g = tiny_model().set("tokenizer.chat_template", STRING, "{{ d\u00e9faut }}")
    g.set("tokenizer.chat_template.tool_use", STRING, "{{ tools }}")
    g.set("tokenizer.chat_templates", ARRAY, (STRING, ["tool_use"]))
    with loaded(g.write(file)) as m:
        assert lib.llama_model_chat_template(m, None).decode() == "{{ d\u00e9faut }}"
        assert lib.llama_model_chat_template(m, b"tool_use") == b"{{ tools }}"
        assert lib.llama_model_chat_template(m, b"none") is None
    with loaded(tiny_model().write(file)) as m:
        assert lib.llama_model_chat_template(m, None) is None


def test_no_alloc_makes_no_copies(file):
    """What a token reads says whether the head has a copy to choose a token by."""
    tiny_model(n_embd=64, n_head=2, n_head_kv=1).write(file)

    def reads(**fields):
        lines = []
        callback = Log(lambda level, text, _: lines.append(text.decode()))
        with log_kept():
            lib.llama_log_set(ctypes.cast(callback, ctypes.c_void_p), None)
            with loaded(file, **fields):
                pass
        return [line for line in lines if line.startswith("a token reads")]

    assert reads(no_alloc=True) == reads(load_mode=1) != reads()
