/* The parts of a vocabulary that need C: blocks of strings, masks, names of bytes. Look-ups are inline in bnf_vocab.h.
 * Knows no GGUF; vocab.pyx reads the files. */
#include "bnf_vocab.h"

int bnf_strings_new(struct bnf_strings *strings, uint32_t n, size_t size)
{
    strings->bytes = bnf_alloc(size + BNF_SHORT_WORD);
    strings->at = bnf_alloc_array((size_t)n + 1, sizeof *strings->at);
    return strings->bytes == NULL || strings->at == NULL ? BITNET_ERROR_MEMORY : 0;
}

#define NO8 0, 0, 0, 0, 0, 0, 0, 0
#define ALL UINT64_MAX
#define ALL8 ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL
const uint64_t bnf_masks[16 + BNF_SHORT_WORD + 1] = {
    NO8, NO8,
    0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF,
    ALL8, ALL8, ALL,
};

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int bnf_byte_of_text(const uint8_t *text, size_t len)
{
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}
