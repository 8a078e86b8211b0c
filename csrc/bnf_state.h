/* The state of a context or of one sequence, as bytes. Numbers are those of the machine that wrote them; `order` tells.
 *
 *   struct bnf_state_header
 *   int32  tokens[n_client]           a file's: what the caller gave with it
 *   pages, n_pages times              only slots that something in the state holds
 *     uint64 filled                   which of the 64 slots
 *     int32  number[filled slots]     which token, 0 .. n_tokens - 1: copies of one have one number
 *   tables, n_tables times            of a sequence its own, then those above it (bnf_types.h)
 *     struct bnf_state_table
 *     struct bnf_state_entry entry[n_entries]   by index, ascending
 *   int32  out_row[n_batch]           of the last decode: row of each token's output, -1: none
 *   float  hidden[n_rows][n_embd]     the rows before the head
 *   struct bnf_mt19937, n_random times  the generator of llama_sample_token (bnf_random.h), once it has a seed
 *   uint64 sum of all before it (bnf_sum.h)
 *   rows, from rows_at on: keys, then values, by layer, page, kv head, filled slot: a row of the cache's type
 *   uint64 sum of the rows: those of the pieces (a page's part of a layer's keys, or values) in their places
 *
 * A sequence's state has no outputs and no generator, and calls its sequence 0. Where anything lies follows from the part before the
 * rows, so that threads write and read rows in any order. A state outlives neither its format nor its model: other versions are refused.
 * Next: bitnet_ffi/_core/cache/state.pyx, kv_image.pyx, kv_rows.pyx. */
#ifndef BNF_STATE_H
#define BNF_STATE_H

#include <stdint.h>

#define BNF_STATE_MAGIC   "bnfstate"
#define BNF_STATE_ORDER   0x01020304u
#define BNF_STATE_VERSION 3u

enum bnf_state_kind { BNF_STATE_CONTEXT = 1, BNF_STATE_SEQUENCE = 2 };

struct bnf_state_header {
    char magic[8];
    uint32_t order, version;
    uint64_t size;                       /* of all, header and sums included */
    uint64_t rows_at;
    uint64_t model, rope;                /* fingerprints of weights and shapes, and of the angles that keys are rotated by */
    uint32_t kind;
    uint32_t type_k, type_v;             /* bnf_kv_type */
    uint32_t n_layer, n_head_kv, dk, dv; /* for the sentence; the fingerprint has them too */
    uint32_t n_vocab, n_embd;
    uint32_t n_client;
    uint32_t n_pages, n_tokens, n_tables;
    uint32_t n_batch, n_rows;
    uint32_t n_random;                   /* 0 or 1 */
    uint64_t sum;                        /* of the header before it */
};
_Static_assert(sizeof(struct bnf_state_header) == 120, "no padding");

struct bnf_state_table {
    uint32_t seq, level, n_entries;      /* level 0: the sequence's own table */
};

struct bnf_state_entry {
    uint32_t index, page;
    uint64_t mask;
};

#endif
