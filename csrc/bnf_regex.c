/* A Pike machine: all the ways to run a program over the text go on side by side, in order of priority, one byte at a time; of two
 * that stand at the same instruction the first goes on. So a step costs at most the program's length.
 * Source of the method: R. Cox, "Regular Expression Matching: the Virtual Machine Approach" (2009). Next: bnf_regex_compile.c. */
#include <string.h>

#include "bnf_platform.h"
#include "bnf_regex_program.h"

void bnf_regex_free(struct bnf_regex *regex)
{
    if (regex == NULL)
        return;
    bnf_release(regex->program);
    bnf_release(regex->sets);
    bnf_release(regex);
}

#define NOWHERE SIZE_MAX

/* Ways to go on, best first. */
struct ways {
    int32_t *pc;   /* [n] */
    size_t *slots; /* [n][2 n_groups] where its groups begin and end */
    int32_t n;
};

struct pending { /* an instruction to follow, or (pc < 0) a slot to put back */
    int32_t pc, slot;
    size_t old;
};

struct machine {
    const struct bnf_regex *regex;
    const char *text;
    size_t len;
    struct ways now, next;
    size_t *slots;      /* [2 n_groups] of the way that is being followed */
    uint64_t *visited;  /* [n] position + 1 at which an instruction was followed last */
    struct pending *pending;  /* [2 n + 1] */
};

static bool is_word(const struct machine *m, size_t at)
{
    if (at >= m->len)
        return false;
    const unsigned char c = (unsigned char)m->text[at];
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool holds(const struct machine *m, enum bnf_regex_op op, size_t at)
{
    if (op == OP_BEGIN)
        return at == 0;
    if (op == OP_END)
        return at == m->len;
    const bool border = (at > 0 && is_word(m, at - 1)) != is_word(m, at);
    return border == (op == OP_BORDER);
}

/* Follow all that reads nothing from pc on, in order of priority; what reads, or matches, joins `ways`. An instruction on the stack
 * twice is followed once, and each leaves at most two there. */
static void follow(struct machine *m, struct ways *ways, int32_t pc, size_t at)
{
    const int32_t n_slots = 2 * m->regex->n_groups;
    int32_t n = 0;
    m->pending[n++] = (struct pending){pc, 0, 0};
    while (n > 0) {
        const struct pending pending = m->pending[--n];
        if (pending.pc < 0) {
            m->slots[pending.slot] = pending.old;
            continue;
        }
        if (m->visited[pending.pc] == at + 1)
            continue;
        m->visited[pending.pc] = at + 1;
        const struct bnf_regex_instruction *const i = &m->regex->program[pending.pc];
        switch (i->op) {
        case OP_JUMP:
            m->pending[n++] = (struct pending){pending.pc + i->a, 0, 0};
            break;
        case OP_SPLIT:
            m->pending[n++] = (struct pending){pending.pc + i->b, 0, 0};
            m->pending[n++] = (struct pending){pending.pc + i->a, 0, 0};
            break;
        case OP_SAVE:
            m->pending[n++] = (struct pending){-1, i->a, m->slots[i->a]};
            m->pending[n++] = (struct pending){pending.pc + 1, 0, 0};
            m->slots[i->a] = at;
            break;
        case OP_BEGIN:
        case OP_END:
        case OP_BORDER:
        case OP_NO_BORDER:
            if (holds(m, i->op, at))
                m->pending[n++] = (struct pending){pending.pc + 1, 0, 0};
            break;
        case OP_SET:
        case OP_MATCH:
            ways->pc[ways->n] = pending.pc;
            memcpy(ways->slots + (size_t)ways->n * (size_t)n_slots, m->slots, (size_t)n_slots * sizeof *m->slots);
            ways->n++;
        }
    }
}

static size_t start_of(const size_t *slots, int32_t n_groups)
{
    for (int32_t g = 1; g < n_groups; g++)
        if (slots[2 * g] != NOWHERE && slots[2 * g + 1] != NOWHERE && slots[2 * g + 1] > slots[2 * g])
            return slots[2 * g];
    return slots[0];
}

static bool run(struct machine *m, bool whole, size_t *start)
{
    const struct bnf_regex *const regex = m->regex;
    const size_t n_slots = 2 * (size_t)regex->n_groups;
    bool found = false;
    for (size_t at = 0; at <= m->len; at++) {
        if (!found && (at == 0 || !whole)) { /* a match may begin here, with less priority than those that began before */
            for (size_t s = 0; s < n_slots; s++)
                m->slots[s] = NOWHERE;
            follow(m, &m->now, 0, at);
        }
        m->next.n = 0;
        for (int32_t w = 0; w < m->now.n; w++) {
            const struct bnf_regex_instruction *const i = &regex->program[m->now.pc[w]];
            const size_t *const slots = m->now.slots + (size_t)w * n_slots;
            if (i->op == OP_MATCH) {
                if (whole && at < m->len)
                    continue;
                *start = start_of(slots, regex->n_groups);
                found = true;
                break; /* what comes behind has less priority */
            }
            const unsigned char c = at < m->len ? (unsigned char)m->text[at] : 0;
            if (at < m->len && regex->sets[i->a].bits[c / 64] >> c % 64 & 1) {
                memcpy(m->slots, slots, n_slots * sizeof *slots);
                follow(m, &m->next, m->now.pc[w] + 1, at + 1);
            }
        }
        const struct ways t = m->now;
        m->now = m->next;
        m->next = t;
        if (found && m->now.n == 0)
            break;
    }
    return found;
}

enum bnf_regex_result bnf_regex_find(const struct bnf_regex *regex, const char *text, size_t len, bool whole, size_t *start)
{
    const size_t n = (size_t)regex->n, n_slots = 2 * (size_t)regex->n_groups;
    struct machine m = {.regex = regex, .text = text, .len = len};
    m.now.pc = bnf_alloc_array(n, sizeof *m.now.pc);
    m.now.slots = bnf_alloc_array(n, n_slots * sizeof *m.now.slots);
    m.next.pc = bnf_alloc_array(n, sizeof *m.next.pc);
    m.next.slots = bnf_alloc_array(n, n_slots * sizeof *m.next.slots);
    m.slots = bnf_alloc_array(n_slots, sizeof *m.slots);
    m.visited = bnf_alloc_array(n, sizeof *m.visited);
    m.pending = bnf_alloc_array(2 * n + 2, sizeof *m.pending);
    enum bnf_regex_result result = BNF_REGEX_NO_MEMORY;
    if (m.now.pc != NULL && m.now.slots != NULL && m.next.pc != NULL && m.next.slots != NULL && m.slots != NULL &&
        m.visited != NULL && m.pending != NULL)
        result = run(&m, whole, start) ? BNF_REGEX_YES : BNF_REGEX_NO;
    bnf_release(m.now.pc);
    bnf_release(m.now.slots);
    bnf_release(m.next.pc);
    bnf_release(m.next.slots);
    bnf_release(m.slots);
    bnf_release(m.visited);
    bnf_release(m.pending);
    return result;
}
