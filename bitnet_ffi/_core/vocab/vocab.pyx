# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Loading a vocabulary from GGUF metadata: texts, attributes, scores, the pre-tokenizer. What a file lacks is repaired with
# a warning (bnf_vocab_repair) or refused with a sentence; no file may crash, hang or make this allocate more than its own
# size asks. Nothing of the mapped file is kept.
# Next: vocab_roles.pyx (what tokens are for), vocab_tables.pyx and vocab_merges.pyx (what merging looks up); bnf_vocab.h
# has the struct.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen
from libc.stdio cimport snprintf
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_bool, bnf_gguf_find, bnf_gguf_next_str, bnf_gguf_str
from bitnet_ffi._core.bnf_public cimport (
    bool, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_NORMAL,
    LLAMA_TOKEN_ATTR_UNDEFINED, LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_VOCAB_TYPE_BPE,
    LLAMA_VOCAB_TYPE_NONE, LLAMA_VOCAB_TYPE_PLAMO2, LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_SPM, LLAMA_VOCAB_TYPE_UGM,
    LLAMA_VOCAB_TYPE_WPM)
from bitnet_ffi._core.bnf_trie cimport bnf_match_free, bnf_vocab_match
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf, bnf_gguf_kv, bnf_str, bnf_vocab, BNF_GGUF_ARRAY, BNF_GGUF_F32, BNF_GGUF_I32, BNF_GGUF_STRING, BNF_GGUF_U32)
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_byte_of_text, bnf_pre_names, bnf_strings_end, bnf_strings_get, bnf_strings_new, bnf_vocab_detect, bnf_vocab_repair,
    bnf_vocab_roles, bnf_vocab_t, bnf_vocab_tables, BNF_MOST_TOKENS, BNF_N_ROLES, BNF_PRE_ADD_BOS, BNF_PRE_ADD_SEP, BNF_PRE_GEMMA4,
    BNF_PRE_KEEP_SPACES, BNF_PRE_WHITESPACE, BNF_PRE_WHOLE_WORDS)

cdef enum:
    MOST_BYTES = 1 << 30     # of all token texts together, so that offsets fit 32 bits
    NAMES_SIZE = 280         # of the names in a sentence about an unknown pre-tokenizer


cdef inline bool equals(bnf_str s, const char *text) noexcept nogil:
    return s.len == strlen(text) and memcmp(s.data, text, s.len) == 0


# ---- arrays of the file ----

# The array of `count` or more strings or numbers under a key. 1: *out set; 0: absent; negative: the wrong kind.
cdef public int bnf_vocab_array(const bnf_gguf *gguf, const char *key, int32_t elem_type, int32_t other_type, uint64_t count,
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


# ---- texts ----

# Behind <oov> a text that ends with U+E000 is a strand of six letters: the mark tells it from a word that is spelled alike, and
# goes. Returns the length without it.
cdef size_t strand_len(bnf_vocab_t *v, int32_t i, bnf_str s, bool *behind) noexcept nogil:
    if equals(s, "<oov>"):
        behind[0] = True
    if not behind[0] or s.len <= 3 or memcmp(s.data + s.len - 3, "\xee\x80\x80", 3) != 0:
        return s.len
    v.match.strand[i] = s.len == 9
    return s.len - 3


# An empty token gets the text [EMPTY_id], as in llama.cpp, so that it can be told apart.
cdef int read_texts(const bnf_gguf_kv *tokens, bnf_vocab_t *v) noexcept nogil:
    cdef const uint8_t *cursor = tokens.value
    cdef bnf_str s
    cdef uint64_t size = 0
    cdef int32_t i, n_empty = 0, first_empty = 0
    cdef size_t length
    cdef bool behind = False
    for i in range(v.n_tokens):
        s = bnf_gguf_next_str(&cursor)
        size += (s.len if s.len > 0 else 24) + 1
        if size > MOST_BYTES:
            return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.tokens: more than %d bytes of text", <int>MOST_BYTES)
    if bnf_strings_new(&v.text, v.n_tokens, size) < 0:
        return BITNET_ERROR_MEMORY
    cursor = tokens.value
    for i in range(v.n_tokens):
        s = bnf_gguf_next_str(&cursor)
        length = strand_len(v, i, s, &behind) if v.dna else s.len
        if length > 0:
            memcpy(v.text.bytes + v.text.at[i], s.data, length)
        else:
            length = <size_t>snprintf(v.text.bytes + v.text.at[i], 24, "[EMPTY_%d]", i)
            if n_empty == 0:
                first_empty = i
            n_empty += 1
        bnf_strings_end(&v.text, i, length)
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


# For a file without token_type: what the texts themselves say.
cdef uint16_t attr_of_text(const bnf_vocab_t *v, const uint8_t *text, uint32_t length) noexcept nogil:
    if v.type == LLAMA_VOCAB_TYPE_SPM:
        if bnf_byte_of_text(text, length) >= 0:
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
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.token_type", BNF_GGUF_I32, BNF_GGUF_U32, <uint64_t>v.n_tokens, &kv)
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
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.scores", BNF_GGUF_F32, BNF_GGUF_I32, <uint64_t>v.n_tokens, &kv)
    if found < 0:
        return found
    if found == 0:
        if v.type == LLAMA_VOCAB_TYPE_SPM or v.type == LLAMA_VOCAB_TYPE_UGM or v.type == LLAMA_VOCAB_TYPE_PLAMO2:
            return bnf_vocab_repair("tokenizer.ggml.scores is missing: every token gets the score 0")
        return 0
    for i in range(v.n_tokens):
        score = load_f32(kv.value + 4 * i) if kv.elem_type == BNF_GGUF_F32 else <float><int32_t>load_u32(kv.value + 4 * i)
        v.score[i] = score + <float>0.0 if score == score else <float>-3.4028234e38
    return 0


# Tokens that are never to be generated; those that the vocabulary does not have are left out.
cdef int read_suppress(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef uint32_t token
    cdef uint64_t i
    cdef int found = bnf_vocab_array(gguf, "tokenizer.ggml.suppress_tokens", BNF_GGUF_I32, BNF_GGUF_U32, 0, &kv)
    if found <= 0:
        return found
    if kv.count > <uint64_t>v.n_tokens:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.suppress_tokens: %llu tokens of a vocabulary of %d",
                        <unsigned long long>kv.count, v.n_tokens)
    v.suppress = <int32_t *>bnf_alloc_array(<size_t>kv.count + 1, sizeof(int32_t))
    if v.suppress == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(kv.count):
        token = load_u32(kv.value + 4 * i)
        if token < <uint32_t>v.n_tokens:
            v.suppress[v.n_suppress] = <int32_t>token
            v.n_suppress += 1
    return 0


# ---- the pre-tokenizer ----

cdef int unknown_pre(bnf_str name) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    cdef char[NAMES_SIZE] names
    cdef size_t at = 0, i = 0, n
    while bnf_pre_names[i].name != NULL:
        n = strlen(bnf_pre_names[i].name)
        if at + n + 8 > NAMES_SIZE:   # room for this name, ", ..." and the NUL
            memcpy(names + at, ", ...", 5)
            at += 5
            break
        if at:
            memcpy(names + at, ", ", 2)
            at += 2
        memcpy(names + at, bnf_pre_names[i].name, n)
        at += n
        i += 1
    names[at] = 0
    return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.pre: unknown pre-tokenizer '%s', expected one of %s",
                    bnf_show(name.data, name.len, shown), names)


# Two families are told by tokenizer.ggml.model, which then says the pre-tokenizer too.
cdef int read_pre(const bnf_gguf *gguf, bnf_vocab_t *v, const char *known) noexcept nogil:
    cdef bnf_str name
    cdef size_t i = 0
    cdef const char *whose = NULL
    cdef int status
    cdef int found = 0
    if known == NULL:
        found = bnf_gguf_str(gguf, "tokenizer.ggml.pre", &name)
    else:
        name.data = known
        name.len = strlen(known)
    if found < 0:
        return found
    if known == NULL and (found == 0 or name.len == 0):
        name.data = bnf_vocab_detect(v, &whose)
        name.len = strlen(name.data)
        if whose != NULL:
            status = bnf_vocab_repair("tokenizer.ggml.pre is missing: '%s' is used, because this is the vocabulary of %s", name.data, whose)
        elif equals(name, "default"):
            status = bnf_vocab_repair("tokenizer.ggml.pre is missing: 'default' is used")
        else:
            status = bnf_vocab_repair("tokenizer.ggml.pre is missing: '%s' is used, because the tokens are made like that", name.data)
        if status < 0:
            return status
    while bnf_pre_names[i].name != NULL and not equals(name, bnf_pre_names[i].name):
        i += 1
    if bnf_pre_names[i].name == NULL:
        return unknown_pre(name)
    v.pre = bnf_pre_names[i].pre
    v.by_chars = v.pre >= BNF_PRE_GEMMA4 and v.pre <= BNF_PRE_WHITESPACE
    v.whole_words = (bnf_pre_names[i].flags & BNF_PRE_WHOLE_WORDS) != 0
    v.add_bos = (bnf_pre_names[i].flags & BNF_PRE_ADD_BOS) != 0
    v.add_sep = (bnf_pre_names[i].flags & BNF_PRE_ADD_SEP) != 0
    v.clean_spaces = (bnf_pre_names[i].flags & BNF_PRE_KEEP_SPACES) == 0
    found = bnf_gguf_bool(gguf, "tokenizer.ggml.normalizer.lowercase", &v.match.lowercase) if v.drop_white else 0
    return found if found < 0 else 0


# ---- the whole ----

cdef int load_tokens(const bnf_gguf *gguf, bnf_vocab_t *v, const char *pre) noexcept nogil:
    cdef const bnf_gguf_kv *tokens = NULL
    cdef size_t n
    cdef int status = bnf_vocab_array(gguf, "tokenizer.ggml.tokens", BNF_GGUF_STRING, BNF_GGUF_STRING, 0, &tokens)
    if status == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "key 'tokenizer.ggml.tokens' is missing: the vocabulary has no tokens")
    if status < 0:
        return status
    if tokens.count == 0 or tokens.count > BNF_MOST_TOKENS:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.tokens: %llu tokens, expected 1 to %d",
                        <unsigned long long>tokens.count, <int>BNF_MOST_TOKENS)
    v.n_tokens = <int32_t>tokens.count
    n = <size_t>v.n_tokens
    v.score = <float *>bnf_alloc_array(n, sizeof(float))
    v.attr = <uint16_t *>bnf_alloc_array(n, sizeof(uint16_t))
    v.eog = <uint8_t *>bnf_alloc(n)
    v.whole = <uint8_t *>bnf_alloc(n)
    v.match.strand = <uint8_t *>bnf_alloc(n) if v.dna else NULL
    if v.score == NULL or v.attr == NULL or v.eog == NULL or v.whole == NULL or (v.dna and v.match.strand == NULL):
        return BITNET_ERROR_MEMORY
    status = read_texts(tokens, v)
    if status == 0:
        status = read_attrs(gguf, v)
    if status == 0:
        status = read_scores(gguf, v)
    if status == 0 and v.type == LLAMA_VOCAB_TYPE_SPM:
        v.add_bos = True
        v.add_space_prefix = True
        v.by_chars = True
    elif status == 0 and v.type != LLAMA_VOCAB_TYPE_BPE:
        status = bnf_vocab_match(gguf, v)
    elif status == 0:
        status = read_pre(gguf, v, pre)
    if status == 0:
        status = bnf_vocab_roles(gguf, v)
    if status == 0:
        status = bnf_vocab_tables(gguf, v)
    if status == 0:
        status = read_suppress(gguf, v)
    return status


cdef int load(const bnf_gguf *gguf, bnf_vocab_t *v) noexcept nogil:
    cdef char[BNF_SHOWN_SIZE] shown
    cdef bnf_str model
    cdef const char *pre = NULL
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
        return bnf_vocab_repair("tokenizer.ggml.model is missing: the model takes token ids, not text, until "
                                "'bitnet compat-fix --tokenizer' puts a tokenizer in")
    if equals(model, "none") or equals(model, "no_vocab"):
        return 0
    if equals(model, "gpt2"):
        v.type = LLAMA_VOCAB_TYPE_BPE
    elif equals(model, "llama"):
        v.type = LLAMA_VOCAB_TYPE_SPM
    elif equals(model, "bert"):
        v.type = LLAMA_VOCAB_TYPE_WPM
    elif equals(model, "t5"):
        v.type = LLAMA_VOCAB_TYPE_UGM
    elif equals(model, "rwkv"):
        v.type = LLAMA_VOCAB_TYPE_RWKV
    elif equals(model, "plamo2"):
        v.type = LLAMA_VOCAB_TYPE_PLAMO2
    elif equals(model, "gemma4") or equals(model, "whitespace") or equals(model, "hybriddna"):
        v.type = LLAMA_VOCAB_TYPE_BPE
        v.drop_white = equals(model, "whitespace")
        v.dna = equals(model, "hybriddna")
    else:
        return bnf_fail(BITNET_ERROR_MODEL, "tokenizer.ggml.model: '%s', expected gpt2 (byte-level BPE), llama (SentencePiece BPE), "
                        "bert (WordPiece), t5 (Unigram), rwkv, plamo2, gemma4, whitespace, hybriddna or none",
                        bnf_show(model.data, model.len, shown))
    if equals(model, "gemma4"):
        pre = "gemma4"
    elif v.drop_white:
        pre = "whitespace"
    return load_tokens(gguf, v, pre)


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
    bnf_release(v.joins)
    bnf_release(v.key_slots)
    bnf_release(v.merge_slots)
    bnf_release(v.byte_pairs)
    bnf_release(v.crossings)
    bnf_release(v.borders)
    bnf_release(v.seed_least)
    bnf_release(v.seeds)
    bnf_release(v.specials)
    bnf_release(v.special_order)
    bnf_match_free(&v.match)
    bnf_release(v.suppress)
    bnf_release(v)


cdef public int32_t bnf_vocab_n_tokens(const bnf_vocab *vocab) noexcept nogil:
    return (<const bnf_vocab_t *>vocab).n_tokens if vocab != NULL else 0
