# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Weights by name: shape and type are compared with the hyper-parameters, data is used where the mapping has it. Norms and
# biases become floats; only what is converted or lies at an odd address is copied.
# Source of names and shapes: llama.cpp's and microsoft/BitNet's tensor tables (src/llama.cpp).

from libc.stdint cimport uint8_t, uint16_t, int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_log, bnf_model_repair, bnf_show, bnf_sink, bnf_sink_end, bnf_sink_i64, bnf_sink_str,
    BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_tensor
from bitnet_ffi._core.bnf_load cimport bnf_load_own, bnf_load_step, bnf_loader, BNF_MAX_VOCAB
from bitnet_ffi._core.bnf_math cimport bnf_bf16_to_f32, bnf_f16_to_f32
from bitnet_ffi._core.bnf_ops cimport bnf_matrix, bnf_type_name, bnf_type_traits, bnf_type_traits_t
from bitnet_ffi._core.bnf_public cimport (
    BITNET_ERROR_LOAD, BITNET_ERROR_MODEL, GGML_LOG_LEVEL_WARN, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_I2_S,
    LLAMA_ROPE_SCALING_TYPE_LONGROPE)
from bitnet_ffi._core.bnf_types cimport bnf_hparams, bnf_layer, bnf_linear, bnf_tensor, llama_model, BNF_ARCH_BITNET, BNF_ARCH_LLAMA

cdef enum:
    NAME_SIZE = 64 # GGUF names have at most 63 bytes

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

# ---- one tensor ----

# "{64, 32}", at least `n_dims` numbers.
cdef const char *shape_text(const int64_t *ne, int32_t n_dims, char *out) noexcept nogil:
    cdef bnf_sink sink
    cdef int32_t i
    sink.buf = out
    sink.size = BNF_SHOWN_SIZE
    sink.len = 0
    bnf_sink_str(&sink, "{")
    for i in range(n_dims):
        bnf_sink_str(&sink, ", " if i > 0 else "")
        bnf_sink_i64(&sink, ne[i])
    bnf_sink_str(&sink, "}")
    bnf_sink_end(&sink)
    return out

# The tensor of that name and shape {k, m}, or {k} when m is 1. 1: *out; 0: absent; negative: wrong shape.
cdef int find_tensor(bnf_loader *loader, const char *name, int64_t k, int64_t m, const bnf_tensor **out) noexcept nogil:
    cdef char found[BNF_SHOWN_SIZE]
    cdef char expected[BNF_SHOWN_SIZE]
    cdef const bnf_tensor *t = bnf_gguf_tensor(loader.model.gguf, name)
    cdef int64_t ne[2]
    if t == NULL:
        return 0
    if t.ne[0] != k or t.ne[1] != m or t.ne[2] != 1 or t.ne[3] != 1:
        ne[0] = k
        ne[1] = m
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' has shape %s, expected %s", name, shape_text(t.ne, t.n_dims, found),
                        shape_text(ne, 1 if m == 1 else 2, expected))
    loader.used[t - loader.model.gguf.tensors] = 1
    out[0] = t
    return 1

cdef int fail_missing(const char *name, int64_t k, int64_t m) noexcept nogil:
    cdef char expected[BNF_SHOWN_SIZE]
    cdef int64_t ne[2]
    ne[0] = k
    ne[1] = m
    return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' of shape %s is missing", name, shape_text(ne, 1 if m == 1 else 2, expected))

cdef bint is_aligned(const void *data, size_t alignment) noexcept nogil:
    return <size_t>data % alignment == 0

# The tensor's bytes at an address that kernels take. In files aligned to less than the type needs, a copy.
cdef int aligned_data(bnf_loader *loader, const bnf_tensor *t, const uint8_t **out) noexcept nogil:
    cdef void *copy
    cdef int code
    out[0] = t.data
    if t.type == GGML_TYPE_I2_S or is_aligned(t.data, 4 if t.type == GGML_TYPE_F32 else 2):
        return 0
    copy = bnf_alloc(<size_t>t.size)
    code = bnf_load_own(loader, copy)
    if code == 0:
        memcpy(copy, t.data, <size_t>t.size)
        out[0] = <const uint8_t *>copy
    return code

# ---- matrices ----

# The scale of an I2_S tensor: the first four bytes of the 32 after the codes.
cdef int read_i2_s_scale(const bnf_tensor *t, const char *name, float *scale) noexcept nogil:
    memcpy(scale, t.data + (t.size - 32), 4)
    if not isfinite(scale[0]):
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' of type i2_s has the scale %g, expected a finite number", name, <double>scale[0])
    if scale[0] <= 0:
        bnf_log(GGML_LOG_LEVEL_WARN, "tensor '%s' of type i2_s has the scale %g; scales are positive in every known model\n", name,
                <double>scale[0])
    return 0

cdef int check_type(const bnf_loader *loader, const bnf_tensor *t, const char *name) noexcept nogil:
    if bnf_type_traits(t.type) != NULL and loader.model.ops.matmul[t.type] != NULL:
        return 0
    return bnf_fail(BITNET_ERROR_LOAD, "tensor '%s' is of type %s (%d), which is not supported", name, bnf_type_name(t.type), t.type)

# m rows of k weights. 1: loaded; 0: absent; negative.
cdef int get_matrix(bnf_loader *loader, const char *name, int64_t k, int64_t m, bnf_matrix *w) noexcept nogil:
    cdef const bnf_tensor *t = NULL
    cdef const bnf_type_traits_t *traits
    cdef int code = find_tensor(loader, name, k, m, &t)
    if code != 1:
        return code
    code = check_type(loader, t, name)
    if code == 0:
        code = aligned_data(loader, t, &w.data)
    if code != 0:
        return code
    traits = bnf_type_traits(t.type)
    w.k = k
    w.m = m
    w.type = t.type
    w.layout = t.type
    w.row_size = <uint64_t>(k // traits.block_len) * <uint64_t>traits.block_size
    w.scale = 1
    if t.type == GGML_TYPE_I2_S:
        w.row_size = <uint64_t>k // 4
        code = read_i2_s_scale(t, name, &w.scale)
    return code if code != 0 else 1

cdef int need_matrix(bnf_loader *loader, const char *name, int64_t k, int64_t m, bnf_matrix *w) noexcept nogil:
    cdef int code = get_matrix(loader, name, k, m, w)
    if code == 0:
        return fail_missing(name, k, m)
    return code if code < 0 else 0

# ---- vectors of floats ----

cdef int to_floats(bnf_loader *loader, const bnf_tensor *t, int64_t n, const float **out) noexcept nogil:
    cdef float *x = <float *>bnf_alloc_array(<size_t>n, sizeof(float))
    cdef uint16_t h = 0
    cdef int64_t i
    cdef int code = bnf_load_own(loader, x)
    if code != 0:
        return code
    if t.type == GGML_TYPE_F32:
        memcpy(x, t.data, <size_t>n * sizeof(float))
    else:
        for i in range(n):
            memcpy(&h, t.data + 2 * i, 2)
            x[i] = bnf_f16_to_f32(h) if t.type == GGML_TYPE_F16 else bnf_bf16_to_f32(h)
    out[0] = x
    return 0

# n floats. 1: loaded; 0: absent; negative.
cdef int get_vector(bnf_loader *loader, const char *name, int64_t n, const float **out) noexcept nogil:
    cdef const bnf_tensor *t = NULL
    cdef int code = find_tensor(loader, name, n, 1, &t)
    if code != 1:
        return code
    if t.type == GGML_TYPE_F32 and is_aligned(t.data, 4):
        out[0] = <const float *>t.data
        return 1
    if t.type != GGML_TYPE_F32 and t.type != GGML_TYPE_F16 and t.type != GGML_TYPE_BF16:
        return bnf_fail(BITNET_ERROR_LOAD, "tensor '%s' is of type %s (%d), expected f32, f16 or bf16", name, bnf_type_name(t.type), t.type)
    code = to_floats(loader, t, n, out)
    return code if code != 0 else 1

cdef int need_vector(bnf_loader *loader, const char *name, int64_t n, const float **out) noexcept nogil:
    cdef int code = get_vector(loader, name, n, out)
    if code == 0:
        return fail_missing(name, n, 1)
    return code if code < 0 else 0

# ---- a layer ----

cdef const char *layer_name(int32_t layer, const char *part, const char *end, char *name) noexcept nogil:
    snprintf(name, NAME_SIZE, "blk.%d.%s.%s", layer, part, end)
    return name

cdef int load_norm(bnf_loader *loader, int32_t layer, const char *part, int64_t n, const float **out) noexcept nogil:
    cdef char name[NAME_SIZE]
    return need_vector(loader, layer_name(layer, part, "weight", name), n, out)

# Architecture bitnet may have a factor per product, in files whose weights carry no scale of their own.
cdef int load_post_scale(bnf_loader *loader, int32_t layer, const char *part, bnf_linear *out) noexcept nogil:
    cdef char name[NAME_SIZE]
    cdef const float *scale = NULL
    cdef int code
    out.post_scale = 1
    if loader.model.hp.arch != BNF_ARCH_BITNET:
        return 0
    code = get_vector(loader, layer_name(layer, part, "scale", name), 1, &scale)
    if code <= 0:
        return code
    if not isfinite(scale[0]):
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' is %g, expected a finite number", name, <double>scale[0])
    out.post_scale = scale[0]
    return 0

cdef int load_linear(bnf_loader *loader, int32_t layer, const char *part, int64_t k, int64_t m, bnf_linear *out) noexcept nogil:
    cdef char name[NAME_SIZE]
    cdef int code = need_matrix(loader, layer_name(layer, part, "weight", name), k, m, &out.w)
    if code == 0:
        code = load_post_scale(loader, layer, part, out)
    if code == 0:
        code = get_vector(loader, layer_name(layer, part, "bias", name), m, &out.bias)
    return code if code < 0 else 0

cdef int load_norms(bnf_loader *loader, int32_t i, bnf_layer *layer) noexcept nogil:
    cdef const bnf_hparams *hp = &loader.model.hp
    cdef int code = load_norm(loader, i, "attn_norm", hp.n_embd, &layer.attn_norm)
    if code == 0:
        code = load_norm(loader, i, "ffn_norm", hp.n_embd, &layer.ffn_norm)
    if code == 0 and hp.arch != BNF_ARCH_LLAMA:
        code = load_norm(loader, i, "attn_sub_norm", <int64_t>hp.n_head * hp.dv, &layer.attn_sub_norm)
    if code == 0 and hp.arch != BNF_ARCH_LLAMA:
        code = load_norm(loader, i, "ffn_sub_norm", hp.n_ff, &layer.ffn_sub_norm)
    return code

cdef int load_layer(bnf_loader *loader, int32_t i, bnf_layer *layer) noexcept nogil:
    cdef const bnf_hparams *hp = &loader.model.hp
    cdef int64_t n_q = <int64_t>hp.n_head * hp.dk
    cdef int64_t n_k = <int64_t>hp.n_head_kv * hp.dk
    cdef int64_t n_v = <int64_t>hp.n_head_kv * hp.dv
    cdef int64_t n_attn = <int64_t>hp.n_head * hp.dv
    cdef int code = load_norms(loader, i, layer)
    if code == 0:
        code = load_linear(loader, i, "attn_q", hp.n_embd, n_q, &layer.q)
    if code == 0:
        code = load_linear(loader, i, "attn_k", hp.n_embd, n_k, &layer.k)
    if code == 0:
        code = load_linear(loader, i, "attn_v", hp.n_embd, n_v, &layer.v)
    if code == 0:
        code = load_linear(loader, i, "attn_output", n_attn, hp.n_embd, &layer.out)
    if code == 0:
        code = load_linear(loader, i, "ffn_gate", hp.n_embd, hp.n_ff, &layer.gate)
    if code == 0:
        code = load_linear(loader, i, "ffn_up", hp.n_embd, hp.n_ff, &layer.up)
    if code == 0:
        code = load_linear(loader, i, "ffn_down", hp.n_ff, hp.n_embd, &layer.down)
    return code

# ---- the ends ----

# The embedding says how many tokens the model knows.
cdef int load_embedding(bnf_loader *loader) noexcept nogil:
    cdef char found[BNF_SHOWN_SIZE]
    cdef bnf_hparams *hp = &loader.model.hp
    cdef const bnf_tensor *t = bnf_gguf_tensor(loader.model.gguf, "token_embd.weight")
    if t == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor 'token_embd.weight' of shape {%d, tokens} is missing", hp.n_embd)
    if t.ne[0] != hp.n_embd or t.ne[1] > BNF_MAX_VOCAB:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor 'token_embd.weight' has shape %s, expected {%d, at most %d}",
                        shape_text(t.ne, t.n_dims, found), hp.n_embd, <int>BNF_MAX_VOCAB)
    hp.n_vocab = <int32_t>t.ne[1]
    return need_matrix(loader, "token_embd.weight", hp.n_embd, hp.n_vocab, &loader.model.token_embd)

# Without output.weight the embedding is the head; architecture bitnet never has one.
cdef int load_head(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef int code = need_vector(loader, "output_norm.weight", model.hp.n_embd, &model.output_norm)
    if code != 0:
        return code
    if model.hp.arch != BNF_ARCH_BITNET:
        code = get_matrix(loader, "output.weight", model.hp.n_embd, model.hp.n_vocab, &model.output)
    if code == 0:
        model.output = model.token_embd
    return code if code < 0 else 0

# What ranks texts, if the file has it (classify.pyx): a layer of its own width, then one of n_cls_out rows, or either of them alone.
cdef int load_classifier(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef int64_t n_embd = model.hp.n_embd
    cdef int64_t n_out = model.hp.n_cls_out
    cdef int code
    model.cls.post_scale = 1
    model.cls_out.post_scale = 1
    code = get_matrix(loader, "cls.output.weight", n_embd, n_out, &model.cls_out.w)
    if code == 1:
        code = get_vector(loader, "cls.output.bias", n_out, &model.cls_out.bias)
        n_out = n_embd
    if code >= 0:
        code = get_matrix(loader, "cls.weight", n_embd, n_out, &model.cls.w)
    if code == 1:
        code = get_vector(loader, "cls.bias", n_out, &model.cls.bias)
    return min(code, 0)

# Numbers by which the frequencies of the pairs are divided, where the file has them.
cdef int load_rope_factors(bnf_loader *loader, const char *name, const float **factors) noexcept nogil:
    cdef int64_t n = loader.model.hp.n_rot // 2
    cdef int64_t i
    cdef int code = get_vector(loader, name, n, factors)
    if code < 0 or factors[0] == NULL:
        return min(code, 0)
    for i in range(n):
        if not isfinite(factors[0][i]) or factors[0][i] <= 0:
            return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s': element %lld is %g, expected a positive number", name, <long long>i,
                            <double>factors[0][i])
    return 0

# Llama 3's, or LongRoPE's two sets: the file's kind of scaling says which, as in llama.cpp.
cdef int load_rope(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef int code
    if model.hp.arch == BNF_ARCH_BITNET:
        return 0
    if model.hp.rope_scaling != LLAMA_ROPE_SCALING_TYPE_LONGROPE:
        return load_rope_factors(loader, "rope_freqs.weight", &model.rope_factors)
    code = load_rope_factors(loader, "rope_factors_long.weight", &model.rope_long)
    return load_rope_factors(loader, "rope_factors_short.weight", &model.rope_short) if code == 0 else code

# ---- the whole ----

# A tensor that nothing used may mean that the model computes something we do not: say so.
cdef int count_tensors(const bnf_loader *loader) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef llama_model *model = loader.model
    cdef const bnf_tensor *t
    cdef const bnf_tensor *unused = NULL
    cdef int64_t i
    cdef int64_t n_unused = 0
    for i in range(model.gguf.n_tensors):
        t = &model.gguf.tensors[i]
        model.n_params += <uint64_t>(t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3])
        model.n_bytes += t.size
        if not loader.used[i]:
            unused = t if unused == NULL else unused
            n_unused += 1
    if unused != NULL:
        return bnf_model_repair("%lld of %lld tensors are not used by architecture %s; the first is '%s'", <long long>n_unused,
                                <long long>model.gguf.n_tensors, loader.arch, bnf_show(unused.name.data, unused.name.len, shown))
    return 0

cdef public int bnf_load_tensors(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef int32_t i
    cdef int code = load_embedding(loader)
    if code == 0:
        code = load_head(loader)
    if code == 0:
        code = load_classifier(loader)
    if code == 0:
        code = load_rope(loader)
    if code != 0:
        return code
    model.layers = <bnf_layer *>bnf_alloc_array(<size_t>model.hp.n_layer, sizeof(bnf_layer))
    code = bnf_load_own(loader, model.layers)
    for i in range(model.hp.n_layer):
        if code == 0:
            code = load_layer(loader, i, &model.layers[i])
        if code == 0:
            code = bnf_load_step(loader)
    return count_tensors(loader) if code == 0 else code
