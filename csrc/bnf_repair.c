/* Repairs are warnings, unless the environment is strict. It is asked at every repair: a program may change its mind between
 * loads. Next: bnf_repair.h. */
#include "bnf_repair.h"

#include "bnf_error.h"
#include "bnf_log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_on(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '1' && value[1] == '\0';
}

static int say(const char *of, const char *strict, const char *format, va_list args)
{
    char text[BNF_ERROR_TEXT_SIZE];
    vsnprintf(text, sizeof text, format, args);
    if (strict != NULL)
        return bnf_fail(BITNET_ERROR_MODEL, "%s (%s=1 forbids this repair)", text, strict);
    bnf_log(GGML_LOG_LEVEL_WARN, "%s%s\n", of, text);
    return 0;
}

#define STRICT_MODE "BITNET_STRICT_MODE"
#define STRICT_TOKENIZERS "BITNET_STRICT_TOKENIZERS"

int bnf_vocab_repair(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int status = say("vocabulary: ", is_on(STRICT_TOKENIZERS) ? STRICT_TOKENIZERS : is_on(STRICT_MODE) ? STRICT_MODE : NULL,
                           format, args);
    va_end(args);
    return status;
}

int bnf_model_repair(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int status = say("", is_on(STRICT_MODE) ? STRICT_MODE : NULL, format, args);
    va_end(args);
    return status;
}
