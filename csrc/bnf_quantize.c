/* Floats to a tensor of any type that can be written. May not pick a scale by itself beyond max |w|: absmean rounding of master
 * weights belongs to the converter. Next: bnf_quantize_blocks.c for the formats, bnf_dequantize.c for the way back. */
#include <string.h>

#include "bnf_error.h"
#include "bnf_ops.h"
#include "bnf_quantize_blocks.h"

int bnf_quantize(int32_t type, const float *x, int64_t k, int64_t m, uint8_t *data)
{
    const struct bnf_type_traits *traits = bnf_type_traits(type);
    const int64_t n = k * m;
    const struct bnf_ops *ops = bnf_ops();
    struct bnf_range range = {0};
    if (ops == NULL)
        return BITNET_ERROR;
    if (traits == NULL || !bnf_can_quantize(type))
        return bnf_fail(BITNET_ERROR, "quantize to type %d: it cannot be written", (int)type);
    if ((type == GGML_TYPE_I2_S ? n : k) % traits->block_len != 0)
        return bnf_fail(BITNET_ERROR, "quantize to %s: %lld %s, expected a multiple of %d", traits->name,
                        (long long)(type == GGML_TYPE_I2_S ? n : k), type == GGML_TYPE_I2_S ? "elements" : "columns",
                        (int)traits->block_len);
    bnf_range_add(&range, x, n);
    if (range.not_finite)
        return bnf_fail(BITNET_ERROR, "quantize to %s: a weight is not finite", traits->name);
    bnf_quantize_blocks(ops, type, x, n, data);
    if (!bnf_scales_finite(type, data, n))
        return bnf_fail(BITNET_ERROR, "quantize to %s: a weight of %g is beyond the range of f16", traits->name, (double)range.max);
    if (type == GGML_TYPE_I2_S) {
        memset(data + n / 4, 0, 32);
        memcpy(data + n / 4, &range.max, sizeof range.max);
    }
    return 0;
}
