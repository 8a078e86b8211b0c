# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What tokenizing looks up, built from texts and attributes in one pass each: the bytes that tokens stand for, tokens by
# their key, tokens of single bytes, and for BPE the merges by the pair of tokens. A merge is two token numbers here, no
# text, so that merging hashes eight bytes whatever the pieces are.
# Next: merge.pyx uses these tables; bnf_vocab.h has their layout and look-ups.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset, memchr
from bitnet_ffi._core.bnf cimport (
    bool, bnf_gguf, bnf_gguf_kv, bnf_str, bnf_gguf_next_str, BNF_GGUF_STRING, LLAMA_VOCAB_TYPE_SPM, LLAMA_VOCAB_TYPE_BPE,
    LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_TOKEN_ATTR_BYTE,
    BITNET_ERROR_MODEL, BITNET_ERROR_MEMORY, GGML_LOG_LEVEL_INFO,
    BNF_SHOWN_SIZE, bnf_show, bnf_alloc, bnf_alloc_array, bnf_release, bnf_fail, bnf_log)
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_vocab_t, bnf_key_slot, bnf_merge_slot_t, bnf_strings_new, bnf_strings_end, bnf_strings_get, bnf_byte_of_text,
    bnf_hash_bytes, bnf_key_find, bnf_merge_slot, bnf_vocab_array, bnf_vocab_repair, bnf_tokenize, bnf_char_byte,
    bnf_byte_char, BNF_ALPHABET_END, BNF_MOST_TOKENS, BNF_NO_TOKEN, BNF_NL, BNF_PAD)


# ---- pieces: what a token stands for ----

# Text in the GPT-2 byte alphabet as bytes. Returns their number, or -1 when a character is not in the alphabet.
# Its characters take one or two bytes of UTF-8.
cdef int64_t decode_alphabet(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at = 0
    cdef int64_t written = 0
    cdef uint32_t c
    while at < length:
        c = text[at]
        at += 1
        if c >= 0x80:
            if c < 0xC2 or c >= 0xC6 or at == length or text[at] & 0xC0 != 0x80:   # beyond U+017F, or malformed
                return -1
            c = (c & 0x1F) << 6 | (text[at] & 0x3F)
            at += 1
            if c >= BNF_ALPHABET_END:
                return -1
        if bnf_char_byte[c] < 0:
            return -1
        out[written] = <uint8_t>bnf_char_byte[c]
        written += 1
    return written


cdef size_t unescape_spaces(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at = 0, written = 0
    while at < length:
        if length - at >= 3 and text[at] == 0xE2 and text[at + 1] == 0x96 and text[at + 2] == 0x81:
            out[written] = c' '
            at += 3
        else:
            out[written] = text[at]
            at += 1
        written += 1
    return written


# Special and user-defined tokens stand for their text; a normal token with characters outside the alphabet too.
cdef int build_pieces(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t i
    cdef uint32_t length = 0
    cdef const uint8_t *text
    cdef uint8_t *out
    cdef int64_t n
    cdef int byte
    if bnf_strings_new(&v.piece, v.n_tokens, v.text.at[v.n_tokens]) < 0:   # a piece is never longer than its text
        return BITNET_ERROR_MEMORY
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        out = <uint8_t *>v.piece.bytes + v.piece.at[i]
        n = -1
        byte = bnf_byte_of_text(text, length) if v.attr[i] & LLAMA_TOKEN_ATTR_BYTE else -1
        if byte >= 0:
            out[0] = <uint8_t>byte
            n = 1
        elif not v.attr[i] & (LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED):
            if v.type == LLAMA_VOCAB_TYPE_SPM:
                n = <int64_t>unescape_spaces(text, length, out)
            else:
                n = decode_alphabet(text, length, out)
        if n < 0:
            memcpy(out, text, length)
            n = length
        bnf_strings_end(&v.piece, i, <size_t>n)
    return 0


# ---- keys ----

# The smallest power of two that is at least twice n, and at least 16.
cdef uint32_t slots_for(uint32_t n) noexcept nogil:
    cdef uint32_t size = 16
    while size < 2 * n:
        size *= 2
    return size


# May merging produce this token? For BPE only when its text is the byte alphabet's spelling of its piece.
cdef bool has_key(const bnf_vocab_t *v, int32_t i) noexcept nogil:
    cdef uint32_t n_text = 0, n_piece = 0, k, at = 0, c
    cdef const uint8_t *text
    cdef const uint8_t *piece
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        return True
    text = bnf_strings_get(&v.text, <uint32_t>i, &n_text)
    piece = bnf_strings_get(&v.piece, <uint32_t>i, &n_piece)
    for k in range(n_piece):
        c = bnf_byte_char[piece[k]]
        if c < 0x80:
            if at == n_text or text[at] != c:
                return False
            at += 1
        else:
            if n_text - at < 2 or text[at] != (0xC0 | c >> 6) or text[at + 1] != (0x80 | (c & 0x3F)):
                return False
            at += 2
    return at == n_text


cdef int build_keys(bnf_vocab_t *v) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    cdef int32_t i, n_repeated = 0, first_repeated = 0
    cdef uint32_t length = 0, slot, token
    cdef uint64_t h
    cdef const uint8_t *key
    v.key = &v.text if v.type == LLAMA_VOCAB_TYPE_SPM else &v.piece
    v.n_key_slots = slots_for(<uint32_t>v.n_tokens)
    v.key_slots = <bnf_key_slot *>bnf_alloc_array(v.n_key_slots, sizeof(bnf_key_slot))
    if v.key_slots == NULL:
        return BITNET_ERROR_MEMORY
    v.max_key_len = 0xFFFFFFFF   # while building; then the longest key
    token = 0
    for i in range(v.n_tokens):
        if not has_key(v, i):
            continue
        key = bnf_strings_get(v.key, <uint32_t>i, &length)
        if bnf_key_find(v, key, length) != BNF_NO_TOKEN:
            if n_repeated == 0:
                first_repeated = i
            n_repeated += 1
            continue
        h = bnf_hash_bytes(v.seed, key, length)
        slot = <uint32_t>h & (v.n_key_slots - 1)
        while v.key_slots[slot].token:
            slot = (slot + 1) & (v.n_key_slots - 1)
        v.key_slots[slot].tag = <uint32_t>(h >> 32)
        v.key_slots[slot].token = <uint32_t>i + 1
        if length > token:
            token = length
    v.max_key_len = token
    if n_repeated:
        return bnf_vocab_repair("tokenizer.ggml.tokens: %d tokens repeat the text of another, the first is %d ('%s'); "
                                "text becomes the first of them", n_repeated, first_repeated,
                                bnf_show(v.text.bytes + v.text.at[first_repeated],
                                         v.text.at[first_repeated + 1] - v.text.at[first_repeated] - 1, shown))
    return 0


# ---- BPE: bytes and merges ----

cdef int build_bytes(bnf_vocab_t *v) noexcept nogil:
    cdef int byte, n_missing = 0, first_missing = 0
    cdef uint8_t c
    cdef uint8_t[6] text
    cdef const char *digits = "0123456789ABCDEF"
    for byte in range(256):
        c = <uint8_t>byte
        if v.type == LLAMA_VOCAB_TYPE_SPM:
            memcpy(text, "<0x00>", 6)
            text[3] = <uint8_t>digits[byte >> 4]
            text[4] = <uint8_t>digits[byte & 15]
            v.byte_token[byte] = bnf_key_find(v, text, 6)
        if v.type != LLAMA_VOCAB_TYPE_SPM or v.byte_token[byte] == BNF_NO_TOKEN:
            v.byte_token[byte] = bnf_key_find(v, &c, 1)
        if v.byte_token[byte] == BNF_NO_TOKEN:
            if n_missing == 0:
                first_missing = byte
            n_missing += 1
            if v.type != LLAMA_VOCAB_TYPE_SPM:
                v.byte_token[byte] = <uint32_t>(v.n_tokens + byte)   # so that merges of this byte still work
    if n_missing and v.type == LLAMA_VOCAB_TYPE_SPM:
        return bnf_vocab_repair("%d of 256 bytes have no token, the first is 0x%02x: in a text they become the unknown token",
                                n_missing, first_missing)
    if n_missing:   # common: SmolLM2 was trained without 21 bytes, most of which no UTF-8 text has
        bnf_log(GGML_LOG_LEVEL_INFO, "vocabulary: %d of 256 bytes have no token, the first is 0x%02x: they are left out of a text\n",
                n_missing, first_missing)
    return 0


# The token or byte that a merge names: its text in the byte alphabet, decoded into `buffer`.
cdef uint32_t find_part(const bnf_vocab_t *v, const uint8_t *bytes, int64_t n) noexcept nogil:
    if n == 1:
        return v.byte_token[bytes[0]]
    return bnf_key_find(v, bytes, <size_t>n) if n > 0 else BNF_NO_TOKEN


# "left right" per line, best first. A line that names no token of this vocabulary cannot apply and is left out.
cdef int build_merges(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef const uint8_t *cursor
    cdef const char *gap
    cdef bnf_merge_slot_t *slot
    cdef bnf_str s
    cdef uint8_t *buffer = NULL
    cdef size_t size = 0
    cdef uint32_t left, right, token, rank
    cdef int64_t n_left, n_right
    cdef int64_t n_unknown = 0, first_unknown = 0
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.merges", BNF_GGUF_STRING, BNF_GGUF_STRING, 0, &kv)
    if found < 0:
        return found
    if found == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'tokenizer.ggml.merges' is missing: a 'gpt2' vocabulary needs its merges")
    if kv.count > BNF_MOST_TOKENS:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.merges: %llu merges, expected at most %d",
                        <unsigned long long>kv.count, <int>BNF_MOST_TOKENS)
    v.n_merge_slots = slots_for(<uint32_t>kv.count)
    v.merge_slots = <bnf_merge_slot_t *>bnf_alloc_array(v.n_merge_slots, sizeof(bnf_merge_slot_t))
    if v.merge_slots == NULL:
        return BITNET_ERROR_MEMORY
    memset(v.merge_slots, 0xFF, v.n_merge_slots * sizeof(bnf_merge_slot_t))
    cursor = kv.value
    for rank in range(<uint32_t>kv.count):
        s = bnf_gguf_next_str(&cursor)
        if s.len > size:
            bnf_release(buffer)
            size = 2 * s.len
            buffer = <uint8_t *>bnf_alloc(size)
            if buffer == NULL:
                return BITNET_ERROR_MEMORY
        left = BNF_NO_TOKEN
        right = BNF_NO_TOKEN
        token = BNF_NO_TOKEN
        gap = <const char *>memchr(s.data + 1, c' ', s.len - 1) if s.len > 2 else NULL
        if gap != NULL:
            n_left = decode_alphabet(<const uint8_t *>s.data, <size_t>(gap - s.data), buffer)
            if n_left > 0:
                n_right = decode_alphabet(<const uint8_t *>gap + 1, s.len - <size_t>(gap - s.data) - 1, buffer + n_left)
                if n_right > 0:
                    left = find_part(v, buffer, n_left)
                    right = find_part(v, buffer + n_left, n_right)
                    token = bnf_key_find(v, buffer, <size_t>(n_left + n_right))
        if left == BNF_NO_TOKEN or right == BNF_NO_TOKEN or token == BNF_NO_TOKEN:
            if n_unknown == 0:
                first_unknown = rank
            n_unknown += 1
            continue
        slot = bnf_merge_slot(v, left, right)
        if slot.left == BNF_NO_TOKEN:   # of two equal lines the first counts
            slot.left = left
            slot.right = right
            slot.rank = rank
            slot.token = token
    bnf_release(buffer)
    if n_unknown:
        return bnf_vocab_repair("tokenizer.ggml.merges: %lld merges name a piece that is no token, the first is number %lld; "
                                "they are left out", <long long>n_unknown, <long long>first_unknown)
    return 0


# ---- the whole ----

# The token of a line feed; the padding token when there is none.
cdef int find_newline(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t token = -1
    cdef int64_t n = 1
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        token = <int32_t>v.byte_token[<int>c'\n']   # BNF_NO_TOKEN reads as -1
    else:
        n = bnf_tokenize(v, <const uint8_t *>"\n", 1, False, False, &token, 1)
    v.special[<int>BNF_NL] = token if n > 0 and token >= 0 else v.special[<int>BNF_PAD]
    return 0 if n >= 0 else <int>n


cdef public int bnf_vocab_tables(const bnf_gguf *gguf, bnf_vocab_t *vocab) noexcept nogil:
    cdef int status = build_pieces(vocab)
    if status == 0:
        status = build_keys(vocab)
    if status == 0:
        status = build_bytes(vocab)
    if status == 0 and vocab.type == LLAMA_VOCAB_TYPE_BPE:
        status = build_merges(gguf, vocab)
    return find_newline(vocab) if status == 0 else status
