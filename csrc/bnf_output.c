/* Writing a file so that no reader ever sees half of it. May not know what is in it. Next: bnf_output.h. */
#define _GNU_SOURCE
#include "bnf_output.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "bnf_error.h"
#include "bnf_platform.h"

static int fail(const struct bnf_output *out, const char *what)
{
    return bnf_fail(BITNET_ERROR_LOAD, "'%s': %s: %m", out->path, what);
}

int bnf_output_begin(struct bnf_output *out, const char *path)
{
    static atomic_uint n_begun; /* two threads may write to one path: the last one wins, whole */
    *out = (struct bnf_output){.path = path};
    if (path == NULL || path[0] == '\0')
        return bnf_fail(BITNET_ERROR_LOAD, "the path to write is %s", path == NULL ? "NULL" : "empty");
    const size_t size = strlen(path) + 48;
    out->partial = bnf_alloc(size);
    if (out->partial == NULL)
        return BITNET_ERROR_MEMORY;
    snprintf(out->partial, size, "%s.partial-%ld-%u", path, (long)getpid(), atomic_fetch_add(&n_begun, 1u));
    out->file = fopen(out->partial, "wbxe");
    if (out->file == NULL) {
        const int code = fail(out, "it cannot be written");
        bnf_release(out->partial);
        return code;
    }
    return 0;
}

int bnf_output_put(struct bnf_output *out, const void *data, size_t size)
{
    if (fwrite(data, 1, size, out->file) != size)
        return fail(out, "writing failed");
    out->size += size;
    return 0;
}

int bnf_output_pad(struct bnf_output *out, uint64_t alignment)
{
    static const uint8_t zeros[4096];
    uint64_t n = (alignment - out->size % alignment) % alignment;
    int code = 0;
    while (n > 0 && code == 0) {
        const size_t part = n < sizeof zeros ? (size_t)n : sizeof zeros;
        code = bnf_output_put(out, zeros, part);
        n -= part;
    }
    return code;
}

int bnf_output_settle(struct bnf_output *out)
{
    if (fflush(out->file) != 0 || fsync(fileno(out->file)) != 0)
        return fail(out, "writing failed");
    return 0;
}

int bnf_output_end(struct bnf_output *out, int code)
{
    if (code == 0)
        code = bnf_output_settle(out);
    if (fclose(out->file) != 0 && code == 0)
        code = fail(out, "writing failed");
    if (code == 0 && rename(out->partial, out->path) != 0)
        code = fail(out, "it cannot take its name");
    if (code != 0)
        unlink(out->partial);
    bnf_release(out->partial);
    *out = (struct bnf_output){0};
    return code;
}
