/* The avx2 table: x86-64 with AVX2, FMA and F16C. */
#include "bnf_cpu.h"
#include "kernels_avx2.h"

BNF_KERNEL_TABLE(avx2, BNF_CPU_AVX2, BNF_PACKED_MEMBERS(avx2, 6), BNF_F12_MEMBERS(avx2),
                 .matmul[BNF_TYPE_BLOCKS_R16] = bnf_matmul_blocks_r16_avx2);
