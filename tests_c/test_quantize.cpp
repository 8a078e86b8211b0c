/* Activations to int8 and floats to ternary weights: every table gives scalar's bits, scalar follows the definition, and
 * ternary weights survive the way there and back. */
#include <catch2/catch.hpp>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

constexpr int8_t GUARD = 55;

struct Quantized {
    std::vector<int8_t> q;      /* and 16 guards */
    std::vector<int16_t> sum16; /* and 4 guards */
    std::vector<float> scale;
    int32_t sum = 0;
};

Quantized quantize(const Table &ops, bnf_act_kind kind, const float *x, int64_t k)
{
    const size_t padded = static_cast<size_t>(BNF_PAD64(k));
    Quantized out;
    out.q.assign(padded + 16, GUARD);
    out.sum16.assign(padded / 16 + 4, GUARD);
    out.scale.assign(kind == BNF_ACT_Q8_ROW ? 1 : ceil_div(k, 32), UNTOUCHED);
    if (kind == BNF_ACT_Q8_ROW)
        ops.quantize_row(x, k, out.q.data(), out.scale.data(), &out.sum, out.sum16.data());
    else
        ops.quantize_block(x, k, out.q.data(), out.scale.data(), out.sum16.data());
    return out;
}

std::vector<int8_t> first(const Quantized &a, size_t n) { return {a.q.begin(), a.q.begin() + static_cast<std::ptrdiff_t>(n)}; }

const float NAN32 = std::numeric_limits<float>::quiet_NaN();
const float INF32 = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("test_quantize_same_bits")
{
    for (const Table *ops : other_tables())
        for (const bnf_act_kind kind : {BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK})
            for (const int64_t k : sizes())
                for (const unsigned seed : {0u, 1u, 2u}) {
                    const size_t n = static_cast<size_t>(k) + 1;
                    const std::vector<float> x = seed == 2 ? hostile_floats(n, seed) : normal_floats(n, seed);
                    const Quantized expected = quantize(table("scalar"), kind, x.data() + 1, k);
                    const Quantized found = quantize(*ops, kind, x.data() + 1, k);
                    INFO(ops->name << (kind == BNF_ACT_Q8_ROW ? " row" : " block") << ", k = " << k << ", seed " << seed);
                    REQUIRE(expected.q == found.q);
                    REQUIRE(expected.sum16 == found.sum16);
                    REQUIRE(expected.sum == found.sum);
                    REQUIRE(same_bits(expected.scale, found.scale));
                }
}

TEST_CASE("test_quantize_row_follows_the_definition")
{
    const int64_t k = 1000;
    const std::vector<float> x = normal_floats(k, 5);
    float max = 0.0f;
    for (float v : x)
        max = std::fmax(max, std::fabs(v));
    const Quantized a = quantize(table("scalar"), BNF_ACT_Q8_ROW, x.data(), k);
    REQUIRE(a.scale[0] == static_cast<float>(127.0 / static_cast<double>(max)));
    int32_t sum = 0;
    for (size_t i = 0; i < a.q.size() - 16; i++) {
        const float product = i < x.size() ? x[i] * a.scale[0] : 0.0f;
        REQUIRE(static_cast<float>(a.q[i]) == std::nearbyint(product)); /* the default rounding mode: ties to even */
        sum += a.q[i];
    }
    REQUIRE(a.sum == sum);
    for (size_t g = 0; g < a.sum16.size() - 4; g++) {
        int32_t part = 0;
        for (size_t i = 16 * g; i < 16 * g + 16; i++)
            part += a.q[i];
        REQUIRE(a.sum16[g] == part);
    }
    REQUIRE(a.q.back() == GUARD);
    REQUIRE(a.sum16.back() == GUARD);
}

TEST_CASE("test_quantize_rounds_ties_to_even")
{
    const std::vector<float> x = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, 125.5f}; /* scale 1 */
    const std::vector<int8_t> expected = {127, 0, 2, 2, 0, -2, -2, 126, -126, 126};
    for (const bnf_act_kind kind : {BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK}) {
        const Quantized a = quantize(table("scalar"), kind, x.data(), static_cast<int64_t>(x.size()));
        REQUIRE(a.scale[0] == 1.0f);
        REQUIRE(first(a, x.size()) == expected);
    }
}

TEST_CASE("test_quantize_of_zeros")
{
    const std::vector<float> x(64, 0.0f);
    const Quantized row = quantize(table("scalar"), BNF_ACT_Q8_ROW, x.data(), 64);
    REQUIRE(row.scale[0] == static_cast<float>(127.0 / 1e-5));
    REQUIRE(first(row, 64) == std::vector<int8_t>(64, 0));
    const Quantized block = quantize(table("scalar"), BNF_ACT_Q8_BLOCK, x.data(), 64);
    REQUIRE(block.scale == std::vector<float>{0.0f, 0.0f});
    REQUIRE(first(block, 64) == std::vector<int8_t>(64, 0));
}

TEST_CASE("test_quantize_passes_over_nan_in_the_maximum")
{
    const std::vector<float> x = {NAN32, 127.0f, -3.0f, NAN32};
    const std::vector<int8_t> expected = {-127, 127, -3, -127};
    for (const bnf_act_kind kind : {BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK}) {
        const Quantized a = quantize(table("scalar"), kind, x.data(), 4);
        REQUIRE(a.scale[0] == 1.0f);
        REQUIRE(first(a, 4) == expected);
    }
}

TEST_CASE("test_quantize_of_infinity")
{
    const std::vector<float> x = {INF32, 5.0f, -INF32};
    const std::vector<int8_t> expected = {-127, 0, -127}; /* the scale is 0, and infinity * 0 is NaN */
    for (const bnf_act_kind kind : {BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK})
        REQUIRE(first(quantize(table("scalar"), kind, x.data(), 3), 3) == expected);
}

TEST_CASE("test_quantize_ternary_weights_is_lossless")
{
    const int64_t k = 512, m = 6;
    const float scale = GENERATE(1.0f, 0.0123291015625f /* fits f16 */, 6.103515625e-05f, 65504.0f);
    const int32_t type = GENERATE(GGML_TYPE_I2_S, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0);
    std::mt19937 random(7);
    std::vector<float> x(static_cast<size_t>(k * m));
    for (float &v : x)
        v = scale * static_cast<float>(static_cast<int>(random() % 3) - 1);
    std::vector<uint8_t> data(static_cast<size_t>(bnf_tensor_size(type, k, m)) + 1, 0xee);
    REQUIRE(bnf_quantize(type, x.data(), k, m, data.data()) == 0);
    REQUIRE(data.back() == 0xee);
    float stored = 1.0f;
    if (type == GGML_TYPE_I2_S)
        std::memcpy(&stored, data.data() + k * m / 4, sizeof stored);
    std::vector<float> back(x.size());
    bnf_dequantize(type, data.data(), stored, 0, k * m, back.data());
    REQUIRE(back == x);
    /* and from the middle of the tensor on */
    bnf_dequantize(type, data.data(), stored, 2 * k, k, back.data());
    REQUIRE(std::equal(x.begin() + 2 * k, x.begin() + 3 * k, back.begin()));
}

TEST_CASE("test_quantize_i2_s_rows_inside_a_group")
{
    const int64_t k = 64, m = 6; /* k * m divides by 128, k does not */
    std::mt19937 random(8);
    std::vector<float> x(static_cast<size_t>(k * m)), row(static_cast<size_t>(k));
    for (float &v : x)
        v = static_cast<float>(static_cast<int>(random() % 3) - 1);
    x[0] = 1.0f;
    std::vector<uint8_t> data(static_cast<size_t>(k * m / 4 + 32));
    REQUIRE(bnf_quantize(GGML_TYPE_I2_S, x.data(), k, m, data.data()) == 0);
    bnf_dequantize(GGML_TYPE_I2_S, data.data(), 1.0f, 3 * k, k, row.data());
    REQUIRE(std::equal(row.begin(), row.end(), x.begin() + 3 * k));
}

TEST_CASE("test_quantize_refuses")
{
    std::vector<float> x(256, 1.0f);
    std::vector<uint8_t> data(1024);
    REQUIRE(bnf_quantize(GGML_TYPE_I2_S, x.data(), 100, 1, data.data()) == BITNET_ERROR);
    REQUIRE(bnf_quantize(GGML_TYPE_TQ2_0, x.data(), 128, 2, data.data()) == BITNET_ERROR);
    REQUIRE(bnf_quantize(GGML_TYPE_IQ2_XXS, x.data(), 256, 1, data.data()) == BITNET_ERROR);
    for (const float bad : {NAN32, INF32, -INF32}) {
        x[200] = bad;
        REQUIRE(bnf_quantize(GGML_TYPE_I2_S, x.data(), 256, 1, data.data()) == BITNET_ERROR);
        REQUIRE(bnf_quantize(GGML_TYPE_TQ2_0, x.data(), 256, 1, data.data()) == BITNET_ERROR);
    }
    x[200] = 70000.0f; /* beyond f16 */
    REQUIRE(bnf_quantize(GGML_TYPE_TQ2_0, x.data(), 256, 1, data.data()) == BITNET_ERROR);
    REQUIRE(bnf_quantize(GGML_TYPE_I2_S, x.data(), 256, 1, data.data()) == 0);
}
