# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The merges of a BPE vocabulary, from "left right" lines to token numbers, so that merging never looks at text. This is
# most of the time that loading a vocabulary takes: 280 000 lines name 840 000 pieces, and every look-up is three cache
# misses in a row. So the lines are read in batches, each step for the whole batch, and the misses overlap.
# May not trust a line: it can be empty, megabytes long, repeated, or name what is no token.
# Next: merge.pyx uses the table; bnf_vocab.h has its layout and look-ups.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, bnf_str, BNF_GGUF_STRING
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_alphabet_next, bnf_border_set, bnf_byte_pair_t, bnf_hash_mix, bnf_key, bnf_key_find, bnf_key_find_bytes, bnf_key_of,
    bnf_key_slot_of, bnf_merge_slot, bnf_merge_t, bnf_prefetch, bnf_seed_place, bnf_strings_get, bnf_utf8_char, bnf_utf8_decode,
    bnf_utf8_len, bnf_vocab_array, bnf_vocab_repair, bnf_vocab_t, BNF_MOST_TOKENS, BNF_NO_TOKEN, BNF_N_BORDERS, BNF_N_SEEDS, BNF_PART,
    BNF_SHORT_WORD, BNF_WHOLE_NO)

cdef enum:
    BATCH = 32    # lines; their pieces keep the miss queue full, and what they touch fits the first-level cache

cdef struct Line:
    bnf_key left, right       # right.bytes follow left.bytes; lengths 0: the line is no merge

cdef struct Batch:
    Line[BATCH] lines
    uint8_t *bytes            # where the pieces are decoded
    size_t size


# Is it a byte of a character of several bytes, but not its first?
cdef inline bool is_inside(uint8_t byte) noexcept nogil:
    return byte & 0xC0 == 0x80


cdef inline bnf_str next_line(const uint8_t **cursor) noexcept nogil:
    cdef bnf_str s
    memcpy(&s.len, cursor[0], 8)
    s.data = <const char *>cursor[0] + 8
    cursor[0] += 8 + s.len
    return s


# "left right" of BPE on the text itself: the text says the bytes, and only its first byte may be a space that is meant.
cdef inline size_t copy_line(bnf_str s, uint8_t *out, size_t *n_left) noexcept nogil:
    cdef size_t at
    n_left[0] = 0
    for at in range(1, s.len):
        if s.data[at] == c' ':
            n_left[0] = at
            memcpy(out, s.data, at)
            memcpy(out + at, s.data + at + 1, s.len - at - 1)
            return s.len - 1 if at + 1 < s.len else 0
    return 0


# "left right" as bytes, one behind the other; the gap is a space, which spells no byte of the alphabet. Returns the bytes
# of both; 0: this is no merge.
cdef inline size_t decode_line(bnf_str s, uint8_t *out, size_t *n_left) noexcept nogil:
    cdef const uint8_t *at = <const uint8_t *>s.data
    cdef const uint8_t *end = at + s.len
    cdef size_t n = 0
    cdef int byte
    n_left[0] = 0
    while at < end:
        if at[0] == c' ' and n > 0 and n_left[0] == 0:
            n_left[0] = n
            at += 1
            continue
        byte = bnf_alphabet_next(at, end, &at)
        if byte < 0:
            return 0
        out[n] = <uint8_t>byte
        n += 1
    return n if n_left[0] > 0 and n > n_left[0] else 0


# The next n lines as bytes and hashes; *cursor moves behind them. 0 or BITNET_ERROR_MEMORY.
cdef int read_lines(const bnf_vocab_t *v, uint32_t n, const uint8_t **cursor, Batch *batch) noexcept nogil:
    cdef const uint8_t *scan = cursor[0]
    cdef uint8_t *out
    cdef const uint8_t *end
    cdef Line *line
    cdef uint32_t i
    cdef size_t size = BNF_SHORT_WORD, n_left = 0, n_both
    for i in range(n):
        size += next_line(&scan).len   # decoded they are shorter; the sum is less than the file
    if size > batch.size:
        bnf_release(batch.bytes)
        batch.size = 2 * size
        batch.bytes = <uint8_t *>bnf_alloc(batch.size)
        if batch.bytes == NULL:
            batch.size = 0
            return BITNET_ERROR_MEMORY
    out = batch.bytes
    end = out + batch.size
    for i in range(n):
        n_both = copy_line(next_line(cursor), out, &n_left) if v.by_chars else decode_line(next_line(cursor), out, &n_left)
        if n_both == 0:
            n_left = 0
        line = batch.lines + i
        line.left = bnf_key_of(v, out, n_left, end)
        line.right = bnf_key_of(v, out + n_left, n_both - n_left, end)
        bnf_prefetch(bnf_key_slot_of(v, line.left.hash))
        bnf_prefetch(bnf_key_slot_of(v, line.right.hash))
        out += n_both
    return 0


cdef inline void prefetch_place(const bnf_vocab_t *v, const bnf_key *key) noexcept nogil:
    cdef uint32_t token = bnf_key_slot_of(v, key.hash).token
    if token:
        bnf_prefetch(v.key.at + token - 1)


cdef inline void prefetch_bytes(const bnf_vocab_t *v, const bnf_key *key) noexcept nogil:
    cdef uint32_t token = bnf_key_slot_of(v, key.hash).token
    if token:
        bnf_prefetch(v.key.bytes + v.key.at[token - 1])


# Ask for what finding the parts will read: first where their keys are, then the keys.
cdef void prefetch_keys(const bnf_vocab_t *v, const Batch *batch, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        prefetch_place(v, &batch.lines[i].left)
        prefetch_place(v, &batch.lines[i].right)
    for i in range(n):
        prefetch_bytes(v, &batch.lines[i].left)
        prefetch_bytes(v, &batch.lines[i].right)


# A single byte may be part of a merge even when it has no token: bnf_vocab.byte_token.
cdef inline uint32_t part_token(const bnf_vocab_t *v, const bnf_key *key) noexcept nogil:
    if key.len == 1 and not v.by_chars:
        return v.byte_token[key.bytes[0]]
    return bnf_key_find(v, key) if key.len > 0 else BNF_NO_TOKEN


# Is its key these bytes? Not when no key leads to it: vocab_tables.pyx.
cdef inline bool is_made(const bnf_vocab_t *v, uint32_t token, const uint8_t *bytes, size_t length) noexcept nogil:
    cdef uint32_t n = 0
    cdef const uint8_t *key
    if token >= <uint32_t>v.n_tokens or v.whole[token] == BNF_WHOLE_NO:
        return False
    key = bnf_strings_get(v.key, token, &n)
    return n == length and memcmp(key, bytes, n) == 0


# The token that a merge makes. Merge lists are in the order of the tokens that they make, so it is nearly always the one
# that the line before made (of another pair), or the next.
cdef inline uint32_t merged_token(const bnf_vocab_t *v, uint32_t guess, const Line *line, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *bytes = line.left.bytes
    cdef size_t length = line.left.len + line.right.len
    if is_made(v, guess, bytes, length):
        return guess
    if is_made(v, guess + 1, bytes, length):
        return guess + 1
    return bnf_key_find_bytes(v, bytes, length, end) if length > 0 else BNF_NO_TOKEN


# ---- what seeds and pieces must know: seed.pyx, pieces.pyx ----

cdef inline void keep_least(uint32_t *least, uint32_t rank) noexcept nogil:
    if least[0] == 0:
        least[0] = rank


# The place of the seed that is exactly these bytes, or BNF_N_SEEDS.
cdef inline uint32_t seed_place(const bnf_key *key) noexcept nogil:
    cdef uint32_t code_point = 0
    if key.len < 2 or key.len > 4 or bnf_utf8_decode(key.bytes, key.len, &code_point) != key.len:
        return BNF_N_SEEDS
    return bnf_seed_place(code_point)


# The character that the bytes end with, or begin with; in pieces of clean text it is there as a whole or its border byte is.
cdef inline uint32_t last_char(const bnf_key *key) noexcept nogil:
    cdef const uint8_t *next
    cdef size_t at = key.len - 1
    while at > 0 and is_inside(key.bytes[at]):
        at -= 1
    if at + bnf_utf8_len(key.bytes[at]) != key.len or is_inside(key.bytes[at]):
        return BNF_PART | key.bytes[key.len - 1]
    return bnf_utf8_char(key.bytes + at, &next)


cdef inline uint32_t first_char(const bnf_key *key) noexcept nogil:
    cdef const uint8_t *next
    return BNF_PART | key.bytes[0] if key.len < bnf_utf8_len(key.bytes[0]) else bnf_utf8_char(key.bytes, &next)


# A merge that may meet a character of several bytes, or a part of one; rank is one more, and grows from line to line.
cdef void note_merge(bnf_vocab_t *v, const bnf_key *left, const bnf_key *right, uint32_t rank) noexcept nogil:
    cdef uint8_t first = right.bytes[0], last = left.bytes[left.len - 1]
    cdef uint32_t place
    if is_inside(first):
        return   # no border of characters
    if v.borders != NULL:
        bnf_border_set(v, last_char(left), first_char(right))
    if (left.len < 4 and is_inside(left.bytes[0]) and is_inside(last)) or right.len < bnf_utf8_len(first):
        keep_least(v.crossings + (<uint32_t>first << 8 | last), rank)
    place = seed_place(left)
    if place < BNF_N_SEEDS:
        keep_least(v.seed_least + place, rank)
    place = seed_place(right)
    if place < BNF_N_SEEDS and last != c' ':
        keep_least(v.seed_least + place, rank)


# ---- the table ----

# The merge of the line takes effect with the next rank, unless an earlier line has the same pair.
cdef inline void put(bnf_vocab_t *v, const Line *line, const bnf_merge_t *merge, uint64_t hash) noexcept nogil:
    cdef bnf_merge_t *slot = bnf_merge_slot(v, merge.pair, hash)
    cdef bnf_byte_pair_t *bytes
    if slot.rank:
        return
    v.n_merges += 1
    slot[0] = merge[0]
    slot.rank = v.n_merges
    if line.left.bytes[line.left.len - 1] >= 0x80 or line.right.bytes[0] >= 0x80:
        note_merge(v, &line.left, &line.right, slot.rank)
    if line.left.len == 1 and line.right.len == 1:
        bytes = v.byte_pairs + (<uint32_t>line.left.bytes[0] << 8 | line.right.bytes[0])
        bytes.rank = slot.rank
        bytes.token = slot.token


# Put a batch of lines behind the merges that are there. Returns how many of the lines can apply, and in *first_bad the
# first that cannot, if any; *guess is the token that was made last.
cdef uint32_t add(bnf_vocab_t *v, const Batch *batch, uint32_t n, uint32_t *guess, uint32_t *first_bad) noexcept nogil:
    cdef uint64_t[BATCH] hashes
    cdef uint32_t[BATCH] places
    cdef bnf_merge_t[BATCH] found
    cdef bnf_merge_t *merge
    cdef const Line *line
    cdef uint32_t i, left, right, n_found = 0
    for i in range(n):
        line = batch.lines + i
        merge = found + n_found
        left = part_token(v, &line.left)
        right = part_token(v, &line.right)
        merge.token = merged_token(v, guess[0], line, batch.bytes + batch.size)
        if left == BNF_NO_TOKEN or right == BNF_NO_TOKEN or merge.token == BNF_NO_TOKEN:
            if n_found == i:
                first_bad[0] = i
            continue
        guess[0] = merge.token
        merge.pair = <uint64_t>left << 32 | right
        hashes[n_found] = bnf_hash_mix(v.seed, merge.pair)
        bnf_prefetch(v.merge_slots + (<uint32_t>(hashes[n_found] >> 32) & (v.n_merge_slots - 1)))
        places[n_found] = i
        n_found += 1
    for i in range(n_found):
        put(v, batch.lines + places[i], found + i, hashes[i])
    return n_found


# Tried on two virtual cores of a Zen 4: two threads that find the tokens of half of the lines each before one puts them in
# order (the caller's own time falls by a fifth, but where the other core is not idle the wait for it costs more: 3 to 10 %
# slower, on one CPU 10 %), and decoding 8 letters of the alphabet at a time (0 to 5 % slower: pieces are short).
cdef public int bnf_vocab_merges(const bnf_gguf *gguf, bnf_vocab_t *vocab) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef const uint8_t *cursor
    cdef Batch batch
    cdef uint32_t done = 0, n, n_lines, n_found, first_bad = 0, guess = 256
    cdef int64_t n_unknown = 0, first_unknown = 0
    cdef int status = 0
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.merges", BNF_GGUF_STRING, BNF_GGUF_STRING, 0, &kv)
    if found < 0:
        return found
    if found == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'tokenizer.ggml.merges' is missing: a 'gpt2' vocabulary needs its merges")
    if kv.count > BNF_MOST_TOKENS:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.merges: %llu merges, expected at most %d",
                        <unsigned long long>kv.count, <int>BNF_MOST_TOKENS)
    n_lines = <uint32_t>kv.count
    vocab.n_merge_slots = 16
    while vocab.n_merge_slots < n_lines + (n_lines >> 1):
        vocab.n_merge_slots *= 2
    vocab.merge_slots = <bnf_merge_t *>bnf_alloc_array(vocab.n_merge_slots, sizeof(bnf_merge_t))
    vocab.byte_pairs = <bnf_byte_pair_t *>bnf_alloc_array(1 << 16, sizeof(bnf_byte_pair_t))
    vocab.crossings = <uint32_t *>bnf_alloc_array(1 << 16, sizeof(uint32_t))
    vocab.borders = NULL if vocab.by_chars else <uint8_t *>bnf_alloc(BNF_N_BORDERS >> 3)
    vocab.seed_least = <uint32_t *>bnf_alloc_array(BNF_N_SEEDS, sizeof(uint32_t))
    vocab.seeds = <uint64_t *>bnf_alloc_array(BNF_N_SEEDS, sizeof(uint64_t))
    if vocab.merge_slots == NULL or vocab.byte_pairs == NULL or vocab.crossings == NULL or (vocab.borders == NULL and not vocab.by_chars) \
            or vocab.seed_least == NULL or vocab.seeds == NULL:
        return BITNET_ERROR_MEMORY
    batch.bytes = NULL
    batch.size = 0
    cursor = kv.value
    while done < n_lines and status == 0:
        n = n_lines - done if n_lines - done < BATCH else BATCH
        status = read_lines(vocab, n, &cursor, &batch)
        if status == 0:
            prefetch_keys(vocab, &batch, n)
            n_found = add(vocab, &batch, n, &guess, &first_bad)
            if n_found < n and n_unknown == 0:
                first_unknown = done + first_bad
            n_unknown += n - n_found
            done += n
    bnf_release(batch.bytes)
    if status == 0 and n_unknown:
        status = bnf_vocab_repair("tokenizer.ggml.merges: %lld merges name a piece that is no token, the first is number %lld; "
                                  "they are left out", <long long>n_unknown, <long long>first_unknown)
    return status
