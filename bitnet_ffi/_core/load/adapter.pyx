# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# LoRA adapters from GGUF files: general.type "adapter", adapter.type "lora", the model's general.architecture, pairs of tensors
# X.lora_a and X.lora_b for weights X of the model; and files of 2023 (adapter_ggla.pyx). Every shape and number is checked before
# anything is used; weights become floats. May not: touch a context. Next: csrc/bnf_adapter.h for the parts, lora.pyx for what they compute.
# Source of keys and names: llama.cpp's convert_lora_to_gguf.py and its key table.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_fail_within, bnf_log, bnf_path_tail, bnf_release, bnf_show, BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport (
    bnf_ggla_open, bnf_gguf_close, bnf_gguf_f32, bnf_gguf_find, bnf_gguf_open, bnf_gguf_str, bnf_gguf_tensor, bnf_source_name)
from bitnet_ffi._core.bnf_context cimport (
    bnf_embd_number, bnf_head_number, bnf_linear_number, bnf_lora_pair, llama_adapter_lora, BNF_LAYER_LINEARS)
from bitnet_ffi._core.bnf_ops cimport bnf_dequantize, bnf_tensor_size, bnf_type_name, bnf_type_traits, BNF_LOW_RANK_ROWS
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

# The tensor as m rows of k floats, all of them finite: the caller's to release. columns: it lies as k rows of m instead.
cdef int to_floats(const bnf_tensor *t, int64_t k, int64_t m, bint columns, float **out) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int64_t n_in = m if columns else k
    cdef int64_t n_out = k if columns else m
    cdef float *x
    cdef float *turned
    cdef uint8_t *data
    cdef int64_t i
    out[0] = NULL
    if t.ne[0] != n_in or t.ne[1] != n_out or t.ne[2] != 1 or t.ne[3] != 1:
        return wrong_shape(t, n_in, n_out)
    if bnf_type_traits(t.type) == NULL or bnf_type_traits(t.type).ternary or t.size != bnf_tensor_size(t.type, n_in, n_out):
        return bnf_fail(BITNET_ERROR_LOAD, b"tensor '%s' is of type %s (%d), which adapters cannot have here",
                        bnf_show(t.name.data, t.name.len, shown), bnf_type_name(t.type), t.type)
    x = <float *>bnf_alloc_array(<size_t>(k * m), sizeof(float))
    data = <uint8_t *>bnf_alloc(<size_t>t.size)
    if x == NULL or data == NULL:
        bnf_release(data)
        bnf_release(x)
        return BITNET_ERROR_MEMORY
    memcpy(data, t.data, <size_t>t.size)      # tensors of a file may lie at odd addresses
    bnf_dequantize(t.type, data, 1, 0, k * m, x)
    bnf_release(data)
    for i in range(k * m):
        if not isfinite(x[i]):
            bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s': element %lld is %g, expected a finite number",
                     bnf_show(t.name.data, t.name.len, shown), <long long>i, <double>x[i])
            bnf_release(x)
            return BITNET_ERROR_MODEL
    if columns:
        turned = transposed(x, n_out, n_in)
        bnf_release(x)
        x = turned
        if x == NULL:
            return BITNET_ERROR_MEMORY
    out[0] = x
    return 0

# m rows of k as k rows of m; x stays.
cdef float *transposed(const float *x, int64_t m, int64_t k) noexcept nogil:
    cdef float *y = <float *>bnf_alloc_array(<size_t>(k * m), sizeof(float))
    cdef int64_t i, j
    if y != NULL:
        for i in range(m):
            for j in range(k):
                y[j * m + i] = x[i * k + j]
    return y

# The pair takes the m rows of k floats, which may be NULL: an allocation that failed.
cdef int take_a(bnf_lora_pair *pair, float *x, int64_t k, int64_t m) noexcept nogil:
    if x == NULL:
        return BITNET_ERROR_MEMORY
    pair.a.data = <const uint8_t *>x
    pair.a.k = k
    pair.a.m = m
    pair.a.row_size = <uint64_t>k * sizeof(float)
    pair.a.type = GGML_TYPE_F32
    pair.a.layout = GGML_TYPE_F32
    pair.a.scale = 1
    return 0

# m rows in tiles (struct bnf_low_rank); x stays.
cdef int copy_b(bnf_lora_pair *pair, const float *x, int64_t rank, int64_t m) noexcept nogil:
    cdef int64_t n_tiles = (m + BNF_LOW_RANK_ROWS - 1) // BNF_LOW_RANK_ROWS
    cdef float *tiles = <float *>bnf_alloc_array(<size_t>(n_tiles * BNF_LOW_RANK_ROWS), <size_t>rank * sizeof(float))
    cdef int64_t i, r
    if tiles == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(m):
        for r in range(rank):
            tiles[(i // BNF_LOW_RANK_ROWS * rank + r) * BNF_LOW_RANK_ROWS + i % BNF_LOW_RANK_ROWS] = x[i * rank + r]
    pair.b.data = tiles
    pair.b.rank = rank
    pair.b.m = m
    return 0

# Both tensors of a weight, or neither: 1, 0, or a negative code. Ranks are at most the embedding's length, for which there is scratch.
cdef int find_pair(const llama_adapter_lora *adapter, const char *weight, const bnf_tensor **a, const bnf_tensor **b) noexcept nogil:
    cdef const char *end_a = b".loraA" if adapter.is_ggla else b".lora_a"
    cdef const char *end_b = b".loraB" if adapter.is_ggla else b".lora_b"
    cdef char name[NAME_SIZE]
    snprintf(name, NAME_SIZE, b"%s%s", weight, end_a)
    a[0] = bnf_gguf_tensor(adapter.gguf, name)
    snprintf(name, NAME_SIZE, b"%s%s", weight, end_b)
    b[0] = bnf_gguf_tensor(adapter.gguf, name)
    if a[0] == NULL and b[0] == NULL:
        return 0
    if a[0] == NULL or b[0] == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, b"'%s' has a tensor %s, but none %s", weight, end_a if a[0] != NULL else end_b,
                        end_b if a[0] != NULL else end_a)
    if b[0].ne[0] < 1 or b[0].ne[0] > adapter.model.hp.n_embd:
        return bnf_fail(BITNET_ERROR_MODEL, b"'%s%s' is of rank %lld, expected 1 to %d", weight, end_b, <long long>b[0].ne[0],
                        adapter.model.hp.n_embd)
    return 1

cdef void note_pair(llama_adapter_lora *adapter, bnf_lora_pair *pair, int64_t rank) noexcept nogil:
    adapter.rank = max(adapter.rank, <int32_t>rank)
    pair.scale = adapter.alpha / <float>rank if adapter.alpha != 0 else 1
    if adapter.is_ggla:
        pair.scale = adapter.ggla_scale

# Of a product with m rows of k weights. used: by tensor.
cdef int load_pair(llama_adapter_lora *adapter, const char *weight, int64_t number, int64_t k, int64_t m, uint8_t *used) noexcept nogil:
    cdef bnf_lora_pair *pair = &adapter.pairs[number]
    cdef const bnf_tensor *a
    cdef const bnf_tensor *b
    cdef float *x
    cdef int64_t rank
    cdef int code = find_pair(adapter, weight, &a, &b)
    if code <= 0:
        return code
    rank = b.ne[0]
    used[a - adapter.gguf.tensors] = 1
    used[b - adapter.gguf.tensors] = 1
    note_pair(adapter, pair, rank)
    code = to_floats(a, k, rank, adapter.is_ggla, &x)
    if code == 0:
        code = take_a(pair, x, k, rank)
    if code == 0:
        code = to_floats(b, rank, m, False, &x)
        if code == 0:
            code = copy_b(pair, x, rank, m)
            bnf_release(x)
    return code

# Of the embedding: its A is a table too, a row of it for a token. In a file of 2023 that is what ends in B. A head that is the embedding
# gets the same, turned around: W + s A B of n_vocab rows, of which a token takes one and the head all.
cdef int load_embedding(llama_adapter_lora *adapter, const char *weight, bint is_tied, uint8_t *used) noexcept nogil:
    cdef const llama_model *model = adapter.model
    cdef bnf_lora_pair *pair = &adapter.pairs[bnf_embd_number(model)]
    cdef bnf_lora_pair *head = &adapter.pairs[bnf_head_number(model)]
    cdef int64_t n_embd = model.hp.n_embd
    cdef int64_t n_vocab = model.hp.n_vocab
    cdef const bnf_tensor *a
    cdef const bnf_tensor *b
    cdef float *table
    cdef float *rows
    cdef int64_t rank
    cdef int code = find_pair(adapter, weight, &a, &b)
    if code <= 0:
        return code
    rank = b.ne[0]
    used[a - adapter.gguf.tensors] = 1
    used[b - adapter.gguf.tensors] = 1
    note_pair(adapter, pair, rank)
    if is_tied:
        note_pair(adapter, head, rank)
    code = to_floats(b if adapter.is_ggla else a, rank, n_vocab, False, &table)
    if code == 0:
        code = take_a(pair, table, rank, n_vocab)
    if code == 0:
        code = to_floats(a if adapter.is_ggla else b, rank, n_embd, False, &rows)
        if code == 0:
            code = copy_b(pair, rows, rank, n_embd)
            if code == 0 and is_tied:
                code = take_a(head, transposed(rows, n_embd, rank), n_embd, rank)
            if code == 0 and is_tied:
                code = copy_b(head, table, rank, n_vocab)
            bnf_release(rows)
    return code

# ---- names ----

# Of files of 2023 there are two kinds: with the names of models from before GGUF, and with today's.
cdef bint has_old_names(const llama_adapter_lora *adapter) noexcept nogil:
    cdef const bnf_str *name
    cdef int64_t i
    for i in range(adapter.gguf.n_tensors if adapter.is_ggla else 0):
        name = &adapter.gguf.tensors[i].name
        if name.len > 7 and (memcmp(name.data, b"layers.", 7) == 0 or memcmp(name.data, b"tok_emb", 7) == 0):
            return True
    return False

cdef int load_layer(llama_adapter_lora *adapter, int32_t index, bint old_names, uint8_t *used) noexcept nogil:
    cdef const bnf_layer *layer = &adapter.model.layers[index]
    cdef const bnf_linear *linear = &layer.q
    cdef const char *parts[BNF_LAYER_LINEARS]
    cdef char weight[NAME_SIZE]
    cdef int32_t i
    cdef int code = 0
    if old_names:
        parts[0], parts[1], parts[2], parts[3] = b"attention.wq", b"attention.wk", b"attention.wv", b"attention.wo"
        parts[4], parts[5], parts[6] = b"feed_forward.w1", b"feed_forward.w3", b"feed_forward.w2"
    else:
        parts[0], parts[1], parts[2], parts[3] = b"attn_q", b"attn_k", b"attn_v", b"attn_output"
        parts[4], parts[5], parts[6] = b"ffn_gate", b"ffn_up", b"ffn_down"
    for i in range(BNF_LAYER_LINEARS):
        if code == 0:
            snprintf(weight, NAME_SIZE, b"%s.%d.%s.weight", b"layers" if old_names else b"blk", index, parts[i])
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
    cdef bint old_names = has_old_names(adapter)
    cdef int code = 0
    adapter.n_pairs = bnf_embd_number(model) + 1
    adapter.pairs = <bnf_lora_pair *>bnf_alloc_array(<size_t>adapter.n_pairs, sizeof(bnf_lora_pair))
    if adapter.pairs == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(model.hp.n_layer):
        if code == 0:
            code = load_layer(adapter, i, old_names, used)
    if code == 0 and not is_tied:
        code = load_pair(adapter, b"output.weight", bnf_head_number(model), model.hp.n_embd, model.hp.n_vocab, used)
    if code == 0:
        code = load_embedding(adapter, b"tok_embeddings.weight" if old_names else b"token_embd.weight", is_tied, used)
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
    code = bnf_ggla_open(source, &adapter.gguf, &adapter.ggla_scale)
    adapter.is_ggla = code == 1
    if code == 0:
        code = bnf_gguf_open(source, NULL, &adapter.gguf)
    if code >= 0:
        code = 0 if adapter.is_ggla else load_keys(adapter)
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
