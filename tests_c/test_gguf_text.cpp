// Text for error sentences and clients: names from files made printable, tails of long paths, numbers in any locale.

#include <catch2/catch.hpp>

#include <clocale>
#include <cstring>
#include <limits>
#include <string>

extern "C" {
#include "bnf_text.h"
}

static std::string shown(const std::string &name)
{
    char out[BNF_SHOWN_SIZE];
    return bnf_show(name.data(), name.size(), out);
}

TEST_CASE("test_show_names")
{
    CHECK(shown("blk.0.attn_q.weight") == "blk.0.attn_q.weight");
    CHECK(shown("") == "");
    CHECK(shown(std::string("a\0b\x1b\x7f\xff", 6)) == "a?b???");
    CHECK(shown(std::string(79, 'x')) == std::string(79, 'x'));
    CHECK(shown(std::string(80, 'x')) == std::string(76, 'x') + "...");
    char out[BNF_SHOWN_SIZE];
    CHECK(std::strlen(bnf_show("x", 1, out)) == 1);
}

TEST_CASE("test_path_tail")
{
    CHECK(std::string(bnf_path_tail("/a/b.gguf")) == "/a/b.gguf");
    CHECK(std::string(bnf_path_tail(std::string(200, 'x').c_str())) == std::string(200, 'x'));
    const std::string ascii = std::string(100, 'y') + std::string(200, 'x');
    CHECK(std::string(bnf_path_tail(ascii.c_str())) == std::string(200, 'x'));
    std::string euros; // three bytes each: byte 200 from the end is inside one
    for (int i = 0; i < 100; i++)
        euros += "\xe2\x82\xac";
    CHECK(std::strlen(bnf_path_tail(euros.c_str())) == 198);
}

static std::string number(double value)
{
    char buf[400];
    bnf_sink sink = {buf, sizeof buf, 0};
    bnf_sink_f64(&sink, value);
    bnf_sink_end(&sink);
    return buf;
}

TEST_CASE("test_sink_counts_what_does_not_fit")
{
    char buf[8];
    std::memset(buf, '#', sizeof buf);
    bnf_sink sink = {buf, 6, 0};
    bnf_sink_str(&sink, "abc");
    bnf_sink_i64(&sink, std::numeric_limits<int64_t>::min());
    bnf_sink_u64(&sink, std::numeric_limits<uint64_t>::max());
    CHECK(bnf_sink_end(&sink) == 3 + 20 + 20);
    CHECK(std::string(buf) == "abc-9");
    CHECK(buf[6] == '#');
    bnf_sink none = {nullptr, 0, 0};
    bnf_sink_str(&none, "abc");
    CHECK(bnf_sink_end(&none) == 3);
}

TEST_CASE("test_sink_numbers_in_any_locale")
{
    const char *locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"}; // those the machine lacks change nothing
    for (const char *name : locales) {
        std::setlocale(LC_ALL, name);
        CHECK(number(0.5) == "0.500000");
        CHECK(number(-1234567.25) == "-1234567.250000");
        CHECK(number(1e-9) == "0.000000");
        CHECK(number(std::numeric_limits<double>::infinity()) == "inf");
        CHECK(number(std::numeric_limits<double>::quiet_NaN()).find("nan") != std::string::npos);
        CHECK(number(std::numeric_limits<double>::max()).size() == 309 + 7);
    }
    std::setlocale(LC_ALL, "C");
}
