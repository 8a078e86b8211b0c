/* Stands before libc (LD_PRELOAD) and lets the Nth allocation of one call fail; counts what the call did not give back.
 * Only the thread inside bnf_test_load is watched, and only while it is there. Used by test_load_memory.py.
 * glibc: the true functions are reached by their __libc names, which need no look-up that could allocate itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bitnet_ffi.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static __thread int watching;
static __thread long countdown; /* allocations until one fails; below 0: none will */
static __thread long n_calls, n_held, n_maps;

static int fails(void)
{
    if (!watching)
        return 0;
    n_calls++;
    return countdown-- == 0;
}

static void *counted(void *memory)
{
    n_held += watching && memory != NULL;
    return memory;
}

void *malloc(size_t size)
{
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *memory, size_t size)
{
    if (fails())
        return NULL;
    return memory == NULL ? counted(__libc_realloc(memory, size)) : __libc_realloc(memory, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails())
        return ENOMEM;
    *out = counted(__libc_memalign(alignment, size));
    return *out == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

void free(void *memory)
{
    n_held -= watching && memory != NULL;
    __libc_free(memory);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset);
    n_maps += watching && memory != MAP_FAILED;
    return memory;
}

int munmap(void *address, size_t size)
{
    n_maps -= watching;
    return (int)syscall(SYS_munmap, address, size);
}

/* Load and free with the `fail_at`th allocation failing (from 0; -1: none). result: allocations seen, 1 if it loaded, the error
 * code, and blocks and mappings that nobody gave back. */
void bnf_test_load(const char *path, int check, long fail_at, long result[5])
{
    struct llama_model_params params = llama_model_default_params();
    params.check_tensors = check;
    n_calls = n_held = n_maps = 0;
    countdown = fail_at;
    watching = 1;
    struct llama_model *model = llama_model_load_from_file(path, params);
    countdown = -1;
    result[1] = model != NULL;
    llama_model_free(model);
    watching = 0;
    result[0] = n_calls;
    result[2] = bitnet_last_error_code();
    result[3] = n_held;
    result[4] = n_maps;
}
