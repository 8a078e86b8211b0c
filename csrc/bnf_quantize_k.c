/* Q2_K to Q6_K: super-blocks of 256, whose groups of 16 or 32 each have a scale (and a minimum) in a few bits. A search finds the groups'
 * scales (bnf_fit.h); here they are rounded to a common unit, and codes are chosen anew for what the rounded scales mean. The bits of
 * llama.cpp's quantize_row_q*_K_ref, and with an importance matrix of quantize_row_q*_K_impl (ggml-quants.c): every float operation
 * stands as written, none is fused. May not allocate or fail. Next: bnf_layout.h for the formats. */
#include "bnf_quantize_parts.h"

#include "bitnet_ffi.h"

#define TINY 1e-15f /* scales no larger than this are all zeros */

/* Codes of n numbers for x = step code - min, shifted by `zero` and within [0, high]. A step of 0 keeps the codes that there are. */
static void recode(const float *x, int n, float step, float min, int zero, int high, uint8_t *codes)
{
    if (step == 0.0f)
        return;
    for (int i = 0; i < n; i++)
        codes[i] = (uint8_t)clamp(bnf_fit_nearest((x[i] + min) / step) + zero, 0, high);
}

/* Two low bits of 256 codes. */
static void put_pairs(const uint8_t *codes, uint8_t *qs)
{
    for (int h = 0; h < 2; h++, codes += 128, qs += 32)
        for (int i = 0; i < 32; i++)
            qs[i] = (uint8_t)((codes[i] & 3) | (codes[i + 32] & 3) << 2 | (codes[i + 64] & 3) << 4 | (codes[i + 96] & 3) << 6);
}

/* Bit `bit` of 256 codes: of every 32nd in one byte. */
static void put_high_bits(const uint8_t *codes, int bit, uint8_t *qh)
{
    memset(qh, 0, 32);
    for (int i = 0; i < SUPER; i++)
        qh[i % 32] = (uint8_t)(qh[i % 32] | (codes[i] >> bit & 1) << (i / 32));
}

static float largest(const float *x, int n)
{
    float top = 0.0f;
    for (int i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* What a group weighs as a whole. */
static void lane_weights(const struct bnf_fit *fit, int lane, int n, float *sums)
{
    for (int g = 0; g < n; g++) {
        sums[g] = 0.0f;
        for (int i = 0; i < fit->n; i++)
            sums[g] += fit->weights[i][lane + g];
    }
}

static float codes_error(const float *x, const float *weights, int n, int most, float inverse)
{
    const float unit = 1 / inverse;
    float error = 0.0f;
    for (int i = 0; i < n; i++) {
        const int code = bnf_fit_nearest(inverse * x[i]);
        const float difference = x[i] - unit * (float)(code < most ? code : most);
        error += weights[i] * difference * difference;
    }
    return error;
}

/* A unit for n numbers that are not negative, and their codes 0 .. most, by weight: the best of a few units, then each code in turn moved
 * to where it would be by the others' best unit, if that explains more. */
static float fit_positive(const float *x, const float *weights, int n, int most, uint8_t codes[HALF])
{
    const float top = largest(x, n);
    memset(codes, 0, HALF);
    if (top < TINY)
        return 0.0f;
    float inverse = (float)most / top, best = codes_error(x, weights, n, most, inverse);
    for (int step = -4; step <= 4; step++) {
        const float other = (0.1f * (float)step + (float)most) / top;
        const float error = step == 0 ? best : codes_error(x, weights, n, most, other);
        if (error < best) {
            best = error;
            inverse = other;
        }
    }
    float along = 0.0f, square = 0.0f;
    for (int i = 0; i < n; i++) {
        const int code = bnf_fit_nearest(inverse * x[i]);
        codes[i] = (uint8_t)(code < most ? code : most);
        along += weights[i] * x[i] * (float)codes[i];
        square += weights[i] * (float)codes[i] * (float)codes[i];
    }
    bool moved = true;
    for (int round = 0; moved && round < 5; round++) {
        moved = false;
        for (int i = 0; i < n; i++) {
            const float w = weights[i], code = (float)codes[i];
            float new_along = along - w * x[i] * code, new_square = square - w * code * code;
            if (!(new_along > 0.0f && new_square > 0.0f))
                continue;
            int new_code = bnf_fit_nearest(x[i] * new_square / new_along);
            new_code = new_code < most ? new_code : most;
            new_along += w * x[i] * (float)new_code;
            new_square += w * (float)new_code * (float)new_code;
            if (new_code != codes[i] && new_along * new_along * square > along * along * new_square) {
                codes[i] = (uint8_t)new_code;
                along = new_along;
                square = new_square;
                moved = true;
            }
        }
    }
    return square > 0.0f ? along / square : 0.0f;
}

/* n numbers in units of the largest, rounded; the unit. */
static float plain_units(const float *x, int n, int most, uint8_t *codes)
{
    const float top = largest(x, n), inverse = top > 0.0f ? (float)most / top : 0.0f;
    for (int i = 0; i < n; i++) {
        const uint8_t code = (uint8_t)bnf_fit_nearest(inverse * x[i]);
        codes[i] = code < most ? code : (uint8_t)most;
    }
    return top / (float)most;
}

/* ---- Q2_K, Q4_K, Q5_K: scales and minima ---- */

/* A super-block whose groups are lanes `lane` and on. */
struct super {
    const struct bnf_fit *fit;
    const float *x;
    int lane;
    bool weighted;
};

/* Scales and minima in units, codes for what these mean. */
static void settle(const struct super *s, int most_units, uint8_t *d, uint8_t *dmin, uint8_t *scales, uint8_t *mins, uint8_t *codes)
{
    const struct bnf_fit *fit = s->fit;
    const int n = SUPER / fit->n;
    float unit[2], sums[HALF];
    if (s->weighted) {
        lane_weights(fit, s->lane, n, sums);
        unit[0] = fit_positive(fit->scale + s->lane, sums, n, most_units, scales);
        unit[1] = fit_positive(fit->min + s->lane, sums, n, most_units, mins);
    } else {
        unit[0] = plain_units(fit->scale + s->lane, n, most_units, scales);
        unit[1] = plain_units(fit->min + s->lane, n, most_units, mins);
    }
    unit[0] = store_f16(d, unit[0]);
    unit[1] = store_f16(dmin, unit[1]);
    for (int g = 0; g < n; g++) {
        uint8_t *const group = codes + g * fit->n;
        lane_codes(fit, s->lane + g, group);
        recode(s->x + g * fit->n, fit->n, unit[0] * (float)scales[g], unit[1] * (float)mins[g], 0, fit->most, group);
    }
}

static void put_q2_k(const struct super *s, uint8_t *block)
{
    uint8_t scales[HALF], mins[HALF], codes[SUPER];
    settle(s, 15, block + 80, block + 82, scales, mins, codes);
    for (int g = 0; g < HALF; g++)
        block[g] = (uint8_t)(scales[g] | mins[g] << 4);
    put_pairs(codes, block + 16);
}

static void put_k4(const struct super *s, uint8_t *block)
{
    uint8_t scales[HALF], mins[HALF], codes[SUPER], *packed = block + 4, *qs = block + 16;
    settle(s, 63, block, block + 2, scales, mins, codes);
    for (int g = 0; g < 4; g++) {
        packed[g] = (uint8_t)(scales[g] | scales[g + 4] >> 4 << 6);
        packed[g + 4] = (uint8_t)(mins[g] | mins[g + 4] >> 4 << 6);
        packed[g + 8] = (uint8_t)((scales[g + 4] & 15) | (mins[g + 4] & 15) << 4);
    }
    if (s->fit->most == 31) {
        put_high_bits(codes, 4, qs);
        qs += 32;
    }
    for (int i = 0; i < SUPER / 2; i++)
        qs[i] = (uint8_t)((codes[i / 32 * 64 + i % 32] & 15) | (codes[i / 32 * 64 + i % 32 + 32] & 15) << 4);
}

/* ---- Q3_K, Q6_K: scales with a sign ---- */

/* Scales of 16 groups as numbers 0 .. 63 around 32; their unit. */
static float q3_units(const struct super *s, uint8_t *scales)
{
    const float *found = s->fit->scale;
    const float top = extreme(found, HALF);
    memset(scales, 0, HALF);
    if (top == 0.0f)
        return 0.0f;
    const float inverse = -32.0f / top;
    for (int g = 0; g < HALF; g++)
        scales[g] = (uint8_t)(32 + clamp(bnf_fit_nearest(inverse * found[g]), -32, 31));
    return 1 / inverse;
}

/* The same by weight. */
static float q3_units_weighted(const struct bnf_ops *ops, const struct super *s, uint8_t *scales)
{
    struct bnf_fit fit = {.most = 32, .n = HALF};
    float sums[HALF];
    lane_weights(s->fit, 0, HALF, sums);
    for (int g = 0; g < HALF; g++) {
        fit.x[g][0] = s->fit->scale[g];
        fit.weights[g][0] = sums[g];
    }
    ops->fit_symmetric(&fit);
    lane_codes(&fit, 0, scales);
    return fit.scale[0];
}

static void put_q3_k(const struct bnf_ops *ops, const struct super *s, uint8_t *block)
{
    uint8_t scales[HALF], codes[SUPER];
    const float unit = store_f16(block + 108, s->weighted ? q3_units_weighted(ops, s, scales) : q3_units(s, scales));
    for (int g = 0; g < HALF; g++) {
        lane_codes(s->fit, g, codes + g * HALF);
        recode(s->x + g * HALF, HALF, unit * (float)(scales[g] - 32), 0.0f, 4, 7, codes + g * HALF);
    }
    put_high_bits(codes, 2, block);
    put_pairs(codes, block + 32);
    for (int g = 0; g < 8; g++)
        block[96 + g] = (uint8_t)((scales[g] & 15) | (scales[g + 8] & 15) << 4);
    for (int g = 0; g < 4; g++)
        block[104 + g] = (uint8_t)(scales[g] >> 4 | scales[g + 4] >> 4 << 2 | scales[g + 8] >> 4 << 4 | scales[g + 12] >> 4 << 6);
}

static void put_q6_k(const struct super *s, uint8_t *block)
{
    const float top = extreme(s->fit->scale, HALF);
    uint8_t codes[SUPER], *low = block, *high = block + 128;
    memset(block, 0, 210);
    if (fabsf(top) < TINY)
        return;
    const float inverse = -128.0f / top, unit = store_f16(block + 208, 1 / inverse);
    for (int g = 0; g < HALF; g++) {
        const int scale = clamp(bnf_fit_nearest(inverse * s->fit->scale[g]), -128, 127);
        block[192 + g] = (uint8_t)(int8_t)scale;
        lane_codes(s->fit, g, codes + g * HALF);
        recode(s->x + g * HALF, HALF, unit * (float)scale, 0.0f, 32, 63, codes + g * HALF);
    }
    for (int h = 0; h < 2; h++, low += 64, high += 32)
        for (int i = 0; i < 32; i++) {
            const uint8_t *c = codes + 128 * h + i, a = c[0], b = c[32], d = c[64], e = c[96];
            low[i] = (uint8_t)((a & 15) | (d & 15) << 4);
            low[i + 32] = (uint8_t)((b & 15) | (e & 15) << 4);
            high[i] = (uint8_t)(a >> 4 | b >> 4 << 2 | d >> 4 << 4 | e >> 4 << 6);
        }
}

/* ---- all ---- */

/* Weights without an importance matrix: of Q4_K and Q5_K a group's root mean square more than the magnitude, of Q2_K the magnitude, of
 * the others the square. */
static void weigh(struct bnf_fit *fit, int32_t type)
{
    float mean[BNF_FIT_LANES] = {0.0f};
    if (type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K) {
        for (int i = 0; i < fit->n; i++)
            for (int g = 0; g < BNF_FIT_LANES; g++)
                mean[g] += fit->x[i][g] * fit->x[i][g];
        for (int g = 0; g < BNF_FIT_LANES; g++)
            mean[g] = sqrtf(mean[g] / (float)fit->n);
    }
    const bool square = type == GGML_TYPE_Q3_K || type == GGML_TYPE_Q6_K;
    for (int i = 0; i < fit->n; i++)
        for (int g = 0; g < BNF_FIT_LANES; g++)
            fit->weights[i][g] = square ? fit->x[i][g] * fit->x[i][g] : mean[g] + fabsf(fit->x[i][g]);
}

/* Weights of a super-block's groups. Q6_K takes the importance as it is. */
static void weigh_super(struct bnf_fit *fit, int32_t type, int lane, const float *x, const float *importance)
{
    const float sum = type == GGML_TYPE_Q6_K ? 0.0f : energy(x, SUPER);
    const float variance = (type == GGML_TYPE_Q2_K ? sum : 2 * sum) / SUPER;
    for (int g = 0; g < SUPER / fit->n; g++, importance += fit->n)
        if (type == GGML_TYPE_Q6_K)
            for (int i = 0; i < fit->n; i++)
                fit->weights[i][g] = importance[i];
        else
            weigh_lane(fit, lane + g, importance, variance);
}

static void search_for(struct bnf_fit *fit, int32_t type, bool weighted)
{
    switch (type) {
    case GGML_TYPE_Q2_K: *fit = (struct bnf_fit){.most = 3, .first = -0.5f, .step = 0.1f, .n_steps = 15, .absolute = true}; break;
    case GGML_TYPE_Q3_K: *fit = (struct bnf_fit){.most = 4}; break;
    case GGML_TYPE_Q4_K: *fit = (struct bnf_fit){.most = 15, .first = -1.0f, .step = 0.1f, .n_steps = 20}; break;
    case GGML_TYPE_Q5_K: *fit = (struct bnf_fit){.most = 31, .first = -0.5f, .step = 0.1f, .n_steps = 15}; break;
    default: *fit = (struct bnf_fit){.most = 32}; break;
    }
    if (weighted && fit->n_steps > 0) {
        fit->first = -0.9f;
        fit->step = 0.05f;
        fit->n_steps = 36;
        fit->absolute = false;
        fit->bounded = true;
    }
}

void bnf_quantize_k(const struct bnf_ops *ops, int32_t type, const float *x, int64_t n, const float *importance, int64_t per_row,
                    uint8_t *dst)
{
    const int len = type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K ? BLOCK : HALF, groups = SUPER / len;
    const int size = bnf_type_traits(type)->block_size;
    struct bnf_fit fit;
    struct super s = {.fit = &fit, .weighted = importance != NULL};
    search_for(&fit, type, s.weighted);
    for (int64_t i = 0; i < n; i += BNF_FIT_LANES / groups) {
        const int n_here = (int)(n - i < BNF_FIT_LANES / groups ? n - i : BNF_FIT_LANES / groups);
        fill_lanes(&fit, len, x + i * SUPER, n_here * groups);
        if (!s.weighted)
            weigh(&fit, type);
        for (int b = 0; b < n_here && s.weighted; b++)
            weigh_super(&fit, type, b * groups, x + (i + b) * SUPER, importance + (i + b) % per_row * SUPER);
        if (type == GGML_TYPE_Q3_K || type == GGML_TYPE_Q6_K)
            (type == GGML_TYPE_Q3_K && !s.weighted ? ops->fit_exchange : ops->fit_symmetric)(&fit);
        else
            ops->fit_offset(&fit);
        for (int b = 0; b < n_here; b++) {
            uint8_t *const block = dst + (i + b) * size;
            s.x = x + (i + b) * SUPER;
            s.lane = b * groups;
            switch (type) {
            case GGML_TYPE_Q2_K: put_q2_k(&s, block); break;
            case GGML_TYPE_Q3_K: put_q3_k(ops, &s, block); break;
            case GGML_TYPE_Q6_K: put_q6_k(&s, block); break;
            default: put_k4(&s, block); break;
            }
        }
    }
}
