/* What is known about vocabularies by name: pre-tokenizers, metadata keys, texts of special tokens; and how repairs are told.
 * Tables only; vocab.pyx and vocab_roles.pyx act on them. The facts are llama.cpp's (src/llama-vocab.cpp, 2026). */
#include "bnf_vocab.h"

#include "bnf_error.h"
#include "bnf_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LLAMA3 BNF_PRE_LLAMA3, BNF_PRE_WHOLE_WORDS | BNF_PRE_ADD_BOS

const struct bnf_pre_name bnf_pre_names[] = {
    {"default", BNF_PRE_DEFAULT, 0},
    {"gpt-2", BNF_PRE_GPT2, 0},
    {"llama-bpe", LLAMA3},
    {"smollm", BNF_PRE_SMOLLM, BNF_PRE_KEEP_SPACES},
    /* the same splitting under other names */
    {"phi-2", BNF_PRE_GPT2, 0},
    {"mpt", BNF_PRE_GPT2, 0},
    {"olmo", BNF_PRE_GPT2, 0},
    {"jais", BNF_PRE_GPT2, 0},
    {"trillion", BNF_PRE_GPT2, BNF_PRE_KEEP_SPACES},
    {"granite-docling", BNF_PRE_GPT2, BNF_PRE_KEEP_SPACES},
    {"exaone4", BNF_PRE_GPT2, 0},
    {"gigachat", BNF_PRE_GPT2, 0},
    {"a.x-4.0", BNF_PRE_GPT2, 0},
    {"mellum", BNF_PRE_GPT2, 0},
    {"modern-bert", BNF_PRE_GPT2, 0},
    {"jina-es", BNF_PRE_GPT2, 0},
    {"jina-de", BNF_PRE_GPT2, 0},
    {"jina-v2-es", BNF_PRE_GPT2, 0},
    {"jina-v2-de", BNF_PRE_GPT2, 0},
    {"jina-v1-en", BNF_PRE_GPT2, BNF_PRE_ADD_SEP},
    {"jina-v2-code", BNF_PRE_GPT2, BNF_PRE_ADD_SEP},
    {"roberta-bpe", BNF_PRE_GPT2, BNF_PRE_ADD_SEP},
    {"llama3", LLAMA3},
    {"llama-v3", LLAMA3},
    {"falcon3", LLAMA3},
    {"falcon-h1", LLAMA3},
    {"pixtral", LLAMA3},
    {"midm-2.0", LLAMA3},
    {"lfm2", LLAMA3},
    {"jina-v5-nano", LLAMA3},
    {"dbrx", BNF_PRE_LLAMA3, 0},
    {"smaug-bpe", BNF_PRE_LLAMA3, 0},
    {"chatglm-bpe", BNF_PRE_LLAMA3, 0},
    {"glm4", BNF_PRE_LLAMA3, 0},
    {"starcoder", BNF_PRE_SMOLLM, 0},
    {"refact", BNF_PRE_SMOLLM, 0},
    {"command-r", BNF_PRE_SMOLLM, BNF_PRE_KEEP_SPACES},
    {"codeshell", BNF_PRE_SMOLLM, 0},
    {"exaone", BNF_PRE_SMOLLM, 0},
    {"minerva-7b", BNF_PRE_SMOLLM, 0},
    {"mellum2", BNF_PRE_SMOLLM, 0},
    {NULL, 0, 0},
};

const struct bnf_role_key bnf_role_keys[] = {
    {"tokenizer.ggml.bos_token_id", BNF_BOS},
    {"tokenizer.ggml.eos_token_id", BNF_EOS},
    {"tokenizer.ggml.eot_token_id", BNF_EOT},
    {"tokenizer.ggml.eom_token_id", BNF_EOM},
    {"tokenizer.ggml.unknown_token_id", BNF_UNK},
    {"tokenizer.ggml.seperator_token_id", BNF_SEP}, /* spelled so in every file */
    {"tokenizer.ggml.padding_token_id", BNF_PAD},
    {"tokenizer.ggml.mask_token_id", BNF_MASK},
    {"tokenizer.ggml.fim_pre_token_id", BNF_FIM_PRE},
    {"tokenizer.ggml.fim_suf_token_id", BNF_FIM_SUF},
    {"tokenizer.ggml.fim_mid_token_id", BNF_FIM_MID},
    {"tokenizer.ggml.fim_pad_token_id", BNF_FIM_PAD},
    {"tokenizer.ggml.fim_rep_token_id", BNF_FIM_REP},
    {"tokenizer.ggml.fim_sep_token_id", BNF_FIM_SEP},
    {"tokenizer.ggml.prefix_token_id", BNF_FIM_PRE}, /* names of 2023, before fim_ */
    {"tokenizer.ggml.suffix_token_id", BNF_FIM_SUF},
    {"tokenizer.ggml.middle_token_id", BNF_FIM_MID},
    {NULL, 0},
};

/* For one role the earlier line wins. UTF-8 escapes: E2 96 81 is U+2581, EF BD 9C the full-width bar of DeepSeek. */
const struct bnf_known_text bnf_known_texts[] = {
    {"<|begin_of_text|>", BNF_BOS},
    {"<|startoftext|>", BNF_BOS},
    {"<s>", BNF_BOS},
    {"<bos>", BNF_BOS},
    {"<|end_of_text|>", BNF_EOS},
    {"<|endoftext|>", BNF_EOS},
    {"</s>", BNF_EOS},
    {"<eos>", BNF_EOS},
    {"<unk>", BNF_UNK},
    {"<|eot_id|>", BNF_EOT},
    {"<|im_end|>", BNF_EOT},
    {"<|end|>", BNF_EOT},
    {"<end_of_turn>", BNF_EOT},
    {"<|endoftext|>", BNF_EOT},
    {"<|end_of_text|>", BNF_EOT},
    {"<EOT>", BNF_EOT},
    {"_<EOT>", BNF_EOT},
    {"[EOT]", BNF_EOT},
    {"<\xEF\xBD\x9C" "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>", BNF_EOT},
    {"<end_of_utterance>", BNF_EOT},
    {"<|eom_id|>", BNF_EOM},
    {"<|fim_prefix|>", BNF_FIM_PRE},
    {"<fim-prefix>", BNF_FIM_PRE},
    {"<fim_prefix>", BNF_FIM_PRE},
    {"<\xEF\xBD\x9C" "fim\xE2\x96\x81" "begin\xEF\xBD\x9C>", BNF_FIM_PRE},
    {"<PRE>", BNF_FIM_PRE},
    {"\xE2\x96\x81<PRE>", BNF_FIM_PRE},
    {"<|code_prefix|>", BNF_FIM_PRE},
    {"<|prefix|>", BNF_FIM_PRE},
    {"<|fim_suffix|>", BNF_FIM_SUF},
    {"<fim-suffix>", BNF_FIM_SUF},
    {"<fim_suffix>", BNF_FIM_SUF},
    {"<\xEF\xBD\x9C" "fim\xE2\x96\x81hole\xEF\xBD\x9C>", BNF_FIM_SUF},
    {"<SUF>", BNF_FIM_SUF},
    {"\xE2\x96\x81<SUF>", BNF_FIM_SUF},
    {"<|code_suffix|>", BNF_FIM_SUF},
    {"<|suffix|>", BNF_FIM_SUF},
    {"<|fim_middle|>", BNF_FIM_MID},
    {"<fim-middle>", BNF_FIM_MID},
    {"<fim_middle>", BNF_FIM_MID},
    {"<\xEF\xBD\x9C" "fim\xE2\x96\x81" "end\xEF\xBD\x9C>", BNF_FIM_MID},
    {"<MID>", BNF_FIM_MID},
    {"\xE2\x96\x81<MID>", BNF_FIM_MID},
    {"<|code_middle|>", BNF_FIM_MID},
    {"<|middle|>", BNF_FIM_MID},
    {"<|fim_pad|>", BNF_FIM_PAD},
    {"<fim-pad>", BNF_FIM_PAD},
    {"<fim_pad>", BNF_FIM_PAD},
    {"<PAD>", BNF_FIM_PAD},
    {"[PAD]", BNF_FIM_PAD},
    {"<|fim_repo|>", BNF_FIM_REP},
    {"<|repo_name|>", BNF_FIM_REP},
    {"<fim-repo>", BNF_FIM_REP},
    {"<REPO>", BNF_FIM_REP},
    {"<reponame>", BNF_FIM_REP},
    {"<|file_sep|>", BNF_FIM_SEP},
    /* tokens that end generation whatever their role */
    {"<|eot_id|>", BNF_KNOWN_EOG},
    {"<|im_end|>", BNF_KNOWN_EOG},
    {"<|end|>", BNF_KNOWN_EOG},
    {"<|return|>", BNF_KNOWN_EOG},
    {"<|call|>", BNF_KNOWN_EOG},
    {"<|flush|>", BNF_KNOWN_EOG},
    {"<|calls|>", BNF_KNOWN_EOG},
    {"<end_of_turn>", BNF_KNOWN_EOG},
    {"<|endoftext|>", BNF_KNOWN_EOG},
    {"</s>", BNF_KNOWN_EOG},
    {"<|eom_id|>", BNF_KNOWN_EOG},
    {"<EOT>", BNF_KNOWN_EOG},
    {"_<EOT>", BNF_KNOWN_EOG},
    {"[EOT]", BNF_KNOWN_EOG},
    {"[EOS]", BNF_KNOWN_EOG},
    {"<|end_of_text|>", BNF_KNOWN_EOG},
    {"<end_of_utterance>", BNF_KNOWN_EOG},
    {"<eos>", BNF_KNOWN_EOG},
    {"<turn|>", BNF_KNOWN_EOG},
    {"<|tool_response>", BNF_KNOWN_EOG},
    {"<\xEF\xBD\x9C" "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>", BNF_KNOWN_EOG},
    {"[e~[", BNF_KNOWN_EOG},
    /* channel marks of gpt-oss: part of the answer's form, so never hidden */
    {"<|channel|>", BNF_KNOWN_SHOWN},
    {"<|message|>", BNF_KNOWN_SHOWN},
    {"<|start|>", BNF_KNOWN_SHOWN},
    {"<|constrain|>", BNF_KNOWN_SHOWN},
    {NULL, 0},
};

int bnf_vocab_repair(const char *format, ...)
{
    char text[BNF_ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *strict = getenv("BITNET_STRICT_TOKENIZERS");
    if (strict != NULL && strict[0] == '1' && strict[1] == '\0')
        return bnf_fail(BITNET_ERROR_MODEL, "%s (BITNET_STRICT_TOKENIZERS=1 forbids this repair)", text);
    bnf_log(GGML_LOG_LEVEL_WARN, "vocabulary: %s\n", text);
    return 0;
}
