# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Seeds: characters of several bytes that BPE may take as one token from the beginning of a word, instead of merging their
# bytes. The tokens are the same. Let `worst` be the highest rank of the merges inside the character, done for itself.
#   1. Every merge across its two borders in which it, or the character beside it, is not whole has a higher rank than `worst`
#      (bnf_crossing). So merging bytes makes it whole before anything crosses its borders: until it is whole, a merge inside
#      it comes first.
#   2. Every merge of the whole character with something else has a higher rank than `worst` too (seed_least). So having it
#      whole from the beginning changes no order: as long as it would not be whole yet, these merges come later anyway.
# All comparisons are strict, so it does not matter that equal ranks go from left to right. Merges behind a space have low
# ranks; a character there is never a seed, and 2 leaves them out. The text is clean UTF-8, so what stands behind a character
# begins with no byte from the inside of one, and such merges do not count.
# Next: merge.pyx begins with seeds, vocab_merges.pyx notes the ranks, bnf_seed in csrc/bnf_vocab.h decides.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_vocab cimport bnf_merge_find, bnf_seed_place, bnf_utf8_char, bnf_vocab_t, BNF_NO_TOKEN


cdef public uint64_t bnf_seed_find(const bnf_vocab_t *v, const uint8_t *bytes, size_t length) noexcept nogil:
    cdef uint32_t[4] part
    cdef uint32_t n = <uint32_t>length, i, best, rank, best_rank, worst = 0, token = 0, best_token = 0, least
    cdef const uint8_t *next
    for i in range(n):
        part[i] = v.byte_token[bytes[i]]
    while n > 1:
        best = 0
        best_rank = BNF_NO_TOKEN
        for i in range(n - 1):
            rank = bnf_merge_find(v, part[i], part[i + 1], &token)
            if rank < best_rank:
                best = i
                best_rank = rank
                best_token = token
        if best_rank == BNF_NO_TOKEN:
            return <uint64_t>BNF_NO_TOKEN << 32
        worst = best_rank if best_rank > worst else worst
        part[best] = best_token
        n -= 1
        for i in range(best + 1, n):
            part[i] = part[i + 1]
    least = v.seed_least[bnf_seed_place(bnf_utf8_char(bytes, &next))] - 1   # no merge: BNF_NO_TOKEN
    return <uint64_t>(worst if worst < least else BNF_NO_TOKEN) << 32 | part[0]
