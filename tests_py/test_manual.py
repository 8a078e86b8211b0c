"""What include/bitnet_ffi.h promises of every call, held over the calls together: absurd sizes are refused, last errors can be trusted.

Each call's own use and misuse is with its room: test_decode.py, test_load.py, test_vocab.py, test_sampler.py. Next:
test_api_misuse.py calls every function with nonsense and only asks that nothing crashes.
"""
import pytest

from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, MEMORY, init, last_error
from gguf_writer import U32, tiny_model

NULL = ffi.NULL
SMALL = dict(n_layer=1, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=64)


# ---- absurd sizes ----

@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_model(**SMALL).write(tmp_path_factory.mktemp("manual") / "tiny.gguf")
    pointer = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    yield pointer
    lib.llama_model_free(pointer)


def test_types_of_the_cache_are_three(model):
    assert init(model, type_k=lib.GGML_TYPE_F32, type_v=lib.GGML_TYPE_F16) != NULL
    assert init(model, type_k=lib.GGML_TYPE_F32, type_v=lib.GGML_TYPE_Q4_0) == NULL
    status, sentence = last_error()
    assert status == ERROR and "type_v" in sentence


def test_ubatch_of_the_largest_context_is_made_or_refused(model):
    """2^24 tokens at once want tens of GB of scratch: whatever this machine says to that, it is no crash."""
    context = init(model, n_ctx=1 << 24, n_batch=1 << 24, n_ubatch=1 << 24, n_seq_max=256)
    if context == NULL:
        assert last_error()[0] == MEMORY


@pytest.mark.parametrize("key, value", [
    ("block_count", 513), ("embedding_length", 2**30), ("feed_forward_length", 2**30), ("context_length", 2**31),
    ("attention.head_count", 2**30), ("attention.key_length", 2**31 - 1), ("attention.value_length", 2**20),
    ("rope.dimension_count", 2**31 - 2),
])
def test_absurd_size_is_refused_by_the_load(tmp_path, key, value):
    g = tiny_model(**SMALL)
    g.set(f"llama.{key}", U32, value)
    assert_refused(g.write(tmp_path / "absurd.gguf"), key)


def test_heads_wider_than_any_model_are_refused(tmp_path):
    """65536 heads of width 65536: each number is within its own bound, their product is not an int32."""
    g = tiny_model(**SMALL)
    for key in ("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"):
        g.set(f"llama.{key}", U32, 1 << 16)
    g.set("llama.rope.dimension_count", U32, 1 << 16)
    assert_refused(g.write(tmp_path / "wide.gguf"), "65536 heads of width 65536")


def assert_refused(path, text):
    assert lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params()) == NULL
    code, sentence = last_error()
    assert code == -9
    assert text in sentence


# ---- functions that return nothing ----

@pytest.mark.parametrize("call, right, wrong", [
    (lib.llama_set_n_threads, (1, 1), (0, 1)),
    (lib.llama_memory_seq_cp, (0, 1, -1, -1), (0, 2, -1, -1)),
    (lib.llama_memory_seq_keep, (1,), (-1,)),
], ids=["llama_set_n_threads", "llama_memory_seq_cp", "llama_memory_seq_keep"])
def test_last_error_tells_whether_they_worked(model, call, right, wrong):
    context = init(model, n_seq_max=2)
    handle = context if call == lib.llama_set_n_threads else lib.llama_get_memory(context)
    call(handle, *wrong)
    assert last_error()[0] == ERROR
    call(handle, *right)
    assert last_error() == (0, "")
