# The sampler rooms' view of csrc/bnf_sampler.h and csrc/bnf_random.h, all extern. Nothing is defined here.

from libc.stdint cimport int32_t, uint32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_context cimport bnf_mt19937, llama_context
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_sampler_i, llama_token, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_types cimport bnf_batch, llama_model

cdef extern from "bnf_random.h" nogil:
    void bnf_mt19937_seed(bnf_mt19937 *mt, uint32_t seed)
    double bnf_mt19937_uniform(bnf_mt19937 *mt)
    float bnf_mt19937_uniform_float(bnf_mt19937 *mt)
    uint32_t bnf_random_seed()

cdef extern from "bnf_sampler.h" nogil:
    const float INFINITY
    float bnf_logit(const llama_token_data *t)
    uint64_t bnf_rank(const llama_token_data *t)
    bool bnf_better(const llama_token_data *a, const llama_token_data *b)
    void bnf_candidates_sort(llama_token_data *data, size_t n, size_t k)
    size_t bnf_candidates_best(const llama_token_data *data, size_t n)
    float bnf_candidates_max(const llama_token_data *data, size_t n)
    double bnf_candidates_exp(llama_token_data *data, size_t n, float max)
    void bnf_candidates_softmax(llama_token_data *data, size_t n)

    ctypedef struct bnf_sampler_plain "struct bnf_sampler_plain":
        const char *name
        float p
        int32_t k
        size_t min_keep
        float delta
        float exponent
    ctypedef struct bnf_sampler_dist "struct bnf_sampler_dist":
        const char *name
        uint32_t seed
        uint32_t seed_now
        bnf_mt19937 random
        int32_t n_due
    ctypedef struct bnf_sampler_gumbel "struct bnf_sampler_gumbel":
        const char *name
        uint32_t seed
        uint32_t seed_now
        uint64_t step
        int32_t n_due
    ctypedef struct bnf_sampler_xtc "struct bnf_sampler_xtc":
        bnf_sampler_dist dist
        float chance
        float threshold
        size_t min_keep
    ctypedef struct bnf_sampler_mirostat "struct bnf_sampler_mirostat":
        bnf_sampler_dist dist
        int32_t n_vocab
        int32_t m
        float tau
        float eta
        float mu
    ctypedef struct bnf_sampler_adaptive_p "struct bnf_sampler_adaptive_p":
        bnf_sampler_dist dist
        float target
        float decay
        float weighted_sum
        float total_weight
        llama_token pending
        float pending_p
    enum:
        BNF_DRY_TAIL
    ctypedef struct bnf_dry_breaker "struct bnf_dry_breaker":
        llama_token head
        int32_t n_tail
        llama_token *tail
    ctypedef struct bnf_sampler_dry "struct bnf_sampler_dry":
        const char *name
        float multiplier
        float base
        int32_t allowed_len
        int32_t last_n
        bnf_dry_breaker *breakers
        int32_t n_breakers
        int32_t breakers_cap
        llama_token *tokens
        int32_t cap
        int32_t end
        int32_t *z
        llama_token_data *found
    ctypedef struct bnf_sampler_infill "struct bnf_sampler_infill":
        const char *name
        const llama_model *vocab
    ctypedef struct bnf_token_count "struct bnf_token_count":
        llama_token token
        int32_t count
    ctypedef struct bnf_sampler_penalties "struct bnf_sampler_penalties":
        const char *name
        int32_t last_n
        float repeat
        float freq
        float present
        llama_token exempt
        llama_token *ring
        int32_t cap
        int32_t first
        int32_t n
        bnf_token_count *counts
        int32_t n_counts
    ctypedef struct bnf_sampler_logit_bias "struct bnf_sampler_logit_bias":
        const char *name
        int32_t n
        llama_token_data *biases
    ctypedef struct bnf_sampler_chain "struct bnf_sampler_chain":
        const char *name
        llama_sampler **members
        int32_t n
        int32_t cap
        bool no_perf
        int32_t n_sample
        int64_t t_sample_us
        llama_token_data *cur
        size_t cur_len
        llama_context *attached
        int32_t seq
        int32_t n_front
        uint64_t serial

    llama_sampler_i bnf_empty_i, bnf_greedy_i, bnf_dist_i, bnf_top_k_i, bnf_top_p_i, bnf_min_p_i, bnf_typical_i
    llama_sampler_i bnf_temp_i, bnf_temp_ext_i, bnf_top_n_sigma_i, bnf_softmax_i, bnf_tail_free_i, bnf_xtc_i
    llama_sampler_i bnf_mirostat_i, bnf_mirostat_v2_i, bnf_adaptive_p_i, bnf_penalties_i, bnf_dry_i, bnf_infill_i
    llama_sampler_i bnf_logit_bias_i, bnf_gumbel_i, bnf_chain_i

    llama_sampler *bnf_sampler_new(llama_sampler_i *iface, const char *name, size_t size)
    void bnf_temp_apply(llama_sampler *smpl, llama_token_data_array *cur)
    void bnf_top_k_apply(llama_sampler *smpl, llama_token_data_array *cur)
    llama_sampler *bnf_dist_new(llama_sampler_i *iface, const char *name, size_t size, uint32_t seed)
    llama_sampler *bnf_dist_copy(const llama_sampler *smpl, size_t size)
    void bnf_dist_draw(bnf_sampler_dist *dist, llama_token_data_array *cur)
    void bnf_dist_reset(llama_sampler *smpl)
    bnf_sampler_chain *bnf_chain_of(const llama_sampler *smpl, const char *caller)
    enum:
        BNF_SHORTLIST_MORE
    ctypedef struct bnf_shortlist "struct bnf_shortlist":
        int64_t k
        float t
        uint32_t seed
        uint64_t step
        int32_t *more
        int32_t n_more
    bool bnf_shortlist_of(const llama_sampler *smpl, int32_t n, bnf_shortlist *list)
    void bnf_chain_apply_from(llama_sampler *smpl, int32_t first, llama_token_data_array *cur)
    uint64_t bnf_next_serial()
    llama_token_data *bnf_chain_candidates(bnf_sampler_chain *chain, size_t n)

cdef extern from "bnf_calls.h" nogil:
    int64_t bnf_head_shortlist(llama_context *ctx, int32_t i, const bnf_shortlist *list, llama_token_data *data)
    int64_t bnf_head_shortlist_row(llama_context *ctx, int64_t row, const bnf_shortlist *list, llama_token_data *data)

cdef extern from "bnf_sampled.h" nogil:
    ctypedef struct bnf_front "struct bnf_front":
        llama_token_data_array cur
        size_t n_all
        llama_token token
        bool listed
        bool has_p
    ctypedef struct bnf_sampled_row_t "struct bnf_sampled_row":
        uint64_t serial
        llama_token token
        bool listed
        bool has_p
        bool sorted
        bool from_head
        float t
        llama_token_data *data
        size_t n
        size_t n_all
        size_t cap
        bool shown
        float *logits
        float *probs
        int32_t *ids
        size_t probs_cap
        size_t ids_cap
    ctypedef struct bnf_sampled "struct bnf_sampled":
        llama_sampler **chains
        int32_t n_chains
        int32_t *n_rows_of
        llama_token_data *work
        bnf_sampled_row_t *rows
        int32_t n_rows
        int32_t rows_cap
    int32_t bnf_front_length(const llama_sampler *chain, bool one_row)
    bool bnf_front_is_idle(const llama_sampler *chain)
    bool bnf_front_is_greedy(const llama_sampler *chain)
    void bnf_front_apply(const llama_sampler *chain, int32_t ahead, bnf_front *front)
    void bnf_front_end(const llama_sampler *chain, int32_t n, bool now)
    const llama_sampler *bnf_front_foreign(const llama_sampler *chain)
    int bnf_sampled_attach(llama_context *ctx, int32_t seq, llama_sampler *chain)
    void bnf_sampled_forget(llama_context *ctx, int32_t seq)
    void bnf_sampled_free(llama_context *ctx)
    void bnf_sampled_begin(llama_context *ctx)
    int bnf_sampled_check(llama_context *ctx, const bnf_batch *batch)
    int bnf_sampled_run(llama_context *ctx)
    const bnf_sampled_row_t *bnf_sampled_row(const llama_context *ctx, int64_t row)
    const bnf_sampled_row_t *bnf_sampled_show(llama_context *ctx, int64_t row)
    float *bnf_sampled_logits(llama_context *ctx, int64_t row)
    llama_token bnf_sampled_token(llama_context *ctx, int32_t i)
    size_t bnf_sampled_candidates(llama_context *ctx, int32_t i, const llama_sampler *smpl, llama_token_data *data, bool *sorted,
                                  int32_t *first)
