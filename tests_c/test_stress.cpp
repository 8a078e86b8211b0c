/* The whole engine under load, small enough to run under every sanitizer (test_sanitized.py): contexts of one model in several
 * threads, sequences that part and shrink, batches that are wrong, too big or aborted, and many threads at the door of one
 * context. What is right is known beforehand: the logits of a context that nobody disturbs. */
#include "bitnet_ffi.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <limits.h>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using Model = std::unique_ptr<llama_model, decltype(&llama_model_free)>;
using Context = std::unique_ptr<llama_context, decltype(&llama_free)>;

/* The program lies in ROOT/build/FOLDER/tests_c. */
std::string model_path()
{
    char path[PATH_MAX] = {0};
    REQUIRE(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    std::string root = path;
    for (int i = 0; i < 4; i++)
        root.erase(root.rfind('/'));
    return root + "/tests_py/data/tiny-b158-i2_s.gguf";
}

Model load()
{
    return Model(llama_model_load_from_file(model_path().c_str(), llama_model_default_params()), llama_model_free);
}

Context make(llama_model *model, int n_threads, uint32_t n_ubatch)
{
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 200;
    params.n_seq_max = 3;
    params.kv_unified = true;
    params.n_ubatch = n_ubatch;
    params.n_threads = params.n_threads_batch = n_threads;
    return Context(llama_init_from_model(model, params), llama_free);
}

std::vector<llama_token> text(int n)
{
    std::vector<llama_token> tokens;
    for (int i = 0; i < n; i++)
        tokens.push_back((i * i + 3 * i + 1) % 250);
    return tokens;
}

/* Tokens of one sequence, which follow what it holds; logits of the last. */
int decode(llama_context *ctx, const llama_token *tokens, int n, llama_seq_id seq)
{
    std::vector<llama_token> token(tokens, tokens + n);
    std::vector<llama_seq_id *> seq_id(token.size(), &seq);
    llama_batch batch = llama_batch_get_one(token.data(), n);
    batch.seq_id = seq_id.data();
    return llama_decode(ctx, batch);
}

std::vector<float> last_row(llama_context *ctx)
{
    const float *row = llama_get_logits_ith(ctx, -1);
    return row == nullptr ? std::vector<float>() : std::vector<float>(row, row + llama_n_vocab(llama_get_model(ctx)));
}

bool stop_at_zero(void *data)
{
    return --*static_cast<int *>(data) == 0;
}

/* One conversation with everything in it; whether each row was as expected. */
bool converse(llama_context *ctx, const std::vector<llama_token> &tokens, const std::vector<float> &expected)
{
    const int n = static_cast<int>(tokens.size());
    llama_memory_t memory = llama_get_memory(ctx);
    llama_memory_clear(memory, false);
    bool right = decode(ctx, tokens.data(), n - 10, 0) == 0;
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    llama_memory_seq_cp(memory, 0, 2, 0, 20);
    int countdown = 2;
    llama_set_abort_callback(ctx, stop_at_zero, &countdown);
    right = right && decode(ctx, tokens.data() + n - 10, 10, 1) == 2;
    llama_set_abort_callback(ctx, nullptr, nullptr);
    right = right && decode(ctx, tokens.data(), 1, 3) < 0;
    right = right && decode(ctx, text(199).data(), 199, 2) == 1;
    for (const llama_seq_id seq : {1, 0}) {
        right = right && decode(ctx, tokens.data() + n - 10, 10, seq) == 0 && last_row(ctx) == expected;
        right = right && llama_memory_seq_rm(memory, seq, n - 3, -1) && llama_memory_seq_pos_max(memory, seq) == n - 4;
        right = right && decode(ctx, tokens.data() + n - 3, 3, seq) == 0 && last_row(ctx) == expected;
    }
    llama_set_n_threads(ctx, 2, 1);
    llama_memory_seq_keep(memory, 2);
    right = right && decode(ctx, tokens.data() + 20, n - 20, 2) == 0 && last_row(ctx) == expected;
    return right;
}

} // namespace

TEST_CASE("contexts of one model work in parallel threads")
{
    Model model = load();
    REQUIRE(model != nullptr);
    const std::vector<llama_token> tokens = text(80);
    Context alone = make(model.get(), 1, 32);
    REQUIRE(decode(alone.get(), tokens.data(), 80, 0) == 0);
    const std::vector<float> expected = last_row(alone.get());
    std::atomic<int> n_right{0};
    std::vector<Context> contexts;
    for (int i = 0; i < 3; i++)
        contexts.push_back(make(model.get(), 1 + i % 2, static_cast<uint32_t>(9 + i)));
    model.reset(); /* the contexts keep it */
    std::vector<std::thread> threads;
    for (Context &ctx : contexts)
        threads.emplace_back([&] {
            for (int turn = 0; turn < 2; turn++)
                n_right += converse(ctx.get(), tokens, expected);
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(n_right == 6);
}

TEST_CASE("threads that enter one context at once are let in one by one or turned away")
{
    Model model = load();
    REQUIRE(model != nullptr);
    Context ctx = make(model.get(), 2, 8);
    const std::vector<llama_token> tokens = text(5);
    std::atomic<int> n_done{0}, n_away{0}, n_else{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&, i] {
            for (int turn = 0; turn < 10; turn++) {
                const int rc = decode(ctx.get(), tokens.data(), 5, i % 3);
                const bool away = rc == BITNET_ERROR_THREAD;
                (rc == 0 ? n_done : away ? n_away : n_else)++;
                llama_memory_seq_rm(llama_get_memory(ctx.get()), i % 3, 5, -1);
                llama_set_n_threads(ctx.get(), 1 + turn % 2, 2);
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(n_done > 0);
    CHECK(n_else == 0);
    llama_kv_cache_clear(ctx.get());
    CHECK(decode(ctx.get(), tokens.data(), 5, 1) == 0);
    Context fresh = make(model.get(), 1, 8);
    CHECK(decode(fresh.get(), tokens.data(), 5, 0) == 0);
    CHECK(last_row(ctx.get()) == last_row(fresh.get()));
}
