/* Prototypes of the neon kernels (AArch64 with the dot product extension). */
#ifndef BNF_KERNELS_NEON_H
#define BNF_KERNELS_NEON_H

#include "bnf_kernels.h"
#include "bnf_r16.h"

BNF_KERNEL_PROTOTYPES(neon)
BNF_R16_PROTOTYPES(neon)
BNF_F12_PROTOTYPES(neon)

#endif
