/* Memory and files as places of a state: see bnf_store.h. May not know what the bytes mean. */
#define _GNU_SOURCE
#include "bnf_store.h"

#include "bnf_error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bnf_store bnf_store_nowhere(void)
{
    return (struct bnf_store){.kind = BNF_STORE_NOWHERE, .fd = -1};
}

struct bnf_store bnf_store_to_memory(uint8_t *memory, uint64_t size)
{
    return (struct bnf_store){.kind = BNF_STORE_TO_MEMORY, .fd = -1, .to = memory, .size = size};
}

struct bnf_store bnf_store_from_memory(const uint8_t *memory, uint64_t size)
{
    return (struct bnf_store){.kind = BNF_STORE_FROM_MEMORY, .fd = -1, .from = memory, .size = size};
}

static int file_error(const struct bnf_store *store, const char *what, int reason)
{
    const int code = reason == ENOENT ? BITNET_ERROR_NOT_FOUND : reason == ENOMEM ? BITNET_ERROR_MEMORY : BITNET_ERROR_LOAD;
    return bnf_fail(code, "%s '%s': %s", what, store->path, strerror(reason));
}

int bnf_store_fail(const struct bnf_store *store, int reason)
{
    return file_error(store, store->kind == BNF_STORE_TO_FILE ? "cannot write" : "cannot read", reason);
}

/* Opens a new file beside `path`; false: errno says why. */
static bool open_temporary(struct bnf_store *store)
{
    static atomic_uint count;
    const size_t size = strlen(store->path) + 48;
    store->temporary = malloc(size);
    if (store->temporary == NULL)
        return false;
    snprintf(store->temporary, size, "%s.part-%ld-%u", store->path, (long)getpid(), atomic_fetch_add(&count, 1));
    store->fd = open(store->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return store->fd >= 0;
}

static int not_regular(struct bnf_store *store)
{
    return bnf_fail(BITNET_ERROR_LOAD, "cannot %s '%s': it is not a regular file", store->kind == BNF_STORE_TO_FILE ? "write" : "read",
                    store->path);
}

int bnf_store_to_file(struct bnf_store *store, const char *path)
{
    struct stat is;
    int code = 0;
    *store = (struct bnf_store){.kind = BNF_STORE_TO_FILE, .fd = -1};
    store->path = realpath(path, NULL); /* through links, to what they name */
    if (store->path == NULL)
        store->path = strdup(path);
    if (store->path == NULL)
        code = bnf_fail(BITNET_ERROR_MEMORY, "no memory to write a file");
    else if (stat(store->path, &is) == 0 && !S_ISREG(is.st_mode))
        code = not_regular(store);
    else if (!open_temporary(store))
        code = bnf_store_fail(store, errno);
    if (code)
        bnf_store_close(store, false);
    return code;
}

int bnf_store_from_file(struct bnf_store *store, const char *path)
{
    struct stat is;
    int code = 0;
    *store = (struct bnf_store){.kind = BNF_STORE_FROM_FILE, .fd = -1};
    store->path = strdup(path);
    if (store->path == NULL)
        code = bnf_fail(BITNET_ERROR_MEMORY, "no memory to read a file");
    else if ((store->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 || fstat(store->fd, &is) != 0)
        code = bnf_store_fail(store, errno);
    else if (!S_ISREG(is.st_mode))
        code = not_regular(store);
    else
        store->size = (uint64_t)is.st_size;
    if (code)
        bnf_store_close(store, false);
    return code;
}

/* A file gets its blocks at once, where the file system can: a full disk is found before anything is written, and ext4, which would look
 * for them when the file takes its place, needs a third of the time for 47 MB. */
int bnf_store_reserve(struct bnf_store *store, uint64_t size)
{
    if (store->kind == BNF_STORE_TO_MEMORY && size > store->size)
        return bnf_fail(BITNET_ERROR, "the state of %" PRIu64 " bytes does not fit in %" PRIu64 " bytes", size, store->size);
    if (store->kind != BNF_STORE_TO_FILE)
        return 0;
    while (fallocate(store->fd, 0, 0, (off_t)size) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return 0;
        if (errno != EINTR)
            return bnf_store_fail(store, errno);
    }
    return 0;
}

int bnf_store_pass(const struct bnf_store *store, struct iovec *parts, int n, uint64_t at)
{
    while (n > 0) {
        const ssize_t some = store->kind == BNF_STORE_TO_FILE ? pwritev(store->fd, parts, n, (off_t)at)
                                                              : preadv(store->fd, parts, n, (off_t)at);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return some < 0 ? errno : EIO; /* shorter than it was when it was opened */
        size_t done = (size_t)some;
        at += done;
        for (; n > 0 && done >= parts->iov_len; n--, parts++)
            done -= parts->iov_len;
        if (n > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + done;
            parts->iov_len -= done;
        }
    }
    return 0;
}

int bnf_store_close(struct bnf_store *store, bool keep)
{
    const bool written = store->kind == BNF_STORE_TO_FILE && store->fd >= 0;
    int code = 0;
    if (store->fd >= 0 && close(store->fd) != 0 && written && keep)
        code = bnf_store_fail(store, errno);
    if (written && keep && !code && rename(store->temporary, store->path) != 0)
        code = file_error(store, "cannot replace", errno);
    if (written && (code || !keep))
        unlink(store->temporary);
    free(store->path);
    free(store->temporary);
    *store = (struct bnf_store){.kind = BNF_STORE_NOWHERE, .fd = -1};
    return code;
}
