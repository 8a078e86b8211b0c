/* What the threads share while one ubatch runs through the model: forward.pyx makes one, its phases and attention.pyx read it.
 * Holds no results: those lie in the context's scratch (bnf_context.h). */
#ifndef BNF_FORWARD_H
#define BNF_FORWARD_H

#include "bnf_context.h"

/* How attention shares its work; bnf_attention_plan chooses, before the threads start. */
enum bnf_attention_plan {
    BNF_ATTN_ITEMS,       /* each (token, kv head) whole by one thread */
    BNF_ATTN_PAGES,       /* cut into pages: few items, long context */
    BNF_ATTN_PAGES_ALONE, /* the same, where no token sees another of the step: bnf_attention rotates and stores itself */
};

struct bnf_step {
    struct llama_context *ctx;
    const struct bnf_batch *batch;
    int32_t begin;     /* tokens [begin, begin + n) of the batch */
    int32_t n;
    int32_t attention; /* bnf_attention_plan */
    int32_t aborted;   /* written by thread 0 before a barrier, read by all after it */
};

/* Bytes of its own that each thread works in during attention; g: query heads a kv head. */
#define BNF_ATTENTION_WORK(g, dk, dv) ((size_t)(2 * (g) + (g) * ((dk) + (dv))) * sizeof(float))

#endif
