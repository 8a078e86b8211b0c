"""n_ctx shared by sequences (kv_unified) or split between them: what each may hold, and what is said when it is too much.

Pages are shared in both: prefixes cost no memory, but where n_ctx is split a copied token is one of each sequence's own. Next:
test_kv_cache.py for the cache itself, bitnet_ffi/_core/cache/kv_limit.pyx.
"""
import numpy as np
import pytest

from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, FULL, NO_ROOM, decode, init, last_error, row
from gguf_writer import tiny_model

PART = 256      # the least that a sequence has where n_ctx is split
END = 0x7fffffff


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_model(n_layer=1, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=4096).write(
        tmp_path_factory.mktemp("split") / "tiny.gguf")
    pointer = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    yield pointer
    lib.llama_model_free(pointer)


def split(model, **fields):
    return init(model, **{"n_ctx": 3 * PART, "n_seq_max": 3, "kv_unified": False, **fields})


def add(ctx, seqs, n, first=0):
    """n tokens to each sequence of seqs, of its own."""
    rows = [(1 + (first + i) % 200, first + i, [s]) for s in seqs for i in range(n)]
    return decode(ctx, [r[0] for r in rows], pos=[r[1] for r in rows], seq=[r[2] for r in rows])


def held(ctx, seq):
    memory = lib.llama_get_memory(ctx)
    return lib.llama_memory_seq_pos_max(memory, seq) + 1


@pytest.mark.parametrize("n_ctx, n_seq_max, part", [
    (1, 2, 256), (256, 2, 256), (512, 2, 256), (513, 2, 512), (2048, 3, 768), (4096, 4, 1024), (4097, 4, 1280), (100, 256, 256), (0, 2, 2048)])
def test_parts_are_those_of_llama_cpp(model, n_ctx, n_seq_max, part):
    """llama-context.cpp: n_ctx to a multiple of 256, divided, to a multiple of 256."""
    ctx = split(model, n_ctx=n_ctx, n_seq_max=n_seq_max)
    assert (lib.llama_n_ctx_seq(ctx), lib.llama_n_ctx(ctx)) == (part, part * n_seq_max)


def test_shared_or_alone_n_ctx_is_what_was_asked_for(model):
    assert not lib.llama_context_default_params().kv_unified
    for fields in ({"kv_unified": True}, {"n_seq_max": 1}, {"n_seq_max": 0}):
        ctx = split(model, **{"n_ctx": 100, **fields})
        assert lib.llama_n_ctx_seq(ctx) == lib.llama_n_ctx(ctx) == 100


def test_parts_too_many_to_add_up_are_refused(model):
    assert split(model, n_ctx=(1 << 24) - 255, n_seq_max=255) == ffi.NULL
    status, sentence = last_error()
    assert status == ERROR and "n_ctx is 16776961, which makes 66048 for each of 255 sequences" in sentence


def test_each_sequence_has_its_part(model):
    """However full the others are; one token more than the part is too many."""
    ctx = split(model)
    for seq in range(3):
        assert add(ctx, [seq], PART) == 0
    assert add(ctx, [1], 1, first=PART) == NO_ROOM
    assert last_error() == (FULL, "no room for 1 tokens: sequence 1 holds 256 of n_ctx_seq = 256 (n_ctx is split)")
    assert lib.llama_memory_seq_rm(lib.llama_get_memory(ctx), 1, 100, -1)
    assert add(ctx, [1], PART - 100, first=100) == 0


def test_a_sequence_does_not_take_the_part_of_others(model):
    ctx = split(model)
    assert add(ctx, [2], PART + 1) == NO_ROOM
    assert last_error() == (FULL, "no room for 257 tokens: sequence 2 holds 0 of n_ctx_seq = 256 (n_ctx is split)")
    assert held(ctx, 2) == 0
    shared = split(model, kv_unified=True)
    assert add(shared, [2], 3 * PART) == 0 and add(shared, [0], 1) == NO_ROOM
    assert last_error() == (FULL, "no room for 1 tokens: the context holds 768 of n_ctx = 768")


def test_a_batch_that_fits_for_some_changes_nothing(model):
    ctx = split(model)
    assert add(ctx, [0], PART - 1) == 0
    before = row(ctx)
    assert add(ctx, [0, 1], 2, first=PART - 1) != 0      # sequence 1 may start there, sequence 0 is full after one
    assert last_error() == (FULL, "no room for 2 tokens: sequence 0 holds 255 of n_ctx_seq = 256 (n_ctx is split)")
    assert (held(ctx, 0), held(ctx, 1)) == (PART - 1, 0)
    assert add(ctx, [0], 1, first=PART - 1) == 0 and row(ctx) != before


def test_gaps_make_room(model):
    """A sequence is as full as it has tokens, wherever they are: the context shift without the shift."""
    ctx = split(model)
    memory = lib.llama_get_memory(ctx)
    assert add(ctx, [0], PART) == 0 and add(ctx, [0], 1, first=PART) == NO_ROOM
    assert lib.llama_memory_seq_rm(memory, 0, 10, 30)
    assert add(ctx, [0], 20, first=PART) == 0
    assert add(ctx, [0], 1, first=PART + 20) == NO_ROOM
    lib.llama_memory_seq_rm(memory, 0, 64, 128)
    lib.llama_memory_seq_add(memory, 0, 128, -1, -64)
    assert add(ctx, [0], 64, first=PART + 20 - 64) == 0 and add(ctx, [0], 1, first=PART + 20) == NO_ROOM


def test_prefixes_are_shared_and_count_in_each(model):
    """Three sequences with one prefix of 200: 56 more for each, no page copied, and the same logits as alone."""
    ctx, alone = split(model), split(model)
    memory = lib.llama_get_memory(ctx)
    assert add(ctx, [0], 200) == 0
    for seq in (1, 2):
        lib.llama_memory_seq_cp(memory, 0, seq, -1, -1)
        assert last_error()[0] == 0
    assert lib.llama_get_kv_cache_used_cells(ctx) == 200
    for seq in (1, 2, 0):
        assert add(ctx, [seq], 57, first=200) == NO_ROOM
        assert add(ctx, [seq], 56, first=200) == 0
    assert add(alone, [1], 256) == 0 and row(alone) == row(ctx)


def test_a_token_of_several_sequences_counts_in_each(model):
    ctx = split(model)
    assert add(ctx, [0], PART) == 0
    assert decode(ctx, [5], pos=[PART], seq=[[1, 0]]) == NO_ROOM
    assert "sequence 0 holds 256 of n_ctx_seq = 256" in last_error()[1] and held(ctx, 1) == 0
    assert decode(ctx, [5], pos=[PART], seq=[[1, 2]]) == 0


def test_a_copy_that_does_not_fit_changes_nothing(model):
    ctx = split(model)
    memory = lib.llama_get_memory(ctx)
    assert add(ctx, [0], 200) == 0 and add(ctx, [1], 100, first=150) == 0
    lib.llama_memory_seq_cp(memory, 0, 1, 0, 150)      # 150 and 100
    assert last_error()[0] == 0 and (lib.llama_memory_seq_pos_min(memory, 1), held(ctx, 1)) == (0, 250)
    assert add(ctx, [1], 6, first=250) == 0
    lib.llama_memory_seq_cp(memory, 0, 1, 100, 200)    # in place of what is there: no token more
    assert last_error()[0] == 0
    assert add(ctx, [2], 100, first=200) == 0
    lib.llama_memory_seq_cp(memory, 0, 2, 0, 156)
    assert last_error()[0] == 0 and add(ctx, [2], 1, first=300) == NO_ROOM
    lib.llama_memory_seq_cp(memory, 0, 2, 156, 157)
    assert last_error() == (FULL, "sequence 2 would hold 257 tokens with those of sequence 0, and has room for 256 (n_ctx_seq)")
    assert lib.llama_memory_seq_rm(memory, 2, 0, 200) and lib.llama_memory_seq_pos_min(memory, 2) == 200


def test_a_state_of_a_longer_sequence_is_refused(model):
    """Of all sequences and of one; the context is as it was."""
    longer, ctx = split(model, kv_unified=True), split(model)
    assert add(longer, [1], 300) == 0 and add(ctx, [1], 20) == 0
    whole = np.zeros(lib.llama_state_get_size(longer), np.uint8)
    one = np.zeros(lib.llama_state_seq_get_size(longer, 1), np.uint8)
    assert lib.llama_state_get_data(longer, ffi.from_buffer("uint8_t[]", whole), whole.size) == whole.size
    assert lib.llama_state_seq_get_data(longer, ffi.from_buffer("uint8_t[]", one), one.size, 1) == one.size
    assert lib.llama_state_set_data(ctx, ffi.from_buffer("uint8_t[]", whole), whole.size) == 0
    assert last_error() == (FULL, "the state holds 300 tokens of sequence 1, and there is room for 256 (n_ctx_seq)")
    assert lib.llama_state_seq_set_data(ctx, ffi.from_buffer("uint8_t[]", one), one.size, 2) == 0
    assert "300 tokens of sequence 2" in last_error()[1]
    assert (held(ctx, 1), held(ctx, 2)) == (20, 0) and add(ctx, [1], PART - 20, first=20) == 0
    roomy = split(model, n_ctx=6 * PART)
    assert lib.llama_state_set_data(roomy, ffi.from_buffer("uint8_t[]", whole), whole.size) == whole.size and held(roomy, 1) == 300


def test_encoding_is_not_of_a_sequence(model):
    """llama_encode keeps nothing, so the parts do not bound it."""
    ctx = split(model, n_ubatch=512)
    tokens = ffi.new("llama_token[]", [1 + i % 200 for i in range(PART + 10)])
    assert lib.llama_encode(ctx, lib.llama_batch_get_one(tokens, PART + 10)) == 0
    assert lib.llama_decode(ctx, lib.llama_batch_get_one(tokens, PART + 10)) == NO_ROOM


def test_bits_do_not_know(model):
    """The same logits, split or shared."""
    both = [split(model, kv_unified=unified) for unified in (False, True)]
    for ctx in both:
        assert add(ctx, [0, 2], 90) == 0 and add(ctx, [2], 3, first=90) == 0
    assert row(both[0]) == row(both[1])
