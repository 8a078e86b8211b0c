/* Gumbel noise: Philox as its authors publish it, numbers against a plain definition, and bounds that hold, the same in every table. */
#include <catch2/catch.hpp>

#include "float_checks.hpp"

extern "C" {
#include "bnf_gumbel.h"
}

using namespace float_checks;

namespace {

/* The definition of bnf_gumbel.h, word by word. */
double plain_gumbel(uint32_t seed, uint64_t step, uint32_t id)
{
    uint32_t word[2];
    for (uint32_t plane = 0; plane < 2; plane++)
        word[plane] = bnf_philox4x32(id / 64 * 16 + id % 16, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), plane, seed, 0)
                          .word[id / 16 % 4];
    const long double v = (static_cast<long double>(~word[0]) * 0x1p32L + word[1] + 0.5L) * 0x1p-64L;
    return static_cast<double>(-std::log(-std::log1p(-v)));
}

}  // namespace

TEST_CASE("test_philox_published_vectors")
{
    /* kat_vectors of Random123: philox4x32, 10 rounds. */
    const auto words = [](uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
        const bnf_philox p = bnf_philox4x32(c0, c1, c2, c3, k0, k1);
        return std::vector<uint32_t>(p.word, p.word + 4);
    };
    CHECK(words(0, 0, 0, 0, 0, 0) == std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(words(~0u, ~0u, ~0u, ~0u, ~0u, ~0u) == std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(words(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0)
          == std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("test_gumbel_is_its_definition")
{
    WorstError worst;
    for (const uint64_t step : {UINT64_C(0), UINT64_C(1), UINT64_C(0x123456789abcdef0)})
        for (const uint32_t seed : {0u, 7u, 0xfffffffeu})
            for (uint32_t id = 0; id < 20000; id++) {
                const double exact = plain_gumbel(seed, step, id);
                /* ln u errs by 2^-53 / E where u is rounded, v being 2^-8 or more; both logarithms by 1e-15 of themselves. */
                worst.add(bnf_gumbel(seed, step, static_cast<int32_t>(id)), exact, 0x1p-45 + 2e-15 + std::fabs(exact) * 2e-15);
            }
    CHECK(worst.share() <= 1);
}

TEST_CASE("test_gumbel_recorded_numbers")
{
    CHECK(bnf_gumbel(0, 0, 0) == 0x1.5b6c7ad700f1ep-4);
    CHECK(bnf_gumbel(42, 1, 128255) == 0x1.61a3a5c3c27b3p-1);
    CHECK(bnf_gumbel(0xfffffffe, UINT64_C(1) << 40, 77) == 0x1.4d27409f1f8e1p+0);
}

TEST_CASE("test_gumbel_has_its_mean_and_variance")
{
    const int n = 1000000;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        const double g = bnf_gumbel(3, static_cast<uint64_t>(i) / 1000, i % 1000);
        sum += g;
        squares += g * g;
    }
    const double mean = sum / n, variance = squares / n - mean * mean;
    /* Standard deviations of the estimates: sqrt(pi^2 / 6 / n) = 0.0013; sqrt((kurtosis 5.4 - 1) / n) * pi^2 / 6 = 0.0034. Five of each. */
    CHECK(std::fabs(mean - 0.5772156649) < 0.0065);
    CHECK(std::fabs(variance - 1.6449340668) < 0.017);
}

TEST_CASE("test_gumbel_bound_holds_and_is_near")
{
    double least = 100, most = 0, sum = 0;
    const int n = 1000000;
    for (int i = 0; i < n; i++) {
        const double g = bnf_gumbel(5, static_cast<uint64_t>(i) / 1000, i % 1000);
        const double excess = static_cast<double>(bnf_gumbel_bound_of(5, static_cast<uint64_t>(i) / 1000, i % 1000)) - g;
        least = std::min(least, excess);
        if (g > 3) /* v < 0.05: half of that lies between E and v, 0.0603 between log2(1 + m) and m, and 24 bits of v are read */
            most = std::max(most, excess - (0.0603 + 0.026 + 0.001 + std::exp(g) * 0x1p-24));
        sum += excess;
    }
    CHECK(least > 0);
    CHECK(most <= 0);
    CHECK(sum / n < 0.6);
}

TEST_CASE("test_gumbel_bound_of_the_outermost_words")
{
    /* All ones: v < 2^-32, and g is 45.06 at most. All zeros: v is the largest. */
    CHECK(bnf_gumbel_bound(0xffffffffu) > 45.06f);
    CHECK(bnf_gumbel_bound(0xffffff00u) > 45.06f);
    CHECK(bnf_gumbel_bound(0xfffffeffu) >= static_cast<float>(24 * std::log(2.0)));
    CHECK(bnf_gumbel_bound(0) > 0.0f);
    CHECK(bnf_gumbel_bound(0) < 0.001f);
}

TEST_CASE("test_gumbel_bounds_same_bits")
{
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables)
        for (const int64_t n : sizes())
            for (const int64_t begin : {INT64_C(0), INT64_C(128192), INT64_C(1) << 30})
                for (const float t : {1.0f, 0.7f, 1e-30f}) {
                    const size_t size = static_cast<size_t>(n);
                    const std::vector<float> x = n % 2 ? normal_floats(size, 1, 9.0f) : hostile_floats(size, 1);
                    std::vector<float> expected(size + 3, -5.0f), found = expected;
                    for (size_t i = 0; i < size; i++)
                        expected[i] = x[i] / t + bnf_gumbel_bound_of(9, 11, static_cast<int32_t>(begin + static_cast<int64_t>(i)));
                    ops->gumbel_bounds(9, 11, begin, n, x.data(), t, found.data());
                    INFO(ops->name << ", n = " << n);
                    REQUIRE(same_bits(expected, found));
                }
}
