# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Candidates: the k best of an array, its maximum, its softmax. Works in place and allocates nothing.
# Holds the promises of every sampler about NaN (counts as minus infinity), ties (smaller id first) and sums (one order).
# Next: csrc/bnf_sampler.h for what each function promises, sampler.pyx for who asks.

from libc.stddef cimport size_t
from bitnet_ffi._core.bnf cimport bnf_expf, bnf_ops, bnf_ops_t, llama_token_data
from bitnet_ffi._core.bnf_sampler cimport INFINITY, bnf_better, bnf_logit

# Exponentials are taken in blocks, so that the vector kernel serves an array of structs.
cdef enum:
    EXP_BLOCK = 256


# Let heap[i] sink until no child is worse than its parent is: the root of the heap is its worst candidate.
cdef void sink(llama_token_data *heap, size_t n, size_t i) noexcept nogil:
    cdef llama_token_data moving = heap[i]
    cdef size_t child = 2 * i + 1
    while child < n:
        if child + 1 < n and bnf_better(&heap[child], &heap[child + 1]):
            child += 1
        if not bnf_better(&moving, &heap[child]):
            break
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    heap[i] = moving


# A heap of the k best seen so far takes in the rest one by one, then empties itself from the back, worst first. The order
# is total, so the result does not depend on the method. Rejected: a histogram of logits (needs memory and a known range).
cdef public void bnf_candidates_sort(llama_token_data *data, size_t n, size_t k) noexcept nogil:
    cdef llama_token_data t
    cdef float worst
    cdef size_t i
    if k > n:
        k = n
    if k == 0:
        return
    i = k // 2
    while i > 0:
        i -= 1
        sink(data, k, i)
    worst = bnf_logit(&data[0])
    for i in range(k, n):
        # One comparison turns almost everyone away; written so that a NaN gets through to the full one.
        if not (data[i].logit < worst) and bnf_better(&data[i], &data[0]):
            t = data[0]
            data[0] = data[i]
            data[i] = t
            sink(data, k, 0)
            worst = bnf_logit(&data[0])
    i = k
    while i > 1:
        i -= 1
        t = data[0]
        data[0] = data[i]
        data[i] = t
        sink(data, i, 0)


cdef public size_t bnf_candidates_best(const llama_token_data *data, size_t n) noexcept nogil:
    cdef size_t i, best = 0
    cdef float most = bnf_logit(&data[0])
    for i in range(1, n):
        if not (data[i].logit < most) and bnf_better(&data[i], &data[best]):
            best = i
            most = bnf_logit(&data[i])
    return best


cdef public float bnf_candidates_max(const llama_token_data *data, size_t n) noexcept nogil:
    cdef float best = -INFINITY
    cdef size_t i
    for i in range(n):
        if data[i].logit > best:
            best = data[i].logit
    return best


cdef public double bnf_candidates_exp(llama_token_data *data, size_t n, float max) noexcept nogil:
    cdef const bnf_ops_t *ops = bnf_ops()
    cdef float below[EXP_BLOCK]
    cdef float power[EXP_BLOCK]
    cdef double total = 0
    cdef size_t begin, i, n_block
    cdef float logit
    begin = 0
    while begin < n:
        n_block = n - begin
        if n_block > EXP_BLOCK:
            n_block = EXP_BLOCK
        for i in range(n_block):
            logit = bnf_logit(&data[begin + i])
            below[i] = 0 if logit == max else logit - max
        if ops != NULL:
            ops.exp(below, <long long>n_block, power)
        else:  # BITNET_FFI_KERNELS names no table: the scalar statement, the same bits
            for i in range(n_block):
                power[i] = bnf_expf(below[i])
        for i in range(n_block):
            data[begin + i].p = power[i]
            total += power[i]
        begin += n_block
    return total


cdef public void bnf_candidates_softmax(llama_token_data *data, size_t n) noexcept nogil:
    cdef double total = bnf_candidates_exp(data, n, bnf_candidates_max(data, n))
    cdef size_t i
    for i in range(n):
        data[i].p = <float>(data[i].p / total)
