/* Prototypes of the avxvnni kernels (x86-64 with AVX2 and AVX-VNNI): the products that vpdpbusd makes faster.
 * BNF_EVEX, for tests_c/test_avxvnni.py alone: the same kernels where AVX-512 VL has vpdpbusd in another encoding. */
#ifndef BNF_KERNELS_AVXVNNI_H
#define BNF_KERNELS_AVXVNNI_H

#include "bnf_cpu.h"
#include "bnf_kernels.h"
#include "bnf_r16.h"

#ifdef BNF_EVEX
#define BNF_DPBUSD "vpdpbusd "
#define BNF_DPBUSD_CPU BNF_CPU_AVX512VNNI
#else
#define BNF_DPBUSD "%{vex%} vpdpbusd "
#define BNF_DPBUSD_CPU BNF_CPU_AVXVNNI
#endif

BNF_KERNEL_PROTOTYPES(avx2)
BNF_PACKED_PROTOTYPES(avx2)
BNF_BLOCKS_PROTOTYPES(avx2)
BNF_F12_PROTOTYPES(avx2)
BNF_R16_PROTOTYPES(avxvnni)

#endif
