"""LoRA adapters and control vectors through the C API: beside NumPy in float64, == among themselves, and every way to go wrong.

Next: adapter_tools.py makes the files, llama_reference.py computes.
"""
import threading
from pathlib import Path

import numpy as np
import pytest

from adapter_tools import E, N_VOCAB, SHAPE, adapter, all_weights, random_pairs
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, THREAD, decode, forget_error, init, last_error, row
from gguf_writer import ARRAY, F32, STRING, U32, tiny_model
from kernel_tables import TABLES, run_under
from llama_reference import Llama
from reference import Reference

NULL = ffi.NULL
TESTS = Path(__file__).parent
TEXT = [(11 * i * i + 5 * i + 3) % N_VOCAB for i in range(90)]
F32_CACHE = dict(n_ctx=256, type_k=0, type_v=0)
CLOSE = dict(rtol=0, atol=1e-4)            # logits of a few units; hundreds of float32 roundings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adapter")


@pytest.fixture(scope="module")
def path(folder):
    return tiny_model(**SHAPE, head="f32").write(folder / "tiny.gguf")


@pytest.fixture(scope="module")
def model(owner):
    return owner._pointer


def load(model, file):
    pointer = lib.llama_adapter_lora_init(model, str(file).encode())
    assert pointer, last_error()
    return pointer


def set_all(ctx, *uses) -> int:
    return lib.llama_set_adapters_lora(ctx, [a for a, _ in uses], len(uses), [s for _, s in uses])


def logits(ctx, tokens=TEXT) -> np.ndarray:
    lib.llama_memory_clear(lib.llama_get_memory(ctx), False)
    assert decode(ctx, tokens, logits=[1] * len(tokens)) == 0, last_error()
    return np.stack([np.frombuffer(row(ctx, i), np.float32) for i in range(len(tokens))])


@pytest.fixture(scope="module")
def full(folder, model):
    """An adapter for every weight, of rank 4 and alpha 8."""
    return load(model, adapter(random_pairs(all_weights(), 4, 1), alpha=8.0).write(folder / "full.gguf"))


@pytest.fixture(scope="module")
def base(model):
    return logits(init(model, **F32_CACHE))


# ---- what it computes ----

@pytest.mark.parametrize("name", all_weights())
def test_each_weight_alone(folder, path, model, base, name):
    pairs = random_pairs({name: all_weights()[name]}, 3, 5)
    ctx = init(model, **F32_CACHE)
    assert set_all(ctx, (load(model, adapter(pairs, alpha=6.0).write(folder / "one.gguf")), 0.5)) == 0, last_error()
    reference = Llama(path)
    reference.loras = {name: [(*pairs[name], 0.5 * 6 / 3)]}
    got = logits(ctx)
    np.testing.assert_allclose(got, reference.logits(TEXT), **CLOSE)
    assert (np.abs(got - base).max(1) > 1e-3)[1:].all()                    # the first token sees itself alone, whatever q and k are


@pytest.mark.parametrize("rank, alpha, kind", [(1, None, "f32"), (16, 16.0, "f16"), (20, -4.0, "f32"), (64, 1.0, "f32")])
def test_ranks_alphas_and_types(folder, path, model, rank, alpha, kind):
    pairs = random_pairs(all_weights(), rank, rank)
    ctx = init(model, **F32_CACHE)
    assert set_all(ctx, (load(model, adapter(pairs, alpha, kind=kind).write(folder / "rank.gguf")), 0.25)) == 0
    reference = Llama(path)
    scale = 0.25 * (alpha / rank if alpha else 1)
    half = (lambda m: m.astype(np.float16).astype(np.float64)) if kind == "f16" else (lambda m: m)
    reference.loras = {name: [(half(a), half(b), scale)] for name, (a, b) in pairs.items()}
    np.testing.assert_allclose(logits(ctx), reference.logits(TEXT), rtol=0, atol=1e-3)      # they shake the logits more


def test_several_at_once(folder, path, model):
    some = [random_pairs(all_weights(), rank, rank) for rank in (2, 5, 1)]
    adapters = [load(model, adapter(pairs).write(folder / f"some{i}.gguf")) for i, pairs in enumerate(some)]
    ctx = init(model, **F32_CACHE)
    scales = (0.5, -0.25, 1.0)
    assert set_all(ctx, *zip(adapters, scales)) == 0
    reference = Llama(path)
    reference.loras = {name: [(*pairs[name], s) for pairs, s in zip(some, scales)] for name in all_weights()}
    np.testing.assert_allclose(logits(ctx), reference.logits(TEXT), rtol=0, atol=1e-3)
    assert lib.llama_rm_adapter_lora(ctx, adapters[1]) == 0 and lib.llama_set_adapter_lora(ctx, adapters[2], -0.5) == 0
    reference.loras = {name: [(*some[0][name], 0.5), (*some[2][name], -0.5)] for name in all_weights()}
    np.testing.assert_allclose(logits(ctx), reference.logits(TEXT), rtol=0, atol=1e-3)


class Adapted(Reference):
    """BitNet with adapters: x goes into them as floats, into the ternary product as 8 bits."""

    def linear(self, name, x):
        y = super().linear(name, x)
        a, b = self.loras[name.removesuffix(".weight")]
        return y + (x @ a.T) @ b.T


def test_ternary_products_see_8_bits_and_adapters_floats(folder):
    file = TESTS / "data" / "tiny-b158-i2_s.gguf"
    reference = Adapted(file)
    shapes = {name.removesuffix(".weight"): tuple(dims) for name, (dims, kind, _) in reference.tensors.items() if kind == 36}
    assert len(shapes) == 7 * reference.n_layer
    reference.loras = random_pairs(shapes, 4, 9)
    for pair in reference.loras.values():
        pair[1][:] *= 0.1
    with Model(file) as owner:
        ctx = init(owner._pointer, **F32_CACHE)
        n_vocab = lib.llama_n_vocab(owner._pointer)
        tokens = [t % n_vocab for t in TEXT[:12]]
        before = logits(ctx, tokens)
        pointer = load(owner._pointer, adapter(reference.loras, arch=reference.arch).write(folder / "ternary.gguf"))
        assert lib.llama_set_adapter_lora(ctx, pointer, 1.0) == 0
        got, wanted = logits(ctx, tokens), reference.logits(tokens, half=False)
    # A last-bit difference can move a rounding to 8 bits by one: 1/127 of a number, in one of hundreds.
    cosine = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    moved = (got * before).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(before, axis=1)
    assert cosine.min() > 0.9999 > 0.99 > moved.max()


# ---- the same bits ----

def test_same_bits_for_every_cut_ubatch_and_thread(model, full):
    one = init(model, n_ctx=256)
    assert set_all(one, (full, 0.5)) == 0
    rows = logits(one)
    for n_ubatch, n_threads in ((1, 1), (1, 2), (7, 2), (64, 3), (512, 2)):
        ctx = init(model, n_ctx=256, n_ubatch=n_ubatch, n_threads=n_threads, n_threads_batch=n_threads)
        assert set_all(ctx, (full, 0.5)) == 0
        assert (logits(ctx) == rows).all()
        lib.llama_set_n_threads(ctx, 3 - n_threads % 2, 3)                # scratch is made anew
        assert (logits(ctx) == rows).all()
        lib.llama_memory_clear(lib.llama_get_memory(ctx), False)
        for begin, end in ((0, 1), (1, 30), (30, 31), (31, 90)):
            assert decode(ctx, TEXT[begin:end], logits=[1] * (end - begin)) == 0
            assert [row(ctx, i) for i in range(end - begin)] == [rows[i].tobytes() for i in range(begin, end)]


PROBE = """
import hashlib, json, sys
import test_adapter as t
with t.Model(sys.argv[1]) as owner:
    ctx = t.init(owner._pointer, n_ctx=256, n_threads=2, n_threads_batch=2)
    assert t.set_all(ctx, (t.load(owner._pointer, sys.argv[2]), 0.5)) == 0
    assert t.lib.llama_set_adapter_cvec(ctx, [0.1] * t.E, t.E, t.E, 1, 1) == 0
    print(json.dumps(hashlib.sha256(t.logits(ctx).tobytes()).hexdigest()))
"""


@pytest.fixture(scope="module")
def probe_file(folder):
    return adapter(random_pairs(all_weights(), 5, 2), alpha=5.0).write(folder / "probe.gguf")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_gives_the_bits_of_scalar(table, path, probe_file):
    assert run_under(table, PROBE, path, probe_file) == run_under("scalar", PROBE, path, probe_file)


# ---- setting, taking away ----

def test_without_it_the_bits_are_the_model_s(model, full, base):
    ctx = init(model, **F32_CACHE)
    for take_away in (lambda: set_all(ctx), lambda: lib.llama_rm_adapter_lora(ctx, full), lambda: lib.llama_clear_adapter_lora(ctx),
                      lambda: set_all(ctx, (full, 0.0)), lambda: lib.llama_set_adapter_lora(ctx, full, 0.0),
                      lambda: lib.llama_lora_adapter_remove(ctx, full), lambda: lib.llama_lora_adapter_clear(ctx)):
        assert lib.llama_lora_adapter_set(ctx, full, 1.0) == 0
        changed = logits(ctx)
        assert not take_away()
        assert (logits(ctx) == base).all() and (changed != base).any()


def test_freed_while_contexts_use_it(folder, path, base):
    file = adapter(random_pairs(all_weights(), 2, 3)).write(folder / "brief.gguf")
    with Model(path) as owner:
        a, b = (init(owner._pointer, **F32_CACHE) for _ in range(2))
        pointer = lib.llama_lora_adapter_init(owner._pointer, str(file).encode())
        assert lib.llama_set_adapter_lora(a, pointer, 1.0) == lib.llama_set_adapter_lora(b, pointer, 1.0) == 0
        rows = logits(a)
        load(owner._pointer, file)                                     # the model frees this one
        lib.llama_lora_adapter_free(pointer)
        file.unlink()
        assert (logits(a) == rows).all() and (rows != base).any()
        assert lib.llama_set_adapter_lora(a, pointer, 0.5) == ERROR and "free already" in last_error()[1]
        forget_error()
        lib.llama_adapter_lora_free(pointer)
        assert last_error()[1] == "llama_adapter_lora_free: the adapter is free already"
        assert lib.llama_adapter_meta_count(pointer) == 0
        assert lib.llama_rm_adapter_lora(a, pointer) == 0 and (logits(a) == base).all()
        owner.close()                                                  # contexts keep the model, the model its adapters
        assert (logits(b) == rows).all()
    lib.llama_adapter_lora_free(NULL)


def test_an_open_file(folder, model, path, base):
    import cffi
    libc_ffi = cffi.FFI()
    libc_ffi.cdef("void *fopen(const char *, const char *); int fclose(void *);")
    libc = libc_ffi.dlopen(None)
    file = libc.fopen(str(adapter(random_pairs(all_weights(), 2, 3)).write(folder / "open.gguf")).encode(), b"rb")
    pointer = lib.llama_adapter_lora_init_from_file_ptr(model, ffi.cast("FILE *", int(libc_ffi.cast("uintptr_t", file))))
    assert pointer, last_error()
    libc.fclose(file)
    ctx = init(model, **F32_CACHE)
    assert set_all(ctx, (pointer, 1.0)) == 0 and (logits(ctx) != base).any()
    forget_error()
    assert lib.llama_adapter_lora_init_from_file_ptr(model, NULL) == NULL and last_error()[1].endswith("file is NULL")


def test_logits_that_were_not_read_are_gone_with_another_head(folder, model, full):
    ctx = init(model, **F32_CACHE)
    layers = load(model, adapter(random_pairs({"blk.0.attn_q": (E, E)}, 2, 3)).write(folder / "layers.gguf"))
    assert decode(ctx, TEXT[:5]) == 0 and lib.llama_set_adapter_lora(ctx, layers, 1.0) == 0 and row(ctx)
    assert decode(ctx, TEXT[5:7]) == 0 and lib.llama_set_adapter_lora(ctx, full, 1.0) == 0 and row(ctx) == b""
    assert decode(ctx, TEXT[7:9]) == 0 and row(ctx) and lib.llama_rm_adapter_lora(ctx, full) == 0 and row(ctx)


def chain_of(*samplers):
    chain = ffi.gc(lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params()), lib.llama_sampler_free)
    for sampler in samplers:
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def chosen_by(ctx, chain, read_first):
    """What the chain chooses after each token of the text; read_first: of logits that are there already, so that no bounds are used."""
    lib.llama_memory_clear(lib.llama_get_memory(ctx), False)
    lib.llama_sampler_reset(chain)
    tokens = []
    for t in TEXT[:40]:
        assert decode(ctx, [t]) == 0, last_error()
        if read_first:
            assert row(ctx)
        tokens.append(lib.llama_sampler_sample(chain, ctx, -1))
    return tokens


@pytest.mark.parametrize("head", ["f16", None])
@pytest.mark.parametrize("sampler", ["greedy", "top-k", "gumbel"])
def test_the_screen_chooses_with_adapters_on_the_head(folder, head, sampler):
    """These samplers read a smaller copy of a float head, which bounds the file's weights; what adapters add is added to the bounds."""
    shape = {**SHAPE, "n_embd": 256, "n_vocab": 3000}
    with Model(tiny_model(**shape, head=head, embd="f16").write(folder / "screen.gguf")) as owner:
        name = "output" if head else "token_embd"
        some = [load(owner._pointer, adapter(random_pairs({name: (256, 3000)}, rank, rank)).write(folder / "head.gguf")) for rank in (4, 7)]
        ctx = init(owner._pointer, n_ctx=64, n_threads=2, n_threads_batch=2)
        assert set_all(ctx, (some[0], 1.0), (some[1], -0.5)) == 0
        chain = {"greedy": lambda: chain_of(lib.llama_sampler_init_greedy()),
                 "top-k": lambda: chain_of(lib.llama_sampler_init_top_k(5), lib.llama_sampler_init_dist(3)),
                 "gumbel": lambda: chain_of(lib.llama_sampler_init_temp(0.7), lib.bitnet_sampler_init_gumbel(5))}[sampler]()
        with_bounds, without = (chosen_by(ctx, chain, read_first) for read_first in (False, True))
        assert with_bounds == without and len(set(without)) > 10
        lib.llama_clear_adapter_lora(ctx)
        assert chosen_by(ctx, chain, False) != without


def test_bounds_go_with_the_adapters(folder):
    """A row's neighbours are bounded with it; setting another adapter in between does not leave them bounds of the one before."""
    with Model(tiny_model(**{**SHAPE, "n_embd": 256, "n_vocab": 3000}, head="f16").write(folder / "rows.gguf")) as owner:
        on_head = load(owner._pointer, adapter(random_pairs({"output": (256, 3000)}, 4, 3)).write(folder / "head.gguf"))
        layers = load(owner._pointer, adapter(random_pairs({"blk.0.attn_q": (256, 256)}, 9, 3)).write(folder / "layers.gguf"))
        ctx, greedy = init(owner._pointer, n_ctx=64, n_ubatch=1), lib.llama_sampler_init_greedy()
        assert set_all(ctx, (on_head, 2.0)) == 0 and decode(ctx, TEXT[:30], logits=[1] * 30) == 0
        first = lib.llama_sampler_sample(greedy, ctx, 0)
        lib.llama_set_n_threads(ctx, 3, 3)                             # scratch is made anew
        rest = [lib.llama_sampler_sample(greedy, ctx, i) for i in range(1, 30)]
        rows = [np.frombuffer(row(ctx, i), np.float32) for i in range(30)]
        assert [first, *rest] == [int(r.argmax()) for r in rows]
        assert decode(ctx, TEXT[30:33], logits=[1] * 3) == 0 and lib.llama_sampler_sample(greedy, ctx, 0) >= 0
        assert set_all(ctx, (layers, 1.0)) == 0 and lib.llama_sampler_sample(greedy, ctx, 1) == -1        # states of another head
        lib.llama_sampler_free(greedy)


def test_calls_of_2023(folder, path, base):
    file = str(adapter(random_pairs(all_weights(), 2, 3), alpha=4.0).write(folder / "2023.gguf")).encode()
    with Model(path) as owner:
        a, b = (init(owner._pointer, **F32_CACHE) for _ in range(2))
        assert lib.llama_apply_lora_from_file(a, file, 0.5, NULL, 1) == 0
        rows = logits(a)
        assert (rows != base).any() and (logits(b) == base).all()
        assert lib.llama_model_apply_lora_from_file(owner._pointer, file, 0.5, NULL, 1) == 0
        assert (logits(b) == rows).all() and (logits(init(owner._pointer, **F32_CACHE)) == rows).all()
        twice = logits(a)
        lib.llama_clear_adapter_lora(a)                               # its own only
        assert (twice != rows).any() and (logits(a) == rows).all()
        for call in (lambda f, s: lib.llama_apply_lora_from_file(a, f, s, NULL, 1),
                     lambda f, s: lib.llama_model_apply_lora_from_file(owner._pointer, f, s, NULL, 1)):
            assert call(b"/no/such/file", 1.0) == 1 and last_error()[0] == -4
            assert call(NULL, 1.0) == 1 and call(file, float("nan")) == 1 and "scale is nan" in last_error()[1]
        assert lib.llama_apply_lora_from_file(NULL, file, 1.0, NULL, 1) == lib.llama_model_apply_lora_from_file(NULL, file, 1.0, NULL, 1) == 1
        assert (logits(b) == rows).all()


# ---- metadata ----

def test_metadata(folder, model):
    g = adapter(random_pairs({"output": (E, N_VOCAB)}, 2, 3), alpha=2.5).set("general.name", STRING, "a name").set(
        "adapter.alora.invocation_tokens", ARRAY, (U32, [17, 23]))
    pointer = load(model, g.write(folder / "meta.gguf"))
    buffer = ffi.new("char[64]")

    def text(call, *arguments):
        n = call(pointer, *arguments, buffer, 64)
        assert n == len(ffi.string(buffer))
        return ffi.string(buffer).decode()

    n = lib.llama_adapter_meta_count(pointer)
    assert {text(lib.llama_adapter_meta_key_by_index, i): text(lib.llama_adapter_meta_val_str_by_index, i) for i in range(n)} == {
        "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora", "adapter.lora.alpha": "2.500000",
        "general.name": "a name"}
    assert text(lib.llama_adapter_meta_val_str, b"general.name") == "a name"
    assert lib.llama_adapter_meta_val_str(pointer, b"general.name", NULL, 0) == 6
    for key in (b"no such key", b"adapter.alora.invocation_tokens", NULL):
        buffer[0] = b"x"
        assert lib.llama_adapter_meta_val_str(pointer, key, buffer, 64) == -1 and ffi.string(buffer) == b""
    for i in (-1, n, 2**31 - 1):
        assert lib.llama_adapter_meta_key_by_index(pointer, i, buffer, 64) == lib.llama_adapter_meta_val_str_by_index(pointer, i, buffer, 64) == -1
    tokens = lib.llama_adapter_get_alora_invocation_tokens(pointer)
    assert lib.llama_adapter_get_alora_n_invocation_tokens(pointer) == 2 and list(tokens[0:2]) == [17, 23]


def test_an_adapter_that_is_always_on(full):
    assert lib.llama_adapter_get_alora_n_invocation_tokens(full) == 0 and lib.llama_adapter_get_alora_invocation_tokens(full) == NULL


# ---- wrong files ----

def changed(g, name, **fields):
    for key, value in fields.items():
        setattr(g.get_tensor(name), key, value)
    return g


Q = "blk.0.attn_q.weight.lora_"
WRONG = {
    "no type": (lambda g: g.drop("general.type"), "key 'general.type' is missing, expected 'adapter'"),
    "a model": (lambda g: g.set("general.type", STRING, "model"), "key 'general.type' is 'model', expected 'adapter'"),
    "another kind": (lambda g: g.set("adapter.type", STRING, "ia3"), "key 'adapter.type' is 'ia3', expected 'lora'"),
    "another architecture": (lambda g: g.set("general.architecture", STRING, "bitnet"), "key 'general.architecture' is 'bitnet', expected 'llama'"),
    "alpha": (lambda g: g.set("adapter.lora.alpha", F32, float("inf")), "key 'adapter.lora.alpha' is inf"),
    "invocation tokens": (lambda g: g.set("adapter.alora.invocation_tokens", U32, 5), "'adapter.alora.invocation_tokens' is no array of u32"),
    "a without b": (lambda g: g.drop_tensor(Q + "b"), "'blk.0.attn_q.weight' has a tensor .lora_a, but none .lora_b"),
    "b without a": (lambda g: g.drop_tensor(Q + "a"), "'blk.0.attn_q.weight' has a tensor .lora_b, but none .lora_a"),
    "width": (lambda g: changed(g, Q + "a", ne=(E // 2, 4)), f"tensor '{Q}a' has shape {{32, 4, 1, 1}}, expected {{64, 2}}"),
    "height": (lambda g: changed(g, Q + "b", ne=(2, E // 2)), f"tensor '{Q}b' has shape {{2, 32, 1, 1}}, expected {{2, 64}}"),
    "rank": (lambda g: changed(g, Q + "b", ne=(E * 2, 1)), f"'{Q}b' is of rank 128, expected 1 to 64"),
    "not a number": (lambda g: changed(g, Q + "b", data=np.full((E, 2), np.nan, "<f4").tobytes()), f"tensor '{Q}b': element 0 is nan"),
    "another weight": (lambda g: g.add("blk.9.attn_q.weight.lora_a", "f32", (1,), b"\0\0\0\0"), "tensor 'blk.9.attn_q.weight.lora_a' is not for a weight"),
    "no tensors": (lambda g: setattr(g, "tensors", []) or g, "the adapter has no tensors"),
}


def pair_q():
    return random_pairs({"blk.0.attn_q": (E, E)}, 2, 7)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(folder, model, name):
    change, sentence = WRONG[name]
    file = change(adapter(pair_q(), alpha=4.0)).write(folder / "wrong.gguf")
    forget_error()
    assert lib.llama_adapter_lora_init(model, str(file).encode()) == NULL
    code, text = last_error()
    assert code < 0 and sentence in text and "wrong.gguf: " in text


def test_a_truncated_file_is_refused(folder, model):
    whole = adapter(pair_q(), alpha=4.0).to_bytes()
    for size in [*range(0, 400, 13), len(whole) // 2, len(whole) - 40]:
        (folder / "cut.gguf").write_bytes(whole[:size])
        forget_error()
        assert lib.llama_adapter_lora_init(model, str(folder / "cut.gguf").encode()) == NULL and last_error()[0] < 0, size


def test_a_norm_is_left_out(folder, model):
    g = adapter(pair_q()).add("blk.0.attn_norm.weight", "f32", (E,), np.ones(E, "<f4").tobytes())
    assert load(model, g.write(folder / "norm.gguf"))


def test_an_embedding_that_is_the_head_too(folder):
    file = tiny_model(**SHAPE).write(folder / "tied.gguf")
    weights = {name: shape for name, shape in all_weights().items() if name != "output"}
    with Model(file) as owner:
        for names in (["token_embd"], weights):
            pairs = random_pairs({name: weights[name] for name in names}, 3, 1)
            ctx = init(owner._pointer, **F32_CACHE)
            before = logits(ctx)
            assert set_all(ctx, (load(owner._pointer, adapter(pairs, alpha=6.0).write(folder / "tied-adapter.gguf")), 0.5)) == 0
            reference = Llama(file)
            reference.loras = {name: [(*pairs[name], 0.5 * 6 / 3)] for name in names}
            got = logits(ctx)
            np.testing.assert_allclose(got, reference.logits(TEXT), rtol=0, atol=1e-3)
            assert (np.abs(got - before).max(1) > 1e-2).all()
            for n_ubatch, n_threads in ((1, 1), (7, 2), (512, 3)):
                other = init(owner._pointer, n_ubatch=n_ubatch, n_threads=n_threads, n_threads_batch=n_threads, **F32_CACHE)
                assert set_all(other, (load(owner._pointer, folder / "tied-adapter.gguf"), 0.5)) == 0 and (logits(other) == got).all()
        output = adapter(random_pairs({"output": (E, N_VOCAB)}, 2, 1)).write(folder / "tied-output.gguf")
        assert lib.llama_adapter_lora_init(owner._pointer, str(output).encode()) == NULL
        assert "tensor 'output.weight.lora_a' is not for a weight that this model has" in last_error()[1]


# ---- misuse ----

def test_wrong_handles_and_scales(model, full, path):
    ctx = init(model)
    with Model(path, vocab_only=True) as bare:
        assert lib.llama_adapter_lora_init(bare._pointer, b"x") == NULL and "vocab_only" in last_error()[1]
    assert lib.llama_adapter_lora_init(model, NULL) == lib.llama_adapter_lora_init(NULL, b"x") == NULL
    assert lib.llama_adapter_lora_init(model, b"/no/such/file") == NULL and last_error()[0] == -4
    for uses, sentence in ((((NULL, 1.0),), "adapter is NULL"), (((full, float("nan")),), "scale is nan"), (((full, 1.0), (full, 2.0)), "0 and 1 are the same")):
        assert set_all(ctx, *uses) == ERROR and sentence in last_error()[1]
    assert lib.llama_set_adapters_lora(ctx, NULL, 1, NULL) == ERROR and "adapters is NULL, but n_adapters is 1" in last_error()[1]
    assert lib.llama_set_adapters_lora(ctx, NULL, 0, NULL) == 0
    assert lib.llama_rm_adapter_lora(ctx, full) == ERROR and "does not use this adapter" in last_error()[1]
    with Model(path) as other:
        c = init(other._pointer)
        assert lib.llama_set_adapter_lora(c, full, 1.0) == ERROR and "for another model" in last_error()[1]


def test_a_busy_context_says_so(model, full):
    ctx = init(model, n_ctx=64)
    inside, leave = threading.Event(), threading.Event()

    @ffi.callback("bool(void *)")
    def wait(_):
        inside.set()
        leave.wait(20)
        return False

    lib.llama_set_abort_callback(ctx, wait, NULL)
    first = threading.Thread(target=lambda: decode(ctx, TEXT[:5]))
    first.start()
    assert inside.wait(20)
    got = [set_all(ctx, (full, 1.0)), lib.llama_set_adapter_lora(ctx, full, 1.0), lib.llama_rm_adapter_lora(ctx, full),
           lib.llama_set_adapter_cvec(ctx, NULL, 0, E, 0, 0)]
    forget_error()
    lib.llama_clear_adapter_lora(ctx)
    code = last_error()[0]
    leave.set()
    first.join()
    assert got == [THREAD] * 4 and code == THREAD


# ---- control vectors ----

@pytest.mark.parametrize("begin, end, layers", [(1, 1, [1]), (0, 9, [1, 2]), (2, 2, [2]), (-5, 0, []), (2, 1, []), (1, 2, [1, 2])])
def test_control_vector(folder, begin, end, layers):
    file = tiny_model(**{**SHAPE, "n_layer": 3}).write(folder / "three.gguf")
    vectors = np.random.default_rng(4).normal(0, 0.3, (2, E)).astype(np.float32)
    reference = Llama(file)
    reference.control = {i: vectors[i - 1].astype(np.float64) for i in layers}
    with Model(file) as owner:
        for n_ubatch in (1, 32):
            ctx = init(owner._pointer, n_ubatch=n_ubatch, n_threads=2, n_threads_batch=2, **F32_CACHE)
            before = logits(ctx)
            data = ffi.cast("float *", ffi.from_buffer(vectors))
            for call in (lib.llama_set_adapter_cvec, lib.llama_apply_adapter_cvec, lib.llama_control_vector_apply):
                assert call(ctx, data, vectors.size, E, begin, end) == 0
                np.testing.assert_allclose(logits(ctx), reference.logits(TEXT), **CLOSE)
                assert call(ctx, NULL, 0, E, begin, end) == 0 and (logits(ctx) == before).all()


def test_control_vector_of_fewer_layers_and_misuse(folder, model, base):
    ctx = init(model, **F32_CACHE)
    assert lib.llama_set_adapter_cvec(ctx, [1.0] * (E - 1), E - 1, E, 1, 1) == 0 and (logits(ctx) == base).all()      # not a whole layer
    assert lib.llama_set_adapter_cvec(ctx, [0.1] * 5 * E, 5 * E, E, 1, 9) == 0                                        # more layers than there are
    rows = logits(ctx)
    assert (rows != base).any()
    assert lib.llama_set_adapter_cvec(ctx, [0.1] * E, E, E - 1, 1, 1) == ERROR and f"n_embd is {E - 1}, expected the model's {E}" in last_error()[1]
    assert lib.llama_set_adapter_cvec(ctx, [float("nan")] * E, E, E, 1, 1) == ERROR and "number 0 is nan" in last_error()[1]
    assert (logits(ctx) == rows).all()
    assert lib.llama_set_adapter_cvec(NULL, NULL, 0, E, 1, 1) == ERROR
