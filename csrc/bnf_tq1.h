/* TQ1_0 on its way to a packed layout: every table packs it as the TQ2_0 block of the same codes. Next: bnf_layout.h, both pictures. */
#ifndef BNF_TQ1_H
#define BNF_TQ1_H

#include <stdint.h>

/* The 2-bit fields of TQ2_0 for a block of TQ1_0 (bnf_layout.h). */
static inline void bnf_tq1_fields(const uint8_t *restrict s, uint8_t *restrict fields)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    uint8_t code[256];
    for (int n = 0; n < 5; n++) {
        for (int i = 0; i < 32; i++)
            code[32 * n + i] = (uint8_t)((uint8_t)(s[i] * power[n]) * 3 >> 8);
        for (int i = 0; i < 16; i++)
            code[160 + 16 * n + i] = (uint8_t)((uint8_t)(s[32 + i] * power[n]) * 3 >> 8);
    }
    for (int n = 0; n < 4; n++)
        for (int i = 0; i < 4; i++)
            code[240 + 4 * n + i] = (uint8_t)((uint8_t)(s[48 + i] * power[n]) * 3 >> 8);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 32; i++) {
            const uint8_t *c = code + 128 * half + i;
            fields[32 * half + i] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
}

#endif
