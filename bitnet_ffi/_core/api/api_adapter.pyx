# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# LoRA adapters and control vectors as clients see them: loading, what a context uses and how strongly, metadata; the names of
# every era. A call does its work whole or leaves the context as it was. The cache keeps what was computed before.
# May not: read files (adapter.pyx does) or compute (lora.pyx). Next: csrc/bnf_adapter.h.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport FILE
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport (
    bnf_adapter_load, bnf_adapter_release, bnf_context_set_lora_rank, bnf_enter, bnf_lora_on_head, bnf_meta_count, bnf_meta_key,
    bnf_meta_value, bnf_meta_value_of)
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_lora_use, llama_adapter_lora, llama_context
from bitnet_ffi._core.bnf_public cimport llama_token, BITNET_ERROR, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_source, llama_model

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bnf_atomic.h" nogil:
    void bnf_ref_take(int32_t *refs)
    int32_t bnf_flag_raise(int32_t *flag)
    int32_t bnf_flag_read(const int32_t *flag)
    void *bnf_shared_load(void **slot)

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

# ---- load and free ----

cdef bint can_have_adapters(const llama_model *model, const char *function) noexcept nogil:
    if bnf_is_null(model, function, b"model"):
        return False
    if model.vocab_only:
        bnf_fail(BITNET_ERROR, b"the model was loaded with vocab_only: it has no weights to adapt")
        return False
    return True

cdef llama_adapter_lora *load(llama_model *model, const char *path, const char *function) noexcept nogil:
    cdef bnf_source source
    if not can_have_adapters(model, function) or bnf_is_null(path, function, b"path"):
        return NULL
    memset(&source, 0, sizeof(source))
    source.path = path
    return bnf_adapter_load(model, &source)

cdef public llama_adapter_lora *llama_adapter_lora_init(llama_model *model, const char *path_lora) noexcept nogil:
    return load(model, path_lora, b"llama_adapter_lora_init")

cdef public llama_adapter_lora *llama_adapter_lora_init_from_file_ptr(llama_model *model, FILE *file) noexcept nogil:
    cdef bnf_source source
    cdef const char *function = b"llama_adapter_lora_init_from_file_ptr"
    if not can_have_adapters(model, function) or bnf_is_null(file, function, b"file"):
        return NULL
    memset(&source, 0, sizeof(source))
    source.stream = file
    return bnf_adapter_load(model, &source)

cdef public void llama_adapter_lora_free(llama_adapter_lora *adapter) noexcept nogil:
    if adapter == NULL:
        return
    bnf_clear_error()
    if bnf_flag_raise(&adapter.is_freed):
        bnf_fail(BITNET_ERROR, b"llama_adapter_lora_free: the adapter is free already")
        return
    bnf_adapter_release(adapter)

cdef bint is_gone(const llama_adapter_lora *adapter, const char *function) noexcept nogil:
    if adapter != NULL and not bnf_flag_read(&adapter.is_freed):
        return False
    bnf_fail(BITNET_ERROR, b"%s: the adapter is %s", function, b"NULL" if adapter == NULL else b"free already")
    return True

# ---- metadata ----

cdef const bnf_gguf *gguf_of(const llama_adapter_lora *adapter, const char *function) noexcept nogil:
    return NULL if is_gone(adapter, function) else adapter.gguf

cdef public int32_t llama_adapter_meta_count(const llama_adapter_lora *adapter) noexcept nogil:
    return bnf_meta_count(gguf_of(adapter, b"llama_adapter_meta_count"))

cdef public int32_t llama_adapter_meta_key_by_index(const llama_adapter_lora *adapter, int32_t i, char *buf, size_t buf_size) noexcept nogil:
    cdef const char *function = b"llama_adapter_meta_key_by_index"
    return bnf_meta_key(gguf_of(adapter, function), i, buf, buf_size, function)

cdef public int32_t llama_adapter_meta_val_str_by_index(const llama_adapter_lora *adapter, int32_t i, char *buf,
                                                        size_t buf_size) noexcept nogil:
    cdef const char *function = b"llama_adapter_meta_val_str_by_index"
    return bnf_meta_value(gguf_of(adapter, function), i, buf, buf_size, function)

cdef public int32_t llama_adapter_meta_val_str(const llama_adapter_lora *adapter, const char *key, char *buf, size_t buf_size) noexcept nogil:
    cdef const char *function = b"llama_adapter_meta_val_str"
    return bnf_meta_value_of(gguf_of(adapter, function), key, False, buf, buf_size, function)

cdef public uint64_t llama_adapter_get_alora_n_invocation_tokens(const llama_adapter_lora *adapter) noexcept nogil:
    return 0 if is_gone(adapter, b"llama_adapter_get_alora_n_invocation_tokens") else adapter.n_invocation

cdef public const llama_token *llama_adapter_get_alora_invocation_tokens(const llama_adapter_lora *adapter) noexcept nogil:
    return NULL if is_gone(adapter, b"llama_adapter_get_alora_invocation_tokens") else adapter.invocation

# ---- what a context uses ----

cdef void release_uses(bnf_lora_use *uses, int32_t n) noexcept nogil:
    cdef int32_t i
    if uses != NULL:
        for i in range(n):
            bnf_adapter_release(uses[i].adapter)
    bnf_release(uses)

cdef public void bnf_lora_forget(llama_context *ctx) noexcept nogil:
    release_uses(ctx.loras, ctx.n_loras)
    ctx.loras = NULL
    ctx.n_loras = 0

cdef void append(bnf_lora_use *uses, int32_t *n, llama_adapter_lora *adapter, float scale, int64_t *rank) noexcept nogil:
    bnf_ref_take(&adapter.refs)
    uses[n[0]].adapter = adapter
    uses[n[0]].scale = scale
    uses[n[0]].first = <int32_t>rank[0]
    rank[0] += adapter.rank
    n[0] += 1

# What is part of the model, then these n, in place of what the context uses.
cdef int use_adapters(llama_context *ctx, const bnf_lora_use *own, int32_t n_own) noexcept nogil:
    cdef llama_adapter_lora *adapter = <llama_adapter_lora *>bnf_shared_load(&ctx.model.adapters)
    cdef llama_adapter_lora *at = adapter
    cdef int32_t n_base = 0
    cdef int32_t n = 0
    cdef int64_t rank = 0
    cdef bnf_lora_use *uses
    cdef bint other_head
    cdef int32_t i
    cdef int rc
    while at != NULL:
        n_base += bnf_flag_read(&at.is_base)
        at = <llama_adapter_lora *>at.next
    uses = <bnf_lora_use *>bnf_alloc_array(<size_t>(n_base + n_own + 1), sizeof(bnf_lora_use))
    if uses == NULL:
        return BITNET_ERROR_MEMORY
    while adapter != NULL:
        if n < n_base and bnf_flag_read(&adapter.is_base):
            append(uses, &n, adapter, adapter.base_scale, &rank)
        adapter = <llama_adapter_lora *>adapter.next
    for i in range(n_own):
        append(uses, &n, own[i].adapter, own[i].scale, &rank)
    if rank > 1 << 24:
        rc = bnf_fail(BITNET_ERROR, b"the adapters' ranks add up to %lld, expected at most %d", <long long>rank, 1 << 24)
    else:
        rc = bnf_context_set_lora_rank(ctx, <int32_t>rank)
    if rc != 0:
        release_uses(uses, n)
        return rc
    other_head = bnf_lora_on_head(ctx)
    release_uses(ctx.loras, ctx.n_loras)
    ctx.loras = uses
    ctx.n_loras = n
    ctx.n_base_loras = n_base
    ctx.screened.n = 0
    # Logits that nobody has read yet would be made with another head than the states.
    if (other_head or bnf_lora_on_head(ctx)) and not ctx.logits_ready:
        ctx.n_outputs = 0
    return 0

# n_base_adapters grows after is_base is raised, and neither ever falls.
cdef public int bnf_lora_follow(llama_context *ctx) noexcept nogil:
    if bnf_flag_read(&ctx.model.n_base_adapters) == ctx.n_base_loras:
        return 0
    return use_adapters(ctx, ctx.loras + ctx.n_base_loras, ctx.n_loras - ctx.n_base_loras)

cdef int check_use(const llama_context *ctx, const llama_adapter_lora *adapter, float scale, const char *function) noexcept nogil:
    if is_gone(adapter, function):
        return BITNET_ERROR
    if adapter.model != ctx.model:
        return bnf_fail(BITNET_ERROR, b"%s: the adapter was loaded for another model", function)
    if not isfinite(scale):
        return bnf_fail(BITNET_ERROR, b"%s: scale is %g, expected a finite number", function, <double>scale)
    return 0

cdef int set_all(llama_context *ctx, llama_adapter_lora **adapters, size_t n_adapters, const float *scales) noexcept nogil:
    cdef bnf_lora_use *own
    cdef int32_t n = 0
    cdef int rc = 0
    cdef size_t i, j
    for i in range(n_adapters):
        rc = check_use(ctx, adapters[i], scales[i], b"llama_set_adapters_lora")
        if rc != 0:
            return rc
        for j in range(i):
            if adapters[j] == adapters[i]:
                return bnf_fail(BITNET_ERROR, b"llama_set_adapters_lora: adapters %zu and %zu are the same", j, i)
    own = <bnf_lora_use *>bnf_alloc_array(n_adapters + 1, sizeof(bnf_lora_use))
    if own == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(n_adapters):
        if scales[i] != 0:
            own[n].adapter = adapters[i]
            own[n].scale = scales[i]
            n += 1
    rc = use_adapters(ctx, own, n)
    bnf_release(own)
    return rc

cdef public int32_t llama_set_adapters_lora(llama_context *ctx, llama_adapter_lora **adapters, size_t n_adapters,
                                            float *scales) noexcept nogil:
    cdef int rc = bnf_enter(ctx, b"llama_set_adapters_lora")
    if rc != 0:
        return rc
    if n_adapters > 0 and (adapters == NULL or scales == NULL):
        rc = bnf_fail(BITNET_ERROR, b"llama_set_adapters_lora: %s is NULL, but n_adapters is %zu",
                      b"adapters" if adapters == NULL else b"scales", n_adapters)
    elif n_adapters > 65536:
        rc = bnf_fail(BITNET_ERROR, b"llama_set_adapters_lora: n_adapters is %zu, expected at most 65536", n_adapters)
    else:
        rc = set_all(ctx, adapters, n_adapters, scales)
    bnf_context_leave(ctx)
    return rc

# The client's adapters but this one, and this one at the end if the scale is not 0. *was_there: it was among them.
cdef int set_one(llama_context *ctx, llama_adapter_lora *adapter, float scale, bint *was_there) noexcept nogil:
    cdef bnf_lora_use *own = <bnf_lora_use *>bnf_alloc_array(<size_t>ctx.n_loras + 1, sizeof(bnf_lora_use))
    cdef int32_t n = 0
    cdef int32_t i
    cdef int rc = 0
    was_there[0] = False
    if own == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(ctx.n_base_loras, ctx.n_loras):
        if ctx.loras[i].adapter == adapter:
            was_there[0] = True
        else:
            own[n] = ctx.loras[i]
            n += 1
    if scale != 0:
        own[n].adapter = adapter
        own[n].scale = scale
        n += 1
    if scale != 0 or was_there[0]:
        rc = use_adapters(ctx, own, n)
    bnf_release(own)
    return rc

cdef public int32_t llama_set_adapter_lora(llama_context *ctx, llama_adapter_lora *adapter, float scale) noexcept nogil:
    cdef bint was_there
    cdef int rc = bnf_enter(ctx, b"llama_set_adapter_lora")
    if rc != 0:
        return rc
    rc = check_use(ctx, adapter, scale, b"llama_set_adapter_lora")
    if rc == 0:
        rc = set_one(ctx, adapter, scale, &was_there)
    bnf_context_leave(ctx)
    return rc

# An adapter that is free already may still be taken out.
cdef public int32_t llama_rm_adapter_lora(llama_context *ctx, llama_adapter_lora *adapter) noexcept nogil:
    cdef bint was_there = False
    cdef int rc = bnf_enter(ctx, b"llama_rm_adapter_lora")
    if rc != 0:
        return rc
    rc = set_one(ctx, adapter, 0, &was_there)
    if rc == 0 and not was_there:
        rc = bnf_fail(BITNET_ERROR, b"llama_rm_adapter_lora: the context does not use this adapter")
    bnf_context_leave(ctx)
    return rc

cdef public void llama_clear_adapter_lora(llama_context *ctx) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_clear_adapter_lora") == 0:
        use_adapters(ctx, NULL, 0)
        bnf_context_leave(ctx)

# ---- names of 2024 ----

cdef public llama_adapter_lora *llama_lora_adapter_init(llama_model *model, const char *path_lora) noexcept nogil:
    return load(model, path_lora, b"llama_lora_adapter_init")

cdef public void llama_lora_adapter_free(llama_adapter_lora *adapter) noexcept nogil:
    llama_adapter_lora_free(adapter)

cdef public int32_t llama_lora_adapter_set(llama_context *ctx, llama_adapter_lora *adapter, float scale) noexcept nogil:
    return llama_set_adapter_lora(ctx, adapter, scale)

cdef public int32_t llama_lora_adapter_remove(llama_context *ctx, llama_adapter_lora *adapter) noexcept nogil:
    return llama_rm_adapter_lora(ctx, adapter)

cdef public void llama_lora_adapter_clear(llama_context *ctx) noexcept nogil:
    llama_clear_adapter_lora(ctx)

# ---- calls of 2023 ----

# Until then contexts of the model went on without it: each takes it up when it decodes next.
cdef public int32_t llama_model_apply_lora_from_file(const llama_model *model, const char *path_lora, float scale,
                                                     const char *path_base_model,
                                                     int32_t n_threads) noexcept nogil:
    cdef llama_adapter_lora *adapter
    if not isfinite(scale):
        bnf_fail(BITNET_ERROR, b"llama_model_apply_lora_from_file: scale is %g, expected a finite number", <double>scale)
        return 1
    adapter = load(<llama_model *>model, path_lora, b"llama_model_apply_lora_from_file")
    if adapter == NULL:
        return 1
    adapter.base_scale = scale
    bnf_flag_raise(&adapter.is_base)
    bnf_ref_take(&adapter.model.n_base_adapters)
    return 0

cdef public int32_t llama_apply_lora_from_file(llama_context *ctx, const char *path_lora, float scale, const char *path_base_model,
                                               int32_t n_threads) noexcept nogil:
    cdef llama_adapter_lora *adapter
    cdef int32_t rc
    if ctx == NULL:
        bnf_fail(BITNET_ERROR, b"llama_apply_lora_from_file: ctx is NULL")
        return 1
    adapter = load(ctx.model, path_lora, b"llama_apply_lora_from_file")
    if adapter == NULL:
        return 1
    rc = llama_set_adapter_lora(ctx, adapter, scale)
    if rc != 0:
        bnf_flag_raise(&adapter.is_freed)
    bnf_adapter_release(adapter)      # the context holds it now
    return 0 if rc == 0 else 1

# ---- control vectors ----

cdef int set_control(llama_context *ctx, const float *data, size_t len, int32_t il_start, int32_t il_end) noexcept nogil:
    cdef int64_t n_embd = ctx.model.hp.n_embd
    cdef int64_t n_layer = ctx.model.hp.n_layer
    cdef uint64_t n = min(<uint64_t>len, <uint64_t>((n_layer - 1) * n_embd)) // <uint64_t>n_embd * <uint64_t>n_embd
    cdef float *control
    cdef uint64_t i
    for i in range(n):
        if not isfinite(data[i]):
            return bnf_fail(BITNET_ERROR, b"control vector: number %llu is %g, expected a finite one", <unsigned long long>i, <double>data[i])
    control = <float *>bnf_alloc_array(<size_t>n_layer, <size_t>n_embd * sizeof(float))
    if control == NULL:
        return BITNET_ERROR_MEMORY
    memcpy(control + n_embd, data, n * sizeof(float))      # layer 0 has none
    bnf_release(ctx.control)
    ctx.control = control
    ctx.control_begin = max(il_start, 1)
    ctx.control_end = min(<int64_t>il_end, n_layer - 1)
    return 0

cdef public int32_t llama_set_adapter_cvec(llama_context *ctx, const float *data, size_t len, int32_t n_embd, int32_t il_start,
                                           int32_t il_end) noexcept nogil:
    cdef int rc = bnf_enter(ctx, b"llama_set_adapter_cvec")
    if rc != 0:
        return rc
    if data == NULL:
        bnf_release(ctx.control)
        ctx.control = NULL
    elif ctx.model.vocab_only:
        rc = bnf_fail(BITNET_ERROR, b"control vector: the model was loaded with vocab_only: it has no layers to add to")
    elif n_embd != ctx.model.hp.n_embd:
        rc = bnf_fail(BITNET_ERROR, b"control vector: n_embd is %d, expected the model's %d", n_embd, ctx.model.hp.n_embd)
    else:
        rc = set_control(ctx, data, len, il_start, il_end)
    bnf_context_leave(ctx)
    return rc

cdef public int32_t llama_apply_adapter_cvec(llama_context *ctx, const float *data, size_t len, int32_t n_embd, int32_t il_start,
                                             int32_t il_end) noexcept nogil:
    return llama_set_adapter_cvec(ctx, data, len, n_embd, il_start, il_end)

cdef public int32_t llama_control_vector_apply(llama_context *lctx, const float *data, size_t len, int32_t n_embd, int32_t il_start,
                                               int32_t il_end) noexcept nogil:
    return llama_set_adapter_cvec(lctx, data, len, n_embd, il_start, il_end)
