/* Reference counts that threads share. Cython has no atomics, so they live here. */
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

#endif
