# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Which tensors of a model are worth more bits than the rest: llama.cpp's mixtures (llama-quant.cpp), rule by rule, and bitnet.cpp's for
# I2_S, whose ends stay floats. May not look at weights or refuse a tensor. Next: quantize_plan.pyx, which asks about each.

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcmp, strlen
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_ops cimport bnf_type_traits
from bitnet_ffi._core.bnf_public cimport (
    bool, BITNET_ERROR, BITNET_FTYPE_MOSTLY_I2_S, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_I2_S, GGML_TYPE_Q2_K,
    GGML_TYPE_Q3_K, GGML_TYPE_Q4_1, GGML_TYPE_Q4_K, GGML_TYPE_Q5_1, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_TQ1_0,
    GGML_TYPE_TQ2_0)
from bitnet_ffi._core.bnf_types cimport bnf_str, bnf_tensor
from bitnet_ffi._core.bnf_write cimport (
    bnf_can_quantize, bnf_mix, GGML_TYPE_COUNT, LLAMA_FTYPE_MOSTLY_Q2_K, LLAMA_FTYPE_MOSTLY_Q2_K_S, LLAMA_FTYPE_MOSTLY_Q3_K_L,
    LLAMA_FTYPE_MOSTLY_Q3_K_M, LLAMA_FTYPE_MOSTLY_Q3_K_S, LLAMA_FTYPE_MOSTLY_Q4_0, LLAMA_FTYPE_MOSTLY_Q4_K_M, LLAMA_FTYPE_MOSTLY_Q4_K_S,
    LLAMA_FTYPE_MOSTLY_Q5_0, LLAMA_FTYPE_MOSTLY_Q5_K_M, LLAMA_FTYPE_MOSTLY_Q5_K_S)

cdef extern from "bnf_names.h" nogil:
    const char *bnf_ftype_name(int ftype)
    int bnf_ftype_of_type(int32_t type)

cdef extern from "bnf_write.h":
    pass

# What a tensor does, as far as the rules care.
cdef enum:
    OTHER, TOKEN_EMBD, OUTPUT, ATTN_QKV, ATTN_KV_B, ATTN_V, ATTN_K, ATTN_OUTPUT, FFN_DOWN

cdef bint is_name(bnf_str s, const char *text) noexcept nogil:
    return s.len == strlen(text) and memcmp(s.data, text, <size_t>s.len) == 0

cdef bint contains(bnf_str s, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    cdef size_t i
    for i in range(s.len - n + 1 if s.len >= n else 0):
        if memcmp(s.data + i, text, n) == 0:
            return True
    return False

cdef bint ends_with(bnf_str s, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    return s.len >= n and memcmp(s.data + (s.len - n), text, n) == 0

cdef int kind_of(bnf_str name) noexcept nogil:
    if is_name(name, "output.weight"):
        return OUTPUT
    if is_name(name, "token_embd.weight") or is_name(name, "per_layer_token_embd.weight"):
        return TOKEN_EMBD
    if contains(name, "attn_qkv.weight"):
        return ATTN_QKV
    if contains(name, "attn_kv_b.weight"):
        return ATTN_KV_B
    if contains(name, "attn_v.weight"):
        return ATTN_V
    if contains(name, "attn_k.weight"):
        return ATTN_K
    if contains(name, "attn_output.weight"):
        return ATTN_OUTPUT
    return FFN_DOWN if contains(name, "ffn_down") else OTHER

cdef bint is_like_v(int kind) noexcept nogil:
    return kind == ATTN_V or kind == ATTN_QKV or kind == ATTN_KV_B

cdef public int32_t bnf_mix_layer(bnf_str name) noexcept nogil:
    cdef int32_t layer = 0
    cdef uint64_t i = 4
    if name.len < 6 or memcmp(name.data, b"blk.", 4) != 0:
        return -1
    while i < name.len and name.data[i] >= c'0' and name.data[i] <= c'9' and layer < 100000:
        layer = 10 * layer + (name.data[i] - c'0')
        i += 1
    return layer if i > 4 and i < name.len and name.data[i] == c'.' else -1

cdef public bool bnf_mix_is_end(bnf_str name) noexcept nogil:
    cdef int kind = kind_of(name)
    return kind == TOKEN_EMBD or kind == OUTPUT

cdef public void bnf_mix_count(bnf_mix *mix, bnf_str name) noexcept nogil:
    cdef int kind = kind_of(name)
    mix.n_attn_v += is_like_v(kind)
    if kind == OUTPUT:
        mix.tied = False

# ---- types ----

cdef int32_t type_of_mixture(int ftype) noexcept nogil:
    if ftype == LLAMA_FTYPE_MOSTLY_Q2_K_S:
        return GGML_TYPE_Q2_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_S or ftype == LLAMA_FTYPE_MOSTLY_Q3_K_L:
        return GGML_TYPE_Q3_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q4_K_S:
        return GGML_TYPE_Q4_K
    return GGML_TYPE_Q5_K if ftype == LLAMA_FTYPE_MOSTLY_Q5_K_S else -1

cdef public int32_t bnf_mix_type(int ftype) noexcept nogil:
    cdef int32_t type = type_of_mixture(ftype)
    cdef const char *name = bnf_ftype_name(ftype)
    if type >= 0:
        return type
    if name == NULL:
        name = "unknown"
    for type in range(<int32_t>GGML_TYPE_COUNT):
        if bnf_ftype_of_type(type) == ftype and bnf_can_quantize(type):
            return type
    bnf_fail(BITNET_ERROR, "file type %d (%s): what can be written is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K with "
             "their mixtures, and TQ1_0, TQ2_0 and I2_S (%d) from ternary weights", ftype, name,
             <int>BITNET_FTYPE_MOSTLY_I2_S)
    return -1

# Small tensors, and those that a coarser step would upset: names of llama.cpp's architectures.
cdef bint is_delicate(bnf_str name) noexcept nogil:
    if contains(name, "_norm.weight") or contains(name, "ffn_gate_inp.weight") or contains(name, "ffn_gate_tid2eid.weight"):
        return True
    if is_name(name, "position_embd.weight") or is_name(name, "token_types.weight") or contains(name, "attn_rel_b.weight"):
        return True
    if contains(name, "altup") or contains(name, "laurel") or contains(name, "per_layer_model_proj"):
        return True
    if contains(name, "ssm_conv1d") or contains(name, "shortconv.conv.weight"):
        return True
    if contains(name, "indexer.k_proj.weight") or contains(name, "indexer.q_proj.weight"):
        return True
    if contains(name, "time_mix_") and is_small_mix(name):
        return True
    if contains(name, ".position_embd") or contains(name, "sam.pos_embd") or contains(name, "sam.neck.") or contains(name, "sam.net_"):
        return True
    if contains(name, ".rel_pos") or contains(name, ".patch_embd") or contains(name, ".patch_merger"):
        return True
    return contains(name, "a.rvq.codebook") or contains(name, "mm.a.code_embd")

cdef bint is_small_mix(bnf_str name) noexcept nogil:
    return (contains(name, "_first.weight") or contains(name, "_w0.weight") or contains(name, "_w1.weight") or contains(name, "_w2.weight")
            or contains(name, "_v0.weight") or contains(name, "_v1.weight") or contains(name, "_v2.weight") or contains(name, "_a0.weight")
            or contains(name, "_a1.weight") or contains(name, "_a2.weight") or contains(name, "_g1.weight") or contains(name, "_g2.weight")
            or contains(name, "_lerp_fused.weight"))

cdef public bool bnf_mix_converts(const bnf_mix *mix, const bnf_tensor *t) noexcept nogil:
    if not ends_with(t.name, "weight") or t.ne[1] * t.ne[2] * t.ne[3] == 1 or is_delicate(t.name):
        return False
    return mix.params.quantize_output_tensor or not is_name(t.name, "output.weight")

# ---- rules ----

# The first and last eighth of the layers, and every third between.
cdef bint wants_more(int32_t i, int32_t n) noexcept nogil:
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2

cdef int32_t end_of_ternary(const bnf_mix *mix, const bnf_tensor *t) noexcept nogil:
    if mix.type != GGML_TYPE_I2_S:
        return GGML_TYPE_Q4_K
    return GGML_TYPE_F16 if t.type == GGML_TYPE_F32 or t.type == GGML_TYPE_BF16 else t.type

cdef int32_t type_of_head(const bnf_mix *mix, const bnf_tensor *t) noexcept nogil:
    if mix.params.output_tensor_type != GGML_TYPE_COUNT:
        return <int32_t>mix.params.output_tensor_type
    if mix.type == GGML_TYPE_I2_S:
        return end_of_ternary(mix, t)
    if mix.type == GGML_TYPE_Q8_0 or mix.falcon or t.ne[0] % bnf_type_traits(mix.type).block_len != 0:
        return GGML_TYPE_Q8_0
    return GGML_TYPE_Q6_K

cdef int32_t type_like_v(bnf_mix *mix) noexcept nogil:
    cdef int ftype = <int>mix.params.ftype
    cdef int32_t type = mix.type
    cdef int32_t i = mix.i_attn_v
    mix.i_attn_v += 1
    if ftype == LLAMA_FTYPE_MOSTLY_Q2_K:
        type = GGML_TYPE_Q4_K if mix.n_gqa >= 4 else GGML_TYPE_Q3_K
    elif ftype == LLAMA_FTYPE_MOSTLY_Q2_K_S and mix.n_gqa >= 4:
        type = GGML_TYPE_Q4_K
    elif ftype == LLAMA_FTYPE_MOSTLY_Q3_K_M:
        type = GGML_TYPE_Q5_K if i < 2 else GGML_TYPE_Q4_K
    elif ftype == LLAMA_FTYPE_MOSTLY_Q3_K_L:
        type = GGML_TYPE_Q5_K
    elif (ftype == LLAMA_FTYPE_MOSTLY_Q4_K_M or ftype == LLAMA_FTYPE_MOSTLY_Q5_K_M) and wants_more(i, mix.n_attn_v):
        type = GGML_TYPE_Q6_K
    elif ftype == LLAMA_FTYPE_MOSTLY_Q4_K_S and i < 4:
        type = GGML_TYPE_Q5_K
    if mix.huge and (type == GGML_TYPE_Q3_K or type == GGML_TYPE_Q4_K):
        type = GGML_TYPE_Q5_K # eight heads share it: small, and worth it
    return GGML_TYPE_Q8_0 if mix.n_expert == 8 else type

# With experts the layer is the one of the name; else tensors are counted.
cdef int32_t type_of_ffn_down(bnf_mix *mix, const bnf_tensor *t) noexcept nogil:
    cdef int ftype = <int>mix.params.ftype
    cdef int32_t n = mix.n_layer
    cdef int32_t i = mix.i_ffn_down
    mix.i_ffn_down += 1
    if mix.n_expert > 1:
        i = bnf_mix_layer(t.name)
    if ftype == LLAMA_FTYPE_MOSTLY_Q2_K:
        return GGML_TYPE_Q3_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q2_K_S:
        return GGML_TYPE_Q4_K if i < n // 8 else mix.type
    if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_M and i < n // 16:
        return GGML_TYPE_Q5_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_M:
        return GGML_TYPE_Q4_K if not mix.falcon or wants_more(i, n) else GGML_TYPE_Q3_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_L:
        return GGML_TYPE_Q4_K if mix.falcon else GGML_TYPE_Q5_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q4_K_M and mix.falcon and i < n // 16:
        return GGML_TYPE_Q6_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q4_K_M and wants_more(i, n):
        return GGML_TYPE_Q5_K if mix.falcon else GGML_TYPE_Q6_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q5_K_M and wants_more(i, n):
        return GGML_TYPE_Q6_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q4_K_S and not mix.falcon and i < n // 8:
        return GGML_TYPE_Q5_K
    if mix.params.imatrix != NULL and i < n // 8: # a minimum, where the first layers' numbers are far apart
        if ftype == LLAMA_FTYPE_MOSTLY_Q4_0:
            return GGML_TYPE_Q4_1
        if ftype == LLAMA_FTYPE_MOSTLY_Q5_0:
            return GGML_TYPE_Q5_1
    return mix.type

cdef int32_t type_of_attn_output(const bnf_mix *mix) noexcept nogil:
    cdef int ftype = <int>mix.params.ftype
    if mix.falcon:
        return GGML_TYPE_Q4_K if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_L else mix.type
    if mix.n_expert == 8:
        if (ftype == LLAMA_FTYPE_MOSTLY_Q2_K or ftype == LLAMA_FTYPE_MOSTLY_Q3_K_S or ftype == LLAMA_FTYPE_MOSTLY_Q3_K_M
                or ftype == LLAMA_FTYPE_MOSTLY_Q4_K_S or ftype == LLAMA_FTYPE_MOSTLY_Q4_K_M):
            return GGML_TYPE_Q5_K
        return mix.type
    if ftype == LLAMA_FTYPE_MOSTLY_Q2_K:
        return GGML_TYPE_Q3_K
    if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_M:
        return GGML_TYPE_Q4_K
    return GGML_TYPE_Q5_K if ftype == LLAMA_FTYPE_MOSTLY_Q3_K_L else mix.type

cdef public int32_t bnf_mix_choose(bnf_mix *mix, const bnf_tensor *t) noexcept nogil:
    cdef int kind = kind_of(t.name)
    cdef bint ternary = mix.type == GGML_TYPE_I2_S or mix.type == GGML_TYPE_TQ1_0 or mix.type == GGML_TYPE_TQ2_0
    if kind == TOKEN_EMBD and mix.params.token_embedding_type != GGML_TYPE_COUNT:
        return <int32_t>mix.params.token_embedding_type
    if kind == OUTPUT and mix.params.output_tensor_type != GGML_TYPE_COUNT:
        return <int32_t>mix.params.output_tensor_type
    if mix.params.pure or mix.type == GGML_TYPE_F32 or mix.type == GGML_TYPE_F16 or mix.type == GGML_TYPE_BF16:
        return mix.type
    if kind == OUTPUT or (kind == TOKEN_EMBD and mix.tied):
        return type_of_head(mix, t)
    if kind == TOKEN_EMBD:
        return end_of_ternary(mix, t) if ternary else mix.type
    if is_like_v(kind):
        return type_like_v(mix)
    if kind == FFN_DOWN:
        return type_of_ffn_down(mix, t)
    if kind == ATTN_OUTPUT:
        return type_of_attn_output(mix)
    return GGML_TYPE_Q8_0 if kind == ATTN_K and mix.n_expert == 8 else mix.type
