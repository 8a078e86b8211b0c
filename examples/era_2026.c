/* era_2026.c - greedy completion with the newest calls: a batch that grows, and llama_process.
 *
 *   cc -DBITNET_FFI_API=2026 era_2026.c $(python3 -m bitnet_ffi.config --cflags --libs) -o era_2026
 *   ./era_2026 model.gguf "The capital of France is" 32
 *
 * Compiles as C and as C++. Older ways to write the same: era_2024.c, era_2023.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

/* One token more of sequence 0. */
static int32_t add(struct llama_batch_ext *batch, llama_token token) { return llama_batch_ext_add_token(batch, 0, token); }

int main(int argc, char **argv)
{
    struct llama_context_params params;
    const struct llama_vocab *vocab;
    struct llama_model *model;
    struct llama_context *ctx;
    struct llama_sampler *sampler;
    struct llama_batch_ext *batch;
    llama_token *tokens;
    int n_predict, n_tokens, i;
    int32_t last = -1;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT N_PREDICT\n", argv[0]);
        return 2;
    }
    n_predict = atoi(argv[3]);
    model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        fprintf(stderr, "load: %s\n", bitnet_last_error());
        return 1;
    }
    vocab = llama_model_get_vocab(model);
    n_tokens = -llama_tokenize(vocab, argv[2], (int32_t)strlen(argv[2]), NULL, 0, true, true);
    params = llama_context_default_params();
    params.n_ctx = (uint32_t)(n_tokens + n_predict);
    ctx = llama_init_from_model(model, params);
    tokens = (llama_token *)malloc((size_t)n_tokens * sizeof *tokens);
    sampler = llama_sampler_init_greedy();
    if (ctx == NULL || tokens == NULL || sampler == NULL)
        return 1;
    batch = llama_batch_ext_init(ctx);
    n_tokens = llama_tokenize(vocab, argv[2], (int32_t)strlen(argv[2]), tokens, n_tokens, true, true);
    for (i = 0; i < n_tokens; i++)
        last = add(batch, tokens[i]);
    for (i = 0; i < n_predict; i++) {
        char piece[256];
        llama_token token;
        int n;
        if (!llama_batch_ext_set_output_logits(batch, last, true) || llama_process(ctx, LLAMA_PROCESS_TYPE_DECODE, batch) != 0) {
            fprintf(stderr, "process: %s\n", bitnet_last_error());
            return 1;
        }
        token = llama_sampler_sample(sampler, ctx, -1);
        if (llama_vocab_is_eog(vocab, token))
            break;
        n = llama_token_to_piece(vocab, token, piece, (int32_t)sizeof piece, 0, false);
        if (n < 0)
            return 1;
        fwrite(piece, 1, (size_t)n, stdout);
        llama_batch_ext_clear(batch);
        last = add(batch, token);
    }
    putchar('\n');
    free(tokens);
    llama_batch_ext_free(batch);
    llama_sampler_free(sampler);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
