/* Memory nodes (kernel: Documentation/ABI/stable/sysfs-devices-node). A worker that stays on one node reads weights that it
 * packed itself, its own rows every time, from the memory beside it. The host's own thread is never moved: it takes part in
 * every computation, but it belongs to the host. May not fail: a thread that is not moved is slower, not wrong.
 * Next: start of a thread in bnf_pool.c. */
#define _GNU_SOURCE
#include "bnf_numa.h"

#include "bnf_error.h"
#include "bnf_log.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_NODES 1024

static atomic_int strategy_now = GGML_NUMA_STRATEGY_DISABLED;
static atomic_int home_cpu;

int32_t bnf_numa_set(enum ggml_numa_strategy strategy)
{
    switch (strategy) {
    case GGML_NUMA_STRATEGY_DISABLED: case GGML_NUMA_STRATEGY_DISTRIBUTE: case GGML_NUMA_STRATEGY_ISOLATE: case GGML_NUMA_STRATEGY_NUMACTL:
        break;
    case GGML_NUMA_STRATEGY_MIRROR: case GGML_NUMA_STRATEGY_COUNT: default:
        return bnf_fail(BITNET_ERROR, "llama_numa_init: strategy %d is none of 0 (disabled), 1 (distribute), 2 (isolate), 3 (numactl)",
                        (int)strategy);
    }
    const int cpu = sched_getcpu();
    atomic_store(&home_cpu, cpu > 0 ? cpu : 0);
    atomic_store(&strategy_now, (int)strategy);
    return 0;
}

enum ggml_numa_strategy bnf_numa_strategy(void)
{
    return (enum ggml_numa_strategy)atomic_load(&strategy_now);
}

/* ---- sets of CPUs ---- */

static int has_cpu(const struct bnf_cpus *cpus, long cpu)
{
    return cpu >= 0 && cpu < BNF_CPU_WORDS * 64 && (cpus->words[cpu / 64] >> (cpu % 64) & 1);
}

/* both = a & b; is anything left? */
static int intersect(const struct bnf_cpus *a, const struct bnf_cpus *b, struct bnf_cpus *both)
{
    uint64_t any = 0;
    for (int i = 0; i < BNF_CPU_WORDS; i++)
        any |= both->words[i] = a->words[i] & b->words[i];
    return any != 0;
}

/* "0-3,8-11" of a file, as a set: empty when it cannot be read, as for a node without CPUs. */
static void read_list(const char *path, struct bnf_cpus *set)
{
    memset(set, 0, sizeof *set);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    long first, last;
    while (fscanf(file, "%ld", &first) == 1) {
        int next = fgetc(file);
        last = first;
        if (next == '-') {
            if (fscanf(file, "%ld", &last) != 1)
                break;
            next = fgetc(file);
        }
        for (long i = first; i >= 0 && i <= last && i < BNF_CPU_WORDS * 64; i++)
            set->words[i / 64] |= (uint64_t)1 << (i % 64);
        if (next != ',')
            break;
    }
    fclose(file);
}

static int next_of(const struct bnf_cpus *set, int from)
{
    while (from < BNF_CPU_WORDS * 64 && !has_cpu(set, from))
        from++;
    return from < BNF_CPU_WORDS * 64 ? from : -1;
}

/* ---- the choice ---- */

int bnf_numa_choose(const char *folder, enum ggml_numa_strategy strategy, int home, int ith, const struct bnf_cpus *allowed,
                    struct bnf_cpus *chosen)
{
    char path[512];
    struct bnf_cpus online, cpus;
    int n_nodes = 0, own = -1, nodes[MAX_NODES];
    snprintf(path, sizeof path, "%s/online", folder);
    read_list(path, &online);
    for (int node = next_of(&online, 0); node >= 0 && n_nodes < MAX_NODES; node = next_of(&online, node + 1)) {
        snprintf(path, sizeof path, "%s/node%d/cpulist", folder, node);
        read_list(path, &cpus);
        if (!intersect(&cpus, allowed, chosen))
            continue;
        if (has_cpu(&cpus, home))
            own = node;
        nodes[n_nodes++] = node;
    }
    if (n_nodes < 2)
        return 0;
    if (strategy == GGML_NUMA_STRATEGY_DISTRIBUTE)
        own = nodes[ith % n_nodes];
    else if (strategy != GGML_NUMA_STRATEGY_ISOLATE || own < 0)
        return 0;   /* numactl has set the mask that every thread inherits */
    snprintf(path, sizeof path, "%s/node%d/cpulist", folder, own);
    read_list(path, &cpus);
    return intersect(&cpus, allowed, chosen);
}

void bnf_numa_place(int ith)
{
    const enum ggml_numa_strategy strategy = bnf_numa_strategy();
    if (strategy == GGML_NUMA_STRATEGY_DISABLED)
        return;
    struct bnf_cpus allowed, chosen;
    memset(&allowed, 0, sizeof allowed);
    if (syscall(SYS_sched_getaffinity, 0, sizeof allowed.words, allowed.words) > 0
        && bnf_numa_choose("/sys/devices/system/node", strategy, atomic_load(&home_cpu), ith, &allowed, &chosen)
        && syscall(SYS_sched_setaffinity, 0, sizeof chosen.words, chosen.words) != 0)
        bnf_log(GGML_LOG_LEVEL_WARN, "thread %d cannot be moved to its memory node: %m\n", ith);
}
