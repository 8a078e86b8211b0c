/* Unicode for the tokenizers: general categories and UTF-8. Tables: bnf_unicode_data.c, from csrc/bnf_unicode_tables.py.
 * UTF-8 is read as llama.cpp reads it: the lead byte's high nibble gives the length, continuation bytes are checked,
 * overlong forms and surrogates pass. Nothing here allocates or fails. Next: bnf_split.c, the pre-tokenizers. */
#ifndef BNF_UNICODE_H
#define BNF_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The order is CATEGORIES in csrc/bnf_unicode_tables.py. BNF_CAT_CW: the control characters that are white space. */
enum bnf_category {
    BNF_CAT_CN = 0,
    BNF_CAT_LU, BNF_CAT_LL, BNF_CAT_LT, BNF_CAT_LM, BNF_CAT_LO,
    BNF_CAT_MN, BNF_CAT_MC, BNF_CAT_ME,
    BNF_CAT_ND, BNF_CAT_NL, BNF_CAT_NO,
    BNF_CAT_PC, BNF_CAT_PD, BNF_CAT_PS, BNF_CAT_PE, BNF_CAT_PI, BNF_CAT_PF, BNF_CAT_PO,
    BNF_CAT_SM, BNF_CAT_SC, BNF_CAT_SK, BNF_CAT_SO,
    BNF_CAT_ZS, BNF_CAT_ZL, BNF_CAT_ZP,
    BNF_CAT_CC, BNF_CAT_CF, BNF_CAT_CS, BNF_CAT_CO, BNF_CAT_CW,
    BNF_N_CATEGORIES
};

/* Sets of categories: bit c stands for category c. The names are those of the regular expressions: \p{L}, \p{N};
 * BNF_IN_S is \s. */
#define BNF_IN_L (1u << BNF_CAT_LU | 1u << BNF_CAT_LL | 1u << BNF_CAT_LT | 1u << BNF_CAT_LM | 1u << BNF_CAT_LO)
#define BNF_IN_N (1u << BNF_CAT_ND | 1u << BNF_CAT_NL | 1u << BNF_CAT_NO)
#define BNF_IN_P (1u << BNF_CAT_PC | 1u << BNF_CAT_PD | 1u << BNF_CAT_PS | 1u << BNF_CAT_PE | 1u << BNF_CAT_PI \
                  | 1u << BNF_CAT_PF | 1u << BNF_CAT_PO)
#define BNF_IN_M (1u << BNF_CAT_MN | 1u << BNF_CAT_MC | 1u << BNF_CAT_ME)
#define BNF_IN_SYMBOL (1u << BNF_CAT_SM | 1u << BNF_CAT_SC | 1u << BNF_CAT_SK | 1u << BNF_CAT_SO) /* \p{S} */
#define BNF_IN_S (1u << BNF_CAT_ZS | 1u << BNF_CAT_ZL | 1u << BNF_CAT_ZP | 1u << BNF_CAT_CW)

#define BNF_UNICODE_BLOCK_LEN 128
#define BNF_REPLACEMENT 0xFFFDu

extern const char bnf_unicode_version[];
extern const uint8_t bnf_unicode_index[];  /* [0x110000 / 128] number of the block */
extern const uint8_t bnf_unicode_blocks[]; /* [blocks][128] bnf_category; block 0 is ASCII */

/* The set that holds just the category of a code point below 0x110000. */
static inline uint32_t bnf_category_set(uint32_t code_point)
{
    if (code_point < BNF_UNICODE_BLOCK_LEN)
        return 1u << bnf_unicode_blocks[code_point];
    return 1u << bnf_unicode_blocks[(uint32_t)bnf_unicode_index[code_point / BNF_UNICODE_BLOCK_LEN] * BNF_UNICODE_BLOCK_LEN
                                    + code_point % BNF_UNICODE_BLOCK_LEN];
}

/* Bytes that a lead byte announces: 1 to 4; a continuation byte counts as 1. */
static inline size_t bnf_utf8_len(uint8_t lead)
{
    return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* The code point at text[0], where `left` >= 1 bytes remain; returns its length, or 0 when it is malformed or above 0x10FFFF. */
static inline size_t bnf_utf8_decode(const uint8_t *text, size_t left, uint32_t *code_point)
{
    uint32_t c = text[0];
    if (c < 0x80) {
        *code_point = c;
        return 1;
    }
    size_t len = bnf_utf8_len((uint8_t)c);
    if (len == 1 || len > left || c >= 0xF8)
        return 0;
    c &= 0x7Fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (text[i] & 0x3Fu);
    }
    *code_point = c;
    return c < 0x110000 ? len : 0;
}

/* Write a code point below 0x110000; returns its 1 to 4 bytes. */
static inline size_t bnf_utf8_encode(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

/* The code point at p, in clean text (bnf_utf8_is_clean); *next is the character after it. */
static inline uint32_t bnf_utf8_char(const uint8_t *p, const uint8_t **next)
{
    uint32_t c = p[0];
    const size_t len = bnf_utf8_len((uint8_t)c);
    if (len > 1)
        c &= 0x7Fu >> len;
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    *next = p + len;
    return c;
}

/* The category set of the character at p, in clean text. */
static inline uint32_t bnf_utf8_set(const uint8_t *p, const uint8_t **next)
{
    if (p[0] >= 0x80)
        return bnf_category_set(bnf_utf8_char(p, next));
    *next = p + 1;
    return 1u << bnf_unicode_blocks[p[0]];
}

/* Is every character well-formed and in its shortest form? Then decoding and encoding gives the same bytes. */
bool bnf_utf8_is_clean(const uint8_t *text, size_t len);
/* Copy with every offending byte as U+FFFD and overlong forms shortened; out holds 3 * len bytes. Returns the bytes written. */
size_t bnf_utf8_repair(const uint8_t *text, size_t len, uint8_t *out);

/* The GPT-2 byte alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up in order. */
extern const uint16_t bnf_byte_char[256];
#define BNF_ALPHABET_END 0x144 /* the first code point after the alphabet */
extern const int16_t bnf_char_byte[BNF_ALPHABET_END]; /* the byte that a code point stands for, or -1 */

#endif
