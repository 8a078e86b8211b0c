/* The avx512vnni table: x86-64 with AVX-512 F, BW, DQ, VL and VNNI. */
#include "bnf_cpu.h"
#include "kernels_avx512vnni.h"

BNF_KERNEL_TABLE(avx512vnni, BNF_CPU_AVX2 | BNF_CPU_AVX512VNNI, BNF_PACKED_MEMBERS(avx512vnni, 12),
                 BNF_F12_MEMBERS(avx512vnni),
                 .matmul[BNF_TYPE_BLOCKS_R16] = bnf_matmul_blocks_r16_avx512vnni);
