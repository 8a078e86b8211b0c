/* The expression that most families share, from GPT-2's to o200k's: contractions, letters, numbers, marks, white space.
 * What a family has of each is a constant `struct style`; the functions are inlined, so that nothing is asked at run time.
 * Only bnf_split.c includes this. All read clean UTF-8 in [p, stop), p < stop, and look at no byte outside of it. */
#ifndef BNF_SPLIT_WORDS_H
#define BNF_SPLIT_WORDS_H

#include "bnf_split.h"
#include "bnf_unicode.h"

#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- runs ---- */

/* How many of the eight bytes at p are ASCII letters before the first other one. */
INLINE size_t letters8(const uint8_t *p)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t x;
    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    const uint64_t low = (x | 0x20 * ones) & 0x7F * ones;
    /* Bit 7 of each byte: low + 31 is at least 128 from 'a' on, low + 5 from 'z' + 1 on; no byte carries, 127 + 31 < 256. */
    const uint64_t letter = (low + 31 * ones) & ~(low + 5 * ones) & ~x & 0x80 * ones;
    const uint64_t other = letter ^ 0x80 * ones;
    return other ? (size_t)__builtin_ctzll(other) / 8 : 8;
}

/* The first character from p on that is not in the set. */
INLINE const uint8_t *skip(const uint8_t *p, const uint8_t *stop, uint32_t chars)
{
    const uint8_t *next;
    if ((chars & BNF_IN_L) == BNF_IN_L) {
        while (stop - p >= 8) {
            const size_t n = letters8(p);
            p += n;
            if (n < 8)
                break;
        }
    }
    while (p < stop && bnf_utf8_set(p, &next) & chars)
        p = next;
    return p;
}

/* At most n characters of the set. */
INLINE const uint8_t *skip_most(const uint8_t *p, const uint8_t *stop, uint32_t chars, uint32_t n)
{
    const uint8_t *next;
    for (; n > 0 && p < stop && bnf_utf8_set(p, &next) & chars; n--)
        p = next;
    return p;
}

INLINE bool is_line(uint8_t c) { return c == '\r' || c == '\n'; }
INLINE bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
INLINE bool is_upper(uint8_t c) { return c >= 'A' && c <= 'Z'; }
INLINE bool is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }

/* Length of 's 't 'm 'd 're 've 'll at p, or 0. `fold` is 0x20 to take capitals too, else 0. */
INLINE size_t contraction(const uint8_t *p, const uint8_t *stop, uint8_t fold)
{
    if (p == stop || p[0] != '\'' || stop - p < 2)
        return 0;
    const uint8_t a = p[1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if (stop - p < 3)
        return 0;
    const uint8_t b = p[2] | fold;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* ---- white space; p is white ---- */

/* \s+(?!\S)|\s+ : all but the last character when something follows that is not white. */
INLINE const uint8_t *spaces(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *first = p, *last = p, *next;
    while (p < stop && bnf_utf8_set(p, &next) & BNF_IN_S) {
        last = p;
        p = next;
    }
    return p < stop && last > first ? last : p;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line end, if there is one. */
INLINE const uint8_t *lines(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *first = p, *last = p, *line = NULL, *next;
    while (p < stop && bnf_utf8_set(p, &next) & BNF_IN_S) {
        if (is_line(*p))
            line = next;
        last = p;
        p = next;
    }
    return line != NULL ? line : p < stop && last > first ? last : p;
}

/* \s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)| ... |\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1} */
INLINE const uint8_t *doubled_spaces(struct bnf_split *split, const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *at, *next;
    if (p >= split->clear) {
        const uint8_t *line = NULL;
        for (at = p; at < stop && bnf_utf8_set(at, &next) & BNF_IN_S; at = next)
            if (is_line(*at))
                line = next;
        if (line != NULL)
            return line;
        split->clear = at;
    }
    /* end[k]: after 2^k characters, as far as those and one more, or the end of the text, may follow */
    const uint8_t *best = NULL, *one = NULL;
    uint32_t n = 0;
    for (at = p; at < stop && n <= 512; at = next) {
        const bool white = (bnf_utf8_set(at, &next) & BNF_IN_S) != 0;
        if (white && n > 0 && (n & (n - 1)) == 0)
            best = at;
        if (!white)
            break;
        if (n++ == 0)
            one = next;
    }
    if (at == stop && n > 0 && n <= 512 && (n & (n - 1)) == 0)
        best = stop;
    return best != NULL ? best : one;
}

/* ---- words ---- */

enum contraction_place { NO_CONTRACTION, CONTRACTION_FIRST, CONTRACTION_LAST }; /* a word by itself; the end of a word of letters */
enum tail { NO_TAIL, TAIL_LINES, TAIL_SLASHES, TAIL_ONE }; /* after marks: nothing, [\r\n]*, [\r\n/]*, [\r\n/]? */
enum white { WHITE_LINES, WHITE_ONE_LINE, WHITE_DOUBLED }; /* lines(); [\r\n] by itself, then spaces(); doubled_spaces() */

struct style {
    uint32_t letters;  /* what a word of letters is made of */
    uint32_t barred;   /* what cannot stand in front of one; nor can \r and \n */
    uint32_t marks;    /* what runs of marks are made of, a space in front */
    uint32_t n_digits; /* the longest number */
    enum contraction_place contraction;
    enum tail tail;
    enum white white;
    bool cased;        /* a word ends where a capital of ASCII follows a small letter: o200k */
    bool phrases;      /* words of letters go on over single spaces, and marks (Mn, Mc, Me) stay with their letter */
    bool han;          /* Han characters are words apart */
    bool tagged;       /* [ASCII punctuation][A-Za-z]+ comes first */
};

#define LETTERS_OR_ACCENTS (BNF_IN_L | BNF_IN_M)
#define NOT_WORD ~(uint32_t)(BNF_IN_L | BNF_IN_N | BNF_IN_S)

/* What llama.cpp takes for Han: whole blocks, their unassigned code points too. */
INLINE bool is_han(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF)
        || (c >= 0x2A700 && c <= 0x2EBEF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Letters as o200k has them, p being one: [^a-z]*[^A-Z]+ , else [^a-z]+[^A-Z]* , of letters each. A letter outside of ASCII
 * counts as both, so the first part takes capitals and those; if no small letter follows, it gives back what comes after
 * the last of those. What was given back is all capitals, and is passed over just once more. */
INLINE const uint8_t *cased_letters(const uint8_t *p, const uint8_t *stop, uint32_t letters)
{
    const uint8_t *next, *both = NULL;
    while (p < stop && bnf_utf8_set(p, &next) & letters && !is_lower(*p)) {
        if (*p >= 0x80)
            both = next;
        p = next;
    }
    if (p == stop || !is_lower(*p))
        return both != NULL ? both : p;
    while (p < stop && bnf_utf8_set(p, &next) & letters && !is_upper(*p))
        p = next;
    return p;
}

/* (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ , p being a letter. */
INLINE const uint8_t *phrase(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *next;
    for (;;) {
        p = skip(p, stop, LETTERS_OR_ACCENTS);
        if (stop - p < 2 || *p != ' ' || !(bnf_utf8_set(p + 1, &next) & BNF_IN_L))
            return p;
        p = next;
    }
}

INLINE const uint8_t *han(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *next;
    while (p < stop && is_han(bnf_utf8_char(p, &next)))
        p = next;
    return p;
}

INLINE const uint8_t *letters_but_han(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *next;
    while (p < stop && bnf_utf8_set(p, &next) & BNF_IN_L && !is_han(bnf_utf8_char(p, &next)))
        p = next;
    return p;
}

/* Does a word of letters begin at p? */
INLINE bool is_letter(const uint8_t *p, uint32_t set, struct style st)
{
    const uint8_t *next;
    return set & (st.phrases ? BNF_IN_L : st.letters) && !(st.han && is_han(bnf_utf8_char(p, &next)));
}

/* The word of letters at p, whose first character has been looked at. */
INLINE const uint8_t *letters(const uint8_t *p, const uint8_t *stop, struct style st)
{
    const uint8_t *e = st.cased ? cased_letters(p, stop, st.letters) : st.phrases ? phrase(p, stop)
                     : st.han ? letters_but_han(p, stop) : skip(p, stop, st.letters);
    return st.contraction == CONTRACTION_LAST ? e + contraction(e, stop, 0x20) : e;
}

/* The word that begins at p, or NULL when no alternative matches there. */
INLINE const uint8_t *word(struct bnf_split *split, const uint8_t *p, const uint8_t *stop, struct style st)
{
    const uint8_t *next, *after;
    if (st.contraction == CONTRACTION_FIRST) {
        const size_t n = contraction(p, stop, 0x20);
        if (n)
            return p + n;
    }
    const uint32_t set = bnf_utf8_set(p, &next);
    if (st.tagged && *p < 0x80 && set & (BNF_IN_P | BNF_IN_SYMBOL) && next < stop && (is_lower(*next) || is_upper(*next))) {
        while (next < stop && (is_lower(*next) || is_upper(*next)))
            next++;
        return next;
    }
    if (st.han && is_han(bnf_utf8_char(p, &next)))
        return han(next, stop);
    if (is_letter(p, set, st))
        return letters(p, stop, st);
    const uint32_t second = next < stop ? bnf_utf8_set(next, &after) : 0;
    if (second && is_letter(next, second, st) && !(set & st.barred) && !is_line(*p))
        return letters(next, stop, st);
    if (st.n_digits && set & BNF_IN_N)
        return skip_most(next, stop, BNF_IN_N, st.n_digits - 1);
    if (set & st.marks || (*p == ' ' && second & st.marks)) {
        p = skip(next, stop, st.marks);
        if (st.tail == TAIL_ONE)
            return p < stop && (is_line(*p) || *p == '/') ? p + 1 : p;
        while (st.tail != NO_TAIL && p < stop && (is_line(*p) || (st.tail == TAIL_SLASHES && *p == '/')))
            p++;
        return p;
    }
    if (!(set & BNF_IN_S))
        return NULL;
    if (st.white == WHITE_DOUBLED)
        return doubled_spaces(split, p, stop);
    if (st.white == WHITE_ONE_LINE)
        return is_line(*p) ? next : spaces(p, stop);
    return lines(p, stop);
}

/* The next piece: a word, or everything before the next word. */
INLINE const uint8_t *piece(struct bnf_split *split, const uint8_t *p, const uint8_t *stop, struct style st)
{
    const uint8_t *e = word(split, p, stop, st);
    if (e != NULL)
        return e;
    do
        bnf_utf8_char(p, &p);
    while (p < stop && word(split, p, stop, st) == NULL);
    return p;
}

/* GPT-2:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
INLINE const uint8_t *gpt2_word(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *start = p, *next;
    const size_t n = contraction(p, stop, 0);
    if (n)
        return p + n;
    if (*p == ' ' && p + 1 < stop)
        p++;
    const uint32_t set = bnf_utf8_set(p, &next);
    if (set & BNF_IN_L)
        return skip(next, stop, BNF_IN_L);
    if (set & BNF_IN_S)
        return spaces(start, stop);
    return set & BNF_IN_N ? skip(next, stop, BNF_IN_N) : skip(next, stop, NOT_WORD);
}

#endif
