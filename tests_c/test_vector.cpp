/* The vector operations: every table gives scalar's bits, and scalar is close to the plain definition in double. */
#include <catch2/catch.hpp>

#include <functional>
#include <utility>

#include "float_checks.hpp"

using namespace float_checks;

namespace {

/* One operation as the comparison sees it: x is in and out, u, v are inputs; x keeps a guard behind its n elements. */
using Operation = std::function<void(const Table &, float *x, const float *u, int64_t n)>;
constexpr size_t GUARD = 17;

/* Runs the operation in every table on ordinary and hostile floats, at an address that is only float aligned. */
void check_same_as_scalar(const Operation &operation)
{
    const Table &scalar = table("scalar");
    for (const Table *ops : other_tables())
        for (const int64_t n : sizes())
            for (const bool hostile : {false, true}) {
                const auto floats = hostile ? +[](size_t size, unsigned seed) { return hostile_floats(size, seed); }
                                            : +[](size_t size, unsigned seed) { return normal_floats(size, seed, 4.0f); };
                const size_t size = 1 + static_cast<size_t>(n) + GUARD;
                const std::vector<float> u = floats(size, static_cast<unsigned>(n) + 1000);
                std::vector<float> expected = floats(size, static_cast<unsigned>(n));
                std::vector<float> found = expected;
                operation(scalar, expected.data() + 1, u.data() + 1, n);
                operation(*ops, found.data() + 1, u.data() + 1, n);
                INFO(ops->name << ", n = " << n << (hostile ? ", hostile" : ""));
                REQUIRE(same_bits(expected, found));
            }
}

}  // namespace

TEST_CASE("test_rmsnorm_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) {
        const std::vector<float> in(x, x + n);
        ops.rmsnorm(in.data(), u, n, 1e-5f, x);
    });
}

TEST_CASE("test_rmsnorm_in_place")
{
    for (const Table *ops : other_tables())
        for (const int64_t n : sizes()) {
            const std::vector<float> w = normal_floats(static_cast<size_t>(n), 1);
            std::vector<float> x = normal_floats(static_cast<size_t>(n), 2);
            std::vector<float> apart(x.size());
            ops->rmsnorm(x.data(), w.data(), n, 1e-5f, apart.data());
            ops->rmsnorm(x.data(), w.data(), n, 1e-5f, x.data());
            REQUIRE(same_bits(x, apart));
        }
}

TEST_CASE("test_rmsnorm_of_vanishing_squares")
{
    /* Every square underflows to 0; with eps = 0 the result is x / 0. */
    for (const Table *ops : other_tables())
        for (const int64_t n : sizes()) {
            const std::vector<float> x(static_cast<size_t>(n), 0x1p-120f), w(static_cast<size_t>(n), 1.0f);
            std::vector<float> expected(x.size()), found(x.size());
            table("scalar").rmsnorm(x.data(), w.data(), n, 0.0f, expected.data());
            ops->rmsnorm(x.data(), w.data(), n, 0.0f, found.data());
            REQUIRE(same_bits(expected, found));
        }
}

TEST_CASE("test_add_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) { ops.add(x, u, n); });
}

TEST_CASE("test_scale_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) { ops.scale(x, u[0], n); });
}

/* Random B in tiles, pads zero, and u for n tokens. */
struct LowRank {
    std::vector<float> tiles, u;
    bnf_low_rank b;

    LowRank(int64_t rank, int64_t m, int64_t n, bool hostile)
    {
        const auto floats = hostile ? +[](size_t size, unsigned seed) { return hostile_floats(size, seed); }
                                    : +[](size_t size, unsigned seed) { return normal_floats(size, seed, 1.0f); };
        const int64_t n_tiles = (m + BNF_LOW_RANK_ROWS - 1) / BNF_LOW_RANK_ROWS;
        tiles = floats(static_cast<size_t>(n_tiles * rank * BNF_LOW_RANK_ROWS), 3);
        u = floats(static_cast<size_t>(n * (rank + 3)), 4);
        b = {tiles.data(), rank, m};
    }

    float at(int64_t row, int64_t r) const
    {
        return tiles[static_cast<size_t>((row / BNF_LOW_RANK_ROWS * b.rank + r) * BNF_LOW_RANK_ROWS + row % BNF_LOW_RANK_ROWS)];
    }
};

TEST_CASE("test_add_low_rank_same_bits_and_only_its_rows")
{
    const int64_t m = 117, y_stride = 131;
    for (const Table *ops : other_tables())
        for (const int64_t rank : {1, 2, 15, 16, 17, 64})
            for (const int64_t n : {1, 2, 3, 4, 5, 9})
                for (const auto &rows : {std::pair<int64_t, int64_t>{0, m}, {16, 96}, {0, 16}, {3, 9}, {15, 17}, {7, 116}, {112, 117}, {5, 5}})
                    for (const bool hostile : {false, true}) {
                        const LowRank w(rank, m, n, hostile);
                        std::vector<float> expected = normal_floats(static_cast<size_t>(n * y_stride), 5, 1.0f), found = expected, before = expected;
                        table("scalar").add_low_rank(&w.b, w.u.data(), rank + 3, n, 0.75f, expected.data(), y_stride, rows.first, rows.second);
                        ops->add_low_rank(&w.b, w.u.data(), rank + 3, n, 0.75f, found.data(), y_stride, rows.first, rows.second);
                        INFO(ops->name << ", rank " << rank << ", n " << n << ", rows " << rows.first << " to " << rows.second);
                        REQUIRE(same_bits(expected, found));
                        for (size_t i = 0; i < before.size(); i++) {
                            const int64_t row = static_cast<int64_t>(i) % y_stride;
                            if (row < rows.first || row >= rows.second)
                                REQUIRE(std::memcmp(&found[i], &before[i], sizeof(float)) == 0);
                        }
                    }
}

TEST_CASE("test_add_low_rank_close_to_double")
{
    const int64_t m = 117, n = 5, rank = 19;
    const LowRank w(rank, m, n, false);
    const std::vector<float> before = normal_floats(static_cast<size_t>(n * m), 6, 1.0f);
    std::vector<float> y = before;
    table("scalar").add_low_rank(&w.b, w.u.data(), rank + 3, n, -1.5f, y.data(), m, 0, m);
    WorstError worst;
    for (int64_t t = 0; t < n; t++)
        for (int64_t row = 0; row < m; row++) {
            double z = 0, size = 0;
            for (int64_t r = 0; r < rank; r++) {
                const double product = static_cast<double>(w.at(row, r)) * w.u[static_cast<size_t>(t * (rank + 3) + r)];
                z += product;
                size += std::fabs(product);
            }
            const size_t at = static_cast<size_t>(t * m + row);
            /* A rounding of partial sums for each r, none above the sum of sizes, and one of the result. */
            worst.add(y[at], before[at] - 1.5 * z, 1.01 * U * (1.5 * (rank + 1) * size + std::fabs(before[at])));
        }
    REQUIRE(worst.share() <= 1);
}

TEST_CASE("test_silu_mul_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) { ops.silu_mul(x, u, n, x); });
}

TEST_CASE("test_relu2_mul_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) { ops.relu2_mul(u, x, n, x); });
}

TEST_CASE("test_exp_same_bits")
{
    check_same_as_scalar([](const Table &ops, float *x, const float *u, int64_t n) { ops.exp(u, n, x); });
}

TEST_CASE("test_exp_same_bits_over_all_floats")
{
    std::vector<float> x(4096), expected(x.size()), found(x.size());
    const uint32_t step = 4099; /* a prime: the low bits of the samples take every value */
    uint32_t bits = 0;
    for (uint64_t done = 0; done < (UINT64_C(1) << 32) / step; done += x.size()) {
        for (float &value : x)
            value = bnf_float_of_bits(bits += step);
        for (size_t i = 0; i < x.size(); i++)
            expected[i] = bnf_expf(x[i]);
        for (const Table *ops : other_tables()) {
            ops->exp(x.data(), static_cast<int64_t>(x.size()), found.data());
            REQUIRE(same_bits(expected, found));
        }
    }
}

TEST_CASE("test_rope_same_bits")
{
    const Table &scalar = table("scalar");
    for (const Table *ops : other_tables())
        for (const bool neox : {false, true})
            for (const int64_t n_rot : {2, 4, 6, 14, 16, 18, 30, 32, 34, 62, 64, 66, 80, 96, 100, 128})
                for (const int64_t unturned : {0, 3})
                    for (const bool hostile : {false, true}) {
                        const int64_t n_heads = 3, d = n_rot + unturned;
                        const size_t size = static_cast<size_t>(n_heads * d) + GUARD;
                        const std::vector<float> cos_sin = normal_floats(static_cast<size_t>(n_rot), 5);
                        std::vector<float> expected = hostile ? hostile_floats(size, 6) : normal_floats(size, 6);
                        std::vector<float> found = expected;
                        scalar.rope(expected.data(), n_heads, d, n_rot, cos_sin.data(), neox);
                        ops->rope(found.data(), n_heads, d, n_rot, cos_sin.data(), neox);
                        INFO(ops->name << (neox ? ", neox" : "") << ", n_rot = " << n_rot << ", d = " << d);
                        REQUIRE(same_bits(expected, found));
                    }
}

TEST_CASE("test_store_kv_same_bits")
{
    const Table &scalar = table("scalar");
    for (const Table *ops : other_tables())
        for (const int64_t n : sizes())
            for (const bool hostile : {false, true}) {
                const size_t size = static_cast<size_t>(n);
                const std::vector<float> x = hostile ? hostile_floats(size, 7) : normal_floats(size, 7);
                INFO(ops->name << ", n = " << n);
                std::vector<uint16_t> expected16(size + GUARD, 0xabcd), found16 = expected16;
                scalar.store_kv[BNF_KV_F16](x.data(), n, expected16.data());
                ops->store_kv[BNF_KV_F16](x.data(), n, found16.data());
                size_t wrong = 0;
                for (size_t i = 0; i < expected16.size(); i++)
                    if (i < size && std::isnan(x[i]))
                        wrong += !std::isnan(bnf_f16_to_f32(found16[i]));
                    else
                        wrong += expected16[i] != found16[i];
                REQUIRE(wrong == 0);
                std::vector<float> found32(size + GUARD, 5.0f);
                ops->store_kv[BNF_KV_F32](x.data(), n, found32.data());
                REQUIRE(std::memcmp(found32.data(), x.data(), size * sizeof(float)) == 0);
                REQUIRE(found32[size] == 5.0f);
            }
}

TEST_CASE("test_store_kv_f16_of_every_half")
{
    std::vector<float> x(65536);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = bnf_f16_to_f32(static_cast<uint16_t>(i));
    std::vector<uint16_t> stored(x.size());
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables) {
        ops->store_kv[BNF_KV_F16](x.data(), static_cast<int64_t>(x.size()), stored.data());
        size_t wrong = 0;
        for (size_t i = 0; i < x.size(); i++)
            wrong += stored[i] != i && !std::isnan(x[i]);
        REQUIRE(wrong == 0);
    }
}

/* ---- scalar against the definition in double ---- */

TEST_CASE("test_rmsnorm_close_to_double")
{
    for (const int64_t n : sizes()) {
        const size_t size = static_cast<size_t>(n);
        const std::vector<float> x = normal_floats(size, 11), w = normal_floats(size, 12);
        std::vector<float> y(size);
        table("scalar").rmsnorm(x.data(), w.data(), n, 1e-5f, y.data());
        double sum = 0;
        for (const float value : x)
            sum += static_cast<double>(value) * value;
        const double r = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(1e-5f));
        /* All terms are positive, so relative errors add: ceil(n / 16) fmas and 4 tree sums, 1 division, 1 eps; the root halves
         * them; then root, reciprocal and two products. 1 % for products of errors. */
        const double roundings = static_cast<double>((n + 15) / 16 + 6) / 2 + 4;
        WorstError worst;
        for (size_t i = 0; i < size; i++) {
            const double exact = x[i] * r * w[i];
            worst.add(y[i], exact, 1.01 * roundings * U * std::fabs(exact));
        }
        REQUIRE(worst.share() <= 1);
    }
}

TEST_CASE("test_silu_mul_close_to_double")
{
    const std::vector<float> g = normal_floats(5000, 21, 15.0f), u = normal_floats(5000, 22);
    std::vector<float> y(g.size());
    table("scalar").silu_mul(g.data(), u.data(), static_cast<int64_t>(g.size()), y.data());
    WorstError worst;
    for (size_t i = 0; i < g.size(); i++) {
        const double exact = g[i] / (1 + std::exp(-static_cast<double>(g[i]))) * u[i];
        /* exp within 1 ulp, at most 2 U; the sum, the quotient and the product one U each; 1 % for products of errors. */
        worst.add(y[i], exact, 1.01 * 5 * U * std::fabs(exact));
    }
    REQUIRE(worst.share() <= 1);
}

TEST_CASE("test_relu2_mul_close_to_double")
{
    const std::vector<float> g = normal_floats(5000, 31), u = normal_floats(5000, 32);
    std::vector<float> y(g.size());
    table("scalar").relu2_mul(g.data(), u.data(), static_cast<int64_t>(g.size()), y.data());
    WorstError worst;
    for (size_t i = 0; i < g.size(); i++) {
        const double r = g[i] > 0 ? g[i] : 0;
        worst.add(y[i], r * r * u[i], 1.01 * 2 * U * std::fabs(r * r * u[i])); /* two products */
    }
    REQUIRE(worst.share() <= 1);
}

TEST_CASE("test_rope_close_to_double")
{
    const int64_t d = 100, n_rot = 96, n_pairs = n_rot / 2;
    std::vector<float> cos_sin(static_cast<size_t>(n_rot));
    for (int64_t i = 0; i < n_pairs; i++) {
        cos_sin[static_cast<size_t>(2 * i)] = std::cos(static_cast<float>(i));
        cos_sin[static_cast<size_t>(2 * i + 1)] = std::sin(static_cast<float>(i));
    }
    for (const bool neox : {false, true}) {
        const std::vector<float> x = normal_floats(static_cast<size_t>(d), 41);
        std::vector<float> y = x;
        table("scalar").rope(y.data(), 1, d, n_rot, cos_sin.data(), neox);
        WorstError worst;
        for (int64_t i = 0; i < n_pairs; i++) {
            const size_t at_a = static_cast<size_t>(neox ? i : 2 * i), at_b = static_cast<size_t>(neox ? i + n_pairs : 2 * i + 1);
            const double c = cos_sin[static_cast<size_t>(2 * i)], s = cos_sin[static_cast<size_t>(2 * i + 1)];
            const double a = x[at_a], b = x[at_b];
            /* Each product one rounding, and their sum: at most 2 U of the products' magnitudes. */
            worst.add(y[at_a], a * c - b * s, 1.01 * 2 * U * (std::fabs(a * c) + std::fabs(b * s)));
            worst.add(y[at_b], a * s + b * c, 1.01 * 2 * U * (std::fabs(a * s) + std::fabs(b * c)));
        }
        REQUIRE(worst.share() <= 1);
        for (size_t i = static_cast<size_t>(n_rot); i < x.size(); i++)
            REQUIRE(y[i] == x[i]);
    }
}
