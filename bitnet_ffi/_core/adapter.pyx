# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# LoRA adapters from GGUF files: general.type "adapter", adapter.type "lora", the model's general.architecture, pairs of tensors
# X.lora_a and X.lora_b for weights X of the model. Every shape and number is checked before anything is used; weights become floats.
# May not: touch a context. Next: csrc/bnf_adapter.h for the parts, lora.pyx for what they compute.
# Source of keys and names: llama.cpp's convert_lora_to_gguf.py and its key table.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_fail_within, bnf_log, bnf_path_tail, bnf_release, bnf_show, BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport (
    bnf_gguf_close, bnf_gguf_f32, bnf_gguf_find, bnf_gguf_open, bnf_gguf_str, bnf_gguf_tensor, bnf_source_name)
from bitnet_ffi._core.bnf_context cimport (
    bnf_embd_number, bnf_head_number, bnf_linear_number, bnf_lora_pair, llama_adapter_lora, BNF_LAYER_LINEARS)
from bitnet_ffi._core.bnf_ops cimport bnf_dequantize, bnf_matrix, bnf_tensor_size, bnf_type_name, bnf_type_traits
from bitnet_ffi._core.bnf_public cimport (
    llama_token, BITNET_ERROR_LOAD, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, GGML_LOG_LEVEL_WARN, GGML_TYPE_F32)
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf_kv, bnf_layer, bnf_linear, bnf_source, bnf_str, bnf_tensor, llama_model, BNF_ARCH_BITNET, BNF_GGUF_ARRAY, BNF_GGUF_I32,
    BNF_GGUF_U32)

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bnf_atomic.h" nogil:
    int32_t bnf_ref_drop(int32_t *refs)
    void bnf_shared_push(void **head, void *node, void **next)

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

cdef enum:
    NAME_SIZE = 96

# ---- keys ----

cdef int need_text(const llama_adapter_lora *adapter, const char *key, const char *text, uint64_t len) noexcept nogil:
    cdef char found[BNF_SHOWN_SIZE]
    cdef char expected[BNF_SHOWN_SIZE]
    cdef bnf_str value
    cdef int code = bnf_gguf_str(adapter.gguf, key, &value)
    if code < 0:
        return code
    if code == 0:
        return bnf_fail(BITNET_ERROR_MODEL, b"key '%s' is missing, expected '%s'", key, bnf_show(text, len, expected))
    if value.len != len or memcmp(value.data, text, len) != 0:
        return bnf_fail(BITNET_ERROR_MODEL, b"key '%s' is '%s', expected '%s'", key, bnf_show(value.data, value.len, found),
                        bnf_show(text, len, expected))
    return 0

# The tokens that wake an activated LoRA: for the client, who decides from which token on to set it.
cdef int load_invocation(llama_adapter_lora *adapter) noexcept nogil:
    cdef const bnf_gguf_kv *kv = bnf_gguf_find(adapter.gguf, b"adapter.alora.invocation_tokens")
    if kv == NULL:
        return 0
    if kv.type != BNF_GGUF_ARRAY or (kv.elem_type != BNF_GGUF_U32 and kv.elem_type != BNF_GGUF_I32) or kv.count == 0:
        return bnf_fail(BITNET_ERROR_MODEL, b"key 'adapter.alora.invocation_tokens' is no array of u32 with at least one token")
    adapter.invocation = <llama_token *>bnf_alloc_array(<size_t>kv.count, sizeof(llama_token))
    if adapter.invocation == NULL:
        return BITNET_ERROR_MEMORY
    memcpy(adapter.invocation, kv.value, <size_t>kv.count * sizeof(llama_token))
    adapter.n_invocation = kv.count
    return 0

cdef int load_keys(llama_adapter_lora *adapter) noexcept nogil:
    cdef bnf_str arch
    cdef int code = need_text(adapter, b"general.type", b"adapter", 7)
    if code == 0:
        code = need_text(adapter, b"adapter.type", b"lora", 4)
    if code == 0:
        code = bnf_gguf_str(adapter.model.gguf, b"general.architecture", &arch)
        code = need_text(adapter, b"general.architecture", arch.data, arch.len) if code > 0 else code
    if code == 0:
        code = bnf_gguf_f32(adapter.gguf, b"adapter.lora.alpha", &adapter.alpha)
    if code >= 0 and not isfinite(adapter.alpha):
        code = bnf_fail(BITNET_ERROR_MODEL, b"key 'adapter.lora.alpha' is %g, expected a finite number", <double>adapter.alpha)
    return load_invocation(adapter) if code >= 0 else code

# ---- pairs ----

cdef int wrong_shape(const bnf_tensor *t, int64_t k, int64_t m) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    return bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s' has shape {%lld, %lld, %lld, %lld}, expected {%lld, %lld}: is it for another model?",
                    bnf_show(t.name.data, t.name.len, shown), <long long>t.ne[0], <long long>t.ne[1], <long long>t.ne[2],
                    <long long>t.ne[3], <long long>k, <long long>m)

# The tensor as m rows of k floats, all of them finite.
cdef int to_floats(const bnf_tensor *t, int64_t k, int64_t m, bnf_matrix *out) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef float *x
    cdef uint8_t *data
    cdef int64_t i
    if t.ne[0] != k or t.ne[1] != m or t.ne[2] != 1 or t.ne[3] != 1:
        return wrong_shape(t, k, m)
    if bnf_type_traits(t.type) == NULL or bnf_type_traits(t.type).ternary or t.size != bnf_tensor_size(t.type, k, m):
        return bnf_fail(BITNET_ERROR_LOAD, b"tensor '%s' is of type %s (%d), which adapters cannot have here",
                        bnf_show(t.name.data, t.name.len, shown), bnf_type_name(t.type), t.type)
    x = <float *>bnf_alloc_array(<size_t>(k * m), sizeof(float))
    out.data = <const uint8_t *>x      # from here on the pair owns it
    data = <uint8_t *>bnf_alloc(<size_t>t.size)
    if x == NULL or data == NULL:
        bnf_release(data)
        return BITNET_ERROR_MEMORY
    memcpy(data, t.data, <size_t>t.size)      # tensors of a file may lie at odd addresses
    bnf_dequantize(t.type, data, 1, 0, k * m, x)
    bnf_release(data)
    for i in range(k * m):
        if not isfinite(x[i]):
            return bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s': element %lld is %g, expected a finite number",
                            bnf_show(t.name.data, t.name.len, shown), <long long>i, <double>x[i])
    out.k = k
    out.m = m
    out.row_size = <uint64_t>k * sizeof(float)
    out.type = GGML_TYPE_F32
    out.layout = GGML_TYPE_F32
    out.scale = 1
    return 0

# Both tensors of a weight, or neither: 1, 0, or a negative code. Ranks are at most the embedding's length, for which there is scratch.
cdef int find_pair(const llama_adapter_lora *adapter, const char *weight, const bnf_tensor **a, const bnf_tensor **b) noexcept nogil:
    cdef char name[NAME_SIZE]
    snprintf(name, NAME_SIZE, b"%s.lora_a", weight)
    a[0] = bnf_gguf_tensor(adapter.gguf, name)
    snprintf(name, NAME_SIZE, b"%s.lora_b", weight)
    b[0] = bnf_gguf_tensor(adapter.gguf, name)
    if a[0] == NULL and b[0] == NULL:
        return 0
    if a[0] == NULL or b[0] == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, b"'%s' has a tensor %s, but none %s", weight, b".lora_a" if a[0] != NULL else b".lora_b",
                        b".lora_b" if a[0] != NULL else b".lora_a")
    if b[0].ne[0] < 1 or b[0].ne[0] > adapter.model.hp.n_embd:
        return bnf_fail(BITNET_ERROR_MODEL, b"'%s.lora_b' is of rank %lld, expected 1 to %d", weight, <long long>b[0].ne[0],
                        adapter.model.hp.n_embd)
    return 1

# Of a product with m rows of k weights. used: by tensor.
cdef int load_pair(llama_adapter_lora *adapter, const char *weight, int64_t number, int64_t k, int64_t m, uint8_t *used) noexcept nogil:
    cdef bnf_lora_pair *pair = &adapter.pairs[number]
    cdef const bnf_tensor *a
    cdef const bnf_tensor *b
    cdef int64_t rank
    cdef int code = find_pair(adapter, weight, &a, &b)
    if code <= 0:
        return code
    rank = b.ne[0]
    # Of the embedding, A is a table too: a row of it for a token.
    code = to_floats(a, rank, m, &pair.a) if number == bnf_embd_number(adapter.model) else to_floats(a, k, rank, &pair.a)
    if code == 0:
        code = to_floats(b, rank, k if number == bnf_embd_number(adapter.model) else m, &pair.b)
    adapter.rank = max(adapter.rank, <int32_t>rank)
    used[a - adapter.gguf.tensors] = 1
    used[b - adapter.gguf.tensors] = 1
    return code

cdef int load_layer(llama_adapter_lora *adapter, int32_t index, uint8_t *used) noexcept nogil:
    cdef const bnf_layer *layer = &adapter.model.layers[index]
    cdef const bnf_linear *linear = &layer.q
    cdef const char *parts[BNF_LAYER_LINEARS]
    cdef char weight[NAME_SIZE]
    cdef int32_t i
    cdef int code = 0
    parts[0], parts[1], parts[2], parts[3] = b"attn_q", b"attn_k", b"attn_v", b"attn_output"
    parts[4], parts[5], parts[6] = b"ffn_gate", b"ffn_up", b"ffn_down"
    for i in range(BNF_LAYER_LINEARS):
        if code == 0:
            snprintf(weight, NAME_SIZE, b"blk.%d.%s.weight", index, parts[i])
            code = load_pair(adapter, weight, bnf_linear_number(adapter.model, &linear[i]), linear[i].w.k, linear[i].w.m, used)
    return code

# Norms that a training changed are left out, as in llama.cpp; anything else that nothing used is not for this model.
cdef int check_rest(const llama_adapter_lora *adapter, const uint8_t *used) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_str *name
    cdef int64_t i
    for i in range(adapter.gguf.n_tensors):
        name = &adapter.gguf.tensors[i].name
        if used[i]:
            continue
        if name.len < 12 or memcmp(name.data + name.len - 12, b"_norm.weight", 12) != 0:
            return bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s' is not for a weight that this model has", bnf_show(name.data, name.len, shown))
        bnf_log(GGML_LOG_LEVEL_WARN, b"the adapter's tensor '%s' is a norm, which stays as the model has it\n",
                bnf_show(name.data, name.len, shown))
    return 0

cdef int load_pairs(llama_adapter_lora *adapter, uint8_t *used) noexcept nogil:
    cdef const llama_model *model = adapter.model
    cdef int32_t i
    cdef bint is_tied = model.hp.arch == BNF_ARCH_BITNET or bnf_gguf_tensor(model.gguf, b"output.weight") == NULL
    cdef int code = 0
    adapter.n_pairs = bnf_embd_number(model) + 1
    adapter.pairs = <bnf_lora_pair *>bnf_alloc_array(<size_t>adapter.n_pairs, sizeof(bnf_lora_pair))
    if adapter.pairs == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(model.hp.n_layer):
        if code == 0:
            code = load_layer(adapter, i, used)
    if code == 0 and not is_tied:
        code = load_pair(adapter, b"output.weight", bnf_head_number(model), model.hp.n_embd, model.hp.n_vocab, used)
    if code == 0:
        code = load_pair(adapter, b"token_embd.weight", bnf_embd_number(model), model.hp.n_embd, model.hp.n_vocab, used)
    if code == 0 and is_tied and adapter.pairs[bnf_embd_number(model)].a.data != NULL:
        code = bnf_fail(BITNET_ERROR_LOAD, b"the adapter changes 'token_embd.weight', which is this model's head too: that is not supported")
    if code == 0:
        code = check_rest(adapter, used)
    if code == 0 and adapter.rank == 0:
        code = bnf_fail(BITNET_ERROR_MODEL, b"the adapter has no tensors")
    return code

# ---- life ----

cdef void free_parts(llama_adapter_lora *adapter) noexcept nogil:
    cdef int64_t i
    if adapter.pairs != NULL:
        for i in range(adapter.n_pairs):
            bnf_release(<void *>adapter.pairs[i].a.data)
            bnf_release(<void *>adapter.pairs[i].b.data)
    bnf_release(adapter.pairs)
    bnf_release(adapter.invocation)
    bnf_gguf_close(adapter.gguf)
    adapter.pairs = NULL
    adapter.invocation = NULL
    adapter.n_invocation = 0
    adapter.gguf = NULL

cdef public void bnf_adapter_release(llama_adapter_lora *adapter) noexcept nogil:
    if bnf_ref_drop(&adapter.refs) == 0:
        free_parts(adapter)

# No context is left, so nobody else looks at the list.
cdef public void bnf_adapters_free(llama_model *model) noexcept nogil:
    cdef llama_adapter_lora *adapter = <llama_adapter_lora *>model.adapters
    cdef llama_adapter_lora *next
    while adapter != NULL:
        next = <llama_adapter_lora *>adapter.next
        free_parts(adapter)
        bnf_release(adapter)
        adapter = next
    model.adapters = NULL

cdef public llama_adapter_lora *bnf_adapter_load(llama_model *model, const bnf_source *source) noexcept nogil:
    cdef llama_adapter_lora *adapter = <llama_adapter_lora *>bnf_alloc(sizeof(llama_adapter_lora))
    cdef uint8_t *used
    cdef int code
    if adapter == NULL:
        return NULL
    adapter.model = model
    adapter.refs = 1
    code = bnf_gguf_open(source, NULL, &adapter.gguf)
    if code == 0:
        code = load_keys(adapter)
        if code == 0:
            used = <uint8_t *>bnf_alloc(<size_t>adapter.gguf.n_tensors)
            code = load_pairs(adapter, used) if used != NULL else BITNET_ERROR_MEMORY
            bnf_release(used)
        if code != 0:
            bnf_fail_within(bnf_path_tail(bnf_source_name(source)))
    if code != 0:
        free_parts(adapter)
        bnf_release(adapter)
        return NULL
    bnf_shared_push(&model.adapters, adapter, &adapter.next)
    return adapter
