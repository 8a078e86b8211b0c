# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Merging: from the bytes of one word to its tokens, for byte-level BPE (lowest rank first) and for SentencePiece BPE
# (highest score first); equal ones from left to right. Short words scan an array, long ones use a heap: n log n for a
# megabyte of one letter. Knows nothing of special tokens or of where words end.
# Next: csrc/bnf_split.c cuts the words, tokenize.pyx calls both, bnf_vocab.h has the tables.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY, LLAMA_VOCAB_TYPE_SPM
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_ids, bnf_ids_add, bnf_ids_add_word, bnf_key, bnf_key_find, bnf_key_find_bytes, bnf_key_of, bnf_merge_bytes, bnf_merge_find,
    bnf_merge_pieces, bnf_merge_scratch, bnf_same_bits, bnf_seed, bnf_symbol, bnf_utf8_len, bnf_vocab_t, bnf_whole_get, bnf_whole_set,
    bnf_word, bnf_word_of, BNF_NO_TOKEN, BNF_SHORT_WORD, BNF_UNK, BNF_WHOLE_NO, BNF_WHOLE_UNKNOWN, BNF_WHOLE_YES, BNF_WORD_IDS)

cdef enum:
    SHORT = 32    # symbols; up to here scanning for the best pair is faster than a heap
    LEAST_WORDS = 64    # remembered: 4 KiB
    MOST_WORDS = 32768  # 2 MiB; with a quarter of it mixed alphabets go 9 % slower, English 4 %
    PHRASE = 9          # bytes; longer words of a script without spaces hardly ever come again
    PIECE = 0x80        # beside the length of what is remembered: a piece, not a word


# ---- working memory ----

cdef int reserve_symbols(bnf_merge_scratch *scratch, size_t n) noexcept nogil:
    if n <= scratch.cap_symbols:
        return 0
    bnf_release(scratch.symbols)
    bnf_release(scratch.heap)
    scratch.cap_symbols = 0
    scratch.symbols = <bnf_symbol *>bnf_alloc_array(n, sizeof(bnf_symbol))
    # n - 1 pairs to begin with, and each of the n - 1 merges adds at most two.
    scratch.heap = <uint64_t *>bnf_alloc_array(n, 3 * sizeof(uint64_t))
    if scratch.symbols == NULL or scratch.heap == NULL:
        return BITNET_ERROR_MEMORY
    scratch.cap_symbols = n
    return 0


cdef public int bnf_merge_reserve(bnf_merge_scratch *scratch, size_t size) noexcept nogil:
    if size <= scratch.cap_bytes:
        return 0
    bnf_release(scratch.bytes)
    scratch.cap_bytes = 0
    scratch.bytes = <uint8_t *>bnf_alloc_array(size, 1)
    if scratch.bytes == NULL:
        return BITNET_ERROR_MEMORY
    scratch.cap_bytes = size
    return 0


# Short words are remembered while a text is read, when it is long enough to repeat some: words are like that.
cdef public int bnf_merge_begin(bnf_merge_scratch *scratch, size_t length) noexcept nogil:
    cdef uint32_t n = LEAST_WORDS
    memset(scratch, 0, sizeof(bnf_merge_scratch))
    if length < 16 * LEAST_WORDS:
        return 0
    while n < MOST_WORDS and n * 16 < length:
        n *= 2
    scratch.words = <bnf_word *>bnf_alloc_array(n, sizeof(bnf_word))
    if scratch.words == NULL:
        return BITNET_ERROR_MEMORY
    scratch.n_words = n
    return 0


cdef public void bnf_merge_free(bnf_merge_scratch *scratch) noexcept nogil:
    bnf_release(scratch.words)
    bnf_release(scratch.symbols)
    bnf_release(scratch.heap)
    bnf_release(scratch.bytes)


# ---- pairs ----

# A float as an integer that is smaller when the float is greater. Scores are numbers and never -0 (vocab.pyx).
cdef inline uint32_t descending(float score) noexcept nogil:
    cdef uint32_t bits
    memcpy(&bits, &score, sizeof(bits))
    return bits if bits >> 31 else bits ^ 0x7FFFFFFF


# What `left` and `right`, the first of which begins at word[begin] and which are `length` bytes together, become.
# Returns the rank, BNF_NO_TOKEN when they do not merge.
cdef inline uint32_t pair(const bnf_vocab_t *v, const uint8_t *word, uint32_t left, uint32_t right,
                          uint32_t begin, uint32_t length, const uint8_t *end, uint32_t *token) noexcept nogil:
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        token[0] = bnf_key_find_bytes(v, word + begin, length, end)
        return BNF_NO_TOKEN if token[0] == BNF_NO_TOKEN else descending(v.score[token[0]])
    return bnf_merge_find(v, left, right, token)


# A symbol that is no token: its bytes one by one. A byte without a token is the unknown token in SPM; BPE leaves it out,
# as llama.cpp does, because there the unknown token may be a control token that no text should be able to write.
cdef void emit_bytes(const bnf_vocab_t *v, const uint8_t *bytes, uint32_t n, bnf_ids *ids) noexcept nogil:
    cdef uint32_t i, token
    for i in range(n):
        token = v.byte_token[bytes[i]]
        if token < <uint32_t>v.n_tokens:
            bnf_ids_add(ids, token, bytes + i, 1)
        elif v.type == LLAMA_VOCAB_TYPE_SPM and v.special[<int>BNF_UNK] >= 0:
            bnf_ids_add(ids, <uint32_t>v.special[<int>BNF_UNK], bytes + i, 1)


cdef inline void emit(const bnf_vocab_t *v, uint32_t token, const uint8_t *bytes, uint32_t n, bnf_ids *ids) noexcept nogil:
    if token < <uint32_t>v.n_tokens:
        bnf_ids_add(ids, token, bytes, n)
    else:
        emit_bytes(v, bytes, n, ids)


# The symbol at word[at] before any merge, and its token: a character (by_chars), or a byte, or a character that is
# one token whatever stands beside it (seed.pyx). Returns its length.
cdef inline uint32_t symbol(const bnf_vocab_t *v, const uint8_t *word, size_t at, size_t length, const uint8_t *end,
                            uint32_t *token) noexcept nogil:
    cdef size_t n = bnf_utf8_len(word[at])
    if v.by_chars:
        n = n if n < length - at else length - at
        token[0] = bnf_key_find_bytes(v, word + at, n, end)
        return <uint32_t>n
    if n > 1:
        token[0] = bnf_seed(v, word, at, n, length)
        if token[0] != BNF_NO_TOKEN:
            return <uint32_t>n
    token[0] = v.byte_token[word[at]]
    return 1


# ---- short words: arrays, best pair by scanning ----

# Returns the number of tokens, *only is the token when it is one; 0: the word has more than SHORT symbols.
cdef uint32_t merge_short(const bnf_vocab_t *v, const uint8_t *word, uint32_t length, const uint8_t *end, bnf_ids *ids,
                          uint32_t *only) noexcept nogil:
    cdef uint32_t[SHORT + 1] begin      # symbol i is word[begin[i] : begin[i + 1]]
    cdef uint32_t[SHORT] token
    cdef uint32_t[SHORT] rank           # of the pair (i, i + 1)
    cdef uint32_t[SHORT] pair_token
    cdef uint32_t n = 0, i, best, best_rank, at = 0
    while at < length:
        if n == SHORT:
            return 0
        begin[n] = at
        at += symbol(v, word, at, length, end, &token[n])
        n += 1
    begin[n] = length
    for i in range(n - 1):
        if v.type != LLAMA_VOCAB_TYPE_SPM and begin[i] + 2 == begin[i + 2]:
            rank[i] = bnf_merge_bytes(v, word[begin[i]], word[begin[i] + 1], &pair_token[i])
        else:
            rank[i] = pair(v, word, token[i], token[i + 1], begin[i], begin[i + 2] - begin[i], end, &pair_token[i])
    while n > 1:
        best = 0
        best_rank = rank[0]
        for i in range(1, n - 1):
            if rank[i] < best_rank:
                best_rank = rank[i]
                best = i
        if best_rank == BNF_NO_TOKEN:
            break
        token[best] = pair_token[best]
        n -= 1
        for i in range(best + 1, n):
            token[i] = token[i + 1]
            begin[i] = begin[i + 1]
            rank[i - 1] = rank[i]
            pair_token[i - 1] = pair_token[i]
        begin[n] = length
        if best + 1 < n:
            rank[best] = pair(v, word, token[best], token[best + 1], begin[best], begin[best + 2] - begin[best], end,
                              &pair_token[best])
        if best > 0:
            i = best - 1
            rank[i] = pair(v, word, token[i], token[best], begin[i], begin[best + 1] - begin[i], end, &pair_token[i])
    for i in range(n):
        emit(v, token[i], word + begin[i], begin[i + 1] - begin[i], ids)
    only[0] = token[0]
    return n


# ---- long words: a linked list of symbols and a heap of pairs ----

cdef inline void sift_up(uint64_t *heap, size_t i) noexcept nogil:
    cdef uint64_t entry = heap[i]
    cdef size_t parent
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= entry:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = entry


cdef inline void sift_down(uint64_t *heap, size_t n, size_t i) noexcept nogil:
    cdef uint64_t entry = heap[i]
    cdef size_t child
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if entry <= heap[child]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry


# Look up the pair that symbol i begins. True when it merges: then symbols[i].rank is its rank.
cdef inline bool find_pair(const bnf_vocab_t *v, const uint8_t *word, const uint8_t *end, bnf_symbol *symbols,
                           uint32_t i) noexcept nogil:
    cdef bnf_symbol *left = symbols + i
    cdef bnf_symbol *right
    if left.next == BNF_NO_TOKEN:
        left.rank = BNF_NO_TOKEN
        return False
    right = symbols + left.next
    left.rank = pair(v, word, left.token, right.token, left.begin, left.len + right.len, end, &left.pair_token)
    return left.rank != BNF_NO_TOKEN


# Merge symbols[0 : n] in place; what is left is the list that starts at symbols[0].
# A heap entry is stale when its symbol was merged away or now has another pair: then the rank differs or len is 0.
cdef void merge_long(const bnf_vocab_t *v, const uint8_t *word, uint32_t n, bnf_merge_scratch *scratch) noexcept nogil:
    cdef bnf_symbol *symbols = scratch.symbols
    cdef uint64_t *heap = scratch.heap
    cdef size_t n_heap = 0, k
    cdef uint32_t i, rank
    cdef bnf_symbol *left
    cdef bnf_symbol *right
    for i in range(n):
        if find_pair(v, word, scratch.end, symbols, i):
            heap[n_heap] = <uint64_t>symbols[i].rank << 32 | i
            n_heap += 1
    for k in range(n_heap >> 1, 0, -1):
        sift_down(heap, n_heap, k - 1)
    while n_heap > 0:
        i = <uint32_t>heap[0]
        rank = <uint32_t>(heap[0] >> 32)
        n_heap -= 1
        heap[0] = heap[n_heap]
        sift_down(heap, n_heap, 0)
        left = symbols + i
        if left.len == 0 or left.rank != rank:
            continue
        right = symbols + left.next
        left.token = left.pair_token
        left.len += right.len
        left.next = right.next
        right.len = 0
        if left.next != BNF_NO_TOKEN:
            symbols[left.next].prev = i
        if find_pair(v, word, scratch.end, symbols, i):
            heap[n_heap] = <uint64_t>left.rank << 32 | i
            sift_up(heap, n_heap)
            n_heap += 1
        if left.prev != BNF_NO_TOKEN and find_pair(v, word, scratch.end, symbols, left.prev):
            heap[n_heap] = <uint64_t>symbols[left.prev].rank << 32 | left.prev
            sift_up(heap, n_heap)
            n_heap += 1


# Merge a word of up to 2^31 - 1 bytes; *only is its token when it is one. Returns the number of parts, or
# BITNET_ERROR_MEMORY.
cdef int64_t merge(const bnf_vocab_t *v, const uint8_t *word, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids,
                   uint32_t *only) noexcept nogil:
    cdef uint32_t n = 0, i = 0
    cdef size_t at = 0
    cdef bnf_symbol *s
    if length <= 4 * SHORT:   # a character has at most four bytes
        n = merge_short(v, word, <uint32_t>length, scratch.end, ids, only)
        if n:
            return n
    if reserve_symbols(scratch, length) < 0:
        return BITNET_ERROR_MEMORY
    while at < length:
        s = scratch.symbols + n
        s.begin = <uint32_t>at
        s.len = symbol(v, word, at, length, scratch.end, &s.token)
        s.prev = n - 1 if n > 0 else BNF_NO_TOKEN
        at += s.len
        n += 1
        s.next = n if at < length else BNF_NO_TOKEN
    merge_long(v, word, n, scratch)
    n = 0
    only[0] = scratch.symbols[0].token
    while i != BNF_NO_TOKEN:
        s = scratch.symbols + i
        emit(v, s.token, word + s.begin, s.len, ids)
        i = s.next
        n += 1
    return n


# Does a character of three bytes or four begin among these eight, as in the scripts of which merges cross few borders?
cdef inline bool has_long_char(uint64_t bytes) noexcept nogil:
    return bytes & bytes << 1 & bytes << 2 & <uint64_t>0x8080808080808080 != 0


# A word that may be a token: looked up whole first, and merged unless that is known to give the token. In a piece of a word
# only that counts, whatever the vocabulary says of words.
cdef int merge_new(const bnf_vocab_t *v, const bnf_key *key, bool piece, bnf_merge_scratch *scratch, bnf_ids *ids) noexcept nogil:
    cdef uint32_t whole = bnf_key_find(v, key), only = BNF_NO_TOKEN
    cdef uint8_t known = BNF_WHOLE_NO if whole == BNF_NO_TOKEN else bnf_whole_get(v, whole)
    cdef int64_t n
    if known == BNF_WHOLE_YES or (whole != BNF_NO_TOKEN and v.whole_words and not piece):
        bnf_ids_add(ids, whole, key.bytes, key.len)
        return 0
    if known == BNF_WHOLE_NO and not piece and v.borders != NULL and (has_long_char(key.bits.x[0]) or has_long_char(key.bits.x[1])):
        return bnf_merge_pieces(v, key.bytes, key.len, scratch, ids)
    n = merge(v, key.bytes, key.len, scratch, ids, &only)
    if n < 0:
        return <int>n
    if known == BNF_WHOLE_UNKNOWN:
        bnf_whole_set(v, whole, BNF_WHOLE_YES if n == 1 and only == whole else BNF_WHOLE_NO)
    return 0


# Does the word begin with Han characters or kana? Its pieces are remembered instead.
cdef inline bool is_phrase(const bnf_vocab_t *v, const bnf_key *key) noexcept nogil:
    cdef uint8_t first = key.bytes[0]
    return v.borders != NULL and first >= 0xE3 and first <= 0xE9


# Keep what the word became, unless there are too many tokens, or bytes without one.
cdef inline void remember(bnf_word *known, const bnf_key *key, uint8_t tag, const bnf_ids *ids) noexcept nogil:
    cdef int64_t i
    cdef int32_t end = 0
    if ids.n > BNF_WORD_IDS:
        return
    for i in range(ids.n):
        if ids.ranges[2 * i] != end:
            return
        end = ids.ranges[2 * i + 1]
    if <size_t>end != key.len:
        return
    for i in range(ids.n):
        known.ids[i] = <uint32_t>ids.ranges[2 * i + 1] << 24 | <uint32_t>ids.out[i]
    known.bits = key.bits
    known.len = tag
    known.n_ids = <uint8_t>ids.n


cdef public int bnf_merge_key(const bnf_vocab_t *vocab, const bnf_key *key, bool piece, bnf_merge_scratch *scratch,
                              bnf_ids *ids) noexcept nogil:
    cdef int32_t[BNF_SHORT_WORD] found   # a token is a byte at least
    cdef int32_t[2 * BNF_SHORT_WORD] ranges
    cdef bnf_ids local
    cdef bnf_word *known
    cdef uint8_t tag = <uint8_t>(key.len | PIECE if piece else key.len)
    cdef int64_t i
    cdef int status
    if scratch.n_words == 0 or key.len > BNF_SHORT_WORD or (key.len > PHRASE and not piece and is_phrase(vocab, key)):
        return merge_new(vocab, key, piece, scratch, ids)
    known = bnf_word_of(scratch, key)
    if known.len == tag and bnf_same_bits(&known.bits, &key.bits):
        bnf_ids_add_word(ids, known, key.bytes)
        return 0
    local.out = found
    local.ranges = ranges
    local.base = key.bytes
    local.cap = BNF_SHORT_WORD
    local.n = 0
    status = merge_new(vocab, key, piece, scratch, &local)
    if status < 0:
        return status
    for i in range(local.n):
        bnf_ids_add(ids, <uint32_t>found[i], key.bytes + ranges[2 * i], <size_t>(ranges[2 * i + 1] - ranges[2 * i]))
    remember(known, key, tag, &local)
    return 0


cdef public int bnf_merge_word(const bnf_vocab_t *vocab, const uint8_t *word, size_t length, bnf_merge_scratch *scratch,
                               bnf_ids *ids) noexcept nogil:
    cdef bnf_key key
    if length == 0:
        return 0
    key = bnf_key_of(vocab, word, length, scratch.end)
    return bnf_merge_key(vocab, &key, False, scratch, ids)
