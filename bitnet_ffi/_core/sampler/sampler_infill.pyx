# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Infill: for completing text between a prefix and a suffix. Ends where the model is not sure of going on, and lends a token the
# probability of those that continue it, so that a word cut in pieces counts whole. Put top-k and top-p before it: candidates are
# compared in pairs. Source: llama.cpp (llama.h's description and src/llama-sampler.cpp).

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcmp
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_sampler, llama_token, llama_token_data, llama_token_data_array, BITNET_ERROR, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_softmax, bnf_candidates_sort, bnf_infill_i, bnf_sampler_infill, bnf_sampler_new, INFINITY)
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_sampler.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    bool llama_vocab_is_eog(const llama_model *vocab, llama_token token)
    llama_token llama_vocab_eot(const llama_model *vocab)
    llama_token llama_vocab_eos(const llama_model *vocab)
    int32_t llama_token_to_piece(const llama_model *vocab, llama_token token, char *buf, int32_t length, int32_t lstrip, bool special)

cdef enum:
    PIECE_SIZE = 512      # a longer piece is the prefix of none


# Keep the candidates of at least p, and those that end the text; norm the probabilities. Returns how many of them go on.
cdef size_t keep_likely(const llama_model *vocab, llama_token_data_array *cur, float p) noexcept nogil:
    cdef size_t i, n = 0, n_text = 0
    cdef float total = 0
    cdef bint ends
    for i in range(cur.size):
        ends = llama_vocab_is_eog(vocab, cur.data[i].id)
        if cur.data[i].p >= p or ends:
            n_text += not ends
            total += cur.data[i].p
            cur.data[n] = cur.data[i]
            n += 1
    cur.size = n
    for i in range(n):
        cur.data[i].p /= total
    return n_text


# Merge b into a or a into b, whichever is likelier.
cdef void merge(llama_token_data *a, llama_token_data *b) noexcept nogil:
    cdef llama_token_data *winner = b if b.p > a.p else a
    cdef llama_token_data *loser = a if b.p > a.p else b
    winner.p += loser.p
    loser.logit = -INFINITY
    loser.p = 0


# Candidates whose text begins with another's become one with it. Impossible ones (p = 0) cannot change a sum.
cdef void merge_prefixes(const llama_model *vocab, llama_token_data_array *cur) noexcept nogil:
    cdef char prefix[PIECE_SIZE]
    cdef char piece[PIECE_SIZE]
    cdef int32_t prefix_len, len
    cdef size_t i, j
    for i in range(cur.size):
        if not cur.data[i].p > 0:
            continue
        prefix_len = llama_token_to_piece(vocab, cur.data[i].id, prefix, PIECE_SIZE, 0, False)
        if prefix_len <= 0:
            continue
        for j in range(cur.size):
            if cur.data[i].logit == -INFINITY:
                break
            if j == i or not cur.data[j].p > 0:
                continue
            len = llama_token_to_piece(vocab, cur.data[j].id, piece, PIECE_SIZE, 0, False)
            if len >= prefix_len and memcmp(prefix, piece, <size_t>prefix_len) == 0:
                merge(&cur.data[i], &cur.data[j])


cdef public void bnf_infill_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const llama_model *vocab = (<bnf_sampler_infill *>smpl.ctx).vocab
    cdef float p_text = 0, p_end = 0
    cdef size_t i, n_text
    cdef llama_token end
    if cur.size == 0:
        return
    if not cur.sorted:
        bnf_candidates_sort(cur.data, cur.size, cur.size)
        cur.sorted = True
    bnf_candidates_softmax(cur.data, cur.size)
    for i in range(cur.size):
        if llama_vocab_is_eog(vocab, cur.data[i].id):
            p_end += cur.data[i].p
        else:
            p_text += cur.data[i].p
    if 3 * p_end * <float>cur.size > p_text:      # an end is likelier than a third of the average continuation: only ends stay
        keep_likely(vocab, cur, INFINITY)
        return
    merge_prefixes(vocab, cur)
    n_text = keep_likely(vocab, cur, <float>0.2)
    if n_text == 0:      # nothing is likely enough: the end it is
        end = llama_vocab_eot(vocab)
        if end == LLAMA_TOKEN_NULL:
            end = llama_vocab_eos(vocab)
        if end != LLAMA_TOKEN_NULL:
            cur.size = 1
            cur.data[0].id = end
            cur.data[0].logit = 1
        return
    keep_likely(vocab, cur, <float>1.0 / <float>(n_text + 1))


cdef public llama_sampler *bnf_infill_clone(const llama_sampler *smpl) noexcept nogil:
    return llama_sampler_init_infill((<const bnf_sampler_infill *>smpl.ctx).vocab)


# The vocabulary is borrowed: it must outlive the sampler and its clones.
cdef public llama_sampler *llama_sampler_init_infill(const llama_model *vocab) noexcept nogil:
    cdef llama_sampler *smpl
    if vocab == NULL:
        bnf_fail(BITNET_ERROR, "llama_sampler_init_infill: vocab is NULL")
        return NULL
    smpl = bnf_sampler_new(&bnf_infill_i, "infill", sizeof(bnf_sampler_infill))
    if smpl != NULL:
        (<bnf_sampler_infill *>smpl.ctx).vocab = vocab
    return smpl
