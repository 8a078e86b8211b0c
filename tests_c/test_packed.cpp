/* Packed weights: for every table that packs, the product of what it made equals scalar's product of the weights as
 * they lay in the file, bit for bit. */
#include <catch2/catch.hpp>

#include <array>
#include <functional>
#include <optional>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

constexpr int64_t ROWS = 16; /* that a packed layout keeps together */

/* Those that pack ternary weights; block formats: test_blocks.cpp. */
std::vector<const Table *> packing_tables()
{
    const bnf_matrix w{nullptr, 256, 16, 0, GGML_TYPE_TQ2_0, GGML_TYPE_TQ2_0, 1.0f};
    std::vector<const Table *> out;
    for (const Table *ops : other_tables())
        if (ops->packed_layout && ops->packed_layout(&w) != w.type)
            out.push_back(ops);
    return out;
}

/* Memory whose first byte is 64-aligned plus `offset`, filled with bytes that are no plausible weights. */
struct Memory {
    std::vector<uint8_t> bytes;
    uint8_t *begin;

    explicit Memory(size_t size, size_t offset = 0) : bytes(size + 128, 0xee)
    {
        const size_t past = reinterpret_cast<uintptr_t>(bytes.data()) % 64;
        begin = bytes.data() + (64 - past) % 64 + offset;
    }
};

/* What `prepare` made, also cut into panels; lanes without a column hold 77s. */
Memory cut_panels(const Table &ops, const Activations &x)
{
    const size_t panel_size = static_cast<size_t>(ops.panel_cols * x.q_stride);
    Memory out(ceil_div(x.n_cols, ops.panel_cols) * panel_size);
    std::memset(out.begin, 77, ceil_div(x.n_cols, ops.panel_cols) * panel_size);
    for (int64_t c = 0; c < x.n_cols; c++)
        ops.to_panel(x.q.data() + c * x.q_stride, x.k, c % ops.panel_cols,
                     reinterpret_cast<int8_t *>(out.begin) + static_cast<size_t>(c / ops.panel_cols) * panel_size);
    return out;
}

/* The product of packed weights; nothing where their layout has no place for one of the codes. */
std::optional<std::vector<float>> multiply_packed(const Table &ops, const Weights &weights, const Activations &x, int64_t row0,
                                                  int64_t row1)
{
    bnf_matrix w = weights.matrix();
    const Memory packed(ops.packed_size(&w)), panels = cut_panels(ops, x), scratch(BNF_MATMUL_SCRATCH(w.k));
    if (!ops.pack(&w, 0, w.m, packed.begin))
        return std::nullopt;
    w.layout = ops.packed_layout(&w);
    w.data = packed.begin;
    bnf_act act = x.act();
    act.panels = x.n_cols > 1 ? reinterpret_cast<const int8_t *>(panels.begin) : nullptr;
    const int64_t stride = w.m + 3;
    std::vector<float> y(static_cast<size_t>(1 + stride * x.n_cols), UNTOUCHED);
    ops.matmul[w.layout](&w, &act, y.data() + 1, stride, row0, row1, scratch.begin);
    return y;
}

/* Byte i holds four 2-bit codes. TQ1_0 has no such bytes. */
bool holds_fields(const Weights &w, size_t i)
{
    return w.w.type == GGML_TYPE_I2_S ? i < static_cast<size_t>(w.w.k * w.w.m / 4) : w.w.type == GGML_TYPE_TQ2_0 && i % 66 < 64;
}

bool has_code_3(const Weights &w)
{
    for (size_t i = 0; i < w.data.size(); i++)
        if (holds_fields(w, i) && (w.data[i] & w.data[i] >> 1 & 0x55))
            return true;
    return false;
}

/* The same weights without code 3: it becomes 1. */
Weights without_code_3(Weights w)
{
    for (size_t i = 0; i < w.data.size(); i++)
        if (holds_fields(w, i))
            w.data[i] &= static_cast<uint8_t>(~((w.data[i] & w.data[i] >> 1 & 0x55) << 1));
    return w;
}

void require_same_as_it_is(const Weights &w, const Activations &x, int64_t row0, int64_t row1)
{
    const std::vector<float> expected = multiply(table("scalar"), w, x, row0, row1);
    for (const Table *ops : packing_tables()) {
        const bnf_matrix matrix = w.matrix();
        const int32_t layout = ops->packed_layout(&matrix);
        const bool holds_3 = layout != BNF_TYPE_I2_S_T5 && layout != BNF_TYPE_TQ_T5;
        INFO(ops->name << ' ' << traits(w.w.type).name << ", k = " << w.w.k << ", columns = " << x.n_cols << ", rows "
                       << row0 << " to " << row1 << " of " << w.w.m);
        const auto y = multiply_packed(*ops, w, x, row0, row1);
        REQUIRE(y.has_value() == (holds_3 || !has_code_3(w)));
        if (y)
            REQUIRE(same_bits(expected, *y));
    }
}

void require_same(const Weights &w, const Activations &x, int64_t row0, int64_t row1)
{
    require_same_as_it_is(w, x, row0, row1);
    if (has_code_3(w))
        require_same_as_it_is(without_code_3(w), x, row0, row1);
}

const int32_t packed_types[] = {GGML_TYPE_I2_S, GGML_TYPE_TQ2_0, GGML_TYPE_TQ1_0};

std::vector<int64_t> inner_lengths(int32_t type)
{
    if (type == GGML_TYPE_I2_S)
        return {128, 256, 384, 1152, 2560, 6912};
    return {256, 512, 768, 2560, 6912};
}

}  // namespace

TEST_CASE("test_packed_same_bits_for_any_k")
{
    unsigned seed = 1;
    for (const int32_t type : packed_types)
        for (const int64_t k : inner_lengths(type)) {
            const Weights w = random_weights(type, k, 48, seed++, true);
            for (const int64_t n_cols : {1, 3, 8, 12, 14})
                require_same(w, random_activations(type, k, n_cols, seed++), 0, 48);
        }
}

TEST_CASE("test_packed_same_bits_for_any_columns")
{
    unsigned seed = 100;
    for (const int32_t type : packed_types)
        for (const int64_t m : {16, 32, 80}) {
            const Weights w = random_weights(type, 512, m, seed++, true);
            for (int64_t n_cols = 1; n_cols <= 30; n_cols++)
                require_same(w, random_activations(type, 512, n_cols, seed++), 0, m);
        }
}

TEST_CASE("test_packed_same_bits_for_any_rows")
{
    unsigned seed = 200;
    for (const int32_t type : packed_types) {
        const int64_t k = 256, m = 112;
        const Weights w = random_weights(type, k, m, seed++, true);
        for (const int64_t n_cols : {1, 4, 9, 25}) {
            const Activations x = random_activations(type, k, n_cols, seed++);
            for (int64_t row0 = 0; row0 < m; row0 += ROWS)
                for (int64_t row1 = row0 + ROWS; row1 <= m; row1 += ROWS)
                    require_same(w, x, row0, row1);
        }
    }
}

TEST_CASE("test_packed_same_bits_for_more_rows_than_stay_in_cache")
{
    for (const int32_t type : {GGML_TYPE_TQ2_0, GGML_TYPE_I2_S}) {
        const Weights w = random_weights(type, 6912, 16 * 41, 300, true);
        require_same(w, random_activations(type, 6912, 13, 301), 0, w.w.m);
    }
}

/* Every code of I2_S and TQ2_0 at its largest (3, which stands for +2) or smallest, every activation at +-127. */
TEST_CASE("test_packed_same_bits_for_extreme_values")
{
    for (const int32_t type : packed_types)
        for (const uint8_t fill : {0x00, 0x55, 0xaa, 0xff})
            for (const float value : {-1.0f, 1.0f}) {
                const int64_t k = 28672, m = 32;
                const Weights w = constant_weights(type, k, m, fill);
                for (const int64_t n_cols : {1, 6, 12}) {
                    const std::vector<float> f(static_cast<size_t>(k * n_cols), value);
                    require_same(w, prepare(table("scalar"), BNF_ACT_Q8_ROW, f, k), 0, m);
                }
            }
}

/* The longest row that a table packs. avx512vnni: k = 352,256, whose sums of 64 * code all but reach 2^31. */
TEST_CASE("test_packed_same_bits_for_extreme_values_of_the_longest_row")
{
    for (const Table *ops : packing_tables()) {
        const auto packs = [&](int64_t k) {
            const bnf_matrix w{nullptr, k, 16, 0, GGML_TYPE_I2_S, GGML_TYPE_I2_S, 1.0f};
            return ops->packed_layout(&w) != w.type;
        };
        int64_t longest = 128;
        while (longest < (1 << 23) && packs(longest + 128))
            longest += 128;
        for (const uint8_t fill : {0xaa, 0xff})
            for (const int64_t n_cols : {1, 2, 12}) {
                const std::vector<float> f(static_cast<size_t>(longest * n_cols), 1.0f);
                const Weights w = constant_weights(GGML_TYPE_I2_S, longest, 16, fill);
                require_same_as_it_is(w, prepare(table("scalar"), BNF_ACT_Q8_ROW, f, longest), 0, 16);
            }
    }
}

TEST_CASE("test_packed_by_parts_equals_whole")
{
    unsigned seed = 400;
    for (const Table *ops : packing_tables())
        for (const int32_t type : packed_types) {
            const Weights weights = without_code_3(random_weights(type, 768, 80, seed++, true));
            const bnf_matrix w = weights.matrix();
            const size_t size = ops->packed_size(&w);
            const Memory whole(size + 64), parts(size + 64);
            ops->pack(&w, 0, w.m, whole.begin);
            for (const int64_t row0 : {48, 0, 32})
                ops->pack(&w, row0, row0 == 0 ? 32 : row0 == 32 ? 48 : 80, parts.begin);
            REQUIRE(std::memcmp(whole.begin, parts.begin, size + 64) == 0); /* nothing is written behind the end */
        }
}

/* The five codes of a byte of T5, straight from the definition in bnf_layout.h: the only ones whose byte it is. */
std::array<int, 5> codes_of_byte(uint8_t byte)
{
    const auto is_place = [](int x) { return x % 3 != 2 && x != 31; };
    for (int n = 0; n < 81; n++)
        for (int t = 0; t < 3; t++) {
            const int p = 32 * (n / 21) + 3 * (n % 21 / 2) + n % 21 % 2;
            int smallest = 0;
            while (!is_place((p - t + smallest + 32) % 32))
                smallest++;
            if (static_cast<uint8_t>(2 * (p - t) - (t == smallest)) == byte)
                return {n % 3, n / 3 % 3, n / 9 % 3, n / 27, t};
        }
    return {-1, -1, -1, -1, -1};
}

/* Elements of a block, bytes of 256 elements of a tile without their scales, and one code of a block. */
struct Layout {
    int64_t step, tq_size;
    std::function<int(const uint8_t *block, int64_t row, int64_t e)> code;
};

Layout r16()
{
    return {16, 1024, [](const uint8_t *block, int64_t row, int64_t e) { return block[4 * row + e % 4] >> (2 * (e / 4)) & 3; }};
}

Layout t5()
{
    std::vector<std::array<int, 5>> codes;
    for (int byte = 0; byte < 256; byte++)
        codes.push_back(codes_of_byte(static_cast<uint8_t>(byte)));
    return {20, 832, [codes](const uint8_t *block, int64_t row, int64_t e) {
                return codes[block[4 * row + e % 4]][static_cast<size_t>(e / 4)];
            }};
}

/* Each code of a row, read back from where bnf_layout.h says it lies. */
TEST_CASE("test_packed_codes_lie_as_described")
{
    for (const Table *ops : packing_tables())
        for (const int32_t type : packed_types) {
            const int64_t k = 512, m = 32;
            const bool tq = type != GGML_TYPE_I2_S;
            const Weights weights = without_code_3(random_weights(type, k, m, 500, false));
            const bnf_matrix w = weights.matrix();
            const int32_t five = tq ? BNF_TYPE_TQ_T5 : BNF_TYPE_I2_S_T5, four = tq ? BNF_TYPE_TQ_R16 : BNF_TYPE_I2_S_R16;
            const Layout layout = ops->packed_layout(&w) == five ? t5() : r16();
            const int64_t tile_size = tq ? k / 256 * (layout.tq_size + 64) : (k + layout.step - 1) / layout.step * 64;
            REQUIRE((ops->packed_layout(&w) == five || ops->packed_layout(&w) == four));
            REQUIRE(ops->packed_size(&w) == static_cast<uint64_t>(tile_size * m / 16));
            const Memory packed(ops->packed_size(&w));
            REQUIRE(ops->pack(&w, 0, m, packed.begin));
            for (int64_t row = 0; row < m; row++) {
                std::vector<float> value(static_cast<size_t>(k));
                bnf_dequantize(type, w.data, w.scale, row * k, k, value.data());
                for (int64_t e = 0; e < k; e++) {
                    const int64_t in_part = tq ? e % 256 : e;
                    const uint8_t *part = packed.begin + row / 16 * tile_size + (tq ? e / 256 * (layout.tq_size + 64) : 0);
                    const int code = layout.code(part + in_part / layout.step * 64, row % 16, in_part % layout.step);
                    float scale = w.scale;
                    if (tq)
                        std::memcpy(&scale, part + layout.tq_size + 4 * (row % 16), 4);
                    REQUIRE(static_cast<float>(code - 1) * scale == value[static_cast<size_t>(e)]);
                }
            }
        }
}

TEST_CASE("test_packed_shapes_that_do_not_fit_stay_as_they_lie")
{
    for (const Table *ops : packing_tables()) {
        const auto stays = [&](int32_t type, int64_t k, int64_t m) {
            const bnf_matrix w{nullptr, k, m, 0, type, type, 1.0f};
            return ops->packed_layout(&w) == type;
        };
        REQUIRE(stays(GGML_TYPE_I2_S, 128, 17));
        REQUIRE(stays(GGML_TYPE_I2_S, 64, 16));
        REQUIRE(stays(GGML_TYPE_TQ2_0, 256, 8));
        REQUIRE(stays(GGML_TYPE_F32, 256, 16));
        REQUIRE(stays(GGML_TYPE_F16, 256, 16));
        REQUIRE(stays(GGML_TYPE_TQ1_0, int64_t{1} << 30, 16)); /* the sums would leave int32 */
    }
}
