/* A 64-bit checksum of bytes as they stream by, at about the speed of memory. Every step can be undone, so a change within one
 * word always changes the result; it is no defence against somebody who wants two texts with one sum.
 * Next: bnf_stream.h. */
#ifndef BNF_CHECKSUM_H
#define BNF_CHECKSUM_H

#include <stdint.h>
#include <string.h>

struct bnf_checksum {
    uint64_t lane[4];
    uint8_t rest[32]; /* bytes that wait for a whole block */
    uint64_t len;
};

static inline uint64_t bnf_rotl64(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline struct bnf_checksum bnf_checksum_begin(void)
{
    return (struct bnf_checksum){{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93}, {0}, 0};
}

static inline void bnf_checksum_block(struct bnf_checksum *sum, const uint8_t *block)
{
    for (int i = 0; i < 4; i++) {
        uint64_t word;
        memcpy(&word, block + 8 * i, 8);
        sum->lane[i] = bnf_rotl64(sum->lane[i] ^ word * 0x9fb21c651e98df25, 29) * 0xff51afd7ed558ccd;
    }
}

static inline void bnf_checksum_add(struct bnf_checksum *sum, const void *data, uint64_t n)
{
    const uint8_t *at = data;
    const uint64_t waiting = sum->len % 32;
    sum->len += n;
    if (waiting) {
        const uint64_t take = n < 32 - waiting ? n : 32 - waiting;
        memcpy(sum->rest + waiting, at, take);
        at += take;
        n -= take;
        if (waiting + take < 32)
            return;
        bnf_checksum_block(sum, sum->rest);
    }
    for (; n >= 32; n -= 32, at += 32)
        bnf_checksum_block(sum, at);
    if (n)
        memcpy(sum->rest, at, n);
}

static inline uint64_t bnf_checksum_end(const struct bnf_checksum *sum)
{
    struct bnf_checksum last = *sum;
    memset(last.rest + last.len % 32, 0, 32 - last.len % 32);
    bnf_checksum_block(&last, last.rest);
    uint64_t h = last.len;
    for (int i = 0; i < 4; i++)
        h = bnf_rotl64(h, 17) + last.lane[i];
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
    return h ^ h >> 29;
}

#endif
