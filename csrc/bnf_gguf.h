/* What the three gguf modules share among themselves, and adapter_ggla.pyx; everyone else uses bnf_calls.h.
 *   gguf_part.pyx    one file: header, keys, tensor infos, and that every tensor lies inside the file
 *   gguf.pyx         the parts of a split model put together, and the index of names
 *   gguf_values.pyx  typed getters, overrides, values as text */
#ifndef BNF_GGUF_H
#define BNF_GGUF_H

#include "bnf_types.h"

#define BNF_GGUF_MAX_KV 65536
#define BNF_GGUF_MAX_TENSORS 65536
#define BNF_GGUF_MAX_KEY 65535
#define BNF_GGUF_MAX_NAME 63
#define BNF_GGUF_MAX_STRING (64u << 20)
#define BNF_GGUF_MAX_ALIGNMENT 65536
#define BNF_GGUF_ALIGNMENT 32 /* when the file does not say, or says nonsense */
#define BNF_GGUF_MIN_KV_SIZE 13     /* u64 length of the key, i32 type, a value of one byte */
#define BNF_GGUF_MIN_TENSOR_SIZE 24 /* u64 length of the name, u32 n_dims, i32 type, u64 offset */

/* One file while it is read. */
struct bnf_gguf_part {
    const char *path;         /* of the file, or its name in sentences if there is a stream */
    FILE *stream;             /* NULL, or what to read in place of the path */
    struct bnf_map map;
    uint64_t pos;             /* next byte to read, never beyond map.size */
    const char *item;         /* what is being read, for sentences: "metadata key", "tensor" */
    int64_t item_no, n_items; /* its number, from 1; 0: the header */
    uint32_t version;
    uint32_t alignment;
    uint64_t data_start;      /* said by a 36-byte header, else 0 until the infos are read */
    struct bnf_gguf_kv *kv;
    int64_t n_kv;
    struct bnf_tensor *tensors;
    int64_t n_tensors;
    struct bnf_gguf_place *places; /* of the tensors, in the order of the infos, then sorted by offset */
};

struct bnf_gguf_place {
    uint64_t offset; /* from data_start */
    int64_t tensor;
};

/* Map part->path and read it. 0 or a negative code; either way bnf_gguf_free_part releases what is there. */
int bnf_gguf_read_part(struct bnf_gguf_part *part);
void bnf_gguf_free_part(struct bnf_gguf_part *part);

/* The index of gguf->tensors by name. 0 or a negative code; a name that stands twice is an error. */
int bnf_gguf_index_tensors(struct bnf_gguf *gguf, const char *path);

/* "string", "u32"...; "unknown" for a number that is no type. */
const char *bnf_gguf_type_name(int32_t type);
/* An integer of any width. 1 and *out; 0: not an integer; U64 values beyond INT64_MAX become INT64_MAX. */
int bnf_gguf_int(const struct bnf_gguf_kv *kv, int64_t *out);

#endif
