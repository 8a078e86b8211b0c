/* Packing ternary weights as R16 (bnf_layout.h), in plain C: for the tables that have no packing of their own.
 * May not read beyond a row: it may be the last of a mapped file. Next: bnf_r16.h, the products. */
#include "bnf_r16.h"

#include "bnf_bytes.h"
#include "bnf_math.h"
#include "bnf_tq1.h"

int32_t bnf_r16_layout(const struct bnf_matrix *w)
{
    if (w->m % BNF_R16_ROWS != 0 || w->k > BNF_R16_MAX_K)
        return w->type;
    switch (w->type) {
    case GGML_TYPE_I2_S: return w->k % 128 == 0 ? BNF_TYPE_I2_S_R16 : w->type;
    case GGML_TYPE_TQ1_0:
    case GGML_TYPE_TQ2_0: return BNF_TYPE_TQ_R16;
    default: return w->type;
    }
}

uint64_t bnf_r16_size(const struct bnf_matrix *w)
{
    return (uint64_t)(w->m / BNF_R16_ROWS) * bnf_r16_tile_size(w);
}

/* A lane is a row, a byte of it four 2-bit fields. */
typedef uint32_t lanes __attribute__((vector_size(16)));

/* Bytes of four 2-bit fields: field f of out[g] = field g of s[f]. */
static inline void transpose_fields(const lanes s[4], lanes out[4])
{
    const uint32_t low4 = 0x0f0f0f0f, low2 = 0x33333333;
    const lanes even0 = (s[0] & low4) | (s[2] & low4) << 4; /* fields 0, 1 of s[0] and of s[2] */
    const lanes odd0 = (s[1] & low4) | (s[3] & low4) << 4;
    const lanes even2 = (s[0] >> 4 & low4) | (s[2] & ~low4); /* fields 2, 3 */
    const lanes odd2 = (s[1] >> 4 & low4) | (s[3] & ~low4);
    out[0] = (even0 & low2) | (odd0 & low2) << 2;
    out[1] = (even0 >> 2 & low2) | (odd0 & ~low2);
    out[2] = (even2 & low2) | (odd2 & low2) << 2;
    out[3] = (even2 >> 2 & low2) | (odd2 & ~low2);
}

/* A group of 128 elements of 16 rows, 8 blocks. In the files a group is 32 bytes, and field f of its byte j is element 32 f + j (TQ2_0) or
 * 32 (3 - f) + j (I2_S, `reversed`). Dwords 0..3 of a group hold every second block of 16 elements, dwords 4..7 the others; in a
 * block, dword j is elements 4 j .. 4 j + 3: hence
 * transpose dwords, then fields. */
static inline void pack_group(const uint8_t *row0, uint64_t row_size, bool reversed, uint8_t *out)
{
    for (int r = 0; r < BNF_R16_ROWS; r += 4)
        for (int half = 0; half < 2; half++) {
            const uint8_t *s = row0 + (uint64_t)r * row_size + 16 * half;
            lanes dword[4], block[4];
            for (int j = 0; j < 4; j++, s += 4)
                dword[j] = (lanes){ bnf_load_u32(s), bnf_load_u32(s + row_size), bnf_load_u32(s + 2 * row_size),
                                    bnf_load_u32(s + 3 * row_size) };
            transpose_fields(dword, block);
            for (int f = 0; f < 4; f++)
                memcpy(out + BNF_R16_BLOCK * (2 * (reversed ? 3 - f : f) + half) + 4 * r, &block[f], sizeof block[f]);
        }
}

static void pack_i2_s(const struct bnf_matrix *w, int64_t row, uint8_t *out)
{
    const uint8_t *in = w->data + (uint64_t)row * w->row_size;
    for (int64_t i = 0; i < w->k; i += 128)
        pack_group(in + i / 4, w->row_size, true, out + 4 * i);
}

static void pack_tq(const struct bnf_matrix *w, int64_t row, uint8_t *out)
{
    const bool tq1 = w->type == GGML_TYPE_TQ1_0;
    const int block_size = tq1 ? 54 : 66;
    const uint8_t *in = w->data + (uint64_t)row * w->row_size;
    for (int64_t b = 0; b < w->k / 256; b++, in += block_size, out += BNF_R16_TQ_BLOCK) {
        uint8_t fields[BNF_R16_ROWS][64];
        for (int r = 0; r < BNF_R16_ROWS; r++) {
            const uint8_t *block = in + (uint64_t)r * w->row_size;
            const float d = bnf_f16_to_f32(bnf_load_u16(block + block_size - 2));
            memcpy(out + 16 * BNF_R16_BLOCK + 4 * r, &d, sizeof d);
            if (tq1)
                bnf_tq1_fields(block, fields[r]);
        }
        for (int group = 0; group < 2; group++)
            pack_group((tq1 ? fields[0] : in) + 32 * group, tq1 ? sizeof fields[0] : w->row_size, false,
                       out + 8 * BNF_R16_BLOCK * group);
    }
}

bool bnf_r16_pack(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    for (int64_t row = row0; row < row1; row += BNF_R16_ROWS) {
        uint8_t *out = packed + (uint64_t)(row / BNF_R16_ROWS) * bnf_r16_tile_size(w);
        if (bnf_r16_is_tq(w))
            pack_tq(w, row, out);
        else
            pack_i2_s(w, row, out);
    }
    return true;
}
