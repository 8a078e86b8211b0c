/* One Gumbel number, or its bound, by itself: bnf_gumbel.h says how they are made. Next: tests_c/test_gumbel.cpp. */
#include "bnf_gumbel.h"

static uint32_t word_of(uint32_t seed, uint64_t step, uint32_t plane, int32_t id)
{
    const uint32_t token = (uint32_t)id;
    return bnf_gumbel_words(seed, step, plane, token / 64, token % 16).word[token / 16 % 4];
}

double bnf_gumbel(uint32_t seed, uint64_t step, int32_t id)
{
    const uint64_t bits = (uint64_t)~word_of(seed, step, 0, id) << 32 | word_of(seed, step, 1, id);
    const double v = ((double)bits + 0.5) * 0x1p-64, u = ((double)~bits + 0.5) * 0x1p-64; /* u = 1 - v; the smaller one keeps its bits */
    /* Where v is small, the series of -ln(1 - v): its next term, v^7 / 7, is below 2^-50 of the sum. */
    const double e = v < 0x1p-8 ? v * (1 + v * (1.0 / 2 + v * (1.0 / 3 + v * (1.0 / 4 + v * (1.0 / 5 + v * (1.0 / 6)))))) : -bnf_ln(u);
    return -bnf_ln(e);
}

float bnf_gumbel_bound_of(uint32_t seed, uint64_t step, int32_t id)
{
    return bnf_gumbel_bound(word_of(seed, step, 0, id));
}
