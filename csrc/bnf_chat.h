/* Chat formats as data: what stands around the messages of a conversation, and how to tell a format from the Jinja text of
 * a model's chat template, which is recognised and never run. The texts are those of llama.cpp (src/llama-chat.cpp, 2026),
 * but for `smollm` and `bitnet`, which follow the models' own templates.
 * Next: bnf_chat.c for the formats, bitnet_ffi/_core/api/api_chat.pyx for what reads them. */
#ifndef BNF_CHAT_H
#define BNF_CHAT_H

#include <stddef.h>

enum bnf_chat_flag {
    BNF_CHAT_MERGE_SYSTEM = 1,   /* system messages wait and appear where the next message says {system}, two newlines after */
    BNF_CHAT_SYSTEM_FIRST = 2,   /* a system message after the first message is left out */
    BNF_CHAT_ASK_AFTER_USER = 4, /* `ask` follows when the last message is the user's, whatever the caller wants */
    BNF_CHAT_NONE_IS_NO_SYSTEM = 8, /* `no_system` also where there is no message at all */
};

/* A text is written as it stands, but for
 *   {content}  the message         {role} {Role} {ROLE}  its role as given, its first letter or all of it in capitals (ASCII)
 *   {trim}     ... without white space at both ends      {system}  the system messages that wait */
struct bnf_chat_format {
    const char *name;
    const char *begin;     /* at the very start */
    const char *no_system; /* before the first message when that is no system message */
    const char *between;   /* before every message but the first */
    const char *open;      /* before a message that opens a turn: one after an answer, and the first unless `begin` opened it */
    const char *system, *user, *assistant, *other; /* a message of that role; NULL: left out */
    struct {
        const char *role, *text;
    } extra[2];            /* roles with a text of their own, before `other` is taken */
    const char *ask;       /* at the end: asks the model to answer */
    unsigned flags;
};

/* The format of a template: its name in the table, or a template text. NULL: not recognised. */
const struct bnf_chat_format *bnf_chat_find(const char *tmpl);
/* The i-th name of the table; NULL: there are no more. */
const char *bnf_chat_name(size_t i);

#endif
