/* The last error of each thread. May not allocate, lock or print: it must work when memory is gone and between any two
 * instructions of a host. bnf_log.c decides whether anybody hears of it. Next: include/bitnet_ffi.h, enum bitnet_status. */
#include "bnf_error.h"

#include "bnf_log.h"
#include "bnf_utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local int last_code;
static _Thread_local char last_text[BNF_ERROR_TEXT_SIZE];

/* `length` is what vsnprintf returned for `text`: the length it would have had. */
static void keep(const char *text, int length)
{
    size_t n = length < 0 ? 0 : (size_t)length;
    if (n >= BNF_ERROR_TEXT_SIZE)
        n = bnf_utf8_cut(text, BNF_ERROR_TEXT_SIZE - 1);
    memcpy(last_text, text, n);
    last_text[n] = '\0';
}

static void keep_formatted(int code, const char *format, va_list args)
{
    char text[BNF_ERROR_TEXT_SIZE]; /* not last_text itself: an argument may point into it */
    const int length = vsnprintf(text, sizeof text, format, args);
    last_code = code;
    keep(text, length);
}

int bnf_fail(int code, const char *format, ...)
{
    const int saved_errno = errno;
    va_list args;
    va_start(args, format);
    keep_formatted(code, format, args);
    va_end(args);
    char text[BNF_ERROR_TEXT_SIZE]; /* the host's callback may call in here, and fail or succeed: the error stays this call's */
    memcpy(text, last_text, sizeof text);
    bnf_log(GGML_LOG_LEVEL_ERROR, "%s\n", text);
    last_code = code;
    memcpy(last_text, text, sizeof text);
    errno = saved_errno;
    return code;
}

int bnf_answer_no(int code, const char *format, ...)
{
    const int saved_errno = errno;
    va_list args;
    va_start(args, format);
    keep_formatted(code, format, args);
    va_end(args);
    errno = saved_errno;
    return code;
}

int bnf_fail_within(const char *prefix)
{
    char text[BNF_ERROR_TEXT_SIZE];
    const int length = snprintf(text, sizeof text, "%s: %s", prefix, last_text);
    keep(text, length);
    return last_code;
}

bool bnf_is_null(const void *argument, const char *function, const char *name)
{
    if (argument == NULL)
        bnf_fail(BITNET_ERROR, "%s: %s is NULL", function, name);
    return argument == NULL;
}

bool bnf_is_null_buffer(const void *buf, size_t buf_size, const char *function)
{
    if (buf != NULL || buf_size == 0)
        return false;
    bnf_fail(BITNET_ERROR, "%s: buf is NULL but buf_size is %zu", function, buf_size);
    return true;
}

void bnf_clear_error(void)
{
    last_code = 0;
    last_text[0] = '\0';
}

int bnf_error_code(void)
{
    return last_code;
}

const char *bnf_error_text(void)
{
    return last_text;
}
