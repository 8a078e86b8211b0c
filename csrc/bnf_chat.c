/* The chat formats and the marks by which a template text gives itself away. Data and one search, nothing is written here.
 * To add a format: a row in `formats`, and a rule at its place among `rules`: the first that holds decides.
 * Next: bnf_chat.h for the fields. */
#include "bnf_chat.h"

#include <stdbool.h>
#include <string.h>

#define EVERY_ROLE(text) .system = text, .user = text, .assistant = text, .other = text
#define ANSWER(text) .assistant = text, .other = text

#define CHATML "<|im_start|>{role}\n{content}<|im_end|>\n"
#define GRANITE "<|start_of_role|>{role}<|end_of_role|>{content}<|end_of_text|>\n"
#define GRANITE_CALL(role) "<|start_of_role|>" role "<|end_of_role|><|tool_call|>{content}<|end_of_text|>\n"
#define GRANITE_ASK "<|start_of_role|>assistant<|end_of_role|>"

static const struct bnf_chat_format formats[] = {
    {.name = "chatml", EVERY_ROLE(CHATML), .ask = "<|im_start|>assistant\n"},
    {.name = "smollm",
     .no_system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n",
     EVERY_ROLE(CHATML), .ask = "<|im_start|>assistant\n"},
    {.name = "bitnet", EVERY_ROLE("{Role}: {trim}<|eot_id|>"), .ask = "Assistant: "},

    {.name = "llama2", .begin = "[INST] ", .open = "[INST] ", .system = "{content}\n", .user = "{content} [/INST]",
     ANSWER("{content}</s>")},
    {.name = "llama2-sys", .begin = "[INST] ", .open = "[INST] ", .system = "<<SYS>>\n{content}\n<</SYS>>\n\n",
     .user = "{content} [/INST]", ANSWER("{content}</s>")},
    {.name = "llama2-sys-bos", .begin = "[INST] ", .open = "<s>[INST] ", .system = "<<SYS>>\n{content}\n<</SYS>>\n\n",
     .user = "{content} [/INST]", ANSWER("{content}</s>")},
    {.name = "llama2-sys-strip", .begin = "[INST] ", .open = "[INST] ", .system = "<<SYS>>\n{trim}\n<</SYS>>\n\n",
     .user = "{trim} [/INST]", ANSWER("{trim}</s>")},
    {.name = "llama3", EVERY_ROLE("<|start_header_id|>{role}<|end_header_id|>\n\n{trim}<|eot_id|>"),
     .ask = "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {.name = "llama4", EVERY_ROLE("<|header_start|>{role}<|header_end|>\n\n{trim}<|eot|>"),
     .ask = "<|header_start|>assistant<|header_end|>\n\n"},

    {.name = "mistral-v1", .open = " [INST] ", .system = "{content}\n\n", .user = "{content} [/INST]",
     ANSWER(" {content}</s>")},
    {.name = "mistral-v3", .open = "[INST] ", .system = "{content}\n\n", .user = "{content}[/INST]", ANSWER(" {trim}</s>")},
    {.name = "mistral-v3-tekken", .open = "[INST]", .system = "{content}\n\n", .user = "{content}[/INST]",
     ANSWER("{content}</s>")},
    {.name = "mistral-v7", .system = "[SYSTEM_PROMPT] {content}[/SYSTEM_PROMPT]", .user = "[INST] {content}[/INST]",
     ANSWER(" {content}</s>")},
    {.name = "mistral-v7-tekken", .system = "[SYSTEM_PROMPT]{content}[/SYSTEM_PROMPT]", .user = "[INST]{content}[/INST]",
     ANSWER("{content}</s>")},

    {.name = "phi3", EVERY_ROLE("<|{role}|>\n{content}<|end|>\n"), .ask = "<|assistant|>\n"},
    {.name = "phi4", EVERY_ROLE("<|im_start|>{role}<|im_sep|>{content}<|im_end|>"), .ask = "<|im_start|>assistant<|im_sep|>"},
    {.name = "falcon3", EVERY_ROLE("<|{role}|>\n{content}\n"), .ask = "<|assistant|>\n"},
    {.name = "zephyr", EVERY_ROLE("<|{role}|>\n{content}<|endoftext|>\n"), .ask = "<|assistant|>\n"},
    {.name = "monarch", .between = "<s>", EVERY_ROLE("{role}\n{content}</s>\n"), .ask = "<s>assistant\n"},
    {.name = "gemma", .system = "{trim}", .user = "<start_of_turn>user\n{system}{trim}<end_of_turn>\n",
     .assistant = "<start_of_turn>model\n{trim}<end_of_turn>\n",
     .other = "<start_of_turn>{role}\n{system}{trim}<end_of_turn>\n", .ask = "<start_of_turn>model\n",
     .flags = BNF_CHAT_MERGE_SYSTEM},
    {.name = "orion", .system = "{content}", .user = "Human: {system}{content}\n\nAssistant: </s>", ANSWER("{content}</s>"),
     .flags = BNF_CHAT_MERGE_SYSTEM},
    {.name = "openchat", .system = "{content}<|end_of_turn|>", .user = "GPT4 Correct User: {content}<|end_of_turn|>",
     ANSWER("GPT4 Correct {Role}: {content}<|end_of_turn|>"), .ask = "GPT4 Correct Assistant:"},
    {.name = "vicuna", .system = "{content}\n\n", .user = "USER: {content}\n", .assistant = "ASSISTANT: {content}</s>\n",
     .ask = "ASSISTANT:"},
    {.name = "vicuna-orca", .system = "SYSTEM: {content}\n", .user = "USER: {content}\n",
     .assistant = "ASSISTANT: {content}</s>\n", .ask = "ASSISTANT:"},

    {.name = "deepseek", .system = "{content}", .user = "### Instruction:\n{content}\n",
     .assistant = "### Response:\n{content}\n<|EOT|>\n", .ask = "### Response:\n"},
    {.name = "deepseek2", .system = "{content}\n\n", .user = "User: {content}\n\n",
     .assistant = "Assistant: {content}<｜end▁of▁sentence｜>", .ask = "Assistant:"},
    {.name = "deepseek3", .system = "{content}\n\n", .user = "<｜User｜>{content}",
     .assistant = "<｜Assistant｜>{content}<｜end▁of▁sentence｜>", .ask = "<｜Assistant｜>"},
    {.name = "deepseek-ocr", EVERY_ROLE("{content}")},
    {.name = "command-r", .system = "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{trim}<|END_OF_TURN_TOKEN|>",
     .user = "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{trim}<|END_OF_TURN_TOKEN|>",
     .assistant = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{trim}<|END_OF_TURN_TOKEN|>",
     .ask = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {.name = "chatglm3", .begin = "[gMASK]sop", EVERY_ROLE("<|{role}|>\n {content}"), .ask = "<|assistant|>"},
    {.name = "chatglm4", .begin = "[gMASK]<sop>", EVERY_ROLE("<|{role}|>\n{content}"), .ask = "<|assistant|>\n"},
    {.name = "glmedge", EVERY_ROLE("<|{role}|>\n{content}"), .ask = "<|assistant|>"},
    {.name = "minicpm", .system = "{trim}", .user = "<用户>{trim}<AI>", ANSWER("{trim}")},
    {.name = "exaone3", .system = "[|system|]{trim}[|endofturn|]\n", .user = "[|user|]{trim}\n",
     .assistant = "[|assistant|]{trim}[|endofturn|]\n", .ask = "[|assistant|]"},
    {.name = "exaone4", .system = "[|system|]{trim}[|endofturn|]\n", .user = "[|user|]{trim}\n",
     .assistant = "[|assistant|]{trim}[|endofturn|]\n", .extra = {{"tool", "[|tool|]{trim}[|endofturn|]\n"}},
     .ask = "[|assistant|]"},
    {.name = "exaone-moe", .system = "<|system|>\n{trim}<|endofturn|>\n", .user = "<|user|>\n{trim}<|endofturn|>\n",
     .assistant = "<|assistant|>\n{trim}<|endofturn|>\n", .extra = {{"tool", "<|tool|>\n{trim}<|endofturn|>\n"}},
     .ask = "<|assistant|>\n"},
    {.name = "rwkv-world", .system = "System: {trim}\n\n", .user = "User: {trim}\n\n", .assistant = "Assistant: {trim}\n\n",
     .ask = "Assistant:", .flags = BNF_CHAT_ASK_AFTER_USER},
    {.name = "granite", EVERY_ROLE(GRANITE), .extra = {{"assistant_tool_call", GRANITE_CALL("{role}")}}, .ask = GRANITE_ASK},
    {.name = "granite-4.0", EVERY_ROLE(GRANITE), .extra = {{"assistant_tool_call", GRANITE_CALL("assistant")}}, .ask = GRANITE_ASK},
    {.name = "granite-4.1", EVERY_ROLE(GRANITE), .extra = {{"assistant_tool_call", GRANITE_CALL("assistant")}}, .ask = GRANITE_ASK},
    {.name = "gigachat", .begin = "<s>", .system = "{content}<|message_sep|>",
     .user = "user<|role_sep|>{content}<|message_sep|>available functions<|role_sep|>[]<|message_sep|>",
     .assistant = "assistant<|role_sep|>{content}<|message_sep|>", .ask = "assistant<|role_sep|>",
     .flags = BNF_CHAT_SYSTEM_FIRST},
    {.name = "megrez", EVERY_ROLE("<|role_start|>{role}<|role_end|>{content}<|turn_end|>"),
     .ask = "<|role_start|>assistant<|role_end|>"},
    {.name = "yandex", .user = " Пользователь: {content}\n\n", .assistant = " Ассистент: {content}\n\n",
     .ask = " Ассистент:[SEP]"},
    {.name = "bailing", .system = "<role>{ROLE}</role>{content}", .user = "<role>HUMAN</role>{content}",
     ANSWER("<role>{ROLE}</role>{content}"), .ask = "<role>ASSISTANT</role>"},
    {.name = "bailing-think", .system = "<role>{ROLE}</role>{content}", .user = "<role>HUMAN</role>{content}",
     ANSWER("<role>{ROLE}</role>{content}"), .ask = "<role>ASSISTANT</role><think>"},
    {.name = "bailing2", .no_system = "<role>SYSTEM</role>detailed thinking off<|role_end|>",
     .system = "<role>{ROLE}</role>{content}<|role_end|>", .user = "<role>HUMAN</role>{content}<|role_end|>",
     ANSWER("<role>{ROLE}</role>{content}<|role_end|>"), .ask = "<role>ASSISTANT</role>", .flags = BNF_CHAT_NONE_IS_NO_SYSTEM},
    {.name = "smolvlm", .begin = "<|im_start|>", .system = "{content}\n\n", .user = "User: {content}<end_of_utterance>\n",
     ANSWER("Assistant: {content}<end_of_utterance>\n"), .ask = "Assistant:"},
    {.name = "dots1", .system = "<|system|>{content}<|endofsystem|>", .user = "<|userprompt|>{content}<|endofuserprompt|>",
     ANSWER("<|response|>{content}<|endofresponse|>"), .ask = "<|response|>"},
    {.name = "hunyuan-moe", .system = "<|startoftext|>{content}<|extra_4|>", .user = "<|startoftext|>{content}<|extra_0|>",
     .assistant = "{content}<|eos|>", .other = "<|startoftext|>{content}<|extra_0|>"},
    {.name = "hunyuan-dense", .system = "{content}<｜hy_place▁holder▁no▁3｜>",
     .user = "<｜hy_User｜>{content}<｜hy_Assistant｜>", .assistant = "<｜hy_Assistant｜>{content}<｜hy_place▁holder▁no▁2｜>",
     .flags = BNF_CHAT_SYSTEM_FIRST},
    {.name = "hunyuan-vl", .begin = "<｜hy_begin▁of▁sentence｜>", .system = "{content}<｜hy_place▁holder▁no▁3｜>",
     .user = "{content}<｜hy_User｜>", .assistant = "{content}<｜hy_Assistant｜>", .flags = BNF_CHAT_SYSTEM_FIRST},
    {.name = "gpt-oss", .system = "<|start|>{role}<|message|>{content}<|end|>",
     .user = "<|start|>{role}<|message|>{content}<|end|>", .assistant = "<|start|>{role}<|message|>{content}<|return|>",
     .other = "<|start|>{role}<|message|>{content}<|end|>", .ask = "<|start|>assistant"},
    {.name = "kimi-k2", .system = "<|im_system|>system<|im_middle|>{content}<|im_end|>",
     .user = "<|im_user|>user<|im_middle|>{content}<|im_end|>",
     .assistant = "<|im_assistant|>assistant<|im_middle|>{content}<|im_end|>", .other = "{content}<|im_end|>",
     .extra = {{"tool", "<|im_system|>tool<|im_middle|>{content}<|im_end|>"}},
     .ask = "<|im_assistant|>assistant<|im_middle|>"},
    {.name = "seed_oss", .system = "<seed:bos>{role}\n{content}<seed:eos>", .user = "<seed:bos>{role}\n{content}<seed:eos>",
     .assistant = "<seed:bos>{role}\n{trim}<seed:eos>", .other = "<seed:bos>{role}\n{content}<seed:eos>",
     .ask = "<seed:bos>assistant\n"},
    {.name = "grok-2", .system = "System: {trim}<|separator|>\n\n", .user = "Human: {trim}<|separator|>\n\n",
     .assistant = "Assistant: {content}<|separator|>\n\n", .ask = "Assistant:"},
    {.name = "pangu-embedded", .no_system = "[unused9]系统：[unused10]", .system = "[unused9]系统：{content}[unused10]",
     .user = "[unused9]用户：{content}[unused10]", .assistant = "[unused9]助手：{content}[unused10]",
     .extra = {{"tool", "[unused9]工具：{content}[unused10]"}, {"function", "[unused9]方法：{content}[unused10]"}},
     .ask = "[unused9]助手："},
    {.name = "solar-open", EVERY_ROLE("<|begin|>{role}<|content|>{content}<|end|>"), .ask = "<|begin|>assistant"},
};

/* A text that has all the marks is of that format. More marks first, where one format's marks are part of another's. */
static const struct {
    const char *format;
    const char *marks[3];
} rules[] = {
    /* bitnet.cpp's converter writes a template of its own into every file, under which the model never stops. */
    {"bitnet", {"BITNETAssistant"}},
    {"phi4", {"<|im_start|>", "<|im_sep|>"}},
    {"smolvlm", {"<|im_start|>", "<end_of_utterance>"}},
    {"smollm", {"<|im_start|>", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}},
    {"chatml", {"<|im_start|>"}},
    {"mistral-v7", {"[INST]", "[SYSTEM_PROMPT]"}},
    {"mistral-v1", {"[INST]", "' [INST] ' + system_message"}},
    {"mistral-v1", {" [INST]", "[AVAILABLE_TOOLS]"}},
    {"mistral-v3-tekken", {"\"[INST]\"", "[AVAILABLE_TOOLS]"}},
    {"mistral-v3", {"[INST]", "[AVAILABLE_TOOLS]"}},
    {"llama2-sys-strip", {"[INST]", "content.strip()"}},
    {"llama2-sys-bos", {"[INST]", "bos_token + '[INST]"}},
    {"llama2-sys", {"[INST]", "<<SYS>>"}},
    {"llama2", {"[INST]"}},
    {"phi3", {"<|assistant|>", "<|end|>"}},
    {"chatglm4", {"[gMASK]<sop>"}},
    {"exaone-moe", {"<|assistant|>", "<|user|>", "<|tool_declare|>"}},
    {"falcon3", {"<|assistant|>", "<|user|>", "</s>"}},
    {"glmedge", {"<|assistant|>", "<|user|>"}},
    {"glmedge", {"<|{{ item['role'] }}|>", "<|begin_of_image|>"}},
    {"zephyr", {"<|user|>", "<|endoftext|>"}},
    {"monarch", {"bos_token + message['role']"}},
    {"gemma", {"<start_of_turn>"}},
    {"orion", {"'\\n\\nAssistant: ' + eos_token"}},
    {"openchat", {"GPT4 Correct "}},
    {"vicuna-orca", {"USER: ", "ASSISTANT: ", "SYSTEM: "}},
    {"vicuna", {"USER: ", "ASSISTANT: "}},
    {"deepseek", {"### Instruction:", "<|EOT|>"}},
    {"command-r", {"<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"}},
    {"llama3", {"<|start_header_id|>", "<|end_header_id|>"}},
    {"bitnet", {"<|eot_id|>", "Assistant: "}},
    {"chatglm3", {"[gMASK]sop"}},
    {"minicpm", {"<用户>"}},
    {"deepseek2", {"'Assistant: ' + message['content'] + eos_token"}},
    {"deepseek3", {"<｜Assistant｜>", "<｜User｜>", "<｜end▁of▁sentence｜>"}},
    {"exaone4", {"[|system|]", "[|endofturn|]", "[|tool|]"}},
    {"exaone3", {"[|system|]", "[|assistant|]", "[|endofturn|]"}},
    {"rwkv-world", {"rwkv-world"}},
    {"rwkv-world", {"{{- 'User: ' + message['content']|trim + '\\n\\n' -}}"}},
    {"granite-4.1", {"<|start_of_role|>", "<tool_call>"}},
    {"granite-4.1", {"<|start_of_role|>", "<tools>"}},
    {"granite", {"<|start_of_role|>"}},
    {"gigachat", {"message['role'] + additional_special_tokens[0] + message['content'] + additional_special_tokens[1]"}},
    {"megrez", {"<|role_start|>"}},
    {"yandex", {" Ассистент:"}},
    {"bailing", {"<role>ASSISTANT</role>", "'HUMAN'"}},
    {"bailing-think", {"<role>ASSISTANT</role>", "\"HUMAN\"", "<think>"}},
    {"bailing2", {"<role>ASSISTANT</role>", "<role>HUMAN</role>", "<|role_end|>"}},
    {"llama4", {"<|header_start|>", "<|header_end|>"}},
    {"dots1", {"<|endofuserprompt|>"}},
    {"hunyuan-moe", {"<|extra_0|>", "<|extra_4|>"}},
    {"gpt-oss", {"<|start|>", "<|channel|>"}},
    {"hunyuan-vl", {"<｜hy_begin▁of▁sentence｜>", "<｜hy_Assistant｜>"}},
    {"hunyuan-dense", {"<｜hy_Assistant｜>", "<｜hy_place▁holder▁no▁3｜>"}},
    {"kimi-k2", {"<|im_assistant|>assistant<|im_middle|>"}},
    {"seed_oss", {"<seed:bos>"}},
    {"grok-2", {"'Assistant: '  + message['content'] + '<|separator|>"}},
    {"pangu-embedded", {"[unused9]系统：[unused10]"}},
    {"solar-open", {"<|begin|>", "<|content|>", "<|end|>"}},
};

#define LEN(array) (sizeof(array) / sizeof(array)[0])

static const struct bnf_chat_format *format_named(const char *name)
{
    for (size_t i = 0; i < LEN(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

const char *bnf_chat_name(size_t i)
{
    return i < LEN(formats) ? formats[i].name : NULL;
}

/* A text that begins with "mistral" is taken for a template with [INST], as in llama.cpp, which once knew formats of that name. */
static bool has_mark(const char *tmpl, const char *mark)
{
    return strstr(tmpl, mark) != NULL || (strcmp(mark, "[INST]") == 0 && strncmp(tmpl, "mistral", 7) == 0);
}

const struct bnf_chat_format *bnf_chat_find(const char *tmpl)
{
    const struct bnf_chat_format *format = format_named(tmpl);
    for (size_t i = 0; format == NULL && i < LEN(rules); i++) {
        size_t n_found = 0;
        while (n_found < LEN(rules[i].marks) && rules[i].marks[n_found] && has_mark(tmpl, rules[i].marks[n_found]))
            n_found++;
        if (n_found == LEN(rules[i].marks) || rules[i].marks[n_found] == NULL)
            format = format_named(rules[i].format);
    }
    return format;
}
