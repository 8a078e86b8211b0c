/* ggml's thread pools: a team of threads with one user at a time, who has it from take() to give_back(). Others wait their turn. The
 * program and every context that it is attached to hold the pool; its threads end when the program frees it, or when the run that is
 * on then is over. The list of pools tells one of ours from any other pointer without reading what it points to. */
#include "bnf_threadpool.h"

#include "bnf_context.h"
#include "bnf_error.h"
#include "bnf_platform.h"
#include "bnf_pool.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct ggml_threadpool {
    struct ggml_threadpool_params params;
    struct ggml_threadpool *next; /* of the list; under its lock, as refs */
    int n_refs;

    pid_t pid;              /* the process that has the threads */
    pthread_mutex_t lock;   /* of the three below */
    pthread_cond_t changed;
    bool busy;
    bool freed;
    struct bnf_pool *team;  /* NULL once its threads have ended */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ggml_threadpool *first;
static _Thread_local int n_taken; /* by this thread: it is in a callback when it wants one more */

void ggml_threadpool_params_init(struct ggml_threadpool_params *p, int n_threads)
{
    bnf_clear_error();
    if (p == NULL) {
        bnf_fail(BITNET_ERROR, "ggml_threadpool_params_init: p is NULL");
        return;
    }
    *p = ggml_threadpool_params_default(n_threads);
}

struct ggml_threadpool_params ggml_threadpool_params_default(int n_threads)
{
    struct ggml_threadpool_params p;
    memset(&p, 0, sizeof p);
    p.n_threads = n_threads;
    p.prio = GGML_SCHED_PRIO_NORMAL;
    p.poll = 50;
    return p;
}

bool ggml_threadpool_params_match(const struct ggml_threadpool_params *p0, const struct ggml_threadpool_params *p1)
{
    bnf_clear_error();
    if (p0 == NULL || p1 == NULL) {
        bnf_fail(BITNET_ERROR, "ggml_threadpool_params_match: %s is NULL", p0 == NULL ? "p0" : "p1");
        return false;
    }
    return p0->n_threads == p1->n_threads && p0->prio == p1->prio && p0->poll == p1->poll && p0->strict_cpu == p1->strict_cpu
        && memcmp(p0->cpumask, p1->cpumask, sizeof p0->cpumask) == 0;
}

static int refuse(const char *function)
{
    return bnf_fail(BITNET_ERROR, "%s: not a pool of ggml_threadpool_new, or one that was freed", function);
}

/* Where the list points to this pool; NULL: nowhere. Under the lock. */
static struct ggml_threadpool **find(const struct ggml_threadpool *pool)
{
    struct ggml_threadpool **at = &first;
    while (*at != NULL && *at != pool)
        at = &(*at)->next;
    return *at != NULL ? at : NULL;
}

static struct ggml_threadpool *make(const struct ggml_threadpool_params *params)
{
    struct ggml_threadpool *pool = bnf_alloc(sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->params = *params;
    pool->n_refs = 1;
    pool->pid = getpid();
    pool->team = bnf_pool_new_placed(params);
    if (pool->team == NULL) {
        bnf_release(pool);
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    return pool;
}

struct ggml_threadpool *ggml_threadpool_new(struct ggml_threadpool_params *params)
{
    if (params == NULL) {
        bnf_fail(BITNET_ERROR, "ggml_threadpool_new: params is NULL");
        return NULL;
    }
    if (params->n_threads < 1 || params->n_threads > GGML_MAX_N_THREADS) {
        bnf_fail(BITNET_ERROR, "ggml_threadpool_new: n_threads is %d, expected 1 to %d", params->n_threads, GGML_MAX_N_THREADS);
        return NULL;
    }
    if (params->prio < GGML_SCHED_PRIO_LOW || params->prio > GGML_SCHED_PRIO_REALTIME) {
        bnf_fail(BITNET_ERROR, "ggml_threadpool_new: prio is %d, expected -1 (low) to 3 (realtime)", (int)params->prio);
        return NULL;
    }
    struct ggml_threadpool *pool = make(params);
    if (pool == NULL)
        return NULL;
    pthread_mutex_lock(&lock);
    pool->next = first;
    first = pool;
    pthread_mutex_unlock(&lock);
    return pool;
}

int bnf_threadpool_retain(struct ggml_threadpool *pool, const char *function)
{
    pthread_mutex_lock(&lock);
    const bool found = find(pool) != NULL;
    if (found)
        pool->n_refs++;
    pthread_mutex_unlock(&lock);
    return found ? 0 : refuse(function);
}

void bnf_threadpool_release(struct ggml_threadpool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&lock);
    const int left = --pool->n_refs;
    pthread_mutex_unlock(&lock);
    if (left > 0)
        return;
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    bnf_release(pool);
}

/* Not so in a child of fork: the threads stayed behind, and the lock may be held by one of them for ever. */
static bool is_here(const struct ggml_threadpool *pool)
{
    return pool->pid == getpid();
}

/* Its threads, for the caller to end, when it was freed and nobody uses it; else NULL. Under its lock. */
static struct bnf_pool *threads_to_end(struct ggml_threadpool *pool)
{
    struct bnf_pool *team = pool->freed && !pool->busy ? pool->team : NULL;
    if (team != NULL)
        pool->team = NULL;
    return team;
}

void ggml_threadpool_free(struct ggml_threadpool *threadpool)
{
    bnf_clear_error();
    if (threadpool == NULL)
        return;
    pthread_mutex_lock(&lock);
    struct ggml_threadpool **at = find(threadpool);
    if (at != NULL)
        *at = threadpool->next;
    pthread_mutex_unlock(&lock);
    if (at == NULL) {
        refuse("ggml_threadpool_free");
        return;
    }
    const bool here = is_here(threadpool);
    if (here)
        pthread_mutex_lock(&threadpool->lock);
    threadpool->freed = true;
    struct bnf_pool *team = threads_to_end(threadpool);
    if (here) {
        pthread_cond_broadcast(&threadpool->changed);
        pthread_mutex_unlock(&threadpool->lock);
    }
    bnf_pool_free(team);
    bnf_threadpool_release(threadpool);
}

int ggml_threadpool_get_n_threads(struct ggml_threadpool *threadpool)
{
    if (bnf_threadpool_retain(threadpool, "ggml_threadpool_get_n_threads") != 0)
        return 0;
    const int n = threadpool->params.n_threads;
    bnf_threadpool_release(threadpool);
    return n;
}

static void set_paused(struct ggml_threadpool *pool, int paused, const char *function)
{
    bnf_clear_error();
    if (bnf_threadpool_retain(pool, function) != 0)
        return;
    if (is_here(pool)) {
        pthread_mutex_lock(&pool->lock);
        if (pool->team != NULL)
            bnf_pool_pause(pool->team, paused);
        pthread_mutex_unlock(&pool->lock);
    }
    bnf_threadpool_release(pool);
}

void ggml_threadpool_pause(struct ggml_threadpool *threadpool)
{
    set_paused(threadpool, 1, "ggml_threadpool_pause");
}

void ggml_threadpool_resume(struct ggml_threadpool *threadpool)
{
    set_paused(threadpool, 0, "ggml_threadpool_resume");
}

/* ---- whose team computes ---- */

int32_t bnf_threadpool_size(const struct ggml_threadpool *pool)
{
    return pool->params.n_threads;
}

enum taken { TAKEN, NOT_NOW, FREED };

static enum taken take(struct ggml_threadpool *pool)
{
    if (!is_here(pool))
        return NOT_NOW;
    enum taken result = TAKEN;
    pthread_mutex_lock(&pool->lock);
    while (pool->busy && !pool->freed && n_taken == 0)
        pthread_cond_wait(&pool->changed, &pool->lock);
    if (pool->freed)
        result = FREED;
    else if (pool->busy)
        result = NOT_NOW;
    else
        pool->busy = true;
    pthread_mutex_unlock(&pool->lock);
    n_taken += result == TAKEN;
    return result;
}

static void give_back(struct ggml_threadpool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->busy = false;
    struct bnf_pool *team = threads_to_end(pool);
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    bnf_pool_free(team);
    n_taken--;
}

/* The pool of this slot was freed: its work is the context's own team's from now on. */
static void forget(struct llama_context *ctx, struct ggml_threadpool **slot, int32_t *n_threads, int32_t wanted)
{
    const int32_t size = bnf_pool_size(ctx->team);
    bnf_threadpool_release(*slot);
    *slot = NULL;
    bnf_poke_i32(n_threads, wanted < size ? wanted : size);
    memset(&ctx->pace, 0, sizeof ctx->pace); /* what it knows is of other threads */
}

int32_t bnf_team_enter(struct llama_context *ctx, bool batched)
{
    struct ggml_threadpool **slot = batched ? &ctx->threadpool_batch : &ctx->threadpool;
    int32_t *n_threads = batched ? &ctx->n_threads_batch : &ctx->n_threads;
    const enum taken taken = *slot != NULL ? take(*slot) : NOT_NOW;
    if (taken == FREED)
        forget(ctx, slot, n_threads, batched ? ctx->params.n_threads_batch : ctx->params.n_threads);
    ctx->taken = taken == TAKEN ? *slot : NULL;
    ctx->pool = taken == TAKEN ? (*slot)->team : ctx->team;
    ctx->entered = bnf_pool_clock(ctx->pool);
    ctx->clock.now = ctx->entered.now;
    const int32_t size = bnf_pool_size(ctx->pool);
    return *n_threads < size ? *n_threads : size;
}

void bnf_team_leave(struct llama_context *ctx)
{
    const struct bnf_pool_clock clock = bnf_pool_clock(ctx->pool);
    ctx->clock.run += clock.run - ctx->entered.run;
    ctx->clock.waited += clock.waited - ctx->entered.waited;
    ctx->pool = ctx->team;
    if (ctx->taken != NULL)
        give_back(ctx->taken);
    ctx->taken = NULL;
}
