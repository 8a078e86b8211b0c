# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# BPE on the text itself instead of the byte alphabet: merging begins with characters, and what is no token becomes <0xHH> for
# each byte, or nothing. Gemma 4 and its like write spaces as U+2581 and merge lines, line feeds apart; 'whitespace' merges what
# stands between white space. A line is merged in parts, cut where no token reaches from one character to the next.
# Next: merge.pyx; csrc/bnf_split.c cuts the lines and words.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, int64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf cimport BITNET_ERROR_TOKENIZE, bnf_fail
from bitnet_ffi._core.bnf_vocab cimport (
    bool, bnf_vocab_t, bnf_ids, bnf_ids_add, bnf_merge_scratch, bnf_split_t, bnf_split_start, bnf_split_next, bnf_merge_reserve,
    bnf_merge_word, bnf_key_find_bytes, bnf_joins, bnf_join_bytes, bnf_utf8_is_clean, bnf_utf8_repair, bnf_utf8_decode,
    bnf_utf8_encode, bnf_category_set, bnf_ranges_spaces, BNF_SHORT_WORD, BNF_NO_TOKEN, BNF_IN_S, BNF_PRE_GEMMA4, BNF_PRE_WHITESPACE)
from bitnet_ffi._core.bnf_trie cimport bnf_lower_char

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


cdef size_t escape(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at, written = 0
    for at in range(length):
        if text[at] == c' ':
            memcpy(out + written, "\xe2\x96\x81", 3)
            written += 3
        else:
            out[written] = text[at]
            written += 1
    return written


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


cdef public int bnf_tokenize_raw(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch,
                                 bnf_ids *ids) noexcept nogil:
    cdef bool clean = bnf_utf8_is_clean(text, length), escapes = vocab.pre != BNF_PRE_WHITESPACE
    cdef size_t n_repaired = length if clean else 3 * length, n_spaces = 0, i
    cdef int64_t first = ids.n
    cdef uint8_t *out
    cdef int status
    for i in range(length):
        n_spaces += escapes and text[i] == c' '
    if length + 2 * n_spaces > LONGEST or n_repaired > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most 2147483647 when escaped", length)
    # Room for the text with its broken bytes replaced, and behind it for what is merged.
    status = bnf_merge_reserve(scratch, 2 * n_repaired + (n_repaired >> 1) + 2 * n_spaces + BNF_SHORT_WORD)
    if status < 0:
        return status
    out = scratch.bytes
    scratch.end = out + scratch.cap_bytes
    if not clean:
        length = bnf_utf8_repair(text, length, out)
        text = out
        out += length
    ids.base = out
    if escapes:
        n_repaired = escape(text, length, out)
    elif vocab.match.lowercase:
        n_repaired = lower(text, length, out)
    else:
        memcpy(out, text, length)
        n_repaired = length
    status = merge_lines(vocab, out, n_repaired, scratch, ids)
    if escapes and ids.ranges != NULL and first < ids.cap:
        bnf_ranges_spaces(text, False, 0, ids.ranges + 2 * first, (ids.n if ids.n < ids.cap else ids.cap) - first)
    if not vocab.match.lowercase:
        ids.base = text   # ranges are those of this text now
    return status
