/* struct ggml_tensor (include/bitnet_ffi.h) as this library hands it out: of weights, of files, of values that a client observes.
 * Only what the header promises is filled in; nothing here computes with a tensor. Next: bitnet_ffi/_core/api_tensor.pyx. */
#ifndef BNF_GGML_H
#define BNF_GGML_H

#include "bitnet_ffi.h"

/* A tensor that nothing computed (op NONE): elements one after the other in the order of ne, which are positive. data: NULL, or what is
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
