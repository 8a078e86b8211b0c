/* Block-quantized weights brought to one shape for the SIMD products: a tile of BNF_TILE_ROWS rows by 256 elements with a
 * byte per code, so that the inner loops do not know the fourteen formats. A tile lives on the stack and stays in L1.
 * The loops are plain C that compilers vectorize for the flags of the file that includes this; everything is static,
 * because those files are compiled for different instruction sets. The file defines BNF_TILE_ROWS and BNF_TILE_BIAS first.
 * Next: bnf_matmul.h, the loops around the tiles. */
#ifndef BNF_TILE_H
#define BNF_TILE_H

#include <stdalign.h>

#include "bnf_bytes.h"
#include "bnf_layout.h"

#define BNF_TILE_LEN 256
#define BNF_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Short vectors of bytes in the compiler's own vector types: loops over such arrays were left scalar by gcc 12, twenty
 * times slower (Q4_1, one column: 0.7 instead of 14 GB/s). Arithmetic is per byte, modulo 256; v >> n and v & n as in C. */
typedef uint8_t bnf_u8x4 __attribute__((vector_size(4)));
typedef uint8_t bnf_u8x16 __attribute__((vector_size(16)));
typedef uint8_t bnf_u8x32 __attribute__((vector_size(32)));
typedef uint32_t bnf_u32x4 __attribute__((vector_size(16)));

BNF_ALWAYS_INLINE bnf_u8x16 bnf_load_u8x16(const uint8_t *p)
{
    bnf_u8x16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

BNF_ALWAYS_INLINE bnf_u8x32 bnf_load_u8x32(const uint8_t *p)
{
    bnf_u8x32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

BNF_ALWAYS_INLINE void bnf_store_u8x16(uint8_t *p, bnf_u8x16 v)
{
    memcpy(p, &v, sizeof v);
}

BNF_ALWAYS_INLINE void bnf_store_u8x32(uint8_t *p, bnf_u8x32 v)
{
    memcpy(p, &v, sizeof v);
}

/* Element e of row r: (code[r][e] - offset) * sub[e / 16][r] * d[e / 32][r] + min[e / 16][r] * m[e / 32][r].
 * Codes are 0..63, but for Q8_0: its bytes plus BNF_TILE_BIAS (128 where the dot product wants unsigned weights, else 0). */
struct bnf_tile {
    alignas(64) uint8_t code[BNF_TILE_ROWS][BNF_TILE_LEN];
    alignas(64) uint16_t d[BNF_TILE_LEN / 32][BNF_TILE_ROWS];   /* f16 */
    alignas(64) uint16_t m[BNF_TILE_LEN / 32][BNF_TILE_ROWS];   /* f16 */
    alignas(64) int8_t sub[BNF_TILE_LEN / 16][BNF_TILE_ROWS];
    alignas(64) int8_t min[BNF_TILE_LEN / 16][BNF_TILE_ROWS];
};

enum bnf_tile_min {
    BNF_MIN_NONE,
    BNF_MIN_ONE,  /* every min is 1, and not stored */
    BNF_MIN_SUB   /* min holds 6-bit minima */
};

struct bnf_tile_format {
    int32_t block_len, block_size;
    int32_t offset;
    bool has_sub;        /* else every sub is 1, and not stored */
    bool super;          /* d[0] and m[0] hold for all 256 elements */
    bool signed_code;    /* Q8_0 with BNF_TILE_BIAS 0: codes are int8_t */
    enum bnf_tile_min min;
};

/* Decode `parts` (1..8) times 32 elements from s into row r. Ternary blocks: always 256, codes 0..3, offset 1, d[0]. */
typedef void (*bnf_unpack_fn)(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts);

/* Sixteen low nibbles, then the sixteen high ones. */
static inline void bnf_unpack_nibbles(uint8_t *restrict code, const uint8_t *restrict s)
{
    const bnf_u8x16 v = bnf_load_u8x16(s);
    bnf_store_u8x16(code, v & 15);
    bnf_store_u8x16(code + 16, v >> 4);
}

static const struct bnf_tile_format bnf_tile_q4_0 = { .block_len = 32, .block_size = 18, .offset = 8 };
static void bnf_unpack_q4_0(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    uint8_t *restrict code = t->code[r];
    for (int p = 0; p < parts; p++, s += 18, code += 32) {
        t->d[p][r] = bnf_load_u16(s);
        bnf_unpack_nibbles(code, s + 2);
    }
}

static const struct bnf_tile_format bnf_tile_q4_1 = { .block_len = 32, .block_size = 20, .min = BNF_MIN_ONE };
static void bnf_unpack_q4_1(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    uint8_t *restrict code = t->code[r];
    for (int p = 0; p < parts; p++, s += 20, code += 32) {
        t->d[p][r] = bnf_load_u16(s);
        t->m[p][r] = bnf_load_u16(s + 2);
        bnf_unpack_nibbles(code, s + 4);
    }
}

/* Sixteen bits to sixteen bytes of 0 or 16. A lane takes four bits; times 1 + 2^7 + 2^14 + 2^21 they land in bits 0, 8, 16, 24. */
static inline bnf_u8x16 bnf_fifth_bits(uint32_t bits)
{
    const bnf_u32x4 lane = { bits, bits >> 4, bits >> 8, bits >> 12 };
    return (bnf_u8x16)(((lane & 15) * 0x00204081 & 0x01010101) << 4);
}

static inline void bnf_unpack_5_bits(uint8_t *restrict code, const uint8_t *restrict nibbles, uint32_t high)
{
    const bnf_u8x16 v = bnf_load_u8x16(nibbles);
    bnf_store_u8x16(code, (v & 15) | bnf_fifth_bits(high));
    bnf_store_u8x16(code + 16, (v >> 4) | bnf_fifth_bits(high >> 16));
}

static const struct bnf_tile_format bnf_tile_q5_0 = { .block_len = 32, .block_size = 22, .offset = 16 };
static void bnf_unpack_q5_0(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    for (int p = 0; p < parts; p++, s += 22) {
        t->d[p][r] = bnf_load_u16(s);
        bnf_unpack_5_bits(t->code[r] + 32 * p, s + 6, bnf_load_u32(s + 2));
    }
}

static const struct bnf_tile_format bnf_tile_q5_1 = { .block_len = 32, .block_size = 24, .min = BNF_MIN_ONE };
static void bnf_unpack_q5_1(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    for (int p = 0; p < parts; p++, s += 24) {
        t->d[p][r] = bnf_load_u16(s);
        t->m[p][r] = bnf_load_u16(s + 2);
        bnf_unpack_5_bits(t->code[r] + 32 * p, s + 8, bnf_load_u32(s + 4));
    }
}

static const struct bnf_tile_format bnf_tile_q8_0 = {
    .block_len = 32, .block_size = 34, .offset = BNF_TILE_BIAS, .signed_code = BNF_TILE_BIAS == 0
};
static void bnf_unpack_q8_0(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    uint8_t *restrict code = t->code[r];
    for (int p = 0; p < parts; p++, s += 34, code += 32) {
        t->d[p][r] = bnf_load_u16(s);
        bnf_store_u8x32(code, bnf_load_u8x32(s + 2) + BNF_TILE_BIAS);
    }
}

static const struct bnf_tile_format bnf_tile_q2_k = {
    .block_len = 256, .block_size = 84, .has_sub = true, .super = true, .min = BNF_MIN_SUB
};
static void bnf_unpack_q2_k(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s + 80);
    t->m[0][r] = bnf_load_u16(s + 82) ^ 0x8000; /* - dmin */
    for (int g = 0; g < 16; g++) {
        t->sub[g][r] = (int8_t)(s[g] & 15);
        t->min[g][r] = (int8_t)(s[g] >> 4);
    }
    for (int p = 0; p < 8; p++)
        bnf_store_u8x32(t->code[r] + 32 * p, bnf_load_u8x32(s + 16 + 32 * (p / 4)) >> (2 * (p % 4)) & 3);
}

static const struct bnf_tile_format bnf_tile_q3_k = {
    .block_len = 256, .block_size = 110, .offset = 4, .has_sub = true, .super = true
};
static void bnf_unpack_q3_k(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s + 108);
    for (int g = 0; g < 16; g++) {
        const int low4 = s[96 + g % 8] >> (4 * (g / 8)) & 15, high2 = s[104 + g % 4] >> (2 * (g / 4)) & 3;
        t->sub[g][r] = (int8_t)((low4 | high2 << 4) - 32);
    }
    const bnf_u8x32 high = bnf_load_u8x32(s);
    for (int p = 0; p < 8; p++) {
        const bnf_u8x32 low = bnf_load_u8x32(s + 32 + 32 * (p / 4)) >> (2 * (p % 4)) & 3;
        bnf_store_u8x32(t->code[r] + 32 * p, low | (high >> p & 1) << 2);
    }
}

/* The twelve bytes of 6-bit scales and minima of Q4_K and Q5_K; each holds for 32 elements. */
static void bnf_unpack_sub_k4(struct bnf_tile *restrict t, int r, const uint8_t *restrict packed)
{
    for (int p = 0; p < 4; p++) {
        t->sub[2 * p][r] = t->sub[2 * p + 1][r] = (int8_t)(packed[p] & 63);
        t->min[2 * p][r] = t->min[2 * p + 1][r] = (int8_t)(packed[4 + p] & 63);
        t->sub[2 * p + 8][r] = t->sub[2 * p + 9][r] = (int8_t)((packed[8 + p] & 15) | packed[p] >> 6 << 4);
        t->min[2 * p + 8][r] = t->min[2 * p + 9][r] = (int8_t)(packed[8 + p] >> 4 | packed[4 + p] >> 6 << 4);
    }
}

static const struct bnf_tile_format bnf_tile_q4_k = {
    .block_len = 256, .block_size = 144, .has_sub = true, .super = true, .min = BNF_MIN_SUB
};
static void bnf_unpack_q4_k(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s);
    t->m[0][r] = bnf_load_u16(s + 2) ^ 0x8000; /* - dmin */
    bnf_unpack_sub_k4(t, r, s + 4);
    for (int pair = 0; pair < 4; pair++) {
        const bnf_u8x32 v = bnf_load_u8x32(s + 16 + 32 * pair);
        bnf_store_u8x32(t->code[r] + 64 * pair, v & 15);
        bnf_store_u8x32(t->code[r] + 64 * pair + 32, v >> 4);
    }
}

static const struct bnf_tile_format bnf_tile_q5_k = {
    .block_len = 256, .block_size = 176, .has_sub = true, .super = true, .min = BNF_MIN_SUB
};
static void bnf_unpack_q5_k(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s);
    t->m[0][r] = bnf_load_u16(s + 2) ^ 0x8000; /* - dmin */
    bnf_unpack_sub_k4(t, r, s + 4);
    const bnf_u8x32 high = bnf_load_u8x32(s + 16);
    for (int pair = 0; pair < 4; pair++) {
        const bnf_u8x32 v = bnf_load_u8x32(s + 48 + 32 * pair);
        bnf_store_u8x32(t->code[r] + 64 * pair, (v & 15) | (high >> (2 * pair) & 1) << 4);
        bnf_store_u8x32(t->code[r] + 64 * pair + 32, v >> 4 | (high >> (2 * pair + 1) & 1) << 4);
    }
}

static const struct bnf_tile_format bnf_tile_q6_k = {
    .block_len = 256, .block_size = 210, .offset = 32, .has_sub = true, .super = true
};
static void bnf_unpack_q6_k(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s + 208);
    for (int g = 0; g < 16; g++)
        t->sub[g][r] = (int8_t)s[192 + g];
    for (int half = 0; half < 2; half++) {
        uint8_t *restrict code = t->code[r] + 128 * half;
        const bnf_u8x32 low0 = bnf_load_u8x32(s + 64 * half), low1 = bnf_load_u8x32(s + 64 * half + 32);
        const bnf_u8x32 high = bnf_load_u8x32(s + 128 + 32 * half);
        bnf_store_u8x32(code, (low0 & 15) | (high & 3) << 4);
        bnf_store_u8x32(code + 32, (low1 & 15) | (high >> 2 & 3) << 4);
        bnf_store_u8x32(code + 64, low0 >> 4 | (high >> 4 & 3) << 4);
        bnf_store_u8x32(code + 96, low1 >> 4 | high >> 6 << 4);
    }
}

/* A byte holds a base-3 fraction f / 256. Its first digit, the whole part of 3 f / 256, is 1 from f = 86 and 2 from 171;
 * 3 f modulo 256 holds the rest. A comparison gives 255 for true, that is -1. */
#define BNF_UNPACK_TRITS(type, code, s, digits)                                                                          \
    do {                                                                                                                 \
        type fraction, digit;                                                                                            \
        memcpy(&fraction, (s), sizeof fraction);                                                                         \
        for (int n = 0; n < (digits); n++) {                                                                             \
            digit = -((type)(fraction >= 86) + (type)(fraction >= 171));                                                 \
            memcpy((code) + (size_t)n * sizeof digit, &digit, sizeof digit);                                             \
            fraction = fraction + fraction + fraction;                                                                   \
        }                                                                                                                \
    } while (0)

static const struct bnf_tile_format bnf_tile_tq1_0 = { .block_len = 256, .block_size = 54, .offset = 1, .super = true };
static inline void bnf_unpack_tq1_0(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s + 52);
    BNF_UNPACK_TRITS(bnf_u8x32, t->code[r], s, 5);
    BNF_UNPACK_TRITS(bnf_u8x16, t->code[r] + 160, s + 32, 5);
    BNF_UNPACK_TRITS(bnf_u8x4, t->code[r] + 240, s + 48, 4);
}

static const struct bnf_tile_format bnf_tile_tq2_0 = { .block_len = 256, .block_size = 66, .offset = 1, .super = true };
static inline void bnf_unpack_tq2_0(struct bnf_tile *restrict t, int r, const uint8_t *restrict s, int parts)
{
    (void)parts;
    t->d[0][r] = bnf_load_u16(s + 64);
    for (int half = 0; half < 2; half++) {
        const bnf_u8x32 v = bnf_load_u8x32(s + 32 * half);
        for (int l = 0; l < 4; l++)
            bnf_store_u8x32(t->code[r] + 128 * half + 32 * l, v >> (2 * l) & 3);
    }
}

/* Codes 0..3 of elements [begin, begin + n) of an I2_S stream, any begin; zero up to the padded end. A group of 128 is
 * 32 bytes; byte i holds elements i, 32 + i, 64 + i, 96 + i from its high bits down. */
static inline void bnf_unpack_i2_s(uint8_t *restrict code, const uint8_t *restrict data, int64_t begin, int64_t n, int64_t padded)
{
    int64_t i = 0;
    while (i < n) {
        const int64_t e = begin + i, run = 32 - e % 32 < n - i ? 32 - e % 32 : n - i;
        const uint8_t *s = data + e / 128 * 32 + e % 32;
        const int shift = (int)(6 - 2 * (e % 128 / 32));
        if (run == 32)
            bnf_store_u8x32(code + i, bnf_load_u8x32(s) >> shift & 3);
        else
            for (int64_t j = 0; j < run; j++)
                code[i + j] = s[j] >> shift & 3;
        i += run;
    }
    for (; i < padded; i++)
        code[i] = 0;
}

#endif
