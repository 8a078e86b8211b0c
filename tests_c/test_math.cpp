// Bounds and bits of csrc/bnf_math. Bits, where the same bits on every machine are promised; errors in ulp against the
// C library's long double, where only accuracy is.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_math.h"
}

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

uint64_t rng_state = 0x9e3779b97f4a7c15;

uint64_t random_bits()
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545f4914f6cdd1d;
}

double uniform(double low, double high) { return low + (high - low) * (double)(random_bits() >> 11) * 0x1p-53; }

// A float of any exponent, subnormals and zeros included.
float any_finite()
{
    for (;;) {
        const float f = bnf_float_of_bits((uint32_t)(random_bits() >> 32));
        if (std::isfinite(f))
            return f;
    }
}

bool same(float a, float b)
{
    return bnf_bits_of_float(a) == bnf_bits_of_float(b) || (std::isnan(a) && std::isnan(b));
}

// Mismatches are counted, not asserted one by one: a million assertions would take longer than the sums.
int fma_mismatches(float a, float b, float c)
{
    const float want = std::fma(a, b, c);
    return !same(bnf_fmaf(a, b, c), want) + !same(bnf_fmaf_exact(a, b, c), want);
}

double ulps(double got, long double want, int mantissa_bits)
{
    int exponent;
    std::frexp((double)want, &exponent);
    return (double)(std::fabs((long double)got - want) / std::ldexp(1.0L, exponent - mantissa_bits));
}

} // namespace

TEST_CASE("fmaf equals the C library's on random floats", "[math]")
{
    int bad = 0;
    for (int i = 0; i < 300000; i++)
        bad += fma_mismatches(any_finite(), any_finite(), any_finite());
    CHECK(bad == 0);
}

TEST_CASE("fmaf equals the C library's where product and addend cancel", "[math]")
{
    int bad = 0;
    for (int i = 0; i < 300000; i++) {
        const float a = (float)uniform(-4, 4), b = (float)uniform(-4, 4);
        const float near = bnf_float_of_bits(bnf_bits_of_float(-a * b) + (uint32_t)(random_bits() % 5) - 2);
        bad += fma_mismatches(a, b, near);
    }
    CHECK(bad == 0);
}

TEST_CASE("fmaf equals the C library's at double-rounding ties", "[math]")
{
    // c has one bit far above, a * b lies half a float step below it, give or take a bit that a double cannot hold.
    int bad = 0;
    for (int i = 0; i < 300000; i++) {
        const float c = (float)std::ldexp(1.0 + (double)(random_bits() >> 41) * 0x1p-23, (int)(random_bits() % 60));
        const float half = std::ldexp(1.0f, std::ilogb(c) - 24);
        const float tiny = 1.0f + (float)(random_bits() % 8) * 0x1p-23f;
        const float sign = random_bits() & 1 ? 1.0f : -1.0f;
        bad += fma_mismatches(half * tiny, sign * (1.0f - (float)(random_bits() % 4) * 0x1p-24f), c);
        bad += fma_mismatches(half, sign, c);
        bad += fma_mismatches(half * (1 + 0x1p-23f), sign * (1 - 0x1p-23f), c); // half - half * 2^-46
        bad += fma_mismatches(half * (1 + 0x1p-12f), sign * (1 - 0x1p-12f), -c);
    }
    CHECK(bad == 0);
}

TEST_CASE("fmaf equals the C library's around subnormals and overflow", "[math]")
{
    int bad = 0;
    for (int i = 0; i < 200000; i++) {
        const int split = (int)(random_bits() % 100) - 50;
        const float a = (float)std::ldexp(uniform(-2, 2), split), b = (float)std::ldexp(uniform(-2, 2), -split - 130);
        bad += fma_mismatches(a, b, bnf_float_of_bits((uint32_t)(random_bits() >> 32) & 0x80ffffff));
        bad += fma_mismatches(a, b, 0.0f);
        bad += fma_mismatches(a, (float)std::ldexp(uniform(-2, 2), 126 - split), any_finite());
    }
    CHECK(bad == 0);
}

TEST_CASE("fmaf handles every pairing of special values", "[math]")
{
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const float values[] = {0.0f, -0.0f, 1.0f, -1.0f, inf, -inf, nan, 0x1p-149f, -0x1p-149f, 0x1p-126f,
                            0x1.fffffep+127f, -0x1.fffffep+127f, 0x1p-75f, 1 + 0x1p-23f, 0x1p+103f};
    int bad = 0;
    for (float a : values)
        for (float b : values)
            for (float c : values)
                bad += fma_mismatches(a, b, c);
    CHECK(bad == 0);
}

TEST_CASE("expf is within one ulp over its whole range", "[math]")
{
    double worst = 0;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 9973) {
        const float x = bnf_float_of_bits((uint32_t)bits);
        if (x >= -87.3f && x <= 88.72f)
            worst = std::max(worst, ulps(bnf_expf(x), std::exp((long double)x), 24));
    }
    CHECK(worst < 1.0);
}

TEST_CASE("expf ends in zero, infinity and NaN", "[math]")
{
    const float inf = std::numeric_limits<float>::infinity();
    CHECK(bnf_expf(0.0f) == 1.0f);
    CHECK(bnf_expf(-0.0f) == 1.0f);
    CHECK(bnf_expf(-87.3f) > 0x1p-126f);
    CHECK(bnf_bits_of_float(bnf_expf(std::nextafter(-87.3f, -inf))) == 0);
    CHECK(bnf_bits_of_float(bnf_expf(-inf)) == 0);
    CHECK(std::isfinite(bnf_expf(88.72f)));
    CHECK(bnf_expf(std::nextafter(88.72f, inf)) == inf);
    CHECK(bnf_expf(inf) == inf);
    CHECK(std::isnan(bnf_expf(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("expf has the bits that every machine must have", "[math]")
{
    // A digest of the results, taken on x86-64; aarch64 and any compiler must give the same.
    uint32_t digest = 2166136261u;
    for (uint32_t i = 0; i < 200000; i++)
        digest = (digest ^ bnf_bits_of_float(bnf_expf(-87.0f + (float)i * 0x1.cp-11f))) * 16777619u;
    CHECK(digest == 0xf4259f41u);
}

TEST_CASE("ln is within 1e-15", "[math]")
{
    double worst = 0;
    for (int i = 0; i < 100000; i++) {
        const double any = bnf_double_of_bits(random_bits() >> 1);
        if (std::isfinite(any) && any > 0)
            worst = std::max(worst, ulps(bnf_ln(any), std::log((long double)any), 53));
        const double near_one = 1.0 + std::ldexp(uniform(-1, 1), -(int)(random_bits() % 45));
        if (near_one > 0 && near_one != 1.0)
            worst = std::max(worst, ulps(bnf_ln(near_one), std::log((long double)near_one), 53));
    }
    CHECK(worst < 1.0);
    CHECK(bnf_ln(1.0) == 0.0);
    CHECK(bnf_ln(0.0) == -std::numeric_limits<double>::infinity());
    CHECK(bnf_ln(std::numeric_limits<double>::infinity()) == std::numeric_limits<double>::infinity());
    CHECK(std::isnan(bnf_ln(-1.0)));
    CHECK(std::isnan(bnf_ln(std::nan(""))));
}

TEST_CASE("pow is within 1e-15", "[math]")
{
    // What RoPE asks for, and far beyond it. Results below the normal doubles have fewer bits and are left out.
    double worst = 0;
    for (int i = 0; i < 100000; i++) {
        const double base = std::exp(uniform(-20, 20)), exponent = uniform(-30, 30);
        worst = std::max(worst, ulps(bnf_pow(base, exponent), std::pow((long double)base, (long double)exponent), 53));
        const double theta = -2.0 * (double)(random_bits() % 64) / 128.0;
        worst = std::max(worst, ulps(bnf_pow(500000.0, theta), std::pow(500000.0L, (long double)theta), 53));
    }
    CHECK(worst < 2.0);
    CHECK(bnf_pow(10000.0, 0.0) == 1.0);
    CHECK(bnf_pow(1.0, 1e300) == 1.0);
    CHECK(bnf_pow(2.0, -1074.0) == 0x1p-1074);
    CHECK(bnf_pow(2.0, 1023.0) == 0x1p+1023);
    CHECK(bnf_pow(2.0, 1024.0) == std::numeric_limits<double>::infinity());
    CHECK(bnf_pow(10.0, 1e300) == std::numeric_limits<double>::infinity());
    CHECK(bnf_pow(10.0, -1e300) == 0.0);
    CHECK(std::isnan(bnf_pow(0.0, 1.0)));
    CHECK(std::isnan(bnf_pow(-2.0, 2.0)));
    CHECK(std::isnan(bnf_pow(2.0, std::numeric_limits<double>::infinity())));
}

TEST_CASE("sincos is within 1e-15 up to 2^31", "[math]")
{
    double worst = 0;
    for (int i = 0; i < 100000; i++) {
        const double angle = std::ldexp(uniform(-1, 1), (int)(random_bits() % 50) - 18);
        double s, c;
        bnf_sincos(angle, &s, &c);
        // The long double functions reduce exactly; an angle next to a zero is the reduction's test.
        worst = std::max(worst, ulps(s, std::sin((long double)angle), 53));
        worst = std::max(worst, ulps(c, std::cos((long double)angle), 53));
        const double zero = std::nearbyint(angle) * 0x1.921fb54442d18p+0;
        if (zero != 0 && std::fabs(zero) < 0x1p31) {
            bnf_sincos(zero, &s, &c);
            worst = std::max(worst, ulps(s, std::sin((long double)zero), 53));
            worst = std::max(worst, ulps(c, std::cos((long double)zero), 53));
        }
    }
    CHECK(worst < 4.0);
}

TEST_CASE("sincos treats its border and its special values", "[math]")
{
    double s, c;
    bnf_sincos(0.0, &s, &c);
    CHECK(s == 0.0);
    CHECK(c == 1.0);
    bnf_sincos(0x1p31, &s, &c);
    CHECK(std::isnan(s));
    CHECK(std::isnan(c));
    bnf_sincos(std::nan(""), &s, &c);
    CHECK(std::isnan(s));
}

TEST_CASE("ln, pow and sincos have the bits that every machine must have", "[math]")
{
    // A compiler that fuses a product and a sum changes this digest.
    uint64_t digest = 14695981039346656037u;
    const auto take = [&](double d) { digest = (digest ^ bnf_bits_of_double(d)) * 1099511628211u; };
    for (int i = 1; i < 20000; i++) {
        double s, c;
        bnf_sincos(i * 0.37, &s, &c);
        take(s);
        take(c);
        take(bnf_ln(i * 0.01));
        take(bnf_pow(500000.0, -i / 20000.0));
    }
    CHECK(digest == 0xe961dc60824f47fbu);
}

TEST_CASE("every f16 becomes its float and comes back", "[math]")
{
    int bad = 0;
    for (uint32_t code = 0; code < 65536; code++) {
        const uint16_t h = (uint16_t)code;
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float f = bnf_f16_to_f32(h);
        if (exponent == 31 && mantissa != 0) {
            bad += !std::isnan(f) || bnf_f32_to_f16(f) != (h | 0x200);
            continue;
        }
        const double magnitude = exponent == 31 ? std::numeric_limits<double>::infinity()
                                 : exponent == 0 ? std::ldexp(mantissa, -24)
                                                 : std::ldexp(1024 + mantissa, exponent - 25);
        bad += f != (h & 0x8000 ? -magnitude : magnitude) || std::signbit(f) != (h >> 15);
        bad += bnf_f32_to_f16(f) != h;
    }
    CHECK(bad == 0);
}

TEST_CASE("f32 to f16 rounds to nearest, ties to even", "[math]")
{
    int bad = 0;
    for (uint16_t h = 0; h < 0x7bff; h++) {
        const float low = bnf_f16_to_f32(h), high = bnf_f16_to_f32((uint16_t)(h + 1));
        const float tie = low + (high - low) / 2; // exact: a float has 13 bits more
        const uint16_t even = h & 1 ? (uint16_t)(h + 1) : h;
        bad += bnf_f32_to_f16(tie) != even;
        bad += bnf_f32_to_f16(-tie) != (even | 0x8000);
        bad += bnf_f32_to_f16(std::nextafter(tie, 0.0f)) != h;
        bad += bnf_f32_to_f16(std::nextafter(tie, 1e9f)) != h + 1;
    }
    CHECK(bad == 0);
    CHECK(bnf_f32_to_f16(65504.0f) == 0x7bff);
    CHECK(bnf_f32_to_f16(std::nextafter(65520.0f, 0.0f)) == 0x7bff);
    CHECK(bnf_f32_to_f16(65520.0f) == 0x7c00);
    CHECK(bnf_f32_to_f16(-1e30f) == 0xfc00);
    CHECK(bnf_f32_to_f16(0x1p-25f) == 0);
    CHECK(bnf_f32_to_f16(std::nextafter(0x1p-25f, 1.0f)) == 1);
    CHECK(bnf_f32_to_f16(0x1p-149f) == 0);
}

TEST_CASE("a bf16 is the upper half of a float", "[math]")
{
    CHECK(bnf_bf16_to_f32(0x3f80) == 1.0f);
    CHECK(bnf_bf16_to_f32(0xc049) == -3.140625f);
    CHECK(bnf_bf16_to_f32(0x0001) == 0x1p-133f);
}

TEST_CASE("tanhf is within one ulp, odd and calm at its ends", "[math]")
{
    double worst = 0;
    for (int i = 0; i < 300000; i++) {
        const float x = i % 3 == 0 ? (float)uniform(-11, 11) : i % 3 == 1 ? (float)uniform(-2e-4, 2e-4) : any_finite();
        const float got = bnf_tanhf(x);
        CHECK_FALSE(std::fabs(got) > 1);
        if (std::fabs(x) > 1e-35f)
            worst = std::fmax(worst, ulps(got, std::tanh((long double)x), 24));
        CHECK(same(bnf_tanhf(-x), -got));
    }
    CHECK(worst <= 1);
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(bnf_tanhf(infinity) == 1.0f);
    CHECK(bnf_tanhf(-infinity) == -1.0f);
    CHECK(std::isnan(bnf_tanhf(std::numeric_limits<float>::quiet_NaN())));
    CHECK(same(bnf_tanhf(-0.0f), -0.0f));
}
