/* Calls of 2023 and 2024 in every number and kind of arguments that they had, as C and as C++, each beside today's call.
 * test_eras.py compiles it for each era, language and compiler, and runs it: MODEL.gguf. Silent when all holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, bitnet_last_error()); \
            exit(1); \
        } \
    } while (0)
#define N 64

static const char *const text = "hello world";
static const int32_t len = 11;

static void names_of_tokens(struct llama_context *ctx, struct llama_model *model)
{
    const struct llama_context *same = ctx;
    const llama_token token = llama_vocab_bos(model) + 20;
    char a[N], b[N];
    int n;
    CHECK(llama_n_vocab(model) == llama_vocab_n_tokens(model) && llama_n_vocab(ctx) == llama_n_vocab(model));
    CHECK(llama_n_vocab(llama_model_get_vocab(model)) == llama_n_vocab(same));
    CHECK(llama_n_embd(ctx) == llama_model_n_embd(model) && llama_n_ctx_train(ctx) == llama_model_n_ctx_train(model));
    CHECK(llama_vocab_type(ctx) == llama_vocab_type(model));
    CHECK(llama_token_bos(model) == llama_vocab_bos(model) && llama_token_bos(ctx) == llama_vocab_bos(model));
    CHECK(llama_token_eos(same) == llama_vocab_eos(model) && llama_token_nl(llama_get_model(ctx)) == llama_vocab_nl(model));
    CHECK(llama_token_eot(ctx) == llama_vocab_eot(model) && llama_token_middle(ctx) == llama_vocab_fim_mid(model));
    CHECK(llama_token_prefix(ctx) == llama_token_prefix(model) && llama_token_suffix(ctx) == llama_token_suffix(model));
    CHECK(strcmp(llama_token_get_text(ctx, token), llama_vocab_get_text(model, token)) == 0);
    CHECK(llama_token_get_score(same, token) == llama_vocab_get_score(model, token));
    CHECK(llama_token_get_type(ctx, token) == llama_token_get_type(model, token));
    n = llama_token_to_piece(model, token, a, N, 0, false);
    CHECK(n > 0 && llama_token_to_piece(model, token, b, N) == n && memcmp(a, b, (size_t)n) == 0);
    CHECK(llama_token_to_piece(model, token, b, N, true) == n && memcmp(a, b, (size_t)n) == 0);
    CHECK(llama_token_to_piece(ctx, token, b, N) == n && memcmp(a, b, (size_t)n) == 0);
    CHECK(llama_token_to_str(ctx, token, b, N) == n && memcmp(a, b, (size_t)n) == 0);
    CHECK(llama_token_to_str_with_model(model, token, b, N) == n && memcmp(a, b, (size_t)n) == 0);
    CHECK(strncmp(llama_token_to_str(ctx, token), a, (size_t)n) == 0);
    CHECK(strncmp(llama_token_to_str_with_model(model, token), a, (size_t)n) == 0);
}

static int tokens_of_texts(struct llama_context *ctx, struct llama_model *model, llama_token *a)
{
    llama_token b[N];
    const int n = llama_tokenize(model, text, len, a, N, true, false);
    CHECK(n > 1 && a[0] == llama_vocab_bos(model));
#define SAME(call) (memset(b, 0, sizeof b), (call) == n && memcmp(a, b, (size_t)n * sizeof *b) == 0)
    CHECK(SAME(llama_tokenize(llama_model_get_vocab(model), text, len, b, N, true, false)));
    CHECK(SAME(llama_tokenize(model, text, len, b, N, true)));
    CHECK(SAME(llama_tokenize(ctx, text, len, b, N, true)));
    CHECK(SAME(llama_tokenize(ctx, text, b, N, true)));
    CHECK(SAME(llama_tokenize_with_model(model, text, len, b, N, true)));
    CHECK(SAME(llama_tokenize_with_model(model, text, b, N, true)));
    CHECK(SAME(llama_tokenize_bpe(ctx, text, b, N, true)));
#undef SAME
    return n;
}

static void samplers_and_templates(struct llama_context *ctx, struct llama_model *model)
{
    const char *breakers[] = {"\n"};
    const struct llama_chat_message message = {"user", "x"};
    const llama_model_quantize_params quantize = llama_model_quantize_default_params();
    const enum llama_ftype ftype = LLAMA_FTYPE_MOSTLY_Q8_0;
    const int itype = 2; /* Q4_0, then and now */
    struct llama_sampler *sampler = llama_sampler_init_penalties(320, 8, 1.5f, 0, 0);
    char a[256], b[256];
    int n;
    llama_sampler_free(sampler);
    sampler = llama_sampler_init_penalties(320, 2, 13, 8, 1.5f, 0, 0, false, true);
    CHECK(sampler != NULL && strcmp(llama_sampler_name(sampler), "chain") == 0);
    llama_sampler_free(sampler);
    sampler = llama_sampler_init_dry(model, 1, 1.75f, 2, 16, breakers, 1);
    CHECK(sampler != NULL);
    llama_sampler_free(sampler);
    sampler = llama_sampler_init_dry(model, 256, 1, 1.75f, 2, 16, breakers, 1);
    CHECK(sampler != NULL);
    llama_sampler_free(sampler);
    n = llama_chat_apply_template("chatml", &message, 1, true, a, sizeof a);
    CHECK(n > 0 && llama_chat_apply_template(model, "chatml", &message, 1, true, b, sizeof b) == n && strcmp(a, b) == 0);
    CHECK(llama_apply_lora_from_file(ctx, "/no/such/file", 1.0f, NULL, 1) != 0);
    CHECK(llama_apply_lora_from_file(ctx, "/no/such/file", NULL, 1) != 0);
    CHECK(llama_model_apply_lora_from_file(model, "/no/such/file", 1.0f, NULL, 1) != 0);
    CHECK(llama_model_apply_lora_from_file(model, "/no/such/file", NULL, 1) != 0);
    CHECK(llama_model_quantize("/no/such/file", "/no/such/out", &quantize) != 0);
    CHECK(llama_model_quantize("/no/such/file", "/no/such/out", ftype) != 0);
    CHECK(llama_model_quantize("/no/such/file", "/no/such/out", LLAMA_FTYPE_MOSTLY_Q8_0, 1) != 0);
    CHECK(llama_model_quantize("/no/such/file", "/no/such/out", itype) != 0 && strstr(bitnet_last_error(), "/no/such/file"));
    CHECK(llama_model_quantize("/no/such/file", "/no/such/out", itype, 32) != 0);
    llama_beam_search(ctx, NULL, NULL, 2, 0, 1);
    llama_beam_search(ctx, NULL, NULL, 2, 0, 1, 1);
}

static void decoding(struct llama_context *ctx, llama_token *tokens, int n)
{
    struct llama_batch batch;
    float *embd = (float *)calloc((size_t)llama_n_embd(ctx), sizeof *embd);
    float first, second;
    llama_memory_clear(llama_get_memory(ctx), true);
    CHECK(llama_eval(ctx, tokens, n, 0) == 0);
    first = llama_get_logits(ctx)[0];
    CHECK(llama_eval(ctx, tokens, n, 0, 1) == 0);
    CHECK(llama_get_logits(ctx)[0] == first);
    llama_memory_clear(llama_get_memory(ctx), true);
    CHECK(llama_eval_embd(ctx, embd, 1, 0) == 0);
    second = llama_get_logits(ctx)[0];
    CHECK(llama_eval_embd(ctx, embd, 1, 0, 1) == 0 && llama_get_logits(ctx)[0] == second);
    free(embd);
    llama_memory_clear(llama_get_memory(ctx), true);
    batch = llama_batch_init(n, 0, 1);
    batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = i == n - 1;
    }
    CHECK(llama_decode(ctx, batch) == 0);
    second = llama_get_logits_ith(ctx, n - 1)[0];
    CHECK(second == first);
    llama_batch_free(batch);
    llama_memory_clear(llama_get_memory(ctx), true);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n)) == 0 && llama_get_logits(ctx)[0] == first);
    CHECK(llama_encode(ctx, llama_batch_get_one(tokens, n)) == 0);
#if defined(BITNET_FFI_API)
    llama_memory_clear(llama_get_memory(ctx), true);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, 2, 0, 1)) == 0);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens + 2, n - 2, 2, 1)) == 0 && llama_get_logits(ctx)[0] == first);
    CHECK(llama_memory_seq_pos_max(llama_get_memory(ctx), 1) == n - 1 && llama_memory_seq_pos_max(llama_get_memory(ctx), 0) == -1);
    batch = llama_batch_init(1, 0);
    CHECK(batch.token != NULL && batch.all_pos_1 == 0);
    llama_batch_free(batch);
#if BITNET_FFI_API == 2023 || defined(__cplusplus)
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, 1, n, 1), 1) == 0 && llama_n_threads(ctx) == 1);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, 1, n + 1, 1), 0) == 0 && llama_n_threads(ctx) == 1);
    CHECK(llama_decode(NULL, llama_batch_get_one(tokens, 1, 0, 1), 1) != 0);
#endif
    llama_memory_clear(llama_get_memory(ctx), true);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n, 0, 0)) == 0);
    CHECK(llama_get_logits_ith(ctx, 0) == llama_get_logits(ctx) && llama_get_logits_ith(ctx, 0)[0] == first);
    CHECK(llama_get_logits_ith(ctx, n - 1) == llama_get_logits(ctx));
    CHECK(llama_get_logits_ith(ctx, 1) == NULL && bitnet_last_error_code() != 0);
    CHECK(llama_get_logits_ith(NULL, 0) == NULL);
    llama_memory_clear(llama_get_memory(ctx), true);
    batch = llama_batch_init(2, 0, 1);
    batch.n_tokens = 2;
    for (int i = 0; i < 2; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    CHECK(llama_decode(ctx, batch) == 0); /* both asked for: row 0 is the first token's */
    CHECK(llama_get_logits_ith(ctx, 0) + llama_n_vocab(ctx) == llama_get_logits_ith(ctx, 1));
    llama_batch_free(batch);
#endif
}

#if defined(BITNET_FFI_API)
/* n_seq_max was no limit, and one cache served all sequences: with the defaults, four of them fill n_ctx as they like. */
static void sequences(struct llama_model *model, llama_token *tokens, int n)
{
    struct llama_context_params params = llama_context_default_params();
    struct llama_context *ctx;
    struct llama_kv_cache_view view;
    CHECK(params.n_seq_max == 1);
    params.n_ctx = 4 * (uint32_t)n;
    ctx = llama_new_context_with_model(model, params);
    CHECK(ctx != NULL && llama_n_ctx(ctx) == params.n_ctx);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n, 0, 0)) == 0);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n, 0, 63)) == 0);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n, 0, 1)) == 0);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, n, n, 1)) == 0);
    CHECK(llama_decode(ctx, llama_batch_get_one(tokens, 1, n, 0)) == 1);
    view = llama_kv_cache_view_init(ctx, 3); /* by both of its names */
    llama_kv_cache_view_update(ctx, &view);
    CHECK(view.n_seq_max == 3 && view.n_max_seq == 3 && view.cells_sequences[0] == 0 && view.cells_sequences[view.n_max_seq] >= 0);
    llama_kv_cache_view_free(&view);
    llama_free(ctx);
    params.n_seq_max = 100;
    ctx = llama_new_context_with_model(model, params);
    CHECK(ctx != NULL && llama_n_seq_max(ctx) == 100);
    llama_free(ctx);
    params.n_seq_max = 1000;
    CHECK(llama_new_context_with_model(model, params) == NULL);
}

/* A name that is not called is the function of its year, with the structs of its year. */
static void calls_by_pointer(const char *path, llama_token *tokens, int n)
{
    struct llama_model *(*load)(const char *, struct llama_model_params) = llama_load_model_from_file;
    struct llama_context *(*make)(struct llama_model *, struct llama_context_params) = &llama_new_context_with_model;
    struct llama_context_params (*defaults)(void) = llama_context_default_params;
    int32_t (*decode)(struct llama_context *, struct llama_batch) = llama_decode;
    struct llama_batch (*one)(llama_token *, int32_t, llama_pos, llama_seq_id) = llama_batch_get_one;
    struct llama_batch (*init)(int32_t, int32_t, int32_t) = &llama_batch_init;
    void (*release)(struct llama_batch) = llama_batch_free;
    float *(*logits)(struct llama_context *, int32_t) = llama_get_logits_ith;
    float *(*embeddings)(struct llama_context *) = llama_get_embeddings;
    struct llama_model *model = load(path, llama_model_default_params());
    struct llama_context *ctx = make(model, defaults());
    struct llama_batch batch = init(n, 0, 1);
    CHECK(ctx != NULL && batch.token != NULL);
    CHECK(decode(ctx, one(tokens, n, 0, 7)) == 0 && logits(ctx, n - 1) != NULL && embeddings(ctx) == NULL);
    CHECK(llama_memory_seq_pos_max(llama_get_memory(ctx), 7) == n - 1);
    release(batch);
    llama_free(ctx);
    llama_free_model(model);
}
#endif

static void guidance_and_grammar(struct llama_context *ctx, struct llama_model *model)
{
    const int n = llama_n_vocab(model);
    llama_token_data *data = (llama_token_data *)calloc((size_t)n, sizeof *data);
    llama_token_data_array array = {data, (size_t)n, 0, false};
    static const llama_grammar_element rule[] = {{LLAMA_GRETYPE_CHAR, 'a'}, {LLAMA_GRETYPE_CHAR, 'b'}, {LLAMA_GRETYPE_END, 0}};
    const llama_grammar_element *rules[] = {rule};
    struct llama_grammar *grammar = llama_grammar_init(rules, 1, 0);
    llama_token a[4];
    CHECK(grammar != NULL && data != NULL);
    for (int i = 0; i < n; i++)
        data[i].id = i;
    llama_sample_classifier_free_guidance(ctx, &array, ctx, 2.0f);
    CHECK(bitnet_last_error_code() == 0);
    llama_sample_classifier_free_guidance(ctx, &array, ctx, 2.0f, 0.5f);
    CHECK(bitnet_last_error_code() == 0);
    CHECK(llama_tokenize(model, "a", 1, a, 4, false, false) >= 1);
    llama_sample_grammar(ctx, &array, grammar);
    CHECK(bitnet_last_error_code() == 0);
    llama_grammar_accept_token(ctx, grammar, llama_sample_token_greedy(ctx, &array));
    CHECK(bitnet_last_error_code() == 0);
    llama_grammar_accept_token(grammar, ctx, 0);
    CHECK(bitnet_last_error_code() != 0); /* <unk> is no text */
    llama_grammar_free(grammar);
    free(data);
}

#if defined(BITNET_FFI_API) && BITNET_FFI_API == 2023
static int calls;
static void progress(float part, void *user_data)
{
    calls += user_data == &calls && part >= 0;
}

/* The two ways to load a model that 2023 had, and the one that was both. */
static void parameters_of_2023(const char *path)
{
    struct llama_context_params old = llama_context_default_params();
    struct llama_model_params params = llama_model_default_params();
    struct llama_context *ctx;
    struct llama_model *model;
    llama_token a, b, two[2];
    CHECK(llama_token_bos() == 1 && llama_token_eos() == 2 && llama_token_nl() == 13);
    llama_init_backend(true);
    llama_init_backend();
    llama_log_set((llama_log_callback)NULL, NULL);
    old.n_ctx = 32;
    old.seed = 7;
    old.f16_kv = false;
    old.embedding = false;
    old.logits_all = true;
    old.rope_scaling_type = LLAMA_ROPE_SCALING_UNSPECIFIED;
    old.progress_callback = progress;
    old.progress_callback_user_data = &calls;
    ctx = llama_init_from_file(path, old);
    CHECK(ctx != NULL && llama_n_ctx(ctx) == 32 && calls > 0);
    a = 5;
    CHECK(llama_eval(ctx, &a, 1, 0, 1) == 0);
    b = llama_sample_top_p_top_k(ctx, &a, 1, 0, 1.0f, 1.0f, 1.0f);
    llama_set_rng_seed(ctx, 7);
    CHECK(llama_sample_top_p_top_k(ctx, &a, 1, 0, 1.0f, 1.0f, 1.0f) == b); /* the seed of the parameters */
    llama_free(ctx);
    old.embedding = true;
    ctx = llama_init_from_file(path, old);
    CHECK(ctx != NULL);
    two[0] = 5;
    two[1] = 6;
    CHECK(llama_eval(ctx, two, 2, 0, 1) == 0);
    CHECK(llama_get_embeddings(ctx) == llama_get_embeddings_ith(ctx, 1) && llama_get_embeddings_ith(ctx, 0) != NULL);
    llama_free(ctx);
    old.embedding = false;
    params.progress_callback = progress;
    params.progress_callback_user_data = &calls;
    params.use_mlock = false;
    calls = 0;
    model = llama_load_model_from_file(path, params);
    CHECK(model != NULL && calls > 0);
    llama_free_model(model);
    old.vocab_only = true;
    model = llama_load_model_from_file(path, old);
    ctx = llama_new_context_with_model(model, old);
    CHECK(model != NULL && ctx != NULL);
    CHECK(llama_eval(ctx, &a, 1, 0, 1) == 1); /* there are no weights */
    llama_free(ctx);
    llama_free_model(model);
    CHECK(llama_load_model_from_file("/no/such/file", old) == NULL && llama_init_from_file("/no/such/file", old) == NULL);
}
#endif

int main(int argc, char **argv)
{
    struct llama_model *model;
    struct llama_context_params params = llama_context_default_params();
    struct llama_context *ctx;
    llama_token tokens[N];
    int n;
    CHECK(argc == 2);
    llama_backend_init(false);
    llama_backend_init();
    llama_init_backend(false);
    llama_init_backend();
    model = llama_load_model_from_file(argv[1], llama_model_default_params());
    CHECK(model != NULL);
    params.n_ctx = 64;
#if defined(BITNET_FFI_API)
    params.n_seq_max = 2;
    params.logits_all = false;
    params.seed = 3;
#endif
    ctx = llama_new_context_with_model(model, params);
    CHECK(ctx != NULL);
    names_of_tokens(ctx, model);
    n = tokens_of_texts(ctx, model, tokens);
    samplers_and_templates(ctx, model);
    decoding(ctx, tokens, n);
#if defined(BITNET_FFI_API)
    sequences(model, tokens, n);
    calls_by_pointer(argv[1], tokens, n);
#endif
    guidance_and_grammar(ctx, model);
    llama_free(ctx);
    llama_free_model(model);
#if defined(BITNET_FFI_API) && BITNET_FFI_API == 2023
    parameters_of_2023(argv[1]);
#endif
    return 0;
}
