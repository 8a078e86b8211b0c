/* ggml_abort: the one function here that ends the process, because that is what its caller asks for: ggml.h declares that it does
 * not return, and a compiled program has nothing behind the call. It is variadic, which Cython cannot write. Nothing in the library
 * calls it. Next: include/bitnet_ffi.h, "From ggml". */
#include "bnf_log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic(ggml_abort_callback_t) the_callback;

ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback)
{
    return atomic_exchange(&the_callback, callback);
}

/* The message lies on the stack, since the heap may be what is broken. */
void ggml_abort(const char *file, int line, const char *fmt, ...)
{
    char message[2048];
    const ggml_abort_callback_t callback = atomic_load(&the_callback);
    int n = snprintf(message, sizeof message, "%s:%d: ", file != NULL ? file : "?", line);
    if (n < 0 || (size_t)n >= sizeof message)
        n = 0;
    if (fmt != NULL) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(message + n, sizeof message - (size_t)n, fmt, args);
        va_end(args);
    }
    if (callback != NULL)
        callback(message);
    else
        bnf_log(GGML_LOG_LEVEL_ERROR, "%s\n", message);
    abort();
}
