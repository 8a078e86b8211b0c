/* What the threads share while one ubatch runs through the model: forward.pyx makes one, its phases and attention.pyx read it.
 * Holds no results: those lie in the context's scratch (bnf_context.h). */
#ifndef BNF_FORWARD_H
#define BNF_FORWARD_H

#include "bnf_context.h"

/* How attention shares its work; bnf_attention_plan chooses, before the threads start. */
enum bnf_attention_plan {
    BNF_ATTN_TILES,       /* some tokens of a sequence and a kv head at a time, whole by one thread */
    BNF_ATTN_PAGES,       /* cut into pages: few items, long context */
    BNF_ATTN_PAGES_ALONE, /* the same, where no token sees another of the step: bnf_attention rotates and stores itself */
};

struct bnf_step {
    struct llama_context *ctx;
    const struct bnf_batch *batch;
    int32_t begin;     /* tokens [begin, begin + n) of the batch */
    int32_t n;
    int32_t attention; /* bnf_attention_plan */
    int32_t aborted;   /* written by thread 0 before a barrier, read by all after it */
    int32_t n_indexes; /* pages that the last position of the step needs: numbers of pages count tables of this length (attention.pyx) */
};

/* ---- memory of its own that each thread works in during attention; g: query heads a kv head ---- */

/* Tokens of a tile: about 128 query heads share the work of widening a page (32 take 10 % longer), and their results, 64 KiB
 * at a head width of 128, stay in L2. */
#define BNF_TILE_TOKENS(g) ((g) < 128 ? 128 / (g) : 1)

struct bnf_tile_work {
    float *keys, *values, *weights; /* as struct bnf_attn_tile has them */
    float *m, *l;                   /* [2][n][g] */
    float *o;                       /* [n][g][dv] */
    uint64_t *mask;                 /* [n] */
};

/* Cuts `memory`, unless it is NULL; the bytes it takes. */
static inline size_t bnf_tile_cut(struct bnf_tile_work *work, uint8_t *memory, int64_t g, int64_t dk, int64_t dv)
{
    const size_t n = (size_t)BNF_TILE_TOKENS(g), rows = n * (size_t)g;
    const size_t len[] = {(size_t)dk * BNF_KV_PAGE, (size_t)(dv + 15) / 16 * 16 * BNF_KV_PAGE, (rows + 7) / 8 * 8 * BNF_KV_PAGE,
                          2 * rows, 2 * rows, rows * (size_t)dv, 2 * n}; /* in floats; a mask is two */
    void *part[7];
    size_t used = 0;
    for (int i = 0; i < 7; i++) {
        part[i] = memory + used;
        used += (len[i] * sizeof(float) + 63) / 64 * 64;
    }
    if (memory)
        *work = (struct bnf_tile_work){part[0], part[1], part[2], part[3], part[4], part[5], part[6]};
    return used;
}

/* Bytes that one item takes: m, l and o of a page, and its queries. */
#define BNF_ITEM_WORK(g, dk, dv) ((size_t)(2 * (g) + (g) * ((dk) + (dv))) * sizeof(float))

static inline size_t bnf_attention_work(int64_t g, int64_t dk, int64_t dv)
{
    const size_t tile = bnf_tile_cut(NULL, NULL, g, dk, dv), item = BNF_ITEM_WORK(g, dk, dv);
    return tile > item ? tile : item;
}

#endif
