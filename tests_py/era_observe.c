/* era_observe.c - watching a decode as programs of 2024 do (llama.cpp's imatrix of that year): cb_eval in the parameters of a context,
 * products by op, the weight's name and the activations from src, sums of squares of what goes in.
 *
 *   cc -DBITNET_FFI_API=2024 era_observe.c $(python3 -m bitnet_ffi.config --cflags --libs) -o era_observe
 *   ./era_observe model.gguf
 *
 * Compiles as C and as C++, for 2024 and today. Next: test_eras.py, which compares. */
#include <stdio.h>

#include "bitnet_ffi.h"

static bool collect(struct ggml_tensor *t, bool ask, void *user_data)
{
    const struct ggml_tensor *src0 = t->src[0], *src1 = t->src[1];
    double sum = 0;
    int64_t row, i;

    if (ask)
        return t->op == GGML_OP_MUL_MAT && src1->type == GGML_TYPE_F32;
    for (row = 0; row < src1->ne[1]; row++) {
        const float *x = (const float *)(const void *)((const char *)src1->data + (size_t)row * src1->nb[1]);
        for (i = 0; i < src1->ne[0]; i++)
            sum += (double)x[i] * (double)x[i];
    }
    fprintf((FILE *)user_data, "%s %d %d %.6g\n", src0->name, (int)src1->ne[0], (int)src1->ne[1], sum);
    return true;
}

int main(int argc, char **argv)
{
    llama_token tokens[5] = {1, 20, 30, 40, 50};
    struct llama_context_params params = llama_context_default_params();
    struct llama_model *model;
    struct llama_context *ctx;
    struct llama_batch batch;
    int i, rc;

    if (argc < 2)
        return 2;
    model = llama_load_model_from_file(argv[1], llama_model_default_params());
    params.n_ctx = 64;
    params.cb_eval = collect;
    params.cb_eval_user_data = stdout;
    ctx = llama_new_context_with_model(model, params);
    if (ctx == NULL) {
        fprintf(stderr, "%s\n", bitnet_last_error());
        return 1;
    }
    batch = llama_batch_init(5, 0, 1);
    batch.n_tokens = 5;
    for (i = 0; i < 5; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    rc = llama_decode(ctx, batch);
    llama_batch_free(batch);
    llama_free(ctx);
    llama_free_model(model);
    return rc;
}
