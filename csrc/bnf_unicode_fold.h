/* Base letters and lower case, for WordPiece: one code point to one, as llama.cpp has it. Pure look-ups.
 * Tables: bnf_unicode_fold.c, from csrc/bnf_unicode_folds.py. Next: _core/tokenize/tokenize_wordpiece.pyx. */
#ifndef BNF_UNICODE_FOLD_H
#define BNF_UNICODE_FOLD_H

#include "bnf_unicode.h"

/* [0x110000 / 128] number of the block, and [blocks][128] code points, 0: the character stays. */
extern const uint8_t bnf_base_index[], bnf_lower_index[];
extern const uint32_t bnf_base_blocks[], bnf_lower_blocks[];

/* \p{C} but for what is not assigned, which llama.cpp keeps, and the white space among the control characters. */
#define BNF_IN_CONTROL (1u << BNF_CAT_CC | 1u << BNF_CAT_CF | 1u << BNF_CAT_CS | 1u << BNF_CAT_CO)

static inline uint32_t bnf_fold_get(const uint8_t *index, const uint32_t *blocks, uint32_t c)
{
    const uint32_t to = blocks[(uint32_t)index[c / BNF_UNICODE_BLOCK_LEN] * BNF_UNICODE_BLOCK_LEN + c % BNF_UNICODE_BLOCK_LEN];
    return to == 0 ? c : to;
}

/* The first code point of the canonical decomposition; c is below 0x110000. */
static inline uint32_t bnf_base_char(uint32_t c)
{
    if (c - 0xAC00u < 11172u) /* a Hangul syllable begins with one of 19 consonants, 21 vowels * 28 endings each */
        return 0x1100u + (c - 0xAC00u) / (21 * 28);
    return bnf_fold_get(bnf_base_index, bnf_base_blocks, c);
}

/* The first code point of the lower case; c is below 0x110000. */
static inline uint32_t bnf_lower_char(uint32_t c)
{
    return bnf_fold_get(bnf_lower_index, bnf_lower_blocks, c);
}

/* Is the character a word of its own? BERT's list of ideographs, with the gap that Hugging Face's Rust code has. */
static inline bool bnf_is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xF900 && c <= 0xFAFF)
           || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F)
           || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

#endif
