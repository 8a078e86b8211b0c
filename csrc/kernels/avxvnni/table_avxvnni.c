/* The avxvnni table: x86-64 with AVX2, FMA, F16C and AVX-VNNI. Packed ternary products of its own; the rest is the avx2 table's. */
#include "kernels_avxvnni.h"

BNF_KERNEL_TABLE_NAMED(avxvnni, avx2, BNF_CPU_AVX2 | BNF_DPBUSD_CPU, BNF_R16_MEMBERS(avxvnni, 6),
                       .packed_layout = bnf_packed_layout_avx2, .packed_size = bnf_packed_size_avx2, .pack = bnf_pack_avx2,
                       BNF_F12_MEMBERS(avx2), .matmul[BNF_TYPE_BLOCKS_R16] = bnf_matmul_blocks_r16_avx2);
