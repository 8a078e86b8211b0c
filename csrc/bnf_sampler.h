/* What the samplers share: their states, their vtables, the order of candidates. Private to the sampler rooms
 * (bitnet_ffi/_core/sampler/candidates.pyx, sampler*.pyx); bitnet_ffi/_core/bnf_sampler.pxd mirrors it.
 * Every state begins with its name, so that one function serves every vtable's `name`. */
#ifndef BNF_SAMPLER_H
#define BNF_SAMPLER_H

#include <math.h> /* INFINITY: no function of it is called */
#include <string.h>

#include "bitnet_ffi.h"
#include "bnf_random.h"

/* ---- candidates ---- */

/* NaN counts as minus infinity wherever logits are compared or exponentiated. */
static inline float bnf_logit(const llama_token_data *t)
{
    return t->logit == t->logit ? t->logit : -INFINITY;
}

/* The one order of candidates, as a number: greater for a higher logit, for the smaller id among equal logits.
 *   bits 63..32  the float's bits, its order made that of unsigned integers: the sign bit flipped for positive numbers, all bits
 *                for negative ones; adding +0 makes -0 and +0 one number
 *   bits 31..0   the id, ascending order turned into descending */
static inline uint64_t bnf_rank(const llama_token_data *t)
{
    const float logit = bnf_logit(t) + 0.0f;
    uint32_t bits;
    memcpy(&bits, &logit, sizeof bits);
    bits ^= (bits >> 31 ? 0xffffffffu : 0x80000000u);
    return (uint64_t)bits << 32 | (uint32_t)~((uint32_t)t->id ^ 0x80000000u);
}

static inline bool bnf_better(const llama_token_data *a, const llama_token_data *b)
{
    return bnf_rank(a) > bnf_rank(b);
}

/* candidates.pyx */
/* The k best of data[0..n) to the front, best first; the others follow in any order. In place; O(n + k log k) for logits in
 * random order, never worse than O(n log n). */
void bnf_candidates_sort(llama_token_data *data, size_t n, size_t k);
/* Index of the best candidate; n > 0. */
size_t bnf_candidates_best(const llama_token_data *data, size_t n);
float bnf_candidates_max(const llama_token_data *data, size_t n); /* -inf when empty */
/* p = exp(logit - max), 1 for those equal to max even if max is infinite (so without a finite logit all that are best
 * share alike). Returns the sum, in double and in order of the array: at least 1 unless n == 0. */
double bnf_candidates_exp(llama_token_data *data, size_t n, float max);
/* p = softmax over all n. */
void bnf_candidates_softmax(llama_token_data *data, size_t n);

/* ---- states ---- */

#define BNF_DRY_TAIL 20 /* most tokens of a sequence breaker behind its first */

struct bnf_sampler_plain { /* samplers that remember nothing but their settings */
    const char *name;
    float p;          /* probability or temperature */
    int32_t k;
    size_t min_keep;
    float delta, exponent; /* temp-ext */
};

struct bnf_sampler_dist { /* also the beginning of every other state that draws */
    const char *name;
    uint32_t seed;     /* as given; LLAMA_DEFAULT_SEED: a new random one at each reset */
    uint32_t seed_now; /* the one in use */
    struct bnf_mt19937 random;
    int32_t n_due;     /* numbers that rows of the last decode were drawn with, and that `random` passes as accept confirms them */
};

struct bnf_sampler_gumbel {
    const char *name;
    uint32_t seed, seed_now; /* as of dist */
    uint64_t step;           /* choices since the last reset */
    int32_t n_due;           /* as of dist */
};

struct bnf_sampler_xtc {
    struct bnf_sampler_dist dist;
    float chance, threshold;
    size_t min_keep;
};

struct bnf_sampler_mirostat {
    struct bnf_sampler_dist dist;
    int32_t n_vocab, m; /* version 1 */
    float tau, eta;     /* wanted surprise in bits, and how fast mu follows it */
    float mu;           /* the surprise that is allowed now */
};

struct bnf_sampler_adaptive_p {
    struct bnf_sampler_dist dist;
    float target, decay;
    float weighted_sum, total_weight; /* of the probabilities that accepted tokens had */
    llama_token pending;              /* what it selected, until llama_sampler_accept confirms it */
    float pending_p;                  /* that token's probability before the transformation */
};

struct bnf_dry_breaker {
    llama_token head;
    int32_t n_tail;
    llama_token tail[BNF_DRY_TAIL];
};

struct bnf_sampler_dry {
    const char *name;
    float multiplier, base;
    int32_t allowed_len, last_n;       /* last_n > 0 */
    struct bnf_dry_breaker *breakers;  /* [n_breakers] ascending heads */
    int32_t n_breakers, breakers_cap;
    llama_token *tokens;               /* [cap]: the last n accepted ones are [end - n, end), n at most last_n */
    int32_t cap, end;
    int32_t *z;                        /* [cap] room for apply, as is found */
    llama_token_data *found;
};

struct bnf_sampler_infill {
    const char *name;
    const struct llama_vocab *vocab;
};

struct bnf_token_count {
    llama_token token;
    int32_t count;
};

struct bnf_sampler_penalties {
    const char *name;
    int32_t last_n;     /* > 0 */
    float repeat, freq, present;
    llama_token exempt; /* keeps its logit; LLAMA_TOKEN_NULL: none */
    llama_token *ring;  /* [cap] the last tokens; cap grows by doubling up to last_n */
    int32_t cap, first, n;
    struct bnf_token_count *counts; /* [cap] of which n_counts are used: the distinct tokens of the ring, ascending */
    int32_t n_counts;
};

struct bnf_sampler_logit_bias {
    const char *name;
    int32_t n;
    llama_token_data *biases; /* [n] ascending ids, each once; the bias in p */
};

struct bnf_sampler_chain {
    const char *name;
    struct llama_sampler **members; /* [n], owned */
    int32_t n, cap;
    bool no_perf;
    int32_t n_sample;
    int64_t t_sample_us;
    llama_token_data *cur;          /* [cur_len] candidates of llama_sampler_sample, kept from token to token */
    size_t cur_len;
    struct llama_context *attached; /* the context whose decodes run it for sequence seq; NULL: none */
    int32_t seq;
    int32_t n_front;                /* members that those decodes run (sampler_front.pyx) */
    uint64_t serial;                /* of the attachment, the last one when there is none; 0: never */
};

/* ---- vtables (bnf_sampler.c) and the functions they hold ---- */

extern struct llama_sampler_i bnf_empty_i, bnf_greedy_i, bnf_dist_i, bnf_top_k_i, bnf_top_p_i, bnf_min_p_i, bnf_typical_i,
    bnf_temp_i, bnf_temp_ext_i, bnf_top_n_sigma_i, bnf_softmax_i, bnf_tail_free_i, bnf_xtc_i, bnf_mirostat_i, bnf_mirostat_v2_i,
    bnf_adaptive_p_i, bnf_penalties_i, bnf_dry_i, bnf_infill_i, bnf_grammar_i, bnf_logit_bias_i, bnf_gumbel_i,
    bnf_chain_i;

/* sampler.pyx */
/* A sampler with that vtable and state of `size` bytes, zeros but for the name; NULL: no memory. */
struct llama_sampler *bnf_sampler_new(struct llama_sampler_i *iface, const char *name, size_t size);
const char *bnf_sampler_own_name(const struct llama_sampler *smpl);
struct llama_sampler *bnf_plain_clone(const struct llama_sampler *smpl);
void bnf_plain_free(struct llama_sampler *smpl);
void bnf_empty_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_greedy_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_top_k_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_top_p_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_min_p_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_typical_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_temp_apply(struct llama_sampler *smpl, llama_token_data_array *cur);

/* sampler_spread.pyx */
void bnf_temp_ext_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_top_n_sigma_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_softmax_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_tail_free_apply(struct llama_sampler *smpl, llama_token_data_array *cur);

/* sampler_dist.pyx */
/* A sampler whose state begins with struct bnf_sampler_dist, seeded. */
struct llama_sampler *bnf_dist_new(struct llama_sampler_i *iface, const char *name, size_t size, uint32_t seed);
/* A copy of such a state, `size` bytes: it goes on from the same point of the stream. */
struct llama_sampler *bnf_dist_copy(const struct llama_sampler *smpl, size_t size);
/* Selects by softmax of the logits, and leaves the probabilities in p. */
void bnf_dist_draw(struct bnf_sampler_dist *dist, llama_token_data_array *cur);
void bnf_dist_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_dist_accept(struct llama_sampler *smpl, llama_token token);
void bnf_dist_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_dist_clone(const struct llama_sampler *smpl);

/* sampler_gumbel.pyx */
void bnf_gumbel_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_gumbel_accept(struct llama_sampler *smpl, llama_token token);
void bnf_gumbel_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_gumbel_clone(const struct llama_sampler *smpl);

/* sampler_xtc.pyx */
void bnf_xtc_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
struct llama_sampler *bnf_xtc_clone(const struct llama_sampler *smpl);

/* sampler_mirostat.pyx */
void bnf_mirostat_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_mirostat_v2_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_mirostat_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_mirostat_clone(const struct llama_sampler *smpl);

/* sampler_adaptive_p.pyx */
void bnf_adaptive_p_accept(struct llama_sampler *smpl, llama_token token);
void bnf_adaptive_p_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_adaptive_p_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_adaptive_p_clone(const struct llama_sampler *smpl);

/* sampler_dry.pyx */
void bnf_dry_accept(struct llama_sampler *smpl, llama_token token);
void bnf_dry_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_dry_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_dry_clone(const struct llama_sampler *smpl);
void bnf_dry_free(struct llama_sampler *smpl);

/* sampler_infill.pyx */
void bnf_infill_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
struct llama_sampler *bnf_infill_clone(const struct llama_sampler *smpl);

/* sampler_grammar.pyx */
void bnf_grammar_sampler_accept(struct llama_sampler *smpl, llama_token token);
void bnf_grammar_sampler_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_grammar_sampler_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_grammar_sampler_clone(const struct llama_sampler *smpl);
void bnf_grammar_sampler_free(struct llama_sampler *smpl);

/* sampler_penalties.pyx */
void bnf_penalties_accept(struct llama_sampler *smpl, llama_token token);
void bnf_penalties_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_penalties_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_penalties_clone(const struct llama_sampler *smpl);
void bnf_penalties_free(struct llama_sampler *smpl);

/* sampler_logit_bias.pyx */
void bnf_logit_bias_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
struct llama_sampler *bnf_logit_bias_clone(const struct llama_sampler *smpl);
void bnf_logit_bias_free(struct llama_sampler *smpl);

/* sampler_shortlist.pyx */
#define BNF_SHORTLIST_MORE 256 /* most tokens that penalties and biases may change */
/* Tokens whose logits are enough for a sampler to choose as it would from all. */
struct bnf_shortlist {
    int64_t k;         /* the k largest logits; 0: the largest logit / t + g, g as bnf_gumbel(seed, step, id) */
    float t;
    uint32_t seed;
    uint64_t step;
    int32_t more[BNF_SHORTLIST_MORE]; /* and these, whose logits the sampler changes; they do not count for those above */
    int32_t n_more;
};

/* The shortlist of this sampler, of a chain's first n members; false: it takes all. */
bool bnf_shortlist_of(const struct llama_sampler *smpl, int32_t n, struct bnf_shortlist *list);

/* sampler_chain.pyx */
/* The chain's state, or NULL with a sentence naming `caller` when smpl is no chain of ours. Clears the last error first. */
struct bnf_sampler_chain *bnf_chain_of(const struct llama_sampler *smpl, const char *caller);
/* Room for n candidates in the chain; NULL: no memory. */
llama_token_data *bnf_chain_candidates(struct bnf_sampler_chain *chain, size_t n);
void bnf_chain_accept(struct llama_sampler *smpl, llama_token token);
/* The members from `first` on. */
void bnf_chain_apply_from(struct llama_sampler *smpl, int32_t first, llama_token_data_array *cur);
/* All; of an attached chain those that its context's decodes do not run, as llama.cpp has it. */
void bnf_chain_apply(struct llama_sampler *smpl, llama_token_data_array *cur);
void bnf_chain_reset(struct llama_sampler *smpl);
struct llama_sampler *bnf_chain_clone(const struct llama_sampler *smpl);
void bnf_chain_free(struct llama_sampler *smpl);

/* bnf_sampler.c: a number that no attachment of a chain has had. */
uint64_t bnf_next_serial(void);

#endif
