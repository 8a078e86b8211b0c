/* ggml's thread pools, for programs that make one and attach it to a context: a copy of its parameters, and no thread. The list of
 * them tells a pool of ours from any other pointer without reading what it points to. Next: bnf_pool.h, the threads of a context. */
#include "bnf_threadpool.h"

#include "bnf_error.h"
#include "bnf_platform.h"

#include <pthread.h>
#include <string.h>

struct ggml_threadpool {
    struct ggml_threadpool_params params;
    struct ggml_threadpool *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ggml_threadpool *first;

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
    struct ggml_threadpool *pool = bnf_alloc(sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->params = *params;
    pthread_mutex_lock(&lock);
    pool->next = first;
    first = pool;
    pthread_mutex_unlock(&lock);
    return pool;
}

/* Where the list points to this pool; NULL: nowhere. Under the lock. */
static struct ggml_threadpool **find(const struct ggml_threadpool *pool)
{
    struct ggml_threadpool **at = &first;
    while (*at != NULL && *at != pool)
        at = &(*at)->next;
    return *at != NULL ? at : NULL;
}

static int refuse(const char *function)
{
    return bnf_fail(BITNET_ERROR, "%s: not a pool of ggml_threadpool_new, or one that was freed", function);
}

int bnf_threadpool_check(const struct ggml_threadpool *pool, const char *function)
{
    pthread_mutex_lock(&lock);
    const bool found = find(pool) != NULL;
    pthread_mutex_unlock(&lock);
    return found ? 0 : refuse(function);
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
    if (at != NULL)
        bnf_release(threadpool);
    else
        refuse("ggml_threadpool_free");
}

int ggml_threadpool_get_n_threads(struct ggml_threadpool *threadpool)
{
    return bnf_threadpool_check(threadpool, "ggml_threadpool_get_n_threads") == 0 ? threadpool->params.n_threads : 0;
}

void ggml_threadpool_pause(struct ggml_threadpool *threadpool)
{
    bnf_clear_error();
    bnf_threadpool_check(threadpool, "ggml_threadpool_pause");
}

void ggml_threadpool_resume(struct ggml_threadpool *threadpool)
{
    bnf_clear_error();
    bnf_threadpool_check(threadpool, "ggml_threadpool_resume");
}
