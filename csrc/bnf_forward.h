/* What the threads share while one ubatch runs through the model: forward.pyx makes one, its phases and attention.pyx read it.
 * Holds no results: those lie in the context's scratch (bnf_context.h). */
#ifndef BNF_FORWARD_H
#define BNF_FORWARD_H

#include "bnf_context.h"

struct bnf_step {
    struct llama_context *ctx;
    const struct bnf_batch *batch;
    int32_t begin;   /* tokens [begin, begin + n) of the batch */
    int32_t n;
    int32_t aborted; /* written by thread 0 before a barrier, read by all after it */
};

#endif
