/* The log. Without a callback and without BITNET_LOG a line costs two loads and nothing is formatted or written. May not
 * hold a lock while the host's callback runs, because that callback may call back into the library.
 * Next: llama_log_set in include/bitnet_ffi.h. */
#include "bnf_log.h"

#include "bnf_utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_SIZE 2048

/* The callback and its user_data belong together, but they are two words. A sequence number that is odd while somebody
 * writes lets readers take both without a lock: they read again if it was odd or has changed. */
static atomic_uint sequence;
static _Atomic(ggml_log_callback) shared_callback;
static _Atomic(void *) shared_user_data;

void bnf_log_set(ggml_log_callback callback, void *user_data)
{
    unsigned before = atomic_load(&sequence);
    do
        before &= ~1u; /* only from even to odd: another writer must be done */
    while (!atomic_compare_exchange_weak(&sequence, &before, before + 1));
    atomic_store(&shared_callback, callback);
    atomic_store(&shared_user_data, user_data);
    atomic_store(&sequence, before + 2);
}

void bnf_log_get(ggml_log_callback *callback, void **user_data)
{
    unsigned before;
    do {
        before = atomic_load(&sequence);
        *callback = atomic_load(&shared_callback);
        *user_data = atomic_load(&shared_user_data);
    } while ((before & 1) || atomic_load(&sequence) != before);
}

/* The lowest level that BITNET_LOG sends to stderr; LEVEL_SILENT when it is not set. Read once: getenv is not safe
 * beside a host that changes its environment. */
enum { LEVEL_SILENT = 100, LEVEL_UNREAD = 101 };
static atomic_int stderr_level = LEVEL_UNREAD;

static int read_stderr_level(void)
{
    const char *value = getenv("BITNET_LOG");
    if (value == NULL || value[0] == '\0')
        return LEVEL_SILENT;
    static const struct { const char *name; int level; } names[] = {
        {"debug", GGML_LOG_LEVEL_DEBUG}, {"info", GGML_LOG_LEVEL_INFO},
        {"warn", GGML_LOG_LEVEL_WARN},   {"error", GGML_LOG_LEVEL_ERROR},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(value, names[i].name) == 0)
            return names[i].level;
    return GGML_LOG_LEVEL_INFO; /* BITNET_LOG=1 */
}

static int wanted_on_stderr(enum ggml_log_level level)
{
    int lowest = atomic_load_explicit(&stderr_level, memory_order_relaxed);
    if (lowest == LEVEL_UNREAD) {
        lowest = read_stderr_level();
        atomic_store(&stderr_level, lowest);
    }
    static _Thread_local int level_before; /* CONT continues the line before it */
    if (level != GGML_LOG_LEVEL_CONT)
        level_before = (int)level;
    return level_before >= lowest;
}

void bnf_log(enum ggml_log_level level, const char *format, ...)
{
    static _Thread_local bool in_callback; /* what a callback's own calls have to say would call it for ever */
    ggml_log_callback callback;
    void *user_data;
    bnf_log_get(&callback, &user_data);
    if (in_callback || (callback == NULL && !wanted_on_stderr(level)))
        return;

    const int saved_errno = errno;
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length >= LINE_SIZE) /* a callback that draws lines still gets its line end */
        memcpy(line + bnf_utf8_cut(line, LINE_SIZE - sizeof "...\n"), "...\n", sizeof "...\n");
    if (callback != NULL) {
        in_callback = true;
        callback(level, line, user_data);
        in_callback = false;
    } else {
        fputs(line, stderr);
    }
    errno = saved_errno;
}
