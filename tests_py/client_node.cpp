/* client_node.cpp - what node-llama-cpp's compiled addon takes from inside of llama.cpp, for bitnet_ffi under it (docs/CLIENTS.md).
 *
 * The addon calls llama.h, and besides a few C++ functions that are in no public header: those that running a model needs are here.
 * Built as libllama.v0.5.0.so and linked with libbitnet_ffi.so, it takes the place of the addon's own.
 * Next: test_client_node.py, which does that. */
#include <cstddef>
#include <map>
#include <string>

/* Memory by kind of buffer, for the addon's own accounts: it counts nothing for a map with nothing in it. */
struct llama_model {
    std::map<void *, std::size_t> memory_breakdown() const;
};
struct llama_context {
    struct sizes { std::size_t model, context, compute; };
    std::map<void *, sizes> memory_breakdown() const;
};
std::map<void *, std::size_t> llama_model::memory_breakdown() const { return {}; }
std::map<void *, llama_context::sizes> llama_context::memory_breakdown() const { return {}; }

/* The addon parses a grammar when it is made, before a vocabulary is there, and forgets the result. llama_sampler_init_grammar parses it
 * again for the model: that is where a wrong one is refused here. */
struct llama_vocab;
struct llama_grammar {};
llama_grammar *llama_grammar_init_impl(const llama_vocab *, const char *, const char *, bool, const char **, std::size_t, const int *,
                                       std::size_t)
{
    return new llama_grammar;
}
void llama_grammar_free_impl(llama_grammar *grammar) { delete grammar; }

/* What kind of cache a model of this name wants: none here is recurrent or hybrid. */
enum llm_arch : int {};
llm_arch llm_arch_from_string(const std::string &) { return llm_arch(0); }
bool llm_arch_is_recurrent(const llm_arch &) { return false; }
bool llm_arch_is_hybrid(const llm_arch &) { return false; }
