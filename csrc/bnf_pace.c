/* Trial and comparison, since nothing else tells what a machine shared with others gives: when members wait for one that is
 * not running, fewer threads are tried for a window of time, and kept if they do more work in it; after a pause, more are tried,
 * in the same way. A trial that fails doubles the pause. On a quiet machine nobody waits, and nothing is tried. */
#include "bnf_pace.h"

#define MS 1000000
#define WINDOW (40 * MS)      /* of runs: ten time slices */
#define SHORT_PAUSE (80 * MS)
#define LONG_PAUSE (2000 * MS)
#define GROWTH 8              /* a large team grows by this part */

static void empty_window(struct bnf_pace *pace)
{
    pace->run = pace->waited = pace->work = 0;
}

static void count_step(struct bnf_pace *pace, struct bnf_pool_clock clock)
{
    if (pace->step_work > 0) {
        pace->run += clock.run - pace->begun.run;
        pace->waited += clock.waited - pace->begun.waited;
        pace->work += pace->step_work;
    }
    pace->begun = clock;
    pace->step_work = 0;
}

/* Decaying averages, so that something short that other processes do weighs little: half of what is known is of the last window. */
static void learn(struct bnf_pace *pace)
{
    const double rate = (double)pace->work / (double)pace->run;
    const double waited = pace->size > 1 ? (double)pace->waited / (double)pace->run / (pace->size - 1) : 0;
    pace->rate = pace->rate > 0 ? (pace->rate + rate) / 2 : rate;
    pace->stalled = (pace->stalled + waited) / 2;
}

static void change_size(struct bnf_pace *pace, int32_t size, double rate)
{
    pace->size = size;
    pace->rate = rate;
    pace->stalled = 0;
}

/* The window was a trial. At the same rate, fewer threads leave more for others. */
static void judge(struct bnf_pace *pace, int64_t now)
{
    const bool fewer = pace->size < pace->rival;
    const bool better = fewer ? pace->rate >= pace->rival_rate : pace->rate > pace->rival_rate;
    if (fewer)
        pace->less_was_worse = !better;
    if (!better)
        change_size(pace, pace->rival, pace->rival_rate);
    pace->pause = better ? SHORT_PAUSE : 2 * pace->pause < LONG_PAUSE ? 2 * pace->pause : LONG_PAUSE;
    pace->next_trial = now + pace->pause;
    pace->rival = 0;
}

static void start_trial(struct bnf_pace *pace, int32_t size)
{
    pace->rival = pace->size;
    pace->rival_rate = pace->rate;
    change_size(pace, size, 0);
}

/* One thread fewer loses 1 / size of the rate, and less where memory is the limit: waits of about that part of the time may be
 * worth it. A team that waits s of its time does no more than (1 - s) size threads that need not wait: try between the two. */
static void try_another(struct bnf_pace *pace)
{
    const int32_t size = pace->size;
    const bool can_grow = size < pace->wanted;
    if (size > 1 && pace->stalled * (size + 2) > 1 && !(pace->less_was_worse && can_grow)) {
        const int32_t fewer = (int32_t)(size * (1 - pace->stalled / 2));
        start_trial(pace, fewer < 1 ? 1 : fewer < size ? fewer : size - 1);
    } else if (can_grow) {
        const int32_t more = size + (size / GROWTH > 1 ? size / GROWTH : 1);
        pace->less_was_worse = false; /* ask again afterwards */
        start_trial(pace, more < pace->wanted ? more : pace->wanted);
    }
}

int32_t bnf_pace_begin(struct bnf_pace *pace, int32_t wanted, int64_t work, struct bnf_pool_clock clock)
{
    count_step(pace, clock);
    pace->step_work = work;
    if (wanted != pace->wanted) {
        if (pace->size == pace->wanted || pace->size > wanted)
            change_size(pace, wanted, 0);
        pace->wanted = wanted;
        pace->rival = 0;
        pace->pause = SHORT_PAUSE;
        empty_window(pace);
    }
    if (pace->run < WINDOW)
        return pace->size;
    learn(pace);
    if (pace->rival > 0)
        judge(pace, clock.now);
    else if (clock.now >= pace->next_trial)
        try_another(pace);
    empty_window(pace);
    return pace->size;
}

void bnf_pace_leave(struct bnf_pace *pace, struct bnf_pool_clock clock)
{
    count_step(pace, clock);
}
