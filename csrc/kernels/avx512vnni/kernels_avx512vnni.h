/* Prototypes of the avx512vnni kernels (x86-64 with AVX-512 F, BW, DQ, VL and VNNI). */
#ifndef BNF_KERNELS_AVX512VNNI_H
#define BNF_KERNELS_AVX512VNNI_H

#include "bnf_kernels.h"

BNF_KERNEL_PROTOTYPES(avx512vnni)
BNF_PACKED_PROTOTYPES(avx512vnni)
BNF_F12_PROTOTYPES(avx512vnni)
BNF_BLOCKS_PROTOTYPES(avx512vnni)

#endif
