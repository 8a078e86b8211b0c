# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# DNA inside of a text: from <dna> to </dna>, or to the end, every six letters are one token; small letters count as capitals, a
# last strand that is shorter is filled up with A, and what is no strand of the vocabulary is <oov>. llama.cpp's rules.
# Next: vocab.pyx says how strands are told from words; tokenize.pyx cuts them out.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from bitnet_ffi._core.bnf_trie cimport bnf_trie_longest
from bitnet_ffi._core.bnf_vocab cimport bnf_ids, bnf_ids_add, bnf_key_find_bytes, bnf_vocab_t, BNF_NO_TOKEN

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)

cdef enum:
    OPEN = 5    # bytes of <dna>
    CLOSE = 6   # of </dna>
    STRAND = 6


cdef inline uint32_t tag(const bnf_vocab_t *v, const char *text, size_t length) noexcept nogil:
    return bnf_key_find_bytes(v, <const uint8_t *>text, length, <const uint8_t *>text + length)


cdef public size_t bnf_dna_find(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, size_t *end) noexcept nogil:
    cdef const uint8_t *open
    cdef const uint8_t *close
    cdef size_t begin
    end[0] = length
    if tag(vocab, "<dna>", OPEN) == BNF_NO_TOKEN or tag(vocab, "</dna>", CLOSE) == BNF_NO_TOKEN or tag(vocab, "<oov>", 5) == BNF_NO_TOKEN:
        return length
    open = <const uint8_t *>memmem(text, length, "<dna>", OPEN)
    if open == NULL:
        return length
    begin = <size_t>(open - text)
    close = <const uint8_t *>memmem(open + OPEN, length - begin - OPEN, "</dna>", CLOSE)
    if close != NULL:
        end[0] = <size_t>(close - text) + CLOSE
    return begin


cdef public void bnf_tokenize_dna(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids) noexcept nogil:
    cdef uint8_t[STRAND] strand
    cdef const uint8_t *close = <const uint8_t *>memmem(text + OPEN, length - OPEN, "</dna>", CLOSE)
    cdef size_t at = OPEN, end = length if close == NULL else <size_t>(close - text), i, n, found
    cdef uint32_t token
    cdef uint8_t c
    bnf_ids_add(ids, tag(vocab, "<dna>", OPEN), text, OPEN)
    while at < end:
        n = STRAND if end - at > STRAND else end - at
        for i in range(<size_t>STRAND):
            c = text[at + i] if i < n else c'A'
            strand[i] = c - 32 if c >= c'a' and c <= c'z' else c
        found = 0
        token = bnf_trie_longest(&vocab.match.tokens, strand, strand + STRAND, &found)   # every strand of the trie has six
        bnf_ids_add(ids, tag(vocab, "<oov>", 5) if token == BNF_NO_TOKEN else token, text + at, n)
        at += n
    if close != NULL:
        bnf_ids_add(ids, tag(vocab, "</dna>", CLOSE), close, CLOSE)
