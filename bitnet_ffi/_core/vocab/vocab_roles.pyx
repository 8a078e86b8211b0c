# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What single tokens are for: BOS, EOS and the other roles, which tokens end generation, which ones strip the space beside
# them, and the sorted list of those that are looked for in a text. Metadata keys come first, then known texts.
# Runs when texts and attributes are loaded and before pieces are built, because it may change attributes.
# Next: the tables in csrc/bnf_vocab_names.c; vocab.pyx calls this.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint16_t, uint32_t
from libc.string cimport memcmp, memset, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_bool, bnf_gguf_str, bnf_gguf_u32
from bitnet_ffi._core.bnf_public cimport (
    bool, BITNET_ERROR_MEMORY, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_LSTRIP, LLAMA_TOKEN_ATTR_NORMAL, LLAMA_TOKEN_ATTR_RSTRIP,
    LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_VOCAB_TYPE_BPE, LLAMA_VOCAB_TYPE_PLAMO2,
    LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_SPM, LLAMA_VOCAB_TYPE_UGM, LLAMA_VOCAB_TYPE_WPM)
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_str
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_known_texts, bnf_role_keys, bnf_strings_get, bnf_vocab_repair, bnf_vocab_t, BNF_BOS, BNF_EOM, BNF_EOS, BNF_EOT, BNF_FIM_PAD,
    BNF_FIM_REP, BNF_FIM_SEP, BNF_KNOWN_EOG, BNF_KNOWN_SHOWN, BNF_MASK, BNF_N_ROLES, BNF_PAD, BNF_PRE_GEMMA4, BNF_SEP, BNF_UNK)

cdef enum:
    NO_LINE = 0x7FFFFFFF


cdef inline bool has_text(const bnf_vocab_t *v, int32_t token, const char *text) noexcept nogil:
    cdef uint32_t length = 0
    cdef const uint8_t *bytes = bnf_strings_get(&v.text, <uint32_t>token, &length)
    return length == strlen(text) and memcmp(bytes, text, length) == 0


cdef inline const char *show(const bnf_vocab_t *v, int32_t token, char *out) noexcept nogil:
    return bnf_show(v.text.bytes + v.text.at[token], v.text.at[token + 1] - v.text.at[token] - 1, out)


# The first token with this text, or -1. Only for loading: it looks at every token.
cdef int32_t find_text(const bnf_vocab_t *v, const char *text) noexcept nogil:
    cdef int32_t i
    for i in range(v.n_tokens):
        if has_text(v, i, text):
            return i
    return -1


# Does the text contain the lower-case ASCII word, whatever the case of its own letters?
cdef bool contains(const char *text, size_t length, const char *word) noexcept nogil:
    cdef size_t n = strlen(word), i, k
    cdef uint8_t c
    for i in range(length - n + 1 if length >= n else 0):
        k = 0
        while k < n:
            c = <uint8_t>text[i + k]
            if c >= c'A' and c <= c'Z':
                c |= 0x20
            if c != <uint8_t>word[k]:
                break
            k += 1
        if k == n:
            return True
    return False


# ---- roles ----

cdef int read_keys(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef size_t i = 0
    cdef uint32_t token = 0
    cdef int found, status = 0
    while bnf_role_keys[i].key != NULL and status == 0:
        found = bnf_gguf_u32(gguf, bnf_role_keys[i].key, &token)
        if found < 0:
            bnf_clear_error()
            status = bnf_vocab_repair("key '%s' is not a token id; it is ignored", bnf_role_keys[i].key)
        elif found and token < <uint32_t>v.n_tokens:
            v.special[bnf_role_keys[i].role] = <int32_t>token
        elif found:
            status = bnf_vocab_repair("key '%s': token %u, expected one below %d; it is ignored", bnf_role_keys[i].key, token,
                                      v.n_tokens)
        i += 1
    return status


cdef int make_control(bnf_vocab_t *v, int32_t token) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    if v.attr[token] & LLAMA_TOKEN_ATTR_CONTROL:
        return 0
    v.attr[token] |= LLAMA_TOKEN_ATTR_CONTROL
    return bnf_vocab_repair("token %d ('%s') looks like a control token but is not marked as one; it is now", token,
                            show(v, token, shown))


# T5 has no BOS, BERT no EOS; RWKV has neither, whatever its token 0 is called, and PLaMo-2's have places (default_roles).
cdef inline bool without(const bnf_vocab_t *v, int32_t role) noexcept nogil:
    if role == BNF_BOS or role == BNF_EOS or role == BNF_UNK:
        return v.type == LLAMA_VOCAB_TYPE_RWKV or v.type == LLAMA_VOCAB_TYPE_PLAMO2 \
            or (role == BNF_BOS and v.type == LLAMA_VOCAB_TYPE_UGM) or (role == BNF_EOS and v.type == LLAMA_VOCAB_TYPE_WPM)
    return False


# Roles that no key gave go to the token with the foremost text in the table; tokens that end generation are marked.
cdef int read_known_texts(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t[32] line                # of the best text for a role so far; BNF_N_ROLES fit
    cdef int32_t[32] best
    cdef int32_t i, k, role
    cdef bool[256] begins                # the bytes that texts of the table begin and end with: few tokens have both
    cdef bool[256] ends
    cdef uint32_t length = 0
    cdef const uint8_t *text
    cdef int status = 0
    memset(begins, 0, sizeof(begins))
    memset(ends, 0, sizeof(ends))
    k = 0
    while bnf_known_texts[k].text != NULL:
        begins[<uint8_t>bnf_known_texts[k].text[0]] = True
        ends[<uint8_t>bnf_known_texts[k].text[strlen(bnf_known_texts[k].text) - 1]] = True
        k += 1
    for role in range(<int>BNF_N_ROLES):
        line[role] = NO_LINE
        best[role] = -1
    for i in range(v.n_tokens):
        text = bnf_strings_get(&v.text, <uint32_t>i, &length)
        if not begins[text[0]] or not ends[text[length - 1]]:
            continue
        k = 0
        while bnf_known_texts[k].text != NULL and status == 0:
            role = bnf_known_texts[k].role
            if has_text(v, i, bnf_known_texts[k].text):
                if role == BNF_KNOWN_SHOWN:
                    v.attr[i] = LLAMA_TOKEN_ATTR_USER_DEFINED
                elif role == BNF_KNOWN_EOG:
                    v.eog[i] = 1
                    status = make_control(v, i)
                elif k < line[role]:
                    line[role] = k
                    best[role] = i
            k += 1
    role = 0
    while role < BNF_N_ROLES and status == 0:
        if v.special[role] < 0 and best[role] >= 0 and not without(v, role):
            v.special[role] = best[role]
            if role == BNF_BOS or role == BNF_EOS or role == BNF_UNK:
                status = bnf_vocab_repair("no key says which token is %s: token %d ('%s') is used",
                                          "BOS" if role == BNF_BOS else "EOS" if role == BNF_EOS else "unknown",
                                          best[role], bnf_known_texts[line[role]].text)
            else:
                status = make_control(v, best[role])
        role += 1
    return status


# The family's own numbers, when neither key nor text says more.
cdef int default_role(bnf_vocab_t *v, int32_t role, int32_t token) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    if v.special[role] >= 0 or token >= v.n_tokens:
        return 0
    v.special[role] = token
    return bnf_vocab_repair("no key says which token is %s: token %d ('%s') is used",
                            "BOS" if role == BNF_BOS else "EOS" if role == BNF_EOS else "unknown" if role == BNF_UNK
                            else "SEP" if role == BNF_SEP else "padding" if role == BNF_PAD else "mask", token, show(v, token, shown))


# BERT and T5 have padding and mask at these numbers.
cdef int default_roles(bnf_vocab_t *v) noexcept nogil:
    cdef int status = 0
    if v.type == LLAMA_VOCAB_TYPE_WPM:
        status = default_role(v, BNF_BOS, 101)
        if status == 0:
            status = default_role(v, BNF_UNK, 100)
        if status == 0:
            status = default_role(v, BNF_SEP, 102)
        if status == 0:
            status = default_role(v, BNF_PAD, 0)
        return default_role(v, BNF_MASK, 103) if status == 0 else status
    if v.type == LLAMA_VOCAB_TYPE_UGM:
        status = default_role(v, BNF_EOS, 1)
        if status == 0:
            status = default_role(v, BNF_UNK, 2)
        return default_role(v, BNF_PAD, 0) if status == 0 else status
    if v.type == LLAMA_VOCAB_TYPE_SPM or v.type == LLAMA_VOCAB_TYPE_PLAMO2:
        status = default_role(v, BNF_BOS, 1)
        if status == 0:
            status = default_role(v, BNF_EOS, 2)
        if status == 0:
            status = default_role(v, BNF_UNK, 0)
        return default_role(v, BNF_PAD, 3) if status == 0 and v.type == LLAMA_VOCAB_TYPE_PLAMO2 else status
    return 0


# ---- end of generation ----

cdef inline void mark_eog(bnf_vocab_t *v, int32_t role) noexcept nogil:
    if v.special[role] >= 0:
        v.eog[v.special[role]] = 1


cdef inline bool ends(const bnf_vocab_t *v, const char *text) noexcept nogil:
    cdef int32_t token = find_text(v, text)
    return token >= 0 and v.eog[token] != 0


# Two vocabularies use a text of the table for something else: with <|return|> and <|call|> (gpt-oss), or <|call(s)|> and
# <|flush|>, <|end|> closes a message but not the answer; with <|tool_response> (gemma 4), </s> is an ordinary token.
cdef void finish_eog(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t token
    mark_eog(v, BNF_FIM_PAD)
    mark_eog(v, BNF_FIM_REP)
    mark_eog(v, BNF_FIM_SEP)
    mark_eog(v, BNF_EOS)
    mark_eog(v, BNF_EOT)
    mark_eog(v, BNF_EOM)
    if (ends(v, "<|call|>") or ends(v, "<|calls|>")) and (ends(v, "<|return|>") or ends(v, "<|flush|>")):
        token = find_text(v, "<|end|>")
        if token >= 0:
            v.eog[token] = 0
            v.attr[token] = LLAMA_TOKEN_ATTR_USER_DEFINED
    if ends(v, "<|tool_response>"):
        token = find_text(v, "</s>")
        if token >= 0:
            v.eog[token] = 0
            v.attr[token] = LLAMA_TOKEN_ATTR_NORMAL


# ---- rules of the vocabulary ----

cdef int read_rules(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef int found = bnf_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", &v.add_space_prefix)
    cdef int status = 0
    if found == 0 and v.type == LLAMA_VOCAB_TYPE_SPM:
        status = bnf_vocab_repair("tokenizer.ggml.add_space_prefix is missing: true, as SentencePiece has it, is used")
    if found < 0 or status < 0:
        return found if found < 0 else status
    found = bnf_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &v.add_bos)
    if found >= 0:
        found = bnf_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", &v.add_eos)
    if found >= 0:
        found = bnf_gguf_bool(gguf, "tokenizer.ggml.add_sep_token", &v.add_sep)
    if found < 0:
        return found
    if v.type == LLAMA_VOCAB_TYPE_BPE and v.pre == BNF_PRE_GEMMA4:   # files that say no mean yes, as llama.cpp has it
        v.add_bos = True
    if v.add_bos and v.special[<int>BNF_BOS] < 0:
        v.add_bos = False
        status = bnf_vocab_repair("texts should begin with BOS, but no token is BOS: none is added")
    if status == 0 and v.add_eos and v.special[<int>BNF_EOS] < 0:
        v.add_eos = False
        status = bnf_vocab_repair("texts should end with EOS, but no token is EOS: none is added")
    return status


cdef inline void strip(bnf_vocab_t *v, const char *text, uint16_t side, bool on) noexcept nogil:
    cdef int32_t token = find_text(v, text)
    if token >= 0:
        v.attr[token] = v.attr[token] | side if on else v.attr[token] & ~side


# Which tokens swallow the white space beside them stands in no file; llama.cpp knows it by the model's name.
cdef int read_strips(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef bnf_str name, pre
    cdef int32_t i
    name.len = 0
    pre.len = 0
    if bnf_gguf_str(gguf, "general.name", &name) < 0 or bnf_gguf_str(gguf, "tokenizer.ggml.pre", &pre) < 0:
        bnf_clear_error()
        return 0
    if contains(pre.data, pre.len, "jina-v2-de") or contains(pre.data, pre.len, "jina-v2-es") \
            or contains(pre.data, pre.len, "jina-v2-code"):
        strip(v, "<mask>", LLAMA_TOKEN_ATTR_LSTRIP, True)
    elif contains(name.data, name.len, "phi-3") or contains(name.data, name.len, "phi3"):
        for i in range(v.n_tokens):
            if v.attr[i] & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN):
                v.attr[i] |= LLAMA_TOKEN_ATTR_RSTRIP
        strip(v, "</s>", LLAMA_TOKEN_ATTR_RSTRIP, True)
        strip(v, "<unk>", LLAMA_TOKEN_ATTR_RSTRIP, False)
        strip(v, "<s>", LLAMA_TOKEN_ATTR_RSTRIP, False)
        strip(v, "<|endoftext|>", LLAMA_TOKEN_ATTR_RSTRIP, False)
    elif contains(name.data, name.len, "modern-bert"):
        strip(v, "[MASK]", LLAMA_TOKEN_ATTR_LSTRIP, True)
    return 0


# ---- the list of special tokens ----

cdef inline bool is_special(const bnf_vocab_t *v, int32_t i) noexcept nogil:
    return (v.attr[i] & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0


# Order of two tokens by their bytes, a prefix first; equal bytes by number.
cdef inline bool bytes_before(const bnf_vocab_t *v, int32_t a, int32_t b) noexcept nogil:
    cdef uint32_t n_a = 0, n_b = 0
    cdef const uint8_t *x = bnf_strings_get(&v.text, <uint32_t>a, &n_a)
    cdef const uint8_t *y = bnf_strings_get(&v.text, <uint32_t>b, &n_b)
    cdef int order = memcmp(x, y, n_a if n_a < n_b else n_b)
    if order:
        return order < 0
    return n_a < n_b if n_a != n_b else a < b


# Order of two specials by length, the longer first; equal lengths by token.
cdef inline bool longer_before(const bnf_vocab_t *v, int32_t a, int32_t b) noexcept nogil:
    cdef uint32_t n_a = v.text.at[v.specials[a] + 1] - v.text.at[v.specials[a]]
    cdef uint32_t n_b = v.text.at[v.specials[b] + 1] - v.text.at[v.specials[b]]
    return n_a > n_b if n_a != n_b else v.specials[a] < v.specials[b]


# Heap sort: n log n whatever the file holds, in place.
cdef void sort(const bnf_vocab_t *v, int32_t *items, int32_t n, bool by_bytes) noexcept nogil:
    cdef int32_t start = n >> 1, end = n, root, child, item
    while end > 1:
        if start > 0:
            start -= 1
            item = items[start]
        else:
            end -= 1
            item = items[end]
            items[end] = items[0]
        root = start
        while True:
            child = 2 * root + 1
            if child >= end:
                break
            if child + 1 < end and (bytes_before(v, items[child], items[child + 1]) if by_bytes
                                    else longer_before(v, items[child], items[child + 1])):
                child += 1
            if not (bytes_before(v, item, items[child]) if by_bytes else longer_before(v, item, items[child])):
                break
            items[root] = items[child]
            root = child
        items[root] = item


# Of several special tokens with one text only the lowest is listed.
cdef int list_specials(bnf_vocab_t *v) noexcept nogil:
    cdef int32_t i, n = 0, kept = 0
    cdef uint32_t length = 0, other = 0
    cdef const uint8_t *text
    cdef const uint8_t *before
    cdef int32_t byte = 0
    for i in range(v.n_tokens):
        n += is_special(v, i)
    v.specials = <int32_t *>bnf_alloc_array(<size_t>n, sizeof(int32_t))
    v.special_order = <int32_t *>bnf_alloc_array(<size_t>n, sizeof(int32_t))
    if v.specials == NULL or v.special_order == NULL:
        return BITNET_ERROR_MEMORY
    n = 0
    for i in range(v.n_tokens):
        if is_special(v, i):
            v.specials[n] = i
            n += 1
    sort(v, v.specials, n, True)
    for i in range(n):
        text = bnf_strings_get(&v.text, <uint32_t>v.specials[i], &length)
        if kept > 0:
            before = bnf_strings_get(&v.text, <uint32_t>v.specials[kept - 1], &other)
            if length == other and memcmp(before, text, length) == 0:
                continue
        while byte <= text[0]:
            v.special_first[byte] = kept
            byte += 1
        v.specials[kept] = v.specials[i]
        v.special_order[kept] = kept
        v.n_user_defined += not v.attr[v.specials[i]] & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)
        kept += 1
    while byte <= 256:
        v.special_first[byte] = kept
        byte += 1
    v.n_specials = kept
    sort(v, v.special_order, kept, False)
    return 0


cdef public int bnf_vocab_roles(const bnf_gguf *gguf, bnf_vocab_t *vocab) noexcept nogil:
    cdef int32_t i
    cdef int status = read_keys(gguf, vocab)
    if status == 0:
        status = read_known_texts(vocab)
    if status == 0:
        status = default_roles(vocab)
    if status == 0:
        status = read_rules(gguf, vocab)
    if status < 0:
        return status
    for i in range(vocab.n_tokens):
        if vocab.attr[i] & LLAMA_TOKEN_ATTR_CONTROL and contains(vocab.text.bytes + vocab.text.at[i],
                                                                 vocab.text.at[i + 1] - vocab.text.at[i] - 1, "unused"):
            vocab.attr[i] |= LLAMA_TOKEN_ATTR_UNUSED
    finish_eog(vocab)
    status = read_strips(gguf, vocab)
    return list_specials(vocab) if status == 0 else status
