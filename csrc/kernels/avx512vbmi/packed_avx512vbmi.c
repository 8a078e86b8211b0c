/* Packed ternary weights, five a byte (bnf_layout.h, T5), on AVX-512 VBMI and VNNI: making them, and their inner products.
 * May not reorder a float operation (bnf_ops.h). Next: ../avx512vnni/packed_avx512vnni.h, the loops around these.
 *
 * Why this table always packs T5: products of one column wait for memory, and here are a fifth fewer bytes than in R16. All 2,084 M
 * ternary weights of BitNet 2B-4T on Zen 4, against R16 in the same run: one thread 14.7 instead of 18.3 ms (28.3 GB/s, a plain
 * read 27.8), two threads 13.4 instead of 17.0 (31.0, a plain read 30.9); greedy decoding 20 and 17 % faster; prompts within 3 %. Out
 * of L1 one thread decodes 31.4 GB/s: a core that reads faster than that has a faster clock too. */
#include "kernels_avx512vbmi.h"

#define TQ_BLOCK (14 * 64)
#include "../avx512vnni/packed_avx512vnni.h"

#define STEP 20 /* elements of a block */

static inline uint64_t tile_size(const struct bnf_matrix *w)
{
    return (uint64_t)(is_tq(w) ? w->k / 256 * TQ_BLOCK : (w->k + STEP - 1) / STEP * BLOCK);
}

/* ---- the code of a byte ----
 *
 * t is the digit that stands for itself (elements 16 + j of a block), quad the four others as 2-bit fields.
 *
 *   2 t   = twice_digit[byte % 64]              vpermb, which looks at six bits of an index
 *   place = (byte + 2 t + 1) / 2 % 128          vpavgb rounds up; vpermi2b looks at seven bits
 *   quad  = fields[place]                       vpermi2b
 *
 * Three operations, where base 3 takes six: b mod 81 by two subtractions and minima, the difference, and the table; that code
 * ran at 24.8 GB/s on one thread of Zen 4 instead of 28, being the slower part there.
 *
 * How it can be: place p means a quad if p % 32 is in A, 21 of the 32 numbers, so 84 places for 81 quads. Half of a byte,
 * e = (byte + 1) / 2, is p - t. No three neighbours (31 and 0 are such) are all in A: of the three t that e could have at most
 * two lead to a place in A, and the lowest bit of the byte says which. */
#define IN_A(x) ((x) % 32 % 3 != 2 && (x) % 32 != 31)
#define QUAD_AT(p) (IN_A(p) ? 21 * ((p) / 32) + 2 * ((p) % 32 / 3) + (p) % 32 % 3 : 0)
#define FIELDS_OF(n) ((uint8_t)((n) % 3 | (n) / 3 % 3 << 2 | (n) / 9 % 3 << 4 | (n) / 27 % 3 << 6))
#define FIELDS(p) FIELDS_OF(QUAD_AT(p))
#define FIRST_DIGIT(e) (IN_A(e) ? 0 : IN_A((e) + 1) ? 1 : 2)
#define SECOND_DIGIT(e) (IN_A(e) && IN_A((e) + 1) ? 1 : 2)
#define TWICE_DIGIT(b) ((b) % 2 ? 2 * FIRST_DIGIT(((b) + 1) / 2) : 2 * SECOND_DIGIT((b) / 2))
#define BY_4(f, i) f(i), f((i) + 1), f((i) + 2), f((i) + 3)
#define BY_16(f, i) BY_4(f, i), BY_4(f, (i) + 4), BY_4(f, (i) + 8), BY_4(f, (i) + 12)
#define BY_64(f, i) BY_16(f, i), BY_16(f, (i) + 16), BY_16(f, (i) + 32), BY_16(f, (i) + 48)

static const _Alignas(64) uint8_t fields[128] = { BY_64(FIELDS, 0), BY_64(FIELDS, 64) };
static const _Alignas(64) uint8_t twice_digit[64] = { BY_64(TWICE_DIGIT, 0) };

/* The other way: the place of each quad, by its fields, at most 0xaa. Bit 7: of its two bytes with t = 1 it has the odd one. */
#define NUMBER_OF(q) ((q) % 4 + (q) / 4 % 4 * 3 + (q) / 16 % 4 * 9 + (q) / 64 * 27)
#define PLACE_OF(n) (32 * ((n) / 21) + (n) % 21 / 2 * 3 + (n) % 21 % 2)
#define PLACE(q) ((uint8_t)(PLACE_OF(NUMBER_OF(q)) | (IN_A(PLACE_OF(NUMBER_OF(q)) + 31) ? 0 : 0x80)))

static const _Alignas(64) uint8_t places[192] = { BY_64(PLACE, 0), BY_64(PLACE, 64), BY_64(PLACE, 128) };

/* ---- packing ---- */

int32_t bnf_packed_layout_avx512vbmi(const struct bnf_matrix *w)
{
    if (!can_pack(w))
        return bnf_packed_layout_avx512vnni(w);
    return is_tq(w) ? BNF_TYPE_TQ_T5 : BNF_TYPE_I2_S_T5;
}

uint64_t bnf_packed_size_avx512vbmi(const struct bnf_matrix *w)
{
    return can_pack(w) ? (uint64_t)(w->m / TILE_ROWS) * tile_size(w) : bnf_packed_size_avx512vnni(w);
}

/* Bytes of quads and digits. byte = 2 (place - t), less 1 where t is the first of the two that its half could have. */
static inline __m512i to_bytes(__m512i quad, __m512i digit)
{
    const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(places), quad, _mm512_load_si512(places + 64));
    const __m512i place = _mm512_mask_permutexvar_epi8(low, _mm512_movepi8_mask(quad), quad, _mm512_load_si512(places + 128));
    const __m512i half = _mm512_sub_epi8(place, digit); /* bit 7 of place leaves with the doubling */
    const __mmask64 odd = _mm512_testn_epi8_mask(digit, digit) |
                          (_mm512_movepi8_mask(place) & _mm512_cmpeq_epi8_mask(digit, _mm512_set1_epi8(1)));
    const __m512i even = _mm512_add_epi8(half, half);
    return _mm512_mask_sub_epi8(even, odd, even, _mm512_set1_epi8(1));
}

/* Five blocks of R16 to four of T5: blocks of 16 elements to blocks of 20. */
static inline void pack_80(const uint8_t *r16, uint8_t *out, int n_blocks)
{
    const __m512i one = _mm512_set1_epi8(3), two = _mm512_set1_epi8(0x0f), three = _mm512_set1_epi8(0x3f);
    __m512i x[5], byte[4];
    for (int i = 0; i < 5; i++)
        x[i] = _mm512_loadu_si512(r16 + i * BLOCK);
#define DOWN(i, bits) _mm512_srli_epi16(x[i], bits)
#define UP(i, bits) _mm512_slli_epi16(x[i], bits)
    byte[0] = to_bytes(x[0], _mm512_and_si512(x[1], one));
    byte[1] = to_bytes(pick(three, DOWN(1, 2), UP(2, 6)), _mm512_and_si512(DOWN(2, 2), one));
    byte[2] = to_bytes(pick(two, DOWN(2, 4), UP(3, 4)), _mm512_and_si512(DOWN(3, 4), one));
    byte[3] = to_bytes(pick(one, DOWN(3, 6), UP(4, 2)), _mm512_and_si512(DOWN(4, 6), one));
#undef DOWN
#undef UP
    for (int i = 0; i < n_blocks; i++)
        store_past_cache(out + i * BLOCK, byte[i]);
}

static void store_in_cache(uint8_t *p, __m512i v)
{
    _mm512_store_si512((void *)p, v);
}

/* n blocks of R16, zeros behind them, to T5. False: there is a code 3. */
static bool pack_blocks(const uint8_t *r16, int n, uint8_t *out)
{
    __m512i both = _mm512_setzero_si512();
    for (int i = 0; i < n; i++) {
        const __m512i x = _mm512_load_si512(r16 + i * BLOCK);
        both = _mm512_or_si512(both, _mm512_and_si512(x, _mm512_srli_epi16(x, 1)));
    }
    const int n_out = (16 * n + STEP - 1) / STEP;
    for (int i = 0; i < n_out; i += 4, r16 += 5 * BLOCK, out += 4 * BLOCK)
        pack_80(r16, out, n_out - i < 4 ? n_out - i : 4);
    return _mm512_test_epi8_mask(both, _mm512_set1_epi8(0x55)) == 0;
}

/* 640 elements at a time: 5 groups of the file, 40 blocks of R16, 32 of T5. */
static bool pack_i2_s(const struct bnf_matrix *w, const uint8_t *row0, uint8_t *out)
{
    _Alignas(64) uint8_t r16[40 * BLOCK];
    bool fits = true;
    for (int64_t i = 0; i < w->k; i += 640, out += 32 * BLOCK) {
        const int n = w->k - i < 640 ? (int)(w->k - i) : 640;
        for (int j = 0; j < n; j += 256)
            pack_groups(row0 + (i + j) / 4, w->row_size, n - j >= 256 ? 2 : 1, true, r16 + 4 * j, store_in_cache);
        memset(r16 + 4 * n, 0, sizeof r16 - 4 * (size_t)n);
        fits &= pack_blocks(r16, n / 16, out);
    }
    return fits;
}

static bool pack_tq(const struct bnf_matrix *w, const uint8_t *row0, uint8_t *out)
{
    _Alignas(64) uint8_t r16[20 * BLOCK] = { 0 };
    bool fits = true;
    for (int64_t b = 0; b < w->k / 256; b++, out += TQ_BLOCK) {
        const __m512 scales = pack_tq_block(w, row0, b, r16, store_in_cache);
        fits &= pack_blocks(r16, 16, out);
        store_past_cache(out + TQ_BLOCK - BLOCK, _mm512_castps_si512(scales));
    }
    return fits;
}

bool bnf_pack_avx512vbmi(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    if (!can_pack(w))
        return bnf_pack_avx512vnni(w, row0, row1, packed);
    bool fits = true;
    for (int64_t row = row0; row < row1 && fits; row += TILE_ROWS) {
        const uint8_t *in = w->data + (uint64_t)row * w->row_size;
        uint8_t *out = packed + (uint64_t)(row / TILE_ROWS) * tile_size(w);
        fits = is_tq(w) ? pack_tq(w, in, out) : pack_i2_s(w, in, out);
    }
    _mm_sfence(); /* what went past the cache is there before the caller says so to other threads */
    return fits;
}

/* ---- inner products ---- */

/* Bytes. As in packed_avx512vnni.c, and for the same layout of tiles: 4 to 8 KiB 28 GB/s, 2 KiB 26. Into L2, and 8 to 24 KiB: the same. One
 * column is at the limit of the core too: out of L2 30.3 GB/s, 7.9 cycles a block, where its 26 halves of 512-bit operations on four ports
 * would take 6.5 (four blocks a round: 2 % faster than one). */
#define AHEAD 6144

struct decoder {
    __m512i twice_digit, low, high;
};

static inline struct decoder make_decoder(void)
{
    return (struct decoder){ _mm512_load_si512(twice_digit), _mm512_load_si512(fields), _mm512_load_si512(fields + 64) };
}

struct codes {
    __m512i quad, twice_digit;
};

ALWAYS_INLINE struct codes decode(const struct decoder *d, const uint8_t *w)
{
    const __m512i byte = _mm512_loadu_si512(w);
    const __m512i twice = _mm512_permutexvar_epi8(byte, d->twice_digit);
    return (struct codes){ _mm512_permutex2var_epi8(d->low, _mm512_avg_epu8(byte, twice), d->high), twice };
}

/* dot[c] = minus[c] + sum of code * q, one tile. Codes are multiplied where they stand, as code, 4 code, 16 code, 64 code and
 * 2 code, into five sums that are shifted down at the end: every term is a multiple, so nothing is lost. */
ALWAYS_INLINE void dot_in_place(const uint8_t *w, const int8_t *q, int64_t q_stride, const int32_t *minus, int n, int64_t k,
                                __m512i *dot)
{
    const __m512i mask[4] = { _mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30),
                              _mm512_set1_epi8((char)0xc0) };
    const struct decoder d = make_decoder();
    __m512i v[IN_PLACE_COLS][5];
    UNROLL for (int c = 0; c < n; c++)
        UNROLL for (int f = 0; f < 5; f++)
            v[c][f] = f == 0 ? _mm512_set1_epi32(minus[c]) : _mm512_setzero_si512();

    _Pragma("GCC unroll 4") for (int64_t i = STEP; i <= k; i += STEP, w += BLOCK, q += STEP) {
        const struct codes x = decode(&d, w);
        __builtin_prefetch(w + AHEAD, 0, 3);
        UNROLL for (int f = 0; f < 5; f++) {
            const __m512i code = f < 4 ? _mm512_and_si512(x.quad, mask[f & 3]) : x.twice_digit;
            UNROLL for (int c = 0; c < n; c++)
                add_products_of(&v[c][f], code, q + 4 * f + c * q_stride);
        }
    }
    const int left = (int)(k % STEP) / 4;
    if (left > 0) {
        const struct codes x = decode(&d, w);
        UNROLL for (int f = 0; f < 4; f++) {
            if (f < left) {
                const __m512i code = _mm512_and_si512(x.quad, mask[f]);
                UNROLL for (int c = 0; c < n; c++)
                    add_products_of(&v[c][f], code, q + 4 * f + c * q_stride);
            }
        }
    }

    UNROLL for (int c = 0; c < n; c++) {
        const __m512i low = _mm512_add_epi32(v[c][0], _mm512_srai_epi32(v[c][1], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(v[c][2], 4), _mm512_srai_epi32(v[c][3], 6));
        dot[c] = _mm512_add_epi32(_mm512_add_epi32(low, high), _mm512_srai_epi32(v[c][4], 1));
    }
}

/* One set of codes of each tile times four activations of each column. */
ALWAYS_INLINE void add_codes(__m512i *v, const __m512i *code, int n_tiles, const int8_t *panel, int n)
{
    UNROLL for (int c = 0; c < n; c++) {
        int32_t four;
        memcpy(&four, panel + 4 * c, sizeof four);
        const __m512i fours = _mm512_set1_epi32(four);
        UNROLL for (int t = 0; t < n_tiles; t++)
            add_products(&v[t * n + c], code[t], fours);
    }
}

/* The same for n_tiles tiles that lie `size` bytes apart; codes are shifted down first, which needs one sum each. Decoding goes to
 * other ports than vpdpbusd, so that it is all but free from five columns on. */
ALWAYS_INLINE void dot_shifted(const uint8_t *w, uint64_t size, int n_tiles, const int8_t *panel, const int32_t *minus, int n,
                               int64_t k, __m512i *dot)
{
    const __m512i mask = _mm512_set1_epi8(3);
    const struct decoder d = make_decoder();
    __m512i v[2 * COLS];
    UNROLL for (int i = 0; i < n_tiles * n; i++)
        v[i] = _mm512_set1_epi32(minus[i % n]);

    for (int64_t i = STEP; i <= k; i += STEP, w += BLOCK, panel += STEP * COLS) {
        __m512i quad[2], code[2];
        UNROLL for (int t = 0; t < n_tiles; t++) {
            const struct codes x = decode(&d, w + (uint64_t)t * size);
            __builtin_prefetch(w + (uint64_t)(n_tiles + t) * size, 0, 2); /* the next tiles, into L2 */
            quad[t] = x.quad;
            code[t] = _mm512_srli_epi16(x.twice_digit, 1);
        }
        add_codes(v, code, n_tiles, panel + 16 * COLS, n);
        UNROLL for (int f = 0; f < 4; f++) {
            UNROLL for (int t = 0; t < n_tiles; t++) {
                code[t] = _mm512_and_si512(quad[t], mask);
                quad[t] = _mm512_srli_epi16(quad[t], 2);
            }
            add_codes(v, code, n_tiles, panel + 4 * f * COLS, n);
        }
    }
    const int left = (int)(k % STEP) / 4;
    if (left > 0) {
        __m512i quad[2], code[2];
        UNROLL for (int t = 0; t < n_tiles; t++)
            quad[t] = decode(&d, w + (uint64_t)t * size).quad;
        for (int f = 0; f < left; f++) {
            UNROLL for (int t = 0; t < n_tiles; t++) {
                code[t] = _mm512_and_si512(quad[t], mask);
                quad[t] = _mm512_srli_epi16(quad[t], 2);
            }
            add_codes(v, code, n_tiles, panel + 4 * f * COLS, n);
        }
    }

    UNROLL for (int i = 0; i < n_tiles * n; i++)
        dot[i] = v[i];
}

ALWAYS_INLINE void dot_tiles(const struct operand *x, const uint8_t *w, int n_tiles, int n, int64_t i,
                             const int32_t *minus, int64_t k, __m512i *dot)
{
    if (n <= IN_PLACE_COLS)
        dot_in_place(w, x->q + i, x->q_stride, minus, n, k, dot);
    else
        dot_shifted(w, x->tile_size, n_tiles, x->panel + i * COLS, minus, n, k, dot);
}

void bnf_matmul_i2_s_t5_avx512vbmi(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                   int64_t row0, int64_t row1, void *scratch)
{
    multiply(w, x, y, y_stride, row0, row1, scratch);
}

void bnf_matmul_tq_t5_avx512vbmi(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                 int64_t row0, int64_t row1, void *scratch)
{
    multiply(w, x, y, y_stride, row0, row1, scratch);
}
