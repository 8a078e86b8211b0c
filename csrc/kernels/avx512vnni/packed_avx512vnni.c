/* Packed ternary weights, four a byte (bnf_layout.h, R16), on AVX-512 VNNI: making them, and their inner products.
 * May not reorder a float operation (bnf_ops.h). Next: packed_avx512vnni.h, the loops around these;
 * bitnet_ffi/_core/load/load_pack.pyx, which calls pack. */
#include "kernels_avx512vnni.h"

#define TQ_BLOCK (17 * 64)
#include "packed_avx512vnni.h"

static inline uint64_t tile_size(const struct bnf_matrix *w)
{
    return (uint64_t)(is_tq(w) ? w->k / 256 * TQ_BLOCK : w->k / 16 * BLOCK);
}

/* ---- packing ---- */

int32_t bnf_packed_layout_avx512vnni(const struct bnf_matrix *w)
{
    if (bnf_blocks_size_avx512vnni(w) > 0)
        return BNF_TYPE_BLOCKS_R16;
    if (!can_pack(w))
        return w->type;
    return is_tq(w) ? BNF_TYPE_TQ_R16 : BNF_TYPE_I2_S_R16;
}

uint64_t bnf_packed_size_avx512vnni(const struct bnf_matrix *w)
{
    const uint64_t blocks_size = bnf_blocks_size_avx512vnni(w);
    return blocks_size > 0 ? blocks_size : (uint64_t)(w->m / TILE_ROWS) * tile_size(w);
}

bool bnf_pack_avx512vnni(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    if (bnf_blocks_size_avx512vnni(w) > 0)
        return bnf_blocks_pack_avx512vnni(w, row0, row1, packed);
    for (int64_t row = row0; row < row1; row += TILE_ROWS) {
        const uint8_t *in = w->data + (uint64_t)row * w->row_size;
        uint8_t *out = packed + (uint64_t)(row / TILE_ROWS) * tile_size(w);
        if (!is_tq(w))
            for (int64_t i = 0; i < w->k; i += 256)
                pack_groups(in + i / 4, w->row_size, w->k - i >= 256 ? 2 : 1, true, out + 4 * i, store_past_cache);
        else
            for (int64_t b = 0; b < w->k / 256; b++, out += TQ_BLOCK)
                store_past_cache(out + 16 * BLOCK, _mm512_castps_si512(pack_tq_block(w, in, b, out, store_past_cache)));
    }
    _mm_sfence(); /* what went past the cache is there before the caller says so to other threads */
    return true;
}

void bnf_to_panel_avx512vnni(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    panel += 4 * lane;
    for (int64_t i = 0; i < BNF_PAD64(k); i += 4, panel += 4 * COLS)
        memcpy(panel, q + i, 4);
}

/* ---- inner products ---- */

/* Bytes. Tiles lie one behind the other, so that this runs into the next one by itself. Zen 4 from DRAM, one thread: 2 KiB 26,
 * 4 KiB 27.5 to 30, 6 KiB 28.5 to 29.5, 8 KiB 27 GB/s; two tiles at a time, two streams, 17; two threads all the same. */
#define AHEAD 6144
#define UNROLL_ONE 2    /* one column: eight sums hide the latency of vpdpbusd */

/* dot[c] = minus[c] + sum of code * q, one tile. Fields are multiplied where they stand, as code, 4 code, 16 code and
 * 64 code, into four sums that are shifted down at the end: every term is a multiple, so nothing is lost.
 * Columns come from q: out of a panel, two of them ran at 10 GB/s, since a panel fills L1 whatever is used of it. */
ALWAYS_INLINE void dot_in_place(const uint8_t *w, const int8_t *q, int64_t q_stride, const int32_t *minus, int n,
                                int64_t n_blocks, __m512i *dot)
{
    const __m512i mask[4] = { _mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30),
                              _mm512_set1_epi8((char)0xc0) };
    const int unroll = n == 1 ? UNROLL_ONE : 1;
    __m512i v[UNROLL_ONE * IN_PLACE_COLS][4];
    UNROLL for (int i = 0; i < unroll * n; i++)
        UNROLL for (int f = 0; f < 4; f++)
            v[i][f] = f == 0 && i < n ? _mm512_set1_epi32(minus[i]) : _mm512_setzero_si512();

    for (int64_t b = 0; b < n_blocks; b += unroll) /* k / 16 is even */
        UNROLL for (int u = 0; u < unroll; u++, w += BLOCK) {
            const __m512i x = _mm512_loadu_si512(w);
            __builtin_prefetch(w + AHEAD, 0, 3);
            UNROLL for (int f = 0; f < 4; f++, q += 4) {
                const __m512i code = _mm512_and_si512(x, mask[f]);
                UNROLL for (int c = 0; c < n; c++)
                    add_products_of(&v[u * n + c][f], code, q + c * q_stride);
            }
        }

    UNROLL for (int i = n; i < unroll * n; i++)
        UNROLL for (int f = 0; f < 4; f++)
            v[i % n][f] = _mm512_add_epi32(v[i % n][f], v[i][f]);
    UNROLL for (int c = 0; c < n; c++) {
        const __m512i low = _mm512_add_epi32(v[c][0], _mm512_srai_epi32(v[c][1], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(v[c][2], 4), _mm512_srai_epi32(v[c][3], 6));
        dot[c] = _mm512_add_epi32(low, high);
    }
}

/* dot[t * n + c] = minus[c] + sum of code * q, n_tiles tiles that lie `size` bytes apart. Fields are shifted down
 * first, which needs one sum each; the shifts go to other ports than vpdpbusd. */
ALWAYS_INLINE void dot_shifted(const uint8_t *w, uint64_t size, int n_tiles, const int8_t *panel, const int32_t *minus,
                               int n, int64_t n_blocks, __m512i *dot)
{
    const __m512i mask = _mm512_set1_epi8(3);
    __m512i v[2 * COLS];
    UNROLL for (int i = 0; i < n_tiles * n; i++)
        v[i] = _mm512_set1_epi32(minus[i % n]);

    for (int64_t b = 0; b < n_blocks; b++, w += BLOCK) {
        __m512i x[2];
        UNROLL for (int t = 0; t < n_tiles; t++) {
            x[t] = _mm512_loadu_si512(w + (uint64_t)t * size);
            __builtin_prefetch(w + (uint64_t)(n_tiles + t) * size, 0, 2); /* the next tiles, into L2 */
        }
        UNROLL for (int f = 0; f < 4; f++, panel += 4 * COLS) {
            __m512i code[2];
            UNROLL for (int t = 0; t < n_tiles; t++) {
                code[t] = _mm512_and_si512(x[t], mask);
                x[t] = _mm512_srli_epi16(x[t], 2);
            }
            UNROLL for (int c = 0; c < n; c++) {
                int32_t four;
                memcpy(&four, panel + 4 * c, sizeof four);
                const __m512i fours = _mm512_set1_epi32(four);
                UNROLL for (int t = 0; t < n_tiles; t++)
                    add_products(&v[t * n + c], code[t], fours);
            }
        }
    }

    UNROLL for (int i = 0; i < n_tiles * n; i++)
        dot[i] = v[i];
}

ALWAYS_INLINE void dot_tiles(const struct operand *x, const uint8_t *w, int n_tiles, int n, int64_t i,
                             const int32_t *minus, int64_t k, __m512i *dot)
{
    if (n <= IN_PLACE_COLS)
        dot_in_place(w, x->q + i, x->q_stride, minus, n, k / 16, dot);
    else
        dot_shifted(w, x->tile_size, n_tiles, x->panel + i * COLS, minus, n, k / 16, dot);
}

void bnf_matmul_i2_s_r16_avx512vnni(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                    int64_t row0, int64_t row1, void *scratch)
{
    multiply(w, x, y, y_stride, row0, row1, scratch);
}

void bnf_matmul_tq_r16_avx512vnni(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                  int64_t row0, int64_t row1, void *scratch)
{
    multiply(w, x, y, y_stride, row0, row1, scratch);
}
