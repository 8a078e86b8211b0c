/* Regular expressions for the triggers of lazy grammars: the ECMAScript syntax of C++'s std::regex over bytes, in time linear in
 * the text, whatever the pattern. No back references and no look-ahead: a pattern with them is refused with a sentence. */
#ifndef BNF_REGEX_H
#define BNF_REGEX_H

#include <stdbool.h>
#include <stddef.h>

struct bnf_regex;

/* NULL + last error when the pattern is wrong, too long or there is no memory. */
struct bnf_regex *bnf_regex_new(const char *pattern);
void bnf_regex_free(struct bnf_regex *regex); /* accepts NULL */

enum bnf_regex_result { BNF_REGEX_NO, BNF_REGEX_YES, BNF_REGEX_NO_MEMORY };

/* The leftmost match in the text (of the whole text, if `whole`). *start: where its first group that is not empty begins, or the
 * match itself. Alternatives and lazy repetitions have their usual priority. */
enum bnf_regex_result bnf_regex_find(const struct bnf_regex *regex, const char *text, size_t len, bool whole, size_t *start);

#endif
