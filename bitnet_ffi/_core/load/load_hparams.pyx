# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Architecture and hyper-parameters from the metadata. Every size is bounded here, before anything is sized by it, and
# shapes are compared with them later (load_tensors.pyx). What we cannot compute rightly is refused, never ignored.
# Source of keys and defaults: llama.cpp's key table, and microsoft/BitNet's for bitnet-25 and bitnet-b1.58.

from libc.stdint cimport int32_t, uint8_t, uint32_t, int64_t, INT32_MAX
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_log, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_bool, bnf_gguf_f32, bnf_gguf_find, bnf_gguf_next_str, bnf_gguf_str, bnf_gguf_u32
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_model_kv_override, BITNET_ERROR_LOAD, BITNET_ERROR_MODEL, GGML_LOG_LEVEL_WARN, LLAMA_POOLING_TYPE_NONE,
    LLAMA_POOLING_TYPE_RANK, LLAMA_POOLING_TYPE_UNSPECIFIED, LLAMA_ROPE_SCALING_TYPE_LINEAR, LLAMA_ROPE_SCALING_TYPE_LONGROPE,
    LLAMA_ROPE_SCALING_TYPE_NONE, LLAMA_ROPE_SCALING_TYPE_YARN)
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf_kv, bnf_hparams, bnf_str, llama_model, BNF_ARCH_BITNET, BNF_ARCH_BITNET_B158, BNF_ARCH_LLAMA, BNF_FFN_RELU2, BNF_FFN_SILU,
    BNF_GGUF_ARRAY, BNF_GGUF_I32, BNF_GGUF_STRING, BNF_GGUF_U32, BNF_MAX_LAYERS)
from bitnet_ffi._core.bnf_load cimport (
    bnf_load_own, bnf_loader, BNF_MAX_ARCH, BNF_MAX_EMBD, BNF_MAX_FF, BNF_MAX_HEADS, BNF_MAX_HEAD_WIDTH, BNF_MAX_VOCAB,
    BNF_MAX_WIDTH)

cdef enum:
    KEY_SIZE = 160 # an architecture (63 bytes) and the longest suffix below

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

# ---- keys of this architecture: "llama." and so on before each ----

cdef const char *key_of(const bnf_loader *loader, const char *suffix, char *key) noexcept nogil:
    snprintf(key, KEY_SIZE, "%s.%s", loader.arch, suffix)
    return key

cdef int fail_missing(const char *key) noexcept nogil:
    return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is missing", key)

cdef int check_range(const char *key, int64_t value, int64_t low, int64_t high) noexcept nogil:
    if value >= low and value <= high:
        return 0
    return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %lld, expected %lld to %lld", key, <long long>value, <long long>low,
                    <long long>high)

# An integer of [low, high]; when the key is absent, *out stays if it is not 0, else the key is missing.
cdef int get_size(const bnf_loader *loader, const char *suffix, int64_t low, int64_t high, int32_t *out) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef uint32_t value = 0
    cdef int code = bnf_gguf_u32(loader.model.gguf, key_of(loader, suffix, key), &value)
    if code < 0:
        return code
    if code == 0:
        return 0 if out[0] != 0 else fail_missing(key)
    code = check_range(key, value, low, high)
    if code == 0:
        out[0] = <int32_t>value
    return code

# Some models give one number per layer. Layers that differ need another graph; equal ones are the plain case.
cdef int get_size_of_layers(const bnf_loader *loader, const char *suffix, int64_t low, int64_t high, int32_t *out) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef const bnf_gguf_kv *kv = bnf_gguf_find(loader.model.gguf, key_of(loader, suffix, key))
    cdef int64_t i
    cdef int32_t first = 0
    cdef int32_t value = 0
    cdef int code
    if kv == NULL or kv.type != BNF_GGUF_ARRAY:
        return get_size(loader, suffix, low, high, out)
    if (kv.elem_type != BNF_GGUF_U32 and kv.elem_type != BNF_GGUF_I32) or kv.count != <uint32_t>loader.model.hp.n_layer:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is an array of %llu values, expected one integer, or u32 or i32 for each of %d "
                        "layers", key, <unsigned long long>kv.count, loader.model.hp.n_layer)
    for i in range(<int64_t>kv.count):
        memcpy(&value, kv.value + 4 * i, 4)
        if i == 0:
            first = value
            code = check_range(key, value, low, high)
            if code != 0:
                return code
        elif value != first:
            return bnf_fail(BITNET_ERROR_LOAD, "key '%s' is %d for layer 0 and %d for layer %lld: layers that differ are not supported",
                            key, first, value, <long long>i)
    out[0] = first
    return 0

# A positive finite number; when the key is absent, *out stays if it is not 0, else the key is missing.
cdef int get_positive(const bnf_loader *loader, const char *suffix, float *out) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef float value = 0
    cdef int code = bnf_gguf_f32(loader.model.gguf, key_of(loader, suffix, key), &value)
    if code < 0:
        return code
    if code == 0:
        return 0 if out[0] != 0 else fail_missing(key)
    if not isfinite(value) or value <= 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %g, expected a positive number", key, <double>value)
    out[0] = value
    return 0

# ---- architecture ----

cdef bint is_text(bnf_str s, const char *text) noexcept nogil:
    return s.len == strlen(text) and memcmp(s.data, text, s.len) == 0

# The name before the dot of this file's keys: what the file itself calls its architecture, whatever an override says.
cdef int load_prefix(bnf_loader *loader) noexcept nogil:
    cdef const llama_model_kv_override *overrides = loader.model.gguf.overrides
    cdef char shown[BNF_SHOWN_SIZE]
    cdef bnf_str name
    cdef int code
    loader.model.gguf.overrides = NULL
    code = bnf_gguf_str(loader.model.gguf, "general.architecture", &name)
    loader.model.gguf.overrides = overrides
    if code < 0:
        return code
    if code == 0:
        return fail_missing("general.architecture")
    if name.len >= BNF_MAX_ARCH or memchr(name.data, 0, name.len) != NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'general.architecture' is '%s', expected a name of at most %d bytes",
                        bnf_show(name.data, name.len, shown), <int>BNF_MAX_ARCH - 1)
    memcpy(loader.arch, name.data, name.len)
    loader.arch[name.len] = 0
    return 0

# An override of general.architecture chooses another graph for the same keys. With vocab_only any name will do: the
# tokenizer does not depend on it.
cdef public int bnf_load_arch(bnf_loader *loader) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef bnf_hparams *hp = &loader.model.hp
    cdef bnf_str arch
    cdef int code = load_prefix(loader)
    if code == 0:
        code = bnf_gguf_str(loader.model.gguf, "general.architecture", &arch)
    if code < 0:
        return code
    hp.ffn_act = BNF_FFN_SILU
    hp.rope_neox = 1
    if is_text(arch, "llama"):
        hp.arch = BNF_ARCH_LLAMA
        hp.rope_neox = 0
    elif is_text(arch, "bitnet"):
        hp.arch = BNF_ARCH_BITNET
    elif is_text(arch, "bitnet-25") or is_text(arch, "bitnet-b1.58"):
        hp.arch = BNF_ARCH_BITNET_B158
        hp.ffn_act = BNF_FFN_RELU2
    elif not loader.params.vocab_only:
        return bnf_fail(BITNET_ERROR_LOAD, "architecture '%s' is not supported, expected llama, bitnet, bitnet-25 or bitnet-b1.58",
                        bnf_show(arch.data, arch.len, shown))
    return 0

# ---- attention, RoPE, the rest ----

cdef int load_attention(const bnf_loader *loader, bnf_hparams *hp) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef bool causal = True
    cdef int code = get_size_of_layers(loader, "attention.head_count", 1, BNF_MAX_HEADS, &hp.n_head)
    if code == 0:
        hp.n_head_kv = hp.n_head
        code = get_size_of_layers(loader, "attention.head_count_kv", 1, BNF_MAX_HEADS, &hp.n_head_kv)
    if code == 0 and hp.n_head % hp.n_head_kv != 0:
        code = bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %d, which does not divide the %d heads",
                        key_of(loader, "attention.head_count_kv", key), hp.n_head_kv, hp.n_head)
    if code != 0:
        return code
    hp.dk = hp.n_embd // hp.n_head if hp.n_embd % hp.n_head == 0 else 0
    hp.dv = hp.dk
    if hp.dk == 0 and bnf_gguf_find(loader.model.gguf, key_of(loader, "attention.key_length", key)) == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "the embedding length %d is not a multiple of the %d heads, and key '%s' is missing",
                        hp.n_embd, hp.n_head, key)
    code = get_size(loader, "attention.key_length", 1, BNF_MAX_HEAD_WIDTH, &hp.dk)
    if code == 0:
        code = get_size(loader, "attention.value_length", 1, BNF_MAX_HEAD_WIDTH, &hp.dv)
    if code == 0 and <int64_t>hp.n_head * max(hp.dk, hp.dv) > BNF_MAX_WIDTH:
        code = bnf_fail(BITNET_ERROR_MODEL, "%d heads of width %d are together wider than %d", hp.n_head, max(hp.dk, hp.dv),
                        <int>BNF_MAX_WIDTH)
    if code == 0:
        code = bnf_gguf_bool(loader.model.gguf, key_of(loader, "attention.causal", key), &causal)
    if code < 0:
        return code
    hp.causal = causal
    return 0

cdef enum:
    UNSPECIFIED = <uint32_t>0xFFFFFFFF # the pooling type -1 as llama.cpp's llama_model_save_to_file writes it

# How the states of a text become one embedding, if the file says it.
cdef int load_pooling(const bnf_loader *loader, bnf_hparams *hp) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef uint32_t value = 0
    cdef int code = bnf_gguf_u32(loader.model.gguf, key_of(loader, "pooling_type", key), &value)
    hp.pooling = LLAMA_POOLING_TYPE_UNSPECIFIED
    if code <= 0 or value == UNSPECIFIED:
        return code if code < 0 else 0
    code = check_range(key, value, LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_RANK)
    if code == 0:
        hp.pooling = <int32_t>value
    return code

# What the classifier's numbers stand for, as C strings of the model.
cdef int load_labels(bnf_loader *loader, bnf_hparams *hp) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef char key[KEY_SIZE]
    cdef const bnf_gguf_kv *kv = bnf_gguf_find(model.gguf, key_of(loader, "classifier.output_labels", key))
    cdef const uint8_t *at
    cdef char *text
    cdef bnf_str label
    cdef int64_t i
    cdef int code
    hp.n_cls_out = 1
    if kv == NULL:
        return 0
    if kv.type != BNF_GGUF_ARRAY or kv.elem_type != BNF_GGUF_STRING or kv.count > BNF_MAX_VOCAB:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is no array of at most %d strings", key, <int>BNF_MAX_VOCAB)
    if kv.count == 0:              # llama.cpp saves every model with such an array
        return 0
    model.labels = <const char **>bnf_alloc_array(<size_t>kv.count, sizeof(char *))
    code = bnf_load_own(loader, model.labels)
    if code != 0:
        return code
    text = <char *>bnf_alloc(<size_t>kv.size)      # the file has 8 bytes before each label, where one behind is needed
    code = bnf_load_own(loader, text)
    if code != 0:
        return code
    at = kv.value
    for i in range(<int64_t>kv.count):
        label = bnf_gguf_next_str(&at)
        memcpy(text, label.data, label.len)
        model.labels[i] = text
        text += label.len + 1
    model.n_labels = <int32_t>kv.count
    hp.n_cls_out = <int32_t>kv.count
    return 0

# How positions are stretched, and by what factor. Llama 3's scaling is the tensor rope_freqs.weight, LongRoPE's rope_factors_*.weight.
cdef int load_rope_scaling(const bnf_loader *loader, bnf_hparams *hp) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef char shown[BNF_SHOWN_SIZE]
    cdef bnf_str kind
    cdef float factor = 0
    cdef int code
    hp.rope_scale = 1
    hp.rope_attn_factor = 1
    hp.rope_scaling = LLAMA_ROPE_SCALING_TYPE_LINEAR
    hp.n_ctx_orig = hp.n_ctx_train
    code = bnf_gguf_str(loader.model.gguf, key_of(loader, "rope.scaling.type", key), &kind)
    if code < 0:
        return code
    if code == 1 and is_text(kind, "none"):
        hp.rope_scaling = LLAMA_ROPE_SCALING_TYPE_NONE
    elif code == 1 and is_text(kind, "yarn"):
        hp.rope_scaling = LLAMA_ROPE_SCALING_TYPE_YARN
    elif code == 1 and is_text(kind, "longrope"):
        hp.rope_scaling = LLAMA_ROPE_SCALING_TYPE_LONGROPE
    elif code == 1 and not is_text(kind, "linear"):
        return bnf_fail(BITNET_ERROR_LOAD, "key '%s' is '%s', expected none, linear, yarn or longrope", key,
                        bnf_show(kind.data, kind.len, shown))
    code = get_positive(loader, "rope.scaling.attn_factor", &hp.rope_attn_factor)
    if code >= 0:
        code = get_size(loader, "rope.scaling.original_context_length", 1, INT32_MAX, &hp.n_ctx_orig)
    if code < 0:
        return code
    code = bnf_gguf_f32(loader.model.gguf, key_of(loader, "rope.scaling.factor", key), &factor)
    if code == 0:
        code = bnf_gguf_f32(loader.model.gguf, key_of(loader, "rope.scale_linear", key), &factor)
    if code < 0:
        return code
    if not isfinite(factor) or factor < 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %g, expected a positive number, or 0 for none", key, <double>factor)
    if factor != 0:
        hp.rope_scale = 1 / factor
    return 0

cdef int load_rope(const bnf_loader *loader, bnf_hparams *hp) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef int code
    hp.n_rot = hp.dk
    hp.rope_base = 10000
    code = get_size(loader, "rope.dimension_count", 1, BNF_MAX_HEAD_WIDTH, &hp.n_rot)
    if code == 0:
        code = get_positive(loader, "rope.freq_base", &hp.rope_base)
    if code == 0:
        code = load_rope_scaling(loader, hp)
    if code != 0:
        return code
    key_of(loader, "rope.dimension_count", key)
    if hp.n_rot % 2 != 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %d, expected an even number", key, hp.n_rot)
    if hp.n_rot > hp.dk or (hp.arch != BNF_ARCH_BITNET and hp.n_rot != hp.dk):
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %d, expected the head width %d", key, hp.n_rot, hp.dk)
    return 0

cdef int refuse_experts(const bnf_loader *loader) noexcept nogil:
    cdef char key[KEY_SIZE]
    cdef uint32_t n_experts = 0
    cdef int code = bnf_gguf_u32(loader.model.gguf, key_of(loader, "expert_count", key), &n_experts)
    if code < 0:
        return code
    if n_experts > 0:
        return bnf_fail(BITNET_ERROR_LOAD, "key '%s' is %u: mixture-of-experts models are not supported", key, n_experts)
    return 0

# Newer converters label 1bitLLM's 3B and large models bitnet-b1.58, whose activation is not the one they were trained with.
cdef void warn_of_relabelled(const bnf_loader *loader, const bnf_hparams *hp) noexcept nogil:
    cdef const bnf_gguf_kv *tokens = bnf_gguf_find(loader.model.gguf, "tokenizer.ggml.tokens")
    if hp.arch != BNF_ARCH_BITNET_B158:
        return
    if hp.n_embd == 3200 or hp.n_embd == 1536 or (tokens != NULL and tokens.count == 32002):
        bnf_log(GGML_LOG_LEVEL_WARN, "this looks like bitnet_b1_58-3B or -large, trained with SiLU, but the file says %s, which means "
                "squared ReLU; the file is obeyed. If the text is nonsense, override general.architecture with bitnet\n", loader.arch)

cdef public int bnf_load_hparams(bnf_loader *loader) noexcept nogil:
    cdef bnf_hparams *hp = &loader.model.hp
    cdef int code = get_size(loader, "block_count", 1, BNF_MAX_LAYERS, &hp.n_layer)
    if code == 0:
        code = get_size(loader, "context_length", 1, INT32_MAX, &hp.n_ctx_train)
    if code == 0:
        code = get_size(loader, "embedding_length", 1, BNF_MAX_EMBD, &hp.n_embd)
    if code == 0:
        code = get_size_of_layers(loader, "feed_forward_length", 1, BNF_MAX_FF, &hp.n_ff)
    if code == 0:
        code = get_positive(loader, "attention.layer_norm_rms_epsilon", &hp.rms_eps)
    if code == 0:
        code = load_attention(loader, hp)
    if code == 0:
        code = load_rope(loader, hp)
    if code == 0:
        code = load_pooling(loader, hp)
    if code == 0:
        code = load_labels(loader, hp)
    if code == 0:
        code = refuse_experts(loader)
    if code == 0:
        warn_of_relabelled(loader, hp)
    return code
