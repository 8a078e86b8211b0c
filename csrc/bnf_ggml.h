/* ggml's tensors (struct ggml_tensor of include/bitnet_ffi.h) as this library hands them out: of weights, of files, of values that a
 * client observes. Only what the header promises is filled in; nothing here computes with a tensor.
 * Next: bitnet_ffi/_core/api/api_tensor.pyx asks them, gguf_context.pyx makes those of files. */
#ifndef BNF_GGML_H
#define BNF_GGML_H

#include "bnf_types.h"

/* The tensors of a file, their data with them or not. */
struct ggml_context {
    const void *kind;            /* bnf_ggml_kind: made here, and not by a ggml beside */
    struct ggml_tensor *tensors; /* [n], the first of all data as one where there is data */
    int64_t n;
    uint8_t *data;               /* NULL: none was asked for */
    size_t size;                 /* bytes of data */
};

/* A file's keys and what it says of its tensors, copied: the file is not held. */
struct gguf_context {
    const void *kind;            /* bnf_gguf_kind */
    struct bnf_gguf *gguf;       /* keys, names and values are views into `copies`; no data, no mapping */
    uint8_t *copies;             /* strings end in NUL; the value of an array of strings is [count] pointers to them, others are aligned */
    uint64_t *offsets;           /* [n_tensors] from data_start */
};
extern char bnf_ggml_kind, bnf_gguf_kind; /* their addresses say so */

/* A tensor that nothing computed (op NONE): elements one after the other in the order of ne, which are not negative. data: NULL, or what is
 * kept as long as the tensor. The name is cut to what fits. Of a type with unknown blocks nb are 0. Add op and src for others. */
void bnf_tensor_describe(struct ggml_tensor *tensor, int32_t type, const int64_t ne[4], const void *data, const char *name, size_t name_len);

/* Bytes from the first element to the end of the last one, by ne and nb; 0: no elements, a type with unknown blocks, or more than a size_t
 * holds. */
size_t bnf_tensor_bytes(const struct ggml_tensor *tensor);

/* The buffer of all tensors that have data: memory of the CPU (bnf_buffer.c). */
ggml_backend_buffer_t bnf_cpu_buffer(void);

/* "MUL_MAT"; of UNARY and GLU what they do, "SILU". NULL for numbers that mean nothing. */
const char *bnf_op_name(int32_t op);
const char *bnf_op_desc(const struct ggml_tensor *tensor);

#endif
