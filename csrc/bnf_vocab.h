/* The vocabulary as the tokenizers see it: struct bnf_vocab, its two hash tables, and the tables of names.
 * Private to _core/vocab*.pyx, tokenize.pyx, merge.pyx and api_vocab.pyx; mirrored by _core/bnf_vocab.pxd.
 * A vocabulary is immutable after load and shared by threads, except for the bytes of `whole`, a memo (see below). */
#ifndef BNF_VOCAB_H
#define BNF_VOCAB_H

#include "bnf_split.h"
#include "bnf_types.h"
#include "bnf_unicode.h"

#include <string.h>

/* ---- pre-tokenizers by name ---- */

enum bnf_pre_flag {
    BNF_PRE_WHOLE_WORDS  = 1, /* a word that is in the vocabulary is one token, whatever the merges say */
    BNF_PRE_ADD_BOS      = 2, /* when the file does not say */
    BNF_PRE_ADD_SEP      = 4,
    BNF_PRE_KEEP_SPACES  = 8, /* detokenizing does not remove spaces before punctuation */
};

struct bnf_pre_name { /* one value of tokenizer.ggml.pre */
    const char *name;
    int32_t pre;   /* bnf_pre */
    int32_t flags; /* bnf_pre_flag */
};

extern const struct bnf_pre_name bnf_pre_names[]; /* ends with a NULL name; an alias splits exactly as its family does */

/* ---- tokens known by their text ---- */

enum bnf_role { /* index into bnf_vocab.special */
    BNF_BOS = 0, BNF_EOS, BNF_EOT, BNF_EOM, BNF_UNK, BNF_SEP, BNF_PAD, BNF_MASK, BNF_NL,
    BNF_FIM_PRE, BNF_FIM_SUF, BNF_FIM_MID, BNF_FIM_PAD, BNF_FIM_REP, BNF_FIM_SEP, BNF_N_ROLES
};

struct bnf_role_key { /* a metadata key that names the token of a role; a later line wins over an earlier one */
    const char *key;
    int32_t role;
};

enum bnf_known { BNF_KNOWN_EOG = -1, BNF_KNOWN_SHOWN = -2 }; /* besides a role: it ends generation; it is always shown */

struct bnf_known_text { /* a text that marks a token's role when no key does, or that it ends generation */
    const char *text;
    int32_t role; /* bnf_role or bnf_known */
};

extern const struct bnf_role_key bnf_role_keys[];    /* ends with a NULL key */
extern const struct bnf_known_text bnf_known_texts[]; /* ends with a NULL text */

/* ---- the vocabulary ---- */

struct bnf_strings { /* n byte strings in one block, each followed by a NUL that does not count */
    char *bytes;
    uint32_t *at; /* [n + 1] string i is [at[i], at[i + 1] - 1) */
};

struct bnf_key_slot { /* open addressing, linear probing; n_key_slots is a power of two and at least twice the keys */
    uint32_t tag;     /* upper half of the hash */
    uint32_t token;   /* token + 1, 0: empty */
};

struct bnf_merge { /* a line of the merge list that can apply; its index is its rank, smaller first */
    uint32_t left, right;
    uint32_t token;   /* what the pair becomes */
};

struct bnf_merge_slot { /* by the pair of tokens; n_merge_slots is a power of two and at least 1.5 times the merges */
    uint32_t tag;     /* lower half of the hash */
    uint32_t merge;   /* its index + 1, 0: empty */
};

#define BNF_NO_TOKEN UINT32_MAX
#define BNF_MOST_TOKENS (1 << 24) /* and merges: more than any vocabulary has; ids and slot counts stay far from 32 bits */

struct bnf_vocab {
    int32_t type;               /* llama_vocab_type: NONE, SPM or BPE */
    int32_t pre;                /* bnf_pre, for BPE */
    int32_t n_tokens;
    uint64_t seed;              /* of both hash tables: an address, so that no file can be made whose keys all collide */
    bool add_bos, add_eos, add_sep, add_space_prefix;
    bool whole_words;           /* see BNF_PRE_WHOLE_WORDS */
    bool clean_spaces;
    bool spaces_lead;           /* SPM: in no token does a space follow another character, so words can be merged one by one */
    int32_t special[BNF_N_ROLES]; /* token or LLAMA_TOKEN_NULL */

    struct bnf_strings text;    /* as the file has them */
    struct bnf_strings piece;   /* what they stand for: bytes of the output */
    const struct bnf_strings *key; /* what merging looks up: text for SPM, piece for BPE */
    float *score;               /* [n_tokens] */
    uint16_t *attr;             /* [n_tokens] llama_token_attr */
    uint8_t *eog;               /* [n_tokens] 1: ends generation */
    uint8_t *whole;             /* [n_tokens] memo: does merging the token's own key give the token? bnf_whole;
                                   NO from the beginning where no key leads to the token */

    struct bnf_key_slot *key_slots;
    uint32_t n_key_slots;
    uint32_t max_key_len;
    struct bnf_merge *merges;   /* [n_merges] by rank */
    struct bnf_merge_slot *merge_slots;
    uint32_t n_merges, n_merge_slots;
    uint32_t byte_token[256];   /* BPE: token of a byte; n_tokens + byte when there is none. SPM: <0xHH> or BNF_NO_TOKEN */

    int32_t *specials;          /* tokens that are looked for in the text before it is cut into words, sorted by their bytes */
    int32_t *special_order;     /* indexes into specials: longest first, then lower token */
    int32_t special_first[257]; /* specials that begin with byte b: [special_first[b], special_first[b + 1]) */
    int32_t n_specials;
    int32_t n_user_defined;     /* those of them that count even when special tokens are not parsed */
};

enum bnf_whole { BNF_WHOLE_UNKNOWN = 0, BNF_WHOLE_YES, BNF_WHOLE_NO };

/* The memo is written by any thread that tokenizes. Every writer stores the same value, so order does not matter. */
static inline uint8_t bnf_whole_get(const struct bnf_vocab *v, uint32_t token)
{
    return __atomic_load_n(v->whole + token, __ATOMIC_RELAXED);
}

static inline void bnf_whole_set(const struct bnf_vocab *v, uint32_t token, uint8_t value)
{
    __atomic_store_n(v->whole + token, value, __ATOMIC_RELAXED);
}

static inline const uint8_t *bnf_strings_get(const struct bnf_strings *s, uint32_t i, uint32_t *len)
{
    *len = s->at[i + 1] - s->at[i] - 1;
    return (const uint8_t *)s->bytes + s->at[i];
}

/* Room for n strings of `size` bytes together, their NULs included; 0 or BITNET_ERROR_MEMORY (what there is still counts). */
int bnf_strings_new(struct bnf_strings *strings, uint32_t n, size_t size);

/* Close string i, whose len bytes were written from bytes[at[i]] on. Strings are closed in order. */
static inline void bnf_strings_end(struct bnf_strings *s, uint32_t i, size_t len)
{
    s->bytes[s->at[i] + len] = '\0';
    s->at[i + 1] = (uint32_t)(s->at[i] + len + 1);
}

/* The byte that a text like <0x0A> names, or -1. */
int bnf_byte_of_text(const uint8_t *text, size_t len);

/* One character of text in the GPT-2 byte alphabet, which takes one or two bytes of UTF-8: the byte that it stands for,
 * and *next behind it; -1 when it is not in the alphabet. */
static inline int bnf_alphabet_next(const uint8_t *text, const uint8_t *end, const uint8_t **next)
{
    uint32_t c = text[0];
    if (c < 0x80) {
        *next = text + 1;
        return bnf_char_byte[c];
    }
    if (c < 0xC2 || c >= 0xC6 || end - text < 2 || (text[1] & 0xC0) != 0x80) /* beyond U+017F, or malformed */
        return -1;
    c = (c & 0x1Fu) << 6 | (text[1] & 0x3Fu);
    *next = text + 2;
    return c < BNF_ALPHABET_END ? bnf_char_byte[c] : -1;
}

static inline uint64_t bnf_hash_mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, odd */
    return h ^ h >> 29;
}

/* The first BNF_SHORT_WORD bytes of a word at most, in up to three loads that may overlap. With the length they say
 * which word it is; nothing is read beyond its end. */
#define BNF_SHORT_WORD 24
struct bnf_bits {
    uint64_t x[3];
};

static inline uint64_t bnf_load_u64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static inline struct bnf_bits bnf_word_bits(const uint8_t *bytes, size_t len)
{
    struct bnf_bits bits = {{0, 0, 0}};
    if (len > 8) {
        bits.x[0] = bnf_load_u64(bytes);
        bits.x[1] = bnf_load_u64(len > 16 ? bytes + 8 : bytes + len - 8);
        if (len > 16)
            bits.x[2] = bnf_load_u64(len > BNF_SHORT_WORD ? bytes + 16 : bytes + len - 8);
    } else if (len >= 4) {
        uint32_t first, last;
        memcpy(&first, bytes, 4);
        memcpy(&last, bytes + len - 4, 4);
        bits.x[0] = (uint64_t)last << 32 | first;
    } else if (len > 0) {
        bits.x[0] = (uint64_t)bytes[0] | (uint64_t)bytes[len / 2] << 8 | (uint64_t)bytes[len - 1] << 16;
    }
    return bits;
}

/* Hash of the word that has these bits; the length keeps words apart whose loads overlap differently. */
static inline uint64_t bnf_hash_word(uint64_t seed, const struct bnf_bits *bits, const uint8_t *bytes, size_t len)
{
    uint64_t h = bnf_hash_mix(seed ^ len, bits->x[0]);
    if (len > 8)
        h = bnf_hash_mix(h, bits->x[1]);
    if (len > 16)
        h = bnf_hash_mix(h, bits->x[2]);
    if (len > BNF_SHORT_WORD) {
        size_t at = BNF_SHORT_WORD;
        for (; len - at > 8; at += 8)
            h = bnf_hash_mix(h, bnf_load_u64(bytes + at));
        h = bnf_hash_mix(h, bnf_load_u64(bytes + len - 8));
    }
    return bnf_hash_mix(h, h >> 32);
}

static inline uint64_t bnf_hash_bytes(uint64_t seed, const uint8_t *bytes, size_t len)
{
    const struct bnf_bits bits = bnf_word_bits(bytes, len);
    return bnf_hash_word(seed, &bits, bytes, len);
}

static inline bool bnf_same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len > BNF_SHORT_WORD)
        return memcmp(a, b, len) == 0;
    const struct bnf_bits x = bnf_word_bits(a, len), y = bnf_word_bits(b, len); /* most words: no call, no loop */
    return ((x.x[0] ^ y.x[0]) | (x.x[1] ^ y.x[1]) | (x.x[2] ^ y.x[2])) == 0;
}

/* The token whose key is these bytes, or BNF_NO_TOKEN; h is their hash. */
static inline uint32_t bnf_key_find_hashed(const struct bnf_vocab *v, const uint8_t *bytes, size_t len, uint64_t h)
{
    if (len > v->max_key_len)
        return BNF_NO_TOKEN;
    const uint32_t tag = (uint32_t)(h >> 32), mask = v->n_key_slots - 1;
    for (uint32_t i = (uint32_t)h & mask; v->key_slots[i].token != 0; i = (i + 1) & mask) {
        if (v->key_slots[i].tag != tag)
            continue;
        const uint32_t token = v->key_slots[i].token - 1;
        uint32_t key_len;
        const uint8_t *key = bnf_strings_get(v->key, token, &key_len);
        if (key_len == len && bnf_same_bytes(key, bytes, len))
            return token;
    }
    return BNF_NO_TOKEN;
}

static inline uint32_t bnf_key_find(const struct bnf_vocab *v, const uint8_t *bytes, size_t len)
{
    return bnf_key_find_hashed(v, bytes, len, bnf_hash_bytes(v->seed, bytes, len));
}

static inline uint64_t bnf_hash_pair(uint64_t seed, uint32_t left, uint32_t right)
{
    return bnf_hash_mix(seed, (uint64_t)left << 32 | right);
}

/* The slot of a pair of tokens, or the empty one where it belongs; h is the pair's hash. */
static inline struct bnf_merge_slot *bnf_merge_slot(const struct bnf_vocab *v, uint32_t left, uint32_t right, uint64_t h)
{
    const uint32_t mask = v->n_merge_slots - 1;
    uint32_t i = (uint32_t)(h >> 32) & mask;
    for (; v->merge_slots[i].merge != 0; i = (i + 1) & mask) {
        if (v->merge_slots[i].tag != (uint32_t)h)
            continue;
        const struct bnf_merge *merge = v->merges + (v->merge_slots[i].merge - 1);
        if (merge->left == left && merge->right == right)
            break;
    }
    return v->merge_slots + i;
}

/* The rank of merging two tokens, and what they become; BNF_NO_TOKEN twice when they do not merge. */
static inline uint32_t bnf_merge_find(const struct bnf_vocab *v, uint32_t left, uint32_t right, uint32_t *token)
{
    const struct bnf_merge_slot *slot = bnf_merge_slot(v, left, right, bnf_hash_pair(v->seed, left, right));
    const uint32_t rank = slot->merge - 1; /* of an empty slot BNF_NO_TOKEN */
    *token = rank == BNF_NO_TOKEN ? BNF_NO_TOKEN : v->merges[rank].token;
    return rank;
}

static inline void bnf_prefetch(const void *p)
{
    __builtin_prefetch(p);
}

/* ---- working memory of one call ---- */

struct bnf_ids { /* where tokens go: the first `cap` into out, all of them counted */
    int32_t *out;
    int64_t cap;
    int64_t n;
};

static inline void bnf_ids_add(struct bnf_ids *ids, uint32_t token)
{
    if (ids->n < ids->cap)
        ids->out[ids->n] = (int32_t)token;
    ids->n++;
}

struct bnf_symbol { /* a part of a word being merged; a list in text order */
    uint32_t begin, len;  /* its bytes in the word; len 0: it was merged into its left neighbour */
    uint32_t prev, next;  /* BNF_NO_TOKEN at the ends */
    uint32_t token;       /* or BNF_NO_TOKEN */
    uint32_t rank;        /* of merging with the next symbol; BNF_NO_TOKEN: they do not merge */
    uint32_t pair_token;  /* what that gives */
};

struct bnf_merge_scratch {
    struct bnf_symbol *symbols;
    uint64_t *heap;       /* rank << 32 | index of the left symbol */
    size_t cap_symbols;   /* the heap holds three times as many entries */
    uint8_t *bytes;
    size_t cap_bytes;
};

struct bnf_fragment { /* a stretch of the text, or the token that replaces it */
    size_t begin, len;
    uint32_t token;       /* BNF_NO_TOKEN: text */
};

/* Log a repair as a warning; under BITNET_STRICT_TOKENIZERS=1 refuse it: BITNET_ERROR_MODEL with the same sentence. */
int bnf_vocab_repair(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
