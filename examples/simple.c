/* simple.c - greedy completion of a prompt, in plain C over the llama.h API.
 *
 *   cc simple.c $(python3 -m bitnet_ffi.config --cflags --libs) -o simple
 *   ./simple model.gguf "The capital of France is" 32
 *
 * The same file compiles against llama.cpp: include "llama.h" instead and link -lllama.
 * Every call that can fail is checked; bitnet_last_error() says why in one sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, bitnet_last_error());
    return 1;
}

/* The prompt as tokens, in memory that the caller frees; -1 when that cannot be. */
static int32_t tokenize(const struct llama_vocab *vocab, const char *text, llama_token **tokens)
{
    const int32_t len = (int32_t)strlen(text);
    /* A first call without room answers with minus the number of tokens. */
    const int32_t n = -llama_tokenize(vocab, text, len, NULL, 0, true, true);
    if (n <= 0) {
        return -1;
    }
    *tokens = malloc((size_t)n * sizeof **tokens);
    if (*tokens == NULL) {
        return -1;
    }
    return llama_tokenize(vocab, text, len, *tokens, n, true, true);
}

/* Decode the prompt, then one token at a time, until the model ends or n_predict is reached. */
static int generate(struct llama_context *ctx, const struct llama_vocab *vocab, struct llama_sampler *sampler,
                    llama_token *prompt, int32_t n_prompt, int n_predict)
{
    struct llama_batch batch = llama_batch_get_one(prompt, n_prompt);
    llama_token token;
    for (int i = 0; i < n_predict; i++) {
        if (llama_decode(ctx, batch) != 0) {
            return fail("decode");
        }
        token = llama_sampler_sample(sampler, ctx, -1);
        if (llama_vocab_is_eog(vocab, token)) {
            break;
        }
        char piece[256];
        const int32_t n = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        if (n < 0) {
            return fail("token to text");
        }
        fwrite(piece, 1, (size_t)n, stdout);
        fflush(stdout);
        batch = llama_batch_get_one(&token, 1);
    }
    putchar('\n');
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT [N_PREDICT]\n", argv[0]);
        return 2;
    }
    const int n_predict = argc > 3 ? atoi(argv[3]) : 32;
    int status = 1;
    llama_token *prompt = NULL;
    struct llama_context *ctx = NULL;
    struct llama_sampler *sampler = NULL;

    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        return fail("load");
    }
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    const int32_t n_prompt = tokenize(vocab, argv[2], &prompt);
    if (n_prompt <= 0) {
        status = fail("tokenize");
        goto done;
    }

    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(n_prompt + n_predict);
    ctx = llama_init_from_model(model, params);
    sampler = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (ctx == NULL || sampler == NULL) {
        status = fail("context");
        goto done;
    }
    llama_sampler_chain_add(sampler, llama_sampler_init_greedy());
    status = generate(ctx, vocab, sampler, prompt, n_prompt, n_predict);

done:
    free(prompt);
    llama_sampler_free(sampler);
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    return status;
}
