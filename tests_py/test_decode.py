"""Decoding through the C API: each call's use, and each way to use it wrongly. A call that fails says why and changes nothing.

Next: test_kv_cache.py for sequences, test_same_bits.py for what may not change a bit, test_failures.py for memory and fork.
"""
import subprocess
import threading

import pytest

from bitnet_ffi import Model, config
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ABORTED, ERROR, FULL, NO_ROOM, THREAD, Batch, decode, forget_error, init, last_error, row, rows_alone, span
from gguf_writer import F32, STRING, tiny_model

N_VOCAB = 280
NULL = ffi.NULL
TEXT = [(11 * i * i + 5 * i + 3) % N_VOCAB for i in range(100)]
SMALL = dict(n_layer=2, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=N_VOCAB, n_ctx=256)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model(**SMALL).write(tmp_path_factory.mktemp("decode") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(owner):
    return owner._pointer


@pytest.fixture(scope="module")
def rows(model):
    return rows_alone(model, TEXT)


@pytest.fixture
def ctx(model):
    return init(model, n_ctx=128, n_seq_max=3, n_ubatch=16)


# ---- contexts ----

def test_defaults_are_completed(model):
    c = init(model)
    assert (lib.llama_n_ctx(c), lib.llama_n_batch(c), lib.llama_n_ubatch(c), lib.llama_n_seq_max(c)) == (512, 512, 512, 1)
    c = init(model, n_ctx=0, n_batch=0, n_ubatch=0, n_seq_max=0, n_threads=-1, n_threads_batch=0)
    assert (lib.llama_n_ctx(c), lib.llama_n_batch(c), lib.llama_n_ubatch(c), lib.llama_n_seq_max(c)) == (256, 256, 256, 1)
    assert lib.llama_n_threads(c) == lib.llama_n_threads_batch(c) >= 1
    assert lib.llama_get_model(c) == model


def test_n_batch_and_n_ubatch_are_clamped(model):
    c = init(model, n_ctx=40, n_batch=100, n_ubatch=70)
    assert (lib.llama_n_batch(c), lib.llama_n_ubatch(c)) == (40, 40)
    c = init(model, n_ctx=40, n_batch=30, n_ubatch=70)
    assert (lib.llama_n_batch(c), lib.llama_n_ubatch(c)) == (30, 30)


def test_older_name_makes_a_context(model):
    c = lib.llama_new_context_with_model(model, lib.llama_context_default_params())
    assert decode(c, TEXT[:3]) == 0
    lib.llama_free(c)


REFUSED = {
    "n_seq_max": (257, "n_seq_max is 257, expected at most 256"),
    "n_ctx": (2**32 - 1, "n_ctx is 4294967295, expected at most 16777216"),
    "type_k": (2, "type_k is 2, expected 1 (F16), 0 (F32) or 8 (Q8_0)"),
    "type_v": (30, "type_v is 30, expected 1 (F16), 0 (F32) or 8 (Q8_0)"),
    "ctx_type": (1, "ctx_type"),
    "attention_type": (2, "attention_type: expected -1 (the model's), 0 (causal) or 1 (non-causal)"),
    "pooling_type": (5, "pooling_type: expected -1 (the model's)"),
    "rope_scaling_type": (4, "rope_scaling_type: expected -1"),
    "yarn_beta_slow": (float("inf"), "yarn_beta_slow: expected finite numbers"),
    "n_samplers": (1, "samplers"),
    "rope_freq_base": (float("nan"), "rope_freq_base"),
    "rope_freq_scale": (-1.0, "rope_freq_scale"),
    "yarn_ext_factor": (float("nan"), "yarn_ext_factor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_cannot_be_honoured_is_refused(model, name):
    value, sentence = REFUSED[name]
    forget_error()
    assert init(model, **{name: value}) == NULL
    code, text = last_error()
    assert code == ERROR and sentence in text


@pytest.mark.parametrize("ext, attn", [(-1.0, -1.0), (0.0, 1.0), (-1.0, 1.0)])
def test_yarn_that_is_off_is_accepted(model, rows, ext, attn):
    """As programs of any year set it."""
    ctx = init(model, yarn_ext_factor=ext, yarn_attn_factor=attn, yarn_beta_fast=32.0, yarn_beta_slow=1.0, yarn_orig_ctx=128)
    assert decode(ctx, TEXT[:5]) == 0 and row(ctx) == rows[4]


def test_a_model_trained_with_too_long_a_context_is_refused_at_n_ctx_0(tmp_path):
    with Model(tiny_model(**{**SMALL, "n_ctx": 2**31 - 1}).write(tmp_path / "long.gguf")) as long:
        assert init(long._pointer, n_ctx=0) == NULL
        assert last_error() == (ERROR, "n_ctx is 2147483647, expected at most 16777216")
        assert init(long._pointer, n_ctx=64) != NULL


def test_a_model_without_weights_makes_a_context_that_decodes_nothing(path):
    """Programs that only tokenize make one, as llama.cpp lets them."""
    with Model(path, vocab_only=True) as bare:
        assert init(bare._pointer, n_ctx=0) == NULL and "vocab_only" in last_error()[1]
        ctx = init(bare._pointer, n_ctx=128, n_seq_max=2, kv_unified=True, embeddings=True)
        assert ctx != NULL and lib.llama_n_ctx(ctx) == 128 and lib.llama_get_model(ctx) == bare._pointer
        tokens = ffi.new("llama_token[2]", [1, 2])
        for call in (lib.llama_decode, lib.llama_encode):
            assert call(ctx, lib.llama_batch_get_one(tokens, 2)) == ERROR and "vocab_only" in last_error()[1]
        assert lib.llama_get_logits(ctx) == NULL and lib.llama_get_embeddings(ctx) == NULL
        memory = lib.llama_get_memory(ctx)
        assert lib.llama_memory_seq_pos_max(memory, 0) == -1 and lib.llama_memory_seq_rm(memory, -1, -1, -1)
        lib.llama_set_n_threads(ctx, 2, 2)
        assert lib.llama_set_adapter_cvec(ctx, ffi.new("float[1]"), 1, 0, 0, 0) == ERROR and "vocab_only" in last_error()[1]
        state = ffi.new("uint8_t[]", lib.llama_state_get_size(ctx))
        assert lib.llama_state_get_data(ctx, state, len(state)) == len(state) == lib.llama_state_set_data(ctx, state, len(state))
    assert init(NULL) == NULL and last_error() == (ERROR, "llama_init_from_model: model is NULL")


@pytest.mark.parametrize("mode", ["NONE", "MLOCK", "DIRECT_IO"])
def test_a_file_that_was_read_may_go(rows, tmp_path, mode):
    """Not in the modes that map: there a file that shrinks ends the process."""
    file = tiny_model(**SMALL).write(tmp_path / "read.gguf")
    params = lib.llama_model_default_params()
    params.load_mode = getattr(lib, f"LLAMA_LOAD_MODE_{mode}")
    model = ffi.gc(lib.llama_model_load_from_file(str(file).encode(), params), lib.llama_model_free)
    file.write_bytes(b"")
    assert rows_alone(model, TEXT) == rows
    lib.llama_model_save_to_file(model, str(tmp_path / "saved.gguf").encode())
    with Model(tmp_path / "saved.gguf") as saved:
        assert rows_alone(saved._pointer, TEXT) == rows


def test_rope_parameters(model, rows, tmp_path):
    """Base and scale of the call equal those in a file, and scaling type NONE undoes a file's scaling."""
    def changed(name, **keys):
        g = tiny_model(**SMALL)
        for key, (kind, value) in keys.items():
            g.set("llama.rope." + key.replace("__", "."), kind, value)
        return Model(g.write(tmp_path / name))
    with changed("base", freq_base=(F32, 500000.0)) as other:
        assert rows_alone(other._pointer, TEXT) == rows_alone(model, TEXT, rope_freq_base=500000.0) != rows
        assert rows_alone(other._pointer, TEXT, rope_freq_base=10000.0) == rows
    with changed("scale", scaling__type=(STRING, "linear"), scaling__factor=(F32, 4.0)) as other:
        scaled = rows_alone(other._pointer, TEXT)
        assert scaled == rows_alone(model, TEXT, rope_freq_scale=0.25) != rows
        assert rows_alone(other._pointer, TEXT, rope_scaling_type=lib.LLAMA_ROPE_SCALING_TYPE_NONE) == rows
        assert rows_alone(other._pointer, TEXT, rope_scaling_type=lib.LLAMA_ROPE_SCALING_TYPE_LINEAR) == scaled


def test_model_freed_before_its_contexts(path, rows):
    pointer = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    first, second = init(pointer), init(pointer)
    lib.llama_model_free(pointer)
    for c in (first, second):
        assert decode(c, TEXT) == 0 and row(c) == rows[-1]
        ffi.gc(c, None)
        lib.llama_free(c)


# ---- batches ----

def test_get_one(ctx, rows):
    tokens = ffi.new("llama_token[]", TEXT)
    for begin, end in ((0, 7), (7, 8), (8, 60)):
        batch = lib.llama_batch_get_one(tokens + begin, end - begin)
        assert (batch.n_tokens, batch.pos, batch.seq_id, batch.logits) == (end - begin, NULL, NULL, NULL)
        assert lib.llama_decode(ctx, batch) == 0
        assert row(ctx) == row(ctx, end - begin - 1) == rows[end - 1]
    assert span(ctx) == (0, 59)


def test_batch_init(ctx, rows):
    batch = lib.llama_batch_init(50, 0, 2)
    assert batch.embd == NULL
    for i in range(50):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = TEXT[i], i, 2, i % 7 == 3
        batch.seq_id[i][0], batch.seq_id[i][1] = 2, 0
    batch.n_tokens = 50
    assert lib.llama_decode(ctx, batch) == 0
    lib.llama_batch_free(batch)
    assert span(ctx, 2) == span(ctx, 0) == (0, 49) and span(ctx, 1) == (-1, -1)
    assert [row(ctx, i) for i in range(3, 50, 7)] == rows[3:50:7]


@pytest.mark.parametrize("sizes", [(-1, 0, 1), (1, -1, 1), (1, 0, -1), (2**31 - 1, 0, 1), (2**24, 2**31 - 1, 1)])
def test_batch_init_with_odd_sizes_gives_nulls(ctx, sizes):
    forget_error()
    batch = lib.llama_batch_init(*sizes)
    assert {batch.token, batch.embd, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits} == {NULL} and batch.n_tokens == 0
    assert "batch" in last_error()[1]
    assert lib.llama_decode(ctx, batch) < 0
    lib.llama_batch_free(batch)


def test_batch_init_of_nothing_and_of_embeddings():
    lib.llama_batch_free(lib.llama_batch_init(0, 0, 0))
    batch = lib.llama_batch_init(3, 8, 1)
    assert batch.token == NULL and batch.embd != NULL
    lib.llama_batch_free(batch)


def test_outputs_scattered_over_ubatches(model, rows):
    for n_ubatch in (1, 3, 16, 64):
        c = init(model, n_ctx=128, n_ubatch=n_ubatch)
        wanted = [0, 1, 15, 16, 47, 63, 64, 98]
        assert decode(c, TEXT, logits=[i in wanted for i in range(100)]) == 0
        assert [row(c, i) for i in wanted] == [rows[i] for i in wanted]
        assert [row(c, k - len(wanted)) for k in range(len(wanted))] == [rows[i] for i in wanted]
        whole = lib.llama_get_logits(c)
        assert bytes(ffi.buffer(whole, 4 * N_VOCAB * len(wanted))) == b"".join(rows[i] for i in wanted)


WRONG = {
    "no tokens": (dict(token=[], pos=None), "batch.n_tokens is 0"),
    "negative n_tokens": (dict(token=[1], n_tokens=-1), "batch.n_tokens is -1"),
    "huge n_tokens": (dict(token=[1], n_tokens=2**31 - 1), "batch.n_tokens is 2147483647"),
    "no token array": (dict(n_tokens=1), "batch.token is NULL"),
    "tokens and embeddings": (dict(token=[1], embd=ffi.new("float[32]")), "batch.token and batch.embd are both given"),
    "an infinite embedding": (dict(n_tokens=1, embd=ffi.new("float[32]", [0, 0, float("inf")])), "batch.embd: number 2 of token 0 is inf"),
    "token below 0": (dict(token=[1, -1]), "batch.token[1] is -1, expected 0 to 279"),
    "token too large": (dict(token=[280]), "batch.token[0] is 280, expected 0 to 279"),
    "negative position": (dict(token=[1], pos=[-1]), "batch.pos[0] is -1"),
    "huge position": (dict(token=[1], pos=[2**31 - 1], seq=[[1]]), "batch.pos[0] is 2147483647, expected 0 to 16777215"),
    "gap after the cache": (dict(token=[1], pos=[6]), "batch.pos[0] is 6, but sequence 0 goes on at position 5"),
    "position taken": (dict(token=[1], pos=[4]), "batch.pos[0] is 4, but sequence 0 goes on at position 5"),
    "gap inside": (dict(token=[1, 2], pos=[5, 7]), "batch.pos[1] is 7, but sequence 0 goes on at position 6"),
    "gap in a new sequence": (dict(token=[1, 2], pos=[9, 11], seq=[[1], [1]]), "sequence 1 goes on at position 10"),
    "sequence below 0": (dict(token=[1], seq=[[-1]]), "batch.seq_id[0][0] is -1, expected 0 to 2"),
    "sequence too large": (dict(token=[1, 2], seq=[[0], [0, 3]]), "batch.seq_id[1][1] is 3, expected 0 to 2"),
    "no sequence": (dict(token=[1], seq=[[]]), "batch.n_seq_id[0] is 0, expected 1 to n_seq_max = 3"),
    "too many sequences": (dict(token=[1], seq=[[0, 1, 2, 3]]), "batch.n_seq_id[0] is 4"),
    "a NULL row": (dict(token=[1], seq_id=ffi.new("llama_seq_id *[1]"), n_seq_id=ffi.new("int32_t[]", [1])), "batch.seq_id[0] is NULL"),
    "sequences that stand apart": (dict(token=[1], seq=[[0, 2]]), "batch.pos[0] is 5, but sequence 2 goes on at position 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_batch_is_refused_and_changes_nothing(ctx, rows, name):
    fields, sentence = WRONG[name]
    assert decode(ctx, TEXT[:5]) == 0
    assert decode(ctx, TEXT[:2], seq=[[2], [2]]) == 0
    forget_error()
    assert decode(ctx, **fields) == ERROR
    code, text = last_error()
    assert code == ERROR and sentence in text
    assert row(ctx) == row(ctx, 1) == rows[1]                               # the batch before is still there to be read
    assert (span(ctx, 0), span(ctx, 1), span(ctx, 2)) == ((0, 4), (-1, -1), (0, 1))
    assert decode(ctx, TEXT[5:9]) == 0 and row(ctx) == rows[8]


def test_a_sequence_that_is_named_twice_counts_once(ctx, rows):
    assert decode(ctx, TEXT[:3], seq=[[0, 1, 0], [1, 0, 1], [0, 0]]) == 0 and row(ctx) == rows[2]
    assert (span(ctx, 0), span(ctx, 1)) == ((0, 2), (0, 1)) and lib.llama_kv_self_used_cells(ctx) == 3


def test_a_sequence_may_begin_anywhere(ctx):
    assert decode(ctx, [1, 2], pos=[2**24 - 2, 2**24 - 1], seq=[[1], [1]]) == 0
    assert span(ctx, 1) == (2**24 - 2, 2**24 - 1)
    assert decode(ctx, [1], seq=[[1]]) == ERROR and "batch.pos[0] is 16777216" in last_error()[1]


def test_null_context_and_batch(ctx):
    batch = Batch([1]).pointer[0]
    for call in (lambda: lib.llama_decode(NULL, batch), lambda: lib.llama_process(NULL, 1, NULL), lambda: lib.llama_process(ctx, 1, NULL)):
        forget_error()
        assert call() == ERROR and "is NULL" in last_error()[1]


# ---- logits ----

def test_logits_before_and_after(ctx, rows):
    assert row(ctx) == b"" and "nothing decoded yet" in last_error()[1]
    assert decode(ctx, TEXT[:4], logits=[0, 1, 0, 1]) == 0
    assert [row(ctx, i) for i in (1, 3, -1, -2)] == [rows[1], rows[3], rows[3], rows[1]]
    for i, sentence in ((0, "token 0 did not ask for logits"), (2, "token 2 did not ask"), (4, "the last batch had 4 tokens"),
                        (2**31 - 1, "the last batch had 4 tokens"), (-3, "the last batch left 2 rows"),
                        (-2**31, "the last batch left 2 rows")):
        forget_error()
        assert row(ctx, i) == b""
        code, text = last_error()
        assert code == ERROR and sentence in text
    assert decode(ctx, TEXT[4:6], logits=[0, 0]) == 0
    assert row(ctx) == b"" and lib.llama_get_logits(ctx) == NULL


def test_logits_are_writable_and_feed_the_sampler(ctx):
    assert decode(ctx, TEXT[:4]) == 0
    greedy = ffi.gc(lib.llama_sampler_init_greedy(), lib.llama_sampler_free)
    lib.llama_get_logits_ith(ctx, -1)[77] = 1e9
    assert lib.llama_sampler_sample(greedy, ctx, -1) == 77
    assert lib.llama_sampler_sample(greedy, ctx, 1) == -1 and "did not ask" in last_error()[1]


# ---- a full context ----

def test_no_room_returns_1_and_changes_nothing(model, rows):
    c = init(model, n_ctx=20, n_seq_max=2)
    assert decode(c, TEXT[:15]) == 0
    for n in (6, 21, 100):
        assert decode(c, TEXT[:n]) == NO_ROOM
        assert last_error() == (FULL, f"no room for {n} tokens: the context holds 15 of n_ctx = 20")
        assert span(c) == (0, 14) and row(c) == rows[14]
    assert decode(c, TEXT[15:20]) == 0 and row(c) == rows[19]
    assert decode(c, [1], seq=[[1]]) == NO_ROOM


# ---- llama_batch_ext ----

@pytest.fixture
def ext(ctx):
    return ffi.gc(lib.llama_batch_ext_init(ctx), lib.llama_batch_ext_free)


def test_batch_ext(ctx, ext, rows):
    for i in range(40):                                # more than its first room
        assert lib.llama_batch_ext_add_token(ext, i % 2, TEXT[i // 2]) == i
    for i in (0, 1, 38):
        assert lib.llama_batch_ext_set_output_logits(ext, i, True)
    for _ in range(2):                                 # it is unchanged by a decode
        assert lib.llama_process(ctx, lib.LLAMA_PROCESS_TYPE_DECODE, ext) == 0
        assert [row(ctx, i) for i in (0, 1, 38)] == [rows[0], rows[0], rows[19]] and row(ctx, 2) == b""
        lib.llama_kv_cache_clear(ctx)
    lib.llama_batch_ext_clear(ext)
    assert lib.llama_process(ctx, lib.LLAMA_PROCESS_TYPE_DECODE, ext) == ERROR and "n_tokens is 0" in last_error()[1]
    assert lib.llama_batch_ext_add_token(ext, 0, 1) == 0
    assert not lib.llama_batch_ext_set_output_logits(ext, 1, True) and "token 1 of a batch" in last_error()[1]


def test_batch_ext_positions(ctx, ext):
    pos = ffi.new("llama_pos *", 30)
    for _ in range(3):
        lib.llama_batch_ext_add_token(ext, 1, 5)
    assert lib.llama_batch_ext_set_pos(ext, 0, pos)    # the others follow
    assert lib.llama_process(ctx, 1, ext) == 0 and span(ctx, 1) == (30, 32)
    assert lib.llama_process(ctx, 1, ext) == ERROR and "goes on at position 33" in last_error()[1]
    assert lib.llama_batch_ext_set_pos(ext, 0, NULL)
    assert lib.llama_process(ctx, 1, ext) == 0 and span(ctx, 1) == (30, 35)
    pos[0] = -2
    assert not lib.llama_batch_ext_set_pos(ext, 0, pos) and "position -2" in last_error()[1]


def test_batch_ext_misuse(ctx, ext):
    for seq in (-1, 3):
        assert lib.llama_batch_ext_add_token(ext, seq, 1) == -3 and f"sequence {seq}, expected 0 to 2" in last_error()[1]
    for token in (-5, -2, -1, 280):
        assert lib.llama_batch_ext_add_token(ext, 0, token) == -2 and last_error()[1] == f"token {token}, expected 0 to 279"
    assert lib.llama_process(ctx, 1, ext) == ERROR and "n_tokens is 0" in last_error()[1]
    assert lib.llama_batch_ext_add(ext, 0) == 0
    assert lib.llama_process(ctx, 1, ext) == ERROR and "token 0 of the batch has neither an id nor an embedding" in last_error()[1]
    assert lib.llama_process(ctx, 2, ext) == ERROR and "type is 2, expected 0 (encode) or 1 (decode)" in last_error()[1]
    for idx in (-1, 1, 2**31 - 1):
        assert not lib.llama_batch_ext_set_output_logits(ext, idx, True)
        assert not lib.llama_batch_ext_set_pos(ext, idx, NULL)
    assert lib.llama_batch_ext_init(NULL) == NULL and lib.llama_batch_ext_add_token(NULL, 0, 1) == -2
    assert not lib.llama_batch_ext_set_pos(NULL, 0, NULL) and not lib.llama_batch_ext_set_output_logits(NULL, 0, True)
    lib.llama_batch_ext_clear(NULL)
    lib.llama_batch_ext_free(NULL)


# ---- llama_eval ----

def evaluate(ctx, tokens, n_past, n_threads=1, n_tokens=None):
    return lib.bitnet_eval_n_threads(ctx, tokens, len(tokens) if n_tokens is None else n_tokens, n_past, n_threads)


def test_eval_keeps_n_past_tokens(ctx, rows):
    assert evaluate(ctx, TEXT[:50], 0) == 0 and row(ctx) == rows[49]
    assert evaluate(ctx, TEXT[50:51], 50) == 0 and row(ctx) == rows[50]
    assert evaluate(ctx, TEXT[20:40], 20) == 0 and row(ctx) == rows[39] and span(ctx) == (0, 39)
    assert evaluate(ctx, TEXT[:2], 0) == 0 and row(ctx) == rows[1] and span(ctx) == (0, 1)
    assert lib.llama_eval(ctx, TEXT[2:9], 7, 2) == 0 and row(ctx) == rows[8]


def test_eval_with_wrong_arguments_changes_nothing(ctx):
    assert evaluate(ctx, TEXT[:10], 0) == 0
    for tokens, n_tokens, n_past, sentence in (([1], 1, 11, "n_past is 11"), ([1], 1, -1, "n_past is -1"), ([280], 1, 3, "token[0] is 280"),
                                               ([1], 0, 3, "n_tokens is 0"), ([1], -5, 3, "n_tokens is -5")):
        assert evaluate(ctx, tokens, n_past, n_tokens=n_tokens) == 1
        assert sentence in last_error()[1] and span(ctx) == (0, 9)
    assert lib.llama_eval(ctx, NULL, 1, 3) == 1 and span(ctx) == (0, 9)
    assert evaluate(NULL, [1], 0) == 1 and lib.llama_eval(NULL, NULL, 0, 0) == 1


def test_eval_after_a_gap_does_not_move_tokens(ctx):
    assert evaluate(ctx, TEXT[:10], 0) == 0
    assert lib.llama_memory_seq_rm(lib.llama_get_memory(ctx), 0, 3, 8)
    assert evaluate(ctx, [1], 5) == 1 and "n_past is 5, but" in last_error()[1] and span(ctx) == (0, 9)
    assert evaluate(ctx, [1], 9) == 0


def test_eval_without_room_keeps_n_past_tokens(model):
    c = init(model, n_ctx=20)
    assert evaluate(c, TEXT[:20], 0) == 0
    assert evaluate(c, TEXT[:20], 5) == 1 and last_error()[0] == FULL and span(c) == (0, 4)


def test_eval_sets_the_threads(model):
    c = init(model, n_ctx=20)
    assert evaluate(c, TEXT[:3], 0, n_threads=2) == 0
    assert lib.llama_n_threads(c) == lib.llama_n_threads_batch(c) == min(2, thread_limit(model))
    assert evaluate(c, TEXT[:3], 0, n_threads=0) == 0              # 0: as they are


EVAL_PROGRAM = """
#include "bitnet_ffi.h"
int four(struct llama_context *ctx) { llama_token t = 1; return llama_eval(ctx, &t, 1, 0); }
int five(struct llama_context *ctx) { llama_token t = 1; return llama_eval(ctx, &t, 1, 0, 4); }
int main(void) { return four(NULL) == 1 && five(NULL) == 1 && bitnet_last_error_code() == BITNET_ERROR ? 0 : 1; }
"""


@pytest.mark.parametrize("compiler, name", [("cc", "eval.c"), ("c++", "eval.cpp")])
def test_eval_with_four_and_five_arguments(tmp_path, compiler, name):
    (tmp_path / name).write_text(EVAL_PROGRAM)
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", tmp_path / name, *config.cflags(), *config.libs(), "-o", tmp_path / "eval"],
                   check=True)
    assert subprocess.run([tmp_path / "eval"]).returncode == 0


# ---- threads ----

def thread_limit(model):
    return lib.llama_n_threads(init(model, n_threads=10**6, n_ctx=8))


def test_set_n_threads(model, rows):
    c = init(model, n_ctx=128)
    assert (lib.llama_n_threads(c), lib.llama_n_threads_batch(c)) == (1, 1)
    limit = thread_limit(model)
    for n, n_batch in ((1, 2), (10**6, 1), (2, 2), (1, 1)):        # up beyond the creation, and down again
        lib.llama_set_n_threads(c, n, n_batch)
        assert (lib.llama_n_threads(c), lib.llama_n_threads_batch(c)) == (min(n, limit), min(n_batch, limit))
        lib.llama_kv_cache_clear(c)
        assert decode(c, TEXT[:99]) == 0 and row(c) == rows[98]
        assert decode(c, TEXT[99:]) == 0 and row(c) == rows[99]


def test_set_n_threads_misuse(ctx):
    for n, n_batch in ((0, 1), (1, 0), (-3, 2)):
        forget_error()
        lib.llama_set_n_threads(ctx, n, n_batch)
        assert "expected 1 or more" in last_error()[1] and lib.llama_n_threads(ctx) == 1
    lib.llama_set_n_threads(NULL, 1, 1)
    assert last_error()[1] == "llama_set_n_threads: ctx is NULL"


def test_contexts_in_parallel_threads_give_the_same_bits(model, rows):
    got = {}

    def work(i):
        c = init(model, n_ctx=100, n_threads=1 + i % 2, n_threads_batch=1 + i % 2, n_ubatch=7 + i)
        for _ in range(5):
            lib.llama_kv_cache_clear(c)
            assert decode(c, TEXT, logits=[1] * 100) == 0
            got.setdefault(i, set()).add(b"".join(row(c, t) for t in range(100)))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert got == {i: {b"".join(rows)} for i in range(4)}


ENTERING = {
    "llama_decode": lambda c, b: lib.llama_decode(c, Batch([1]).pointer[0]) == THREAD,
    "llama_process": lambda c, b: lib.llama_process(c, 1, b) == THREAD,
    "llama_eval": lambda c, b: lib.llama_eval(c, [1], 1, 0) == THREAD,
    "bitnet_eval_n_threads": lambda c, b: lib.bitnet_eval_n_threads(c, [1], 1, 0, 2) == THREAD,
    "llama_set_n_threads": lambda c, b: lib.llama_set_n_threads(c, 2, 2) is None,
    "llama_set_abort_callback": lambda c, b: lib.llama_set_abort_callback(c, NULL, NULL) is None,
    "llama_memory_clear": lambda c, b: lib.llama_memory_clear(lib.llama_get_memory(c), True) is None,
    "llama_kv_cache_clear": lambda c, b: lib.llama_kv_cache_clear(c) is None,
    "llama_memory_seq_rm": lambda c, b: not lib.llama_memory_seq_rm(lib.llama_get_memory(c), -1, -1, -1),
    "llama_memory_seq_cp": lambda c, b: lib.llama_memory_seq_cp(lib.llama_get_memory(c), 0, 1, -1, -1) is None,
    "llama_memory_seq_keep": lambda c, b: lib.llama_memory_seq_keep(lib.llama_get_memory(c), 1) is None,
    "llama_memory_seq_pos_min": lambda c, b: lib.llama_memory_seq_pos_min(lib.llama_get_memory(c), 0) == -1,
    "llama_memory_seq_pos_max": lambda c, b: lib.llama_memory_seq_pos_max(lib.llama_get_memory(c), 0) == -1,
    "llama_get_logits": lambda c, b: lib.llama_get_logits(c) == NULL,
    "llama_get_logits_ith": lambda c, b: lib.llama_get_logits_ith(c, -1) == NULL,
    "llama_encode": lambda c, b: lib.llama_encode(c, Batch([1]).pointer[0]) == THREAD,
    "llama_eval_embd": lambda c, b: lib.llama_eval_embd(c, NULL, 1, 0) == THREAD,
    "llama_set_embeddings": lambda c, b: lib.llama_set_embeddings(c, True) is None,
    "llama_set_causal_attn": lambda c, b: lib.llama_set_causal_attn(c, False) is None,
    "llama_get_embeddings": lambda c, b: lib.llama_get_embeddings(c) == NULL,
    "llama_get_embeddings_ith": lambda c, b: lib.llama_get_embeddings_ith(c, 0) == NULL,
    "llama_get_embeddings_seq": lambda c, b: lib.llama_get_embeddings_seq(c, 0) == NULL,
    "llama_perf_context_reset": lambda c, b: lib.llama_perf_context_reset(c) is None,
}


def test_a_second_thread_is_turned_away(ctx, ext, rows):
    """The first is held inside a decode by its abort callback; nothing that the second one tries has an effect."""
    inside, leave = threading.Event(), threading.Event()
    lib.llama_batch_ext_add_token(ext, 0, 1)

    @ffi.callback("bool(void *)")
    def wait(_):
        inside.set()
        leave.wait(20)
        return False

    lib.llama_set_abort_callback(ctx, wait, NULL)
    status = []
    first = threading.Thread(target=lambda: status.append(decode(ctx, TEXT[:40])))
    first.start()
    assert inside.wait(20)
    wrong = []
    for name, call in ENTERING.items():
        forget_error()
        if not call(ctx, ext) or last_error()[0] != THREAD:
            wrong.append(f"{name}: {last_error()}")
    assert lib.llama_n_threads(ctx) == 1
    leave.set()
    first.join()
    assert wrong == []
    assert status == [0] and row(ctx) == rows[39] and span(ctx) == (0, 39) and span(ctx, 1) == (-1, -1)


# ---- abort ----

def test_abort_stops_between_layers_and_rolls_back(ctx, rows):
    calls = []

    @ffi.callback("bool(void *)")
    def stop(data):
        calls.append(int(ffi.cast("intptr_t", data)))
        return len(calls) == stop_at

    assert decode(ctx, TEXT[:30]) == 0
    lib.llama_set_abort_callback(ctx, stop, ffi.cast("void *", 42))
    for stop_at in range(1, 2 * 4 + 1):                            # 64 tokens in ubatches of 16, two layers
        calls.clear()
        assert decode(ctx, TEXT[30:94]) == ABORTED
        assert calls == [42] * stop_at
        assert span(ctx) == (0, 29) and row(ctx) == b""
    calls.clear()
    stop_at = 0
    assert decode(ctx, TEXT[30:94]) == 0 and len(calls) == 8 and row(ctx) == rows[93]
    lib.llama_set_abort_callback(ctx, NULL, NULL)
    assert decode(ctx, TEXT[94:]) == 0 and len(calls) == 8 and row(ctx) == rows[99]


def test_abort_callback_of_the_parameters(model):
    @ffi.callback("bool(void *)")
    def stop(_):
        return True
    c = init(model, n_ctx=32, n_threads=2, n_threads_batch=2, abort_callback=stop)
    assert decode(c, TEXT[:5]) == ABORTED and span(c) == (-1, -1)
    assert evaluate(c, TEXT[:5], 0) == 1 and span(c) == (-1, -1)


# ---- counters ----

def test_perf_counts_tokens_and_is_reset(ctx):
    for n in (5, 1, 1, 20):
        decode(ctx, TEXT[:n])
    decode(ctx, [999])                                             # a failed call does not count
    data = lib.llama_perf_context(ctx)
    assert (data.n_p_eval, data.n_eval, data.n_reused) == (25, 2, 0)
    assert data.t_p_eval_ms >= 0 and data.t_load_ms >= 0 and 0 < data.t_start_ms <= lib.llama_time_us() / 1000
    lib.llama_perf_context_reset(ctx)
    data = lib.llama_perf_context(ctx)
    assert (data.n_p_eval, data.n_eval, data.t_p_eval_ms, data.t_eval_ms) == (0, 0, 0, 0)
    assert lib.llama_perf_context(NULL).n_eval == 0 and last_error()[1] == "llama_perf_context: ctx is NULL"


def test_perf_is_printed_to_the_log(ctx):
    lines = []

    @ffi.callback("void(enum ggml_log_level, char *, void *)")
    def log(level, text, _):
        lines.append((int(level), ffi.string(text).decode()))

    callback, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(callback, data)
    lib.llama_log_set(log, NULL)
    try:
        decode(ctx, TEXT[:5])
        lib.llama_perf_context_print(ctx)
    finally:
        lib.llama_log_set(callback[0], data[0])
    assert {level for level, _ in lines} == {lib.GGML_LOG_LEVEL_INFO}
    assert any("5 tokens" in text for _, text in lines)
