/* The functions of bnf_fit.h in vectors of whatever width the including file is compiled for: kernels/<isa>/fit_<isa>.c. No sum crosses
 * lanes and nothing is fused, so all tables give the same bits. May not allocate, and may not branch on what differs between lanes:
 * both sides are computed and one is picked. Next: bnf_quantize_k.c. */
#ifndef BNF_FIT_LANES_H
#define BNF_FIT_LANES_H

#include "bnf_fit.h"

#if defined(__AVX512F__)
#include <immintrin.h>
enum { WIDTH = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif

typedef float floats __attribute__((vector_size(WIDTH * 4), may_alias));
typedef int32_t ints __attribute__((vector_size(WIDTH * 4), may_alias));

#define LANES static inline __attribute__((always_inline))

#define SHIFT 12582912.0f /* bnf_fit_nearest */
#define TINY 1e-15f       /* a group no larger than this is all zeros */

LANES floats all(float x)
{
    return x - (floats){0.0f};
}

LANES floats at(const float row[BNF_FIT_LANES], int lane)
{
    return *(const floats *)(const void *)(row + lane);
}

LANES void put(float row[BNF_FIT_LANES], int lane, floats x)
{
    *(floats *)(void *)(row + lane) = x;
}

/* By lane: yes ? a : b. */
LANES floats pick(ints yes, floats a, floats b)
{
    return (floats)((yes & (ints)a) | (~yes & (ints)b));
}

/* a < b ? a : b and a > b ? a : b, so b where one is NaN. */
LANES floats smaller(floats a, floats b)
{
#if defined(__AVX512F__)
    return (floats)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (floats)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return pick(a < b, a, b);
#endif
}

LANES floats larger(floats a, floats b)
{
#if defined(__AVX512F__)
    return (floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return pick(a > b, a, b);
#endif
}

LANES floats magnitude(floats x)
{
    return (floats)((ints)x & 0x7fffffff);
}

LANES bool any(ints yes)
{
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)yes, (__m512i)yes) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)yes, (__m256i)yes);
#else
    return (yes[0] | yes[1] | yes[2] | yes[3]) != 0;
#endif
}

/* bnf_fit_nearest in every lane, between low and high. */
LANES floats wrapped(floats x, float low, float high)
{
    const ints wide = ((ints)(x + SHIFT) & 0x7fffff) - 0x400000;
    return larger(all(low), smaller(all(high), __builtin_convertvector(wide, floats)));
}

/* The same where |x| < 2^22. */
LANES floats rounded(floats x, float low, float high)
{
    return larger(all(low), smaller(all(high), (x + SHIFT) - SHIFT));
}

/* ---- a scale and a minimum ---- */

LANES floats offset_error(floats code, floats scale, floats low, floats x, floats weight, bool absolute)
{
    const floats difference = scale * code + low - x;
    if (absolute)
        return weight * magnitude(difference);
    return weight * (difference * difference);
}

LANES floats offset_code(floats x, float most, bool bounded)
{
    if (bounded)
        return (smaller(larger(x, all(0.0f)), all(most)) + SHIFT) - SHIFT;
    return wrapped(x, 0.0f, most);
}

/* The line through (code, x), by weighted least squares, for codes that ever finer scales give; the first of the best. A minimum found
 * on the way replaces the smallest number in what follows, and may come so close to the largest that codes have no bound: `bounded`
 * says what then happens, and both are llama.cpp's, with and without an importance matrix. */
LANES void fit_offset_lanes(struct bnf_fit *f, int lane, bool absolute, bool bounded)
{
    const float most = (float)f->most;
    floats low = at(f->x[0], lane), high = low, sum_w = at(f->weights[0], lane), sum_x = sum_w * low;
    for (int i = 1; i < f->n; i++) {
        const floats x = at(f->x[i], lane), w = at(f->weights[i], lane);
        low = smaller(x, low);
        high = larger(x, high);
        sum_w += w;
        sum_x += w * x;
    }
    low = smaller(all(0.0f), low);
    const ints live = high > low;
    floats inverse = most / (high - low), scale = 1.0f / inverse, error = all(0.0f);
    for (int i = 0; i < f->n; i++) {
        const floats x = at(f->x[i], lane), code = wrapped(inverse * (x - low), 0.0f, most);
        put(f->codes[i], lane, code);
        error += offset_error(code, scale, low, x, at(f->weights[i], lane), absolute);
    }
    floats tried[BNF_FIT_MOST];
    for (int s = 0; s <= f->n_steps; s++) {
        floats sum_l = all(0.0f), sum_l2 = sum_l, sum_xl = sum_l;
        inverse = (f->first + f->step * (float)s + most) / (high - low);
        for (int i = 0; i < f->n; i++) {
            const floats x = at(f->x[i], lane), code = offset_code(inverse * (x - low), most, bounded);
            const floats w_code = at(f->weights[i], lane) * code;
            tried[i] = code;
            sum_l += w_code;
            sum_l2 += w_code * code;
            sum_xl += w_code * x;
        }
        const floats determinant = sum_w * sum_l2 - sum_l * sum_l;
        floats new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant, new_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        const ints above = new_low > 0.0f;
        new_low = pick(above, all(0.0f), new_low);
        new_scale = pick(above, sum_xl / sum_l2, new_scale);
        floats new_error = all(0.0f);
        for (int i = 0; i < f->n; i++)
            new_error += offset_error(tried[i], new_scale, new_low, at(f->x[i], lane), at(f->weights[i], lane), absolute);
        const ints better = (determinant > 0.0f) & (new_error < error);
        if (!any(better))
            continue;
        for (int i = 0; i < f->n; i++)
            put(f->codes[i], lane, pick(better, tried[i], at(f->codes[i], lane)));
        error = pick(better, new_error, error);
        scale = pick(better, new_scale, scale);
        low = pick(live & better, new_low, low);
    }
    for (int i = 0; i < f->n; i++)
        put(f->codes[i], lane, pick(live, at(f->codes[i], lane), all(0.0f)));
    put(f->scale, lane, pick(live, scale, all(0.0f)));
    put(f->min, lane, -low);
}

/* ---- a scale alone ---- */

/* The number of largest magnitude in each lane, the first of several; 0: all are zero. */
LANES floats extreme(const struct bnf_fit *f, int lane, ints *live)
{
    floats largest = all(0.0f), value = largest;
    for (int i = 0; i < f->n; i++) {
        const floats x = at(f->x[i], lane), a = magnitude(x);
        value = pick(a > largest, x, value);
        largest = larger(a, largest);
    }
    *live = largest >= TINY;
    return value;
}

LANES void put_symmetric(struct bnf_fit *f, int lane, ints live, floats inverse)
{
    const float most = (float)f->most;
    for (int i = 0; i < f->n; i++)
        put(f->codes[i], lane, pick(live, rounded(inverse * at(f->x[i], lane), -most, most - 1) + most, all(0.0f)));
}

/* How well codes of a scale fit: the best scale for them is along / square, and then along^2 / square of the weighted energy is said. */
LANES void symmetric_sums(const struct bnf_fit *f, int lane, floats inverse, floats *along, floats *square)
{
    const float most = (float)f->most;
    *along = *square = all(0.0f);
    for (int i = 0; i < f->n; i++) {
        const floats x = at(f->x[i], lane), w = at(f->weights[i], lane), code = rounded(inverse * x, -most, most - 1);
        *along += w * x * code;
        *square += w * code * code;
    }
}

/* The best of the scales that map the extreme number to -most - step / 10, step -9 .. 9. */
LANES void fit_symmetric_lanes(struct bnf_fit *f, int lane)
{
    ints live;
    const floats top = extreme(f, lane, &live);
    floats inverse = -(float)f->most / top, along, square;
    symmetric_sums(f, lane, inverse, &along, &square);
    floats scale = pick(square != 0.0f, along / square, all(0.0f)), best = scale * along;
    for (int step = -9; step <= 9; step++) {
        if (step == 0)
            continue;
        const floats other = -((float)f->most + 0.1f * (float)step) / top;
        symmetric_sums(f, lane, other, &along, &square);
        const ints better = (square > 0.0f) & (along * along > best * square);
        scale = pick(better, along / square, scale);
        best = pick(better, scale * along, best);
        inverse = pick(better, other, inverse);
    }
    put_symmetric(f, lane, live, inverse);
    put(f->scale, lane, pick(live, scale, all(0.0f)));
}

/* Codes of the plain scale, then each in turn moved to where it would be by the others' best scale, if that explains more; five rounds. */
LANES void fit_exchange_lanes(struct bnf_fit *f, int lane)
{
    const float most = (float)f->most;
    ints live;
    const floats inverse = -most / extreme(f, lane, &live);
    floats along = all(0.0f), square = along, codes[BNF_FIT_MOST];
    for (int i = 0; i < f->n; i++) {
        const floats x = at(f->x[i], lane), w = x * x;
        codes[i] = rounded(inverse * x, -most, most - 1);
        along += w * x * codes[i];
        square += w * codes[i] * codes[i];
    }
    for (int round = 0; round < 5; round++) {
        ints moved = {0};
        for (int i = 0; i < f->n; i++) {
            const floats x = at(f->x[i], lane), w = x * x, code = codes[i];
            floats new_along = along - w * x * code, new_square = square - w * code * code;
            ints yes = new_along > 0.0f;
            const floats new_code = wrapped(x * new_square / new_along, -most, most - 1);
            new_along += w * x * new_code;
            new_square += w * new_code * new_code;
            yes &= (new_code != code) & (new_square > 0.0f) & (new_along * new_along * square > along * along * new_square);
            codes[i] = pick(yes, new_code, code);
            along = pick(yes, new_along, along);
            square = pick(yes, new_square, square);
            moved |= yes & live;
        }
        if (!any(moved))
            break;
    }
    for (int i = 0; i < f->n; i++)
        put(f->codes[i], lane, pick(live, codes[i] + most, all(0.0f)));
    put(f->scale, lane, pick(live & (square > 0.0f), along / square, all(0.0f)));
}

/* The functions of a table. */
#define BNF_FIT_FUNCTIONS(isa)                                                                                           \
    void bnf_fit_offset_##isa(struct bnf_fit *fit)                                                                       \
    {                                                                                                                    \
        for (int lane = 0; lane < BNF_FIT_LANES; lane += WIDTH)                                                          \
            if (fit->bounded)                                                                                            \
                fit_offset_lanes(fit, lane, false, true);                                                                \
            else if (fit->absolute)                                                                                      \
                fit_offset_lanes(fit, lane, true, false);                                                                \
            else                                                                                                         \
                fit_offset_lanes(fit, lane, false, false);                                                               \
    }                                                                                                                    \
    void bnf_fit_symmetric_##isa(struct bnf_fit *fit)                                                                    \
    {                                                                                                                    \
        for (int lane = 0; lane < BNF_FIT_LANES; lane += WIDTH)                                                          \
            fit_symmetric_lanes(fit, lane);                                                                              \
    }                                                                                                                    \
    void bnf_fit_exchange_##isa(struct bnf_fit *fit)                                                                     \
    {                                                                                                                    \
        for (int lane = 0; lane < BNF_FIT_LANES; lane += WIDTH)                                                          \
            fit_exchange_lanes(fit, lane);                                                                               \
    }

#endif
