"""Checks of the calls that have no model: the library, its log and clock, weights, and what is not here."""
import time

import numpy as np

from bitnet_ffi import config
from calls import INT_MAX, INT_MIN, NULL, REAL, Room, ffi, path
from engine_abi import last_error

room = Room()
KERNELS = {b"avx512vbmi", b"avx512vnni", b"avxvnni", b"avx2", b"i8mm", b"neon", b"scalar"}
F32, Q8_0, I2_S = REAL.GGML_TYPE_F32, REAL.GGML_TYPE_Q8_0, REAL.GGML_TYPE_I2_S


# ---- the library ----

room.gives("bitnet_version llama_version", (), config.version().encode())
room.gives("llama_max_devices", (), 1)
room.gives("llama_max_parallel_sequences", (), 256)
room.gives("llama_max_tensor_buft_overrides", (), 4096)
room.gives("llama_supports_mmap llama_supports_mlock llama_mmap_supported llama_mlock_supported", (), True)
room.gives("llama_supports_gpu_offload llama_supports_rpc", (), False)
room.does_nothing("llama_backend_init llama_backend_free", ())
room.does_nothing("llama_init_backend", (False,))


@room.use("bitnet_kernel_name")
def _(api, w):
    assert ffi.string(api.bitnet_kernel_name()) in KERNELS


@room.use("llama_print_system_info")
def _(api, w):
    assert b" = 1" in ffi.string(api.llama_print_system_info())


@room.use("bitnet_last_error", "bitnet_last_error_code")
def _(api, w):
    REAL.llama_init_from_model(NULL, REAL.llama_context_default_params())
    assert api.bitnet_last_error_code() == REAL.BITNET_ERROR
    assert ffi.string(api.bitnet_last_error()) == b"llama_init_from_model: model is NULL"


@room.use("llama_time_us")
def _(api, w):
    begin = api.llama_time_us()
    assert abs(begin * 1000 - time.monotonic_ns()) < 1_000_000_000
    while api.llama_time_us() == begin:
        pass


class Log:
    """The library's log, caught; given back at the end."""

    def __enter__(self):
        self.lines = []
        self.callback = ffi.callback("void(enum ggml_log_level, char const *, void *)", lambda level, text, data: self.lines.append(
            (int(level), ffi.string(text).decode(), data)))
        self.before = ffi.new("ggml_log_callback *"), ffi.new("void **")
        REAL.llama_log_get(*self.before)
        REAL.llama_log_set(NULL, NULL)
        return self

    def __exit__(self, *_):
        REAL.llama_log_set(self.before[0][0], self.before[1][0])


@room.use("llama_log_set", "llama_log_get")
def _(api, w):
    data = ffi.new("int *")
    with Log() as log:
        api.llama_log_set(log.callback, data)
        callback, given = ffi.new("ggml_log_callback *"), ffi.new("void **")
        api.llama_log_get(callback, given)
        assert (callback[0], given[0]) == (log.callback, data)
        api.llama_log_get(NULL, NULL)                     # either may be NULL
        REAL.llama_perf_context_print(w.ctx)
        assert {(level, to) for level, _, to in log.lines} == {(REAL.GGML_LOG_LEVEL_INFO, data)}


# ---- weights without a model ----

WEIGHTS = (np.random.default_rng(4).integers(-127, 128, (3, 64)) / 16).astype(np.float32)
WEIGHTS[:, ::32] = 127 / 16                              # a scale of 1/16, so that q8_0 keeps these exactly
X = np.random.default_rng(5).integers(-127, 128, (2, 64)).astype(np.float32)
X[:, ::32] = 127                                         # activations that 8 bits keep
SIZE = 3 * 2 * 34


def f32(array):
    return ffi.from_buffer("float[]", array)


def packed():
    dst = ffi.new("uint8_t[]", SIZE)
    assert REAL.bitnet_quantize(Q8_0, f32(WEIGHTS), 64, 3, dst, SIZE) == 0
    return dst


room.gives("bitnet_tensor_size", (Q8_0, 64, 3), SIZE)


@room.use("bitnet_quantize", "bitnet_dequantize")
def _(api, w):
    data, back = ffi.new("uint8_t[]", SIZE + 1), np.zeros_like(WEIGHTS)
    data[SIZE] = 99
    assert api.bitnet_quantize(Q8_0, f32(WEIGHTS), 64, 3, data, SIZE) == 0 and data[SIZE] == 99
    assert api.bitnet_dequantize(Q8_0, data, SIZE, 64, 3, f32(back)) == 0
    assert (back == WEIGHTS).all()


@room.use("bitnet_matmul")
def _(api, w):
    y = np.zeros((2, 3), np.float32)
    assert api.bitnet_matmul(Q8_0, packed(), SIZE, 64, 3, f32(X), 2, f32(y), 1) == 0
    assert (y == X @ WEIGHTS.T).all()                     # all sums are multiples of 1/16 below 2^16: exact in any order


BYTES, FLOATS = ffi.new("uint8_t[]", 256), ffi.new("float[]", 256)
for k, m, words in ((0, 1, "expected at least 1"), (64, -1, "expected at least 1"), (33, 1, "expected a multiple of 32"),
                    (2**62, 2**62, "more than memory")):
    room.refuses("bitnet_tensor_size", (Q8_0, k, m), 0, words)
    room.refuses("bitnet_quantize", (Q8_0, FLOATS, k, m, BYTES, 256), -1, words)
    room.refuses("bitnet_dequantize", (Q8_0, BYTES, 256, k, m, FLOATS), -1, words)
    room.refuses("bitnet_matmul", (Q8_0, BYTES, 256, k, m, FLOATS, 1, FLOATS, 1), -1, words)
room.refuses("bitnet_tensor_size", (1000, 64, 3), 0, "not a tensor type")
room.refuses("bitnet_quantize", (Q8_0, FLOATS, 64, 3, BYTES, SIZE - 1), -1, f"has {SIZE - 1} bytes, q8_0 needs {SIZE}")
room.refuses("bitnet_quantize", (Q8_0, NULL, 64, 3, BYTES, 256), -1, "NULL")
room.refuses("bitnet_quantize", (I2_S, ffi.new("float[]", [1.0, float("nan")] * 64), 128, 1, BYTES, 256), -1, "not finite")
room.refuses("bitnet_dequantize", (Q8_0, BYTES, SIZE - 1, 64, 3, FLOATS), -1, f"has {SIZE - 1} bytes, q8_0 needs {SIZE}")
room.refuses("bitnet_dequantize", (F32, BYTES + 1, 64, 4, 1, FLOATS), -1, "no multiple of 4")
room.refuses("bitnet_matmul", (Q8_0, BYTES, 33, 32, 1, FLOATS, 1, FLOATS, 1), -1, "the weights have 33 bytes, q8_0 needs 34")
room.refuses("bitnet_matmul", (Q8_0, BYTES, 256, 32, 1, FLOATS, -1, FLOATS, 1), -1, "-1 columns")
room.refuses("bitnet_matmul", (Q8_0, BYTES, 256, 32, 1, FLOATS, 2**62, FLOATS, 1), -1, "more than memory")
room.refuses("bitnet_matmul", (Q8_0, BYTES, 256, 32, 1, FLOATS, 1, NULL, 1), -1, "NULL")


# ---- what is not here ----

POOL = ffi.cast("ggml_threadpool_t", 64)


@room.use("llama_attach_threadpool", "llama_detach_threadpool")
def _(api, w):
    ctx = w.context(n_threads=1, n_threads_batch=1)
    REAL.llama_set_n_threads(ctx, 7000, 7000)
    own = REAL.llama_n_threads(ctx)
    pool = ffi.gc(REAL.ggml_threadpool_new(ffi.new("struct ggml_threadpool_params *", REAL.ggml_threadpool_params_default(own + 1))),
                  REAL.ggml_threadpool_free)
    api.llama_attach_threadpool(ctx, pool, NULL)
    assert REAL.llama_n_threads(ctx) == own + 1 and last_error() == (0, "")
    api.llama_detach_threadpool(ctx)
    assert REAL.llama_n_threads(ctx) == own and last_error() == (0, "")


# Where threads run cannot be seen with one memory node.
room.does_nothing("llama_numa_init", (REAL.GGML_NUMA_STRATEGY_DISABLED,))
room.refuses("llama_numa_init", (REAL.GGML_NUMA_STRATEGY_MIRROR,), None, "strategy 4 is none of")
room.refuses("llama_numa_init", (1000,), None, "strategy 1000 is none of")
room.refuses("llama_attach_threadpool", lambda w: (w.ctx, NULL, POOL), None, "not a pool of ggml_threadpool_new")
room.does_nothing("llama_set_warmup", lambda w: (w.ctx, True))
room.gives("llama_set_sampler", lambda w: (w.ctx, 0, NULL), True)
room.refuses("llama_set_sampler", lambda w: (w.ctx, 0, w.greedy), False, "is no chain")
room.refuses("llama_set_sampler", lambda w: (w.ctx, INT_MAX, NULL), False, "n_seq_max")
room.gives("llama_get_sampled_token_ith", lambda w: (w.ctx, 0), -1)
for what, n in (("probs", 0), ("logits", lambda w: REAL.llama_n_vocab(w.model)), ("candidates", 0)):
    nothing = (lambda w: REAL.llama_get_sampled_candidates_ith(w.ctx, 0)) if what == "candidates" else NULL     # all ids
    room.gives(f"llama_get_sampled_{what}_ith", lambda w: (w.ctx, 0), nothing)
    room.gives(f"llama_get_sampled_{what}_count_ith", lambda w: (w.ctx, 0), n)
    room.answers(f"llama_get_sampled_{what}_ith", lambda w: (w.ctx, INT_MAX), nothing)
    room.answers(f"llama_get_sampled_{what}_count_ith", lambda w: (w.ctx, INT_MIN), n)
room.answers("llama_get_sampled_token_ith", lambda w: (w.ctx, INT_MAX), -1)
room.absent("llama_eval_export", lambda w: (w.ctx, b"graph"), 1, "no ggml graph")
room.absent("llama_beam_search", lambda w: (w.ctx, ffi.cast("llama_beam_search_callback_fn_t", 1), NULL, 2, 0, 8), None,
            "not supported since")
room.absent("llama_opt_init", lambda w: (w.ctx, w.model, ffi.new("struct llama_opt_params *")[0]), None, "training is not supported")
room.absent("llama_opt_epoch", lambda w: (w.ctx, NULL, NULL, NULL, 0, NULL, NULL), None, "training is not supported")
room.refuses("llama_opt_init", lambda w: (w.ctx, NULL, ffi.new("struct llama_opt_params *")[0]), None, "model is NULL")
room.gives("llama_opt_param_filter_all", (NULL, NULL), True)


def parameters(w, name=None, m=True, c=True):
    w.m, w.c = ffi.new("struct llama_model_params *"), ffi.new("struct llama_context_params *")
    return name or path(), w.m if m else NULL, w.c if c else NULL, NULL, NULL, NULL, 512, 2


room.gives("llama_params_fit", parameters, REAL.LLAMA_PARAMS_FIT_STATUS_SUCCESS)
room.refuses("llama_params_fit", lambda w: parameters(w, b"/no/such/file"), 2, "no such file", REAL.BITNET_ERROR_NOT_FOUND)
room.refuses("llama_params_fit", lambda w: parameters(w, m=False), 2, "mparams is NULL")
room.refuses("llama_params_fit", lambda w: parameters(w, c=False), 2, "cparams is NULL")
