# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What ggml.h tells of tensors and of their types, and where tensors come from: a model's weights by name, those of a file in their order.
# Answers questions; nothing computes with a tensor or makes one. Next: csrc/bnf_ggml.h; gguf_context.pyx makes the contexts.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t
from libc.string cimport memcpy, strcmp
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_answer_no, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_tensor
from bitnet_ffi._core.bnf_ggml cimport (
    bnf_block, bnf_cpu_buffer, bnf_ggml_context_free, bnf_ggml_kind, bnf_op_desc, bnf_op_name, bnf_tensor_bytes, bnf_tensor_describe,
    bnf_type_block, ggml_backend_buffer_t, ggml_context, ggml_tensor)
from bitnet_ffi._core.bnf_ops cimport bnf_type_name
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_tensor, llama_model
from bitnet_ffi._core.bnf_write cimport ggml_type

cdef extern from "bnf_beside.h":      # the prototypes of what is defined here
    pass

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bnf_atomic.h" nogil:
    void *bnf_shared_load(void **slot)
    void *bnf_shared_offer(void **slot, void *made)

cdef extern from "bnf_math.h" nogil:
    float bnf_f16_to_f32(uint16_t h)
    float bnf_bf16_to_f32(uint16_t h)

cdef extern from "bitnet_ffi.h" nogil:
    enum:
        GGML_TYPE_I8, GGML_TYPE_I16, GGML_TYPE_I32, GGML_TYPE_I64, GGML_TYPE_F64
    ctypedef enum op_t "enum ggml_op":
        pass
    ctypedef struct bf16_t "ggml_bf16_t":
        uint16_t bits
    ctypedef void *ggml_backend_buffer_type_t
    ggml_backend_buffer_type_t ggml_backend_cpu_buffer_type()

# ---- types ----

cdef public const char *type_name "ggml_type_name"(ggml_type type) noexcept nogil:
    cdef const char *name = bnf_type_name(<int32_t>type)
    if name == NULL:
        return "unknown"
    return name

cdef public bool is_quantized "ggml_is_quantized"(ggml_type type) noexcept nogil:
    cdef int t = <int>type
    if bnf_type_name(t) == NULL or t == GGML_TYPE_F32 or t == GGML_TYPE_F16 or t == GGML_TYPE_BF16 or t == GGML_TYPE_F64:
        return False
    return t != GGML_TYPE_I8 and t != GGML_TYPE_I16 and t != GGML_TYPE_I32 and t != GGML_TYPE_I64

cdef bnf_block block_of(ggml_type type, const char *function) noexcept nogil:
    cdef bnf_block block = bnf_type_block(<int32_t>type)
    if block.len == 0:
        bnf_fail(BITNET_ERROR, "%s: the blocks of type %d (%s) are not known", function, <int>type, type_name(type))
    return block

cdef public int64_t blck_size "ggml_blck_size"(ggml_type type) noexcept nogil:
    return block_of(type, "ggml_blck_size").len

cdef public size_t type_size "ggml_type_size"(ggml_type type) noexcept nogil:
    return <size_t>block_of(type, "ggml_type_size").size

cdef public size_t row_size "ggml_row_size"(ggml_type type, int64_t ne) noexcept nogil:
    cdef bnf_block block = block_of(type, "ggml_row_size")
    if block.len == 0:
        return 0
    if ne < 0 or ne % block.len != 0 or ne // block.len > <int64_t>(<uint64_t>-1 >> 1) // block.size:
        bnf_fail(BITNET_ERROR, "ggml_row_size: ne is %lld, expected a multiple of %d", <long long>ne, block.len)
        return 0
    return <size_t>(ne // block.len) * <size_t>block.size

# ---- numbers ----

cdef public float fp16_to_fp32 "ggml_fp16_to_fp32"(uint16_t x) noexcept nogil:
    return bnf_f16_to_f32(x)

cdef public float bf16_to_fp32 "ggml_bf16_to_fp32"(bf16_t x) noexcept nogil:
    return bnf_bf16_to_f32(x.bits)

cdef bint are_rows(const void *x, const void *y, int64_t n, const char *function) noexcept nogil:
    bnf_clear_error()
    return n > 0 and not bnf_is_null(x, function, "x") and not bnf_is_null(y, function, "y")

cdef public void fp16_to_fp32_row "ggml_fp16_to_fp32_row"(const uint16_t *x, float *y, int64_t n) noexcept nogil:
    cdef int64_t i
    if are_rows(x, y, n, "ggml_fp16_to_fp32_row"):
        for i in range(n):
            y[i] = bnf_f16_to_f32(x[i])

cdef public void bf16_to_fp32_row "ggml_bf16_to_fp32_row"(const bf16_t *x, float *y, int64_t n) noexcept nogil:
    cdef int64_t i
    if are_rows(x, y, n, "ggml_bf16_to_fp32_row"):
        for i in range(n):
            y[i] = bnf_bf16_to_f32(x[i].bits)

# ---- a tensor ----

# Numbers that mean nothing multiply to nothing that matters: without signs, so that it is not undefined.
cdef int64_t product(const ggml_tensor *tensor, int first) noexcept nogil:
    cdef uint64_t n = 1
    cdef int i
    for i in range(first, 4):
        n *= <uint64_t>tensor.ne[i]
    return <int64_t>n

cdef public int64_t ggml_nelements(const ggml_tensor *tensor) noexcept nogil:
    return 0 if bnf_is_null(tensor, "ggml_nelements", "tensor") else product(tensor, 0)

cdef public int64_t ggml_nrows(const ggml_tensor *tensor) noexcept nogil:
    return 0 if bnf_is_null(tensor, "ggml_nrows", "tensor") else product(tensor, 1)

cdef public size_t ggml_nbytes(const ggml_tensor *tensor) noexcept nogil:
    return 0 if bnf_is_null(tensor, "ggml_nbytes", "tensor") else bnf_tensor_bytes(tensor)

cdef public int ggml_n_dims(const ggml_tensor *tensor) noexcept nogil:
    cdef int i
    if bnf_is_null(tensor, "ggml_n_dims", "tensor"):
        return 0
    for i in range(3, 0, -1):
        if tensor.ne[i] > 1:
            return i + 1
    return 1

cdef public size_t ggml_element_size(const ggml_tensor *tensor) noexcept nogil:
    if bnf_is_null(tensor, "ggml_element_size", "tensor"):
        return 0
    return <size_t>block_of(<ggml_type>tensor.type, "ggml_element_size").size

# Each axis goes on where the one before it ends; how far apart the elements of an axis of one are does not matter.
cdef public bool ggml_is_contiguous(const ggml_tensor *tensor) noexcept nogil:
    cdef ggml_tensor packed
    cdef int i
    if bnf_is_null(tensor, "ggml_is_contiguous", "tensor"):
        return False
    bnf_tensor_describe(&packed, tensor.type, tensor.ne, NULL, "", 0)
    if tensor.ne[0] != bnf_type_block(tensor.type).len and tensor.nb[0] != packed.nb[0]:
        return False
    for i in range(1, 4):
        if tensor.ne[i] != 1 and tensor.nb[i] != packed.nb[i]:
            return False
    return True

cdef public const char *ggml_get_name(const ggml_tensor *tensor) noexcept nogil:
    if bnf_is_null(tensor, "ggml_get_name", "tensor"):
        return NULL
    return tensor.name

cdef public void *ggml_get_data(const ggml_tensor *tensor) noexcept nogil:
    return NULL if bnf_is_null(tensor, "ggml_get_data", "tensor") else tensor.data

cdef public const char *op_name "ggml_op_name"(op_t op) noexcept nogil:
    cdef const char *name = bnf_op_name(<int32_t>op)
    if name == NULL:
        bnf_fail(BITNET_ERROR, "ggml_op_name: there is no operation %d", <int>op)
    return name

cdef public const char *ggml_op_desc(const ggml_tensor *t) noexcept nogil:
    cdef const char *name = NULL
    if not bnf_is_null(t, "ggml_op_desc", "t"):
        name = bnf_op_desc(t)
        if name == NULL:
            bnf_fail(BITNET_ERROR, "ggml_op_desc: there is no operation %d, %d", t.op, t.op_params[0])
    return name

# ---- its memory ----

cdef public void ggml_backend_tensor_get(const ggml_tensor *tensor, void *data, size_t offset, size_t size) noexcept nogil:
    cdef size_t held
    bnf_clear_error()
    if bnf_is_null(tensor, "ggml_backend_tensor_get", "tensor"):
        return
    held = bnf_tensor_bytes(tensor)
    if offset > held or size > held - offset:
        bnf_fail(BITNET_ERROR, "ggml_backend_tensor_get: %zu bytes from %zu on, but '%.63s' has %zu", size, offset, tensor.name, held)
    elif size > 0 and not bnf_is_null(data, "ggml_backend_tensor_get", "data"):
        if tensor.data == NULL:
            bnf_fail(BITNET_ERROR, "ggml_backend_tensor_get: '%.63s' was read without its data", tensor.name)
        else:
            memcpy(data, <const char *>tensor.data + offset, size)

cdef bint is_cpu(ggml_backend_buffer_t buffer, const char *function) noexcept nogil:
    bnf_clear_error()
    if buffer != bnf_cpu_buffer():
        bnf_fail(BITNET_ERROR, "%s: not a buffer of this library, which has one, the CPU's", function)
        return False
    return True

cdef public bool ggml_backend_buffer_is_host(ggml_backend_buffer_t buffer) noexcept nogil:
    return is_cpu(buffer, "ggml_backend_buffer_is_host")

cdef public const char *ggml_backend_buffer_name(ggml_backend_buffer_t buffer) noexcept nogil:
    if is_cpu(buffer, "ggml_backend_buffer_name"):
        return "CPU"
    return NULL

cdef public ggml_backend_buffer_type_t buffer_get_type "ggml_backend_buffer_get_type"(ggml_backend_buffer_t buffer) noexcept nogil:
    return ggml_backend_cpu_buffer_type() if is_cpu(buffer, "ggml_backend_buffer_get_type") else NULL

# ---- weights of a model: described together when the first is asked for ----

cdef ggml_tensor *weights_of(llama_model *model) noexcept nogil:
    cdef ggml_tensor *there = <ggml_tensor *>bnf_shared_load(&model.tensors)
    cdef ggml_tensor *made
    cdef const bnf_tensor *t
    cdef int64_t i
    if there != NULL:
        return there
    made = <ggml_tensor *>bnf_alloc_array(<size_t>model.gguf.n_tensors, sizeof(ggml_tensor))
    if made == NULL:
        return NULL
    for i in range(model.gguf.n_tensors):
        t = &model.gguf.tensors[i]
        bnf_tensor_describe(&made[i], t.type, t.ne, t.data, t.name.data, <size_t>t.name.len)
        if bnf_tensor_bytes(&made[i]) > t.size:     # a weight that is not computed with, and cut short
            made[i].data = NULL
            made[i].buffer = NULL
    there = <ggml_tensor *>bnf_shared_offer(&model.tensors, made)
    if there != made:
        bnf_release(made)
    return there

cdef public ggml_tensor *bnf_model_tensor(llama_model *model, const char *name) noexcept nogil:
    cdef const bnf_tensor *t = bnf_gguf_tensor(model.gguf, name)
    cdef ggml_tensor *weights = weights_of(model) if t != NULL else NULL
    return &weights[t - model.gguf.tensors] if weights != NULL else NULL

cdef public ggml_tensor *llama_get_model_tensor(llama_model *model, const char *name) noexcept nogil:
    if bnf_is_null(model, "llama_get_model_tensor", "model") or bnf_is_null(name, "llama_get_model_tensor", "name"):
        return NULL
    if bnf_gguf_tensor(model.gguf, name) == NULL:
        bnf_answer_no(BITNET_ERROR, "llama_get_model_tensor: the model has no tensor '%.63s'", name)
        return NULL
    return bnf_model_tensor(model, name)

# ---- tensors of a file ----

cdef bint is_context(const ggml_context *ctx, const char *function) noexcept nogil:
    if bnf_is_null(ctx, function, "ctx"):
        return False
    if ctx.kind != &bnf_ggml_kind:
        bnf_fail(BITNET_ERROR, "%s: ctx is not of gguf_init_from_file", function)
        return False
    return True

cdef public ggml_tensor *bnf_ggml_get_first_tensor(const ggml_context *ctx) noexcept nogil:
    return &ctx.tensors[0] if is_context(ctx, "ggml_get_first_tensor") and ctx.n > 0 else NULL

cdef public ggml_tensor *bnf_ggml_get_next_tensor(const ggml_context *ctx, ggml_tensor *tensor) noexcept nogil:
    cdef size_t at
    if not is_context(ctx, "ggml_get_next_tensor") or bnf_is_null(tensor, "ggml_get_next_tensor", "tensor"):
        return NULL
    at = <size_t>tensor - <size_t>ctx.tensors      # what lies before them is far behind them, modulo 2^64
    if at % sizeof(ggml_tensor) != 0 or at >= <size_t>ctx.n * sizeof(ggml_tensor):
        bnf_fail(BITNET_ERROR, "ggml_get_next_tensor: tensor is not of ctx")
        return NULL
    return tensor + 1 if tensor + 1 < ctx.tensors + ctx.n else NULL

cdef public ggml_tensor *bnf_ggml_get_tensor(ggml_context *ctx, const char *name) noexcept nogil:
    cdef int64_t i
    if is_context(ctx, "ggml_get_tensor") and not bnf_is_null(name, "ggml_get_tensor", "name"):
        for i in range(ctx.n):
            if strcmp(ctx.tensors[i].name, name) == 0:
                return &ctx.tensors[i]
        bnf_answer_no(BITNET_ERROR, "ggml_get_tensor: there is no tensor '%.63s'", name)
    return NULL

cdef public size_t bnf_ggml_get_mem_size(const ggml_context *ctx) noexcept nogil:
    return <size_t>ctx.n * sizeof(ggml_tensor) + ctx.size if is_context(ctx, "ggml_get_mem_size") else 0

cdef public void bnf_ggml_free(ggml_context *ctx) noexcept nogil:
    bnf_clear_error()
    if ctx != NULL and is_context(ctx, "ggml_free"):
        ctx.kind = NULL
        bnf_ggml_context_free(ctx)
