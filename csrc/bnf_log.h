/* The log: one callback of the host, none by default (then nothing is written anywhere, unless BITNET_LOG asks for stderr:
 * debug, info, warn or error; anything else means info). Lines end in '\n' as llama.cpp's do. May be called from any thread. */
#ifndef BNF_LOG_H
#define BNF_LOG_H

#include "bitnet_ffi.h"

void bnf_log(enum ggml_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bnf_log_set(ggml_log_callback callback, void *user_data);
void bnf_log_get(ggml_log_callback *callback, void **user_data);

#endif
