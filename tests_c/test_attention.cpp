/* Attention by pages: every table gives scalar's bits, and pages merged are close to plain softmax attention in double. */
#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>
#include <thread>

#include "float_checks.hpp"

using namespace float_checks;

namespace {

/* Numbers of the keys and of the values. */
struct KvTypes {
    enum bnf_kv_type k, v;
    KvTypes(enum bnf_kv_type both) : k(both), v(both) {}
    KvTypes(enum bnf_kv_type keys, enum bnf_kv_type values) : k(keys), v(values) {}
};

const KvTypes KV_TYPES[] = {BNF_KV_F16, BNF_KV_F32, BNF_KV_Q8_0, {BNF_KV_F16, BNF_KV_F32}, {BNF_KV_F16, BNF_KV_Q8_0},
                            {BNF_KV_F32, BNF_KV_F16}, {BNF_KV_F32, BNF_KV_Q8_0}, {BNF_KV_Q8_0, BNF_KV_F16}, {BNF_KV_Q8_0, BNF_KV_F32}};
constexpr uint64_t FULL = ~UINT64_C(0);

/* n pages of keys and values, and the query heads that look at them. Kept as floats that the kv type holds exactly. */
struct Cache {
    KvTypes type;
    size_t g, dk, dv, n_pages;
    float scale;
    std::vector<float> q, k, v;
    std::vector<uint8_t> k_bytes, v_bytes;

    Cache(KvTypes kv_type, size_t heads, size_t key_width, size_t value_width, size_t pages, bool hostile = false)
        : type(kv_type), g(heads), dk(key_width), dv(value_width), n_pages(pages), scale(1 / std::sqrt(static_cast<float>(dk)))
    {
        q = normal_floats(g * dk, 1, 2.0f);
        k = normal_floats(n_pages * BNF_KV_PAGE * dk, 2);
        v = normal_floats(n_pages * BNF_KV_PAGE * dv, 3);
        if (hostile) {
            spoil(k, 4);
            spoil(v, 5);
        }
        k_bytes = stored(k, dk, type.k);
        v_bytes = stored(v, dv, type.v);
    }

    const void *k_page(size_t page) const { return at(k_bytes, k, page, dk, type.k); }
    const void *v_page(size_t page) const { return at(v_bytes, v, page, dv, type.v); }

private:
    /* One vector element in 500, so that some positions and columns stay finite. */
    static void spoil(std::vector<float> &x, unsigned seed)
    {
        std::mt19937 random(seed);
        const std::vector<float> odd = hostile_floats(x.size() / 500 + 1, seed);
        for (const float value : odd)
            x[random() % x.size()] = value;
    }
    /* Rows of d floats as the cache holds them; x becomes what they mean. */
    static std::vector<uint8_t> stored(std::vector<float> &x, size_t d, enum bnf_kv_type type)
    {
        const size_t row_size = bnf_kv_row_size(type, static_cast<int64_t>(d));
        std::vector<uint8_t> bytes(x.size() / d * row_size);
        for (size_t row = 0; row * d < x.size(); row++) {
            uint8_t *const y = bytes.data() + row * row_size;
            table("scalar").store_kv[type](x.data() + row * d, static_cast<int64_t>(d), y);
            for (size_t i = 0; i < d && type != BNF_KV_F32; i++) {
                uint16_t half;
                std::memcpy(&half, type == BNF_KV_F16 ? y + 2 * i : y + d + i / BNF_KV_BLOCK * 2, sizeof half);
                const float f = bnf_f16_to_f32(half);
                x[row * d + i] = type == BNF_KV_F16 ? f : static_cast<float>(static_cast<int8_t>(y[i])) * f;
            }
        }
        return bytes;
    }
    /* F32 as the floats stand now: tests change them. */
    static const void *at(const std::vector<uint8_t> &bytes, const std::vector<float> &x, size_t page, size_t d, enum bnf_kv_type type)
    {
        if (type == BNF_KV_F32)
            return x.data() + page * BNF_KV_PAGE * d;
        return bytes.data() + page * BNF_KV_PAGE * bnf_kv_row_size(type, static_cast<int64_t>(d));
    }
};

bool fits(KvTypes type, size_t dk, size_t dv)
{
    return (type.k != BNF_KV_Q8_0 || dk % BNF_KV_BLOCK == 0) && (type.v != BNF_KV_Q8_0 || dv % BNF_KV_BLOCK == 0);
}

struct Result {
    std::vector<float> m, l, o;
    Result(size_t g, size_t dv) : m(g, -7.0f), l(g, -7.0f), o(g * dv, -7.0f) {}
    bool operator==(const Result &other) const
    {
        return same_bits(m, other.m) && same_bits(l, other.l) && same_bits(o, other.o);
    }
};

Result one_page(const Table &ops, const Cache &cache, size_t page, uint64_t mask)
{
    Result r(cache.g, cache.dv);
    ops.attn_page(cache.q.data(), static_cast<int64_t>(cache.g), static_cast<int64_t>(cache.dk), static_cast<int64_t>(cache.dv),
                  cache.k_page(page), cache.type.k, cache.v_page(page), cache.type.v, mask, cache.scale, r.m.data(), r.l.data(), r.o.data(),
                  cache.k_page(page), cache.v_page(page));
    return r;
}

void merge(const Table &ops, const Cache &cache, Result &into, const Result &later)
{
    ops.attn_merge(into.m.data(), into.l.data(), into.o.data(), later.m.data(), later.l.data(), later.o.data(),
                   static_cast<int64_t>(cache.g), static_cast<int64_t>(cache.dv));
}

std::vector<uint64_t> masks()
{
    std::vector<uint64_t> all = {1, UINT64_C(1) << 63, UINT64_C(1) << 17, FULL, FULL >> 1, FULL << 1, 7, 0x1ffff,
                                 UINT64_C(0x5555555555555555), UINT64_C(0xffff0000ffff0000), UINT64_C(0x8000000000000001)};
    std::mt19937_64 random(9);
    for (int i = 0; i < 6; i++)
        all.push_back(random() | UINT64_C(1) << (random() % 64));
    return all;
}

void check_same_as_scalar(const Cache &cache)
{
    std::vector<Result> expected;
    for (const uint64_t mask : masks())
        expected.push_back(one_page(table("scalar"), cache, 0, mask));
    for (const Table *ops : other_tables()) {
        std::vector<uint64_t> wrong; /* masks */
        for (size_t i = 0; i < expected.size(); i++)
            if (!(one_page(*ops, cache, 0, masks()[i]) == expected[i]))
                wrong.push_back(masks()[i]);
        INFO(ops->name << ", types " << cache.type.k << cache.type.v << ", g = " << cache.g << ", dk = " << cache.dk
                       << ", dv = " << cache.dv);
        REQUIRE(wrong == std::vector<uint64_t>());
    }
}

}  // namespace

TEST_CASE("test_attn_page_same_bits_for_model_shapes")
{
    for (const KvTypes type : KV_TYPES)
        for (const size_t g : {1u, 3u, 4u, 5u, 8u})
            for (const size_t d : {64u, 96u, 100u, 128u})
                if (fits(type, d, d))
                    check_same_as_scalar(Cache(type, g, d, d, 1));
}

TEST_CASE("test_attn_page_same_bits_for_any_shape")
{
    for (const KvTypes type : KV_TYPES)
        for (size_t d = 1; d <= 95; d++)
            if (fits(type, d, 96 - d))
                check_same_as_scalar(Cache(type, 1 + d % 10, d, 96 - d, 1));
}

TEST_CASE("test_attn_page_same_bits_for_hostile_values")
{
    for (const KvTypes type : KV_TYPES)
        for (const size_t g : {1u, 2u, 3u, 4u, 5u})
            check_same_as_scalar(Cache(type, g, type.k == BNF_KV_Q8_0 ? 64 : 72, type.v == BNF_KV_Q8_0 ? 96 : 100, 1, true));
}

TEST_CASE("test_attn_page_maximum_passes_over_nan")
{
    Cache cache(BNF_KV_F32, 1, 1, 1, 1);
    cache.q[0] = cache.scale = 1.0f;
    for (const Table *ops : other_tables()) {
        size_t wrong = 0;
        for (size_t highest = 0; highest < BNF_KV_PAGE; highest++)
            for (size_t nan = 0; nan < BNF_KV_PAGE; nan++) {
                if (nan == highest)
                    continue;
                std::fill(cache.k.begin(), cache.k.end(), -2.0f);
                cache.k[highest] = 3.0f;
                cache.k[nan] = std::numeric_limits<float>::quiet_NaN();
                const Result r = one_page(*ops, cache, 0, FULL);
                wrong += r.m[0] != 3.0f || !std::isnan(r.l[0]);
            }
        INFO(ops->name);
        REQUIRE(wrong == 0);
    }
}

TEST_CASE("test_attn_page_maximum_is_never_minus_zero")
{
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables)
        for (const size_t dk : {1u, 16u, 20u, 32u}) {
            Cache cache(BNF_KV_F32, 1, dk, 3, 1);
            std::fill(cache.q.begin(), cache.q.end(), 0x1p-100f);
            std::fill(cache.k.begin(), cache.k.end(), -0x1p-100f); /* every product rounds to -0 */
            const Result r = one_page(*ops, cache, 0, FULL);
            INFO(ops->name << ", dk = " << dk);
            REQUIRE(bnf_bits_of_float(r.m[0]) == 0);
            REQUIRE(r.l[0] == 64.0f);
            REQUIRE(r == one_page(table("scalar"), cache, 0, FULL));
        }
}

TEST_CASE("test_attn_page_writes_nothing_behind_its_results")
{
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables) {
        Cache cache(BNF_KV_F16, 3, 20, 37, 1);
        Result wide(cache.g + 1, cache.dv); /* the head too many keeps its -7 */
        ops->attn_page(cache.q.data(), 3, 20, 37, cache.k_page(0), BNF_KV_F16, cache.v_page(0), BNF_KV_F16, FULL, cache.scale, wide.m.data(),
                       wide.l.data(), wide.o.data(), nullptr, nullptr);
        REQUIRE(wide.m[3] == -7.0f);
        REQUIRE(wide.l[3] == -7.0f);
        REQUIRE(std::all_of(wide.o.begin() + 3 * 37, wide.o.end(), [](float value) { return value == -7.0f; }));
        REQUIRE(wide.o[3 * 37 - 1] != -7.0f);
    }
}

TEST_CASE("test_attn_page_hidden_slots_are_not_read")
{
    for (const Table *ops : other_tables())
        for (const uint64_t mask : masks()) {
            Cache cache(BNF_KV_F32, 4, 64, 64, 1);
            const Result expected = one_page(*ops, cache, 0, mask);
            for (size_t j = 0; j < BNF_KV_PAGE; j++)
                if (!(mask >> j & 1))
                    for (size_t i = 0; i < 64; i++)
                        cache.k[j * 64 + i] = cache.v[j * 64 + i] = std::numeric_limits<float>::quiet_NaN();
            REQUIRE(one_page(*ops, cache, 0, mask) == expected);
        }
}

TEST_CASE("test_attn_page_heads_together_equal_heads_apart")
{
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables)
        for (size_t g = 1; g <= 11; g++) {
            const Cache cache(BNF_KV_F16, g, 100, 68, 1);
            const Result together = one_page(*ops, cache, 0, FULL >> 5);
            for (size_t h = 0; h < g; h++) {
                Result alone(1, cache.dv);
                ops->attn_page(cache.q.data() + h * cache.dk, 1, 100, 68, cache.k_page(0), BNF_KV_F16, cache.v_page(0), BNF_KV_F16, FULL >> 5,
                               cache.scale, alone.m.data(), alone.l.data(), alone.o.data(), nullptr, nullptr);
                REQUIRE(same_bits(alone.m.data(), together.m.data() + h, 1));
                REQUIRE(same_bits(alone.l.data(), together.l.data() + h, 1));
                REQUIRE(same_bits(alone.o.data(), together.o.data() + h * cache.dv, cache.dv));
            }
        }
}

TEST_CASE("test_attn_merge_same_bits")
{
    for (const bool hostile : {false, true})
        for (const size_t g : {1u, 4u, 5u})
            for (size_t dv = 1; dv <= 130; dv += 3) {
                const Cache cache(BNF_KV_F32, g, 1, dv, 1);
                Result first(g, dv), later(g, dv);
                for (std::vector<float> *x : {&first.m, &first.l, &first.o, &later.m, &later.l, &later.o}) {
                    const unsigned seed = static_cast<unsigned>(dv + x->size());
                    *x = hostile ? hostile_floats(x->size(), seed) : normal_floats(x->size(), seed, 3.0f);
                }
                std::rotate(later.m.begin(), later.m.end() - 1, later.m.end());
                Result expected = first;
                merge(table("scalar"), cache, expected, later);
                for (const Table *ops : other_tables()) {
                    Result found = first;
                    merge(*ops, cache, found, later);
                    INFO(ops->name << ", g = " << g << ", dv = " << dv << (hostile ? ", hostile" : ""));
                    REQUIRE(found == expected);
                }
            }
}

TEST_CASE("test_attn_pages_do_not_depend_on_who_computed_them")
{
    const size_t n_pages = 9;
    const Cache cache(BNF_KV_F16, 4, 64, 64, n_pages);
    for (const Table *ops : other_tables()) {
        Result in_order = one_page(*ops, cache, 0, FULL);
        for (size_t page = 1; page < n_pages; page++)
            merge(*ops, cache, in_order, one_page(*ops, cache, page, FULL));

        std::vector<Result> parts(n_pages, Result(cache.g, cache.dv));
        const auto take = [&](size_t first) {
            for (size_t page = n_pages; page-- > 0;) /* backwards, every second page */
                if (page % 2 == first)
                    parts[page] = one_page(*ops, cache, page, FULL);
        };
        std::thread other(take, 1);
        take(0);
        other.join();
        for (size_t page = 1; page < n_pages; page++)
            merge(*ops, cache, parts[0], parts[page]);
        REQUIRE(parts[0] == in_order);
    }
}

TEST_CASE("test_store_kv_q8_0_same_bits_and_nearest")
{
    for (const bool hostile : {false, true})
        for (const size_t d : {32u, 64u, 96u, 128u, 160u}) {
            const std::vector<float> x = hostile ? hostile_floats(d, 3) : normal_floats(d, 3);
            std::vector<uint8_t> expected(bnf_kv_row_size(BNF_KV_Q8_0, static_cast<int64_t>(d)) + 1, 0xa5);
            table("scalar").store_kv[BNF_KV_Q8_0](x.data(), static_cast<int64_t>(d), expected.data());
            REQUIRE(expected.back() == 0xa5);
            REQUIRE(expected.size() == d * 34 / 32 + 1);
            for (const Table *ops : other_tables()) {
                std::vector<uint8_t> found(expected.size(), 0xa5);
                ops->store_kv[BNF_KV_Q8_0](x.data(), static_cast<int64_t>(d), found.data());
                INFO(ops->name << ", d = " << d << (hostile ? ", hostile" : ""));
                REQUIRE(found == expected);
            }
            for (size_t i = 0; i < d && !hostile; i++) {
                uint16_t half;
                std::memcpy(&half, expected.data() + d + i / 32 * 2, sizeof half);
                const double scale = bnf_f16_to_f32(half);
                /* Half a step of q, and 127 times what rounding the scale to F16 (2^-11 of it) moves a step. */
                REQUIRE(std::fabs(static_cast<int8_t>(expected[i]) * scale - x[i]) <= scale * (0.5 + 127 * 0x1p-11 + 1e-4));
            }
        }
}

/* ---- tiles: one token at a time by scalar says what is right ---- */

namespace {

/* n tokens of g heads over one page; q and o have gaps between tokens, and what lies there must stay. */
struct Tile {
    Cache cache;
    int64_t n, q_stride, o_stride;
    std::vector<float> q;
    std::vector<uint64_t> mask;

    Tile(KvTypes type, size_t tokens, size_t g, size_t dk, size_t dv, bool hostile = false)
        : cache(type, g, dk, dv, 1, hostile), n(static_cast<int64_t>(tokens)), q_stride(static_cast<int64_t>(g * dk + 5)),
          o_stride(static_cast<int64_t>(g * dv + 3)), q(normal_floats(tokens * (g * dk + 5), 6, 2.0f))
    {
        std::mt19937_64 random(tokens + dk);
        for (size_t i = 0; i < tokens; i++)
            mask.push_back(i % 7 == 3   ? 0
                           : i % 5 == 1 ? random() & random()
                           : i % 3 == 2 ? FULL >> (63 - (17 * i) % 64)
                                        : FULL);
    }
};

struct TileResult {
    std::vector<float> m, l, o;
    bool operator==(const TileResult &other) const
    {
        return same_bits(m, other.m) && same_bits(l, other.l) && same_bits(o, other.o);
    }
};

/* What a token that sees nothing leaves behind means nothing: both sides get the same there. */
void forget_blind(const Tile &t, TileResult &r)
{
    const size_t g = t.cache.g;
    for (size_t i = 0; i < t.mask.size(); i++)
        if (t.mask[i] == 0) {
            REQUIRE(r.l[i * g] == -1.0f);
            std::fill_n(r.m.begin() + static_cast<ptrdiff_t>(i * g), g, 0.0f);
            std::fill_n(r.l.begin() + static_cast<ptrdiff_t>(i * g), g, 0.0f);
            std::fill_n(r.o.begin() + static_cast<ptrdiff_t>(i) * t.o_stride, g * t.cache.dv, 0.0f);
        }
}

TileResult empty_result(const Tile &t)
{
    const size_t rows = t.mask.size() * t.cache.g;
    return {std::vector<float>(rows, -7.0f), std::vector<float>(rows, -7.0f),
            std::vector<float>(t.mask.size() * static_cast<size_t>(t.o_stride), -7.0f)};
}

TileResult one_by_one(const Tile &t)
{
    TileResult r = empty_result(t);
    const Cache &c = t.cache;
    for (size_t i = 0; i < t.mask.size(); i++) {
        if (t.mask[i] == 0) {
            r.l[i * c.g] = -1.0f;
            continue;
        }
        table("scalar").attn_page(t.q.data() + static_cast<int64_t>(i) * t.q_stride, static_cast<int64_t>(c.g), static_cast<int64_t>(c.dk),
                                  static_cast<int64_t>(c.dv), c.k_page(0), c.type.k, c.v_page(0), c.type.v, t.mask[i], c.scale,
                                  r.m.data() + i * c.g, r.l.data() + i * c.g, r.o.data() + static_cast<int64_t>(i) * t.o_stride, nullptr,
                                  nullptr);
    }
    forget_blind(t, r);
    return r;
}

TileResult together(const Table &ops, const Tile &t)
{
    struct alignas(64) Line {
        float x[16];
    };
    const Cache &c = t.cache;
    const size_t rows = t.mask.size() * c.g;
    std::vector<Line> keys(c.dk * 4), values((c.dv + 15) / 16 * 64), weights((rows + 7) / 8 * 8 * 4);
    std::fill_n(keys[0].x, keys.size() * 16, std::numeric_limits<float>::quiet_NaN()); /* as a page before may have left it */
    std::fill_n(values[0].x, values.size() * 16, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(weights[0].x, weights.size() * 16, std::numeric_limits<float>::quiet_NaN());
    uint64_t any = 0;
    for (const uint64_t mask : t.mask)
        any |= mask;
    TileResult r = empty_result(t);
    ops.unpack_k[c.type.k](c.k_page(0), static_cast<int64_t>(c.dk), any, keys[0].x);
    ops.unpack_v[c.type.v](c.v_page(0), static_cast<int64_t>(c.dv), any, values[0].x);
    const struct bnf_attn_tile tile = {t.n, static_cast<int64_t>(c.g), static_cast<int64_t>(c.dk), static_cast<int64_t>(c.dv),
                                       t.q.data(), t.q_stride, t.mask.data(), c.scale, keys[0].x, values[0].x, weights[0].x,
                                       r.m.data(), r.l.data(), r.o.data(), t.o_stride};
    ops.attn_tile(&tile);
    forget_blind(t, r);
    return r;
}

void check_tile(const Tile &t)
{
    const TileResult expected = one_by_one(t);
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables) {
        INFO(ops->name << ", types " << t.cache.type.k << t.cache.type.v << ", " << t.n << " tokens, g = " << t.cache.g
                       << ", dk = " << t.cache.dk << ", dv = " << t.cache.dv);
        REQUIRE(together(*ops, t) == expected);
    }
}

}  // namespace

TEST_CASE("test_attn_tile_same_bits_for_model_shapes")
{
    for (const KvTypes type : KV_TYPES)
        for (const size_t g : {1u, 3u, 4u, 5u, 8u})
            for (const size_t d : {64u, 96u, 100u, 128u})
                if (fits(type, d, d))
                    check_tile(Tile(type, 32, g, d, d));
}

TEST_CASE("test_attn_tile_same_bits_for_any_shape")
{
    for (const KvTypes type : KV_TYPES)
        for (size_t d = 1; d <= 95; d++)
            if (fits(type, d, 96 - d))
                check_tile(Tile(type, 1 + d % 11, 1 + d % 6, d, 96 - d));
}

TEST_CASE("test_attn_tile_same_bits_for_hostile_values")
{
    for (const KvTypes type : KV_TYPES)
        for (const size_t g : {1u, 2u, 3u, 4u, 5u})
            check_tile(Tile(type, 19, g, type.k == BNF_KV_Q8_0 ? 64 : 72, type.v == BNF_KV_Q8_0 ? 96 : 100, true));
}

/* ---- scalar against the definition in double ---- */

TEST_CASE("test_attn_pages_merged_are_softmax_attention")
{
    const size_t n_pages = 7, last_visible = 23; /* of the last page, as in causal attention */
    for (const KvTypes type : KV_TYPES)
        for (const size_t d : {64u, 100u}) {
            if (!fits(type, d, d))
                continue;
            const Cache cache(type, 3, d, d, n_pages);
            const Table &ops = table("scalar");
            Result r = one_page(ops, cache, 0, FULL);
            for (size_t page = 1; page < n_pages; page++)
                merge(ops, cache, r, one_page(ops, cache, page, page + 1 < n_pages ? FULL : (UINT64_C(1) << last_visible) - 1));

            const size_t n = (n_pages - 1) * BNF_KV_PAGE + last_visible;
            for (size_t h = 0; h < cache.g; h++) {
                std::vector<double> s(n);
                double score_error = 0;
                for (size_t j = 0; j < n; j++) {
                    double magnitude = 0;
                    for (size_t i = 0; i < d; i++) {
                        const double term = static_cast<double>(cache.q[h * d + i]) * cache.k[j * d + i] * cache.scale;
                        s[j] += term;
                        magnitude += std::fabs(term);
                    }
                    /* Each term passes ceil(d / 16) fmas of its lane, 4 sums of the tree and the product with scale. */
                    score_error = std::max(score_error, (static_cast<double>((d + 15) / 16) + 5) * U * magnitude);
                }
                const double highest = *std::max_element(s.begin(), s.end());
                const double spread = highest - *std::min_element(s.begin(), s.end());
                double l = 0;
                for (double &score : s)
                    l += score = std::exp(score - highest);
                /* A weight errs by its score's error, the rounding of score - m (at most U * spread) and exp's ulp (2 U); each of
                 * 6 merges adds two exps' errors of the same kind, a product and an fma. The quotient o / l has the weights'
                 * error twice, 64 fmas in o, 4 + 4 sums in l, and its own rounding. 5 % for products of errors. */
                const double weight_error = score_error + U * spread + 2 * U + (n_pages - 1) * (U * spread + 4 * U);
                const double relative = 2 * weight_error + (64 + 8 + 1) * U;
                WorstError worst;
                for (size_t c = 0; c < d; c++) {
                    double exact = 0, magnitude = 0;
                    for (size_t j = 0; j < n; j++) {
                        exact += s[j] / l * cache.v[j * d + c];
                        magnitude += s[j] / l * std::fabs(cache.v[j * d + c]);
                    }
                    worst.add(r.o[h * d + c] / r.l[h], exact, 1.05 * relative * magnitude);
                }
                REQUIRE(worst.share() <= 1);
            }
        }
}

TEST_CASE("test_attn_page_of_one_slot_is_its_value")
{
    std::vector<const Table *> tables = other_tables();
    tables.push_back(&table("scalar"));
    for (const Table *ops : tables) {
        const Cache cache(BNF_KV_F32, 2, 64, 64, 1);
        const Result r = one_page(*ops, cache, 0, UINT64_C(1) << 40);
        for (size_t h = 0; h < 2; h++) {
            REQUIRE(r.l[h] == 1.0f);
            REQUIRE(same_bits(r.o.data() + h * 64, cache.v.data() + 40 * 64, 64));
        }
    }
}
