/* Q4_0, Q4_1, Q5_0 and Q5_1 by an importance matrix: scales that make the weighted error small, where the plain writers take the
 * largest number's. The bits of llama.cpp's quantize_row_q4_0_impl and its kin (ggml-quants.c): every float operation stands as written.
 * May not allocate or fail. Next: bnf_fit.h. */
#include "bnf_quantize_parts.h"

#include "bitnet_ffi.h"

struct shape {
    int most;     /* largest code, or the code of 0 */
    int size;     /* bytes of a block */
    bool minimum, fifth_bit;
};

static struct shape shape_of(int32_t type)
{
    switch (type) {
    case GGML_TYPE_Q4_0: return (struct shape){8, 18, false, false};
    case GGML_TYPE_Q4_1: return (struct shape){15, 20, true, false};
    case GGML_TYPE_Q5_0: return (struct shape){16, 22, false, true};
    default: return (struct shape){31, 24, true, true};
    }
}

static void put_block(const struct bnf_fit *fit, int g, struct shape shape, uint8_t *block)
{
    uint8_t codes[BLOCK];
    lane_codes(fit, g, codes);
    store_f16(block, fit->scale[g]);
    block += 2;
    if (shape.minimum) {
        store_f16(block, -fit->min[g]);
        block += 2;
    }
    if (shape.fifth_bit) {
        put_fifth_bits(codes, block);
        block += 4;
    }
    put_nibbles(codes, block);
}

void bnf_quantize_weighted(const struct bnf_ops *ops, int32_t type, const float *x, int64_t k, const float *importance, uint8_t *dst)
{
    const struct shape shape = shape_of(type);
    const float variance = energy(x, k) / (float)k;
    struct bnf_fit fit = {.most = shape.most, .first = -0.9f, .step = 0.05f, .n_steps = 36, .bounded = true};
    for (int64_t i = 0; i < k; i += BNF_FIT_LANES * BLOCK) {
        const int n = (int)(k - i < BNF_FIT_LANES * BLOCK ? (k - i) / BLOCK : BNF_FIT_LANES);
        fill_lanes(&fit, BLOCK, x + i, n);
        for (int g = 0; g < n; g++)
            weigh_lane(&fit, g, importance + i + g * BLOCK, variance);
        (shape.minimum ? ops->fit_offset : ops->fit_symmetric)(&fit);
        for (int g = 0; g < n; g++)
            put_block(&fit, g, shape, dst + (i / BLOCK + g) * shape.size);
    }
}
