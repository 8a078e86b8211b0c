# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Loading a vocabulary from GGUF metadata: token texts, what they stand for, the hash tables that merging uses. Everything
# is built in one pass over the mapped file; nothing of it is kept. What a file lacks is repaired with a warning
# (bnf_vocab_repair) or refused with a sentence; no file may crash, hang or make this allocate more than its own size asks.
# Next: vocab_roles.pyx (special tokens), bnf_vocab.h (the struct).

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint16_t, uint32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strlen, memchr
from libc.stdio cimport snprintf
from bitnet_ffi._core.bnf cimport (
    bool, bnf_gguf, bnf_gguf_kv, bnf_str, bnf_vocab, bnf_gguf_find, bnf_gguf_str, bnf_gguf_u32, bnf_gguf_bool,
    bnf_gguf_next_str, BNF_GGUF_ARRAY, BNF_GGUF_STRING, BNF_GGUF_F32, BNF_GGUF_I32, BNF_GGUF_U32,
    LLAMA_VOCAB_TYPE_NONE, LLAMA_VOCAB_TYPE_SPM, LLAMA_VOCAB_TYPE_BPE,
    LLAMA_TOKEN_ATTR_UNDEFINED, LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_ATTR_NORMAL,
    LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_TOKEN_ATTR_BYTE,
    BITNET_ERROR_MODEL, BITNET_ERROR_MEMORY, bnf_alloc, bnf_alloc_array, bnf_resize, bnf_release, bnf_fail)
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_vocab_t, bnf_strings, bnf_key_slot, bnf_strings_get, bnf_hash_bytes, bnf_key_find, bnf_merge_slot, bnf_merge_slot_t, bnf_pre_names,
    bnf_vocab_repair, bnf_vocab_roles, bnf_tokenize, bnf_utf8_len, bnf_char_byte, bnf_byte_char, BNF_ALPHABET_END,
    BNF_NO_TOKEN, BNF_N_ROLES, BNF_NL, BNF_PAD, BNF_PRE_DEFAULT, BNF_PRE_WHOLE_WORDS, BNF_PRE_ADD_BOS, BNF_PRE_ADD_SEP,
    BNF_PRE_KEEP_SPACES)

cdef enum:
    MOST_TOKENS = 1 << 24       # more than any vocabulary has; ids and slot counts stay far from 32 bits
    MOST_BYTES = 1 << 30        # of all token texts together, so that offsets fit 32 bits
    LLAMA3_TOKENS = 128256
    LLAMA3_BOS = 128000


cdef inline bool equals(bnf_str s, const char *text) noexcept nogil:
    return s.len == strlen(text) and memcmp(s.data, text, s.len) == 0


# The most bytes of s that a sentence shows.
cdef inline int shown(bnf_str s) noexcept nogil:
    return <int>(s.len if s.len < 60 else 60)


# ---- arrays of the file ----

# The array of `count` or more strings or numbers under a key. 1: *out set; 0: absent; negative: the wrong kind.
cdef int find_array(const bnf_gguf *gguf, const char *key, int32_t elem_type, int32_t other_type, uint64_t count,
                    const bnf_gguf_kv **out) noexcept nogil:
    cdef const bnf_gguf_kv *kv = bnf_gguf_find(gguf, key)
    if kv == NULL:
        return 0
    if kv.type != BNF_GGUF_ARRAY or (kv.elem_type != elem_type and kv.elem_type != other_type):
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s': type %d, expected an array of type %d", key,
                        kv.elem_type if kv.type == BNF_GGUF_ARRAY else kv.type, elem_type)
    if kv.count < count:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s': %llu elements, expected one for each of %llu tokens", key,
                        <unsigned long long>kv.count, <unsigned long long>count)
    out[0] = kv
    return 1


cdef inline uint32_t load_u32(const uint8_t *p) noexcept nogil:
    cdef uint32_t x
    memcpy(&x, p, 4)
    return x


cdef inline float load_f32(const uint8_t *p) noexcept nogil:
    cdef float x
    memcpy(&x, p, 4)
    return x


# ---- strings ----

cdef int new_strings(bnf_strings *s, int32_t n, size_t size) noexcept nogil:
    s.bytes = <char *>bnf_alloc(size)
    s.at = <uint32_t *>bnf_alloc_array(<size_t>n + 1, sizeof(uint32_t))
    return BITNET_ERROR_MEMORY if s.bytes == NULL or s.at == NULL else 0


# Close string i, whose `length` bytes were written at its place.
cdef inline void end_string(bnf_strings *s, int32_t i, size_t length) noexcept nogil:
    s.bytes[s.at[i] + length] = 0
    s.at[i + 1] = <uint32_t>(s.at[i] + length + 1)


# An empty token gets the text [EMPTY_id], as in llama.cpp: it can then be told apart and never matches.
cdef int read_texts(const bnf_gguf_kv *tokens, bnf_vocab_t *v) noexcept nogil:
    cdef const uint8_t *cursor = tokens.value
    cdef bnf_str s
    cdef uint64_t size = 0
    cdef int32_t i, n_empty = 0, first_empty = 0
    cdef size_t length
    for i in range(v.n_tokens):
        s = bnf_gguf_next_str(&cursor)
        size += (s.len if s.len > 0 else 24) + 1
        if size > MOST_BYTES:
            return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.tokens: more than %d bytes of text", <int>MOST_BYTES)
    if new_strings(&v.text, v.n_tokens, size) < 0:
        return BITNET_ERROR_MEMORY
    cursor = tokens.value
    for i in range(v.n_tokens):
        s = bnf_gguf_next_str(&cursor)
        length = s.len
        if length > 0:
            memcpy(v.text.bytes + v.text.at[i], s.data, length)
        else:
            length = <size_t>snprintf(v.text.bytes + v.text.at[i], 24, "[EMPTY_%d]", i)
            if n_empty == 0:
                first_empty = i
            n_empty += 1
        end_string(&v.text, i, length)
    if n_empty:
        return bnf_vocab_repair("tokenizer.ggml.tokens: %d empty tokens, the first is %d; they get texts like [EMPTY_%d]",
                                n_empty, first_empty, first_empty)
    return 0


# ---- attributes and scores ----

cdef inline uint16_t attr_of_type(uint32_t token_type) noexcept nogil:
    if token_type == 1:
        return LLAMA_TOKEN_ATTR_NORMAL
    if token_type == 2:
        return LLAMA_TOKEN_ATTR_UNKNOWN
    if token_type == 3:
        return LLAMA_TOKEN_ATTR_CONTROL
    if token_type == 4:
        return LLAMA_TOKEN_ATTR_USER_DEFINED
    if token_type == 5:
        return LLAMA_TOKEN_ATTR_UNUSED
    if token_type == 6:
        return LLAMA_TOKEN_ATTR_BYTE
    return LLAMA_TOKEN_ATTR_UNDEFINED


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if c >= c'0' and c <= c'9':
        return c - c'0'
    if c >= c'A' and c <= c'F':
        return c - c'A' + 10
    if c >= c'a' and c <= c'f':
        return c - c'a' + 10
    return -1


# The byte of a text of the form <0xHH>, or -1.
cdef int byte_of_text(const uint8_t *text, uint32_t length) noexcept nogil:
    cdef int high, low
    if length != 6 or memcmp(text, "<0x", 3) != 0 or text[5] != c'>':
        return -1
    high = hex_digit(text[3])
    low = hex_digit(text[4])
    return high * 16 + low if high >= 0 and low >= 0 else -1


# For a file without token_type: what the texts themselves say.
cdef uint16_t attr_of_text(const bnf_vocab_t *v, const uint8_t *text, uint32_t length) noexcept nogil:
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        if byte_of_text(text, length) >= 0:
            return LLAMA_TOKEN_ATTR_BYTE
        if length == 5 and memcmp(text, "<unk>", 5) == 0:
            return LLAMA_TOKEN_ATTR_UNKNOWN
        if (length == 3 and memcmp(text, "<s>", 3) == 0) or (length == 4 and memcmp(text, "</s>", 4) == 0):
            return LLAMA_TOKEN_ATTR_CONTROL
    if length > 4 and memcmp(text, "<|", 2) == 0 and memcmp(text + length - 2, "|>", 2) == 0:
        return LLAMA_TOKEN_ATTR_CONTROL
    return LLAMA_TOKEN_ATTR_NORMAL


cdef int read_attrs(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef const uint8_t *text
    cdef uint32_t length = 0
    cdef int32_t i
    cdef int found = find_array(gguf, "tokenizer.ggml.token_type", BNF_GGUF_I32, BNF_GGUF_U32, <uint64_t>v.n_tokens, &kv)
    if found < 0:
        return found
    if found == 0 and bnf_vocab_repair("tokenizer.ggml.token_type is missing: token types are guessed from the texts") < 0:
        return BITNET_ERROR_MODEL
    for i in range(v.n_tokens):
        if found:
            v.attr[i] = attr_of_type(load_u32(kv.value + 4 * i))
        else:
            text = bnf_strings_get(&v.text, <uint32_t>i, &length)
            v.attr[i] = attr_of_text(v, text, length)
    return 0


# Scores are made ordinary numbers: NaN counts as the lowest, and -0 becomes 0, so that their bits can be compared.
cdef int read_scores(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef int32_t i
    cdef float score
    cdef int found = find_array(gguf, "tokenizer.ggml.scores", BNF_GGUF_F32, BNF_GGUF_I32, <uint64_t>v.n_tokens, &kv)
    if found < 0:
        return found
    if found == 0:
        if v.type == LLAMA_VOCAB_TYPE_SPM:
            return bnf_vocab_repair("tokenizer.ggml.scores is missing: every token gets the score 0")
        return 0
    for i in range(v.n_tokens):
        score = load_f32(kv.value + 4 * i) if kv.elem_type == BNF_GGUF_F32 else <float><int32_t>load_u32(kv.value + 4 * i)
        v.score[i] = score + <float>0.0 if score == score else <float>-3.4028234e38
    return 0


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
    if new_strings(&v.piece, v.n_tokens, v.text.at[v.n_tokens]) < 0:   # a piece is never longer than its text
        return BITNET_ERROR_MEMORY
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        out = <uint8_t *>v.piece.bytes + v.piece.at[i]
        n = -1
        byte = byte_of_text(text, length) if v.attr[i] & LLAMA_TOKEN_ATTR_BYTE else -1
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
        end_string(&v.piece, i, <size_t>n)
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
        return bnf_vocab_repair("tokenizer.ggml.tokens: %d tokens repeat the text of another, the first is %d ('%.60s'); "
                                "text becomes the first of them", n_repeated, first_repeated, v.text.bytes + v.text.at[first_repeated])
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
    if n_missing:
        return bnf_vocab_repair("%d of 256 bytes have no token, the first is 0x%02x: in a text they become the unknown token, "
                                "or nothing when there is none", n_missing, first_missing)
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
    cdef int found = find_array(gguf, "tokenizer.ggml.merges", BNF_GGUF_STRING, BNF_GGUF_STRING, 0, &kv)
    if found < 0:
        return found
    if found == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'tokenizer.ggml.merges' is missing: a 'gpt2' vocabulary needs its merges")
    if kv.count > MOST_TOKENS:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.merges: %llu merges, expected at most %d",
                        <unsigned long long>kv.count, <int>MOST_TOKENS)
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


# ---- SPM ----

# Does a space (U+2581) never follow another character inside a token? True of Llama's vocabulary.
cdef bool spaces_lead(const bnf_vocab_t *v) noexcept nogil:
    cdef int32_t i
    cdef uint32_t length = 0, at
    cdef const uint8_t *text
    cdef bool space, was_space
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        at = 0
        was_space = True
        while at < length:
            space = length - at >= 3 and memcmp(text + at, "\xe2\x96\x81", 3) == 0
            if space and not was_space:
                return False
            was_space = space
            at += <uint32_t>bnf_utf8_len(text[at])
    return True


# ---- the pre-tokenizer ----

cdef int unknown_pre(bnf_str name) noexcept nogil:
    cdef char[700] names
    cdef size_t at = 0, i = 0, n
    while bnf_pre_names[i].name != NULL:
        n = strlen(bnf_pre_names[i].name)
        if at + n + 3 > sizeof(names):
            break
        if at:
            memcpy(names + at, ", ", 2)
            at += 2
        memcpy(names + at, bnf_pre_names[i].name, n)
        at += n
        i += 1
    names[at] = 0
    return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.pre: unknown pre-tokenizer '%.*s', expected one of %s",
                    shown(name), name.data, names)


cdef int read_pre(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef bnf_str name
    cdef size_t i = 0
    cdef uint32_t length = 0
    cdef int status
    cdef int found = bnf_gguf_str(gguf, "tokenizer.ggml.pre", &name)
    if found < 0:
        return found
    if found == 0 or name.len == 0:
        name.data = "default"
        if v.n_tokens == LLAMA3_TOKENS:
            name.data = <const char *>bnf_strings_get(&v.text, LLAMA3_BOS, &length)
            name.len = length
            name.data = "llama-bpe" if equals(name, "<|begin_of_text|>") else "default"
        name.len = strlen(name.data)
        status = bnf_vocab_repair("tokenizer.ggml.pre is missing: '%s' is used%s", name.data,
                                  "" if name.len == 7 else ", because this is the vocabulary of Llama 3")
        if status < 0:
            return status
    while bnf_pre_names[i].name != NULL and not equals(name, bnf_pre_names[i].name):
        i += 1
    if bnf_pre_names[i].name == NULL:
        return unknown_pre(name)
    v.pre = bnf_pre_names[i].pre
    v.whole_words = (bnf_pre_names[i].flags & BNF_PRE_WHOLE_WORDS) != 0
    v.add_bos = (bnf_pre_names[i].flags & BNF_PRE_ADD_BOS) != 0
    v.add_sep = (bnf_pre_names[i].flags & BNF_PRE_ADD_SEP) != 0
    v.clean_spaces = (bnf_pre_names[i].flags & BNF_PRE_KEEP_SPACES) == 0
    return 0


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


# ---- the whole ----

cdef int load_tokens(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef const bnf_gguf_kv *tokens = NULL
    cdef size_t n
    cdef int status = find_array(gguf, "tokenizer.ggml.tokens", BNF_GGUF_STRING, BNF_GGUF_STRING, 0, &tokens)
    if status == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'tokenizer.ggml.tokens' is missing: the vocabulary has no tokens")
    if status < 0:
        return status
    if tokens.count == 0 or tokens.count > MOST_TOKENS:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.tokens: %llu tokens, expected 1 to %d",
                        <unsigned long long>tokens.count, <int>MOST_TOKENS)
    v.n_tokens = <int32_t>tokens.count
    n = <size_t>v.n_tokens
    v.score = <float *>bnf_alloc_array(n, sizeof(float))
    v.attr = <uint16_t *>bnf_alloc_array(n, sizeof(uint16_t))
    v.eog = <uint8_t *>bnf_alloc(n)
    v.whole = <uint8_t *>bnf_alloc(n)
    if v.score == NULL or v.attr == NULL or v.eog == NULL or v.whole == NULL:
        return BITNET_ERROR_MEMORY
    status = read_texts(tokens, v)
    if status == 0:
        status = read_attrs(gguf, v)
    if status == 0:
        status = read_scores(gguf, v)
    if status == 0 and v.type == LLAMA_VOCAB_TYPE_SPM:
        v.add_bos = True
        v.add_space_prefix = True
        v.spaces_lead = spaces_lead(v)
    elif status == 0:
        status = read_pre(gguf, v)
    if status == 0:
        status = bnf_vocab_roles(gguf, v)
    if status == 0:
        status = build_pieces(v)
    if status == 0:
        status = build_keys(v)
    if status == 0:
        status = build_bytes(v)
    if status == 0 and v.type == LLAMA_VOCAB_TYPE_BPE:
        status = build_merges(gguf, v)
    if status == 0:
        status = find_newline(v)
    return status


cdef int load(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef bnf_str model
    cdef int32_t role
    cdef int found
    for role in range(<int>BNF_N_ROLES):
        v.special[role] = -1
    found = bnf_gguf_str(gguf, "tokenizer.ggml.model", &model)
    if found < 0:
        return found
    v.type = LLAMA_VOCAB_TYPE_NONE
    v.seed = <uint64_t><size_t>v
    if found == 0:
        return bnf_vocab_repair("tokenizer.ggml.model is missing: the model takes token ids, not text")
    if equals(model, "none") or equals(model, "no_vocab"):
        return 0
    if equals(model, "gpt2"):
        v.type = LLAMA_VOCAB_TYPE_BPE
    elif equals(model, "llama"):
        v.type = LLAMA_VOCAB_TYPE_SPM
    else:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.model: '%.*s', expected gpt2 (byte-level BPE), llama "
                        "(SentencePiece BPE) or none", shown(model), model.data)
    return load_tokens(gguf, v)


# The vocabulary of a file. Type NONE (ids only) has no tokens: n_tokens is 0 and the model's rows count.
cdef public int bnf_vocab_load(const bnf_gguf *gguf, bnf_vocab **out) noexcept nogil:
    cdef bnf_vocab_t *v = <bnf_vocab_t *>bnf_alloc(sizeof(bnf_vocab_t))
    cdef int status
    out[0] = NULL
    if v == NULL:
        return BITNET_ERROR_MEMORY
    status = load(gguf, v)
    if status < 0:
        bnf_vocab_free(<bnf_vocab *>v)
        return status
    out[0] = <bnf_vocab *>v
    return 0


cdef public void bnf_vocab_free(bnf_vocab *vocab) noexcept nogil:
    cdef bnf_vocab_t *v = <bnf_vocab_t *>vocab
    if v == NULL:
        return
    bnf_release(v.text.bytes)
    bnf_release(v.text.at)
    bnf_release(v.piece.bytes)
    bnf_release(v.piece.at)
    bnf_release(v.score)
    bnf_release(v.attr)
    bnf_release(v.eog)
    bnf_release(v.whole)
    bnf_release(v.key_slots)
    bnf_release(v.merge_slots)
    bnf_release(v.specials)
    bnf_release(v.special_order)
    bnf_release(v)


cdef public int32_t bnf_vocab_n_tokens(const bnf_vocab *vocab) noexcept nogil:
    return (<const bnf_vocab_t *>vocab).n_tokens if vocab != NULL else 0


cdef public bool bnf_vocab_is_eog(const bnf_vocab *vocab, int32_t token) noexcept nogil:
    cdef const bnf_vocab_t *v = <const bnf_vocab_t *>vocab
    return v != NULL and token >= 0 and token < v.n_tokens and v.eog[token] != 0
