/* Which samplers can do with a few logits, and which ones those are (bnf_sampler.h).
 * That the choice stays the same: tests_py/test_gumbel.py and test_head.py. */
#include <catch2/catch.hpp>

#include <memory>
#include <vector>

extern "C" {
#include "bnf_sampler.h"
}

namespace {

using Members = std::vector<llama_sampler *>;

llama_sampler *biases(int32_t n)
{
    std::vector<llama_logit_bias> bias(static_cast<size_t>(n));
    for (int32_t i = 0; i < n; i++)
        bias[static_cast<size_t>(i)] = {10 * i, 1.0f};
    return llama_sampler_init_logit_bias(5000, n, bias.data());
}

/* Whether a chain of these has a shortlist, and the list. */
bool listed(const Members &members, bnf_shortlist &list)
{
    const std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> chain(
        llama_sampler_chain_init(llama_sampler_chain_default_params()), llama_sampler_free);
    for (llama_sampler *member : members)
        llama_sampler_chain_add(chain.get(), member);
    return bnf_shortlist_of(chain.get(), INT32_MAX, &list);
}

}  // namespace

TEST_CASE("test_noise_behind_a_temperature_needs_few_logits")
{
    bnf_shortlist list;
    REQUIRE(listed({llama_sampler_init_temp(0.5f), bitnet_sampler_init_gumbel(7)}, list));
    CHECK(list.k == 0);
    CHECK(list.t == 0.5f);
    CHECK(list.seed == 7);
    CHECK(list.step == 0);
    CHECK(list.n_more == 0);
    REQUIRE(listed({biases(3), llama_sampler_init_temp(1.0f), bitnet_sampler_init_gumbel(7), llama_sampler_init_greedy()}, list));
    CHECK(list.t == 1.0f);
    CHECK(list.n_more == 3);
    CHECK(list.more[2] == 20);
    REQUIRE(listed({llama_sampler_init_temp(0.5f), biases(200), bitnet_sampler_init_gumbel(7)}, list));
    CHECK(list.n_more == 200);
}

TEST_CASE("test_noise_alone_needs_few_logits")
{
    llama_sampler *const sampler = bitnet_sampler_init_gumbel(3);
    llama_token_data data = {0, 0, 0};
    llama_token_data_array cur = {&data, 1, -1, false};
    llama_sampler_apply(sampler, &cur);
    bnf_shortlist list;
    CHECK(bnf_shortlist_of(sampler, INT32_MAX, &list));
    CHECK(list.step == 1);
    llama_sampler_free(sampler);
}

TEST_CASE("test_noise_behind_temperature_zero_is_the_largest_logit")
{
    bnf_shortlist list;
    REQUIRE(listed({llama_sampler_init_temp(0.0f), bitnet_sampler_init_gumbel(7)}, list));
    CHECK(list.k == 1);
    REQUIRE(listed({biases(4), llama_sampler_init_temp(-1.0f), bitnet_sampler_init_gumbel(7)}, list));
    CHECK(list.k == 5);
    REQUIRE(listed({llama_sampler_init_temp(0.0f), llama_sampler_init_dist(7)}, list));
    CHECK(list.k == 1);
    CHECK_FALSE(listed({llama_sampler_init_temp(0.0f)}, list));
}

TEST_CASE("test_top_k_needs_k_logits")
{
    bnf_shortlist list;
    REQUIRE(listed({biases(4), llama_sampler_init_top_k(40), llama_sampler_init_temp(0.5f), llama_sampler_init_dist(7)}, list));
    CHECK(list.k == 44);
}

TEST_CASE("test_what_looks_at_all_logits_has_no_shortlist")
{
    bnf_shortlist list;
    CHECK_FALSE(listed({}, list));
    CHECK_FALSE(listed({llama_sampler_init_temp(0.5f), llama_sampler_init_dist(7)}, list));
    CHECK_FALSE(listed({llama_sampler_init_temp(0.5f), llama_sampler_init_temp(0.5f), bitnet_sampler_init_gumbel(7)}, list));
    CHECK_FALSE(listed({llama_sampler_init_temp(0.5f), llama_sampler_init_temp(0.0f), bitnet_sampler_init_gumbel(7)}, list));
    CHECK_FALSE(listed({llama_sampler_init_temp(0.5f), llama_sampler_init_top_k(5), bitnet_sampler_init_gumbel(7)}, list));
    CHECK_FALSE(listed({llama_sampler_init_top_p(0.9f, 1), bitnet_sampler_init_gumbel(7)}, list));
    CHECK_FALSE(listed({llama_sampler_init_min_p(0.1f, 1), bitnet_sampler_init_gumbel(7)}, list));
    CHECK_FALSE(listed({biases(BNF_SHORTLIST_MORE), biases(1), bitnet_sampler_init_gumbel(7)}, list));
}
