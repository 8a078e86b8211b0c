/* Operands of the screen: see bnf_screen.h. */
#include "bnf_screen.h"

#include <math.h>
#include <string.h>

#define RADIX 255
#define LARGEST (127 * RADIX + 127)
#define CUT 2.25 /* times the root mean square is the largest number without a high part: of normal numbers one in forty is larger, and
                  * one group of four in ten */

void bnf_screen_cols_init(struct bnf_screen_cols *cols, int64_t n, int64_t k, void *memory)
{
    cols->n = n;
    cols->k = k;
    cols->high = memory;
    cols->group = (uint16_t *)(void *)(cols->high + n * k / 4);
    cols->low = (int8_t *)(void *)(cols->group + n * k / 4);
    cols->all_high = cols->low + n * k;
}

bool bnf_screen_operand(struct bnf_screen_cols *cols, int64_t c, const float *x)
{
    const int64_t k = cols->k;
    double square = 0, copy_square = 0, error = 0, low_square = 0, high_square = 0;
    float most = 0;
    for (int64_t i = 0; i < k; i++) {
        const float a = fabsf(x[i]);
        most = a > most ? a : most;
        square += (double)x[i] * x[i];
    }
    if (!isfinite(square) || (most > 0 && most < 1e-30f))
        return false;
    const double wanted = fmax(CUT / 127 * sqrt(square / (double)k), most * (1.0 / LARGEST));
    const float step = most > 0 ? (float)wanted : 1, inverse = 1 / step;

    uint16_t *group = cols->group + c * k / 4;
    int32_t *high = cols->high + c * k / 4;
    int32_t n_high = 0, low_sum = 0, high_sum = 0;
    for (int64_t i = 0; i < k; i += 4) {
        int8_t h4[4], l4[4];
        bool any = false;
        for (int j = 0; j < 4; j++) {
            float scaled = x[i + j] * inverse;
            scaled = scaled > -LARGEST ? scaled : -LARGEST;
            scaled = scaled < LARGEST ? scaled : LARGEST;
            /* 1.5 * 2^23 has no fraction bits: adding it rounds to the nearest integer. */
            const int q = (int)((scaled + 12582912.0f) - 12582912.0f);
            const int h = (q + (q < 0 ? -127 : 127)) / RADIX, l = q - h * RADIX;
            h4[j] = (int8_t)h;
            l4[j] = (int8_t)l;
            any |= h != 0;
            low_sum += l;
            high_sum += h;
            const double copy = (double)step * q, e = x[i + j] - copy;
            copy_square += copy * copy;
            error += e * e;
            low_square += l * l;
            high_square += h * h;
        }
        memcpy(cols->low + i * cols->n + 4 * c, l4, 4);
        memcpy(cols->all_high + i * cols->n + 4 * c, h4, 4);
        if (any) {
            group[n_high] = (uint16_t)(i / 4);
            memcpy(&high[n_high++], h4, 4);
        }
    }
    cols->n_high[c] = n_high;
    cols->low_sum[c] = low_sum;
    cols->high_sum[c] = high_sum;
    cols->step[c] = step;

    /* The exact logit: lanes16, k / 16 fused operations and five additions. The approximate one: the two sums become floats and are
     * joined, scaled twice, and two bounds are added: under 16 roundings of numbers no larger than |w| (255 |high| + |low|) step. */
    const double u = 0x1p-24, parts = step * (RADIX * sqrt(high_square) + sqrt(low_square));
    cols->by_residual[c] = (float)(sqrt(copy_square) * (1 + 1e-5));
    cols->by_norm[c] = (float)((sqrt(error) + ((double)k / 16 + 8) * u * sqrt(square) + 16 * u * parts) * (1 + 1e-5));
    return true;
}
