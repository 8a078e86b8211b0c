/* The neon table: AArch64 with the dot product extension. */
#include "bnf_cpu.h"
#include "kernels_neon.h"

BNF_KERNEL_TABLE(neon, BNF_CPU_NEON | BNF_CPU_DOTPROD, BNF_R16_MEMBERS(neon, 4), BNF_R16_PACKING, BNF_F12_MEMBERS(neon));
