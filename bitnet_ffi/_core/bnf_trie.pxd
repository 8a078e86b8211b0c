# The view of csrc/bnf_trie.h and csrc/bnf_unicode_fold.h for the families that look up, and their hidden functions. All extern.

from libc.stdint cimport uint8_t, uint32_t
from bitnet_ffi._core.bnf_public cimport bool
from bitnet_ffi._core.bnf_types cimport bnf_gguf
from bitnet_ffi._core.bnf_vocab cimport bnf_ids, bnf_match_t, bnf_merge_scratch, bnf_strings, bnf_trie_t, bnf_vocab_t

cdef extern from "bnf_trie.h" nogil:
    uint32_t bnf_trie_child(const bnf_trie_t *trie, uint32_t node, uint8_t byte)
    uint32_t bnf_trie_longest(const bnf_trie_t *trie, const uint8_t *text, const uint8_t *end, size_t *length)

cdef extern from "bnf_unicode_fold.h" nogil:
    enum:
        BNF_IN_M, BNF_IN_SYMBOL, BNF_IN_CONTROL
    uint32_t bnf_base_char(uint32_t c)
    uint32_t bnf_lower_char(uint32_t c)
    bool bnf_is_ideograph(uint32_t c)

cdef extern from "bnf_calls.h" nogil:
    int bnf_trie_build(const bnf_vocab_t *vocab, const bnf_strings *texts, const uint8_t *wanted, bool last, bnf_trie_t *trie)
    void bnf_trie_free(bnf_trie_t *trie)
    int bnf_vocab_match(const bnf_gguf *gguf, bnf_vocab_t *vocab)
    int bnf_vocab_match_pieces(bnf_vocab_t *vocab)
    void bnf_match_free(bnf_match_t *match)
    int bnf_tokenize_wordpiece(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids)
    int bnf_tokenize_unigram(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids)
    int bnf_tokenize_raw(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids)
    void bnf_tokenize_rwkv(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids)
    int bnf_tokenize_plamo(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids)
    size_t bnf_dna_find(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, size_t *end)
    void bnf_tokenize_dna(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids)
