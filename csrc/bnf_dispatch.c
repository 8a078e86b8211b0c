/* Chooses the kernel table of this process, once. The order is this file's only opinion: widest registers first.
 * May not look at a model or at timings: the choice depends on the CPU and BITNET_FFI_KERNELS alone.
 * Next: kernels/scalar/table_scalar.c. */
#include "bnf_cpu.h"
#include "bnf_error.h"
#include "bnf_ops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct bnf_ops bnf_ops_scalar, bnf_ops_avx2, bnf_ops_avxvnni, bnf_ops_avx512vnni, bnf_ops_avx512vbmi, bnf_ops_neon,
    bnf_ops_i8mm;

static const struct bnf_ops *const tables[] = {
#if defined(__x86_64__)
    &bnf_ops_avx512vbmi,
    &bnf_ops_avx512vnni,
    &bnf_ops_avxvnni,
    &bnf_ops_avx2,
#elif defined(__aarch64__)
    &bnf_ops_i8mm,
    &bnf_ops_neon,
#endif
    &bnf_ops_scalar,
    NULL,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct bnf_ops *chosen; /* NULL: refusal holds the sentence */
static char refusal[256];

static int can_run(const struct bnf_ops *ops)
{
    return (ops->needs & ~bnf_cpu_features()) == 0;
}

/* refusal = `what` and the names of the tables that may be asked for here. */
static void refuse(const char *name, const char *what)
{
    size_t length = (size_t)snprintf(refusal, sizeof refusal, "BITNET_FFI_KERNELS=%.64s: %s, expected one of", name, what);
    for (const struct bnf_ops *const *table = tables; *table != NULL; table++)
        if (can_run(*table) && length < sizeof refusal)
            length += (size_t)snprintf(refusal + length, sizeof refusal - length, " %s", (*table)->name);
}

static void choose(void)
{
    const char *name = getenv("BITNET_FFI_KERNELS");
    const int any = name == NULL || name[0] == '\0';
    for (const struct bnf_ops *const *table = tables; *table != NULL; table++) {
        if (!any && strcmp(name, (*table)->name) != 0)
            continue;
        if (can_run(*table)) {
            chosen = *table;
            return;
        }
        if (!any) {
            refuse(name, "this CPU cannot run that kernel table");
            return;
        }
    }
    refuse(name, "no such kernel table"); /* never without a name: every CPU runs the scalar table */
}

const struct bnf_ops *bnf_ops(void)
{
    pthread_once(&once, choose);
    if (chosen == NULL)
        bnf_fail(BITNET_ERROR, "%s", refusal);
    return chosen;
}

const struct bnf_ops *const *bnf_ops_all(void)
{
    return tables;
}
