# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# WordPiece, as BERT has it and llama.cpp reads it. A text becomes words: white space ends a word, punctuation marks, ASCII
# symbols and ideographs are words of their own, control characters vanish, letters lose accents and case. A word, with U+2581
# before it, is cut greedily into the longest tokens; when a part is no token, all of the word becomes the unknown token.
# One pass, a trie step for each byte and at most the longest token's length more where a match ends. Next: csrc/bnf_trie.h.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int64_t, uint32_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_TOKENIZE
from bitnet_ffi._core.bnf_trie cimport (
    bnf_base_char, bnf_is_ideograph, bnf_lower_char, bnf_trie_longest, BNF_IN_CONTROL, BNF_IN_M, BNF_IN_SYMBOL)
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_category_set, bnf_ids, bnf_ids_add, bnf_merge_reserve, bnf_merge_scratch, bnf_utf8_decode, bnf_utf8_encode, bnf_utf8_len,
    bnf_vocab_t, BNF_IN_P, BNF_IN_S, BNF_NO_TOKEN, BNF_UNK)

cdef enum:
    LEAD = 3               # bytes of U+2581
    LONGEST = 0x7FFFFFFF   # bytes of one stretch, so that places in it fit 32 bits


# Token [begin, end) of the word in out; source[] says at which character of the text each byte of the word was made.
cdef inline void add(bnf_ids *ids, uint32_t token, const uint32_t *source, size_t begin, size_t end) noexcept nogil:
    cdef const uint8_t *first = ids.base
    cdef size_t length = 0
    if ids.ranges != NULL:
        begin = LEAD if begin < LEAD else begin   # U+2581 stands nowhere in the text
        end = begin if end < begin else end
        first += source[begin]
        if end > begin:
            length = source[end - 1] + bnf_utf8_len(ids.base[source[end - 1]]) - source[begin]
    bnf_ids_add(ids, token, first, length)


# The word in out[LEAD, end), U+2581 before it.
cdef void match_word(const bnf_vocab_t *v, const uint8_t *out, const uint8_t *end, const uint32_t *source, bnf_ids *ids) noexcept nogil:
    cdef const uint8_t *at = out
    cdef int64_t before = ids.n
    cdef size_t length = 0
    cdef uint32_t token
    while at < end:
        token = bnf_trie_longest(&v.match.tokens, at, end, &length)
        if token == BNF_NO_TOKEN:
            ids.n = before   # what was written behind is taken back
            if v.special[<int>BNF_UNK] >= 0:
                add(ids, <uint32_t>v.special[<int>BNF_UNK], source, 0, <size_t>(end - out))
            return
        add(ids, token, source, <size_t>(at - out), <size_t>(at - out) + length)
        at += length


# Is it a word of its own?
cdef inline bool stands_alone(uint32_t c, uint32_t category) noexcept nogil:
    return category & BNF_IN_P != 0 or (c < 0x7F and category & BNF_IN_SYMBOL != 0) or bnf_is_ideograph(c)


# One character of the word, made of the one at `given` in the text. Returns its bytes.
cdef inline size_t write(uint32_t c, uint8_t *p, const uint8_t *out, uint32_t *source, const bnf_ids *ids,
                         const uint8_t *given) noexcept nogil:
    cdef size_t n = bnf_utf8_encode(c, p), i
    if ids.ranges != NULL:
        for i in range(n):
            source[<size_t>(p - out) + i] = <uint32_t>(given - ids.base)
    return n


# Bytes that are no UTF-8 vanish, as U+FFFD does. A character grows at most from two bytes to three or from three to four.
cdef public int bnf_tokenize_wordpiece(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch,
                                       bnf_ids *ids) noexcept nogil:
    cdef const uint8_t *end = text + length
    cdef uint8_t *out
    cdef uint8_t *word
    cdef uint8_t *p
    cdef uint32_t *source
    cdef size_t n, size = (length + (length >> 1) + LEAD + 7) & ~<size_t>3
    cdef uint32_t c = 0, category
    cdef int status
    if length > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most 2147483647", length)
    status = bnf_merge_reserve(scratch, size + (size * sizeof(uint32_t) if ids.ranges != NULL else 0))
    if status < 0:
        return status
    out = scratch.bytes
    source = <uint32_t *>(out + size)
    ids.base = text
    memcpy(out, "\xe2\x96\x81", LEAD)
    word = out + LEAD
    p = word
    while text < end:
        n = bnf_utf8_decode(text, <size_t>(end - text), &c)
        if n == 0:
            text += 1
            continue
        text += n
        if vocab.match.strip_accents:
            c = bnf_base_char(c)
        category = bnf_category_set(c)
        if category & BNF_IN_S:
            if p > word:
                match_word(vocab, out, p, source, ids)
                p = word
            continue
        if c == 0xFFFD or category & BNF_IN_CONTROL or (vocab.match.strip_accents and category & BNF_IN_M):
            continue
        if stands_alone(c, category):
            if p > word:
                match_word(vocab, out, p, source, ids)
            p = word + write(bnf_lower_char(c) if vocab.match.lowercase else c, word, out, source, ids, text - n)
            match_word(vocab, out, p, source, ids)
            p = word
        else:
            p += write(bnf_lower_char(c) if vocab.match.lowercase else c, p, out, source, ids, text - n)
    if p > word:
        match_word(vocab, out, p, source, ids)
    return 0
