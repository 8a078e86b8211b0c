/* A 64-bit sum of bytes that lie in one piece, at the speed of memory: sixteen lanes of 64 bits, which every instruction set has. Every
 * step can be undone, so a change within one word always changes the sum; it is no defence against somebody who wants two texts
 * with one sum. Words are of the machine's byte order.
 * Next: bnf_sum.c for the steps, bnf_state.h for what is summed. */
#ifndef BNF_SUM_H
#define BNF_SUM_H

#include <stdint.h>

uint64_t bnf_sum(const void *data, uint64_t n);
/* The sum of `from`, while it is copied. */
uint64_t bnf_sum_copy(void *restrict to, const void *restrict from, uint64_t n);

/* The sum of a piece as a part of a sum of many, which may be added up in any order: its number counts, so that pieces that change
 * places are found. */
static inline uint64_t bnf_sum_placed(uint64_t sum, uint64_t number)
{
    uint64_t h = sum + number * 0x9e3779b97f4a7c15;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
    return h ^ h >> 29;
}

#endif
