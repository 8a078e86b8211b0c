# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The contents of every tensor, read once when check_tensors asks: no NaN or infinity where floats stand, no code that
# means nothing. Everything else in a block is an integer and cannot be wrong.
# Next: csrc/bnf_layout.h for the layout of each type.

from libc.stdint cimport uint16_t, int32_t, uint32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_load cimport bnf_load_step, bnf_loader
from bitnet_ffi._core.bnf_ops cimport bnf_type_traits, bnf_type_traits_t
from bitnet_ffi._core.bnf_public cimport (
    BITNET_ERROR_MODEL, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_I2_S, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_1,
    GGML_TYPE_Q4_K, GGML_TYPE_Q5_1, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0)
from bitnet_ffi._core.bnf_types cimport bnf_tensor

cdef int fail_number(const bnf_tensor *t, int64_t at, const char *what) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' of type %s: %s %lld is NaN or infinite",
                    bnf_show(t.name.data, t.name.len, shown), bnf_type_traits(t.type).name, what, <long long>at)

cdef int check_f32(const bnf_tensor *t) noexcept nogil:
    cdef int64_t n = <int64_t>(t.size // 4)
    cdef uint32_t bits = 0
    cdef int64_t i
    for i in range(n):
        memcpy(&bits, t.data + 4 * i, 4)
        if (bits & 0x7F800000) == 0x7F800000:
            return fail_number(t, i, "element")
    return 0

# Every step-th 16-bit number from `first` on; `exponent` is 0x7C00 for f16 and 0x7F80 for bf16.
cdef int check_halves(const bnf_tensor *t, uint64_t first, uint64_t step, uint16_t exponent, const char *what) noexcept nogil:
    cdef uint16_t bits = 0
    cdef uint64_t at = first
    while at + 2 <= t.size:
        memcpy(&bits, t.data + at, 2)
        if (bits & exponent) == exponent:
            return fail_number(t, <int64_t>(at // step), what)
        at += step
    return 0

# Four 2-bit codes a byte: 0, 1, 2 for -1, 0, +1. Code 3 has both bits set, so x & (x >> 1) has its even bit set: an even
# bit's upper neighbour is in the same byte, so eight bytes can be looked at together. The codes fill a multiple of 32 bytes.
cdef int check_codes(const bnf_tensor *t) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef uint64_t n = t.size - 32
    cdef uint64_t x = 0
    cdef uint64_t at = 0
    while at < n:
        memcpy(&x, t.data + at, 8)
        if x & (x >> 1) & 0x5555555555555555ULL:
            return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' of type i2_s: code 3 at byte %llu to %llu, expected 0, 1 or 2",
                            bnf_show(t.name.data, t.name.len, shown), <unsigned long long>at, <unsigned long long>(at + 7))
        at += 8
    return 0

# Byte offsets of the f16 numbers in a block: the scale, and the minimum (-1: none).
cdef void scale_offsets(int32_t type, int32_t *scale, int32_t *minimum) noexcept nogil:
    scale[0] = 0
    minimum[0] = -1
    if type == GGML_TYPE_Q4_1 or type == GGML_TYPE_Q5_1 or type == GGML_TYPE_Q4_K or type == GGML_TYPE_Q5_K:
        minimum[0] = 2
    elif type == GGML_TYPE_Q2_K:
        scale[0] = 80
        minimum[0] = 82
    elif type == GGML_TYPE_Q3_K:
        scale[0] = 108
    elif type == GGML_TYPE_Q6_K:
        scale[0] = 208
    elif type == GGML_TYPE_TQ1_0:
        scale[0] = 52
    elif type == GGML_TYPE_TQ2_0:
        scale[0] = 64

cdef int check_tensor(const bnf_tensor *t) noexcept nogil:
    cdef const bnf_type_traits_t *traits = bnf_type_traits(t.type)
    cdef uint64_t block_size
    cdef int32_t scale = 0
    cdef int32_t minimum = -1
    cdef int code
    if traits == NULL: # a loader that needs this tensor refuses it by its type
        return 0
    if t.type == GGML_TYPE_F32:
        return check_f32(t)
    if t.type == GGML_TYPE_F16:
        return check_halves(t, 0, 2, 0x7C00, "element")
    if t.type == GGML_TYPE_BF16:
        return check_halves(t, 0, 2, 0x7F80, "element")
    if t.type == GGML_TYPE_I2_S: # its one scale is always checked
        return check_codes(t)
    block_size = <uint64_t>traits.block_size
    scale_offsets(t.type, &scale, &minimum)
    code = check_halves(t, <uint64_t>scale, block_size, 0x7C00, "the scale of block")
    if code == 0 and minimum >= 0:
        code = check_halves(t, <uint64_t>minimum, block_size, 0x7C00, "the minimum of block")
    return code

cdef public int bnf_load_check(bnf_loader *loader) noexcept nogil:
    cdef int64_t i
    cdef int code = 0
    for i in range(loader.model.gguf.n_tensors):
        code = check_tensor(&loader.model.gguf.tensors[i])
        if code == 0:
            code = bnf_load_step(loader)
        if code != 0:
            break
    return code
