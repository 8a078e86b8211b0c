/* bitnet_ffi.h - the public header of libbitnet_ffi, and its manual.
 *
 * What is not in this file is not API. It is llama.h as llama.cpp has it in 2026, as far as this version goes: a
 * function that is declared here works, and one that does not work yet is absent; the calls for devices, training and ggml's
 * graphs are there and fail ("What is not here"). Names that begin with bitnet_ are ours.
 *
 * WHAT IT IS FOR. Running BitNet b1.58 (ternary) models and ordinary GGUF models from any language: the library needs
 * libc and libm, no Python and no C++ runtime.
 *
 * HOW TO USE IT
 *     cc program.c $(python3 -m bitnet_ffi.config --cflags --libs)
 * A program written for llama.cpp includes this file instead of "llama.h" and links -lbitnet_ffi instead of -lllama; one of
 * 2023 or 2024 also says so, with -DBITNET_FFI_API=2023 or 2024 (docs/MIGRATING.md).
 * The shortest useful program is examples/simple.c:
 *     model   = llama_model_load_from_file(path, llama_model_default_params());
 *     ctx     = llama_init_from_model(model, llama_context_default_params());
 *     n       = llama_tokenize(llama_model_get_vocab(model), text, length, tokens, n_max, true, true);
 *     loop:     llama_decode(ctx, llama_batch_get_one(tokens, n));
 *               token = llama_sampler_sample(sampler, ctx, -1);
 *               llama_token_to_piece(vocab, token, buffer, size, 0, false);
 *     llama_sampler_free, llama_free, llama_model_free: in any order, NULL is accepted.
 *
 * ERRORS. Nothing here aborts (but ggml_abort, for those who call it), exits, throws, prints or installs a signal handler. A call
 * that fails returns NULL, false or a negative code (a positive one where the caller can act on it) and leaves its object as it
 * was. bitnet_last_error() then gives one sentence that says what, where, found and expected; bitnet_last_error_code() one
 * of enum bitnet_status. Both belong to the calling thread. Functions that return nothing and can fail clear them
 * first: a code other than 0 then says that they did. Pointers may be NULL only where it is said so, but a NULL handle
 * is always answered with an error.
 *
 * THREADS. A model is immutable once loaded and may be used by any number of threads. A context or sampler belongs to
 * one thread at a time; a second one that enters a context gets BITNET_ERROR_THREAD (-8), never corruption. So does a
 * callback that enters the context it is called for. Anybody may ask meanwhile for its model, its sizes, its numbers of
 * threads and its counters (llama_perf_context). Freeing is the exception: nobody may be inside, or come later.
 * Each context has threads of its own for computing (or those of llama_attach_threadpool); after fork() the child computes with
 * its one thread.
 *
 * THE SAME BITS. Logits do not depend on how a prompt is cut into batches, on n_batch, n_ubatch or n_threads, on what
 * other sequences hold, or on the instruction set (BITNET_FFI_KERNELS=NAME forces one: bitnet_kernel_name).
 *
 * MEMORY. Weights are used where the file is mapped: keep the file unchanged while a model is open, or have it read
 * (params.load_mode). Every pointer that a function returns stays the library's, but for models, contexts, samplers and
 * batches that the caller made, cloned or took out of a chain: those are freed with the function of their kind.
 *
 * Fields marked "ignored" exist so that struct layouts equal llama.h's, which tests_py/test_layout_abi.py holds. */
#ifndef BITNET_FFI_H
#define BITNET_FFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h> /* FILE, in signatures of llama.h */
#include <stdlib.h>

#ifdef __GNUC__
#define BITNET_API __attribute__((visibility("default")))
#else
#define BITNET_API
#endif
#define LLAMA_API BITNET_API

/* Of ggml.h, which llama.h includes: a program's own checks, by ggml_abort. The library calls neither. */
#ifndef GGML_ABORT
#define GGML_ABORT(...) ggml_abort(__FILE__, __LINE__, __VA_ARGS__)
#endif
#ifndef GGML_ASSERT
#define GGML_ASSERT(x) ((x) ? (void)0 : ggml_abort(__FILE__, __LINE__, "GGML_ASSERT(%s) failed", #x))
#endif
#ifndef GGML_UNUSED
#define GGML_UNUSED(x) (void)(x)
#endif
#ifdef __GNUC__
#define BITNET_ABORTS __attribute__((noreturn, format(printf, 3, 4)))
#else
#define BITNET_ABORTS
#endif

#define BITNET_FFI_VERSION_MAJOR 0
#define BITNET_FFI_VERSION_MINOR 1
#define BITNET_FFI_VERSION_PATCH 0
#define BITNET_FFI_VERSION_STRING "0.1.0"

#define LLAMA_DEFAULT_SEED 0xFFFFFFFFu /* llama_sampler_init_dist: take a seed from the operating system */
#define LLAMA_TOKEN_NULL (-1)          /* no such token */

/* Whose llama.h a program was written for: -DBITNET_FFI_API, or a #define before this file.
 *     (not set)  today's structs, and older numbers of arguments where they can mean one thing only (bitnet_ffi_older.h)
 *     2026       today's llama.h and nothing else
 *     2024       also the parameters and batches of 2024 (bitnet_ffi_eras.h; here they carry other names then)
 *     2023       also those of 2023 */
#ifdef BITNET_FFI_API
#if BITNET_FFI_API == 2023 || BITNET_FFI_API == 2024
#define BITNET_FFI_ERA_STRUCTS
#define llama_model_params bitnet_model_params
#define llama_context_params bitnet_context_params
#define llama_batch bitnet_batch
#define llama_progress_callback bitnet_progress_callback
#elif BITNET_FFI_API != 2026
#error "BITNET_FFI_API: expected 2023, 2024 or 2026"
#endif
#endif

/* llama.h parted the vocabulary from the model in 2025; older programs pass the model. Here both are one type, so calls
 * of either age compile, and llama_model_get_vocab returns the pointer it was given. */
#define llama_vocab llama_model

#ifdef __cplusplus
extern "C" {
#endif
/* ------------------------------------------------------------------------------------------------
 * Handles and small types
 * ---------------------------------------------------------------------------------------------- */

struct llama_model;     /* weights and vocabulary; immutable */
struct llama_context;   /* KV cache, scratch, threads, logits: one conversation or many sequences */
struct llama_batch_ext; /* a batch that grows */
struct llama_memory_i;
struct llama_kv_cache;
struct ggml_tensor;
struct ggml_context;
struct ggml_cgraph;
struct gguf_context;

typedef int32_t llama_token;  /* 0 .. llama_vocab_n_tokens - 1 */
typedef int32_t llama_pos;    /* position in a sequence, from 0 */
typedef int32_t llama_seq_id; /* 0 .. n_seq_max - 1 */
typedef struct llama_memory_i *llama_memory_t; /* the KV cache of a context */
typedef void *llama_sampler_context_t;
typedef struct ggml_backend_device *ggml_backend_dev_t;
typedef struct ggml_backend_reg *ggml_backend_reg_t;
typedef struct ggml_backend_buffer_type *ggml_backend_buffer_type_t;
typedef struct ggml_backend_buffer *ggml_backend_buffer_t;
typedef struct ggml_threadpool *ggml_threadpool_t;
typedef struct ggml_opt_dataset *ggml_opt_dataset_t;
typedef struct ggml_opt_context *ggml_opt_context_t;
typedef struct ggml_opt_result *ggml_opt_result_t;
/* What bitnet_last_error_code() says. llama_tokenize and a few others keep llama.cpp's meaning of a negative
 * result; the code tells the two apart. */
enum bitnet_status {
    BITNET_OK              = 0,
    BITNET_EVAL_ERROR      = 1,   /* llama_eval failed */
    BITNET_ERROR           = -1,  /* a wrong argument, or anything without a code of its own */
    BITNET_ERROR_UTF8      = -2,  /* invalid UTF-8 where it is refused */
    BITNET_ERROR_TOKENIZE  = -3,
    BITNET_ERROR_NOT_FOUND = -4,  /* no such file */
    BITNET_ERROR_LOAD      = -5,  /* the file cannot be read or mapped */
    BITNET_ERROR_INFERENCE = -6,
    BITNET_ERROR_MEMORY    = -7,
    BITNET_ERROR_THREAD    = -8,  /* a context was entered by two threads at once */
    BITNET_ERROR_MODEL     = -9,  /* the file is read, but wrong or not supported */
    BITNET_ERROR_CONTEXT   = -10, /* n_ctx is full */
};
/* Families of tokenizers. This version has SPM (SentencePiece BPE with byte fallback), BPE (byte level, as GPT-2),
 * WPM (WordPiece, as BERT) and UGM (Unigram, as T5). */
enum llama_vocab_type {
    LLAMA_VOCAB_TYPE_NONE   = 0,
    LLAMA_VOCAB_TYPE_SPM    = 1,
    LLAMA_VOCAB_TYPE_BPE    = 2,
    LLAMA_VOCAB_TYPE_WPM    = 3,
    LLAMA_VOCAB_TYPE_UGM    = 4,
    LLAMA_VOCAB_TYPE_RWKV   = 5,
    LLAMA_VOCAB_TYPE_PLAMO2 = 6,
    LLAMA_VOCAB_TYPE_TEST   = 7,
};

/* How rotary embeddings pair the elements of a head: NORM (2i, 2i + 1), NEOX (i, i + n / 2). */
enum llama_rope_type {
    LLAMA_ROPE_TYPE_NONE   = -1,
    LLAMA_ROPE_TYPE_NORM   = 0,
    LLAMA_ROPE_TYPE_NEOX   = 2,
    LLAMA_ROPE_TYPE_MROPE  = 8,
    LLAMA_ROPE_TYPE_IMROPE = 40,
    LLAMA_ROPE_TYPE_VISION = 24,
};

/* Kinds of tokens in a file's tokenizer.ggml.token_type. */
enum llama_token_type {
    LLAMA_TOKEN_TYPE_UNDEFINED    = 0,
    LLAMA_TOKEN_TYPE_NORMAL       = 1,
    LLAMA_TOKEN_TYPE_UNKNOWN      = 2,
    LLAMA_TOKEN_TYPE_CONTROL      = 3,
    LLAMA_TOKEN_TYPE_USER_DEFINED = 4,
    LLAMA_TOKEN_TYPE_UNUSED       = 5,
    LLAMA_TOKEN_TYPE_BYTE         = 6,
};

/* Attributes of a token: a set of bits. */
enum llama_token_attr {
    LLAMA_TOKEN_ATTR_UNDEFINED    = 0,
    LLAMA_TOKEN_ATTR_UNKNOWN      = 1,
    LLAMA_TOKEN_ATTR_UNUSED       = 2,
    LLAMA_TOKEN_ATTR_NORMAL       = 4,
    LLAMA_TOKEN_ATTR_CONTROL      = 8,
    LLAMA_TOKEN_ATTR_USER_DEFINED = 16,
    LLAMA_TOKEN_ATTR_BYTE         = 32,
    LLAMA_TOKEN_ATTR_NORMALIZED   = 64,
    LLAMA_TOKEN_ATTR_LSTRIP       = 128,
    LLAMA_TOKEN_ATTR_RSTRIP       = 256,
    LLAMA_TOKEN_ATTR_SINGLE_WORD  = 512,
};

/* general.file_type of a file: informational, every tensor has its own type. */
enum llama_ftype {
    LLAMA_FTYPE_ALL_F32          = 0,
    LLAMA_FTYPE_MOSTLY_F16       = 1,
    LLAMA_FTYPE_MOSTLY_Q4_0      = 2,
    LLAMA_FTYPE_MOSTLY_Q4_1      = 3,
    LLAMA_FTYPE_MOSTLY_Q8_0      = 7,
    LLAMA_FTYPE_MOSTLY_Q5_0      = 8,
    LLAMA_FTYPE_MOSTLY_Q5_1      = 9,
    LLAMA_FTYPE_MOSTLY_Q2_K      = 10,
    LLAMA_FTYPE_MOSTLY_Q3_K_S    = 11,
    LLAMA_FTYPE_MOSTLY_Q3_K_M    = 12,
    LLAMA_FTYPE_MOSTLY_Q3_K_L    = 13,
    LLAMA_FTYPE_MOSTLY_Q4_K_S    = 14,
    LLAMA_FTYPE_MOSTLY_Q4_K_M    = 15,
    LLAMA_FTYPE_MOSTLY_Q5_K_S    = 16,
    LLAMA_FTYPE_MOSTLY_Q5_K_M    = 17,
    LLAMA_FTYPE_MOSTLY_Q6_K      = 18,
    LLAMA_FTYPE_MOSTLY_IQ2_XXS   = 19,
    LLAMA_FTYPE_MOSTLY_IQ2_XS    = 20,
    LLAMA_FTYPE_MOSTLY_Q2_K_S    = 21,
    LLAMA_FTYPE_MOSTLY_IQ3_XS    = 22,
    LLAMA_FTYPE_MOSTLY_IQ3_XXS   = 23,
    LLAMA_FTYPE_MOSTLY_IQ1_S     = 24,
    LLAMA_FTYPE_MOSTLY_IQ4_NL    = 25,
    LLAMA_FTYPE_MOSTLY_IQ3_S     = 26,
    LLAMA_FTYPE_MOSTLY_IQ3_M     = 27,
    LLAMA_FTYPE_MOSTLY_IQ2_S     = 28,
    LLAMA_FTYPE_MOSTLY_IQ2_M     = 29,
    LLAMA_FTYPE_MOSTLY_IQ4_XS    = 30,
    LLAMA_FTYPE_MOSTLY_IQ1_M     = 31,
    LLAMA_FTYPE_MOSTLY_BF16      = 32,
    LLAMA_FTYPE_MOSTLY_TQ1_0     = 36,
    LLAMA_FTYPE_MOSTLY_TQ2_0     = 37,
    LLAMA_FTYPE_MOSTLY_MXFP4_MOE = 38,
    LLAMA_FTYPE_MOSTLY_NVFP4     = 39,
    LLAMA_FTYPE_MOSTLY_Q1_0      = 40,
    LLAMA_FTYPE_MOSTLY_Q2_0      = 41,
    LLAMA_FTYPE_GUESSED          = 1024, /* a flag: the file does not say, most of its weights do */
    BITNET_FTYPE_MOSTLY_I2_S     = 2084, /* files call it 40, which is Q1_0 in llama.cpp */
};

enum llama_rope_scaling_type {
    LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED = -1,
    LLAMA_ROPE_SCALING_TYPE_NONE        = 0,
    LLAMA_ROPE_SCALING_TYPE_LINEAR      = 1,
    LLAMA_ROPE_SCALING_TYPE_YARN        = 2,
    LLAMA_ROPE_SCALING_TYPE_LONGROPE    = 3,
    LLAMA_ROPE_SCALING_TYPE_MAX_VALUE   = 3,
};

/* How the states of a sequence's tokens become one embedding: their mean, the first (CLS) or the last of them. RANK: what the
 * model's classifier makes of the last of them, or of the first where attention is not causal, in place of an embedding: its
 * llama_model_n_cls_out numbers, cls.output tanh(cls x) as far as the file has them. NONE: one embedding a token. */
enum llama_pooling_type {
    LLAMA_POOLING_TYPE_UNSPECIFIED = -1,
    LLAMA_POOLING_TYPE_NONE        = 0,
    LLAMA_POOLING_TYPE_MEAN        = 1,
    LLAMA_POOLING_TYPE_CLS         = 2,
    LLAMA_POOLING_TYPE_LAST        = 3,
    LLAMA_POOLING_TYPE_RANK        = 4,
};

enum llama_attention_type {
    LLAMA_ATTENTION_TYPE_UNSPECIFIED = -1,
    LLAMA_ATTENTION_TYPE_CAUSAL      = 0,
    LLAMA_ATTENTION_TYPE_NON_CAUSAL  = 1,
};

enum llama_flash_attn_type {
    LLAMA_FLASH_ATTN_TYPE_AUTO     = -1,
    LLAMA_FLASH_ATTN_TYPE_DISABLED = 0,
    LLAMA_FLASH_ATTN_TYPE_ENABLED  = 1,
};

enum llama_split_mode {
    LLAMA_SPLIT_MODE_NONE   = 0,
    LLAMA_SPLIT_MODE_LAYER  = 1,
    LLAMA_SPLIT_MODE_ROW    = 2,
    LLAMA_SPLIT_MODE_TENSOR = 3,
};

enum llama_load_mode {
    LLAMA_LOAD_MODE_AUTO       = -1,
    LLAMA_LOAD_MODE_NONE       = 0,
    LLAMA_LOAD_MODE_MMAP       = 1,
    LLAMA_LOAD_MODE_MLOCK      = 2,
    LLAMA_LOAD_MODE_MMAP_MLOCK = 3,
    LLAMA_LOAD_MODE_DIRECT_IO  = 4,
};

/* Keys of a file's metadata that recommend sampling parameters: llama_model_meta_key_str. */
enum llama_model_meta_key {
    LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE        = 0,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_K           = 1,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_P           = 2,
    LLAMA_MODEL_META_KEY_SAMPLING_MIN_P           = 3,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY = 4,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD   = 5,
    LLAMA_MODEL_META_KEY_SAMPLING_TEMP            = 6,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N  = 7,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT  = 8,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT        = 9,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU    = 10,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA    = 11,
};

enum llama_params_fit_status {
    LLAMA_PARAMS_FIT_STATUS_SUCCESS = 0,
    LLAMA_PARAMS_FIT_STATUS_FAILURE = 1,
    LLAMA_PARAMS_FIT_STATUS_ERROR   = 2,
};

enum ggml_numa_strategy {
    GGML_NUMA_STRATEGY_DISABLED   = 0,
    GGML_NUMA_STRATEGY_DISTRIBUTE = 1,
    GGML_NUMA_STRATEGY_ISOLATE    = 2,
    GGML_NUMA_STRATEGY_NUMACTL    = 3,
    GGML_NUMA_STRATEGY_MIRROR     = 4,
    GGML_NUMA_STRATEGY_COUNT      = 5,
};

enum ggml_opt_optimizer_type {
    GGML_OPT_OPTIMIZER_TYPE_ADAMW = 0,
    GGML_OPT_OPTIMIZER_TYPE_SGD   = 1,
    GGML_OPT_OPTIMIZER_TYPE_COUNT = 2,
};

enum llama_lazy_mode {
    LLAMA_LAZY_MODE_OFF  = 0,
    LLAMA_LAZY_MODE_AUTO = 1,
    LLAMA_LAZY_MODE_ON   = 2,
};

enum llama_context_type {
    LLAMA_CONTEXT_TYPE_DEFAULT = 0,
    LLAMA_CONTEXT_TYPE_MTP     = 1,
};

enum llama_model_kv_override_type {
    LLAMA_KV_OVERRIDE_TYPE_INT   = 0,
    LLAMA_KV_OVERRIDE_TYPE_FLOAT = 1,
    LLAMA_KV_OVERRIDE_TYPE_BOOL  = 2,
    LLAMA_KV_OVERRIDE_TYPE_STR   = 3,
};

/* What llama_process does: llama_encode or llama_decode. */
enum llama_process_type {
    LLAMA_PROCESS_TYPE_ENCODE = 0,
    LLAMA_PROCESS_TYPE_DECODE = 1,
};

/* Types of tensors. Weights may be F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, TQ1_0, TQ2_0 and
 * I2_S; a model that needs another one is refused by name. */
enum ggml_type {
    GGML_TYPE_F32     = 0,
    GGML_TYPE_F16     = 1,
    GGML_TYPE_Q4_0    = 2,
    GGML_TYPE_Q4_1    = 3,
    GGML_TYPE_Q5_0    = 6,
    GGML_TYPE_Q5_1    = 7,
    GGML_TYPE_Q8_0    = 8,
    GGML_TYPE_Q8_1    = 9,
    GGML_TYPE_Q2_K    = 10,
    GGML_TYPE_Q3_K    = 11,
    GGML_TYPE_Q4_K    = 12,
    GGML_TYPE_Q5_K    = 13,
    GGML_TYPE_Q6_K    = 14,
    GGML_TYPE_Q8_K    = 15,
    GGML_TYPE_IQ2_XXS = 16,
    GGML_TYPE_IQ2_XS  = 17,
    GGML_TYPE_IQ3_XXS = 18,
    GGML_TYPE_IQ1_S   = 19,
    GGML_TYPE_IQ4_NL  = 20,
    GGML_TYPE_IQ3_S   = 21,
    GGML_TYPE_IQ2_S   = 22,
    GGML_TYPE_IQ4_XS  = 23,
    GGML_TYPE_I8      = 24,
    GGML_TYPE_I16     = 25,
    GGML_TYPE_I32     = 26,
    GGML_TYPE_I64     = 27,
    GGML_TYPE_F64     = 28,
    GGML_TYPE_IQ1_M   = 29,
    GGML_TYPE_BF16    = 30,
    GGML_TYPE_TQ1_0   = 34,
    GGML_TYPE_TQ2_0   = 35,
    GGML_TYPE_I2_S    = 36, /* bitnet.cpp's: ternary, one scale per tensor */
    GGML_TYPE_MXFP4   = 39,
    GGML_TYPE_NVFP4   = 40,
    GGML_TYPE_Q1_0    = 41,
    GGML_TYPE_Q2_0    = 42,
    GGML_TYPE_COUNT   = 43,
};

/* What a tensor was computed by: the numbers of ggml.h, October 2026. Weights and tensors of files are NONE. op_params[0] says which
 * of the next two enums, where it is UNARY or GLU. */
enum ggml_op {
    GGML_OP_NONE = 0, GGML_OP_DUP = 1, GGML_OP_ADD = 2, GGML_OP_ADD_ID = 3, GGML_OP_ADD1 = 4, GGML_OP_ACC = 5, GGML_OP_SUB = 6,
    GGML_OP_MUL = 7, GGML_OP_DIV = 8, GGML_OP_SQR = 9, GGML_OP_SQRT = 10, GGML_OP_LOG = 11, GGML_OP_SIN = 12, GGML_OP_COS = 13,
    GGML_OP_SUM = 14, GGML_OP_SUM_ROWS = 15, GGML_OP_CUMSUM = 16, GGML_OP_MEAN = 17, GGML_OP_ARGMAX = 18, GGML_OP_COUNT_EQUAL = 19,
    GGML_OP_REPEAT = 20, GGML_OP_REPEAT_BACK = 21, GGML_OP_CONCAT = 22, GGML_OP_SILU_BACK = 23, GGML_OP_NORM = 24, GGML_OP_RMS_NORM = 25,
    GGML_OP_RMS_NORM_BACK = 26, GGML_OP_GROUP_NORM = 27, GGML_OP_L2_NORM = 28, GGML_OP_MUL_MAT = 29, GGML_OP_MUL_MAT_ID = 30,
    GGML_OP_OUT_PROD = 31, GGML_OP_SCALE = 32, GGML_OP_SET = 33, GGML_OP_CPY = 34, GGML_OP_CONT = 35, GGML_OP_RESHAPE = 36,
    GGML_OP_VIEW = 37, GGML_OP_PERMUTE = 38, GGML_OP_TRANSPOSE = 39, GGML_OP_GET_ROWS = 40, GGML_OP_GET_ROWS_BACK = 41,
    GGML_OP_SET_ROWS = 42, GGML_OP_DIAG = 43, GGML_OP_DIAG_MASK_INF = 44, GGML_OP_DIAG_MASK_ZERO = 45, GGML_OP_SOFT_MAX = 46,
    GGML_OP_SOFT_MAX_BACK = 47, GGML_OP_ROPE = 48, GGML_OP_ROPE_BACK = 49, GGML_OP_CLAMP = 50, GGML_OP_CONV_TRANSPOSE_1D = 51,
    GGML_OP_IM2COL = 52, GGML_OP_IM2COL_BACK = 53, GGML_OP_IM2COL_3D = 54, GGML_OP_COL2IM_1D = 55, GGML_OP_CONV_2D = 56,
    GGML_OP_CONV_3D = 57, GGML_OP_CONV_2D_DW = 58, GGML_OP_CONV_TRANSPOSE_2D = 59, GGML_OP_POOL_1D = 60, GGML_OP_POOL_2D = 61,
    GGML_OP_POOL_2D_BACK = 62, GGML_OP_UPSCALE = 63, GGML_OP_PAD = 64, GGML_OP_PAD_REFLECT_1D = 65, GGML_OP_ROLL = 66,
    GGML_OP_ARANGE = 67, GGML_OP_TIMESTEP_EMBEDDING = 68, GGML_OP_ARGSORT = 69, GGML_OP_TOP_K = 70, GGML_OP_LEAKY_RELU = 71,
    GGML_OP_TRI = 72, GGML_OP_FILL = 73, GGML_OP_FLASH_ATTN_EXT = 74, GGML_OP_FLASH_ATTN_BACK = 75, GGML_OP_SSM_CONV = 76,
    GGML_OP_SSM_SCAN = 77, GGML_OP_WIN_PART = 78, GGML_OP_WIN_UNPART = 79, GGML_OP_GET_REL_POS = 80, GGML_OP_ADD_REL_POS = 81,
    GGML_OP_RWKV_WKV6 = 82, GGML_OP_GATED_LINEAR_ATTN = 83, GGML_OP_RWKV_WKV7 = 84, GGML_OP_SOLVE_TRI = 85, GGML_OP_GATED_DELTA_NET = 86,
    GGML_OP_LIGHTNING_INDEXER = 87, GGML_OP_DSV4_HC_COMB = 88, GGML_OP_DSV4_HC_PRE = 89, GGML_OP_DSV4_HC_POST = 90, GGML_OP_UNARY = 91,
    GGML_OP_MAP_CUSTOM1 = 92, GGML_OP_MAP_CUSTOM2 = 93, GGML_OP_MAP_CUSTOM3 = 94, GGML_OP_CUSTOM = 95, GGML_OP_CROSS_ENTROPY_LOSS = 96,
    GGML_OP_CROSS_ENTROPY_LOSS_BACK = 97, GGML_OP_OPT_STEP_ADAMW = 98, GGML_OP_OPT_STEP_SGD = 99, GGML_OP_GLU = 100, GGML_OP_COUNT = 101,
};
enum ggml_unary_op {
    GGML_UNARY_OP_ABS = 0, GGML_UNARY_OP_SGN = 1, GGML_UNARY_OP_NEG = 2, GGML_UNARY_OP_STEP = 3, GGML_UNARY_OP_TANH = 4,
    GGML_UNARY_OP_ELU = 5, GGML_UNARY_OP_RELU = 6, GGML_UNARY_OP_SIGMOID = 7, GGML_UNARY_OP_GELU = 8, GGML_UNARY_OP_GELU_QUICK = 9,
    GGML_UNARY_OP_SILU = 10, GGML_UNARY_OP_HARDSWISH = 11, GGML_UNARY_OP_HARDSIGMOID = 12, GGML_UNARY_OP_EXP = 13,
    GGML_UNARY_OP_EXPM1 = 14, GGML_UNARY_OP_SOFTPLUS = 15, GGML_UNARY_OP_GELU_ERF = 16, GGML_UNARY_OP_XIELU = 17,
    GGML_UNARY_OP_FLOOR = 18, GGML_UNARY_OP_CEIL = 19, GGML_UNARY_OP_ROUND = 20, GGML_UNARY_OP_TRUNC = 21, GGML_UNARY_OP_COUNT = 22,
};
enum ggml_glu_op {
    GGML_GLU_OP_REGLU = 0, GGML_GLU_OP_GEGLU = 1, GGML_GLU_OP_SWIGLU = 2, GGML_GLU_OP_SWIGLU_OAI = 3, GGML_GLU_OP_GEGLU_ERF = 4,
    GGML_GLU_OP_GEGLU_QUICK = 5, GGML_GLU_OP_SWIGLU_CLAMP = 6, GGML_GLU_OP_COUNT = 7,
};

enum ggml_tensor_flag {
    GGML_TENSOR_FLAG_INPUT   = 1,
    GGML_TENSOR_FLAG_OUTPUT  = 2,
    GGML_TENSOR_FLAG_PARAM   = 4,
    GGML_TENSOR_FLAG_LOSS    = 8,
    GGML_TENSOR_FLAG_COMPUTE = 16,
};

enum ggml_backend_dev_type {
    GGML_BACKEND_DEVICE_TYPE_CPU   = 0,
    GGML_BACKEND_DEVICE_TYPE_GPU   = 1,
    GGML_BACKEND_DEVICE_TYPE_IGPU  = 2,
    GGML_BACKEND_DEVICE_TYPE_ACCEL = 3,
    GGML_BACKEND_DEVICE_TYPE_META  = 4,
};

enum ggml_sched_priority {
    GGML_SCHED_PRIO_LOW      = -1,
    GGML_SCHED_PRIO_NORMAL   = 0,
    GGML_SCHED_PRIO_MEDIUM   = 1,
    GGML_SCHED_PRIO_HIGH     = 2,
    GGML_SCHED_PRIO_REALTIME = 3,
};

enum ggml_log_level {
    GGML_LOG_LEVEL_NONE  = 0,
    GGML_LOG_LEVEL_DEBUG = 1,
    GGML_LOG_LEVEL_INFO  = 2,
    GGML_LOG_LEVEL_WARN  = 3,
    GGML_LOG_LEVEL_ERROR = 4,
    GGML_LOG_LEVEL_CONT  = 5,
};

/* One line of log, ending in a newline; valid during the call. May come from any thread. */
typedef void (*ggml_log_callback)(enum ggml_log_level level, const char *text, void *user_data);
/* True stops the work in progress. Called between layers, from the thread that called llama_decode. */
typedef bool (*ggml_abort_callback)(void *data);
/* What ggml_abort says before the process ends; the message is valid during the call. */
typedef void (*ggml_abort_callback_t)(const char *error_message);
/* Watches decodes: llama_context_params.cb_eval, of any call that decodes or encodes. Each value of the forward pass comes in order, first
 * with `ask` true: is it wanted? Where it is, it comes again with `ask` false and its data, and false then stops the decode, which returns 2
 * as if aborted, the context as before (llama.cpp goes on with the next ubatch and returns 0). Called by the thread that
 * decodes, while the others wait; the context is busy meanwhile. Bits do not change by it.
 *   t         valid during the call, as are its sources: F32, ne {k, tokens of the ubatch} or {k, heads, tokens}, name "Qcur-0" (-layer), op
 *   MUL_MAT   src[0] the weight of the file ("blk.0.attn_q.weight"), src[1] the floats that go in, before rounding to 8 bits
 * Names and order are those of llama.cpp, October 2026:
 *   embd; per layer norm, attn_norm, Qcur, Vcur, Kcur (MUL_MAT, RESHAPE, ROPE), kqv_out, attn_out, ffn_inp, norm, ffn_norm, ffn_gate, ffn_up,
 *   ffn_swiglu, ffn_out, l_out; norm, result_norm, result_output.
 *   bitnet: with norm, attn_sub_norm before attn_out; ffn_sub_out, norm, ffn_sub_norm, ffn_down for the last three before l_out.
 *   bitnet-b1.58: as bitnet, with attn_o_out, ffn_relu, ffn_sqr(relu), ffn_out for attn_out and ffn_sub_out.
 *   After a bias, a scale or LoRA adapters the product comes twice, without them and with them (ffn_up, then ffn_up_b or ffn_up_s); a control
 *   vector makes l_out of what is ffn_out until then.
 * From ffn_inp of the last layer on only tokens that asked for logits have rows, ne[1] may be 0. Not there: views, the cache, the masks, and
 * kq and kqv, as no matrix of attention's weights is ever made; embd of a batch that brings embeddings; pooling. result_output, when it
 * is wanted, is computed whole for each ubatch. */
typedef bool (*ggml_backend_sched_eval_callback)(struct ggml_tensor *t, bool ask, void *user_data);
/* progress: 0 to 1. False cancels the load. */
typedef bool (*llama_progress_callback)(float progress, void *user_data);
typedef void (*llama_model_set_tensor_data_t)(struct ggml_tensor *tensor, void *userdata);
typedef bool (*llama_opt_param_filter)(const struct ggml_tensor *tensor, void *userdata);
struct ggml_opt_optimizer_params {
    struct {
        float alpha, beta1, beta2, eps, wd;
    } adamw;
    struct {
        float alpha, wd;
    } sgd;
};
typedef struct ggml_opt_optimizer_params (*ggml_opt_get_optimizer_params)(void *userdata);
typedef void (*ggml_opt_epoch_callback)(
    bool train, ggml_opt_context_t opt_ctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result, int64_t ibatch,
    int64_t ibatch_max, int64_t t_start_us);
/* ------------------------------------------------------------------------------------------------
 * Structs: layouts of llama.h, 2026
 * ---------------------------------------------------------------------------------------------- */

/* A tensor as ggml.h of October 2026 has it: a weight (llama_get_model_tensor), one of a file (ggml_get_tensor), a value of the
 * computation (cb_eval). The library fills it and clients read it. What is promised: type, ne, nb, op and op_params[0], src, data,
 * name, and that buffer is not NULL where data belongs to a model or a context. Everything else is zero. Elements lie in the
 * order of ne, ne[0] innermost; an axis that is not there is 1. nb are bytes from one element (of a format of blocks: one
 * block) to the next, from one row to the next, and so on. */
#define GGML_MAX_DIMS 4
#define GGML_MAX_SRC 10
#define GGML_MAX_OP_PARAMS 64 /* bytes */
#define GGML_MAX_NAME 64      /* bytes, with the NUL; a longer name is cut */
struct ggml_tensor {
    enum ggml_type type;
    ggml_backend_buffer_t buffer;
    int64_t ne[4];
    size_t nb[4];
    enum ggml_op op;
    int32_t op_params[16];
    int32_t flags;
    struct ggml_tensor *src[10];  /* what op was computed of, NULL where there is none */
    struct ggml_tensor *view_src;
    size_t view_offs;
    void *data;                   /* a model's and a context's are not to be written to */
    char name[64];
    void *extra;
    char padding[8];
};

typedef struct llama_token_data {
    llama_token id;
    float logit;
    float p; /* probability, once a sampler has computed it */
} llama_token_data;

/* The candidates that samplers narrow down. `data` is the caller's; samplers reorder it and lower `size`. */
typedef struct llama_token_data_array {
    llama_token_data *data;
    size_t size;
    int64_t selected; /* index into data, -1: none yet */
    bool sorted;      /* by logit, largest first */
} llama_token_data_array;

/* Tokens to decode together: any mix of sequences. Arrays have n_tokens entries and stay the caller's. */
typedef struct llama_batch {
    int32_t n_tokens;
    llama_token *token;
    float *embd;           /* [n_tokens][llama_model_n_embd] in place of tokens: token is NULL then; else NULL */
    llama_pos *pos;        /* NULL: each token follows the last one of its (first) sequence */
    int32_t *n_seq_id;     /* NULL: one each */
    llama_seq_id **seq_id; /* [i][j]: sequences that token i belongs to; NULL: sequence 0 */
    int8_t *logits;        /* nonzero: this token's logits are wanted; NULL: the last token's only. All are where embeddings are */
} llama_batch;

/* Replace a key of the file's metadata while loading. An array of these ends with an empty key. */
struct llama_model_kv_override {
    enum llama_model_kv_override_type tag;
    char key[128];
    union {
        int64_t val_i64;
        double val_f64;
        bool val_bool;
        char val_str[128];
#ifdef BITNET_FFI_ERA_STRUCTS
        int64_t int_value; /* these three, until March 2024 */
        double float_value;
        bool bool_value;
#endif
    };
};

struct llama_model_tensor_buft_override {
    const char *pattern;
    ggml_backend_buffer_type_t buft;
};

/* From llama_model_default_params; change what you need. */
struct llama_model_params {
    ggml_backend_dev_t *devices;                                          /* ignored: the CPU is the only device */
    const struct llama_model_tensor_buft_override *tensor_buft_overrides; /* ignored */
    int32_t n_gpu_layers;                                                 /* ignored */
    enum llama_split_mode split_mode;                                     /* ignored */
    enum llama_load_mode load_mode;  /* AUTO, MMAP, MMAP_MLOCK: files are mapped. NONE, MLOCK, DIRECT_IO: read into memory, after which a
                                      * file may change. The MLOCK modes also try to keep them there */
    enum llama_lazy_mode lazy_mode;                                       /* ignored */
    int32_t main_gpu;                                                     /* ignored */
    const float *tensor_split;                                            /* ignored */
    llama_progress_callback progress_callback; /* NULL: none */
    void *progress_callback_user_data;
    const struct llama_model_kv_override *kv_overrides; /* NULL: none; read during the load only */
    bool vocab_only;      /* tokenizer and metadata only: contexts can be made, with n_ctx given, and refuse to decode */
    bool check_tensors;   /* also look at every weight: NaN, infinite scales, codes that no writer makes */
    bool use_extra_bufts;                                                 /* ignored */
    bool no_host;                                                         /* ignored */
    bool no_alloc;        /* as LLAMA_LOAD_MODE_MMAP: no memory beyond the file, for who only wants to know what is in it */
    bool load_mtp;                                                        /* ignored */
};

struct llama_sampler_seq_config {
    llama_seq_id seq_id;
    struct llama_sampler *sampler;
};

/* From llama_context_default_params; change what you need. A value that this version cannot honour is refused by
 * llama_init_from_model with a sentence; a field marked "ignored" can have no effect here. */
struct llama_context_params {
    uint32_t n_ctx;           /* tokens that fit, over all sequences; 0: as many as the model was trained with. Without kv_unified
                               * n_ctx / n_seq_max for each of several, rounded up to a multiple of 256, and n_ctx is the sum */
    uint32_t n_batch;         /* what llama_n_batch says; llama_decode takes any number and cuts it */
    uint32_t n_ubatch;        /* tokens computed together: more is faster on prompts and takes more scratch memory */
    uint32_t n_seq_max;       /* sequences, 1 to 256 */
    uint32_t n_rs_seq;                            /* ignored */
    uint32_t n_outputs_max;                       /* ignored: rows of logits grow on demand */
    uint32_t n_outputs_max_per_seq; /* rows that a sequence with a sampler may have in a batch (llama_set_sampler): 1; 0: n_batch */
    int32_t n_threads;        /* for one token; <= 0: all CPUs this process may use. Never more than that, and while other
                               * processes take some of these, a decode of few tokens uses the number that goes fastest */
    int32_t n_threads_batch;  /* for more tokens; <= 0: n_threads */
    enum llama_context_type ctx_type;             /* LLAMA_CONTEXT_TYPE_DEFAULT */
    enum llama_rope_scaling_type rope_scaling_type; /* UNSPECIFIED: the file's; NONE: a frequency scale of 1; YARN: as below; LINEAR and
                               * LONGROPE: all frequencies by rope_freq_scale (a LongRoPE file has a set of factors for contexts longer
                               * than it was trained for and one for others, which applies whatever this says) */
    enum llama_pooling_type pooling_type;         /* UNSPECIFIED: the file's, else NONE; RANK: the model has a classifier */
    enum llama_attention_type attention_type;     /* UNSPECIFIED: the file's attention.causal, else CAUSAL */
    enum llama_flash_attn_type flash_attn_type;   /* ignored: attention never stores all scores */
    float rope_freq_base;     /* 0: the model's */
    float rope_freq_scale;    /* 0: the model's; 0.5 stretches positions to twice the length */
    float yarn_ext_factor;    /* how much of YaRN: fast frequencies are not scaled, slow ones are. < 0: 1 with YARN, else 0 */
    float yarn_attn_factor;   /* queries and keys times this, where yarn_ext_factor is 0; else 1 - 0.1 ln(rope_freq_scale). < 0: 1 */
    float yarn_beta_fast;     /* not scaled: pairs with at least so many turns in yarn_orig_ctx tokens. < 0: 32 */
    float yarn_beta_slow;     /* scaled whole: at most so many. < 0: 1 */
    uint32_t yarn_orig_ctx;   /* tokens of context that frequencies were trained for; 0: the file's */
    float defrag_thold;                           /* ignored: the cache does not fragment */
    ggml_backend_sched_eval_callback cb_eval;     /* watches decodes; NULL: nobody does */
    void *cb_eval_user_data;
    enum ggml_type type_k;    /* keys: GGML_TYPE_F16 (default), GGML_TYPE_F32, or GGML_TYPE_Q8_0 where heads are multiples of 32 wide */
    enum ggml_type type_v;    /* values, likewise */
    ggml_abort_callback abort_callback; /* NULL: none */
    void *abort_callback_data;
    bool embeddings;          /* as llama_set_embeddings */
    bool offload_kqv;                             /* ignored */
    bool no_perf;                                 /* ignored: counting costs two clock reads a call */
    bool op_offload;                              /* ignored */
    bool swa_full;                                /* ignored */
    bool kv_unified;          /* sequences share n_ctx; else (default) each has its part, llama_n_ctx_seq */
    struct llama_sampler_seq_config *samplers;    /* [n_samplers] as by llama_set_sampler; the array may go afterwards */
    size_t n_samplers;
    struct llama_context *ctx_other;              /* ignored */
};

struct llama_model_tensor_override {
    const char *pattern; /* searched for in names of tensors: the regular expressions of C++'s std::regex */
    enum ggml_type type;
};

/* How important the columns of a matrix are: the mean square of what it is multiplied with. */
struct llama_model_imatrix_data {
    const char *name;  /* of the tensor */
    const float *data; /* one number from 0 up for each column, of a tensor of experts one row of them after the other */
    size_t size;       /* how many numbers */
};

/* From llama_model_quantize_default_params; change what you need. */
typedef struct llama_model_quantize_params {
    int32_t nthread;                     /* <= 0: all CPUs this process may use */
    enum llama_ftype ftype;              /* which types: see llama_model_quantize */
    enum ggml_type output_tensor_type;   /* of the head; GGML_TYPE_COUNT: by ftype */
    enum ggml_type token_embedding_type; /* of token_embd.weight; GGML_TYPE_COUNT: by ftype */
    bool allow_requantize;               /* also from block types, which loses more; ternary and float types always */
    bool quantize_output_tensor;         /* false: output.weight stays */
    bool only_copy;                      /* all types stay; splits become one file */
    bool pure;                           /* every matrix gets the type that the file is named for, no mixture */
    bool keep_split;                     /* as many parts as there were; fname_out is their prefix (llama_split_path) */
    bool dry_run;                        /* log what would be done, write nothing */
    const struct llama_model_imatrix_data *imatrix;          /* an array that ends with name NULL; NULL: all columns count the same */
    const struct llama_model_kv_override *kv_overrides;      /* keys to write, an array that ends with an empty key; or NULL */
    const struct llama_model_tensor_override *tt_overrides;  /* the first that fits says the type; ends with pattern NULL; or NULL */
    const int32_t *prune_layers;                             /* layers to leave out, ends with -1; or NULL */
    size_t max_buf_size;                                     /* ignored: a few megabytes do */
} llama_model_quantize_params;

/* Of training: llama_opt_init. */
struct llama_opt_params {
    uint32_t n_ctx_train;
    llama_opt_param_filter param_filter;
    void *param_filter_ud;
    ggml_opt_get_optimizer_params get_opt_pars;
    void *get_opt_pars_ud;
    enum ggml_opt_optimizer_type optimizer_type;
};

typedef struct llama_logit_bias {
    llama_token token;
    float bias; /* added to the logit; -INFINITY forbids the token */
} llama_logit_bias;

typedef struct llama_sampler_chain_params {
    bool no_perf; /* do not time the chain */
} llama_sampler_chain_params;

typedef struct llama_chat_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* UTF-8 */
} llama_chat_message;

/* The rules of a grammar as arrays, as programs of 2023 make them: see llama_grammar_init. */
enum llama_gretype {
    LLAMA_GRETYPE_END = 0,            /* the rule ends */
    LLAMA_GRETYPE_ALT = 1,            /* another alternative begins */
    LLAMA_GRETYPE_RULE_REF = 2,       /* value: number of a rule */
    LLAMA_GRETYPE_CHAR = 3,           /* value: a code point */
    LLAMA_GRETYPE_CHAR_NOT = 4,       /* any code point but this one, and the ones that follow as CHAR_ALT */
    LLAMA_GRETYPE_CHAR_RNG_UPPER = 5, /* makes the code point before it a range up to this one */
    LLAMA_GRETYPE_CHAR_ALT = 6,       /* adds a code point to the CHAR or CHAR_NOT before it */
    LLAMA_GRETYPE_CHAR_ANY = 7,       /* any code point */
    LLAMA_GRETYPE_TOKEN = 8,          /* value: a token */
    LLAMA_GRETYPE_TOKEN_NOT = 9       /* any token but this one */
};
typedef struct llama_grammar_element {
    enum llama_gretype type;
    uint32_t value;
} llama_grammar_element;

struct llama_sampler_data {
    struct ggml_tensor *logits;
    struct ggml_tensor *probs;
    struct ggml_tensor *sampled;
    struct ggml_tensor *candidates;
};
struct llama_sampler;

/* A sampler of your own: fill in what you need, NULL members are skipped (without clone it can be cloned only if its
 * ctx is NULL). The backend_* members are llama.cpp's, for tensors of ggml, and never called: in a chain that is attached to a
 * sequence such a sampler does its work by apply, as one does that has none of them (llama_set_sampler). */
struct llama_sampler_i {
    const char *(*name)(const struct llama_sampler *smpl);
    void (*accept)(struct llama_sampler *smpl, llama_token token);
    void (*apply)(struct llama_sampler *smpl, llama_token_data_array *cur_p);
    void (*reset)(struct llama_sampler *smpl);
    struct llama_sampler *(*clone)(const struct llama_sampler *smpl);
    void (*free)(struct llama_sampler *smpl); /* frees smpl->ctx, not smpl */
    bool (*backend_init)(struct llama_sampler *smpl, ggml_backend_buffer_type_t buft, uint32_t n_outputs_max_per_seq);
    void (*backend_accept)(struct llama_sampler *smpl, struct ggml_context *ctx, struct ggml_cgraph *gf,
                           struct ggml_tensor *selected_token);
    void (*backend_apply)(struct llama_sampler *smpl, struct ggml_context *ctx, struct ggml_cgraph *gf,
                          struct llama_sampler_data *data);
    void (*backend_set_input)(struct llama_sampler *smpl);
    void (*backend_reset)(struct llama_sampler *smpl);
    void (*copy_state)(const struct llama_sampler *src, struct llama_sampler *dst);
};

struct llama_sampler {
    struct llama_sampler_i *iface;
    llama_sampler_context_t ctx;
};

struct llama_perf_context_data {
    double t_start_ms;  /* when the counters began, on the clock of llama_time_us */
    double t_load_ms;   /* loading the model */
    double t_p_eval_ms; /* decodes of more than one token */
    double t_eval_ms;   /* decodes of one token */
    int32_t n_p_eval;   /* tokens */
    int32_t n_eval;     /* tokens */
    int32_t n_reused;   /* always 0 */
};

struct llama_perf_sampler_data {
    double t_sample_ms;
    int32_t n_sample; /* tokens */
};

/* Counters of 2023: llama_get_timings. Milliseconds; the numbers are at least 1, as programs divide by them. */
struct llama_timings {
    double t_start_ms, t_end_ms; /* when the counters began, and now */
    double t_load_ms;
    double t_sample_ms;          /* llama_sample_* with this context */
    double t_p_eval_ms, t_eval_ms;
    int32_t n_sample, n_p_eval, n_eval; /* tokens */
};
enum llama_perf_type { LLAMA_PERF_TYPE_CONTEXT = 0, LLAMA_PERF_TYPE_SAMPLER_CHAIN = 1 };

struct llama_grammar; /* of 2023: see llama_grammar_init */
/* ------------------------------------------------------------------------------------------------
 * Library
 * ---------------------------------------------------------------------------------------------- */

/* Version of the library that runs, for instance "0.1.0"; compare with BITNET_FFI_VERSION_STRING, the header's. */
BITNET_API const char *bitnet_version(void);
LLAMA_API const char *llama_version(void); /* the same */

/* The table of kernels in use: "avx512vbmi", "avx512vnni", "avxvnni", "avx2", "i8mm", "neon" or "scalar". Chosen once per
 * process: the best that the CPU and the operating system can run, or what BITNET_FFI_KERNELS names. NULL + last error
 * when that variable names none that can run here. */
BITNET_API const char *bitnet_kernel_name(void);

/* This thread's last error as one sentence in English, "" when nothing has failed. Valid until the thread's next
 * call. A call that succeeds need not clear it: look only after a failure, or after a call that returns nothing. */
BITNET_API const char *bitnet_last_error(void);

/* Its code, enum bitnet_status. */
BITNET_API int32_t bitnet_last_error_code(void);

/* Where log lines go. NULL: nowhere, which is also the start. BITNET_LOG in the environment asks for stderr instead, from
 * the lowest level that it names: debug, info, warn or error; any other value, such as 1, means info. May be called at any
 * time, from any thread; a line that another thread is writing may still reach the callback before. The callback may call this
 * library, but nothing that takes the object at work; lines that its own calls cause are left out, and their errors do not take the
 * place of the one that it is told. */
LLAMA_API void llama_log_set(ggml_log_callback log_callback, void *user_data);

/* What llama_log_set was last given. Either pointer may be NULL. */
LLAMA_API void llama_log_get(ggml_log_callback *log_callback, void **user_data);

/* Do nothing: the library needs no set-up and no tear-down. There for llama.cpp's programs. */
LLAMA_API void llama_backend_init(void);
LLAMA_API void llama_backend_free(void);

/* Where the threads of contexts and loading run that start from now on, on a machine with several memory nodes; without a choice
 * the operating system decides. DISTRIBUTE: they take turns over the nodes. ISOLATE: all on the node of the CPU that makes this
 * call. NUMACTL: on the CPUs that numactl has given to the process, which they inherit anyway. Threads keep within the CPUs that
 * the process may use; the thread that calls into the library is never moved. MIRROR is not supported: an error. */
LLAMA_API void llama_numa_init(enum ggml_numa_strategy numa);

/* Microseconds on a monotonic clock. */
LLAMA_API int64_t llama_time_us(void);

/* What the CPU can do, on one line; bitnet_kernel_name() says which kernels run. Static storage. */
LLAMA_API const char *llama_print_system_info(void);

/* Devices: 1, the CPU. */
LLAMA_API size_t llama_max_devices(void);

/* The largest n_seq_max: 256. */
LLAMA_API size_t llama_max_parallel_sequences(void);

/* Files can be mapped (true), locked in memory (true), offloaded to a GPU (false in this version). */
LLAMA_API bool llama_supports_mmap(void);
LLAMA_API bool llama_supports_mlock(void);
LLAMA_API bool llama_supports_gpu_offload(void);

/* ------------------------------------------------------------------------------------------------
 * Model
 * ---------------------------------------------------------------------------------------------- */

LLAMA_API struct llama_model_params llama_model_default_params(void);

/* Load a GGUF file, version 2 or 3: architectures llama, bitnet, bitnet-25 and bitnet-b1.58. path_model: a file,
 * or the first part of a split model (NAME-00001-of-00003.gguf; the others are found beside it). Returns a model
 * to free with llama_model_free, or NULL: BITNET_ERROR_NOT_FOUND, _LOAD, _MODEL or _MEMORY. Every length in the
 * file is checked before it is used; faults of old files that can be repaired are repaired and logged as warnings.
 * The older name does the same. */
LLAMA_API struct llama_model *llama_model_load_from_file(const char *path_model, struct llama_model_params params);
LLAMA_API struct llama_model *llama_load_model_from_file(const char *path_model, struct llama_model_params params);

/* The same from all parts of a split model, in order, whatever their names; n_paths as many as the first part says there are
 * (1: a whole model). Paths are read during the call only. */
LLAMA_API struct llama_model *llama_model_load_from_splits(
    const char **paths, size_t n_paths, struct llama_model_params params);

/* The same from an open regular file, from its current position to its end, so that a model may be a part of a larger file.
 * It is mapped where the position is a multiple of 64, else copied into memory. The file keeps its position and may be closed
 * afterwards. The first part of a split model is refused. */
LLAMA_API struct llama_model *llama_model_load_from_file_ptr(FILE *file, struct llama_model_params params);

/* Names of the parts of a split model. path: PREFIX-00003-of-00004.gguf for split_no 2 of split_count 4; prefix: the way back,
 * when the numbers are those of split_path. Into a buffer of maxlen bytes, cut to what fits. Return the full length; 0: the numbers
 * do not fit the path, nothing is written; 0 + last error: NULL, numbers that no part has, or a path that was cut (a prefix that was
 * cut has its full length). */
LLAMA_API int32_t llama_split_path(
    char *split_path, size_t maxlen, const char *path_prefix, int32_t split_no, int32_t split_count);
LLAMA_API int32_t llama_split_prefix(
    char *split_prefix, size_t maxlen, const char *split_path, int32_t split_no, int32_t split_count);

/* Let go of a model. Contexts keep what they need alive, so the order does not matter. NULL is accepted. The older
 * name does the same. */
LLAMA_API void llama_model_free(struct llama_model *model);
LLAMA_API void llama_free_model(struct llama_model *model);

/* The vocabulary: the same pointer (see llama_vocab above). Valid as long as the model. */
LLAMA_API const struct llama_vocab *llama_model_get_vocab(const struct llama_model *model);

/* Sizes: context it was trained with (tokens), width of a hidden state, layers, query heads, key/value heads. 0 for
 * NULL, and for a model loaded with vocab_only. */
LLAMA_API int32_t llama_model_n_ctx_train(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_embd(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_layer(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_head(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_head_kv(const struct llama_model *model);
LLAMA_API int32_t llama_n_ctx_train(const struct llama_model *model);
LLAMA_API int32_t llama_n_embd(const struct llama_model *model);

/* Rotary embeddings: the pairing, and the factor on frequencies (1 / linear scaling factor). */
LLAMA_API enum llama_rope_type llama_model_rope_type(const struct llama_model *model);
LLAMA_API float llama_model_rope_freq_scale_train(const struct llama_model *model);

/* Architecture, size and type in a few words, into buf of buf_size bytes with snprintf's rules: returns the full
 * length. buf may be NULL when buf_size is 0. */
LLAMA_API int32_t llama_model_desc(const struct llama_model *model, char *buf, size_t buf_size);

/* Bytes of all tensors; number of all weights. */
LLAMA_API uint64_t llama_model_size(const struct llama_model *model);
LLAMA_API uint64_t llama_model_n_params(const struct llama_model *model);

/* The type of the file: what its key general.file_type says or, where it says nothing that is known, what most of its weights
 * are, with LLAMA_FTYPE_GUESSED; BITNET_FTYPE_MOSTLY_I2_S for I2_S files, whatever they say. 0 + last error for NULL. _name:
 * "Q4_K - Medium", also of a guess; "unknown, may not work" + last error for a number that is no type of file. */
LLAMA_API enum llama_ftype llama_model_ftype(const struct llama_model *model);
LLAMA_API const char *llama_ftype_name(enum llama_ftype ftype);

/* Widths of what goes in and comes out: both llama_model_n_embd. */
LLAMA_API int32_t llama_model_n_embd_inp(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_embd_out(const struct llama_model *model);

/* Every model here decodes: true (false for NULL). No layers that predict further tokens, no sliding window: 0. n_cls_out:
 * numbers that the classifier gives, as many as the file has labels (classifier.output_labels), or 1, also where there is no
 * classifier. cls_label: its i-th label, valid as long as the model; NULL: there is none. */
LLAMA_API bool llama_model_has_decoder(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_layer_nextn(const struct llama_model *model);
LLAMA_API int32_t llama_model_n_swa(const struct llama_model *model);
LLAMA_API uint32_t llama_model_n_cls_out(const struct llama_model *model);
LLAMA_API const char *llama_model_cls_label(const struct llama_model *model, uint32_t i);

/* What these architectures are not: false, and LLAMA_TOKEN_NULL. */
LLAMA_API bool llama_model_has_encoder(const struct llama_model *model);
LLAMA_API bool llama_model_is_recurrent(const struct llama_model *model);
LLAMA_API bool llama_model_is_hybrid(const struct llama_model *model);
LLAMA_API bool llama_model_is_diffusion(const struct llama_model *model);
LLAMA_API llama_token llama_model_decoder_start_token(const struct llama_model *model);

/* The file's metadata: number of pairs, and the i-th key and value or a key's value as text, with snprintf's rules
 * (returns the full length without the end; buf may be NULL when buf_size is 0). -1 + last error: no such key or
 * index. Arrays are not counted and have no index, as in llama.cpp; by key they are written [a, b, ...], their
 * strings in quotes. A string ends at its first NUL. */
LLAMA_API int32_t llama_model_meta_count(const struct llama_model *model);
LLAMA_API int32_t llama_model_meta_key_by_index(
    const struct llama_model *model, int32_t i, char *buf, size_t buf_size);
LLAMA_API int32_t llama_model_meta_val_str_by_index(
    const struct llama_model *model, int32_t i, char *buf, size_t buf_size);
LLAMA_API int32_t llama_model_meta_val_str(
    const struct llama_model *model, const char *key, char *buf, size_t buf_size);

/* The key under which a file recommends a sampling parameter, for llama_model_meta_val_str: "general.sampling.top_k" and so
 * on. Static. NULL + last error: no such key. */
LLAMA_API const char *llama_model_meta_key_str(enum llama_model_meta_key key);

/* Words for the modes of llama_model_params and llama_context_params: "auto", "none", "mmap", "mlock", "mmap+mlock", "dio", and
 * "auto", "disabled", "enabled". Static; NULL + last error: no such number. from_str: AUTO + last error for another word. */
LLAMA_API const char *llama_load_mode_name(enum llama_load_mode load_mode);
LLAMA_API enum llama_load_mode llama_load_mode_from_str(const char *str);
LLAMA_API const char *llama_flash_attn_type_name(enum llama_flash_attn_type flash_attn_type);

/* The file's chat template (Jinja text), by name, or the default one when name is NULL or "". NULL when there is none,
 * which is no error. Valid as long as the model. */
LLAMA_API const char *llama_model_chat_template(const struct llama_model *model, const char *name);

/* ------------------------------------------------------------------------------------------------
 * Writing models
 *
 * Tensors stream through a few megabytes; what is done goes to the log at level INFO. A file appears under its name when it is
 * complete and on disk, or not at all. Threads: any.
 * ---------------------------------------------------------------------------------------------- */

LLAMA_API struct llama_model_quantize_params llama_model_quantize_default_params(void);

/* Write the model of a GGUF file (or of the first part of a split one) with its matrices in other types: F32, F16, BF16, Q4_0, Q4_1,
 * Q5_0, Q5_1, Q8_0, Q2_K to Q6_K and llama.cpp's mixtures of these (Q2_K_S, Q3_K_S to Q3_K_L, Q4_K_S and M, Q5_K_S and M), the bytes that
 * llama.cpp writes, with an importance matrix (imatrix) and without; TQ1_0, TQ2_0 and I2_S (BITNET_FTYPE_MOSTLY_I2_S) from weights that
 * are -s, 0 or s, with nothing lost but what f16 takes from the scale of the TQ types. Other types are refused, as is Q2_K_S without an
 * importance matrix. Tensors come in llama.cpp's order, by layer and name. Where rows do not fill a type's blocks, a larger type takes its
 * place (Q4_0, Q5_0, Q5_1, Q8_0, F16), and the log says so. The head, tied or not, becomes Q6_K (beside Q8_0 that), as the mixtures want it;
 * both ends are F16 beside I2_S. A weight that is not finite, or too large for a type's scales, is refused. params NULL: the defaults.
 * Returns 0, or 1 + last error. */
LLAMA_API uint32_t llama_model_quantize(
    const char *fname_inp, const char *fname_out, const llama_model_quantize_params *params);

/* Write a model as it was loaded, in one file: the keys of its file (but split.*; overrides are not kept) and its tensors. */
LLAMA_API void llama_model_save_to_file(const struct llama_model *model, const char *path_model);

/* ------------------------------------------------------------------------------------------------
 * Vocabulary
 *
 * All take the model or its vocabulary. A NULL vocabulary or a token out of range gives 0, false, NULL or
 * LLAMA_TOKEN_NULL and a last error. Special tokens are LLAMA_TOKEN_NULL when the vocabulary has none.
 * ---------------------------------------------------------------------------------------------- */

/* Number of tokens. */
LLAMA_API int32_t llama_vocab_n_tokens(const struct llama_vocab *vocab);
LLAMA_API int32_t llama_n_vocab(const struct llama_vocab *vocab);

/* Which family of tokenizer. */
LLAMA_API enum llama_vocab_type llama_vocab_type(const struct llama_vocab *vocab);

/* The token as the file spells it (byte-level and U+2581 escapes kept; for text see llama_token_to_piece), its
 * score, its attributes. The text is valid as long as the model. */
LLAMA_API const char *llama_vocab_get_text(const struct llama_vocab *vocab, llama_token token);
LLAMA_API float llama_vocab_get_score(const struct llama_vocab *vocab, llama_token token);
LLAMA_API enum llama_token_attr llama_vocab_get_attr(const struct llama_vocab *vocab, llama_token token);

/* Does this token end a generation (EOS, EOT, EOM and their kin)? Is it a control token, without text of its own? */
LLAMA_API bool llama_vocab_is_eog(const struct llama_vocab *vocab, llama_token token);
LLAMA_API bool llama_vocab_is_control(const struct llama_vocab *vocab, llama_token token);

/* Beginning of text, end of text, end of turn, separator, newline, padding, mask. */
LLAMA_API llama_token llama_vocab_bos(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_eos(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_eot(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_sep(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_nl(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_pad(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_mask(const struct llama_vocab *vocab);

/* Tokens that the file wants never to be generated (tokenizer.ggml.suppress_tokens); *n_suppress_tokens says how many. NULL
 * and 0 when there are none. Nothing here applies them: a program gives them to llama_sampler_init_logit_bias. */
LLAMA_API const llama_token *llama_vocab_get_suppress_tokens(const struct llama_vocab *vocab, int32_t *n_suppress_tokens);

/* Does llama_tokenize with add_special add these? */
LLAMA_API bool llama_vocab_get_add_bos(const struct llama_vocab *vocab);
LLAMA_API bool llama_vocab_get_add_eos(const struct llama_vocab *vocab);
LLAMA_API bool llama_vocab_get_add_sep(const struct llama_vocab *vocab);

/* Fill-in-the-middle: prefix, suffix, middle, padding, repository, file separator. */
LLAMA_API llama_token llama_vocab_fim_pre(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_fim_suf(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_fim_mid(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_fim_pad(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_fim_rep(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_vocab_fim_sep(const struct llama_vocab *vocab);

/* BERT's name for the beginning of text. */
LLAMA_API llama_token llama_vocab_cls(const struct llama_vocab *vocab);

/* The same by their older names. */
LLAMA_API const char *llama_token_get_text(const struct llama_vocab *vocab, llama_token token);
LLAMA_API float llama_token_get_score(const struct llama_vocab *vocab, llama_token token);
LLAMA_API enum llama_token_attr llama_token_get_attr(const struct llama_vocab *vocab, llama_token token);
LLAMA_API bool llama_token_is_eog(const struct llama_vocab *vocab, llama_token token);
LLAMA_API bool llama_token_is_control(const struct llama_vocab *vocab, llama_token token);
LLAMA_API llama_token llama_token_bos(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_eos(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_eot(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_cls(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_sep(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_nl(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_pad(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_pre(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_suf(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_mid(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_pad(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_rep(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_fim_sep(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_prefix(const struct llama_vocab *vocab); /* fim_pre, _mid, _suf, by their names of 2023 */
LLAMA_API llama_token llama_token_middle(const struct llama_vocab *vocab);
LLAMA_API llama_token llama_token_suffix(const struct llama_vocab *vocab);
LLAMA_API bool llama_add_bos_token(const struct llama_vocab *vocab);
LLAMA_API bool llama_add_eos_token(const struct llama_vocab *vocab);

/* ------------------------------------------------------------------------------------------------
 * Tokenization
 * ---------------------------------------------------------------------------------------------- */

/* Text to tokens, the ids that llama.cpp gives. text: UTF-8 of text_len bytes, NUL bytes allowed; negative: up to
 * the NUL. An invalid byte counts as U+FFFD for BPE and becomes a byte token for SPM, as in llama.cpp. tokens: room
 * for n_tokens_max ids; may be NULL when that is 0; what does not fit is left out. add_special: put BOS and EOS
 * where the vocabulary wants them.   parse_special: "<|eot_id|>" in the text becomes the control token; false: it
 * stays text. Returns the number of tokens; a negative number -n when n tokens do not fit (the last error code is
 * then 0); INT32_MIN with a code for a real error. Threads: any. */
LLAMA_API int32_t llama_tokenize(
    const struct llama_vocab *vocab, const char *text, int32_t text_len, llama_token *tokens, int32_t n_tokens_max,
    bool add_special, bool parse_special);

/* Flags of bitnet_tokenize and bitnet_tokenize_batch. */
enum bitnet_tokenize_flag {
    BITNET_TOKENIZE_ADD_SPECIAL   = 1, /* add_special and parse_special of llama_tokenize */
    BITNET_TOKENIZE_PARSE_SPECIAL = 2,
    BITNET_TOKENIZE_NOT_FIRST     = 4, /* a part of a longer text, not its first: no BOS, no space in front */
    BITNET_TOKENIZE_NOT_LAST      = 8, /* not its last part: no EOS */
};

/* llama_tokenize, and where in the text each token stands: token i is text[ranges[2 i] : ranges[2 i + 1]], in bytes.
 * Ranges follow each other; BOS, EOS and a space that is not in the text are empty, and a token that is part of an
 * invalid byte's U+FFFD has the range of that byte. ranges: room for 2 * n_tokens_max numbers; NULL: not wanted.
 * flags: enum bitnet_tokenize_flag. Returns what llama_tokenize returns; a text of more than INT32_MAX bytes is refused. */
BITNET_API int32_t bitnet_tokenize(
    const struct llama_vocab *vocab, const char *text, int32_t text_len, llama_token *tokens, int32_t *ranges,
    int32_t n_tokens_max, uint32_t flags);

/* bitnet_tokenize of many texts in one call: the same tokens, each text by one of n_threads threads.
 *   texts, lengths   [n_texts]: text i is lengths[i] bytes, up to its NUL where that is negative; lengths NULL: all up to their
 *                    NULs. A text may be NULL when its length is 0. At most INT32_MAX bytes and tokens each.
 *   tokens, ranges   [n_tokens_max] and [2 * n_tokens_max]: the tokens of one text after the other; ranges are counted from the
 *                    beginning of the token's own text. tokens NULL: only counted. ranges NULL: not wanted.
 *   offsets          [n_texts + 1]: the tokens of text i are tokens[offsets[i]] to tokens[offsets[i + 1] - 1].
 *   flags            as for bitnet_tokenize, for every text.
 *   n_threads        0 or less: every CPU that this process may use. Never more than that, and not for a few kilobytes each.
 * All arrays are the caller's. Returns the number of tokens; a negative number -n when n tokens do not fit: then offsets are
 * written and tokens are not (the last error code is 0). INT64_MIN with a code and a sentence that names the text, by its
 * number from 0: nothing is written. While it runs it needs 4 bytes a token (12 with ranges) and 24 a text. Threads: any. */
BITNET_API int64_t bitnet_tokenize_batch(
    const struct llama_vocab *vocab, const char *const *texts, const int64_t *lengths, int32_t n_texts,
    llama_token *tokens, int32_t *ranges, int64_t n_tokens_max, int64_t *offsets, uint32_t flags, int32_t n_threads);

/* Where a text can be cut so that the tokens of the two parts (NOT_LAST, NOT_FIRST) are those of the whole, whatever
 * follows: the last such place, before a space between two ASCII letters. 0: none is known, read on; the words of some
 * vocabularies go on over spaces, and then it is always 0. For texts that come in blocks. flags: as for bitnet_tokenize.
 * 0 + last error: wrong arguments. Threads: any. */
BITNET_API int32_t bitnet_tokenize_cut(const struct llama_vocab *vocab, const char *text, int32_t text_len, uint32_t flags);

/* The bytes of one token, without a terminating NUL: may be part of a UTF-8 character. length: room in buf.
 * lstrip: leading spaces to leave out.   special: also write control tokens; false: they have no bytes. Returns
 * the number of bytes, or minus the number needed when length is too small; 0 with a code for a token out of range. */
LLAMA_API int32_t llama_token_to_piece(
    const struct llama_vocab *vocab, llama_token token, char *buf, int32_t length, int32_t lstrip, bool special);

/* Tokens to text: the inverse of llama_tokenize, without a terminating NUL. remove_special: leave out BOS and EOS
 * where llama_tokenize adds them.   unparse_special: write control tokens as their text. Returns the number of
 * bytes, or minus the number needed when text_len_max is too small; 0 with a code for a token out of range. */
LLAMA_API int32_t llama_detokenize(
    const struct llama_vocab *vocab, const llama_token *tokens, int32_t n_tokens, char *text, int32_t text_len_max,
    bool remove_special, bool unparse_special);

/* A conversation as the text a model was trained on. tmpl: Jinja text of a known template, or the name of one
 * ("chatml", "llama3", "bitnet", ...); NULL: "chatml". Templates are recognised, not executed: one that is not
 * known is refused (the Python package runs any, Model.apply_chat_template).   chat: n_msg messages, NULL when that is 0; a NULL
 * role or content is empty.   add_ass: end with the opening of the assistant's turn.   buf, length: where to; NULL, or a length of
 * 0 or less: only measured. Returns the full length, which may exceed `length`; a NUL follows where there is room for one.
 * Negative: unknown template, or NULL messages. */
LLAMA_API int32_t llama_chat_apply_template(
    const char *tmpl, const struct llama_chat_message *chat, size_t n_msg, bool add_ass, char *buf, int32_t length);

/* The names that llama_chat_apply_template knows: the first len of them into output, static strings. Returns how many there
 * are. output may be NULL when len is 0. */
LLAMA_API int32_t llama_chat_builtin_templates(const char **output, size_t len);

/* ------------------------------------------------------------------------------------------------
 * Context
 * ---------------------------------------------------------------------------------------------- */

LLAMA_API struct llama_context_params llama_context_default_params(void);

/* Make a context: everything that decoding needs is taken now, but for rows of logits and the tables of batches and
 * sequences, which grow on demand. NULL: a parameter that cannot be honoured, or BITNET_ERROR_MEMORY. The model lives
 * at least as long as its contexts. The older name does the same. */
LLAMA_API struct llama_context *llama_init_from_model(struct llama_model *model, struct llama_context_params params);
LLAMA_API struct llama_context *llama_new_context_with_model(
    struct llama_model *model, struct llama_context_params params);

/* Free a context; logits and pointers from it end here. NULL is accepted. */
LLAMA_API void llama_free(struct llama_context *ctx);

/* Its model and its sizes as completed. 0 or NULL for NULL. */
LLAMA_API const struct llama_model *llama_get_model(const struct llama_context *ctx);
LLAMA_API uint32_t llama_n_ctx(const struct llama_context *ctx);
LLAMA_API uint32_t llama_n_batch(const struct llama_context *ctx);
LLAMA_API uint32_t llama_n_ubatch(const struct llama_context *ctx);
LLAMA_API uint32_t llama_n_seq_max(const struct llama_context *ctx);
LLAMA_API uint32_t llama_n_ctx_seq(const struct llama_context *ctx); /* most tokens of one sequence: n_ctx where they share it (kv_unified) */
LLAMA_API uint32_t llama_n_rs_seq(const struct llama_context *ctx);  /* snapshots of recurrent states: 0 */

/* Threads for one token and for more, 1 or more each; cut to the CPUs that this process may use, or, while a pool is attached, to
 * those of the pool instead. */
LLAMA_API void llama_set_n_threads(struct llama_context *ctx, int32_t n_threads, int32_t n_threads_batch);
LLAMA_API int32_t llama_n_threads(struct llama_context *ctx);
LLAMA_API int32_t llama_n_threads_batch(struct llama_context *ctx);

/* Compute with the threads of pools of ggml_threadpool_new in place of the context's own, which sleep: threadpool for one token,
 * threadpool_batch for more (NULL: the same). As many as llama_set_n_threads says and the pool has; which CPUs and what priority, the
 * pool says. threadpool NULL: the context's own for one token. detach, or both NULL: its own again. An error, and no change: what is
 * no pool, no memory (scratch for more threads), BITNET_ERROR_THREAD.
 * Several contexts may have one pool: each pass waits until the pool is free. A callback that computes on the pool that called it,
 * or while another thread has its pool, gets its context's own threads. A pool may be freed while it is attached: its threads end,
 * after the pass that is running, and contexts go on with their own. A child of fork computes with its one thread. */
LLAMA_API void llama_attach_threadpool(
    struct llama_context *ctx, ggml_threadpool_t threadpool, ggml_threadpool_t threadpool_batch);
LLAMA_API void llama_detach_threadpool(struct llama_context *ctx);

/* Ask this between layers whether to stop (llama_decode then returns 2). NULL: never. */
LLAMA_API void llama_set_abort_callback(
    struct llama_context *ctx, ggml_abort_callback abort_callback, void *abort_callback_data);

/* Does nothing: calls return when their work is done. */
LLAMA_API void llama_synchronize(struct llama_context *ctx);

/* ------------------------------------------------------------------------------------------------
 * Decoding
 *
 * Positions of a sequence go on without a gap: the first token of a batch follows the last one in the cache. An empty
 * sequence may begin anywhere.
 * ---------------------------------------------------------------------------------------------- */

/* A batch of tokens that follow sequence 0; logits for the last one. Borrows `tokens`.
 * (Two arguments, as since 2024-10.) */
LLAMA_API struct llama_batch llama_batch_get_one(llama_token *tokens, int32_t n_tokens);

/* A batch with arrays for n_tokens tokens (or embeddings of embd floats, if embd > 0) of up to n_seq_max sequences
 * each; set n_tokens and fill them in. All NULL + last error when memory is short or a size is negative. Free with
 * llama_batch_free. */
LLAMA_API struct llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max);
LLAMA_API void llama_batch_free(struct llama_batch batch);

/* Run the batch through the model and keep its keys and values. It may hold any number of tokens and any mix of
 * sequences; without causal attention, at most n_ubatch tokens. Embeddings in place of tokens must be finite. Returns 0; 1
 * when the cache has no room for all of it (last error BITNET_ERROR_CONTEXT); 2 when the abort callback stopped it; negative
 * for a wrong batch or another error. Anything but 0 leaves the cache as it was; a batch that is refused, or has no room, also
 * leaves what can be read of the one before: logits, embeddings, what was sampled. */
LLAMA_API int32_t llama_decode(struct llama_context *ctx, struct llama_batch batch);

/* The batch alone: each token sees all tokens of its sequence in the batch, whatever llama_set_causal_attn says, and nothing
 * of the cache; no key or value stays. Sequences begin at position 0. Every token leaves logits, and embeddings if the
 * context gives them. At most n_ubatch tokens, for which the cache must have room meanwhile. Returns as llama_decode.
 * (llama.cpp has encoders here; with a model that is none it ends the process.) */
LLAMA_API int32_t llama_encode(struct llama_context *ctx, struct llama_batch batch);

/* One embedding in (or, in other models, several rows: n_rows must be 1). data: float[llama_model_n_embd], finite; copied. */
struct llama_embd {
    const float *data;
    size_t n_rows;
    size_t n_embd; /* llama_model_n_embd */
};

/* A batch that grows: llama.h's newer form, ids and embeddings mixed. The context must outlive it. add_token and add_embd
 * return the token's index in the batch, or -1 (no room or no memory), -2 (a wrong token or embedding), -3 (a wrong
 * sequence), with a last error; so does add, of a token that set_embd_token still has to complete. The others return false +
 * last error when they change nothing. add_seq: one more sequence that the token belongs to, at the same position (true
 * also for one that it is in already).
 * set_embd_token: this in place of the token's own embedding.   set_embd_state: no model of these architectures takes states
 * beside its tokens, so always false.   set_pos: with NULL it takes a position back (the token then follows its sequence).
 * set_output_*: both mean the same; no output unless asked for. */
LLAMA_API struct llama_batch_ext *llama_batch_ext_init(struct llama_context *ctx);
LLAMA_API void llama_batch_ext_free(struct llama_batch_ext *batch);
LLAMA_API void llama_batch_ext_clear(struct llama_batch_ext *batch);
LLAMA_API int32_t llama_batch_ext_add(struct llama_batch_ext *batch, llama_seq_id seq_id);
LLAMA_API int32_t llama_batch_ext_add_token(struct llama_batch_ext *batch, llama_seq_id seq_id, llama_token id);
LLAMA_API int32_t llama_batch_ext_add_embd(struct llama_batch_ext *batch, llama_seq_id seq_id, struct llama_embd embd);
LLAMA_API bool llama_batch_ext_add_seq(struct llama_batch_ext *batch, int32_t idx, llama_seq_id seq_id);
LLAMA_API bool llama_batch_ext_set_embd_token(struct llama_batch_ext *batch, int32_t idx, struct llama_embd embd);
LLAMA_API bool llama_batch_ext_set_embd_state(struct llama_batch_ext *batch, int32_t idx, struct llama_embd embd);
LLAMA_API bool llama_batch_ext_set_pos(struct llama_batch_ext *batch, int32_t idx, const llama_pos *pos);
LLAMA_API bool llama_batch_ext_set_output_logits(struct llama_batch_ext *batch, int32_t idx, bool value);
LLAMA_API bool llama_batch_ext_set_output_embd(struct llama_batch_ext *batch, int32_t idx, bool value);

/* llama_decode or llama_encode for such a batch. The batch is unchanged. */
LLAMA_API int32_t llama_process(
    struct llama_context *ctx, enum llama_process_type type, struct llama_batch_ext *batch);

/* The call of 2023: sequence 0 keeps its first n_past tokens, forgets the rest, and goes on with these; logits of
 * the last one. Returns 0, or 1 on failure (BITNET_ERROR_THREAD when another thread is inside): wrong arguments change
 * nothing; without room, or aborted, the first n_past tokens remain. Programs of early 2023 pass a fifth argument, the
 * number of threads: see bitnet_eval_n_threads at the end. */
LLAMA_API int llama_eval(struct llama_context *ctx, const llama_token *tokens, int32_t n_tokens, int32_t n_past);

/* The same with embeddings: embd: float[n_tokens][llama_model_n_embd], finite; read only. */
LLAMA_API int llama_eval_embd(struct llama_context *ctx, float *embd, int32_t n_tokens, int32_t n_past);

/* Logits that the last decode left: float[rows][llama_vocab_n_tokens], the tokens that asked, in the order of the
 * batch. They are computed when first read, by the context's threads: a program that only samples greedily never pays
 * for all of them (llama_sampler_sample). Valid until the next decode, writable. NULL + last error when there are none
 * or memory is short. _ith: of the batch's i-th token (which must have asked); negative i counts from the last row, -1. */
LLAMA_API float *llama_get_logits(struct llama_context *ctx);
LLAMA_API float *llama_get_logits_ith(struct llama_context *ctx, int32_t i);

/* Embeddings: what the last layer leaves of a token, normed, before the head; or one a sequence, pooled.
 * set_embeddings: from the next decode on, every token of a batch leaves its embedding, and its logits too for whoever reads
 * them (params.embeddings is the same from the start).   pooling_type: how the context pools (params.pooling_type, completed
 * from the file); NONE for NULL.
 * get_embeddings: float[tokens of the batch][llama_model_n_embd], get_embeddings_ith: of one, i as in
 * llama_get_logits_ith; only in a context that does not pool.   get_embeddings_seq: float[llama_model_n_embd]
 * ([llama_model_n_cls_out] of RANK), pooled over the sequence's tokens in the last batch (one call should hold the whole text); only
 * in one that does. Not normalized.
 * All point into the context, are valid until its next decode, and are read only: logits may still be made of them. NULL +
 * last error when there are none. The same bits for every n_ubatch, number of threads and neighbour in the batch. */
LLAMA_API void llama_set_embeddings(struct llama_context *ctx, bool embeddings);
LLAMA_API enum llama_pooling_type llama_pooling_type(const struct llama_context *ctx);
LLAMA_API float *llama_get_embeddings(struct llama_context *ctx);
LLAMA_API float *llama_get_embeddings_ith(struct llama_context *ctx, int32_t i);
LLAMA_API float *llama_get_embeddings_seq(struct llama_context *ctx, llama_seq_id seq_id);

/* Causal: a token sees those before it (the start, unless params.attention_type or the file say otherwise). Not causal: it
 * sees every token of its sequence that is in the cache or the batch, and a batch may hold at most n_ubatch tokens; what is in
 * the cache already is not computed anew. From the next decode on. get: false + last error for NULL. */
LLAMA_API void llama_set_causal_attn(struct llama_context *ctx, bool causal_attn);
LLAMA_API bool llama_get_causal_attn(const struct llama_context *ctx);

/* ------------------------------------------------------------------------------------------------
 * Memory: the KV cache and its sequences
 *
 * [p0, p1) is a range of positions; a negative p0 means 0, a negative p1 means the end. Sequences that share tokens
 * share their memory.
 * ---------------------------------------------------------------------------------------------- */

/* The cache of a context; valid as long as the context. NULL for NULL. */
LLAMA_API llama_memory_t llama_get_memory(const struct llama_context *ctx);

/* Forget everything; data: also overwrite it with zeros. */
LLAMA_API void llama_memory_clear(llama_memory_t mem, bool data);

/* Forget a range of a sequence (seq_id < 0: of all). False: no such sequence. */
LLAMA_API bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1);

/* Let seq_id_dst have the range too: a prefix is shared, not copied. Where dst has tokens of its own a page may have to
 * be copied: BITNET_ERROR_MEMORY, and nothing changed, when none is free; BITNET_ERROR_CONTEXT when dst would hold more than
 * llama_n_ctx_seq. */
LLAMA_API void llama_memory_seq_cp(
    llama_memory_t mem, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1);

/* Forget all sequences but this one. */
LLAMA_API void llama_memory_seq_keep(llama_memory_t mem, llama_seq_id seq_id);

/* Move positions of a range by delta; what would be negative is forgotten. This is the context shift: when n_ctx is full,
 *     llama_memory_seq_rm(mem, seq, n_keep, n_keep + n_discard);
 *     llama_memory_seq_add(mem, seq, n_keep + n_discard, -1, -n_discard);
 * and decode on. Keys are rotated to their new positions at once and rounded to the cache's type once more. Positions that meet
 * others stay beside them: both count. Only this sequence moves; others that shared the tokens keep theirs, and the moved ones then
 * count of their own. Fails, with no change: no such sequence, positions of 2^24 or more, BITNET_ERROR_MEMORY, or
 * BITNET_ERROR_CONTEXT when such copies do not fit. */
LLAMA_API void llama_memory_seq_add(
    llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta);

/* Divide positions of a range by d, 1 or more, rounding down: d tokens come to stand at each (SelfExtend, arXiv 2401.01325).
 * Otherwise as llama_memory_seq_add. */
LLAMA_API void llama_memory_seq_div(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d);

/* Can positions move? True, for all models that load; false + last error for NULL. */
LLAMA_API bool llama_memory_can_shift(llama_memory_t mem);

/* First and last position of a sequence, -1 when it is empty, or with a last error when there is no such sequence. */
LLAMA_API llama_pos llama_memory_seq_pos_min(llama_memory_t mem, llama_seq_id seq_id);
LLAMA_API llama_pos llama_memory_seq_pos_max(llama_memory_t mem, llama_seq_id seq_id);

/* ------------------------------------------------------------------------------------------------
 * Memory by older names: 2023 to 2025
 *
 * What llama_memory_* do, for the context: llama_kv_cache_* until 2025, llama_kv_self_* in 2025.
 * ---------------------------------------------------------------------------------------------- */

/* llama_get_memory, as a pointer that no function takes. */
LLAMA_API struct llama_kv_cache *llama_get_kv_self(struct llama_context *ctx);

/* llama_memory_clear with data. */
LLAMA_API void llama_kv_cache_clear(struct llama_context *ctx);
LLAMA_API void llama_kv_self_clear(struct llama_context *ctx);

/* llama_memory_seq_rm; tokens_rm: of all sequences. */
LLAMA_API bool llama_kv_cache_seq_rm(struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1);
LLAMA_API bool llama_kv_self_seq_rm(struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1);
LLAMA_API void llama_kv_cache_tokens_rm(struct llama_context *ctx, int32_t c0, int32_t c1);

/* llama_memory_seq_cp */
LLAMA_API void llama_kv_cache_seq_cp(
    struct llama_context *ctx, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1);
LLAMA_API void llama_kv_self_seq_cp(
    struct llama_context *ctx, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1);

/* llama_memory_seq_keep */
LLAMA_API void llama_kv_cache_seq_keep(struct llama_context *ctx, llama_seq_id seq_id);
LLAMA_API void llama_kv_self_seq_keep(struct llama_context *ctx, llama_seq_id seq_id);

/* llama_memory_seq_add; it was called seq_shift in 2023. */
LLAMA_API void llama_kv_cache_seq_add(
    struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta);
LLAMA_API void llama_kv_cache_seq_shift(
    struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta);
LLAMA_API void llama_kv_self_seq_add(
    struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta);

/* llama_memory_seq_div */
LLAMA_API void llama_kv_cache_seq_div(
    struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d);
LLAMA_API void llama_kv_self_seq_div(
    struct llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d);

/* llama_memory_seq_pos_min, llama_memory_seq_pos_max */
LLAMA_API llama_pos llama_kv_self_seq_pos_min(struct llama_context *ctx, llama_seq_id seq_id);
LLAMA_API llama_pos llama_kv_cache_seq_pos_max(struct llama_context *ctx, llama_seq_id seq_id);
LLAMA_API llama_pos llama_kv_self_seq_pos_max(struct llama_context *ctx, llama_seq_id seq_id);

/* llama_memory_can_shift */
LLAMA_API bool llama_kv_cache_can_shift(struct llama_context *ctx);
LLAMA_API bool llama_kv_self_can_shift(const struct llama_context *ctx);

/* Do nothing: moves are done when they are asked for, and gaps cost no time. */
LLAMA_API void llama_kv_cache_defrag(struct llama_context *ctx);
LLAMA_API void llama_kv_self_defrag(struct llama_context *ctx);
LLAMA_API void llama_kv_cache_update(struct llama_context *ctx);
LLAMA_API void llama_kv_self_update(struct llama_context *ctx);

/* Tokens held: one of several sequences counts for each of them (token_count, n_tokens) or once (used_cells: what n_ctx
 * limits). 0 + last error for NULL. */
LLAMA_API int32_t llama_get_kv_cache_token_count(const struct llama_context *ctx);
LLAMA_API int32_t llama_kv_self_n_tokens(const struct llama_context *ctx);
LLAMA_API int32_t llama_get_kv_cache_used_cells(const struct llama_context *ctx);
LLAMA_API int32_t llama_kv_self_used_cells(const struct llama_context *ctx);

/* A list of the tokens held, for programs that show it. */
struct llama_kv_cache_view_cell {
    llama_pos pos; /* -1: the cell is empty */
};

struct llama_kv_cache_view {
    int32_t n_cells; /* n_ctx */
#ifdef BITNET_FFI_ERA_STRUCTS
    union { /* one number, which was called n_max_seq until March 2024 */
        int32_t n_seq_max;
        int32_t n_max_seq;
    };
#else
    int32_t n_seq_max; /* sequences that a row of cells_sequences has room for */
#endif
    int32_t token_count;        /* as llama_get_kv_cache_token_count */
    int32_t used_cells;         /* as llama_get_kv_cache_used_cells */
    int32_t max_contiguous;     /* empty cells: they come last */
    int32_t max_contiguous_idx; /* the first of them, -1: none */
    struct llama_kv_cache_view_cell *cells; /* [n_cells] */
    llama_seq_id *cells_sequences;          /* [n_cells][n_seq_max], ascending, then -1 */
};

/* An empty view, which update fills (it makes the arrays) and free ends. update: BITNET_ERROR_MEMORY, and nothing changed,
 * when there is none. free accepts NULL. */
LLAMA_API struct llama_kv_cache_view llama_kv_cache_view_init(const struct llama_context *ctx, int32_t n_seq_max);
LLAMA_API void llama_kv_cache_view_update(const struct llama_context *ctx, struct llama_kv_cache_view *view);
LLAMA_API void llama_kv_cache_view_free(struct llama_kv_cache_view *view);

/* ------------------------------------------------------------------------------------------------
 * State: what a context or a sequence knows, as bytes
 *
 * A context's state holds its sequences, what they share, the rows of the last decode (not its embeddings) and, once it has a seed, the
 * generator of llama_sample_token, so that sampling goes on too; a sequence's state holds that sequence. Work that goes on from a
 * state gives the same bits as work that never stopped. It fits contexts of the same model, rope settings and type_k; n_ctx, n_batch
 * and n_threads may differ if there is room.
 * It is of this library and machine, not of llama.cpp, and of one version of its format: it saves time, not texts, so keep the tokens too.
 * Checksums and every number are checked: a state that is cut off, damaged, of another version or of another model is refused with a
 * sentence, and the context is as it was. All functions return 0 or false + last error on
 * failure. Samplers, adapters and control vectors have no part in it: set the same ones. A state without a generator (of a context
 * without a seed) leaves that of the context as it is. Large states are moved by the context's n_threads threads.
 * ---------------------------------------------------------------------------------------------- */

#define LLAMA_FILE_MAGIC_GGLA   0x67676c61u
#define LLAMA_FILE_MAGIC_GGSN   0x6767736eu
#define LLAMA_FILE_MAGIC_GGSQ   0x67677371u
#define LLAMA_SESSION_MAGIC     LLAMA_FILE_MAGIC_GGSN /* llama.cpp's: not what these states begin with */
#define LLAMA_SESSION_VERSION   10
#define LLAMA_STATE_SEQ_MAGIC   LLAMA_FILE_MAGIC_GGSQ
#define LLAMA_STATE_SEQ_VERSION 3

/* Bytes of the state at this moment: just what get_data writes. */
LLAMA_API size_t llama_state_get_size(struct llama_context *ctx);

/* Write it to dst, of size bytes. The number written; 0 when it does not fit. */
LLAMA_API size_t llama_state_get_data(struct llama_context *ctx, uint8_t *dst, size_t size);

/* Take a state over, in place of all that the context holds. The number of bytes read: size may be more. */
LLAMA_API size_t llama_state_set_data(struct llama_context *ctx, const uint8_t *src, size_t size);

/* The same with a file, which also keeps n_token_count tokens of the caller (NULL when that is 0). It is written beside its
 * place (PATH.part-...) and then takes it by rename: what was there stays whole when the disk is full or the process is killed. It is not
 * forced to the disk: after a power cut within the next half a minute the file may be damaged, and is then refused; who needs more calls
 * fsync on it. A path is bytes: no encoding is assumed. load wants room for all tokens (n_token_count_out may be NULL), and writes
 * none when it fails. A file that fails, or changes, in the middle of being read costs what the context held. */
LLAMA_API bool llama_state_save_file(
    struct llama_context *ctx, const char *path_session, const llama_token *tokens, size_t n_token_count);
LLAMA_API bool llama_state_load_file(
    struct llama_context *ctx, const char *path_session, llama_token *tokens_out, size_t n_token_capacity,
    size_t *n_token_count_out);

/* The same of one sequence; it may become any other, and replaces what that one held. */
LLAMA_API size_t llama_state_seq_get_size(struct llama_context *ctx, llama_seq_id seq_id);
LLAMA_API size_t llama_state_seq_get_data(struct llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id seq_id);
LLAMA_API size_t llama_state_seq_set_data(
    struct llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id dest_seq_id);
LLAMA_API size_t llama_state_seq_save_file(
    struct llama_context *ctx, const char *filepath, llama_seq_id seq_id, const llama_token *tokens, size_t n_token_count);
LLAMA_API size_t llama_state_seq_load_file(
    struct llama_context *ctx, const char *filepath, llama_seq_id dest_seq_id, llama_token *tokens_out,
    size_t n_token_capacity, size_t *n_token_count_out);

/* With flags, which change nothing here: there is no partial cache, and no device but the CPU. */
typedef uint32_t llama_state_seq_flags;
#define LLAMA_STATE_SEQ_FLAGS_NONE         0
#define LLAMA_STATE_SEQ_FLAGS_SWA_ONLY     1
#define LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY 1
#define LLAMA_STATE_SEQ_FLAGS_ON_DEVICE    2
LLAMA_API size_t llama_state_seq_get_size_ext(struct llama_context *ctx, llama_seq_id seq_id, llama_state_seq_flags flags);
LLAMA_API size_t llama_state_seq_get_data_ext(
    struct llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id seq_id, llama_state_seq_flags flags);
LLAMA_API size_t llama_state_seq_set_data_ext(
    struct llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id dest_seq_id, llama_state_seq_flags flags);

/* Older names, and what the calls for a sequence are without a size (bitnet_ffi_older.h). copy, set and put know none: dst must have
 * the bytes of get_size, and src those that its header says, so give them only what was written and kept whole.
 * get_state_size is what a full context can need, also of an empty one; copy returns the bytes that it wrote. */
LLAMA_API size_t llama_get_state_size(struct llama_context *ctx);
LLAMA_API size_t llama_copy_state_data(struct llama_context *ctx, uint8_t *dst);
LLAMA_API size_t llama_set_state_data(struct llama_context *ctx, const uint8_t *src);
BITNET_API size_t bitnet_state_seq_copy_data(struct llama_context *ctx, uint8_t *dst, llama_seq_id seq_id);
BITNET_API size_t bitnet_state_seq_put_data(struct llama_context *ctx, const uint8_t *src, llama_seq_id dest_seq_id);
LLAMA_API bool llama_save_session_file(
    struct llama_context *ctx, const char *path_session, const llama_token *tokens, size_t n_token_count);
LLAMA_API bool llama_load_session_file(
    struct llama_context *ctx, const char *path_session, llama_token *tokens_out, size_t n_token_capacity,
    size_t *n_token_count_out);

/* The calls of April 2023: the state of sequence 0 as bytes of llama_get_kv_cache_size, valid until the next call of get or the end of
 * the context; NULL + last error: no memory. set keeps the first n_token_count positions. */
LLAMA_API const uint8_t *llama_get_kv_cache(struct llama_context *ctx);
LLAMA_API size_t llama_get_kv_cache_size(struct llama_context *ctx);
LLAMA_API void llama_set_kv_cache(struct llama_context *ctx, const uint8_t *kv_cache, size_t n_size, int n_token_count);

/* ------------------------------------------------------------------------------------------------
 * Sampling
 *
 * A sampler narrows down and selects candidates; a chain runs several in turn. The same seed and logits give the same
 * tokens. NaN counts as minus infinity; ties go to the smaller id. Samplers are not shared between threads.
 * ---------------------------------------------------------------------------------------------- */

/* A sampler with functions of your own (struct llama_sampler_i). iface and ctx stay yours. NULL: out of memory. */
LLAMA_API struct llama_sampler *llama_sampler_init(struct llama_sampler_i *iface, llama_sampler_context_t ctx);

/* Its name; "(null)" when it has none. */
LLAMA_API const char *llama_sampler_name(const struct llama_sampler *smpl);

/* Tell it that a token was chosen (penalties remember). As in llama_sampler_apply and _reset, NULL does nothing. */
LLAMA_API void llama_sampler_accept(struct llama_sampler *smpl, llama_token token);

/* Let it work on the candidates. */
LLAMA_API void llama_sampler_apply(struct llama_sampler *smpl, llama_token_data_array *cur_p);

/* Back to its state at birth: history and random generator. */
LLAMA_API void llama_sampler_reset(struct llama_sampler *smpl);

/* A copy with the same state, to free on its own. NULL when it cannot be copied. */
LLAMA_API struct llama_sampler *llama_sampler_clone(const struct llama_sampler *smpl);

/* Give dst the state of src: history, random generator, place in a grammar. Both must be of one kind, chains of the same kinds
 * in the same order; else, or without memory, nothing changes and the last error says why. A sampler of your own needs
 * copy_state, or clone and free. */
LLAMA_API void llama_sampler_copy(const struct llama_sampler *src, struct llama_sampler *dst);

/* Free it; a chain frees its members. Never free a member of a chain. NULL is accepted. */
LLAMA_API void llama_sampler_free(struct llama_sampler *smpl);

/* Seed in use of a sampler that draws, or of the last member of a chain that has one; LLAMA_DEFAULT_SEED when there is
 * none. */
LLAMA_API uint32_t llama_sampler_get_seed(const struct llama_sampler *smpl);

LLAMA_API struct llama_sampler_chain_params llama_sampler_chain_default_params(void);

/* A chain. add takes the sampler over (not when it fails: NULL, no chain, no memory, one that is in the chain already or holds it);
 * get borrows (-1: the chain itself); remove gives member i back to the caller. */
LLAMA_API struct llama_sampler *llama_sampler_chain_init(struct llama_sampler_chain_params params);
LLAMA_API void llama_sampler_chain_add(struct llama_sampler *chain, struct llama_sampler *smpl);
LLAMA_API struct llama_sampler *llama_sampler_chain_get(struct llama_sampler *chain, int32_t i);
LLAMA_API int32_t llama_sampler_chain_n(const struct llama_sampler *chain);
LLAMA_API struct llama_sampler *llama_sampler_chain_remove(struct llama_sampler *chain, int32_t i);

/* Select the largest logit. */
LLAMA_API struct llama_sampler *llama_sampler_init_greedy(void);

/* Select at random by probability. seed: LLAMA_DEFAULT_SEED takes one from the operating system. */
LLAMA_API struct llama_sampler *llama_sampler_init_dist(uint32_t seed);

/* Select at random by probability, without computing one: the largest logit + g, where g is Gumbel noise that depends on the seed, on how
 * often this sampler has chosen since its last reset, and on the token's id, and on nothing else. So candidates that could not win may
 * be missing or in another order, and the choice stays; the same seed and logits give the same tokens on every machine.
 * llama_sampler_sample makes use of that: a chain of logit biases, penalties and at most one temperature that ends with this sampler
 * computes, of an F16, BF16 or F32 head, only the logits that can win. Ends a chain in place of dist, whose random numbers are others;
 * leaves p as it is. A largest logit that is infinite, or none: those equal to it share alike. seed: LLAMA_DEFAULT_SEED takes one from
 * the operating system, anew at each reset. The caller frees it, or the chain that takes it over; NULL: out of memory. */
BITNET_API struct llama_sampler *bitnet_sampler_init_gumbel(uint32_t seed);

/* Keep the k largest; k <= 0 keeps all. */
LLAMA_API struct llama_sampler *llama_sampler_init_top_k(int32_t k);

/* Keep the fewest whose probabilities add up to p, at least min_keep; p >= 1 keeps all. */
LLAMA_API struct llama_sampler *llama_sampler_init_top_p(float p, size_t min_keep);

/* Keep those with at least p times the largest probability, at least min_keep; p <= 0 keeps all. */
LLAMA_API struct llama_sampler *llama_sampler_init_min_p(float p, size_t min_keep);

/* Locally typical sampling (arXiv 2202.00666). */
LLAMA_API struct llama_sampler *llama_sampler_init_typical(float p, size_t min_keep);

/* Divide logits by t; t <= 0 keeps only the largest, all others become minus infinity. */
LLAMA_API struct llama_sampler *llama_sampler_init_temp(float t);

/* A temperature between t - delta and t + delta that grows with the entropy of the candidates, relative to that of a uniform
 * choice, to the power of exponent (arXiv 2309.02772). delta <= 0: as llama_sampler_init_temp. */
LLAMA_API struct llama_sampler *llama_sampler_init_temp_ext(float t, float delta, float exponent);

/* Logits more than n standard deviations below the largest become minus infinity (arXiv 2411.07641); n <= 0: off. */
LLAMA_API struct llama_sampler *llama_sampler_init_top_n_sigma(float n);

/* With chance p, remove all candidates of at least probability t but the least likely of them, as long as min_keep stay.
 * p <= 0 or t > 0.5: off. seed: as for dist. */
LLAMA_API struct llama_sampler *llama_sampler_init_xtc(float p, float t, size_t min_keep, uint32_t seed);

/* Mirostat (arXiv 2007.14966): select so that the surprise stays near tau bits; eta: how fast it corrects itself; m: number of
 * candidates that version 1 measures. They select: a chain ends with one in place of dist. */
LLAMA_API struct llama_sampler *llama_sampler_init_mirostat(int32_t n_vocab, uint32_t seed, float tau, float eta, int32_t m);
LLAMA_API struct llama_sampler *llama_sampler_init_mirostat_v2(uint32_t seed, float tau, float eta);

/* Select tokens whose probability is near target (0 to 1; negative: as dist), corrected by the fading average of what was
 * accepted; decay (0 to 0.99): how slowly it fades. Ends a chain. */
LLAMA_API struct llama_sampler *llama_sampler_init_adaptive_p(float target, float decay, uint32_t seed);

/* DRY: lower the logit of a token that would lengthen a repetition of dry_allowed_length or more of the last
 * dry_penalty_last_n accepted tokens (0 or less: off) by dry_multiplier * dry_base ^ (length - dry_allowed_length).
 * dry_multiplier 0 or dry_base below 1: off. seq_breakers: num_breakers texts that no repetition reaches across; copied; at
 * most 40 bytes of each count. */
LLAMA_API struct llama_sampler *llama_sampler_init_dry(
    const struct llama_vocab *vocab, float dry_multiplier, float dry_base, int32_t dry_allowed_length,
    int32_t dry_penalty_last_n, const char **seq_breakers, size_t num_breakers);

/* For text between a prefix and a suffix: ends it where going on is unsure, and lets a token inherit the probability of
 * those that continue it. After top-k and top-p; vocab is borrowed. */
LLAMA_API struct llama_sampler *llama_sampler_init_infill(const struct llama_vocab *vocab);

/* Allow only tokens that continue a text of the grammar (GBNF, docs/GRAMMARS.md), from its rule grammar_root on, and
 * end-of-generation tokens only where it may end; all others get minus infinity. Both texts are read here and not kept; vocab is
 * borrowed. No text, or an empty one: everything is allowed. NULL + last error with line and column when the grammar is wrong:
 * undefined rules, left recursion, too many elements. Accepting a token that does not fit sets the last error; nothing is
 * allowed then. */
LLAMA_API struct llama_sampler *llama_sampler_init_grammar(
    const struct llama_vocab *vocab, const char *grammar_str, const char *grammar_root);

/* The same from a trigger on: one of the tokens, or a text in what was accepted since the last reset. Until then everything is
 * allowed. trigger_words: plain texts. trigger_patterns: regular expressions (ECMAScript, bytes; no back references, no
 * look-ahead), searched for, or matched to the whole text if written ^...$; the grammar begins with the first group that is
 * not empty, else with the match. The triggers are copied. */
LLAMA_API struct llama_sampler *llama_sampler_init_grammar_lazy(
    const struct llama_vocab *vocab, const char *grammar_str, const char *grammar_root, const char **trigger_words,
    size_t num_trigger_words, const llama_token *trigger_tokens, size_t num_trigger_tokens);
LLAMA_API struct llama_sampler *llama_sampler_init_grammar_lazy_patterns(
    const struct llama_vocab *vocab, const char *grammar_str, const char *grammar_root, const char **trigger_patterns,
    size_t num_trigger_patterns, const llama_token *trigger_tokens, size_t num_trigger_tokens);

/* Of 2024: sort and compute probabilities; tail-free sampling (z >= 1: off). */
LLAMA_API struct llama_sampler *llama_sampler_init_softmax(void);
LLAMA_API struct llama_sampler *llama_sampler_init_tail_free(float z, size_t min_keep);

/* Lower the logits of tokens among the last penalty_last_n accepted ones (0: off; negative: off, as the size of
 * the context is not known here). penalty_repeat: divides positive and multiplies negative logits, 1: off.
 * penalty_freq: subtracted for each occurrence.   penalty_present: subtracted once.   n_vocab: size of the
 * vocabulary. */
LLAMA_API struct llama_sampler *llama_sampler_init_penalties(
    int32_t n_vocab, int32_t penalty_last_n, float penalty_repeat, float penalty_freq, float penalty_present);

/* Add n_logit_bias biases; copied. */
LLAMA_API struct llama_sampler *llama_sampler_init_logit_bias(
    int32_t n_vocab, int32_t n_logit_bias, const llama_logit_bias *logit_bias);

/* Take the logits of row idx (as llama_get_logits_ith), apply the sampler, accept what it selected and return it.
 * LLAMA_TOKEN_NULL + last error when there are no logits or nothing was selected. A greedy sampler, bitnet_sampler_init_gumbel and
 * chains that begin with top-k or end with Gumbel noise (biases, penalties and, for the latter, a temperature may come before) read a
 * smaller copy of an F16, BF16 or F32 head first and give the same token sooner. */
LLAMA_API llama_token llama_sampler_sample(struct llama_sampler *smpl, struct llama_context *ctx, int32_t idx);

/* Backend sampling: run a chain (llama_sampler_chain_init) in each decode, on the rows of this sequence; of a token with several, on
 * those of its first. NULL: no longer. True, or false + last error, and then nothing is attached to the sequence: no chain, an
 * empty one, one that is attached elsewhere (this context or another), a sequence that is not there, a member with a backend_apply
 * and no apply. llama_context_params.samplers does the same when a context is made, which fails where this does (an empty chain is
 * passed over).
 *
 * In the decode run the members up to the first that selects (greedy, dist, bitnet_sampler_init_gumbel) or that is none of these:
 * top-k, top-p, min-p, temp, temp-ext, logit-bias, and penalties where n_outputs_max_per_seq is 1. llama_sampler_sample runs the rest
 * on what they left, so that it returns the token which it would return with the same chain unattached; for a token that was
 * selected it only accepts it. llama_sampler_apply on an attached chain runs the rest too. Rows are sampled with the state that the
 * chain has at the decode, each row of a sequence with a random number of its own: with n_outputs_max_per_seq = 1 the generator
 * moves on with the decode, else with each llama_sampler_accept, so that rows which are not accepted cost nothing. Logits that
 * cannot be chosen are not computed (llama_sampler_sample says where) until somebody reads them.
 *
 * The chain stays the caller's; it may be changed, copied from and freed while it is attached, before or after the context, but not
 * while a decode runs: both forget each other. It belongs to the number of the sequence, not to its tokens: removing, copying and
 * moving positions, clearing and states leave it where it is, and a state has no samples. n_outputs_max_per_seq: a batch with more
 * rows of such a sequence is refused. llama_encode samples nothing. */
LLAMA_API bool llama_set_sampler(struct llama_context *ctx, llama_seq_id seq_id, struct llama_sampler *smpl);

/* What the last decode sampled for a row (i as for llama_get_logits_ith), valid until the next one. The token that was selected, or
 * LLAMA_TOKEN_NULL; the probabilities, if dist ran; the logits of the candidates; their ids. As in llama.cpp: after top-k, top-p or a
 * temperature of 0 or less, candidates are a list of candidates_count ids, and those that top-p or min-p dropped are in it
 * with a logit of minus infinity and a probability of 0; else candidates_count is 0 and all is by id, n_vocab long. llama_get_logits_ith
 * gives the same logits as sampled_logits (n_vocab floats, minus infinity behind sampled_logits_count), llama_get_logits the model's
 * own. Rows of a sequence without a chain: LLAMA_TOKEN_NULL, NULL and 0, no error; but candidates are all ids, always, and where no
 * chain ran at all the count of logits is n_vocab. A row that is not there after such a decode, or no memory: NULL + last error.
 * Candidates lie in order of their logits after top-k, where llama.cpp's have no order: so a seed gives the same tokens here with
 * and without attaching. */
LLAMA_API llama_token llama_get_sampled_token_ith(struct llama_context *ctx, int32_t i);
LLAMA_API float *llama_get_sampled_probs_ith(struct llama_context *ctx, int32_t i);
LLAMA_API uint32_t llama_get_sampled_probs_count_ith(struct llama_context *ctx, int32_t i);
LLAMA_API float *llama_get_sampled_logits_ith(struct llama_context *ctx, int32_t i);
LLAMA_API uint32_t llama_get_sampled_logits_count_ith(struct llama_context *ctx, int32_t i);
LLAMA_API llama_token *llama_get_sampled_candidates_ith(struct llama_context *ctx, int32_t i);
LLAMA_API uint32_t llama_get_sampled_candidates_count_ith(struct llama_context *ctx, int32_t i);

/* ------------------------------------------------------------------------------------------------
 * Adapters: LoRA and control vectors
 *
 * What they change is what comes after: keys, values and logits that were computed stay as they are.
 * ---------------------------------------------------------------------------------------------- */

struct llama_adapter_lora;
#define llama_lora_adapter llama_adapter_lora /* its name of 2024 */

/* Load a LoRA adapter: a GGUF file (general.type "adapter", adapter.type "lora") made for this architecture, whose tensors fit
 * the model's weights: F32, F16, BF16 or block formats, all numbers finite, ranks up to the embedding's length; or a file of 2023
 * (magic ggla, of convert-lora-to-ggml.py), which has no metadata. It may change the products of the layers, the head, and the
 * embedding, and with it a head that is the embedding; changed norms are left out with a warning.
 * NULL + last error. The adapter belongs to the model and ends with it; free gives its memory back before, or when the last
 * context that uses it lets go. The _file_ptr reads from the file's position and leaves the file open. lora_adapter_*: the names
 * of 2024. */
LLAMA_API struct llama_adapter_lora *llama_adapter_lora_init(struct llama_model *model, const char *path_lora);
LLAMA_API struct llama_adapter_lora *llama_adapter_lora_init_from_file_ptr(struct llama_model *model, FILE *file);
LLAMA_API void llama_adapter_lora_free(struct llama_adapter_lora *adapter);
LLAMA_API struct llama_lora_adapter *llama_lora_adapter_init(struct llama_model *model, const char *path_lora);
LLAMA_API void llama_lora_adapter_free(struct llama_lora_adapter *adapter);

/* The adapter's metadata, as llama_model_meta_*; arrays are left out. */
LLAMA_API int32_t llama_adapter_meta_val_str(
    const struct llama_adapter_lora *adapter, const char *key, char *buf, size_t buf_size);
LLAMA_API int32_t llama_adapter_meta_count(const struct llama_adapter_lora *adapter);
LLAMA_API int32_t llama_adapter_meta_key_by_index(
    const struct llama_adapter_lora *adapter, int32_t i, char *buf, size_t buf_size);
LLAMA_API int32_t llama_adapter_meta_val_str_by_index(
    const struct llama_adapter_lora *adapter, int32_t i, char *buf, size_t buf_size);

/* The tokens that wake an activated LoRA: the caller finds them in the text, decodes up to there without the adapter and goes on
 * with it. 0 and NULL: it is always on. Valid as long as the adapter. */
LLAMA_API uint64_t llama_adapter_get_alora_n_invocation_tokens(const struct llama_adapter_lora *adapter);
LLAMA_API const llama_token *llama_adapter_get_alora_invocation_tokens(const struct llama_adapter_lora *adapter);

/* From the next decode on the context computes y = W x + scale * alpha / rank * B (A x) (alpha 0 or absent: without alpha / rank)
 * for each adapter, where x are floats also if W takes rounded ones. set_adapters: these n_adapters in place of all others, 0: none.
 * set_adapter: this one too, or another scale for it. rm: not this one; negative when it is not in use. clear: none. A scale of
 * 0 means not in use. Return 0 or a negative code, and then nothing changed: an adapter of another model, one that is free
 * already or stands twice, a scale that is not finite, no memory for A x. After an adapter that changes the head, logits that
 * nobody has read are gone. The same bits for every batch, n_ubatch, number of threads and instruction set. */
LLAMA_API int32_t llama_set_adapters_lora(
    struct llama_context *ctx, struct llama_adapter_lora **adapters, size_t n_adapters, float *scales);
LLAMA_API int32_t llama_set_adapter_lora(struct llama_context *ctx, struct llama_adapter_lora *adapter, float scale);
LLAMA_API int32_t llama_rm_adapter_lora(struct llama_context *ctx, struct llama_adapter_lora *adapter);
LLAMA_API void llama_clear_adapter_lora(struct llama_context *ctx);
LLAMA_API int32_t llama_lora_adapter_set(struct llama_context *ctx, struct llama_lora_adapter *adapter, float scale);
LLAMA_API int32_t llama_lora_adapter_remove(struct llama_context *ctx, struct llama_lora_adapter *adapter);
LLAMA_API void llama_lora_adapter_clear(struct llama_context *ctx);

/* Calls of 2023, with files of then (ggla) or of today: the adapter becomes part of the model for all its contexts, from
 * their next decode on, or of one context. path_base_model, n_threads: ignored, weights stay as they are. Return 0, or 1 + last
 * error. */
LLAMA_API int32_t llama_model_apply_lora_from_file(
    const struct llama_model *model, const char *path_lora, float scale, const char *path_base_model, int32_t n_threads);
LLAMA_API int32_t llama_apply_lora_from_file(
    struct llama_context *ctx, const char *path_lora, float scale, const char *path_base_model, int32_t n_threads);

/* A control vector: from the next decode on it is added to what layers il_start to il_end leave, both included. data:
 * float[n][n_embd], finite, for the layers from 1 on (layer 0 has none), len floats together; layers beyond have none; copied.
 * NULL: no control vector. n_embd: llama_model_n_embd. Returns 0 or a negative code, and then nothing changed. The others are
 * older names. */
LLAMA_API int32_t llama_set_adapter_cvec(
    struct llama_context *ctx, const float *data, size_t len, int32_t n_embd, int32_t il_start, int32_t il_end);
LLAMA_API int32_t llama_apply_adapter_cvec(
    struct llama_context *ctx, const float *data, size_t len, int32_t n_embd, int32_t il_start, int32_t il_end);
LLAMA_API int32_t llama_control_vector_apply(
    struct llama_context *lctx, const float *data, size_t len, int32_t n_embd, int32_t il_start, int32_t il_end);

/* ------------------------------------------------------------------------------------------------
 * Performance
 * ---------------------------------------------------------------------------------------------- */

/* Time and tokens since the context was made or reset. print writes to the log at level INFO. */
LLAMA_API struct llama_perf_context_data llama_perf_context(const struct llama_context *ctx);
LLAMA_API void llama_perf_context_print(const struct llama_context *ctx);
LLAMA_API void llama_perf_context_reset(struct llama_context *ctx);

/* The same of a chain (not of other samplers). */
LLAMA_API struct llama_perf_sampler_data llama_perf_sampler(const struct llama_sampler *chain);
LLAMA_API void llama_perf_sampler_print(const struct llama_sampler *chain);
LLAMA_API void llama_perf_sampler_reset(struct llama_sampler *chain);

/* The same of older programs: of a context, with the times of llama_sample_*. yaml: a few lines to a stream that the caller
 * opened. llama_perf_print and _reset: of a context or a chain, as type says. What prints without a stream writes to the log
 * at level INFO. */
LLAMA_API struct llama_timings llama_get_timings(struct llama_context *ctx);
LLAMA_API void llama_print_timings(struct llama_context *ctx);
LLAMA_API void llama_reset_timings(struct llama_context *ctx);
LLAMA_API void llama_dump_timing_info_yaml(FILE *stream, const struct llama_context *ctx);
LLAMA_API void llama_perf_dump_yaml(FILE *stream, const struct llama_context *ctx);
LLAMA_API void llama_perf_print(const void *ctx, enum llama_perf_type type);
LLAMA_API void llama_perf_reset(void *ctx, enum llama_perf_type type);

/* ------------------------------------------------------------------------------------------------
 * Weights without a model
 *
 * For tools and tests. m rows of k elements in the layout of a GGUF tensor; quantize: every type that llama_model_quantize
 * writes. 0 or a negative code.
 * ---------------------------------------------------------------------------------------------- */

/* Bytes of such a tensor. 0 + last error: type not supported, or k not a multiple of its block. */
BITNET_API size_t bitnet_tensor_size(enum ggml_type type, int64_t k, int64_t m);

/* float[m][k] to dst of dst_size bytes, all columns as important. I2_S wants ternary values times one scale (the largest |x|);
 * the TQ types round in blocks of 256. */
BITNET_API int32_t bitnet_quantize(
    enum ggml_type type, const float *src, int64_t k, int64_t m, void *dst, size_t dst_size);

/* src of src_size bytes to float[m][k]. */
BITNET_API int32_t bitnet_dequantize(
    enum ggml_type type, const void *src, size_t src_size, int64_t k, int64_t m, float *dst);

/* y[n][m] = x[n][k] times the rows of the weights, with the kernels and the numerics of the engine (ternary and
 * block types quantize x to 8 bits). n_threads: 0 or less: every CPU that this process may use. */
BITNET_API int32_t bitnet_matmul(
    enum ggml_type type, const void *weights, size_t weights_size, int64_t k, int64_t m, const float *x, int64_t n,
    float *y, int32_t n_threads);

/* Write where memory goes to the log, at level INFO: weights, KV cache, logits. */
LLAMA_API void llama_memory_breakdown_print(const struct llama_context *ctx);

/* ------------------------------------------------------------------------------------------------
 * What is not here
 *
 * Devices other than the CPU, ggml's graphs, training. These calls are there so that programs link and start. Each returns what is
 * said here, and a last error unless it is said that none is due.
 * ---------------------------------------------------------------------------------------------- */

/* No remote devices: false. Entries that programs allow for in tensor_buft_overrides, which have no effect: 4096. */
LLAMA_API bool llama_supports_rpc(void);
LLAMA_API size_t llama_max_tensor_buft_overrides(void);

/* Fit parameters into the memory of devices: with a CPU alone there is nothing to change. SUCCESS when path_model is a model,
 * else ERROR. The other arguments are not looked at; mparams and cparams may not be NULL. */
LLAMA_API enum llama_params_fit_status llama_params_fit(
    const char *path_model, struct llama_model_params *mparams, struct llama_context_params *cparams, float *tensor_split,
    struct llama_model_tensor_buft_override *tensor_buft_overrides, size_t *margins, uint32_t n_ctx_min,
    enum ggml_log_level log_level);

/* No effect, no error: every decode runs through all weights, so any decode warms up. */
LLAMA_API void llama_set_warmup(struct llama_context *ctx, bool warmup);

/* A model without a file: NULL. The graph of a decode, to a file: 1. */
LLAMA_API struct llama_model *llama_model_init_from_user(
    struct gguf_context *metadata, llama_model_set_tensor_data_t set_tensor_data, void *set_tensor_data_ud,
    struct llama_model_params params);
LLAMA_API int llama_eval_export(struct llama_context *ctx, const char *fname);

/* Beam search, which llama.cpp had in 2023: an error, and the callback is not called. */
struct llama_beam_view {
    const llama_token *tokens;
    size_t n_tokens;
    float p;
    bool eob;
};
struct llama_beams_state {
    struct llama_beam_view *beam_views;
    size_t n_beams;
    size_t common_prefix_length;
    bool last_call;
};
typedef void (*llama_beam_search_callback_fn_t)(void *callback_data, struct llama_beams_state beams_state);
LLAMA_API void llama_beam_search(
    struct llama_context *ctx, llama_beam_search_callback_fn_t callback, void *callback_data, size_t n_beams, int32_t n_past,
    int32_t n_predict);

/* Training: an error. The filter says true of every tensor, no error. */
LLAMA_API bool llama_opt_param_filter_all(const struct ggml_tensor *tensor, void *userdata);
LLAMA_API void llama_opt_init(struct llama_context *lctx, struct llama_model *model, struct llama_opt_params lopt_params);
LLAMA_API void llama_opt_epoch(
    struct llama_context *lctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result_train, ggml_opt_result_t result_eval,
    int64_t idata_split, ggml_opt_epoch_callback callback_train, ggml_opt_epoch_callback callback_eval);

/* The same, of ggml-opt.h, for programs that train: there are no datasets and no results, so init and what asks for one give NULL or 0
 * and an error, and free takes NULL. The name of an optimizer ("adamw", "sgd", "undefined") and llama.cpp's default parameters are
 * there, no error. */
LLAMA_API ggml_opt_dataset_t ggml_opt_dataset_init(
    enum ggml_type type_data, enum ggml_type type_label, int64_t ne_datapoint, int64_t ne_label, int64_t ndata, int64_t ndata_shard);
LLAMA_API void ggml_opt_dataset_free(ggml_opt_dataset_t dataset);
LLAMA_API int64_t ggml_opt_dataset_ndata(ggml_opt_dataset_t dataset);
LLAMA_API struct ggml_tensor *ggml_opt_dataset_data(ggml_opt_dataset_t dataset);
LLAMA_API struct ggml_tensor *ggml_opt_dataset_labels(ggml_opt_dataset_t dataset);
LLAMA_API ggml_opt_result_t ggml_opt_result_init(void);
LLAMA_API void ggml_opt_result_free(ggml_opt_result_t result);
LLAMA_API void ggml_opt_result_reset(ggml_opt_result_t result);
LLAMA_API void ggml_opt_epoch_callback_progress_bar(
    bool train, ggml_opt_context_t opt_ctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result, int64_t ibatch,
    int64_t ibatch_max, int64_t t_start_us);
LLAMA_API const char *ggml_opt_optimizer_name(enum ggml_opt_optimizer_type optimizer);
LLAMA_API struct ggml_opt_optimizer_params ggml_opt_get_default_optimizer_params(void *userdata);

/* ------------------------------------------------------------------------------------------------
 * From ggml
 *
 * What programs of llama.h call beside it. There is no ggml behind it.
 * ---------------------------------------------------------------------------------------------- */

/* The clock of llama_time_us, which needs no start. */
LLAMA_API void ggml_time_init(void);
LLAMA_API int64_t ggml_time_us(void);
LLAMA_API int64_t ggml_time_ms(void);

/* Devices: one, the CPU, described as its maker calls it, and the machine's memory in bytes (where to may be NULL). By index, by the
 * name "CPU" (as that of the backend, in any case of letters) or by type; NULL for another, with a last error for a wrong index. A
 * handle that is none: NULL, CPU or nothing, and a last error. props: all of it in one struct; device_id is NULL, and of the
 * abilities there is mmap. */
struct ggml_backend_dev_caps {
    bool async;
    bool host_buffer;
    bool buffer_from_host_ptr;
    bool events;
    bool mmap_support;
};
struct ggml_backend_dev_props {
    const char *name;
    const char *description;
    size_t memory_free;
    size_t memory_total;
    enum ggml_backend_dev_type type;
    const char *device_id;
    struct ggml_backend_dev_caps caps;
};
LLAMA_API size_t ggml_backend_dev_count(void);
LLAMA_API ggml_backend_dev_t ggml_backend_dev_get(size_t index);
LLAMA_API ggml_backend_dev_t ggml_backend_dev_by_name(const char *name);
LLAMA_API ggml_backend_dev_t ggml_backend_dev_by_type(enum ggml_backend_dev_type type);
LLAMA_API const char *ggml_backend_dev_name(ggml_backend_dev_t device);
LLAMA_API const char *ggml_backend_dev_description(ggml_backend_dev_t device);
LLAMA_API enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device);
LLAMA_API void ggml_backend_dev_memory(ggml_backend_dev_t device, size_t *free, size_t *total);
LLAMA_API void ggml_backend_dev_get_props(ggml_backend_dev_t device, struct ggml_backend_dev_props *props);
LLAMA_API ggml_backend_reg_t ggml_backend_dev_backend_reg(ggml_backend_dev_t device);

/* The registry: one backend, "CPU", with the one device. get_proc_address knows ggml_threadpool_new
 * and ggml_threadpool_free; NULL, no error, for other names. A handle that is none, or an index: NULL or 0, and a last error. */
LLAMA_API size_t ggml_backend_reg_count(void);
LLAMA_API ggml_backend_reg_t ggml_backend_reg_get(size_t index);
LLAMA_API ggml_backend_reg_t ggml_backend_reg_by_name(const char *name);
LLAMA_API const char *ggml_backend_reg_name(ggml_backend_reg_t reg);
LLAMA_API size_t ggml_backend_reg_dev_count(ggml_backend_reg_t reg);
LLAMA_API ggml_backend_dev_t ggml_backend_reg_dev_get(ggml_backend_reg_t reg, size_t index);
LLAMA_API void *ggml_backend_reg_get_proc_address(ggml_backend_reg_t reg, const char *name);

/* Backends of others cannot be used: load gives NULL, and load, unload and both registers leave a last error. load_all: all there are
 * is built in, so there is nothing to load and no error. */
LLAMA_API void ggml_backend_load_all(void);
LLAMA_API void ggml_backend_load_all_from_path(const char *dir_path);
LLAMA_API ggml_backend_reg_t ggml_backend_load(const char *path);
LLAMA_API void ggml_backend_unload(ggml_backend_reg_t reg);
LLAMA_API void ggml_backend_register(ggml_backend_reg_t reg);
LLAMA_API void ggml_backend_device_register(ggml_backend_dev_t device);

/* The kind of memory that the CPU has, "CPU", which programs name in tensor_buft_overrides. Of another: NULL or false, and a last
 * error. */
LLAMA_API ggml_backend_buffer_type_t ggml_backend_cpu_buffer_type(void);
LLAMA_API ggml_backend_buffer_type_t ggml_backend_dev_buffer_type(ggml_backend_dev_t device);
LLAMA_API const char *ggml_backend_buft_name(ggml_backend_buffer_type_t buft);
LLAMA_API bool ggml_backend_buft_is_host(ggml_backend_buffer_type_t buft);
LLAMA_API ggml_backend_dev_t ggml_backend_buft_get_device(ggml_backend_buffer_type_t buft);

/* Thread pools, for llama_attach_threadpool: n_threads - 1 threads that start at once, and the thread that computes as one more.
 * default and init: n_threads as given, everything else normal. match: are they equal, `paused` aside? new: NULL + last error unless
 * n_threads is 1 to 512 and prio known. free accepts NULL and ends the threads. pause: they do not spin until the next pass, which
 * resumes. A pool that is none: 0 or nothing, and a last error. From any thread.
 * The caller of a pass is placed like the pool's threads while it lasts, and has its CPUs and policy back afterwards (llama.cpp leaves
 * it placed); a policy that is not SCHED_OTHER stays as it is. CPUs or priorities that the system refuses: one warning in the log a
 * pool, and the threads run as they may. */
#define GGML_MAX_N_THREADS 512
struct ggml_threadpool_params {
    bool cpumask[GGML_MAX_N_THREADS]; /* CPUs to run on; none: any */
    int n_threads;
    enum ggml_sched_priority prio;    /* normal: as the process; low: SCHED_BATCH; medium to realtime: SCHED_FIFO 40, 80, 90 (rights) */
    uint32_t poll;                    /* us that a thread spins for the next pass before it sleeps, usually 0 to 100; more threads than
                                       * CPUs never spin */
    bool strict_cpu;                  /* one CPU of the mask for each thread, in order and around, the caller's last */
    bool paused;                      /* as by ggml_threadpool_pause */
};
LLAMA_API struct ggml_threadpool_params ggml_threadpool_params_default(int n_threads);
LLAMA_API void ggml_threadpool_params_init(struct ggml_threadpool_params *p, int n_threads);
LLAMA_API bool ggml_threadpool_params_match(
    const struct ggml_threadpool_params *p0, const struct ggml_threadpool_params *p1);
LLAMA_API struct ggml_threadpool *ggml_threadpool_new(struct ggml_threadpool_params *params);
LLAMA_API void ggml_threadpool_free(struct ggml_threadpool *threadpool);
LLAMA_API int ggml_threadpool_get_n_threads(struct ggml_threadpool *threadpool);
LLAMA_API void ggml_threadpool_pause(struct ggml_threadpool *threadpool);
LLAMA_API void ggml_threadpool_resume(struct ggml_threadpool *threadpool);

/* End the process with a message, "file:line: " and fmt with its arguments, which goes to the callback or, where there is none, to
 * the log as an error (llama_log_set, BITNET_LOG); then abort(). The one call here that aborts: its caller asks for it, and the
 * library never does. set_abort_callback: NULL for none; returns the one before. It cannot keep the process alive, unless it does
 * not return. From any thread. */
LLAMA_API ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback);
LLAMA_API void ggml_abort(const char *file, int line, const char *fmt, ...) BITNET_ABORTS;

/* ------------------------------------------------------------------------------------------------
 * Tensors, from ggml
 *
 * Weights of a model and tensors of files, to be read: struct ggml_tensor, "Structs". Functions that take a tensor take any that was filled
 * in as there, NULL aside (0, false or NULL, and a last error). Nothing here computes. From any thread.
 * ---------------------------------------------------------------------------------------------- */

/* The name of a type, "unknown" for a number that has none; is it made of blocks (not floats, not integers)? Elements and bytes of a
 * block, and bytes of a row of ne elements, which must be whole blocks: 0 and a last error otherwise, and for types whose blocks
 * are not ggml's of today. A block of I2_S is 128 elements in 32 bytes; the tensor has 32 bytes more, with its scale. */
LLAMA_API const char *ggml_type_name(enum ggml_type type);
LLAMA_API bool ggml_is_quantized(enum ggml_type type);
LLAMA_API int64_t ggml_blck_size(enum ggml_type type);
LLAMA_API size_t ggml_type_size(enum ggml_type type);
LLAMA_API size_t ggml_row_size(enum ggml_type type, int64_t ne);

/* Half floats as floats, exactly. _row: n of them, from x to y; n below 1: nothing. */
typedef uint16_t ggml_fp16_t;
typedef struct {
    uint16_t bits;
} ggml_bf16_t;
LLAMA_API float ggml_fp16_to_fp32(ggml_fp16_t x);
LLAMA_API float ggml_bf16_to_fp32(ggml_bf16_t x);
LLAMA_API void ggml_fp16_to_fp32_row(const ggml_fp16_t *x, float *y, int64_t n);
LLAMA_API void ggml_bf16_to_fp32_row(const ggml_bf16_t *x, float *y, int64_t n);

/* The weight of that name in the model's file, as the file has it, whatever it was packed into: op NONE, and data where the file's bytes
 * are, mapped or read (load_mode), to be read and not written to until the model is freed, as the tensor itself. data is NULL only of a
 * weight of a type that is not computed with, when the file cuts it short. Also of models loaded with vocab_only. A name that is not
 * there: NULL, and a last error (not logged). */
LLAMA_API struct ggml_tensor *llama_get_model_tensor(struct llama_model *model, const char *name);

/* Elements; rows; bytes from the first to the last, 0 when there are none or the type's blocks are not known; axes up to the last that is
 * longer than one, at least 1; bytes of a block; is it without gaps, in order? get_name and get_data: the fields. */
LLAMA_API int64_t ggml_nelements(const struct ggml_tensor *tensor);
LLAMA_API int64_t ggml_nrows(const struct ggml_tensor *tensor);
LLAMA_API size_t ggml_nbytes(const struct ggml_tensor *tensor);
LLAMA_API int ggml_n_dims(const struct ggml_tensor *tensor);
LLAMA_API size_t ggml_element_size(const struct ggml_tensor *tensor);
LLAMA_API bool ggml_is_contiguous(const struct ggml_tensor *tensor);
LLAMA_API const char *ggml_get_name(const struct ggml_tensor *tensor);
LLAMA_API void *ggml_get_data(const struct ggml_tensor *tensor);

/* "MUL_MAT"; desc: of UNARY and GLU what they do, "SILU". NULL and a last error for a number that means nothing. */
LLAMA_API const char *ggml_op_name(enum ggml_op op);
LLAMA_API const char *ggml_op_desc(const struct ggml_tensor *t);

/* Copy size bytes of a tensor from byte `offset` on. Nothing, and a last error, when they are not inside of ggml_nbytes, or there is no
 * data. */
LLAMA_API void ggml_backend_tensor_get(const struct ggml_tensor *tensor, void *data, size_t offset, size_t size);

/* Of the buffer of a tensor: true, "CPU", and the kind of memory. Of another, or NULL: false or NULL, and a last error. */
LLAMA_API bool ggml_backend_buffer_is_host(ggml_backend_buffer_t buffer);
LLAMA_API const char *ggml_backend_buffer_name(ggml_backend_buffer_t buffer);
LLAMA_API ggml_backend_buffer_type_t ggml_backend_buffer_get_type(ggml_backend_buffer_t buffer);

/* The tensors of a file (gguf_init_from_file), in its order: the first and the one after `tensor`, NULL at the end; by name, NULL and a
 * last error (not logged) when there is none; bytes that they take, their data with them. free accepts NULL, and ends the tensors; the
 * gguf_context may go before or after. Contexts of others: 0, NULL or nothing, and a last error. */
LLAMA_API struct ggml_tensor *ggml_get_first_tensor(const struct ggml_context *ctx);
LLAMA_API struct ggml_tensor *ggml_get_next_tensor(const struct ggml_context *ctx, struct ggml_tensor *tensor);
LLAMA_API struct ggml_tensor *ggml_get_tensor(struct ggml_context *ctx, const char *name);
LLAMA_API size_t ggml_get_mem_size(const struct ggml_context *ctx);
LLAMA_API void ggml_free(struct ggml_context *ctx);

/* ------------------------------------------------------------------------------------------------
 * Files, from gguf.h
 *
 * Any GGUF file of version 2 or 3, a model or not; of a model in parts the one that is named. It is checked as a model's is. Numbers of
 * keys and tensors (key_id, tensor_id) are their places in the file. Where llama.cpp ends the process, with a number out of range or
 * a value of another type, there is an answer that means nothing (0, NULL, -1, COUNT) and a last error. From any thread, but for free.
 * ---------------------------------------------------------------------------------------------- */

enum gguf_type {
    GGUF_TYPE_UINT8   = 0,
    GGUF_TYPE_INT8    = 1,
    GGUF_TYPE_UINT16  = 2,
    GGUF_TYPE_INT16   = 3,
    GGUF_TYPE_UINT32  = 4,
    GGUF_TYPE_INT32   = 5,
    GGUF_TYPE_FLOAT32 = 6,
    GGUF_TYPE_BOOL    = 7,
    GGUF_TYPE_STRING  = 8,
    GGUF_TYPE_ARRAY   = 9,
    GGUF_TYPE_UINT64  = 10,
    GGUF_TYPE_INT64   = 11,
    GGUF_TYPE_FLOAT64 = 12,
    GGUF_TYPE_COUNT   = 13,
};

struct gguf_init_params {
    bool no_alloc;             /* of *ctx: infos alone, data is NULL */
    struct ggml_context **ctx; /* NULL, or where a context of the file's tensors goes: the caller's, ggml_free */
};

/* Read a file; it is not held, and may change or go afterwards. NULL and a last error, and *params.ctx NULL, when it is not there or not
 * whole. The tensors of a context with data have it in memory of their own, which may be written to, aligned as the file says; the first of
 * them is all of the data as one, of I8, "GGUF tensor data binary blob". free accepts NULL. In a process that has ggml itself behind this
 * library, ggml does this, and what takes a context (here and above) goes on to it. */
LLAMA_API struct gguf_context *gguf_init_from_file(const char *fname, struct gguf_init_params params);
LLAMA_API void gguf_free(struct gguf_context *ctx);

/* The file's version, the alignment of its data in bytes, and where that begins. */
LLAMA_API uint32_t gguf_get_version(const struct gguf_context *ctx);
LLAMA_API size_t gguf_get_alignment(const struct gguf_context *ctx);
LLAMA_API size_t gguf_get_data_offset(const struct gguf_context *ctx);

/* Keys: how many; the number of one, -1 (no error) when it is not there; its name; its type; of an array the type of elements. Texts are
 * the context's. type_name: "u32", "str", "arr", NULL (no error) for a number that is no type. */
LLAMA_API const char *gguf_type_name(enum gguf_type type);
LLAMA_API int64_t gguf_get_n_kv(const struct gguf_context *ctx);
LLAMA_API int64_t gguf_find_key(const struct gguf_context *ctx, const char *key);
LLAMA_API const char *gguf_get_key(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API enum gguf_type gguf_get_kv_type(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API enum gguf_type gguf_get_arr_type(const struct gguf_context *ctx, int64_t key_id);

/* Values, of just this type. data: where a number or bool lies. Texts end at their first NUL. Pointers are the context's. */
LLAMA_API uint8_t gguf_get_val_u8(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API int8_t gguf_get_val_i8(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API uint16_t gguf_get_val_u16(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API int16_t gguf_get_val_i16(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API uint32_t gguf_get_val_u32(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API int32_t gguf_get_val_i32(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API float gguf_get_val_f32(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API uint64_t gguf_get_val_u64(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API int64_t gguf_get_val_i64(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API double gguf_get_val_f64(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API bool gguf_get_val_bool(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API const char *gguf_get_val_str(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API const void *gguf_get_val_data(const struct gguf_context *ctx, int64_t key_id);

/* Arrays: elements (1 of what is no array), where numbers or bools (a byte each) lie, aligned, and text i. */
LLAMA_API size_t gguf_get_arr_n(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API const void *gguf_get_arr_data(const struct gguf_context *ctx, int64_t key_id);
LLAMA_API const char *gguf_get_arr_str(const struct gguf_context *ctx, int64_t key_id, size_t i);

/* Tensors: how many; the number of one, -1 (no error) when it is not there; offset in bytes from gguf_get_data_offset; name; ne[4]; type;
 * bytes: ggml_nbytes, and what lies up to the next tensor where the type's blocks are not known. */
LLAMA_API int64_t gguf_get_n_tensors(const struct gguf_context *ctx);
LLAMA_API int64_t gguf_find_tensor(const struct gguf_context *ctx, const char *name);
LLAMA_API size_t gguf_get_tensor_offset(const struct gguf_context *ctx, int64_t tensor_id);
LLAMA_API const char *gguf_get_tensor_name(const struct gguf_context *ctx, int64_t tensor_id);
LLAMA_API const int64_t *gguf_get_tensor_ne(const struct gguf_context *ctx, int64_t tensor_id);
LLAMA_API enum ggml_type gguf_get_tensor_type(const struct gguf_context *ctx, int64_t tensor_id);
LLAMA_API size_t gguf_get_tensor_size(const struct gguf_context *ctx, int64_t tensor_id);

/* ------------------------------------------------------------------------------------------------
 * Older calls
 * ---------------------------------------------------------------------------------------------- */

/* Model info by older names: llama_model_n_layer, _n_head, _rope_type, _rope_freq_scale_train; of 2023: llama_model_n_ctx_train,
 * llama_vocab_n_tokens and llama_model_desc. */
LLAMA_API int32_t llama_n_layer(const struct llama_model *model);
LLAMA_API int32_t llama_n_head(const struct llama_model *model);
LLAMA_API enum llama_rope_type llama_rope_type(const struct llama_model *model);
LLAMA_API float llama_rope_freq_scale_train(const struct llama_model *model);
LLAMA_API int llama_model_n_ctx(const struct llama_model *model);
LLAMA_API int llama_model_n_vocab(const struct llama_model *model);
LLAMA_API int llama_model_type(const struct llama_model *model, char *buf, size_t buf_size);

/* Sizes of a model, asked as in 2023 and 2024. */
LLAMA_API int llama_n_vocab_from_model(const struct llama_model *model);
LLAMA_API int llama_n_ctx_from_model(const struct llama_model *model); /* n_ctx_train */
LLAMA_API int llama_n_embd_from_model(const struct llama_model *model);

/* llama_tokenize and llama_token_to_piece of 2023: control tokens stay text, and have none. _bpe takes a text that ends with
 * a NUL. Results as of today's calls. */
LLAMA_API int llama_tokenize_with_model(
    const struct llama_model *model, const char *text, int text_len, llama_token *tokens, int n_max_tokens, bool add_bos);
LLAMA_API int llama_tokenize_bpe(
    struct llama_context *ctx, const char *text, llama_token *tokens, int n_max_tokens, bool add_bos);
LLAMA_API int llama_token_to_piece_with_model(const struct llama_model *model, llama_token token, char *buf, int length);
LLAMA_API int llama_token_to_str_with_model(const struct llama_model *model, llama_token token, char *buf, int length);
LLAMA_API int llama_token_to_str(const struct llama_context *ctx, llama_token token, char *buf, int length);
LLAMA_API int llama_token_to_str_bpe(const struct llama_context *ctx, llama_token token, char *buf, int length);

/* The bytes of a token, followed by a NUL; valid as long as the model. NULL + last error: no such token. */
BITNET_API const char *bitnet_token_text(const struct llama_model *model, llama_token token);

/* The kind of a token; does the text of token0 begin that of token1? */
LLAMA_API enum llama_token_type llama_token_get_type(const struct llama_model *model, llama_token token);
LLAMA_API bool llama_token_is_prefix(const struct llama_model *model, llama_token token0, llama_token token1);

/* The first `capacity` tokens: bytes (as bitnet_token_text) and scores. Returns how many. */
LLAMA_API int llama_get_vocab_from_model(
    const struct llama_model *model, const char **strings, float *scores, int capacity);
LLAMA_API int llama_get_vocab(const struct llama_context *ctx, const char **strings, float *scores, int capacity);

/* Load a model and make a context, in one call: llama_init_from_file of early 2023 with today's parameters. The model goes
 * with the context. */
LLAMA_API struct llama_context *llama_init_from_file(const char *path_model, struct llama_context_params params);

/* llama_decode where positions and sequences may be left out, as in batches of 2023 and 2024: without pos, token i stands at
 * pos_0 + i * pos_1; without seq_id, all tokens belong to seq_id. */
BITNET_API int32_t bitnet_decode_at(
    struct llama_context *ctx, struct llama_batch batch, llama_pos pos_0, llama_pos pos_1, llama_seq_id seq_id);

/* Whether a batch without a logits array asks for all rows instead of the last one: logits_all in context parameters of 2023
 * and 2024. */
BITNET_API void bitnet_set_logits_all(struct llama_context *ctx, bool logits_all);

/* By their names of 2023 and 2024: llama_numa_init(GGML_NUMA_STRATEGY_DISTRIBUTE) if numa; llama_n_seq_max; llama_supports_mmap and
 * _mlock. */
LLAMA_API void llama_init_backend(bool numa);
LLAMA_API uint32_t llama_n_max_seq(const struct llama_context *ctx);
LLAMA_API bool llama_mmap_supported(void);
LLAMA_API bool llama_mlock_supported(void);

/* Sampling of 2023 and 2024: functions on candidates (their ids in any order, but for guidance), with the numerics of the
 * samplers of the same names. ctx may be NULL where nothing is drawn. Tokens are LLAMA_TOKEN_NULL + last error when there is
 * nothing to choose from; what returns nothing changes nothing when it fails. */
LLAMA_API void llama_sample_softmax(struct llama_context *ctx, llama_token_data_array *candidates);
LLAMA_API void llama_sample_top_k(
    struct llama_context *ctx, llama_token_data_array *candidates, int32_t k, size_t min_keep); /* k <= 0: all */
LLAMA_API void llama_sample_top_p(
    struct llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep);
LLAMA_API void llama_sample_min_p(
    struct llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep);
LLAMA_API void llama_sample_tail_free(
    struct llama_context *ctx, llama_token_data_array *candidates, float z, size_t min_keep);
LLAMA_API void llama_sample_typical(
    struct llama_context *ctx, llama_token_data_array *candidates, float p, size_t min_keep);
LLAMA_API void llama_sample_temp(struct llama_context *ctx, llama_token_data_array *candidates, float temp);
LLAMA_API void llama_sample_temperature(struct llama_context *ctx, llama_token_data_array *candidates, float temp);
/* A temperature between the two that grows with the entropy: llama_sampler_init_temp_ext. */
LLAMA_API void llama_sample_entropy(
    struct llama_context *ctx, llama_token_data_array *candidates_p, float min_temp, float max_temp, float exponent_val);

/* Penalties for tokens among the last penalty_last_n: llama_sampler_init_penalties, told these tokens. */
LLAMA_API void llama_sample_repetition_penalties(
    struct llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t penalty_last_n,
    float penalty_repeat, float penalty_freq, float penalty_present);
LLAMA_API void llama_sample_repetition_penalty(
    struct llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t last_tokens_size,
    float penalty);
LLAMA_API void llama_sample_frequency_and_presence_penalties(
    struct llama_context *ctx, llama_token_data_array *candidates, const llama_token *last_tokens, size_t last_tokens_size,
    float alpha_frequency, float alpha_presence);

/* Classifier-free guidance (arXiv 2306.17806): logits = scale * (logits - guidance) + guidance, both as logarithms of
 * probabilities; 1: no guidance. Overwrites the guidance logits. _classifier_free_guidance: all tokens as candidates, in order
 * of their ids, and the last row of guidance_ctx. bitnet_sample_guidance also blends the result with the logits of before:
 * smooth_factor of it (1: all), as in July 2023. */
LLAMA_API void llama_sample_apply_guidance(
    struct llama_context *ctx, float *logits, float *logits_guidance, float scale);
LLAMA_API void llama_sample_classifier_free_guidance(
    struct llama_context *ctx, llama_token_data_array *candidates, struct llama_context *guidance_ctx, float scale);
BITNET_API void bitnet_sample_guidance(
    struct llama_context *ctx, llama_token_data_array *candidates, struct llama_context *guidance_ctx, float scale,
    float smooth_factor);

/* Choose: the largest logit; at random by probability; by mirostat, which sorts and shortens the candidates and moves *mu
 * (begin with 2 * tau). The generator belongs to the context; set_rng_seed begins it anew (LLAMA_DEFAULT_SEED: from the
 * operating system, which is also the start). The same seed gives the same tokens as llama_sampler_init_dist on candidates
 * in order of probability, as long as there are several: a single one is taken without drawing. */
LLAMA_API void llama_set_rng_seed(struct llama_context *ctx, uint32_t seed);
LLAMA_API llama_token llama_sample_token_greedy(struct llama_context *ctx, llama_token_data_array *candidates);
LLAMA_API llama_token llama_sample_token(struct llama_context *ctx, llama_token_data_array *candidates);
LLAMA_API llama_token llama_sample_token_mirostat(
    struct llama_context *ctx, llama_token_data_array *candidates, float tau, float eta, int32_t m, float *mu);
LLAMA_API llama_token llama_sample_token_mirostat_v2(
    struct llama_context *ctx, llama_token_data_array *candidates, float tau, float eta, float *mu);

/* All at once, from the last row of logits, as in March 2023: penalty, temperature (0: the largest logit), top-k, top-p, draw. */
LLAMA_API llama_token llama_sample_top_p_top_k(
    struct llama_context *ctx, const llama_token *last_n_tokens_data, int last_n_tokens_size, int top_k, float top_p, float temp,
    float repeat_penalty);

/* Grammars of 2023 and 2024: n_rules arrays of elements, each ending with LLAMA_GRETYPE_END, read here and not kept. NULL + last
 * error for rules that are malformed, left-recursive or too many. A grammar meets a vocabulary through the context it is used
 * with, and keeps that model alive. sample (two orders of arguments): tokens that do not fit get minus infinity. accept_token:
 * goes on with a token; one that does not fit sets the last error, and nothing is allowed then. free accepts NULL. */
LLAMA_API struct llama_grammar *llama_grammar_init(
    const llama_grammar_element **rules, size_t n_rules, size_t start_rule_index);
LLAMA_API void llama_grammar_free(struct llama_grammar *grammar);
LLAMA_API struct llama_grammar *llama_grammar_copy(const struct llama_grammar *grammar);
LLAMA_API void llama_grammar_sample(
    const struct llama_grammar *grammar, const struct llama_context *ctx, llama_token_data_array *candidates);
LLAMA_API void llama_sample_grammar(
    struct llama_context *ctx, llama_token_data_array *candidates, const struct llama_grammar *grammar);
LLAMA_API void llama_grammar_accept_token(struct llama_grammar *grammar, struct llama_context *ctx, llama_token token);

/* llama_sampler_init_penalties of 2024, with nine arguments: linefeed_id keeps its logit unless penalize_nl; special_eos_id is
 * never chosen when ignore_eos. */
BITNET_API struct llama_sampler *bitnet_sampler_init_penalties_2024(
    int32_t n_vocab, llama_token special_eos_id, llama_token linefeed_id, int32_t penalty_last_n, float penalty_repeat,
    float penalty_freq, float penalty_present, bool penalize_nl, bool ignore_eos);

/* llama_eval with the number of threads, which stays set (0 or less: as it is): its five arguments of early 2023, in
 * bitnet_ffi_older.h. */
BITNET_API int bitnet_eval_n_threads(
    struct llama_context *ctx, const llama_token *tokens, int32_t n_tokens, int32_t n_past, int32_t n_threads);

#ifdef __cplusplus
}
#endif

#ifdef BITNET_FFI_ERA_STRUCTS
#undef llama_model_params
#undef llama_context_params
#undef llama_batch
#undef llama_progress_callback
#endif
#if !defined(BITNET_FFI_API) || BITNET_FFI_API != 2026
#include "bitnet_ffi_older.h"
#endif
#ifdef BITNET_FFI_ERA_STRUCTS
#include "bitnet_ffi_eras.h"
#endif

#endif /* BITNET_FFI_H */
