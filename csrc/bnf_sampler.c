/* The samplers' vtables. In C because Cython has no static tables: a module-level assignment would run only under Python.
 * Members left out are NULL, which llama.h allows everywhere but for `name` and `apply`. Next: bnf_sampler.h. */
#include "bnf_sampler.h"

#define PLAIN(apply_fn) \
    { .name = bnf_sampler_own_name, .apply = apply_fn, .clone = bnf_plain_clone, .free = bnf_plain_free }

struct llama_sampler_i bnf_empty_i = PLAIN(bnf_empty_apply);
struct llama_sampler_i bnf_greedy_i = PLAIN(bnf_greedy_apply);
struct llama_sampler_i bnf_top_k_i = PLAIN(bnf_top_k_apply);
struct llama_sampler_i bnf_top_p_i = PLAIN(bnf_top_p_apply);
struct llama_sampler_i bnf_min_p_i = PLAIN(bnf_min_p_apply);
struct llama_sampler_i bnf_typical_i = PLAIN(bnf_typical_apply);
struct llama_sampler_i bnf_temp_i = PLAIN(bnf_temp_apply);

struct llama_sampler_i bnf_dist_i = {
    .name = bnf_sampler_own_name,
    .apply = bnf_dist_apply,
    .reset = bnf_dist_reset,
    .clone = bnf_dist_clone,
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
