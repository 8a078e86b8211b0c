/* The families of pre-tokenizers: for each its expressions in order, and for each expression a function that cuts off the
 * first piece of a stretch. As in llama.cpp an expression cuts every piece of the one before into its matches and what lies
 * between them, and sees nothing beyond that piece. \s is any white space of Unicode; \d, A-Z and the like are ASCII.
 * Next: bnf_split_words.h (the large expressions), tests_py/test_split.py (llama.cpp's own cuts). */
#include "bnf_split.h"

#include "bnf_split_words.h"

typedef const uint8_t *cut_fn(struct bnf_split *split, const uint8_t *p, const uint8_t *stop);

/* ---- runs of a class, and what lies between ---- */

typedef int class_fn(const uint8_t *p, const uint8_t **next); /* 0: in no class of the expression */

/* [class]+ or, with `most`, [class]{1,most}. */
INLINE const uint8_t *run(const uint8_t *p, const uint8_t *stop, class_fn *class, uint32_t most)
{
    const uint8_t *next, *after;
    const int first = class(p, &next);
    uint32_t n = 1;
    while (next < stop && (first == 0 || n < most) && class(next, &after) == first) {
        next = after;
        n++;
    }
    return next;
}

enum lead { SPACE, WHITE }; /* what may stand in front of a run: " ?" or "\s?" */

INLINE bool leads(const uint8_t *p, enum lead lead)
{
    const uint8_t *next;
    return lead == SPACE ? *p == ' ' : (bnf_utf8_set(p, &next) & BNF_IN_S) != 0;
}

/* " ?[class]+" or "\s?[class]+". No class has white space in it. */
INLINE const uint8_t *led_run(const uint8_t *p, const uint8_t *stop, class_fn *class, enum lead lead)
{
    const uint8_t *next, *after;
    if (class(p, &next))
        return run(p, stop, class, UINT32_MAX);
    if (leads(p, lead) && next < stop && class(next, &after))
        return run(next, stop, class, UINT32_MAX);
    while (next < stop) {
        p = next;
        if (class(p, &next) || (leads(p, lead) && next < stop && class(next, &after)))
            return p;
    }
    return next;
}

struct range { uint32_t first, last; };

INLINE bool in_ranges(uint32_t c, const struct range *ranges, size_t n)
{
    size_t low = 0;
    while (n > 0) { /* the range that holds c, if any, is among the n from low on */
        const size_t half = n / 2;
        if (c > ranges[low + half].last) {
            low += half + 1;
            n -= half + 1;
        } else if (c < ranges[low + half].first) {
            n = half;
        } else {
            return true;
        }
    }
    return false;
}

#define IN_RANGES(c, ranges) in_ranges(c, ranges, sizeof(ranges) / sizeof((ranges)[0]))

INLINE int numbers(const uint8_t *p, const uint8_t **next) { return (bnf_utf8_set(p, next) & BNF_IN_N) != 0; }
INLINE int all_letters(const uint8_t *p, const uint8_t **next) { return (bnf_utf8_set(p, next) & BNF_IN_L) != 0; }
INLINE int punctuation(const uint8_t *p, const uint8_t **next) { return (bnf_utf8_set(p, next) & BNF_IN_P) != 0; }

INLINE int white_space(const uint8_t *p, const uint8_t **next) { return (bnf_utf8_set(p, next) & BNF_IN_S) != 0; }

INLINE int line_ends(const uint8_t *p, const uint8_t **next)
{
    bnf_utf8_char(p, next);
    return is_line(*p);
}

INLINE int line_feeds(const uint8_t *p, const uint8_t **next)
{
    bnf_utf8_char(p, next);
    return *p == '\n';
}

/* [\p{P}$+<=>^~|`] and [\p{P}!-/:-@\[-`{-~] : all marks of ASCII, and punctuation */
INLINE int all_marks(const uint8_t *p, const uint8_t **next)
{
    return (bnf_utf8_set(p, next) & (*p < 0x80 ? BNF_IN_P | BNF_IN_SYMBOL : BNF_IN_P)) != 0;
}

/* [\p{P}$+<=>^~|] */
INLINE int default_marks(const uint8_t *p, const uint8_t **next) { return all_marks(p, next) && *p != '`'; }

/* The letters that DeepSeek LLM lists: those of scripts with two cases. */
INLINE int cased_scripts(const uint8_t *p, const uint8_t **next)
{
    static const struct range ranges[] = {
        {0xB5, 0xB5}, {0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x1BA}, {0x1BC, 0x1BF}, {0x1C4, 0x293},
        {0x295, 0x2AF}, {0x370, 0x373}, {0x376, 0x377}, {0x37B, 0x37D}, {0x37F, 0x37F}, {0x386, 0x386}, {0x388, 0x38A},
        {0x38C, 0x38C}, {0x38E, 0x3A1}, {0x3A3, 0x3F5}, {0x3F7, 0x481}, {0x48A, 0x52F}, {0x531, 0x556}, {0x10A0, 0x10C5},
        {0x13A0, 0x13F5}, {0x13F8, 0x13FD}, {0x1C90, 0x1CBA}, {0x1CBD, 0x1CBF}, {0x1D00, 0x1D2B}, {0x1D6B, 0x1D77},
        {0x1D79, 0x1D9A}, {0x1E00, 0x1F15}, {0x1F18, 0x1F1D}, {0x1F20, 0x1F45}, {0x1F48, 0x1F4D}, {0x1F50, 0x1F57},
        {0x1F59, 0x1F59}, {0x1F5B, 0x1F5B}, {0x1F5D, 0x1F5D}, {0x1F5F, 0x1F7D}, {0x1F80, 0x1FB4}, {0x1FB6, 0x1FBC},
        {0x1FBE, 0x1FBE}, {0x1FC2, 0x1FC4}, {0x1FC6, 0x1FCC}, {0x1FD0, 0x1FD3}, {0x1FD6, 0x1FDB}, {0x1FE0, 0x1FEC},
        {0x1FF2, 0x1FF4}, {0x1FF6, 0x1FFC}, {0x2102, 0x2102}, {0x2107, 0x2107}, {0x210A, 0x2113}, {0x2115, 0x2115},
        {0x2119, 0x211D}, {0x2124, 0x2124}, {0x2126, 0x2126}, {0x2128, 0x2128}, {0x212A, 0x212D}, {0x212F, 0x2134},
        {0x2139, 0x2139}, {0x213C, 0x213F}, {0x2145, 0x2149}, {0x214E, 0x214E}, {0x2183, 0x2184}, {0x2C00, 0x2C7B},
        {0x2C7E, 0x2CE4}, {0x2CEB, 0x2CEE}, {0x2CF2, 0x2CF3}, {0xA640, 0xA66D}, {0xA680, 0xA69B}, {0xA722, 0xA76F},
        {0xA771, 0xA787}, {0xA78B, 0xA78E}, {0xAB70, 0xABBF}, {0xFB00, 0xFB06}, {0xFB13, 0xFB17}, {0xFF21, 0xFF3A},
        {0xFF41, 0xFF5A}, {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2},
        {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
    };
    const uint32_t c = bnf_utf8_char(p, next);
    return c < 0x80 ? is_lower(*p) || is_upper(*p) : IN_RANGES(c, ranges);
}

/* [!-/:-~！-／：-～‘-‟　-。], which takes in the letters of ASCII and leaves out U+3000, white space */
INLINE int deepseek_marks(const uint8_t *p, const uint8_t **next)
{
    const uint32_t c = bnf_utf8_char(p, next);
    if (c < 0x80)
        return c > ' ' && c < 0x7F && !is_digit(*p);
    return (c >= 0x2018 && c <= 0x201F) || (c >= 0x3001 && c <= 0x3002) || (c >= 0xFF01 && c <= 0xFF0F) || (c >= 0xFF1A && c <= 0xFF5E);
}

/* [一-龥ࠀ-一가-퟿] but white space */
INLINE int deepseek_scripts(const uint8_t *p, const uint8_t **next)
{
    const uint32_t c = bnf_utf8_char(p, next);
    return ((c >= 0x800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF)) && !(bnf_category_set(c) & BNF_IN_S);
}

/* [一-龥぀-ゟ゠-ヿ] */
INLINE int han_or_kana(const uint8_t *p, const uint8_t **next)
{
    const uint32_t c = bnf_utf8_char(p, next);
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

/* Four classes: [가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+ */
INLINE int youtu_scripts(const uint8_t *p, const uint8_t **next)
{
    static const struct range marks[] = {{0x2014, 0x2014}, {0x2018, 0x2019}, {0x201C, 0x201D}, {0x2026, 0x2026}, {0x3001, 0x303F},
                                         {0xFE30, 0xFE4F}, {0xFF01, 0xFF01}, {0xFF0C, 0xFF0C}, {0xFF1A, 0xFF1B}};
    const uint32_t c = bnf_utf8_char(p, next);
    if (c < 0x2014)
        return 0;
    if ((c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x3131 && c <= 0x318E))
        return 1;
    if (c >= 0x3105 && c <= 0x312F)
        return 2;
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF) ? 3 : IN_RANGES(c, marks) ? 4 : 0;
}

/* The scripts of AFMoE. U+8C48 to U+FAFF is what llama.cpp's source says; U+F900 was meant. */
INLINE int afmoe_scripts(const uint8_t *p, const uint8_t **next)
{
    static const struct range ranges[] = {{0xE40, 0xEFF}, {0x1000, 0x109F}, {0x1100, 0x11FF}, {0x1780, 0x17FF}, {0x2F00, 0x2FDF},
                                          {0x3040, 0x30FF}, {0x3400, 0x4DBF}, {0x4E00, 0xFAFF}, {0xFF65, 0xFF9F}};
    return IN_RANGES(bnf_utf8_char(p, next), ranges);
}

/* [^(\s|.,!?…。，、।۔،)] */
INLINE int poro_words(const uint8_t *p, const uint8_t **next)
{
    const uint32_t c = bnf_utf8_char(p, next);
    switch (c) {
    case '(': case ')': case '|': case '.': case ',': case '!': case '?':
    case 0x60C: case 0x6D4: case 0x964: case 0x2026: case 0x3001: case 0x3002: case 0xFF0C:
        return 0;
    default:
        return !(bnf_category_set(c) & BNF_IN_S);
    }
}

#define CUT(name) static const uint8_t *name(struct bnf_split *split, const uint8_t *p, const uint8_t *stop)

/* Is [p, stop), a word of GPT-2's or what is left of one, free of numbers? Its first character tells, behind a space. */
INLINE bool has_no_number(const uint8_t *p, const uint8_t *stop)
{
    if (*p == ' ' && stop - p > 1)
        p++;
    return *p < 0x80 && !is_digit(*p);
}

#define RUNS(name, class, most) CUT(name) { (void)split; return run(p, stop, class, most); }
#define LED_RUNS(name, class, lead) CUT(name) { (void)split; return led_run(p, stop, class, lead); }

RUNS(cut_number, numbers, 1)                          /* \p{N} */
RUNS(cut_three_numbers, numbers, 3)                   /* \p{N}{1,3} */
RUNS(cut_numbers, numbers, UINT32_MAX)                /* \p{N}+ */
RUNS(cut_line_end, line_ends, 1)                      /* [\r\n] */
RUNS(cut_lines, line_feeds, UINT32_MAX)               /* [^\n]+|[\n]+ */
RUNS(cut_white, white_space, UINT32_MAX)             /* \S+|\s+ */
RUNS(cut_mark, all_marks, 1)
RUNS(cut_default_marks, default_marks, UINT32_MAX)
RUNS(cut_falcon_marks, all_marks, UINT32_MAX)
RUNS(cut_han_or_kana, han_or_kana, UINT32_MAX)
RUNS(cut_deepseek_scripts, deepseek_scripts, UINT32_MAX)
RUNS(cut_youtu_scripts, youtu_scripts, UINT32_MAX)
RUNS(cut_afmoe_scripts, afmoe_scripts, UINT32_MAX)
LED_RUNS(cut_cased_scripts, cased_scripts, WHITE)     /* \s?[...]+ */
LED_RUNS(cut_deepseek_marks, deepseek_marks, WHITE)
LED_RUNS(cut_letters, all_letters, WHITE)             /* \s?\p{L}+ */
LED_RUNS(cut_punctuation, punctuation, WHITE)         /* \s?\p{P}+ */
LED_RUNS(cut_poro_words, poro_words, SPACE)           /* " ?[^...]+" */

/* \p{N}+ in the words of GPT-2 */
CUT(cut_numbers_of_words)
{
    (void)split;
    return has_no_number(p, stop) ? stop : run(p, stop, numbers, UINT32_MAX);
}

/* \s+$ : the white space at the end of the stretch, and what comes before it. */
CUT(cut_last_spaces)
{
    const uint8_t *e = stop, *next;
    (void)split;
    while (e > p) {
        const uint8_t *last = e - 1;
        while (last > p && (*last & 0xC0) == 0x80)
            last--;
        if (!(bnf_utf8_set(last, &next) & BNF_IN_S))
            break;
        e = last;
    }
    return e > p ? e : stop;
}

/* ---- digits ---- */

INLINE bool is_triple(const uint8_t *p, const uint8_t *stop)
{
    return stop - p >= 3 && is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]);
}

/* [0-9][0-9][0-9] in the words of GPT-2 */
CUT(cut_triples)
{
    (void)split;
    if (has_no_number(p, stop))
        return stop;
    if (is_triple(p, stop))
        return p + 3;
    do
        p++;
    while (p < stop && !is_triple(p, stop));
    return p;
}

INLINE size_t count_digits(const uint8_t *p, const uint8_t *stop)
{
    const uint8_t *first = p;
    while (p < stop && is_digit(*p))
        p++;
    return (size_t)(p - first);
}

/* (?=(\d{3})+(?!\d)) matches nothing, before each third digit from the end of a run: a piece ends before the next match.
 * A piece that begins with a digit behind a digit began at a match, so a multiple of three is left of its run. */
CUT(cut_before_triples)
{
    size_t n;
    if (is_digit(*p) && p > split->begin && is_digit(p[-1]))
        n = stop - p > 3 && is_digit(p[3]) ? 6 : 3; /* more than three, or three */
    else
        n = count_digits(p, stop);
    if (n > 3)
        return p + (n % 3 ? n % 3 : 3);
    for (p += n; p < stop; p += n) { /* behind a run without another match */
        while (p < stop && !is_digit(*p))
            p++;
        n = count_digits(p, stop);
        if (n >= 3)
            return p + n % 3;
    }
    return stop;
}

/* Numbers in threes from the right, as AFMoE wants them. What comes before a number stays with its first part: that is how
 * llama.cpp cuts, here and for Tiny Aya. Between two numbers there is something else, so a piece that begins with a number
 * behind a number is inside of one, with a multiple of three to go. */
CUT(cut_threes)
{
    const uint8_t *next, *before = p;
    size_t n = 0;
    bool inside = false;
    if (p > split->begin) {
        do
            before--;
        while (before > split->begin && (*before & 0xC0) == 0x80);
        inside = bnf_utf8_set(before, &next) & BNF_IN_N && bnf_utf8_set(p, &next) & BNF_IN_N;
    }
    while (p < stop && !(bnf_utf8_set(p, &next) & BNF_IN_N))
        p = next;
    if (!inside) {
        for (const uint8_t *at = p; at < stop && bnf_utf8_set(at, &next) & BNF_IN_N; at = next)
            n++;
        n %= 3;
    }
    return skip_most(p, stop, BNF_IN_N, n ? (uint32_t)n : 3);
}

/* ---- Chameleon's ---- */

/* Length of <sentinel:[0-9]+> at p, or 0. */
INLINE size_t sentinel(const uint8_t *p, const uint8_t *stop)
{
    size_t n = 10;
    if (*p != '<' || stop - p < 12 || memcmp(p, "<sentinel:", n) != 0 || !is_digit(p[n]))
        return 0;
    while (p + n < stop && is_digit(p[n]))
        n++;
    return p + n < stop && p[n] == '>' ? n + 1 : 0;
}

/* Length of IMGIMG[A-I]{1,4}Z at p, or 0. */
INLINE size_t image_token(const uint8_t *p, const uint8_t *stop)
{
    size_t n = 6;
    if (*p != 'I' || stop - p < 8 || memcmp(p, "IMGIMG", n) != 0)
        return 0;
    while (p + n < stop && n < 10 && p[n] >= 'A' && p[n] <= 'I')
        n++;
    return n > 6 && p + n < stop && p[n] == 'Z' ? n + 1 : 0;
}

/* Length of ([\t\n]|    |  ) at p, or 0. */
INLINE size_t indent(const uint8_t *p, const uint8_t *stop)
{
    if (*p == '\t' || *p == '\n')
        return 1;
    if (*p != ' ' || stop - p < 2 || p[1] != ' ')
        return 0;
    return stop - p >= 4 && p[2] == ' ' && p[3] == ' ' ? 4 : 2;
}

#define MATCHES(name, match) \
    CUT(name) \
    { \
        const size_t n = match(p, stop); \
        (void)split; \
        if (n) \
            return p + n; \
        do \
            p++; \
        while (p < stop && !match(p, stop)); \
        return p; \
    }

MATCHES(cut_sentinels, sentinel)
MATCHES(cut_images, image_token)
MATCHES(cut_indents, indent)

/* ---- the large expressions: bnf_split_words.h ---- */

CUT(cut_gpt2)
{
    (void)split;
    return gpt2_word(p, stop);
}

#define BY_STYLE(name, ...) \
    CUT(name) { const struct style st = {__VA_ARGS__}; return piece(split, p, stop, st); }
#define LLAMA3 .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = 3, \
               .contraction = CONTRACTION_FIRST, .tail = TAIL_LINES
#define QWEN2 .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = 1, .tail = TAIL_LINES
#define O200K .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .tail = TAIL_SLASHES
#define DEEPSEEK3 .letters = LETTERS_OR_ACCENTS, .barred = BNF_IN_L | BNF_IN_P | BNF_IN_SYMBOL, .marks = BNF_IN_P | BNF_IN_SYMBOL, \
                  .tagged = true

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * where case is folded for ASCII only; the ones below say what is different */
BY_STYLE(cut_llama3, LLAMA3)
/* \p{N} */
BY_STYLE(cut_qwen2, QWEN2, .contraction = CONTRACTION_FIRST)
/* \p{N} and no contractions: Turkish has other suffixes behind an apostrophe */
BY_STYLE(cut_ufakzeka, QWEN2)
/* \p{N}, and [\p{L}\p{M}] for \p{L} */
BY_STYLE(cut_qwen35, .letters = LETTERS_OR_ACCENTS, .barred = BNF_IN_L | BNF_IN_N,
         .marks = ~(uint32_t)(LETTERS_OR_ACCENTS | BNF_IN_N | BNF_IN_S), .n_digits = 1, .contraction = CONTRACTION_FIRST,
         .tail = TAIL_LINES)
/* \p{N}, and no [\r\n]* after marks */
BY_STYLE(cut_seed_coder, .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = 1,
         .contraction = CONTRACTION_FIRST)
/* \p{N}+ */
BY_STYLE(cut_minicpm5, .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = UINT32_MAX,
         .contraction = CONTRACTION_FIRST, .tail = TAIL_LINES)
/* white space without a line end in powers of two */
BY_STYLE(cut_jais2, LLAMA3, .white = WHITE_DOUBLED)
/* \p{N}, [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ and [\r\n/]? after marks */
BY_STYLE(cut_exaone_moe, .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = 1,
         .contraction = CONTRACTION_FIRST, .tail = TAIL_ONE, .phrases = true)
/* [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
BY_STYLE(cut_deepseek3, DEEPSEEK3, .tail = TAIL_LINES)
/* ... ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+ */
BY_STYLE(cut_spark, DEEPSEEK3, .white = WHITE_ONE_LINE)
/* [^\r\n\p{L}\p{N}]?(cased letters)(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
BY_STYLE(cut_gpt4o, O200K, .letters = BNF_IN_L, .n_digits = 3, .contraction = CONTRACTION_LAST, .cased = true)
/* \p{N}, no contractions */
BY_STYLE(cut_tekken, O200K, .letters = BNF_IN_L, .n_digits = 1, .cased = true)
/* with \p{M} among the letters */
BY_STYLE(cut_granite_emb, O200K, .letters = LETTERS_OR_ACCENTS, .n_digits = 3, .contraction = CONTRACTION_LAST, .cased = true)
/* and without a look at their case, which llama.cpp's \p{Lu} and \p{Ll} do not take */
BY_STYLE(cut_tiny_aya, O200K, .letters = LETTERS_OR_ACCENTS, .n_digits = 3, .contraction = CONTRACTION_LAST)
BY_STYLE(cut_youtu, O200K, .letters = LETTERS_OR_ACCENTS, .n_digits = 1, .contraction = CONTRACTION_LAST)
/* Han+, then as o200k but without case, slashes or Han in words */
BY_STYLE(cut_kimi, .letters = BNF_IN_L, .barred = BNF_IN_L | BNF_IN_N, .marks = NOT_WORD, .n_digits = 3,
         .contraction = CONTRACTION_LAST, .tail = TAIL_LINES, .han = true)

/* ---- the families ---- */

static cut_fn *const families[BNF_N_PRES][BNF_MOST_CUTS] = {
    [BNF_PRE_DEFAULT] = {cut_default_marks, cut_gpt2, cut_numbers_of_words, cut_triples},
    [BNF_PRE_GPT2] = {cut_gpt2},
    [BNF_PRE_LLAMA3] = {cut_llama3},
    [BNF_PRE_SMOLLM] = {cut_number, cut_gpt2},
    [BNF_PRE_FALCON] = {cut_falcon_marks, cut_gpt2, cut_triples},
    [BNF_PRE_QWEN2] = {cut_qwen2},
    [BNF_PRE_QWEN35] = {cut_qwen35},
    [BNF_PRE_UFAKZEKA] = {cut_ufakzeka},
    [BNF_PRE_SEED_CODER] = {cut_seed_coder},
    [BNF_PRE_MINICPM5] = {cut_three_numbers, cut_minicpm5},
    [BNF_PRE_JAIS2] = {cut_jais2},
    [BNF_PRE_LAGUNA] = {cut_lines, cut_qwen2},
    [BNF_PRE_EXAONE_MOE] = {cut_exaone_moe},
    [BNF_PRE_DEEPSEEK_LLM] = {cut_line_end, cut_cased_scripts, cut_deepseek_marks, cut_last_spaces, cut_deepseek_scripts, cut_numbers},
    [BNF_PRE_DEEPSEEK_CODER] = {cut_line_end, cut_letters, cut_punctuation, cut_deepseek_scripts, cut_number},
    [BNF_PRE_DEEPSEEK3] = {cut_three_numbers, cut_han_or_kana, cut_deepseek3},
    [BNF_PRE_SPARK] = {cut_three_numbers, cut_han_or_kana, cut_spark, cut_number},
    [BNF_PRE_AFMOE] = {cut_threes, cut_afmoe_scripts, cut_deepseek3},
    [BNF_PRE_TEKKEN] = {cut_tekken},
    [BNF_PRE_GPT4O] = {cut_gpt4o},
    [BNF_PRE_GRANITE_EMB] = {cut_granite_emb},
    [BNF_PRE_TINY_AYA] = {cut_threes, cut_tiny_aya},
    [BNF_PRE_YOUTU] = {cut_youtu_scripts, cut_youtu},
    [BNF_PRE_KIMI_K2] = {cut_kimi},
    [BNF_PRE_PORO] = {cut_poro_words},
    [BNF_PRE_VIKING] = {cut_poro_words, cut_number},
    [BNF_PRE_SUPERBPE] = {cut_numbers, cut_before_triples},
    [BNF_PRE_GEMMA4] = {cut_lines},
    [BNF_PRE_SARVAM_MOE] = {cut_lines},
    [BNF_PRE_WHITESPACE] = {cut_white},
    [BNF_PRE_CHAMELEON] = {cut_sentinels, cut_images, cut_indents, cut_number, cut_mark, cut_gpt2},
};

void bnf_split_start(struct bnf_split *split, int32_t pre, const uint8_t *text, size_t len)
{
    split->pos = split->begin = split->clear = text;
    split->end = text + len;
    split->pre = pre;
    split->n_cuts = 0;
    while (split->n_cuts < BNF_MOST_CUTS && families[pre][split->n_cuts] != NULL)
        split->stop[split->n_cuts++] = text;
}

const uint8_t *bnf_split_next(struct bnf_split *split)
{
    const int32_t last = split->n_cuts - 1;
    int32_t i = last;
    while (i > 0 && split->stop[i - 1] == split->pos)
        i--;
    const uint8_t *stop = i > 0 ? split->stop[i - 1] : split->end;
    for (; i <= last; i++)
        stop = split->stop[i] = families[split->pre][i](split, split->pos, stop);
    return split->pos = stop;
}
