# The vocabulary rooms' view of csrc/bnf_vocab.h and csrc/bnf_unicode.h, and of the functions that they define for each
# other (csrc/bnf_calls.h). All extern. Cast llama_model.vocab to bnf_vocab_t * where a .pyx needs the fields.

from libc.stdint cimport uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv

cdef extern from "bnf_unicode.h" nogil:
    enum:
        BNF_IN_L, BNF_IN_N, BNF_IN_P, BNF_IN_S
        BNF_ALPHABET_END
    uint32_t bnf_category_set(uint32_t code_point)
    size_t bnf_utf8_len(uint8_t lead)
    size_t bnf_utf8_decode(const uint8_t *text, size_t left, uint32_t *code_point)
    size_t bnf_utf8_encode(uint32_t c, uint8_t *out)
    uint32_t bnf_utf8_char(const uint8_t *p, const uint8_t **next)
    uint32_t bnf_utf8_set(const uint8_t *p, const uint8_t **next)
    bool bnf_utf8_is_clean(const uint8_t *text, size_t len)
    size_t bnf_utf8_repair(const uint8_t *text, size_t len, uint8_t *out)
    const uint16_t bnf_byte_char[256]
    const int16_t bnf_char_byte[0x144]

cdef extern from "bnf_vocab.h" nogil:
    enum:
        BNF_PRE_WHOLE_WORDS, BNF_PRE_ADD_BOS, BNF_PRE_ADD_SEP, BNF_PRE_KEEP_SPACES
        BNF_BOS, BNF_EOS, BNF_EOT, BNF_EOM, BNF_UNK, BNF_SEP, BNF_PAD, BNF_MASK, BNF_NL
        BNF_FIM_PRE, BNF_FIM_SUF, BNF_FIM_MID, BNF_FIM_PAD, BNF_FIM_REP, BNF_FIM_SEP, BNF_N_ROLES
        BNF_KNOWN_EOG, BNF_KNOWN_SHOWN
        BNF_WHOLE_UNKNOWN, BNF_WHOLE_YES, BNF_WHOLE_NO
        BNF_MOST_TOKENS
        BNF_PRE_GEMMA4, BNF_PRE_SARVAM_MOE, BNF_PRE_WHITESPACE
    const uint32_t BNF_NO_TOKEN

    ctypedef struct bnf_pre_name "struct bnf_pre_name":
        const char *name
        int32_t pre
        int32_t flags
    ctypedef struct bnf_role_key "struct bnf_role_key":
        const char *key
        int32_t role
    ctypedef struct bnf_known_text "struct bnf_known_text":
        const char *text
        int32_t role
    ctypedef struct bnf_pre_print "struct bnf_pre_print":
        const char *pre
        const char *whose
        int32_t n_tokens
        int32_t token
        int32_t other
        const char *text
        const char *other_text
    const bnf_pre_name *bnf_pre_names
    const bnf_pre_print *bnf_pre_prints
    const bnf_role_key *bnf_role_keys
    const bnf_known_text *bnf_known_texts

    ctypedef struct bnf_strings "struct bnf_strings":
        char *bytes
        uint32_t *at
    ctypedef struct bnf_key_slot "struct bnf_key_slot":
        uint32_t tag
        uint32_t token
    ctypedef struct bnf_merge_t "struct bnf_merge":
        uint64_t pair
        uint32_t rank
        uint32_t token
    ctypedef struct bnf_byte_pair_t "struct bnf_byte_pair":
        uint32_t rank
        uint32_t token
    ctypedef struct bnf_trie_t "struct bnf_trie":
        uint32_t *first
        uint32_t *token
        uint8_t *label
        uint32_t n_nodes
        uint32_t root[256]
    ctypedef struct bnf_match_t "struct bnf_match":
        bnf_trie_t tokens
        bnf_trie_t user
        bool lowercase
        bool strip_accents
        bool merge_spaces
        float unknown_score
        uint32_t *units
        uint32_t n_units
        uint8_t *replacements
        uint32_t replacements_size
        int32_t *cost
        uint8_t *strand
    ctypedef struct bnf_vocab_t "struct bnf_vocab":
        int32_t type
        int32_t pre
        int32_t n_tokens
        uint64_t seed
        bool add_bos
        bool add_eos
        bool add_sep
        bool add_space_prefix
        bool whole_words
        bool clean_spaces
        bool by_chars
        bool drop_white
        bool dna
        int32_t special[15]
        bnf_strings text
        bnf_strings piece
        const bnf_strings *key
        float *score
        uint16_t *attr
        uint8_t *eog
        uint8_t *whole
        uint8_t *joins
        bnf_key_slot *key_slots
        uint32_t n_key_slots
        uint32_t max_key_len
        bnf_merge_t *merge_slots
        uint32_t n_merges
        uint32_t n_merge_slots
        bnf_byte_pair_t *byte_pairs
        uint32_t *crossings
        uint8_t *borders
        uint32_t *seed_least
        uint64_t *seeds
        uint32_t byte_token[256]
        int32_t *specials
        int32_t *special_order
        int32_t special_first[257]
        int32_t n_specials
        int32_t n_user_defined
        bnf_match_t match
        int32_t *suppress
        int32_t n_suppress
    uint8_t bnf_whole_get(const bnf_vocab_t *v, uint32_t token)
    void bnf_whole_set(const bnf_vocab_t *v, uint32_t token, uint8_t value)
    const uint8_t *bnf_strings_get(const bnf_strings *s, uint32_t i, uint32_t *len)
    int bnf_strings_new(bnf_strings *strings, uint32_t n, size_t size)
    void bnf_strings_end(bnf_strings *s, uint32_t i, size_t len)
    int bnf_byte_of_text(const uint8_t *text, size_t len)
    int bnf_alphabet_next(const uint8_t *text, const uint8_t *end, const uint8_t **next)
    bool bnf_joins(const bnf_vocab_t *v, uint8_t last, uint8_t first)
    void bnf_joins_set(bnf_vocab_t *v, uint8_t last, uint8_t first)
    size_t bnf_join_bytes(const uint8_t *text, size_t left, uint8_t *first, uint8_t *last)
    const int BNF_SHORT_WORD
    const int BNF_WORD_IDS
    ctypedef struct bnf_bits "struct bnf_bits":
        uint64_t[3] x
    ctypedef struct bnf_key "struct bnf_key":
        const uint8_t *bytes
        size_t len
        bnf_bits bits
        uint64_t hash
    bool bnf_same_bits(const bnf_bits *a, const bnf_bits *b)
    bnf_key bnf_key_of(const bnf_vocab_t *v, const uint8_t *bytes, size_t len, const uint8_t *end)
    bool bnf_key_is(const bnf_vocab_t *v, uint32_t token, const bnf_key *key)
    const bnf_key_slot *bnf_key_slot_of "bnf_key_slot"(const bnf_vocab_t *v, uint64_t hash)
    uint32_t bnf_key_find(const bnf_vocab_t *v, const bnf_key *key)
    uint32_t bnf_key_find_bytes(const bnf_vocab_t *v, const uint8_t *bytes, size_t len, const uint8_t *end)
    uint64_t bnf_hash_mix(uint64_t h, uint64_t x)
    bnf_merge_t *bnf_merge_slot(const bnf_vocab_t *v, uint64_t pair, uint64_t h)
    uint32_t bnf_merge_find(const bnf_vocab_t *v, uint32_t left, uint32_t right, uint32_t *token)
    uint32_t bnf_merge_bytes(const bnf_vocab_t *v, uint8_t left, uint8_t right, uint32_t *token)
    const int BNF_N_SEEDS
    uint32_t bnf_seed_place(uint32_t code_point)
    uint32_t bnf_seed(const bnf_vocab_t *v, const uint8_t *word, size_t at, size_t len, size_t word_len)
    uint64_t bnf_seed_get(const bnf_vocab_t *v, uint32_t code_point, const uint8_t *bytes, size_t len)
    uint32_t bnf_crossing(const bnf_vocab_t *v, uint8_t last, uint8_t first)
    const int BNF_N_BORDERS
    const uint32_t BNF_PART
    bool bnf_border(const bnf_vocab_t *v, uint32_t left, uint32_t right)
    void bnf_border_set(bnf_vocab_t *v, uint32_t left, uint32_t right)
    void bnf_prefetch(const void *p)

    ctypedef struct bnf_ids "struct bnf_ids":
        int32_t *out
        int32_t *ranges
        const uint8_t *base
        int64_t cap
        int64_t n
    void bnf_ids_add(bnf_ids *ids, uint32_t token, const uint8_t *bytes, size_t len)
    ctypedef struct bnf_symbol "struct bnf_symbol":
        uint32_t begin
        uint32_t len
        uint32_t prev
        uint32_t next
        uint32_t token
        uint32_t rank
        uint32_t pair_token
    ctypedef struct bnf_word "struct bnf_word":
        bnf_bits bits
        uint8_t len
        uint8_t n_ids
        uint32_t[9] ids
    void bnf_ids_add_word(bnf_ids *ids, const bnf_word *word, const uint8_t *bytes)
    ctypedef struct bnf_merge_scratch "struct bnf_merge_scratch":
        const uint8_t *end
        bnf_word *words
        uint32_t n_words
        bnf_symbol *symbols
        uint64_t *heap
        size_t cap_symbols
        uint8_t *bytes
        size_t cap_bytes
    bnf_word *bnf_word_of(const bnf_merge_scratch *scratch, const bnf_key *key)
    void bnf_key_ask(const bnf_vocab_t *v, const bnf_merge_scratch *scratch, const bnf_key *key)
    ctypedef struct bnf_fragment "struct bnf_fragment":
        size_t begin
        size_t len
        uint32_t token
    ctypedef struct bnf_split_t "struct bnf_split":
        const uint8_t *pos
        const uint8_t *end
    void bnf_split_start(bnf_split_t *split, int32_t pre, const uint8_t *text, size_t len)
    const uint8_t *bnf_split_next(bnf_split_t *split)
    int bnf_vocab_repair(const char *format, ...)

cdef extern from "bnf_calls.h" nogil:
    int bnf_merge_word(const bnf_vocab_t *vocab, const uint8_t *word, size_t len, bnf_merge_scratch *scratch, bnf_ids *ids)
    int bnf_merge_key(const bnf_vocab_t *vocab, const bnf_key *key, bool piece, bnf_merge_scratch *scratch, bnf_ids *ids)
    int bnf_merge_pieces(const bnf_vocab_t *vocab, const uint8_t *word, size_t len, bnf_merge_scratch *scratch, bnf_ids *ids)
    int bnf_merge_begin(bnf_merge_scratch *scratch, size_t length)
    int bnf_merge_reserve(bnf_merge_scratch *scratch, size_t size)
    void bnf_merge_free(bnf_merge_scratch *scratch)
    int64_t bnf_tokenize(const bnf_vocab_t *vocab, const uint8_t *text, size_t len, uint32_t flags, int32_t *tokens,
                         int32_t *ranges, int64_t n_tokens_max)
    int64_t bnf_tokenize_with(const bnf_vocab_t *vocab, const uint8_t *text, size_t len, uint32_t flags, bnf_merge_scratch *scratch,
                              int32_t *tokens, int32_t *ranges, int64_t n_tokens_max)
    size_t bnf_tokenize_cut(const bnf_vocab_t *vocab, const uint8_t *text, size_t len, bool parse_special)
    void bnf_ranges_spaces(const uint8_t *text, bool lead, int32_t begin, int32_t *ranges, int64_t n)
    void bnf_ranges_repaired(const uint8_t *text, size_t len, bool lower, int32_t begin, int32_t *ranges, int64_t n)
    const char *bnf_vocab_detect(const bnf_vocab_t *vocab, const char **why)
    int bnf_vocab_roles(const bnf_gguf *gguf, bnf_vocab_t *vocab)
    int bnf_vocab_array(const bnf_gguf *gguf, const char *key, int32_t elem_type, int32_t other_type, uint64_t count,
                        const bnf_gguf_kv **out)
    int bnf_vocab_tables(const bnf_gguf *gguf, bnf_vocab_t *vocab)
    int bnf_vocab_merges(const bnf_gguf *gguf, bnf_vocab_t *vocab)
