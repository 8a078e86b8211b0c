/* Which kernel tables this machine can run. A CPU that has an instruction is not enough: the operating system must save
 * its registers when it switches threads, which XCR0 tells on x86-64 (hwcap counts only what Linux supports).
 * May not decide anything: bnf_dispatch.c does. */
#include "bnf_cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static unsigned found;
static char found_text[128];
static char found_name[49] = "CPU";

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdint.h>

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned detect(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return 0;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const unsigned leaf1 = fma | osxsave | avx | f16c;
    if ((ecx & leaf1) != leaf1)
        return 0;
    const uint64_t xcr0 = read_xcr0();
    const uint64_t ymm = 0x06, zmm = 0xe6; /* SSE 1, AVX 2; opmask 5, upper half of ZMM0-15 6, ZMM16-31 7 */
    if ((xcr0 & ymm) != ymm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return 0;
    unsigned features = 0;
    if (ebx & 1u << 5)
        features |= BNF_CPU_AVX2;
    const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31, avx512 = f | dq | bw | vl;
    if ((xcr0 & zmm) == zmm && (ebx & avx512) == avx512) {
        if (ecx & 1u << 11)
            features |= BNF_CPU_AVX512VNNI;
        if (ecx & 1u << 1)
            features |= BNF_CPU_AVX512VBMI;
    }
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && eax & 1u << 4) /* all zero where there is no such subleaf */
        features |= BNF_CPU_AVXVNNI;
    return features;
}

/* The brand string: 48 bytes in three leaves of four registers, with spaces before or behind to taste. */
static void find_name(void)
{
    unsigned text[12], eax, ebx, ecx, edx;
    char name[sizeof text + 1];
    if (!__get_cpuid(0x80000000, &eax, &ebx, &ecx, &edx) || eax < 0x80000004)
        return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002 + i, &text[4 * i], &text[4 * i + 1], &text[4 * i + 2], &text[4 * i + 3]);
    memcpy(name, text, sizeof text);
    name[sizeof text] = '\0';
    size_t from = strspn(name, " "), to = strlen(name);
    while (to > from && name[to - 1] == ' ')
        to--;
    if (to > from) {
        memcpy(found_name, name + from, to - from);
        found_name[to - from] = '\0';
    }
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

static unsigned detect(void)
{
    const unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
    const unsigned long asimd = 1ul << 1, asimddp = 1ul << 20, i8mm = 1ul << 13;
    return (hwcap & asimd ? (unsigned)BNF_CPU_NEON : 0) | (hwcap & asimddp ? (unsigned)BNF_CPU_DOTPROD : 0)
        | (hwcap2 & i8mm ? (unsigned)BNF_CPU_I8MM : 0);
}

#else

static unsigned detect(void)
{
    return 0;
}

#endif

static void find(void)
{
    found = detect();
#if defined(__x86_64__)
    find_name();
    const int avx2 = (found & BNF_CPU_AVX2) != 0; /* the bit stands for all three */
    snprintf(found_text, sizeof found_text, "AVX2 = %d | FMA = %d | F16C = %d | AVX_VNNI = %d | AVX512_VNNI = %d | AVX512_VBMI = %d",
             avx2, avx2, avx2, (found & BNF_CPU_AVXVNNI) != 0, (found & BNF_CPU_AVX512VNNI) != 0,
             (found & BNF_CPU_AVX512VBMI) != 0);
#else
    snprintf(found_text, sizeof found_text, "NEON = %d | DOTPROD = %d | I8MM = %d", (found & BNF_CPU_NEON) != 0,
             (found & BNF_CPU_DOTPROD) != 0, (found & BNF_CPU_I8MM) != 0);
#endif
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

unsigned bnf_cpu_features(void)
{
    pthread_once(&once, find);
    return found;
}

const char *bnf_cpu_features_text(void)
{
    pthread_once(&once, find);
    return found_text;
}

const char *bnf_cpu_name(void)
{
    pthread_once(&once, find);
    return found_name;
}
