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
            context.decode([(37 * i * i + 11) % 1985])
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
        token = ffi.new("int32_t[]", [(37 * i * i + 11) % 1985])
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


# ---- heads of eight significant bits: twelve are stored ----

def short_head(seed=11, n_vocab=2000, change=lambda w: None):
    """A tiny model whose head came from bfloat16, as published ones did, written as F16."""
    g = tiny_model(**SHAPE | dict(n_vocab=n_vocab), embd="f16", head="f16", seed=seed)
    w = np.random.default_rng(seed).normal(0, 0.06, (n_vocab, 256)).astype(np.float32)
    change(w)
    g.get_tensor("output.weight").data = (w.view(np.uint32) & 0xffff0000).view(np.float32).astype(np.float16).tobytes()
    return g


def all_logits(path, tokens, load_mode=None, n_threads=2):
    """Logits of one batch, of a model that is loaded as load_mode says."""
    params = lib.llama_model_default_params()
    if load_mode is not None:
        params.load_mode = load_mode
    model = ffi.gc(check_pointer(lib.llama_model_load_from_file(str(path).encode(), params)), lib.llama_model_free)
    settings = lib.llama_context_default_params()
    settings.n_threads = settings.n_threads_batch = n_threads
    ctx = ffi.gc(lib.llama_init_from_model(model, settings), lib.llama_free)
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    assert lib.llama_decode(ctx, batch) == 0
    lib.llama_batch_free(batch)
    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    rows = [ffi.buffer(lib.llama_get_logits_ith(ctx, i), 4 * n_vocab)[:] for i in range(len(tokens))]
    return np.frombuffer(b"".join(rows), np.uint32).reshape(len(tokens), n_vocab)


def outliers(w):
    w[5] = 0
    w[6:9, 40:60] *= 1e-6
    w[100, ::31] = 300
    w[1999, 0] = np.inf


@pytest.mark.parametrize("n_tokens", [1, 2, 5])
@pytest.mark.parametrize("change", [lambda w: None, outliers])
def test_logits_are_those_of_the_head_in_place(tmp_path, n_tokens, change):
    path = short_head(change=change).write(tmp_path / "model.gguf")
    tokens = [(31 * i + 5) % 2000 for i in range(n_tokens)]
    assert (all_logits(path, tokens) == all_logits(path, tokens, lib.LLAMA_LOAD_MODE_MMAP)).all()


@pytest.mark.parametrize("n_vocab", [1985, 1999, 2003])
def test_rows_beyond_the_last_tile(tmp_path, n_vocab):
    path = short_head(n_vocab=n_vocab).write(tmp_path / "model.gguf")
    assert (all_logits(path, [3, 4, 5]) == all_logits(path, [3, 4, 5], lib.LLAMA_LOAD_MODE_MMAP)).all()
    assert max(choices(path, look=True)) < n_vocab


# ---- several rows of a batch ----

@pytest.mark.parametrize("n_rows", [2, 8, 12, 13, 30])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_greedy_of_many_rows_is_that_of_their_logits(tmp_path, n_rows, n_threads):
    path = short_head(seed=12).write(tmp_path / "model.gguf")
    with Model(path) as model, model.context(n_ctx=256, n_seq_max=n_rows, n_threads=n_threads) as context:
        chain = sampler()
        for step in range(3):
            tokens = [(17 * i + 301 * step) % 2000 for i in range(n_rows)]
            context.decode(tokens, pos=[step] * n_rows, seq=list(range(n_rows)), logits="all")
            chosen = [lib.llama_sampler_sample(chain, context._pointer, i) for i in reversed(range(n_rows))][::-1]
            assert chosen == [first_of_largest(row) for row in context.all_logits()]


# ---- shortlists ----

def chain_of(*members):
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for member in members:
        lib.llama_sampler_chain_add(chain, member)
    return ffi.gc(chain, lib.llama_sampler_free)


def biases(*pairs):
    array = ffi.new("llama_logit_bias[]", [list(pair) for pair in pairs])
    return lib.llama_sampler_init_logit_bias(2000, len(pairs), array)


CHAINS = {
    "top-k": lambda seed: chain_of(lib.llama_sampler_init_top_k(20), lib.llama_sampler_init_dist(seed)),
    "all": lambda seed: chain_of(lib.llama_sampler_init_top_k(31), lib.llama_sampler_init_top_p(0.9, 1),
                                 lib.llama_sampler_init_min_p(0.05, 1),
                                 lib.llama_sampler_init_temp(0.7), lib.llama_sampler_init_dist(seed)),
    "typical": lambda seed: chain_of(lib.llama_sampler_init_temp(1), lib.llama_sampler_init_top_k(25), lib.llama_sampler_init_typical(0.8, 1),
                                     lib.llama_sampler_init_dist(seed)),
    "penalties": lambda seed: chain_of(lib.llama_sampler_init_penalties(2000, 12, 1.5, 0.1, 0.2), lib.llama_sampler_init_top_k(8),
                                       lib.llama_sampler_init_temp(1.3), lib.llama_sampler_init_dist(seed)),
    "rewards": lambda seed: chain_of(lib.llama_sampler_init_penalties(2000, 12, 0.8, -0.5, 0), lib.llama_sampler_init_top_k(8),
                                     lib.llama_sampler_init_dist(seed)),
    "biases": lambda seed: chain_of(biases((3, 2.5), (7, -1), (1999, 4), (5000, 1), (-2, 9)), lib.llama_sampler_init_top_k(10),
                                    lib.llama_sampler_init_dist(seed)),
}


def stream(context, chain, n=25):
    """Tokens of a chain, each fed back."""
    tokens = []
    token = 1
    for _ in range(n):
        context.decode([token])
        token = lib.llama_sampler_sample(chain, context._pointer, -1)
        tokens.append(token)
    context.clear()
    return tokens


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_shortlist_samples_what_all_logits_do(tmp_path, name, n_threads):
    path = short_head(seed=13).write(tmp_path / "model.gguf")
    params = lib.llama_model_default_params()
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP      # no screen: chains get all logits
    plain = ffi.gc(check_pointer(lib.llama_model_load_from_file(str(path).encode(), params)), lib.llama_model_free)
    ctx = ffi.gc(lib.llama_init_from_model(plain, lib.llama_context_default_params()), lib.llama_free)
    with Model(path) as model, model.context(n_ctx=64, n_threads=n_threads) as context:
        different = set()
        for seed in range(12):
            tokens, chain, token = [], CHAINS[name](seed), 1
            lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
            for _ in range(25):
                assert lib.llama_decode(ctx, lib.llama_batch_get_one(ffi.new("int32_t[]", [token]), 1)) == 0
                token = lib.llama_sampler_sample(chain, ctx, -1)
                tokens.append(token)
            assert stream(context, CHAINS[name](seed)) == tokens
            different.add(tuple(tokens))
        assert len(different) > 6


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
