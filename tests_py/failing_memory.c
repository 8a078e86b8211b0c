/* Stands before libc (LD_PRELOAD) and lets the Nth allocation of one call fail; counts what the call did not give back.
 * Only the thread inside a bnf_test_ function is watched, and only while it is there. Used by test_load_memory.py,
 * test_vocab_memory.py and test_failures.py.
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
    if (countdown-- != 0)
        return 0;
    errno = ENOMEM;
    return 1;
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
    if (fails())
        return MAP_FAILED;
    void *memory = (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset);
    n_maps += watching && memory != MAP_FAILED;
    return memory;
}

int munmap(void *address, size_t size)
{
    n_maps -= watching;
    return (int)syscall(SYS_munmap, address, size);
}

static void watch(long fail_at)
{
    n_calls = n_held = n_maps = 0;
    countdown = fail_at;
    watching = 1;
}

/* Load and free with the `fail_at`th allocation failing (from 0; -1: none). result: allocations seen, 1 if it loaded, the error
 * code, and blocks and mappings that nobody gave back. */
void bnf_test_load(const char *path, int check, long fail_at, long result[5])
{
    struct llama_model_params params = llama_model_default_params();
    params.check_tensors = check;
    watch(fail_at);
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

/* Call any function of up to six integers and pointers with the `fail_at`th allocation failing. result: allocations seen, what it
 * returned, the error code, and blocks and mappings that it took and kept. */
void bnf_test_call(long (*function)(long, long, long, long, long, long), const long a[6], long fail_at, long result[5])
{
    watch(fail_at);
    result[1] = function(a[0], a[1], a[2], a[3], a[4], a[5]);
    watching = 0;
    result[0] = n_calls;
    result[2] = bitnet_last_error_code();
    result[3] = n_held;
    result[4] = n_maps;
}

/* The same for llama_decode, of tokens that follow what sequence 0 holds. */
void bnf_test_decode_tokens(struct llama_context *ctx, llama_token *tokens, int32_t n, long fail_at, long result[5])
{
    watch(fail_at);
    result[1] = llama_decode(ctx, llama_batch_get_one(tokens, n));
    watching = 0;
    result[0] = n_calls;
    result[2] = bitnet_last_error_code();
    result[3] = n_held;
    result[4] = n_maps;
}

/* Read one row of logits, which takes memory too. 0 or the code of the failure. */
static int32_t read_row(struct llama_context *ctx, int32_t n_vocab, float *logits)
{
    const float *row = llama_get_logits_ith(ctx, -1);
    if (row == NULL)
        return bitnet_last_error_code();
    for (int32_t i = 0; i < n_vocab; i++)
        logits[i] = row[i];
    return 0;
}

/* A client that wants to see everything, of which the last row needs memory in the decode. */
static bool see(struct ggml_tensor *t, bool ask, void *user_data)
{
    (void)t, (void)ask, (void)user_data;
    return true;
}
static bool is_seen;
void bnf_test_watch(bool on)
{
    is_seen = on;
}

/* Make a context, decode a batch of two sequences that part, read logits, and free, with the `fail_at`th allocation failing. What
 * failed is tried again without failures. result: allocations seen, whether there was a context, what the first decode or reading
 * and the last one returned, the error code after the first failure, blocks and mappings that nobody gave back. logits: of one row. */
void bnf_test_decode(struct llama_model *model, long fail_at, long result[7], float *logits)
{
    enum { N = 90 };
    llama_token token[N];
    int8_t wanted[N];
    llama_seq_id both[2] = {0, 1}, *seq_id[N];
    int32_t n_seq_id[N];
    for (int i = 0; i < N; i++) {
        token[i] = (7 * i + 1) % 256;
        wanted[i] = i % 2 == 1;
        seq_id[i] = i < 70 ? both : &both[i % 2];
        n_seq_id[i] = i < 70 ? 2 : 1;
    }
    struct llama_batch batch = {.n_tokens = N, .token = token, .n_seq_id = n_seq_id, .seq_id = seq_id, .logits = wanted};
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 128;
    params.n_seq_max = 2;
    params.n_threads = params.n_threads_batch = 2;
    params.rope_freq_base = 5000.0f; /* a table of its own */
    params.cb_eval = is_seen ? see : NULL;

    watch(fail_at);
    struct llama_context *ctx = llama_init_from_model(model, params);
    result[1] = ctx != NULL;
    const int32_t n_vocab = llama_n_vocab(model);
    int32_t decoded = ctx != NULL ? llama_decode(ctx, batch) : 0;
    result[2] = result[3] = ctx == NULL || decoded != 0 ? decoded : read_row(ctx, n_vocab, logits);
    result[4] = bitnet_last_error_code();
    if (result[2] != 0) {
        countdown = -1;
        if (decoded != 0)
            decoded = llama_decode(ctx, batch);
        result[3] = decoded != 0 ? decoded : read_row(ctx, n_vocab, logits);
    }
    llama_free(ctx);
    watching = 0;
    result[0] = n_calls;
    result[5] = n_held;
    result[6] = n_maps;
}

/* Tokenize with the `fail_at`th allocation failing. result: allocations seen, what llama_tokenize returned, the error code, and
 * blocks and mappings that nobody gave back. */
void bnf_test_tokenize(struct llama_model *model, const char *text, int32_t text_len, int32_t *tokens, int32_t n_tokens_max,
                       long fail_at, long result[5])
{
    watch(fail_at);
    result[1] = llama_tokenize(model, text, text_len, tokens, n_tokens_max, true, true);
    watching = 0;
    result[0] = n_calls;
    result[2] = bitnet_last_error_code();
    result[3] = n_held;
    result[4] = n_maps;
}

/* The same of three texts in one call, on one thread. n_tokens_max: at most 8000. */
void bnf_test_tokenize_batch(struct llama_model *model, const char *text, int32_t text_len, int32_t *tokens, int32_t n_tokens_max,
                             long fail_at, long result[5])
{
    const char *const texts[3] = {"a b", text, text};
    const int64_t lengths[3] = {3, text_len, text_len};
    int32_t ranges[2 * 8000];
    int64_t offsets[4];
    watch(fail_at);
    result[1] = (long)bitnet_tokenize_batch(model, texts, lengths, 3, tokens, ranges, n_tokens_max, offsets, 3, 1);
    watching = 0;
    result[0] = n_calls;
    result[2] = bitnet_last_error_code();
    result[3] = n_held;
    result[4] = n_maps;
}
