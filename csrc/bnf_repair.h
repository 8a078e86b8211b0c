/* What a file lacks or has wrong, and loading makes good: said as a warning, or refused in strict mode. Both functions return 0, or
 * BITNET_ERROR_MODEL with the same sentence as last error. Next: bnf_vocab.h and gguf_part.pyx, which repair. */
#ifndef BNF_REPAIR_H
#define BNF_REPAIR_H

/* Of the vocabulary; BITNET_STRICT_TOKENIZERS=1 and BITNET_STRICT_MODE=1 forbid it. */
int bnf_vocab_repair(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Of the rest of the file; BITNET_STRICT_MODE=1 forbids it. */
int bnf_model_repair(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
