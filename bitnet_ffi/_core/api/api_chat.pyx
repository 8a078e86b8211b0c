# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# llama_chat_apply_template: messages to prompt text by one of the formats of csrc/bnf_chat.c.
# Runs no Jinja: a template text is recognised by its marks or refused. Allocates nothing.
# Next: csrc/bnf_chat.h for what a format can say.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, INT32_MAX
from libc.string cimport memcpy, strcmp, strlen, strncmp
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail
from bitnet_ffi._core.bnf_public cimport bool, llama_chat_message, BITNET_ERROR

cdef extern from "bnf_chat.h" nogil:
    enum:
        BNF_CHAT_MERGE_SYSTEM, BNF_CHAT_SYSTEM_FIRST, BNF_CHAT_ASK_AFTER_USER, BNF_CHAT_NONE_IS_NO_SYSTEM
    ctypedef struct chat_extra:
        const char *role
        const char *text
    ctypedef struct bnf_chat_format "struct bnf_chat_format":
        const char *name
        const char *begin
        const char *no_system
        const char *between
        const char *open
        const char *system
        const char *user
        const char *assistant
        const char *other
        chat_extra extra[2]
        const char *ask
        unsigned flags
    const bnf_chat_format *bnf_chat_find(const char *tmpl)
    const char *bnf_chat_name(size_t i)

# The prompt as it grows: only the first `cap` bytes are stored, all are counted.
cdef struct prompt:
    char *text
    int64_t cap
    int64_t len

# The conversation and the place in it.
cdef struct talk:
    const llama_chat_message *messages
    size_t at
    size_t waiting  # first message that may be a system message still to be merged

cdef enum letters:
    AS_GIVEN, CAPITALISED, CAPITALS


cdef const char *or_empty(const char *text) noexcept nogil:
    if text == NULL:
        return ""
    return text


cdef bint is_role(const llama_chat_message *message, const char *role) noexcept nogil:
    return strcmp(or_empty(message.role), role) == 0


cdef void put(prompt *out, const char *text, size_t n) noexcept nogil:
    cdef int64_t room = out.cap - out.len
    if room > 0:
        memcpy(out.text + out.len, text, n if n < <size_t>room else <size_t>room)
    out.len += <int64_t>n


cdef void put_role(prompt *out, const char *role, letters how) noexcept nogil:
    cdef size_t i
    cdef char c
    for i in range(strlen(role)):
        c = role[i]
        if (how == CAPITALS or (how == CAPITALISED and i == 0)) and c >= c'a' and c <= c'z':
            c -= 32
        put(out, &c, 1)


cdef bint is_space(char c) noexcept nogil:
    return c == c' ' or (c >= c'\t' and c <= c'\r')


cdef void put_trimmed(prompt *out, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    while n > 0 and is_space(text[n - 1]):
        n -= 1
    while n > 0 and is_space(text[0]):
        text += 1
        n -= 1
    put(out, text, n)


# The system messages since the last merge, one after the other as they came, then an empty line.
cdef void put_waiting(prompt *out, talk *chat, const char *text) noexcept nogil:
    cdef int64_t start = out.len
    cdef talk system = chat[0]
    system.at = chat.waiting
    while system.at < chat.at:
        if is_role(&chat.messages[system.at], "system"):
            fill_in(out, text, &system, NULL)
        system.at += 1
    chat.waiting = chat.at
    if out.len > start:
        put(out, "\n\n", 2)


# Write a format's text for the message chat.at; `system` is the text that {system} gives each waiting message.
cdef void fill_in(prompt *out, const char *text, talk *chat, const char *system) noexcept nogil:
    cdef const char *role = or_empty(chat.messages[chat.at].role)
    cdef const char *content = or_empty(chat.messages[chat.at].content)
    cdef size_t n
    while text[0] != 0:
        n = 1
        if text[0] != c'{':
            while text[n] != 0 and text[n] != c'{':
                n += 1
            put(out, text, n)
        elif strncmp(text, "{content}", 9) == 0:
            n = 9
            put(out, content, strlen(content))
        elif strncmp(text, "{trim}", 6) == 0:
            n = 6
            put_trimmed(out, content)
        elif strncmp(text, "{role}", 6) == 0:
            n = 6
            put_role(out, role, AS_GIVEN)
        elif strncmp(text, "{Role}", 6) == 0:
            n = 6
            put_role(out, role, CAPITALISED)
        elif strncmp(text, "{ROLE}", 6) == 0:
            n = 6
            put_role(out, role, CAPITALS)
        elif strncmp(text, "{system}", 8) == 0:
            n = 8
            put_waiting(out, chat, system)
        else:
            put(out, text, 1)
        text += n


cdef void put_text(prompt *out, const char *text) noexcept nogil:
    if text != NULL:
        put(out, text, strlen(text))


# The text for a message by its role; NULL: it is left out.
cdef const char *text_for(const bnf_chat_format *format, const llama_chat_message *message, size_t at) noexcept nogil:
    cdef int i
    if is_role(message, "system"):
        if at > 0 and format.flags & BNF_CHAT_SYSTEM_FIRST:
            return NULL
        return format.system
    if is_role(message, "user"):
        return format.user
    if is_role(message, "assistant"):
        return format.assistant
    for i in range(2):
        if format.extra[i].role != NULL and is_role(message, format.extra[i].role):
            return format.extra[i].text
    return format.other


cdef void put_message(prompt *out, const bnf_chat_format *format, talk *chat, bint *in_turn) noexcept nogil:
    cdef const llama_chat_message *message = &chat.messages[chat.at]
    cdef const char *text = text_for(format, message, chat.at)
    cdef bint asks = is_role(message, "system") or is_role(message, "user")
    if chat.at == 0 and not is_role(message, "system"):
        put_text(out, format.no_system)
    if text == NULL or (format.flags & BNF_CHAT_MERGE_SYSTEM and is_role(message, "system")):
        return
    if chat.at > 0:
        put_text(out, format.between)
    if not in_turn[0]:
        put_text(out, format.open)
    in_turn[0] = asks
    fill_in(out, text, chat, format.system)


# NULL is chatml; NULL roles and contents are empty. The result is the length of the whole prompt without a terminator; `buf`
# receives its first `length` bytes, and a terminator where there is room behind them. Negative: not a template we know, or
# no messages at `chat`, with a sentence.
cdef public int32_t llama_chat_apply_template(const char *tmpl, const llama_chat_message *chat, size_t n_msg, bool add_ass,
                                              char *buf, int32_t length) noexcept nogil:
    cdef const bnf_chat_format *format
    cdef prompt out
    cdef talk messages
    cdef bint in_turn
    bnf_clear_error()
    if tmpl == NULL:
        tmpl = "chatml"
    format = bnf_chat_find(tmpl)
    if format == NULL:
        return bnf_fail(BITNET_ERROR, "chat template '%.40s%s': not a name or a text that is recognised", tmpl,
                        "..." if strlen(tmpl) > 40 else "")
    if chat == NULL and n_msg > 0:
        return bnf_fail(BITNET_ERROR, "llama_chat_apply_template: %zu messages at NULL", n_msg)
    out.text = buf
    out.cap = 0 if buf == NULL else length
    out.len = 0
    messages.messages = chat
    messages.waiting = 0
    messages.at = 0
    in_turn = format.begin != NULL
    put_text(&out, format.begin)
    if n_msg == 0 and format.flags & BNF_CHAT_NONE_IS_NO_SYSTEM:
        put_text(&out, format.no_system)
    while messages.at < n_msg:
        put_message(&out, format, &messages, &in_turn)
        messages.at += 1
    if format.flags & BNF_CHAT_ASK_AFTER_USER:
        add_ass = n_msg > 0 and is_role(&chat[n_msg - 1], "user")
    if add_ass:
        put_text(&out, format.ask)
    if out.len > INT32_MAX:
        return bnf_fail(BITNET_ERROR, "llama_chat_apply_template: the prompt has %lld bytes, more than an int32_t counts",
                        <long long>out.len)
    if out.len < out.cap:
        buf[out.len] = 0
    return <int32_t>out.len


cdef public int32_t llama_chat_builtin_templates(const char **output, size_t len) noexcept nogil:
    cdef size_t n = 0
    if output == NULL and len > 0:
        return bnf_fail(BITNET_ERROR, "llama_chat_builtin_templates: output is NULL but len is %zu", len)
    while bnf_chat_name(n) != NULL:
        if n < len:
            output[n] = bnf_chat_name(n)
        n += 1
    return <int32_t>n
