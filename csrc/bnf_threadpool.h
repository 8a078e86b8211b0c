/* Teams that programs make (ggml_threadpool_new) and lend to contexts, one context at a time; and whose team computes for a context
 * now. The functions on pools are declared in bitnet_ffi.h. Next: bnf_pool.h. */
#ifndef BNF_THREADPOOL_H
#define BNF_THREADPOOL_H

#include "bitnet_ffi.h"

/* One more holder of a pool that ggml_threadpool_new gave; 0, or BITNET_ERROR and a sentence that begins with `function`. Does not
 * read what pool points to unless it is one. release accepts NULL. */
int bnf_threadpool_retain(struct ggml_threadpool *pool, const char *function);
void bnf_threadpool_release(struct ggml_threadpool *pool);

/* Its threads, the caller included; the caller holds the pool. */
int32_t bnf_threadpool_size(const struct ggml_threadpool *pool);

/* ctx->pool becomes the team that does the next runs, until bnf_team_leave: the one attached for one token (or for `batched` work),
 * after waiting for other contexts that compute on it; the context's own where none is attached, where the pool was freed, and in a
 * callback of a run on a pool, where waiting could last for ever. Returns how many threads may be used. */
int32_t bnf_team_enter(struct llama_context *ctx, bool batched);
void bnf_team_leave(struct llama_context *ctx);

#endif
