// bnf_regex beside std::regex: random patterns over random texts, and what a pattern must not cost.
#include <catch2/catch.hpp>

#include <chrono>
#include <random>
#include <regex>
#include <string>

extern "C" {
#include "bnf_error.h"
#include "bnf_regex.h"
}

namespace {

std::mt19937 generator(11);

int below(int n)
{
    return static_cast<int>(generator() % static_cast<unsigned>(n));
}

// No quantifier on what may be empty: there std::regex numbers its groups in a way of its own.
std::string random_pattern(int depth)
{
    static const char *const atoms[] = {"a", "b", "c", "[ab]", "[^a]", ".", "\\w", "\\s", "x1", "\\."};
    static const char *const quantifiers[] = {"", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?"};
    std::string pattern;
    for (int i = 1 + below(3); i > 0; i--) {
        if (depth > 0 && below(3) == 0)
            pattern += (below(2) ? "(" : "(?:") + random_pattern(depth - 1) + (below(2) ? "|" + random_pattern(depth - 1) : "") + ")";
        else {
            pattern += atoms[below(10)];
            if (pattern.size() < 2 || pattern.compare(pattern.size() - 2, 2, "x1") != 0)
                pattern += quantifiers[below(12)];
        }
    }
    return pattern;
}

size_t start_of(const std::smatch &match)
{
    for (size_t g = 1; g < match.size(); g++)
        if (match.length(g) > 0)
            return static_cast<size_t>(match.position(g));
    return static_cast<size_t>(match.position(0));
}

} // namespace

TEST_CASE("matches begin where std::regex has them")
{
    static const char letters[] = "abcx1 .\n";
    int n_found = 0;
    for (int round = 0; round < 3000; round++) {
        std::string pattern = random_pattern(2);
        if (below(6) == 0)
            pattern = "^" + pattern + "$";
        std::string text;
        for (int n = below(12); n > 0; n--)
            text += letters[below(8)];
        struct bnf_regex *regex = bnf_regex_new(pattern.c_str());
        INFO(pattern << " in '" << text << "': " << bnf_error_text());
        REQUIRE(regex != nullptr);
        const std::regex expected(pattern);
        std::smatch match;
        for (const bool whole : {false, true}) {
            size_t start = 0;
            const bool found = whole ? std::regex_match(text, match, expected) : std::regex_search(text, match, expected);
            REQUIRE(bnf_regex_find(regex, text.data(), text.size(), whole, &start) == (found ? BNF_REGEX_YES : BNF_REGEX_NO));
            if (found) {
                REQUIRE(start == start_of(match));
                n_found++;
            }
        }
        bnf_regex_free(regex);
    }
    REQUIRE(n_found > 1000);
}

TEST_CASE("time is linear where backtracking is exponential")
{
    struct bnf_regex *regex = bnf_regex_new("(a*)*(a|aa)+(a?){20}b");
    REQUIRE(regex != nullptr);
    const std::string text(20000, 'a');
    size_t start = 0;
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(bnf_regex_find(regex, text.data(), text.size(), false, &start) == BNF_REGEX_NO);
    REQUIRE(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
    bnf_regex_free(regex);
}
