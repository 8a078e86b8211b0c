"""Embeddings and adapters beside llama.cpp itself, where llama-cpp-python is: the same random model, F32 throughout, pooled and not,
causal or not, with LoRA and a control vector.

Next: test_embeddings.py and test_adapter.py, which need no peer.
"""
import ctypes as C

import numpy as np
import pytest

from adapter_tools import adapter, all_weights, random_pairs
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init
from gguf_writer import BOOL, STRING, U32, Gguf, tiny_model
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
E = 64
TEXT = [(11 * i * i + 5 * i + 3) % 280 for i in range(80)]
FIELDS = dict(n_ctx=256, embeddings=True, type_k=0, type_v=0)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tiny_model(n_layer=2, n_embd=E, n_ff=96, n_head=4, n_head_kv=2, n_vocab=280, n_ctx=512, head="f32").write(
        tmp_path_factory.mktemp("peer") / "tiny.gguf")
    theirs = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    with Model(path) as ours:
        yield ours._pointer, theirs
    llama_cpp.llama_model_free(theirs)


def their_context(model, **fields):
    params = llama_cpp.llama_context_default_params()
    for name, value in {**FIELDS, "n_threads": 1, "flash_attn_type": 0, **fields}.items():
        setattr(params, name, value)
    return llama_cpp.llama_init_from_model(model, params)


def their_decode(ctx, tokens=None, embd=None):
    n = len(tokens if embd is None else embd)
    batch = llama_cpp.llama_batch_init(n, 0 if embd is None else E, 1)
    for i in range(n):
        if embd is None:
            batch.token[i] = tokens[i]
        batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = i, 1, 0, 1
    if embd is not None:
        C.memmove(batch.embd, embd.tobytes(), embd.nbytes)
    batch.n_tokens = n
    assert llama_cpp.llama_decode(ctx, batch) == 0
    llama_cpp.llama_batch_free(batch)


def close(ours, theirs, n=E, atol=1e-3):
    ours = np.frombuffer(ffi.buffer(ours, 4 * n), np.float32)
    theirs = np.ctypeslib.as_array(C.cast(theirs, C.POINTER(C.c_float)), (n,))
    cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
    assert cosine > 0.99999 and np.allclose(ours, theirs, rtol=0, atol=atol)     # theirs rounds differently, layer after layer


@pytest.mark.parametrize("causal", [True, False])
def test_embeddings_of_tokens(both, causal):
    ours, theirs = init(both[0], **FIELDS), their_context(both[1])
    lib.llama_set_causal_attn(ours, causal)
    llama_cpp.llama_set_causal_attn(theirs, causal)
    assert decode(ours, TEXT) == 0
    their_decode(theirs, TEXT)
    for i in range(len(TEXT)):
        close(lib.llama_get_embeddings_ith(ours, i), llama_cpp.llama_get_embeddings_ith(theirs, i))
    close(lib.llama_get_logits(ours), llama_cpp.llama_get_logits(theirs), 280 * len(TEXT))
    llama_cpp.llama_free(theirs)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_pooled(both, kind):
    ours, theirs = (make(model, **FIELDS, pooling_type=kind) for make, model in zip((init, their_context), both))
    assert decode(ours, TEXT) == 0 and lib.llama_pooling_type(ours) == llama_cpp.llama_pooling_type(theirs) == kind
    their_decode(theirs, TEXT)
    close(lib.llama_get_embeddings_seq(ours, 0), llama_cpp.llama_get_embeddings_seq(theirs, 0))
    llama_cpp.llama_free(theirs)


def test_embeddings_in(both):
    rows = np.random.default_rng(1).normal(0, 1, (20, E)).astype(np.float32)
    ours, theirs = init(both[0], **FIELDS), their_context(both[1])
    batch = ffi.new("struct llama_batch *", {"n_tokens": 20, "embd": ffi.cast("float *", ffi.from_buffer(rows))})
    assert lib.llama_decode(ours, batch[0]) == 0
    their_decode(theirs, embd=rows)
    close(lib.llama_get_embeddings(ours), llama_cpp.llama_get_embeddings(theirs), 20 * E)
    llama_cpp.llama_free(theirs)


def test_adapters(both, tmp_path):
    files = [str(adapter(random_pairs(all_weights(), rank, rank), alpha).write(tmp_path / f"{rank}.gguf")).encode()
             for rank, alpha in ((3, 6.0), (8, None))]
    ours, theirs = init(both[0], **FIELDS), their_context(both[1])
    assert lib.llama_set_adapters_lora(ours, [lib.llama_adapter_lora_init(both[0], f) for f in files], 2, [0.5, -0.25]) == 0
    handles = (llama_cpp.llama_adapter_lora_p_ctypes * 2)(*[llama_cpp.llama_adapter_lora_init(both[1], f) for f in files])
    assert llama_cpp.llama_set_adapters_lora(theirs, handles, 2, (C.c_float * 2)(0.5, -0.25)) == 0
    vector = np.random.default_rng(3).normal(0, 0.2, E).astype(np.float32)
    assert lib.llama_set_adapter_cvec(ours, ffi.cast("float *", ffi.from_buffer(vector)), E, E, 1, 1) == 0
    assert llama_cpp.llama_set_adapter_cvec(theirs, vector.ctypes.data_as(C.POINTER(C.c_float)), E, E, 1, 1) == 0
    assert decode(ours, TEXT) == 0
    their_decode(theirs, TEXT)
    close(lib.llama_get_embeddings(ours), llama_cpp.llama_get_embeddings(theirs), E * len(TEXT))
    close(lib.llama_get_logits(ours), llama_cpp.llama_get_logits(theirs), 280 * len(TEXT))
    llama_cpp.llama_free(theirs)


def as_neo_bert(llama: Gguf) -> Gguf:
    """The same weights for llama.cpp, whose Llamas have no classifier: NeoBERT is the same graph, not causal, with joined matrices."""
    g, tensors = Gguf(kv=[]), {t.name: t for t in llama.tensors}
    for key, kind, value in llama.kv:
        g.set(key.replace("llama.", "neo-bert.", 1) if key.startswith("llama.") else key, kind, value)
    g.set("general.architecture", STRING, "neo-bert").set("neo-bert.attention.causal", BOOL, False)
    for name, t in tensors.items():
        layer, _, part = name.rpartition(".attn_q.") if ".attn_q." in name else name.rpartition(".ffn_gate.")
        if name == "output_norm.weight":
            g.add("enc.output_norm.weight", "f32", t.ne, t.data)
        elif ".attn_q." in name:
            k, v = tensors[f"{layer}.attn_k.{part}"], tensors[f"{layer}.attn_v.{part}"]
            g.add(f"{layer}.attn_qkv.{part}", "f32", (t.ne[0], t.ne[1] + k.ne[1] + v.ne[1]), t.data + k.data + v.data)
        elif ".ffn_gate." in name:
            g.add(f"{layer}.ffn_up.{part}", "f32", (t.ne[0], 2 * t.ne[1]), t.data + tensors[f"{layer}.ffn_up.{part}"].data)
        elif ".attn_k." not in name and ".attn_v." not in name and ".ffn_up." not in name:
            g.add(name, "f32", t.ne, t.data)
    return g


@pytest.mark.parametrize("dropped", [(), ("cls.bias", "cls.output.bias"), ("cls.weight", "cls.bias")])
def test_rank(tmp_path, dropped):
    g = tiny_model(n_layer=2, n_embd=E, n_ff=96, n_head=4, n_head_kv=4, n_vocab=280, n_ctx=512, classifier="f32", n_cls_out=3).set(
        "llama.pooling_type", U32, 4)
    for name in dropped:
        g.drop_tensor(name)
    neo = str(as_neo_bert(g).write(tmp_path / "neo.gguf")).encode()
    model = llama_cpp.llama_model_load_from_file(neo, llama_cpp.llama_model_default_params())
    assert model
    with Model(g.write(tmp_path / "llama.gguf")) as owner:
        ours, theirs = init(owner._pointer, **FIELDS, attention_type=1), their_context(model)
        assert decode(ours, TEXT) == 0 and lib.llama_pooling_type(ours) == llama_cpp.llama_pooling_type(theirs) == 4
        their_decode(theirs, TEXT)
        assert lib.llama_model_n_cls_out(owner._pointer) == llama_cpp.llama_model_n_cls_out(model) == 3
        labels = [ffi.string(lib.llama_model_cls_label(owner._pointer, i)) for i in range(3)]
        assert labels == [llama_cpp.llama_model_cls_label(model, i) for i in range(3)]
        # test_rank.py derives 1e-4 for ours; theirs rounds as often.
        close(lib.llama_get_embeddings_seq(ours, 0), llama_cpp.llama_get_embeddings_seq(theirs, 0), 3, 2e-4)
    llama_cpp.llama_free(theirs)
    llama_cpp.llama_model_free(model)
