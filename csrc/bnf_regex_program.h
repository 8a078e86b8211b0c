/* What a pattern becomes (bnf_regex_compile.c) and what runs (bnf_regex.c). */
#ifndef BNF_REGEX_PROGRAM_H
#define BNF_REGEX_PROGRAM_H

#include <stdint.h>

#include "bnf_regex.h"

enum bnf_regex_op { OP_SET, OP_SPLIT, OP_JUMP, OP_SAVE, OP_BEGIN, OP_END, OP_BORDER, OP_NO_BORDER, OP_MATCH };

struct bnf_regex_instruction {
    enum bnf_regex_op op;
    int32_t a, b; /* SPLIT, JUMP: distances, the preferred first; SET: index; SAVE: slot */
};

struct bnf_regex_set {
    uint64_t bits[4];
};

struct bnf_regex {
    struct bnf_regex_instruction *program; /* [n] */
    struct bnf_regex_set *sets;
    int32_t n, n_groups;         /* group 0 is the match */
};

#endif
