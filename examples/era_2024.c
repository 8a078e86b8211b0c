/* era_2024.c - greedy completion as a program of October 2024 does it: llama_decode with positions, a chain of samplers, and the
 * model where later calls want its vocabulary.
 *
 *   cc -DBITNET_FFI_API=2024 era_2024.c $(python3 -m bitnet_ffi.config --cflags --libs) -o era_2024
 *   ./era_2024 model.gguf "The capital of France is" 32
 *
 * Compiles as C and as C++. Nothing in it is new but the name of the header: docs/MIGRATING.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

int main(int argc, char **argv)
{
    struct llama_model_params model_params;
    struct llama_context_params params;
    struct llama_model *model;
    struct llama_context *ctx;
    struct llama_sampler *sampler;
    llama_token *tokens;
    int n_predict, n_tokens, n_past = 0, i;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT N_PREDICT\n", argv[0]);
        return 2;
    }
    n_predict = atoi(argv[3]);
    llama_backend_init();
    model_params = llama_model_default_params();
    model_params.n_gpu_layers = 99;
    model_params.use_mmap = true;
    model = llama_load_model_from_file(argv[1], model_params);
    if (model == NULL) {
        fprintf(stderr, "load: %s\n", bitnet_last_error());
        return 1;
    }
    n_tokens = -llama_tokenize(model, argv[2], (int32_t)strlen(argv[2]), NULL, 0, true, true);
    params = llama_context_default_params();
    params.n_ctx = (uint32_t)(n_tokens + n_predict);
    params.flash_attn = true;
    ctx = llama_new_context_with_model(model, params);
    tokens = (llama_token *)malloc((size_t)n_tokens * sizeof *tokens);
    sampler = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (ctx == NULL || tokens == NULL || sampler == NULL)
        return 1;
    llama_sampler_chain_add(sampler, llama_sampler_init_penalties(llama_n_vocab(model), llama_token_eos(model), llama_token_nl(model), 64,
                                                                  1.0f, 0.0f, 0.0f, false, false));
    llama_sampler_chain_add(sampler, llama_sampler_init_greedy());
    n_tokens = llama_tokenize(model, argv[2], (int32_t)strlen(argv[2]), tokens, n_tokens, true, true);
    for (i = 0; i < n_predict; i++) {
        char piece[256];
        llama_token token;
        int n;
        if (llama_decode(ctx, llama_batch_get_one(tokens, n_tokens, n_past, 0)) != 0) {
            fprintf(stderr, "decode: %s\n", bitnet_last_error());
            return 1;
        }
        n_past += n_tokens;
        token = llama_sampler_sample(sampler, ctx, -1);
        if (llama_token_is_eog(model, token))
            break;
        n = llama_token_to_piece(model, token, piece, (int32_t)sizeof piece, 0, false);
        if (n < 0)
            return 1;
        fwrite(piece, 1, (size_t)n, stdout);
        tokens[0] = token;
        n_tokens = 1;
    }
    putchar('\n');
    llama_perf_context_print(ctx);
    free(tokens);
    llama_sampler_free(sampler);
    llama_free(ctx);
    llama_free_model(model);
    llama_backend_free();
    return 0;
}
