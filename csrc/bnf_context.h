/* struct llama_context: everything that changes while a model runs. One owner at a time: calls that use it enter through
 * bnf_context_enter, and a second thread gets BITNET_ERROR_THREAD instead of corruption.
 * Sizes of the scratch are fixed when the context is made, so decoding allocates nothing (but logits rows, which grow on
 * first demand). Next: bitnet_ffi/_core/run/forward.pyx. */
#ifndef BNF_CONTEXT_H
#define BNF_CONTEXT_H

#include "bnf_older.h"
#include "bnf_types.h"

/* Letters: n tokens of a ubatch, E embedding, F feed-forward, H query heads, Hkv kv heads, dk and dv head widths. */
struct bnf_scratch {
    uint8_t *memory;                 /* owns all below */
    float *x;                        /* [n][E] the residual stream */
    float *y;                        /* [n][E] what a block adds to it */
    float *h;                        /* [n][max(E, H dv, F)] normed input of the next product */
    float *q, *k, *v;                /* [n][H dk], [n][Hkv dk], [n][Hkv dv] */
    float *attn;                     /* [n][H dv] */
    float *gate, *up;                /* [n][F] */
    float *cos_sin;                  /* [n][n_rot / 2][2] */
    float *u;                        /* [max(n, BNF_SCREEN_COLS)][3][lora_rank] A x of LoRA adapters, for up to three products of one x */
    int8_t *act_q[BNF_N_ACT_KINDS];  /* h as each kind of operand (struct bnf_act), for n tokens */
    float *act_scale[BNF_N_ACT_KINDS];
    int16_t *act_sum16[BNF_N_ACT_KINDS];
    int32_t *act_sum[BNF_N_ACT_KINDS];
    int8_t *panels;                  /* Q8_ROW operand of several tokens, for packed weights (bnf_ops.h) */
    float *attn_m, *attn_l;          /* [n][H] the softmax behind attn, until it is divided (attention.pyx) */
    int64_t *first_pair;             /* [n + 1] (kv head, page) pairs of all tokens before */
    float *partial_o;                /* [n_threads][n_partial][g][dv] pages whose item another thread began */
    float *partial_m, *partial_l;    /* [n_threads][n_partial][g] */
    int64_t n_partial;               /* most pages of an item */
    uint8_t *thread;                 /* [n_threads][thread_size] */
    uint64_t thread_size;
    struct bnf_scratch *own;         /* [n_threads] views of this scratch for a step of one token, in which x, h, attn
                                      * and act_* are rows of the thread's own */
};

#define BNF_MAX_OUTGROWN 64 /* each is at least twice the one before */

struct llama_context {
    struct llama_model *model;
    struct llama_context_params params;  /* as completed, not as given */
    struct bnf_kv kv;
    struct bnf_pool *team;               /* its own threads */
    struct ggml_threadpool *threadpool, *threadpool_batch; /* attached for one token and for more; NULL: the team */
    struct bnf_pool *pool;               /* who runs: between bnf_team_enter and _leave that pool's threads, else the team */
    struct ggml_threadpool *taken;       /* whose these are; NULL: the team's own */
    struct bnf_pool_clock clock, entered; /* of this context's runs, and the pool's at bnf_team_enter */
    int32_t n_threads, n_threads_batch;  /* at most; what was asked for is in params */
    int32_t n_scratch_threads;           /* that the scratch has parts for */
    struct bnf_pace pace;                /* steps of few tokens take what runs */
    double *rope_freqs;                  /* [n_rot / 2] radians per position (rope.pyx), */
    double rope_length;                  /* and the length of what was one unit long */

    struct bnf_batch batch;              /* the last batch; arrays below */
    int32_t *batch_memory;
    uint64_t batch_memory_size;
    int32_t *spare_memory;               /* of the next batch, until all of it is accepted */
    uint64_t spare_memory_size;
    int32_t *next_pos;                   /* [n_seq_max] while a batch is checked */

    struct bnf_scratch scratch;
    float *hidden;                       /* [n_outputs][E] normed states of the rows that asked: logits are made of them, and they
                                          * are the embeddings */
    uint64_t hidden_size;                /* bytes */
    struct bnf_screen_cols screened;     /* operands of the rows of hidden from first_screened on; n 0: none since the last decode.
                                          * Meanwhile scratch.u has what adapters on the head make of these rows */
    int64_t first_screened;
    void *screen_memory;                 /* of screened; NULL: the model has no screen */
    float *upper;                        /* [BNF_SCREEN_COLS][vocab_stride] bounds of their logits */
    float *exact;                        /* [vocab_stride] logits that were computed alone */
    float *noisy;                        /* [vocab_stride] bounds of logits with noise */
    int64_t vocab_stride;                /* n_vocab rounded up to 16 */
    int32_t logits_ready;                /* logits hold the rows of hidden: they are computed when somebody reads them */
    float *logits;                       /* [logits_cap][n_vocab]; rows [0, batch.n_outputs) are valid */
    uint64_t logits_size;                /* bytes */
    float *outgrown[BNF_MAX_OUTGROWN];   /* smaller logits of before: a client may still look at them, so they go with the context */
    int32_t n_outgrown;
    int32_t n_outputs;                   /* rows that the last decode left; 0 after a failed one */
    bool causal_attn;
    bool embeddings_ready;               /* the last decode was asked for embeddings: it left the states of all its tokens */
    float *pooled;                       /* [n_seq_max][E, or n_cls_out of RANK] embeddings of sequences; NULL until somebody asks */

    uint64_t model_print;                /* of the model, for states (state.pyx); 0: not made yet */

    struct bnf_lora_use *loras;          /* [n_loras] the model's own first (bnf_adapter.h) */
    int32_t n_loras, n_base_loras;
    int32_t lora_rank;                   /* of all together */
    float *control;                      /* [n_layer][E] control vector; NULL: none */
    int32_t control_begin, control_end;  /* layers, both inclusive */

    uint8_t *kv_copy;                    /* what llama_get_kv_cache of 2023 gave out last */
    ggml_abort_callback abort_callback;
    void *abort_data;
    struct bnf_observer *observer;       /* of params.cb_eval (bnf_observe.h); NULL: none */
    struct bnf_perf perf;
    struct bnf_older *older;
    struct bnf_sampled *sampled;         /* chains that run in decodes (bnf_sampled.h); NULL until one is attached */
    int32_t *every_id;                   /* [n_vocab] 0, 1, 2, ...; NULL until somebody asks (api_sampled.pyx) */
    int32_t busy;                        /* atomic */
};

static inline bool bnf_context_enter(struct llama_context *ctx)
{
    return __atomic_exchange_n(&ctx->busy, 1, __ATOMIC_ACQUIRE) == 0;
}

static inline void bnf_context_leave(struct llama_context *ctx)
{
    __atomic_store_n(&ctx->busy, 0, __ATOMIC_RELEASE);
}

/* Counters and settings that any thread may ask for while another one is at work: peek and poke read and write a number whole, in
 * no order with others. The owner reads its own as they are. */
#define BNF_SHARED_NUMBER(name, type)                                                                                    \
    static inline type bnf_peek_##name(const type *number) { return __atomic_load_n(number, __ATOMIC_RELAXED); }        \
    static inline void bnf_poke_##name(type *number, type value) { __atomic_store_n(number, value, __ATOMIC_RELAXED); }
BNF_SHARED_NUMBER(i32, int32_t)
BNF_SHARED_NUMBER(i64, int64_t)
BNF_SHARED_NUMBER(bool, bool)

/* Bits of a KV page: the lowest and highest set one of a mask that is not 0. */
static inline int32_t bnf_lowest64(uint64_t mask) { return __builtin_ctzll(mask); }
static inline int32_t bnf_count64(uint64_t mask) { return __builtin_popcountll(mask); }

/* Positions [p0, p1) as bits of page `index` of a sequence. */
static inline uint64_t bnf_page_range(int32_t index, int32_t p0, int32_t p1)
{
    const int64_t lo = (int64_t)p0 - (int64_t)index * BNF_KV_PAGE, hi = (int64_t)p1 - (int64_t)index * BNF_KV_PAGE;
    if (lo >= BNF_KV_PAGE || hi <= 0 || lo >= hi)
        return 0;
    return (lo > 0 ? ~UINT64_C(0) << lo : ~UINT64_C(0)) & (hi < BNF_KV_PAGE ? ~(~UINT64_C(0) << hi) : ~UINT64_C(0));
}
static inline int32_t bnf_highest64(uint64_t mask) { return 63 - __builtin_clzll(mask); }

#endif
