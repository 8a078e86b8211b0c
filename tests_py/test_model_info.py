"""What a model is besides its sizes, the words for llama.h's numbers, and the calls for what this library has not.

The words are llama.cpp's (2026): taken from its functions of the same names. Next: test_load.py for the sizes, bitnet_ffi/_core/api/api_absent.pyx.
"""
import contextlib

import pytest

from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, forget_error, init, last_error
from gguf_writer import BOOL, U32, tiny_model

NULL = ffi.NULL
SMALL = dict(n_layer=1, n_embd=256, n_ff=256, n_head=4, n_head_kv=2, n_vocab=280, n_ctx=64)


@contextlib.contextmanager
def loaded(path, vocab_only=False):
    params = lib.llama_model_default_params()
    params.vocab_only = vocab_only
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    assert model != NULL, last_error()
    yield model
    lib.llama_model_free(model)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with loaded(tiny_model(**SMALL).write(tmp_path_factory.mktemp("info") / "tiny.gguf")) as model:
        yield model


@pytest.fixture
def ctx(model):
    return init(model, n_ctx=32)


def text(pointer):
    return None if pointer == NULL else ffi.string(pointer).decode()


def logged(call, *arguments) -> str:
    """What a call writes to the log."""
    lines = []
    callback = ffi.callback("void(enum ggml_log_level, const char *, void *)", lambda level, line, _: lines.append(text(line)))
    before, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(before, data)
    lib.llama_log_set(callback, NULL)
    call(*arguments)
    lib.llama_log_set(before[0], data[0])
    return "".join(lines)


# ---- the type of the file ----

@pytest.mark.parametrize("weights, file_type, ftype, name", [
    ("q8_0", 7, 7, "Q8_0"), ("q4_k", 15, 15, "Q4_K - Medium"), ("q4_k", 14, 14, "Q4_K - Small"),
    ("q4_k", None, 1024 + 15, "Q4_K - Medium"), ("f32", None, 1024, "all F32"), ("tq2_0", None, 1024 + 37, "TQ2_0 - 2.06 bpw ternary"),
    ("i2_s", 40, 2084, "I2_S - 2 bpw ternary"), ("i2_s", 36, 2084, "I2_S - 2 bpw ternary"), ("q8_0", 99, 1024 + 7, "Q8_0"),
])
def test_type_of_a_file(tmp_path, weights, file_type, ftype, name):
    g = tiny_model(weights=weights, **SMALL)
    if file_type is not None:
        g.set("general.file_type", U32, file_type)
    with loaded(g.write(tmp_path / "m.gguf")) as model:
        assert lib.llama_model_ftype(model) == ftype
        assert text(lib.llama_ftype_name(ftype)) == name


def test_type_of_a_file_that_says_it_wrongly(tmp_path):
    with loaded(tiny_model(weights="q5_0", **SMALL).set("general.file_type", BOOL, True).write(tmp_path / "m.gguf")) as model:
        assert lib.llama_model_ftype(model) == 1024 + 8


def test_name_of_no_type():
    assert text(lib.llama_ftype_name(4)) == "unknown, may not work"
    assert last_error() == (ERROR, "llama_ftype_name: 4 is no type of file")


# ---- what the architectures have ----

def test_what_every_model_is(model):
    assert lib.llama_model_n_embd_inp(model) == lib.llama_model_n_embd_out(model) == 256
    assert lib.llama_model_has_decoder(model) and not lib.llama_model_is_diffusion(model)
    assert (lib.llama_model_n_swa(model), lib.llama_model_n_layer_nextn(model), lib.llama_model_n_cls_out(model)) == (0, 0, 1)
    assert lib.llama_model_cls_label(model, 0) == NULL


def test_older_names(model):
    assert (lib.llama_n_layer(model), lib.llama_n_head(model), lib.llama_rope_type(model), lib.llama_rope_freq_scale_train(model)) == (1, 4, 0, 1)
    assert (lib.llama_model_n_ctx(model), lib.llama_model_n_vocab(model)) == (64, 280)
    buffer = ffi.new("char[80]")
    assert lib.llama_model_type(model, buffer, 80) == len(text(buffer)) > 0
    assert text(buffer).startswith("llama ") and text(buffer).endswith(" all F32")


def test_sizes_of_a_context(ctx):
    assert (lib.llama_n_ctx_seq(ctx), lib.llama_n_rs_seq(ctx)) == (lib.llama_n_ctx(ctx), 0)


# ---- words ----

def test_keys_of_sampling():
    names = [text(lib.llama_model_meta_key_str(i)) for i in range(12)]
    assert names == ["general.sampling." + name for name in (
        "sequence", "top_k", "top_p", "min_p", "xtc_probability", "xtc_threshold", "temp", "penalty_last_n", "penalty_repeat", "mirostat",
        "mirostat_tau", "mirostat_eta")]


@pytest.mark.parametrize("mode, name", [(-1, "auto"), (0, "none"), (1, "mmap"), (2, "mlock"), (3, "mmap+mlock"), (4, "dio")])
def test_load_modes(mode, name):
    assert text(lib.llama_load_mode_name(mode)) == name
    assert lib.llama_load_mode_from_str(name.encode()) == mode


def test_flash_attention_names():
    assert [text(lib.llama_flash_attn_type_name(i)) for i in (-1, 0, 1)] == ["auto", "disabled", "enabled"]


@pytest.mark.parametrize("call, arguments, result", [
    ("llama_model_meta_key_str", (12,), NULL), ("llama_model_meta_key_str", (100,), NULL), ("llama_load_mode_name", (5,), NULL),
    ("llama_load_mode_name", (-2,), NULL), ("llama_flash_attn_type_name", (2,), NULL), ("llama_load_mode_from_str", (b"swift",), -1),
    ("llama_load_mode_from_str", (NULL,), -1), ("llama_chat_builtin_templates", (NULL, 3), -1),
])
def test_what_has_no_name(call, arguments, result):
    forget_error()
    before = last_error()
    assert getattr(lib, call)(*arguments) == result
    assert last_error() != before and last_error()[0] == ERROR


def test_chat_templates_are_listed_and_known():
    n = lib.llama_chat_builtin_templates(NULL, 0)
    names = ffi.new("const char *[]", n + 1)
    assert lib.llama_chat_builtin_templates(names, 2) == n and names[2] == NULL
    assert lib.llama_chat_builtin_templates(names, n + 1) == n and names[n] == NULL
    for i in range(n):
        assert lib.llama_chat_apply_template(names[i], NULL, 0, False, NULL, 0) >= 0
    assert {"chatml", "llama3", "bitnet"} < {text(names[i]) for i in range(n)}


def test_version():
    assert text(lib.llama_version()) == text(lib.bitnet_version())


# ---- what is not here: said, not pretended ----

def refused(call, *arguments):
    """A call that must leave an error, from a clean slate or by its result."""
    forget_error()
    before = last_error()
    result = call(*arguments)
    assert last_error() != before and last_error()[0] < 0
    return result


def works(call, *arguments):
    """A call that must leave none."""
    forget_error()
    result = call(*arguments)
    assert last_error()[0] in (0, -4)  # cleared, or what forget_error left
    return result


def test_devices_and_threads(ctx):
    assert not lib.llama_supports_rpc() and lib.llama_max_tensor_buft_overrides() == 4096
    for strategy in (1, 2, 3, 0):
        works(lib.llama_numa_init, strategy)
    for strategy in (4, 5, 99):
        refused(lib.llama_numa_init, strategy)
    pool = ffi.cast("ggml_threadpool_t", 64)
    works(lib.llama_attach_threadpool, ctx, NULL, NULL)
    refused(lib.llama_attach_threadpool, ctx, pool, NULL)
    refused(lib.llama_attach_threadpool, ctx, NULL, pool)
    ours = lib.ggml_threadpool_new(ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(1)))
    works(lib.llama_attach_threadpool, ctx, ours, ours)
    refused(lib.llama_attach_threadpool, ctx, ours, pool)
    works(lib.llama_attach_threadpool, ctx, ours, NULL)
    assert lib.llama_n_threads(ctx) == 1
    lib.ggml_threadpool_free(ours)
    refused(lib.llama_attach_threadpool, ctx, ours, NULL)
    works(lib.llama_detach_threadpool, ctx)
    works(lib.llama_set_warmup, ctx, True)


def test_ggml_and_training(model, ctx):
    assert refused(lib.llama_model_init_from_user, NULL, NULL, NULL, lib.llama_model_default_params()) == NULL
    assert refused(lib.llama_eval_export, ctx, b"graph") == 1
    refused(lib.llama_opt_init, ctx, model, ffi.new("struct llama_opt_params *")[0])
    refused(lib.llama_opt_epoch, ctx, NULL, NULL, NULL, 0, NULL, NULL)
    assert works(lib.llama_opt_param_filter_all, NULL, NULL)


def test_beam_search_calls_nobody(ctx):
    called = []
    callback = ffi.callback("void(void *, struct llama_beams_state)", lambda data, state: called.append(state))
    refused(lib.llama_beam_search, ctx, callback, NULL, 2, 0, 8)
    assert called == []


def test_parameters_fit_when_there_is_a_model(model, tmp_path):
    path = str(tiny_model(**SMALL).write(tmp_path / "m.gguf")).encode()
    mparams = ffi.new("struct llama_model_params *", lib.llama_model_default_params())
    cparams = ffi.new("struct llama_context_params *", lib.llama_context_default_params())
    before = bytes(ffi.buffer(mparams)), bytes(ffi.buffer(cparams))
    assert works(lib.llama_params_fit, path, mparams, cparams, NULL, NULL, NULL, 512, 2) == 0
    assert (bytes(ffi.buffer(mparams)), bytes(ffi.buffer(cparams))) == before
    assert refused(lib.llama_params_fit, b"/no/model/here", mparams, cparams, NULL, NULL, NULL, 512, 2) == 2
    assert refused(lib.llama_params_fit, path, NULL, cparams, NULL, NULL, NULL, 512, 2) == 2


def test_memory_goes_to_the_log(ctx):
    assert "MB of weights" in logged(lib.llama_memory_breakdown_print, ctx)


def test_questions_are_no_faults_in_the_log(model):
    """Programs ask for keys that a file may have, and call samplers that they may have: a sentence, and no line for the log."""
    buffer = ffi.new("char[64]")
    assert logged(lib.llama_model_meta_val_str, model, b"absent", buffer, 64) == ""
    assert "the metadata has no" in last_error()[1] and "'absent'" in last_error()[1]
    for call, arguments in ((lib.llama_sampler_reset, ()), (lib.llama_sampler_accept, (1,)), (lib.llama_sampler_apply, (NULL,))):
        assert logged(call, NULL, *arguments) == "" and last_error()[1].endswith("smpl is NULL")
    assert "expected 0 to" in logged(lib.llama_model_meta_key_by_index, model, -1, buffer, 64)


# ---- the log ----

def test_a_callback_that_fails_itself_is_not_called_for_it_and_leaves_the_error():
    lines = []

    def fail_too(level, line, _):
        lines.append(text(line))
        assert lib.llama_n_vocab(NULL) == 0 and last_error()[1] == "vocab: NULL, expected a model"

    callback = ffi.callback("void(enum ggml_log_level, const char *, void *)", fail_too)
    before, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(before, data)
    lib.llama_log_set(callback, NULL)
    assert lib.llama_model_load_from_file(b"/no/such/model", lib.llama_model_default_params()) == NULL
    lib.llama_log_set(before[0], data[0])
    code, sentence = last_error()
    assert code == lib.BITNET_ERROR_NOT_FOUND and "/no/such/model" in sentence
    assert lines and all("NULL" not in line for line in lines) and lines[-1] == sentence + "\n"
