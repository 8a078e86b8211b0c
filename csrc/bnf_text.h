/* Text for messages and for clients: names from files made safe to print, numbers written the same in every locale.
 * Nothing here allocates or fails. */
#ifndef BNF_TEXT_H
#define BNF_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define BNF_SHOWN_SIZE 80 /* bytes of a shown name, its NUL included */

/* A name that a file gave, as it may stand in a sentence: bytes outside printable ASCII become '?', a long name ends in
 * "...". Writes to out[BNF_SHOWN_SIZE] and returns it. */
const char *bnf_show(const char *data, uint64_t len, char *out);

/* The end of a path that is too long for a sentence (a pointer into path, at a UTF-8 boundary), else the path itself. */
const char *bnf_path_tail(const char *path);

/* A caller's buffer being filled by snprintf's rules: what does not fit is counted but not written. */
struct bnf_sink {
    char *buf;    /* may be NULL when size is 0 */
    size_t size;
    uint64_t len; /* of the whole text so far */
};

struct bnf_sink bnf_sink_to(char *buf, size_t size);
void bnf_sink_put(struct bnf_sink *sink, const char *data, uint64_t len);
void bnf_sink_str(struct bnf_sink *sink, const char *text);
void bnf_sink_i64(struct bnf_sink *sink, int64_t value);
void bnf_sink_u64(struct bnf_sink *sink, uint64_t value);
void bnf_sink_f64(struct bnf_sink *sink, double value); /* six decimals and a point, as printf's %f in the C locale */
/* End the text with a NUL if there is a buffer; the full length, at most INT32_MAX. */
int32_t bnf_sink_end(struct bnf_sink *sink);
/* What a caller's buffer gets when there is nothing to write: "", and -1 to return. */
int32_t bnf_sink_nothing(char *buf, size_t size);

#endif
