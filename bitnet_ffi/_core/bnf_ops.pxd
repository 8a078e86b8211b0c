# The engine's view of csrc/bnf_ops.h, with bnf_layout.h and bnf_screen.h: weights, operands, and the table of operations.
# All extern; nothing is defined here.

from libc.stdint cimport int8_t, uint8_t, int16_t, int32_t, uint32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool

cdef extern from "bnf_layout.h" nogil:
    enum:
        BNF_N_TYPES
        BNF_ACT_F32, BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK, BNF_N_ACT_KINDS
    ctypedef int bnf_act_kind "enum bnf_act_kind"
    ctypedef struct bnf_type_traits_t "struct bnf_type_traits":
        const char *name
        int32_t block_len
        int32_t block_size
        int32_t trailer_size
        bnf_act_kind act
        bool ternary
    const bnf_type_traits_t *bnf_type_traits(int32_t type)
    const char *bnf_type_name(int32_t type)
    uint64_t bnf_tensor_size(int32_t type, int64_t k, int64_t m)

cdef extern from "bnf_screen.h" nogil:
    enum:
        BNF_SCREEN_ROWS, BNF_SCREEN_COLS, BNF_SCREEN_MAX_K
    ctypedef struct bnf_screen "struct bnf_screen":
        int64_t k
        int64_t m
        uint8_t *q
        float *scale
        float *residual
        float *norm
    ctypedef struct bnf_screen_cols "struct bnf_screen_cols":
        int64_t n
        int64_t k
    uint64_t bnf_screen_cols_size(int64_t n, int64_t k)
    void bnf_screen_cols_init(bnf_screen_cols *cols, int64_t n, int64_t k, void *memory)
    bool bnf_screen_operand(bnf_screen_cols *cols, int64_t c, const float *x)

cdef extern from "bnf_ops.h" nogil:
    enum:
        BNF_KV_F16, BNF_KV_F32, BNF_KV_Q8_0, BNF_KV_PAGE, BNF_KV_BLOCK
    ctypedef int bnf_kv_type "enum bnf_kv_type"
    uint64_t bnf_kv_row_size(bnf_kv_type type, int64_t d)
    ctypedef struct bnf_matrix "struct bnf_matrix":
        const uint8_t *data
        int64_t k
        int64_t m
        uint64_t row_size
        int32_t type
        int32_t layout
        float scale
    ctypedef struct bnf_act "struct bnf_act":
        bnf_act_kind kind
        int64_t n_cols
        int64_t k
        const float *f
        int64_t f_stride
        const int8_t *q
        int64_t q_stride
        const float *scale
        const int16_t *sum16
        const int32_t *sum
        const int8_t *panels
    int64_t BNF_PAD64(int64_t k)
    size_t BNF_MATMUL_SCRATCH(int64_t k)
    ctypedef void (*bnf_matmul_fn)(const bnf_matrix *w, const bnf_act *x, float *y, int64_t y_stride,
                                   int64_t row0, int64_t row1, void *scratch) noexcept nogil
    ctypedef void (*bnf_attn_page_fn)(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, bnf_kv_type type_k, const void *v,
                                      bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,
                                      const void *next_v) noexcept nogil
    ctypedef struct bnf_attn_tile "struct bnf_attn_tile":
        int64_t n
        int64_t g
        int64_t dk
        int64_t dv
        const float *q
        int64_t q_stride
        const uint64_t *mask
        float scale
        const float *keys
        const float *values
        float *weights
        float *m
        float *l
        float *o
        int64_t o_stride
    enum:
        BNF_LOW_RANK_ROWS
    ctypedef struct bnf_low_rank "struct bnf_low_rank":
        const float *data
        int64_t rank
        int64_t m
    ctypedef struct bnf_ops_t "struct bnf_ops":
        const char *name
        unsigned needs
        void (*quantize_row)(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16) noexcept nogil
        void (*quantize_block)(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16) noexcept nogil
        bnf_matmul_fn *matmul
        int32_t (*packed_layout)(const bnf_matrix *w) noexcept nogil
        uint64_t (*packed_size)(const bnf_matrix *w) noexcept nogil
        bool (*pack)(const bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed) noexcept nogil
        int64_t panel_cols
        void (*to_panel)(const int8_t *q, int64_t k, int64_t lane, int8_t *panel) noexcept nogil
        bool (*pack_f12)(const bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed) noexcept nogil
        void (*screen_pack)(const bnf_matrix *w, int64_t row0, int64_t row1, const bnf_screen *screen) noexcept nogil
        void (*screen_bounds)(const bnf_screen *screen, const bnf_screen_cols *x, float *upper, int64_t stride,
                              int64_t row0, int64_t row1) noexcept nogil
        void (*rmsnorm)(const float *x, const float *w, int64_t n, float eps, float *y) noexcept nogil
        void (*add)(float *x, const float *y, int64_t n) noexcept nogil
        void (*scale)(float *x, float a, int64_t n) noexcept nogil
        void (*add_low_rank)(const bnf_low_rank *b, const float *u, int64_t u_stride, int64_t n, float s, float *y, int64_t y_stride,
                             int64_t row0, int64_t row1) noexcept nogil
        void (*silu_mul)(const float *g, const float *u, int64_t n, float *y) noexcept nogil
        void (*relu2_mul)(const float *g, const float *u, int64_t n, float *y) noexcept nogil
        void (*exp)(const float *x, int64_t n, float *y) noexcept nogil
        void (*gumbel_bounds)(uint32_t seed, uint64_t step, int64_t begin, int64_t n, const float *x, float t, float *upper) noexcept nogil
        void (*rope)(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox) noexcept nogil
        void (**store_kv)(const float *x, int64_t n, void *y) noexcept nogil
        bnf_attn_page_fn attn_page
        void (**unpack_k)(const void *k, int64_t dk, uint64_t mask, float *keys) noexcept nogil
        void (**unpack_v)(const void *v, int64_t dv, uint64_t mask, float *values) noexcept nogil
        void (*attn_tile)(const bnf_attn_tile *tile) noexcept nogil
        void (*attn_merge)(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2,
                           int64_t g, int64_t dv) noexcept nogil
    enum:
        BNF_F12_ROWS, BNF_TYPE_F12_R4
    uint64_t bnf_f12_size(const bnf_matrix *w)
    void bnf_dequantize(int32_t type, const uint8_t *data, float scale, int64_t begin, int64_t n, float *y)
    int bnf_quantize(int32_t type, const float *x, int64_t k, int64_t m, uint8_t *data)
    const bnf_ops_t *bnf_ops()
    const bnf_ops_t *const *bnf_ops_all()
