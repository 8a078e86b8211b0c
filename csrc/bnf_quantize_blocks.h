/* Floats to the weight formats, block by block: the bits that llama.cpp's reference quantizers give, and bitnet.cpp's for I2_S.
 * A tensor is one stream of blocks, so parts of it can be written one after the other, or by several threads.
 * Next: bnf_layout.h for the formats, bnf_quantize.c for whole tensors, bitnet_ffi/_core/api/api_quantize.pyx for whole files. */
#ifndef BNF_QUANTIZE_BLOCKS_H
#define BNF_QUANTIZE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct bnf_ops;

/* Can weights be written in this type? All that can be read. Does an importance matrix change what is written? */
bool bnf_can_quantize(int32_t type);
bool bnf_quantize_weighs(int32_t type);
/* n finite elements, a multiple of the type's blocks (I2_S: 128), to dst. Of I2_S the codes only: the scale is the tensor's. */
void bnf_quantize_blocks(const struct bnf_ops *ops, int32_t type, const float *x, int64_t n, uint8_t *dst);
/* m rows of k elements; importance: of each column, finite, or NULL: all the same. */
void bnf_quantize_rows(const struct bnf_ops *ops, int32_t type, const float *x, int64_t k, int64_t m, const float *importance,
                       uint8_t *dst);
/* Did every scale (and F16 element) of n elements find place in an f16? */
bool bnf_scales_finite(int32_t type, const uint8_t *blocks, int64_t n);

/* What a look at all elements of a tensor, part by part, tells. Begin with all fields zero. */
struct bnf_range {
    float max;        /* largest |x| */
    float least;      /* smallest |x| that counts as no zero (1e-6, as for bitnet.cpp); 0: none */
    bool not_finite;  /* a NaN or an infinity was seen */
};
void bnf_range_add(struct bnf_range *range, const float *x, int64_t n);

#endif
