"""Types of the KV cache: Q8_0 changes logits little and nothing else, and a head it cannot hold is refused. Same bits: test_same_bits.py."""
import subprocess
import sys

import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi.errors import BitnetError
from gguf_writer import tiny_model

TOKENS = [(7 * i * i + 3 * i + 11) % 320 for i in range(150)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_model(arch="llama", weights="f16", embd="f16", n_embd=256, n_ff=256, n_head=4, n_head_kv=2).write(
        tmp_path_factory.mktemp("kv") / "tiny.gguf")


def logits(model, kv_type, kv_type_v=None, **options):
    with model.context(n_ctx=256, kv_type=kv_type, kv_type_v=kv_type_v, **options) as context:
        context.decode(TOKENS, logits="all")
        return context.all_logits().copy()


def test_q8_0_is_near_f16(path):
    with Model(path) as model:
        f16, q8_0 = logits(model, "f16"), logits(model, "q8_0")
    distance = np.linalg.norm(q8_0 - f16) / np.linalg.norm(f16)
    # The model's weights are F16, so that the cache alone rounds. A step of q is 1/127 of a block's largest number, its error uniform in
    # half a step: about 0.3 % of a normal block's root mean square (whose largest of 32 is 2.1 sigma). Two layers of k and v, which
    # attention averages: well under 2 %.
    assert 0 < distance < 0.02


@pytest.mark.parametrize("values", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("keys", ["f16", "f32", "q8_0"])
def test_keys_and_values_have_types_of_their_own(path, keys, values):
    with Model(path) as model:
        exact, rows = logits(model, "f32"), logits(model, keys, values)
        assert 0 < np.linalg.norm(rows - exact) / np.linalg.norm(exact) < 0.02 or keys == values == "f32"
        for options in (dict(n_threads=1, n_ubatch=1), dict(n_threads=2, n_ubatch=7)):    # pages, and tiles that cut pages
            assert (logits(model, keys, values, **options) == rows).all()
        for other in {"f16", "f32", "q8_0"} - {keys}:
            assert not (logits(model, other, values) == rows).all()
        for other in {"f16", "f32", "q8_0"} - {values}:
            assert not (logits(model, keys, other) == rows).all()


def test_kv_type_is_one_of_three(model):
    with pytest.raises(ValueError, match="kv_type_v: 'q4_0', expected 'f16', 'f32' or 'q8_0'"):
        model.context(n_ctx=64, kv_type_v="q4_0")


def test_q8_0_refuses_heads_that_are_no_multiple_of_32(tmp_path):
    path = tiny_model(arch="llama", weights="q8_0", embd="f16", n_embd=320, n_ff=256, n_head=4, n_head_kv=2).write(tmp_path / "80.gguf")
    with Model(path) as model, pytest.raises(BitnetError, match="blocks of 32, but the model's are 80 .keys. and 80 .values. wide"):
        model.context(n_ctx=64, kv_type="q8_0")
    with Model(path) as model, pytest.raises(BitnetError, match="blocks of 32"):
        model.context(n_ctx=64, kv_type_v="q8_0")


def test_clearing_data_leaves_a_cache_as_new(path):
    with Model(path) as model, model.context(n_ctx=256, kv_type="q8_0") as context:
        context.decode(TOKENS)
        first = context.logits().copy()
        context.decode(TOKENS[:70])
        context.clear()
        context.decode(TOKENS)
        assert (context.logits() == first).all()


def test_run_takes_the_types_of_the_cache(path):
    def run(*flags):
        return subprocess.run([sys.executable, "-m", "bitnet_ffi", "run", "-m", path, "a", "-n", "2", *flags], capture_output=True, text=True)

    done = run("-ctk", "q8_0", "-ctv", "q8_0")
    assert done.returncode == 0, done.stderr
    done = run("-ctk", "q8_0", "-ctv", "f16")
    assert done.returncode == 0, done.stderr
    done = run("-ctv", "q4_0")
    assert done.returncode == 2 and "--cache-type-v" in done.stderr
