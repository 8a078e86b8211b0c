/* Prototypes of the i8mm kernels (AArch64 with the dot product and int8 matrix multiplication extensions): the products that smmla
 * makes faster. */
#ifndef BNF_KERNELS_I8MM_H
#define BNF_KERNELS_I8MM_H

#include "bnf_kernels.h"
#include "bnf_r16.h"

BNF_KERNEL_PROTOTYPES(neon)
BNF_R16_PROTOTYPES(i8mm)
BNF_F12_PROTOTYPES(neon)

#endif
