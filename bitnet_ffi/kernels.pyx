# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
"""The library's kernels over NumPy arrays: quantize, dequantize and multiply weights without a model.

Weights are bytes in a GGUF layout, uint8[n], of `shape` (m, k): m rows of k elements. Shapes, dtypes and contiguity are
checked here; nothing is converted or copied behind the caller's back. The GIL is free during every product.
The functions that end in _ref say the same in plain loops; tests hold both equal, bit for bit. Next: csrc/bnf_ops.h.
"""

from libc.math cimport INFINITY, NAN, fabs, fabsf, fmaf, ldexpf, rintf
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t

import numpy as np

from bitnet_ffi.errors import from_status

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef int ggml_type "enum ggml_type"
    size_t bitnet_tensor_size(ggml_type type, int64_t k, int64_t m)
    int32_t bitnet_quantize(ggml_type type, const float *src, int64_t k, int64_t m, void *dst, size_t dst_size)
    int32_t bitnet_dequantize(ggml_type type, const void *src, size_t src_size, int64_t k, int64_t m, float *dst)
    int32_t bitnet_matmul(ggml_type type, const void *weights, size_t weights_size, int64_t k, int64_t m, const float *x,
                          int64_t n, float *y, int32_t n_threads)
    const char *bitnet_last_error()
    int32_t bitnet_last_error_code()

TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q3_k": 11, "q4_k": 12,
    "q5_k": 13, "q6_k": 14, "bf16": 30, "tq1_0": 34, "tq2_0": 35, "i2_s": 36,
}
"""Weight types by name, with their ggml_type numbers; every function takes either."""

cdef enum:
    I2_S = 36
    TQ2_0 = 35


# ---- the border ----

cdef int type_number(type) except -1:
    if isinstance(type, str):
        number = TYPES.get(type.lower())
        if number is None:
            raise ValueError(f"type: {type!r}, expected one of {', '.join(TYPES)}")
        return number
    if isinstance(type, (int, np.integer)) and 0 <= type < 256:
        return type
    raise TypeError(f"type: {type!r}, expected a name such as 'i2_s' or a ggml_type number")


cdef checked_array(array, dtype, int ndim, name):
    """`array` itself, when the kernels can read it as it lies."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: {type(array).__name__}, expected a NumPy array of {np.dtype(dtype)}")
    if array.dtype != dtype:
        raise TypeError(f"{name}: {array.dtype}, expected {np.dtype(dtype)}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: {array.ndim} dimensions, expected {ndim}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name}: not contiguous; pass numpy.ascontiguousarray({name})")
    return array


cdef tuple checked_shape(shape):
    try:
        m, k = shape
        return int(m), int(k)
    except (TypeError, ValueError):
        raise TypeError(f"shape: {shape!r}, expected two integers (rows, columns)") from None


cdef fail():
    raise from_status(bitnet_last_error_code(), bitnet_last_error().decode("utf-8", "replace"))


# ---- what the library computes ----

def tensor_size(type, shape):
    """Bytes of a tensor of this type and shape (m, k), trailer included. Errors: ValueError when k does not fit."""
    cdef int number = type_number(type)
    m, k = checked_shape(shape)
    cdef size_t size = bitnet_tensor_size(<ggml_type>number, k, m)
    if size == 0:
        fail()
    return size


def quantize(x, type):
    """Weights of `type` from floats: f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 and q2_K to q6_K as llama.cpp rounds them
    without an importance matrix; i2_s, tq1_0 and tq2_0.

    x: float32[m, k], finite; ternary types are lossless when each value is 0 or plus or minus one scale (of the tensor for
        i2_s, of each 256 elements for the others).
    Result: uint8[tensor_size(type, x.shape)]. Errors: TypeError, ValueError. Threads: any; the GIL is free.
    """
    cdef int number = type_number(type)
    cdef const float[:, ::1] source = checked_array(x, np.float32, 2, "x")
    result = np.empty(tensor_size(number, x.shape), np.uint8)
    cdef uint8_t[::1] target = result
    cdef int32_t status
    with nogil:
        status = bitnet_quantize(<ggml_type>number, &source[0, 0], source.shape[1], source.shape[0], &target[0],
                                 target.shape[0])
    if status != 0:
        fail()
    return result


def dequantize(w, type, shape):
    """Floats of weights. w: uint8[tensor_size(type, shape)] or longer. Result: float32[m, k].

    Errors: TypeError, ValueError (too few bytes, a shape that does not fit). Threads: any; the GIL is free.
    """
    cdef int number = type_number(type)
    cdef size_t size = tensor_size(number, shape)
    cdef const uint8_t[::1] source = checked_weights(w, size)
    result = np.empty(checked_shape(shape), np.float32)
    cdef float[:, ::1] target = result
    cdef int32_t status
    with nogil:
        status = bitnet_dequantize(<ggml_type>number, &source[0], source.shape[0], target.shape[1], target.shape[0],
                                   &target[0, 0])
    if status != 0:
        fail()
    return result


cdef checked_weights(w, size_t size):
    checked_array(w, np.uint8, 1, "w")
    if len(w) < size:
        raise ValueError(f"w: {len(w)} bytes, expected {size}")
    return w


def matmul(w, x, type, shape, *, int n_threads=0):
    """x times the transpose of the weights, as a model computes it: all but float weights take activations as int8.

    w: uint8[tensor_size(type, shape)] or longer, m rows of k. x: float32[n, k].
    n_threads: 0 for all CPUs of this process; the result does not depend on it, nor on n, nor on the CPU.
    Result: float32[n, m]. Errors: TypeError, ValueError. Threads: any; the GIL is free.
    """
    cdef int number = type_number(type)
    cdef size_t size = tensor_size(number, shape)
    m, k = checked_shape(shape)
    cdef const uint8_t[::1] weights = checked_weights(w, size)
    cdef const float[:, ::1] columns = checked_columns(x, k)
    result = np.empty((len(x), m), np.float32)
    if len(x) == 0:
        return result
    cdef float[:, ::1] target = result
    cdef int32_t status
    with nogil:
        status = bitnet_matmul(<ggml_type>number, &weights[0], weights.shape[0], columns.shape[1], target.shape[1],
                               &columns[0, 0], columns.shape[0], &target[0, 0], n_threads)
    if status != 0:
        fail()
    return result


cdef checked_columns(x, k):
    checked_array(x, np.float32, 2, "x")
    if x.shape[1] != k:
        raise ValueError(f"x: {x.shape[1]} columns, the weights have {k}")
    return x


# ---- the same in plain loops ----

cdef int ternary_type(type) except -1:
    cdef int number = type_number(type)
    if number != I2_S and number != TQ2_0:
        raise ValueError(f"type: {type!r}, the reference versions know i2_s and tq2_0")
    return number


cdef inline uint8_t i2_s_shift(int64_t e) noexcept nogil:
    """Groups of 128 in 32 bytes: bits 7..6 of byte j hold element j, 5..4 element 32 + j, 3..2 64 + j, 1..0 96 + j."""
    return <uint8_t>(6 - e % 128 // 32 * 2)


cdef inline int64_t i2_s_byte(int64_t e) noexcept nogil:
    return e // 128 * 32 + e % 32


cdef inline uint8_t tq2_0_shift(int64_t e) noexcept nogil:
    """Blocks of 256 in 66 bytes: two groups of 128 in 32 bytes, lowest bits first, then an f16 scale."""
    return <uint8_t>(e % 128 // 32 * 2)


cdef inline int64_t tq2_0_byte(int64_t e) noexcept nogil:
    return e // 256 * 66 + e % 256 // 128 * 32 + e % 32


cdef float half_to_float(uint16_t h) noexcept nogil:
    cdef int exponent = h >> 10 & 31
    cdef int mantissa = h & 1023
    cdef float value
    if exponent == 31:
        value = INFINITY if mantissa == 0 else NAN
    elif exponent == 0:
        value = ldexpf(mantissa, -24)
    else:
        value = ldexpf(mantissa + 1024, exponent - 25)
    return -value if h >> 15 else value


cdef int weight_code(int number, const uint8_t[::1] w, int64_t e) noexcept nogil:
    """Code of element e of the flat tensor: 0, 1, 2 for -1, 0, +1."""
    if number == I2_S:
        return w[i2_s_byte(e)] >> i2_s_shift(e) & 3
    return w[tq2_0_byte(e)] >> tq2_0_shift(e) & 3


cdef float weight_scale(int number, const uint8_t[::1] w, int64_t n, int64_t e) noexcept nogil:
    """Scale of element e; I2_S has one for all n elements."""
    cdef const uint8_t *place
    if number == I2_S:
        place = &w[n // 4]
        return (<const float *>place)[0]
    place = &w[e // 256 * 66 + 64]
    return half_to_float(<uint16_t>(place[0] | place[1] << 8))


def quantize_ref(x, type):
    """As quantize(), written to be read."""
    cdef int number = ternary_type(type)
    result = np.zeros(tensor_size(number, checked_array(x, np.float32, 2, "x").shape), np.uint8)
    if not np.isfinite(x).all():
        raise ValueError("x: a weight is not finite")
    cdef const float[::1] values = x.reshape(-1)
    cdef uint8_t[::1] target = result
    cdef int64_t n = values.shape[0]
    cdef int64_t e
    cdef float scaled
    cdef int code
    if number == I2_S:
        for e in range(n):
            code = 1 if fabs(values[e]) < 1e-6 else 0 if values[e] < 0 else 2
            target[i2_s_byte(e)] |= <uint8_t>(code << i2_s_shift(e))
        result[n // 4:n // 4 + 4] = np.abs(x).max(keepdims=True).reshape(1).view(np.uint8)
        return result
    scales = np.abs(x).reshape(-1, 256).max(axis=1)
    inverses = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales > 0)
    cdef const float[::1] inverse = inverses
    for e in range(n):
        scaled = values[e] * inverse[e // 256]
        code = 2 if scaled >= 0.5 else 0 if scaled <= -0.5 else 1
        target[tq2_0_byte(e)] |= <uint8_t>(code << tq2_0_shift(e))
    result.reshape(-1, 66)[:, 64:] = scales.astype(np.float16).reshape(-1, 1).view(np.uint8)
    return result


def dequantize_ref(w, type, shape):
    """As dequantize(), written to be read."""
    cdef int number = ternary_type(type)
    cdef const uint8_t[::1] weights = checked_weights(w, tensor_size(number, shape))
    result = np.empty(checked_shape(shape), np.float32)
    cdef float[::1] target = result.reshape(-1)
    cdef int64_t n = target.shape[0]
    cdef int64_t e
    for e in range(n):
        target[e] = weight_scale(number, weights, n, e) * (weight_code(number, weights, e) - 1)
    return result


cdef float quantize_column(const float[::1] x, int8_t[::1] q) noexcept nogil:
    """One column to int8 with one scale, BitNet b1.58's absmax rule; the scale that was multiplied by."""
    cdef double largest = 1e-5
    cdef int64_t i
    cdef float s, v
    for i in range(x.shape[0]):
        if fabsf(x[i]) > largest:
            largest = fabsf(x[i])
    s = <float>(127.0 / largest)
    for i in range(x.shape[0]):
        v = rintf(x[i] * s)  # ties to even
        q[i] = 127 if v > 127 else <int8_t>v if v >= -127 else -127  # NaN fails both tests
    return s


def matmul_ref(w, x, type, shape):
    """As matmul(), written to be read: exact integer sums D per scale, then D / s * scale."""
    cdef int number = ternary_type(type)
    cdef const uint8_t[::1] weights = checked_weights(w, tensor_size(number, shape))
    cdef int64_t m, k, n, row, column, i, end, e
    m, k = checked_shape(shape)
    n = len(checked_columns(x, k))
    cdef const float[:, ::1] columns = x
    result = np.empty((n, m), np.float32)
    cdef float[:, ::1] y = result
    cdef int8_t[::1] q = np.empty(k, np.int8)
    cdef int64_t run = k if number == I2_S else 256  # elements of a row that share a scale
    cdef int32_t dot                                 # at most 127 * run: exact as a float while run <= 2^17
    cdef float s, acc, scale
    for column in range(n):
        s = quantize_column(columns[column], q)
        for row in range(m):
            acc = 0
            for i in range(0, k, run):
                dot = 0
                for e in range(i, i + run):
                    dot += (weight_code(number, weights, row * k + e) - 1) * q[e]
                scale = weight_scale(number, weights, m * k, row * k + i)
                if number == I2_S:
                    acc = (<float>dot / s) * scale
                else:
                    acc = fmaf(<float>dot, scale, acc)
            y[column, row] = acc if number == I2_S else acc / s
    return result
