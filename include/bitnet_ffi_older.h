/* bitnet_ffi_older.h - calls of bitnet_ffi.h with the arguments that they had before, for that header, which includes this file
 * unless BITNET_FFI_API is 2026: never include it yourself. In C, calls become macros that count and look at their arguments; in
 * C++, overloads. A form that could mean two things is not here. Next: bitnet_ffi_eras.h, structs of older years. */
#ifndef BITNET_FFI_OLDER_H
#define BITNET_FFI_OLDER_H

#ifdef __cplusplus
extern "C++" { /* said aloud, for programs that include this header inside an extern "C" of their own */

/* A context stood where the model or its vocabulary stands today. */
#define BITNET_OF_CONTEXT(result, name) \
    static inline result name(const struct llama_context *ctx) { return name(llama_get_model(ctx)); }
#define BITNET_TOKEN_OF_CONTEXT(result, name) \
    static inline result name(const struct llama_context *ctx, llama_token token) { return name(llama_get_model(ctx), token); }
BITNET_OF_CONTEXT(int32_t, llama_n_vocab)
BITNET_OF_CONTEXT(int32_t, llama_n_embd)
BITNET_OF_CONTEXT(int32_t, llama_n_ctx_train)
BITNET_OF_CONTEXT(enum llama_vocab_type, llama_vocab_type)
BITNET_OF_CONTEXT(llama_token, llama_token_bos)
BITNET_OF_CONTEXT(llama_token, llama_token_eos)
BITNET_OF_CONTEXT(llama_token, llama_token_nl)
BITNET_OF_CONTEXT(llama_token, llama_token_eot)
BITNET_OF_CONTEXT(llama_token, llama_token_prefix)
BITNET_OF_CONTEXT(llama_token, llama_token_middle)
BITNET_OF_CONTEXT(llama_token, llama_token_suffix)
BITNET_TOKEN_OF_CONTEXT(const char *, llama_token_get_text)
BITNET_TOKEN_OF_CONTEXT(float, llama_token_get_score)
BITNET_TOKEN_OF_CONTEXT(enum llama_token_type, llama_token_get_type)
#undef BITNET_OF_CONTEXT
#undef BITNET_TOKEN_OF_CONTEXT

static inline int32_t llama_tokenize(const struct llama_model *model, const char *text, int32_t text_len, llama_token *tokens,
                                     int32_t n_tokens_max, bool add_bos)
{
    return llama_tokenize(model, text, text_len, tokens, n_tokens_max, add_bos, false);
}
static inline int32_t llama_tokenize(const struct llama_context *ctx, const char *text, int32_t text_len, llama_token *tokens,
                                     int32_t n_tokens_max, bool add_bos)
{
    return llama_tokenize(llama_get_model(ctx), text, text_len, tokens, n_tokens_max, add_bos, false);
}
static inline int32_t llama_tokenize(const struct llama_context *ctx, const char *text, llama_token *tokens, int32_t n_tokens_max,
                                     bool add_bos)
{
    return llama_tokenize(llama_get_model(ctx), text, -1, tokens, n_tokens_max, add_bos, false);
}
static inline int llama_tokenize_with_model(const struct llama_model *model, const char *text, llama_token *tokens, int n_max_tokens,
                                            bool add_bos)
{
    return llama_tokenize_with_model(model, text, -1, tokens, n_max_tokens, add_bos);
}
static inline int32_t llama_token_to_piece(const struct llama_model *model, llama_token token, char *buf, int32_t length)
{
    return llama_token_to_piece(model, token, buf, length, 0, false);
}
static inline int32_t llama_token_to_piece(const struct llama_model *model, llama_token token, char *buf, int32_t length, bool special)
{
    return llama_token_to_piece(model, token, buf, length, 0, special);
}
static inline int32_t llama_token_to_piece(const struct llama_context *ctx, llama_token token, char *buf, int32_t length)
{
    return llama_token_to_piece(llama_get_model(ctx), token, buf, length, 0, false);
}
static inline const char *llama_token_to_str(const struct llama_context *ctx, llama_token token)
{
    return bitnet_token_text(llama_get_model(ctx), token);
}
static inline const char *llama_token_to_str_with_model(const struct llama_model *model, llama_token token)
{
    return bitnet_token_text(model, token);
}
/* Of the spring of 2024: states without a size. */
static inline size_t llama_state_get_data(struct llama_context *ctx, uint8_t *dst)
{
    return llama_copy_state_data(ctx, dst);
}
static inline size_t llama_state_set_data(struct llama_context *ctx, const uint8_t *src)
{
    return llama_set_state_data(ctx, src);
}
static inline size_t llama_state_seq_get_data(struct llama_context *ctx, uint8_t *dst, llama_seq_id seq_id)
{
    return bitnet_state_seq_copy_data(ctx, dst, seq_id);
}
static inline size_t llama_state_seq_set_data(struct llama_context *ctx, const uint8_t *src, llama_seq_id dest_seq_id)
{
    return bitnet_state_seq_put_data(ctx, src, dest_seq_id);
}
static inline int llama_eval(struct llama_context *ctx, const llama_token *tokens, int32_t n_tokens, int32_t n_past, int32_t n_threads)
{
    return bitnet_eval_n_threads(ctx, tokens, n_tokens, n_past, n_threads);
}
static inline int llama_eval_embd(struct llama_context *ctx, const float *embd, int32_t n_tokens, int32_t n_past, int32_t n_threads)
{
    if (n_threads > 0)
        llama_set_n_threads(ctx, n_threads, n_threads);
    return llama_eval_embd(ctx, const_cast<float *>(embd), n_tokens, n_past);
}
static inline void llama_backend_init(bool numa)
{
    llama_init_backend(numa);
    llama_backend_init();
}
static inline void llama_init_backend() { llama_backend_init(); }
static inline int32_t llama_chat_apply_template(const struct llama_model *model, const char *tmpl, const struct llama_chat_message *chat,
                                                size_t n_msg, bool add_ass, char *buf, int32_t length)
{
    return llama_chat_apply_template(tmpl ? tmpl : llama_model_chat_template(model, nullptr), chat, n_msg, add_ass, buf, length);
}
static inline struct llama_sampler *llama_sampler_init_penalties(
    int32_t n_vocab, llama_token special_eos_id, llama_token linefeed_id, int32_t penalty_last_n, float penalty_repeat,
    float penalty_freq, float penalty_present, bool penalize_nl, bool ignore_eos)
{
    return bitnet_sampler_init_penalties_2024(n_vocab, special_eos_id, linefeed_id, penalty_last_n, penalty_repeat, penalty_freq,
                                              penalty_present, penalize_nl, ignore_eos);
}
static inline struct llama_sampler *llama_sampler_init_dry(
    const struct llama_model *model, int32_t, float dry_multiplier, float dry_base, int32_t dry_allowed_length,
    int32_t dry_penalty_last_n, const char **seq_breakers, size_t num_breakers)
{
    return llama_sampler_init_dry(model, dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, seq_breakers, num_breakers);
}
static inline void llama_sample_classifier_free_guidance(struct llama_context *ctx, llama_token_data_array *candidates,
                                                         struct llama_context *guidance_ctx, float scale, float smooth_factor)
{
    bitnet_sample_guidance(ctx, candidates, guidance_ctx, scale, smooth_factor);
}
static inline void llama_grammar_accept_token(struct llama_context *ctx, struct llama_grammar *grammar, llama_token token)
{
    llama_grammar_accept_token(grammar, ctx, token);
}
static inline void llama_beam_search(struct llama_context *ctx, llama_beam_search_callback_fn_t callback, void *callback_data,
                                     size_t n_beams, int32_t n_past, int32_t n_predict, int32_t)
{
    llama_beam_search(ctx, callback, callback_data, n_beams, n_past, n_predict);
}
static inline int32_t llama_model_apply_lora_from_file(const struct llama_model *model, const char *path_lora,
                                                       const char *path_base_model, int32_t n_threads)
{
    return llama_model_apply_lora_from_file(model, path_lora, 1.0f, path_base_model, n_threads);
}
static inline int32_t llama_apply_lora_from_file(struct llama_context *ctx, const char *path_lora, const char *path_base_model,
                                                 int32_t n_threads)
{
    return llama_apply_lora_from_file(ctx, path_lora, 1.0f, path_base_model, n_threads);
}
static inline uint32_t llama_model_quantize(const char *fname_inp, const char *fname_out, enum llama_ftype ftype, int32_t n_threads = 0)
{
    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = ftype;
    params.nthread = n_threads;
    return llama_model_quantize(fname_inp, fname_out, &params);
}
/* Of March 2023: the numbers of types that there were then have not changed; a block had `qk` weights, which is no choice any more. */
static inline uint32_t llama_model_quantize(const char *fname_inp, const char *fname_out, int itype, int qk = 32)
{
    (void)qk;
    return llama_model_quantize(fname_inp, fname_out, static_cast<enum llama_ftype>(itype));
}

} /* C++ */
#else /* C */

/* How many arguments, 1 to 9; and a name that ends with that number. */
#define BITNET_10TH(a, b, c, d, e, f, g, h, i, j, ...) j
#define BITNET_COUNT(...) BITNET_10TH(__VA_ARGS__, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define BITNET_JOIN(a, b) a##b
#define BITNET_BY(name, n) BITNET_JOIN(name, n)
#define BITNET_CALL(name, ...) BITNET_BY(name, BITNET_COUNT(__VA_ARGS__))(__VA_ARGS__)

/* The model of a context, or the model itself. */
static inline const struct llama_model *bitnet_the_model(const struct llama_model *model) { return model; }
#define BITNET_MODEL(h) \
    _Generic((h), struct llama_context *: llama_get_model, const struct llama_context *: llama_get_model, default: bitnet_the_model)(h)

#define llama_n_vocab(h) llama_n_vocab(BITNET_MODEL(h))
#define llama_n_embd(h) llama_n_embd(BITNET_MODEL(h))
#define llama_n_ctx_train(h) llama_n_ctx_train(BITNET_MODEL(h))
#define llama_vocab_type(h) llama_vocab_type(BITNET_MODEL(h))
#define llama_token_eot(h) llama_token_eot(BITNET_MODEL(h))
#define llama_token_prefix(h) llama_token_prefix(BITNET_MODEL(h))
#define llama_token_middle(h) llama_token_middle(BITNET_MODEL(h))
#define llama_token_suffix(h) llama_token_suffix(BITNET_MODEL(h))
#define llama_token_get_text(h, token) llama_token_get_text(BITNET_MODEL(h), token)
#define llama_token_get_score(h, token) llama_token_get_score(BITNET_MODEL(h), token)
#define llama_token_get_type(h, token) llama_token_get_type(BITNET_MODEL(h), token)
#if !defined(BITNET_FFI_API) || BITNET_FFI_API != 2023 /* else below: without arguments, too */
#define llama_token_bos(h) llama_token_bos(BITNET_MODEL(h))
#define llama_token_eos(h) llama_token_eos(BITNET_MODEL(h))
#define llama_token_nl(h) llama_token_nl(BITNET_MODEL(h))
#endif

#define BITNET_TOKENIZE_7(h, text, len, tokens, n, bos, special) llama_tokenize(BITNET_MODEL(h), text, len, tokens, n, bos, special)
#define BITNET_TOKENIZE_6(h, text, len, tokens, n, bos) llama_tokenize(BITNET_MODEL(h), text, len, tokens, n, bos, false)
#define BITNET_TOKENIZE_5(h, text, tokens, n, bos) llama_tokenize(BITNET_MODEL(h), text, -1, tokens, n, bos, false)
#define llama_tokenize(...) BITNET_CALL(BITNET_TOKENIZE_, __VA_ARGS__)

#define BITNET_TOKENIZE_WITH_MODEL_6(model, text, len, tokens, n, bos) llama_tokenize_with_model(model, text, len, tokens, n, bos)
#define BITNET_TOKENIZE_WITH_MODEL_5(model, text, tokens, n, bos) llama_tokenize_with_model(model, text, -1, tokens, n, bos)
#define llama_tokenize_with_model(...) BITNET_CALL(BITNET_TOKENIZE_WITH_MODEL_, __VA_ARGS__)

#define BITNET_PIECE_6(h, token, buf, n, strip, special) llama_token_to_piece(BITNET_MODEL(h), token, buf, n, strip, special)
#define BITNET_PIECE_5(h, token, buf, n, special) llama_token_to_piece(BITNET_MODEL(h), token, buf, n, 0, special)
#define BITNET_PIECE_4(h, token, buf, n) llama_token_to_piece(BITNET_MODEL(h), token, buf, n, 0, false)
#define llama_token_to_piece(...) BITNET_CALL(BITNET_PIECE_, __VA_ARGS__)

#define BITNET_STR_4(ctx, token, buf, n) llama_token_to_str(ctx, token, buf, n)
#define BITNET_STR_2(ctx, token) bitnet_token_text(llama_get_model(ctx), token)
#define llama_token_to_str(...) BITNET_CALL(BITNET_STR_, __VA_ARGS__)
#define BITNET_MODEL_STR_4(model, token, buf, n) llama_token_to_str_with_model(model, token, buf, n)
#define BITNET_MODEL_STR_2(model, token) bitnet_token_text(model, token)
#define llama_token_to_str_with_model(...) BITNET_CALL(BITNET_MODEL_STR_, __VA_ARGS__)

#define BITNET_STATE_GET_3(ctx, dst, size) llama_state_get_data(ctx, dst, size)
#define BITNET_STATE_GET_2(ctx, dst) llama_copy_state_data(ctx, dst)
#define llama_state_get_data(...) BITNET_CALL(BITNET_STATE_GET_, __VA_ARGS__)
#define BITNET_STATE_SET_3(ctx, src, size) llama_state_set_data(ctx, src, size)
#define BITNET_STATE_SET_2(ctx, src) llama_set_state_data(ctx, src)
#define llama_state_set_data(...) BITNET_CALL(BITNET_STATE_SET_, __VA_ARGS__)
#define BITNET_STATE_SEQ_GET_4(ctx, dst, size, seq) llama_state_seq_get_data(ctx, dst, size, seq)
#define BITNET_STATE_SEQ_GET_3(ctx, dst, seq) bitnet_state_seq_copy_data(ctx, dst, seq)
#define llama_state_seq_get_data(...) BITNET_CALL(BITNET_STATE_SEQ_GET_, __VA_ARGS__)
#define BITNET_STATE_SEQ_SET_4(ctx, src, size, seq) llama_state_seq_set_data(ctx, src, size, seq)
#define BITNET_STATE_SEQ_SET_3(ctx, src, seq) bitnet_state_seq_put_data(ctx, src, seq)
#define llama_state_seq_set_data(...) BITNET_CALL(BITNET_STATE_SEQ_SET_, __VA_ARGS__)

#define BITNET_EVAL_5(ctx, tokens, n, n_past, n_threads) bitnet_eval_n_threads(ctx, tokens, n, n_past, n_threads)
#define BITNET_EVAL_4(ctx, tokens, n, n_past) llama_eval(ctx, tokens, n, n_past)
#define llama_eval(...) BITNET_CALL(BITNET_EVAL_, __VA_ARGS__)

static inline int bitnet_eval_embd_n_threads(struct llama_context *ctx, const float *embd, int32_t n_tokens, int32_t n_past,
                                             int32_t n_threads)
{
    if (n_threads > 0)
        llama_set_n_threads(ctx, n_threads, n_threads);
    return llama_eval_embd(ctx, (float *)(uintptr_t)embd, n_tokens, n_past); /* read only */
}
#define BITNET_EVAL_EMBD_5(ctx, embd, n, n_past, n_threads) bitnet_eval_embd_n_threads(ctx, embd, n, n_past, n_threads)
#define BITNET_EVAL_EMBD_4(ctx, embd, n, n_past) llama_eval_embd(ctx, embd, n, n_past)
#define llama_eval_embd(...) BITNET_CALL(BITNET_EVAL_EMBD_, __VA_ARGS__)

/* With one argument, `bool numa`, or none. */
#define llama_backend_init(...) ((llama_init_backend)(((const int[2]){0, __VA_ARGS__})[1] != 0), llama_backend_init())
#define llama_init_backend(...) ((llama_init_backend)(((const int[2]){0, __VA_ARGS__})[1] != 0))

#define BITNET_TEMPLATE_7(model, tmpl, chat, n, ass, buf, len) \
    llama_chat_apply_template((tmpl) ? (tmpl) : llama_model_chat_template(model, NULL), chat, n, ass, buf, len)
#define BITNET_TEMPLATE_6(tmpl, chat, n, ass, buf, len) llama_chat_apply_template(tmpl, chat, n, ass, buf, len)
#define llama_chat_apply_template(...) BITNET_CALL(BITNET_TEMPLATE_, __VA_ARGS__)

#define BITNET_PENALTIES_9(n, eos, nl, last, repeat, freq, present, with_nl, no_eos) \
    bitnet_sampler_init_penalties_2024(n, eos, nl, last, repeat, freq, present, with_nl, no_eos)
#define BITNET_PENALTIES_5(n, last, repeat, freq, present) llama_sampler_init_penalties(n, last, repeat, freq, present)
#define llama_sampler_init_penalties(...) BITNET_CALL(BITNET_PENALTIES_, __VA_ARGS__)

#define BITNET_DRY_8(vocab, n_ctx, mul, base, allowed, last, breakers, n) \
    llama_sampler_init_dry(vocab, mul, base, allowed, last, breakers, n)
#define BITNET_DRY_7(vocab, mul, base, allowed, last, breakers, n) llama_sampler_init_dry(vocab, mul, base, allowed, last, breakers, n)
#define llama_sampler_init_dry(...) BITNET_CALL(BITNET_DRY_, __VA_ARGS__)

#define BITNET_GUIDANCE_5(ctx, candidates, other, scale, smooth) bitnet_sample_guidance(ctx, candidates, other, scale, smooth)
#define BITNET_GUIDANCE_4(ctx, candidates, other, scale) llama_sample_classifier_free_guidance(ctx, candidates, other, scale)
#define llama_sample_classifier_free_guidance(...) BITNET_CALL(BITNET_GUIDANCE_, __VA_ARGS__)

static inline void bitnet_accept_in_context(struct llama_context *ctx, struct llama_grammar *grammar, llama_token token)
{
    llama_grammar_accept_token(grammar, ctx, token);
}
#define llama_grammar_accept_token(a, b, token) \
    _Generic((a), struct llama_context *: bitnet_accept_in_context, default: llama_grammar_accept_token)(a, b, token)

#define BITNET_BEAMS_7(ctx, callback, data, n, past, predict, threads) llama_beam_search(ctx, callback, data, n, past, predict)
#define BITNET_BEAMS_6(ctx, callback, data, n, past, predict) llama_beam_search(ctx, callback, data, n, past, predict)
#define llama_beam_search(...) BITNET_CALL(BITNET_BEAMS_, __VA_ARGS__)

#define BITNET_MODEL_LORA_5(model, path, scale, base, n_threads) llama_model_apply_lora_from_file(model, path, scale, base, n_threads)
#define BITNET_MODEL_LORA_4(model, path, base, n_threads) llama_model_apply_lora_from_file(model, path, 1.0f, base, n_threads)
#define llama_model_apply_lora_from_file(...) BITNET_CALL(BITNET_MODEL_LORA_, __VA_ARGS__)
#define BITNET_LORA_5(ctx, path, scale, base, n_threads) llama_apply_lora_from_file(ctx, path, scale, base, n_threads)
#define BITNET_LORA_4(ctx, path, base, n_threads) llama_apply_lora_from_file(ctx, path, 1.0f, base, n_threads)
#define llama_apply_lora_from_file(...) BITNET_CALL(BITNET_LORA_, __VA_ARGS__)

/* The type of weights by itself, and the number of threads, where a pointer to parameters stands today. */
static inline uint32_t bitnet_quantize_as(const char *fname_inp, const char *fname_out, enum llama_ftype ftype, int32_t n_threads)
{
    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = ftype;
    params.nthread = n_threads;
    return llama_model_quantize(fname_inp, fname_out, &params);
}
static inline uint32_t bitnet_quantize_as_3(const char *fname_inp, const char *fname_out, enum llama_ftype ftype)
{
    return bitnet_quantize_as(fname_inp, fname_out, ftype, 0);
}
#define BITNET_QUANTIZE_4(in, out, ftype, n_threads) bitnet_quantize_as(in, out, ftype, n_threads)
#define BITNET_QUANTIZE_3(in, out, how) \
    _Generic((how), int: bitnet_quantize_as_3, unsigned: bitnet_quantize_as_3, default: llama_model_quantize)(in, out, how)
#define llama_model_quantize(...) BITNET_CALL(BITNET_QUANTIZE_, __VA_ARGS__)

#endif /* C */

#if defined(BITNET_FFI_API) && BITNET_FFI_API == 2023
/* The tokens of LLaMA's vocabulary, before the vocabulary was asked: 1, 2 and 13. */
#ifdef __cplusplus
extern "C++" {
static inline llama_token llama_token_bos() { return 1; }
static inline llama_token llama_token_eos() { return 2; }
static inline llama_token llama_token_nl() { return 13; }
}
#else
/* 1 for no arguments, 0 for one. BITNET_PROBE stands before a parenthesis, and so becomes two things, when the arguments
 * begin with one, or when there are none and the () behind them is the next. */
#define BITNET_PROBE(...) 0, 0
#define BITNET_3RD(a, b, c, ...) c
#define BITNET_TWO(...) BITNET_3RD(__VA_ARGS__, 1, 0, 0)
#define BITNET_JOIN_2(a, b, c) a##b##c
#define BITNET_BY_2(name, x, y) BITNET_JOIN_2(name, x, y)
#define BITNET_NONE_00 0
#define BITNET_NONE_11 0
#define BITNET_NONE_10 1
#define BITNET_NONE(...) BITNET_BY_2(BITNET_NONE_, BITNET_TWO(BITNET_PROBE __VA_ARGS__ ()), BITNET_TWO(BITNET_PROBE __VA_ARGS__))
#define BITNET_TOKEN_1(name, value, ...) (value)
#define BITNET_TOKEN_0(name, value, ...) name(BITNET_MODEL(__VA_ARGS__))
#define llama_token_bos(...) BITNET_BY(BITNET_TOKEN_, BITNET_NONE(__VA_ARGS__))(llama_token_bos, 1, __VA_ARGS__)
#define llama_token_eos(...) BITNET_BY(BITNET_TOKEN_, BITNET_NONE(__VA_ARGS__))(llama_token_eos, 2, __VA_ARGS__)
#define llama_token_nl(...) BITNET_BY(BITNET_TOKEN_, BITNET_NONE(__VA_ARGS__))(llama_token_nl, 13, __VA_ARGS__)
#endif
#endif

#endif /* BITNET_FFI_OLDER_H */
