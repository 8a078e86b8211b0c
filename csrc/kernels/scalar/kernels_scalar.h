/* Prototypes of the scalar kernels (plain C, the readable statement that every other table must equal bit for bit). */
#ifndef BNF_KERNELS_SCALAR_H
#define BNF_KERNELS_SCALAR_H

#include "bnf_kernels.h"

BNF_KERNEL_PROTOTYPES(scalar)

#endif
