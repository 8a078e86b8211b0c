# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Candidates: the k best of an array, its maximum, its softmax. Works in place and allocates nothing.
# Holds the promises of every sampler about NaN (counts as minus infinity), ties (smaller id first) and sums (one order).
# Next: csrc/bnf_sampler.h for what each function promises, sampler.pyx for who asks.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from bitnet_ffi._core.bnf_math cimport bnf_expf
from bitnet_ffi._core.bnf_ops cimport bnf_ops, bnf_ops_t
from bitnet_ffi._core.bnf_public cimport llama_token_data
from bitnet_ffi._core.bnf_sampler cimport bnf_better, bnf_logit, bnf_rank, INFINITY

cdef enum:
    EXP_BLOCK = 256  # exponentials are taken in blocks, so that the vector kernel serves an array of structs
    HEAP_LEN = 256   # up to here a heap, which mostly reads, beats splitting, which moves everything
    FEW = 16         # up to here insertion


cdef void swap(llama_token_data *a, llama_token_data *b) noexcept nogil:
    cdef llama_token_data t = a[0]
    a[0] = b[0]
    b[0] = t


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


# A heap of the k best seen so far takes in the rest one by one, then empties itself from the back, worst first.
cdef void sort_by_heap(llama_token_data *data, size_t n, size_t k) noexcept nogil:
    cdef float worst
    cdef size_t i
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
            swap(&data[i], &data[0])
            sink(data, k, 0)
            worst = bnf_logit(&data[0])
    i = k
    while i > 1:
        i -= 1
        swap(&data[0], &data[i])
        sink(data, i, 0)


cdef void sort_by_insertion(llama_token_data *data, size_t n) noexcept nogil:
    cdef llama_token_data moving
    cdef size_t i, hole
    for i in range(1, n):
        moving = data[i]
        hole = i
        while hole > 0 and bnf_better(&moving, &data[hole - 1]):
            data[hole] = data[hole - 1]
            hole -= 1
        data[hole] = moving


# Put those better than the median of three before it, the others behind it; returns where it stands. n >= 3.
cdef size_t split(llama_token_data *data, size_t n) noexcept nogil:
    cdef llama_token_data *first = &data[0]
    cdef llama_token_data *middle = &data[n // 2]
    cdef llama_token_data *last = &data[n - 1]
    cdef llama_token_data t
    cdef size_t i, behind = 1
    cdef uint64_t pivot
    if bnf_better(last, middle):
        swap(last, middle)
    if bnf_better(middle, first):
        swap(middle, first)
        if bnf_better(last, middle):
            swap(last, middle)
    swap(middle, first)
    pivot = bnf_rank(first)
    for i in range(1, n):
        # Every element moves, the border moves behind the better ones: no branch that could be guessed wrong.
        t = data[i]
        data[i] = data[behind]
        data[behind] = t
        behind += bnf_rank(&t) > pivot
    swap(first, &data[behind - 1])
    return behind - 1


# Quicksort that never looks at the part behind the k best, for more than a heap should hold. Parts that keep splitting badly
# use up `levels` and end in the heap as well, so no input takes quadratic time.
cdef void sort_by_splits(llama_token_data *data, size_t n, size_t k, int levels) noexcept nogil:
    cdef size_t n_better
    while n > FEW and levels > 0 and (k > HEAP_LEN or n < 4 * k):
        levels -= 1
        n_better = split(data, n)
        if n_better >= k:
            n = n_better
        else:
            sort_by_splits(data, n_better, n_better, levels)
            data += n_better + 1
            n -= n_better + 1
            k -= n_better + 1
    if n > FEW:
        sort_by_heap(data, n, k)
    else:
        sort_by_insertion(data, n)


# The order is total, so the result does not depend on the method. Of 128 256, on a Xeon: the best 40 in 0.07 ms (heap); all in
# 10 ms, by the heap alone 22. Rejected, on a Zen 4: dealing all out in place to 1,024 equal intervals
# of logits, then sorting those: all in 0.78 of the time, but the best 2,000 in 1.3.
cdef public void bnf_candidates_sort(llama_token_data *data, size_t n, size_t k) noexcept nogil:
    cdef int levels = 0
    while n >> levels > 0:
        levels += 1
    sort_by_splits(data, n, k if k < n else n, 2 * levels)


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
