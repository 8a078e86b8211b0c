/* The avx2 table: x86-64 with AVX2, FMA and F16C. */
#include "bnf_cpu.h"
#include "kernels_avx2.h"

BNF_KERNEL_TABLE(avx2, BNF_CPU_AVX2);
