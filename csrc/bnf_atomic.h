/* Reference counts, tickets and late-made members that threads share. Cython has no atomics, so they live here. */
#ifndef BNF_ATOMIC_H
#define BNF_ATOMIC_H

#include <stdint.h>

/* One more holder; the caller already is one, so nothing needs ordering. */
static inline void bnf_ref_take(int32_t *refs)
{
    (void)__atomic_add_fetch(refs, 1, __ATOMIC_RELAXED);
}

/* One holder fewer; returns how many are left. Whoever gets 0 sees everything that the others did before they let go. */
static inline int32_t bnf_ref_drop(int32_t *refs)
{
    return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL);
}

/* What *slot holds, NULL at first. */
static inline void *bnf_shared_load(void *const *slot)
{
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

/* Put `made` there if the slot is still NULL; returns what is there now: when that is not `made`, another thread was first. */
static inline void *bnf_shared_offer(void **slot, void *made)
{
    void *there = NULL;
    return __atomic_compare_exchange_n(slot, &there, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ? made : there;
}

/* Put `node` before the list that begins at *head; *next: the node's link. */
static inline void bnf_shared_push(void **head, void *node, void **next)
{
    *next = __atomic_load_n(head, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(head, next, node, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    }
}

/* The next of 0, 1, 2, ..., which nobody else gets: how threads deal work among themselves. */
static inline int64_t bnf_ticket(int64_t *next)
{
    return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
}

/* Raise a flag; what it was. */
static inline int32_t bnf_flag_raise(int32_t *flag)
{
    return __atomic_exchange_n(flag, 1, __ATOMIC_ACQ_REL);
}

static inline int32_t bnf_flag_read(const int32_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* What the flag says from now on: a reason, for instance. */
static inline void bnf_flag_set(int32_t *flag, int32_t value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

/* A sum to which threads add. */
static inline void bnf_total_add(uint64_t *total, uint64_t n)
{
    (void)__atomic_add_fetch(total, n, __ATOMIC_RELAXED);
}

#endif
