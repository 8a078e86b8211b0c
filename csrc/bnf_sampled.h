/* Backend sampling: chains that are attached to sequences run at the end of a decode, on the rows of theirs. What they leave of each
 * row lies here until the next decode, whatever becomes of the chain.
 * Next: bitnet_ffi/_core/sampler/sampler_front.pyx runs a chain, sampled.pyx keeps the rows, api_sampled.pyx gives them out. */
#ifndef BNF_SAMPLED_H
#define BNF_SAMPLED_H

#include "bnf_sampler.h"

/* What the front of a chain makes of candidates. */
struct bnf_front {
    llama_token_data_array cur; /* as the chain's next member would take them */
    size_t n_all;               /* those behind cur.size were dropped by their probability: they count, with minus infinity */
    llama_token token;          /* that a member selected; LLAMA_TOKEN_NULL: none did */
    bool listed;                /* the candidates have an order of their own; false: they stand for all tokens, by id */
    bool has_p;                 /* dist gave probabilities */
};

struct bnf_sampled_row {
    uint64_t serial;        /* of the chain that ran on it; 0: none did */
    llama_token token;
    bool listed, has_p, sorted;
    bool from_head;         /* data has the logits that the chain changed; all others are the head's, over t */
    float t;
    llama_token_data *data; /* [n_all], of cap; the first n are cur */
    size_t n, n_all, cap;
    bool shown;             /* these are filled: made when somebody asks */
    float *logits;          /* [n_vocab], minus infinity behind n_all */
    float *probs;           /* [probs_cap] */
    int32_t *ids;           /* [ids_cap] */
    size_t probs_cap, ids_cap;
};

struct bnf_sampled {
    struct llama_sampler **chains; /* [n_seq_max], borrowed: a chain and its context forget each other when one of them ends */
    int32_t n_chains;
    int32_t *n_rows_of;            /* [n_seq_max] rows of each sequence in the batch */
    llama_token_data *work;        /* [n_vocab] */
    struct bnf_sampled_row *rows;  /* [rows_cap]; [0, n_rows) are of the last decode */
    int32_t n_rows, rows_cap;
};

/* ---- sampler_front.pyx: the members of a chain that run in a decode. A chain of ours, always ---- */
/* How many: llama.cpp's list of samplers, and Gumbel noise, up to the first that selects; one_row: each sequence has one row a decode. */
int32_t bnf_front_length(const struct llama_sampler *chain, bool one_row);
/* Do they change nothing? Then there is nothing to run. */
bool bnf_front_is_idle(const struct llama_sampler *chain);
/* Are they a greedy sampler alone? */
bool bnf_front_is_greedy(const struct llama_sampler *chain);
/* Run them on front->cur, for the row that has `ahead` others of its sequence before it. The chain stays as it is. */
void bnf_front_apply(const struct llama_sampler *chain, int32_t ahead, struct bnf_front *front);
/* What was drawn for n rows is confirmed now, or by as many calls of llama_sampler_accept. n 0: what no call confirmed is forgotten. */
void bnf_front_end(const struct llama_sampler *chain, int32_t n, bool now);
/* The first member that works on ggml's tensors alone, which there are not; NULL: none. */
const struct llama_sampler *bnf_front_foreign(const struct llama_sampler *chain);

/* ---- sampled.pyx; the context is entered unless it is said ---- */
/* 0, or a code and a sentence, and no chain is attached to the sequence. chain NULL: detach. */
int bnf_sampled_attach(struct llama_context *ctx, int32_t seq, struct llama_sampler *chain);
/* The chain or the context ends; the context need not be entered. */
void bnf_sampled_forget(struct llama_context *ctx, int32_t seq);
void bnf_sampled_free(struct llama_context *ctx);
/* A decode begins: rows of the one before are gone. */
void bnf_sampled_begin(struct llama_context *ctx);
/* More rows of a sequence in the batch than it may have? 0, or a code and a sentence. */
int bnf_sampled_check(struct llama_context *ctx, const struct bnf_batch *batch);
/* Run the chains on the rows. 0, or BITNET_ERROR_MEMORY and the chains as they were. */
int bnf_sampled_run(struct llama_context *ctx);
/* What was sampled for that row, NULL: nothing. */
const struct bnf_sampled_row *bnf_sampled_row(const struct llama_context *ctx, int64_t row);
/* The same with its arrays filled; NULL + last error: no memory. */
const struct bnf_sampled_row *bnf_sampled_show(struct llama_context *ctx, int64_t row);
/* Its logits alone: [n_vocab]. NULL + last error: no memory. */
float *bnf_sampled_logits(struct llama_context *ctx, int64_t row);
/* For llama_sampler_sample, which enters through these. The token sampled for row i (as llama_get_logits_ith), or LLAMA_TOKEN_NULL; no
 * error is set. */
llama_token bnf_sampled_token(struct llama_context *ctx, int32_t i);
/* The candidates that a chain left of row i, copied to data (room for n_vocab); how many, 0: none did, or none are few. *first: the
 * member of smpl that goes on with them. */
size_t bnf_sampled_candidates(struct llama_context *ctx, int32_t i, const struct llama_sampler *smpl, llama_token_data *data, bool *sorted,
                              int32_t *first);

#endif
