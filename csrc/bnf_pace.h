/* How many threads a decode should use while other work has some of the CPUs. Threads that meet at a barrier every 100 us go
 * at the pace of the last one, and one whose CPU is taken is away for a time slice of milliseconds: two threads beside one
 * busy process are a third as fast as one thread alone. No thread can be made to run, so this finds out how many do.
 * Arithmetic on numbers that the caller hands in: no clock, no threads. Next: bnf_pool.h, whose clock it reads. */
#ifndef BNF_PACE_H
#define BNF_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* Time, in ns. The last two are sums over all runs of a team. */
struct bnf_pool_clock {
    int64_t now;
    int64_t run;    /* inside runs */
    int64_t waited; /* asleep at barriers, of all members: what outlasts the spin is no wait for a neighbour's last rows */
};

/* All 0 at first: use whatever is wanted. */
struct bnf_pace {
    int32_t wanted;
    int32_t size;                    /* threads in use */
    double rate;                     /* its work a ns; 0: not known */
    double stalled;                  /* the part of the time that a member waits */
    int32_t rival;                   /* on trial: the size before, which takes over again if it was better; 0: no trial */
    double rival_rate;
    bool less_was_worse;             /* what the last trial of fewer threads has shown */
    int64_t pause, next_trial;       /* ns: how long to leave things as they are, and until when */
    int64_t run, waited, work;       /* of the window, that is since the last decision */
    struct bnf_pool_clock begun;     /* when the step began that is not in the window yet, */
    int64_t step_work;               /* and its work; 0: there is none */
};

/* A step of `work` (any unit) begins, for which at most `wanted` threads may be used: how many to use. It ends where the next one
 * begins; runs in between count as its own. */
int32_t bnf_pace_begin(struct bnf_pace *pace, int32_t wanted, int64_t work, struct bnf_pool_clock clock);

/* The step that began last is over, and what runs now is none: it uses what it likes. */
void bnf_pace_leave(struct bnf_pace *pace, struct bnf_pool_clock clock);

/* Threads for a run that belongs to the step: at most `wanted`. */
static inline int32_t bnf_pace_size(const struct bnf_pace *pace, int32_t wanted)
{
    return pace->size > 0 && pace->size < wanted ? pace->size : wanted;
}

#endif
