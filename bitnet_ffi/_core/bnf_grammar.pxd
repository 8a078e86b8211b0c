# The grammar rooms' view of csrc/bnf_grammar.h, all extern. Nothing is defined here.

from libc.stdint cimport uint8_t, int32_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_token
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_regex.h" nogil:
    ctypedef struct bnf_regex "struct bnf_regex":
        pass
    enum:
        BNF_REGEX_NO, BNF_REGEX_YES, BNF_REGEX_NO_MEMORY
    bnf_regex *bnf_regex_new(const char *pattern)
    void bnf_regex_free(bnf_regex *regex)
    int bnf_regex_find(const bnf_regex *regex, const char *text, size_t len, bool whole, size_t *start)

cdef extern from "bnf_grammar.h" nogil:
    enum:
        LLAMA_GRETYPE_END, LLAMA_GRETYPE_ALT, LLAMA_GRETYPE_RULE_REF, LLAMA_GRETYPE_CHAR, LLAMA_GRETYPE_CHAR_NOT
        LLAMA_GRETYPE_CHAR_RNG_UPPER, LLAMA_GRETYPE_CHAR_ALT
        LLAMA_GRETYPE_CHAR_ANY, LLAMA_GRETYPE_TOKEN, LLAMA_GRETYPE_TOKEN_NOT
        BNF_GRAMMAR_MAX_ELEMENTS, BNF_GRAMMAR_MAX_REPEAT, BNF_GRAMMAR_MAX_DEPTH, BNF_GRAMMAR_MAX_CLASSES
        BNF_MATCHER_MAX_NODES, BNF_MATCHER_MAX_STATES, BNF_MATCHER_MAX_HEADS
        BNF_GR_END, BNF_GR_RULE, BNF_GR_CHARS, BNF_GR_TOKEN, BNF_GR_TOKEN_NOT

    ctypedef struct llama_grammar_element:
        int type
        uint32_t value
    ctypedef struct bnf_rules "struct bnf_rules":
        llama_grammar_element *elements
        int32_t n_elements
        int32_t elements_cap
        int32_t *start
        int32_t *name
        int32_t *name_len
        int32_t n_rules
        int32_t rules_cap
        const char *text
    ctypedef struct bnf_gr_element "struct bnf_gr_element":
        int32_t op
        int32_t value
    ctypedef struct bnf_grammar "struct bnf_grammar":
        int32_t n_users
        bnf_gr_element *elements
        int32_t n_elements
        int32_t *alternatives
        int32_t *rule_begin
        int32_t n_rules
        int32_t root
        uint32_t *bounds
        int32_t n_bounds
        int32_t n_classes
        int32_t *ascii_class
        uint64_t *sets
        int32_t class_words
        int32_t n_sets
        bool has_tokens
    ctypedef struct bnf_gr_node "struct bnf_gr_node":
        int32_t position
        int32_t parent
    ctypedef struct bnf_gr_state "struct bnf_gr_state":
        int32_t first
        int32_t n
        int32_t *next
    ctypedef struct bnf_matcher "struct bnf_matcher":
        bnf_grammar *grammar
        bnf_gr_node *nodes
        int32_t n_nodes
        int32_t nodes_cap
        int32_t *node_table
        uint32_t node_mask
        int32_t *visited
        int32_t round
        bnf_gr_state *states
        int32_t n_states
        int32_t states_cap
        int32_t *state_table
        uint32_t state_mask
        int32_t *heads
        int32_t n_heads
        int32_t heads_cap
        int32_t *work
        int32_t *found
        uint64_t generation
        bool failed
    ctypedef struct bnf_gr_partial "struct bnf_gr_partial":
        uint32_t value
        uint32_t least
        int32_t n_left

    int32_t bnf_grammar_parse(bnf_rules *rules, const char *text, const char *root, const llama_model *vocab)
    void bnf_rules_free(bnf_rules *rules)
    bnf_grammar *bnf_grammar_compile(const llama_grammar_element *const *rules, int32_t n_rules, int32_t root)
    bnf_grammar *bnf_grammar_share(bnf_grammar *grammar)
    void bnf_grammar_free(bnf_grammar *grammar)
    int32_t bnf_grammar_class(const bnf_grammar *grammar, uint32_t c)
    bnf_matcher *bnf_matcher_new(bnf_grammar *grammar, int32_t *state)
    void bnf_matcher_free(bnf_matcher *matcher)
    bnf_matcher *bnf_matcher_copy(const bnf_matcher *matcher, int32_t *state)
    int32_t bnf_matcher_tidy(bnf_matcher *matcher, int32_t state)
    int32_t bnf_matcher_step(bnf_matcher *matcher, int32_t state, uint32_t c)
    int32_t bnf_matcher_token(bnf_matcher *matcher, int32_t state, llama_token token)
    int32_t bnf_matcher_union(bnf_matcher *matcher, int32_t a, int32_t b)
    bool bnf_matcher_complete(const bnf_matcher *matcher, int32_t state)
    bool bnf_matcher_could(const bnf_matcher *matcher, int32_t state, uint32_t low, uint32_t high)
    void bnf_matcher_mark_tokens(const bnf_matcher *matcher, int32_t state, uint64_t *bits, int32_t n_tokens)
    int32_t bnf_matcher_byte(bnf_matcher *matcher, int32_t state, bnf_gr_partial *partial, uint8_t byte)
    bool bnf_matcher_hopeful(const bnf_matcher *matcher, int32_t state, const bnf_gr_partial *partial)

    ctypedef struct bnf_token_order "struct bnf_token_order":
        int32_t n_tokens
        int32_t *token
        int32_t *common
        uint32_t *begin
        uint8_t *bytes
        int32_t longest
    enum:
        BNF_GRAMMAR_MASKS
    ctypedef struct bnf_grammar_mask "struct bnf_grammar_mask":
        uint64_t *bits
        uint64_t generation
        int32_t state
        bnf_gr_partial partial
    ctypedef struct bnf_triggers "struct bnf_triggers":
        int32_t n_users
        int32_t n_tokens
        int32_t n_patterns
        llama_token *tokens
        bnf_regex **patterns
        bool *whole
    ctypedef struct bnf_heard "struct bnf_heard":
        llama_token token
        uint32_t begin
    ctypedef struct bnf_waiting "struct bnf_waiting":
        bnf_triggers *triggers
        bool waits
        char *text
        size_t text_len
        size_t text_cap
        bnf_heard *heard
        size_t n_heard
        size_t heard_cap
    ctypedef struct bnf_sampler_grammar "struct bnf_sampler_grammar":
        const char *name
        bnf_waiting waiting
        const llama_model *vocab
        const bnf_token_order *order
        bnf_matcher *matcher
        int32_t state
        bnf_gr_partial partial
        bnf_grammar_mask *masks
        int32_t oldest
    const bnf_token_order *bnf_token_order_of(const llama_model *vocab)
    bool bnf_grammar_mark(bnf_matcher *matcher, int32_t state, const bnf_gr_partial *partial, const bnf_token_order *order, uint64_t *bits)
    int32_t bnf_grammar_after(bnf_matcher *matcher, int32_t state, bnf_gr_partial *partial, const bnf_token_order *order,
                              llama_token token, uint32_t skip)
    llama_sampler *bnf_grammar_sampler_new(const char *caller, const llama_model *vocab, const char *text, const char *root)
    void bnf_grammar_follow(bnf_sampler_grammar *own, llama_token token, uint32_t skip)
    void bnf_waiting_accept(bnf_sampler_grammar *own, llama_token token)
    void bnf_waiting_reset(bnf_waiting *waiting)
    bool bnf_waiting_copy(const bnf_waiting *waiting, bnf_waiting *copy)
    void bnf_waiting_free(bnf_waiting *waiting)
