/* Operations along a vector, in plain C: the readable statement that the vector_<isa>.c files repeat bit for bit.
 * No intrinsics and no libm function but sqrt, which IEEE 754 fixes. May not be compiled with FMA contraction.
 * Next: ../../bnf_ops.h for the contract, ../../bnf_math.c for exp. */
#include <math.h>
#include <string.h>

#include "bnf_gumbel.h"
#include "bnf_low_rank.h"
#include "kernels_scalar.h"
#include "lanes_scalar.h"

void bnf_rmsnorm_scalar(const float *x, const float *w, int64_t n, float eps, float *y)
{
    float lane[16] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % 16] = bnf_fmaf(x[i], x[i], lane[i % 16]);
    const float mean = bnf_fold16_scalar(lane) / (float)n;
    const float r = 1.0f / sqrtf(mean + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

void bnf_add_scalar(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

void bnf_scale_scalar(float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= a;
}

static void bnf_low_rank_block(const float *b, int64_t rank, int n_tiles, const float *u, int64_t u_stride, int n_cols, float s, float *y,
                               int64_t y_stride)
{
    for (int tile = 0; tile < n_tiles; tile++)
        for (int c = 0; c < n_cols; c++)
            for (int lane = 0; lane < BNF_LOW_RANK_ROWS; lane++) {
                float *const out = y + c * y_stride + tile * BNF_LOW_RANK_ROWS + lane;
                float z = 0;
                for (int64_t r = 0; r < rank; r++)
                    z = bnf_fmaf(b[(tile * rank + r) * BNF_LOW_RANK_ROWS + lane], u[c * u_stride + r], z);
                *out = bnf_fmaf(s, z, *out);
            }
}

BNF_LOW_RANK_FUNCTION(scalar, 1, 1)

void bnf_silu_mul_scalar(const float *g, const float *u, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (g[i] / (1.0f + bnf_expf(-g[i]))) * u[i];
}

void bnf_relu2_mul_scalar(const float *g, const float *u, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        const float r = g[i] > 0.0f ? g[i] : 0.0f; /* a NaN compares false */
        y[i] = (r * r) * u[i];
    }
}

void bnf_exp_scalar(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = bnf_expf(x[i]);
}

/* (a, b) turned by the angle whose cosine and sine are c and s. */
static void rotate_pair(float *a, float *b, float c, float s)
{
    const float turned_a = *a * c - *b * s;
    const float turned_b = *a * s + *b * c;
    *a = turned_a;
    *b = turned_b;
}

void bnf_rope_scalar(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox)
{
    const int64_t n_pairs = n_rot / 2;
    const int64_t step = neox ? 1 : 2;           /* from pair to pair */
    const int64_t apart = neox ? n_pairs : 1;    /* from a to its b */
    for (int64_t h = 0; h < n_heads; h++, x += d)
        for (int64_t i = 0; i < n_pairs; i++)
            rotate_pair(&x[i * step], &x[i * step + apart], cos_sin[2 * i], cos_sin[2 * i + 1]);
}

void bnf_store_kv_f16_scalar(const float *x, int64_t n, void *y)
{
    uint16_t *half = y;
    for (int64_t i = 0; i < n; i++)
        half[i] = bnf_f32_to_f16(x[i]);
}

void bnf_store_kv_f32_scalar(const float *x, int64_t n, void *y)
{
    memcpy(y, x, (size_t)n * sizeof *x);
}

BNF_GUMBEL_BOUNDS_FUNCTION(scalar)
