/* The samplers' vtables. In C because Cython has no static tables: a module-level assignment would run only under Python.
 * Members left out are NULL, which llama.h allows everywhere but for `name` and `apply`. Next: bnf_sampler.h. */
#include "bnf_sampler.h"

#include <stdatomic.h>

#define PLAIN(apply_fn) \
    { .name = bnf_sampler_own_name, .apply = apply_fn, .clone = bnf_plain_clone, .free = bnf_plain_free }

struct llama_sampler_i bnf_empty_i = PLAIN(bnf_empty_apply);
struct llama_sampler_i bnf_greedy_i = PLAIN(bnf_greedy_apply);
struct llama_sampler_i bnf_top_k_i = PLAIN(bnf_top_k_apply);
struct llama_sampler_i bnf_top_p_i = PLAIN(bnf_top_p_apply);
struct llama_sampler_i bnf_min_p_i = PLAIN(bnf_min_p_apply);
struct llama_sampler_i bnf_typical_i = PLAIN(bnf_typical_apply);
struct llama_sampler_i bnf_temp_i = PLAIN(bnf_temp_apply);

struct llama_sampler_i bnf_temp_ext_i = PLAIN(bnf_temp_ext_apply);
struct llama_sampler_i bnf_top_n_sigma_i = PLAIN(bnf_top_n_sigma_apply);
struct llama_sampler_i bnf_softmax_i = PLAIN(bnf_softmax_apply);
struct llama_sampler_i bnf_tail_free_i = PLAIN(bnf_tail_free_apply);

#define RANDOM(apply_fn, reset_fn, clone_fn) \
    { .name = bnf_sampler_own_name, .apply = apply_fn, .reset = reset_fn, .clone = clone_fn, .free = bnf_plain_free }

struct llama_sampler_i bnf_xtc_i = RANDOM(bnf_xtc_apply, bnf_dist_reset, bnf_xtc_clone);
struct llama_sampler_i bnf_mirostat_i = RANDOM(bnf_mirostat_apply, bnf_mirostat_reset, bnf_mirostat_clone);
struct llama_sampler_i bnf_mirostat_v2_i = RANDOM(bnf_mirostat_v2_apply, bnf_mirostat_reset, bnf_mirostat_clone);

struct llama_sampler_i bnf_dist_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_dist_accept,
    .apply = bnf_dist_apply,
    .reset = bnf_dist_reset,
    .clone = bnf_dist_clone,
    .free = bnf_plain_free,
};

struct llama_sampler_i bnf_gumbel_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_gumbel_accept,
    .apply = bnf_gumbel_apply,
    .reset = bnf_gumbel_reset,
    .clone = bnf_gumbel_clone,
    .free = bnf_plain_free,
};

struct llama_sampler_i bnf_adaptive_p_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_adaptive_p_accept,
    .apply = bnf_adaptive_p_apply,
    .reset = bnf_adaptive_p_reset,
    .clone = bnf_adaptive_p_clone,
    .free = bnf_plain_free,
};

struct llama_sampler_i bnf_dry_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_dry_accept,
    .apply = bnf_dry_apply,
    .reset = bnf_dry_reset,
    .clone = bnf_dry_clone,
    .free = bnf_dry_free,
};

struct llama_sampler_i bnf_grammar_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_grammar_sampler_accept,
    .apply = bnf_grammar_sampler_apply,
    .reset = bnf_grammar_sampler_reset,
    .clone = bnf_grammar_sampler_clone,
    .free = bnf_grammar_sampler_free,
};

struct llama_sampler_i bnf_infill_i = {
    .name = bnf_sampler_own_name,
    .apply = bnf_infill_apply,
    .clone = bnf_infill_clone,
    .free = bnf_plain_free,
};

struct llama_sampler_i bnf_penalties_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_penalties_accept,
    .apply = bnf_penalties_apply,
    .reset = bnf_penalties_reset,
    .clone = bnf_penalties_clone,
    .free = bnf_penalties_free,
};

struct llama_sampler_i bnf_logit_bias_i = {
    .name = bnf_sampler_own_name,
    .apply = bnf_logit_bias_apply,
    .clone = bnf_logit_bias_clone,
    .free = bnf_logit_bias_free,
};

struct llama_sampler_i bnf_chain_i = {
    .name = bnf_sampler_own_name,
    .accept = bnf_chain_accept,
    .apply = bnf_chain_apply,
    .reset = bnf_chain_reset,
    .clone = bnf_chain_clone,
    .free = bnf_chain_free,
};

uint64_t bnf_next_serial(void)
{
    static atomic_uint_least64_t last;
    return atomic_fetch_add(&last, 1u) + 1;
}
