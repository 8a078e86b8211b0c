/* Operations along a vector, 16 floats at a time, every access under a mask of the lanes that exist, so that the last 16
 * need no code of their own (on Zen 4 an all-ones mask costs nothing: 2560 floats in 0.25 us with and without).
 * Same bits as ../scalar/vector_scalar.c, which says what each does. Each step loads before it stores, so y may be x, g or u.
 * Next: attention_avx512vnni.c. */
#include <string.h>

#include "bnf_gumbel.h"
#include "bnf_low_rank.h"
#include "kernels_avx512vnni.h"
#include "math_avx512vnni.h"

void bnf_rmsnorm_avx512vnni(const float *x, const float *w, int64_t n, float eps, float *y)
{
    __m512 squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        const __m512 xi = _mm512_maskz_loadu_ps(live, x + i);
        squares = _mm512_fmadd_ps(xi, xi, squares); /* beyond the end 0 * 0, which leaves a sum of squares as it is */
    }
    const float mean = bnf_fold16_avx512vnni(squares) / (float)n;
    const __m512 r = _mm512_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + eps))));
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(live, x + i), r);
        _mm512_mask_storeu_ps(y + i, live, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(live, w + i)));
    }
}

void bnf_add_avx512vnni(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        const __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(live, x + i), _mm512_maskz_loadu_ps(live, y + i));
        _mm512_mask_storeu_ps(x + i, live, sum);
    }
}

void bnf_scale_avx512vnni(float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        _mm512_mask_storeu_ps(x + i, live, _mm512_mul_ps(_mm512_maskz_loadu_ps(live, x + i), _mm512_set1_ps(a)));
    }
}

/* z[column][tile]: sixteen rows in a register. Four tiles by four columns are 16 sums, and a step of r loads 8 numbers or vectors for 16
 * fmas. */
BNF_ALWAYS_INLINE void low_rank_tiles(const float *b, int64_t rank, const int n_tiles, const float *u, int64_t u_stride,
                                      const int n_cols, float s, float *y, int64_t y_stride)
{
    __m512 z[4][4];
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < n_tiles; i++)
            z[c][i] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rank; r++)
        for (int c = 0; c < n_cols; c++) {
            const __m512 ur = _mm512_set1_ps(u[c * u_stride + r]);
            for (int i = 0; i < n_tiles; i++)
                z[c][i] = _mm512_fmadd_ps(_mm512_loadu_ps(b + (i * rank + r) * 16), ur, z[c][i]);
        }
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < n_tiles; i++) {
            float *const out = y + c * y_stride + i * 16;
            _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_set1_ps(s), z[c][i], _mm512_loadu_ps(out)));
        }
}

BNF_ALWAYS_INLINE void bnf_low_rank_block(const float *b, int64_t rank, int n_tiles, const float *u, int64_t u_stride, int n_cols,
                                          float s, float *y, int64_t y_stride)
{
    if (n_tiles == 4 && n_cols == 4)
        low_rank_tiles(b, rank, 4, u, u_stride, 4, s, y, y_stride);
    else if (n_tiles == 4)
        low_rank_tiles(b, rank, 4, u, u_stride, 1, s, y, y_stride);
    else
        for (int i = 0; i < n_tiles; i++)
            if (n_cols == 4)
                low_rank_tiles(b + i * rank * 16, rank, 1, u, u_stride, 4, s, y + i * 16, y_stride);
            else
                low_rank_tiles(b + i * rank * 16, rank, 1, u, u_stride, 1, s, y + i * 16, y_stride);
}

BNF_LOW_RANK_FUNCTION(avx512vnni, 4, 4)

void bnf_silu_mul_avx512vnni(const float *g, const float *u, int64_t n, float *y)
{
    const __m512 sign = _mm512_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        const __m512 gi = _mm512_maskz_loadu_ps(live, g + i);
        const __m512 denominator = _mm512_add_ps(_mm512_set1_ps(1.0f), bnf_exp_lanes_avx512vnni(_mm512_xor_ps(gi, sign)));
        const __m512 silu = _mm512_div_ps(gi, denominator);
        _mm512_mask_storeu_ps(y + i, live, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(live, u + i)));
    }
}

void bnf_relu2_mul_avx512vnni(const float *g, const float *u, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        /* maxps gives its second operand when the first is NaN, or when both are zeros. */
        const __m512 r = _mm512_max_ps(_mm512_maskz_loadu_ps(live, g + i), _mm512_setzero_ps());
        _mm512_mask_storeu_ps(y + i, live, _mm512_mul_ps(_mm512_mul_ps(r, r), _mm512_maskz_loadu_ps(live, u + i)));
    }
}

void bnf_exp_avx512vnni(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        _mm512_mask_storeu_ps(y + i, live, bnf_exp_lanes_avx512vnni(_mm512_maskz_loadu_ps(live, x + i)));
    }
}

/* Pairs (i, i + n_pairs): 16 pairs a step, all heads for one step, so that cos_sin is taken apart once.
 *    cos_sin  c0 s0 c1 s1 ... c15 s15   ->   c0 ... c15 and s0 ... s15 */
static void rope_neox(float *x, int64_t n_heads, int64_t d, int64_t n_pairs, const float *cos_sin)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (int64_t i = 0; i < n_pairs; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n_pairs - i);
        const int64_t left = 2 * (n_pairs - i);
        const __m512 low = _mm512_maskz_loadu_ps(bnf_live16_avx512vnni(left), cos_sin + 2 * i);
        const __m512 high = _mm512_maskz_loadu_ps(bnf_live16_avx512vnni(left > 16 ? left - 16 : 0), cos_sin + 2 * i + 16);
        const __m512 c = _mm512_permutex2var_ps(low, even, high);
        const __m512 s = _mm512_permutex2var_ps(low, odd, high);
        for (int64_t h = 0; h < n_heads; h++) {
            float *const at_a = x + h * d + i;
            float *const at_b = at_a + n_pairs;
            const __m512 a = _mm512_maskz_loadu_ps(live, at_a);
            const __m512 b = _mm512_maskz_loadu_ps(live, at_b);
            _mm512_mask_storeu_ps(at_a, live, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
            _mm512_mask_storeu_ps(at_b, live, _mm512_add_ps(_mm512_mul_ps(a, s), _mm512_mul_ps(b, c)));
        }
    }
}

/* Pairs (2i, 2i + 1), 8 pairs a step:
 *    x        a0 b0 a1 b1 ...      times  c0 c0 c1 c1 ...
 *    swapped  b0 a0 b1 a1 ...      times  s0 s0 s1 s1 ...     subtracted in even lanes, added in odd ones */
static void rope_adjacent(float *x, int64_t n_heads, int64_t d, int64_t n_pairs, const float *cos_sin)
{
    for (int64_t i = 0; i < 2 * n_pairs; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(2 * n_pairs - i);
        const __m512 cs = _mm512_maskz_loadu_ps(live, cos_sin + i);
        const __m512 cc = _mm512_moveldup_ps(cs);
        const __m512 ss = _mm512_movehdup_ps(cs);
        for (int64_t h = 0; h < n_heads; h++) {
            float *const at = x + h * d + i;
            const __m512 ab = _mm512_maskz_loadu_ps(live, at);
            const __m512 straight = _mm512_mul_ps(ab, cc);
            const __m512 crossed = _mm512_mul_ps(_mm512_permute_ps(ab, 0xb1), ss);
            const __m512 sum = _mm512_add_ps(straight, crossed);
            _mm512_mask_storeu_ps(at, live, _mm512_mask_sub_ps(sum, 0x5555, straight, crossed));
        }
    }
}

void bnf_rope_avx512vnni(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox)
{
    (neox ? rope_neox : rope_adjacent)(x, n_heads, d, n_rot / 2, cos_sin);
}

void bnf_store_kv_f16_avx512vnni(const float *x, int64_t n, void *y)
{
    uint16_t *const half = y;
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 live = bnf_live16_avx512vnni(n - i);
        const __m512 xi = _mm512_maskz_loadu_ps(live, x + i);
        _mm256_mask_storeu_epi16(half + i, live, _mm512_cvtps_ph(xi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

void bnf_store_kv_f32_avx512vnni(const float *x, int64_t n, void *y)
{
    memcpy(y, x, (size_t)n * sizeof *x);
}

BNF_GUMBEL_BOUNDS_FUNCTION(avx512vnni)
