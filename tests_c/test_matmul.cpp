/* Products of every weight type: every table gives scalar's bits, and scalar agrees with the plain sum in double over the
 * values that bnf_dequantize reads. */
#include <catch2/catch.hpp>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

std::vector<int64_t> inner_lengths(int32_t type)
{
    if (type == GGML_TYPE_I2_S)
        return {64, 128, 192, 256, 384, 1984, 2560, 6912};
    switch (traits(type).block_len) {
    case 1: return {1, 2, 7, 8, 15, 16, 17, 31, 33, 100, 1037};
    case 32: return {32, 64, 96, 160, 256, 288, 576, 1056, 6912};
    default: return {256, 512, 768, 2560, 6912};
    }
}

void require_same(const Weights &w, const Activations &x, int64_t row0, int64_t row1)
{
    const std::vector<float> expected = multiply(table("scalar"), w, x, row0, row1);
    for (const Table *ops : other_tables()) {
        INFO(ops->name << ' ' << traits(w.w.type).name << ", k = " << w.w.k << ", columns = " << x.n_cols << ", rows " << row0
                       << " to " << row1 << " of " << w.w.m);
        REQUIRE(same_bits(expected, multiply(*ops, w, x, row0, row1)));
    }
}

struct Reference {
    double value;
    double magnitude; /* sum of the absolute values of all terms, each as it stands before scale and minimum are subtracted */
};

/* sum w_i x_i of one row and column in double, where x_i is the activation that the product sees. */
Reference reference(const Weights &weights, const Activations &x, int64_t row, int64_t col)
{
    const bnf_matrix w = weights.matrix();
    Weights minima = weights; /* all codes zero: what is left of an element is its minimum */
    for (size_t i = 0; i < minima.n_blocks(); i++)
        for (int j = format(w.type).codes_begin; j < format(w.type).codes_end; j++)
            minima.block(i)[j] = 0;
    const bool has_min = format(w.type).codes_end > 0;
    std::vector<float> value(static_cast<size_t>(w.k)), min(value.size(), 0.0f);
    bnf_dequantize(w.type, w.data, w.scale, row * w.k, w.k, value.data());
    if (has_min)
        bnf_dequantize(w.type, minima.data.data(), w.scale, row * w.k, w.k, min.data());

    Reference out{0.0, 0.0};
    for (int64_t i = 0; i < w.k; i++) {
        const size_t at = static_cast<size_t>(i);
        const size_t q_at = static_cast<size_t>(col * x.q_stride + i);
        double a;
        if (x.kind == BNF_ACT_F32)
            a = static_cast<double>(x.f[static_cast<size_t>(col * x.f_stride + i)]);
        else if (x.kind == BNF_ACT_Q8_ROW)
            a = x.q[q_at] / static_cast<double>(x.scale[static_cast<size_t>(col)]);
        else
            a = x.q[q_at] * static_cast<double>(x.scale[q_at / 32]);
        out.value += static_cast<double>(value[at]) * a;
        out.magnitude += (std::fabs(static_cast<double>(value[at])) + 2.0 * std::fabs(static_cast<double>(min[at]))) * std::fabs(a);
    }
    return out;
}

/* Rounding steps that an element's term can see. bnf_dequantize: at most 4 (d * sub, * code, min * m, the difference).
 * Floats: k / 16 fma of its lane and 4 levels of the tree. Ternary: one fma per 256, then a division and, for I2_S, a product.
 * Blocks: one product of scales, then one or two fma per 32. Integer sums are below 2^24 and so exact as floats. */
double rounding_steps(int32_t type, int64_t k)
{
    const double blocks = static_cast<double>(k) / 32.0;
    switch (traits(type).act) {
    case BNF_ACT_F32: return static_cast<double>(k) / 16.0 + 1.0 + 4.0;
    case BNF_ACT_Q8_ROW: return static_cast<double>(k) / 256.0 + 1.0 + 2.0 + 1.0;
    default: return 4.0 + 1.0 + (format(type).codes_end > 0 ? 2.0 : 1.0) * blocks;
    }
}

}  // namespace

TEST_CASE("test_matmul_every_type_is_in_every_table")
{
    for (const Format &f : formats())
        for (const Table *const *ops = bnf_ops_all(); *ops; ops++)
            REQUIRE((*ops)->matmul[f.type] != nullptr);
}

TEST_CASE("test_matmul_same_bits_for_any_k_and_columns")
{
    unsigned seed = 1;
    for (const Format &f : formats())
        for (const int64_t k : inner_lengths(f.type)) {
            const int64_t m = k > 1000 ? 6 : 34; /* I2_S: k * m divides by 128 */
            const Weights w = random_weights(f.type, k, m, seed++, true);
            for (const int64_t n_cols : {1, 2, 3, 4, 5, 8, 17}) {
                require_same(w, random_activations(f.type, k, n_cols, seed++), 0, m);
            }
        }
}

TEST_CASE("test_matmul_same_bits_for_any_rows")
{
    unsigned seed = 1000;
    for (const Format &f : formats()) {
        const int64_t k = 256, m = 41;
        const Weights w = random_weights(f.type, k, m, seed++, true);
        for (const int64_t n_cols : {1, 4}) {
            const Activations x = random_activations(f.type, k, n_cols, seed++);
            for (const int64_t row0 : {0, 1, 7, 16, 40})
                for (const int64_t row1 : {1, 2, 9, 20, 31, 40, 41})
                    if (row0 < row1)
                        require_same(w, x, row0, row1);
        }
    }
}

TEST_CASE("test_matmul_same_bits_for_more_columns_than_a_group")
{
    unsigned seed = 2000;
    for (const Format &f : formats())
        require_same(random_weights(f.type, 256, 5, seed, true), random_activations(f.type, 256, 67, seed + 1), 0, 5);
}

TEST_CASE("test_matmul_columns_do_not_see_each_other")
{
    unsigned seed = 3000;
    for (const Format &f : formats()) {
        const int64_t k = 512, m = 19, n_cols = 7;
        const Weights w = random_weights(f.type, k, m, seed++, false);
        const Activations x = random_activations(f.type, k, n_cols, seed++);
        for (const Table *const *ops = bnf_ops_all(); *ops; ops++) {
            if (((*ops)->needs & ~bnf_cpu_features()) != 0)
                continue;
            const std::vector<float> together = multiply(**ops, w, x, 0, m);
            for (int64_t c = 0; c < n_cols; c++) {
                const std::vector<float> column(x.f.begin() + c * k, x.f.begin() + (c + 1) * k);
                const std::vector<float> alone = multiply(**ops, w, prepare(table("scalar"), x.kind, column, k), 0, m);
                INFO((*ops)->name << ' ' << traits(f.type).name << ", column " << c);
                REQUIRE(same_bits(alone.data() + 1, together.data() + 1 + c * (m + 3), static_cast<size_t>(m)));
            }
        }
    }
}

TEST_CASE("test_matmul_same_bits_at_the_largest_codes")
{
    for (const Format &f : formats())
        for (const uint8_t fill : {0x00, 0x7f, 0x80, 0xff}) /* Q8_0 weights and Q6_K scales of -128 among them */
            for (const float sign : {1.0f, -1.0f}) {
                if (traits(f.type).block_len == 1)
                    continue;
                const int64_t k = 8192;
                const Weights w = constant_weights(f.type, k, 3, fill);
                for (const size_t n_cols : {1, 3}) {
                    const std::vector<float> x(static_cast<size_t>(k) * n_cols, sign);
                    require_same(w, prepare(table("scalar"), traits(f.type).act, x, k), 0, 3);
                }
            }
}

TEST_CASE("test_matmul_i2_s_is_exact_where_int16_sums_would_wrap")
{
    const int64_t k = 8192;
    for (const uint8_t fill : {0xaa /* +1 */, 0xff /* the unused code, +2 */, 0x55 /* 0 */, 0x00 /* -1 */})
        for (const Table *const *ops = bnf_ops_all(); *ops; ops++)
            for (const size_t n_cols : {1, 4}) {
                if (((*ops)->needs & ~bnf_cpu_features()) != 0)
                    continue;
                const Weights w = constant_weights(GGML_TYPE_I2_S, k, 4, fill);
                const Activations x = prepare(table("scalar"), BNF_ACT_Q8_ROW, std::vector<float>(k * n_cols, 1.0f), k);
                const float dot = static_cast<float>(((fill & 3) - 1) * 127 * k);
                INFO((*ops)->name << ", byte " << int(fill));
                REQUIRE(multiply(**ops, w, x, 0, 4)[1] == dot / x.scale[0] * 0.75f);
            }
}

TEST_CASE("test_matmul_lanes_beyond_the_end_keep_minus_zero")
{
    /* Sixteen products and the seventeenth all underflow to -0. A kernel that adds +0 to the fifteen lanes beyond the end
     * turns them, and the sum, into +0. */
    for (const int32_t type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        const int64_t k = 17;
        Weights w = constant_weights(type, k, 3, 0);
        const float tiny = -0x1p-100f;
        for (size_t i = 0; i < static_cast<size_t>(3 * k); i++)
            if (type == GGML_TYPE_F32)
                std::memcpy(w.data.data() + 4 * i, &tiny, 4);
            else
                set_half(w.data.data() + 2 * i, type == GGML_TYPE_F16 ? 0x8001 : 0x8d80); /* -2^-24, -2^-100 */
        const Activations x = prepare(table("scalar"), BNF_ACT_F32, std::vector<float>(static_cast<size_t>(2 * k), 0x1p-140f), k);
        REQUIRE(std::signbit(multiply(table("scalar"), w, x, 0, 3)[1]));
        require_same(w, x, 0, 3);
    }
}

TEST_CASE("test_matmul_scalar_is_near_the_sum_in_double")
{
    unsigned seed = 4000;
    for (const Format &f : formats())
        for (const int64_t k : {256, 768, 1024}) {
            const int64_t m = 3, n_cols = 2;
            const Weights w = random_weights(f.type, k, m, seed++, false);
            const Activations x = random_activations(f.type, k, n_cols, seed++);
            const std::vector<float> y = multiply(table("scalar"), w, x, 0, m);
            for (int64_t c = 0; c < n_cols; c++)
                for (int64_t r = 0; r < m; r++) {
                    const Reference expected = reference(w, x, r, c);
                    /* Every step adds at most U of the sum of magnitudes; 1.01 covers their compounding, (1 + U)^n, and
                     * the sum in double. */
                    const double tolerance = 1.01 * rounding_steps(f.type, k) * U * expected.magnitude;
                    INFO(traits(f.type).name << ", k = " << k << ", row " << r << ", column " << c << ": tolerance " << tolerance);
                    const double found = static_cast<double>(y[static_cast<size_t>(1 + c * (m + 3) + r)]);
                    REQUIRE(std::fabs(found - expected.value) <= tolerance);
                }
        }
}
