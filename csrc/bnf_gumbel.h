/* Gumbel noise by counter: a number g for each (seed, step, token id) such that the token with the largest logit + g is a draw from the
 * softmax of the logits (Gumbel 1954; Maddison, Tarlow and Minka 2014). Each number stands alone: it can be had for any token, in any
 * order, on any machine, and is the same to the last bit. It has a bound that costs no logarithm, so few logarithms are taken.
 *   words  Philox 4x32 with 10 rounds (Salmon, Moraes, Dror and Shaw 2011) of the counter {16 (id / 64) + id % 16, step low, step high,
 *          plane} under the key {seed, 0}; the token's word is number id / 16 % 4: word j of 16 blocks serves 16 neighbours, unshuffled
 *   v      (2^32 high + low + 1/2) / 2^64, high being the complement of the word in plane 0, low the word in plane 1; 0 < v < 1
 *   g      -ln E with E = -ln(1 - v), in double: -3.81 < g < 45.06; E >= v, so g <= -ln v
 * May not keep state. Next: bitnet_ffi/_core/sampler/sampler_gumbel.pyx, and head.pyx, which asks for bounds of all and numbers of few. */
#ifndef BNF_GUMBEL_H
#define BNF_GUMBEL_H

#include "bnf_math.h"

struct bnf_philox {
    uint32_t word[4];
};

static inline struct bnf_philox bnf_philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1)
{
    for (int i = 0; i < 10; i++) {
        const uint64_t p0 = UINT64_C(0xd2511f53) * c0, p1 = UINT64_C(0xcd9e8d57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return (struct bnf_philox){{c0, c1, c2, c3}};
}

/* The four words that this lane (id % 16) of a group of 64 tokens shares in a plane. */
static inline struct bnf_philox bnf_gumbel_words(uint32_t seed, uint64_t step, uint32_t plane, uint32_t group, uint32_t lane)
{
    return bnf_philox4x32(16 * group + lane, (uint32_t)step, (uint32_t)(step >> 32), plane, seed, 0);
}

/* At least g for this word of plane 0, from its upper 24 bits: v >= f = floor(2^24 v) / 2^24, and a float 2^e (1 + m) has the bits
 * 2^23 (127 + e + m), so -ln f <= -ln 2 (e + m) = ln 2 (127 - bits / 2^23), as log2(1 + m) >= m; at most 0.06 too much where v < 0.1.
 * f is scaled by 2^24 here: 151 ln 2 = 104.66522. The three roundings are below 2e-5 together; 7e-4 is added. No bits but zeros: 104.7. */
static inline float bnf_gumbel_bound(uint32_t word)
{
    const float f = (float)(int32_t)(~word >> 8);
    return 104.666f - (float)(int32_t)bnf_bits_of_float(f) * 0x1.62e43p-24f; /* ln 2 / 2^23 */
}

/* gumbel_bounds of struct bnf_ops, written so that compilers make vectors of the lanes. 128,256 tokens on Zen 4, in microseconds: 125 with
 * AVX-512, 220 with AVX2, 240 with SSE2; a screened head of as many rows takes a hundred times that. */
#define BNF_GUMBEL_BOUNDS_FUNCTION(isa)                                                                                                   \
    static void gumbel_bounds_of_64(uint32_t seed, uint64_t step, uint32_t group, const float *restrict x, float t,                       \
                                    float *restrict upper)                                                                                \
    {                                                                                                                                     \
        for (uint32_t lane = 0; lane < 16; lane++) {                                                                                      \
            const struct bnf_philox words = bnf_gumbel_words(seed, step, 0, group, lane);                                                 \
            for (uint32_t j = 0; j < 4; j++)                                                                                              \
                upper[16 * j + lane] = x[16 * j + lane] / t + bnf_gumbel_bound(words.word[j]);                                            \
        }                                                                                                                                 \
    }                                                                                                                                     \
    void bnf_gumbel_bounds_##isa(uint32_t seed, uint64_t step, int64_t begin, int64_t n, const float *x, float t, float *upper)           \
    {                                                                                                                                     \
        int64_t i = 0;                                                                                                                    \
        for (; i + 64 <= n; i += 64)                                                                                                      \
            gumbel_bounds_of_64(seed, step, (uint32_t)((begin + i) / 64), x + i, t, upper + i);                                           \
        if (i < n) {                                                                                                                      \
            float some[64] = {0}, bounds[64];                                                                                             \
            memcpy(some, x + i, (size_t)(n - i) * sizeof *x);                                                                             \
            gumbel_bounds_of_64(seed, step, (uint32_t)((begin + i) / 64), some, t, bounds);                                               \
            memcpy(upper + i, bounds, (size_t)(n - i) * sizeof *x);                                                                       \
        }                                                                                                                                 \
    }

/* g of one token. */
double bnf_gumbel(uint32_t seed, uint64_t step, int32_t id);
/* At least that, without a logarithm: as gumbel_bounds has it. */
float bnf_gumbel_bound_of(uint32_t seed, uint64_t step, int32_t id);

/* What a bound must reach for logit + g to reach `most`: the sum in a bound is a float, rounded by 2^-24 of itself at most. */
static inline double bnf_gumbel_reach(double most)
{
    return most - (most < 0 ? -most : most) * 0x1p-22;
}

#endif
