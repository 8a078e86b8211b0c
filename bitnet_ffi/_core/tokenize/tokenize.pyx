# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# From a text to tokens: special tokens are taken out first, the stretches between them are cut into words and merged.
# Both steps give llama.cpp's tokens; malformed UTF-8 becomes U+FFFD for BPE and byte tokens for SPM, as there.
# May not keep anything between calls: a vocabulary is shared by threads.
# The other families have files of their own: tokenize_wordpiece.pyx, _unigram, _raw, _rwkv, _plamo, _dna.
# Next: csrc/bnf_split.c (words), merge.pyx (tokens), api_vocab.pyx (the public calls).

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_fail, bnf_log, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_public cimport (
    bool, BITNET_ERROR_MEMORY, BITNET_ERROR_TOKENIZE, BITNET_TOKENIZE_ADD_SPECIAL, BITNET_TOKENIZE_NOT_FIRST, BITNET_TOKENIZE_NOT_LAST,
    BITNET_TOKENIZE_PARSE_SPECIAL, GGML_LOG_LEVEL_WARN, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_LSTRIP, LLAMA_TOKEN_ATTR_RSTRIP,
    LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_VOCAB_TYPE_NONE, LLAMA_VOCAB_TYPE_PLAMO2, LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_SPM,
    LLAMA_VOCAB_TYPE_UGM, LLAMA_VOCAB_TYPE_WPM)
from bitnet_ffi._core.bnf_trie cimport (
    bnf_dna_find, bnf_tokenize_dna, bnf_tokenize_plamo, bnf_tokenize_raw, bnf_tokenize_rwkv, bnf_tokenize_unigram,
    bnf_tokenize_wordpiece)
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_fragment, bnf_ids, bnf_ids_add, bnf_join_bytes, bnf_joins, bnf_key, bnf_key_ask, bnf_key_of, bnf_merge_begin, bnf_merge_free,
    bnf_merge_key, bnf_merge_reserve, bnf_merge_scratch, bnf_merge_word, bnf_ranges_repaired, bnf_ranges_spaces, bnf_split_next,
    bnf_split_start, bnf_split_t, bnf_strings_get, bnf_utf8_is_clean, bnf_utf8_repair, bnf_vocab_t, BNF_BOS, BNF_EOS, BNF_NO_TOKEN,
    BNF_SEP, BNF_SHORT_WORD)

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)

cdef enum:
    LONGEST = 0x7FFFFFFF   # bytes of one stretch, escapes included: positions in a word are 32 bits wide
    AHEAD = 4              # words that are cut off before the first of them is merged: their cache misses overlap
    DNA = 0x7FFFFFFF       # instead of a token: a fragment of DNA


# ---- special tokens ----

cdef inline bool is_space(uint8_t c) noexcept nogil:
    return c == c' ' or (c >= 9 and c <= 13)


# Control and unknown tokens are looked for only when special tokens are parsed; user-defined ones always.
cdef inline bool wanted(const bnf_vocab_t *v, uint32_t token, bool parse_special) noexcept nogil:
    return parse_special or not v.attr[token] & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)


# Mark the specials that occur anywhere in the text: found[i] = 1 for v.specials[i]. Returns how many.
# At every position the sorted list is narrowed byte by byte, which takes as many steps as the longest special that
# begins like the text.
cdef int32_t mark_specials(const bnf_vocab_t *v, const uint8_t *text, size_t length, bool parse_special,
                           uint8_t *found) noexcept nogil:
    cdef size_t at, depth
    cdef int32_t low, high, middle, end, n = 0
    cdef uint32_t n_bytes = 0
    cdef const uint8_t *bytes
    cdef uint8_t c
    for at in range(length):
        low = v.special_first[text[at]]
        high = v.special_first[<int>text[at] + 1]
        depth = 1
        while low < high:
            bytes = bnf_strings_get(&v.text, <uint32_t>v.specials[low], &n_bytes)
            if n_bytes == depth:
                if not found[low] and wanted(v, <uint32_t>v.specials[low], parse_special):
                    found[low] = 1
                    n += 1
                low += 1
                continue
            if at + depth == length:
                break
            c = text[at + depth]
            end = high
            while low < end:
                middle = low + ((end - low) >> 1)
                if bnf_strings_get(&v.text, <uint32_t>v.specials[middle], &n_bytes)[depth] < c:
                    low = middle + 1
                else:
                    end = middle
            end = low
            while end < high:
                middle = end + ((high - end) >> 1)
                if bnf_strings_get(&v.text, <uint32_t>v.specials[middle], &n_bytes)[depth] <= c:
                    end = middle + 1
                else:
                    high = middle
            depth += 1
    return n


# A growing list of stretches and tokens.
cdef struct Fragments:
    bnf_fragment *items
    size_t n
    size_t cap


cdef int add_fragment(Fragments *list, size_t begin, size_t length, uint32_t token) noexcept nogil:
    cdef bnf_fragment *items
    if token == BNF_NO_TOKEN and length == 0:
        return 0
    if list.n == list.cap:
        items = <bnf_fragment *>bnf_resize(list.items, list.cap * sizeof(bnf_fragment), (2 * list.cap + 8) * sizeof(bnf_fragment))
        if items == NULL:
            return BITNET_ERROR_MEMORY
        list.items = items
        list.cap = 2 * list.cap + 8
    list.items[list.n].begin = begin
    list.items[list.n].len = length
    list.items[list.n].token = token
    list.n += 1
    return 0


# Every stretch of `source`, cut at the occurrences of one token, goes to `cut`.
cdef int cut_at(const bnf_vocab_t *v, const uint8_t *text, uint32_t token, const Fragments *source, Fragments *cut) noexcept nogil:
    cdef size_t i, begin, end, left, match
    cdef uint32_t n_bytes = 0
    cdef const uint8_t *bytes = bnf_strings_get(&v.text, token, &n_bytes)
    cdef const uint8_t *hit
    cdef int status = 0
    cut.n = 0
    for i in range(source.n):
        begin = source.items[i].begin
        end = begin + source.items[i].len
        if source.items[i].token != BNF_NO_TOKEN:
            status |= add_fragment(cut, begin, source.items[i].len, source.items[i].token)
            continue
        while status == 0:
            hit = <const uint8_t *>memmem(text + begin, end - begin, bytes, n_bytes)
            if hit == NULL:
                break
            match = <size_t>(hit - text)
            left = match
            if v.attr[token] & LLAMA_TOKEN_ATTR_LSTRIP:
                while left > begin and is_space(text[left - 1]):
                    left -= 1
            status |= add_fragment(cut, begin, left - begin, BNF_NO_TOKEN)
            status |= add_fragment(cut, match, n_bytes, token)
            begin = match + n_bytes
            if v.attr[token] & LLAMA_TOKEN_ATTR_RSTRIP:
                while begin < end and is_space(text[begin]):
                    begin += 1
        status |= add_fragment(cut, begin, end - begin, BNF_NO_TOKEN)
    return BITNET_ERROR_MEMORY if status else 0


# The text as stretches and special tokens. Longer tokens are cut out first, wherever they stand, as llama.cpp does it;
# only tokens that do occur are searched for, so thousands of specials cost nothing in ordinary text.
cdef int partition(const bnf_vocab_t *v, const uint8_t *text, size_t length, bool parse_special, Fragments *list) noexcept nogil:
    cdef Fragments cut
    cdef Fragments swap
    cdef uint8_t *found
    cdef int32_t i, left = 0
    cdef int status = add_fragment(list, 0, length, BNF_NO_TOKEN)
    if status < 0 or length == 0 or not (v.n_specials if parse_special else v.n_user_defined):
        return status
    found = <uint8_t *>bnf_alloc(<size_t>v.n_specials)
    if found == NULL:
        return BITNET_ERROR_MEMORY
    left = mark_specials(v, text, length, parse_special, found)
    cut.items = NULL
    cut.n = 0
    cut.cap = 0
    i = 0
    while left > 0 and status == 0:
        if found[v.special_order[i]]:
            left -= 1
            status = cut_at(v, text, <uint32_t>v.specials[v.special_order[i]], list, &cut)
            swap = list[0]
            list[0] = cut
            cut = swap
        i += 1
    bnf_release(cut.items)
    bnf_release(found)
    return status


# ---- stretches ----

cdef int tokenize_bpe(const bnf_vocab_t *v, const uint8_t *text, size_t length, bnf_merge_scratch *scratch, bnf_ids *ids) noexcept nogil:
    cdef bnf_split_t split
    cdef bnf_key[AHEAD] keys   # word i is keys[i % AHEAD]
    cdef bnf_key *key
    cdef const uint8_t *word
    cdef size_t n = 0, done = 0
    cdef int status = 0
    ids.base = text
    if not bnf_utf8_is_clean(text, length):
        status = bnf_merge_reserve(scratch, 3 * length)
        if status < 0:
            return status
        length = bnf_utf8_repair(text, length, scratch.bytes)
        text = scratch.bytes
        ids.base = text
    if length > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most 2147483647", length)
    scratch.end = text + length
    bnf_split_start(&split, v.pre, text, length)
    while status == 0 and (split.pos < split.end or done < n):
        if split.pos < split.end:
            word = split.pos
            bnf_split_next(&split)
            key = keys + n % AHEAD
            key[0] = bnf_key_of(v, word, <size_t>(split.pos - word), scratch.end)
            bnf_key_ask(v, scratch, key)
            n += 1
            if n < AHEAD and split.pos < split.end:
                continue
        status = bnf_merge_key(v, keys + done % AHEAD, False, scratch, ids)
        done += 1
    return status


# Spaces become U+2581 and one may be put in front. The stretch is one word for SentencePiece; it is merged in parts, cut
# where no token reaches from one character to the next.
cdef int tokenize_spm(const bnf_vocab_t *v, const uint8_t *text, size_t length, bool lead, bnf_merge_scratch *scratch,
                      bnf_ids *ids) noexcept nogil:
    cdef size_t i, n = 0, begin = 0, n_spaces = 1 if lead else 0
    cdef uint8_t *out
    cdef uint8_t first = 0, last = 0, before
    cdef int status
    for i in range(length):
        n_spaces += text[i] == c' '
    n = length + 2 * n_spaces + (1 if lead else 0)
    if n > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes with its spaces escaped, expected at most 2147483647", n)
    status = bnf_merge_reserve(scratch, n + BNF_SHORT_WORD)
    if status < 0:
        return status
    out = scratch.bytes
    scratch.end = out + scratch.cap_bytes
    ids.base = out
    n = 0
    if lead:
        memcpy(out, "\xe2\x96\x81", 3)
        n = 3
    for i in range(length):
        if text[i] == c' ':
            memcpy(out + n, "\xe2\x96\x81", 3)
            n += 3
        else:
            out[n] = text[i]
            n += 1
    i = 0
    while i < n and status == 0:
        before = last
        length = bnf_join_bytes(out + i, n - i, &first, &last)
        if i > begin and not bnf_joins(v, before, first):
            status = bnf_merge_word(v, out + begin, i - begin, scratch, ids)
            begin = i
        i += length
    if status == 0:
        status = bnf_merge_word(v, out + begin, n - begin, scratch, ids)
    return status


# DNA within stretches becomes fragments of its own, marked as such.
cdef int mark_dna(const bnf_vocab_t *v, const uint8_t *text, Fragments *list) noexcept nogil:
    cdef Fragments cut
    cdef size_t i, at, end, begin, n = 0
    cdef int status = 0
    cut.items = NULL
    cut.n = 0
    cut.cap = 0
    for i in range(list.n):
        at = list.items[i].begin
        end = at + list.items[i].len
        if list.items[i].token != BNF_NO_TOKEN:
            status |= add_fragment(&cut, at, list.items[i].len, list.items[i].token)
            continue
        while at < end:
            begin = bnf_dna_find(v, text + at, end - at, &n)
            status |= add_fragment(&cut, at, begin, BNF_NO_TOKEN)
            if n > begin:
                status |= add_fragment(&cut, at + begin, n - begin, DNA)
            at += n
    bnf_release(list.items)
    list[0] = cut
    return BITNET_ERROR_MEMORY if status else 0


# The tokens of a stretch without special tokens.
cdef int stretch(const bnf_vocab_t *v, const uint8_t *text, size_t length, bool lead, bnf_merge_scratch *scratch,
                 bnf_ids *ids) noexcept nogil:
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        return tokenize_spm(v, text, length, lead, scratch, ids)
    if v.type == LLAMA_VOCAB_TYPE_WPM:
        return bnf_tokenize_wordpiece(v, text, length, scratch, ids)
    if v.type == LLAMA_VOCAB_TYPE_UGM:
        return bnf_tokenize_unigram(v, text, length, ids)
    if v.type == LLAMA_VOCAB_TYPE_PLAMO2:
        return bnf_tokenize_plamo(v, text, length, scratch, ids)
    if v.type == LLAMA_VOCAB_TYPE_RWKV:
        bnf_tokenize_rwkv(v, text, length, ids)
        return 0
    return bnf_tokenize_raw(v, text, length, scratch, ids) if v.by_chars else tokenize_bpe(v, text, length, scratch, ids)


# Warn as llama.cpp does when the text brings the token that the vocabulary's rule adds anyway.
cdef void warn_double(const bnf_vocab_t *v, const bnf_ids *ids) noexcept nogil:
    if ids.n < 2 or ids.n > ids.cap:
        return
    if v.add_bos and ids.out[1] == v.special[<int>BNF_BOS] and ids.out[0] == ids.out[1]:
        bnf_log(GGML_LOG_LEVEL_WARN, "tokenize: a BOS token was added, but the text already begins with one\n")
    if v.add_eos and ids.out[ids.n - 2] == v.special[<int>BNF_EOS] and ids.out[ids.n - 1] == ids.out[ids.n - 2]:
        bnf_log(GGML_LOG_LEVEL_WARN, "tokenize: an EOS token was added, but the text already ends with one\n")


# Ranges of the tokens from `first` on, in a stretch that was merged as it is, with its bytes repaired, or its spaces escaped.
cdef void place(const bnf_vocab_t *v, const uint8_t *text, const bnf_fragment *part, bool lead, const bnf_ids *ids,
                int64_t first) noexcept nogil:
    cdef int32_t *ranges = ids.ranges + 2 * first
    cdef int64_t i, n = (ids.n if ids.n < ids.cap else ids.cap) - first
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        bnf_ranges_spaces(text + part.begin, lead, <int32_t>part.begin, ranges, n)
    elif ids.base != text + part.begin:
        bnf_ranges_repaired(text + part.begin, part.len, v.drop_white and v.match.lowercase, <int32_t>part.begin, ranges, n)
    else:
        for i in range(2 * n):
            ranges[i] += <int32_t>part.begin


cdef public int64_t bnf_tokenize_with(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, uint32_t flags,
                                      bnf_merge_scratch *scratch, int32_t *tokens, int32_t *ranges, int64_t n_tokens_max) noexcept nogil:
    cdef Fragments list
    cdef bnf_ids ids
    cdef bnf_fragment *part
    cdef size_t i
    cdef int64_t first
    cdef bool bert = vocab.type == LLAMA_VOCAB_TYPE_WPM   # [CLS] and [SEP] as llama.cpp adds them, whatever the flags say
    cdef bool plain = vocab.type == LLAMA_VOCAB_TYPE_RWKV or vocab.type == LLAMA_VOCAB_TYPE_PLAMO2   # never adds any
    cdef int32_t last = vocab.special[<int>(BNF_SEP if bert else BNF_EOS)]
    cdef bool add_bos = flags & BITNET_TOKENIZE_ADD_SPECIAL and not flags & BITNET_TOKENIZE_NOT_FIRST \
        and not plain and (vocab.special[<int>BNF_BOS] >= 0 if bert else vocab.add_bos)
    cdef bool add_eos = flags & BITNET_TOKENIZE_ADD_SPECIAL and not flags & BITNET_TOKENIZE_NOT_LAST \
        and not plain and (last >= 0 if bert else vocab.add_eos)
    cdef bool after_special = not flags & BITNET_TOKENIZE_NOT_FIRST   # the beginning counts as one
    cdef bool lead
    cdef int status
    if vocab.type == LLAMA_VOCAB_TYPE_NONE:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "the model has no vocabulary: it takes token ids, not text; "
                        "put a tokenizer in with 'bitnet compat-fix --tokenizer'")
    list.items = NULL
    list.n = 0
    list.cap = 0
    ids.out = tokens
    ids.ranges = ranges
    ids.cap = n_tokens_max
    ids.n = 0
    ids.base = text
    if add_bos:
        bnf_ids_add(&ids, <uint32_t>vocab.special[<int>BNF_BOS], text, 0)
    status = partition(vocab, text, length, flags & BITNET_TOKENIZE_PARSE_SPECIAL != 0, &list)
    if status == 0 and vocab.dna:
        status = mark_dna(vocab, text, &list)
    i = 0
    while i < list.n and status == 0:
        part = list.items + i
        first = ids.n
        if part.token == DNA:
            ids.base = text
            bnf_tokenize_dna(vocab, text + part.begin, part.len, &ids)
        elif part.token != BNF_NO_TOKEN:
            ids.base = text
            bnf_ids_add(&ids, part.token, text + part.begin, part.len)
            after_special = True
        else:
            lead = vocab.add_space_prefix and after_special
            status = stretch(vocab, text + part.begin, part.len, lead, scratch, &ids)
            after_special = False
            if ranges != NULL and first < ids.cap:
                place(vocab, text, part, lead, &ids, first)
        i += 1
    ids.base = text
    if add_eos:
        bnf_ids_add(&ids, <uint32_t>last, text + length, 0)
    bnf_release(list.items)
    if status < 0:
        return status
    if flags & BITNET_TOKENIZE_ADD_SPECIAL:
        warn_double(vocab, &ids)
    return ids.n


cdef public int64_t bnf_tokenize(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, uint32_t flags,
                                 int32_t *tokens, int32_t *ranges, int64_t n_tokens_max) noexcept nogil:
    cdef bnf_merge_scratch scratch
    cdef int64_t n = bnf_merge_begin(&scratch, length)
    if n == 0:
        n = bnf_tokenize_with(vocab, text, length, flags, &scratch, tokens, ranges, n_tokens_max)
    bnf_merge_free(&scratch)
    return n
