"""The graph of every architecture against float64 NumPy, with float weights, so that nothing but float rounding may differ.

Shapes are chosen to be unlike each other wherever code could confuse them: heads, kv heads, key width, value width, rotated width.
"""
import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from gguf_writer import F32, STRING, TYPES, tiny_model
from reference import read_gguf

TOKENS = [(11 * i * i + 5 * i + 7) % 320 for i in range(70)]      # into the second page of the cache


def tensor(tensors, data, name, default=None):
    """float64, rows first; quantized types through the library's own statement of their bits (tests_c check that against the formats)."""
    if name not in tensors:
        return default
    dims, kind, offset = tensors[name]
    k, m = dims[0], int(np.prod(dims[1:], dtype=np.int64))
    size = lib.bitnet_tensor_size(kind, k, m)
    out = np.empty((m, k), np.float32)
    assert lib.bitnet_dequantize(kind, ffi.from_buffer(data[offset:offset + size]), size, k, m, ffi.from_buffer("float[]", out)) == 0
    return out.astype(np.float64).reshape(dims[::-1])


def rotation(get, w):
    """Radians per position of each pair, and the length of what was one unit long (test_rope.py puts others in its place)."""
    n_rot = get("rope.dimension_count", get("attention.key_length", get("embedding_length") // get("attention.head_count")))
    frequency = get("rope.freq_base") ** (-2.0 * np.arange(n_rot // 2) / n_rot) / w("rope_freqs.weight", 1.0)
    return frequency / get("rope.scaling.factor") if get("rope.scaling.type") == "linear" else frequency, 1.0


def reference(path, tokens):
    """Causal logits float64[tokens, vocab] by the definition of the architecture."""
    kv, tensors, data = read_gguf(path)
    arch = kv["general.architecture"]
    get = lambda key, default=None: kv.get(f"{arch}.{key}", default)
    w = lambda name, default=None: tensor(tensors, data, name, default)
    n_head, n_head_kv, n_embd = get("attention.head_count"), get("attention.head_count_kv"), get("embedding_length")
    dk, dv = get("attention.key_length", n_embd // n_head), get("attention.value_length", n_embd // n_head)
    n_rot = get("rope.dimension_count", dk)
    eps, n = get("attention.layer_norm_rms_epsilon"), len(tokens)
    frequency, length = rotation(get, w)
    angle = np.arange(n)[:, None, None] * frequency
    cos, sin = length * np.cos(angle), length * np.sin(angle)

    def norm(x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight

    def linear(name, x):
        return x @ w(name + ".weight").T * w(name + ".scale", 1.0) + w(name + ".bias", 0.0)

    def rope(x):
        x = x.copy()
        a, b = (slice(0, n_rot, 2), slice(1, n_rot, 2)) if arch == "llama" else (slice(0, n_rot // 2), slice(n_rot // 2, n_rot))
        x[..., a], x[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., a] * sin + x[..., b] * cos
        return x

    x = w("token_embd.weight")[tokens]
    for i in range(get("block_count")):
        at = f"blk.{i}."
        h = norm(x, w(at + "attn_norm.weight"))
        q = rope(linear(at + "attn_q", h).reshape(n, n_head, dk))
        k = rope(linear(at + "attn_k", h).reshape(n, n_head_kv, dk)).repeat(n_head // n_head_kv, 1)
        v = linear(at + "attn_v", h).reshape(n, n_head_kv, dv).repeat(n_head // n_head_kv, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dk) + np.triu(np.full((n, n), -np.inf), 1)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        out = np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(n, -1)
        if arch != "llama":
            out = norm(out, w(at + "attn_sub_norm.weight"))
        x = x + linear(at + "attn_output", out)
        h = norm(x, w(at + "ffn_norm.weight"))
        gate = linear(at + "ffn_gate", h)
        gate = np.maximum(gate, 0) ** 2 if arch in ("bitnet-25", "bitnet-b1.58") else gate / (1 + np.exp(-gate))
        h = gate * linear(at + "ffn_up", h)
        if arch != "llama":
            h = norm(h, w(at + "ffn_sub_norm.weight"))
        x = x + linear(at + "ffn_down", h)
    return norm(x, w("output_norm.weight")) @ w("output.weight", w("token_embd.weight")).T


def ours(path, tokens=TOKENS):
    with Model(path) as model, model.context(n_ctx=128, kv_type="f32") as context:
        context.decode(tokens, logits="all")
        return context.all_logits().copy()


def relative(a, b):
    return (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()


ODD = dict(n_embd=120, n_ff=200, n_head=6, n_head_kv=3, dk=20, dv=20)
CASES = {
    "llama": (dict(arch="llama", **ODD), {}),
    "llama-untied-bias": (dict(arch="llama", head="f32", bias=True, **ODD), {}),
    "llama-wide-heads": (dict(arch="llama", n_embd=96, n_ff=160, n_head=4, n_head_kv=2, dk=48, dv=32), {}),
    "llama-3-scaling": (dict(arch="llama", rope_freqs=True, rope_base=500000.0, **ODD), {}),
    "llama-linear-scaling": (dict(arch="llama", **ODD),
                             {"llama.rope.scaling.type": (STRING, "linear"), "llama.rope.scaling.factor": (F32, 4.0)}),
    "llama-no-gqa": (dict(arch="llama", n_embd=64, n_ff=96, n_head=4, n_head_kv=4), {}),
    "llama-one-kv-head": (dict(arch="llama", n_embd=80, n_ff=96, n_head=5, n_head_kv=1), {}),
    "bitnet": (dict(arch="bitnet", **ODD), {}),
    "bitnet-scales": (dict(arch="bitnet", scales=True, **ODD), {}),
    "bitnet-25": (dict(arch="bitnet-25", **ODD), {}),
    "bitnet-b1.58": (dict(arch="bitnet-b1.58", rope_base=500000.0, norms="f16", **ODD), {}),
    "bitnet-b1.58-untied": (dict(arch="bitnet-b1.58", head="f32", **ODD), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_float64(tmp_path, name):
    shape, keys = CASES[name]
    g = tiny_model(**shape, n_layer=3, seed=len(name))
    for key, (kind, value) in keys.items():
        g.set(key, kind, value)
    path = g.write(tmp_path / "model.gguf")
    # Each of about 20 dependent operations of a layer adds at most K * 2^-24 of its result, K <= 200, random in sign:
    # sqrt(60 * 200) * 2^-24 = 7e-6.
    assert relative(ours(path), reference(path, TOKENS)) < 1e-5


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in ("f32",)])
def test_every_weight_type_is_near_its_dequantized_self(tmp_path, kind):
    shape = dict(arch="llama", weights=kind, embd=kind if kind != "i2_s" else "f32", n_embd=256, n_ff=512, n_head=4, n_head_kv=2, n_layer=2)
    path = tiny_model(**shape, seed=3).write(tmp_path / "model.gguf")
    # Float types differ by rounding alone. Others round activations to int8: a step of absmax / 127 is an error of
    # absmax / 127 / sqrt(12) per element, with absmax about 3.5 (token) or 2 to 2.5 (32 elements) standard deviations: 0.8 % or 0.5 %
    # per product. Nine products in a row, each adding to a residual stream that carries the others: below 3 %; twice that is the bound.
    bound = 1e-5 if kind in ("f16", "bf16") else 0.06
    assert relative(ours(path), reference(path, TOKENS)) < bound


def test_rope_parameters_of_a_context_stretch_positions(tmp_path):
    g = tiny_model(arch="llama", rope_freqs=True, **ODD)
    plain = g.write(tmp_path / "plain.gguf")
    g.set("llama.rope.scaling.type", STRING, "linear").set("llama.rope.scaling.factor", F32, 2.0).set("llama.rope.freq_base", F32, 70000.0)
    stretched = g.write(tmp_path / "stretched.gguf")
    with Model(plain) as model:
        params = lib.llama_context_default_params()
        params.rope_freq_base, params.rope_freq_scale, params.type_k, params.type_v = 70000.0, 0.5, 0, 0
        ctx = lib.llama_init_from_model(model._pointer, params)
        tokens = ffi.new("int32_t[]", TOKENS)
        assert lib.llama_decode(ctx, lib.llama_batch_get_one(tokens, len(TOKENS))) == 0
        last = np.frombuffer(ffi.buffer(lib.llama_get_logits_ith(ctx, -1), 320 * 4), np.float32).copy()
        lib.llama_free(ctx)
    # The frequencies are computed in another order, so the last bit of an angle may differ.
    assert np.abs(last - ours(stretched)[-1]).max() < 1e-4 * np.abs(last).max()
