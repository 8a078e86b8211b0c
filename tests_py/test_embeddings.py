"""Embeddings in and out through the C API, causal attention or not, llama_encode: beside NumPy in float64, and == among themselves.

Next: llama_reference.py, the NumPy; test_same_bits.py for logits.
"""

import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ABORTED, ERROR, FULL, NO_ROOM, Batch, decode, forget_error, init, last_error, row, span
from gguf_writer import BOOL, U32, tiny_model
from kernel_tables import TABLES, run_under
from llama_reference import Llama

NULL = ffi.NULL
E, N_VOCAB = 64, 280
SHAPE = dict(n_layer=2, n_embd=E, n_ff=96, n_head=4, n_head_kv=2, n_vocab=N_VOCAB, n_ctx=512, head="f32")
TEXT = [(11 * i * i + 5 * i + 3) % N_VOCAB for i in range(150)]      # more than two pages of the cache
NONE, MEAN, CLS, LAST, RANK = range(5)
# Sums of at most 96 products of float32, a few in a row: 1e-5 of the largest number is some hundred roundings.
CLOSE = dict(rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model(**SHAPE).write(tmp_path_factory.mktemp("embeddings") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(owner):
    return owner._pointer


@pytest.fixture(scope="module")
def reference(path):
    return Llama(path)


def vector(pointer, n=E) -> np.ndarray:
    assert pointer, last_error()
    return np.frombuffer(ffi.buffer(pointer, 4 * n), np.float32).copy()


def matrix(pointer, n) -> np.ndarray:
    return vector(pointer, n * E).reshape(n, E)


def states(model, tokens=TEXT, causal=True, **fields) -> np.ndarray:
    """Embeddings of all tokens from one decode."""
    c = init(model, embeddings=True, **{"n_ctx": len(tokens), "type_k": 0, "type_v": 0, **fields})
    lib.llama_set_causal_attn(c, causal)
    assert decode(c, tokens) == 0, last_error()
    return matrix(lib.llama_get_embeddings(c), len(tokens))


def run(function, ctx, batch: Batch) -> int:
    """The batch's arrays live as long as the call."""
    return function(ctx, batch.pointer[0])


# ---- embeddings of tokens ----

def test_embeddings_are_the_normed_states(model, reference):
    np.testing.assert_allclose(states(model), reference.states(TEXT), **CLOSE)


def test_all_tokens_leave_embeddings_and_logits(model, reference):
    c = init(model, embeddings=True, type_k=0, type_v=0)
    assert decode(c, TEXT[:9], logits=[0] * 9) == 0
    rows = matrix(lib.llama_get_embeddings(c), 9)
    logits = reference.logits(TEXT[:9])
    for i in range(9):
        assert (vector(lib.llama_get_embeddings_ith(c, i)) == rows[i]).all() and (vector(lib.llama_get_embeddings_ith(c, i - 9)) == rows[i]).all()
        np.testing.assert_allclose(np.frombuffer(row(c, i), np.float32), logits[i], **CLOSE)
    for i in (9, -10, 2**31 - 1, -2**31):
        assert lib.llama_get_embeddings_ith(c, i) == NULL and f"llama_get_embeddings_ith({i})" in last_error()[1]


def test_set_embeddings_from_the_next_decode_on(model):
    c = init(model, n_ctx=64)
    assert decode(c, TEXT[:5]) == 0
    lib.llama_set_embeddings(c, True)
    assert lib.llama_get_embeddings(c) == NULL and "no embeddings" in last_error()[1]
    assert decode(c, TEXT[5:8]) == 0 and (matrix(lib.llama_get_embeddings(c), 3) == states(model, TEXT[:8], type_k=1, type_v=1)[5:]).all()
    lib.llama_set_embeddings(c, False)
    assert lib.llama_get_embeddings(c) != NULL                        # those of the last decode
    assert decode(c, TEXT[8:10]) == 0 and lib.llama_get_embeddings_ith(c, -1) == NULL and row(c)
    assert row(c, 0) == b""                                           # back to the last token only


@pytest.mark.parametrize("pooling", [0, 1])
def test_a_refused_batch_leaves_the_embeddings_of_the_one_before(model, pooling):
    c = init(model, embeddings=True, n_ctx=8, pooling_type=pooling)

    def left():
        pointer = lib.llama_get_embeddings_seq(c, 0) if pooling else lib.llama_get_embeddings_ith(c, 2)
        return matrix(pointer, 1).tolist()

    assert decode(c, TEXT[:4]) == 0
    before = left()
    assert decode(c, [1, N_VOCAB]) == ERROR and left() == before
    assert decode(c, TEXT[4:9]) == NO_ROOM and left() == before
    assert decode(c, TEXT[4:7]) == 0 and left() != before


def test_embeddings_misuse(model):
    c = init(model)
    forget_error()
    assert lib.llama_get_embeddings(c) == NULL and last_error()[0] == ERROR
    for call in (lambda: lib.llama_get_embeddings(NULL), lambda: lib.llama_get_embeddings_ith(NULL, 0), lambda: lib.llama_get_embeddings_seq(NULL, 0),
                 lambda: lib.llama_set_embeddings(NULL, True), lambda: lib.llama_set_causal_attn(NULL, True),
                 lambda: lib.llama_get_causal_attn(NULL), lambda: lib.llama_pooling_type(NULL)):
        forget_error()
        assert not call() and last_error()[1].endswith("ctx is NULL")


# ---- pooling ----

def pooled(model, kind, tokens, seqs, **fields):
    c = init(model, embeddings=True, pooling_type=kind, **{"n_ctx": 512, "n_seq_max": 4, **fields})
    assert lib.llama_pooling_type(c) == kind
    assert decode(c, tokens, seq=[list(s) if isinstance(s, tuple) else [s] for s in seqs]) == 0, last_error()
    return c


def test_pooling_of_mixed_sequences(model):
    tokens, seqs = TEXT[:30], [i % 3 if i < 20 else 1 for i in range(30)]
    own = {s: states(model, [t for t, q in zip(tokens, seqs) if q == s], type_k=1, type_v=1) for s in range(3)}
    for s, rows in own.items():
        mean = (np.add.accumulate(rows.astype(np.float64))[-1] / len(rows)).astype(np.float32)
        for kind, wanted in ((MEAN, mean), (CLS, rows[0]), (LAST, rows[-1])):
            c = pooled(model, kind, tokens, seqs)
            assert (vector(lib.llama_get_embeddings_seq(c, s)) == wanted).all()
    assert lib.llama_get_embeddings_seq(c, 3) == NULL and "no token of that sequence" in last_error()[1]
    for s in (-1, 4, 2**31 - 1):
        assert lib.llama_get_embeddings_seq(c, s) == NULL and "expected 0 to 3" in last_error()[1]
    assert lib.llama_get_embeddings(c) == NULL and "the context pools" in last_error()[1]
    assert lib.llama_get_embeddings_ith(c, 0) == NULL and len(row(c, 4)) == 4 * N_VOCAB


def test_a_token_of_two_sequences_counts_in_both(model):
    c = pooled(model, MEAN, TEXT[:10], [(0, 2)] * 10)
    assert (vector(lib.llama_get_embeddings_seq(c, 0)) == vector(lib.llama_get_embeddings_seq(c, 2))).all()


def test_a_context_that_does_not_pool_says_so(model):
    c = init(model, embeddings=True)
    assert lib.llama_pooling_type(c) == NONE and decode(c, TEXT[:3]) == 0
    assert lib.llama_get_embeddings_seq(c, 0) == NULL and "does not pool" in last_error()[1]


def test_rank_is_refused(model):
    assert init(model, pooling_type=RANK) == NULL and last_error() == (ERROR, "pooling_type is 4 (rank), and the model has no classifier (cls.weight, cls.output.weight) to rank with")


def test_the_file_says_how_to_pool_and_attend(path, tmp_path):
    gguf = tiny_model(**SHAPE).set("llama.pooling_type", U32, LAST).set("llama.attention.causal", BOOL, False)
    with Model(gguf.write(tmp_path / "embed.gguf")) as embed:
        c = init(embed._pointer)
        assert lib.llama_pooling_type(c) == LAST and not lib.llama_get_causal_attn(c)
        c = init(embed._pointer, pooling_type=NONE, attention_type=0)
        assert lib.llama_pooling_type(c) == NONE and lib.llama_get_causal_attn(c)
    with Model(gguf.set("llama.pooling_type", U32, 2**32 - 1).write(tmp_path / "none.gguf")) as silent:      # as llama.cpp saves models
        assert lib.llama_pooling_type(init(silent._pointer)) == NONE
    with Model(gguf.set("llama.pooling_type", U32, RANK).write(tmp_path / "rank.gguf")) as rank:
        assert init(rank._pointer) == NULL and "no classifier" in last_error()[1]
        assert init(rank._pointer, pooling_type=MEAN) != NULL
    from model_abi import error_of
    assert "key 'llama.pooling_type' is 5, expected 0 to 4" in error_of(gguf.set("llama.pooling_type", U32, 5).write(tmp_path / "wrong.gguf"))[1]


# ---- the same bits ----

@pytest.mark.parametrize("causal", [True, False])
def test_same_bits_for_every_ubatch_and_thread(model, causal):
    wanted = states(model, causal=causal, n_ubatch=512)
    for n_ubatch, n_threads in ((512, 2), (150, 3), *(((1, 1), (7, 2), (64, 3)) if causal else ())):
        got = states(model, causal=causal, n_ubatch=n_ubatch, n_threads=n_threads, n_threads_batch=n_threads)
        assert (got == wanted).all(), (n_ubatch, n_threads)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", [MEAN, CLS, LAST])
def test_same_bits_beside_neighbours(model, kind, causal):
    def embedding(tokens, seqs, s, **fields):
        return vector(lib.llama_get_embeddings_seq(pooled(model, kind, tokens, seqs, attention_type=not causal, **fields), s))
    alone = embedding(TEXT[:70], [0] * 70, 0)
    rng = np.random.default_rng(kind)
    order = rng.permutation([1] * 70 + [0] * 41 + [3] * 30)
    tokens = [TEXT[int((order[:i] == s).sum()) + (0 if s == 1 else 7)] for i, s in enumerate(order)]
    for n_threads, n_ubatch in ((1, 512), (2, 150), *(((2, 7),) if causal else ())):
        got = embedding(tokens, order.tolist(), 1, n_ubatch=n_ubatch, n_threads=n_threads, n_threads_batch=n_threads)
        assert (got == alone).all()


PROBE = """
import hashlib, json, sys
import test_embeddings as t
with t.Model(sys.argv[1]) as owner:
    rows = [t.states(owner._pointer, causal=causal, n_ubatch=150, type_k=kv, type_v=kv) for causal in (True, False) for kv in (0, 1)]
    means = [t.vector(t.lib.llama_get_embeddings_seq(t.pooled(owner._pointer, t.MEAN, t.TEXT, [0] * 150, attention_type=a), 0)) for a in (0, 1)]
print(json.dumps(hashlib.sha256(b"".join(x.tobytes() for x in rows + means)).hexdigest()))
"""


@pytest.mark.parametrize("table", TABLES)
def test_every_table_gives_the_embeddings_of_scalar(table, path):
    assert run_under(table, PROBE, path) == run_under("scalar", PROBE, path)


# ---- embeddings in ----

@pytest.fixture(scope="module")
def table(reference):
    return reference.weights["token_embd.weight"].astype(np.float32)


def embd_batch(rows, **fields) -> Batch:
    rows = np.ascontiguousarray(rows, np.float32)
    batch = Batch(n_tokens=len(rows), embd=ffi.cast("float *", ffi.from_buffer(rows)), **fields)
    batch.keep.append(rows)
    return batch


@pytest.mark.parametrize("n_ubatch", [1, 7, 512])
def test_embeddings_of_tokens_stand_for_the_tokens(model, table, n_ubatch):
    a, b = (init(model, n_ctx=256, n_ubatch=n_ubatch, n_threads=2, n_threads_batch=2) for _ in range(2))
    for begin, end in ((0, 100), (100, 101), (101, 150)):
        assert decode(a, TEXT[begin:end], logits=[1] * (end - begin)) == 0
        assert run(lib.llama_decode, b, embd_batch(table[TEXT[begin:end]], logits=[1] * (end - begin))) == 0, last_error()
        assert [row(a, i) for i in range(end - begin)] == [row(b, i) for i in range(end - begin)]


def test_llama_batch_init_makes_room_for_embeddings(model, table):
    batch = lib.llama_batch_init(3, E, 1)
    assert batch.token == NULL and batch.embd != NULL
    ffi.memmove(batch.embd, table[TEXT[:3]].tobytes(), 12 * E)
    for i in range(3):
        batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = i, 1, 0, i == 2
    batch.n_tokens = 3
    a, b = init(model), init(model)
    assert lib.llama_decode(a, batch) == 0 and decode(b, TEXT[:3]) == 0 and row(a) == row(b)
    lib.llama_batch_free(batch)


def test_embeddings_that_are_not_finite_are_refused(model, table):
    for value, text in ((np.nan, "nan"), (-np.inf, "-inf")):
        rows = table[TEXT[:4]].copy()
        rows[2, 5] = value
        c = init(model)
        assert run(lib.llama_decode, c, embd_batch(rows)) == ERROR
        assert last_error()[1] == f"batch.embd: number 5 of token 2 is {text}, expected a finite one" and span(c) == (-1, -1)


def test_eval_embd(model, table):
    a, b = init(model), init(model)
    rows = np.ascontiguousarray(table[TEXT[:20]])
    data = ffi.cast("float *", ffi.from_buffer(rows))
    assert lib.llama_eval_embd(a, data, 20, 0) == 0 and lib.llama_eval(b, TEXT[:20], 20, 0) == 0 and row(a) == row(b)
    assert lib.llama_eval_embd(a, data + 7 * E, 5, 7) == 0 and span(a) == (0, 11)
    assert lib.llama_eval(b, TEXT[7:12], 5, 7) == 0 and row(a) == row(b)
    for arguments, sentence in (((NULL, 3, 0), "batch.token is NULL, and batch.embd too"), ((data, 0, 0), "n_tokens is 0"), ((data, 1, 99), "n_past is 99")):
        forget_error()
        assert lib.llama_eval_embd(a, *arguments) == 1 and sentence in last_error()[1] and span(a) == (0, 11)
    assert lib.llama_eval_embd(NULL, data, 1, 0) == 1


# ---- llama_batch_ext ----

@pytest.fixture
def ctx(model):
    return init(model, n_ctx=256, n_seq_max=3)


@pytest.fixture
def ext(ctx):
    batch = lib.llama_batch_ext_init(ctx)
    yield batch
    lib.llama_batch_ext_free(batch)


def embd(values, n_rows=1, n_embd=E):
    embd.keep = np.ascontiguousarray(values, np.float32)
    return ffi.new("struct llama_embd *", (ffi.cast("float *", ffi.from_buffer(embd.keep)), n_rows, n_embd))[0]


def test_ids_and_embeddings_mixed(model, ctx, ext, table):
    for i, t in enumerate(TEXT[:40]):                                 # past the first 16, so that the arrays move
        if i % 3 == 0:
            assert lib.llama_batch_ext_add_embd(ext, 0, embd(table[t])) == i
        elif i % 3 == 1:
            assert lib.llama_batch_ext_add_token(ext, 0, t) == i
        else:
            assert lib.llama_batch_ext_add(ext, 0) == i if i % 2 else lib.llama_batch_ext_add_token(ext, 0, 5) == i
            assert lib.llama_batch_ext_set_embd_token(ext, i, embd(table[t]))
        assert lib.llama_batch_ext_set_output_embd(ext, i, i in (3, 39))
    assert lib.llama_process(ctx, 1, ext) == 0, last_error()
    b = init(model)
    assert decode(b, TEXT[:40], logits=[1] * 40) == 0
    assert row(ctx, 3) == row(b, 3) and row(ctx, 39) == row(b, 39) and row(ctx, 4) == b""
    lib.llama_batch_ext_clear(ext)
    assert lib.llama_batch_ext_add_token(ext, 0, TEXT[40]) == 0       # what lies in embd from before is not read
    lib.llama_batch_ext_set_output_logits(ext, 0, True)
    assert lib.llama_process(ctx, 1, ext) == 0 and decode(b, TEXT[40:41]) == 0 and row(ctx) == row(b)


def test_tokens_of_several_sequences(model, ctx, ext):
    for i, t in enumerate(TEXT[:20]):
        assert lib.llama_batch_ext_add_token(ext, 2, t) == i
        for seq in ((1, 0) if i < 10 else (1,)):
            assert lib.llama_batch_ext_add_seq(ext, i, seq)
        lib.llama_batch_ext_set_output_logits(ext, i, True)
    assert lib.llama_process(ctx, 1, ext) == 0, last_error()
    assert (span(ctx, 0), span(ctx, 1), span(ctx, 2)) == ((0, 9), (0, 19), (0, 19))
    b = init(model)
    assert decode(b, TEXT[:20], logits=[1] * 20) == 0 and [row(b, i) for i in range(20)] == [row(ctx, i) for i in range(20)]


def test_ext_misuse(ctx, ext, table):
    good = embd(table[0])
    wrong = [embd(table[0], 0), embd(table[0], 2), embd(table[0], 1, E - 1), ffi.new("struct llama_embd *", (NULL, 1, E))[0]]
    for value in wrong:
        assert lib.llama_batch_ext_add_embd(ext, 0, value) == -2
    assert last_error()[1] == "embd.data is NULL"
    assert lib.llama_batch_ext_add(ext, 3) == lib.llama_batch_ext_add(ext, -1) == lib.llama_batch_ext_add_embd(ext, 3, good) == -3
    assert lib.llama_batch_ext_add(ext, 0) == 0
    assert not any(lib.llama_batch_ext_set_embd_token(ext, 0, value) for value in wrong)
    assert not lib.llama_batch_ext_set_embd_state(ext, 0, good) and "no states" in last_error()[1]
    assert lib.llama_batch_ext_add_seq(ext, 0, 0)                                            # it is in that sequence already
    assert not lib.llama_batch_ext_add_seq(ext, 0, 3) and not lib.llama_batch_ext_add_seq(ext, 0, -1)
    for idx in (-1, 1):
        assert not lib.llama_batch_ext_add_seq(ext, idx, 1) and not lib.llama_batch_ext_set_embd_token(ext, idx, good)
        assert not lib.llama_batch_ext_set_output_embd(ext, idx, True)
    assert lib.llama_batch_ext_set_embd_token(ext, 0, embd(np.full(E, np.nan)))
    assert lib.llama_process(ctx, 1, ext) == ERROR and "number 0 of token 0 is" in last_error()[1]
    assert lib.llama_batch_ext_add(NULL, 0) == lib.llama_batch_ext_add_embd(NULL, 0, good) == -2
    assert not lib.llama_batch_ext_add_seq(NULL, 0, 0) and not lib.llama_batch_ext_set_embd_token(NULL, 0, good)


# ---- attention that is not causal ----

def test_every_token_sees_every_other(model, reference):
    np.testing.assert_allclose(states(model, causal=False), reference.states(TEXT, causal=False), **CLOSE)


def test_causal_or_not_from_the_next_decode_on(model):
    c = init(model, attention_type=1, embeddings=True)
    assert not lib.llama_get_causal_attn(c)
    lib.llama_set_causal_attn(c, True)
    assert lib.llama_get_causal_attn(c)
    assert decode(c, TEXT[:20]) == 0 and (matrix(lib.llama_get_embeddings(c), 20) == states(model, TEXT[:20], type_k=1, type_v=1)).all()


def test_what_is_not_causal_fits_one_ubatch(model):
    c = init(model, attention_type=1, n_ubatch=8, n_ctx=64)
    assert decode(c, TEXT[:9]) == ERROR and last_error()[1] == "batch.n_tokens is 9, expected at most n_ubatch = 8 where attention is not causal"
    assert span(c) == (-1, -1) and decode(c, TEXT[:8]) == 0 and decode(c, TEXT[8:12]) == 0 and span(c) == (0, 11)


def test_not_causal_sees_the_cache(model, reference):
    """Keys of the cache stay as they were computed; one more token sees them all, which is causal attention of a single token."""
    a, b = init(model, embeddings=True), init(model, embeddings=True)
    assert decode(a, TEXT[:70]) == 0 and decode(b, TEXT[:70]) == 0
    lib.llama_set_causal_attn(a, False)
    assert decode(a, TEXT[70:71]) == 0 and decode(b, TEXT[70:71]) == 0
    assert (vector(lib.llama_get_embeddings(a)) == vector(lib.llama_get_embeddings(b))).all()


# ---- llama_encode ----

def test_encode_sees_the_batch_and_keeps_nothing(model):
    c = init(model, embeddings=True, n_ctx=256, n_seq_max=2)
    assert decode(c, TEXT[:60]) == 0
    batch = Batch(TEXT[50:80], seq=[[0]] * 30)
    assert run(lib.llama_encode, c, batch) == 0, last_error()
    assert (matrix(lib.llama_get_embeddings(c), 30) == states(model, TEXT[50:80], causal=False, type_k=1, type_v=1)).all()
    assert span(c) == (0, 59) and lib.llama_get_causal_attn(c)
    assert decode(c, TEXT[60:64]) == 0 and (matrix(lib.llama_get_embeddings(c), 4) == states(model, TEXT[:64], type_k=1, type_v=1)[60:]).all()


def test_encode_gives_its_room_back(model):
    c = init(model, n_ctx=32, n_seq_max=2)
    assert decode(c, TEXT[:20]) == 0
    for _ in range(50):
        assert run(lib.llama_encode, c, Batch(TEXT[:12])) == 0, last_error()
        assert len(row(c, 3)) == 4 * N_VOCAB                          # every token has logits
    assert run(lib.llama_encode, c, Batch(TEXT[:13])) == NO_ROOM and last_error()[0] == FULL and row(c, 11)
    assert span(c) == (0, 19) and decode(c, TEXT[20:32]) == 0 and decode(c, TEXT[32:33]) == NO_ROOM


def test_process_encodes_too(model, ctx, ext):
    lib.llama_set_embeddings(ctx, True)
    for t in TEXT[:9]:
        lib.llama_batch_ext_add_token(ext, 1, t)
    assert lib.llama_process(ctx, lib.LLAMA_PROCESS_TYPE_ENCODE, ext) == 0 and span(ctx, 1) == (-1, -1)
    assert (matrix(lib.llama_get_embeddings(ctx), 9) == states(model, TEXT[:9], causal=False, type_k=1, type_v=1)).all()


def test_encode_misuse(model):
    c = init(model, n_ctx=64, n_ubatch=8)
    for batch, sentence in ((Batch(TEXT[:9]), "at most n_ubatch = 8"), (Batch([1], pos=[-1]), "batch.pos[0] is -1"), (Batch([N_VOCAB]), "batch.token[0]"),
                            (Batch(n_tokens=1), "batch.token is NULL")):
        forget_error()
        assert run(lib.llama_encode, c, batch) == ERROR and sentence in last_error()[1]
    assert run(lib.llama_encode, NULL, Batch([1])) == ERROR and last_error()[1] == "llama_encode: ctx is NULL"


# ---- abort ----

@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("n", [1, 40])
def test_abort_within_one_layer_leaves_no_embeddings(model, n, causal):
    calls = []

    @ffi.callback("bool(void *)")
    def stop(_):
        calls.append(1)
        return len(calls) == stop_at

    c = init(model, embeddings=True, attention_type=not causal, n_ctx=64, n_threads=2, n_threads_batch=2)
    assert decode(c, TEXT[:10]) == 0
    lib.llama_set_abort_callback(c, stop, NULL)
    for stop_at in (1, 2):
        for call in (lib.llama_decode, lib.llama_encode):
            calls.clear()
            assert run(call, c, Batch(TEXT[10:10 + n])) == ABORTED and len(calls) == stop_at
            assert span(c) == (0, 9) and lib.llama_get_embeddings(c) == NULL
