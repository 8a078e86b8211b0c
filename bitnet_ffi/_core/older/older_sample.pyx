# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# llama_sample_*, the sampling of 2023 and 2024: functions on candidates instead of objects, drawing from a generator in the
# context. Each is one of today's samplers, made on the stack and applied once, so both ways choose the same.
# ctx may be NULL where nothing is drawn, as programs of then do. Next: sampler*.pyx for what the samplers do.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release, bnf_time_us
from bitnet_ffi._core.bnf_calls cimport bnf_enter
from bitnet_ffi._core.bnf_context cimport bnf_context_enter, bnf_context_leave, bnf_poke_i32, bnf_poke_i64, llama_context
from bitnet_ffi._core.bnf_math cimport bnf_ln
from bitnet_ffi._core.bnf_public cimport (
    llama_sampler, llama_sampler_i, llama_token, llama_token_data, llama_token_data_array, BITNET_ERROR, LLAMA_DEFAULT_SEED,
    LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_best, bnf_candidates_exp, bnf_candidates_max, bnf_dist_draw, bnf_min_p_i, bnf_mirostat_i, bnf_mirostat_v2_i,
    bnf_mt19937_seed, bnf_random_seed, bnf_sampler_dist, bnf_sampler_mirostat, bnf_sampler_plain, bnf_softmax_i, bnf_tail_free_i,
    bnf_temp_ext_i, bnf_temp_i, bnf_top_k_i, bnf_top_p_i, bnf_typical_i)

cdef extern from "bnf_sampler.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    float *llama_get_logits_ith(llama_context *ctx, int32_t i)
    llama_sampler *llama_sampler_init_penalties(int32_t n_vocab, int32_t penalty_last_n, float penalty_repeat, float penalty_freq,
                                                float penalty_present)
    void llama_sampler_accept(llama_sampler *smpl, llama_token token)
    void llama_sampler_apply(llama_sampler *smpl, llama_token_data_array *cur_p)
    void llama_sampler_free(llama_sampler *smpl)

cdef enum:
    MOST_LAST = 1 << 24      # tokens that penalties look back at: a context holds no more


# ---- what the calls share ----

cdef bint usable(const llama_token_data_array *cur, const char *function) noexcept nogil:
    bnf_clear_error()
    if cur == NULL or (cur.data == NULL and cur.size > 0):
        bnf_fail(BITNET_ERROR, "%s: candidates are NULL", function)
        return False
    return True


# With the context entered.
cdef void add_time(llama_context *ctx, int64_t start) noexcept nogil:
    bnf_poke_i64(&ctx.older.t_sample_us, ctx.older.t_sample_us + bnf_time_us() - start)


cdef void count_time(llama_context *ctx, int64_t start) noexcept nogil:
    if ctx != NULL and bnf_context_enter(ctx):
        add_time(ctx, start)
        bnf_context_leave(ctx)


# Apply the sampler with that vtable and these settings.
cdef void apply_plain(llama_context *ctx, llama_token_data_array *cur, llama_sampler_i *iface, const bnf_sampler_plain *own) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef llama_sampler smpl
    smpl.iface = iface
    smpl.ctx = <void *>own
    iface.apply(&smpl, cur)
    count_time(ctx, start)


cdef void apply_p(llama_context *ctx, llama_token_data_array *cur, llama_sampler_i *iface, float p, size_t min_keep,
                  const char *function) noexcept nogil:
    cdef bnf_sampler_plain own
    if not usable(cur, function):
        return
    memset(&own, 0, sizeof(own))
    own.p = p
    own.min_keep = min_keep
    apply_plain(ctx, cur, iface, &own)


# ---- narrowing and rescaling ----

cdef public void llama_sample_softmax(llama_context *ctx, llama_token_data_array *candidates) noexcept nogil:
    apply_p(ctx, candidates, &bnf_softmax_i, 0, 0, "llama_sample_softmax")


cdef public void llama_sample_top_k(llama_context *ctx, llama_token_data_array *candidates, int32_t k, size_t min_keep) noexcept nogil:
    cdef bnf_sampler_plain own
    if not usable(candidates, "llama_sample_top_k"):
        return
    memset(&own, 0, sizeof(own))
    if k > 0 and <size_t>k < min_keep:
        own.k = <int32_t>min_keep if min_keep < <size_t>0x7fffffff else 0x7fffffff
    else:
        own.k = k if k > 0 else 0x7fffffff      # all, in order
    apply_plain(ctx, candidates, &bnf_top_k_i, &own)


cdef public void llama_sample_top_p(llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep) noexcept nogil:
    if not usable(candidates, "llama_sample_top_p") or p >= 1:
        return
    apply_p(ctx, candidates, &bnf_top_p_i, p, min_keep, "llama_sample_top_p")


cdef public void llama_sample_min_p(llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep) noexcept nogil:
    if not usable(candidates, "llama_sample_min_p") or not p > 0:
        return
    apply_p(ctx, candidates, &bnf_min_p_i, p, min_keep, "llama_sample_min_p")


cdef public void llama_sample_tail_free(llama_context *ctx, llama_token_data_array *candidates, float z, size_t min_keep) noexcept nogil:
    if not usable(candidates, "llama_sample_tail_free") or z >= 1:
        return
    apply_p(ctx, candidates, &bnf_tail_free_i, z, min_keep, "llama_sample_tail_free")


cdef public void llama_sample_typical(llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep) noexcept nogil:
    if not usable(candidates, "llama_sample_typical") or p >= 1:
        return
    apply_p(ctx, candidates, &bnf_typical_i, p, min_keep, "llama_sample_typical")


cdef public void llama_sample_temp(llama_context *ctx, llama_token_data_array *candidates, float temp) noexcept nogil:
    apply_p(ctx, candidates, &bnf_temp_i, temp, 0, "llama_sample_temp")


cdef public void llama_sample_temperature(llama_context *ctx, llama_token_data_array *candidates, float temp) noexcept nogil:
    apply_p(ctx, candidates, &bnf_temp_i, temp, 0, "llama_sample_temperature")


cdef public void llama_sample_entropy(llama_context *ctx, llama_token_data_array *candidates_p, float min_temp, float max_temp,
                                      float exponent_val) noexcept nogil:
    cdef bnf_sampler_plain own
    if not usable(candidates_p, "llama_sample_entropy"):
        return
    memset(&own, 0, sizeof(own))
    own.p = (min_temp + max_temp) / 2
    own.delta = (max_temp - min_temp) / 2
    own.exponent = exponent_val
    apply_plain(ctx, candidates_p, &bnf_temp_ext_i, &own)


# ---- penalties ----

cdef void penalize(llama_context *ctx, llama_token_data_array *cur, const llama_token *last, size_t n_last, float repeat, float freq,
                   float present, const char *function) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef llama_sampler *smpl
    cdef size_t i
    if not usable(cur, function):
        return
    if last == NULL and n_last > 0:
        bnf_fail(BITNET_ERROR, "%s: last_tokens is NULL, expected %zu tokens", function, n_last)
        return
    if n_last > MOST_LAST:
        bnf_fail(BITNET_ERROR, "%s: %zu last tokens, expected at most %d", function, n_last, <int>MOST_LAST)
        return
    smpl = llama_sampler_init_penalties(0, <int32_t>n_last, repeat, freq, present)
    if smpl == NULL:
        return
    for i in range(n_last):
        llama_sampler_accept(smpl, last[i])
    llama_sampler_apply(smpl, cur)
    llama_sampler_free(smpl)
    count_time(ctx, start)


cdef public void llama_sample_repetition_penalties(
        llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t penalty_last_n,
        float penalty_repeat, float penalty_freq, float penalty_present) noexcept nogil:
    penalize(ctx, candidates, last_tokens, penalty_last_n, penalty_repeat, penalty_freq, penalty_present,
             "llama_sample_repetition_penalties")


cdef public void llama_sample_repetition_penalty(
        llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t last_tokens_size,
        float penalty) noexcept nogil:
    penalize(ctx, candidates, last_tokens, last_tokens_size, penalty, 0, 0, "llama_sample_repetition_penalty")


cdef public void llama_sample_frequency_and_presence_penalties(
        llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t last_tokens_size,
        float alpha_frequency, float alpha_presence) noexcept nogil:
    penalize(ctx, candidates, last_tokens, last_tokens_size, 1, alpha_frequency, alpha_presence,
             "llama_sample_frequency_and_presence_penalties")


# ---- guidance (arXiv 2306.17806) ----

# x = ln softmax(x).
cdef bint log_softmax(float *x, int64_t n) noexcept nogil:
    cdef llama_token_data *data = <llama_token_data *>bnf_alloc_array(<size_t>n, sizeof(llama_token_data))
    cdef double ln_total
    cdef float most
    cdef int64_t i
    if data == NULL:
        return False
    for i in range(n):
        data[i].logit = x[i]
    most = bnf_candidates_max(data, <size_t>n)
    ln_total = bnf_ln(bnf_candidates_exp(data, <size_t>n, most))
    bnf_release(data)
    for i in range(n):
        x[i] = <float>((<double>x[i] - most) - ln_total)
    return True


# Both become logarithms of probabilities, x moves away from `other` by the factor, and by `smooth` of it.
cdef bint guide(float *x, float *other, int64_t n, float scale, float smooth) noexcept nogil:
    cdef int64_t i
    if not log_softmax(x, n) or not log_softmax(other, n):
        return False
    for i in range(n):
        other[i] = scale * (x[i] - other[i]) + other[i]
    if smooth != 1 and not log_softmax(other, n):
        return False
    for i in range(n):
        x[i] = other[i] if smooth == 1 else smooth * other[i] + (1 - smooth) * x[i]
    return True


cdef public void llama_sample_apply_guidance(llama_context *ctx, float *logits, float *logits_guidance, float scale) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    bnf_clear_error()
    if ctx == NULL or logits == NULL or logits_guidance == NULL:
        bnf_fail(BITNET_ERROR, "llama_sample_apply_guidance: %s is NULL",
                 "ctx" if ctx == NULL else "logits" if logits == NULL else "logits_guidance")
        return
    if guide(logits, logits_guidance, ctx.model.hp.n_vocab, scale, 1):
        count_time(ctx, start)


cdef public void bitnet_sample_guidance(llama_context *ctx, llama_token_data_array *candidates, llama_context *guidance_ctx, float scale,
                                        float smooth_factor) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef float *other
    cdef float *base
    cdef int64_t i, n
    if not usable(candidates, "bitnet_sample_guidance"):
        return
    if ctx == NULL or guidance_ctx == NULL:
        bnf_fail(BITNET_ERROR, "bitnet_sample_guidance: %s is NULL", "ctx" if ctx == NULL else "guidance_ctx")
        return
    n = guidance_ctx.model.hp.n_vocab
    if candidates.size != <size_t>n:
        bnf_fail(BITNET_ERROR, "bitnet_sample_guidance: %zu candidates, expected all %d tokens in order of their ids", candidates.size,
                 <int>n)
        return
    for i in range(n):
        if candidates.data[i].id != i:
            bnf_fail(BITNET_ERROR, "bitnet_sample_guidance: candidate %d is token %d, expected the candidates in order of their ids",
                     <int>i, <int>candidates.data[i].id)
            return
    other = llama_get_logits_ith(guidance_ctx, -1)
    if other == NULL:
        return
    base = <float *>bnf_alloc_array(<size_t>n, sizeof(float))
    if base == NULL:
        return
    for i in range(n):
        base[i] = candidates.data[i].logit
    if guide(base, other, n, scale, smooth_factor):
        for i in range(n):
            candidates.data[i].logit = base[i]
        candidates.sorted = False
    bnf_release(base)
    count_time(ctx, start)


cdef public void llama_sample_classifier_free_guidance(llama_context *ctx, llama_token_data_array *candidates,
                                                       llama_context *guidance_ctx, float scale) noexcept nogil:
    bitnet_sample_guidance(ctx, candidates, guidance_ctx, scale, 1)


# ---- choosing ----

# A draw from the context's generator needs the context: enter it, seeded. False + last error.
cdef bint enter_seeded(llama_context *ctx, const char *function) noexcept nogil:
    if bnf_enter(ctx, function) != 0:
        return False
    if not ctx.older.seeded:
        bnf_mt19937_seed(&ctx.older.random, bnf_random_seed())
        ctx.older.seeded = True
    return True


cdef llama_token chosen(llama_context *ctx, const llama_token_data_array *cur, int64_t start) noexcept nogil:
    bnf_poke_i32(&ctx.older.n_sample, ctx.older.n_sample + 1)
    add_time(ctx, start)
    bnf_context_leave(ctx)
    if cur.selected < 0:
        bnf_fail(BITNET_ERROR, "llama_sample_token: there are no candidates")
        return LLAMA_TOKEN_NULL
    return cur.data[cur.selected].id


cdef public void llama_set_rng_seed(llama_context *ctx, uint32_t seed) noexcept nogil:
    bnf_clear_error()
    if not enter_seeded(ctx, "llama_set_rng_seed"):
        return
    bnf_mt19937_seed(&ctx.older.random, bnf_random_seed() if seed == <uint32_t>LLAMA_DEFAULT_SEED else seed)
    bnf_context_leave(ctx)


cdef public llama_token llama_sample_token_greedy(llama_context *ctx, llama_token_data_array *candidates) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef llama_token token
    if not usable(candidates, "llama_sample_token_greedy"):
        return LLAMA_TOKEN_NULL
    if candidates.size == 0:
        bnf_fail(BITNET_ERROR, "llama_sample_token_greedy: there are no candidates")
        return LLAMA_TOKEN_NULL
    token = candidates.data[bnf_candidates_best(candidates.data, candidates.size)].id
    if ctx != NULL and bnf_context_enter(ctx):
        bnf_poke_i32(&ctx.older.n_sample, ctx.older.n_sample + 1)
        add_time(ctx, start)
        bnf_context_leave(ctx)
    return token


# The candidates in order of probability, then one draw: the order that programs of 2023 see in `candidates` afterwards.
cdef public llama_token llama_sample_token(llama_context *ctx, llama_token_data_array *candidates) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef bnf_sampler_dist dist
    cdef llama_sampler smpl
    if not usable(candidates, "llama_sample_token") or not enter_seeded(ctx, "llama_sample_token"):
        return LLAMA_TOKEN_NULL
    smpl.ctx = NULL
    bnf_softmax_i.apply(&smpl, candidates)
    dist.random = ctx.older.random
    bnf_dist_draw(&dist, candidates)
    ctx.older.random = dist.random
    return chosen(ctx, candidates, start)


cdef llama_token mirostat(llama_context *ctx, llama_token_data_array *cur, llama_sampler_i *iface, float tau, float eta, int32_t m,
                          float *mu, const char *function) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef bnf_sampler_mirostat own
    cdef llama_sampler smpl
    if not usable(cur, function):
        return LLAMA_TOKEN_NULL
    if bnf_is_null(mu, function, "mu") or not enter_seeded(ctx, function):
        return LLAMA_TOKEN_NULL
    own.dist.random = ctx.older.random
    own.n_vocab = ctx.model.hp.n_vocab
    own.m = m
    own.tau = tau
    own.eta = eta
    own.mu = mu[0]
    smpl.iface = iface
    smpl.ctx = &own
    iface.apply(&smpl, cur)
    mu[0] = own.mu
    ctx.older.random = own.dist.random
    return chosen(ctx, cur, start)


cdef public llama_token llama_sample_token_mirostat(llama_context *ctx, llama_token_data_array *candidates, float tau, float eta,
                                                    int32_t m, float *mu) noexcept nogil:
    return mirostat(ctx, candidates, &bnf_mirostat_i, tau, eta, m, mu, "llama_sample_token_mirostat")


cdef public llama_token llama_sample_token_mirostat_v2(llama_context *ctx, llama_token_data_array *candidates, float tau, float eta,
                                                       float *mu) noexcept nogil:
    return mirostat(ctx, candidates, &bnf_mirostat_v2_i, tau, eta, 0, mu, "llama_sample_token_mirostat_v2")


# All of sampling in one call, as in March 2023: from the last row of logits.
cdef public llama_token llama_sample_top_p_top_k(llama_context *ctx, const llama_token *last_n_tokens_data, int last_n_tokens_size,
                                                 int top_k, float top_p, float temp, float repeat_penalty) noexcept nogil:
    cdef llama_token_data_array cur
    cdef const float *logits
    cdef llama_token token
    cdef int32_t i, n
    bnf_clear_error()
    if ctx == NULL or last_n_tokens_size < 0 or (last_n_tokens_data == NULL and last_n_tokens_size > 0):
        bnf_fail(BITNET_ERROR, "llama_sample_top_p_top_k: ctx or last_n_tokens_data is NULL, or its size %d is negative",
                 last_n_tokens_size)
        return LLAMA_TOKEN_NULL
    logits = llama_get_logits_ith(ctx, -1)
    if logits == NULL:
        return LLAMA_TOKEN_NULL
    n = ctx.model.hp.n_vocab
    cur.data = <llama_token_data *>bnf_alloc_array(<size_t>n, sizeof(llama_token_data))
    if cur.data == NULL:
        return LLAMA_TOKEN_NULL
    cur.size = <size_t>n
    cur.sorted = False
    for i in range(n):
        cur.data[i].id = i
        cur.data[i].logit = logits[i]
    if not temp > 0:
        token = llama_sample_token_greedy(ctx, &cur)
    else:
        llama_sample_repetition_penalty(ctx, &cur, last_n_tokens_data, <size_t>last_n_tokens_size, repeat_penalty)
        llama_sample_temp(ctx, &cur, temp)
        llama_sample_top_k(ctx, &cur, top_k, 1)
        llama_sample_top_p(ctx, &cur, top_p, 1)
        token = llama_sample_token(ctx, &cur)
    bnf_release(cur.data)
    return token
