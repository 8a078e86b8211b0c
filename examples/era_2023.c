/* era_2023.c - greedy completion as a program of July 2023 does it: one struct of parameters, llama_eval, llama_sample_*.
 *
 *   cc -DBITNET_FFI_API=2023 era_2023.c $(python3 -m bitnet_ffi.config --cflags --libs) -o era_2023
 *   ./era_2023 model.gguf "The capital of France is" 32
 *
 * Compiles as C and as C++. Nothing in it is new but the name of the header: docs/MIGRATING.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

/* The largest logit of the last token, by way of candidates. */
static llama_token choose(struct llama_context *ctx, llama_token_data *candidates)
{
    const int n_vocab = llama_n_vocab(ctx);
    const float *logits = llama_get_logits(ctx);
    llama_token_data_array array;
    int i;
    if (logits == NULL)
        return llama_token_eos();
    for (i = 0; i < n_vocab; i++) {
        candidates[i].id = i;
        candidates[i].logit = logits[i];
        candidates[i].p = 0.0f;
    }
    array.data = candidates;
    array.size = (size_t)n_vocab;
    array.sorted = false;
    llama_sample_top_k(ctx, &array, 40, 1);
    return llama_sample_token_greedy(ctx, &array);
}

int main(int argc, char **argv)
{
    struct llama_context_params params;
    struct llama_model *model;
    struct llama_context *ctx;
    llama_token *tokens;
    llama_token_data *candidates;
    int n_predict, n_tokens, n_past = 0, i;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT N_PREDICT\n", argv[0]);
        return 2;
    }
    n_predict = atoi(argv[3]);
    n_tokens = (int)strlen(argv[2]) + 1;
    llama_backend_init(false);
    params = llama_context_default_params();
    params.n_ctx = (uint32_t)(n_tokens + n_predict);
    params.seed = 1;
    params.f16_kv = true;
    model = llama_load_model_from_file(argv[1], params);
    if (model == NULL) {
        fprintf(stderr, "load: %s\n", bitnet_last_error());
        return 1;
    }
    ctx = llama_new_context_with_model(model, params);
    tokens = (llama_token *)malloc((size_t)n_tokens * sizeof *tokens);
    candidates = (llama_token_data *)malloc((size_t)llama_n_vocab_from_model(model) * sizeof *candidates);
    if (ctx == NULL || tokens == NULL || candidates == NULL)
        return 1;
    n_tokens = llama_tokenize(ctx, argv[2], tokens, n_tokens, true);
    for (i = 0; i < n_predict; i++) {
        llama_token token;
        if (n_tokens <= 0 || llama_eval(ctx, tokens, n_tokens, n_past, 1) != 0) {
            fprintf(stderr, "eval: %s\n", bitnet_last_error());
            return 1;
        }
        n_past += n_tokens;
        token = choose(ctx, candidates);
        if (token == llama_token_eos())
            break;
        fputs(llama_token_to_str(ctx, token), stdout);
        tokens[0] = token;
        n_tokens = 1;
    }
    putchar('\n');
    llama_print_timings(ctx);
    free(candidates);
    free(tokens);
    llama_free(ctx);
    llama_free_model(model);
    llama_backend_free();
    return 0;
}
