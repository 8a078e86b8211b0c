/* The i8mm table: AArch64 with the dot product and int8 matrix multiplication extensions. Packed ternary products of its own; the rest
 * is the neon table's. */
#include "bnf_cpu.h"
#include "kernels_i8mm.h"

BNF_KERNEL_TABLE_NAMED(i8mm, neon, BNF_CPU_NEON | BNF_CPU_DOTPROD | BNF_CPU_I8MM, BNF_R16_MEMBERS(i8mm, 8),
                       BNF_R16_PACKING, BNF_F12_MEMBERS(neon));
