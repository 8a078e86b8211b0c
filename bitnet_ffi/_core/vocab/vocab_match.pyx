# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Loading what the families look up that do not merge: rules of the file and tries of its texts. For WordPiece, Unigram and
# PLaMo-2 it runs before vocab_roles.pyx changes attributes, because llama.cpp's own tables are of that time; RWKV and DNA
# want pieces, which come later.
# Next: tokenize_wordpiece.pyx, _unigram, _plamo, _rwkv and _dna use it; bnf_trie.h has the struct.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint16_t, uint32_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_bool
from bitnet_ffi._core.bnf_public cimport (
    BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_NORMAL, LLAMA_TOKEN_ATTR_UNUSED,
    LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_VOCAB_TYPE_PLAMO2, LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_UGM, LLAMA_VOCAB_TYPE_WPM)
from bitnet_ffi._core.bnf_trie cimport bnf_trie_build, bnf_trie_free
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, BNF_GGUF_I8, BNF_GGUF_U8
from bitnet_ffi._core.bnf_vocab cimport bnf_match_t, bnf_strings_get, bnf_trie_t, bnf_utf8_is_clean, bnf_vocab_array, bnf_vocab_t

cdef enum:
    MOST_CHARSMAP = 1 << 28       # bytes; T5's has 300 kB
    MOST_REPLACEMENT = 1 << 10    # bytes of one string, so that no short text becomes a huge one; Unicode's longest has 33
    LEAST_LIKELY = 20000000      # cost of a token that is never taken
    MOST_LIKELY = 0x7FFFFFFF     # beyond it llama.cpp's 32 bits overflow

cdef extern from *:
    """
    #include <float.h>
    """
    const float FLT_MAX

cdef extern from "<math.h>" nogil:
    double round(double x)


# BOS and SEP stand around a text whatever add_bos says, as in llama.cpp (tokenize.pyx).
cdef int load_wordpiece(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef int found
    v.add_bos = True
    v.add_sep = True
    v.clean_spaces = True
    v.match.lowercase = True
    found = bnf_gguf_bool(gguf, "tokenizer.ggml.normalizer.lowercase", &v.match.lowercase)
    v.match.strip_accents = v.match.lowercase
    if found >= 0:
        found = bnf_gguf_bool(gguf, "tokenizer.ggml.normalizer.strip_accents", &v.match.strip_accents)
    return found if found < 0 else bnf_trie_build(v, &v.text, NULL, False, &v.match.tokens)


# A length, as many bytes of the double array, and strings up to the end (tokenize_unigram.pyx says how they are read).
cdef int load_charsmap(const bnf_gguf *gguf, bnf_match_t *m) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef uint32_t size = 0, i, begin = 0
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.precompiled_charsmap", BNF_GGUF_U8, BNF_GGUF_I8, 0, &kv)
    if found <= 0:
        return found
    if kv.count >= 4:
        memcpy(&size, kv.value, 4)
    if kv.count < 6 or kv.count > MOST_CHARSMAP or size > kv.count - 5:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.precompiled_charsmap: %llu bytes, an array of %u and no room for texts",
                        <unsigned long long>kv.count, size)
    m.n_units = size >> 2
    m.replacements_size = <uint32_t>kv.count - 4 - size
    m.units = <uint32_t *>bnf_alloc_array(m.n_units, sizeof(uint32_t))
    m.replacements = <uint8_t *>bnf_alloc(m.replacements_size)
    if m.units == NULL or m.replacements == NULL:
        return BITNET_ERROR_MEMORY
    memcpy(m.units, kv.value + 4, <size_t>m.n_units * sizeof(uint32_t))
    memcpy(m.replacements, kv.value + 4 + size, m.replacements_size)
    for i in range(m.replacements_size):
        if m.replacements[i] == 0:
            begin = i + 1
        elif i - begin >= MOST_REPLACEMENT:
            return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.precompiled_charsmap: a replacement of more than %d bytes",
                            <int>MOST_REPLACEMENT)
    if begin != m.replacements_size:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.precompiled_charsmap: the last replacement does not end")
    return 0


# The trie of the tokens that have one of these attributes.
cdef int build_some(const bnf_vocab_t *v, uint16_t attrs, bnf_trie_t *trie) noexcept nogil:
    cdef uint8_t *wanted = <uint8_t *>bnf_alloc(<size_t>v.n_tokens)
    cdef int32_t i
    cdef int status = BITNET_ERROR_MEMORY
    if wanted != NULL:
        for i in range(v.n_tokens):
            wanted[i] = v.attr[i] & attrs != 0
        status = bnf_trie_build(v, &v.text, wanted, False, trie)
    bnf_release(wanted)
    return status


cdef int load_unigram(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef float lowest = FLT_MAX
    cdef int32_t i
    cdef int status
    v.add_eos = True
    for i in range(v.n_tokens):
        if v.attr[i] & LLAMA_TOKEN_ATTR_NORMAL and v.score[i] < lowest:
            lowest = v.score[i]
    v.match.unknown_score = lowest - <float>10.0
    status = bnf_gguf_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", &v.match.merge_spaces)
    if status >= 0:
        status = load_charsmap(gguf, &v.match)
    if status >= 0:
        status = build_some(v, LLAMA_TOKEN_ATTR_USER_DEFINED, &v.match.user)
    if status >= 0:
        status = build_some(v, LLAMA_TOKEN_ATTR_NORMAL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNUSED, &v.match.tokens)
    return status


# Every token but those of bytes is looked up, control tokens too. llama.cpp rounds scores to 1/10000 and leaves out those of
# -2000 and less; texts that are no UTF-8 it never finds.
cdef int load_plamo(bnf_vocab_t *v) noexcept nogil:
    cdef uint8_t *wanted = <uint8_t *>bnf_alloc(<size_t>v.n_tokens)
    cdef const uint8_t *text
    cdef uint32_t length = 0
    cdef double cost
    cdef int32_t i
    cdef int status = BITNET_ERROR_MEMORY
    v.match.cost = <int32_t *>bnf_alloc_array(<size_t>v.n_tokens, sizeof(int32_t))
    if wanted != NULL and v.match.cost != NULL:
        for i in range(v.n_tokens):
            text = bnf_strings_get(&v.text, <uint32_t>i, &length)
            cost = -round(v.score[i] * 1e4)
            if not v.attr[i] & LLAMA_TOKEN_ATTR_BYTE and cost < LEAST_LIKELY and cost > -MOST_LIKELY and bnf_utf8_is_clean(text, length):
                wanted[i] = 1
                v.match.cost[i] = <int32_t>cost
        status = bnf_trie_build(v, &v.text, wanted, False, &v.match.tokens)
    bnf_release(wanted)
    return status


cdef public int bnf_vocab_match(const bnf_gguf *gguf, bnf_vocab_t *vocab) noexcept nogil:
    if vocab.type == LLAMA_VOCAB_TYPE_WPM:
        return load_wordpiece(gguf, vocab)
    if vocab.type == LLAMA_VOCAB_TYPE_UGM:
        return load_unigram(gguf, vocab)
    return load_plamo(vocab) if vocab.type == LLAMA_VOCAB_TYPE_PLAMO2 else 0


cdef public int bnf_vocab_match_pieces(bnf_vocab_t *vocab) noexcept nogil:
    if vocab.type == LLAMA_VOCAB_TYPE_RWKV:
        return bnf_trie_build(vocab, &vocab.piece, NULL, True, &vocab.match.tokens)
    return bnf_trie_build(vocab, &vocab.text, vocab.match.strand, False, &vocab.match.tokens) if vocab.dna else 0


cdef public void bnf_match_free(bnf_match_t *match) noexcept nogil:
    bnf_trie_free(&match.tokens)
    bnf_trie_free(&match.user)
    bnf_release(match.units)
    bnf_release(match.replacements)
    bnf_release(match.cost)
    bnf_release(match.strand)
