"""The head, when it is asked: a greedy choice without logits is the choice of the logits, to the last bit."""
import numpy as np
import pytest

from bitnet_ffi import Model, Sampling
from bitnet_ffi._ffi import check_pointer, ffi, lib
from gguf_writer import tiny_model

SHAPE = dict(arch="bitnet-b1.58", weights="i2_s", n_embd=256, n_ff=256, n_head=4, n_head_kv=2, n_vocab=2000, n_layer=1)


def sampler():
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
    return ffi.gc(chain, lib.llama_sampler_free)


def first_of_largest(row):
    """llama's greedy: NaN counts as minus infinity, the smaller id wins a tie."""
    return int(np.nanargmax(np.where(np.isnan(row), -np.inf, row)))


def choices(path, n=60, look=False, **options):
    """Tokens that greedy sampling chooses after each of n tokens, and with look the logits' own."""
    with Model(path) as model, model.context(n_ctx=2 * n, **options) as context:
        chain, tokens = sampler(), []
        for i in range(n):
            context.decode([(37 * i * i + 11) % 2000])
            chosen = lib.llama_sampler_sample(chain, context._pointer, -1)
            if look:
                assert chosen == first_of_largest(context.logits())
            tokens.append(chosen)
    return tokens


@pytest.mark.parametrize("head", ["f16", "bf16", "f32", "q8_0", "q6_k"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_greedy_chooses_the_largest_logit(tmp_path, head, n_threads):
    path = tiny_model(**SHAPE, embd="f16", head=head, seed=5).write(tmp_path / "model.gguf")
    tokens = choices(path, look=True, n_threads=n_threads)
    assert len(set(tokens)) > 10
    assert tokens == choices(path, n_threads=n_threads)


def test_equal_rows_are_a_tie_for_the_smaller_id(tmp_path):
    g = tiny_model(**SHAPE, embd="f16", head="f16", seed=6)
    plain = choices(g.write(tmp_path / "plain.gguf"))
    w = np.frombuffer(g.get_tensor("output.weight").data, np.float16).reshape(2000, 256).copy()
    w[1500:] = w[:500]
    w[:2] = w[1000:1002]
    g.get_tensor("output.weight").data = w.tobytes()
    tied = choices(g.write(tmp_path / "tied.gguf"), look=True)
    assert tied != plain and max(tied) < 1500 and not {1000, 1001} & set(tied)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_rows_that_are_not_finite_are_chosen_as_the_logits_say(tmp_path, bad):
    g = tiny_model(**SHAPE, embd="f16", head="f16", seed=7)
    w = np.frombuffer(g.get_tensor("output.weight").data, np.float16).reshape(2000, 256).copy()
    w[700, 3] = w[0, 0] = w[1999, 255] = bad
    g.get_tensor("output.weight").data = w.tobytes()
    choices(g.write(tmp_path / "model.gguf"), look=True)


def test_mapped_in_place_makes_the_same_choices(tmp_path):
    path = tiny_model(**SHAPE, embd="f16", seed=8).write(tmp_path / "model.gguf")
    params = lib.llama_model_default_params()
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    model = ffi.gc(check_pointer(lib.llama_model_load_from_file(str(path).encode(), params)), lib.llama_model_free)
    ctx = ffi.gc(lib.llama_init_from_model(model, lib.llama_context_default_params()), lib.llama_free)
    chain, tokens = sampler(), []
    for i in range(60):
        token = ffi.new("int32_t[]", [(37 * i * i + 11) % 2000])
        assert lib.llama_decode(ctx, lib.llama_batch_get_one(token, 1)) == 0
        tokens.append(lib.llama_sampler_sample(chain, ctx, -1))
    assert tokens == choices(path)


def test_choosing_leaves_the_logits_as_they_are(tmp_path):
    path = tiny_model(**SHAPE, embd="f16", seed=9).write(tmp_path / "model.gguf")
    with Model(path) as model, model.context(n_ctx=64) as context:
        context.decode([1, 2, 3, 4], logits="all")
        before = context.all_logits().copy()
        context.clear()
        context.decode([1, 2, 3, 4], logits="all")
        chain = sampler()
        assert [lib.llama_sampler_sample(chain, context._pointer, i) for i in (2, 0, -1)] == [int(before[i].argmax()) for i in (2, 0, -1)]
        assert (context.all_logits() == before).all()
        assert lib.llama_sampler_sample(chain, context._pointer, 4) == -1
        assert ffi.string(lib.bitnet_last_error()) != b""


def test_generation_is_that_of_a_client_that_reads_logits(tmp_path):
    path = tiny_model(**SHAPE, embd="f16", seed=10).write(tmp_path / "model.gguf")
    with Model(path) as model:
        generated = []
        for _ in model.generate([5, 6, 7], max_tokens=40, sampling=Sampling(greedy=True), on_token=generated.append):
            pass
        with model.context(n_ctx=64) as context:
            tokens, read = [5, 6, 7], []
            for _ in range(len(generated)):
                context.decode(tokens)
                tokens = [int(context.logits().argmax())]
                read += tokens
        assert generated == read
