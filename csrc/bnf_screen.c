/* The screen of the head: see bnf_screen.h. By Cauchy and Schwarz, for a row w, its copy w^, an operand x and its copy x^:
 *   |w x - w^ x^| <= |w - w^| |x| + |w^| |x - x^|
 * and the float sums on both sides round: lanes16 over k / 16 elements a lane and five more additions, k / 32 blocks with three
 * roundings each. Norms are summed in double and rounded up to float. */
#include "bnf_screen.h"

#include "bnf_bytes.h"
#include "bnf_math.h"

#include <math.h>
#include <string.h>

#define LANES 8 /* independent sums, so that the compiler may use vectors without reordering any */

static double sum_lanes(const double lanes[LANES])
{
    double sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
}

static float round_up(double x)
{
    return (float)(x * (1 + 1e-6)); /* half an ulp of float is 6e-8 */
}

void bnf_screen_rows(const struct bnf_matrix *head, int64_t row0, int64_t row1, const struct bnf_screen *screen, float *row)
{
    const int64_t k = head->k;
    for (int64_t r = row0; r < row1; r++) {
        double residual[LANES] = {0}, own[LANES] = {0}, copy[LANES] = {0};
        uint8_t *block = (uint8_t *)(uintptr_t)screen->q8.data + (uint64_t)r * screen->q8.row_size;
        bnf_dequantize(head->type, head->data, head->scale, r * k, k, row);
        for (int64_t b = 0; b < k; b += 32, block += 34) {
            float largest = 0;
            for (int i = 0; i < 32; i++) {
                const float a = fabsf(row[b + i]);
                largest = a > largest ? a : largest;
            }
            const uint16_t half = bnf_f32_to_f16(largest / 127);
            const float d = bnf_f16_to_f32(half), inverse = d > 0 ? 1 / d : 0;
            float copied[32];
            for (int i = 0; i < 32; i++) {
                float q = row[b + i] * inverse;
                q = q > -127 ? q : -127;
                q = q < 127 ? q : 127;
                q = (q + 12582912.0f) - 12582912.0f; /* to the nearest integer: 1.5 * 2^23 has no fraction bits */
                block[2 + i] = (uint8_t)(int8_t)q;
                copied[i] = q * d;
            }
            memcpy(block, &half, sizeof half);
            for (int i = 0; i < 32; i++) {
                const double w = row[b + i], c = copied[i];
                residual[i % LANES] += (w - c) * (w - c);
                own[i % LANES] += w * w;
                copy[i % LANES] += c * c;
            }
        }
        const double norm2 = fmax(sum_lanes(own), sum_lanes(copy));
        ((float *)(uintptr_t)screen->residual)[r] = round_up(sqrt(sum_lanes(residual)));
        ((float *)(uintptr_t)screen->norm)[r] = round_up(sqrt(norm2));
    }
}

struct bnf_screen_error bnf_screen_operand(const float *x, int64_t k, const int8_t *q, const float *d)
{
    double x2 = 0, copy2 = 0, error2 = 0;
    for (int64_t i = 0; i < k; i++) {
        const double copy = (double)q[i] * d[i / 32];
        x2 += (double)x[i] * x[i];
        copy2 += copy * copy;
        error2 += (x[i] - copy) * (x[i] - copy);
    }
    const double u = 0x1p-24;
    const double exact_rounding = ((double)k / 16 + 8) * u * sqrt(x2), approximate_rounding = ((double)k / 32 + 4) * u * sqrt(copy2);
    return (struct bnf_screen_error){
        .x_norm = sqrt(x2) * (1 + 1e-9),
        .x_error = (sqrt(error2) + exact_rounding + approximate_rounding) * (1 + 1e-6),
    };
}
