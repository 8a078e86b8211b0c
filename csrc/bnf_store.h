/* Where a state is kept: memory of the caller's, or a file, of which any part can be written or read by any thread.
 * Next: bitnet_ffi/_core/cache/state.pyx. */
#ifndef BNF_STORE_H
#define BNF_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum bnf_store_kind { BNF_STORE_NOWHERE, BNF_STORE_TO_MEMORY, BNF_STORE_TO_FILE, BNF_STORE_FROM_MEMORY, BNF_STORE_FROM_FILE };

struct bnf_store {
    enum bnf_store_kind kind;
    int fd;               /* of a file; -1: none */
    uint64_t size;        /* of the memory or file */
    uint8_t *to;
    const uint8_t *from;
    char *path;           /* of a file, and where it is written until it is whole */
    char *temporary;
};

/* Only to be asked how many bytes it would be. */
struct bnf_store bnf_store_nowhere(void);
struct bnf_store bnf_store_to_memory(uint8_t *memory, uint64_t size);
struct bnf_store bnf_store_from_memory(const uint8_t *memory, uint64_t size);
/* 0 or an error. A file is written beside its place and takes it in bnf_store_close: a reader never sees a part of it, and what was
 * there stays whole when the process is killed. It is not forced to the disk (fsync took 60 of 90 ms for 47 MB): after a power cut it
 * may be damaged, which its checksum tells. The bytes of a path mean what they mean to the system. */
int bnf_store_to_file(struct bnf_store *store, const char *path);
int bnf_store_from_file(struct bnf_store *store, const char *path);
/* Room for `size` bytes, before the first is written: 0 or an error. */
int bnf_store_reserve(struct bnf_store *store, uint64_t size);
/* The parts to, or from, byte `at` of a file on; any number of threads. 0, or what errno says; `parts` are used up. */
int bnf_store_pass(const struct bnf_store *store, struct iovec *parts, int n, uint64_t at);
/* The sentence of such a failure, in the thread that the client called from; its code. */
int bnf_store_fail(const struct bnf_store *store, int reason);
/* 0 or an error. keep false, or an error: what was there before stays. */
int bnf_store_close(struct bnf_store *store, bool keep);

#endif
