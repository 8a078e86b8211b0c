/* Activations to int8, the readable statement of bnf_ops.h quantize_row and quantize_block.
 * May not use anything but arithmetic whose every operation rounds once. Next: kernels/scalar/matmul_scalar.c. */
#include <math.h>
#include <string.h>

#include "kernels_scalar.h"

/* Nearest integer, ties to even, in -127..127; NaN gives -127. After the clamp |v| <= 127, and adding 1.5 * 2^23 leaves
 * exactly the integer part in a float's mantissa, rounded by the one addition. */
static int8_t round_clamped(float v)
{
    if (!(v > -127.0f))
        return -127;
    if (v > 127.0f)
        return 127;
    const float shifted = v + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (int8_t)((int32_t)(bits & 0x007fffff) - 0x00400000);
}

static float absmax(const float *x, int64_t n)
{
    float max = 0.0f;
    for (int64_t i = 0; i < n; i++)
        if (fabsf(x[i]) > max) /* false for NaN */
            max = fabsf(x[i]);
    return max;
}

/* Zero q from k to its padded end and sum it by 16; a sum is at most 16 * 127. Returns the sum of all. */
static int32_t finish(int64_t k, int8_t *q, int16_t *sum16)
{
    const int64_t padded = BNF_PAD64(k);
    int32_t total = 0;
    for (int64_t i = k; i < padded; i++)
        q[i] = 0;
    for (int64_t i = 0; i < padded; i += 16) {
        int32_t sum = 0;
        for (int64_t j = i; j < i + 16; j++)
            sum += q[j];
        sum16[i / 16] = (int16_t)sum;
        total += sum;
    }
    return total;
}

void bnf_quantize_row_scalar(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16)
{
    const double max = (double)absmax(x, k);
    const float scale = (float)(127.0 / (max > 1e-5 ? max : 1e-5));
    for (int64_t i = 0; i < k; i++)
        q[i] = round_clamped(x[i] * scale);
    *s = scale;
    *sum = finish(k, q, sum16);
}

void bnf_quantize_block_scalar(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16)
{
    for (int64_t b = 0; b < k; b += 32) {
        const int64_t n = k - b < 32 ? k - b : 32;
        const float max = absmax(x + b, n);
        const float inverse = max > 0.0f ? 127.0f / max : 0.0f;
        for (int64_t i = b; i < b + n; i++)
            q[i] = round_clamped(x[i] * inverse);
        d[b / 32] = max / 127.0f;
    }
    finish(k, q, sum16);
}
