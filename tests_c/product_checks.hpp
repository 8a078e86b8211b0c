/* What the tests of products and quantizers share: random weights of every type and prepared activations.
 * Next: test_matmul.cpp, test_quantize.cpp. */
#ifndef PRODUCT_CHECKS_HPP
#define PRODUCT_CHECKS_HPP

#include <memory>

#include "float_checks.hpp"

extern "C" {
#include "bitnet_ffi.h"
#include "bnf_layout.h"
}

namespace product_checks {

using namespace float_checks;

struct Format {
    int32_t type;
    std::vector<int> halves;    /* offsets of f16 fields in a block */
    int codes_begin, codes_end; /* bytes of a block that hold codes, where it also has minima; else empty */
};

inline const std::vector<Format> &formats()
{
    static const std::vector<Format> all = {
        {GGML_TYPE_F32, {}, 0, 0},           {GGML_TYPE_F16, {0}, 0, 0},         {GGML_TYPE_BF16, {}, 0, 0},
        {GGML_TYPE_Q4_0, {0}, 0, 0},         {GGML_TYPE_Q4_1, {0, 2}, 4, 20},    {GGML_TYPE_Q5_0, {0}, 0, 0},
        {GGML_TYPE_Q5_1, {0, 2}, 4, 24},     {GGML_TYPE_Q8_0, {0}, 0, 0},        {GGML_TYPE_Q2_K, {80, 82}, 16, 80},
        {GGML_TYPE_Q3_K, {108}, 0, 0},       {GGML_TYPE_Q4_K, {0, 2}, 16, 144},  {GGML_TYPE_Q5_K, {0, 2}, 16, 176},
        {GGML_TYPE_Q6_K, {208}, 0, 0},       {GGML_TYPE_TQ1_0, {52}, 0, 0},      {GGML_TYPE_TQ2_0, {64}, 0, 0},
        {GGML_TYPE_I2_S, {}, 0, 0}};
    return all;
}

inline const Format &format(int32_t type)
{
    for (const Format &f : formats())
        if (f.type == type)
            return f;
    throw std::runtime_error("no format " + std::to_string(type));
}

using Traits = struct ::bnf_type_traits; /* the bare name is the function */

inline const Traits &traits(int32_t type)
{
    const Traits *t = bnf_type_traits(type);
    if (!t)
        throw std::runtime_error("no traits of type " + std::to_string(type));
    return *t;
}

inline size_t ceil_div(int64_t a, int64_t b) { return static_cast<size_t>((a + b - 1) / b); }

struct Weights {
    std::vector<uint8_t> data;
    bnf_matrix w;

    bnf_matrix matrix() const
    {
        bnf_matrix out = w;
        out.data = data.data();
        return out;
    }
    size_t n_blocks() const
    {
        return w.type == GGML_TYPE_I2_S ? 0 : static_cast<size_t>(w.k * w.m / traits(w.type).block_len);
    }
    uint8_t *block(size_t i) { return data.data() + i * static_cast<size_t>(traits(w.type).block_size); }
};

inline void set_half(uint8_t *p, uint16_t half) { std::memcpy(p, &half, sizeof half); }

/* Weights whose bytes are all `fill`, f16 fields 0.5, I2_S scale 0.75. */
inline Weights constant_weights(int32_t type, int64_t k, int64_t m, uint8_t fill)
{
    const Traits &t = traits(type);
    Weights out{{}, {nullptr, k, m, 0, type, type, type == GGML_TYPE_I2_S ? 0.75f : 1.0f}};
    if (type == GGML_TYPE_I2_S) {
        out.w.row_size = static_cast<uint64_t>(k / 4);
        out.data.assign(static_cast<size_t>(k * m / 4 + 32), fill);
        std::memcpy(out.data.data() + k * m / 4, &out.w.scale, sizeof out.w.scale);
        return out;
    }
    out.w.row_size = static_cast<uint64_t>(k / t.block_len * t.block_size);
    out.data.assign(static_cast<size_t>(out.w.row_size) * static_cast<size_t>(m), fill);
    for (size_t i = 0; i < out.n_blocks(); i++)
        for (int at : format(type).halves)
            set_half(out.block(i) + at, 0x3800);
    return out;
}

/* Random bits everywhere; f16 fields finite, of any size when `hostile`, else 2^-7 to 2^2; floats likewise. */
inline Weights random_weights(int32_t type, int64_t k, int64_t m, unsigned seed, bool hostile)
{
    std::mt19937 random(seed);
    Weights out = constant_weights(type, k, m, 0);
    const size_t n = static_cast<size_t>(k * m);
    if (type == GGML_TYPE_F32 || type == GGML_TYPE_BF16) {
        for (size_t i = 0; i < n; i++) {
            /* exponents 2^-100 to 2^28, or 2^-7 to 2^1, and zeros */
            const uint32_t exponent = hostile ? 27 + random() % 129 : 120 + random() % 9;
            const uint32_t bits = random() % 16 ? (random() & 0x807fffff) | exponent << 23 : random() & 0x80000000;
            const uint16_t top = static_cast<uint16_t>(bits >> 16);
            if (type == GGML_TYPE_F32)
                std::memcpy(out.data.data() + 4 * i, &bits, 4);
            else
                set_half(out.data.data() + 2 * i, top);
        }
        return out;
    }
    const size_t trailer = type == GGML_TYPE_I2_S ? 32 : 0;
    for (size_t i = 0; i < out.data.size() - trailer; i++)
        out.data[i] = static_cast<uint8_t>(random());
    for (size_t i = 0; i < out.n_blocks(); i++)
        for (int at : format(type).halves) {
            const uint32_t exponent = hostile ? random() % 31 : 8 + random() % 9;
            set_half(out.block(i) + at, static_cast<uint16_t>((random() & 0x83ff) | exponent << 10));
        }
    return out;
}

struct Activations {
    std::vector<float> f, scale;
    std::vector<int8_t> q;
    std::vector<int16_t> sum16;
    std::vector<int32_t> sum;
    bnf_act_kind kind;
    int64_t n_cols, k, f_stride, q_stride;

    bnf_act act() const
    {
        return {kind, n_cols, k, f.data(), f_stride, q.data(), q_stride, scale.data(), sum16.data(), sum.data(), nullptr};
    }
};

/* f (n_cols columns of k, one after the other) as this table prepares it. */
inline Activations prepare(const Table &ops, bnf_act_kind kind, std::vector<float> f, int64_t k)
{
    Activations a{std::move(f), {}, {}, {}, {}, kind, 0, k, k, BNF_PAD64(k)};
    a.n_cols = static_cast<int64_t>(a.f.size()) / k;
    if (kind == BNF_ACT_F32)
        return a;
    const size_t stride = static_cast<size_t>(a.q_stride), n = static_cast<size_t>(a.n_cols);
    a.q.assign(n * stride, 99);
    a.sum16.assign(n * stride / 16, 9999);
    a.sum.assign(n, 9999);
    a.scale.assign(kind == BNF_ACT_Q8_ROW ? n : n * stride / 32, 9999.0f);
    for (size_t c = 0; c < n; c++) {
        const float *x = a.f.data() + c * static_cast<size_t>(k);
        if (kind == BNF_ACT_Q8_ROW)
            ops.quantize_row(x, k, a.q.data() + c * stride, &a.scale[c], &a.sum[c], a.sum16.data() + c * stride / 16);
        else
            ops.quantize_block(x, k, a.q.data() + c * stride, a.scale.data() + c * stride / 32, a.sum16.data() + c * stride / 16);
    }
    return a;
}

inline Activations random_activations(int32_t type, int64_t k, int64_t n_cols, unsigned seed)
{
    return prepare(table("scalar"), traits(type).act, normal_floats(static_cast<size_t>(k * n_cols), seed, 3.0f), k);
}

constexpr float UNTOUCHED = -12345.0f;

/* The product of rows [row0, row1): y[1 + c * (m + 3) + r], the rest UNTOUCHED. */
inline std::vector<float> multiply(const Table &ops, const Weights &weights, const Activations &x, int64_t row0, int64_t row1)
{
    const bnf_matrix w = weights.matrix();
    const bnf_act act = x.act();
    const int64_t stride = w.m + 3;
    std::vector<float> y(static_cast<size_t>(1 + stride * x.n_cols), UNTOUCHED);
    const size_t size = BNF_MATMUL_SCRATCH(w.k);
    std::vector<uint8_t> memory(size + 64);
    void *scratch = memory.data();
    size_t space = memory.size();
    std::align(64, size, scratch, space);
    ops.matmul[w.type](&w, &act, y.data() + 1, stride, row0, row1, scratch);
    return y;
}

}  // namespace product_checks

#endif
