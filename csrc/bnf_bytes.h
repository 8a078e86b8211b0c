/* Reading little-endian fields of weight blocks, which lie at any even address of a mapped file.
 * Static, because the files that include it are compiled with different instruction sets. */
#ifndef BNF_BYTES_H
#define BNF_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t bnf_load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t bnf_load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
