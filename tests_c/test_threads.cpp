/* What threads may do to the same things at once, under ThreadSanitizer too (test_sanitized.py): models and adapters that come and go,
 * questions to a context that another thread works with, and a log that is set while lines are written. Next: test_stress.cpp. */
#include "bitnet_ffi.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <limits.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

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

llama_context *make(llama_model *model)
{
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 64;
    params.n_seq_max = 2;
    params.n_threads = params.n_threads_batch = 2;
    params.embeddings = true;
    return llama_init_from_model(model, params);
}

int decode(llama_context *ctx)
{
    std::vector<llama_token> tokens = {1, 5, 9, 13, 17, 21};
    return llama_eval(ctx, tokens.data(), 6, 0);
}

std::vector<float> row(llama_context *ctx)
{
    const float *logits = llama_get_logits(ctx);
    return logits == nullptr ? std::vector<float>() : std::vector<float>(logits, logits + llama_n_vocab(llama_get_model(ctx)));
}

void ignore_line(ggml_log_level, const char *, void *) {}

/* All calls that ask a context or tell it something, with arguments that are right. */
std::vector<std::function<void(llama_context *)>> questions()
{
    static uint8_t state[1 << 16];
    return {
        [](llama_context *c) { llama_n_ctx(c), llama_n_batch(c), llama_n_ubatch(c), llama_n_seq_max(c), llama_n_ctx_seq(c), llama_n_rs_seq(c); },
        [](llama_context *c) { llama_n_threads(c), llama_n_threads_batch(c), llama_get_causal_attn(c), llama_pooling_type(c); },
        [](llama_context *c) { llama_get_model(c), llama_get_memory(c), llama_get_kv_self(c), llama_synchronize(c), llama_set_warmup(c, true); },
        [](llama_context *c) { llama_perf_context(c), llama_get_timings(c); },
        [](llama_context *c) { llama_perf_context_print(c), llama_print_timings(c), llama_memory_breakdown_print(c); },
        [](llama_context *c) { llama_perf_context_reset(c), llama_reset_timings(c); },
        [](llama_context *c) { llama_set_n_threads(c, 1, 2), llama_set_abort_callback(c, nullptr, nullptr); },
        [](llama_context *c) { llama_set_causal_attn(c, true), llama_set_embeddings(c, true), llama_set_rng_seed(c, 3); },
        [](llama_context *c) { llama_get_kv_cache_used_cells(c), llama_get_kv_cache_token_count(c), llama_kv_self_seq_pos_max(c, 0); },
        [](llama_context *c) { llama_state_get_size(c), llama_state_get_data(c, state, sizeof state), llama_get_state_size(c); },
        [](llama_context *c) { llama_get_logits_ith(c, -1), llama_get_embeddings_ith(c, -1), llama_get_embeddings_seq(c, 0); },
        [](llama_context *c) { llama_batch_ext_free(llama_batch_ext_init(c)); },
        [](llama_context *c) { llama_set_adapters_lora(c, nullptr, 0, nullptr), llama_set_adapter_cvec(c, nullptr, 0, 0, 0, 0); },
        [](llama_context *c) {
            llama_token_data data[2] = {{1, 0.5f, 0}, {2, 0.25f, 0}};
            llama_token_data_array cur = {data, 2, -1, false};
            llama_sample_token_greedy(c, &cur), llama_sample_token(c, &cur), llama_sample_softmax(c, &cur);
        },
        [](llama_context *c) {
            char piece[32];
            llama_token_to_str(c, 5, piece, sizeof piece);
            llama_token tokens[8];
            llama_tokenize_bpe(c, "a b", tokens, 8, true);
        },
        [](llama_context *c) { llama_set_sampler(c, 0, nullptr), llama_get_sampled_token_ith(c, 0); },
        [](llama_context *c) { llama_attach_threadpool(c, nullptr, nullptr), llama_detach_threadpool(c); },
        [](llama_context *c) { bitnet_eval_n_threads(c, nullptr, 1, 0, 1); },
    };
}

} // namespace

TEST_CASE("whoever asks a context that is at work harms nothing")
{
    llama_model *model = llama_model_load_from_file(model_path().c_str(), llama_model_default_params());
    REQUIRE(model != nullptr);
    llama_context *alone = make(model), *ctx = make(model);
    REQUIRE(decode(alone) == 0);
    const std::vector<float> expected = row(alone);
    llama_log_set(ignore_line, nullptr);
    std::atomic<bool> done{false};
    std::vector<std::thread> askers;
    for (int i = 0; i < 2; i++)
        askers.emplace_back([&, i] {
            const auto asked = questions();
            for (size_t turn = static_cast<size_t>(i); !done; turn++) {
                asked[turn % asked.size()](ctx);
                std::this_thread::sleep_for(std::chrono::microseconds(20)); /* let the other one in */
            }
        });
    int n_done = 0, n_right = 0, n_else = 0;
    for (int turn = 0; turn < 100000 && n_done < 50; turn++) {
        const int rc = decode(ctx);
        n_else += rc != 0 && rc != BITNET_ERROR_THREAD;
        if (rc != 0) {
            std::this_thread::yield();
            continue;
        }
        n_done++;
        std::vector<float> got = row(ctx);
        while (got.empty() && bitnet_last_error_code() == BITNET_ERROR_THREAD)
            got = row(ctx);
        n_right += got == expected;
    }
    done = true;
    for (std::thread &asker : askers)
        asker.join();
    llama_log_set(nullptr, nullptr);
    CHECK(n_done == 50);
    CHECK(n_right == n_done);
    CHECK(n_else == 0);
    llama_free(ctx);
    llama_free(alone);
    llama_model_free(model);
}

TEST_CASE("pools are attached, shared, paused and freed while contexts decode")
{
    llama_model *model = llama_model_load_from_file(model_path().c_str(), llama_model_default_params());
    REQUIRE(model != nullptr);
    llama_context *alone = make(model);
    REQUIRE(decode(alone) == 0);
    const std::vector<float> expected = row(alone);
    struct ggml_threadpool_params params = ggml_threadpool_params_default(2);
    params.prio = GGML_SCHED_PRIO_LOW;
    ggml_threadpool *shared = ggml_threadpool_new(&params);
    REQUIRE(shared != nullptr);
    std::atomic<int> n_right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; i++)
        threads.emplace_back([&] {
            llama_context *ctx = make(model);
            for (int turn = 0; turn < 20; turn++) {
                ggml_threadpool_params own_params = ggml_threadpool_params_default(1 + turn % 3);
                ggml_threadpool *own = ggml_threadpool_new(&own_params);
                llama_attach_threadpool(ctx, turn % 2 == 0 ? shared : own, turn % 3 == 0 ? shared : nullptr);
                n_right += decode(ctx) == 0 && row(ctx) == expected;
                ggml_threadpool_free(own);
                if (turn % 4 == 0)
                    llama_detach_threadpool(ctx);
                n_right += decode(ctx) == 0 && row(ctx) == expected;
            }
            llama_free(ctx);
        });
    std::atomic<bool> done{false};
    threads.emplace_back([&] {
        while (!done) {
            ggml_threadpool_pause(shared);
            ggml_threadpool_get_n_threads(shared);
            ggml_threadpool_resume(shared);
            llama_attach_threadpool(alone, shared, nullptr);
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ggml_threadpool_free(shared); /* whoever has it finishes, whoever waits goes on alone */
    threads[0].join();
    threads[1].join();
    done = true;
    threads[2].join();
    CHECK(n_right == 2 * 20 * 2);
    CHECK(decode(alone) == 0);
    CHECK(row(alone) == expected);
    llama_free(alone);
    llama_model_free(model);
}

TEST_CASE("chains sample in the decodes of parallel contexts, and are read and exchanged from other threads")
{
    llama_model *model = llama_model_load_from_file(model_path().c_str(), llama_model_default_params());
    REQUIRE(model != nullptr);
    auto chain = [](uint32_t seed) {
        llama_sampler *smpl = llama_sampler_chain_init(llama_sampler_chain_default_params());
        llama_sampler_chain_add(smpl, llama_sampler_init_top_k(5));
        llama_sampler_chain_add(smpl, llama_sampler_init_dist(seed));
        return smpl;
    };
    auto sample = [&](llama_context *ctx) {
        llama_memory_clear(llama_get_memory(ctx), false);
        llama_sampler *smpl = chain(7);
        std::vector<llama_token> drawn;
        llama_token token = 5;
        if (!llama_set_sampler(ctx, 0, smpl)) {
            llama_sampler_free(smpl);
            return drawn;
        }
        while (drawn.size() < 12 && llama_decode(ctx, llama_batch_get_one(&token, 1)) == 0)
            drawn.push_back(token = llama_get_sampled_token_ith(ctx, -1));
        llama_sampler_free(smpl); /* while attached */
        return drawn;
    };
    llama_context *first = make(model);
    const std::vector<llama_token> expected = sample(first);
    REQUIRE(expected.size() == 12);
    std::atomic<int> n_right{0};
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; i++)
        threads.emplace_back([&] {
            llama_context *ctx = make(model);
            for (int turn = 0; turn < 10; turn++)
                n_right += sample(ctx) == expected;
            llama_free(ctx);
        });
    llama_sampler *other = chain(3);
    threads.emplace_back([&] { /* asks and exchanges where the main thread decodes */
        while (!done) {
            llama_get_sampled_probs_ith(first, -1), llama_get_sampled_candidates_count_ith(first, -1);
            llama_set_sampler(first, 1, other), llama_set_sampler(first, 1, nullptr);
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
    });
    int n_done = 0;
    for (int turn = 0; turn < 100000 && n_done < 50; turn++) {
        const int rc = decode(first);
        n_done += rc == 0;
        if (rc != 0)
            std::this_thread::yield();
    }
    done = true;
    for (std::thread &thread : threads)
        thread.join();
    CHECK(n_right == 20);
    CHECK(n_done == 50);
    llama_free(first);
    llama_sampler_free(other);
    llama_model_free(model);
}

TEST_CASE("texts are tokenized in batches by several threads at once")
{
    llama_model *model = llama_model_load_from_file(model_path().c_str(), llama_model_default_params());
    REQUIRE(model != nullptr);
    const llama_vocab *vocab = llama_model_get_vocab(model);
    std::string text;
    while (text.size() < 20000) /* so that a call has work for three threads */
        text += "some words, and 12 numbers; ";
    const char *texts[6];
    int64_t lengths[6];
    for (int i = 0; i < 6; i++) {
        texts[i] = text.data() + i;
        lengths[i] = static_cast<int64_t>(text.size()) - 100 * i;
    }
    auto tokenize = [&](int n_threads) {
        std::vector<llama_token> tokens(6 * text.size());
        int64_t offsets[7];
        const int64_t n = bitnet_tokenize_batch(vocab, texts, lengths, 6, tokens.data(), nullptr, static_cast<int64_t>(tokens.size()), offsets,
                                                0, n_threads);
        tokens.resize(n > 0 ? static_cast<size_t>(n) : 0);
        return tokens;
    };
    const std::vector<llama_token> expected = tokenize(1);
    CHECK(!expected.empty());
    std::atomic<int> n_right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&, i] {
            for (int turn = 0; turn < 3; turn++)
                n_right += tokenize(2 + i) == expected;
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(n_right == 9);
    llama_model_free(model);
}

TEST_CASE("models are loaded, used and freed in parallel")
{
    const std::string path = model_path();
    llama_model *shared = llama_model_load_from_file(path.c_str(), llama_model_default_params());
    REQUIRE(shared != nullptr);
    llama_context *alone = make(shared);
    REQUIRE(decode(alone) == 0);
    const std::vector<float> expected = row(alone);
    std::atomic<int> n_right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&, i] {
            for (int turn = 0; turn < 4; turn++) {
                llama_model *own = llama_model_load_from_file(path.c_str(), llama_model_default_params());
                llama_context *first = make(own), *second = make(shared);
                if ((i + turn) % 2 == 0)
                    llama_model_free(own);
                n_right += decode(first) == 0 && row(first) == expected && decode(second) == 0 && row(second) == expected;
                llama_free(first);
                llama_free(second);
                if ((i + turn) % 2 != 0)
                    llama_model_free(own);
                llama_adapter_lora_free(llama_adapter_lora_init(shared, path.c_str())); /* no adapter: refused, beside the others */
                std::vector<llama_token> tokens(64);
                n_right += llama_tokenize(shared, "two words", 9, tokens.data(), 64, true, false) > 0;
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(n_right == 2 * 3 * 4);
    llama_free(alone);
    llama_model_free(shared);
}

namespace {

std::atomic<int> n_wrong_pairs{0}, n_lines{0};
int first_data, second_data;
void first(ggml_log_level, const char *, void *data) { n_lines++, n_wrong_pairs += data != &first_data; }
void second(ggml_log_level, const char *, void *data) { n_lines++, n_wrong_pairs += data != &second_data; }

} // namespace

TEST_CASE("the log may be set by one thread while others write to it")
{
    std::atomic<bool> done{false};
    std::vector<std::thread> writers;
    for (int i = 0; i < 2; i++)
        writers.emplace_back([&] {
            while (!done)
                llama_model_n_embd(nullptr); /* an error, which is a line */
        });
    for (int turn = 0; turn < 2000 || n_lines == 0; turn++) {
        turn % 2 == 0 ? llama_log_set(first, &first_data) : llama_log_set(second, &second_data);
        ggml_log_callback callback;
        void *data;
        llama_log_get(&callback, &data);
        n_wrong_pairs += callback != (turn % 2 == 0 ? first : second) || data != (turn % 2 == 0 ? &first_data : &second_data);
    }
    done = true;
    for (std::thread &writer : writers)
        writer.join();
    llama_log_set(nullptr, nullptr);
    CHECK(n_lines > 0);
    CHECK(n_wrong_pairs == 0);
}
