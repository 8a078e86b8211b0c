# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The few functions of ggml.h and ggml-backend.h that programs of llama.h call beside it: clock, names of types, the list of
# devices, which is the CPU alone. There is no ggml behind them. Next: bitnet_ffi.h, "From ggml".

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t
from libc.string cimport strcmp
from bitnet_ffi._core.bnf cimport (
    BITNET_ERROR, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, bnf_cpu_features_text, bnf_clear_error, bnf_fail, bnf_time_us, bool,
    ggml_type)

cdef extern from "bnf_layout.h" nogil:
    const char *bnf_type_name(int32_t type)

cdef extern from "<unistd.h>" nogil:
    enum:
        _SC_PHYS_PAGES, _SC_AVPHYS_PAGES, _SC_PAGESIZE
    long sysconf(int name)

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef struct ggml_backend_device "struct ggml_backend_device":
        pass
    ctypedef ggml_backend_device *ggml_backend_dev_t
    ctypedef enum ggml_backend_dev_type_t "enum ggml_backend_dev_type":
        GGML_BACKEND_DEVICE_TYPE_CPU
    enum:
        GGML_TYPE_I8, GGML_TYPE_I16, GGML_TYPE_I32, GGML_TYPE_I64, GGML_TYPE_F64

cdef int the_cpu      # its address is the one device


cdef public int64_t ggml_time_us() noexcept nogil:
    return bnf_time_us()


cdef public int64_t ggml_time_ms() noexcept nogil:
    return bnf_time_us() // 1000


cdef public void ggml_backend_load_all() noexcept nogil:
    pass


# ---- types of tensors ----

cdef public const char *type_name "ggml_type_name"(ggml_type type) noexcept nogil:
    cdef const char *name = bnf_type_name(<int32_t>type)
    if name == NULL:
        return "unknown"
    return name


cdef public bool is_quantized "ggml_is_quantized"(ggml_type type) noexcept nogil:
    cdef int t = <int>type
    if bnf_type_name(t) == NULL or t == GGML_TYPE_F32 or t == GGML_TYPE_F16 or t == GGML_TYPE_BF16 or t == GGML_TYPE_F64:
        return False
    return t != GGML_TYPE_I8 and t != GGML_TYPE_I16 and t != GGML_TYPE_I32 and t != GGML_TYPE_I64


# ---- devices ----

cdef bint known(const void *device, const char *function) noexcept nogil:
    bnf_clear_error()
    if device == &the_cpu:
        return True
    bnf_fail(BITNET_ERROR, "%s: not a device; ggml_backend_dev_get(0) is the only one", function)
    return False


cdef public size_t ggml_backend_dev_count() noexcept nogil:
    return 1


cdef public ggml_backend_dev_t ggml_backend_dev_get(size_t index) noexcept nogil:
    if index == 0:
        return <ggml_backend_dev_t>&the_cpu
    bnf_fail(BITNET_ERROR, "ggml_backend_dev_get(%zu): there is one device, 0", index)
    return NULL


cdef public ggml_backend_dev_t ggml_backend_dev_by_name(const char *name) noexcept nogil:
    return <ggml_backend_dev_t>&the_cpu if name != NULL and strcmp(name, "CPU") == 0 else NULL


cdef public ggml_backend_dev_t ggml_backend_dev_by_type(ggml_backend_dev_type_t type) noexcept nogil:
    return <ggml_backend_dev_t>&the_cpu if type == GGML_BACKEND_DEVICE_TYPE_CPU else NULL


cdef public const char *ggml_backend_dev_name(ggml_backend_dev_t device) noexcept nogil:
    if known(device, "ggml_backend_dev_name"):
        return "CPU"
    return NULL


cdef public const char *ggml_backend_dev_description(ggml_backend_dev_t device) noexcept nogil:
    return bnf_cpu_features_text() if known(device, "ggml_backend_dev_description") else NULL


cdef public ggml_backend_dev_type_t dev_type "ggml_backend_dev_type"(ggml_backend_dev_t device) noexcept nogil:
    known(device, "ggml_backend_dev_type")
    return GGML_BACKEND_DEVICE_TYPE_CPU


cdef size_t bytes_of(int pages) noexcept nogil:
    cdef long n = sysconf(pages)
    return <size_t>n * <size_t>sysconf(_SC_PAGESIZE) if n > 0 else 0


# "free" is a word of C: the names here differ from the header's.
cdef public void ggml_backend_dev_memory(ggml_backend_dev_t device, size_t *n_free, size_t *n_total) noexcept nogil:
    if not known(device, "ggml_backend_dev_memory"):
        return
    if n_free != NULL:
        n_free[0] = bytes_of(_SC_AVPHYS_PAGES)
    if n_total != NULL:
        n_total[0] = bytes_of(_SC_PHYS_PAGES)
