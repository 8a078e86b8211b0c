/* The avx2 table: x86-64 with AVX2, FMA and F16C. */
#include "bnf_cpu.h"
#include "kernels_avx2.h"

BNF_KERNEL_TABLE(avx2, BNF_CPU_AVX2, .matmul[BNF_TYPE_BLOCKS_R16] = bnf_matmul_blocks_r16_avx2,
                 .packed_layout = bnf_blocks_layout_avx2, .packed_size = bnf_blocks_size_avx2, .pack = bnf_blocks_pack_avx2);
