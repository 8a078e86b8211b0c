/* Tables of names. To add a type of file: a row in `ftypes`. Next: bnf_names.h. */
#include "bnf_names.h"

#include <stddef.h>

#define LEN(array) (sizeof(array) / sizeof(array)[0])

/* type: what most weights of such a file are; -1: a mixture that another row stands for, or a type that is not computed. */
static const struct {
    int ftype;
    int32_t type;
    const char *name;
} ftypes[] = {
    {LLAMA_FTYPE_ALL_F32, GGML_TYPE_F32, "all F32"},
    {LLAMA_FTYPE_MOSTLY_F16, GGML_TYPE_F16, "F16"},
    {LLAMA_FTYPE_MOSTLY_BF16, GGML_TYPE_BF16, "BF16"},
    {LLAMA_FTYPE_MOSTLY_Q4_0, GGML_TYPE_Q4_0, "Q4_0"},
    {LLAMA_FTYPE_MOSTLY_Q4_1, GGML_TYPE_Q4_1, "Q4_1"},
    {LLAMA_FTYPE_MOSTLY_Q5_0, GGML_TYPE_Q5_0, "Q5_0"},
    {LLAMA_FTYPE_MOSTLY_Q5_1, GGML_TYPE_Q5_1, "Q5_1"},
    {LLAMA_FTYPE_MOSTLY_Q8_0, GGML_TYPE_Q8_0, "Q8_0"},
    {LLAMA_FTYPE_MOSTLY_Q2_K, GGML_TYPE_Q2_K, "Q2_K - Medium"},
    {LLAMA_FTYPE_MOSTLY_Q2_K_S, -1, "Q2_K - Small"},
    {LLAMA_FTYPE_MOSTLY_Q3_K_S, -1, "Q3_K - Small"},
    {LLAMA_FTYPE_MOSTLY_Q3_K_M, GGML_TYPE_Q3_K, "Q3_K - Medium"},
    {LLAMA_FTYPE_MOSTLY_Q3_K_L, -1, "Q3_K - Large"},
    {LLAMA_FTYPE_MOSTLY_Q4_K_S, -1, "Q4_K - Small"},
    {LLAMA_FTYPE_MOSTLY_Q4_K_M, GGML_TYPE_Q4_K, "Q4_K - Medium"},
    {LLAMA_FTYPE_MOSTLY_Q5_K_S, -1, "Q5_K - Small"},
    {LLAMA_FTYPE_MOSTLY_Q5_K_M, GGML_TYPE_Q5_K, "Q5_K - Medium"},
    {LLAMA_FTYPE_MOSTLY_Q6_K, GGML_TYPE_Q6_K, "Q6_K"},
    {LLAMA_FTYPE_MOSTLY_TQ1_0, GGML_TYPE_TQ1_0, "TQ1_0 - 1.69 bpw ternary"},
    {LLAMA_FTYPE_MOSTLY_TQ2_0, GGML_TYPE_TQ2_0, "TQ2_0 - 2.06 bpw ternary"},
    {BITNET_FTYPE_MOSTLY_I2_S, GGML_TYPE_I2_S, "I2_S - 2 bpw ternary"},
    {LLAMA_FTYPE_MOSTLY_IQ2_XXS, -1, "IQ2_XXS - 2.0625 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ2_XS, -1, "IQ2_XS - 2.3125 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ2_S, -1, "IQ2_S - 2.5 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ2_M, -1, "IQ2_M - 2.7 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ3_XXS, -1, "IQ3_XXS - 3.0625 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ3_XS, -1, "IQ3_XS - 3.3 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ3_S, -1, "IQ3_S - 3.4375 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ3_M, -1, "IQ3_S mix - 3.66 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ1_S, -1, "IQ1_S - 1.5625 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ1_M, -1, "IQ1_M - 1.75 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ4_NL, -1, "IQ4_NL - 4.5 bpw"},
    {LLAMA_FTYPE_MOSTLY_IQ4_XS, -1, "IQ4_XS - 4.25 bpw"},
    {LLAMA_FTYPE_MOSTLY_MXFP4_MOE, -1, "MXFP4 MoE"},
    {LLAMA_FTYPE_MOSTLY_NVFP4, -1, "NVFP4"},
    {LLAMA_FTYPE_MOSTLY_Q1_0, -1, "Q1_0"},
    {LLAMA_FTYPE_MOSTLY_Q2_0, -1, "Q2_0"},
};

static const char *const meta_keys[] = {
    [LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE] = "general.sampling.sequence",
    [LLAMA_MODEL_META_KEY_SAMPLING_TOP_K] = "general.sampling.top_k",
    [LLAMA_MODEL_META_KEY_SAMPLING_TOP_P] = "general.sampling.top_p",
    [LLAMA_MODEL_META_KEY_SAMPLING_MIN_P] = "general.sampling.min_p",
    [LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY] = "general.sampling.xtc_probability",
    [LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD] = "general.sampling.xtc_threshold",
    [LLAMA_MODEL_META_KEY_SAMPLING_TEMP] = "general.sampling.temp",
    [LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N] = "general.sampling.penalty_last_n",
    [LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT] = "general.sampling.penalty_repeat",
    [LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT] = "general.sampling.mirostat",
    [LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU] = "general.sampling.mirostat_tau",
    [LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA] = "general.sampling.mirostat_eta",
};

static const char *const load_modes[] = {
    [LLAMA_LOAD_MODE_NONE] = "none",
    [LLAMA_LOAD_MODE_MMAP] = "mmap",
    [LLAMA_LOAD_MODE_MLOCK] = "mlock",
    [LLAMA_LOAD_MODE_MMAP_MLOCK] = "mmap+mlock",
    [LLAMA_LOAD_MODE_DIRECT_IO] = "dio",
};

static const char *name_at(const char *const *names, size_t n, int i)
{
    return i >= 0 && (size_t)i < n ? names[i] : NULL;
}

const char *bnf_ftype_name(int ftype)
{
    for (size_t i = 0; i < LEN(ftypes); i++)
        if (ftypes[i].ftype == ftype)
            return ftypes[i].name;
    return NULL;
}

int bnf_ftype_of_type(int32_t type)
{
    for (size_t i = 0; type >= 0 && i < LEN(ftypes); i++)
        if (ftypes[i].type == type)
            return ftypes[i].ftype;
    return -1;
}

const char *bnf_meta_key_name(int key)
{
    return name_at(meta_keys, LEN(meta_keys), key);
}

const char *bnf_load_mode_name(int mode)
{
    return mode == LLAMA_LOAD_MODE_AUTO ? "auto" : name_at(load_modes, LEN(load_modes), mode);
}

const char *bnf_flash_attn_name(int type)
{
    switch (type) {
    case LLAMA_FLASH_ATTN_TYPE_AUTO: return "auto";
    case LLAMA_FLASH_ATTN_TYPE_DISABLED: return "disabled";
    case LLAMA_FLASH_ATTN_TYPE_ENABLED: return "enabled";
    default: return NULL;
    }
}
