/* Operations along a vector, 4 floats at a time; the last few pass through a small buffer. Same bits as
 * ../scalar/vector_scalar.c, which says what each does. Each step loads before it stores, so y may be x, g or u.
 * Next: attention_neon.c. */
#include <string.h>

#include "bnf_gumbel.h"
#include "bnf_low_rank.h"
#include "kernels_neon.h"
#include "math_neon.h"

void bnf_rmsnorm_neon(const float *x, const float *w, int64_t n, float eps, float *y)
{
    float32x4_t squares[4];
    for (int part = 0; part < 4; part++)
        squares[part] = vdupq_n_f32(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int part = 0; part < 4; part++) {
            const float32x4_t xi = vld1q_f32(x + i + 4 * part);
            squares[part] = vfmaq_f32(squares[part], xi, xi);
        }
    for (int part = 0; part < 4; part++) { /* beyond the end 0 * 0, which leaves a sum of squares as it is */
        const float32x4_t xi = bnf_load_some_neon(x + i + 4 * part, n - i - 4 * part);
        squares[part] = vfmaq_f32(squares[part], xi, xi);
    }
    const float mean = bnf_fold16_neon(squares) / (float)n;
    const float32x4_t r = vdupq_n_f32(1.0f / vget_lane_f32(vsqrt_f32(vdup_n_f32(mean + eps)), 0));

    for (i = 0; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vmulq_f32(vld1q_f32(x + i), r), vld1q_f32(w + i)));
    const float32x4_t scaled = vmulq_f32(bnf_load_some_neon(x + i, n - i), r);
    bnf_store_some_neon(y + i, n - i, vmulq_f32(scaled, bnf_load_some_neon(w + i, n - i)));
}

void bnf_add_neon(float *x, const float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    for (; i < n; i++)
        x[i] += y[i];
}

void bnf_scale_neon(float *x, float a, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), a));
    for (; i < n; i++)
        x[i] *= a;
}

/* z[column][quarter]: a tile of sixteen rows in four registers; four columns are 16 sums. */
BNF_ALWAYS_INLINE void low_rank_tile(const float *b, int64_t rank, const float *u, int64_t u_stride, const int n_cols, float s, float *y,
                                     int64_t y_stride)
{
    float32x4_t z[4][4];
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < 4; i++)
            z[c][i] = vdupq_n_f32(0.0f);
    for (int64_t r = 0; r < rank; r++)
        for (int c = 0; c < n_cols; c++)
            for (int i = 0; i < 4; i++)
                z[c][i] = vfmaq_n_f32(z[c][i], vld1q_f32(b + r * 16 + i * 4), u[c * u_stride + r]);
    for (int c = 0; c < n_cols; c++)
        for (int i = 0; i < 4; i++) {
            float *const out = y + c * y_stride + i * 4;
            vst1q_f32(out, vfmaq_n_f32(vld1q_f32(out), z[c][i], s));
        }
}

BNF_ALWAYS_INLINE void bnf_low_rank_block(const float *b, int64_t rank, int n_tiles, const float *u, int64_t u_stride, int n_cols,
                                          float s, float *y, int64_t y_stride)
{
    for (int i = 0; i < n_tiles; i++)
        if (n_cols == 4)
            low_rank_tile(b + i * rank * 16, rank, u, u_stride, 4, s, y + i * 16, y_stride);
        else
            low_rank_tile(b + i * rank * 16, rank, u, u_stride, 1, s, y + i * 16, y_stride);
}

BNF_LOW_RANK_FUNCTION(neon, 1, 4)

static float32x4_t silu_mul(float32x4_t g, float32x4_t u)
{
    return vmulq_f32(vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), bnf_exp_lanes_neon(vnegq_f32(g)))), u);
}

void bnf_silu_mul_neon(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, silu_mul(vld1q_f32(g + i), vld1q_f32(u + i)));
    bnf_store_some_neon(y + i, n - i, silu_mul(bnf_load_some_neon(g + i, n - i), bnf_load_some_neon(u + i, n - i)));
}

static float32x4_t relu2_mul(float32x4_t g, float32x4_t u)
{
    /* Not vmaxq, which keeps a NaN. */
    const float32x4_t r = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(g), vcgtzq_f32(g)));
    return vmulq_f32(vmulq_f32(r, r), u);
}

void bnf_relu2_mul_neon(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, relu2_mul(vld1q_f32(g + i), vld1q_f32(u + i)));
    bnf_store_some_neon(y + i, n - i, relu2_mul(bnf_load_some_neon(g + i, n - i), bnf_load_some_neon(u + i, n - i)));
}

void bnf_exp_neon(const float *x, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, bnf_exp_lanes_neon(vld1q_f32(x + i)));
    bnf_store_some_neon(y + i, n - i, bnf_exp_lanes_neon(bnf_load_some_neon(x + i, n - i)));
}

/* Every product and sum rounded: vmulq and vaddq, never vfmaq. */
static void rotate(float32x4_t *a, float32x4_t *b, float32x4_t c, float32x4_t s)
{
    const float32x4_t turned_a = vsubq_f32(vmulq_f32(*a, c), vmulq_f32(*b, s));
    const float32x4_t turned_b = vaddq_f32(vmulq_f32(*a, s), vmulq_f32(*b, c));
    *a = turned_a;
    *b = turned_b;
}

/* A head's pair, for the pairs that do not fill a vector. */
static void rotate_pair(float *a, float *b, float c, float s)
{
    const float turned_a = *a * c - *b * s;
    const float turned_b = *a * s + *b * c;
    *a = turned_a;
    *b = turned_b;
}

/* 4 pairs a step, all heads for one step; vld2q takes c0 s0 c1 s1 ... apart into c0 c1 c2 c3 and s0 s1 s2 s3. */
void bnf_rope_neon(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox)
{
    const int64_t n_pairs = n_rot / 2;
    int64_t i = 0;
    for (; i + 4 <= n_pairs; i += 4) {
        const float32x4x2_t cs = vld2q_f32(cos_sin + 2 * i);
        for (int64_t h = 0; h < n_heads; h++)
            if (neox) {
                float *const at_a = x + h * d + i;
                float *const at_b = at_a + n_pairs;
                float32x4_t a = vld1q_f32(at_a), b = vld1q_f32(at_b);
                rotate(&a, &b, cs.val[0], cs.val[1]);
                vst1q_f32(at_a, a);
                vst1q_f32(at_b, b);
            } else {
                float *const at = x + h * d + 2 * i;
                float32x4x2_t ab = vld2q_f32(at);
                rotate(&ab.val[0], &ab.val[1], cs.val[0], cs.val[1]);
                vst2q_f32(at, ab);
            }
    }
    for (; i < n_pairs; i++)
        for (int64_t h = 0; h < n_heads; h++) {
            float *const a = x + h * d + (neox ? i : 2 * i);
            rotate_pair(a, a + (neox ? n_pairs : 1), cos_sin[2 * i], cos_sin[2 * i + 1]);
        }
}

void bnf_store_kv_f16_neon(const float *x, int64_t n, void *y)
{
    uint16_t *const half = y;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(half + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++)
        half[i] = bnf_f32_to_f16(x[i]);
}

void bnf_store_kv_f32_neon(const float *x, int64_t n, void *y)
{
    memcpy(y, x, (size_t)n * sizeof *x);
}

BNF_GUMBEL_BOUNDS_FUNCTION(neon)
