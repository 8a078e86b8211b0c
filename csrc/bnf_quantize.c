/* Floats to ternary weights, I2_S and TQ2_0, byte for byte as bitnet.cpp and llama.cpp write them. Lossless when every
 * weight is 0 or +-scale (TQ2_0: a scale that fits f16), which is what checkpoints of BitNet models hold.
 * May not pick a scale by itself beyond max |w|: absmean rounding of master weights belongs to the converter.
 * Next: bnf_dequantize.c for the way back. */
#include <math.h>
#include <string.h>

#include "bnf_error.h"
#include "bnf_math.h"
#include "bnf_ops.h"

/* max |x|, or a negative number when a value is not finite. */
static float finite_absmax(const float *x, int64_t n)
{
    float max = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return -1.0f;
        if (fabsf(x[i]) > max)
            max = fabsf(x[i]);
    }
    return max;
}

/* One scale for the tensor and the sign of every weight of at least 1e-6 (ggml-quants.c, quantize_i2_s). */
static int quantize_i2_s(const float *x, int64_t n, uint8_t *data)
{
    if (n % 128 != 0)
        return bnf_fail(BITNET_ERROR, "quantize to i2_s: %lld elements, expected a multiple of 128", (long long)n);
    const float scale = finite_absmax(x, n);
    if (scale < 0.0f)
        return bnf_fail(BITNET_ERROR, "quantize to i2_s: a weight is not finite");
    memset(data, 0, (size_t)(n / 4 + 32));
    for (int64_t e = 0; e < n; e++) {
        const unsigned code = fabs((double)x[e]) < 1e-6 ? 1 : x[e] < 0.0f ? 0 : 2;
        uint8_t *byte = data + e / 128 * 32 + e % 32;
        *byte = (uint8_t)(*byte | code << (6 - e % 128 / 32 * 2));
    }
    memcpy(data + n / 4, &scale, sizeof scale);
    return 0;
}

/* Blocks of 256: d = max |x|, digits lround(x * (1 / d)) (ggml-quants.c, quantize_row_tq2_0_ref). */
static int quantize_tq2_0(const float *x, int64_t k, int64_t n, uint8_t *data)
{
    if (k % 256 != 0)
        return bnf_fail(BITNET_ERROR, "quantize to tq2_0: %lld columns, expected a multiple of 256", (long long)k);
    for (int64_t b = 0; b < n / 256; b++) {
        const float *values = x + 256 * b;
        uint8_t *block = data + 66 * b;
        const float d = finite_absmax(values, 256);
        if (d < 0.0f || d >= 65520.0f) /* rounds to infinity in f16 */
            return bnf_fail(BITNET_ERROR, "quantize to tq2_0: a weight of block %lld is beyond the range of f16", (long long)b);
        const float inverse = d > 0.0f ? 1.0f / d : 0.0f;
        memset(block, 0, 66);
        for (int i = 0; i < 256; i++) {
            /* The clamp matters when d is so small that 1 / d is infinite; NaN (0 * infinity) stands for 0. */
            const float v = values[i] * inverse;
            const unsigned code = v >= 0.5f ? 2 : v <= -0.5f ? 0 : 1;
            block[i / 128 * 32 + i % 32] = (uint8_t)(block[i / 128 * 32 + i % 32] | code << (i % 128 / 32 * 2));
        }
        const uint16_t half = bnf_f32_to_f16(d);
        memcpy(block + 64, &half, sizeof half);
    }
    return 0;
}

int bnf_quantize(int32_t type, const float *x, int64_t k, int64_t m, uint8_t *data)
{
    if (type == GGML_TYPE_I2_S)
        return quantize_i2_s(x, k * m, data);
    if (type == GGML_TYPE_TQ2_0)
        return quantize_tq2_0(x, k, k * m, data);
    return bnf_fail(BITNET_ERROR, "quantize to type %d: only i2_s and tq2_0 are supported", (int)type);
}
