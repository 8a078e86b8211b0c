/* A file that appears whole or not at all: it grows under another name beside its place and takes its own at the end.
 * Next: bitnet_ffi/_core/gguf/gguf_write.pyx, which fills it. */
#ifndef BNF_OUTPUT_H
#define BNF_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct bnf_output {
    const char *path;  /* borrowed */
    char *partial;     /* the name until then */
    FILE *file;
    uint64_t size;     /* bytes written so far */
};

/* 0, or BITNET_ERROR_LOAD or _MEMORY with a sentence; then there is nothing to end. */
int bnf_output_begin(struct bnf_output *out, const char *path);
/* 0 or BITNET_ERROR_LOAD: no space, for instance. */
int bnf_output_put(struct bnf_output *out, const void *data, size_t size);
int bnf_output_pad(struct bnf_output *out, uint64_t alignment); /* zeros up to a multiple; at most 65536 */
/* All that was put is on disk, still under the other name. 0 or BITNET_ERROR_LOAD. */
int bnf_output_settle(struct bnf_output *out);
/* code 0: on disk, under its name. Another code: nothing stays. Returns the code, or what failed now. */
int bnf_output_end(struct bnf_output *out, int code);

#endif
