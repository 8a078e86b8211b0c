/* Bytes to and from memory and files: see bnf_stream.h. May not know what they mean. */
#define _GNU_SOURCE
#include "bnf_stream.h"

#include "bnf_error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BUFFER (1 << 20) /* rows come in pieces of some kilobytes: a call of the system for each took longer than the bytes */
#define SKIM_BLOCK (1 << 16)

static void begin(struct bnf_stream *s, enum bnf_stream_kind kind)
{
    *s = (struct bnf_stream){.kind = kind, .size = UINT64_MAX, .summed = true, .sum = bnf_checksum_begin()};
}

void bnf_stream_count(struct bnf_stream *s)
{
    begin(s, BNF_STREAM_COUNT);
}

void bnf_stream_to_memory(struct bnf_stream *s, uint8_t *memory, uint64_t size)
{
    begin(s, BNF_STREAM_TO_MEMORY);
    s->to = memory;
    s->size = size;
}

void bnf_stream_from_memory(struct bnf_stream *s, const uint8_t *memory, uint64_t size)
{
    begin(s, BNF_STREAM_FROM_MEMORY);
    s->from = memory;
    s->size = size;
}

/* Without memory for it the file has the buffer of the C library. */
static void set_buffer(struct bnf_stream *s)
{
    s->buffer = malloc(FILE_BUFFER);
    if (s->buffer != NULL)
        setvbuf(s->file, s->buffer, _IOFBF, FILE_BUFFER);
}

static int file_error(struct bnf_stream *s, const char *what)
{
    const int reason = errno;
    const int code = reason == ENOENT ? BITNET_ERROR_NOT_FOUND : reason == ENOMEM ? BITNET_ERROR_MEMORY : BITNET_ERROR_LOAD;
    s->code = bnf_fail(code, "%s '%s': %s", what, s->path, strerror(reason));
    return s->code;
}

/* Opens a new file beside `path`; false: errno says why. */
static bool open_temporary(struct bnf_stream *s)
{
    static atomic_uint count;
    const size_t size = strlen(s->path) + 48;
    s->temporary = malloc(size);
    if (s->temporary == NULL)
        return false;
    snprintf(s->temporary, size, "%s.part-%ld-%u", s->path, (long)getpid(), atomic_fetch_add(&count, 1));
    const int fd = open(s->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    s->file = fdopen(fd, "wb");
    if (s->file == NULL) {
        const int reason = errno;
        close(fd);
        unlink(s->temporary);
        errno = reason;
    }
    return s->file != NULL;
}

int bnf_stream_to_file(struct bnf_stream *s, const char *path)
{
    struct stat is;
    begin(s, BNF_STREAM_TO_FILE);
    s->path = realpath(path, NULL); /* through links, to what they name */
    if (s->path == NULL)
        s->path = strdup(path);
    if (s->path == NULL)
        s->code = bnf_fail(BITNET_ERROR_MEMORY, "no memory to write a file");
    else if (stat(s->path, &is) == 0 && !S_ISREG(is.st_mode))
        s->code = bnf_fail(BITNET_ERROR_LOAD, "cannot write '%s': it is not a regular file", s->path);
    else if (!open_temporary(s))
        file_error(s, "cannot write");
    if (s->code)
        return bnf_stream_close(s, false);
    set_buffer(s);
    return 0;
}

int bnf_stream_from_file(struct bnf_stream *s, const char *path)
{
    struct stat is;
    begin(s, BNF_STREAM_FROM_FILE);
    s->path = strdup(path);
    if (s->path == NULL)
        s->code = bnf_fail(BITNET_ERROR_MEMORY, "no memory to read a file");
    else if ((s->file = fopen(path, "rbe")) == NULL || fstat(fileno(s->file), &is) != 0)
        file_error(s, "cannot read");
    else if (!S_ISREG(is.st_mode))
        s->code = bnf_fail(BITNET_ERROR_LOAD, "cannot read '%s': it is not a regular file", path);
    else
        s->size = (uint64_t)is.st_size;
    if (s->code)
        return bnf_stream_close(s, false);
    set_buffer(s);
    return 0;
}

int bnf_stream_close(struct bnf_stream *s, bool keep)
{
    const bool written = s->kind == BNF_STREAM_TO_FILE && s->file != NULL;
    if (written && !s->code && fflush(s->file) != 0)
        file_error(s, "cannot write");
    if (s->file != NULL && fclose(s->file) != 0 && written && !s->code)
        file_error(s, "cannot write");
    s->file = NULL;
    if (written && !s->code && keep && rename(s->temporary, s->path) != 0)
        file_error(s, "cannot replace");
    if (written && (s->code || !keep))
        unlink(s->temporary);
    free(s->buffer);
    free(s->path);
    free(s->temporary);
    s->buffer = NULL;
    s->path = NULL;
    s->temporary = NULL;
    return s->code;
}

void bnf_stream_put(struct bnf_stream *s, const void *data, uint64_t n)
{
    if (s->code || n == 0)
        return;
    if (s->kind != BNF_STREAM_COUNT)
        bnf_checksum_add(&s->sum, data, n); /* and the copy in one loop: as long (Zen 4, 47 MB: 9 ms) */
    if (s->kind == BNF_STREAM_TO_MEMORY && n > s->size - s->at)
        s->code = bnf_fail(BITNET_ERROR, "the state does not fit in %" PRIu64 " bytes", s->size);
    else if (s->kind == BNF_STREAM_TO_MEMORY)
        memcpy(s->to + s->at, data, n);
    else if (s->kind == BNF_STREAM_TO_FILE && fwrite(data, 1, n, s->file) != n)
        file_error(s, "cannot write");
    s->at += n;
}

bool bnf_stream_get(struct bnf_stream *s, void *data, uint64_t n)
{
    if (s->code || n == 0)
        return !s->code;
    if (n > s->size - s->at) {
        s->code = bnf_fail(BITNET_ERROR, "the state ends after %" PRIu64 " bytes, in the middle", s->size);
        return false;
    }
    if (s->kind == BNF_STREAM_FROM_MEMORY) {
        memcpy(data, s->from + s->at, n);
    } else if (fread(data, 1, n, s->file) != n) {
        if (!ferror(s->file))
            errno = EIO; /* shorter than it was when it was opened */
        file_error(s, "cannot read");
        return false;
    }
    if (s->summed)
        bnf_checksum_add(&s->sum, data, n);
    s->at += n;
    return true;
}

bool bnf_stream_skim(struct bnf_stream *s, uint64_t n)
{
    if (s->kind == BNF_STREAM_FROM_MEMORY && !s->code && n <= s->size - s->at) {
        bnf_checksum_add(&s->sum, s->from + s->at, n);
        s->at += n;
        return true;
    }
    uint8_t *const block = malloc(SKIM_BLOCK);
    if (block == NULL)
        s->code = bnf_fail(BITNET_ERROR_MEMORY, "no memory to read a file");
    while (n > 0 && !s->code) {
        const uint64_t part = n < SKIM_BLOCK ? n : SKIM_BLOCK;
        bnf_stream_get(s, block, part);
        n -= part;
    }
    free(block);
    return !s->code;
}

void bnf_stream_rewind(struct bnf_stream *s, bool summed)
{
    s->at = 0;
    s->summed = summed;
    s->sum = bnf_checksum_begin();
    if (s->kind == BNF_STREAM_FROM_FILE && fseek(s->file, 0, SEEK_SET) != 0)
        file_error(s, "cannot read");
}
