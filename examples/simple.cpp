// simple.cpp - greedy completion of a prompt, in C++17: the C API held by unique_ptr, so nothing leaks on any path.
//
//   c++ -std=c++17 simple.cpp $(python3 -m bitnet_ffi.config --cflags --libs) -o simple
//   ./simple model.gguf "The capital of France is" 32
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitnet_ffi.h"

namespace {

struct Free {
    void operator()(llama_model *model) const { llama_model_free(model); }
    void operator()(llama_context *ctx) const { llama_free(ctx); }
    void operator()(llama_sampler *sampler) const { llama_sampler_free(sampler); }
};
template <class T> using Owned = std::unique_ptr<T, Free>;

// What the library gave, or an exception with its sentence.
template <class T> Owned<T> own(T *object)
{
    if (object == nullptr) {
        throw std::runtime_error(bitnet_last_error());
    }
    return Owned<T>(object);
}

std::vector<llama_token> tokenize(const llama_vocab *vocab, const std::string &text)
{
    const auto len = static_cast<int32_t>(text.size());
    const int32_t n = -llama_tokenize(vocab, text.data(), len, nullptr, 0, true, true);
    if (n <= 0) {
        throw std::runtime_error(n < 0 ? bitnet_last_error() : "the prompt has no tokens");
    }
    std::vector<llama_token> tokens(static_cast<size_t>(n));
    llama_tokenize(vocab, text.data(), len, tokens.data(), n, true, true);
    return tokens;
}

std::string piece(const llama_vocab *vocab, llama_token token)
{
    std::string text(256, '\0');
    const int32_t n = llama_token_to_piece(vocab, token, &text[0], static_cast<int32_t>(text.size()), 0, false);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
}

void complete(const char *path, const std::string &prompt, int n_predict)
{
    const auto model = own(llama_model_load_from_file(path, llama_model_default_params()));
    const llama_vocab *vocab = llama_model_get_vocab(model.get());
    std::vector<llama_token> tokens = tokenize(vocab, prompt);

    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(tokens.size()) + static_cast<uint32_t>(n_predict);
    const auto ctx = own(llama_init_from_model(model.get(), params));
    const auto sampler = own(llama_sampler_init_greedy());

    for (int i = 0; i < n_predict; i++) {
        if (llama_decode(ctx.get(), llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size()))) != 0) {
            throw std::runtime_error(bitnet_last_error());
        }
        const llama_token token = llama_sampler_sample(sampler.get(), ctx.get(), -1);
        if (llama_vocab_is_eog(vocab, token)) {
            break;
        }
        std::cout << piece(vocab, token) << std::flush;
        tokens = {token};
    }
    std::cout << '\n';
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::cerr << "usage: " << argv[0] << " MODEL.gguf PROMPT [N_PREDICT]\n";
        return 2;
    }
    try {
        complete(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 32);
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return 0;
}
