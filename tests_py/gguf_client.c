/* A program as users of gguf.h and ggml.h write them: FILE.gguf. Lists keys and tensors, with a sum of each tensor's bytes; then loads
 * the file as a model and takes the same tensors from it by name, as fine-tuning programs of 2023 did, and checks shapes and bytes.
 * test_tensors.py compiles it for each era as C and C++. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_ffi.h"

static void show_number(const struct gguf_context *gguf, int64_t key)
{
    switch (gguf_get_kv_type(gguf, key)) {
    case GGUF_TYPE_UINT32: printf("%" PRIu32, gguf_get_val_u32(gguf, key)); break;
    case GGUF_TYPE_FLOAT32: printf("%.9g", (double)gguf_get_val_f32(gguf, key)); break;
    case GGUF_TYPE_BOOL: printf("%s", gguf_get_val_bool(gguf, key) ? "true" : "false"); break;
    case GGUF_TYPE_STRING: printf("%s", gguf_get_val_str(gguf, key)); break;
    default: GGML_ABORT("key %s", gguf_get_key(gguf, key));
    }
}

static void show_array(const struct gguf_context *gguf, int64_t key)
{
    const size_t n = gguf_get_arr_n(gguf, key);
    const enum gguf_type type = gguf_get_arr_type(gguf, key);
    printf("%s[%zu]", gguf_type_name(type), n);
    for (size_t i = 0; i < n && i < 3; i++)
        switch (type) {
        case GGUF_TYPE_STRING: printf(" %s", gguf_get_arr_str(gguf, key, i)); break;
        case GGUF_TYPE_FLOAT32: printf(" %.9g", (double)((const float *)gguf_get_arr_data(gguf, key))[i]); break;
        case GGUF_TYPE_INT32: printf(" %" PRId32, ((const int32_t *)gguf_get_arr_data(gguf, key))[i]); break;
        default: GGML_ABORT("array %s", gguf_get_key(gguf, key));
        }
}

static uint64_t sum_of(const struct ggml_tensor *tensor)
{
    const size_t size = ggml_nbytes(tensor);
    unsigned char *bytes = (unsigned char *)malloc(size);
    uint64_t sum = 0;
    ggml_backend_tensor_get(tensor, bytes, 0, size);
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + bytes[i];
    free(bytes);
    return sum;
}

static void compare(const struct ggml_tensor *in_file, struct llama_model *model)
{
    const struct ggml_tensor *weight = llama_get_model_tensor(model, ggml_get_name(in_file));
    GGML_ASSERT(weight != NULL && weight->type == in_file->type && weight->op == GGML_OP_NONE);
    GGML_ASSERT(memcmp(weight->ne, in_file->ne, sizeof weight->ne) == 0 && memcmp(weight->nb, in_file->nb, sizeof weight->nb) == 0);
    GGML_ASSERT(ggml_nbytes(weight) == ggml_nbytes(in_file) && ggml_nelements(weight) == ggml_nelements(in_file));
    GGML_ASSERT(ggml_backend_buffer_is_host(weight->buffer));
    GGML_ASSERT(memcmp(weight->data, in_file->data, ggml_nbytes(weight)) == 0);
}

int main(int argc, char **argv)
{
    struct ggml_context *ctx = NULL;
    struct gguf_init_params params;
    struct gguf_context *gguf;
    struct llama_model *model;
    GGML_ASSERT(argc == 2);
    params.no_alloc = false;
    params.ctx = &ctx;
    gguf = gguf_init_from_file(argv[1], params);
    GGML_ASSERT(gguf != NULL && ctx != NULL);
    for (int64_t key = 0; key < gguf_get_n_kv(gguf); key++) {
        printf("%s ", gguf_get_key(gguf, key));
        if (gguf_get_kv_type(gguf, key) == GGUF_TYPE_ARRAY)
            show_array(gguf, key);
        else
            show_number(gguf, key);
        printf("\n");
    }
    model = llama_load_model_from_file(argv[1], llama_model_default_params());
    GGML_ASSERT(model != NULL);
    for (int64_t i = 0; i < gguf_get_n_tensors(gguf); i++) {
        const struct ggml_tensor *tensor = ggml_get_tensor(ctx, gguf_get_tensor_name(gguf, i));
        GGML_ASSERT(gguf_find_tensor(gguf, tensor->name) == i && gguf_get_tensor_size(gguf, i) == ggml_nbytes(tensor));
        printf("%s %s %d %" PRId64 " %" PRId64 " %zu %" PRIu64 "\n", tensor->name, ggml_type_name(tensor->type), ggml_n_dims(tensor), tensor->ne[0],
               tensor->ne[1], ggml_nbytes(tensor), sum_of(tensor));
        compare(tensor, model);
    }
    GGML_ASSERT(llama_get_model_tensor(model, "no.such.weight") == NULL);
    llama_free_model(model);
    gguf_free(gguf);
    ggml_free(ctx);
    return 0;
}
