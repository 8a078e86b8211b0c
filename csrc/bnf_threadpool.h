/* Is a pool that was given to llama_attach_threadpool one of ours? The functions on pools are declared in bitnet_ffi.h. */
#ifndef BNF_THREADPOOL_H
#define BNF_THREADPOOL_H

#include "bitnet_ffi.h"

/* 0, or BITNET_ERROR and a sentence that begins with `function`. Does not read what pool points to. */
int bnf_threadpool_check(const struct ggml_threadpool *pool, const char *function);

#endif
