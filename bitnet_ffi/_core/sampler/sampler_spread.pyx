# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The samplers that measure how the distribution is spread: top-n-sigma, temp-ext (a temperature that follows the entropy), and
# the older softmax and tail-free. They remember nothing. Orders of operations as in llama.cpp (src/llama-sampler.cpp).
# Next: candidates.pyx for order and softmax, api_sampler.pyx for the constructors.

from libc.stddef cimport size_t
from bitnet_ffi._core.bnf_math cimport bnf_ln, bnf_pow
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_max, bnf_candidates_softmax, bnf_candidates_sort, bnf_logit, bnf_sampler_plain, bnf_temp_apply, INFINITY)

cdef extern from "bnf_sampler.h" nogil:
    pass

cdef extern from "<math.h>" nogil:
    double sqrt(double x)      # IEEE: correctly rounded, the same everywhere


cdef void sort_all(llama_token_data_array *cur) noexcept nogil:
    if not cur.sorted:
        bnf_candidates_sort(cur.data, cur.size, cur.size)
        cur.sorted = True


# All candidates in order, with their probabilities.
cdef public void bnf_softmax_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    sort_all(cur)
    bnf_candidates_softmax(cur.data, cur.size)


# Top-n-sigma (arXiv 2411.07641): logits more than n standard deviations below the largest become minus infinity; those that are
# it already count for nothing.
cdef public void bnf_top_n_sigma_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef float n = (<bnf_sampler_plain *>smpl.ctx).p
    cdef float max = bnf_candidates_max(cur.data, cur.size)
    cdef double total = 0, squares = 0, mean = 0, least
    cdef size_t i, n_counted = 0
    cdef float logit
    if cur.size <= 1:
        return
    for i in range(cur.size):
        logit = bnf_logit(&cur.data[i])
        if logit != -INFINITY:
            total += logit
            n_counted += 1
    if n_counted > 0:
        mean = total / <double>n_counted
    for i in range(cur.size):
        logit = bnf_logit(&cur.data[i])
        if logit != -INFINITY:
            squares += (logit - mean) * (logit - mean)
    if n_counted > 0:
        squares = squares / <double>n_counted
    least = max - n * sqrt(squares)      # NaN, when a logit is infinite: nothing is below it
    for i in range(cur.size):
        if cur.data[i].logit < least:
            cur.data[i].logit = -INFINITY


# Entropy over that of a uniform choice among as many, 0 to 1: with p_i from the softmax, -sum p_i ln p_i / ln n.
cdef double relative_entropy(const llama_token_data *data, size_t n) noexcept nogil:
    cdef double entropy = 0
    cdef size_t i
    for i in range(n):
        if data[i].p > 0:
            entropy -= data[i].p * bnf_ln(data[i].p)
    return entropy / bnf_ln(<double>n)


# A temperature between t - delta and t + delta, the higher the less the distribution knows what it wants.
cdef public void bnf_temp_ext_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_plain *own = <const bnf_sampler_plain *>smpl.ctx
    cdef bnf_sampler_plain temperature
    cdef llama_sampler scaled
    cdef double least, most, entropy
    if not own.delta > 0:
        bnf_temp_apply(smpl, cur)
        return
    if cur.size <= 1:
        return
    bnf_softmax_apply(smpl, cur)
    least = own.p - own.delta if own.p > own.delta else 0
    most = own.p + own.delta
    entropy = relative_entropy(cur.data, cur.size)
    if entropy > 0:
        entropy = bnf_pow(entropy, own.exponent)
    temperature.p = <float>(least + (most - least) * entropy)
    scaled.ctx = &temperature
    bnf_temp_apply(&scaled, cur)
    bnf_candidates_softmax(cur.data, cur.size)


# Tail-free sampling: with the candidates in order, the weight of i is |p_i - 2 p_(i+1) + p_(i+2)|, normed; keeps those before
# the weights exceed z, at least min_keep.
cdef public void bnf_tail_free_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_plain *own = <const bnf_sampler_plain *>smpl.ctx
    cdef double whole = 0, total = 0, n_weights
    cdef size_t i
    if cur.size <= 2:
        return
    bnf_softmax_apply(smpl, cur)
    n_weights = <double>(cur.size - 2)
    for i in range(cur.size - 2):
        whole += curvature(cur.data + i)
    for i in range(cur.size - 2):
        total += curvature(cur.data + i) / whole if whole > 1e-6 else 1 / n_weights
        if total > own.p and i >= own.min_keep:
            cur.size = i if i > 0 else 1
            break


cdef inline double curvature(const llama_token_data *data) noexcept nogil:
    cdef double bend = <double>data[0].p - 2 * <double>data[1].p + data[2].p
    return bend if bend >= 0 else -bend
