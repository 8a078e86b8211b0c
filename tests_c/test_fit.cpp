/* The quantizers' searches: every table gives scalar's bits, lanes do not see each other, and what is found beats the plain scale. */
#include <catch2/catch.hpp>

#include "float_checks.hpp"

using namespace float_checks;

namespace {

using Search = void (*bnf_ops::*)(bnf_fit *);
constexpr Search SEARCHES[] = {&bnf_ops::fit_offset, &bnf_ops::fit_symmetric, &bnf_ops::fit_exchange};

/* Groups of several kinds: ordinary, hostile but finite, one constant, all zero. */
bnf_fit groups(int n, int most, unsigned seed)
{
    bnf_fit fit = {};
    fit.n = n;
    fit.most = most;
    fit.first = seed % 2 ? -0.9f : -0.5f;
    fit.step = 0.1f;
    fit.n_steps = 15;
    fit.absolute = seed % 3 == 0;
    fit.bounded = seed % 3 == 1;
    const std::vector<float> ordinary = normal_floats(32 * 16, seed, 0.1f), hostile = hostile_floats(32 * 16, seed);
    for (size_t i = 0; i < static_cast<size_t>(n); i++)
        for (size_t g = 0; g < 16; g++) {
            const float odd = hostile[16 * i + g];
            fit.x[i][g] = g == 14 ? -0.7f : g == 15 ? 0.0f : g % 4 == 3 && std::isfinite(odd) ? odd : ordinary[16 * i + g];
            fit.weights[i][g] = g % 5 == 0 ? 1.0f : std::fabs(ordinary[(16 * i + g * 7) % 512]);
        }
    return fit;
}

std::vector<float> outcome(const bnf_fit &fit, bool has_min)
{
    std::vector<float> all(fit.scale, fit.scale + 16);
    if (has_min)
        all.insert(all.end(), fit.min, fit.min + 16);
    for (int i = 0; i < fit.n; i++)
        all.insert(all.end(), fit.codes[i], fit.codes[i] + 16);
    return all;
}

}  // namespace

TEST_CASE("test_fit_same_bits")
{
    for (const Table *ops : other_tables())
        for (const int n : {16, 32})
            for (const int most : {3, 4, 15, 31, 32})
                for (unsigned seed = 0; seed < 12; seed++)
                    for (const Search search : SEARCHES) {
                        bnf_fit expected = groups(n, most, seed), found = expected;
                        (table("scalar").*search)(&expected);
                        ((*ops).*search)(&found);
                        INFO(ops->name << ", " << n << " numbers, codes to " << most << ", seed " << seed);
                        REQUIRE(same_bits(outcome(expected, search == SEARCHES[0]), outcome(found, search == SEARCHES[0])));
                    }
}

TEST_CASE("test_fit_lanes_are_alone")
{
    for (const Search search : SEARCHES) {
        bnf_fit all = groups(32, 15, 7), alone = all;
        for (auto &row : alone.x)
            for (int g = 0; g < 16; g++)
                row[g] = g == 5 ? row[g] : 0.0f;
        (table("scalar").*search)(&all);
        (table("scalar").*search)(&alone);
        REQUIRE(all.scale[5] == alone.scale[5]);
        for (int i = 0; i < 32; i++)
            REQUIRE(all.codes[i][5] == alone.codes[i][5]);
    }
}

TEST_CASE("test_fit_symmetric_beats_the_plain_scale")
{
    bnf_fit fit = groups(32, 8, 3);
    table("scalar").fit_symmetric(&fit);
    for (int g = 0; g < 16; g++) {
        if (g % 4 == 3 && g != 15)
            continue; /* hostile: squares overflow */
        float top = 0.0f;
        for (int i = 0; i < 32; i++)
            top = std::fabs(fit.x[i][g]) > std::fabs(top) ? fit.x[i][g] : top;
        double found = 0.0, plain = 0.0;
        for (int i = 0; i < 32; i++) {
            const double x = fit.x[i][g], w = fit.weights[i][g], unit = static_cast<double>(top) / -8;
            const double code = top == 0.0f ? 0.0 : std::fmin(7.0, std::nearbyint(x / unit));
            found += w * std::pow(x - fit.scale[g] * (fit.codes[i][g] - 8), 2);
            plain += w * std::pow(x - unit * code, 2);
        }
        INFO("group " << g);
        REQUIRE(found <= plain * (1 + 1e-5));
    }
}
