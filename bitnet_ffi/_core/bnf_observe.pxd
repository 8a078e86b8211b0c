# The engine's view of csrc/bnf_observe.h: a client that watches decodes. All extern; nothing is defined here.

from libc.stdint cimport int32_t
from bitnet_ffi._core.bnf_ggml cimport ggml_tensor
from bitnet_ffi._core.bnf_public cimport ggml_backend_sched_eval_callback

cdef extern from "bnf_observe.h" nogil:
    enum:
        BNF_SEEN_QKV, BNF_SEEN_ATTENTION, BNF_SEEN_GATED, BNF_SEEN_DOWN
        BNF_OBSERVER_ROOMS
    ctypedef struct bnf_observer "struct bnf_observer":
        ggml_backend_sched_eval_callback callback
        void *data
        ggml_tensor value
        ggml_tensor src[2]
        float *room[BNF_OBSERVER_ROOMS]
        int32_t n_rooms
        float *gate
        float *last
        float *ones
        int32_t n_logits
