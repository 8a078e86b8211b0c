# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Where tokens stand in the text that the caller gave, when another text was merged: one with its spaces as U+2581 (SPM),
# or with its invalid bytes as U+FFFD and overlong characters shortened (BPE). Both texts are walked once, side by side.
# A token that holds a part of a changed character gets all of it. Next: tokenize.pyx calls this for each stretch.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t
from bitnet_ffi._core.bnf_public cimport bool
from bitnet_ffi._core.bnf_trie cimport bnf_lower_char
from bitnet_ffi._core.bnf_vocab cimport bnf_utf8_decode, bnf_utf8_encode

cdef struct Cursor:
    size_t merged, given   # the same place in both texts, at the beginning of a character


# The character at the cursor that place `end` of the merged text lies inside of, or the cursor at `end`.
cdef inline void seek_spaces(const uint8_t *text, Cursor *c, size_t end) noexcept nogil:
    cdef size_t width
    while c.merged < end:
        width = 3 if text[c.given] == c' ' else 1
        if c.merged + width > end:
            return
        c.merged += width
        c.given += 1


cdef public void bnf_ranges_spaces(const uint8_t *text, bool lead, int32_t begin, int32_t *ranges, int64_t n) noexcept nogil:
    cdef Cursor c
    cdef int64_t i
    cdef size_t end
    c.merged = 3 if lead else 0   # the space in front is nowhere in the text
    c.given = 0
    for i in range(n):
        end = <size_t>ranges[2 * i + 1]
        seek_spaces(text, &c, <size_t>ranges[2 * i])
        ranges[2 * i] = begin + <int32_t>c.given
        seek_spaces(text, &c, end)
        ranges[2 * i + 1] = begin + <int32_t>(c.given + (c.merged < end))


# Likewise; *width is what the character at the cursor has in the text that was given, *same that it has it in both.
cdef inline void seek_repaired(const uint8_t *text, size_t length, bool lower, Cursor *c, size_t end, size_t *width,
                               bool *same) noexcept nogil:
    cdef uint8_t[4] written
    cdef uint32_t code_point = 0
    cdef size_t merged_width
    while c.merged < end:
        width[0] = bnf_utf8_decode(text + c.given, length - c.given, &code_point)
        merged_width = bnf_utf8_encode(bnf_lower_char(code_point) if lower else code_point, written) if width[0] else 3
        same[0] = width[0] == merged_width
        if width[0] == 0:
            width[0] = 1
        if c.merged + merged_width > end:
            return
        c.merged += merged_width
        c.given += width[0]


cdef public void bnf_ranges_repaired(const uint8_t *text, size_t length, bool lower, int32_t begin, int32_t *ranges,
                                     int64_t n) noexcept nogil:
    cdef Cursor c
    cdef int64_t i
    cdef size_t place, width = 0
    cdef bool same = True
    c.merged = 0
    c.given = 0
    for i in range(n):
        place = <size_t>ranges[2 * i]
        seek_repaired(text, length, lower, &c, place, &width, &same)
        ranges[2 * i] = begin + <int32_t>(c.given + (place - c.merged if same else 0))
        place = <size_t>ranges[2 * i + 1]
        seek_repaired(text, length, lower, &c, place, &width, &same)
        ranges[2 * i + 1] = begin + <int32_t>(c.given + (place - c.merged if same or place == c.merged else width))
