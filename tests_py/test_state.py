"""States of contexts and sequences: work that goes on from one gives the same bits, and anything wrong with one changes nothing.

Next: csrc/bnf_state.h draws the format.
"""
import os
import struct
import subprocess
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bnf_build
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, decode, forget_error, init, last_error, row, span
from state_tools import (  # noqa: F401  some are fixtures
    GENERATOR, HEADER, NULL, SUMS, TOKENS, folder, forked, get, go_on, load, model, put, saved, spans, untouched, write)

# ---- going on ----

@pytest.mark.parametrize("fields", [
    {}, {"n_ctx": 200}, {"n_ctx": 2000, "n_seq_max": 9}, {"n_threads": 2, "n_threads_batch": 2}, {"n_batch": 8, "n_ubatch": 4}])
def test_work_goes_on_as_if_it_had_never_stopped(model, saved, fields):
    data, after, where, _ = saved
    ctx = init(model, **{"n_ctx": 400, "n_seq_max": 4, **fields})
    decode(ctx, [5] * 30, seq=[[3]] * 30)             # what was there goes
    assert put(ctx, data) == len(data), last_error()
    assert last_error() == (0, "") and spans(ctx)[:4] == where
    assert get(ctx) == data
    assert row(ctx, 0) and row(ctx, 2) and not row(ctx, 1)
    assert go_on(ctx) == after


@pytest.mark.parametrize("type_", ["GGML_TYPE_F32", "GGML_TYPE_F16", "GGML_TYPE_Q8_0"])
def test_types_of_the_cache(folder, type_):
    with Model(write(folder, type_, n_embd=64, n_ff=64)) as owner:
        fields = {"type_k": getattr(lib, type_), "type_v": getattr(lib, type_)}
        ctx, other = forked(owner._pointer, **fields), init(owner._pointer, n_ctx=400, n_seq_max=4, **fields)
        data = get(ctx)
        assert put(other, data) == len(data)
        assert go_on(other) == go_on(ctx)


def test_what_is_shared_stays_shared(model, saved):
    """73 + 1 tokens of sequence 0, 3 of sequence 1 that are its own, 21 of sequence 2: no copy counts."""
    ctx = init(model, n_ctx=98, n_seq_max=4)
    assert put(ctx, saved[0]) == len(saved[0]), last_error()
    assert lib.llama_kv_self_used_cells(ctx) == 98
    small = init(model, n_ctx=97, n_seq_max=4)
    forget_error()
    assert put(small, saved[0]) == 0
    assert last_error()[0] == -10 and "the state holds 98 tokens" in last_error()[1]


def test_an_empty_context_has_a_state(model):
    ctx, other = init(model, n_ctx=64), forked(model)
    data = get(ctx)
    assert len(data) == HEADER + SUMS
    assert put(other, data) == len(data)
    assert spans(other) == [(-1, -1)] * 4 and not row(other)


def test_a_sequence_can_become_another(model, saved):
    one = saved[3]
    ctx = forked(model)
    assert decode(ctx, range(40), seq=[[3]] * 40) == 0
    before = spans(ctx)
    last = row(ctx)
    assert put(ctx, one, 3) == len(one), last_error()
    assert spans(ctx) == before[:3] + [before[2]]
    assert row(ctx) == last                            # rows of the last decode are the context's
    assert decode(ctx, [50, 50], seq=[[2], [3]], logits=[1, 1]) == 0
    assert row(ctx, 0) == row(ctx, 1)
    assert get(ctx, 2) == get(ctx, 3)


def test_a_sequence_that_shares_pages_is_saved_alone(model):
    ctx = forked(model)
    data = get(ctx, 1)
    fresh = init(model, n_ctx=100)
    assert put(fresh, data, 0) == len(data), last_error()
    assert spans(fresh) == [(0, 72)] and lib.llama_kv_self_used_cells(fresh) == 73
    assert decode(ctx, [9], seq=[[1]]) == decode(fresh, [9]) == 0
    assert row(ctx) == row(fresh)


def test_a_key_turns_as_in_float64(model):
    """Keys of a state before and after a shift: the one rounding to F16 that kv_move.pyx promises."""
    ctx = init(model, n_ctx=128)
    assert decode(ctx, range(100)) == 0

    def keys(data, n, layers=2, d=16):
        rows = np.frombuffer(data[:-8], np.float16)[-2 * layers * n * d:]
        return rows[:layers * n * d].astype(np.float64).reshape(layers, n, d // 2, 2)

    before = keys(get(ctx, 0), 100)
    lib.llama_memory_seq_add(lib.llama_get_memory(ctx), 0, -1, -1, -37)
    after = keys(get(ctx, 0), 63)
    turn = np.exp(-37j * 10000.0 ** (-2.0 * np.arange(8) / 16))
    want = (before[:, 37:, :, 0] + 1j * before[:, 37:, :, 1]) * turn
    got = after[..., 0] + 1j * after[..., 1]
    for part in (np.real, np.imag):
        # Half a unit of F16 (2^-11 of the value, 2^-25 for subnormals); float32 products add less than 2^-22 of the length.
        bound = np.abs(part(want)) * 2.0**-11 + 2.0**-25 + np.abs(want) * 2.0**-21
        assert (np.abs(part(got) - part(want)) <= bound).all()


# ---- the generator of 2023 ----

def drawn(ctx, n=20) -> list[int]:
    """Tokens that llama_sample_token draws from equal candidates."""
    candidates = ffi.new("llama_token_data[]", [(i, 0.0, 0.0) for i in range(200)])
    return [lib.llama_sample_token(ctx, ffi.new("llama_token_data_array *", (candidates, 200, -1, False))) for _ in range(n)]


@pytest.mark.parametrize("before", [0, 5, 311, 312])      # a draw takes two of 624 words
def test_drawing_goes_on(model, before):
    ctx, other = init(model, n_ctx=64), init(model, n_ctx=64)
    lib.llama_set_rng_seed(ctx, 42)
    drawn(ctx, before)
    data = get(ctx)
    assert len(data) == HEADER + GENERATOR + SUMS
    assert put(other, data) == len(data) and get(other) == data
    assert drawn(other) == drawn(ctx)


def test_the_generator_follows_the_rows(model, saved):
    ctx, other = forked(model), init(model, n_ctx=400, n_seq_max=4)
    lib.llama_set_rng_seed(ctx, 7)
    data = get(ctx)
    assert len(data) == len(saved[0]) + GENERATOR
    assert put(other, data) == len(data)
    assert drawn(other) == drawn(ctx) and go_on(other) == saved[1]
    assert get(ctx, 2) == get(forked(model), 2)        # a sequence has none


def test_a_state_without_a_generator_leaves_the_one_that_is_there(model, saved):
    ctx, other = init(model, n_ctx=400, n_seq_max=4), init(model, n_ctx=400, n_seq_max=4)
    for each in (ctx, other):
        lib.llama_set_rng_seed(each, 42)
        drawn(each, 3)
    assert put(ctx, saved[0]) == len(saved[0])
    assert drawn(ctx) == drawn(other)


@pytest.mark.parametrize("version", [0, 2, 4, 2**32 - 1])
def test_other_versions_are_refused(model, saved, version):
    other = bytearray(saved[0])
    other[12:16] = struct.pack("<I", version)
    sentence = refused(model, resealed(bytes(other)), None)
    assert sentence == f"the state is of version {version}, which another version of this library wrote, expected 3"


@pytest.mark.parametrize("at, value, sentence", [
    (108, 2, "2 generators"), (108, 0, "a size of"), (HEADER + 624 * 4, 625, "word 625 of a generator"),
    (HEADER + 624 * 4, 2**32 - 1, "word -1 of a generator")])
def test_a_lie_about_the_generator_is_refused(model, at, value, sentence):
    ctx = init(model, n_ctx=400)
    lib.llama_set_rng_seed(ctx, 42)
    bad = bytearray(get(ctx))
    bad[at:at + 4] = struct.pack("<I", value)
    assert sentence in refused(model, resealed(bytes(bad)), None)


# ---- what is refused ----

@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_one_flipped_bit_anywhere_is_found(model, saved, data):
    state, where = (saved[0], None) if data.draw(st.booleans(), "whole") else (saved[3], 1)
    # The header, the tables and the ends more often than the rows.
    at = data.draw(st.one_of(st.integers(0, HEADER - 1), st.integers(0, 2000), st.integers(0, len(state) - 1), st.just(len(state) - 1)),
                   "at")
    bad = bytearray(state)
    bad[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    refused(model, bytes(bad), where)


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_state_cut_anywhere_is_found(model, saved, data):
    state, where = (saved[0], None) if data.draw(st.booleans(), "whole") else (saved[3], 1)
    refused(model, state[:data.draw(st.one_of(st.integers(0, HEADER + 8), st.integers(0, len(state) - 1)), "length")], where)


CONTEXTS = {}


def refused(model, state, where):
    """By one context again and again, so that a change would stay."""
    if model not in CONTEXTS:
        ctx = forked(model)
        CONTEXTS[model] = ctx, get(ctx)
    ctx, before = CONTEXTS[model]
    forget_error()
    assert put(ctx, state, where) == 0
    code, sentence = last_error()
    assert code in (ERROR, -10) and "state" in sentence, sentence
    untouched(ctx, before)
    return sentence


def bnf_sum(data: bytes) -> int:
    """csrc/bnf_sum.c in Python."""
    lanes = np.arange(1, 17, dtype=np.uint64) * np.uint64(0x9e3779b97f4a7c15)
    for words in np.frombuffer(data + bytes(-len(data) % 128), np.uint64).reshape(-1, 16):
        lanes ^= words
        lanes += lanes << np.uint64(21)
        lanes = lanes << np.uint64(29) | lanes >> np.uint64(35)
    h, mask = len(data), 2**64 - 1
    for lane in lanes.tolist():
        h = ((h << 27 | h >> 37) + lane) * 0xff51afd7ed558ccd & mask
    return h ^ h >> 31


def placed(total: int, number: int) -> int:
    h, mask = (total + number * 0x9e3779b97f4a7c15) % 2**64, 2**64 - 1
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93 & mask
    return h ^ h >> 29


def pieces(data: bytes):
    """Lengths of the pieces of rows, as the pages in front say; stops where they make no sense."""
    n_layer, n_head_kv, dk, dv, _, _, n_client, n_pages = struct.unpack_from("<8I", data, 60)
    at, counts = HEADER + 4 * n_client, []
    while len(counts) < n_pages and at + 8 <= len(data):
        counts.append(int.from_bytes(data[at:at + 8], "little").bit_count())
        at += 8 + 4 * counts[-1]
    for width in (dk, dv):
        for _ in range(min(n_layer, 99)):
            yield from (2 * width * n_head_kv * n for n in counts)


def resealed(data: bytes) -> bytes:
    """All sums set right, as somebody would who writes states by hand."""
    head = data[:HEADER - 8]
    data = head + struct.pack("<Q", bnf_sum(head)) + data[HEADER:]
    at = struct.unpack_from("<Q", data, 24)[0]
    if not HEADER + 8 <= at <= len(data) - 8:
        return data
    data = data[:at - 8] + struct.pack("<Q", bnf_sum(data[:at - 8])) + data[at:-8]
    total = 0
    for i, n in enumerate(pieces(data)):
        if at + n > len(data):
            break
        total += placed(bnf_sum(data[at:at + n]), i)
        at += n
    return data + struct.pack("<Q", total % 2**64)


def test_resealing_is_right(saved):
    assert resealed(saved[0]) == saved[0] and resealed(saved[3]) == saved[3]


@given(data=st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_lie_with_right_checksums_harms_nothing(model, saved, data):
    """Any number of the header's counts, pages, tables and outputs, replaced: refused, or taken as the harmless state that it is."""
    state, where = (saved[0], None) if data.draw(st.booleans(), "whole") else (saved[3], 1)
    bad = bytearray(state)
    for _ in range(data.draw(st.integers(1, 2), "lies")):
        at = 4 * data.draw(st.one_of(st.integers(4, 7), st.integers(12, HEADER // 4 - 3), st.integers(HEADER // 4, 260)), "word")
        value = data.draw(st.one_of(st.sampled_from([0, 1, 2, 3, 63, 64, 2**31 - 1, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1)), "value")
        bad[at:at + 4] = struct.pack("<I", value)
    ctx = forked(model)
    before = get(ctx)
    if put(ctx, resealed(bytes(bad)), where) == 0:
        untouched(ctx, before)
    else:
        get(ctx)
        for s in range(4):
            assert decode(ctx, [3], seq=[[s]]) in (0, 1)
            lib.llama_memory_seq_rm(lib.llama_get_memory(ctx), s, -1, -1)
        assert lib.llama_kv_self_used_cells(ctx) == 0


@pytest.mark.parametrize("what, sentence", [
    ({"seed": 1}, "of another model: shapes are equal, weights or their types are not"),
    ({"n_layer": 3}, "of another model: 2 layers, 1 kv heads of width 16, 280 tokens, expected 3, 1, 16, 280"),
    ({"weights": "f16"}, "shapes are equal, weights or their types are not"),
])
def test_a_state_of_another_model_is_refused(folder, saved, what, sentence):
    with Model(write(folder, "other", **what)) as other:
        ctx = init(other._pointer, n_ctx=400, n_seq_max=4)
        assert put(ctx, saved[0]) == 0
        assert sentence in last_error()[1]


@pytest.mark.parametrize("fields, sentence", [
    ({"rope_freq_base": 5000.0}, "other rope_freq_base"), ({"rope_freq_scale": 0.5}, "other rope_freq_base, rope_freq_scale"),
    ({"type_k": 0, "type_v": 0}, "another type"), ({"n_seq_max": 2}, "the state holds sequence 2, and the context's are 0 to 1"),
    ({"n_ctx": 64}, "the state holds 98 tokens")])
def test_a_context_that_does_not_fit_says_so(model, saved, fields, sentence):
    ctx = init(model, **{"n_ctx": 400, "n_seq_max": 4, **fields})
    assert decode(ctx, [1, 2, 3]) == 0
    before = get(ctx)
    assert put(ctx, saved[0]) == 0
    assert sentence in last_error()[1]
    untouched(ctx, before)


def test_kinds_are_not_confused(model, saved):
    ctx = init(model, n_ctx=400, n_seq_max=4)
    assert put(ctx, saved[3]) == 0 and last_error()[1] == "this is the state of one sequence, expected that of a context"
    assert put(ctx, saved[0], 1) == 0 and last_error()[1] == "this is the state of a context, expected that of one sequence"


def test_a_sequence_without_room_changes_nothing(model, saved):
    ctx = init(model, n_ctx=40, n_seq_max=2)
    assert decode(ctx, range(20)) == 0 and decode(ctx, range(9), seq=[[1]] * 9) == 0
    before = get(ctx)
    assert put(ctx, saved[3], 1) == 0 and last_error()[0] == -10       # 21 tokens where 20 are free
    untouched(ctx, before)


def test_absurd_calls(model):
    ctx = forked(model)
    n = lib.llama_state_get_size(ctx)
    buffer = ffi.new("uint8_t[]", n)
    calls = [
        lambda: lib.llama_state_get_data(ctx, buffer, n - 1), lambda: lib.llama_state_get_data(ctx, NULL, n),
        lambda: lib.llama_state_set_data(ctx, NULL, n), lambda: lib.llama_state_set_data(ctx, buffer, 0),
        lambda: lib.llama_state_seq_get_size(ctx, 4), lambda: lib.llama_state_seq_get_size(ctx, -1),
        lambda: lib.llama_state_seq_get_data(ctx, buffer, n, 4), lambda: lib.llama_state_seq_set_data(ctx, buffer, n, -1),
        lambda: lib.llama_state_seq_get_size_ext(ctx, 0, 4), lambda: lib.llama_state_seq_get_data_ext(ctx, buffer, n, 0, 8),
        lambda: lib.llama_state_seq_set_data_ext(ctx, buffer, n, 0, 16),
        lambda: lib.llama_state_save_file(ctx, NULL, NULL, 0), lambda: lib.llama_state_save_file(ctx, b"/tmp/none", NULL, 1),
        lambda: lib.llama_state_load_file(ctx, NULL, NULL, 0, NULL),
        lambda: lib.llama_state_load_file(ctx, b"/no/such/file", NULL, 0, NULL),
        lambda: lib.llama_state_save_file(ctx, b"/no/such/folder/file", NULL, 0),
        lambda: lib.llama_state_load_file(ctx, b"/tmp", NULL, 0, NULL),
        lambda: lib.llama_state_save_file(ctx, b"/dev/null", NULL, 0), lambda: lib.llama_state_load_file(ctx, b"/dev/zero", NULL, 0, NULL),
        lambda: lib.llama_state_seq_save_file(ctx, b"/tmp/none", 4, NULL, 0),
        lambda: lib.llama_state_seq_load_file(ctx, b"/tmp/none", -1, NULL, 0, NULL),
    ]
    for i, call in enumerate(calls):
        forget_error()
        before = last_error()
        assert not call(), i
        assert last_error() != before and last_error()[0] < 0, i


def test_a_second_thread_is_turned_away(model):
    ctx = init(model, n_ctx=64)
    seen = []

    @ffi.callback("ggml_abort_callback")
    def inside(_):
        seen.append((lib.llama_state_get_size(ctx), last_error()[0]))
        return False

    lib.llama_set_abort_callback(ctx, inside, NULL)
    thread = threading.Thread(target=lambda: decode(ctx, [1, 2]))
    thread.start()
    thread.join()
    assert seen and set(seen) == {(0, -8)}


# ---- older names ----

def test_older_names(model, saved, tmp_path):
    ctx, other = forked(model), init(model, n_ctx=400, n_seq_max=4)
    n = lib.llama_get_state_size(ctx)
    buffer = ffi.new("uint8_t[]", n)
    written = len(saved[0])
    assert min(n, lib.llama_get_state_size(other)) >= written        # of an empty context, too
    assert lib.llama_copy_state_data(ctx, buffer) == written and bytes(ffi.buffer(buffer, written)) == saved[0]
    assert lib.llama_set_state_data(other, buffer) == written and get(other) == saved[0]
    n = lib.llama_state_seq_get_size_ext(ctx, 2, lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)
    assert lib.bitnet_state_seq_copy_data(ctx, buffer, 2) == n == len(saved[3])
    assert lib.bitnet_state_seq_put_data(other, buffer, 3) == n and get(other, 3) == saved[3]
    assert lib.llama_state_seq_get_data_ext(ctx, buffer, n, 2, 2) == n
    assert lib.llama_state_seq_set_data_ext(other, buffer, n, 3, 3) == n
    path = os.fsencode(tmp_path / "session")
    assert lib.llama_save_session_file(ctx, path, TOKENS, 3)
    assert load(lib.llama_load_session_file, other, path) == (True, TOKENS)
    assert go_on(other) == saved[1]


@pytest.mark.parametrize("standard", ["c11", "c++11", "c++20"])
def test_calls_with_and_without_a_size_compile(standard):
    """Of the spring of 2024 and of today, and the functions' addresses."""
    tools = bnf_build.Toolchain()
    text = """
        size_t (*get)(struct llama_context *, uint8_t *, size_t) = llama_state_get_data;
        size_t both(struct llama_context *c, uint8_t *p) {
            return get(c, p, 9) + llama_state_get_data(c, p) + llama_state_get_data(c, p, 9)
                + llama_state_set_data(c, p) + llama_state_set_data(c, p, 9)
                + llama_state_seq_get_data(c, p, 0) + llama_state_seq_get_data(c, p, 9, 0)
                + llama_state_seq_set_data(c, p, 0) + llama_state_seq_set_data(c, p, 9, 0);
        }"""
    language = "c++" if "++" in standard else "c"
    compiler = tools.cxx if "++" in standard else tools.cc
    done = subprocess.run([*compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Iinclude",
                          "-fsyntax-only", "-"],
                          cwd=bnf_build.ROOT, input='#include "bitnet_ffi.h"\n' + text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_cache_of_2023(model):
    ctx, other = init(model, n_ctx=128), init(model, n_ctx=128)
    assert decode(ctx, range(20)) == 0
    n = lib.llama_get_kv_cache_size(ctx)
    kept = bytes(ffi.buffer(lib.llama_get_kv_cache(ctx), n))
    lib.llama_set_kv_cache(other, kept, n, 15)
    assert last_error() == (0, "") and span(other) == (0, 14)
    lib.llama_memory_seq_rm(lib.llama_get_memory(ctx), 0, 15, -1)
    assert decode(ctx, [3]) == decode(other, [3]) == 0
    assert row(ctx) == row(other)
    lib.llama_set_kv_cache(other, kept, n, -1)
    assert last_error()[0] == ERROR and span(other) == (0, 15)
    lib.llama_set_kv_cache(other, kept, n - 1, 5)
    assert last_error()[0] == ERROR and span(other) == (0, 15)
    for call in (lib.llama_get_kv_cache, lib.llama_get_kv_cache_size):
        assert not call(NULL) and last_error()[0] == ERROR
