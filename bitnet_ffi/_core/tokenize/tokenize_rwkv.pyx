# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# RWKV: the longest token that the rest of the text begins with, again and again. Bytes are tokens in every vocabulary of that
# kind; where one is not (llama.cpp does not come back then), the byte is the unknown token, or left out when there is none.
# Next: csrc/bnf_trie.h.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from bitnet_ffi._core.bnf_trie cimport bnf_trie_longest
from bitnet_ffi._core.bnf_vocab cimport bnf_ids, bnf_ids_add, bnf_vocab_t, BNF_NO_TOKEN, BNF_UNK


cdef public void bnf_tokenize_rwkv(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids) noexcept nogil:
    cdef const uint8_t *end = text + length
    cdef size_t n = 0
    cdef uint32_t token
    ids.base = text
    while text < end:
        token = bnf_trie_longest(&vocab.match.tokens, text, end, &n)
        if token == BNF_NO_TOKEN:
            n = 1
            token = <uint32_t>vocab.special[<int>BNF_UNK]   # -1 is BNF_NO_TOKEN
        if token != BNF_NO_TOKEN:
            bnf_ids_add(ids, token, text, n)
        text += n
