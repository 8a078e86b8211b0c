# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The samplers that remember nothing: greedy, top-k, top-p, min-p, typical, temperature. Each narrows, rescales or chooses
# among the candidates in place; an empty array passes through. Orders of operations as in llama.cpp (src/llama-sampler.cpp).
# Next: candidates.pyx for order and softmax, sampler_dist.pyx for the random choice, api_sampler.pyx for the constructors.

from libc.stddef cimport size_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_release
from bitnet_ffi._core.bnf_math cimport bnf_ln
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_sampler_i, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_best, bnf_candidates_exp, bnf_candidates_max, bnf_candidates_softmax, bnf_candidates_sort, bnf_logit,
    bnf_sampler_plain, INFINITY)

# Sorting for top-p and typical goes on only as far as the sum needs: this many first, then four times as many, ...
cdef enum:
    FIRST_SORTED = 256


cdef public llama_sampler *bnf_sampler_new(llama_sampler_i *iface, const char *name, size_t size) noexcept nogil:
    cdef llama_sampler *smpl = <llama_sampler *>bnf_alloc(sizeof(llama_sampler))
    if smpl == NULL:
        return NULL
    smpl.iface = iface
    smpl.ctx = bnf_alloc(size)
    if smpl.ctx == NULL:
        bnf_release(smpl)
        return NULL
    (<const char **>smpl.ctx)[0] = name
    return smpl


cdef public const char *bnf_sampler_own_name(const llama_sampler *smpl) noexcept nogil:
    return (<const char **>smpl.ctx)[0]


cdef public llama_sampler *bnf_plain_clone(const llama_sampler *smpl) noexcept nogil:
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, NULL, sizeof(bnf_sampler_plain))
    if copy != NULL:
        memcpy(copy.ctx, smpl.ctx, sizeof(bnf_sampler_plain))
    return copy


cdef public void bnf_plain_free(llama_sampler *smpl) noexcept nogil:
    bnf_release(smpl.ctx)


# A sampler whose settings change nothing.
cdef public void bnf_empty_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    pass


cdef public void bnf_greedy_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cur.selected = -1 if cur.size == 0 else <long long>bnf_candidates_best(cur.data, cur.size)


cdef public void bnf_top_k_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef size_t k = <size_t>(<bnf_sampler_plain *>smpl.ctx).k
    if k > cur.size:
        k = cur.size
    if not cur.sorted:
        bnf_candidates_sort(cur.data, cur.size, k)
        cur.sorted = True
    cur.size = k


# The next block of candidates sorted behind the n_sorted best ones: returns how many are sorted then.
cdef size_t sort_more(llama_token_data_array *cur, size_t n_sorted) noexcept nogil:
    cdef size_t n = FIRST_SORTED if n_sorted == 0 else 3 * n_sorted
    if n > cur.size - n_sorted:
        n = cur.size - n_sorted
    bnf_candidates_sort(cur.data + n_sorted, cur.size - n_sorted, n)
    return n_sorted + n


# The fewest best candidates, at least min_keep, whose probabilities reach p together.
cdef public void bnf_top_p_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_plain *own = <const bnf_sampler_plain *>smpl.ctx
    cdef size_t n_sorted = cur.size if cur.sorted else 0
    cdef size_t i, n_kept = cur.size
    cdef double total = 0
    bnf_candidates_softmax(cur.data, cur.size)
    for i in range(cur.size):
        if i == n_sorted:
            n_sorted = sort_more(cur, n_sorted)
        total += cur.data[i].p
        if total >= own.p and i + 1 >= own.min_keep:
            n_kept = i + 1
            break
    cur.size = n_kept
    cur.sorted = True


# Candidates with at least p times the probability of the best one: logit >= max + ln p. If they are fewer than min_keep,
# the min_keep best. The order of an unsorted array stays when the first rule suffices.
cdef public void bnf_min_p_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_plain *own = <const bnf_sampler_plain *>smpl.ctx
    cdef llama_token_data dropped
    cdef float least
    cdef size_t i, n_kept, n = 0
    if cur.size == 0:
        return
    least = bnf_candidates_max(cur.data, cur.size) + <float>bnf_ln(own.p)
    for i in range(cur.size):
        if bnf_logit(&cur.data[i]) >= least:
            n += 1
    n_kept = own.min_keep if own.min_keep > n else n
    if n_kept == 0:  # p > 1
        n_kept = 1
    if n_kept > n:      # sorted also where all are kept: the draw that follows is llama.cpp's then
        n_kept = n_kept if n_kept < cur.size else cur.size
        if not cur.sorted:
            bnf_candidates_sort(cur.data, cur.size, n_kept)
            cur.sorted = True
    else:
        n = 0
        for i in range(cur.size):
            if bnf_logit(&cur.data[i]) >= least:
                dropped = cur.data[n]      # exchanged, not overwritten: all candidates stay in the array (sampler_front.pyx)
                cur.data[n] = cur.data[i]
                cur.data[i] = dropped
                n += 1
    cur.size = n_kept


# Locally typical sampling (Meister et al. 2022): the candidates whose surprise -ln p_i lies closest to the entropy H, until
# their probabilities exceed p. With d_i = logit_i - max and Z = sum exp(d_i), p_i = exp(d_i) / Z, so that
#   H = ln Z - sum p_i d_i    and    |-ln p_i - H| = |ln Z - d_i - H|:
# one logarithm in all, and candidates of probability zero are infinitely surprising instead of NaN.
cdef public void bnf_typical_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_plain *own = <const bnf_sampler_plain *>smpl.ctx
    cdef float max = bnf_candidates_max(cur.data, cur.size)
    cdef double z, ln_z, entropy, below, score, total = 0
    cdef size_t i, n_kept = cur.size, n_sorted = 0
    cdef float logit
    if cur.size == 0:
        return
    z = bnf_candidates_exp(cur.data, cur.size, max)
    ln_z = bnf_ln(z)
    entropy = ln_z
    for i in range(cur.size):
        if cur.data[i].p > 0:
            logit = bnf_logit(&cur.data[i])
            if logit != max:
                entropy -= cur.data[i].p / z * (<double>logit - max)
    # The shared sort orders by logit: the nearness stands there while it works, and the logit waits in p.
    for i in range(cur.size):
        logit = bnf_logit(&cur.data[i])
        below = 0 if logit == max else <double>logit - max
        score = ln_z - below - entropy
        cur.data[i].p = logit
        cur.data[i].logit = <float>(score if score < 0 else -score)
    for i in range(cur.size):
        if i == n_sorted:
            n_sorted = sort_more(cur, n_sorted)
            restore(cur.data + i, n_sorted - i, max, z)
        total += cur.data[i].p
        if total > own.p and i + 1 >= own.min_keep:
            n_kept = i + 1
            break
    cur.size = n_kept
    cur.sorted = False


# Give n sorted candidates of the typical sampler their logit and probability back.
cdef void restore(llama_token_data *data, size_t n, float max, double z) noexcept nogil:
    cdef size_t i
    for i in range(n):
        data[i].logit = data[i].p
    bnf_candidates_exp(data, n, max)
    for i in range(n):
        data[i].p = <float>(data[i].p / z)


# A temperature of 0 or less (or NaN) leaves the best candidate alone, all others at minus infinity.
cdef public void bnf_temp_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef float temp = (<bnf_sampler_plain *>smpl.ctx).p
    cdef size_t i, best
    if cur.size == 0:
        return
    if temp > 0:
        for i in range(cur.size):
            cur.data[i].logit /= temp
        return
    best = bnf_candidates_best(cur.data, cur.size)
    for i in range(cur.size):
        if i != best:
            cur.data[i].logit = -INFINITY
