/* Bytes that are counted, or go to or come from memory or a file, with a checksum of all that passed. What a state is written to
 * and read from: one text of the format serves all. The first failure sets the last error, and everything after it does nothing.
 * Next: bitnet_ffi/_core/cache/state.pyx. */
#ifndef BNF_STREAM_H
#define BNF_STREAM_H

#include "bnf_checksum.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum bnf_stream_kind { BNF_STREAM_COUNT, BNF_STREAM_TO_MEMORY, BNF_STREAM_TO_FILE, BNF_STREAM_FROM_MEMORY, BNF_STREAM_FROM_FILE };

struct bnf_stream {
    enum bnf_stream_kind kind;
    int code;             /* 0, or that of the first failure */
    uint64_t at;          /* bytes that passed */
    uint64_t size;        /* of the memory or file */
    uint8_t *to;
    const uint8_t *from;
    FILE *file;
    char *buffer;         /* of the file */
    char *path;           /* of a file, and where it is written until it is whole */
    char *temporary;
    bool summed;          /* bytes that are read count in sum; always while writing */
    struct bnf_checksum sum;
};

void bnf_stream_count(struct bnf_stream *s);
void bnf_stream_to_memory(struct bnf_stream *s, uint8_t *memory, uint64_t size);
void bnf_stream_from_memory(struct bnf_stream *s, const uint8_t *memory, uint64_t size);
/* 0 or an error. A file is written beside its place and takes it in bnf_stream_close: a reader never sees a part of it. It is
 * not forced to the disk (fsync took 60 of 90 ms for 47 MB): after a power cut it may be damaged, which its checksum tells. The bytes
 * of a path mean what they mean to the system. */
int bnf_stream_to_file(struct bnf_stream *s, const char *path);
int bnf_stream_from_file(struct bnf_stream *s, const char *path);
/* 0, or the code of the first failure (writing: the disk may be full). keep false, or a failure: what was there before stays. */
int bnf_stream_close(struct bnf_stream *s, bool keep);

void bnf_stream_put(struct bnf_stream *s, const void *data, uint64_t n);
/* False: not all is there, and `data` holds anything. */
bool bnf_stream_get(struct bnf_stream *s, void *data, uint64_t n);
/* The next n bytes for the checksum only. */
bool bnf_stream_skim(struct bnf_stream *s, uint64_t n);
/* Back to the first byte, with a new checksum, or without. */
void bnf_stream_rewind(struct bnf_stream *s, bool summed);

#endif
