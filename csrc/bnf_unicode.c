/* UTF-8 checks over whole texts and the GPT-2 byte alphabet. No state, no allocation.
 * Declared in bnf_unicode.h; the category tables are in bnf_unicode_data.c. */
#include "bnf_unicode.h"

#include <string.h>

bool bnf_utf8_is_clean(const uint8_t *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint64_t eight;
        while (len - at >= sizeof eight) { /* ASCII is most of most texts: eight bytes a step */
            memcpy(&eight, text + at, sizeof eight);
            if (eight & 0x8080808080808080u)
                break;
            at += sizeof eight;
        }
        if (at == len)
            return true;
        uint32_t c;
        size_t n = bnf_utf8_decode(text + at, len - at, &c);
        static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
        if (n == 0 || c < smallest[n])
            return false;
        at += n;
    }
    return true;
}

size_t bnf_utf8_repair(const uint8_t *text, size_t len, uint8_t *out)
{
    size_t at = 0, written = 0;
    while (at < len) {
        uint32_t c;
        size_t n = bnf_utf8_decode(text + at, len - at, &c);
        if (n == 0) {
            n = 1;
            c = BNF_REPLACEMENT;
        }
        at += n;
        written += bnf_utf8_encode(c, out + written);
    }
    return written;
}

/* Bytes 0x00-0x20, 0x7F-0xA0 and 0xAD have no printable Latin-1 character and get U+0100 to U+0143 in that order. */
#define ROW(first) \
    (first), (first) + 1, (first) + 2, (first) + 3, (first) + 4, (first) + 5, (first) + 6, (first) + 7, \
    (first) + 8, (first) + 9, (first) + 10, (first) + 11, (first) + 12, (first) + 13, (first) + 14, (first) + 15
const uint16_t bnf_byte_char[256] = {
    ROW(0x100), ROW(0x110),
    0x120, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F,
    ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60),
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x7D, 0x7E, 0x121,
    ROW(0x122), ROW(0x132),
    0x142, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAC, 0x143, 0xAE, 0xAF,
    ROW(0xB0), ROW(0xC0), ROW(0xD0), ROW(0xE0), ROW(0xF0),
};

/* The inverse. */
#define NONE8 -1, -1, -1, -1, -1, -1, -1, -1
const int16_t bnf_char_byte[BNF_ALPHABET_END] = {
    NONE8, NONE8, NONE8, NONE8,
    -1, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F,
    ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60),
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x7D, 0x7E, -1,
    NONE8, NONE8, NONE8, NONE8,
    -1, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAC, -1, 0xAE, 0xAF,
    ROW(0xB0), ROW(0xC0), ROW(0xD0), ROW(0xE0), ROW(0xF0),
    ROW(0x00), ROW(0x10), 0x20,
    ROW(0x7F), ROW(0x8F), 0x9F, 0xA0, 0xAD,
};
