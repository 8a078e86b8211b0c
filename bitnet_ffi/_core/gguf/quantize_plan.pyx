# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What a quantized model is made of: its tensors in llama.cpp's order, the layers that stay, the type of each, and how important its
# columns are. What cannot be honoured is refused before anything is written. Next: quantize_mix.pyx has the rules of types,
# gguf_write.pyx writes; csrc/bnf_quantize_blocks.h lists the types.

from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy, memset, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_log, bnf_release, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_find, bnf_gguf_str
from bitnet_ffi._core.bnf_gguf cimport bnf_gguf_int
from bitnet_ffi._core.bnf_grammar cimport bnf_regex, bnf_regex_find, bnf_regex_free, bnf_regex_new, BNF_REGEX_NO_MEMORY, BNF_REGEX_YES
from bitnet_ffi._core.bnf_ops cimport bnf_tensor_size, bnf_type_name, bnf_type_traits
from bitnet_ffi._core.bnf_public cimport (
    llama_model_kv_override, BITNET_ERROR, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, BITNET_FTYPE_MOSTLY_I2_S, GGML_LOG_LEVEL_INFO,
    GGML_LOG_LEVEL_WARN, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K,
    GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0,
    LLAMA_KV_OVERRIDE_TYPE_STR)
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, bnf_str, bnf_tensor, BNF_GGUF_ARRAY
from bitnet_ffi._core.bnf_write cimport (
    bnf_can_quantize, bnf_mix, bnf_mix_choose, bnf_mix_converts, bnf_mix_count, bnf_mix_is_end, bnf_mix_layer, bnf_mix_type,
    bnf_planned, bnf_quantize_weighs, bnf_writing, imatrix_data, llama_model_quantize_params, tensor_override, GGML_TYPE_COUNT,
    LLAMA_FTYPE_MOSTLY_Q2_K_S)

cdef enum:
    FILE_TYPE_I2_S = 40 # what bitnet.cpp writes and reads for BITNET_FTYPE_MOSTLY_I2_S
    NAME_SIZE = 256

cdef extern from "bnf_write.h":
    pass

# What a plan is made from.
cdef struct planner:
    const bnf_gguf *gguf
    const llama_model_quantize_params *params
    bnf_mix mix
    bnf_regex **patterns  # [n_patterns] of params.tt_overrides
    int64_t n_patterns
    int32_t n_layer       # of the file

cdef bint is_float(int32_t type) noexcept nogil:
    return type == GGML_TYPE_F32 or type == GGML_TYPE_F16 or type == GGML_TYPE_BF16

cdef bint is_ternary(int32_t type) noexcept nogil:
    return bnf_type_traits(type) != NULL and bnf_type_traits(type).ternary

cdef const char *or_unknown(const char *name) noexcept nogil:
    if name == NULL:
        return "unknown"
    return name

# ---- parameters ----

cdef int check_type(int32_t type, const char *what) noexcept nogil:
    if type == GGML_TYPE_COUNT or bnf_can_quantize(type):
        return 0
    return bnf_fail(BITNET_ERROR, "%s is %d (%s), which cannot be written", what, type, or_unknown(bnf_type_name(type)))

# Programs built for llama.h of 2025 give C++ containers where arrays are expected now. What can be seen of that is refused.
cdef int check_imatrix(const imatrix_data *entry) noexcept nogil:
    cdef size_t i
    while entry != NULL and entry.name != NULL:
        if <size_t>entry.data < 65536: # no address: NULL, or the number of a std::unordered_map's buckets
            return bnf_fail(BITNET_ERROR, "imatrix: the data of an entry is %zu, which is no address; programs built for llama.h of 2025 "
                            "pass a C++ container here and must be rebuilt", <size_t>entry.data)
        for i in range(entry.size):
            if not isfinite(entry.data[i]) or entry.data[i] < 0:
                return bnf_fail(BITNET_ERROR, "imatrix: number %zu of '%s' is %g, expected a finite one from 0 up", i, entry.name,
                                <double>entry.data[i])
        entry += 1
    return 0

cdef int check_overrides(const llama_model_kv_override *o) noexcept nogil:
    while o != NULL and o.key[0] != 0:
        if <int>o.tag < 0 or <int>o.tag > LLAMA_KV_OVERRIDE_TYPE_STR:
            return bnf_fail(BITNET_ERROR, "kv_overrides: a tag is %d, expected 0 to 3; programs built for llama.h of 2025 pass a C++ "
                            "container here and must be rebuilt", <int>o.tag)
        o += 1
    return 0

cdef int check_pruned(const planner *p) noexcept nogil:
    cdef const int32_t *layer = p.params.prune_layers
    while layer != NULL and layer[0] != -1:
        if layer[0] < 0 or layer[0] >= p.n_layer:
            return bnf_fail(BITNET_ERROR, "prune_layers: there is no layer %d, the model has %d", layer[0], p.n_layer)
        layer += 1
    return 0

cdef int read_patterns(planner *p) noexcept nogil:
    cdef const tensor_override *o = p.params.tt_overrides
    cdef int64_t n = 0
    cdef int code = 0
    while code == 0 and o != NULL and o.pattern != NULL:
        code = check_type(<int32_t>o.type, "a type of tt_overrides")
        o += 1
        n += 1
    if code != 0 or n == 0:
        return code
    p.patterns = <bnf_regex **>bnf_alloc_array(<size_t>n, sizeof(bnf_regex *))
    if p.patterns == NULL:
        return BITNET_ERROR_MEMORY
    for p.n_patterns in range(n):
        p.patterns[p.n_patterns] = bnf_regex_new(p.params.tt_overrides[p.n_patterns].pattern)
        if p.patterns[p.n_patterns] == NULL:
            return BITNET_ERROR
    p.n_patterns = n
    return 0

cdef int check_params(planner *p) noexcept nogil:
    cdef int code = check_type(<int32_t>p.params.output_tensor_type, "output_tensor_type")
    if code == 0:
        code = check_type(<int32_t>p.params.token_embedding_type, "token_embedding_type")
    if code == 0:
        code = check_imatrix(p.params.imatrix)
    if code == 0:
        code = check_overrides(p.params.kv_overrides)
    if code == 0:
        code = check_pruned(p)
    return read_patterns(p) if code == 0 else code

# ---- the model ----

# A number of the file under "<architecture>.<end>", the first where there is one a layer; `missing` where there is none.
cdef int32_t number_of(const bnf_gguf *gguf, const char *end, int32_t missing) noexcept nogil:
    cdef char key[NAME_SIZE]
    cdef bnf_str arch
    cdef const bnf_gguf_kv *kv
    cdef int64_t value = 0
    cdef int32_t first = 0
    if bnf_gguf_str(gguf, "general.architecture", &arch) != 1 or arch.len > 100:
        return missing
    snprintf(key, NAME_SIZE, b"%.*s.%s", <int>arch.len, arch.data, end)
    kv = bnf_gguf_find(gguf, key)
    if kv == NULL:
        return missing
    if kv.type == BNF_GGUF_ARRAY and kv.count > 0 and kv.size == 4 * kv.count:
        memcpy(&first, kv.value, sizeof(first))
        return first
    if not bnf_gguf_int(kv, &value) or value < 0 or value > 1 << 20:
        return missing
    return <int32_t>value

cdef bint is_arch(const bnf_gguf *gguf, const char *name) noexcept nogil:
    cdef bnf_str arch
    return bnf_gguf_str(gguf, "general.architecture", &arch) == 1 and arch.len == strlen(name) and memcmp(arch.data, name, arch.len) == 0

cdef void look_at_model(planner *p) noexcept nogil:
    cdef int32_t n_head = number_of(p.gguf, "attention.head_count", 0)
    cdef int32_t n_head_kv = number_of(p.gguf, "attention.head_count_kv", n_head)
    cdef int64_t i
    p.n_layer = number_of(p.gguf, "block_count", 0)
    p.mix.params = p.params
    p.mix.tied = True
    p.mix.n_layer = p.n_layer
    p.mix.n_expert = number_of(p.gguf, "expert_count", 0)
    p.mix.n_gqa = n_head // n_head_kv if n_head_kv > 0 else 0
    p.mix.falcon = is_arch(p.gguf, "falcon")
    p.mix.huge = p.n_layer == 80 and n_head != n_head_kv
    for i in range(p.gguf.n_tensors):
        if new_layer(p, bnf_mix_layer(p.gguf.tensors[i].name)) != PRUNED:
            bnf_mix_count(&p.mix, p.gguf.tensors[i].name)

cdef enum:
    PRUNED = -2

# The number that a layer gets, PRUNED for one that is left out.
cdef int32_t new_layer(const planner *p, int32_t layer) noexcept nogil:
    cdef int32_t below = 0
    cdef int32_t i
    for i in range(min(layer + 1, p.n_layer) if p.params.prune_layers != NULL else 0):
        if is_pruned(p, i):
            if i == layer:
                return PRUNED
            below += 1
    return layer - below

cdef bint is_pruned(const planner *p, int32_t layer) noexcept nogil:
    cdef const int32_t *pruned = p.params.prune_layers
    while pruned[0] != -1:
        if pruned[0] == layer:
            return True
        pruned += 1
    return False

# ---- tensors in order ----

# llama.cpp's: those of no layer, then layer by layer; by name.
cdef int by_name(const void *a, const void *b) noexcept nogil:
    cdef const bnf_tensor *s = (<const bnf_planned *>a).tensor
    cdef const bnf_tensor *t = (<const bnf_planned *>b).tensor
    cdef int32_t s_layer = bnf_mix_layer(s.name)
    cdef int32_t t_layer = bnf_mix_layer(t.name)
    cdef int order
    if s_layer != t_layer:
        return -1 if s_layer < t_layer else 1
    order = memcmp(s.name.data, t.name.data, <size_t>min(s.name.len, t.name.len))
    return order if order != 0 else (s.name.len > t.name.len) - (s.name.len < t.name.len)

# As they lie in the parts.
cdef int by_place(const void *a, const void *b) noexcept nogil:
    cdef const bnf_planned *s = <const bnf_planned *>a
    cdef const bnf_planned *t = <const bnf_planned *>b
    if s.part != t.part:
        return -1 if s.part < t.part else 1
    return (s.tensor.data > t.tensor.data) - (s.tensor.data < t.tensor.data)

cdef int32_t part_of(const bnf_gguf *gguf, const bnf_tensor *t) noexcept nogil:
    cdef int32_t i
    for i in range(gguf.n_maps):
        if t.data >= gguf.maps[i].data and t.data < gguf.maps[i].data + gguf.maps[i].size:
            return i
    return 0

cdef int list_tensors(const planner *p, bnf_writing *w, bnf_planned *tensors) noexcept nogil:
    cdef const bnf_tensor *t
    cdef int32_t layer
    cdef int64_t i
    for i in range(p.gguf.n_tensors):
        t = &p.gguf.tensors[i]
        layer = new_layer(p, bnf_mix_layer(t.name))
        if layer == PRUNED:
            continue
        tensors[w.n_tensors].tensor = t
        tensors[w.n_tensors].type = t.type
        tensors[w.n_tensors].layer = -1 if layer == bnf_mix_layer(t.name) else layer
        if p.params.keep_split:
            tensors[w.n_tensors].part = part_of(p.gguf, t)
        w.n_tensors += 1
    qsort(tensors, <size_t>w.n_tensors, sizeof(bnf_planned), by_place if p.params.keep_split else by_name)
    if p.params.keep_split:
        w.n_parts = p.gguf.n_maps
        if w.n_tensors == 0 or tensors[w.n_tensors - 1].part != w.n_parts - 1:
            return bnf_fail(BITNET_ERROR, "keep_split: without the layers of prune_layers a part has no tensors")
    return 0

# ---- types ----

# A type whose blocks the rows do not fill gives way to the next larger one that they do.
cdef int32_t that_fits(const bnf_tensor *t, int32_t type) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int64_t n_rows = t.ne[1] * t.ne[2] * t.ne[3]
    cdef int32_t other = GGML_TYPE_F16
    if bnf_tensor_size(type, t.ne[0], n_rows) != 0:
        return type
    if type == GGML_TYPE_Q2_K or type == GGML_TYPE_Q3_K or type == GGML_TYPE_TQ1_0 or type == GGML_TYPE_TQ2_0:
        other = GGML_TYPE_Q4_0
    elif type == GGML_TYPE_Q4_K:
        other = GGML_TYPE_Q5_0
    elif type == GGML_TYPE_Q5_K:
        other = GGML_TYPE_Q5_1
    elif type == GGML_TYPE_Q6_K:
        other = GGML_TYPE_Q8_0
    if bnf_tensor_size(other, t.ne[0], n_rows) == 0:
        other = GGML_TYPE_F16
    bnf_log(GGML_LOG_LEVEL_WARN, "tensor '%s': %lld columns do not fill the blocks of %s; it becomes %s\n",
            bnf_show(t.name.data, t.name.len, shown), <long long>t.ne[0], bnf_type_name(type), bnf_type_name(other))
    return other

# The type that the first pattern wants which is found in the name; -1: none is.
cdef int32_t type_by_pattern(const planner *p, const bnf_planned *t) noexcept nogil:
    cdef char name[NAME_SIZE]
    cdef size_t start = 0
    cdef uint64_t skipped = 0
    cdef int64_t i
    cdef int found
    if p.n_patterns == 0 or t.tensor.name.len >= NAME_SIZE:
        return -1
    memset(name, 0, NAME_SIZE)
    memcpy(name, t.tensor.name.data, <size_t>t.tensor.name.len)
    if t.layer >= 0:
        skipped = 4
        while t.tensor.name.data[skipped] != c'.':
            skipped += 1
        snprintf(name, NAME_SIZE, b"blk.%d%.*s", t.layer, <int>(t.tensor.name.len - skipped), t.tensor.name.data + skipped)
    for i in range(p.n_patterns):
        found = bnf_regex_find(p.patterns[i], name, strlen(name), False, &start)
        if found == BNF_REGEX_NO_MEMORY:
            return -2
        if found == BNF_REGEX_YES:
            return <int32_t>p.params.tt_overrides[i].type
    return -1

# ---- importance ----

cdef const imatrix_data *entry_of(const planner *p, const bnf_tensor *t) noexcept nogil:
    cdef const imatrix_data *entry = p.params.imatrix
    while entry != NULL and entry.name != NULL:
        if strlen(entry.name) == t.name.len and memcmp(entry.name, t.name.data, <size_t>t.name.len) == 0:
            return entry
        entry += 1
    return NULL

# Of an embedding, which one row of a token reads, an importance matrix may hold something else.
cdef int find_importance(const planner *p, bnf_planned *planned) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_tensor *t = planned.tensor
    cdef const imatrix_data *entry = entry_of(p, t)
    cdef bint needed = <int>p.params.ftype == LLAMA_FTYPE_MOSTLY_Q2_K_S and planned.type == GGML_TYPE_Q2_K and not bnf_mix_is_end(t.name)
    bnf_show(t.name.data, t.name.len, shown)
    if entry != NULL and entry.size == <size_t>(t.ne[0] * t.ne[2]) and t.ne[3] == 1:
        planned.importance = entry.data
    elif entry != NULL and not bnf_mix_is_end(t.name):
        return bnf_fail(BITNET_ERROR, "imatrix: '%s' has %zu numbers, expected %lld", shown, entry.size, <long long>(t.ne[0] * t.ne[2]))
    elif p.params.imatrix != NULL and bnf_quantize_weighs(planned.type):
        bnf_log(GGML_LOG_LEVEL_INFO, "imatrix: nothing for tensor '%s'\n", shown)
    if needed and planned.importance == NULL and not p.params.dry_run:
        return bnf_fail(BITNET_ERROR, "tensor '%s' becomes %s, and a file of this type is of no use without an importance matrix (imatrix) "
                        "that has it; Q2_K is", shown, bnf_type_name(planned.type))
    if needed and planned.importance == NULL:
        bnf_log(GGML_LOG_LEVEL_WARN, "tensor '%s': an importance matrix will be wanted\n", shown)
    return 0

# ---- the whole ----

cdef int plan_tensor(planner *p, bnf_planned *planned) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_tensor *t = planned.tensor
    cdef int32_t type
    if not bnf_mix_converts(&p.mix, t):
        return 0
    type = type_by_pattern(p, planned)
    if type == -2:
        return BITNET_ERROR_MEMORY
    if type < 0:
        type = bnf_mix_choose(&p.mix, t)
    type = that_fits(t, type)
    if type == t.type:
        return 0
    bnf_show(t.name.data, t.name.len, shown)
    if bnf_type_traits(t.type) == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' is of type %s, which cannot be read", shown, bnf_type_name(t.type))
    if not is_float(t.type) and not is_ternary(t.type) and not p.params.allow_requantize:
        return bnf_fail(BITNET_ERROR, "tensor '%s' is %s already; allow_requantize says that losing more is wanted", shown,
                        bnf_type_name(t.type))
    planned.type = type
    return find_importance(p, planned)

cdef int plan_all(planner *p, bnf_writing *w, bnf_planned *tensors) noexcept nogil:
    cdef int64_t i
    cdef int code = check_params(p)
    if code == 0:
        code = list_tensors(p, w, tensors)
    if p.params.prune_layers != NULL:
        w.n_layers = p.n_layer
        for i in range(p.n_layer):
            w.n_layers -= is_pruned(p, <int32_t>i)
    w.file_type = -1
    if code != 0 or p.params.only_copy:
        return code
    p.mix.type = bnf_mix_type(<int>p.params.ftype)
    if p.mix.type < 0:
        return BITNET_ERROR
    w.file_type = FILE_TYPE_I2_S if <int>p.params.ftype == BITNET_FTYPE_MOSTLY_I2_S else <int>p.params.ftype
    for i in range(w.n_tensors):
        if code == 0:
            code = plan_tensor(p, &tensors[i])
    return code

cdef public int bnf_quantize_plan(const bnf_gguf *gguf, const llama_model_quantize_params *params, bnf_writing *writing,
                                  bnf_planned **tensors) noexcept nogil:
    cdef planner p
    cdef int64_t i
    cdef int code
    memset(writing, 0, sizeof(bnf_writing))
    writing.gguf = gguf
    writing.n_layers = -1
    writing.overrides = params.kv_overrides
    writing.n_threads = params.nthread
    tensors[0] = <bnf_planned *>bnf_alloc_array(<size_t>gguf.n_tensors, sizeof(bnf_planned))
    if tensors[0] == NULL:
        return BITNET_ERROR_MEMORY
    writing.tensors = tensors[0]
    memset(&p, 0, sizeof(p))
    p.gguf = gguf
    p.params = params
    look_at_model(&p)
    code = plan_all(&p, writing, tensors[0])
    for i in range(p.n_patterns):
        bnf_regex_free(p.patterns[i])
    bnf_release(p.patterns)
    return code
