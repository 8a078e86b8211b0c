/* See bnf_beside.h. Files are opened by the library that comes next, if any, so that all contexts belong to one; a context of ours, made
 * before there was another, stays ours. Who comes next is asked of the dynamic linker at every call: nobody calls these often. */
#define _GNU_SOURCE
#include "bnf_beside.h"

#include <dlfcn.h>
#include <string.h>

/* ISO C has no cast from an object's address to a function's; POSIX says that both have one form. */
#define NEXT(function, name) \
    do { \
        void *const address = dlsym(RTLD_NEXT, name); \
        memcpy(&(function), &address, sizeof address); \
    } while (0)

#define OURS(ctx) ((ctx) == NULL || (ctx)->kind == &bnf_gguf_kind || (ctx)->kind == &bnf_ggml_kind)

#define BNF_DEFINE(result, name, parameters, arguments) \
    result name parameters \
    { \
        result(*next) parameters = NULL; \
        if (!OURS(ctx)) \
            NEXT(next, #name); \
        return next != NULL ? next arguments : bnf_##name arguments; \
    }
BNF_BESIDE_CALLS(BNF_DEFINE)

struct gguf_context *gguf_init_from_file(const char *fname, struct gguf_init_params params)
{
    struct gguf_context *(*next)(const char *, struct gguf_init_params);
    NEXT(next, "gguf_init_from_file");
    return next != NULL ? next(fname, params) : bnf_gguf_init_from_file(fname, params);
}

void gguf_free(struct gguf_context *ctx)
{
    void (*next)(struct gguf_context *) = NULL;
    if (!OURS(ctx))
        NEXT(next, "gguf_free");
    (next != NULL ? next : bnf_gguf_free)(ctx);
}

void ggml_free(struct ggml_context *ctx)
{
    void (*next)(struct ggml_context *) = NULL;
    if (!OURS(ctx))
        NEXT(next, "ggml_free");
    (next != NULL ? next : bnf_ggml_free)(ctx);
}
