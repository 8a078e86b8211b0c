/* Calls of ggml.h and gguf.h that take a context, and where they go when the process has ggml itself beside this library. Programs link
 * with both: libllama, whose name this library has, and libggml-base. Symbols are bound one by one then, so ours would be called with
 * contexts that ggml made, from programs and from inside of ggml: gguf_write_to_file asks gguf_get_n_kv how much there is to write. So
 * each exported call is defined in bnf_beside.c, and goes on to ggml's own or to bnf_NAME here (api_gguf.pyx, api_tensor.pyx,
 * gguf_context.pyx). */
#ifndef BNF_BESIDE_H
#define BNF_BESIDE_H

#include "bnf_ggml.h"

#define BNF_KEY_CALL(call, result, name) call(result, name, (const struct gguf_context *ctx, int64_t key_id), (ctx, key_id))
#define BNF_TENSOR_CALL(call, result, name) call(result, name, (const struct gguf_context *ctx, int64_t tensor_id), (ctx, tensor_id))

/* call(result, name, parameters, arguments) of each that asks. */
#define BNF_BESIDE_CALLS(call) \
    call(uint32_t, gguf_get_version, (const struct gguf_context *ctx), (ctx)) \
    call(size_t, gguf_get_alignment, (const struct gguf_context *ctx), (ctx)) \
    call(size_t, gguf_get_data_offset, (const struct gguf_context *ctx), (ctx)) \
    call(int64_t, gguf_get_n_kv, (const struct gguf_context *ctx), (ctx)) \
    call(int64_t, gguf_find_key, (const struct gguf_context *ctx, const char *key), (ctx, key)) \
    BNF_KEY_CALL(call, const char *, gguf_get_key) \
    BNF_KEY_CALL(call, enum gguf_type, gguf_get_kv_type) \
    BNF_KEY_CALL(call, enum gguf_type, gguf_get_arr_type) \
    BNF_KEY_CALL(call, uint8_t, gguf_get_val_u8) \
    BNF_KEY_CALL(call, int8_t, gguf_get_val_i8) \
    BNF_KEY_CALL(call, uint16_t, gguf_get_val_u16) \
    BNF_KEY_CALL(call, int16_t, gguf_get_val_i16) \
    BNF_KEY_CALL(call, uint32_t, gguf_get_val_u32) \
    BNF_KEY_CALL(call, int32_t, gguf_get_val_i32) \
    BNF_KEY_CALL(call, float, gguf_get_val_f32) \
    BNF_KEY_CALL(call, uint64_t, gguf_get_val_u64) \
    BNF_KEY_CALL(call, int64_t, gguf_get_val_i64) \
    BNF_KEY_CALL(call, double, gguf_get_val_f64) \
    BNF_KEY_CALL(call, bool, gguf_get_val_bool) \
    BNF_KEY_CALL(call, const char *, gguf_get_val_str) \
    BNF_KEY_CALL(call, const void *, gguf_get_val_data) \
    BNF_KEY_CALL(call, size_t, gguf_get_arr_n) \
    BNF_KEY_CALL(call, const void *, gguf_get_arr_data) \
    call(const char *, gguf_get_arr_str, (const struct gguf_context *ctx, int64_t key_id, size_t i), (ctx, key_id, i)) \
    call(int64_t, gguf_get_n_tensors, (const struct gguf_context *ctx), (ctx)) \
    call(int64_t, gguf_find_tensor, (const struct gguf_context *ctx, const char *name), (ctx, name)) \
    BNF_TENSOR_CALL(call, size_t, gguf_get_tensor_offset) \
    BNF_TENSOR_CALL(call, const char *, gguf_get_tensor_name) \
    BNF_TENSOR_CALL(call, const int64_t *, gguf_get_tensor_ne) \
    BNF_TENSOR_CALL(call, enum ggml_type, gguf_get_tensor_type) \
    BNF_TENSOR_CALL(call, size_t, gguf_get_tensor_size) \
    call(struct ggml_tensor *, ggml_get_first_tensor, (const struct ggml_context *ctx), (ctx)) \
    call(struct ggml_tensor *, ggml_get_next_tensor, (const struct ggml_context *ctx, struct ggml_tensor *tensor), (ctx, tensor)) \
    call(struct ggml_tensor *, ggml_get_tensor, (struct ggml_context *ctx, const char *name), (ctx, name)) \
    call(size_t, ggml_get_mem_size, (const struct ggml_context *ctx), (ctx))

#define BNF_DECLARE(result, name, parameters, arguments) result bnf_##name parameters;
BNF_BESIDE_CALLS(BNF_DECLARE)
struct gguf_context *bnf_gguf_init_from_file(const char *fname, struct gguf_init_params params);
void bnf_gguf_free(struct gguf_context *ctx);
void bnf_ggml_free(struct ggml_context *ctx);

#endif
