/* Pre-tokenizers: where BPE cuts a text into words before merging. Every value of
 * tokenizer.ggml.pre that llama.cpp knows in 2026 is one of these families (bnf_pre_names), and is cut as llama.cpp cuts it.
 * No state but the struct, no allocation; any text takes time linear in its length. Next: bnf_split.c. */
#ifndef BNF_SPLIT_H
#define BNF_SPLIT_H

#include <stddef.h>
#include <stdint.h>

enum bnf_pre {
    BNF_PRE_DEFAULT = 0, BNF_PRE_GPT2, BNF_PRE_LLAMA3, BNF_PRE_SMOLLM, BNF_PRE_FALCON, BNF_PRE_QWEN2, BNF_PRE_QWEN35,
    BNF_PRE_UFAKZEKA, BNF_PRE_SEED_CODER, BNF_PRE_MINICPM5, BNF_PRE_JAIS2, BNF_PRE_LAGUNA, BNF_PRE_EXAONE_MOE,
    BNF_PRE_DEEPSEEK_LLM, BNF_PRE_DEEPSEEK_CODER, BNF_PRE_DEEPSEEK3, BNF_PRE_SPARK, BNF_PRE_AFMOE,
    BNF_PRE_TEKKEN, BNF_PRE_GPT4O, BNF_PRE_GRANITE_EMB, BNF_PRE_TINY_AYA, BNF_PRE_YOUTU, BNF_PRE_KIMI_K2,
    BNF_PRE_PORO, BNF_PRE_VIKING, BNF_PRE_SUPERBPE, BNF_PRE_CHAMELEON,
    BNF_PRE_GEMMA4, BNF_PRE_SARVAM_MOE, BNF_PRE_WHITESPACE, /* words of the text itself, not of the byte alphabet */
    BNF_N_PRES
};

#define BNF_MOST_CUTS 6 /* expressions that one family applies, each to the pieces of the one before */

/* A position in a text that is being cut. */
struct bnf_split {
    const uint8_t *pos;   /* where the next word begins */
    const uint8_t *begin; /* of the text */
    const uint8_t *end;
    const uint8_t *clear; /* no line feed or carriage return from pos up to here: spares long white space a second look */
    const uint8_t *stop[BNF_MOST_CUTS]; /* where the piece ends that each expression cut last */
    int32_t pre;          /* bnf_pre */
    int32_t n_cuts;
};

/* Begin to cut len bytes of clean UTF-8 (bnf_utf8_is_clean). */
void bnf_split_start(struct bnf_split *split, int32_t pre, const uint8_t *text, size_t len);

/* Move pos past the next word and return it; only while pos < end. */
const uint8_t *bnf_split_next(struct bnf_split *split);

#endif
