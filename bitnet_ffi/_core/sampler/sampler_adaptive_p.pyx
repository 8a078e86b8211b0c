# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Adaptive-p: select tokens whose probability is near a target, and move the target so that the average of what was selected
# (its memory fades by `decay` a token) meets it. It selects, and learns only from what llama_sampler_accept confirms.
# Source of the transformation: llama.cpp, pull request 17927. Next: sampler_dist.pyx, the draw.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from bitnet_ffi._core.bnf_math cimport bnf_expf
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token, llama_token_data, llama_token_data_array, LLAMA_TOKEN_NULL
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_adaptive_p_i, bnf_candidates_max, bnf_candidates_softmax, bnf_dist_copy, bnf_dist_draw, bnf_dist_new, bnf_dist_reset, bnf_logit,
    bnf_mt19937_uniform, bnf_sampler_adaptive_p, INFINITY)

cdef extern from "bnf_sampler.h" nogil:
    pass


cdef inline float clamp(float x, float low, float high) noexcept nogil:
    return low if not x > low else high if x > high else x


# Closeness to the target as a logit: 5 at the target, quadratic near it, linear in the tails, in units of 0.3.
cdef inline float closeness(float p, float target) noexcept nogil:
    cdef float d = (p - target) * (<float>1.0 / <float>0.3)
    if d < 0:
        d = -d
    return <float>5.0 - <float>10.0 * d * d / (<float>1.0 + d)


cdef public void bnf_adaptive_p_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_adaptive_p *own = <bnf_sampler_adaptive_p *>smpl.ctx
    cdef float target
    cdef size_t i
    cur.selected = -1
    if cur.size == 0:
        return
    if own.target < 0:
        bnf_dist_draw(&own.dist, cur)
        return
    bnf_candidates_softmax(cur.data, cur.size)
    target = clamp(own.target, 0, 1)
    target = clamp(2 * target - own.weighted_sum / own.total_weight, 0, 1)
    for i in range(cur.size):
        if bnf_logit(&cur.data[i]) != -INFINITY:
            cur.data[i].logit = closeness(cur.data[i].p, target)
    i = draw(own, cur)
    own.pending = cur.data[i].id
    own.pending_p = cur.data[i].p
    cur.selected = <long long>i
    bnf_candidates_softmax(cur.data, cur.size)


# An index by softmax of the logits, while p still holds the probabilities of before: bnf_dist_draw would replace them. Few
# candidates reach this sampler as a rule, so the exponentials are taken one by one, and twice.
cdef size_t draw(bnf_sampler_adaptive_p *own, const llama_token_data_array *cur) noexcept nogil:
    cdef float max = bnf_candidates_max(cur.data, cur.size)
    cdef double whole = 0, running = 0, target
    cdef float weight
    cdef size_t i, last = 0
    if cur.size == 1:
        return 0
    for i in range(cur.size):
        whole += weight_of(&cur.data[i], max)
    target = whole * bnf_mt19937_uniform(&own.dist.random)
    for i in range(cur.size):
        weight = weight_of(&cur.data[i], max)
        running += weight
        if weight > 0:
            last = i
            if running >= target:
                break
    return last


cdef inline float weight_of(const llama_token_data *t, float max) noexcept nogil:
    return 1 if bnf_logit(t) == max else bnf_expf(bnf_logit(t) - max)


cdef public void bnf_adaptive_p_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_adaptive_p *own = <bnf_sampler_adaptive_p *>smpl.ctx
    if own.pending != LLAMA_TOKEN_NULL and own.pending == token:
        own.weighted_sum = own.pending_p + own.decay * own.weighted_sum
        own.total_weight = 1 + own.decay * own.total_weight
    own.pending = LLAMA_TOKEN_NULL


# As if it had met its target for ever.
cdef void forget(bnf_sampler_adaptive_p *own) noexcept nogil:
    own.weighted_sum = own.target / (1 - own.decay)
    own.total_weight = 1 / (1 - own.decay)
    own.pending = LLAMA_TOKEN_NULL


cdef public void bnf_adaptive_p_reset(llama_sampler *smpl) noexcept nogil:
    bnf_dist_reset(smpl)
    forget(<bnf_sampler_adaptive_p *>smpl.ctx)


cdef public llama_sampler *bnf_adaptive_p_clone(const llama_sampler *smpl) noexcept nogil:
    return bnf_dist_copy(smpl, sizeof(bnf_sampler_adaptive_p))


cdef public llama_sampler *llama_sampler_init_adaptive_p(float target, float decay, uint32_t seed) noexcept nogil:
    cdef llama_sampler *smpl = bnf_dist_new(&bnf_adaptive_p_i, "adaptive-p", sizeof(bnf_sampler_adaptive_p), seed)
    cdef bnf_sampler_adaptive_p *own
    if smpl != NULL:
        own = <bnf_sampler_adaptive_p *>smpl.ctx
        own.target = target
        own.decay = clamp(decay, 0, <float>0.99)
        forget(own)
    return smpl
