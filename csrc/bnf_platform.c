/* Mapped files, memory, the clock: everything that asks the operating system for something big. May not keep any state
 * between calls. Every block carries a header that says how to give it back, so that bnf_release needs no size.
 * Next: bnf_pool.c for the other half of the operating system, threads. */
#define _GNU_SOURCE
#include "bnf_platform.h"

#include "bnf_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- files ---- */

static int fail_to_open(const char *path)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return bnf_fail(BITNET_ERROR_NOT_FOUND, "'%s': no such file", path);
    if (errno == EACCES)
        return bnf_fail(BITNET_ERROR_LOAD, "'%s': no permission to read it", path);
    return bnf_fail(BITNET_ERROR_LOAD, "'%s': cannot be opened: %m", path);
}

static int map_open_file(const char *path, int fd, struct bnf_map *out)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return bnf_fail(BITNET_ERROR_LOAD, "'%s': its size cannot be read: %m", path);
    if (S_ISDIR(info.st_mode))
        return bnf_fail(BITNET_ERROR_LOAD, "'%s': is a directory, expected a file", path);
    if (!S_ISREG(info.st_mode))
        return bnf_fail(BITNET_ERROR_LOAD, "'%s': is not a regular file", path);
    if (info.st_size == 0)
        return bnf_fail(BITNET_ERROR_LOAD, "'%s': the file is empty", path);
    const size_t size = (size_t)info.st_size;
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return bnf_fail(errno == ENOMEM ? BITNET_ERROR_MEMORY : BITNET_ERROR_LOAD,
                        "'%s': its %zu bytes cannot be mapped: %m", path, size);
    *out = (struct bnf_map){data, size};
    return 0;
}

int bnf_map_file(const char *path, struct bnf_map *out)
{
    *out = (struct bnf_map){0};
    if (path == NULL)
        return bnf_fail(BITNET_ERROR_NOT_FOUND, "the path is NULL, expected a file name");
    /* O_NONBLOCK: opening a pipe by mistake must not wait for its writer. Regular files do not notice it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_to_open(path);
    const int status = map_open_file(path, fd, out);
    close(fd); /* the mapping lives on without it */
    return status;
}

/* A copy of size bytes of fd from `offset` on, in a file without a name: bnf_map_forget may then let go of its pages too. */
static int map_copy(int fd, off_t offset, size_t size, struct bnf_map *out)
{
    const int copy = memfd_create("bitnet_ffi model", MFD_CLOEXEC);
    if (copy < 0 || ftruncate(copy, (off_t)size) != 0) {
        const int status = bnf_fail(BITNET_ERROR_MEMORY, "the open file: no memory for a copy of its %zu bytes: %m", size);
        if (copy >= 0)
            close(copy);
        return status;
    }
    uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, copy, 0);
    close(copy);
    if (data == MAP_FAILED)
        return bnf_fail(BITNET_ERROR_MEMORY, "the open file: a copy of its %zu bytes cannot be mapped: %m", size);
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(fd, data + done, size - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            munmap(data, size);
            return bnf_fail(BITNET_ERROR_LOAD, "the open file: it cannot be read at byte %zu: %s", done,
                            n < 0 ? strerror(errno) : "it ends there");
        }
        done += (size_t)n;
    }
    *out = (struct bnf_map){data, size};
    return 0;
}

int bnf_map_stream(FILE *stream, struct bnf_map *out)
{
    struct stat info;
    *out = (struct bnf_map){0};
    if (stream == NULL)
        return bnf_fail(BITNET_ERROR_NOT_FOUND, "the open file is NULL");
    const int fd = fileno(stream);
    const off_t offset = ftello(stream);
    if (fd < 0 || offset < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return bnf_fail(BITNET_ERROR_LOAD, "the open file: it is not a regular file");
    if (offset >= info.st_size)
        return bnf_fail(BITNET_ERROR_LOAD, "the open file: it stands at byte %lld and ends at %lld", (long long)offset,
                        (long long)info.st_size);
    const size_t size = (size_t)(info.st_size - offset);
    if (offset % 64 != 0)
        return map_copy(fd, offset, size, out);
    const off_t page = (off_t)sysconf(_SC_PAGESIZE), before = offset % page;
    const uint8_t *data = mmap(NULL, size + (size_t)before, PROT_READ, MAP_SHARED, fd, offset - before);
    if (data == MAP_FAILED)
        return bnf_fail(errno == ENOMEM ? BITNET_ERROR_MEMORY : BITNET_ERROR_LOAD, "the open file: its %zu bytes cannot be mapped: %m", size);
    *out = (struct bnf_map){data + before, size};
    return 0;
}

int bnf_map_own(const struct bnf_map *map)
{
    const uintptr_t before = (uintptr_t)map->data % (uintptr_t)sysconf(_SC_PAGESIZE);
    uint8_t *const start = (uint8_t *)((uintptr_t)map->data - before);
    const size_t size = map->size + before;
    const int copy = memfd_create("bitnet_ffi model", MFD_CLOEXEC);
    size_t done = 0;
    while (copy >= 0 && done < size) {
        const ssize_t n = write(copy, start + done, size - done); /* EFAULT, no signal, where the file has shrunk */
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            break;
    }
    /* Over the file's own mapping, in one step: who points into it never sees anything else. */
    const bool ok = copy >= 0 && done == size && mmap(start, size, PROT_READ, MAP_SHARED | MAP_FIXED, copy, 0) != MAP_FAILED;
    const int code = errno == EFAULT ? BITNET_ERROR_LOAD : BITNET_ERROR_MEMORY;
    const int status = ok ? 0 : bnf_fail(code, "the file's %zu bytes cannot be read into memory: %m", map->size);
    if (copy >= 0)
        close(copy);
    return status;
}

void bnf_map_forget(const void *data, size_t size)
{
    /* Whole pages inside the range only: its ends share theirs with neighbours. */
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + size) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void bnf_unmap(struct bnf_map *map)
{
    /* A mapping begins with a page; what was asked for may begin later (bnf_map_stream). */
    const uintptr_t before = (uintptr_t)map->data % (uintptr_t)sysconf(_SC_PAGESIZE);
    if (map->data != NULL)
        munmap((void *)((uintptr_t)map->data - before), map->size + before);
    *map = (struct bnf_map){0};
}

/* ---- memory ----
 *
 *   small    [header, 64 bytes][block ...]            from posix_memalign
 *   large    ... [header, 64 bytes][block ...]        from mmap; the block begins at a multiple of 2 MiB, so that huge
 *                                                     pages cover it from its first byte */
#define ALIGNMENT  ((size_t)64)
#define HUGE_PAGE  ((size_t)2 << 20)
#define LARGEST    (SIZE_MAX / 4)

struct header {
    void *start;   /* what free or munmap takes */
    size_t mapped; /* bytes for munmap; 0: from posix_memalign */
};

static struct header *header_of(void *block)
{
    return (struct header *)(void *)((char *)block - ALIGNMENT);
}

static void *alloc_small(size_t size)
{
    void *start = NULL;
    if (posix_memalign(&start, ALIGNMENT, ALIGNMENT + size) != 0)
        return NULL;
    memset(start, 0, ALIGNMENT + size);
    void *block = (char *)start + ALIGNMENT;
    *header_of(block) = (struct header){start, 0};
    return block;
}

static void *alloc_large(size_t size)
{
    /* One huge page more than needed always contains an aligned block with a header before it: the block begins at the
     * first multiple of 2 MiB that is at least a page after the start. */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t needed = (size + page - 1) / page * page;
    const size_t mapped = page + needed + HUGE_PAGE;
    char *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    const size_t offset = (size_t)(-(uintptr_t)(start + page) % HUGE_PAGE) + page; /* page .. page + 2 MiB - 1 */
    char *block = start + offset;
    /* The unused pages on both sides were never touched and cost address space only; they go with the block. */
    madvise(block, needed, MADV_HUGEPAGE); /* a wish: a kernel without huge pages refuses it, harmlessly */
    *header_of(block) = (struct header){start, mapped};
    return block; /* fresh anonymous pages are zero */
}

void *bnf_alloc(size_t size)
{
    void *block = size > LARGEST ? NULL : size < HUGE_PAGE ? alloc_small(size) : alloc_large(size);
    if (block == NULL)
        bnf_fail(BITNET_ERROR_MEMORY, "out of memory: %zu bytes were asked for", size);
    return block;
}

void *bnf_alloc_array(size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        bnf_fail(BITNET_ERROR_MEMORY, "out of memory: %zu elements of %zu bytes were asked for", n, size);
        return NULL;
    }
    return bnf_alloc(total);
}

void *bnf_resize(void *memory, size_t old_size, size_t new_size)
{
    void *block = bnf_alloc(new_size);
    if (block == NULL)
        return NULL;
    if (memory != NULL)
        memcpy(block, memory, old_size < new_size ? old_size : new_size);
    bnf_release(memory);
    return block;
}

void bnf_release(void *memory)
{
    if (memory == NULL)
        return;
    const struct header header = *header_of(memory);
    if (header.mapped != 0)
        munmap(header.start, header.mapped);
    else
        free(header.start);
}

/* ---- clock ---- */

int64_t bnf_time_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
