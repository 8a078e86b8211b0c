/* Prototypes of the avx2 kernels (x86-64 with AVX2, FMA and F16C). */
#ifndef BNF_KERNELS_AVX2_H
#define BNF_KERNELS_AVX2_H

#include "bnf_kernels.h"

BNF_KERNEL_PROTOTYPES(avx2)
BNF_PACKED_PROTOTYPES(avx2)
BNF_BLOCKS_PROTOTYPES(avx2)
BNF_F12_PROTOTYPES(avx2)

#endif
