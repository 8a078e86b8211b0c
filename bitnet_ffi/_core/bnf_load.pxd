# The engine's view of csrc/bnf_load.h and bnf_atomic.h: what the loading modules share. All extern; nothing is defined here.

from libc.stdint cimport uint8_t, int32_t, int64_t
from bitnet_ffi._core.bnf_ops cimport bnf_matrix
from bitnet_ffi._core.bnf_public cimport llama_model_params
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_load.h" nogil:
    enum:
        BNF_MAX_ARCH, BNF_MAX_EMBD, BNF_MAX_FF, BNF_MAX_HEADS, BNF_MAX_HEAD_WIDTH, BNF_MAX_WIDTH, BNF_MAX_VOCAB
    ctypedef struct bnf_loader "struct bnf_loader":
        llama_model *model
        const llama_model_params *params
        char arch[64]
        uint8_t *used
        int64_t n_steps
        int64_t n_done
    int bnf_load_arch(bnf_loader *loader)
    int bnf_load_hparams(bnf_loader *loader)
    int bnf_load_tensors(bnf_loader *loader)
    int bnf_load_check(bnf_loader *loader)
    int bnf_load_pack(bnf_loader *loader)
    int bnf_load_head(bnf_loader *loader)
    int bnf_load_own(bnf_loader *loader, void *memory)
    int bnf_load_step(bnf_loader *loader)
    bnf_matrix *bnf_matrix_numbered(llama_model *model, int64_t number)
    void bnf_ref_take(int32_t *refs)
    int32_t bnf_ref_drop(int32_t *refs)
