/* Decodes 16 tokens and then 8 of its own; prints the kernel table, those 8 tokens and the bits of the last logits.
 * test_old_cpu.py runs it on emulated CPUs. */
#include <stdio.h>
#include <string.h>

#include "bitnet_ffi.h"

int main(int argc, char **argv)
{
    llama_token tokens[] = { 1, 5, 77, 300, 42, 17, 499, 260, 3, 88, 123, 400, 401, 9, 11, 250 };
    if (argc != 2)
        return 2;
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        fprintf(stderr, "%s\n", bitnet_last_error());
        return 1;
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 64;
    struct llama_context *ctx = llama_init_from_model(model, params);
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_batch batch = llama_batch_get_one(tokens, 16);
    llama_token best = 0;
    printf("%s\n", bitnet_kernel_name());
    for (int i = 0; i < 8; i++) {
        if (ctx == NULL || llama_decode(ctx, batch) != 0)
            return 1;
        const float *logits = llama_get_logits_ith(ctx, -1);
        best = 0;
        for (int j = 1; j < n_vocab; j++)
            if (logits[j] > logits[best])
                best = j;
        printf("%d ", best);
        batch = llama_batch_get_one(&best, 1);
    }
    const float *logits = llama_get_logits_ith(ctx, -1);
    for (int j = 0; j < n_vocab; j++) {
        uint32_t bits;
        memcpy(&bits, logits + j, sizeof bits);
        printf("%08x", (unsigned)bits);
    }
    printf("\n");
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
