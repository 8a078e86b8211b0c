# The engine's view of csrc/bnf_calls.h, which says what each promises: functions that one engine module defines and others call.
# A .pyx must not cimport what it defines itself: cimport names, not *. What takes structs of one room is in that room's .pxd.

from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t
from bitnet_ffi._core.bnf_context cimport bnf_scratch, bnf_step, llama_adapter_lora, llama_context
from bitnet_ffi._core.bnf_observe cimport bnf_observer
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_ops_t
from bitnet_ffi._core.bnf_public cimport bool, llama_batch, llama_model_kv_override, llama_model_params
from bitnet_ffi._core.bnf_types cimport (
    bnf_batch, bnf_gguf, bnf_gguf_kv, bnf_hparams, bnf_kv, bnf_source, bnf_str, bnf_tensor, bnf_vocab, llama_batch_ext, llama_model)

cdef extern from "bnf_calls.h" nogil:
    const char *bnf_source_name(const bnf_source *source)
    int bnf_gguf_open(const bnf_source *source, const llama_model_kv_override *overrides, bnf_gguf **out)
    void bnf_gguf_close(bnf_gguf *gguf)
    const bnf_gguf_kv *bnf_gguf_find(const bnf_gguf *gguf, const char *key)
    const bnf_tensor *bnf_gguf_tensor(const bnf_gguf *gguf, const char *name)
    int bnf_gguf_u32(const bnf_gguf *gguf, const char *key, uint32_t *out)
    int bnf_gguf_f32(const bnf_gguf *gguf, const char *key, float *out)
    int bnf_gguf_bool(const bnf_gguf *gguf, const char *key, bool *out)
    int bnf_gguf_str(const bnf_gguf *gguf, const char *key, bnf_str *out)
    bnf_str bnf_gguf_next_str(const uint8_t **cursor)
    int32_t bnf_gguf_format(const bnf_gguf_kv *kv, char *buf, size_t size)
    int32_t bnf_gguf_main_type(const bnf_gguf *gguf)
    int32_t bnf_meta_count(const bnf_gguf *gguf)
    int32_t bnf_meta_key(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function)
    int32_t bnf_meta_value(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function)
    int32_t bnf_meta_value_of(const bnf_gguf *gguf, const char *key, bool arrays, char *buf, size_t size, const char *function)

    int bnf_vocab_load(const bnf_gguf *gguf, bnf_vocab **out)
    void bnf_vocab_free(bnf_vocab *vocab)
    int32_t bnf_vocab_n_tokens(const bnf_vocab *vocab)

    int bnf_model_load(const bnf_source *source, const llama_model_params *params, llama_model **out)
    void bnf_model_retain(llama_model *model)
    void bnf_model_release(llama_model *model)

    int bnf_kv_init(bnf_kv *kv, const bnf_hparams *hp, int32_t n_ctx, int32_t n_ctx_seq, int32_t n_seq_max, int32_t type_k, int32_t type_v)
    void bnf_kv_free(bnf_kv *kv)
    void bnf_kv_clear(bnf_kv *kv, bool data)
    int bnf_kv_reserve(bnf_kv *kv, const bnf_batch *batch)
    void bnf_kv_rollback(bnf_kv *kv, const bnf_batch *batch)
    bool bnf_kv_holds(const bnf_kv *kv, int32_t seq, int32_t pos)
    int32_t bnf_kv_seq_tokens(const bnf_kv *kv, int32_t seq)
    bool bnf_kv_seq_overfull(const bnf_kv *kv, int32_t seq)
    int bnf_kv_check_copy(const bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1)
    bool bnf_kv_seq_rm(bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1)
    int bnf_kv_seq_cp(bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1)
    void bnf_kv_seq_keep(bnf_kv *kv, int32_t seq)
    int32_t bnf_kv_table_above(bnf_kv *kv, int32_t table)
    void bnf_kv_settle(bnf_kv *kv, int32_t seq)
    int64_t bnf_kv_put(bnf_kv *kv, int32_t table, int32_t pos, int32_t token, int32_t *left)
    bnf_kv *bnf_kv_keep_tables(const bnf_kv *kv)
    void bnf_kv_undo(bnf_kv *kv, const bnf_kv *tables)
    int bnf_kv_move(llama_context *ctx, int32_t seq, int32_t p0, int32_t p1, int32_t delta, int32_t divisor)

    int bnf_kv_set_aside(bnf_kv *kv, bnf_kv *kept)
    void bnf_kv_put_back(bnf_kv *kv, const bnf_kv *kept)

    enum:
        BNF_BATCH_CLIENT, BNF_BATCH_EXT
    int bnf_batch_check(const llama_context *ctx, const llama_batch *client, int origin)
    int bnf_batch_prepare(llama_context *ctx, const llama_batch *client, int origin, bool all, bnf_batch *out)
    llama_batch bnf_batch_of_ext(const llama_batch_ext *batch)
    void bnf_operand_row(const bnf_ops_t *ops, bnf_scratch *s, int kind, const float *x, int64_t k, int64_t t, int64_t n)
    bnf_act bnf_operand(const bnf_scratch *s, int kind, const float *x, int64_t k, int64_t n)
    int64_t bnf_output_row(const llama_context *ctx, int32_t i)
    int64_t bnf_need_output_row(const llama_context *ctx, int32_t i, const char *function)
    int bnf_head_logits(llama_context *ctx)
    int bnf_head_rows(llama_context *ctx, int64_t row, int64_t n)
    int bnf_head_init(llama_context *ctx)
    int32_t bnf_head_greedy(llama_context *ctx, int32_t i)
    int32_t bnf_head_greedy_row(llama_context *ctx, int64_t row)
    void bnf_attention_plan(bnf_step *step, int nth)
    void bnf_rope_and_store(const bnf_step *step, int64_t layer, int64_t t)
    void bnf_attention(const bnf_step *step, int64_t layer, int ith, int nth)
    void bnf_attention_output(const bnf_step *step, int64_t t, int nth, float *work, float *o)
    void bnf_token_order_free(void *order)
    llama_adapter_lora *bnf_adapter_load(llama_model *model, const bnf_source *source)
    void bnf_adapter_release(llama_adapter_lora *adapter)
    void bnf_adapters_free(llama_model *model)
    int bnf_ggla_open(const bnf_source *source, bnf_gguf **out, float *scale)
    int bnf_lora_follow(llama_context *ctx)
    void bnf_lora_forget(llama_context *ctx)
    void bnf_lora_down(const llama_context *ctx, int64_t number, const float *x, int64_t n, float *u, void *scratch)
    void bnf_lora_up(const llama_context *ctx, int64_t number, const float *u, int64_t n, float *y, int64_t m, long row0, long row1)
    void bnf_lora_embed(const llama_context *ctx, int32_t token, float *x)
    bool bnf_lora_on_head(const llama_context *ctx)
    int bnf_enter(llama_context *ctx, const char *function)
    void bnf_classify(llama_context *ctx, const float *state, float *out)
    int bnf_context_set_lora_rank(llama_context *ctx, int32_t rank)
    bool bnf_observe(const bnf_step *step, const bnf_scratch *s, int64_t layer, int moment)
    void bnf_observe_gate(const bnf_step *step, int64_t row0, int64_t row1)
    int bnf_observe_result(const bnf_step *step)
    int bnf_observer_new(llama_context *ctx)
    void bnf_observer_free(bnf_observer *observer)

    int bnf_forward(llama_context *ctx, const bnf_batch *batch, int32_t begin, int32_t end)
