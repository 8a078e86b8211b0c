"""The package, Model and Context over tiny random models: results, lifetimes, threads and every refusal. Next: test_generate.py."""

import gc
import logging
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import bitnet_ffi
from bitnet_ffi import (BitnetError, Cancelled, ConcurrencyError, Context, ContextFullError, InvalidArgumentError,
                        InvalidModelError, Model, ModelLoadError, ModelNotFoundError, Sampling, Utf8Error, errors)

PROMPT = [5, 17, 99, 42, 7, 300]


def row(model, tokens, **options):
    with Context(model, n_ctx=64, **options) as context:
        context.decode(tokens)
        return context.logits().copy()


# ---- the package ----

def test_version_is_the_headers():
    header = os.path.join(os.path.dirname(__file__), "..", "include", "bitnet_ffi.h")
    assert f'#define BITNET_FFI_VERSION_STRING "{bitnet_ffi.__version__}"' in open(header).read()


def test_every_public_name_resolves():
    assert all(getattr(bitnet_ffi, name) is not None for name in bitnet_ffi.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        bitnet_ffi.Modell


def test_import_needs_neither_numpy_nor_the_library():
    code = "import bitnet_ffi, bitnet_ffi.config, sys; assert 'numpy' not in sys.modules and 'bitnet_ffi._ffi' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_library_is_one_clear_import_error():
    done = subprocess.run([sys.executable, "-c", "import bitnet_ffi; bitnet_ffi.Model"], capture_output=True, text=True,
                          env={**os.environ, "BITNET_FFI_LIBRARY": "/nowhere/lib.so"})
    assert "ImportError: cannot open the library: " in done.stderr and "/nowhere/lib.so" in done.stderr


def test_no_public_object_shows_a_pointer(model):
    with Context(model, n_ctx=16) as context, Sampling().build(model) as sampler:
        for thing in (model, context, sampler):
            shown = [value for name, value in vars(thing).items() if not name.startswith("_")]
            assert not any("CData" in type(value).__name__ for value in shown)


def test_kernel_name_and_system_info():
    assert bitnet_ffi.kernel_name() in ("scalar", "avx2", "avxvnni", "avx512vnni", "avx512vbmi", "neon", "i8mm")
    assert " = " in bitnet_ffi.system_info()


def test_kernel_table_that_is_not_there_is_refused_with_its_name():
    done = subprocess.run([sys.executable, "-c", "import bitnet_ffi; bitnet_ffi.kernel_name()"], capture_output=True,
                          text=True, env={**os.environ, "BITNET_FFI_KERNELS": "abacus"})
    assert done.returncode == 1 and "abacus" in done.stderr.splitlines()[-1]


# ---- errors ----

@pytest.mark.parametrize("code, cls, builtin", [
    (-1, InvalidArgumentError, ValueError), (-2, Utf8Error, ValueError), (-3, errors.TokenizeError, BitnetError),
    (-4, ModelNotFoundError, FileNotFoundError), (-5, ModelLoadError, OSError), (-6, errors.InferenceError, RuntimeError),
    (-7, errors.OutOfMemoryError, MemoryError), (-8, ConcurrencyError, RuntimeError), (-9, InvalidModelError, ValueError),
    (-10, ContextFullError, RuntimeError), (-99, errors.InferenceError, RuntimeError)])
def test_status_becomes_exception(code, cls, builtin):
    error = errors.from_status(code, "a sentence")
    assert type(error) is cls and isinstance(error, builtin) and isinstance(error, BitnetError)
    assert (error.code, str(error)) == (code, "a sentence")


def test_missing_file():
    with pytest.raises(ModelNotFoundError, match="/no/such/model.gguf"):
        Model("/no/such/model.gguf")


def test_folder_is_not_a_model(tmp_path):
    with pytest.raises(ModelLoadError, match=str(tmp_path)):
        Model(tmp_path)


def test_random_bytes_are_not_a_model(tmp_path):
    path = tmp_path / "noise.gguf"
    path.write_bytes(os.urandom(4096))
    with pytest.raises(InvalidModelError, match="noise.gguf"):
        Model(path)


def test_truncated_model(tiny_path, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_path.read_bytes()[:-1000])
    with pytest.raises((InvalidModelError, ModelLoadError), match="cut.gguf"):
        Model(path)


# ---- model ----

def test_hparams_and_metadata(model):
    hp = model.hparams
    assert (hp.n_vocab, hp.n_ctx_train, hp.n_layer, hp.n_embd, hp.n_head, hp.n_head_kv) == (320, 256, 2, 256, 4, 2)
    assert hp.n_params > 0 and hp.size_bytes > 0
    assert model.metadata["general.architecture"] == "llama"
    assert dict(model.metadata)["llama.block_count"] == "2"
    assert len(model.metadata) == len(list(model.metadata))
    with pytest.raises(KeyError):
        model.metadata["nothing"]
    assert "general.nothing" not in model.metadata


def test_progress_ends_at_one_and_can_stop_the_load(tiny_path):
    seen = []
    Model(tiny_path, progress=seen.append).close()
    assert seen == sorted(seen) and seen[-1] == 1.0
    with pytest.raises(ModelLoadError):
        Model(tiny_path, progress=lambda _fraction: False)


def test_exception_in_progress_comes_out(tiny_path):
    def burst(_fraction):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        Model(tiny_path, progress=burst)


def test_weights_in_place_give_the_same_logits(model, tiny_path):
    with Model(tiny_path, repack=False) as in_place:
        np.testing.assert_array_equal(row(in_place, PROMPT), row(model, PROMPT))


def test_weights_in_place_need_the_mapped_file(tiny_path):
    with pytest.raises(ValueError, match="needs mmap=True"):
        Model(tiny_path, mmap=False, repack=False)


def test_a_load_says_what_a_token_reads(tiny_path, caplog):
    with caplog.at_level(logging.INFO, "bitnet_ffi"):
        Model(tiny_path).close()
        Model(tiny_path, vocab_only=True).close()
    assert sum("a token reads" in record.getMessage() for record in caplog.records) == 1


def test_vocab_only_tokenizes_and_cannot_decode(tiny_path):
    with Model(tiny_path, vocab_only=True) as model:
        assert model.detokenize(model.tokenize("ab"), remove_special=True).strip() == "ab"
        with pytest.raises(BitnetError):
            Context(model)


@pytest.mark.parametrize("text", ["", "hello world", "naïve café — 北京 🙂", "tab\there\nline", "\0nul"])
def test_tokenize_and_back(model, text):
    tokens = model.tokenize(text, add_special=False)
    assert model.detokenize(tokens).removeprefix(" ") == text
    joined = b"".join(map(model.token_to_piece, tokens)).decode()
    assert joined.removeprefix(" ") == text


def test_tokenize_long_text(model):
    assert len(model.tokenize("é" * 20_000)) >= 20_000


def test_lone_surrogate_is_named(model):
    with pytest.raises(Utf8Error, match=r"character 1 .*U\+D800"):
        model.tokenize("a\ud800")


def test_token_outside_the_vocabulary(model):
    for token in (-1, 320, 2**31 - 1):
        with pytest.raises(BitnetError, match=str(token)):
            model.token_to_piece(token)
        with pytest.raises(BitnetError, match=str(token)):
            model.detokenize([5, token])


def test_closed_model_says_so(tiny_path):
    model = Model(tiny_path)
    model.close()
    model.close()
    assert model.closed and "closed" in repr(model)
    with pytest.raises(ValueError, match="the model is closed"):
        model.tokenize("x")


def test_context_outlives_its_closed_model(tiny_path):
    model = Model(tiny_path)
    context = Context(model, n_ctx=32)
    expected = row(model, PROMPT)
    model.close()
    context.decode(PROMPT)
    np.testing.assert_array_equal(context.logits(), expected)


def test_context_keeps_its_model(tiny_path):
    context = Context(Model(tiny_path), n_ctx=32)
    gc.collect()
    context.decode(PROMPT)


def test_nothing_is_printed_at_exit(tiny_path):
    code = (f"from bitnet_ffi import *\nm = Model({str(tiny_path)!r})\nc = m.context(n_ctx=16)\nc.decode([5])\n"
            "v = c.logits()\ns = Sampling(seed=1).build(m)\ng = m.generate([5], max_tokens=9)\nnext(g)\n"
            "class Cycle: pass\nx = Cycle(); x.self = x; x.all = (m, c, v, s, g)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- context ----

def test_logits_do_not_depend_on_how_the_prompt_is_cut(model):
    whole = row(model, PROMPT)
    with Context(model, n_ctx=64) as context:
        context.decode(PROMPT[:2])
        context.decode(PROMPT[2:])
        np.testing.assert_array_equal(context.logits(), whole)
    with Context(model, n_ctx=64, n_batch=2) as context:
        context.decode(PROMPT)
        np.testing.assert_array_equal(context.logits(), whole)


def test_batch_of_sequences_equals_each_alone(model):
    a, b = [5, 17, 99], [42, 7]
    with Context(model, n_ctx=64, n_seq_max=3) as context:
        context.decode([5, 42, 17, 7, 99], pos=[0, 0, 1, 1, 2], seq=[0, 1, 0, 1, 0], logits=[False, False, False, True, True])
        both = context.all_logits()
        assert both.shape == (2, 320)
        np.testing.assert_array_equal(both[0], row(model, b))
        np.testing.assert_array_equal(both[1], row(model, a))
        np.testing.assert_array_equal(context.logits(3), both[0])
        np.testing.assert_array_equal(context.logits(-2), both[0])
        assert (context.seq_range(0), context.seq_range(1), context.seq_range(2)) == (range(3), range(2), range(0))


def test_token_shared_by_sequences(model):
    with Context(model, n_ctx=64, n_seq_max=2) as context:
        context.decode([5, 17], pos=[0, 1], seq=[(0, 1), [0, 1]], logits="none")
        context.decode([99], seq=1)
        np.testing.assert_array_equal(context.logits(), row(model, [5, 17, 99]))


def test_seq_operations(model):
    with Context(model, n_ctx=64, n_seq_max=3) as context:
        context.decode([5, 17, 99])
        context.seq_copy(0, 2)
        assert context.seq_remove(0, 1)
        assert (context.seq_range(0), context.seq_range(2)) == (range(1), range(3))
        context.decode([42], seq=2)
        np.testing.assert_array_equal(context.logits(), row(model, [5, 17, 99, 42]))
        context.seq_keep(2)
        assert len(context.seq_range(0)) == 0
        context.clear()
        assert len(context.seq_range(2)) == 0


def test_wrong_sequences_and_threads_are_errors(model):
    with Context(model, n_ctx=64, n_seq_max=2) as context:
        for call in (lambda: context.seq_copy(0, 2), lambda: context.seq_keep(-1), lambda: setattr(context, "n_threads", 0)):
            with pytest.raises(InvalidArgumentError):
                call()


def test_all_logits_are_rows_of_the_prompt(model):
    with Context(model, n_ctx=64) as context:
        context.decode(PROMPT, logits="all")
        rows = context.all_logits()
        assert rows.shape == (len(PROMPT), 320) and rows.dtype == np.float32
        np.testing.assert_array_equal(rows[-1], row(model, PROMPT))
        context.decode([3], logits="none")
        assert context.all_logits().shape == (0, 320)
        with pytest.raises(InvalidArgumentError):
            context.logits()


def test_logits_is_a_view_that_the_next_logits_overwrite(model):
    with Context(model, n_ctx=64) as context:
        context.decode([5])
        view = context.logits()
        first = view.copy()
        context.decode([17])
        np.testing.assert_array_equal(view, first)      # computed when they are asked for, not before
        second = context.logits()
        assert not np.array_equal(second, first)
        np.testing.assert_array_equal(view, second)


def test_a_view_that_logits_have_outgrown_can_still_be_read(model):
    with Context(model, n_ctx=64) as context:
        context.decode([5])
        view = context.logits()
        first = view.copy()
        for n in (2, 5, 20):
            context.decode(list(range(10, 10 + n)), logits="all")
            assert context.all_logits().shape[0] == n
        np.testing.assert_array_equal(view, first)


def test_view_keeps_the_memory_past_close(tiny_path):
    context = Context(Model(tiny_path), n_ctx=32)
    context.decode(PROMPT)
    view = context.logits()
    copy = view.copy()
    context.close()
    del context
    gc.collect()
    np.testing.assert_array_equal(view, copy)


def test_numpy_tokens_are_welcome_and_checked(model):
    np.testing.assert_array_equal(row(model, np.array(PROMPT, np.int64)), row(model, PROMPT))
    for bad, kind in [(np.array([1.0]), TypeError), (np.array([[1]]), ValueError), ([2**31], ValueError), (["a"], TypeError)]:
        with Context(model, n_ctx=16) as context, pytest.raises(kind):
            context.decode(bad)


@pytest.mark.parametrize("arguments, match", [
    (dict(tokens=[]), "token"), (dict(tokens=[320]), "320"), (dict(tokens=[-1]), "-1"),
    (dict(tokens=[1], seq=7), "7"), (dict(tokens=[1], pos=[-5]), "-5")])
def test_wrong_batch_is_refused_and_changes_nothing(model, arguments, match):
    with Context(model, n_ctx=32) as context:
        context.decode(PROMPT)
        with pytest.raises(BitnetError, match=match):
            context.decode(**arguments)
        assert context.seq_range() == range(len(PROMPT))
        context.decode([3])
        np.testing.assert_array_equal(context.logits(), row(model, [*PROMPT, 3]))


def test_wrong_lengths_are_value_errors(model):
    with Context(model, n_ctx=32) as context:
        for name in ("pos", "seq", "logits"):
            with pytest.raises(ValueError, match=f"{name}: 1 entries, expected 2"):
                context.decode([1, 2], **{name: [0]})
        with pytest.raises(ValueError, match="expected 'last', 'all', 'none'"):
            context.decode([1], logits="first")


def test_full_context_changes_nothing(model):
    with Context(model, n_ctx=64) as context:
        n_ctx = context.n_ctx
        context.decode([5] * (n_ctx - 1))
        with pytest.raises(ContextFullError, match=f"no room for 2 more tokens in a context of {n_ctx}"):
            context.decode([1, 2])
        context.decode([17])
        assert context.seq_range() == range(n_ctx)


def test_closed_context_says_so(model):
    context = Context(model, n_ctx=16)
    context.close()
    context.close()
    assert context.closed and "closed" in repr(context)
    for call in (lambda: context.decode([1]), context.logits, context.clear, context.perf, lambda: context.n_ctx):
        with pytest.raises(ValueError, match="the context is closed"):
            call()


def test_perf_counts(model):
    with Context(model, n_ctx=32) as context:
        context.decode(PROMPT)
        context.decode([1])
        assert (context.perf().n_prompt, context.perf().n_eval) == (len(PROMPT), 1)
        context.reset_perf()
        assert context.perf().n_prompt <= 1  # llama.cpp reports at least 1, so that a rate never divides by 0


def test_threads_can_change_between_decodes(model):
    with Context(model, n_ctx=32, n_threads=2) as context:
        context.decode(PROMPT[:3])
        context.n_threads = 1
        assert context.n_threads == 1
        context.decode(PROMPT[3:])
        np.testing.assert_array_equal(context.logits(), row(model, PROMPT))


# ---- threads, cancelling ----

def test_two_threads_in_one_context(slow_path):
    with Model(slow_path) as model, Context(model, n_ctx=4096, n_threads=1) as context:
        started = threading.Event()

        def work():
            started.set()
            with pytest.raises(Cancelled):
                context.decode([5] * 2000)
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        time.sleep(0.1)
        for call in (lambda: context.decode([1]), context.clear, context.close):
            with pytest.raises(ConcurrencyError, match="in use by another thread"):
                call()
        context.cancel()
        thread.join()
        assert context.seq_range() == range(0)
        context.decode(PROMPT)
        assert context.seq_range() == range(len(PROMPT))


def test_contexts_of_one_model_run_in_threads(model):
    expected, results = row(model, PROMPT), []
    threads = [threading.Thread(target=lambda: results.append(row(model, PROMPT, n_threads=1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(np.array_equal(r, expected) for r in results)


def test_other_threads_run_while_one_decodes(slow_path):
    """The GIL is free during a decode: a thread that counts gets on."""
    with Model(slow_path) as model, Context(model, n_ctx=1024, n_threads=1) as context:
        count, done = 0, threading.Event()

        def work():
            context.decode([5] * 300, logits="none")
            done.set()
        thread = threading.Thread(target=work)
        thread.start()
        while not done.wait(0.001):
            count += 1
        thread.join()
    assert count > 20


def test_ctrl_c_stops_a_decode_soon(slow_path):
    code = f"""
import os, signal, threading, time
from bitnet_ffi import Model
context = Model({str(slow_path)!r}).context(n_ctx=4096, n_threads=1)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    context.decode([5] * 2000)
except KeyboardInterrupt:
    print(time.monotonic() - start, len(context.seq_range()))
context.decode([5])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seconds, held = done.stdout.split()
    assert float(seconds) < 3 and held == "0"


def test_cancel_before_a_decode_stops_the_next_one_only(model):
    with Context(model, n_ctx=32) as context:
        context.cancel()
        with pytest.raises(Cancelled):
            context.decode(PROMPT)
        context.decode(PROMPT)
        np.testing.assert_array_equal(context.logits(), row(model, PROMPT))


# ---- log ----

def test_library_lines_reach_logging(tiny_path, caplog):
    with caplog.at_level(logging.DEBUG, "bitnet_ffi"):
        with pytest.raises(ModelNotFoundError):
            Model("/no/such/file.gguf")
    assert any("/no/such/file.gguf" in record.getMessage() for record in caplog.records)


def test_silent_by_default_and_loud_with_bitnet_log():
    code = "import bitnet_ffi\ntry: bitnet_ffi.Model('/no/such')\nexcept FileNotFoundError: pass"
    for level, loud in [("", False), ("error", True), ("1", True)]:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              env={**os.environ, "BITNET_LOG": level})
        assert done.stdout == "" and bool(done.stderr) is loud
