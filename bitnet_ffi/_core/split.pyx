# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Pre-tokenizers: where byte-level BPE cuts a text into words before merging. One hand-written matcher per family, equal
# to the regular expression above it. They read clean UTF-8 (bnf_utf8_is_clean), allocate nothing and never look further
# back than the word's first character; a character is looked at a bounded number of times, so any text is linear.
# A family that first cuts the text into stretches (default, smollm) keeps the end of the current one in split.stop.
# Next: merge.pyx turns a word into tokens; bnf_pre_names in csrc/bnf_vocab_names.c says which file uses which family.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from bitnet_ffi._core.bnf_vocab cimport (
    bool, bnf_split_t, bnf_utf8_set, BNF_IN_L, BNF_IN_N, BNF_IN_P, BNF_IN_S,
    BNF_PRE_GPT2, BNF_PRE_LLAMA3, BNF_PRE_SMOLLM)


# The first character from p on, before stop, that is not in the set.
cdef inline const uint8_t *skip(const uint8_t *p, const uint8_t *stop, uint32_t chars) noexcept nogil:
    cdef const uint8_t *next = p
    while p < stop and bnf_utf8_set(p, &next) & chars:
        p = next
    return p


# Length of 's 't 'm 'd 're 've 'll at p, or 0. `fold` is 0x20 to take capitals too, else 0.
cdef inline size_t contraction(const uint8_t *p, const uint8_t *stop, uint8_t fold) noexcept nogil:
    cdef uint8_t a, b
    if p[0] != c"'" or stop - p < 2:
        return 0
    a = p[1] | fold
    if a == c's' or a == c't' or a == c'm' or a == c'd':
        return 2
    if stop - p < 3:
        return 0
    b = p[2] | fold
    if (a == c'r' and b == c'e') or (a == c'v' and b == c'e') or (a == c'l' and b == c'l'):
        return 3
    return 0


# \s+(?!\S)|\s+ : white space, all but its last character when something follows that is not white space.
cdef inline const uint8_t *spaces(const uint8_t *p, const uint8_t *stop) noexcept nogil:
    cdef const uint8_t *first = p
    cdef const uint8_t *last = p
    cdef const uint8_t *next = p
    while p < stop and bnf_utf8_set(p, &next) & BNF_IN_S:
        last = p
        p = next
    return last if p < stop and last > first else p


# GPT-2:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
cdef const uint8_t *gpt2(const uint8_t *p, const uint8_t *stop) noexcept nogil:
    cdef const uint8_t *start = p
    cdef const uint8_t *next
    cdef uint32_t chars
    cdef size_t n = contraction(p, stop, 0)
    if n:
        return p + n
    if p[0] == c' ' and p + 1 < stop:
        p += 1
    next = p
    chars = bnf_utf8_set(p, &next)
    if chars & BNF_IN_S:
        return spaces(start, stop)
    if chars & BNF_IN_L:
        return skip(next, stop, BNF_IN_L)
    if chars & BNF_IN_N:
        return skip(next, stop, BNF_IN_N)
    return skip(next, stop, ~<uint32_t>(BNF_IN_L | BNF_IN_N | BNF_IN_S))


# Llama 3:  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
# where case is folded for ASCII only.
cdef const uint8_t *llama3(const uint8_t *p, const uint8_t *stop) noexcept nogil:
    cdef const uint8_t *start = p
    cdef const uint8_t *next = p
    cdef const uint8_t *after = p
    cdef const uint8_t *line = NULL
    cdef uint32_t chars, second = 0
    cdef size_t n = contraction(p, stop, 0x20)
    if n:
        return p + n
    chars = bnf_utf8_set(p, &next)
    if chars & BNF_IN_L:
        return skip(next, stop, BNF_IN_L)
    if chars & BNF_IN_N:
        for n in range(2):
            p = next
            if p == stop or not bnf_utf8_set(p, &next) & BNF_IN_N:
                return p
        return next
    if next < stop:
        second = bnf_utf8_set(next, &after)
    if second & BNF_IN_L and p[0] != c'\r' and p[0] != c'\n':
        return skip(after, stop, BNF_IN_L)
    if not chars & BNF_IN_S or (p[0] == c' ' and second and not second & (BNF_IN_S | BNF_IN_N)):
        p = skip(next, stop, ~<uint32_t>(BNF_IN_L | BNF_IN_N | BNF_IN_S))
        while p < stop and (p[0] == c'\r' or p[0] == c'\n'):
            p += 1
        return p
    while p < stop and bnf_utf8_set(p, &next) & BNF_IN_S:
        if p[0] == c'\r' or p[0] == c'\n':
            line = next
        p = next
    return line if line != NULL else spaces(start, stop)


# [0-9][0-9][0-9] within a run of \p{N}: a triple, or what comes before the next triple.
cdef const uint8_t *triples(const uint8_t *p, const uint8_t *stop) noexcept nogil:
    cdef const uint8_t *start = p
    cdef const uint8_t *next = p
    while p < stop and bnf_utf8_set(p, &next) & BNF_IN_N:
        if stop - p >= 3 and is_digit(p[0]) and is_digit(p[1]) and is_digit(p[2]):
            return p if p > start else p + 3
        p = next
    return p


cdef inline bool is_digit(uint8_t c) noexcept nogil:
    return c >= c'0' and c <= c'9'


# [\p{P}$+<=>^~|] : all ASCII punctuation but the back quote, and every other \p{P}.
cdef inline bool is_mark(const uint8_t *p, const uint8_t **next) noexcept nogil:
    cdef uint32_t chars = bnf_utf8_set(p, next)
    cdef uint8_t c = p[0]
    return chars & BNF_IN_P or c == c'$' or c == c'+' or (c >= c'<' and c <= c'>') or c == c'^' or c == c'~' or c == c'|'


# llama.cpp's "default", four expressions one after the other, each cutting the words of the one before:
# [\p{P}\$\+<=>\^~\|]+   GPT-2's   \p{N}+   [0-9][0-9][0-9]
cdef const uint8_t *default(bnf_split_t *split) noexcept nogil:
    cdef const uint8_t *p = split.pos
    cdef const uint8_t *next = p
    cdef const uint8_t *after = p
    cdef bool marks
    if p == split.stop:
        marks = is_mark(p, &next)
        while next < split.end and is_mark(next, &after) == marks:
            next = after
        split.stop = next
    if bnf_utf8_set(p, &next) & BNF_IN_N:
        return triples(p, split.stop)
    if p[0] == c' ' and next < split.stop and bnf_utf8_set(next, &after) & BNF_IN_N:
        return next
    return gpt2(p, split.stop)


# \p{N} by itself, then GPT-2 between the numbers.
cdef const uint8_t *smollm(bnf_split_t *split) noexcept nogil:
    cdef const uint8_t *p = split.pos
    cdef const uint8_t *next = p
    if p == split.stop:
        if bnf_utf8_set(p, &next) & BNF_IN_N:
            split.stop = next
            return next
        split.stop = skip(next, split.end, ~<uint32_t>BNF_IN_N)
    return gpt2(p, split.stop)


cdef public const uint8_t *bnf_split_next(bnf_split_t *split) noexcept nogil:
    if split.pre == BNF_PRE_GPT2:
        split.pos = gpt2(split.pos, split.end)
    elif split.pre == BNF_PRE_LLAMA3:
        split.pos = llama3(split.pos, split.end)
    elif split.pre == BNF_PRE_SMOLLM:
        split.pos = smollm(split)
    else:
        split.pos = default(split)
    return split.pos
