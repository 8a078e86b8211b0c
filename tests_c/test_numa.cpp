// Which CPUs a worker is moved to, from made-up nodes: this needs no machine with several. Next: bnf_pool.c, which asks.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_error.h"
#include "bnf_numa.h"
#include "bnf_pool.h"
}

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace {

using Cpus = std::vector<long>;

std::unique_ptr<bnf_cpus> set_of(const Cpus &cpus)
{
    auto set = std::make_unique<bnf_cpus>();
    for (long cpu : cpus)
        set->words[cpu / 64] |= std::uint64_t{1} << (cpu % 64);
    return set;
}

Cpus cpus_of(const bnf_cpus &set)
{
    Cpus cpus;
    for (long cpu = 0; cpu < 64L * BNF_CPU_WORDS; cpu++)
        if (set.words[cpu / 64] >> (cpu % 64) & 1)
            cpus.push_back(cpu);
    return cpus;
}

// A folder as /sys/devices/system/node, removed at the end.
struct Nodes {
    std::string folder;
    std::vector<std::string> made;

    explicit Nodes(const std::string &online)
    {
        char name[] = "/tmp/bnf_numa_XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        folder = name;
        write("online", online);
    }
    ~Nodes()
    {
        for (auto it = made.rbegin(); it != made.rend(); ++it)
            std::remove(it->c_str());
        rmdir(folder.c_str());
    }
    void write(const std::string &name, const std::string &text)
    {
        made.push_back(folder + "/" + name);
        std::ofstream(made.back()) << text;
    }
    Nodes &node(int i, const std::string &cpus)
    {
        made.push_back(folder + "/node" + std::to_string(i));
        REQUIRE(mkdir(made.back().c_str(), 0700) == 0);
        write("node" + std::to_string(i) + "/cpulist", cpus);
        return *this;
    }
    // The CPUs of a member; empty where it is not moved.
    Cpus choose(ggml_numa_strategy strategy, int home, int ith, const Cpus &allowed) const
    {
        auto chosen = std::make_unique<bnf_cpus>();
        return bnf_numa_choose(folder.c_str(), strategy, home, ith, set_of(allowed).get(), chosen.get()) ? cpus_of(*chosen) : Cpus{};
    }
};

const Cpus all{0, 1, 2, 3, 4, 5, 6, 7};

} // namespace

TEST_CASE("members take turns over the nodes")
{
    Nodes nodes("0-1\n");
    nodes.node(0, "0-1,4\n").node(1, "2-3,5-7\n");
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 0, all) == Cpus{0, 1, 4});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 1, all) == Cpus{2, 3, 5, 6, 7});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 2, all) == Cpus{0, 1, 4});
}

TEST_CASE("all members stay on the caller's node")
{
    Nodes nodes("0,2\n");
    nodes.node(0, "0-3\n").node(2, "4-7,130\n");
    for (int ith : {0, 1, 2}) {
        CHECK(nodes.choose(GGML_NUMA_STRATEGY_ISOLATE, 5, ith, all) == Cpus{4, 5, 6, 7});
        CHECK(nodes.choose(GGML_NUMA_STRATEGY_ISOLATE, 130, ith, {1, 130}) == Cpus{130});
    }
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_ISOLATE, 99, 0, all).empty()); // a CPU of no node
}

TEST_CASE("only CPUs that the process may use count, and nodes that have some")
{
    Nodes nodes("0-3\n");
    nodes.node(0, "0-1\n").node(1, "2-3\n").node(2, "\n").node(3, "6-7\n");
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 1, all) == Cpus{2, 3});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 2, all) == Cpus{6, 7});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 0, {1, 7}) == Cpus{1});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 1, {1, 7}) == Cpus{7});
    CHECK(nodes.choose(GGML_NUMA_STRATEGY_DISTRIBUTE, 0, 1, {6, 7}).empty()); // one node is left: anywhere
}

TEST_CASE("nothing moves without several nodes or a strategy that moves")
{
    Nodes one("0\n"), two("0-1\n");
    one.node(0, "0-7\n");
    two.node(0, "0-3\n").node(1, "4-7\n");
    for (auto strategy : {GGML_NUMA_STRATEGY_DISTRIBUTE, GGML_NUMA_STRATEGY_ISOLATE}) {
        CHECK(one.choose(strategy, 0, 1, all).empty());
        CHECK(Nodes("").choose(strategy, 0, 1, all).empty());
        CHECK(Nodes("x-y").choose(strategy, 0, 1, all).empty());
        CHECK(Nodes("0-999999999999\n").choose(strategy, 0, 1, all).empty());
    }
    CHECK(two.choose(GGML_NUMA_STRATEGY_NUMACTL, 0, 1, all).empty());
    CHECK(two.choose(GGML_NUMA_STRATEGY_DISABLED, 0, 1, all).empty());
}

TEST_CASE("a strategy is kept, one that is not here is refused")
{
    for (int strategy = GGML_NUMA_STRATEGY_DISABLED; strategy <= GGML_NUMA_STRATEGY_NUMACTL; strategy++) {
        REQUIRE(bnf_numa_set(static_cast<ggml_numa_strategy>(strategy)) == 0);
        CHECK(bnf_numa_strategy() == strategy);
        bnf_pool *pool = bnf_pool_new_uncut(3); // its threads look for their nodes on this machine
        REQUIRE(pool != nullptr);
        CHECK(bnf_pool_size(pool) == 3);
        bnf_pool_free(pool);
    }
    REQUIRE(bnf_numa_set(GGML_NUMA_STRATEGY_DISTRIBUTE) == 0);
    for (int strategy : {4, 5, 77}) {
        CHECK(bnf_numa_set(static_cast<ggml_numa_strategy>(strategy)) == BITNET_ERROR);
        CHECK(std::strstr(bnf_error_text(), "strategy") != nullptr);
        CHECK(bnf_numa_strategy() == GGML_NUMA_STRATEGY_DISTRIBUTE);
    }
    CHECK(bnf_numa_set(GGML_NUMA_STRATEGY_DISABLED) == 0);
}
