"""llama_context_params.cb_eval: what it is asked and shown, that watching changes no bit, and how it stops a decode.

Next: observe_tools.py for the names and values that are expected, test_observe_peer.py for llama.cpp's.
"""
import numpy as np
import pytest

from adapter_tools import SHAPE, adapter, random_pairs
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ABORTED, THREAD, Batch, decode, init, last_error, row, span
from gguf_writer import tiny_model
from observe_tools import ADD, F32, I32, MUL_MAT, RESHAPE, ROPE, Watcher, graph

NULL = ffi.NULL
TEXT = [(11 * i * i + 5 * i + 7) % 320 for i in range(70)]      # into the second page of the cache
ODD = dict(n_embd=120, n_ff=200, n_head=6, n_head_kv=3, dk=20, dv=20)
GRAPHS = {
    "llama": dict(arch="llama", **ODD),
    "llama-untied-bias": dict(arch="llama", head="f32", bias=True, **ODD),
    "llama-wide-heads": dict(arch="llama", n_embd=96, n_ff=160, n_head=4, n_head_kv=2, dk=48, dv=32),
    "bitnet": dict(arch="bitnet", **ODD),
    "bitnet-scales": dict(arch="bitnet", scales=True, **ODD),
    "bitnet-b1.58": dict(arch="bitnet-b1.58", rope_base=500000.0, **ODD),
}
TERNARY = dict(arch="bitnet-b1.58", weights="i2_s", n_embd=128, n_ff=256, n_head=4, n_head_kv=2)
BLOCKS = dict(arch="llama", weights={"": "q4_k", "attn_v": "q6_k", "ffn_down": "q8_0"}, embd="q6_k", n_embd=256, n_ff=512, n_head=4,
              n_head_kv=2)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model(**BLOCKS, n_layer=2).write(tmp_path_factory.mktemp("observe") / "blocks.gguf")


def asked(n, outputs):
    return [i in outputs for i in range(n)]


@pytest.mark.parametrize("name", GRAPHS)
def test_names_operations_and_values_are_those_of_the_graph(tmp_path, name):
    path, outputs = tiny_model(**GRAPHS[name], n_layer=3, seed=len(name)).write(tmp_path / "model.gguf"), [3, 40, 69]
    watcher = Watcher()
    with Model(path) as model:
        ctx = watcher.context(model._pointer, n_ctx=128, n_ubatch=128, type_k=0, type_v=0, n_threads_batch=2)
        assert decode(ctx, TEXT, logits=asked(70, outputs)) == 0
        logits = np.stack([np.frombuffer(row(ctx, i), np.float32) for i in outputs])
    expected = graph(path, TEXT, outputs)
    assert [(seen.name, seen.op) for seen in watcher.seen] == [(name, op) for name, op, _ in expected]
    assert watcher.asked == watcher.names()
    for seen, (_, _, rows) in zip(watcher.seen, expected):
        assert seen.data.shape[4 - rows.ndim:] == rows.shape and seen.ne == list(seen.data.shape[::-1]), seen.name
        # As for logits in test_architectures.py: 7e-6 for three layers of about 20 operations.
        assert np.linalg.norm(seen.data.reshape(rows.shape) - rows) < 1e-5 * np.linalg.norm(rows), seen.name
    assert watcher.seen[-1].data.reshape(3, -1).tobytes() == logits.tobytes()


@pytest.mark.parametrize("name", ["ternary", "blocks", "bitnet-scales", "llama-untied-bias"])
def test_watching_changes_no_bit_and_values_do_not_depend_on_cuts_and_threads(tmp_path, name):
    shape = {"ternary": TERNARY, "blocks": BLOCKS, **GRAPHS}[name]
    path = tiny_model(**shape, n_layer=2).write(tmp_path / "model.gguf")
    text = TEXT[:21]

    def run(model, watcher, **fields):
        ctx = watcher.context(model, n_ctx=128, **fields) if watcher else init(model, n_ctx=128, **fields)
        logits = []
        assert decode(ctx, text[:20], logits=[1] * 20) == 0
        logits += [row(ctx, i) for i in range(20)]
        assert decode(ctx, text[20:]) == 0      # a step of one token
        return logits + [row(ctx)]

    def by_name(watcher):
        """All rows of a name, an operation and what it is of, one behind the other; reshapes are the values before them."""
        values = {}
        for seen in watcher.seen:
            if seen.op != RESHAPE:
                values.setdefault((seen.name, seen.op, seen.src[0].name), []).append(seen.data.tobytes())
        return {key: b"".join(parts) for key, parts in values.items()}

    with Model(path) as model:
        plain = run(model._pointer, None)
        first = None
        for fields in (dict(), dict(n_ubatch=7), dict(n_ubatch=1), dict(n_threads=2, n_threads_batch=2), dict(n_ubatch=3, n_threads_batch=2)):
            watcher = Watcher()
            assert run(model._pointer, watcher, **fields) == plain, fields
            first = first or by_name(watcher)
            assert by_name(watcher) == first, fields
            assert run(model._pointer, Watcher(lambda name: False), **fields) == plain


def test_a_product_comes_with_its_weight_and_the_floats_that_go_in(path):
    """What llama-imatrix takes: types, names and shapes; and the product of both is the value, but for 8 bits of the activations."""
    products = []

    def weigh(t, ask):
        if ask or t.op != MUL_MAT:
            return
        w, x = t.src[0], t.src[1]
        k, m = w.ne[0], w.ne[1]
        size = lib.bitnet_tensor_size(w.type, k, m)
        weights = np.empty((m, k), np.float32)
        assert w.data != NULL and w.op == 0 and x.type == F32 and (x.ne[0], t.ne[0], t.ne[1], x.nb[1]) == (k, m, x.ne[1], 4 * k)
        assert t.buffer != NULL and x.buffer != NULL
        assert lib.bitnet_dequantize(w.type, w.data, size, k, m, ffi.from_buffer("float[]", weights)) == 0
        floats = np.frombuffer(ffi.buffer(x.data, 4 * k * x.ne[1]), np.float32).reshape(-1, k)
        value = np.frombuffer(ffi.buffer(t.data, 4 * m * t.ne[1]), np.float32).reshape(-1, m)
        error = np.linalg.norm(floats @ weights.T - value) / np.linalg.norm(value)
        products.append((ffi.string(w.name).decode(), error))

    watcher = Watcher(also=weigh)
    with Model(path) as model:
        assert decode(watcher.context(model._pointer, n_ctx=64, n_ubatch=64), TEXT[:24], logits=asked(24, [5, 23])) == 0
    parts = ("attn_q", "attn_v", "attn_k", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert [name for name, _ in products] == [f"blk.{i}.{part}.weight" for i in range(2) for part in parts] + ["token_embd.weight"]
    # Rounding to 127 steps of each block's largest, of numbers of about a third of that: 1 / (127 * sqrt(12) / 3) = 0.7 %.
    assert max(error for _, error in products) < 0.015


def test_tokens_and_positions_are_sources(path):
    watcher = Watcher(lambda name: name in ("embd", "Qcur-0", "Kcur-1"))
    with Model(path) as model:
        assert decode(watcher.context(model._pointer, n_ctx=64, n_ubatch=4), TEXT[:6]) == 0
    embd = [seen for seen in watcher.seen if seen.name == "embd"]
    assert [seen.src[1].data.ravel().tolist() for seen in embd] == [TEXT[:4], TEXT[4:6]]
    assert embd[0].src[0].name == "token_embd.weight" and embd[0].src[1].name == "inp_tokens" and embd[0].src[1].type == I32
    rotated = [seen for seen in watcher.seen if seen.op == ROPE]
    assert [seen.name for seen in rotated] == ["Qcur-0", "Kcur-1"] * 2
    assert [seen.src[1].data.ravel().tolist() for seen in rotated] == [[0, 1, 2, 3]] * 2 + [[4, 5]] * 2


def test_no_output_means_rows_of_none_behind_the_last_attention(path):
    """llama.cpp's shapes: ne[1] is 0 there."""
    watcher = Watcher()
    with Model(path) as model:
        assert decode(watcher.context(model._pointer, n_ctx=64, n_ubatch=64), TEXT[:6], logits=[0] * 6) == 0
    rows = {seen.name: seen.ne[1] for seen in watcher.seen}
    assert rows["attn_out-1"] == 6 and rows["l_out-0"] == 6
    assert [rows[name] for name in ("ffn_inp-1", "ffn_gate-1", "l_out-1", "result_norm", "result_output")] == [0] * 5


def test_embeddings_as_input_have_nothing_that_computes_them(path):
    watcher = Watcher()
    x = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    batch = Batch(n_tokens=3, embd=ffi.from_buffer("float[]", x))
    with Model(path) as model:
        ctx = watcher.context(model._pointer, n_ctx=64)
        assert lib.llama_decode(ctx, batch.pointer[0]) == 0
    assert watcher.seen[0].name == "norm-0" and watcher.seen[0].src[0].name == "embd"
    assert watcher.seen[0].src[0].data.reshape(3, 256).tobytes() == x.tobytes()


def test_false_stops_the_decode_and_leaves_the_context_as_it_was(path):
    """After the first value, in the middle of a layer, at a layer's end, behind the last."""
    with Model(path) as model:
        everything = Watcher()
        ctx = everything.context(model._pointer, n_ctx=64, n_ubatch=5)
        assert decode(ctx, TEXT[:8]) == 0 and decode(ctx, TEXT[8:16]) == 0
        expected, n = row(ctx), len(everything.seen)
        first = n // 2       # of the second decode: two ubatches as the first
        for last in (first + 1, first + 6, first + 13, first + 28, first + first // 2, first + first // 2 + 3, n - 1, n):
            watcher = Watcher(stops=lambda i: i == last)
            ctx = watcher.context(model._pointer, n_ctx=64, n_ubatch=5, n_threads_batch=2)
            assert decode(ctx, TEXT[:8]) == 0 and decode(ctx, TEXT[8:16]) == ABORTED
            assert watcher.names() == everything.names()[:last] and watcher.asked == watcher.names()
            assert span(ctx) == (0, 7) and row(ctx) == b""
            assert decode(ctx, TEXT[8:16]) == 0 and row(ctx) == expected


def test_what_is_not_wanted_is_not_shown(path):
    """llama_decode asks about the same, and logits are computed when somebody reads them."""
    with Model(path) as model:
        all_names = Watcher()
        assert decode(all_names.context(model._pointer, n_ctx=64), TEXT[:8]) == 0
        watcher = Watcher(lambda name: name.startswith("l_out"))
        ctx = watcher.context(model._pointer, n_ctx=64)
        assert decode(ctx, TEXT[:8]) == 0
        assert watcher.asked == all_names.asked and watcher.names() == ["l_out-0", "l_out-1"]
        plain = init(model._pointer, n_ctx=64)
        assert decode(plain, TEXT[:8]) == 0 and row(plain) == row(ctx) == all_names.seen[-1].data.tobytes()


def test_user_data_comes_back(path):
    with Model(path) as model:
        watcher = Watcher(lambda name: False)
        assert decode(watcher.context(model._pointer, n_ctx=64), TEXT[:3]) == 0
        number = ffi.new("int *")
        assert decode(watcher.context(model._pointer, n_ctx=64, cb_eval_user_data=number), TEXT[:3]) == 0
    assert watcher.user_data == {NULL, ffi.cast("void *", number)}


def test_a_callback_that_uses_its_own_context_is_told_so(path):
    codes = []
    watcher = Watcher(lambda name: False, also=lambda t, ask: codes.append(decode(ctx, TEXT[:1])) if len(codes) < 3 else None)
    with Model(path) as model:
        ctx = watcher.context(model._pointer, n_ctx=64)
        assert decode(ctx, TEXT[:3]) == 0
    assert codes == [THREAD] * 3


def test_greedy_sampling_of_a_watched_context(path):
    with Model(path) as model:
        plain, watched = init(model._pointer, n_ctx=64), Watcher(lambda name: name == "result_output").context(model._pointer, n_ctx=64)
        greedy = ffi.gc(lib.llama_sampler_init_greedy(), lib.llama_sampler_free)
        for ctx in (plain, watched):
            assert decode(ctx, TEXT[:9]) == 0
        assert lib.llama_sampler_sample(greedy, plain, -1) == lib.llama_sampler_sample(greedy, watched, -1)


def test_an_abort_callback_beside_it(path):
    """It is asked at the end of a layer, before what that leaves is shown; here of the second of two."""
    with Model(path) as model:
        calls = []
        stop = ffi.callback("ggml_abort_callback", lambda data: bool(calls.append(0)) or len(calls) == 2)
        watcher = Watcher()
        ctx = watcher.context(model._pointer, n_ctx=64, n_threads=2, abort_callback=stop)
        assert decode(ctx, TEXT[:1]) == ABORTED and watcher.names()[-1] == "ffn_swiglu-1" and span(ctx) == (-1, -1)
        assert decode(ctx, TEXT[:1]) == 0 and watcher.names()[-1] == "result_output"


def test_a_vocabulary_alone_is_never_watched(path):
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = ffi.gc(lib.llama_model_load_from_file(str(path).encode(), params), lib.llama_model_free)
    ctx = Watcher().context(model, n_ctx=64)
    assert ctx != NULL and decode(ctx, TEXT[:1]) < 0
    del ctx


def test_encode_and_embeddings_are_watched_too(path):
    with Model(path) as model:
        watcher = Watcher(lambda name: name == "result_norm")
        ctx = watcher.context(model._pointer, n_ctx=64, embeddings=True)
        batch = Batch(TEXT[:5])
        assert lib.llama_encode(ctx, batch.pointer[0]) == 0
        states = np.stack([np.frombuffer(ffi.buffer(lib.llama_get_embeddings_ith(ctx, i), 4 * 256), np.float32) for i in range(5)])
    assert watcher.seen[0].data.reshape(5, 256).tobytes() == states.tobytes()


# ---- adapters and control vectors ----

def test_adapters_come_behind_the_product(tmp_path):
    """The product alone, then with what they add; the product alone is what it is without them."""
    path = tiny_model(**SHAPE).write(tmp_path / "model.gguf")
    pairs = random_pairs({"blk.0.attn_v": (64, 32)}, 3, 1)
    lora = adapter(pairs, alpha=3.0).write(tmp_path / "lora.gguf")
    text = TEXT[:4]
    with Model(path) as model:
        plain, watcher = Watcher(), Watcher()
        assert decode(plain.context(model._pointer, n_ctx=64), [t % 280 for t in text]) == 0
        ctx = watcher.context(model._pointer, n_ctx=64)
        adapters = ffi.new("struct llama_adapter_lora *[]", [lib.llama_adapter_lora_init(model._pointer, str(lora).encode())])
        assert adapters[0] != NULL and lib.llama_set_adapters_lora(ctx, adapters, 1, ffi.new("float[]", [0.5])) == 0
        assert decode(ctx, [t % 280 for t in text]) == 0
    alone, result = [seen for seen in watcher.seen if seen.name == "Vcur-0" and seen.op in (MUL_MAT, ADD)]
    without = next(seen for seen in plain.seen if seen.name == "Vcur-0" and seen.op == MUL_MAT)
    assert alone.data.tobytes() == without.data.tobytes()
    a, b = pairs["blk.0.attn_v"]
    added = 0.5 * alone.src[1].data.reshape(4, 64).astype(float) @ a.T.astype(float) @ b.T.astype(float)
    assert np.allclose((result.data - alone.data).reshape(4, 32), added, rtol=0, atol=1e-5)


def test_a_control_vector_is_added_last(path):
    rng = np.random.default_rng(2)
    direction = rng.normal(size=256).astype(np.float32)       # of layer 1
    with Model(path) as model:
        watcher = Watcher(lambda name: name.startswith(("ffn_out", "l_out")))
        ctx = watcher.context(model._pointer, n_ctx=64)
        assert lib.llama_set_adapter_cvec(ctx, ffi.from_buffer("float[]", direction), 256, 256, 1, 1) == 0
        assert decode(ctx, TEXT[:3], logits=[1] * 3) == 0, last_error()
    assert [(seen.name, seen.op) for seen in watcher.seen] == [
        ("ffn_out-0", MUL_MAT), ("l_out-0", ADD), ("ffn_out-1", MUL_MAT), ("ffn_out-1", ADD), ("l_out-1", ADD)]
    assert (watcher.seen[3].data + direction).tobytes() == watcher.seen[4].data.tobytes()
