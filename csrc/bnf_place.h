/* On which CPUs and how urgently the members of a thread pool run, as its parameters say (struct ggml_threadpool_params). Member 0
 * is the thread that calls: it is placed for a run and put back after it. Next: bnf_pool.c, which asks; bnf_numa.h, the sets. */
#ifndef BNF_PLACE_H
#define BNF_PLACE_H

#include "bnf_numa.h"

struct bnf_place {
    struct ggml_threadpool_params params; /* all 0: the threads stay as they are */
    bool wanted;                          /* params name CPUs or a priority */
    int32_t warned;                       /* atomic: one line is enough for all members */
};

/* What a thread had before. */
struct bnf_placed {
    struct bnf_cpus cpus;
    bool moved, raised; /* what there is to put back */
};

void bnf_place_init(struct bnf_place *place, const struct ggml_threadpool_params *params);

/* CPUs that params name, 0: any. */
int bnf_place_count(const struct ggml_threadpool_params *params);

/* The CPUs of member ith of params->n_threads: all that are named, or with strict_cpu one each, in order and around, member 0 last
 * (llama.cpp's order). False when none is named. */
bool bnf_place_choose(const struct ggml_threadpool_params *params, int ith, struct bnf_cpus *chosen);

/* Place the calling thread, member ith; before (may be NULL) keeps what bnf_place_undo puts back. What the system does not allow is
 * left as it is, with one warning in the log. */
void bnf_place_thread(struct bnf_place *place, int ith, struct bnf_placed *before);
void bnf_place_undo(const struct bnf_placed *before);

#endif
