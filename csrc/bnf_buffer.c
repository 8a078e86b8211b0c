/* The buffer that tensors of this library lie in, in the form of ggml's own (ggml-backend-impl.h, October 2026): programs bring ggml's
 * library with them, whose functions look into a buffer for its kind and for what reads it. All of ours is memory of the CPU, used
 * where it lies. May not: own memory. See bnf_ggml.h; Debian's llama-imatrix is such a program (docs/CLIENTS.md). */
#include "bnf_ggml.h"

#include <string.h>

static const char *name_of(ggml_backend_buffer_type_t kind)
{
    (void)kind;
    return "CPU";
}

static size_t alignment_of(ggml_backend_buffer_type_t kind)
{
    (void)kind;
    return 32;
}

static bool is_host(ggml_backend_buffer_type_t kind)
{
    (void)kind;
    return true;
}

static void get_tensor(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data, size_t offset, size_t size)
{
    (void)buffer;
    memcpy(data, (const char *)tensor->data + offset, size);
}

/* What is not here allocates or writes. */
static const struct {
    const char *(*get_name)(ggml_backend_buffer_type_t);
    void (*alloc_buffer)(void);
    size_t (*get_alignment)(ggml_backend_buffer_type_t);
    void (*get_max_size)(void), (*get_alloc_size)(void);
    bool (*is_host)(ggml_backend_buffer_type_t);
    void *device, *context;
} kind = {.get_name = name_of, .get_alignment = alignment_of, .is_host = is_host};

static const struct {
    void (*free_buffer)(void), (*get_base)(void), (*init_tensor)(void), (*memset_tensor)(void), (*set_tensor)(void);
    void (*get_tensor)(ggml_backend_buffer_t, const struct ggml_tensor *, void *, size_t, size_t);
    void (*set_tensor_2d)(void), (*get_tensor_2d)(void), (*cpy_tensor)(void), (*clear)(void), (*reset)(void);
    const void *kind;
    void *context;
    size_t size;
    int usage;
} buffer = {.get_tensor = get_tensor, .kind = &kind};

ggml_backend_buffer_t bnf_cpu_buffer(void)
{
    return (ggml_backend_buffer_t)(uintptr_t)&buffer;
}
