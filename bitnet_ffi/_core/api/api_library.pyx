# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The header's "Library" section and the process-wide bitnet_* calls: version, kernel table, last error, log, clock.
# There is no global set-up: llama_backend_init and llama_backend_free exist for source compatibility and do nothing,
# because tables are chosen on first use and pools belong to contexts. Only where threads run can be said for all (llama_numa_init).
# Next: csrc/bnf_error.h and csrc/bnf_log.h keep the state that these calls show.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t
from bitnet_ffi._core.bnf_base cimport (
    bnf_clear_error, bnf_cpu_features_text, bnf_error_code, bnf_error_text, bnf_log_get, bnf_log_set, bnf_time_us)
from bitnet_ffi._core.bnf_ops cimport bnf_ops, bnf_ops_t
from bitnet_ffi._core.bnf_public cimport bool, ggml_log_callback
from bitnet_ffi._core.bnf_types cimport BNF_MAX_SEQUENCES

cdef extern from "bitnet_ffi.h" nogil:
    const char *BITNET_FFI_VERSION_STRING
    ctypedef enum ggml_numa_strategy "enum ggml_numa_strategy":
        GGML_NUMA_STRATEGY_DISTRIBUTE

cdef extern from "bnf_numa.h" nogil:
    int32_t bnf_numa_set(ggml_numa_strategy strategy)

# Programs size arrays with both: one entry a sequence id, one a device (llama_model_params.tensor_split).
cdef enum:
    MAX_DEVICES = 1


cdef public void llama_backend_init() noexcept nogil:
    pass


cdef public void llama_init_backend(bool numa) noexcept nogil:
    if numa:
        llama_numa_init(GGML_NUMA_STRATEGY_DISTRIBUTE)


cdef public void llama_backend_free() noexcept nogil:
    pass


cdef public void llama_numa_init(ggml_numa_strategy numa) noexcept nogil:
    bnf_clear_error()
    bnf_numa_set(numa)


cdef public void llama_log_set(ggml_log_callback log_callback, void *user_data) noexcept nogil:
    bnf_log_set(log_callback, user_data)


cdef public void llama_log_get(ggml_log_callback *log_callback, void **user_data) noexcept nogil:
    cdef ggml_log_callback callback
    cdef void *data
    bnf_log_get(&callback, &data)      # wants both
    if log_callback != NULL:
        log_callback[0] = callback
    if user_data != NULL:
        user_data[0] = data


cdef public int64_t llama_time_us() noexcept nogil:
    return bnf_time_us()


cdef public const char *llama_print_system_info() noexcept nogil:
    return bnf_cpu_features_text()


cdef public size_t llama_max_devices() noexcept nogil:
    return MAX_DEVICES


cdef public size_t llama_max_parallel_sequences() noexcept nogil:
    return BNF_MAX_SEQUENCES


cdef public bool llama_supports_mmap() noexcept nogil:
    return True


cdef public bool llama_supports_mlock() noexcept nogil:
    return True


cdef public bool llama_supports_gpu_offload() noexcept nogil:
    return False


cdef public const char *bitnet_version() noexcept nogil:
    return BITNET_FFI_VERSION_STRING


cdef public const char *llama_version() noexcept nogil:
    return BITNET_FFI_VERSION_STRING


cdef public const char *bitnet_kernel_name() noexcept nogil:
    cdef const bnf_ops_t *ops = bnf_ops()
    return ops.name if ops != NULL else NULL


cdef public const char *bitnet_last_error() noexcept nogil:
    return bnf_error_text()


cdef public int32_t bitnet_last_error_code() noexcept nogil:
    return bnf_error_code()
