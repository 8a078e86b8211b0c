# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# bitnet_tensor_size, bitnet_quantize, bitnet_dequantize, bitnet_matmul: the kernels for programs that have no model.
# Every argument is checked here; below this border the kernels trust sizes and pointers.
# Next: csrc/bnf_layout.h for the formats, csrc/bnf_ops.h for what a product means exactly.

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint64_t, uintptr_t, INT64_MAX
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_error_code, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_ops cimport (
    bnf_act, bnf_dequantize, bnf_matmul_fn, bnf_matrix, bnf_ops, bnf_ops_t, bnf_quantize, bnf_tensor_size, bnf_type_name,
    bnf_type_traits, bnf_type_traits_t, BNF_ACT_F32, BNF_ACT_Q8_ROW, BNF_MATMUL_SCRATCH, BNF_PAD64)
from bitnet_ffi._core.bnf_pool cimport (
    bnf_pool, bnf_pool_barrier, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_range, bnf_pool_run, bnf_pool_size)
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_MEMORY, GGML_TYPE_I2_S
from bitnet_ffi._core.bnf_write cimport ggml_type

# Rows are handed to threads in groups, so that two threads seldom write to one cache line of y (16 floats).
cdef enum:
    ROW_GRAIN = 16

# One product on its way through the pool.
cdef struct matmul_job:
    const bnf_ops_t *ops
    bnf_pool *pool
    bnf_matmul_fn product
    bnf_matrix w
    bnf_act x
    # The same arrays as in x, writable: filled by all members before the barrier, read by all after it.
    int8_t *q
    float *scale
    int16_t *sum16
    int32_t *sum
    float *y
    uint8_t *scratch       # BNF_MATMUL_SCRATCH(k) bytes a member
    size_t scratch_size


# Bytes of an m by k tensor, or 0 with a sentence. After a success k * m floats can be addressed.
cdef uint64_t checked_size(int type, int64_t k, int64_t m) noexcept nogil:
    cdef const bnf_type_traits_t *traits = bnf_type_traits(type)
    cdef const char *name
    cdef uint64_t size
    if traits == NULL:
        name = bnf_type_name(type)
        if name == NULL:
            bnf_fail(BITNET_ERROR, "type %d: not a tensor type", <int>type)
        else:
            bnf_fail(BITNET_ERROR, "type %d (%s): not supported", <int>type, name)
        return 0
    if k < 1 or m < 1:
        bnf_fail(BITNET_ERROR, "%s: %lld rows of %lld elements, expected at least 1 of each",
                 traits.name, <long long>m, <long long>k)
        return 0
    if m > INT64_MAX // 8 // k:
        bnf_fail(BITNET_ERROR, "%s: %lld rows of %lld elements is more than memory can address",
                 traits.name, <long long>m, <long long>k)
        return 0
    size = bnf_tensor_size(type, k, m)
    if size == 0:
        if type == GGML_TYPE_I2_S:
            bnf_fail(BITNET_ERROR, "i2_s: %lld rows of %lld elements, expected their product to be a multiple of 128",
                     <long long>m, <long long>k)
        else:
            bnf_fail(BITNET_ERROR, "%s: rows of %lld elements, expected a multiple of %d",
                     traits.name, <long long>k, <int>traits.block_len)
    return size


# Float weights are read as floats, so they must lie as floats do; block formats are read bytewise. False with a sentence.
cdef bint checked_alignment(int type, const void *data) noexcept nogil:
    cdef const bnf_type_traits_t *traits = bnf_type_traits(type)
    if traits.block_len == 1 and <uintptr_t>data % <uintptr_t>traits.block_size != 0:
        bnf_fail(BITNET_ERROR, "%s: the weights begin at an address that is no multiple of %d", traits.name,
                 <int>traits.block_size)
        return False
    return True


# I2_S keeps one scale for the whole tensor, first in the trailer behind the codes (n / 4 bytes); other types have none.
cdef float tensor_scale(int type, const uint8_t *data, int64_t k, int64_t m) noexcept nogil:
    cdef float scale = 1.0
    if type == GGML_TYPE_I2_S:
        memcpy(&scale, data + k * m // 4, sizeof(float))
    return scale


cdef public size_t bitnet_tensor_size(ggml_type type, int64_t k, int64_t m) noexcept nogil:
    bnf_clear_error()
    return checked_size(type, k, m)


cdef public int32_t bitnet_quantize(ggml_type type, const float *src, int64_t k, int64_t m, void *dst,
                                    size_t dst_size) noexcept nogil:
    cdef uint64_t size
    bnf_clear_error()
    size = checked_size(type, k, m)
    if size == 0:
        return bnf_error_code()
    if src == NULL or dst == NULL:
        return bnf_fail(BITNET_ERROR, "quantize: source or destination is NULL")
    if dst_size < size:
        return bnf_fail(BITNET_ERROR, "quantize: the destination has %llu bytes, %s needs %llu",
                        <unsigned long long>dst_size, bnf_type_name(type), <unsigned long long>size)
    return bnf_quantize(type, src, k, m, <uint8_t *>dst)


cdef public int32_t bitnet_dequantize(ggml_type type, const void *src, size_t src_size, int64_t k, int64_t m,
                                      float *dst) noexcept nogil:
    cdef const uint8_t *data = <const uint8_t *>src
    cdef uint64_t size
    bnf_clear_error()
    size = checked_size(type, k, m)
    if size == 0:
        return bnf_error_code()
    if src == NULL or dst == NULL:
        return bnf_fail(BITNET_ERROR, "dequantize: source or destination is NULL")
    if src_size < size:
        return bnf_fail(BITNET_ERROR, "dequantize: the source has %llu bytes, %s needs %llu",
                        <unsigned long long>src_size, bnf_type_name(type), <unsigned long long>size)
    if not checked_alignment(type, src):
        return bnf_error_code()
    bnf_dequantize(type, data, tensor_scale(type, data, k, m), 0, k * m, dst)
    return 0


# One member's share: its columns of activations first, then, when all columns are ready, its rows of the product.
cdef void matmul_member(void *arg, int ith, int nth) noexcept nogil:
    cdef matmul_job *job = <matmul_job *>arg
    cdef int64_t k = job.x.k
    cdef int64_t stride = job.x.q_stride
    cdef long begin = 0
    cdef long end = 0
    cdef long c
    if job.x.kind != BNF_ACT_F32:
        bnf_pool_range(<long>job.x.n_cols, 1, ith, nth, &begin, &end)
        for c in range(begin, end):
            if job.x.kind == BNF_ACT_Q8_ROW:
                job.ops.quantize_row(job.x.f + c * k, k, job.q + c * stride, job.scale + c, job.sum + c,
                                     job.sum16 + c * (stride // 16))
            else:
                job.ops.quantize_block(job.x.f + c * k, k, job.q + c * stride, job.scale + c * (stride // 32),
                                       job.sum16 + c * (stride // 16))
        bnf_pool_barrier(job.pool)
    bnf_pool_range(<long>job.w.m, ROW_GRAIN, ith, nth, &begin, &end)
    if begin < end:
        job.product(&job.w, &job.x, job.y, job.w.m, begin, end, job.scratch + ith * job.scratch_size)


# Memory and threads of a job whose matrices are set; run; release. 0 or an error code.
cdef int matmul_run(matmul_job *job, int n_threads) noexcept nogil:
    cdef int64_t n = job.x.n_cols
    cdef size_t cols = <size_t>n
    cdef size_t stride = <size_t>job.x.q_stride
    cdef size_t scales_per_col = 1 if job.x.kind == BNF_ACT_Q8_ROW else stride // 32
    cdef int code = 0
    job.pool = bnf_pool_new(n_threads)
    if job.pool == NULL:
        return bnf_error_code()
    job.scratch_size = (BNF_MATMUL_SCRATCH(job.x.k) + 63) // 64 * 64
    job.scratch = <uint8_t *>bnf_alloc_array(<size_t>bnf_pool_size(job.pool), job.scratch_size)
    if job.scratch == NULL:
        code = BITNET_ERROR_MEMORY
    if job.x.kind != BNF_ACT_F32 and code == 0:
        # stride * 4 bytes is under the 8 * k * m bytes that checked_size allowed for, so only the column count can overflow.
        job.q = <int8_t *>bnf_alloc_array(cols, stride)
        job.scale = <float *>bnf_alloc_array(cols, scales_per_col * sizeof(float))
        job.sum16 = <int16_t *>bnf_alloc_array(cols, stride // 16 * sizeof(int16_t))
        job.sum = <int32_t *>bnf_alloc_array(cols, sizeof(int32_t))
        if job.q == NULL or job.scale == NULL or job.sum16 == NULL or job.sum == NULL:
            code = BITNET_ERROR_MEMORY
        job.x.q = job.q
        job.x.scale = job.scale
        job.x.sum16 = job.sum16
        job.x.sum = job.sum
    if code == 0:
        bnf_pool_run(job.pool, bnf_pool_size(job.pool), matmul_member, job)
    bnf_release(job.q)
    bnf_release(job.scale)
    bnf_release(job.sum16)
    bnf_release(job.sum)
    bnf_release(job.scratch)
    bnf_pool_free(job.pool)
    return code


cdef public int32_t bitnet_matmul(ggml_type type, const void *weights, size_t weights_size, int64_t k, int64_t m,
                                  const float *x, int64_t n, float *y, int32_t n_threads) noexcept nogil:
    cdef const uint8_t *data = <const uint8_t *>weights
    cdef const bnf_type_traits_t *traits = bnf_type_traits(type)
    cdef const bnf_ops_t *ops
    cdef bnf_matmul_fn product
    cdef matmul_job job
    cdef uint64_t size
    bnf_clear_error()
    size = checked_size(type, k, m)
    if size == 0:
        return bnf_error_code()
    if n < 0:
        return bnf_fail(BITNET_ERROR, "matmul: %lld columns, expected 0 or more", <long long>n)
    if n > 0 and (n > INT64_MAX // 8 // k or n > INT64_MAX // 8 // m):
        return bnf_fail(BITNET_ERROR, "matmul: %lld columns is more than memory can address", <long long>n)
    if weights_size < size:
        return bnf_fail(BITNET_ERROR, "matmul: the weights have %llu bytes, %s needs %llu",
                        <unsigned long long>weights_size, traits.name, <unsigned long long>size)
    if weights == NULL or (n > 0 and (x == NULL or y == NULL)):
        return bnf_fail(BITNET_ERROR, "matmul: weights, x or y is NULL")
    if not checked_alignment(type, weights):
        return bnf_error_code()
    ops = bnf_ops()
    if ops == NULL:
        return bnf_error_code()
    product = ops.matmul[<int>type]
    if product == NULL:
        return bnf_fail(BITNET_ERROR, "matmul: the %s kernels have no product for %s", ops.name, traits.name)
    if n == 0:
        return 0
    memset(&job, 0, sizeof(job))
    job.ops = ops
    job.product = product
    job.w.data = data
    job.w.k = k
    job.w.m = m
    # I2_S rows need not end on a block: k / 4 is then meaningless, and the kernel goes through the flat stream.
    job.w.row_size = (size - <uint64_t>traits.trailer_size) // <uint64_t>m
    job.w.type = type
    job.w.layout = type
    job.w.scale = tensor_scale(type, data, k, m)
    job.x.kind = traits.act
    job.x.n_cols = n
    job.x.k = k
    job.x.f = x
    job.x.f_stride = k
    job.x.q_stride = BNF_PAD64(k)
    job.y = y
    return matmul_run(&job, n_threads if n_threads > 0 else bnf_pool_limit())
