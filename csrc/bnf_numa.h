/* Where the workers of a pool run on a machine with several memory nodes (llama_numa_init). */
#ifndef BNF_NUMA_H
#define BNF_NUMA_H

#include "bitnet_ffi.h"

/* As many CPUs as the kernel's mask of any machine holds: bit i of word i / 64 is CPU i. */
enum { BNF_CPU_WORDS = 1024 };
struct bnf_cpus {
    uint64_t words[BNF_CPU_WORDS];
};

/* From now on, for threads that start: 0, or BITNET_ERROR and last error when the strategy is none that is here. */
int32_t bnf_numa_set(enum ggml_numa_strategy strategy);
enum ggml_numa_strategy bnf_numa_strategy(void);

/* Move the calling thread, member `ith` of a pool, to where the strategy wants it. A thread that cannot be moved stays. */
void bnf_numa_place(int ith);

/* The part of `allowed` that is member ith's; false where it may run anywhere: one node, no such files, nothing allowed there.
 * `folder` holds node<N>/cpulist ("/sys/devices/system/node"); `home`: the CPU whose node ISOLATE keeps to. */
int bnf_numa_choose(const char *folder, enum ggml_numa_strategy strategy, int home, int ith, const struct bnf_cpus *allowed,
                    struct bnf_cpus *chosen);

#endif
