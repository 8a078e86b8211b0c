/* Numbers of llama.h and the words for them, both ways. Tables only; nothing here fails or allocates.
 * The words are those of llama.cpp (2026). Next: include/bitnet_ffi.h for the functions that give them out. */
#ifndef BNF_NAMES_H
#define BNF_NAMES_H

#include "bitnet_ffi.h"

/* "Q4_K - Medium"; NULL: no such type of file. Without LLAMA_FTYPE_GUESSED. */
const char *bnf_ftype_name(int ftype);
/* The type of a file whose weights are mostly of this ggml_type; -1: there is none. */
int bnf_ftype_of_type(int32_t type);
/* "general.sampling.top_k"; NULL: no such key. */
const char *bnf_meta_key_name(int key);
/* "mmap+mlock"; NULL: no such mode. */
const char *bnf_load_mode_name(int mode);
/* "auto", "disabled", "enabled"; NULL: another number. */
const char *bnf_flash_attn_name(int type);

#endif
