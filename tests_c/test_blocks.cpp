/* Packed block formats (BNF_TYPE_BLOCKS_R16): for every table that packs them, the product of what it made equals scalar's
 * product of the weights as they lay in the file, bit for bit. */
#include <catch2/catch.hpp>

#include "product_checks.hpp"

using namespace product_checks;

namespace {

const int32_t block_types[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,
                               GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

bool packs_blocks(const Table &ops)
{
    const bnf_matrix w{nullptr, 256, 16, 0, GGML_TYPE_Q4_1, GGML_TYPE_Q4_1, 1.0f};
    return ops.packed_layout && ops.packed_layout(&w) == BNF_TYPE_BLOCKS_R16;
}

std::vector<const Table *> packing_tables()
{
    std::vector<const Table *> out;
    for (const Table *ops : other_tables())
        if (packs_blocks(*ops))
            out.push_back(ops);
    return out;
}

/* Memory whose first byte is 64-aligned, filled with bytes that are no plausible weights. */
struct Memory {
    std::vector<uint8_t> bytes;
    uint8_t *begin;

    explicit Memory(size_t size) : bytes(size + 128, 0xee)
    {
        const size_t past = reinterpret_cast<uintptr_t>(bytes.data()) % 64;
        begin = bytes.data() + (64 - past) % 64;
    }
};

std::vector<float> multiply_packed(const Table &ops, const Weights &weights, const Activations &x, int64_t row0, int64_t row1)
{
    bnf_matrix w = weights.matrix();
    const Memory packed(ops.packed_size(&w)), scratch(BNF_MATMUL_SCRATCH(w.k));
    ops.pack(&w, 0, w.m, packed.begin);
    w.layout = ops.packed_layout(&w);
    w.data = packed.begin;
    const bnf_act act = x.act();
    const int64_t stride = w.m + 3;
    std::vector<float> y(static_cast<size_t>(1 + stride * x.n_cols), UNTOUCHED);
    ops.matmul[w.layout](&w, &act, y.data() + 1, stride, row0, row1, scratch.begin);
    return y;
}

void require_same(const Weights &w, const Activations &x, int64_t row0, int64_t row1)
{
    const std::vector<float> expected = multiply(table("scalar"), w, x, row0, row1);
    for (const Table *ops : packing_tables()) {
        INFO(ops->name << ' ' << traits(w.w.type).name << ", k = " << w.w.k << ", columns = " << x.n_cols << ", rows "
                       << row0 << " to " << row1 << " of " << w.w.m);
        REQUIRE(same_bits(expected, multiply_packed(*ops, w, x, row0, row1)));
    }
}

}  // namespace

TEST_CASE("test_blocks_same_bits_for_any_k")
{
    unsigned seed = 1;
    for (const int32_t type : block_types)
        for (const int64_t blocks : {1, 2, 3, 7, 8, 9, 27}) {
            const int64_t k = blocks * traits(type).block_len;
            const Weights w = random_weights(type, k, 32, seed++, true);
            for (const int64_t n_cols : {1, 3, 34})
                require_same(w, random_activations(type, k, n_cols, seed++), 0, 32);
        }
}

TEST_CASE("test_blocks_same_bits_for_any_columns")
{
    unsigned seed = 100;
    for (const int32_t type : block_types) {
        const Weights w = random_weights(type, 512, 16, seed++, true);
        for (int64_t n_cols = 1; n_cols <= 67; n_cols += n_cols < 34 ? 1 : 11)
            require_same(w, random_activations(type, 512, n_cols, seed++), 0, 16);
    }
}

TEST_CASE("test_blocks_same_bits_for_any_rows")
{
    unsigned seed = 200;
    for (const int32_t type : block_types)
        for (const int64_t m : {1, 15, 16, 17, 40}) {
            const Weights w = random_weights(type, 256, m, seed++, true);
            for (const int64_t n_cols : {1, 5}) {
                const Activations x = random_activations(type, 256, n_cols, seed++);
                for (const int64_t row0 : {0, 1, 15, 16, 33})
                    for (const int64_t row1 : {1, 2, 15, 16, 17, 31, 32, 40})
                        if (row0 < row1 && row1 <= m)
                            require_same(w, x, row0, row1);
            }
        }
}

/* Every code and sub-scale at its largest or smallest, every activation at +-127. */
TEST_CASE("test_blocks_same_bits_for_extreme_values")
{
    for (const int32_t type : block_types)
        for (const uint8_t fill : {0x00, 0x7f, 0x80, 0xff})
            for (const float value : {-1.0f, 1.0f})
                for (const size_t n_cols : {1, 3}) {
                    const Weights w = constant_weights(type, 8192, 16, fill);
                    const std::vector<float> f(8192 * n_cols, value);
                    require_same(w, prepare(table("scalar"), BNF_ACT_Q8_BLOCK, f, 8192), 0, 16);
                }
}

TEST_CASE("test_blocks_by_parts_equals_whole")
{
    unsigned seed = 400;
    for (const Table *ops : packing_tables())
        for (const int32_t type : block_types) {
            const Weights weights = random_weights(type, 768, 70, seed++, true);
            const bnf_matrix w = weights.matrix();
            const size_t size = ops->packed_size(&w);
            const Memory whole(size + 64), parts(size + 64);
            ops->pack(&w, 0, w.m, whole.begin);
            for (const int64_t row0 : {48, 0, 32})
                ops->pack(&w, row0, row0 == 0 ? 32 : row0 == 32 ? 48 : 70, parts.begin);
            REQUIRE(std::memcmp(whole.begin, parts.begin, size + 64) == 0); /* nothing is written behind the end */
        }
}

/* bnf_layout.h: the file's bytes in another order, with 6-bit scales widened to bytes. */
TEST_CASE("test_blocks_take_the_bytes_of_the_file")
{
    for (const Table *ops : packing_tables())
        for (const int32_t type : block_types) {
            const bnf_matrix w{nullptr, 1024, 48, 0, type, type, 1.0f};
            int size = traits(type).block_size;
            if (type == GGML_TYPE_Q3_K || type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K)
                size += 4;
            REQUIRE(ops->packed_size(&w) == static_cast<uint64_t>(1024 / traits(type).block_len * 48 * size));
            const bnf_matrix odd{nullptr, 1024, 47, 0, type, type, 1.0f}; /* the last tile has its 16 rows */
            REQUIRE(ops->packed_size(&odd) == ops->packed_size(&w));
        }
}

/* Q4_1: each code, scale and minimum read back from where bnf_layout.h says it lies. */
TEST_CASE("test_blocks_codes_lie_as_described")
{
    for (const Table *ops : packing_tables()) {
        const int64_t k = 96, m = 32;
        const Weights weights = random_weights(GGML_TYPE_Q4_1, k, m, 500, false);
        const bnf_matrix w = weights.matrix();
        const Memory packed(ops->packed_size(&w));
        ops->pack(&w, 0, m, packed.begin);
        for (int64_t row = 0; row < m; row++)
            for (int64_t e = 0; e < k; e++) {
                const uint8_t *file = w.data + static_cast<size_t>(row * 60 + e / 32 * 20);
                const uint8_t *block = packed.begin + row / 16 * 960 + e / 32 * 320;
                const int64_t group = e % 32 / 4;
                const uint8_t byte = block[64 + group % 4 * 64 + row % 16 * 4 + e % 4];
                REQUIRE((byte >> (group / 4 * 4) & 15) == (file[4 + e % 16] >> (e % 32 / 16 * 4) & 15));
                REQUIRE(std::memcmp(block + row % 16 * 2, file, 2) == 0);
                REQUIRE(std::memcmp(block + 32 + row % 16 * 2, file + 2, 2) == 0);
            }
    }
}
