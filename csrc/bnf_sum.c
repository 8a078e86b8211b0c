/* The sum of a piece of bytes: see bnf_sum.h. A lane takes every sixteenth word w: a = rotl((a ^ w) * (2^21 + 1), 29). Shifts and
 * additions only, since SSE2, AVX2 and NEON have no product of 64 bits: 25 bytes a cycle on Zen 4 with SSE2, more than memory brings, where
 * four lanes with two products each had four. Left to itself gcc 12 keeps arrays of lanes in memory, hence the vectors.
 * May not: read beyond a piece. */
#include "bnf_sum.h"

#include <string.h>

enum { VECTORS = 8, BLOCK = 16 * VECTORS };

typedef uint64_t lanes __attribute__((vector_size(16)));

static inline lanes step(lanes a, lanes word)
{
    a ^= word;
    a += a << 21;
    return a << 29 | a >> 35;
}

static inline void add_block(lanes *sum, const uint8_t *at)
{
    for (int i = 0; i < VECTORS; i++) {
        lanes word;
        memcpy(&word, at + 16 * i, 16);
        sum[i] = step(sum[i], word);
    }
}

static inline void begin(lanes *sum)
{
    for (uint64_t i = 0; i < VECTORS; i++)
        sum[i] = (lanes){2 * i + 1, 2 * i + 2} * 0x9e3779b97f4a7c15;
}

/* The bytes behind the last whole block, with zeros after them, then all lanes; n tells zeros that were there from these. */
static uint64_t end(lanes *sum, const uint8_t *at, uint64_t n)
{
    uint8_t last[BLOCK] = {0};
    uint64_t h = n;
    if (n % BLOCK) {
        memcpy(last, at, n % BLOCK);
        add_block(sum, last);
    }
    for (int i = 0; i < 2 * VECTORS; i++) {
        h = (h << 27 | h >> 37) + sum[i / 2][i % 2];
        h *= 0xff51afd7ed558ccd;
    }
    return h ^ h >> 31;
}

uint64_t bnf_sum(const void *data, uint64_t n)
{
    const uint8_t *at = data;
    lanes sum[VECTORS];
    begin(sum);
    for (uint64_t i = n / BLOCK; i > 0; i--, at += BLOCK)
        add_block(sum, at);
    return end(sum, at, n);
}

uint64_t bnf_sum_copy(void *restrict to, const void *restrict from, uint64_t n)
{
    const uint8_t *at = from;
    uint8_t *copy = to;
    lanes sum[VECTORS];
    begin(sum);
    for (uint64_t i = n / BLOCK; i > 0; i--, at += BLOCK, copy += BLOCK)
        for (int j = 0; j < VECTORS; j++) {
            lanes word;
            memcpy(&word, at + 16 * j, 16);
            memcpy(copy + 16 * j, &word, 16);
            sum[j] = step(sum[j], word);
        }
    memcpy(copy, at, n % BLOCK);
    return end(sum, at, n);
}
