/* The head's copies. Twelve bits: for every table that has them, the product equals scalar's product of the floats they were made
 * from, bit for bit. The screen: in every table, no logit of scalar's product lies above its bound. */
#include <catch2/catch.hpp>

#include <memory>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

/* Floats that came from bfloat16, as the type's bits. */
Weights short_weights(int32_t type, int64_t k, int64_t m, unsigned seed, float sigma)
{
    Weights out = constant_weights(type, k, m, 0);
    const std::vector<float> x = normal_floats(static_cast<size_t>(k * m), seed, sigma);
    for (size_t i = 0; i < x.size(); i++) {
        const float value = bnf_float_of_bits(bnf_bits_of_float(x[i]) & 0xffff0000);
        const uint32_t bits = bnf_bits_of_float(value);
        if (type == GGML_TYPE_F32)
            std::memcpy(out.data.data() + 4 * i, &bits, 4);
        else
            set_half(out.data.data() + 2 * i, type == GGML_TYPE_F16 ? bnf_f32_to_f16(value) : static_cast<uint16_t>(bits >> 16));
    }
    return out;
}

void set(Weights &w, int64_t row, int64_t i, float value)
{
    const int64_t at = row * w.w.k + i;
    const uint32_t bits = bnf_bits_of_float(value);
    if (w.w.type == GGML_TYPE_F32)
        std::memcpy(w.data.data() + 4 * at, &bits, 4);
    else
        set_half(w.data.data() + 2 * at, w.w.type == GGML_TYPE_F16 ? bnf_f32_to_f16(value) : static_cast<uint16_t>(bits >> 16));
}

struct Memory {
    std::vector<uint8_t> bytes;
    uint8_t *begin;

    explicit Memory(size_t size) : bytes(size + 64, 0xee)
    {
        begin = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    }
};

std::vector<const Table *> tables_of_twelve_bits()
{
    std::vector<const Table *> out;
    for (const Table *ops : other_tables())
        if (ops->pack_f12)
            out.push_back(ops);
    return out;
}

const int32_t float_types[] = {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_F32};

bool pack(const Table &ops, const Weights &weights, Memory &packed)
{
    const bnf_matrix w = weights.matrix();
    return ops.pack_f12(&w, 0, w.m, packed.begin);
}

void require_same(const Weights &weights, int64_t n_cols, unsigned seed, int64_t row0, int64_t row1)
{
    const Activations x = random_activations(weights.w.type, weights.w.k, n_cols, seed);
    const std::vector<float> expected = multiply(table("scalar"), weights, x, row0, row1);
    for (const Table *ops : tables_of_twelve_bits()) {
        INFO(ops->name << ' ' << traits(weights.w.type).name << ", k = " << weights.w.k << ", m = " << weights.w.m
                       << ", columns = " << n_cols << ", rows " << row0 << " to " << row1);
        bnf_matrix w = weights.matrix();
        Memory packed(bnf_f12_size(&w));
        REQUIRE(pack(*ops, weights, packed));
        w.data = packed.begin;
        w.layout = BNF_TYPE_F12_R4;
        const bnf_act act = x.act();
        const int64_t stride = w.m + 3;
        std::vector<float> y(static_cast<size_t>(1 + stride * n_cols), UNTOUCHED);
        Memory scratch(BNF_MATMUL_SCRATCH(w.k));
        ops->matmul[w.layout](&w, &act, y.data() + 1, stride, row0, row1, scratch.begin);
        REQUIRE(same_bits(expected, y));
    }
}

/* ---- the screen ---- */

struct Screen {
    Memory q;
    std::vector<float> scale, residual, norm;
    bnf_screen s;

    explicit Screen(const bnf_matrix &w)
        : q(ceil_div(w.m, 16) * 16 * static_cast<size_t>(w.k)), scale(ceil_div(w.m, 16) * 16, -1), residual(scale), norm(scale),
          s{w.k, w.m, q.begin, scale.data(), residual.data(), norm.data()}
    {
    }
};

/* Columns of floats whose logits must all be bounded; says so, and how many bounds are no numbers. */
size_t require_bounded(const Table &ops, const Weights &weights, const std::vector<float> &x, int64_t n)
{
    const bnf_matrix w = weights.matrix();
    Screen screen(w);
    ops.screen_pack(&w, 0, w.m, &screen.s);
    bnf_screen_cols cols;
    Memory memory(bnf_screen_cols_size(n, w.k));
    bnf_screen_cols_init(&cols, n, w.k, memory.begin);
    for (int64_t c = 0; c < n; c++)
        REQUIRE(bnf_screen_operand(&cols, c, x.data() + c * w.k));
    const int64_t stride = static_cast<int64_t>(ceil_div(w.m, 16)) * 16;
    std::vector<float> upper(static_cast<size_t>(stride * n), UNTOUCHED);
    ops.screen_bounds(&screen.s, &cols, upper.data(), stride, 0, w.m);
    const Activations act = prepare(table("scalar"), BNF_ACT_F32, x, w.k);
    const std::vector<float> logits = multiply(table("scalar"), weights, act, 0, w.m);
    size_t n_nan = 0;
    for (int64_t c = 0; c < n; c++)
        for (int64_t r = 0; r < w.m; r++) {
            const float bound = upper[static_cast<size_t>(c * stride + r)], logit = logits[static_cast<size_t>(1 + c * (w.m + 3) + r)];
            INFO(ops.name << ' ' << traits(w.type).name << ", k = " << w.k << ", column " << c << " of " << n << ", row " << r
                          << ": logit " << logit << ", bound " << bound);
            REQUIRE(!(bound < logit));
            n_nan += bound != bound;
        }
    return n_nan;
}

std::vector<const Table *> all_tables()
{
    std::vector<const Table *> out = other_tables();
    out.push_back(&table("scalar"));
    return out;
}

}  // namespace

TEST_CASE("test_twelve_bits_same_bits_for_any_k_and_columns")
{
    unsigned seed = 1;
    for (const int32_t type : float_types)
        for (const int64_t k : {64, 128, 576, 2560}) {
            const Weights w = short_weights(type, k, 37, seed++, 0.02f);
            for (const int64_t n_cols : {1, 2, 3, 4, 5, 9})
                require_same(w, n_cols, seed++, 0, 37);
        }
}

TEST_CASE("test_twelve_bits_same_bits_for_any_rows")
{
    const Weights w = short_weights(GGML_TYPE_F16, 192, 50, 7, 0.02f);
    for (const int64_t row0 : {0, 4, 24, 48})
        for (const int64_t row1 : {row0 + 1, row0 + 4, int64_t{50}})
            if (row1 <= 50)
                require_same(w, 2, 8, row0, row1);
}

TEST_CASE("test_twelve_bits_hold_exceptions")
{
    for (const int32_t type : float_types) {
        Weights w = short_weights(type, 256, 24, 11, 0.02f);
        for (int64_t i = 0; i < 256; i++)
            set(w, 9, i, 0); /* a row of zeros */
        for (int64_t i = 0; i < 60; i++) { /* numbers with more bits, subnormals, outliers, both zeros */
            set(w, 1, 3 * i, 0.3f + 0.001f * static_cast<float>(i));
            set(w, 5, 4 * i, 0x1p-24f * static_cast<float>(i - 30));
            set(w, 13, 4 * i, i % 2 ? 60000.0f : -0.0f);
        }
        require_same(w, 1, 12, 0, 24);
        require_same(w, 3, 13, 0, 24);
    }
}

TEST_CASE("test_twelve_bits_hold_infinities")
{
    for (const int32_t type : float_types) {
        Weights w = short_weights(type, 128, 8, 15, 0.02f);
        set(w, 2, 5, std::numeric_limits<float>::infinity());
        set(w, 7, 127, -std::numeric_limits<float>::infinity());
        require_same(w, 1, 16, 0, 8);
        require_same(w, 2, 17, 0, 8);
    }
}

TEST_CASE("test_twelve_bits_refuse_what_would_lose_something")
{
    for (const Table *ops : tables_of_twelve_bits())
        for (const int32_t type : {GGML_TYPE_F16, GGML_TYPE_F32}) {
            const Weights w = random_weights(type, 256, 8, 21, false); /* mantissas use all bits */
            const bnf_matrix matrix = w.matrix();
            Memory packed(bnf_f12_size(&matrix));
            REQUIRE(!pack(*ops, w, packed));
        }
}

TEST_CASE("test_screen_bounds_every_logit")
{
    unsigned seed = 1;
    for (const Table *ops : all_tables())
        for (const int32_t type : float_types)
            for (const int64_t k : {64, 576}) {
                const Weights plain = short_weights(type, k, 41, seed++, 0.02f), wild = random_weights(type, k, 41, seed++, true);
                for (int64_t n = 1; n <= 12; n++) {
                    REQUIRE(require_bounded(*ops, plain, normal_floats(static_cast<size_t>(k * n), seed++, 3.0f), n) == 0);
                    require_bounded(*ops, wild, normal_floats(static_cast<size_t>(k * n), seed++, 3.0f), n);
                }
            }
}

TEST_CASE("test_screen_bounds_operands_of_any_shape")
{
    const int64_t k = 256;
    for (const Table *ops : all_tables()) {
        const Weights w = short_weights(GGML_TYPE_F16, k, 64, 31, 0.05f);
        std::vector<float> x = normal_floats(static_cast<size_t>(5 * k), 32, 1.0f);
        for (size_t i = 0; i < 256; i++) {
            x[i] = 0;
            x[256 + i] *= i % 50 == 7 ? 1000.0f : 0.01f; /* outliers */
            x[512 + i] = 1e30f * x[512 + i];
            x[768 + i] = i == 77 ? -2.5f : 0;
            x[1024 + i] = std::exp(x[1024 + i] * 4.0f);
        }
        REQUIRE(require_bounded(*ops, w, x, 5) == 0);
    }
}

TEST_CASE("test_screen_bound_of_a_row_that_is_not_finite_is_no_number")
{
    for (const Table *ops : all_tables())
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity()}) {
            Weights w = short_weights(GGML_TYPE_F16, 64, 16, 41, 0.05f);
            set(w, 3, 9, bad);
            const std::vector<float> x = normal_floats(64, 42, 1.0f);
            REQUIRE(require_bounded(*ops, w, x, 1) == 1);
        }
}

/* The integers are exact, so that what tables disagree about is a few roundings. */
TEST_CASE("test_screen_bounds_of_tables_agree")
{
    const int64_t k = 2560, m = 48, n = 7;
    const Weights weights = short_weights(GGML_TYPE_F16, k, m, 51, 0.02f);
    const bnf_matrix w = weights.matrix();
    const std::vector<float> x = normal_floats(static_cast<size_t>(k * n), 52, 2.0f);
    bnf_screen_cols cols;
    Memory memory(bnf_screen_cols_size(n, k));
    bnf_screen_cols_init(&cols, n, k, memory.begin);
    for (int64_t c = 0; c < n; c++)
        REQUIRE(bnf_screen_operand(&cols, c, x.data() + c * k));
    std::vector<float> first;
    for (const Table *ops : all_tables()) {
        Screen screen(w);
        ops->screen_pack(&w, 0, m, &screen.s);
        std::vector<float> upper(static_cast<size_t>(m * n));
        ops->screen_bounds(&screen.s, &cols, upper.data(), m, 0, m);
        if (first.empty())
            first = upper;
        for (size_t i = 0; i < upper.size(); i++)
            REQUIRE(std::fabs(upper[i] - first[i]) <= 1e-4f * (1 + std::fabs(first[i])));
    }
}

TEST_CASE("test_screen_refuses_operands_without_numbers")
{
    std::vector<float> x = normal_floats(64, 61, 1.0f);
    bnf_screen_cols cols;
    Memory memory(bnf_screen_cols_size(1, 64));
    bnf_screen_cols_init(&cols, 1, 64, memory.begin);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        x[33] = bad;
        REQUIRE(!bnf_screen_operand(&cols, 0, x.data()));
    }
    for (float &value : x)
        value = 1e-38f;
    REQUIRE(!bnf_screen_operand(&cols, 0, x.data()));
}
