// csrc/bnf_random against the C++ library it has to agree with: llama.cpp draws from std::mt19937 through
// std::uniform_real_distribution<double>.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_random.h"
}

#include <random>

TEST_CASE("mt19937_is_that_of_the_standard")
{
    for (const uint32_t seed : {0u, 1u, 5489u, 0x80000000u, 0xffffffffu}) {
        bnf_mt19937 ours;
        bnf_mt19937_seed(&ours, seed);
        std::mt19937 standard(seed);
        for (int i = 0; i < 10000; i++)
            REQUIRE(bnf_mt19937_next(&ours) == standard());
    }
    bnf_mt19937 mt;
    bnf_mt19937_seed(&mt, 5489);
    uint32_t word = 0;
    for (int i = 0; i < 10000; i++)
        word = bnf_mt19937_next(&mt);
    CHECK(word == 4123659995u); // what ISO C++ [rand.predef] requires
}

TEST_CASE("uniform_is_that_of_libstdcxx")
{
    bnf_mt19937 ours;
    bnf_mt19937_seed(&ours, 42);
    std::mt19937 standard(42);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (int i = 0; i < 10000; i++)
        REQUIRE(bnf_mt19937_uniform(&ours) == uniform(standard));
}

TEST_CASE("uniform_stays_below_one")
{
    bnf_mt19937 mt;
    bnf_mt19937_seed(&mt, 1);
    for (int i = 0; i < 4; i++)
        mt.word[i] = 0;
    mt.next = 0;
    CHECK(bnf_mt19937_uniform(&mt) == 0.0);
    // A state word whose tempered value is all ones: tempering is a bijection, found by undoing its four steps.
    uint32_t y = 0xffffffffu;
    y ^= y >> 18;
    y ^= (y << 15) & 0xefc60000u;
    uint32_t x = y;
    for (int i = 0; i < 5; i++)
        x = y ^ ((x << 7) & 0x9d2c5680u);
    y = x;
    for (int i = 0; i < 3; i++)
        x = y ^ (x >> 11);
    mt.word[0] = mt.word[1] = x;
    mt.next = 0;
    bnf_mt19937 copy = mt;
    REQUIRE(bnf_mt19937_next(&copy) == 0xffffffffu);
    CHECK(bnf_mt19937_uniform(&mt) < 1.0);
    CHECK(bnf_mt19937_uniform(&copy) < 1.0);
}

TEST_CASE("random_seeds_differ")
{
    const uint32_t first = bnf_random_seed();
    bool differs = false;
    for (int i = 0; i < 8; i++)
        differs |= bnf_random_seed() != first;
    CHECK(differs);
}
