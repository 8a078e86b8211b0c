/* Prototypes of what the avx512vbmi table has of its own; everything else it takes from avx512vnni. */
#ifndef BNF_KERNELS_AVX512VBMI_H
#define BNF_KERNELS_AVX512VBMI_H

#include "../avx512vnni/kernels_avx512vnni.h"

int32_t bnf_packed_layout_avx512vbmi(const struct bnf_matrix *w);
uint64_t bnf_packed_size_avx512vbmi(const struct bnf_matrix *w);
bool bnf_pack_avx512vbmi(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);
BNF_MATMUL_PROTOTYPE(i2_s_t5, avx512vbmi)
BNF_MATMUL_PROTOTYPE(tq_t5, avx512vbmi)

#endif
