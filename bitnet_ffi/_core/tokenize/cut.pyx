# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Where a text may be cut and tokenized in parts: before a space between two letters of ASCII. Why that is safe:
#   BPE: every pre-tokenizer ends a word of letters before a space and looks no further than the word (what looks ahead is
#     white space and digits), and begins afresh at the next. The few whose words go on over spaces are found by trying.
#   SPM, and BPE on the text itself: when no token has a space behind that letter, no merge crosses (bnf_joins).
#   Special tokens: none may stand across the place, and none may end at it (it could strip the space, or want one).
# Other families have no such place. Next: tokenize.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t
from libc.string cimport memcmp
from bitnet_ffi._core.bnf_public cimport bool, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_VOCAB_TYPE_BPE
from bitnet_ffi._core.bnf_vocab cimport bnf_joins, bnf_split_next, bnf_split_start, bnf_split_t, bnf_strings_get, bnf_vocab_t


cdef inline bool is_letter(uint8_t c) noexcept nogil:
    return (c >= c'a' and c <= c'z') or (c >= c'A' and c <= c'Z')


# Do words of letters end before spaces?
cdef bool words_end(const bnf_vocab_t *v) noexcept nogil:
    cdef const uint8_t *text = <const uint8_t *>"ab cd ef"
    cdef bnf_split_t split
    bnf_split_start(&split, v.pre, text, 8)
    return bnf_split_next(&split) == text + 2 and bnf_split_next(&split) == text + 5 and bnf_split_next(&split) == text + 8


# Does no merge cross from the letter to the space behind it? A broken lead byte in front of the letter takes both along.
cdef inline bool spm_ends(const bnf_vocab_t *v, const uint8_t *text, size_t at) noexcept nogil:
    return not bnf_joins(v, text[at - 1], c' ') and not (at > 1 and text[at - 2] >= 0xE0) and not (at > 2 and text[at - 3] >= 0xF0)


# Could a special token stand across `at`, as far as the text is known, or does one end there?
cdef bool special_at(const bnf_vocab_t *v, const uint8_t *text, size_t length, size_t at, bool parse_special) noexcept nogil:
    cdef int32_t i
    cdef uint32_t n = 0, k
    cdef size_t known
    cdef const uint8_t *bytes
    for i in range(v.n_specials):
        if not parse_special and v.attr[v.specials[i]] & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN):
            continue
        bytes = bnf_strings_get(&v.text, <uint32_t>v.specials[i], &n)
        if n <= at and bytes[n - 1] == text[at - 1] and memcmp(text + at - n, bytes, n) == 0:
            return True
        for k in range(1, n):
            if bytes[k] == c' ' and k <= at:
                known = n if n < length - at + k else length - at + k
                if memcmp(text + at - k, bytes, known) == 0:
                    return True
    return False


cdef public size_t bnf_tokenize_cut(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bool parse_special) noexcept nogil:
    cdef size_t at = length - 1 if length > 2 else 0
    if vocab.dna or not (vocab.by_chars or (vocab.type == LLAMA_VOCAB_TYPE_BPE and words_end(vocab))):
        return 0
    while at > 1:
        at -= 1
        if text[at] == c' ' and is_letter(text[at - 1]) and is_letter(text[at + 1]) \
                and (not vocab.by_chars or spm_ends(vocab, text, at)) \
                and not special_at(vocab, text, length, at, parse_special):
            return at
    return 0
