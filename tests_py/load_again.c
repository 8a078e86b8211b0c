/* LIBRARY MODEL.gguf [OTHER]: the library loaded, used, used by a child of fork, and unloaded, twenty times; with OTHER, a library of the
 * same names that was there first for all to see. Silent when all holds. test_exports.py runs it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BITNET_FFI_API 2026
#include "bitnet_ffi.h"

#define ENTRY(library, name) __typeof__(&name) f_##name = (__typeof__(&name))dlsym(library, #name)

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static int is_mapped(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int found = 0;
    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, name) != NULL;
    if (maps)
        fclose(maps);
    return found;
}

static float use(void *library, const char *path)
{
    ENTRY(library, llama_model_default_params);
    ENTRY(library, llama_model_load_from_file);
    ENTRY(library, llama_context_default_params);
    ENTRY(library, llama_init_from_model);
    ENTRY(library, llama_batch_get_one);
    ENTRY(library, llama_decode);
    ENTRY(library, llama_get_logits_ith);
    ENTRY(library, llama_free);
    ENTRY(library, llama_model_free);
    struct llama_model *model = f_llama_model_load_from_file(path, f_llama_model_default_params());
    struct llama_context_params params = f_llama_context_default_params();
    llama_token tokens[3] = {5, 6, 7};
    params.n_ctx = 64;
    params.n_threads = params.n_threads_batch = 2;
    struct llama_context *ctx = f_llama_init_from_model(model, params);
    if (!ctx || f_llama_decode(ctx, f_llama_batch_get_one(tokens, 3)) != 0)
        fail("no decode");
    const float logit = f_llama_get_logits_ith(ctx, -1)[9];
    const pid_t child = fork();
    if (child == 0)
        _exit(f_llama_decode(ctx, f_llama_batch_get_one(tokens, 3)) == 0 ? 0 : 1);
    int status = 1;
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("the child could not decode");
    f_llama_free(ctx);
    f_llama_model_free(model);
    return logit;
}

int main(int argc, char **argv)
{
    float first = 0;
    if (argc < 3 || (argc > 3 && !dlopen(argv[3], RTLD_NOW | RTLD_GLOBAL)))
        fail("LIBRARY MODEL.gguf [OTHER]");
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(argv[1], RTLD_NOW | (i % 2 ? RTLD_GLOBAL : RTLD_LOCAL));
        if (!library)
            fail(dlerror());
        const float logit = use(library, argv[2]);
        if (i == 0)
            first = logit;
        if (memcmp(&logit, &first, sizeof logit) != 0)
            fail("another logit");
        dlclose(library);
        if (is_mapped(strrchr(argv[1], '/') + 1))
            fail("the library is still there");
    }
    return 0;
}
