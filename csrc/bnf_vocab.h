/* The vocabulary as the tokenizers see it: struct bnf_vocab, its two hash tables, and the tables of names.
 * Private to _core/vocab*.pyx, tokenize.pyx, merge.pyx and api_vocab.pyx; mirrored by _core/bnf_vocab.pxd.
 * A vocabulary is immutable after load and shared by threads, except for the bytes of `whole`, a memo (see below). */
#ifndef BNF_VOCAB_H
#define BNF_VOCAB_H

#include "bnf_repair.h"
#include "bnf_split.h"
#include "bnf_trie.h"
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

struct bnf_pre_print { /* two tokens by which a vocabulary is known */
    const char *pre;
    const char *whose;
    int32_t n_tokens; /* of the whole vocabulary; 0: any number */
    int32_t token, other;
    const char *text, *other_text;
};

extern const struct bnf_pre_print bnf_pre_prints[]; /* ends with a NULL pre; the first that fits counts */

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

struct bnf_merge { /* a line of the merge list that can apply; open addressing, a look-up touches one cache line */
    uint64_t pair;    /* left token << 32 | right token */
    uint32_t rank;    /* + 1, smaller first; 0: an empty slot */
    uint32_t token;   /* what the pair becomes */
};

struct bnf_byte_pair { /* the same for two single bytes, where every word begins */
    uint32_t rank, token;
};

#define BNF_NO_TOKEN UINT32_MAX
#define BNF_MOST_TOKENS (1 << 24) /* and merges: more than any vocabulary has; ids and slot counts stay far from 32 bits */

struct bnf_vocab {
    int32_t type;               /* llama_vocab_type */
    int32_t pre;                /* bnf_pre, for BPE */
    int32_t n_tokens;
    uint64_t seed;              /* of both hash tables: an address, so that no file can be made whose keys all collide */
    bool add_bos, add_eos, add_sep, add_space_prefix;
    bool whole_words;           /* see BNF_PRE_WHOLE_WORDS */
    bool clean_spaces;
    bool by_chars;              /* merging begins with characters, not bytes: SPM, and BPE on the text itself (tokenize_raw.pyx) */
    bool drop_white;            /* tokenizer.ggml.model is 'whitespace': white space only ends words */
    bool dna;                   /* 'hybriddna': six letters between <dna> and </dna> are a token (tokenize_dna.pyx) */
    int32_t special[BNF_N_ROLES]; /* token or LLAMA_TOKEN_NULL */

    struct bnf_strings text;    /* as the file has them */
    struct bnf_strings piece;   /* what they stand for: bytes of the output */
    const struct bnf_strings *key; /* what merging looks up: piece for byte-level BPE, else text */
    float *score;               /* [n_tokens] */
    uint16_t *attr;             /* [n_tokens] llama_token_attr */
    uint8_t *eog;               /* [n_tokens] 1: ends generation */
    uint8_t *whole;             /* [n_tokens] memo: does merging the token's own key give the token? bnf_whole;
                                   NO from the beginning where no key leads to the token */

    uint8_t *joins;             /* by_chars: [65536] bits, see bnf_joins */
    struct bnf_key_slot *key_slots;
    uint32_t n_key_slots;
    uint32_t max_key_len;
    struct bnf_merge *merge_slots; /* BPE: n_merge_slots is a power of two and at least 1.5 times n_merges */
    uint32_t n_merges, n_merge_slots;
    struct bnf_byte_pair *byte_pairs; /* BPE: [left << 8 | right] */
    uint32_t *crossings;        /* BPE: [first byte << 8 | last byte], see bnf_crossing */
    uint8_t *borders;           /* byte-level BPE: [BNF_N_BORDERS] bits, see bnf_border; else NULL */
    uint32_t *seed_least;       /* BPE: [BNF_N_SEEDS] lowest rank + 1 of merges of the whole character, not behind a space; 0: none */
    uint64_t *seeds;            /* BPE: [BNF_N_SEEDS] memo of bnf_seed_find; 0: not known */
    uint32_t byte_token[256];   /* BPE: token of a byte; n_tokens + byte when there is none. Others: <0xHH> or BNF_NO_TOKEN */

    int32_t *specials;          /* tokens that are looked for in the text before it is cut into words, sorted by their bytes */
    int32_t *special_order;     /* indexes into specials: longest first, then lower token */
    int32_t special_first[257]; /* specials that begin with byte b: [special_first[b], special_first[b + 1]) */
    int32_t n_specials;
    int32_t n_user_defined;     /* those of them that count even when special tokens are not parsed */
    struct bnf_match match;     /* families that look up texts, not merges */
    int32_t *suppress;          /* [n_suppress] tokens that the file wants never to be generated */
    int32_t n_suppress;
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

/* Room for n strings of `size` bytes together, their NULs included, and BNF_SHORT_WORD more that may be read; 0 or
 * BITNET_ERROR_MEMORY (what there is still counts). */
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

/* May a token hold a character that ends with byte `last` and behind it one that begins with `first`? Where none does, no
 * merge can cross, so a text is merged in short stretches. The space, U+2581, counts as the byte 0x20. */
static inline bool bnf_joins(const struct bnf_vocab *v, uint8_t last, uint8_t first)
{
    return v->joins[(uint32_t)last << 5 | first >> 3] >> (first & 7) & 1;
}

static inline void bnf_joins_set(struct bnf_vocab *v, uint8_t last, uint8_t first)
{
    v->joins[(uint32_t)last << 5 | first >> 3] |= (uint8_t)(1 << (first & 7));
}

/* Length of the character at text[0], of which `left` bytes are there, with its first and last byte as bnf_joins wants them. */
static inline size_t bnf_join_bytes(const uint8_t *text, size_t left, uint8_t *first, uint8_t *last)
{
    const size_t n = bnf_utf8_len(text[0]) < left ? bnf_utf8_len(text[0]) : left;
    const bool space = n == 3 && text[0] == 0xE2 && text[1] == 0x96 && text[2] == 0x81;
    *first = space ? ' ' : text[0];
    *last = space ? ' ' : text[n - 1];
    return n;
}

/* The first BNF_SHORT_WORD bytes of a word, zero behind its end. With the length they say which word it is. No branch
 * depends on the length, which no branch predictor could guess: it takes reading beyond the word, up to `end`. */
#define BNF_SHORT_WORD 24
struct bnf_bits {
    uint64_t x[3];
};

/* bnf_masks[16 + n]: the lower n bytes, for n of -16 (none) to 24 (all). */
extern const uint64_t bnf_masks[16 + BNF_SHORT_WORD + 1];

static inline struct bnf_bits bnf_word_bits(const uint8_t *bytes, size_t len, const uint8_t *end)
{
    struct bnf_bits bits = {{0, 0, 0}};
    const size_t n = len < BNF_SHORT_WORD ? len : BNF_SHORT_WORD;
    if (end - bytes < BNF_SHORT_WORD) { /* only at the end of a text */
        memcpy(bits.x, bytes, n);
        return bits;
    }
    const uint64_t *mask = bnf_masks + 16 + n;
    memcpy(bits.x, bytes, sizeof bits.x);
    bits.x[0] &= mask[0];
    bits.x[1] &= mask[-8];
    bits.x[2] &= mask[-16];
    return bits;
}

static inline bool bnf_same_bits(const struct bnf_bits *a, const struct bnf_bits *b)
{
    return ((a->x[0] ^ b->x[0]) | (a->x[1] ^ b->x[1]) | (a->x[2] ^ b->x[2])) == 0;
}

/* Hash of the word that has these bits. */
static inline uint64_t bnf_hash_word(uint64_t seed, const struct bnf_bits *bits, const uint8_t *bytes, size_t len)
{
    uint64_t h = bnf_hash_mix(bnf_hash_mix(bnf_hash_mix(seed ^ len, bits->x[0]), bits->x[1]), bits->x[2]), x;
    if (len > BNF_SHORT_WORD) {
        size_t at = BNF_SHORT_WORD;
        for (; len - at > 8; at += 8) {
            memcpy(&x, bytes + at, 8);
            h = bnf_hash_mix(h, x);
        }
        memcpy(&x, bytes + len - 8, 8); /* overlaps what went before */
        h = bnf_hash_mix(h, x);
    }
    return bnf_hash_mix(h, h >> 32);
}

struct bnf_key { /* a word that is looked up */
    const uint8_t *bytes;
    size_t len;
    struct bnf_bits bits;
    uint64_t hash;
};

/* bytes up to `end` may be read. */
static inline struct bnf_key bnf_key_of(const struct bnf_vocab *v, const uint8_t *bytes, size_t len, const uint8_t *end)
{
    struct bnf_key key = {bytes, len, bnf_word_bits(bytes, len, end), 0};
    key.hash = bnf_hash_word(v->seed, &key.bits, bytes, len);
    return key;
}

/* Is this the key of the token? Keys lie in a block that bnf_strings_new made longer than they are. */
static inline bool bnf_key_is(const struct bnf_vocab *v, uint32_t token, const struct bnf_key *key)
{
    uint32_t len;
    const uint8_t *bytes = bnf_strings_get(v->key, token, &len);
    if (len != key->len)
        return false;
    const struct bnf_bits bits = bnf_word_bits(bytes, len, bytes + BNF_SHORT_WORD);
    return bnf_same_bits(&bits, &key->bits)
           && (len <= BNF_SHORT_WORD || memcmp(bytes + BNF_SHORT_WORD, key->bytes + BNF_SHORT_WORD, len - BNF_SHORT_WORD) == 0);
}

static inline const struct bnf_key_slot *bnf_key_slot(const struct bnf_vocab *v, uint64_t hash)
{
    return v->key_slots + ((uint32_t)hash & (v->n_key_slots - 1));
}

/* The token with this key, or BNF_NO_TOKEN. */
static inline uint32_t bnf_key_find(const struct bnf_vocab *v, const struct bnf_key *key)
{
    if (key->len > v->max_key_len)
        return BNF_NO_TOKEN;
    const uint32_t tag = (uint32_t)(key->hash >> 32), mask = v->n_key_slots - 1;
    for (uint32_t i = (uint32_t)key->hash & mask; v->key_slots[i].token != 0; i = (i + 1) & mask)
        if (v->key_slots[i].tag == tag && bnf_key_is(v, v->key_slots[i].token - 1, key))
            return v->key_slots[i].token - 1;
    return BNF_NO_TOKEN;
}

static inline uint32_t bnf_key_find_bytes(const struct bnf_vocab *v, const uint8_t *bytes, size_t len, const uint8_t *end)
{
    const struct bnf_key key = bnf_key_of(v, bytes, len, end);
    return bnf_key_find(v, &key);
}

/* The slot of a pair of tokens, or the empty one where it belongs; h is the pair's hash. */
static inline struct bnf_merge *bnf_merge_slot(const struct bnf_vocab *v, uint64_t pair, uint64_t h)
{
    const uint32_t mask = v->n_merge_slots - 1;
    uint32_t i = (uint32_t)(h >> 32) & mask;
    while (v->merge_slots[i].rank != 0 && v->merge_slots[i].pair != pair)
        i = (i + 1) & mask;
    return v->merge_slots + i;
}

/* The rank of merging two tokens, and what they become; BNF_NO_TOKEN and anything when they do not merge. */
static inline uint32_t bnf_merge_find(const struct bnf_vocab *v, uint32_t left, uint32_t right, uint32_t *token)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    const struct bnf_merge *slot = bnf_merge_slot(v, pair, bnf_hash_mix(v->seed, pair));
    *token = slot->token;
    return slot->rank - 1;
}

static inline uint32_t bnf_merge_bytes(const struct bnf_vocab *v, uint8_t left, uint8_t right, uint32_t *token)
{
    const struct bnf_byte_pair *pair = v->byte_pairs + ((uint32_t)left << 8 | right);
    *token = pair->token;
    return pair->rank - 1;
}

/* The lowest rank of a merge across the border of two characters, of which at least one is not whole yet; BNF_NO_TOKEN: none.
 * `last` and `first` are the bytes at the border. */
static inline uint32_t bnf_crossing(const struct bnf_vocab *v, uint8_t last, uint8_t first)
{
    return v->crossings[(uint32_t)first << 8 | last] - 1;
}

/* ---- seeds: characters that merging may take as a whole from the beginning; seed.pyx proves when ---- */

#define BNF_N_SEEDS 0x11000 /* the basic plane, and U+1F000 to U+1FFFF behind it, where emoji are */

/* Where a code point is remembered; BNF_N_SEEDS: nowhere. */
static inline uint32_t bnf_seed_place(uint32_t code_point)
{
    return code_point < 0x10000 ? code_point : code_point >> 12 == 0x1F ? 0x10000 | (code_point & 0xFFF) : BNF_N_SEEDS;
}

/* The token of a character of several bytes, and in its upper half the highest rank of the merges that make it; that half is
 * BNF_NO_TOKEN when the character cannot be a seed. */
uint64_t bnf_seed_find(const struct bnf_vocab *v, const uint8_t *bytes, size_t len);

static inline uint64_t bnf_seed_get(const struct bnf_vocab *v, uint32_t code_point, const uint8_t *bytes, size_t len)
{
    const uint32_t place = bnf_seed_place(code_point);
    if (place == BNF_N_SEEDS)
        return (uint64_t)BNF_NO_TOKEN << 32;
    uint64_t seed = __atomic_load_n(v->seeds + place, __ATOMIC_RELAXED);
    if (seed == 0) { /* not known: no character is made by the merge of rank 0 and is token 0 */
        seed = bnf_seed_find(v, bytes, len);
        __atomic_store_n(v->seeds + place, seed, __ATOMIC_RELAXED);
    }
    return seed;
}

/* The token of the character of len > 1 bytes at word[at] if it is one whatever stands beside it here, else BNF_NO_TOKEN. */
static inline uint32_t bnf_seed(const struct bnf_vocab *v, const uint8_t *word, size_t at, size_t len, size_t word_len)
{
    const uint8_t *after;
    const uint32_t code_point = bnf_utf8_char(word + at, &after);
    const uint64_t seed = bnf_seed_get(v, code_point, word + at, len);
    if (at > 0 && (word[at - 1] == ' ' || bnf_crossing(v, word[at - 1], word[at]) <= seed >> 32))
        return BNF_NO_TOKEN;
    if (at + len < word_len && bnf_crossing(v, after[-1], after[0]) <= seed >> 32)
        return BNF_NO_TOKEN;
    return seed >> 32 == BNF_NO_TOKEN ? BNF_NO_TOKEN : (uint32_t)seed;
}

/* ---- borders of characters that merges cross; pieces.pyx cuts words at the others ---- */

#define BNF_N_BORDERS (1u << 19) /* bits, 64 KiB. Llama 3 has 10 300 such pairs: of the others one in 50 shares its bit with one */
#define BNF_PART 0x110000u       /* | byte, instead of a code point: a character that is not whole yet, by its byte at the border */

/* May a merge join two symbols, of which the first ends with the character `left` and the second begins with `right`? */
static inline uint32_t bnf_border_bit(uint32_t left, uint32_t right)
{
    return (uint32_t)(((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u >> 45);
}

static inline bool bnf_border(const struct bnf_vocab *v, uint32_t left, uint32_t right)
{
    const uint32_t bit = bnf_border_bit(left, right);
    return v->borders[bit >> 3] >> (bit & 7) & 1;
}

static inline void bnf_border_set(struct bnf_vocab *v, uint32_t left, uint32_t right)
{
    const uint32_t bit = bnf_border_bit(left, right);
    v->borders[bit >> 3] |= (uint8_t)(1 << (bit & 7));
}

static inline void bnf_prefetch(const void *p)
{
    __builtin_prefetch(p);
}

/* ---- working memory of one call ---- */

struct bnf_ids { /* where tokens go: the first `cap` into out, all of them counted */
    int32_t *out;
    int32_t *ranges;      /* [cap][2] where each begins and ends; NULL: not wanted */
    const uint8_t *base;  /* what ranges are counted from */
    int64_t cap;
    int64_t n;
};

/* One more token, which stands for these bytes. */
static inline void bnf_ids_add(struct bnf_ids *ids, uint32_t token, const uint8_t *bytes, size_t len)
{
    if (ids->n < ids->cap) {
        ids->out[ids->n] = (int32_t)token;
        if (ids->ranges != NULL) {
            ids->ranges[2 * ids->n] = (int32_t)(bytes - ids->base);
            ids->ranges[2 * ids->n + 1] = (int32_t)(bytes - ids->base + (ptrdiff_t)len);
        }
    }
    ids->n++;
}

struct bnf_symbol { /* a part of a word being merged; a list in text order */
    uint32_t begin, len;  /* its bytes in the word; len 0: it was merged into its left neighbour */
    uint32_t prev, next;  /* BNF_NO_TOKEN at the ends */
    uint32_t token;       /* or BNF_NO_TOKEN */
    uint32_t rank;        /* of merging with the next symbol; BNF_NO_TOKEN: they do not merge */
    uint32_t pair_token;  /* what that gives */
};

#define BNF_WORD_IDS 9
struct bnf_word { /* what a short word, or piece of a word, became the last time, in one cache line */
    struct bnf_bits bits;
    uint8_t len;          /* 0: empty; | 0x80: a piece */
    uint8_t n_ids;
    uint32_t ids[BNF_WORD_IDS]; /* where the token ends in the word << 24 | token, which is less than BNF_MOST_TOKENS */
};

/* The tokens of a word that is remembered. */
static inline void bnf_ids_add_word(struct bnf_ids *ids, const struct bnf_word *word, const uint8_t *bytes)
{
    if (ids->cap - ids->n >= BNF_WORD_IDS && ids->ranges == NULL) {
        for (int i = 0; i < BNF_WORD_IDS; i++) /* all of them: no branch depends on their number */
            ids->out[ids->n + i] = (int32_t)(word->ids[i] & 0xFFFFFF);
        ids->n += word->n_ids;
        return;
    }
    uint32_t begin = 0, end;
    for (int i = 0; i < word->n_ids; i++, begin = end) {
        end = word->ids[i] >> 24;
        bnf_ids_add(ids, word->ids[i] & 0xFFFFFF, bytes + begin, end - begin);
    }
}

struct bnf_merge_scratch {
    const uint8_t *end;   /* the words of now lie in memory that may be read up to here */
    struct bnf_word *words; /* by the upper bits of the hash; the last one stays */
    uint32_t n_words;     /* 0, or a power of two */
    struct bnf_symbol *symbols;
    uint64_t *heap;       /* rank << 32 | index of the left symbol */
    size_t cap_symbols;   /* the heap holds three times as many entries */
    uint8_t *bytes;
    size_t cap_bytes;
};

/* Where a word is remembered, if it is. */
static inline struct bnf_word *bnf_word_of(const struct bnf_merge_scratch *scratch, const struct bnf_key *key)
{
    return scratch->words + ((uint32_t)(key->hash >> 40) & (scratch->n_words - 1));
}

/* A word that will be merged soon: have what merging it reads first brought near. Always inlined: gcc 12 takes a function
 * that only prefetches for one without effect, and drops the calls. */
__attribute__((always_inline)) static inline void bnf_key_ask(const struct bnf_vocab *v, const struct bnf_merge_scratch *scratch,
                                                               const struct bnf_key *key)
{
    if (scratch->n_words != 0)
        bnf_prefetch(bnf_word_of(scratch, key));
    bnf_prefetch(bnf_key_slot(v, key->hash));
}

struct bnf_fragment { /* a stretch of the text, or the token that replaces it */
    size_t begin, len;
    uint32_t token;       /* BNF_NO_TOKEN: text */
};

#endif
