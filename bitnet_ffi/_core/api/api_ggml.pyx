# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The functions of ggml.h and ggml-backend.h that programs of llama.h call beside it: the clock, and the registry of backends, which is
# one backend with one device, the CPU. There is no ggml behind them; tensors are in api_tensor.pyx, thread pools in
# csrc/bnf_threadpool.c, ggml_abort in csrc/bnf_abort.c. Next: bitnet_ffi.h, "From ggml".

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.string cimport memset, strcmp
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_time_us
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR

cdef extern from "<strings.h>" nogil:
    int strcasecmp(const char *a, const char *b)

cdef extern from "bnf_cpu.h" nogil:
    const char *bnf_cpu_name()

cdef extern from "<unistd.h>" nogil:
    enum:
        _SC_PHYS_PAGES, _SC_AVPHYS_PAGES, _SC_PAGESIZE
    long sysconf(int name)

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef struct ggml_backend_device "struct ggml_backend_device":
        pass
    ctypedef ggml_backend_device *ggml_backend_dev_t
    ctypedef struct ggml_backend_reg "struct ggml_backend_reg":
        pass
    ctypedef ggml_backend_reg *ggml_backend_reg_t
    ctypedef struct ggml_backend_buffer_type "struct ggml_backend_buffer_type":
        pass
    ctypedef ggml_backend_buffer_type *ggml_backend_buffer_type_t
    ctypedef enum ggml_backend_dev_type_t "enum ggml_backend_dev_type":
        GGML_BACKEND_DEVICE_TYPE_CPU
    ctypedef struct ggml_backend_dev_caps "struct ggml_backend_dev_caps":
        bool mmap_support
    ctypedef struct ggml_backend_dev_props "struct ggml_backend_dev_props":
        const char *name
        const char *description
        size_t memory_free
        size_t memory_total
        ggml_backend_dev_type_t type
        ggml_backend_dev_caps caps
    ctypedef struct ggml_threadpool "struct ggml_threadpool":
        pass
    ctypedef struct ggml_threadpool_params "struct ggml_threadpool_params":
        pass
    ggml_threadpool *ggml_threadpool_new(ggml_threadpool_params *params)
    void ggml_threadpool_free(ggml_threadpool *threadpool)

# Their addresses are the handles.
cdef int the_cpu, the_backend, the_memory


cdef public void ggml_time_init() noexcept nogil:
    pass


cdef public int64_t ggml_time_us() noexcept nogil:
    return bnf_time_us()


cdef public int64_t ggml_time_ms() noexcept nogil:
    return bnf_time_us() // 1000


# ---- devices ----

cdef bint known(const void *handle, const void *ours, const char *function, const char *what) noexcept nogil:
    bnf_clear_error()
    if handle == ours:
        return True
    bnf_fail(BITNET_ERROR, "%s: not %s of this library, which has one, the CPU's", function, what)
    return False


cdef bint is_device(const void *device, const char *function) noexcept nogil:
    return known(device, &the_cpu, function, "a device")


cdef public size_t ggml_backend_dev_count() noexcept nogil:
    return 1


cdef public ggml_backend_dev_t ggml_backend_dev_get(size_t index) noexcept nogil:
    if index == 0:
        return <ggml_backend_dev_t>&the_cpu
    bnf_fail(BITNET_ERROR, "ggml_backend_dev_get(%zu): there is one device, 0", index)
    return NULL


cdef public ggml_backend_dev_t ggml_backend_dev_by_name(const char *name) noexcept nogil:
    return <ggml_backend_dev_t>&the_cpu if name != NULL and strcasecmp(name, "CPU") == 0 else NULL


cdef public ggml_backend_dev_t ggml_backend_dev_by_type(ggml_backend_dev_type_t type) noexcept nogil:
    return <ggml_backend_dev_t>&the_cpu if type == GGML_BACKEND_DEVICE_TYPE_CPU else NULL


cdef public const char *ggml_backend_dev_name(ggml_backend_dev_t device) noexcept nogil:
    if is_device(device, "ggml_backend_dev_name"):
        return "CPU"
    return NULL


cdef public const char *ggml_backend_dev_description(ggml_backend_dev_t device) noexcept nogil:
    return bnf_cpu_name() if is_device(device, "ggml_backend_dev_description") else NULL


cdef public ggml_backend_dev_type_t dev_type "ggml_backend_dev_type"(ggml_backend_dev_t device) noexcept nogil:
    is_device(device, "ggml_backend_dev_type")
    return GGML_BACKEND_DEVICE_TYPE_CPU


cdef size_t bytes_of(int pages) noexcept nogil:
    cdef long n = sysconf(pages)
    return <size_t>n * <size_t>sysconf(_SC_PAGESIZE) if n > 0 else 0


# "free" is a word of C: the names here differ from the header's.
cdef public void ggml_backend_dev_memory(ggml_backend_dev_t device, size_t *n_free, size_t *n_total) noexcept nogil:
    if not is_device(device, "ggml_backend_dev_memory"):
        return
    if n_free != NULL:
        n_free[0] = bytes_of(_SC_AVPHYS_PAGES)
    if n_total != NULL:
        n_total[0] = bytes_of(_SC_PHYS_PAGES)


cdef public void ggml_backend_dev_get_props(ggml_backend_dev_t device, ggml_backend_dev_props *props) noexcept nogil:
    if not is_device(device, "ggml_backend_dev_get_props"):
        return
    if props == NULL:
        bnf_fail(BITNET_ERROR, "ggml_backend_dev_get_props: props is NULL")
        return
    memset(props, 0, sizeof(ggml_backend_dev_props))
    props.name = "CPU"
    props.description = bnf_cpu_name()
    ggml_backend_dev_memory(device, &props.memory_free, &props.memory_total)
    props.type = GGML_BACKEND_DEVICE_TYPE_CPU
    props.caps.mmap_support = True


cdef public ggml_backend_reg_t ggml_backend_dev_backend_reg(ggml_backend_dev_t device) noexcept nogil:
    return <ggml_backend_reg_t>&the_backend if is_device(device, "ggml_backend_dev_backend_reg") else NULL


# ---- the registry ----

cdef bint is_backend(const void *reg, const char *function) noexcept nogil:
    return known(reg, &the_backend, function, "a backend")


cdef public size_t ggml_backend_reg_count() noexcept nogil:
    return 1


cdef public ggml_backend_reg_t ggml_backend_reg_get(size_t index) noexcept nogil:
    if index == 0:
        return <ggml_backend_reg_t>&the_backend
    bnf_fail(BITNET_ERROR, "ggml_backend_reg_get(%zu): there is one backend, 0", index)
    return NULL


cdef public ggml_backend_reg_t ggml_backend_reg_by_name(const char *name) noexcept nogil:
    return <ggml_backend_reg_t>&the_backend if name != NULL and strcasecmp(name, "CPU") == 0 else NULL


cdef public const char *ggml_backend_reg_name(ggml_backend_reg_t reg) noexcept nogil:
    if is_backend(reg, "ggml_backend_reg_name"):
        return "CPU"
    return NULL


cdef public size_t ggml_backend_reg_dev_count(ggml_backend_reg_t reg) noexcept nogil:
    return 1 if is_backend(reg, "ggml_backend_reg_dev_count") else 0


cdef public ggml_backend_dev_t ggml_backend_reg_dev_get(ggml_backend_reg_t reg, size_t index) noexcept nogil:
    return ggml_backend_dev_get(index) if is_backend(reg, "ggml_backend_reg_dev_get") else NULL


cdef public void *ggml_backend_reg_get_proc_address(ggml_backend_reg_t reg, const char *name) noexcept nogil:
    if not is_backend(reg, "ggml_backend_reg_get_proc_address") or name == NULL:
        return NULL
    if strcmp(name, "ggml_threadpool_new") == 0:
        return <void *>ggml_threadpool_new
    if strcmp(name, "ggml_threadpool_free") == 0:
        return <void *>ggml_threadpool_free
    return NULL


# ---- backends of others ----

cdef void refuse(const char *function) noexcept nogil:
    bnf_fail(BITNET_ERROR, "%s: this library computes on the CPU, with nothing to add or take away", function)


cdef public void ggml_backend_load_all() noexcept nogil:
    bnf_clear_error()


cdef public void ggml_backend_load_all_from_path(const char *dir_path) noexcept nogil:
    bnf_clear_error()


cdef public ggml_backend_reg_t ggml_backend_load(const char *path) noexcept nogil:
    refuse("ggml_backend_load")
    return NULL


cdef public void ggml_backend_unload(ggml_backend_reg_t reg) noexcept nogil:
    refuse("ggml_backend_unload")


cdef public void ggml_backend_register(ggml_backend_reg_t reg) noexcept nogil:
    refuse("ggml_backend_register")


cdef public void ggml_backend_device_register(ggml_backend_dev_t device) noexcept nogil:
    refuse("ggml_backend_device_register")


# ---- kinds of memory ----

cdef bint is_memory(const void *buft, const char *function) noexcept nogil:
    return known(buft, &the_memory, function, "a kind of memory")


cdef public ggml_backend_buffer_type_t ggml_backend_cpu_buffer_type() noexcept nogil:
    return <ggml_backend_buffer_type_t>&the_memory


cdef public ggml_backend_buffer_type_t ggml_backend_dev_buffer_type(ggml_backend_dev_t device) noexcept nogil:
    return ggml_backend_cpu_buffer_type() if is_device(device, "ggml_backend_dev_buffer_type") else NULL


cdef public const char *ggml_backend_buft_name(ggml_backend_buffer_type_t buft) noexcept nogil:
    if is_memory(buft, "ggml_backend_buft_name"):
        return "CPU"
    return NULL


cdef public bool ggml_backend_buft_is_host(ggml_backend_buffer_type_t buft) noexcept nogil:
    return is_memory(buft, "ggml_backend_buft_is_host")


cdef public ggml_backend_dev_t ggml_backend_buft_get_device(ggml_backend_buffer_type_t buft) noexcept nogil:
    return ggml_backend_dev_get(0) if is_memory(buft, "ggml_backend_buft_get_device") else NULL
