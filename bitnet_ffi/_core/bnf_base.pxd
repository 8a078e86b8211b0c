# The engine's view of what every room needs: errors, repairs, the log, text, memory and files, the CPU's name, words for numbers
# (csrc/bnf_error.h and the headers named below). All extern; nothing is defined here.

from libc.stdint cimport uint8_t, int32_t, int64_t, uint64_t
from libc.stdio cimport FILE
from bitnet_ffi._core.bnf_public cimport bool, ggml_log_callback, ggml_log_level

cdef extern from "bnf_error.h" nogil:
    int bnf_fail(int code, const char *format, ...)
    int bnf_answer_no(int code, const char *format, ...)
    int bnf_fail_within(const char *prefix)
    bool bnf_is_null(const void *argument, const char *function, const char *name)
    bool bnf_is_null_buffer(const void *buf, size_t buf_size, const char *function)
    void bnf_clear_error()
    int bnf_error_code()
    const char *bnf_error_text()

cdef extern from "bnf_repair.h" nogil:
    int bnf_model_repair(const char *format, ...)

cdef extern from "bnf_log.h" nogil:
    void bnf_log(ggml_log_level level, const char *format, ...)
    void bnf_log_set(ggml_log_callback callback, void *user_data)
    void bnf_log_get(ggml_log_callback *callback, void **user_data)

cdef extern from "bnf_text.h" nogil:
    enum:
        BNF_SHOWN_SIZE
    ctypedef struct bnf_sink "struct bnf_sink":
        char *buf
        size_t size
        uint64_t len
    const char *bnf_show(const char *data, uint64_t len, char *out)
    const char *bnf_path_tail(const char *path)
    bnf_sink bnf_sink_to(char *buf, size_t size)
    void bnf_sink_put(bnf_sink *sink, const char *data, uint64_t len)
    void bnf_sink_str(bnf_sink *sink, const char *text)
    void bnf_sink_i64(bnf_sink *sink, int64_t value)
    void bnf_sink_u64(bnf_sink *sink, uint64_t value)
    void bnf_sink_f64(bnf_sink *sink, double value)
    int32_t bnf_sink_end(bnf_sink *sink)
    int32_t bnf_sink_nothing(char *buf, size_t size)

cdef extern from "bnf_platform.h" nogil:
    ctypedef struct bnf_map "struct bnf_map":
        const uint8_t *data
        size_t size
    int bnf_map_file(const char *path, bnf_map *out)
    int bnf_map_stream(FILE *stream, bnf_map *out)
    int bnf_map_own(const bnf_map *map)
    void bnf_map_forget(const void *data, size_t size)
    void bnf_unmap(bnf_map *map)
    void *bnf_alloc(size_t size)
    void *bnf_alloc_array(size_t n, size_t size)
    void *bnf_resize(void *memory, size_t old_size, size_t new_size)
    void bnf_release(void *memory)
    int64_t bnf_time_us()

cdef extern from "bnf_cpu.h" nogil:
    const char *bnf_cpu_features_text()

cdef extern from "bnf_names.h" nogil:
    const char *bnf_ftype_name(int ftype)
    int bnf_ftype_of_type(int32_t type)
    const char *bnf_meta_key_name(int key)
    const char *bnf_load_mode_name(int mode)
    const char *bnf_flash_attn_name(int type)
