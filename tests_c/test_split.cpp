/* Pre-tokenizers: every family cuts any text into words that cover it, in time that grows as the text does.
 * What the words are is held by tests_py/test_split.py. */
#include <catch2/catch.hpp>

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "bnf_split.h"
#include "bnf_unicode.h"
}

/* The ends of the words; fails when a word is empty, cuts a character or leaves the text. */
static std::vector<size_t> words(int pre, const std::string &text)
{
    const auto *bytes = reinterpret_cast<const uint8_t *>(text.data());
    std::vector<size_t> ends;
    struct bnf_split split;
    bnf_split_start(&split, pre, bytes, text.size());
    while (split.pos < split.end) {
        const uint8_t *before = split.pos;
        bnf_split_next(&split);
        if (split.pos <= before || split.pos > split.end || (split.pos < split.end && (*split.pos & 0xC0) == 0x80))
            FAIL("family " << pre << " at byte " << before - bytes);
        ends.push_back(static_cast<size_t>(split.pos - bytes));
    }
    return ends;
}

static const char *const parts[] = {
    "'s", "'LL", " ", "  ", "     ", "\n", "\r\n", " \n ", "\t", "12", "1234567", " The", "zebra", "ABC", "camelCase", "\xC3\xA9",
    "\xC3\x89",
    "...", " ?!", "/", "\xC2\xA0", "\xE3\x80\x80", "\xCC\x81", "<sentinel:12>", "<sentinel:", "IMGIMGABZ", "IMGIMG", "`", "$",
    "\xE9\xBE\xA5",
    "\xE3\x81\x82", "\xED\x95\x9C", "\xE3\x84\x85", "\xEF\xBC\x81", "\xC2\xBD", "\xF0\x9F\x99\x82", "\xEE\x80\x80", "\x01",
    "\xED\xA0\x80"};

/* Texts end at the end of their memory, so that a look beyond is seen by the sanitizers. */
TEST_CASE("words of random texts are never empty and cover the text")
{
    std::mt19937 random(11);
    for (int round = 0; round < 400; round++) {
        std::vector<char> exact;
        for (size_t n = random() % 30; n > 0; n--) {
            const char *part = parts[random() % (sizeof parts / sizeof *parts)];
            for (size_t k = random() % 8 == 0 ? random() % 20 : 1; k > 0; k--)
                exact.insert(exact.end(), part, part + std::strlen(part));
        }
        exact.shrink_to_fit();
        const std::string text(exact.begin(), exact.end());
        for (int pre = 0; pre < BNF_N_PRES; pre++)
            words(pre, text);
    }
}

TEST_CASE("long white space is cut in powers of two by jais-2 alone")
{
    for (size_t n : {1u, 2u, 3u, 4u, 5u, 8u, 9u, 511u, 512u, 513u, 700u, 1500u}) {
        for (bool last : {true, false}) {
            std::vector<size_t> expected;
            size_t at = 0;
            while (at < n) { /* the largest power that leaves one, or at the end of the text the largest that fits */
                const size_t left = n - at, most = last || left == 1 ? left : left - 1;
                size_t size = 512;
                while (size > most)
                    size /= 2;
                if (!last && left == 1) /* the last one leads the word */
                    size = 2;
                expected.push_back(at += size);
            }
            CHECK(words(BNF_PRE_JAIS2, std::string(n, ' ') + (last ? "" : "x")) == expected);
        }
    }
    CHECK(words(BNF_PRE_JAIS2, std::string(300, ' ') + "\n" + std::string(5, ' ')) == std::vector<size_t>{301, 305, 306});
}

static double seconds(int pre, const std::string &text)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        const auto start = std::chrono::steady_clock::now();
        struct bnf_split split;
        bnf_split_start(&split, pre, reinterpret_cast<const uint8_t *>(text.data()), text.size());
        while (split.pos < split.end)
            bnf_split_next(&split);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

TEST_CASE("no text makes cutting slower than linear")
{
    static const char *const kinds[] = {"a", "A", "\xC3\xA9", "\xC3\xA9" "A", "Aa", " ", "\n", " \n", "\r", "\t", "7", "\xC2\xBD",
    "7\xC2\xBD", "1234 ", "!", "! ",
        "\xF0\x9F\x99\x82", "\xCC\x81", "a\xCC\x81", "a ", "a  ", "'", "'s", "a'", "<sentinel:", "<sentinel:1", "IMGIMG", "IMGIMGABCD",
        "\xE9\xBE\xA5",
        "\xE9\xBE\xA5" "1", "\x01", "\xEE\x80\x80", "\xEE\x80\x80 ", "\xE3\x80\x80", ".", "/\n", "\xC2\xA0x"};
    for (int pre = 0; pre < BNF_N_PRES; pre++) {
        for (const char *kind : kinds) {
            std::string small;
            while (small.size() < 8192)
                small += kind;
            std::string large;
            for (int i = 0; i < 16; i++)
                large += small;
            /* 16 times the text; a quadratic cut would take 256 times as long. A second look rules out a disturbed first one. */
            bool linear = false;
            for (int i = 0; i < 3 && !linear; i++)
                linear = seconds(pre, large) < 64 * seconds(pre, small) + 1e-4;
            if (!linear)
                FAIL_CHECK("family " << pre << ", a long run of '" << kind << "'");
        }
    }
}
