// BITNET_LOG, the only way by which the library writes to stderr on its own. It is read once per process, so every case
// runs in a child, and nothing here may log in the parent.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_log.h"
}

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

// What a child with that BITNET_LOG writes to stderr when it logs one line of each level.
std::string written(const char *variable, ggml_log_callback callback = nullptr)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        variable ? setenv("BITNET_LOG", variable, 1) : unsetenv("BITNET_LOG");
        bnf_log_set(callback, nullptr);
        bnf_log(GGML_LOG_LEVEL_DEBUG, "debug\n");
        bnf_log(GGML_LOG_LEVEL_INFO, "info\n");
        bnf_log(GGML_LOG_LEVEL_WARN, "warn");
        bnf_log(GGML_LOG_LEVEL_CONT, " goes on\n");
        bnf_log(GGML_LOG_LEVEL_INFO, "info");
        bnf_log(GGML_LOG_LEVEL_CONT, " goes on\n");
        bnf_log(GGML_LOG_LEVEL_ERROR, "error %d\n", 7);
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, (size_t)n);
    close(ends[0]);
    waitpid(child, nullptr, 0);
    return text;
}

} // namespace

TEST_CASE("without BITNET_LOG stderr stays empty", "[log]")
{
    CHECK(written(nullptr) == "");
    CHECK(written("") == "");
}

TEST_CASE("BITNET_LOG names the lowest level that is written", "[log]")
{
    CHECK(written("debug") == "debug\ninfo\nwarn goes on\ninfo goes on\nerror 7\n");
    CHECK(written("info") == "info\nwarn goes on\ninfo goes on\nerror 7\n");
    CHECK(written("warn") == "warn goes on\nerror 7\n");
    CHECK(written("error") == "error 7\n");
}

TEST_CASE("BITNET_LOG is read in any case", "[log]")
{
    CHECK(written("Error") == "error 7\n");
}

TEST_CASE("any other BITNET_LOG means info, and nothing is said about it", "[log]")
{
    for (const char *value : {"1", "loud"})
        CHECK(written(value) == written("info"));
}

TEST_CASE("a callback takes the place of stderr", "[log]")
{
    CHECK(written("debug", [](ggml_log_level, const char *, void *) {}) == "");
}
