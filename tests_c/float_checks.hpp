/* What the tests of float kernels share: the tables this machine can run, inputs, and comparison of bits.
 * Next: test_vector.cpp, test_attention.cpp. */
#ifndef FLOAT_CHECKS_HPP
#define FLOAT_CHECKS_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
#include "bnf_cpu.h"
#include "bnf_math.h"
#include "bnf_ops.h"
}

namespace float_checks {

using Table = struct ::bnf_ops; /* the bare name is the function */

constexpr double U = 0x1p-24; /* half a unit in the last place: the relative error of one rounding to float */

inline const Table &table(const std::string &name)
{
    for (const Table *const *ops = bnf_ops_all(); *ops; ops++)
        if (name == (*ops)->name)
            return **ops;
    throw std::runtime_error("no table " + name);
}

/* Every table but scalar that this CPU can run. */
inline std::vector<const Table *> other_tables()
{
    std::vector<const Table *> found;
    for (const Table *const *ops = bnf_ops_all(); *ops; ops++)
        if (((*ops)->needs & ~bnf_cpu_features()) == 0 && std::string("scalar") != (*ops)->name)
            found.push_back(*ops);
    return found;
}

/* 1 to 70 reach every tail of every vector width; the others are rows of real models, and odd. */
inline std::vector<int64_t> sizes()
{
    std::vector<int64_t> n;
    for (int64_t i = 1; i <= 70; i++)
        n.push_back(i);
    n.insert(n.end(), {127, 576, 1001, 2560, 6913});
    return n;
}

inline std::vector<float> normal_floats(size_t n, unsigned seed, float sigma = 1.0f)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, sigma);
    std::vector<float> x(n);
    for (float &value : x)
        value = normal(random);
    return x;
}

/* All magnitudes and both signs, and one in four is a value that code forgets. */
inline std::vector<float> hostile_floats(size_t n, unsigned seed)
{
    const float inf = std::numeric_limits<float>::infinity();
    const float odd[] = {0.0f, -0.0f, inf, -inf, std::numeric_limits<float>::quiet_NaN(), 0x1p-149f, -0x1p-149f, 0x1.fffffep-127f,
                         0x1p-126f, 0x1.fffffep+127f, -0x1.fffffep+127f, 65504.0f, 65520.0f, 0x1p-25f, 88.72f, 88.73f, -87.3f, -87.4f};
    std::mt19937 random(seed);
    std::vector<float> x(n);
    for (float &value : x)
        value = random() % 4 ? bnf_float_of_bits(random()) : odd[random() % (sizeof odd / sizeof *odd)];
    return x;
}

/* Equal bits, where any NaN equals any other: payloads and signs of NaNs are the machine's affair. */
inline bool same_bits(const float *a, const float *b, size_t n)
{
    if (std::memcmp(a, b, n * sizeof *a) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (std::memcmp(a + i, b + i, sizeof *a) != 0 && !(std::isnan(a[i]) && std::isnan(b[i])))
            return false;
    return true;
}

inline bool same_bits(const std::vector<float> &a, const std::vector<float> &b)
{
    return a.size() == b.size() && same_bits(a.data(), b.data(), a.size());
}

/* The largest error of many values as a share of its tolerance, so that a test asserts once: every assertion, passed or not,
 * is a record in the runner's report, and thousands of them take longer than the kernels. */
class WorstError {
public:
    void add(double found, double exact, double tolerance)
    {
        const double error = std::fabs(found - exact);
        const double share = error == 0 ? 0 : error / tolerance; /* a tolerance of 0 allows no error */
        worst_ = std::isnan(share) ? std::numeric_limits<double>::infinity() : std::max(worst_, share);
    }
    double share() const { return worst_; }

private:
    double worst_ = 0;
};

}  // namespace float_checks

#endif
