/* Floats to the weight formats, block by block: the bits that llama.cpp's reference quantizers give, and bitnet.cpp's for I2_S.
 * A tensor is one stream of blocks, so parts of it can be written one after the other, or by several threads.
 * Next: bnf_layout.h for the formats, bnf_quantize.c for whole tensors, bitnet_ffi/_core/api/api_quantize.pyx for whole files. */
#ifndef BNF_QUANTIZE_BLOCKS_H
#define BNF_QUANTIZE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* Can n elements be written in this type? F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q6_K, TQ1_0, TQ2_0, I2_S. */
bool bnf_can_quantize(int32_t type);
/* n finite elements, a multiple of the type's blocks (I2_S: 128), to dst. Of I2_S the codes only: the scale is the tensor's. */
void bnf_quantize_blocks(int32_t type, const float *x, int64_t n, uint8_t *dst);

/* What a look at all elements of a tensor, part by part, tells. Begin with all fields zero. */
struct bnf_range {
    float max;        /* largest |x| */
    float least;      /* smallest |x| that counts as no zero (1e-6, as for bitnet.cpp); 0: none */
    bool not_finite;  /* a NaN or an infinity was seen */
};
void bnf_range_add(struct bnf_range *range, const float *x, int64_t n);

#endif
