/* The thread team. Every wait, of a worker for work, of the caller for the workers and of all at a barrier, is the same
 * wait: for a counter to leave a value (struct turnstile). Waiting spins, because a decode has a barrier every few
 * microseconds, and then sleeps, because a host has other things to do. Linux: the sleep is a futex.
 * May not allocate or lock after bnf_pool_new. Next: bnf_cgroup.c, which knows the quota. */
#define _GNU_SOURCE
#include "bnf_pool.h"

#include "bnf_cgroup.h"
#include "bnf_error.h"
#include "bnf_log.h"
#include "bnf_numa.h"
#include "bnf_place.h"
#include "bnf_platform.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 50000
#define CACHE_LINE 64

/* ---- waiting ---- */

struct turnstile {
    _Alignas(CACHE_LINE) _Atomic uint32_t count;
    _Atomic uint32_t sleepers;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A pause takes 5 to 150 ns from one CPU model to the next, so the clock ends the spin, not a count; it is read once
 * in 64 pauses. */
static int spin_while(struct turnstile *turnstile, uint32_t seen, int64_t spin_ns)
{
    const int64_t end = spin_ns > 0 ? now_ns() + spin_ns : 0;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&turnstile->count, memory_order_acquire) != seen)
                return 1;
            pause_cpu();
        }
    } while (spin_ns > 0 && now_ns() < end);
    return 0;
}

/* Returns once the count is not `seen`, how long it slept; what was written before the advance is visible then. */
static int64_t wait_while(struct turnstile *turnstile, uint32_t seen, int64_t spin_ns)
{
    if (spin_while(turnstile, seen, spin_ns))
        return 0;
    const int64_t asleep = now_ns();
    /* No wake-up is lost: a waiter counts itself, then reads the count (the kernel reads it once more before it sleeps);
     * an advance changes the count, then reads the sleepers. In one total order, one of the two sees the other. */
    atomic_fetch_add(&turnstile->sleepers, 1);
    while (atomic_load(&turnstile->count) == seen)
        syscall(SYS_futex, &turnstile->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&turnstile->sleepers, 1);
    return now_ns() - asleep;
}

static void advance(struct turnstile *turnstile)
{
    atomic_fetch_add(&turnstile->count, 1);
    if (atomic_load(&turnstile->sleepers) != 0)
        syscall(SYS_futex, &turnstile->count, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* ---- arithmetic ----
 * A library built with -ffast-math makes the thread that loads it flush subnormals to zero, and a host may round upwards
 * or trap on division. Threads inherit that or not, by when they were made, and logits would depend on it. */

#if defined(__x86_64__)
typedef unsigned int float_control; /* MXCSR */
static float_control get_float_control(void) { return __builtin_ia32_stmxcsr(); }
static void set_float_control(float_control control) { __builtin_ia32_ldmxcsr(control); }
#define FLOAT_CONTROL_IEEE 0x1f80u /* all exceptions masked, nearest, no flush to zero, no denormals are zero */
#elif defined(__aarch64__)
typedef uint64_t float_control; /* FPCR */
static float_control get_float_control(void)
{
    float_control control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
}
static void set_float_control(float_control control) { __asm__ volatile("msr fpcr, %0" : : "r"(control) : "memory"); }
#define FLOAT_CONTROL_IEEE 0u
#endif

static void call_with_ieee(bnf_task_fn fn, void *arg, int ith, int nth)
{
    const float_control before = get_float_control();
    set_float_control(FLOAT_CONTROL_IEEE);
    fn(arg, ith, nth);
    set_float_control(before);
}

/* ---- the team ---- */

struct member {
    struct turnstile start; /* its own line: members that a run leaves out sleep on */
    struct bnf_pool *pool;
    pthread_t thread;
    int ith;
};

struct bnf_pool {
    /* The run: written by the caller before it starts the members, read by members that take part, and not written
     * again until they are done. `stop` likewise. */
    bnf_task_fn fn;
    void *arg;
    int n_running;
    int64_t spin_ns; /* at barriers */
    int stop;

    int size;        /* members, the caller included */
    int n_cpus;      /* members that can run at once */
    int64_t poll_ns; /* how long a worker spins for the next run */
    atomic_int paused;
    struct bnf_place place;
    pid_t pid;       /* the process that has the threads */
    int64_t run_ns;  /* of all runs; the caller's */
    _Atomic int64_t waited_ns; /* asleep in runs, of all members */

    struct turnstile done;    /* advanced by the last member to finish a run */
    struct turnstile passed;  /* advanced by the last member to reach the barrier */
    _Alignas(CACHE_LINE) atomic_int n_busy;     /* workers still inside the run */
    _Alignas(CACHE_LINE) atomic_int n_arrived;  /* members at the barrier */
    struct member members[];  /* [size]; 0 is the caller, it has no thread */
};

/* The clock and the pause are looked at in turns: a program may let workers spin for seconds, and change its mind. */
static void wait_for_run(struct member *self, uint32_t seen)
{
    const struct bnf_pool *pool = self->pool;
    int64_t left = pool->poll_ns;
    for (; left > 0 && !atomic_load_explicit(&pool->paused, memory_order_relaxed); left -= SPIN_NS)
        if (spin_while(&self->start, seen, left < SPIN_NS ? left : SPIN_NS))
            return;
    wait_while(&self->start, seen, 0);
}

static void *work(void *arg)
{
    struct member *self = arg;
    struct bnf_pool *pool = self->pool;
    if (bnf_place_count(&pool->place.params) == 0)
        bnf_numa_place(self->ith);
    bnf_place_thread(&pool->place, self->ith, NULL);
    for (uint32_t seen = 0;; seen++) {
        wait_for_run(self, seen);
        if (pool->stop)
            return NULL;
        call_with_ieee(pool->fn, pool->arg, self->ith, pool->n_running);
        if (atomic_fetch_sub(&pool->n_busy, 1) == 1)
            advance(&pool->done);
    }
}

static int start_thread(struct member *member)
{
    /* The host's signal handlers run on the host's threads: ours inherit a mask that blocks everything. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int status = pthread_create(&member->thread, NULL, work, member);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status == 0) {
        char name[16]; /* Linux's limit */
        snprintf(name, sizeof name, "bitnet-%d", member->ith);
        pthread_setname_np(member->thread, name);
    }
    return status;
}

static int limit_of(int n_cpus)
{
    const int quota = bnf_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 && quota < n_cpus ? quota : n_cpus;
}

struct bnf_pool *bnf_pool_new_placed(const struct ggml_threadpool_params *params)
{
    const int n_threads = params->n_threads;
    if (n_threads < 1) {
        bnf_fail(BITNET_ERROR_THREAD, "%d threads were asked for, expected at least 1", n_threads);
        return NULL;
    }
    struct bnf_pool *pool = bnf_alloc(sizeof *pool + (size_t)n_threads * sizeof pool->members[0]);
    if (pool == NULL)
        return NULL;
    bnf_place_init(&pool->place, params);
    const int n_named = bnf_place_count(params);
    pool->n_cpus = n_named > 0 ? limit_of(n_named) : bnf_pool_limit();
    /* More threads than CPUs would spin against each other: then every wait sleeps. */
    pool->poll_ns = n_threads <= pool->n_cpus ? (int64_t)params->poll * 1000 : 0;
    atomic_store(&pool->paused, params->paused);
    pool->pid = getpid();
    pool->size = 1;
    for (int i = 1; i < n_threads; i++) {
        pool->members[i].pool = pool;
        pool->members[i].ith = i;
        const int status = start_thread(&pool->members[i]);
        if (status != 0) {
            errno = status; /* fewer threads are slower, not wrong */
            bnf_log(GGML_LOG_LEVEL_WARN, "%d of %d threads work: another cannot be started: %m\n", i, n_threads);
            break;
        }
        pool->size = i + 1;
    }
    return pool;
}

struct bnf_pool *bnf_pool_new_uncut(int n_threads)
{
    const struct ggml_threadpool_params params = {.n_threads = n_threads, .prio = GGML_SCHED_PRIO_NORMAL, .poll = SPIN_NS / 1000};
    return bnf_pool_new_placed(&params);
}

struct bnf_pool *bnf_pool_new(int n_threads)
{
    const int limit = bnf_pool_limit();
    return bnf_pool_new_uncut(n_threads < limit ? n_threads : limit);
}

void bnf_pool_pause(struct bnf_pool *pool, int paused)
{
    atomic_store_explicit(&pool->paused, paused, memory_order_relaxed);
}

/* fork() copies the caller alone: in a child the threads do not exist. */
static int has_threads(const struct bnf_pool *pool)
{
    return pool->size > 1 && pool->pid == getpid();
}

void bnf_pool_free(struct bnf_pool *pool)
{
    if (pool == NULL)
        return;
    if (has_threads(pool)) {
        pool->stop = 1;
        for (int i = 1; i < pool->size; i++)
            advance(&pool->members[i].start);
        for (int i = 1; i < pool->size; i++)
            pthread_join(pool->members[i].thread, NULL);
    }
    bnf_release(pool);
}

int bnf_pool_size(const struct bnf_pool *pool)
{
    return has_threads(pool) ? pool->size : 1;
}

static void count_wait(struct bnf_pool *pool, int64_t ns)
{
    if (ns > 0)
        atomic_fetch_add_explicit(&pool->waited_ns, ns, memory_order_relaxed);
}

static void run(struct bnf_pool *pool, int n_threads, bnf_task_fn fn, void *arg)
{
    const int size = n_threads > 1 ? bnf_pool_size(pool) : 1;
    const int n = n_threads < size ? n_threads : size;
    pool->fn = fn;
    pool->arg = arg;
    pool->n_running = n > 1 ? n : 1;
    pool->spin_ns = n <= pool->n_cpus ? SPIN_NS : 0;
    if (n <= 1) {
        call_with_ieee(fn, arg, 0, 1);
        return;
    }
    const uint32_t seen = atomic_load_explicit(&pool->done.count, memory_order_relaxed);
    atomic_store(&pool->n_busy, n - 1);
    for (int i = 1; i < n; i++)
        advance(&pool->members[i].start);
    call_with_ieee(fn, arg, 0, n);
    count_wait(pool, wait_while(&pool->done, seen, pool->spin_ns));
}

void bnf_pool_run(struct bnf_pool *pool, int n_threads, bnf_task_fn fn, void *arg)
{
    const int64_t begin = now_ns();
    struct bnf_placed before;
    bnf_pool_pause(pool, 0);
    bnf_place_thread(&pool->place, 0, &before);
    run(pool, n_threads, fn, arg);
    bnf_place_undo(&before);
    pool->run_ns += now_ns() - begin;
}

struct bnf_pool_clock bnf_pool_clock(const struct bnf_pool *pool)
{
    return (struct bnf_pool_clock){now_ns(), pool->run_ns, atomic_load_explicit(&pool->waited_ns, memory_order_relaxed)};
}

void bnf_pool_barrier(struct bnf_pool *pool)
{
    const int n = pool->n_running;
    if (n == 1)
        return;
    /* Read before arriving: the last member may advance it right after. */
    const uint32_t seen = atomic_load_explicit(&pool->passed.count, memory_order_relaxed);
    if (atomic_fetch_add(&pool->n_arrived, 1) == n - 1) {
        atomic_store(&pool->n_arrived, 0); /* nobody can arrive again before the advance */
        advance(&pool->passed);
    } else {
        count_wait(pool, wait_while(&pool->passed, seen, pool->spin_ns));
    }
}

void bnf_pool_range(long n, long grain, int ith, int nth, long *begin, long *end)
{
    const long units = n / grain + (n % grain != 0);
    const long each = units / nth, more = units % nth; /* the first `more` parts have one unit more */
    const long first = ith * each + (ith < more ? ith : more);
    const long last = first + each + (ith < more);
    *begin = first < units ? first * grain : n;
    *end = last < units ? last * grain : n;
}

/* ---- how many ---- */

static int affinity_cpus(void)
{
    unsigned long mask[1024]; /* 65536 CPUs: longer than any kernel's mask, which the call wants */
    memset(mask, 0, sizeof mask);
    const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int n = 0;
    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++)
        n += __builtin_popcountl(mask[i]);
    return n > 0 ? n : 1;
}

int bnf_pool_limit(void)
{
    return limit_of(affinity_cpus());
}
