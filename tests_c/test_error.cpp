// The last error of a thread, and the log that hears of it.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_error.h"
#include "bnf_log.h"
#include "bnf_utf8.h"
}

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Lines = std::vector<std::pair<ggml_log_level, std::string>>;

void collect(ggml_log_level level, const char *text, void *user_data)
{
    static_cast<Lines *>(user_data)->emplace_back(level, text);
}

struct Listening { // collects the log while it lives
    Lines lines;
    Listening() { bnf_log_set(collect, &lines); }
    ~Listening() { bnf_log_set(nullptr, nullptr); }
};

} // namespace

TEST_CASE("a failure keeps its code and its sentence", "[error]")
{
    CHECK(bnf_fail(BITNET_ERROR_LOAD, "tensor '%s': %d columns", "a", 3) == BITNET_ERROR_LOAD);
    CHECK(bnf_error_code() == BITNET_ERROR_LOAD);
    CHECK(std::string(bnf_error_text()) == "tensor 'a': 3 columns");
    bnf_clear_error();
    CHECK(bnf_error_code() == 0);
    CHECK(std::string(bnf_error_text()).empty());
}

TEST_CASE("a prefix goes before the sentence, and a sentence may quote the last one", "[error]")
{
    bnf_fail(BITNET_ERROR_MODEL, "no layers");
    CHECK(bnf_fail_within("m.gguf") == BITNET_ERROR_MODEL);
    CHECK(std::string(bnf_error_text()) == "m.gguf: no layers");
    bnf_fail(BITNET_ERROR_LOAD, "loading: %s", bnf_error_text());
    CHECK(std::string(bnf_error_text()) == "loading: m.gguf: no layers");
}

TEST_CASE("threads do not see each other's errors", "[error]")
{
    bnf_fail(BITNET_ERROR, "mine");
    int before = 1;
    std::thread([&] {
        before = bnf_error_code();
        bnf_fail(BITNET_ERROR_MEMORY, "yours");
    }).join();
    CHECK(before == 0);
    CHECK(std::string(bnf_error_text()) == "mine");
}

TEST_CASE("a long sentence is cut between characters", "[error]")
{
    const std::string euro = "\xe2\x82\xac"; // 3 bytes
    for (int shift = 0; shift < 3; shift++) {
        std::string text(shift, 'x');
        while (text.size() < 2 * BNF_ERROR_TEXT_SIZE)
            text += euro;
        bnf_fail(BITNET_ERROR, "%s", text.c_str());
        const std::string got = bnf_error_text();
        CHECK(got.size() <= BNF_ERROR_TEXT_SIZE - 1);
        CHECK(got.size() > BNF_ERROR_TEXT_SIZE - 4);
        CHECK((got.size() - shift) % 3 == 0);
        bnf_fail_within("prefix");
        CHECK(std::string(bnf_error_text()).compare(0, 9, "prefix: " + text.substr(0, 1)) == 0);
    }
}

TEST_CASE("a cut gives up at most the unfinished character", "[error]")
{
    CHECK(bnf_utf8_cut("abc", 3) == 3);
    CHECK(bnf_utf8_cut("ab\xc3", 3) == 2);
    CHECK(bnf_utf8_cut("a\xc3\xa4", 3) == 3);
    CHECK(bnf_utf8_cut("\xf0\x9f\x98", 3) == 0);
    CHECK(bnf_utf8_cut("\xf0\x9f\x98\x80", 4) == 4);
    CHECK(bnf_utf8_cut("\x80\x80\x80\x80\x80", 5) == 5); // not UTF-8: no reason to cut
    CHECK(bnf_utf8_cut("", 0) == 0);
}

TEST_CASE("a failure leaves errno alone and is logged once, as a line", "[error]")
{
    Listening log;
    errno = 42;
    bnf_fail(BITNET_ERROR, "told");
    CHECK(errno == 42);
    REQUIRE(log.lines.size() == 1);
    CHECK(log.lines[0].first == GGML_LOG_LEVEL_ERROR);
    CHECK(log.lines[0].second == "told\n");
}

TEST_CASE("the callback is given back as it was set", "[log]")
{
    Lines lines;
    bnf_log_set(collect, &lines);
    ggml_log_callback callback;
    void *user_data;
    bnf_log_get(&callback, &user_data);
    CHECK(callback == collect);
    CHECK(user_data == &lines);
    bnf_log_set(nullptr, nullptr);
    bnf_log(GGML_LOG_LEVEL_INFO, "nobody hears it\n");
    CHECK(lines.empty());
}

TEST_CASE("a line that is too long still ends as a line", "[log]")
{
    Listening log;
    bnf_log(GGML_LOG_LEVEL_INFO, "%s\n", std::string(10000, 'x').c_str());
    REQUIRE(log.lines.size() == 1);
    const std::string line = log.lines[0].second;
    CHECK(line.size() > 1000);
    CHECK(line.substr(line.size() - 5) == "x...\n");
}

TEST_CASE("a callback may replace itself", "[log]")
{
    static std::atomic<int> calls;
    calls = 0;
    bnf_log_set([](ggml_log_level, const char *, void *) { calls++; bnf_log_set(nullptr, nullptr); }, nullptr);
    bnf_log(GGML_LOG_LEVEL_INFO, "one\n");
    bnf_log(GGML_LOG_LEVEL_INFO, "two\n");
    CHECK(calls == 1);
}

TEST_CASE("callback and user data always come as a pair", "[log]")
{
    static std::atomic<int> wrong;
    static int first, second;
    wrong = 0;
    const ggml_log_callback on_first = [](ggml_log_level, const char *, void *data) { wrong += data != &first; };
    const ggml_log_callback on_second = [](ggml_log_level, const char *, void *data) { wrong += data != &second; };
    std::atomic<bool> stop{false};
    std::vector<std::thread> setters;
    for (int i = 0; i < 2; i++)
        setters.emplace_back([&, i] {
            while (!stop)
                i == 0 ? bnf_log_set(on_first, &first) : bnf_log_set(on_second, &second);
        });
    for (int i = 0; i < 20000; i++)
        bnf_log(GGML_LOG_LEVEL_DEBUG, "x\n");
    stop = true;
    for (std::thread &setter : setters)
        setter.join();
    bnf_log_set(nullptr, nullptr);
    CHECK(wrong == 0);
}
