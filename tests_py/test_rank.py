"""Pooling "rank": a classifier of every shape that files have, beside NumPy in float64; == among themselves; every way to go wrong.

Next: llama_reference.py, which computes; test_embeddings_peer.py has llama.cpp beside it.
"""
import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, decode, forget_error, init, last_error
from gguf_writer import ARRAY, I32, STRING, U32, tiny_model
from llama_reference import Llama
from model_abi import error_of

NULL = ffi.NULL
E, N_VOCAB, N_OUT = 64, 280, 3
SHAPE = dict(n_layer=2, n_embd=E, n_ff=96, n_head=4, n_head_kv=2, n_vocab=N_VOCAB, n_ctx=512, classifier="f32", n_cls_out=N_OUT)
TEXT = [(11 * i * i + 5 * i + 3) % N_VOCAB for i in range(150)]
CAUSAL, NOT_CAUSAL = 0, 1
RANK = 4
# As in test_embeddings.py, 1e-5 for a state's numbers; a row of 64 weights of 1/8 makes at most 8e-5 of them, tanh no more, the next
# row the same again: 64 * 1/8 * 8e-5 if all erred alike. Errors of random sign leave a tenth of that.
CLOSE = dict(rtol=0, atol=1e-4)
PARTS = {"both": [], "no biases": ["cls.bias", "cls.output.bias"], "one matrix": ["cls.weight", "cls.bias"],
         "one matrix, no bias": ["cls.weight", "cls.bias", "cls.output.bias"], "no label": []}


def ranking(name, **fields):
    g = tiny_model(**{**SHAPE, **({"n_cls_out": 1} if name == "no label" else {}), **fields}).set("llama.pooling_type", U32, RANK)
    for part in PARTS[name]:
        g.drop_tensor(part)
    return g.drop("llama.classifier.output_labels") if name == "no label" else g


def scores(ctx, seq=0) -> np.ndarray:
    pointer = lib.llama_get_embeddings_seq(ctx, seq)
    assert pointer, last_error()
    n = lib.llama_model_n_cls_out(lib.llama_get_model(ctx))
    return np.frombuffer(ffi.buffer(pointer, 4 * n), np.float32).copy()


def rank(model, tokens, **fields) -> np.ndarray:
    ctx = init(model, embeddings=True, **{"n_ctx": 256, "type_k": 0, "type_v": 0, **fields})
    assert lib.llama_pooling_type(ctx) == RANK and decode(ctx, tokens) == 0, last_error()
    return scores(ctx)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return ranking("both").write(tmp_path_factory.mktemp("rank") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(path):
    with Model(path) as owner:
        yield owner._pointer


# ---- what it computes ----

@pytest.mark.parametrize("attention", [CAUSAL, NOT_CAUSAL])
@pytest.mark.parametrize("name", PARTS)
def test_each_shape_of_classifier(tmp_path, name, attention):
    file = ranking(name).write(tmp_path / "rank.gguf")
    with Model(file) as owner:
        got = rank(owner._pointer, TEXT, attention_type=attention)
        assert got.shape == (1 if name == "no label" else N_OUT,)
        np.testing.assert_allclose(got, Llama(file).scores(TEXT, attention == CAUSAL), **CLOSE)


def test_a_layer_alone(tmp_path):
    """A classifier without cls.output: its tanh is the score."""
    g = ranking("both")
    rows, bias = g.get_tensor("cls.output.weight"), g.get_tensor("cls.output.bias")
    for part in ("cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"):
        g.drop_tensor(part)
    g.add("cls.weight", "f32", rows.ne, rows.data).add("cls.bias", "f32", bias.ne, bias.data)
    file = g.write(tmp_path / "alone.gguf")
    with Model(file) as owner:
        np.testing.assert_allclose(rank(owner._pointer, TEXT), Llama(file).scores(TEXT), **CLOSE)


@pytest.mark.parametrize("kind, close", [("f16", 2e-3), ("q8_0", 5e-2)])
def test_types_of_weights(tmp_path, path, kind, close):
    """f16 rounds weights by 2^-11 of them; q8_0 weights and operands by 1/254 of the largest of 32."""
    g = ranking("both")
    for name in ("cls.weight", "cls.output.weight"):
        t = g.get_tensor(name)
        w = np.frombuffer(t.data, "<f4").reshape(-1, 32)
        if kind == "f16":
            t.type, t.data = 1, w.astype("<f2").tobytes()
        else:
            d = (np.abs(w).max(1) / 127).astype("<f2")
            q = np.rint(w / d.astype("f4")[:, None]).clip(-127, 127).astype("i1")
            t.type, t.data = 8, b"".join(d[i].tobytes() + q[i].tobytes() for i in range(len(d)))
    with Model(g.write(tmp_path / "kind.gguf")) as owner:
        got = rank(owner._pointer, TEXT)
    np.testing.assert_allclose(got, Llama(path).scores(TEXT), rtol=0, atol=close)


@pytest.mark.parametrize("attention", [CAUSAL, NOT_CAUSAL])
def test_same_bits_for_every_cut_and_neighbour(model, attention):
    alone = rank(model, TEXT[:60], attention_type=attention)
    for n_ubatch in ((1, 7, 512) if attention == CAUSAL else (128, 512)):
        assert (rank(model, TEXT[:60], attention_type=attention, n_ubatch=n_ubatch, n_threads=2, n_threads_batch=3) == alone).all()
    ctx = init(model, embeddings=True, n_ctx=256, n_seq_max=3, type_k=0, type_v=0, attention_type=attention)
    tokens, seqs, pos = [], [], []
    for i in range(60):
        tokens += [TEXT[i], TEXT[100 - i]]
        seqs += [[2], [0]]
        pos += [i, i]
    assert decode(ctx, tokens, seq=seqs, pos=pos) == 0, last_error()
    assert (scores(ctx, 2) == alone).all() and (scores(ctx, 0) != alone).any() and (scores(ctx, 2) == alone).all()
    assert lib.llama_get_embeddings_seq(ctx, 1) == NULL and "no token of that sequence" in last_error()[1]


def test_encode_sees_the_whole_text(model, path):
    ctx = init(model, embeddings=True, n_ctx=256, type_k=0, type_v=0)
    tokens = ffi.new("llama_token[]", TEXT[:50])
    assert lib.llama_encode(ctx, lib.llama_batch_get_one(tokens, 50)) == 0
    np.testing.assert_allclose(scores(ctx), Llama(path).scores(TEXT[:50], causal=False), **CLOSE)


def test_logits_and_scores_of_the_same_states(model):
    ctx = init(model, embeddings=True, n_ctx=256, type_k=0, type_v=0)
    assert decode(ctx, TEXT) == 0
    before = scores(ctx)
    greedy = lib.llama_sampler_init_greedy()
    token = lib.llama_sampler_sample(greedy, ctx, -1)
    assert (scores(ctx) == before).all() and lib.llama_sampler_sample(greedy, ctx, -1) == token
    lib.llama_sampler_free(greedy)


# ---- labels ----

def test_labels(model, path):
    assert lib.llama_model_n_cls_out(model) == N_OUT
    assert [ffi.string(lib.llama_model_cls_label(model, i)) for i in range(N_OUT)] == [b"label 0", b"label 1", b"label 2"]
    assert lib.llama_model_cls_label(model, N_OUT) == lib.llama_model_cls_label(model, 2**32 - 1) == NULL
    with Model(path, vocab_only=True) as bare:
        assert lib.llama_model_n_cls_out(bare._pointer) == 1 and lib.llama_model_cls_label(bare._pointer, 0) == NULL
    assert lib.llama_model_n_cls_out(NULL) == 0 and lib.llama_model_cls_label(NULL, 0) == NULL


def test_a_label_may_be_empty_or_long(tmp_path):
    labels = ["", "x" * 5000, "\u00e4"]
    g = ranking("both").set("llama.classifier.output_labels", ARRAY, (STRING, labels))
    with Model(g.write(tmp_path / "labels.gguf")) as owner:
        assert [ffi.string(lib.llama_model_cls_label(owner._pointer, i)).decode() for i in range(3)] == labels


# ---- misuse ----

def test_no_labels_in_an_array(tmp_path):
    """llama.cpp saves every model with such an array."""
    g = tiny_model(**{**SHAPE, "classifier": None}).set("llama.classifier.output_labels", ARRAY, (STRING, []))
    with Model(g.write(tmp_path / "none.gguf")) as owner:
        assert lib.llama_model_n_cls_out(owner._pointer) == 1 and lib.llama_model_cls_label(owner._pointer, 0) == NULL


def test_a_model_without_a_classifier(tmp_path):
    with Model(tiny_model(**{**SHAPE, "classifier": None}).set("llama.pooling_type", U32, RANK).write(tmp_path / "none.gguf")) as owner:
        forget_error()
        assert init(owner._pointer) == NULL
        assert last_error() == (ERROR, "pooling_type is 4 (rank), and the model has no classifier (cls.weight, cls.output.weight) to rank with")
        assert lib.llama_model_n_cls_out(owner._pointer) == 1


WRONG = {
    "labels": (lambda g: g.set("llama.classifier.output_labels", U32, 3), "key 'llama.classifier.output_labels' is no array of at most"),
    "numbers for labels": (lambda g: g.set("llama.classifier.output_labels", ARRAY, (I32, [1, 2, 3])), "is no array of at most"),
    "fewer labels": (lambda g: g.set("llama.classifier.output_labels", ARRAY, (STRING, ["a", "b"])),
                     "tensor 'cls.output.weight' has shape {64, 3}, expected {64, 2}"),
    "layer": (lambda g: setattr(g.get_tensor("cls.weight"), "ne", (E // 2, 2 * E)) or g, "tensor 'cls.weight' has shape {32, 128}, expected {64, 64}"),
    "bias": (lambda g: setattr(g.get_tensor("cls.bias"), "ne", (E // 2, 2)) or g, "tensor 'cls.bias' has shape {32, 2}, expected {64}"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_classifier_is_refused(tmp_path, name):
    change, sentence = WRONG[name]
    code, text = error_of(change(ranking("both")).write(tmp_path / "wrong.gguf"))
    assert code < 0 and sentence in text


def test_no_scores_before_a_decode_or_of_a_token(model):
    ctx = init(model, n_ctx=64)
    assert decode(ctx, TEXT[:5]) == 0 and lib.llama_get_embeddings_seq(ctx, 0) == NULL and "no embeddings" in last_error()[1]
    lib.llama_set_embeddings(ctx, True)
    assert decode(ctx, TEXT[5:9]) == 0 and scores(ctx).shape == (N_OUT,)
    assert lib.llama_get_embeddings_ith(ctx, 0) == NULL and "the context pools" in last_error()[1]
    assert lib.llama_get_embeddings_seq(ctx, 1) == NULL and "sequence 1, expected 0 to 0" in last_error()[1]
