/* Bytes that are counted, or go to or come from memory, one after the other: one text of a format serves all three. The first failure
 * sets the last error, and everything after it does nothing.
 * Next: bitnet_ffi/_core/cache/state.pyx; bnf_store.h for files. */
#ifndef BNF_STREAM_H
#define BNF_STREAM_H

#include "bnf_error.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

struct bnf_stream {
    int code;             /* 0, or that of the first failure */
    uint64_t at;          /* bytes that passed */
    uint64_t size;        /* of the memory */
    uint8_t *to;          /* NULL while reading or counting */
    const uint8_t *from;
};

static inline struct bnf_stream bnf_stream_count(void)
{
    return (struct bnf_stream){.size = UINT64_MAX};
}

static inline struct bnf_stream bnf_stream_to(uint8_t *memory, uint64_t size)
{
    return (struct bnf_stream){.to = memory, .size = size};
}

static inline struct bnf_stream bnf_stream_from(const uint8_t *memory, uint64_t size)
{
    return (struct bnf_stream){.from = memory, .size = size};
}

/* There is room: who writes has counted. */
static inline void bnf_stream_put(struct bnf_stream *s, const void *data, uint64_t n)
{
    if (s->to != NULL && n > 0)
        memcpy(s->to + s->at, data, n);
    s->at += n;
}

/* The next n bytes where they lie, NULL: they are not all there. */
static inline const void *bnf_stream_next(struct bnf_stream *s, uint64_t n)
{
    if (!s->code && n > s->size - s->at)
        s->code = bnf_fail(BITNET_ERROR, "the state ends after %" PRIu64 " bytes, in the middle", s->size);
    if (s->code)
        return NULL;
    s->at += n;
    return s->from + (s->at - n);
}

/* False: not all is there, and `data` is as it was. */
static inline bool bnf_stream_get(struct bnf_stream *s, void *data, uint64_t n)
{
    const void *const next = bnf_stream_next(s, n);
    if (next != NULL && n > 0)
        memcpy(data, next, n);
    return next != NULL;
}

#endif
