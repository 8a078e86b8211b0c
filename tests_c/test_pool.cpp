// The thread team: every member runs, barriers order memory, sizes are kept, and it survives fork() and signals.
// Also built with -fsanitize=thread, where the unprotected counters below are the test.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_cgroup.h"
#include "bnf_error.h"
#include "bnf_platform.h"
#include "bnf_pool.h"
}

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

int count_threads()
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks != nullptr && readdir(tasks) != nullptr)
        n++;
    if (tasks != nullptr)
        closedir(tasks);
    return n - 2; // "." and ".."
}

// A joined thread leaves /proc a moment later: the count, once it has not moved for 20 ms.
int count_threads_at_rest()
{
    for (int last = -1, now;; last = now) {
        now = count_threads();
        if (now == last)
            return now;
        usleep(20000);
    }
}

struct Pool {
    bnf_pool *pool;
    explicit Pool(int n) : pool(bnf_pool_new_uncut(n)) { REQUIRE(pool != nullptr); }
    ~Pool() { bnf_pool_free(pool); }
    template <class F> void run(int n, F f)
    {
        bnf_pool_run(pool, n, [](void *arg, int ith, int nth) { (*static_cast<F *>(arg))(ith, nth); }, &f);
    }
};

// Each member counts its calls without a lock; the run must order them.
void check_runs(Pool &pool, int n_threads, int n_expected, int n_runs)
{
    std::vector<int> calls(64, 0);
    int wrong = 0;
    for (int run = 0; run < n_runs; run++) {
        pool.run(n_threads, [&](int ith, int nth) { calls[ith] += nth == n_expected; });
        for (int i = 0; i < 64; i++)
            wrong += calls[i] != (i < n_expected ? run + 1 : 0);
    }
    CHECK(wrong == 0);
}

// A value passes from member to member at each step; a barrier that lets one through early gives a wrong sum.
void check_barriers(Pool &pool, int n_threads, int n_steps)
{
    std::vector<long> value(n_threads, 0), next(n_threads, 0);
    pool.run(n_threads, [&](int ith, int nth) {
        value[ith] = ith;
        bnf_pool_barrier(pool.pool);
        for (int step = 0; step < n_steps; step++) {
            next[ith] = value[(ith + 1) % nth] + 1;
            bnf_pool_barrier(pool.pool);
            value[ith] = next[ith];
            bnf_pool_barrier(pool.pool);
        }
    });
    int wrong = 0;
    for (int i = 0; i < n_threads; i++)
        wrong += value[i] != (i + n_steps) % n_threads + n_steps;
    CHECK(wrong == 0);
}

} // namespace

TEST_CASE("every member runs every time", "[pool]")
{
    Pool pool(2);
    CHECK(bnf_pool_size(pool.pool) == 2);
    check_runs(pool, 2, 2, 20000);
}

TEST_CASE("a run may ask for fewer members, or for more than there are", "[pool]")
{
    Pool pool(4);
    for (int round = 0; round < 20; round++) {
        check_runs(pool, 1, 1, 10);
        check_runs(pool, 2, 2, 10);
        check_runs(pool, 9, 4, 10);
        check_runs(pool, 0, 1, 10);
        check_runs(pool, 3, 3, 10);
    }
}

TEST_CASE("barriers hold between two members", "[pool]")
{
    Pool pool(2);
    for (int run = 0; run < 20; run++)
        check_barriers(pool, 2, 200);
}

TEST_CASE("barriers hold with more threads than CPUs", "[pool]")
{
    Pool pool(bnf_pool_limit() + 6);
    for (int run = 0; run < 5; run++)
        check_barriers(pool, bnf_pool_size(pool.pool), 30);
    check_barriers(pool, 3, 100);
}

TEST_CASE("a team of one is its caller", "[pool]")
{
    const int before = count_threads_at_rest();
    Pool pool(1);
    CHECK(count_threads() == before);
    check_runs(pool, 1, 1, 10);
    check_barriers(pool, 1, 10);
}

TEST_CASE("members wake after they have slept", "[pool]")
{
    Pool pool(3);
    for (int run = 0; run < 20; run++) {
        usleep(1000); // twenty times the spin
        check_runs(pool, 3, 3, 1);
    }
    pool.run(3, [&](int ith, int) { // and at a barrier that one reaches late
        if (ith == 1)
            usleep(3000);
        bnf_pool_barrier(pool.pool);
    });
}

TEST_CASE("an idle team uses no CPU", "[pool]")
{
    Pool pool(3);
    check_runs(pool, 3, 3, 10);
    usleep(20000);
    timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(100000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    const double used_ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    CHECK(used_ms < 50); // spinning threads would have used 200
}

TEST_CASE("threads are named, block signals, and end with the pool", "[pool]")
{
    const int before = count_threads_at_rest();
    {
        Pool pool(3);
        CHECK(count_threads() == before + 2);
        std::vector<std::string> names(3);
        std::vector<int> open_signals(3, 0);
        pool.run(3, [&](int ith, int) {
            char name[32] = "";
            pthread_getname_np(pthread_self(), name, sizeof name);
            names[ith] = name;
            sigset_t mask;
            pthread_sigmask(SIG_SETMASK, nullptr, &mask);
            for (int sig : {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD})
                open_signals[ith] += !sigismember(&mask, sig);
        });
        CHECK(names[1] == "bitnet-1");
        CHECK(names[2] == "bitnet-2");
        CHECK(open_signals[1] + open_signals[2] == 0);
        CHECK(open_signals[0] == 5); // the caller's mask is its own
    }
    CHECK(count_threads_at_rest() == before);
}

TEST_CASE("teams come and go without a run", "[pool]")
{
    for (int i = 0; i < 200; i++)
        Pool pool(3);
    bnf_pool_free(nullptr);
}

TEST_CASE("two teams work side by side", "[pool]")
{
    const auto work = [] {
        bnf_pool *pool = bnf_pool_new_uncut(2);
        std::atomic<long> sum{0};
        for (int i = 0; i < 2000; i++)
            bnf_pool_run(pool, 2, [](void *arg, int ith, int) { *static_cast<std::atomic<long> *>(arg) += ith + 1; }, &sum);
        bnf_pool_free(pool);
        return sum == 6000;
    };
    bool other = false;
    std::thread thread([&] { other = work(); });
    const bool mine = work();
    thread.join();
    CHECK(mine);
    CHECK(other);
}

TEST_CASE("a forked child goes on alone", "[pool]")
{
    Pool pool(3);
    check_runs(pool, 3, 3, 3);
    const pid_t child = fork();
    if (child == 0) {
        int nth = 0, calls = 0;
        pool.run(3, [&](int, int n) {
            nth = n;
            calls++;
            bnf_pool_barrier(pool.pool);
        });
        const bool right = nth == 1 && calls == 1 && bnf_pool_size(pool.pool) == 1;
        bnf_pool_free(pool.pool);
        _exit(right ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    check_runs(pool, 3, 3, 3); // the parent's team is whole
}

TEST_CASE("a run computes with IEEE's defaults and leaves the host's settings", "[pool]")
{
    std::fesetround(FE_UPWARD);
    Pool pool(2); // its thread inherits the rounding
    std::vector<float> sums(2, 0.0f);
    std::vector<float> tiny(2, 0.0f);
    for (int n = 1; n <= 2; n++)
        pool.run(n, [&](int ith, int) {
            volatile float one = 1.0f, small = 0x1p-60f, least = 0x1p-149f;
            sums[ith] = one + small;
            tiny[ith] = least * one;
        });
    const int rounding = std::fegetround();
    std::fesetround(FE_TONEAREST);
    CHECK(rounding == FE_UPWARD);
    CHECK(sums == std::vector<float>(2, 1.0f));
    CHECK(tiny == std::vector<float>(2, 0x1p-149f));
}

TEST_CASE("a team is cut to the CPUs there are", "[pool]")
{
    CHECK(bnf_pool_limit() >= 1);
    CHECK(bnf_pool_limit() <= (int)sysconf(_SC_NPROCESSORS_CONF));
    bnf_pool *pool = bnf_pool_new(100000);
    REQUIRE(pool != nullptr);
    CHECK(bnf_pool_size(pool) == bnf_pool_limit());
    bnf_pool_free(pool);
    CHECK(bnf_pool_new(0) == nullptr);
    CHECK(bnf_error_code() == BITNET_ERROR_THREAD);
    CHECK(std::string(bnf_error_text()) == "0 threads were asked for, expected at least 1");
}

TEST_CASE("a team whose threads cannot be started is its caller, with a warning", "[pool]")
{
    static std::string logged;
    pthread_attr_t before, huge;
    REQUIRE(pthread_getattr_default_np(&before) == 0);
    REQUIRE(pthread_getattr_default_np(&huge) == 0);
    REQUIRE(pthread_attr_setstacksize(&huge, (size_t)1 << 47) == 0); // more than there are addresses
    REQUIRE(pthread_setattr_default_np(&huge) == 0);
    llama_log_set([](ggml_log_level, const char *text, void *) { logged += text; }, nullptr);
    {
        Pool pool(3);
        CHECK(bnf_pool_size(pool.pool) == 1);
        check_runs(pool, 3, 1, 10);
        check_barriers(pool, 1, 10);
    }
    llama_log_set(nullptr, nullptr);
    pthread_setattr_default_np(&before);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&before);
    CHECK(logged.find("1 of 3 threads work: another cannot be started: ") == 0);
}

TEST_CASE("ranges cover everything once, in order, on grain", "[pool]")
{
    int wrong = 0;
    for (long n : {0L, 1L, 7L, 8L, 9L, 100L, 128256L})
        for (long grain : {1L, 4L, 16L, 1000L})
            for (int nth : {1, 2, 3, 7, 64}) {
                long at = 0;
                for (int ith = 0; ith < nth; ith++) {
                    long begin, end;
                    bnf_pool_range(n, grain, ith, nth, &begin, &end);
                    wrong += begin != at || end < begin || end > n || (begin % grain != 0 && begin != n);
                    wrong += end - begin > ((n + grain - 1) / grain + nth - 1) / nth * grain;
                    at = end;
                }
                wrong += at != n;
            }
    CHECK(wrong == 0);
}

namespace {

struct Cgroups { // a folder that looks like /sys/fs/cgroup, and a file like /proc/self/cgroup
    std::string root;
    std::vector<std::string> made;
    Cgroups()
    {
        char name[] = "/tmp/bnf_cgroup_XXXXXX";
        root = mkdtemp(name);
    }
    ~Cgroups()
    {
        for (size_t i = made.size(); i-- > 0;)
            std::remove(made[i].c_str());
        rmdir(root.c_str());
    }
    void folder(const std::string &path)
    {
        made.push_back(root + "/" + path);
        mkdir(made.back().c_str(), 0700);
    }
    std::string file(const std::string &path, const std::string &text)
    {
        made.push_back(root + "/" + path);
        std::ofstream(made.back()) << text;
        return made.back();
    }
    int cpus(const std::string &proc) { return bnf_cgroup_cpus(file("proc", proc).c_str(), root.c_str()); }
};

} // namespace

TEST_CASE("a version 2 quota is rounded up, and a parent's binds too", "[cgroup]")
{
    Cgroups groups;
    groups.folder("a");
    groups.folder("a/b");
    groups.file("a/b/cpu.max", "max 100000\n");
    CHECK(groups.cpus("0::/a/b\n") == 0);
    groups.file("a/cpu.max", "250000 100000\n");
    CHECK(groups.cpus("0::/a/b\n") == 3);
    groups.file("a/b/cpu.max", "50000 100000\n");
    CHECK(groups.cpus("0::/a/b\n") == 1);
    CHECK(groups.cpus("0::/a\n") == 3);
    CHECK(groups.cpus("0::/\n") == 0);
    groups.file("cpu.max", "200000 100000\n"); // all that a container sees
    CHECK(groups.cpus("0::/not/visible/here\n") == 2);
    CHECK(groups.cpus("0::/\n") == 2);
}

TEST_CASE("a version 1 quota counts where the cpu controller is", "[cgroup]")
{
    Cgroups groups;
    groups.folder("cpu");
    groups.folder("cpu/job");
    groups.file("cpu/job/cpu.cfs_quota_us", "-1\n");
    groups.file("cpu/job/cpu.cfs_period_us", "100000\n");
    CHECK(groups.cpus("4:cpu,cpuacct:/job\n3:memory:/job\n") == 0);
    groups.file("cpu/job/cpu.cfs_quota_us", "150000\n");
    CHECK(groups.cpus("4:cpuacct,cpu:/job\n3:memory:/job\n") == 2);
    CHECK(groups.cpus("4:cpuset:/job\n") == 0);
}

TEST_CASE("what cannot be read sets no limit", "[cgroup]")
{
    Cgroups groups;
    CHECK(bnf_cgroup_cpus("/nowhere/cgroup", "/nowhere") == 0);
    CHECK(groups.cpus("") == 0);
    CHECK(groups.cpus("garbage\n::\n0:\n") == 0);
    groups.file("cpu.max", "many few\n");
    CHECK(groups.cpus("0::/\n") == 0);
    groups.file("cpu.max", "100000 0\n");
    CHECK(groups.cpus("0::/\n") == 0);
    CHECK(groups.cpus("0::" + std::string(6000, 'x') + "\n") == 0);
}
