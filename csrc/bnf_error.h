/* The last error of a thread: a code and one sentence. Whoever detects a fault writes the sentence, callers pass the
 * code up. Nothing here allocates, locks or prints. Codes: enum bitnet_status in include/bitnet_ffi.h. */
#ifndef BNF_ERROR_H
#define BNF_ERROR_H

#include "bitnet_ffi.h"

#define BNF_ERROR_TEXT_SIZE 512

/* Store code and the formatted sentence for this thread and return code, so that `return bnf_fail(...)` reads well.
 * A sentence longer than BNF_ERROR_TEXT_SIZE - 1 bytes is cut at a UTF-8 boundary. Also logs it at level ERROR. */
int bnf_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same without the log line: for calls by which programs ask whether something is there. */
int bnf_answer_no(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " before this thread's sentence (a file name before what was found in it); returns the code unchanged. */
int bnf_fail_within(const char *prefix);

/* Is the argument called `name` NULL, when it must not be? Then with the sentence "function: name is NULL". */
bool bnf_is_null(const void *argument, const char *function, const char *name);
/* Is the argument `buf` NULL, when it should have buf_size bytes? */
bool bnf_is_null_buffer(const void *buf, size_t buf_size, const char *function);

void bnf_clear_error(void);
int bnf_error_code(void);
const char *bnf_error_text(void); /* "" after a success; valid until this thread's next failing call */

#endif
