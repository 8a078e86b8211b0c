/* A team of threads that runs one function on all members (the caller is member 0), with a barrier inside.
 * Waiting spins about 50 us, then sleeps on a futex, so an idle pool costs nothing and a busy one costs little.
 * Next: bnf_threadpool.h, teams that programs make and lend to contexts. */
#ifndef BNF_POOL_H
#define BNF_POOL_H

#include "bnf_pace.h"

struct bnf_pool;

/* Runs on every member: ith is 0..nth-1. */
typedef void (*bnf_task_fn)(void *arg, int ith, int nth);

/* CPUs this process may use: the smaller of its affinity mask and its cgroup quota (rounded up); at least 1. */
int bnf_pool_limit(void);

/* n_threads >= 1, cut to bnf_pool_limit(). Threads start at once and sleep; where some cannot be started, the team has fewer
 * (at least the caller) and a warning is logged. NULL + last error: no memory, or n_threads < 1. */
struct bnf_pool *bnf_pool_new(int n_threads);
/* The same without the cut: for tests of many threads on few CPUs. Runs on more members than CPUs never spin. */
struct bnf_pool *bnf_pool_new_uncut(int n_threads);
/* A team as a program wants it: params->n_threads members, uncut, on the CPUs and with the priority of params; between runs they
 * spin for params->poll microseconds. In a run the caller is placed as they are, and put back at its end. */
struct ggml_threadpool_params;
struct bnf_pool *bnf_pool_new_placed(const struct ggml_threadpool_params *params);
/* Paused: until the next run, members that wait for it sleep. From any thread. */
void bnf_pool_pause(struct bnf_pool *pool, int paused);
void bnf_pool_free(struct bnf_pool *pool); /* accepts NULL */
int bnf_pool_size(const struct bnf_pool *pool);

/* Call fn(arg, i, n) on n = min(n_threads, size) members and return when all are done. One run at a time per pool.
 * fn computes with IEEE's defaults (round to nearest, subnormals kept, no traps), whatever the host has set for its threads;
 * the caller's own settings are back afterwards. After fork() the child has no members: runs go on with the caller alone. */
void bnf_pool_run(struct bnf_pool *pool, int n_threads, bnf_task_fn fn, void *arg);
/* Inside a run: returns when all nth members have come here; memory written before is visible after. */
void bnf_pool_barrier(struct bnf_pool *pool);
/* Between runs: how long they took and waited so far. */
struct bnf_pool_clock bnf_pool_clock(const struct bnf_pool *pool);

/* The ith of nth parts of [0, n), cut at multiples of `grain`: [*begin, *end). Depends on its arguments alone. */
void bnf_pool_range(long n, long grain, int ith, int nth, long *begin, long *end);

#endif
