/* Grammars: what the rules become, and the machine that runs them. Private to bitnet_ffi/_core/grammar*.pyx and
 * sampler_grammar*.pyx; bitnet_ffi/_core/bnf_grammar.pxd mirrors it.
 *
 *   text -> grammar_parse.pyx -> llama_grammar_element rules -> grammar_compile.pyx -> struct bnf_grammar (immutable, shared)
 *   struct bnf_matcher (grammar.pyx): where one text stands in it; sampler_grammar.pyx asks it about tokens.
 *
 * The machine is a pushdown automaton whose stacks are lists that share their tails. A node is (position, parent): "here, and
 * when this rule is done, go on at the parent". Equal nodes are one node. A set of nodes, all standing before a terminal, is
 * a state; equal sets are one state, so the step from a state over a class of characters is computed once and then looked up. */
#ifndef BNF_GRAMMAR_H
#define BNF_GRAMMAR_H

#include "bitnet_ffi.h"
#include "bnf_regex.h"

/* Limits for hostile grammars. Each failure is a sentence; nothing grows past them. */
enum {
    BNF_GRAMMAR_MAX_ELEMENTS = 1 << 20,   /* of all rules together */
    BNF_GRAMMAR_MAX_REPEAT = 2000,        /* m and n of {m,n} */
    BNF_GRAMMAR_MAX_DEPTH = 200,          /* nested parentheses */
    BNF_GRAMMAR_MAX_CLASSES = 1 << 14,    /* kinds of characters that the rules tell apart */
    BNF_MATCHER_MAX_NODES = 1 << 20,      /* in one matcher, before it forgets what it no longer needs; then it fails */
    BNF_MATCHER_MAX_STATES = 1 << 14,     /* remembered states; the same */
    BNF_MATCHER_MAX_HEADS = 1 << 12       /* nodes in one state: more is a grammar ambiguous without end */
};

/* Rules as written, before compilation. */
struct bnf_rules {
    llama_grammar_element *elements; /* [n_elements] rule bodies one after the other, each ending with END */
    int32_t n_elements, elements_cap;
    int32_t *start;                  /* [n_rules] first element of a rule; -1: named but not defined */
    int32_t *name, *name_len;        /* [n_rules] where its name lies in the text; length 0: a nameless part of a rule */
    int32_t n_rules, rules_cap;
    const char *text;
};

enum bnf_gr_op { BNF_GR_END = 0, BNF_GR_RULE, BNF_GR_CHARS, BNF_GR_TOKEN, BNF_GR_TOKEN_NOT };

struct bnf_gr_element {
    int32_t op;
    int32_t value; /* RULE: the rule; CHARS: index of a bit set of classes; TOKEN...: the token */
};

struct bnf_grammar {
    int32_t n_users;                 /* atomic */
    struct bnf_gr_element *elements; /* [n_elements] alternatives, each ending with END */
    int32_t n_elements;
    int32_t *alternatives;           /* first elements, rule by rule */
    int32_t *rule_begin;             /* [n_rules + 1] into alternatives */
    int32_t n_rules, root;
    uint32_t *bounds;                /* [n_bounds] ascending: class of c = number of bounds <= c */
    int32_t n_bounds, n_classes;     /* n_classes = n_bounds + 1 */
    int32_t ascii_class[128];
    uint64_t *sets;                  /* bit sets over classes, class_words each */
    int32_t class_words, n_sets;
    bool has_tokens;                 /* some element is TOKEN or TOKEN_NOT */
};

struct bnf_gr_node {
    int32_t position; /* index into grammar->elements; -1 only in node 0, the end of the text */
    int32_t parent;   /* a smaller index */
};

struct bnf_gr_state {
    int32_t first, n;    /* its nodes in matcher->heads, ascending */
    int32_t *next;       /* [n_classes] state after a character of that class; -1: not asked yet; NULL: none asked yet */
};

/* State 0 is the empty one: no text gets there and on. */
struct bnf_matcher {
    struct bnf_grammar *grammar;
    struct bnf_gr_node *nodes;
    int32_t n_nodes, nodes_cap;
    int32_t *node_table;             /* open addressing, node_mask + 1 slots, -1: free */
    uint32_t node_mask;
    int32_t *visited;                /* [nodes_cap] last round in which a node was expanded */
    int32_t round;
    struct bnf_gr_state *states;
    int32_t n_states, states_cap;
    int32_t *state_table;
    uint32_t state_mask;
    int32_t *heads;                  /* nodes of all states */
    int32_t n_heads, heads_cap;
    int32_t *work, *found;           /* [nodes_cap], [BNF_MATCHER_MAX_HEADS]: room for expanding */
    uint64_t generation;             /* grows when states are forgotten: state numbers of before mean nothing */
    bool failed;                     /* out of memory or limits: every step leads to state 0 */
};

/* A character that has begun: `value` its bits so far, n_left bytes missing; n_left 0: none. least: smallest code point that
 * so many bytes may spell. */
struct bnf_gr_partial {
    uint32_t value, least;
    int32_t n_left;
};

/* grammar_parse.pyx. GBNF text to rules; the root's number, or -1 with a sentence. vocab: for <token>, may be NULL. */
int32_t bnf_grammar_parse(struct bnf_rules *rules, const char *text, const char *root, const struct llama_vocab *vocab);
void bnf_rules_free(struct bnf_rules *rules);

/* grammar_compile.pyx. One user; NULL with a sentence. Each rule must end with END. */
struct bnf_grammar *bnf_grammar_compile(const llama_grammar_element *const *rules, int32_t n_rules, int32_t root);
struct bnf_grammar *bnf_grammar_share(struct bnf_grammar *grammar);
void bnf_grammar_free(struct bnf_grammar *grammar); /* one user less; accepts NULL */
int32_t bnf_grammar_class(const struct bnf_grammar *grammar, uint32_t c);

/* grammar.pyx */
/* A matcher at the beginning of the root (*state), sharing the grammar. NULL with a sentence. */
struct bnf_matcher *bnf_matcher_new(struct bnf_grammar *grammar, int32_t *state);
void bnf_matcher_free(struct bnf_matcher *matcher);
/* A new matcher that knows `state` alone, under the number written back. */
struct bnf_matcher *bnf_matcher_copy(const struct bnf_matcher *matcher, int32_t *state);
/* Forget all but `state` when much has gathered; its new number. */
int32_t bnf_matcher_tidy(struct bnf_matcher *matcher, int32_t state);
int32_t bnf_matcher_step(struct bnf_matcher *matcher, int32_t state, uint32_t c);
/* The state after a token that the grammar names, by TOKEN and TOKEN_NOT. */
int32_t bnf_matcher_token(struct bnf_matcher *matcher, int32_t state, llama_token token);
int32_t bnf_matcher_union(struct bnf_matcher *matcher, int32_t a, int32_t b);
/* May the text end here? */
bool bnf_matcher_complete(const struct bnf_matcher *matcher, int32_t state);
/* Is some character of [low, high] possible? */
bool bnf_matcher_could(const struct bnf_matcher *matcher, int32_t state, uint32_t low, uint32_t high);
/* Set the bits of the tokens that TOKEN and TOKEN_NOT take here, of n_tokens. */
void bnf_matcher_mark_tokens(const struct bnf_matcher *matcher, int32_t state, uint64_t *bits, int32_t n_tokens);
/* Over one byte: the state after it, and what has begun. 0: impossible, or no UTF-8. */
int32_t bnf_matcher_byte(struct bnf_matcher *matcher, int32_t state, struct bnf_gr_partial *partial, uint8_t byte);
/* Can what has begun become a character that the state takes? True when nothing has begun. */
bool bnf_matcher_hopeful(const struct bnf_matcher *matcher, int32_t state, const struct bnf_gr_partial *partial);

/* ---- tokens ---- */

/* The texts of all tokens, in order of their bytes: what neighbours have in common is walked once. Immutable; the model's. */
struct bnf_token_order {
    int32_t n_tokens;
    int32_t *token;    /* [n_tokens] */
    int32_t *common;   /* [n_tokens] bytes in common with the one before */
    uint32_t *begin;   /* [n_tokens + 1] by token: its text is bytes[begin[i] .. begin[i + 1]) */
    uint8_t *bytes;
    int32_t longest;
};

#define BNF_GRAMMAR_MASKS 4 /* remembered masks: a text goes back and forth between few states */

struct bnf_grammar_mask {
    uint64_t *bits;    /* [words] tokens that may follow; NULL: free */
    uint64_t generation;
    int32_t state;
    struct bnf_gr_partial partial;
};

/* What sets a lazy grammar going. Immutable, shared by clones. */
struct bnf_triggers {
    int32_t n_users; /* atomic */
    int32_t n_tokens, n_patterns;
    llama_token *tokens;
    struct bnf_regex **patterns;
    bool *whole;     /* [n_patterns] written ^...$: must match all of the text */
};

struct bnf_heard { /* a token accepted while waiting */
    llama_token token;
    uint32_t begin;  /* of its text */
};

/* A grammar that waits: the text since the last reset. */
struct bnf_waiting {
    struct bnf_triggers *triggers; /* NULL: not lazy */
    bool waits;
    char *text;                    /* [text_len] */
    size_t text_len, text_cap;
    struct bnf_heard *heard;       /* [n_heard] */
    size_t n_heard, heard_cap;
};

struct bnf_sampler_grammar {
    const char *name;
    struct bnf_waiting waiting;
    const struct llama_vocab *vocab;
    const struct bnf_token_order *order;
    struct bnf_matcher *matcher;
    int32_t state;
    struct bnf_gr_partial partial;
    struct bnf_grammar_mask masks[BNF_GRAMMAR_MASKS];
    int32_t oldest;            /* mask to be replaced next */
};

/* A grammar of 2023's calls (older_grammar.pyx): the sampler, and the model whose vocabulary it met last. */
struct llama_grammar {
    struct llama_sampler *smpl;
    struct llama_model *model; /* a reference is held; NULL: none yet */
};

/* grammar_tokens.pyx */
/* The model's, made on first demand (25 ms for 128,256 tokens); NULL: no memory. */
const struct bnf_token_order *bnf_token_order_of(const struct llama_vocab *vocab);
/* Set the bits of all tokens whose text may follow; `bits` is zero before. False: no memory. */
bool bnf_grammar_mark(struct bnf_matcher *matcher, int32_t state, const struct bnf_gr_partial *partial,
                      const struct bnf_token_order *order, uint64_t *bits);
/* The state after a token, text and number both tried, or after its text from byte `skip` > 0 on; 0: impossible. `partial` moves
 * with it. */
int32_t bnf_grammar_after(struct bnf_matcher *matcher, int32_t state, struct bnf_gr_partial *partial,
                          const struct bnf_token_order *order, llama_token token, uint32_t skip);

/* sampler_grammar.pyx */
/* A sampler for GBNF text; NULL with a sentence that begins with `caller` or "grammar". */
struct llama_sampler *bnf_grammar_sampler_new(const char *caller, const struct llama_vocab *vocab, const char *text, const char *root);
/* Follow a token, or only its bytes from `skip` on (0: the whole token). */
void bnf_grammar_follow(struct bnf_sampler_grammar *own, llama_token token, uint32_t skip);

/* sampler_grammar_lazy.pyx */
/* A token while the grammar waits: it is kept, and when a trigger is complete the grammar follows all from the trigger on. */
void bnf_waiting_accept(struct bnf_sampler_grammar *own, llama_token token);
void bnf_waiting_reset(struct bnf_waiting *waiting);
bool bnf_waiting_copy(const struct bnf_waiting *waiting, struct bnf_waiting *copy); /* false: no memory */
void bnf_waiting_free(struct bnf_waiting *waiting);

#endif
