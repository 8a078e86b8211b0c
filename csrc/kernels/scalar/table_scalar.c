/* The scalar table: plain C, the readable statement that every other table must equal bit for bit. */
#include "bnf_cpu.h"
#include "kernels_scalar.h"

BNF_KERNEL_TABLE(scalar, 0);
