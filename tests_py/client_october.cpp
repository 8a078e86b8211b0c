/* client_october.cpp - between Debian's compiled llama.cpp 0.7.0 (October 2026) and bitnet_ffi (docs/CLIENTS.md).
 *
 * Two structs of llama.h have grown since August, whose llama.h this library is: they are converted here, at the call. And what the
 * programs' common part takes from inside of llama.cpp, C++ functions of no public header, says here that there is no such thing.
 * Preloaded, before the library under the name libllama.so.0. Next: test_client_debian.py, which does that. */
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>

#include <bitnet_ffi.h>

template <class Function> static Function *todays(const char *name) { return reinterpret_cast<Function *>(dlsym(RTLD_NEXT, name)); }

/* ---- structs ---- */

/* One number more in the middle: moe_cache_size, about devices. */
constexpr std::size_t head_size = offsetof(llama_context_params, abort_callback);
constexpr std::size_t tail_size = sizeof(llama_context_params) - head_size;
struct alignas(8) october_params {
    unsigned char head[head_size];
    std::size_t moe_cache_size;
    unsigned char tail[tail_size];
};
static_assert(head_size % 8 == 0 && sizeof(october_params) == sizeof(llama_context_params) + 8, "nothing but that number");

struct october_perf {
    double ms[4];
    int32_t n_p_eval, n_eval, n_reused, n_reallocs_same, n_reallocs_diff;
};

extern "C" {
october_params october_default_params(void) __asm__("llama_context_default_params");
llama_context *october_init(llama_model *model, october_params params) __asm__("llama_init_from_model");
october_perf october_perf_context(const llama_context *ctx) __asm__("llama_perf_context");

october_params october_default_params(void)
{
    const llama_context_params now = todays<llama_context_params()>("llama_context_default_params")();
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(&now);
    october_params params = {};
    std::memcpy(params.head, bytes, head_size);
    std::memcpy(params.tail, bytes + head_size, tail_size);
    return params;
}

llama_context *october_init(llama_model *model, october_params params)
{
    llama_context_params now;
    unsigned char *bytes = reinterpret_cast<unsigned char *>(&now);
    std::memcpy(bytes, params.head, head_size);
    std::memcpy(bytes + head_size, params.tail, tail_size);
    return todays<llama_context *(llama_model *, llama_context_params)>("llama_init_from_model")(model, now);
}

october_perf october_perf_context(const llama_context *ctx)
{
    const llama_perf_context_data now = todays<llama_perf_context_data(const llama_context *)>("llama_perf_context")(ctx);
    return {{now.t_start_ms, now.t_load_ms, now.t_p_eval_ms, now.t_eval_ms}, now.n_p_eval, now.n_eval, now.n_reused, 0, 0};
}
}

/* ---- the inside of llama.cpp: no experts, no devices, no layers that predict further tokens ---- */

struct sizes { std::size_t model, context, compute; };
enum llama_decision_order : int {};
llama_context *llama_get_ctx_other(llama_context *) { return nullptr; }
int32_t llama_model_n_expert(const llama_model *) { return 0; }
int32_t llama_model_n_devices(const llama_model *) { return 0; }
ggml_backend_dev_t llama_model_get_device(const llama_model *, int) { return nullptr; }
std::map<ggml_backend_buffer_type_t, sizes> llama_get_memory_breakdown(const llama_context *) { return {}; }
void llama_set_embeddings_nextn(llama_context *, bool, bool) {}
float *llama_get_embeddings_nextn(llama_context *) { return nullptr; }
float *llama_get_embeddings_nextn_ith(llama_context *, int32_t) { return nullptr; }
void llama_set_nextn_layer_offset(llama_context *, int32_t) {}
float *llama_get_embeddings_layer_inp(llama_context *, uint32_t) { return nullptr; }
void llama_set_embeddings_layer_inp(llama_context *, uint32_t, bool) {}
const int32_t *llama_model_target_layer_ids(const llama_model *) { return nullptr; }
uint32_t llama_model_target_layer_ids_n(const llama_model *) { return 0; }
int32_t llama_model_dflash_selector_top_k(const llama_model *) { return 0; }
uint32_t llama_model_get_tok_embd(const llama_model *, float *) { return 0; }
void llama_batch_ext_set_decision_order(llama_batch_ext *, int32_t, llama_decision_order) {}
