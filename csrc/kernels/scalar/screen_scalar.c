/* The screen of the head in plain C: the readable statement of bnf_screen.h's integers.
 * Next: csrc/bnf_screen_rows.h, the loops around these. */
#include <string.h>

#include "bnf_screen_rows.h"
#include "kernels_scalar.h"

static void load16(int32_t type, const uint8_t *row, int64_t i, float out[16])
{
    for (int l = 0; l < 16; l++) {
        uint32_t bits;
        switch (type) {
        case GGML_TYPE_F16: out[l] = bnf_f16_to_f32(bnf_load_u16(row + 2 * (i + l))); break;
        case GGML_TYPE_BF16: out[l] = bnf_bf16_to_f32(bnf_load_u16(row + 2 * (i + l))); break;
        default:
            bits = bnf_load_u32(row + 4 * (i + l));
            out[l] = bnf_float_of_bits(bits);
        }
    }
}

static void add_products(int32_t sum[16], const uint8_t *block, const int8_t four[4])
{
    for (int r = 0; r < 16; r++)
        sum[r] += block[4 * r] * four[0] + block[4 * r + 1] * four[1] + block[4 * r + 2] * four[2] + block[4 * r + 3] * four[3];
}

#define TILE_COLS 1
static void tile_sums(const uint8_t *tile, const struct bnf_screen_cols *x, int64_t c, int n, int32_t sum[][2][16])
{
    const int64_t groups = x->k / 4;
    (void)n; /* TILE_COLS */
    memset(sum[0], 0, sizeof sum[0]);
    for (int64_t g = 0; g < groups; g++)
        add_products(sum[0][0], tile + 64 * g, x->low + 4 * (g * x->n + c));
    for (int32_t i = 0; i < x->n_high[c]; i++) {
        int8_t four[4];
        memcpy(four, &x->high[c * groups + i], 4);
        add_products(sum[0][1], tile + 64 * x->group[c * groups + i], four);
    }
}

BNF_SCREEN_FUNCTIONS(scalar)
