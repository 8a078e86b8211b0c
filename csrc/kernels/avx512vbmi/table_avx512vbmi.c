/* The avx512vbmi table: avx512vnni on a CPU that also has VBMI (Ice Lake, Zen 4 and later), whose byte shuffles unpack ternary
 * weights of five a byte as fast as memory delivers them. So the layout is a matter of the table: BITNET_FFI_KERNELS=avx512vnni
 * packs four a byte on the same machine. */
#include "bnf_cpu.h"
#include "kernels_avx512vbmi.h"

BNF_KERNEL_TABLE_NAMED(avx512vbmi, avx512vnni, BNF_CPU_AVX2 | BNF_CPU_AVX512VNNI | BNF_CPU_AVX512VBMI,
                       .matmul[BNF_TYPE_BLOCKS_R16] = bnf_matmul_blocks_r16_avx512vnni,
                       .matmul[BNF_TYPE_I2_S_T5] = bnf_matmul_i2_s_t5_avx512vbmi,
                       .matmul[BNF_TYPE_TQ_T5] = bnf_matmul_tq_t5_avx512vbmi,
                       .packed_layout = bnf_packed_layout_avx512vbmi, .packed_size = bnf_packed_size_avx512vbmi,
                       .pack = bnf_pack_avx512vbmi, .panel_cols = 12, .to_panel = bnf_to_panel_avx512vnni,
                       BNF_F12_MEMBERS(avx512vnni));
