/* Patterns to programs: ECMAScript's syntax, by recursive descent, each construct a block of instructions with relative jumps, so
 * that blocks can be moved and copied. Limits keep the program and the recursion small. Next: bnf_regex.c, which runs it. */
#include <stdbool.h>
#include <string.h>

#include "bnf_error.h"
#include "bnf_platform.h"
#include "bnf_regex_program.h"

enum {
    MAX_PROGRAM = 8192, /* instructions */
    MAX_GROUPS = 32,    /* that capture; more are refused */
    MAX_DEPTH = 100,    /* nested groups */
    MAX_REPEAT = 1000
};

struct compiler {
    const char *pattern, *p;
    struct bnf_regex_instruction program[MAX_PROGRAM];
    struct bnf_regex_instruction block[MAX_PROGRAM]; /* what is being repeated */
    struct bnf_regex_set sets[MAX_PROGRAM];
    int32_t n, n_sets, n_groups;
    int depth;
};

static bool wrong(const struct compiler *c, const char *what)
{
    bnf_fail(BITNET_ERROR, "pattern '%.80s', byte %d: %s", c->pattern, (int)(c->p - c->pattern), what);
    return false;
}

/* Room for an instruction at `at`; what is there moves up. Distances are relative and blocks move whole, so they stay right. */
static bool insert(struct compiler *c, int32_t at, enum bnf_regex_op op, int32_t a, int32_t b)
{
    if (c->n == MAX_PROGRAM)
        return wrong(c, "the pattern is too long");
    memmove(c->program + at + 1, c->program + at, (size_t)(c->n - at) * sizeof *c->program);
    c->program[at] = (struct bnf_regex_instruction){op, a, b};
    c->n++;
    return true;
}

static bool append(struct compiler *c, enum bnf_regex_op op, int32_t a, int32_t b)
{
    return insert(c, c->n, op, a, b);
}

static void add_range(struct bnf_regex_set *set, unsigned first, unsigned last)
{
    for (unsigned b = first; b <= last; b++)
        set->bits[b / 64] |= (uint64_t)1 << b % 64;
}

static void negate(struct bnf_regex_set *set)
{
    for (int i = 0; i < 4; i++)
        set->bits[i] = ~set->bits[i];
}

static bool append_set(struct compiler *c, struct bnf_regex_set set)
{
    if (c->n_sets == MAX_PROGRAM)
        return wrong(c, "the pattern is too long");
    c->sets[c->n_sets] = set;
    return append(c, OP_SET, c->n_sets++, 0);
}

/* \d \w \s and their opposites; false: another letter. */
static bool class_escape(char letter, struct bnf_regex_set *set)
{
    struct bnf_regex_set found = {{0}};
    switch (letter | 0x20) {
    case 'd':
        add_range(&found, '0', '9');
        break;
    case 'w':
        add_range(&found, '0', '9');
        add_range(&found, 'a', 'z');
        add_range(&found, 'A', 'Z');
        add_range(&found, '_', '_');
        break;
    case 's':
        add_range(&found, '\t', '\r');
        add_range(&found, ' ', ' ');
        break;
    default:
        return false;
    }
    if (letter < 'a')
        negate(&found);
    for (int i = 0; i < 4; i++)
        set->bits[i] |= found.bits[i];
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* The byte that an escape stands for; p is behind the backslash. */
static bool byte_escape(struct compiler *c, unsigned *byte)
{
    static const char letters[] = "tnvfr0", bytes[] = "\t\n\v\f\r";
    const char letter = *c->p;
    if (letter == 0)
        return wrong(c, "the pattern ends with a backslash");
    const char *found = strchr(letters, letter);
    c->p++;
    if (found != NULL) {
        *byte = (unsigned char)bytes[found - letters];
        return true;
    }
    if (letter == 'x' || letter == 'u') {
        unsigned value = 0;
        for (int i = 0; i < (letter == 'x' ? 2 : 4); i++, c->p++) {
            if (hex_digit(*c->p) < 0)
                return wrong(c, "expected hexadecimal digits");
            value = value << 4 | (unsigned)hex_digit(*c->p);
        }
        if (value > 0xff)
            return wrong(c, "patterns are of bytes: write the bytes of a character above FF");
        *byte = value;
        return true;
    }
    if ((letter >= '1' && letter <= '9') || letter == 'k')
        return wrong(c, "back references are not supported");
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))
        return wrong(c, "unknown escape");
    *byte = (unsigned char)letter;
    return true;
}

/* One byte of a class, or a whole class (\d): then *single is false. */
static bool class_item(struct compiler *c, struct bnf_regex_set *set, unsigned *byte, bool *single)
{
    *single = true;
    if (*c->p == 0)
        return wrong(c, "expected ]");
    if (*c->p != '\\') {
        *byte = (unsigned char)*c->p++;
        return true;
    }
    c->p++;
    if (class_escape(*c->p, set)) {
        c->p++;
        *single = false;
        return true;
    }
    if (*c->p == 'b') {
        c->p++;
        *byte = '\b';
        return true;
    }
    return byte_escape(c, byte);
}

static bool compile_class(struct compiler *c)
{
    struct bnf_regex_set set = {{0}};
    bool single;
    unsigned byte, last;
    c->p++;
    const bool negated = *c->p == '^';
    c->p += negated;
    while (*c->p != ']') {
        if (!class_item(c, &set, &byte, &single))
            return false;
        if (!single)
            continue;
        last = byte;
        if (c->p[0] == '-' && c->p[1] != ']' && c->p[1] != 0) {
            c->p++;
            if (!class_item(c, &set, &last, &single))
                return false;
            if (!single || last < byte)
                return wrong(c, "a range that ends before it begins");
        }
        add_range(&set, byte, last);
    }
    c->p++;
    if (negated)
        negate(&set);
    return append_set(c, set);
}

static bool compile_alternatives(struct compiler *c);

static bool compile_group(struct compiler *c)
{
    int32_t group = 0;
    c->p++;
    if (c->p[0] == '?') {
        if (c->p[1] != ':')
            return wrong(c, "look-ahead and named groups are not supported");
        c->p += 2;
    } else {
        if (c->n_groups == MAX_GROUPS)
            return wrong(c, "too many groups");
        group = c->n_groups++;
    }
    if (++c->depth > MAX_DEPTH)
        return wrong(c, "groups nested too deep");
    if ((group && !append(c, OP_SAVE, 2 * group, 0)) || !compile_alternatives(c) || (group && !append(c, OP_SAVE, 2 * group + 1, 0)))
        return false;
    c->depth--;
    if (*c->p != ')')
        return wrong(c, "expected )");
    c->p++;
    return true;
}

static bool compile_escape(struct compiler *c)
{
    struct bnf_regex_set set = {{0}};
    unsigned byte;
    c->p++;
    if (*c->p == 'b' || *c->p == 'B')
        return append(c, *c->p++ == 'b' ? OP_BORDER : OP_NO_BORDER, 0, 0);
    if (class_escape(*c->p, &set)) {
        c->p++;
        return append_set(c, set);
    }
    if (!byte_escape(c, &byte))
        return false;
    add_range(&set, byte, byte);
    return append_set(c, set);
}

/* *repeatable: a quantifier may follow. */
static bool compile_atom(struct compiler *c, bool *repeatable)
{
    struct bnf_regex_set set = {{0}};
    *repeatable = true;
    switch (*c->p) {
    case '^':
    case '$':
        *repeatable = false;
        return append(c, *c->p++ == '^' ? OP_BEGIN : OP_END, 0, 0);
    case '(':
        return compile_group(c);
    case '[':
        return compile_class(c);
    case '\\':
        *repeatable = c->p[1] != 'b' && c->p[1] != 'B';
        return compile_escape(c);
    case '.':
        add_range(&set, '\n', '\n');
        add_range(&set, '\r', '\r');
        negate(&set);
        break;
    case '*':
    case '+':
    case '?':
    case '{':
        return wrong(c, "nothing before it to repeat");
    default:
        add_range(&set, (unsigned char)*c->p, (unsigned char)*c->p);
    }
    c->p++;
    return append_set(c, set);
}

static bool read_number(struct compiler *c, int32_t *n)
{
    if (*c->p < '0' || *c->p > '9')
        return wrong(c, "expected a number");
    for (*n = 0; *c->p >= '0' && *c->p <= '9'; c->p++) {
        *n = 10 * *n + (*c->p - '0');
        if (*n > MAX_REPEAT)
            return wrong(c, "too many repetitions");
    }
    return true;
}

/* least and most times, most < 0: no limit; false with *some false: no quantifier. */
static bool read_quantifier(struct compiler *c, int32_t *least, int32_t *most, bool *some)
{
    *some = true;
    switch (*c->p) {
    case '*': *least = 0, *most = -1; break;
    case '+': *least = 1, *most = -1; break;
    case '?': *least = 0, *most = 1; break;
    case '{':
        c->p++;
        if (!read_number(c, least))
            return false;
        *most = *least;
        if (*c->p == ',') {
            c->p++;
            *most = -1;
            if (*c->p != '}' && !read_number(c, most))
                return false;
        }
        if (*c->p != '}')
            return wrong(c, "expected }");
        if (*most >= 0 && *most < *least)
            return wrong(c, "a repetition of at least more than at most");
        break;
    default:
        *some = false;
        return true;
    }
    c->p++;
    return true;
}

static bool append_block(struct compiler *c, int32_t n)
{
    if (n > MAX_PROGRAM - c->n)
        return wrong(c, "the pattern is too long");
    memcpy(c->program + c->n, c->block, (size_t)n * sizeof *c->block);
    c->n += n;
    return true;
}

/* The block from `at` on, `least` to `most` times.   x*: split +1, n + 2; x; jump back      x?: split +1, n + 1; x */
static bool repeat(struct compiler *c, int32_t at, int32_t least, int32_t most, bool lazy)
{
    const int32_t n = c->n - at;
    memcpy(c->block, c->program + at, (size_t)n * sizeof *c->block);
    c->n = at;
    for (int32_t i = 0; i < least; i++)
        if (!append_block(c, n))
            return false;
    if (most < 0)
        return append(c, OP_SPLIT, lazy ? n + 2 : 1, lazy ? 1 : n + 2) && append_block(c, n) &&
               append(c, OP_JUMP, -(n + 1), 0);
    const int32_t n_optional = most - least;
    for (int32_t i = 0; i < n_optional; i++) { /* each skips all that are left */
        const int32_t past = (n_optional - i) * (n + 1);
        if (!append(c, OP_SPLIT, lazy ? past : 1, lazy ? 1 : past) || !append_block(c, n))
            return false;
    }
    return true;
}

static bool compile_sequence(struct compiler *c)
{
    while (*c->p != 0 && *c->p != '|' && *c->p != ')') {
        const int32_t at = c->n;
        int32_t least, most;
        bool some, repeatable;
        if (!compile_atom(c, &repeatable))
            return false;
        if (!repeatable)
            continue;
        if (!read_quantifier(c, &least, &most, &some))
            return false;
        if (!some)
            continue;
        const bool lazy = *c->p == '?';
        c->p += lazy;
        if (!repeat(c, at, least, most, lazy))
            return false;
    }
    return true;
}

/* a|b|c: split +1, behind a; a; jump to the end; ... */
static bool compile_alternatives(struct compiler *c)
{
    const int32_t at = c->n;
    if (!compile_sequence(c))
        return false;
    if (*c->p != '|')
        return true;
    c->p++;
    if (!insert(c, at, OP_SPLIT, 1, c->n - at + 2))
        return false;
    const int32_t jump = c->n;
    if (!append(c, OP_JUMP, 0, 0) || !compile_alternatives(c))
        return false;
    c->program[jump].a = c->n - jump;
    return true;
}

static struct bnf_regex *pack(const struct compiler *c)
{
    struct bnf_regex *regex = bnf_alloc(sizeof *regex);
    if (regex == NULL)
        return NULL;
    regex->program = bnf_alloc_array((size_t)c->n, sizeof *c->program);
    regex->sets = bnf_alloc_array((size_t)c->n_sets, sizeof *c->sets);
    if (regex->program == NULL || regex->sets == NULL) {
        bnf_regex_free(regex);
        return NULL;
    }
    memcpy(regex->program, c->program, (size_t)c->n * sizeof *c->program);
    memcpy(regex->sets, c->sets, (size_t)c->n_sets * sizeof *c->sets);
    regex->n = c->n;
    regex->n_groups = c->n_groups;
    return regex;
}

struct bnf_regex *bnf_regex_new(const char *pattern)
{
    struct bnf_regex *regex = NULL;
    struct compiler *c = bnf_alloc(sizeof *c);
    if (c == NULL)
        return NULL;
    c->pattern = c->p = pattern;
    c->n_groups = 1;
    if (append(c, OP_SAVE, 0, 0) && compile_alternatives(c)) {
        if (*c->p != 0)
            wrong(c, "a ) without (");
        else if (append(c, OP_SAVE, 1, 0) && append(c, OP_MATCH, 0, 0))
            regex = pack(c);
    }
    bnf_release(c);
    return regex;
}

