"""bitnet_ffi.kernels: the library's products equal their plain statement bit for bit, and wrong arrays get a sentence."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gguf_writer
from bitnet_ffi import kernels

TERNARY = ["i2_s", "tq2_0"]
ODD_SHAPES = [(1, 256), (3, 256), (17, 512), (33, 768)]


def ternary(shape, seed=0, scale=0.75):
    """Weights of 0 and +-scale, as BitNet checkpoints hold; the first of each row is not 0, so every block has its scale."""
    rng = np.random.default_rng(seed)
    w = (rng.integers(-1, 2, shape) * np.float32(scale)).astype(np.float32)
    w.reshape(-1, 128)[:, 0] = scale
    return w


def activations(n, k, seed=1):
    return np.random.default_rng(seed).standard_normal((n, k), np.float32)


def random_weights(type, m, k):
    return np.frombuffer(gguf_writer.random_weights(type, k, m, np.random.default_rng(5)), np.uint8).copy()


# ---- the same bits as the plain statement ----

@pytest.mark.parametrize("type", TERNARY)
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_quantize_equals_reference_on_any_floats(type, shape):
    x = activations(*shape)
    np.testing.assert_array_equal(kernels.quantize(x, type), kernels.quantize_ref(x, type))


@pytest.mark.parametrize("type", TERNARY)
def test_quantize_dequantize_is_lossless_on_ternary_weights(type):
    w = ternary((5, 512))
    np.testing.assert_array_equal(kernels.dequantize(kernels.quantize(w, type), type, w.shape), w)


@pytest.mark.parametrize("type", TERNARY)
def test_dequantize_equals_reference_on_random_bytes(type):
    shape = (6, 512)
    data = kernels.quantize(ternary(shape), type)
    data[:100:7] = np.random.default_rng(3).integers(0, 256, len(data[:100:7]))  # code 3 too, which no writer makes
    if type == "tq2_0":
        data[64:66] = np.frombuffer(np.float16(6e-6).tobytes(), np.uint8)  # a subnormal scale
    np.testing.assert_array_equal(kernels.dequantize(data, type, shape), kernels.dequantize_ref(data, type, shape))


@pytest.mark.parametrize("type", TERNARY)
@pytest.mark.parametrize("shape", ODD_SHAPES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_matmul_equals_reference(type, shape, n):
    w = kernels.quantize(ternary(shape), type)
    x = activations(n, shape[1])
    np.testing.assert_array_equal(kernels.matmul(w, x, type, shape), kernels.matmul_ref(w, x, type, shape))


def test_matmul_i2_s_whose_rows_end_inside_a_group():
    shape = (8, 80)  # bitnet_b1_58-3B has such rows: 8640 = 67.5 * 128
    w = kernels.quantize(ternary(shape), "i2_s")
    x = activations(3, 80)
    np.testing.assert_array_equal(kernels.matmul(w, x, "i2_s", shape), kernels.matmul_ref(w, x, "i2_s", shape))


@pytest.mark.parametrize("type", TERNARY)
def test_matmul_of_extreme_activations_equals_reference(type):
    shape = (4, 256)
    w = kernels.quantize(ternary(shape), type)
    x = np.zeros((5, 256), np.float32)
    x[1] = 1e-30            # below the floor of the absmax
    x[2, 7] = np.float32(3e38)
    x[3, ::2] = -127.0
    x[4] = np.linspace(-1, 1, 256)
    np.testing.assert_array_equal(kernels.matmul(w, x, type, shape), kernels.matmul_ref(w, x, type, shape))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(TERNARY), st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_matmul_equals_reference_for_any_shape(type, m, blocks, n, seed):
    shape = (m, 256 * blocks)
    w = kernels.quantize(ternary(shape, seed), type)
    x = activations(n, shape[1], seed)
    np.testing.assert_array_equal(kernels.matmul(w, x, type, shape), kernels.matmul_ref(w, x, type, shape))


# ---- every type ----

@pytest.mark.parametrize("type", sorted(gguf_writer.TYPES))
def test_matmul_of_every_type_is_near_the_product_of_its_floats(type):
    """Tolerance: activations rounded to int8 err by at most absmax / 254 each; random signs add up as sqrt(k)."""
    m, k, n = 20, 512, 3
    w = random_weights(type, m, k)
    assert kernels.tensor_size(type, (m, k)) == len(w)
    floats = kernels.dequantize(w, type, (m, k)).astype(np.float64)
    x = activations(n, k)
    step = np.abs(x).max() / 254
    bound = 6 * step * np.sqrt((floats ** 2).sum(axis=1)).max() + 1e-4
    assert np.abs(kernels.matmul(w, x, type, (m, k)) - x.astype(np.float64) @ floats.T).max() < bound


@pytest.mark.parametrize("type", ["i2_s", "q4_1", "f16", "q6_k"])
def test_matmul_does_not_depend_on_threads_or_columns(type):
    m, k = 70, 256
    w = random_weights(type, m, k)
    x = activations(7, k)
    whole = kernels.matmul(w, x, type, (m, k), n_threads=1)
    np.testing.assert_array_equal(kernels.matmul(w, x, type, (m, k), n_threads=2), whole)
    for i in range(len(x)):
        np.testing.assert_array_equal(kernels.matmul(w, x[i:i + 1], type, (m, k))[0], whole[i])


def test_matmul_of_no_columns_is_empty():
    w = kernels.quantize(ternary((3, 256)), "tq2_0")
    assert kernels.matmul(w, np.empty((0, 256), np.float32), "tq2_0", (3, 256)).shape == (0, 3)


def test_matmul_with_an_unknown_kernel_table_says_so():
    code = ("import numpy as np; from bitnet_ffi import kernels\n"
            "w = kernels.quantize(np.ones((1, 256), np.float32), 'i2_s')\n"
            "kernels.matmul(w, np.ones((1, 256), np.float32), 'i2_s', (1, 256))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "BITNET_FFI_KERNELS": "abacus"})
    assert done.returncode == 1 and "abacus" in done.stderr.splitlines()[-1]


# ---- the border ----

def test_wrong_dtype_is_a_type_error():
    with pytest.raises(TypeError, match="x: float64, expected float32"):
        kernels.quantize(np.ones((2, 256)), "i2_s")


def test_a_list_is_a_type_error():
    with pytest.raises(TypeError, match="x: list, expected a NumPy array"):
        kernels.quantize([[1.0]], "i2_s")


def test_wrong_number_of_dimensions():
    with pytest.raises(ValueError, match="x: 1 dimensions, expected 2"):
        kernels.quantize(np.ones(256, np.float32), "i2_s")


def test_not_contiguous_is_refused_not_copied():
    with pytest.raises(ValueError, match="numpy.ascontiguousarray"):
        kernels.quantize(np.ones((256, 2), np.float32).T, "i2_s")


def test_read_only_arrays_are_welcome():
    x = ternary((2, 256))
    x.flags.writeable = False
    w = kernels.quantize(x, "i2_s")
    w.flags.writeable = False
    assert kernels.matmul(w, x, "i2_s", (2, 256)).shape == (2, 2)


def test_too_few_bytes():
    w = kernels.quantize(ternary((2, 256)), "i2_s")
    with pytest.raises(ValueError, match="w: 159 bytes, expected 160"):
        kernels.dequantize(w[:-1], "i2_s", (2, 256))


def test_columns_that_do_not_fit_the_weights():
    w = kernels.quantize(ternary((2, 256)), "i2_s")
    with pytest.raises(ValueError, match="x: 128 columns, the weights have 256"):
        kernels.matmul(w, activations(1, 128), "i2_s", (2, 256))


def test_columns_that_do_not_fit_the_block():
    with pytest.raises(ValueError, match="tq2_0: rows of 200 elements, expected a multiple of 256"):
        kernels.quantize(activations(2, 200), "tq2_0")


def test_i2_s_of_an_odd_size():
    with pytest.raises(ValueError, match="multiple of 128"):
        kernels.quantize(activations(3, 10), "i2_s")


@pytest.mark.parametrize("shape", [(0, 256), (-1, 256), (2**40, 2**40)])
def test_impossible_shapes(shape):
    with pytest.raises(ValueError):
        kernels.tensor_size("f32", shape)


def test_shape_that_is_no_pair():
    with pytest.raises(TypeError, match="expected two integers"):
        kernels.dequantize(np.zeros(8, np.uint8), "f32", 3)


def test_unknown_type_name_lists_the_names():
    with pytest.raises(ValueError, match="expected one of f32, f16"):
        kernels.quantize(ternary((1, 256)), "q9_z")


def test_type_of_ggml_that_this_library_cannot_read():
    with pytest.raises(ValueError, match="not supported"):
        kernels.tensor_size(16, (1, 256))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("type", TERNARY)
def test_weights_that_are_not_finite(bad, type):
    x = ternary((1, 256))
    x[0, 3] = bad
    for function in (kernels.quantize, kernels.quantize_ref):
        with pytest.raises(ValueError):
            function(x, type)


def test_float_weights_at_an_odd_address():
    raw = np.zeros(4 * 8 + 1, np.uint8)[1:]
    with pytest.raises(ValueError, match="address"):
        kernels.dequantize(raw, "f32", (1, 8))
