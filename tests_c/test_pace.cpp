// How many threads a decode uses beside other work: decisions on made-up times, hence the same on every machine.
// What a real machine makes of them: tests_py/test_other_work.py.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_pace.h"
}

#include <functional>

namespace {

constexpr int64_t US = 1000, MS = 1000 * US;

struct Step { // of a team: how long it takes, and how much of that a member waits on average
    int64_t run, waited;
};

using Machine = std::function<Step(int size)>;

struct Decoder {
    bnf_pace pace = {};
    bnf_pool_clock clock = {5000 * MS, 0, 0};
    int wanted;
    long n_steps = 0;
    explicit Decoder(int n) : wanted(n) {}

    int size() const { return bnf_pace_size(&pace, wanted); }
    int step(const Machine &machine, int64_t work = 5)
    {
        const int size = bnf_pace_begin(&pace, wanted, work, clock);
        CHECK(size == this->size());
        const Step step = machine(size);
        clock.run += step.run;
        clock.waited += step.waited * (size - 1);
        clock.now += step.run + 100 * US; // the host does something in between
        n_steps++;
        return size;
    }
    // Steps of so much time; the part of it with `size` threads.
    double spend(int64_t ns, const Machine &machine, int size)
    {
        const int64_t begin = clock.run;
        int64_t with_size = 0;
        while (clock.run - begin < ns) {
            const int64_t before = clock.run;
            if (step(machine) == size)
                with_size += clock.run - before;
        }
        return (double)with_size / (double)(clock.run - begin);
    }
};

// Two threads take 3 ms, one 4 ms; a busy process on one of the two CPUs makes two threads wait for its time slices.
Step quiet(int size) { return size == 2 ? Step{3 * MS, 30 * US} : Step{4 * MS, 0}; }
Step beside_one(int size) { return size == 2 ? Step{12 * MS, 8 * MS} : Step{4 * MS, 0}; }

} // namespace

TEST_CASE("a quiet machine gives all threads that are wanted", "[pace]")
{
    Decoder decoder(2);
    CHECK(decoder.spend(5000 * MS, quiet, 2) == 1.0);
}

TEST_CASE("something short once in a while changes little", "[pace]")
{
    Decoder decoder(2);
    const auto machine = [&](int size) {
        const bool hit = decoder.n_steps % 200 == 199;
        return Step{quiet(size).run + (hit ? 12 * MS : 0), quiet(size).waited + (hit ? 12 * MS : 0)};
    };
    CHECK(decoder.spend(20000 * MS, machine, 2) > 0.97);
}

TEST_CASE("beside a busy process one thread does what two cannot", "[pace]")
{
    Decoder decoder(2);
    decoder.spend(1000 * MS, quiet, 2);
    decoder.spend(500 * MS, beside_one, 1);
    const long before = decoder.n_steps;
    CHECK(decoder.spend(20000 * MS, beside_one, 1) > 0.95);
    CHECK(decoder.n_steps - before > 20000 / 4 * 95 / 100);
}

TEST_CASE("all threads are back soon after the other work has ended", "[pace]")
{
    Decoder decoder(2);
    decoder.spend(10000 * MS, beside_one, 1);
    decoder.spend(2300 * MS, quiet, 2);
    CHECK(decoder.spend(5000 * MS, quiet, 2) == 1.0);
}

TEST_CASE("a large team shrinks to the CPUs that are left, and grows again", "[pace]")
{
    Decoder decoder(16);
    const auto beside_four = [](int size) {
        return size > 12 ? Step{20 * MS, 14 * MS} : Step{48 * MS / size, 20 * US};
    };
    decoder.spend(2000 * MS, beside_four, 12);
    CHECK(decoder.spend(20000 * MS, beside_four, 12) > 0.9);
    const auto alone = [](int size) { return Step{48 * MS / size, 20 * US}; };
    decoder.spend(5000 * MS, alone, 16);
    CHECK(decoder.size() == 16);
}

TEST_CASE("where everything waits, more threads stay if they do more", "[pace]")
{
    Decoder decoder(8);
    const auto crowd = [](int size) { return Step{(4 + 80 / size) * MS, (1 + 20 / size) * MS}; };
    CHECK(decoder.spend(20000 * MS, crowd, 8) > 0.9);
}

TEST_CASE("work is compared, not steps", "[pace]")
{
    Decoder decoder(2); // batches grow by the step and shrink again: a step takes as long as it has work
    const auto spend = [&](bool busy) {
        for (int i = 0; i < 3000; i++) {
            const int64_t work = 5 + i % 20;
            decoder.step([&](int size) {
                const Step step = busy ? beside_one(size) : quiet(size);
                return Step{step.run * work / 5, step.waited * work / 5};
            }, work);
        }
    };
    spend(true);
    CHECK(decoder.size() == 1);
    spend(false);
    CHECK(decoder.size() == 2);
}

TEST_CASE("another number of threads is taken at once", "[pace]")
{
    Decoder decoder(4);
    const auto fine = [](int size) { return Step{8 * MS / size, 0}; };
    decoder.spend(200 * MS, fine, 4);
    decoder.wanted = 2;
    CHECK(decoder.step(fine) == 2);
    decoder.wanted = 4;
    CHECK(decoder.step(fine) == 4);
    decoder.wanted = 1;
    CHECK(decoder.spend(500 * MS, fine, 1) == 1.0);
}

TEST_CASE("what runs between steps is not counted", "[pace]")
{
    Decoder decoder(2);
    for (int i = 0; i < 1000; i++) {
        decoder.step(quiet);
        bnf_pace_leave(&decoder.pace, decoder.clock);
        decoder.clock.run += 50 * MS; // a prompt
        decoder.clock.waited += 40 * MS;
        decoder.clock.now += 50 * MS;
    }
    CHECK(decoder.size() == 2);
}
