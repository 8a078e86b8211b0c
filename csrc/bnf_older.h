/* What a context keeps for calls of 2023 and 2024 alone: llama_sample_* draw from a generator that belongs to the context and
 * are timed there; later, samplers have both. Made with the context.
 * Next: bitnet_ffi/_core/older/older_sample.pyx. */
#ifndef BNF_OLDER_H
#define BNF_OLDER_H

#include <stdbool.h>

#include "bnf_random.h"

struct bnf_older {
    struct bnf_mt19937 random;
    bool seeded;         /* false: takes a seed from the operating system at the first draw */
    bool logits_all;     /* a batch without a logits array asks for all rows, as context parameters of those years could say */
    int64_t t_sample_us;
    int32_t n_sample;
};

#endif
