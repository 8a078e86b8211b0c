// The numbers of the weight formats, against sizes written down independently (GGUF's own documentation of each block).
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_layout.h"
}
#include "bitnet_ffi.h"

#include <string>

TEST_CASE("each supported format has its size", "[layout]")
{
    const struct { int type; const char *name; int elements, bytes; } formats[] = {
        {GGML_TYPE_F32, "f32", 1, 4},       {GGML_TYPE_F16, "f16", 1, 2},       {GGML_TYPE_BF16, "bf16", 1, 2},
        {GGML_TYPE_Q4_0, "q4_0", 32, 18},   {GGML_TYPE_Q4_1, "q4_1", 32, 20},   {GGML_TYPE_Q5_0, "q5_0", 32, 22},
        {GGML_TYPE_Q5_1, "q5_1", 32, 24},   {GGML_TYPE_Q8_0, "q8_0", 32, 34},   {GGML_TYPE_Q2_K, "q2_K", 256, 84},
        {GGML_TYPE_Q3_K, "q3_K", 256, 110}, {GGML_TYPE_Q4_K, "q4_K", 256, 144}, {GGML_TYPE_Q5_K, "q5_K", 256, 176},
        {GGML_TYPE_Q6_K, "q6_K", 256, 210}, {GGML_TYPE_I2_S, "i2_s", 128, 32},  {GGML_TYPE_TQ1_0, "tq1_0", 256, 54},
        {GGML_TYPE_TQ2_0, "tq2_0", 256, 66},
    };
    int n = 0;
    for (const auto &format : formats) {
        const struct bnf_type_traits *traits = bnf_type_traits(format.type);
        REQUIRE(traits != nullptr);
        CHECK(std::string(traits->name) == format.name);
        CHECK(std::string(bnf_type_name(format.type)) == format.name);
        CHECK(traits->block_len == format.elements);
        CHECK(traits->block_size == format.bytes);
        const uint64_t trailer = format.type == GGML_TYPE_I2_S ? 32 : 0;
        CHECK(bnf_tensor_size(format.type, 2560, 6) == 2560u * 6 / format.elements * format.bytes + trailer);
        n++;
    }
    int supported = 0;
    for (int type = -5; type < 400; type++)
        supported += bnf_type_traits(type) != nullptr;
    CHECK(supported == n);
}

TEST_CASE("ternary weights take one scale per token, blocks one per block", "[layout]")
{
    CHECK(bnf_type_traits(GGML_TYPE_I2_S)->ternary);
    CHECK(bnf_type_traits(GGML_TYPE_I2_S)->act == BNF_ACT_Q8_ROW);
    CHECK(bnf_type_traits(GGML_TYPE_TQ1_0)->act == BNF_ACT_Q8_ROW);
    CHECK(bnf_type_traits(GGML_TYPE_Q6_K)->act == BNF_ACT_Q8_BLOCK);
    CHECK_FALSE(bnf_type_traits(GGML_TYPE_Q6_K)->ternary);
    CHECK(bnf_type_traits(GGML_TYPE_F16)->act == BNF_ACT_F32);
}

TEST_CASE("every number that a file may carry has a name", "[layout]")
{
    for (int type = 0; type < GGML_TYPE_COUNT; type++)
        CHECK(bnf_type_name(type) != nullptr);
    CHECK(std::string(bnf_type_name(GGML_TYPE_MXFP4)) == "mxfp4");
    CHECK(std::string(bnf_type_name(135)) == "iq2_bn");
    CHECK(bnf_type_name(-1) == nullptr);
    CHECK(bnf_type_name(43) == nullptr);
    CHECK(bnf_type_name(1 << 30) == nullptr);
}

TEST_CASE("sizes are refused where they do not exist", "[layout]")
{
    CHECK(bnf_tensor_size(GGML_TYPE_MXFP4, 256, 1) == 0);
    CHECK(bnf_tensor_size(-1, 256, 1) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_Q4_0, 33, 32) == 0); // a block may not cross rows
    CHECK(bnf_tensor_size(GGML_TYPE_Q6_K, 128, 2) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_F32, 0, 1) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_F32, 1, -1) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_F32, INT64_MAX, 2) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_F32, INT64_MAX, 1) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_Q8_0, INT64_MAX / 32 * 32, 1) == 0);
    CHECK(bnf_tensor_size(GGML_TYPE_F16, (int64_t)1 << 40, 1 << 10) == (uint64_t)1 << 51);
}

TEST_CASE("an i2_s tensor is one stream, its rows need not be whole groups", "[layout]")
{
    CHECK(bnf_tensor_size(GGML_TYPE_I2_S, 8640, 3200) == 8640u * 3200 / 4 + 32);
    CHECK(bnf_tensor_size(GGML_TYPE_I2_S, 64, 2) == 64);
    CHECK(bnf_tensor_size(GGML_TYPE_I2_S, 64, 1) == 0);
}
