/* Hidden functions that one engine module defines (cdef public in its .pyx) and others call. Grouped by home.
 * bitnet_ffi/_core/bnf_calls.pxd (or the .pxd of a room) mirrors it. Rule 1 of docs/ARCHITECTURE.md: no cimport from a .pyx. */
#ifndef BNF_CALLS_H
#define BNF_CALLS_H

#include "bnf_adapter.h"
#include "bnf_context.h"
#include "bnf_forward.h"
#include "bnf_types.h"

/* ---- gguf.pyx ---- */
/* Map and check a GGUF file, or all parts of a split model. 0, or a negative code with a sentence that names path, key or
 * tensor, what was found and what was expected. The overrides are borrowed: whoever opens sets gguf->overrides to NULL
 * before they go. */
int bnf_gguf_open(const struct bnf_source *source, const struct llama_model_kv_override *overrides, struct bnf_gguf **out);
/* What sentences call the source: its path, that of its first part, or "the open file". */
const char *bnf_source_name(const struct bnf_source *source);
void bnf_gguf_close(struct bnf_gguf *gguf); /* accepts NULL */
/* NULL when absent; no error is set. */
const struct bnf_gguf_kv *bnf_gguf_find(const struct bnf_gguf *gguf, const char *key);
const struct bnf_tensor *bnf_gguf_tensor(const struct bnf_gguf *gguf, const char *name);
/* Scalars, overrides applied first. 1: found, *out set; 0: absent, *out untouched; negative: wrong type or range,
 * sentence set.
 * u32 accepts any integer type whose value fits; f32 accepts f32 and f64; bool accepts bool. */
int bnf_gguf_u32(const struct bnf_gguf *gguf, const char *key, uint32_t *out);
int bnf_gguf_f32(const struct bnf_gguf *gguf, const char *key, float *out);
int bnf_gguf_bool(const struct bnf_gguf *gguf, const char *key, bool *out);
int bnf_gguf_str(const struct bnf_gguf *gguf, const char *key, struct bnf_str *out);
/* Element i of a string array is reached by walking: start with *cursor = kv->value, call count times. Bounds were
 * checked at open. */
struct bnf_str bnf_gguf_next_str(const uint8_t **cursor);
/* The value as llama_model_meta_val_str writes it (snprintf rules: returns the full length). Arrays: "[a, b, ...]". */
int32_t bnf_gguf_format(const struct bnf_gguf_kv *kv, char *buf, size_t size);
/* gguf_meta.pyx: metadata by the rules of llama.h. buf: NULL only when size is 0; snprintf rules; -1 and a sentence when it cannot be
 * had. gguf: NULL when `function` has no file to ask and has said so. arrays: may the key be one's? */
int32_t bnf_meta_count(const struct bnf_gguf *gguf);
int32_t bnf_meta_key(const struct bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function);
int32_t bnf_meta_value(const struct bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function);
int32_t bnf_meta_value_of(const struct bnf_gguf *gguf, const char *key, bool arrays, char *buf, size_t size, const char *function);
/* api_info.pyx: the type that holds most weights of the layers; -1 when there are none. general.file_type is not asked. */
int32_t bnf_gguf_main_type(const struct bnf_gguf *gguf);

/* gguf_context.pyx: both accept NULL. */
struct ggml_context;
struct gguf_context;
void bnf_ggml_context_free(struct ggml_context *ctx);
void bnf_gguf_context_free(struct gguf_context *ctx);
/* api_tensor.pyx: what llama_get_model_tensor returns, NULL and no error for a name that the file has not. */
struct ggml_tensor *bnf_model_tensor(struct llama_model *model, const char *name);

/* ---- vocab.pyx ---- */
int bnf_vocab_load(const struct bnf_gguf *gguf, struct bnf_vocab **out);
void bnf_vocab_free(struct bnf_vocab *vocab); /* accepts NULL */
int32_t bnf_vocab_n_tokens(const struct bnf_vocab *vocab);

/* ---- the rooms inside the vocabulary; structs in bnf_vocab.h ---- */
struct bnf_key;
struct bnf_merge_scratch;
struct bnf_ids;
/* vocab.pyx: an array of strings or numbers with at least `count` elements. 1: *out set; 0: absent; negative: another
 * kind. */
int bnf_vocab_array(const struct bnf_gguf *gguf, const char *key, int32_t elem_type, int32_t other_type, uint64_t count,
                    const struct bnf_gguf_kv **out);
/* vocab_detect.pyx: the name of the pre-tokenizer that texts and attributes speak for, "default" when they say nothing.
 * *why: whose vocabulary it is, NULL when it is no known one. */
const char *bnf_vocab_detect(const struct bnf_vocab *vocab, const char **why);
/* vocab_roles.pyx: special tokens, end of generation, attributes by model. 0, or a negative code under strict
 * repairs. */
int bnf_vocab_roles(const struct bnf_gguf *gguf, struct bnf_vocab *vocab);
/* vocab_tables.pyx: pieces, keys, bytes and merges, once roles are known. 0 or a negative code. */
int bnf_vocab_tables(const struct bnf_gguf *gguf, struct bnf_vocab *vocab);
/* vocab_merges.pyx: the merges of BPE, once the keys and bytes are there. 0 or a negative code. */
int bnf_vocab_merges(const struct bnf_gguf *gguf, struct bnf_vocab *vocab);
/* merge.pyx: merge one word (for SPM a stretch between which no token reaches) into tokens. 0 or
 * BITNET_ERROR_MEMORY. */
int bnf_merge_word(const struct bnf_vocab *vocab, const uint8_t *word, size_t len, struct bnf_merge_scratch *scratch,
                   struct bnf_ids *ids);
/* The same for a word whose key is known, which is not empty. A piece is a part of a word, of which no merge crosses the
 * ends: that it is a token does not count by itself. */
int bnf_merge_key(const struct bnf_vocab *vocab, const struct bnf_key *key, bool piece, struct bnf_merge_scratch *scratch,
                  struct bnf_ids *ids);
/* pieces.pyx: a word of byte-level BPE with characters of several bytes, cut where no merge crosses. 0 or
 * BITNET_ERROR_MEMORY. */
int bnf_merge_pieces(const struct bnf_vocab *vocab, const uint8_t *word, size_t len, struct bnf_merge_scratch *scratch,
                     struct bnf_ids *ids);
/* Working memory for a text of this length, as much as it will repeat words; 0 or BITNET_ERROR_MEMORY. */
int bnf_merge_begin(struct bnf_merge_scratch *scratch, size_t len);
int bnf_merge_reserve(struct bnf_merge_scratch *scratch, size_t size); /* at least size bytes in scratch->bytes */
void bnf_merge_free(struct bnf_merge_scratch *scratch);
/* tokenize.pyx: tokens of a text and, unless NULL, their ranges, written while they fit and counted all; or a negative
 * code. flags: bitnet_tokenize_flag. */
int64_t bnf_tokenize(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, uint32_t flags, int32_t *tokens,
                     int32_t *ranges, int64_t n_tokens_max);
/* The same with working memory of the caller's, in which words are remembered from text to text (of one vocabulary). */
int64_t bnf_tokenize_with(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, uint32_t flags,
                          struct bnf_merge_scratch *scratch, int32_t *tokens, int32_t *ranges, int64_t n_tokens_max);
/* ranges.pyx: ranges of n tokens, from places in the text that was merged to places in the one that was given, where it
 * begins at `begin`: with its spaces escaped (and one in front), or with its invalid bytes replaced
 * (and its letters small). */
void bnf_ranges_spaces(const uint8_t *text, bool lead, int32_t begin, int32_t *ranges, int64_t n);
void bnf_ranges_repaired(const uint8_t *text, size_t len, bool lower, int32_t begin, int32_t *ranges, int64_t n);
/* cut.pyx: where bitnet_tokenize_cut cuts, or 0. */
size_t bnf_tokenize_cut(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, bool parse_special);

/* vocab_trie.pyx */
struct bnf_trie;
struct bnf_match;
struct bnf_strings;
int bnf_trie_build(const struct bnf_vocab *vocab, const struct bnf_strings *texts, const uint8_t *wanted, bool last,
                   struct bnf_trie *trie);
void bnf_trie_free(struct bnf_trie *trie);
/* vocab_match.pyx: what WPM and UGM look up, from texts and the file's attributes; before vocab_roles.pyx changes these. */
int bnf_vocab_match(const struct bnf_gguf *gguf, struct bnf_vocab *vocab);
void bnf_match_free(struct bnf_match *match);
/* Likewise RWKV, PLaMo-2 and DNA, when pieces are made. */
int bnf_vocab_match_pieces(struct bnf_vocab *vocab);
/* tokenize_wordpiece.pyx, _unigram, _raw, _rwkv, _plamo: tokens of a stretch of text. 0 or a negative code. */
int bnf_tokenize_wordpiece(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_merge_scratch *scratch,
                           struct bnf_ids *ids);
int bnf_tokenize_unigram(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_ids *ids);
int bnf_tokenize_raw(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_merge_scratch *scratch,
                     struct bnf_ids *ids);
void bnf_tokenize_rwkv(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_ids *ids);
int bnf_tokenize_plamo(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_merge_scratch *scratch,
                       struct bnf_ids *ids);
/* tokenize_dna.pyx: where the next <dna> begins in a stretch and its </dna> ends, both len when there is none; and the tokens
 * of what lies between. */
size_t bnf_dna_find(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, size_t *end);
void bnf_tokenize_dna(const struct bnf_vocab *vocab, const uint8_t *text, size_t len, struct bnf_ids *ids);

/* ---- load.pyx ---- */
int bnf_model_load(const struct bnf_source *source, const struct llama_model_params *params, struct llama_model **out);
void bnf_model_retain(struct llama_model *model);  /* one more reference: what a context does at birth */
void bnf_model_release(struct llama_model *model); /* drops one reference; the last one frees; accepts NULL */

/* ---- kv_cache.pyx: no function leaves the cache half changed ---- */
/* 0, or BITNET_ERROR_MEMORY and nothing held. */
int bnf_kv_init(struct bnf_kv *kv, const struct bnf_hparams *hp, int32_t n_ctx, int32_t n_ctx_seq, int32_t n_seq_max,
                int32_t type_k, int32_t type_v);
void bnf_kv_free(struct bnf_kv *kv);
void bnf_kv_clear(struct bnf_kv *kv, bool data);
/* Room for every token of the batch. 0; 1: no room, nothing changed; negative: error. */
int bnf_kv_reserve(struct bnf_kv *kv, const struct bnf_batch *batch);
/* Undo a reserve whose decode failed or was aborted. */
void bnf_kv_rollback(struct bnf_kv *kv, const struct bnf_batch *batch);
/* Does the sequence hold this position? */
bool bnf_kv_holds(const struct bnf_kv *kv, int32_t seq, int32_t pos);
/* kv_limit.pyx: tokens that a sequence holds; more than it may? Would it be after a copy? 0, or BITNET_ERROR_CONTEXT. */
int32_t bnf_kv_seq_tokens(const struct bnf_kv *kv, int32_t seq);
bool bnf_kv_seq_overfull(const struct bnf_kv *kv, int32_t seq);
int bnf_kv_check_copy(const struct bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1);
bool bnf_kv_seq_rm(struct bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1);
/* 0, or BITNET_ERROR_MEMORY when dst needs a page of its own and none is free, BITNET_ERROR_CONTEXT when it has no room. */
int bnf_kv_seq_cp(struct bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1);
void bnf_kv_seq_keep(struct bnf_kv *kv, int32_t seq);
/* For kv_move.pyx and kv_image.pyx, which change tables under bnf_kv_undo: said in kv_cache.pyx. */
int32_t bnf_kv_table_above(struct bnf_kv *kv, int32_t table);
void bnf_kv_settle(struct bnf_kv *kv, int32_t seq);
int64_t bnf_kv_put(struct bnf_kv *kv, int32_t table, int32_t pos, int32_t token, int32_t *left);

int32_t bnf_kv_take_page(struct bnf_kv *kv);
int32_t bnf_kv_fill(struct bnf_kv *kv, int32_t page, int32_t slot, int32_t token);
bool bnf_kv_reach(struct bnf_kv *kv, int32_t table, int32_t index);

/* ---- kv_undo.pyx ---- */
/* What all sequences hold, but not keys and values; NULL + last error: no memory. bnf_release frees it. */
struct bnf_kv *bnf_kv_keep_tables(const struct bnf_kv *kv);
void bnf_kv_undo(struct bnf_kv *kv, const struct bnf_kv *tables);

/* ---- kv_move.pyx ---- */
/* Positions p in [p0, p1) of a sequence become (p + delta) / divisor; those that would be negative are forgotten. Keys are rotated
 * to where they go. 0, or a negative code and no change. The context is entered. */
int bnf_kv_move(struct llama_context *ctx, int32_t seq, int32_t p0, int32_t p1, int32_t delta, int32_t divisor);

/* Let empty sequences take the place of those in the cache, and back; pages and tokens of both stay counted. Set aside: 0, or
 * BITNET_ERROR_MEMORY. Put back: forgets what was there in between. */
int bnf_kv_set_aside(struct bnf_kv *kv, struct bnf_kv *kept);
void bnf_kv_put_back(struct bnf_kv *kv, const struct bnf_kv *kept);

/* ---- kv_image.pyx: what sequences hold, as a part of a state ---- */
struct bnf_stream;
struct bnf_state_header;
/* What a state has of the cache. */
struct bnf_kv_image {
    int32_t seq;     /* -1: all */
    int32_t n_pages, n_tokens, n_tables;
    uint64_t n_rows; /* filled slots */
    int32_t *page;   /* [n_pages] in the cache, by number in the state */
    uint64_t *mask;  /* [n_pages] which of its slots */
    int32_t *place;  /* of an image to write: a page's number in the state, by that in the cache */
    int32_t *number; /* the same of tokens; of an image that is read, the other way round */
};
/* 0, or an error and an empty image. */
int bnf_image_of(const struct bnf_kv *kv, int32_t seq, struct bnf_kv_image *image);
int bnf_image_read(struct bnf_kv *kv, int32_t seq, const struct bnf_state_header *header, struct bnf_stream *s,
                   struct bnf_kv_image *image);
void bnf_image_write(const struct bnf_kv *kv, const struct bnf_kv_image *image, struct bnf_stream *s);
void bnf_image_free(struct bnf_kv_image *image);

/* ---- kv_rows.pyx: keys and values of an image, which lie from byte `at` of the state on ---- */
struct bnf_store;
enum bnf_rows_what { BNF_ROWS_WRITE, BNF_ROWS_CHECK, BNF_ROWS_READ }; /* check: nothing but the sum */
struct bnf_rows {
    struct llama_context *ctx;
    const struct bnf_kv_image *image;
    const struct bnf_store *store;
    int what, n_threads;
    uint64_t at;
    uint64_t *before;     /* [image's n_pages + 1] rows of a head in the pages before one */
    int64_t n_pieces;
    int64_t group;        /* pieces that a thread takes at a time */
    uint8_t *buffer;      /* of files: [n_threads][buffer_size], for pieces that do not pass in one run */
    uint64_t buffer_size;
    int64_t next;         /* shared: the group that nobody has yet */
    uint64_t sum;         /* shared */
    int32_t reason;       /* shared: what errno said of a failure */
};
uint64_t bnf_rows_size(const struct bnf_kv *kv, const struct bnf_kv_image *image);
/* 0 or an error. Whatever it was, bnf_rows_end follows at the end; what lies between allocates nothing. */
int bnf_rows_begin(struct llama_context *ctx, const struct bnf_kv_image *image, const struct bnf_store *store, uint64_t at,
                   struct bnf_rows *rows);
/* 0 or an error. rows->sum is of what passed; reading from memory, which CHECK has seen, makes none. The context is entered. */
int bnf_rows_pass(struct bnf_rows *rows, int what);
void bnf_rows_end(struct bnf_rows *rows);

/* ---- state.pyx; seq -1: the whole context, which is entered. Bytes that passed, 0: a last error ---- */
uint64_t bnf_state_write(struct llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens, struct bnf_store *store);
uint64_t bnf_state_read(struct llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, uint64_t *n_tokens,
                        const struct bnf_store *store);

/* ---- batch.pyx ---- */
/* Whose batch it is. Of a llama_batch_ext, pos[i] = -1 stands for "the next of its sequence", token[i] = BNF_TOKEN_EMBD for
 * row i of embd. */
enum bnf_batch_origin { BNF_BATCH_CLIENT, BNF_BATCH_EXT };
/* The checks that need no position: number of tokens, and each of the vocabulary or a finite embedding. 0 or a negative
 * code. */
int bnf_batch_check(const struct llama_context *ctx, const struct llama_batch *client, int origin);
/* Check a client's batch against the context and fill in positions, sequences and outputs. all: every token leaves a state.
 * 0 or a negative code. The context's own batch stays what it is until bnf_batch_take makes it this one. */
int bnf_batch_prepare(struct llama_context *ctx, const struct llama_batch *client, int origin, bool all, struct bnf_batch *out);
void bnf_batch_take(struct llama_context *ctx, const struct bnf_batch *batch);

/* ---- batch_ext.pyx ---- */
/* As struct llama_batch, for BNF_BATCH_EXT; valid until something is added. */
struct llama_batch bnf_batch_of_ext(const struct llama_batch_ext *batch);

/* ---- operand.pyx: rows of floats as right operands of products ---- */
/* Row t of n, k floats at x, as that kind, into the scratch. One thread a row. */
void bnf_operand_row(const struct bnf_ops *ops, struct bnf_scratch *s, int kind, const float *x, int64_t k, int64_t t, int64_t n);
/* All n rows of x for a product, once every row is done. */
struct bnf_act bnf_operand(const struct bnf_scratch *s, int kind, const float *x, int64_t k, int64_t n);

/* ---- api_decode.pyx ---- */
/* The row that llama_get_logits_ith(ctx, i) means, -1: there is none. The context is entered. */
int64_t bnf_output_row(const struct llama_context *ctx, int32_t i);
/* Likewise, with a sentence that names the function when there is none. */
int64_t bnf_need_output_row(const struct llama_context *ctx, int32_t i, const char *function);

/* ---- head.pyx: from hidden states to logits and tokens, when they are asked for ---- */
/* Logits of all rows that the last decode left, unless they are there. 0, or BITNET_ERROR_MEMORY. The context is entered. */
int bnf_head_logits(struct llama_context *ctx);
/* Of the decode at work: rows [row, row + n) of logits. 0, or BITNET_ERROR_MEMORY. */
int bnf_head_rows(struct llama_context *ctx, int64_t row, int64_t n);
/* Memory for choosing, in a context whose model has a screen. 0, or BITNET_ERROR_MEMORY. */
int bnf_head_init(struct llama_context *ctx);
/* The token with the largest logit of row i (as llama_get_logits_ith), ties to the smaller id. LLAMA_TOKEN_NULL: it takes
 * the full logits to say (no screen, they are there already, or nothing is finite) or there is no such row; no error is
 * set. Enters the context. */
int32_t bnf_head_greedy(struct llama_context *ctx, int32_t i);
/* The tokens of a shortlist (bnf_sampler.h) of row i, and perhaps others, in any order; all with their logits. data: room for n_vocab.
 * How many there are; 0 where bnf_head_greedy would say LLAMA_TOKEN_NULL. Enters the context. */
struct bnf_shortlist;
int64_t bnf_head_shortlist(struct llama_context *ctx, int32_t i, const struct bnf_shortlist *list, llama_token_data *data);
/* The same of a row of the states, with the context entered. */
int32_t bnf_head_greedy_row(struct llama_context *ctx, int64_t row);
int64_t bnf_head_shortlist_row(struct llama_context *ctx, int64_t row, const struct bnf_shortlist *list, llama_token_data *data);

/* ---- attention.pyx: phases of a layer; none holds a barrier ---- */
/* Sets step->attention, for a run of nth threads: before it starts. */
void bnf_attention_plan(struct bnf_step *step, int nth);
/* Rotate q and k of token t of the step, and store k and v in the page of each of its sequences. One thread a token, and a
 * barrier before bnf_attention. Not with BNF_ATTN_PAGES_ALONE. */
void bnf_rope_and_store(const struct bnf_step *step, int64_t layer, int64_t t);
/* This thread's part of the attention of all tokens, from the scratch's q (and k and v with BNF_ATTN_PAGES_ALONE). */
void bnf_attention(const struct bnf_step *step, int64_t layer, int ith, int nth);
/* After a barrier: the attention of token t, [H dv], into o: the scratch's attn row of t itself, or memory of the caller, who
 * may then ask from several threads at once. work: [2 g] floats of the calling thread. nth: as for bnf_attention. */
void bnf_attention_output(const struct bnf_step *step, int64_t t, int nth, float *work, float *o);

/* ---- grammar_tokens.pyx ---- */
void bnf_token_order_free(void *order); /* a model's token_order; accepts NULL */

/* ---- adapter.pyx ---- */
/* A client's adapter; NULL and a sentence when the file is wrong or not for this model. It belongs to the model. */
struct llama_adapter_lora *bnf_adapter_load(struct llama_model *model, const struct bnf_source *source);
void bnf_adapter_release(struct llama_adapter_lora *adapter); /* drops one reference */
void bnf_adapters_free(struct llama_model *model);            /* all of them, at the model's end */

/* ---- adapter_ggla.pyx ---- */
/* A LoRA file of 2023: 1, *out its tensors, without metadata, *scale its alpha / r; 0: the file is none of that kind; negative. */
int bnf_ggla_open(const struct bnf_source *source, struct bnf_gguf **out, float *scale);

/* ---- api_adapter.pyx ---- */
/* Take up what became part of the model since. 0, or BITNET_ERROR_MEMORY. The context is entered. */
int bnf_lora_follow(struct llama_context *ctx);
void bnf_lora_forget(struct llama_context *ctx); /* at the context's end */

/* ---- lora.pyx: floats; no adapter: nothing happens. u: rows of 3 lora_rank, as in struct bnf_scratch ---- */
/* u = A x of n tokens, for the product of that number. */
void bnf_lora_down(const struct llama_context *ctx, int64_t number, const float *x, int64_t n, float *u, void *scratch);
/* Rows [row0, row1) of y[n][m] += scale * B u, for n tokens. Each row grows with what it was. */
void bnf_lora_up(const struct llama_context *ctx, int64_t number, const float *u, int64_t n, float *y, int64_t m, long row0, long row1);
/* x += what adapters add to the embedding of a token. */
void bnf_lora_embed(const struct llama_context *ctx, int32_t token, float *x);
/* Does any adapter change the head? */
bool bnf_lora_on_head(const struct llama_context *ctx);

/* ---- context.pyx ---- */
/* How a public function takes a context for itself: 0, and bnf_context_leave is due; or BITNET_ERROR (ctx is NULL) or
 * BITNET_ERROR_THREAD (another thread is in it), with a sentence that names the function. */
int bnf_enter(struct llama_context *ctx, const char *function);
/* New scratch for adapters of this rank together. 0, or BITNET_ERROR_MEMORY and the old one stays. */
int bnf_context_set_lora_rank(struct llama_context *ctx, int32_t rank);
/* New scratch for up to n_threads that work together; likewise. */
int bnf_context_make_scratch(struct llama_context *ctx, int32_t n_threads);

/* ---- rope.pyx ---- */
/* The rotations that the context's completed parameters and the file ask for; n_ctx_seq: tokens of a sequence. 0, or a code. */
int bnf_rope_init(struct llama_context *ctx, uint32_t n_ctx_seq);

/* ---- threads.pyx ---- */
/* Use so many threads for one token and for more, of a team that is made where there is none or it is too small. 0, or a code and no
 * change. */
int bnf_context_set_threads(struct llama_context *ctx, int32_t n_threads, int32_t n_threads_batch);
void bnf_context_free_threads(struct llama_context *ctx);

/* ---- classify.pyx ---- */
/* The classifier's n_cls_out numbers for a normed state. The model has a classifier; uses the context's scratch. */
void bnf_classify(struct llama_context *ctx, const float *state, float *out);

/* ---- observe.pyx: contexts with an observer. False, or 2 in place of 0: the client wants no more ---- */
/* What is new at that moment (bnf_observe.h) of a layer. Between barriers, from thread 0; s is its scratch. */
bool bnf_observe(const struct bnf_step *step, const struct bnf_scratch *s, int64_t layer, int moment);
/* Rows [row0, row1) of gate, of all tokens, before the activation takes their place. */
void bnf_observe_gate(const struct bnf_step *step, int64_t row0, int64_t row1);
/* The states that the step left, and their logits. 0, 2, or a negative code. */
int bnf_observe_result(const struct bnf_step *step);
/* ctx->observer, as its completed parameters say. 0, or BITNET_ERROR_MEMORY; free takes what there is. */
int bnf_observer_new(struct llama_context *ctx);
void bnf_observer_free(struct bnf_observer *observer); /* accepts NULL */

/* ---- forward.pyx ---- */
/* One ubatch (tokens [begin, end) of batch) through the model; rows that asked get their logits. 0, or 2: aborted. */
int bnf_forward(struct llama_context *ctx, const struct bnf_batch *batch, int32_t begin, int32_t end);

#endif
