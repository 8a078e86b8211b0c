/* What this CPU and its operating system can run, found once. */
#ifndef BNF_CPU_H
#define BNF_CPU_H

enum bnf_cpu_feature {
    BNF_CPU_AVX2       = 1 << 0, /* AVX2, FMA and F16C, with YMM state enabled in XCR0 */
    BNF_CPU_AVX512VNNI = 1 << 1, /* F, BW, DQ, VL and VNNI, with ZMM and mask state enabled in XCR0 */
    BNF_CPU_AVX512VBMI = 1 << 2,
    BNF_CPU_NEON       = 1 << 3, /* AArch64 */
    BNF_CPU_DOTPROD    = 1 << 4, /* ASIMDDP in hwcap */
    BNF_CPU_AVXVNNI    = 1 << 5, /* vpdpbusd in VEX encoding, on YMM registers; not implied by AVX512VNNI */
    BNF_CPU_I8MM       = 1 << 6, /* I8MM in hwcap2 */
};

unsigned bnf_cpu_features(void);
const char *bnf_cpu_features_text(void); /* "AVX2 = 1 | AVX512_VNNI = 1 | ..." for llama_print_system_info */
const char *bnf_cpu_name(void);          /* as its maker calls it, "AMD Ryzen ..."; "CPU" where it does not say */

#endif
