# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The sampling section of bitnet_ffi.h but for the chain: calls through any sampler's vtable, constructors of ours, and
# llama_sampler_sample. A client's vtable may lack any function. Settings that change nothing make an empty sampler, whose
# name begins with "?", as in llama.cpp. Next: sampler.pyx for what each one does, sampler_chain.pyx for the chain.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, INT32_MAX
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_answer_no, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_head_greedy
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_logit_bias, llama_sampler, llama_sampler_chain_params, llama_sampler_context_t, llama_sampler_i, llama_token,
    llama_token_data, llama_token_data_array, BITNET_ERROR, LLAMA_DEFAULT_SEED, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_adaptive_p_i, bnf_candidates_sort, bnf_chain_apply_from, bnf_chain_candidates, bnf_chain_i, bnf_dist_i, bnf_dist_new,
    bnf_empty_i, bnf_greedy_i, bnf_gumbel_i, bnf_head_shortlist, bnf_logit_bias_i, bnf_min_p_i, bnf_mirostat_i, bnf_mirostat_v2_i,
    bnf_penalties_i, bnf_sampled_candidates, bnf_sampled_token, bnf_sampler_chain, bnf_sampler_dist, bnf_sampler_gumbel,
    bnf_sampler_logit_bias, bnf_sampler_new, bnf_sampler_penalties, bnf_sampler_plain, bnf_shortlist, bnf_shortlist_of, bnf_softmax_i,
    bnf_tail_free_i, bnf_temp_ext_i, bnf_temp_i, bnf_top_k_i, bnf_top_n_sigma_i, bnf_top_p_i, bnf_typical_i, bnf_xtc_i, INFINITY)
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bitnet_ffi.h" nogil:
    const llama_model *llama_get_model(const llama_context *ctx)
    float *llama_get_logits_ith(llama_context *ctx, int32_t i)
    llama_sampler_chain_params llama_sampler_chain_default_params()
    llama_sampler *llama_sampler_chain_init(llama_sampler_chain_params params)
    void llama_sampler_chain_add(llama_sampler *chain, llama_sampler *smpl)
    int32_t llama_sampler_chain_n(const llama_sampler *chain)

cdef extern from "bnf_sampler.h" nogil:
    pass


# ---- any sampler ----

cdef public llama_sampler *llama_sampler_init(llama_sampler_i *iface, llama_sampler_context_t ctx) noexcept nogil:
    cdef llama_sampler *smpl = <llama_sampler *>bnf_alloc(sizeof(llama_sampler))
    if smpl != NULL:
        smpl.iface = iface
        smpl.ctx = ctx
    return smpl


cdef public const char *llama_sampler_name(const llama_sampler *smpl) noexcept nogil:
    if bnf_is_null(smpl, "llama_sampler_name", "smpl") or smpl.iface == NULL or smpl.iface.name == NULL:
        return "(null)"
    return smpl.iface.name(smpl)


# Programs without a grammar, say, call with NULL at every token, which llama.cpp takes silently: no line in the log.
cdef bint is_none(const llama_sampler *smpl, const char *function) noexcept nogil:
    if smpl == NULL:
        bnf_answer_no(BITNET_ERROR, "%s: smpl is NULL", function)
    return smpl == NULL


cdef public void llama_sampler_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    bnf_clear_error()
    if not is_none(smpl, "llama_sampler_accept") and smpl.iface != NULL and smpl.iface.accept != NULL:
        smpl.iface.accept(smpl, token)


cdef public void llama_sampler_apply(llama_sampler *smpl, llama_token_data_array *cur_p) noexcept nogil:
    bnf_clear_error()
    if is_none(smpl, "llama_sampler_apply"):
        return
    if cur_p == NULL:
        bnf_fail(BITNET_ERROR, "llama_sampler_apply: cur_p is NULL")
    elif smpl.iface != NULL and smpl.iface.apply != NULL:
        smpl.iface.apply(smpl, cur_p)


cdef public void llama_sampler_reset(llama_sampler *smpl) noexcept nogil:
    bnf_clear_error()
    if not is_none(smpl, "llama_sampler_reset") and smpl.iface != NULL and smpl.iface.reset != NULL:
        smpl.iface.reset(smpl)


# A sampler without a clone function is copied when it has no state, else refused.
cdef public llama_sampler *llama_sampler_clone(const llama_sampler *smpl) noexcept nogil:
    if bnf_is_null(smpl, "llama_sampler_clone", "smpl"):
        return NULL
    if smpl.iface != NULL and smpl.iface.clone != NULL:
        return smpl.iface.clone(smpl)
    if smpl.ctx == NULL:
        return llama_sampler_init(smpl.iface, NULL)
    bnf_fail(BITNET_ERROR, "llama_sampler_clone: sampler '%s' has a state but no clone function", llama_sampler_name(smpl))
    return NULL


cdef public void llama_sampler_free(llama_sampler *smpl) noexcept nogil:
    if smpl == NULL:
        return
    if smpl.iface != NULL and smpl.iface.free != NULL:
        smpl.iface.free(smpl)
    bnf_release(smpl)


# ---- copying a state ----

# Are they of one kind, chains member by member, with states that can be exchanged?
cdef bint alike(const llama_sampler *a, const llama_sampler *b) noexcept nogil:
    cdef const bnf_sampler_chain *x
    cdef const bnf_sampler_chain *y
    cdef int32_t i
    if a == NULL or b == NULL or a.iface == NULL or a.iface != b.iface:
        return False
    if a.iface != &bnf_chain_i:
        return True
    x = <const bnf_sampler_chain *>a.ctx
    y = <const bnf_sampler_chain *>b.ctx
    if x.n != y.n:
        return False
    for i in range(x.n):
        if not alike(x.members[i], y.members[i]):
            return False
    return True


# Two samplers that are alike exchange their states; members of chains stay where clients may point at them.
cdef void exchange(llama_sampler *a, llama_sampler *b) noexcept nogil:
    cdef bnf_sampler_chain *x
    cdef bnf_sampler_chain *y
    cdef llama_sampler_context_t state = a.ctx
    cdef int32_t i
    if a.iface == &bnf_chain_i:
        x = <bnf_sampler_chain *>a.ctx
        y = <bnf_sampler_chain *>b.ctx
        for i in range(x.n):
            exchange(x.members[i], y.members[i])
    else:
        a.ctx = b.ctx
        b.ctx = state


cdef public void llama_sampler_copy(const llama_sampler *src, llama_sampler *dst) noexcept nogil:
    cdef llama_sampler *copy
    bnf_clear_error()
    if bnf_is_null(src, "llama_sampler_copy", "src") or bnf_is_null(dst, "llama_sampler_copy", "dst") or src == dst:
        return
    if not alike(src, dst):
        bnf_fail(BITNET_ERROR, "llama_sampler_copy: '%s' cannot take the state of '%s', which is another kind of sampler or another chain",
                 llama_sampler_name(dst), llama_sampler_name(src))
    elif src.iface.copy_state != NULL:
        src.iface.copy_state(src, dst)
    else:
        copy = llama_sampler_clone(src)
        if copy != NULL and alike(dst, copy):
            exchange(dst, copy)
        elif copy != NULL:
            bnf_fail(BITNET_ERROR, "llama_sampler_copy: clone of sampler '%s' made another kind of sampler", llama_sampler_name(src))
        llama_sampler_free(copy)


# Does its state begin with struct bnf_sampler_dist?
cdef bint draws(const llama_sampler_i *iface) noexcept nogil:
    return (iface == &bnf_dist_i or iface == &bnf_xtc_i or iface == &bnf_mirostat_i or iface == &bnf_mirostat_v2_i
            or iface == &bnf_adaptive_p_i)


# The seed in use; of a chain, that of its last member that has one. LLAMA_DEFAULT_SEED: none.
cdef public uint32_t llama_sampler_get_seed(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    cdef uint32_t seed
    cdef int32_t i
    if bnf_is_null(smpl, "llama_sampler_get_seed", "smpl"):
        return <uint32_t>LLAMA_DEFAULT_SEED
    if draws(smpl.iface):
        return (<const bnf_sampler_dist *>smpl.ctx).seed_now
    if smpl.iface == &bnf_gumbel_i:
        return (<const bnf_sampler_gumbel *>smpl.ctx).seed_now
    if smpl.iface == &bnf_chain_i:
        chain = <const bnf_sampler_chain *>smpl.ctx
        i = chain.n
        while i > 0:
            i -= 1
            seed = llama_sampler_get_seed(chain.members[i])
            if seed != <uint32_t>LLAMA_DEFAULT_SEED:
                return seed
    return <uint32_t>LLAMA_DEFAULT_SEED


# ---- constructors ----

cdef llama_sampler *plain(llama_sampler_i *iface, const char *name, float p, int32_t k, size_t min_keep) noexcept nogil:
    cdef llama_sampler *smpl = bnf_sampler_new(iface, name, sizeof(bnf_sampler_plain))
    cdef bnf_sampler_plain *own
    if smpl != NULL:
        own = <bnf_sampler_plain *>smpl.ctx
        own.p = p
        own.k = k
        own.min_keep = min_keep
    return smpl


cdef public llama_sampler *llama_sampler_init_greedy() noexcept nogil:
    return plain(&bnf_greedy_i, "greedy", 0, 0, 0)


cdef public llama_sampler *llama_sampler_init_dist(uint32_t seed) noexcept nogil:
    return bnf_dist_new(&bnf_dist_i, "dist", sizeof(bnf_sampler_dist), seed)


cdef public llama_sampler *llama_sampler_init_top_k(int32_t k) noexcept nogil:
    if k <= 0:
        return plain(&bnf_empty_i, "?top-k", 0, 0, 0)
    return plain(&bnf_top_k_i, "top-k", 0, k, 0)


cdef public llama_sampler *llama_sampler_init_top_p(float p, size_t min_keep) noexcept nogil:
    if p >= 1:
        return plain(&bnf_empty_i, "?top-p", 0, 0, 0)
    return plain(&bnf_top_p_i, "top-p", p, 0, min_keep)


cdef public llama_sampler *llama_sampler_init_min_p(float p, size_t min_keep) noexcept nogil:
    if not p > 0:
        return plain(&bnf_empty_i, "?min-p", 0, 0, 0)
    return plain(&bnf_min_p_i, "min-p", p, 0, min_keep)


cdef public llama_sampler *llama_sampler_init_typical(float p, size_t min_keep) noexcept nogil:
    if p >= 1:
        return plain(&bnf_empty_i, "?typical", 0, 0, 0)
    return plain(&bnf_typical_i, "typical", p, 0, min_keep)


cdef public llama_sampler *llama_sampler_init_temp(float t) noexcept nogil:
    if t == 1:
        return plain(&bnf_empty_i, "?temp", 0, 0, 0)
    return plain(&bnf_temp_i, "temp", t, 0, 0)


cdef public llama_sampler *llama_sampler_init_temp_ext(float t, float delta, float exponent) noexcept nogil:
    cdef llama_sampler *smpl
    if t == 1 and not delta > 0:
        return plain(&bnf_empty_i, "?temp-ext", 0, 0, 0)
    smpl = plain(&bnf_temp_ext_i, "temp-ext", t, 0, 0)
    if smpl != NULL:
        (<bnf_sampler_plain *>smpl.ctx).delta = delta
        (<bnf_sampler_plain *>smpl.ctx).exponent = exponent
    return smpl


cdef public llama_sampler *llama_sampler_init_top_n_sigma(float n) noexcept nogil:
    if not n > 0:
        return plain(&bnf_empty_i, "?top-n-sigma", 0, 0, 0)
    return plain(&bnf_top_n_sigma_i, "top-n-sigma", n, 0, 0)


cdef public llama_sampler *llama_sampler_init_softmax() noexcept nogil:
    return plain(&bnf_softmax_i, "softmax", 0, 0, 0)


cdef public llama_sampler *llama_sampler_init_tail_free(float z, size_t min_keep) noexcept nogil:
    if z >= 1:
        return plain(&bnf_empty_i, "?tail-free", 0, 0, 0)
    return plain(&bnf_tail_free_i, "tail-free", z, 0, min_keep)


# n_vocab belongs to the signature of 2026; the tables here grow with what is accepted instead.
cdef public llama_sampler *llama_sampler_init_penalties(int32_t n_vocab, int32_t penalty_last_n, float penalty_repeat,
                                                        float penalty_freq, float penalty_present) noexcept nogil:
    return penalties(LLAMA_TOKEN_NULL, penalty_last_n, penalty_repeat, penalty_freq, penalty_present)


cdef llama_sampler *penalties(llama_token exempt, int32_t penalty_last_n, float penalty_repeat, float penalty_freq,
                              float penalty_present) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_sampler_penalties *own
    if penalty_last_n <= 0 or (penalty_repeat == 1 and penalty_freq == 0 and penalty_present == 0):
        return plain(&bnf_empty_i, "?penalties", 0, 0, 0)
    smpl = bnf_sampler_new(&bnf_penalties_i, "penalties", sizeof(bnf_sampler_penalties))
    if smpl != NULL:
        own = <bnf_sampler_penalties *>smpl.ctx
        own.last_n = penalty_last_n
        own.repeat = penalty_repeat
        own.freq = penalty_freq
        own.present = penalty_present
        own.exempt = exempt
    return smpl


# The constructor of 2024. Where the token that ends the text shall never be chosen, a chain forbids it first.
cdef public llama_sampler *bitnet_sampler_init_penalties_2024(
        int32_t n_vocab, llama_token special_eos_id, llama_token linefeed_id, int32_t penalty_last_n, float penalty_repeat,
        float penalty_freq, float penalty_present, bool penalize_nl, bool ignore_eos) noexcept nogil:
    cdef llama_sampler *smpl = penalties(LLAMA_TOKEN_NULL if penalize_nl else linefeed_id, penalty_last_n, penalty_repeat, penalty_freq,
                                         penalty_present)
    cdef llama_sampler *bias
    cdef llama_sampler *chain
    cdef llama_logit_bias never
    if smpl == NULL or not ignore_eos:
        return smpl
    never.token = special_eos_id
    never.bias = -INFINITY
    bias = llama_sampler_init_logit_bias(n_vocab, 1, &never)
    chain = llama_sampler_chain_init(llama_sampler_chain_default_params())
    if bias != NULL and chain != NULL:
        llama_sampler_chain_add(chain, bias)
        if llama_sampler_chain_n(chain) == 1:      # taken over
            bias = NULL
            llama_sampler_chain_add(chain, smpl)
            if llama_sampler_chain_n(chain) == 2:
                return chain
    llama_sampler_free(bias)
    llama_sampler_free(chain)
    llama_sampler_free(smpl)
    return NULL


# The biases are copied. Tokens outside the vocabulary are kept and never found.
cdef public llama_sampler *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t n_logit_bias,
                                                         const llama_logit_bias *logit_bias) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_sampler_logit_bias *own
    cdef int32_t i, n
    if n_logit_bias <= 0:
        return plain(&bnf_empty_i, "?logit-bias", 0, 0, 0)
    if logit_bias == NULL:
        bnf_fail(BITNET_ERROR, "llama_sampler_init_logit_bias: %d biases at NULL", <int>n_logit_bias)
        return NULL
    smpl = bnf_sampler_new(&bnf_logit_bias_i, "logit-bias", sizeof(bnf_sampler_logit_bias))
    if smpl == NULL:
        return NULL
    own = <bnf_sampler_logit_bias *>smpl.ctx
    own.biases = <llama_token_data *>bnf_alloc_array(<size_t>n_logit_bias, sizeof(llama_token_data))
    if own.biases == NULL:
        llama_sampler_free(smpl)
        return NULL
    for i in range(n_logit_bias):
        own.biases[i].id = logit_bias[i].token
        own.biases[i].p = logit_bias[i].bias
    # With every logit 0 the order of candidates is that of ids.
    bnf_candidates_sort(own.biases, <size_t>n_logit_bias, <size_t>n_logit_bias)
    n = 0
    for i in range(n_logit_bias):
        if n > 0 and own.biases[n - 1].id == own.biases[i].id:
            own.biases[n - 1].p += own.biases[i].p
        else:
            own.biases[n] = own.biases[i]
            n += 1
    own.n = n
    return smpl


# ---- sampling ----

cdef enum:
    LEAST_SHARE = 64  # a shortlist of more than this part of the vocabulary is not worth making

# Logits of row idx -> candidates -> apply -> accept -> token. LLAMA_TOKEN_NULL with a sentence when the row has no logits or
# nothing was selected; then nothing was accepted either.
cdef public llama_token llama_sampler_sample(llama_sampler *smpl, llama_context *ctx, int32_t idx) noexcept nogil:
    cdef llama_token_data *data
    cdef llama_token token
    cdef int32_t n_vocab
    bnf_clear_error()
    if smpl == NULL or ctx == NULL:
        bnf_fail(BITNET_ERROR, "llama_sampler_sample: the %s is NULL", "sampler" if smpl == NULL else "context")
        return LLAMA_TOKEN_NULL
    token = bnf_sampled_token(ctx, idx)           # by the decode
    if token == LLAMA_TOKEN_NULL and is_greedy(smpl):
        token = bnf_head_greedy(ctx, idx)         # without the logits, where the model allows it
    if token != LLAMA_TOKEN_NULL:
        llama_sampler_accept(smpl, token)
        return token
    n_vocab = llama_get_model(ctx).hp.n_vocab
    if smpl.iface == &bnf_chain_i:
        data = bnf_chain_candidates(<bnf_sampler_chain *>smpl.ctx, <size_t>n_vocab)
        return LLAMA_TOKEN_NULL if data == NULL else sample_from(smpl, ctx, idx, data, n_vocab)
    data = <llama_token_data *>bnf_alloc_array(<size_t>n_vocab, sizeof(llama_token_data))
    if data == NULL:
        return LLAMA_TOKEN_NULL
    token = sample_from(smpl, ctx, idx, data, n_vocab)
    bnf_release(data)
    return token


# The candidates are those that a chain of the decode left; else a few where no more can be chosen, and all otherwise.
cdef llama_token sample_from(llama_sampler *smpl, llama_context *ctx, int32_t idx, llama_token_data *data, int32_t n_vocab) noexcept nogil:
    cdef bnf_shortlist few
    cdef bool sorted = False
    cdef int32_t first
    cdef int64_t n = <int64_t>bnf_sampled_candidates(ctx, idx, smpl, data, &sorted, &first)
    cdef const float *logits
    cdef int32_t i
    if n == 0 and bnf_shortlist_of(smpl, INT32_MAX, &few) and few.k <= n_vocab // LEAST_SHARE:
        n = bnf_head_shortlist(ctx, idx, &few, data)
    if n == 0:
        logits = llama_get_logits_ith(ctx, idx)
        if logits == NULL:
            return LLAMA_TOKEN_NULL
        for i in range(n_vocab):
            data[i].id = i
            data[i].logit = logits[i]
            data[i].p = 0
        n = n_vocab
    return choose(smpl, first, data, <size_t>n, sorted)


# Does it choose the largest logit, and look at nothing else? A greedy sampler, or a chain whose first member is one.
cdef bint is_greedy(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    if smpl.iface != &bnf_chain_i:
        return smpl.iface == &bnf_greedy_i
    chain = <const bnf_sampler_chain *>smpl.ctx
    return chain.n == 1 and chain.members[0].iface == &bnf_greedy_i


# first: of a chain, the member that begins.
cdef llama_token choose(llama_sampler *smpl, int32_t first, llama_token_data *data, size_t n, bool sorted) noexcept nogil:
    cdef llama_token_data_array cur
    cdef llama_token token
    cur.data = data
    cur.size = n
    cur.selected = -1
    cur.sorted = sorted
    if smpl.iface == &bnf_chain_i:
        bnf_chain_apply_from(smpl, first, &cur)
    else:
        llama_sampler_apply(smpl, &cur)
    if cur.selected < 0 or <size_t>cur.selected >= cur.size:
        bnf_fail(BITNET_ERROR, "llama_sampler_sample: sampler '%s' selected none of its %zu candidates; "
                 "a chain ends with a sampler that selects, such as greedy or dist", llama_sampler_name(smpl), cur.size)
        return LLAMA_TOKEN_NULL
    # A client's sampler may have pointed `data` at an array of its own.
    token = cur.data[cur.selected].id
    llama_sampler_accept(smpl, token)
    return token
