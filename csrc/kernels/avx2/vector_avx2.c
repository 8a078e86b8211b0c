/* Operations along a vector, 8 floats at a time; the last few through masked loads and stores, which stay out of the loops
 * (a masked store is many micro-operations on AMD before Zen 4). Same bits as ../scalar/vector_scalar.c, which says what
 * each does. Each step loads before it stores, so y may be x, g or u.
 * Next: attention_avx2.c. */
#include <string.h>

#include "bnf_gumbel.h"
#include "bnf_low_rank.h"
#include "kernels_avx2.h"
#include "math_avx2.h"

void bnf_rmsnorm_avx2(const float *x, const float *w, int64_t n, float eps, float *y)
{
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    /* Beyond the end 0 * 0, which leaves a sum of squares as it is. */
    const __m256 a = bnf_load_some_avx2(x + i, n - i), b = bnf_load_some_avx2(x + i + 8, n - i - 8);
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
    const float mean = bnf_fold16_avx2(low, high) / (float)n;
    const __m256 r = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + eps))));

    for (i = 0; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), r), _mm256_loadu_ps(w + i)));
    const __m256 scaled = _mm256_mul_ps(bnf_load_some_avx2(x + i, n - i), r);
    bnf_store_some_avx2(y + i, n - i, _mm256_mul_ps(scaled, bnf_load_some_avx2(w + i, n - i)));
}

void bnf_add_avx2(float *x, const float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    const __m256 sum = _mm256_add_ps(bnf_load_some_avx2(x + i, n - i), bnf_load_some_avx2(y + i, n - i));
    bnf_store_some_avx2(x + i, n - i, sum);
}

void bnf_scale_avx2(float *x, float a, int64_t n)
{
    const __m256 factor = _mm256_set1_ps(a);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
    bnf_store_some_avx2(x + i, n - i, _mm256_mul_ps(bnf_load_some_avx2(x + i, n - i), factor));
}

/* z[column][half]: a tile of sixteen rows in two registers. One tile by four columns are 8 sums; one column has four tiles instead. */
BNF_ALWAYS_INLINE void low_rank_tiles(const float *b, int64_t rank, const int n_tiles, const float *u, int64_t u_stride,
                                      const int n_cols, float s, float *y, int64_t y_stride)
{
    __m256 z[4][8];
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < 2 * n_tiles; i++)
            z[c][i] = _mm256_setzero_ps();
    for (int64_t r = 0; r < rank; r++)
        for (int c = 0; c < n_cols; c++) {
            const __m256 ur = _mm256_set1_ps(u[c * u_stride + r]);
            for (int i = 0; i < 2 * n_tiles; i++)
                z[c][i] = _mm256_fmadd_ps(_mm256_loadu_ps(b + (i / 2 * rank + r) * 16 + i % 2 * 8), ur, z[c][i]);
        }
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < 2 * n_tiles; i++) {
            float *const out = y + c * y_stride + i * 8;
            _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_set1_ps(s), z[c][i], _mm256_loadu_ps(out)));
        }
}

BNF_ALWAYS_INLINE void bnf_low_rank_block(const float *b, int64_t rank, int n_tiles, const float *u, int64_t u_stride, int n_cols,
                                          float s, float *y, int64_t y_stride)
{
    if (n_tiles == 4 && n_cols == 1)
        low_rank_tiles(b, rank, 4, u, u_stride, 1, s, y, y_stride);
    else
        for (int i = 0; i < n_tiles; i++)
            if (n_cols == 4)
                low_rank_tiles(b + i * rank * 16, rank, 1, u, u_stride, 4, s, y + i * 16, y_stride);
            else
                low_rank_tiles(b + i * rank * 16, rank, 1, u, u_stride, 1, s, y + i * 16, y_stride);
}

BNF_LOW_RANK_FUNCTION(avx2, 4, 4)

static __m256 silu_mul(__m256 g, __m256 u)
{
    const __m256 minus_g = _mm256_xor_ps(g, _mm256_set1_ps(-0.0f));
    return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), bnf_exp_lanes_avx2(minus_g))), u);
}

void bnf_silu_mul_avx2(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, silu_mul(_mm256_loadu_ps(g + i), _mm256_loadu_ps(u + i)));
    bnf_store_some_avx2(y + i, n - i, silu_mul(bnf_load_some_avx2(g + i, n - i), bnf_load_some_avx2(u + i, n - i)));
}

static __m256 relu2_mul(__m256 g, __m256 u)
{
    const __m256 r = _mm256_max_ps(g, _mm256_setzero_ps()); /* the second operand when g is NaN, or when both are zeros */
    return _mm256_mul_ps(_mm256_mul_ps(r, r), u);
}

void bnf_relu2_mul_avx2(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, relu2_mul(_mm256_loadu_ps(g + i), _mm256_loadu_ps(u + i)));
    bnf_store_some_avx2(y + i, n - i, relu2_mul(bnf_load_some_avx2(g + i, n - i), bnf_load_some_avx2(u + i, n - i)));
}

void bnf_exp_avx2(const float *x, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, bnf_exp_lanes_avx2(_mm256_loadu_ps(x + i)));
    bnf_store_some_avx2(y + i, n - i, bnf_exp_lanes_avx2(bnf_load_some_avx2(x + i, n - i)));
}

/* Rotations leave no rest to plain C: GCC 12 makes a vfmaddsub of the pair a * c - b * s, a * s + b * c written there, even
 * with -ffp-contract=off, and that is one rounding too few. `left` does not change in a loop over heads, so the branches
 * of load_part and store_part are taken out of it. */
static __m256 load_part(const float *x, int64_t left)
{
    return left >= 8 ? _mm256_loadu_ps(x) : bnf_load_some_avx2(x, left);
}

static void store_part(float *x, int64_t left, __m256 value)
{
    if (left >= 8)
        _mm256_storeu_ps(x, value);
    else
        bnf_store_some_avx2(x, left, value);
}

/* Even and odd elements of 16:   c0 s0 c1 s1 | c2 s2 c3 s3,  c4 s4 c5 s5 | c6 s6 c7 s7   ->   c0 c1 c4 c5 | c2 c3 c6 c7,
 * and the middle two quarters swapped. */
static __m256 every_second(__m256 low, __m256 high, const int odd)
{
    const __m256 picked = odd ? _mm256_shuffle_ps(low, high, 0xdd) : _mm256_shuffle_ps(low, high, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(picked), 0xd8));
}

/* Pairs (i, i + n_pairs): 8 pairs a step, all heads for one step, so that cos_sin is taken apart once. */
static void rope_neox(float *x, int64_t n_heads, int64_t d, int64_t n_pairs, const float *cos_sin)
{
    for (int64_t i = 0; i < n_pairs; i += 8) {
        const int64_t left = n_pairs - i;
        const __m256 low = bnf_load_some_avx2(cos_sin + 2 * i, 2 * left);
        const __m256 high = bnf_load_some_avx2(cos_sin + 2 * i + 8, 2 * left - 8);
        const __m256 c = every_second(low, high, 0);
        const __m256 s = every_second(low, high, 1);
        for (int64_t h = 0; h < n_heads; h++) {
            float *const at_a = x + h * d + i;
            float *const at_b = at_a + n_pairs;
            const __m256 a = load_part(at_a, left), b = load_part(at_b, left);
            store_part(at_a, left, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
            store_part(at_b, left, _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c)));
        }
    }
}

/* Pairs (2i, 2i + 1), 4 pairs a step:
 *    x        a0 b0 a1 b1 ...      times  c0 c0 c1 c1 ...
 *    swapped  b0 a0 b1 a1 ...      times  s0 s0 s1 s1 ...     subtracted in even lanes, added in odd ones */
static void rope_adjacent(float *x, int64_t n_heads, int64_t d, int64_t n_pairs, const float *cos_sin)
{
    for (int64_t i = 0; i < 2 * n_pairs; i += 8) {
        const int64_t left = 2 * n_pairs - i;
        const __m256 cs = bnf_load_some_avx2(cos_sin + i, left);
        const __m256 cc = _mm256_moveldup_ps(cs);
        const __m256 ss = _mm256_movehdup_ps(cs);
        for (int64_t h = 0; h < n_heads; h++) {
            const __m256 ab = load_part(x + h * d + i, left);
            const __m256 crossed = _mm256_mul_ps(_mm256_permute_ps(ab, 0xb1), ss);
            store_part(x + h * d + i, left, _mm256_addsub_ps(_mm256_mul_ps(ab, cc), crossed));
        }
    }
}

void bnf_rope_avx2(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox)
{
    (neox ? rope_neox : rope_adjacent)(x, n_heads, d, n_rot / 2, cos_sin);
}

void bnf_store_kv_f16_avx2(const float *x, int64_t n, void *y)
{
    uint16_t *const half = y;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(half + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        half[i] = _cvtss_sh(x[i], _MM_FROUND_TO_NEAREST_INT);
}

void bnf_store_kv_f32_avx2(const float *x, int64_t n, void *y)
{
    memcpy(y, x, (size_t)n * sizeof *x);
}

BNF_GUMBEL_BOUNDS_FUNCTION(avx2)
