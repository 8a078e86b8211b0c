# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# A model's life: loaded from a file, shared by contexts, freed with its last holder.
# Weights stay where the file's mapping has them. On any failure everything is released and one sentence is left.
# Next: load_hparams.pyx, load_tensors.pyx and load_check.pyx do the steps; csrc/bnf_load.h says what they share.

from libc.stdint cimport uint8_t, int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_fail_within, bnf_log, bnf_map_own, bnf_model_repair, bnf_path_tail, bnf_release, bnf_resize,
    bnf_time_us)
from bitnet_ffi._core.bnf_calls cimport (
    bnf_adapters_free, bnf_gguf_close, bnf_gguf_next_str, bnf_gguf_open, bnf_source_name, bnf_token_order_free, bnf_vocab_free,
    bnf_vocab_load, bnf_vocab_n_tokens)
from bitnet_ffi._core.bnf_context cimport BNF_LAYER_LINEARS
from bitnet_ffi._core.bnf_load cimport (
    bnf_load_arch, bnf_load_check, bnf_load_head, bnf_load_hparams, bnf_load_pack, bnf_load_tensors, bnf_loader, bnf_matrix_numbered,
    bnf_ref_drop, bnf_ref_take)
from bitnet_ffi._core.bnf_ops cimport bnf_f12_size, bnf_matrix, bnf_ops, bnf_tensor_size, BNF_TYPE_F12_R4
from bitnet_ffi._core.bnf_public cimport (
    llama_model_params, BITNET_ERROR_LOAD, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, GGML_LOG_LEVEL_INFO, GGML_LOG_LEVEL_WARN,
    LLAMA_LOAD_MODE_DIRECT_IO, LLAMA_LOAD_MODE_MLOCK, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK, LLAMA_LOAD_MODE_NONE)
from bitnet_ffi._core.bnf_types cimport bnf_gguf_kv, bnf_source, bnf_str, bnf_template, llama_model, BNF_GGUF_STRING

cdef extern from "<sys/mman.h>" nogil:
    int mlock(const void *address, size_t size)

# ---- what the steps share ----

cdef public int bnf_load_own(bnf_loader *loader, void *memory) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef size_t old_size = <size_t>model.n_owned * sizeof(void *)
    cdef void **owned
    if memory == NULL:
        return BITNET_ERROR_MEMORY
    # Grown at 0, 1, 2, 4, 8, ...: whenever the count is a power of two, it is the capacity.
    if (model.n_owned & (model.n_owned - 1)) == 0:
        owned = <void **>bnf_resize(model.owned, old_size, sizeof(void *) if model.n_owned == 0 else 2 * old_size)
        if owned == NULL:
            bnf_release(memory)
            return BITNET_ERROR_MEMORY
        model.owned = owned
    model.owned[model.n_owned] = memory
    model.n_owned += 1
    return 0

cdef public int bnf_load_step(bnf_loader *loader) noexcept nogil:
    cdef float progress
    loader.n_done += 1
    if loader.params.progress_callback == NULL:
        return 0
    progress = <float>(<double>loader.n_done / <double>loader.n_steps)
    if loader.params.progress_callback(progress, loader.params.progress_callback_user_data):
        return 0
    return bnf_fail(BITNET_ERROR_LOAD, "loading was cancelled by the progress callback")

# ---- chat templates: C strings that live as long as the model ----

cdef int copy_template(bnf_loader *loader, const char *name, uint64_t name_len, bnf_str text) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef char *copy
    cdef int code
    # name, NUL, text, NUL: bnf_alloc gives zeros.
    copy = <char *>bnf_alloc(<size_t>(name_len + text.len + 2))
    code = bnf_load_own(loader, copy)
    if code != 0:
        return code
    memcpy(copy, name, <size_t>name_len)
    memcpy(copy + name_len + 1, text.data, <size_t>text.len)
    model.templates[model.n_templates].name = copy
    model.templates[model.n_templates].text = copy + name_len + 1
    model.n_templates += 1
    return 0

cdef bint is_template(const bnf_gguf_kv *kv) noexcept nogil:
    if kv.type != BNF_GGUF_STRING or kv.key.len < 23 or memcmp(kv.key.data, <const char *>"tokenizer.chat_template", 23) != 0:
        return False
    return kv.key.len == 23 or kv.key.data[23] == c'.'

cdef int copy_templates(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef const bnf_gguf_kv *kv
    cdef const uint8_t *at
    cdef uint64_t skip
    cdef int64_t i
    cdef int64_t n = 0
    cdef int code
    for i in range(model.gguf.n_kv):
        n += is_template(&model.gguf.kv[i])
    model.templates = <bnf_template *>bnf_alloc_array(<size_t>n, sizeof(bnf_template))
    code = bnf_load_own(loader, model.templates)
    for i in range(model.gguf.n_kv):
        kv = &model.gguf.kv[i]
        if code != 0:
            break
        if is_template(kv):
            at = kv.value
            skip = 23 if kv.key.len == 23 else 24
            code = copy_template(loader, kv.key.data + skip, kv.key.len - skip, bnf_gguf_next_str(&at))
    return code

# ---- loading ----

# The modes that read the file: before anything points into it, so that a file which changes meanwhile is read once. (A vocabulary
# alone would read weights that nobody wants: it stays mapped.)
cdef int read_files(const bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef int code = 0
    cdef int32_t i
    if loader.params.vocab_only or (mode != LLAMA_LOAD_MODE_NONE and mode != LLAMA_LOAD_MODE_MLOCK and mode != LLAMA_LOAD_MODE_DIRECT_IO):
        return 0
    for i in range(loader.model.gguf.n_maps):
        if code == 0:
            code = bnf_map_own(&loader.model.gguf.maps[i])
    return code

cdef void lock_memory(const bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef int32_t i
    if mode != LLAMA_LOAD_MODE_MLOCK and mode != LLAMA_LOAD_MODE_MMAP_MLOCK:
        return
    for i in range(loader.model.gguf.n_maps):
        if mlock(loader.model.gguf.maps[i].data, loader.model.gguf.maps[i].size) != 0:
            bnf_log(GGML_LOG_LEVEL_WARN, "the model could not be locked in memory (see 'ulimit -l'); it may be paged out\n")
            return

# A vocabulary file needs no more than its tokens; it may be of any architecture.
cdef int load_vocabulary(bnf_loader *loader) noexcept nogil:
    cdef int code = bnf_vocab_load(loader.model.gguf, &loader.model.vocab)
    if code == 0:
        loader.model.hp.n_vocab = bnf_vocab_n_tokens(loader.model.vocab)
    return code

# The rows of the embedding are what the model can take and give, whatever the tokenizer says. A file without a tokenizer
# has no tokens at all.
cdef int compare_vocabularies(const bnf_loader *loader) noexcept nogil:
    cdef int32_t n_tokens = bnf_vocab_n_tokens(loader.model.vocab)
    if n_tokens != 0 and n_tokens != loader.model.hp.n_vocab:
        return bnf_model_repair("the tokenizer has %d tokens but the embedding %d rows; the model's vocabulary is %d", n_tokens,
                                loader.model.hp.n_vocab, loader.model.hp.n_vocab)
    return 0

cdef int load_weights(bnf_loader *loader) noexcept nogil:
    cdef llama_model *model = loader.model
    cdef int code
    if model.gguf.n_tensors == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "the file has no tensors, only a vocabulary; load it with vocab_only")
    loader.used = <uint8_t *>bnf_alloc(<size_t>model.gguf.n_tensors)
    if loader.used == NULL:
        return BITNET_ERROR_MEMORY
    loader.n_steps = model.hp.n_layer + 1 + (model.gguf.n_tensors if loader.params.check_tensors else 0)
    code = bnf_load_check(loader) if loader.params.check_tensors else 0
    if code == 0:
        code = bnf_load_tensors(loader)
    if code == 0:
        code = bnf_load_pack(loader)
    if code == 0:
        code = bnf_load_head(loader)
    if code == 0:
        code = compare_vocabularies(loader)
    if code == 0:
        lock_memory(loader)
        code = bnf_load_step(loader)
    return code

cdef int load_all(bnf_loader *loader) noexcept nogil:
    cdef bint vocab_only = loader.params.vocab_only
    cdef int code = bnf_load_arch(loader)
    if code == 0 and not vocab_only:
        code = bnf_load_hparams(loader)
    if code == 0:
        code = load_vocabulary(loader)
    if code == 0 and not vocab_only:
        code = load_weights(loader)
    if code == 0:
        code = copy_templates(loader)
    return code

cdef int load_model(const bnf_source *source, const llama_model_params *params, llama_model *model) noexcept nogil:
    cdef llama_model_params own = params[0]
    cdef bnf_loader loader
    cdef int code
    memset(&loader, 0, sizeof(loader))
    if own.no_alloc:      # no copy of any kind; weights that nobody touches are not even read
        own.load_mode = LLAMA_LOAD_MODE_MMAP
    loader.model = model
    loader.params = &own
    model.vocab_only = params.vocab_only
    model.ops = bnf_ops()
    if model.ops == NULL:
        return BITNET_ERROR_LOAD # bnf_ops left the sentence
    code = bnf_gguf_open(source, params.kv_overrides, &model.gguf)
    if code != 0:
        return code
    code = read_files(&loader)
    if code == 0:
        code = load_all(&loader)
    bnf_release(loader.used)
    model.gguf.overrides = NULL # borrowed until here
    if code != 0:
        bnf_fail_within(bnf_path_tail(bnf_source_name(source)))
    return code

# ---- what was made of the weights ----

# Bytes that a product with all rows reads.
cdef uint64_t bytes_of(const llama_model *model, const bnf_matrix *w) noexcept nogil:
    if w.layout == w.type:
        return bnf_tensor_size(w.type, w.k, w.m)
    return bnf_f12_size(w) if w.layout == BNF_TYPE_F12_R4 else model.ops.packed_size(w)

# One line that says what a token reads, in the layouts that are in use. benchmarks/reads.py parses it: change both.
cdef void log_reads(llama_model *model) noexcept nogil:
    cdef const bnf_matrix *w
    cdef uint64_t size = 0, n = 0, head = bytes_of(model, &model.output)
    cdef uint64_t screen = <uint64_t>model.screen.m * (<uint64_t>model.screen.k + 3 * sizeof(float))
    cdef int64_t i
    for i in range(<int64_t>model.hp.n_layer * BNF_LAYER_LINEARS):
        w = bnf_matrix_numbered(model, i)
        size += bytes_of(model, w)
        n += <uint64_t>(w.k * w.m)
    bnf_log(GGML_LOG_LEVEL_INFO, "a token reads %llu bytes of %llu layer weights, %llu of the head to choose one, %llu for all logits; "
            "a position keeps %lld keys and values\n", <unsigned long long>size, <unsigned long long>n,
            <unsigned long long>(screen if model.screen.q != NULL else head),
            <unsigned long long>head,
            <long long>model.hp.n_layer * model.hp.n_head_kv * (model.hp.dk + model.hp.dv))

# ---- a model's life ----

cdef public int bnf_model_load(const bnf_source *source, const llama_model_params *params, llama_model **out) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef llama_model *model = <llama_model *>bnf_alloc(sizeof(llama_model))
    cdef int code
    out[0] = NULL
    if model == NULL:
        return BITNET_ERROR_MEMORY
    model.refs = 1
    code = load_model(source, params, model)
    if code != 0:
        bnf_model_release(model)
        return code
    model.load_us = bnf_time_us() - start
    bnf_log(GGML_LOG_LEVEL_INFO, "%s: %lld tensors, %.1f MB, kernels %s, loaded in %.1f ms\n", bnf_path_tail(bnf_source_name(source)),
            <long long>model.gguf.n_tensors, <double>model.n_bytes * 1e-6, model.ops.name, <double>model.load_us * 1e-3)
    if not model.vocab_only:
        log_reads(model)
    out[0] = model
    return 0

cdef public void bnf_model_retain(llama_model *model) noexcept nogil:
    bnf_ref_take(&model.refs)

cdef public void bnf_model_release(llama_model *model) noexcept nogil:
    cdef int64_t i
    if model == NULL or bnf_ref_drop(&model.refs) > 0:
        return
    bnf_adapters_free(model)
    bnf_token_order_free(model.token_order)
    bnf_release(model.tensors)
    bnf_vocab_free(model.vocab)
    for i in range(model.n_owned):
        bnf_release(model.owned[i])
    bnf_release(model.owned)
    bnf_gguf_close(model.gguf)
    bnf_release(model)
