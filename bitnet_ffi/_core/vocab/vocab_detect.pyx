# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Which pre-tokenizer a vocabulary was trained with, for files that do not say: first by tokens that give a known vocabulary
# away (bnf_pre_prints), then by what its tokens are made of. A token cannot cross a cut, so what never stands together in
# any of many thousand tokens was cut apart, and what does was not.
# Next: vocab.pyx asks, and logs the answer as a repair; the table is in csrc/bnf_vocab_names.c.

from libc.stdint cimport uint8_t, int32_t, uint32_t
from libc.string cimport memcmp, strlen
from bitnet_ffi._core.bnf_public cimport bool, LLAMA_TOKEN_ATTR_NORMAL
from bitnet_ffi._core.bnf_vocab cimport bnf_pre_prints, bnf_strings_get, bnf_vocab_t

cdef enum:
    ENOUGH = 8192     # ordinary tokens; fewer say too little
    SOME = 256        # one token in this many is a habit of the vocabulary; GPT-2's and Llama 3's have none, or one in 7


cdef inline bool is_digit(uint8_t c) noexcept nogil:
    return c >= c'0' and c <= c'9'


cdef inline bool is_lower(uint8_t c) noexcept nogil:
    return c >= c'a' and c <= c'z'


cdef inline bool is_upper(uint8_t c) noexcept nogil:
    return c >= c'A' and c <= c'Z'


cdef bool has_text(const bnf_vocab_t *v, int32_t token, const char *text) noexcept nogil:
    cdef uint32_t length = 0
    cdef const uint8_t *bytes
    if token >= v.n_tokens:
        return False
    bytes = bnf_strings_get(&v.text, <uint32_t>token, &length)
    return length == strlen(text) and memcmp(bytes, text, length) == 0


# What is counted. Capitals of two-case words and marks before letters are ASCII, where every family's rule shows.
cdef struct Habits:
    int32_t n            # ordinary tokens
    int32_t marked       # a mark and letters: "(x", ".get"
    int32_t camels       # a capital behind a small letter: "eBay"
    int32_t numbers      # two digits or more
    int32_t led_numbers  # a space and digits


cdef void count(const uint8_t *text, uint32_t length, Habits *habits) noexcept nogil:
    cdef uint32_t i = 0, n_digits = 0, n_letters = 0
    cdef bool led = length > 2 and text[0] == 0xC4 and text[1] == 0xA0   # a space, in the byte alphabet
    cdef bool marked, camel = False
    if led:
        i = 2
    marked = not led and text[0] > c' ' and text[0] < 0x7F and not is_digit(text[0]) and not is_lower(text[0]) \
        and not is_upper(text[0]) and text[0] != c"'"
    if marked:
        i = 1
    while i < length:
        n_digits += is_digit(text[i])
        n_letters += is_lower(text[i]) or is_upper(text[i])
        camel = camel or (i > 0 and is_upper(text[i]) and is_lower(text[i - 1]))
        i += 1
    if marked:
        habits.marked += n_letters == length - 1 and n_letters > 1
    elif n_letters == length - (2 if led else 0):
        habits.camels += camel
    elif n_digits == length - (2 if led else 0):
        habits.led_numbers += led
        habits.numbers += not led and n_digits > 1


cdef const char *by_habits(const bnf_vocab_t *v) noexcept nogil:
    cdef Habits habits
    cdef uint32_t length = 0
    cdef const uint8_t *text
    cdef int32_t i
    habits.n = 0
    habits.marked = 0
    habits.camels = 0
    habits.numbers = 0
    habits.led_numbers = 0
    for i in range(v.n_tokens):
        if v.attr[i] == LLAMA_TOKEN_ATTR_NORMAL:
            text = bnf_strings_get(&v.text, <uint32_t>i, &length)
            habits.n += 1
            count(text, length, &habits)
    if habits.n < ENOUGH:
        return "default"
    if habits.marked < habits.n / SOME:   # only a space leads a word: GPT-2 and what follows it
        return "starcoder" if habits.numbers == 0 and habits.led_numbers == 0 else "gpt-2"
    if habits.camels == 0:
        return "gpt-4o" if habits.numbers else "tekken"
    return "dbrx" if habits.numbers else "qwen2"


cdef public const char *bnf_vocab_detect(const bnf_vocab_t *vocab, const char **why) noexcept nogil:
    cdef size_t i = 0
    while bnf_pre_prints[i].pre != NULL:
        if (bnf_pre_prints[i].n_tokens == 0 or bnf_pre_prints[i].n_tokens == vocab.n_tokens) \
                and has_text(vocab, bnf_pre_prints[i].token, bnf_pre_prints[i].text) \
                and has_text(vocab, bnf_pre_prints[i].other, bnf_pre_prints[i].other_text):
            why[0] = bnf_pre_prints[i].whose
            return bnf_pre_prints[i].pre
        i += 1
    why[0] = NULL
    return by_habits(vocab)
