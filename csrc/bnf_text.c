/* Printable names, path tails and a bounded text sink. Used for error sentences, so it must not fail itself.
 * Next: csrc/bnf_error.h. */
#include "bnf_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_TAIL_LEN 200 /* leaves room for 300 bytes of what was wrong in BNF_ERROR_TEXT_SIZE */

const char *bnf_show(const char *data, uint64_t len, char *out)
{
    const uint64_t max_len = BNF_SHOWN_SIZE - 1;
    const uint64_t n = len <= max_len ? len : max_len - 3;
    for (uint64_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)data[i];
        out[i] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    if (n < len)
        memcpy(out + n, "...", 4);
    else
        out[n] = '\0';
    return out;
}

const char *bnf_path_tail(const char *path)
{
    const size_t len = strlen(path);
    if (len <= PATH_TAIL_LEN)
        return path;
    const char *tail = path + (len - PATH_TAIL_LEN);
    while (((unsigned char)*tail & 0xC0) == 0x80)
        tail++;
    return tail;
}

struct bnf_sink bnf_sink_to(char *buf, size_t size)
{
    return (struct bnf_sink){.buf = buf, .size = size};
}

void bnf_sink_put(struct bnf_sink *sink, const char *data, uint64_t len)
{
    if (sink->len < sink->size) {
        const uint64_t room = sink->size - sink->len;
        memcpy(sink->buf + sink->len, data, (size_t)(len < room ? len : room));
    }
    sink->len += len;
}

void bnf_sink_str(struct bnf_sink *sink, const char *text)
{
    bnf_sink_put(sink, text, strlen(text));
}

void bnf_sink_i64(struct bnf_sink *sink, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    bnf_sink_str(sink, text);
}

void bnf_sink_u64(struct bnf_sink *sink, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    bnf_sink_str(sink, text);
}

void bnf_sink_f64(struct bnf_sink *sink, double value)
{
    char text[340]; /* DBL_MAX has 309 digits before the point */
    snprintf(text, sizeof text, "%f", value);
    /* The host's locale chose the decimal point: whatever stands between two digits becomes '.'. */
    const char *p = text;
    while (*p) {
        const size_t n = strspn(p, "-0123456789abcdefghijklmnopqrstuvwxyz");
        bnf_sink_put(sink, p, n);
        p += n;
        if (*p) {
            bnf_sink_put(sink, ".", 1);
            p += strcspn(p, "0123456789");
        }
    }
}

int32_t bnf_sink_end(struct bnf_sink *sink)
{
    if (sink->size > 0)
        sink->buf[sink->len < sink->size ? sink->len : sink->size - 1] = '\0';
    return sink->len > INT32_MAX ? INT32_MAX : (int32_t)sink->len;
}

int32_t bnf_sink_nothing(char *buf, size_t size)
{
    if (buf != NULL && size > 0)
        buf[0] = '\0';
    return -1;
}
