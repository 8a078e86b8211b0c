/* MT19937 as its paper states it, and seeds from the operating system. May not keep state of its own: each sampler owns
 * its stream, so threads cannot disturb each other. Next: tests_py/test_sampler.py compares it with NumPy's. */
#define _GNU_SOURCE
#include "bnf_random.h"

#include <sys/random.h>
#include <unistd.h>

#include "bitnet_ffi.h"
#include "bnf_platform.h"

enum { MT_SHIFT = 397 };

void bnf_mt19937_seed(struct bnf_mt19937 *mt, uint32_t seed)
{
    uint32_t x = seed;
    mt->word[0] = x;
    for (uint32_t i = 1; i < BNF_MT_LEN; i++) {
        x = 1812433253u * (x ^ (x >> 30)) + i;
        mt->word[i] = x;
    }
    mt->next = BNF_MT_LEN;
}

static void make_generation(struct bnf_mt19937 *mt)
{
    uint32_t *const w = mt->word;
    for (int i = 0; i < BNF_MT_LEN; i++) {
        /* Top bit of one word, the other 31 of the following one, times the companion matrix of the recurrence. */
        const uint32_t mixed = (w[i] & 0x80000000u) | (w[(i + 1) % BNF_MT_LEN] & 0x7fffffffu);
        w[i] = w[(i + MT_SHIFT) % BNF_MT_LEN] ^ (mixed >> 1) ^ (mixed & 1 ? 0x9908b0dfu : 0);
    }
    mt->next = 0;
}

uint32_t bnf_mt19937_next(struct bnf_mt19937 *mt)
{
    if (mt->next >= BNF_MT_LEN)
        make_generation(mt);
    uint32_t y = mt->word[mt->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

double bnf_mt19937_uniform(struct bnf_mt19937 *mt)
{
    const double low = bnf_mt19937_next(mt);
    const double high = bnf_mt19937_next(mt);
    /* 64 random bits rounded to 53: the sum can reach 2^64, and then the result would be 1. */
    const double x = (low + high * 0x1p32) * 0x1p-64;
    return x < 1.0 ? x : 0x1.fffffffffffffp-1;
}

float bnf_mt19937_uniform_float(struct bnf_mt19937 *mt)
{
    const float x = (float)bnf_mt19937_next(mt) * 0x1p-32f; /* 32 bits rounded to 24: may reach 2^32 */
    return x < 1.0f ? x : 0x1.fffffep-1f;
}

uint32_t bnf_random_seed(void)
{
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        /* Early in boot, or where a sandbox forbids the call: a seed only has to differ from run to run. */
        seed = (uint32_t)bnf_time_us() * 2654435761u ^ (uint32_t)getpid() << 16;
    }
    return seed == LLAMA_DEFAULT_SEED ? 0 : seed;
}
