/* The Mersenne twister MT19937 (Matsumoto and Nishimura 1998), the generator of std::mt19937 and of NumPy's RandomState:
 * a seed gives the same stream here as there, so a seed chosen with llama.cpp keeps its text where the logits agree.
 * May not be used for secrets. Next: bitnet_ffi/_core/sampler/sampler_dist.pyx draws with it. */
#ifndef BNF_RANDOM_H
#define BNF_RANDOM_H

#include <stdint.h>

#define BNF_MT_LEN 624

struct bnf_mt19937 { /* plain data: copy it to fork the stream */
    uint32_t word[BNF_MT_LEN];
    int32_t next; /* index of the next word to hand out; BNF_MT_LEN: make a new generation first */
};

void bnf_mt19937_seed(struct bnf_mt19937 *mt, uint32_t seed);
uint32_t bnf_mt19937_next(struct bnf_mt19937 *mt);
/* A double in [0, 1) from two words, low word first, as std::uniform_real_distribution<double> of libstdc++ makes it. */
double bnf_mt19937_uniform(struct bnf_mt19937 *mt);
/* A float in [0, 1) from one word, as std::uniform_real_distribution<float> makes it. */
float bnf_mt19937_uniform_float(struct bnf_mt19937 *mt);

/* A seed nobody chose: from the operating system, or from clock and process where it has none to give at the moment. Never
 * LLAMA_DEFAULT_SEED, which means "no seed". */
uint32_t bnf_random_seed(void);

#endif
