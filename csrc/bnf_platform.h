/* What the operating system gives: mapped files, aligned memory, the clock. Errors go through bnf_fail. */
#ifndef BNF_PLATFORM_H
#define BNF_PLATFORM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct bnf_map { /* a file mapped read-only */
    const uint8_t *data;
    size_t size;
};

/* Map a whole regular file. 0, or BITNET_ERROR_NOT_FOUND (absent), BITNET_ERROR_LOAD (directory, empty, no permission...).
 * The file must not shrink while it is mapped: reading past its new end raises SIGBUS, which only the host could catch. A file that is
 * replaced by rename, as installers do, stays whole. */
int bnf_map_file(const char *path, struct bnf_map *out);
/* The same from where an open file stands to its end. The stream keeps its position and may be closed afterwards. Where the position
 * is no multiple of 64 its bytes are copied into memory that pages like a file. */
int bnf_map_stream(FILE *stream, struct bnf_map *out);
/* Put a copy of the bytes in the place of a mapping, with memory of its own: from then on nothing that becomes of the file matters. 0,
 * BITNET_ERROR_MEMORY, or BITNET_ERROR_LOAD where they cannot be read; the mapping is whole then, too. */
int bnf_map_own(const struct bnf_map *map);
/* Let go of the memory behind part of a mapping: it is read again from the file when it is touched. */
void bnf_map_forget(const void *data, size_t size);
void bnf_unmap(struct bnf_map *map); /* accepts an empty map; leaves it empty */

/* size bytes at a multiple of 64, filled with zero; huge pages are asked for from 2 MiB on. NULL + BITNET_ERROR_MEMORY.
 * bnf_alloc(0) gives a valid pointer. Free with bnf_release, which accepts NULL. */
void *bnf_alloc(size_t size);
/* n * size, refusing an overflow. */
void *bnf_alloc_array(size_t n, size_t size);
/* Grow or shrink; keeps the first min(old, new) bytes; on failure NULL and `memory` stays valid. */
void *bnf_resize(void *memory, size_t old_size, size_t new_size);
void bnf_release(void *memory);

int64_t bnf_time_us(void); /* monotonic microseconds */

#endif
