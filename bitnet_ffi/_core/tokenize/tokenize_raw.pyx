# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# BPE on the text itself instead of the byte alphabet: merging begins with characters, and what is no token becomes <0xHH> for
# each byte, or nothing. Gemma 4 and its like write spaces as U+2581 and merge lines, line feeds apart; 'whitespace' merges what
# stands between white space. A line is merged in parts, cut where no token reaches from one character to the next.
# Next: merge.pyx; csrc/bnf_split.c cuts the lines and words.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, int64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_TOKENIZE
from bitnet_ffi._core.bnf_trie cimport bnf_lower_char
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_category_set, bnf_ids, bnf_ids_add, bnf_join_bytes, bnf_joins, bnf_key_find_bytes, bnf_merge_reserve, bnf_merge_scratch,
    bnf_merge_word, bnf_ranges_repaired, bnf_ranges_spaces, bnf_split_next, bnf_split_start, bnf_split_t, bnf_utf8_decode,
    bnf_utf8_encode, bnf_utf8_is_clean, bnf_utf8_repair, bnf_vocab_t, BNF_IN_S, BNF_NO_TOKEN, BNF_PRE_GEMMA4, BNF_PRE_WHITESPACE,
    BNF_SHORT_WORD)

cdef enum:
    LONGEST = 0x7FFFFFFF   # bytes of one stretch, spaces escaped: positions in a word are 32 bits wide


# Every character of clean text in its small form; it grows at most from two bytes to three.
cdef size_t lower(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at = 0, written = 0
    cdef uint32_t c = 0
    while at < length:
        at += bnf_utf8_decode(text + at, length - at, &c)
        written += bnf_utf8_encode(bnf_lower_char(c), out + written)
    return written


cdef void escape(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at, written = 0
    for at in range(length):
        if text[at] == c' ':
            memcpy(out + written, "\xe2\x96\x81", 3)
            written += 3
        else:
            out[written] = text[at]
            written += 1


cdef int merge_line(const bnf_vocab_t *v, const uint8_t *line, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids) noexcept nogil:
    cdef size_t at = 0, begin = 0, n
    cdef uint8_t first = 0, last = 0, before
    cdef int status = 0
    while at < length and status == 0:
        before = last
        n = bnf_join_bytes(line + at, length - at, &first, &last)
        if at > begin and not bnf_joins(v, before, first):
            status = bnf_merge_word(v, line + begin, at - begin, scratch, ids)
            begin = at
        at += n
    return bnf_merge_word(v, line + begin, length - begin, scratch, ids) if status == 0 else status


cdef int merge_lines(const bnf_vocab_t *v, const uint8_t *text, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids) noexcept nogil:
    cdef bnf_split_t split
    cdef const uint8_t *line
    cdef size_t n
    cdef uint32_t whole
    cdef int status = 0
    bnf_split_start(&split, v.pre, text, length)
    while split.pos < split.end and status == 0:
        line = split.pos
        n = <size_t>(bnf_split_next(&split) - line)
        whole = BNF_NO_TOKEN
        if v.pre == BNF_PRE_GEMMA4 and line[0] == c'\n':   # line feeds are one token where there is one, whatever the merges say
            whole = bnf_key_find_bytes(v, line, n, scratch.end)
        if whole != BNF_NO_TOKEN:
            bnf_ids_add(ids, whole, line, n)
        elif not v.drop_white or not is_white(line, n):
            status = merge_line(v, line, n, scratch, ids)
    return status


cdef inline bool is_white(const uint8_t *text, size_t length) noexcept nogil:
    cdef uint32_t c = 0
    bnf_utf8_decode(text, length, &c)
    return bnf_category_set(c) & BNF_IN_S != 0


# Places in the text that was merged, from `first` on, as places in the one that was given: broken bytes were replaced after
# spaces were escaped, as in llama.cpp, so an overlong space is none.
cdef void place(const uint8_t *text, const uint8_t *escaped, size_t n_escaped, bool clean, bnf_ids *ids, int64_t first) noexcept nogil:
    cdef int64_t n = (ids.n if ids.n < ids.cap else ids.cap) - first
    ids.base = text
    if ids.ranges == NULL or n <= 0:
        return
    if not clean:
        bnf_ranges_repaired(escaped, n_escaped, False, 0, ids.ranges + 2 * first, n)
    bnf_ranges_spaces(text, False, 0, ids.ranges + 2 * first, n)


cdef public int bnf_tokenize_raw(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch,
                                 bnf_ids *ids) noexcept nogil:
    cdef bool clean = bnf_utf8_is_clean(text, length), escapes = vocab.pre != BNF_PRE_WHITESPACE
    cdef size_t n_escaped = length, n, i
    cdef int64_t first = ids.n
    cdef const uint8_t *escaped = text
    cdef const uint8_t *last = text
    cdef uint8_t *out
    cdef int status
    for i in range(length if escapes else 0):
        n_escaped += 2 if text[i] == c' ' else 0
    n = n_escaped if clean else 3 * n_escaped
    if n > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most 2147483647 when escaped", length)
    status = bnf_merge_reserve(scratch, n_escaped + 2 * n + (n >> 1) + BNF_SHORT_WORD)   # three texts, the last in small letters
    if status < 0:
        return status
    out = scratch.bytes
    if escapes:
        escape(text, length, out)
        escaped = out
        last = out
        out += n_escaped
    n = n_escaped
    if not clean:
        n = bnf_utf8_repair(escaped, n_escaped, out)
        last = out
        out += n
    if vocab.match.lowercase:
        n = lower(last, n, out)
        last = out
    scratch.end = last + n
    ids.base = last
    status = merge_lines(vocab, last, n, scratch, ids)
    if escapes:
        place(text, escaped, n_escaped, clean, ids, first)
    return status
