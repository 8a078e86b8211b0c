/* Sets of CPUs and scheduling policies of the threads of a pool. The system calls act on the calling thread alone, also where libc
 * would keep a copy of what it set. A caller that has a policy of its own keeps it: some cannot be given back without rights.
 * May not: allocate, or fail. */
#define _GNU_SOURCE
#include "bnf_place.h"

#include "bnf_log.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void bnf_place_init(struct bnf_place *place, const struct ggml_threadpool_params *params)
{
    place->params = *params;
    place->wanted = params->prio != GGML_SCHED_PRIO_NORMAL || bnf_place_count(params) > 0;
    place->warned = 0;
}

int bnf_place_count(const struct ggml_threadpool_params *params)
{
    int n = 0;
    for (int cpu = 0; cpu < GGML_MAX_N_THREADS; cpu++)
        n += params->cpumask[cpu];
    return n;
}

bool bnf_place_choose(const struct ggml_threadpool_params *params, int ith, struct bnf_cpus *chosen)
{
    const int n = bnf_place_count(params);
    if (n == 0)
        return false;
    const int turn = (ith > 0 ? ith - 1 : params->n_threads - 1) % n;
    memset(chosen, 0, sizeof *chosen);
    for (int cpu = 0, seen = 0; cpu < GGML_MAX_N_THREADS; cpu++)
        if (params->cpumask[cpu] && (seen++ == turn || !params->strict_cpu))
            chosen->words[cpu / 64] |= (uint64_t)1 << (cpu % 64);
    return true;
}

static void warn_once(struct bnf_place *place, const char *what)
{
    if (__atomic_exchange_n(&place->warned, 1, __ATOMIC_RELAXED) == 0)
        bnf_log(GGML_LOG_LEVEL_WARN, "threads of a pool run without the %s that it asks for: %m\n", what);
}

/* llama.cpp's policies: low is for work that nobody waits for, medium to realtime run before all ordinary threads and need rights. */
static int policy_of(enum ggml_sched_priority prio, int *priority)
{
    *priority = prio == GGML_SCHED_PRIO_LOW ? 0 : prio == GGML_SCHED_PRIO_MEDIUM ? 40 : prio == GGML_SCHED_PRIO_HIGH ? 80 : 90;
    return prio == GGML_SCHED_PRIO_LOW ? SCHED_BATCH : SCHED_FIFO;
}

void bnf_place_thread(struct bnf_place *place, int ith, struct bnf_placed *before)
{
    struct bnf_cpus chosen;
    if (before != NULL)
        before->moved = before->raised = false;
    if (!place->wanted)
        return;
    if (bnf_place_choose(&place->params, ith, &chosen)) {
        bool known = true;
        if (before != NULL) {
            memset(&before->cpus, 0, sizeof before->cpus); /* the kernel writes as many bytes as its masks have */
            known = syscall(SYS_sched_getaffinity, 0, sizeof before->cpus.words, before->cpus.words) > 0;
        }
        const bool moved = known && syscall(SYS_sched_setaffinity, 0, sizeof chosen.words, chosen.words) == 0;
        if (!moved)
            warn_once(place, "CPUs");
        if (before != NULL)
            before->moved = moved;
    }
    if (place->params.prio != GGML_SCHED_PRIO_NORMAL && syscall(SYS_sched_getscheduler, 0) == SCHED_OTHER) {
        struct sched_param param = {0};
        const int policy = policy_of(place->params.prio, &param.sched_priority);
        const bool raised = syscall(SYS_sched_setscheduler, 0, policy, &param) == 0;
        if (!raised)
            warn_once(place, "priority");
        if (before != NULL)
            before->raised = raised;
    }
}

void bnf_place_undo(const struct bnf_placed *before)
{
    const struct sched_param ordinary = {0};
    if (before->raised)
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &ordinary);
    if (before->moved)
        syscall(SYS_sched_setaffinity, 0, sizeof before->cpus.words, before->cpus.words);
}
