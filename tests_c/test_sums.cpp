/* Integer sums at their extremes, for every table and layout: all weights at one end, all activations at one end, in the lengths that
 * models have. Sums that were kept too long in 16 bits (as in a peer, which gives -8192 for 1,040,384) would show here. The
 * expected value is written down, not computed by another table. */
#include <catch2/catch.hpp>

#include <algorithm>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

/* Weights of all codes `code`, every activation q with scale 1 and weight scale 1: each result is (code - 1) * q * k. */
struct Extreme {
    int64_t k, m, n_cols;
    std::vector<uint8_t> data;
    std::vector<int8_t> q, panels;
    std::vector<float> scale;
    std::vector<int16_t> sum16;
    std::vector<int32_t> sum;
    bnf_matrix w;
    bnf_act x;

    Extreme(int32_t type, int64_t k_, int code, int8_t value, int64_t n) : k(k_), m(32), n_cols(n)
    {
        const uint8_t fields = static_cast<uint8_t>(code * 0x55);
        w = {nullptr, k, m, static_cast<uint64_t>(k / 4), type, type, 1.0f};
        if (type == GGML_TYPE_I2_S) {
            data.assign(static_cast<size_t>(k * m / 4 + 32), fields);
        } else {
            w.row_size = static_cast<uint64_t>(k / 256 * 66);
            for (int64_t b = 0; b < k / 256 * m; b++) {
                data.insert(data.end(), 64, fields);
                data.push_back(0x00);
                data.push_back(0x3c); /* 1.0 */
            }
        }
        w.data = data.data();
        q.assign(static_cast<size_t>(n * k), value);
        panels.assign(static_cast<size_t>((n + 16) * k), value); /* whatever the order in them */
        scale.assign(static_cast<size_t>(n), 1.0f);
        sum16.assign(static_cast<size_t>(n * k / 16), static_cast<int16_t>(16 * value));
        sum.assign(static_cast<size_t>(n), static_cast<int32_t>(k * value));
        x = {BNF_ACT_Q8_ROW, n, k, nullptr, 0, q.data(), k, scale.data(), sum16.data(), sum.data(),
             n > 1 ? panels.data() : nullptr};
    }
};

template <typename T> T *align(std::vector<uint8_t> &memory)
{
    void *p = memory.data();
    size_t space = memory.size();
    return static_cast<T *>(std::align(64, 1, p, space));
}

void require_all(const Table &ops, const Extreme &e, const bnf_matrix &w, double expected)
{
    std::vector<uint8_t> scratch(BNF_MATMUL_SCRATCH(e.k) + 64);
    std::vector<float> y(static_cast<size_t>(e.m * e.n_cols), -1.0f);
    ops.matmul[w.layout](&w, &e.x, y.data(), e.m, 0, e.m, align<void>(scratch));
    for (float value : y)
        REQUIRE(value == static_cast<float>(expected));
}

std::vector<const Table *> tables_here()
{
    std::vector<const Table *> all = other_tables();
    all.push_back(&table("scalar"));
    return all;
}

const int32_t sum_types[] = {GGML_TYPE_I2_S, GGML_TYPE_TQ2_0};

template <typename Check> void for_extremes(Check check)
{
    for (const int64_t k : {4096, 6912, 13824})
        for (const int32_t type : sum_types)
            for (const int code : {0, 2, 3})
                for (const int8_t value : {int8_t{127}, int8_t{-127}})
                    for (const int64_t n_cols : {1, 2, 4, 5, 6, 8, 12, 13})
                        check(Extreme(type, k, code, value, n_cols), static_cast<double>(code - 1) * value * static_cast<double>(k));
}

}  // namespace

TEST_CASE("test_sums_extreme_in_place")
{
    for (const Table *ops : tables_here())
        for_extremes([&](const Extreme &e, double expected) {
            INFO(ops->name << ", type " << e.w.type << ", k = " << e.k << ", columns = " << e.n_cols);
            require_all(*ops, e, e.w, expected);
        });
}

TEST_CASE("test_sums_extreme_packed")
{
    int packing = 0;
    for (const Table *ops : tables_here()) {
        if (!ops->packed_layout)
            continue;
        packing++;
        for_extremes([&](const Extreme &e, double expected) {
            INFO(ops->name << ", type " << e.w.type << ", k = " << e.k << ", columns = " << e.n_cols);
            bnf_matrix w = e.w;
            std::vector<uint8_t> packed(ops->packed_size(&e.w) + 64);
            if (!ops->pack(&e.w, 0, e.m, align<uint8_t>(packed))) {
                REQUIRE((e.data[0] & 3) == 3); /* a layout that has no place for this code, which no packer writes */
                return;
            }
            w.layout = ops->packed_layout(&e.w);
            w.data = align<uint8_t>(packed);
            REQUIRE(w.layout != w.type);
            require_all(*ops, e, w, expected);
        });
    }
    if (packing == 0)
        WARN("no table of this CPU packs");
}

#ifdef BNF_EVEX /* test_avxvnni.py: the tables under test include this one, wherever it runs */
TEST_CASE("test_sums_of_avxvnni_are_tested")
{
    const std::vector<const Table *> all = other_tables();
    REQUIRE(std::any_of(all.begin(), all.end(), [](const Table *ops) { return std::string(ops->name) == "avxvnni"; }));
}
#endif
