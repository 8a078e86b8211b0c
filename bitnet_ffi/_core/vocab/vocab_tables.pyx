# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What tokenizing looks up, built from texts and attributes in one pass each: the bytes that tokens stand for, tokens by
# their key, and tokens of single bytes.
# Next: vocab_merges.pyx for the merges of BPE; merge.pyx uses the tables; bnf_vocab.h has their layout and look-ups.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_log, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_public cimport (
    bool, BITNET_ERROR_MEMORY, GGML_LOG_LEVEL_INFO, LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_UNKNOWN,
    LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_VOCAB_TYPE_BPE, LLAMA_VOCAB_TYPE_PLAMO2, LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_SPM,
    LLAMA_VOCAB_TYPE_WPM)
from bitnet_ffi._core.bnf_trie cimport bnf_vocab_match_pieces
from bitnet_ffi._core.bnf_types cimport bnf_gguf
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_alphabet_next, bnf_byte_of_text, bnf_join_bytes, bnf_joins_set, bnf_key, bnf_key_find, bnf_key_find_bytes, bnf_key_of,
    bnf_key_slot, bnf_key_slot_of, bnf_prefetch, bnf_strings_end, bnf_strings_get, bnf_strings_new, bnf_tokenize, bnf_vocab_merges,
    bnf_vocab_repair, bnf_vocab_t, BNF_NL, BNF_NO_TOKEN, BNF_PAD, BNF_PRE_WHITESPACE, BNF_SHORT_WORD, BNF_WHOLE_NO)

cdef enum:
    BATCH = 32   # tokens whose slots are asked for together


# ---- pieces: what a token stands for ----

# Text in the GPT-2 byte alphabet as bytes, never more than the text has. Their number; -1: not in the alphabet.
cdef int64_t decode_alphabet(const uint8_t *text, uint32_t length, uint8_t *out) noexcept nogil:
    cdef const uint8_t *end = text + length
    cdef int64_t written = 0
    cdef int byte
    while text < end:
        byte = bnf_alphabet_next(text, end, &text)
        if byte < 0:
            return -1
        out[written] = <uint8_t>byte
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


cdef inline uint8_t hex_digit(uint8_t c) noexcept nogil:
    return <uint8_t>(c - c'a' + 10) if c >= c'a' and c < 0x80 else <uint8_t>(c - c'0')


# RWKV's text: a backslash before x and two small hexadecimal digits, before t, n, r, or before what stands for itself. What no
# such text has means what it does in llama.cpp.
cdef size_t unescape_rwkv(const uint8_t *text, size_t length, uint8_t *out) noexcept nogil:
    cdef size_t at = 0, written = 0
    cdef uint8_t c
    while at < length:
        c = text[at]
        at += 1
        if c == c'\\':
            if at == length:
                break
            c = text[at]
            at += 1
            if c == c'x':
                if length - at < 2:
                    break
                c = <uint8_t>((hex_digit(text[at]) << 4) + hex_digit(text[at + 1]))
                at += 2
            elif c == c't':
                c = c'\t'
            elif c == c'n':
                c = c'\n'
            elif c == c'r':
                c = c'\r'
        out[written] = c
        written += 1
    return written


# Is every character its own spelling in the byte alphabet?
cdef bool is_printable(const uint8_t *text, uint32_t length) noexcept nogil:
    cdef uint32_t i
    for i in range(length):
        if text[i] <= c' ' or text[i] >= 0x7F:
            return False
    return True


# Write the piece of token i. Returns true when merging may produce the token: for BPE only when its text spells its piece.
# Special and user-defined tokens stand for their text; a normal token with characters outside the alphabet too.
cdef bool build_piece(bnf_vocab_t *v, int32_t i) noexcept nogil:
    cdef uint32_t length = 0
    cdef const uint8_t *text = bnf_strings_get(&v.text, <uint32_t>i, &length)
    cdef uint8_t *out = <uint8_t *>v.piece.bytes + v.piece.at[i]
    cdef int byte = bnf_byte_of_text(text, length) if v.attr[i] & LLAMA_TOKEN_ATTR_BYTE else -1
    cdef int64_t n = -1
    cdef bool alphabet = v.type == LLAMA_VOCAB_TYPE_BPE and not v.by_chars
    cdef bool has_key = not alphabet
    if v.type == LLAMA_VOCAB_TYPE_RWKV:
        n = <int64_t>unescape_rwkv(text, length, out)
    elif byte >= 0:
        out[0] = <uint8_t>byte
        n = 1
    elif not v.attr[i] & (LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED):
        if alphabet:
            n = decode_alphabet(text, length, out)
            has_key = n >= 0
        elif v.type != LLAMA_VOCAB_TYPE_PLAMO2 and not (v.type == LLAMA_VOCAB_TYPE_BPE and v.pre == BNF_PRE_WHITESPACE):
            n = <int64_t>unescape_spaces(text, length, out)
    else:
        has_key |= is_printable(text, length)
    if n < 0:
        memcpy(out, text, length)
        n = length
    bnf_strings_end(&v.piece, i, <size_t>n)
    return has_key and not (v.dna and v.match.strand[i])


# ---- keys ----

# The smallest power of two that is at least twice n, and at least 16.
cdef uint32_t slots_for(uint32_t n) noexcept nogil:
    cdef uint32_t size = 16
    while size < 2 * n:
        size *= 2
    return size


# Token i under its key, unless an earlier token has it.
cdef bool add_key(bnf_vocab_t *v, int32_t i, const bnf_key *key) noexcept nogil:
    cdef uint32_t slot = <uint32_t>key.hash & (v.n_key_slots - 1)
    if bnf_key_find(v, key) != BNF_NO_TOKEN:
        return False
    while v.key_slots[slot].token:
        slot = (slot + 1) & (v.n_key_slots - 1)
    v.key_slots[slot].tag = <uint32_t>(key.hash >> 32)
    v.key_slots[slot].token = <uint32_t>i + 1
    return True


# Pieces and keys, a few tokens at a time, so that the misses in the table of keys overlap.
# A token that no key leads to can be no word: BNF_WHOLE_NO.
cdef int build_keys(bnf_vocab_t *v) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    cdef bnf_key[BATCH] keys
    cdef int32_t i, k, n, begin = 0, n_repeated = 0, first_repeated = 0
    cdef uint32_t length = 0, longest = 0
    cdef const uint8_t *bytes
    if bnf_strings_new(&v.piece, v.n_tokens, v.text.at[v.n_tokens]) < 0:   # a piece is never longer than its text
        return BITNET_ERROR_MEMORY
    v.key = &v.piece if v.type == LLAMA_VOCAB_TYPE_BPE and not v.by_chars else &v.text
    v.n_key_slots = slots_for(<uint32_t>v.n_tokens)
    v.key_slots = <bnf_key_slot *>bnf_alloc_array(v.n_key_slots, sizeof(bnf_key_slot))
    if v.key_slots == NULL:
        return BITNET_ERROR_MEMORY
    v.max_key_len = 0xFFFFFFFF   # while building; then the longest key
    while begin < v.n_tokens:
        n = v.n_tokens - begin if v.n_tokens - begin < BATCH else BATCH
        for k in range(n):
            i = begin + k
            if not build_piece(v, i):
                v.whole[i] = BNF_WHOLE_NO
                continue
            bytes = bnf_strings_get(v.key, <uint32_t>i, &length)
            longest = length if length > longest else longest
            keys[k] = bnf_key_of(v, bytes, length, bytes + BNF_SHORT_WORD)
            bnf_prefetch(bnf_key_slot_of(v, keys[k].hash))
        for k in range(n):
            i = begin + k
            if v.whole[i] != BNF_WHOLE_NO and not add_key(v, i, keys + k):
                v.whole[i] = BNF_WHOLE_NO
                if n_repeated == 0:
                    first_repeated = i
                n_repeated += 1
        begin += n
    v.max_key_len = longest
    if n_repeated:
        return bnf_vocab_repair("tokenizer.ggml.tokens: %d tokens repeat the text of another, the first is %d ('%s'); "
                                "text becomes the first of them", n_repeated, first_repeated,
                                bnf_show(v.text.bytes + v.text.at[first_repeated],
                                         v.text.at[first_repeated + 1] - v.text.at[first_repeated] - 1, shown))
    return 0


# Which characters stand side by side in a token.
cdef int build_joins(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t i
    cdef uint32_t length = 0
    cdef const uint8_t *text
    cdef const uint8_t *end
    cdef uint8_t first = 0, last = 0, before
    v.joins = <uint8_t *>bnf_alloc(1 << 13)
    if v.joins == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        end = text + length
        text += bnf_join_bytes(text, length, &first, &last)
        while text < end:
            before = last
            text += bnf_join_bytes(text, <size_t>(end - text), &first, &last)
            bnf_joins_set(v, before, first)
    return 0


# ---- bytes ----

# PLaMo-2 has the last token of type byte for each; what names a byte but is none counts for the others too.
cdef void find_typed_bytes(bnf_vocab_t *v) noexcept nogil:
    cdef const uint8_t *text
    cdef uint32_t length = 0
    cdef int32_t i
    cdef int byte
    for byte in range(256):
        v.byte_token[byte] = BNF_NO_TOKEN
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        byte = bnf_byte_of_text(text, length) if v.attr[i] & LLAMA_TOKEN_ATTR_BYTE else -1
        if byte >= 0:
            v.byte_token[byte] = <uint32_t>i


cdef int build_bytes(bnf_vocab_t *v) noexcept nogil:
    cdef int byte, n_missing = 0, first_missing = 0
    cdef bool alphabet = v.type == LLAMA_VOCAB_TYPE_BPE and not v.by_chars
    cdef bool typed = v.type == LLAMA_VOCAB_TYPE_PLAMO2
    cdef uint8_t c
    cdef uint8_t[6] text
    cdef const char *digits = "0123456789ABCDEF"
    if typed:
        find_typed_bytes(v)
    for byte in range(256):
        c = <uint8_t>byte
        if v.by_chars:
            memcpy(text, "<0x00>", 6)
            text[3] = <uint8_t>digits[byte >> 4]
            text[4] = <uint8_t>digits[byte & 15]
            v.byte_token[byte] = bnf_key_find_bytes(v, text, 6, text + 6)
        if alphabet or (v.type == LLAMA_VOCAB_TYPE_SPM and v.byte_token[byte] == BNF_NO_TOKEN):
            v.byte_token[byte] = bnf_key_find_bytes(v, &c, 1, &c + 1)
        if v.byte_token[byte] == BNF_NO_TOKEN:
            if n_missing == 0:
                first_missing = byte
            n_missing += 1
            if alphabet:
                v.byte_token[byte] = <uint32_t>(v.n_tokens + byte)   # so that merges of this byte still work
    if n_missing and (v.type == LLAMA_VOCAB_TYPE_SPM or typed):
        return bnf_vocab_repair("%d of 256 bytes have no token, the first is 0x%02x: in a text they become the unknown token",
                                n_missing, first_missing)
    if n_missing:   # common: SmolLM2 was trained without 21 bytes, most of which no UTF-8 text has
        bnf_log(GGML_LOG_LEVEL_INFO, "vocabulary: %d of 256 bytes have no token, the first is 0x%02x: they are left out of a text\n",
                n_missing, first_missing)
    return 0


# ---- the whole ----

# The token of a line feed; when there is none the padding token, which no BPE has by itself (llama.cpp asks before it reads keys).
cdef int find_newline(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t token = -1
    cdef int64_t n = 1
    if v.type == LLAMA_VOCAB_TYPE_WPM:
        n = 0   # white space is no token
    elif v.type == LLAMA_VOCAB_TYPE_SPM:
        token = <int32_t>v.byte_token[<int>c'\n']   # BNF_NO_TOKEN reads as -1
    else:
        n = bnf_tokenize(v, <const uint8_t *>"\n", 1, 0, &token, NULL, 1)
    if n <= 0 or token < 0:
        token = -1 if v.type == LLAMA_VOCAB_TYPE_BPE else v.special[<int>BNF_PAD]
    v.special[<int>BNF_NL] = token
    return 0 if n >= 0 else <int>n


cdef public int bnf_vocab_tables(const bnf_gguf *gguf, bnf_vocab_t *vocab) noexcept nogil:
    cdef int status = build_keys(vocab)
    if status == 0 and (vocab.by_chars or vocab.type == LLAMA_VOCAB_TYPE_BPE or vocab.type == LLAMA_VOCAB_TYPE_PLAMO2):
        status = build_bytes(vocab)
    if status == 0 and vocab.by_chars:
        status = build_joins(vocab)
    if status == 0 and vocab.type == LLAMA_VOCAB_TYPE_BPE:
        status = bnf_vocab_merges(gguf, vocab)
    if status == 0:
        status = bnf_vocab_match_pieces(vocab)
    return find_newline(vocab) if status == 0 else status
