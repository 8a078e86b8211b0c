// What the CPU can do, and which kernel table follows from it and from BITNET_FFI_KERNELS.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_cpu.h"
#include "bnf_error.h"
#include "bnf_ops.h"
}

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

// The table is chosen once per process, so each choice is made in a child: its name, or "! " and the error.
std::string choice(const char *variable)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        variable ? setenv("BITNET_FFI_KERNELS", variable, 1) : unsetenv("BITNET_FFI_KERNELS");
        const struct bnf_ops *ops = bnf_ops();
        const std::string text = ops ? ops->name : std::string("! ") + bnf_error_text();
        const bool again = bnf_ops() == ops && bnf_error_code() == (ops ? 0 : BITNET_ERROR);
        _exit(write(ends[1], text.data(), text.size()) == (ssize_t)text.size() && again ? 0 : 1);
    }
    close(ends[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, (size_t)n);
    close(ends[0]);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    return text;
}

std::vector<const struct bnf_ops *> tables()
{
    std::vector<const struct bnf_ops *> all;
    for (const struct bnf_ops *const *table = bnf_ops_all(); *table != nullptr; table++)
        all.push_back(*table);
    return all;
}

bool can_run(const struct bnf_ops *ops) { return (ops->needs & ~bnf_cpu_features()) == 0; }

} // namespace

#if defined(__x86_64__)
TEST_CASE("features agree with what the kernel reports", "[cpu]")
{
    std::ifstream file("/proc/cpuinfo");
    std::set<std::string> flags;
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, 5, "flags") == 0) {
            std::istringstream words(line.substr(line.find(':') + 1));
            for (std::string word; words >> word;)
                flags.insert(word);
            break;
        }
    const auto all = [&](std::initializer_list<const char *> names) {
        for (const char *name : names)
            if (!flags.count(name))
                return false;
        return true;
    };
    const bool avx512 = all({"avx512f", "avx512bw", "avx512dq", "avx512vl"});
    CHECK(((bnf_cpu_features() & BNF_CPU_AVX2) != 0) == all({"avx2", "fma", "f16c"}));
    CHECK(((bnf_cpu_features() & BNF_CPU_AVX512VNNI) != 0) == (avx512 && all({"avx512_vnni"})));
    CHECK(((bnf_cpu_features() & BNF_CPU_AVX512VBMI) != 0) == (avx512 && all({"avx512vbmi"})));
    CHECK(((bnf_cpu_features() & BNF_CPU_AVXVNNI) != 0) == all({"avx2", "fma", "f16c", "avx_vnni"}));
}
#endif

TEST_CASE("the features' text says what was found", "[cpu]")
{
    const std::string text = bnf_cpu_features_text();
#if defined(__x86_64__)
    const unsigned feature = BNF_CPU_AVX2;
    const std::string name = "AVX2 = ";
#else
    const unsigned feature = BNF_CPU_NEON;
    const std::string name = "NEON = ";
#endif
    CHECK(text.compare(0, name.size() + 1, name + (bnf_cpu_features() & feature ? "1" : "0")) == 0);
    CHECK(bnf_cpu_features_text() == bnf_cpu_features_text());
}

TEST_CASE("tables are listed best first, and every machine runs the last", "[dispatch]")
{
    const auto all = tables();
    REQUIRE(!all.empty());
    CHECK(std::string(all.back()->name) == "scalar");
    CHECK(all.back()->needs == 0);
    std::set<std::string> names;
    for (const struct bnf_ops *ops : all)
        names.insert(ops->name);
    CHECK(names.size() == all.size());
}

TEST_CASE("the best table that runs is chosen", "[dispatch]")
{
    for (const struct bnf_ops *ops : tables())
        if (can_run(ops)) {
            CHECK(choice(nullptr) == ops->name);
            CHECK(choice("") == ops->name);
            break;
        }
}

TEST_CASE("a table can be forced by its name", "[dispatch]")
{
    for (const struct bnf_ops *ops : tables())
        if (can_run(ops))
            CHECK(choice(ops->name) == ops->name);
        else
            CHECK(choice(ops->name).find("this CPU cannot run that kernel table, expected one of") != std::string::npos);
}

TEST_CASE("an unknown name is refused with the names there are", "[dispatch]")
{
    std::string expected = "! BITNET_FFI_KERNELS=sse9: no such kernel table, expected one of";
    for (const struct bnf_ops *ops : tables())
        if (can_run(ops))
            expected += std::string(" ") + ops->name;
    CHECK(choice("sse9") == expected);
    CHECK(choice("AVX2").compare(0, 2, "! ") == 0);
    CHECK(choice(std::string(5000, 'x').c_str()).compare(0, 23, "! BITNET_FFI_KERNELS=xx") == 0);
}

TEST_CASE("threads that ask at once get the same table", "[dispatch]")
{
    const pid_t child = fork(); // where nobody has asked before
    if (child == 0) {
        std::vector<const struct bnf_ops *> got(8);
        std::vector<std::thread> threads;
        for (auto &slot : got)
            threads.emplace_back([&slot] { slot = bnf_ops(); });
        for (std::thread &thread : threads)
            thread.join();
        _exit(got == std::vector<const struct bnf_ops *>(8, bnf_ops()) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
}
