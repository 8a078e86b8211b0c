/* Cutting a text without cutting a character. For sentences and log lines; the tokenizers have their own decoder. */
#ifndef BNF_UTF8_H
#define BNF_UTF8_H

#include <stddef.h>

/* The greatest length <= n that does not end inside a UTF-8 character; text has at least n bytes. In text that is not
 * UTF-8 at most three bytes are given up. */
static inline size_t bnf_utf8_cut(const char *text, size_t n)
{
    for (size_t back = 1; back <= 4 && back <= n; back++) {
        const unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xc0) == 0x80)
            continue; /* a continuation byte: its lead byte is further left */
        const size_t want = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        return back < want ? n - back : n;
    }
    return n;
}

#endif
