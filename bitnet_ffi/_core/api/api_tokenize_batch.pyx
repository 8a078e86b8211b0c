# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# bitnet_tokenize_batch: many texts in one call. Threads take one text after the other; each keeps the tokens of its texts and
# remembers words from text to text. When all is done, and fits, the tokens are copied to where they belong: until then
# nothing of the caller's is written.
# Next: tokenize.pyx does the work; csrc/bnf_pool.h runs the threads.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t, INT32_MAX, INT64_MIN
from libc.string cimport memcpy, memset, strlen
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc_array, bnf_clear_error, bnf_error_code, bnf_error_text, bnf_fail, bnf_release, bnf_resize)
from bitnet_ffi._core.bnf_pool cimport bnf_pool, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_run, bnf_pool_size
from bitnet_ffi._core.bnf_public cimport llama_token, BITNET_ERROR, BITNET_ERROR_TOKENIZE
from bitnet_ffi._core.bnf_types cimport llama_model
from bitnet_ffi._core.bnf_vocab cimport bnf_merge_begin, bnf_merge_free, bnf_merge_scratch, bnf_tokenize_with, bnf_vocab_t

cdef extern from "bnf_atomic.h" nogil:
    int64_t bnf_ticket(int64_t *next)
    int32_t bnf_flag_raise(int32_t *flag)
    int32_t bnf_flag_read(const int32_t *flag)

cdef extern from "bnf_error.h" nogil:
    enum:
        BNF_ERROR_TEXT_SIZE

cdef enum:
    BYTES_PER_THREAD = 16384   # a thread starts in the time that so much text takes
    BYTES_PER_TOKEN = 3        # of most texts more; where they have less, memory grows

cdef struct Text:
    size_t length
    int64_t first      # its tokens in the member's
    int32_t n
    int32_t member

cdef struct Member:
    int32_t *tokens
    int32_t *ranges
    int64_t n
    int64_t cap
    int64_t failed     # the text that ended its work, or -1
    int code
    char sentence[BNF_ERROR_TEXT_SIZE]

cdef struct Job:
    const bnf_vocab_t *vocab
    const char *const *given
    Text *texts
    Member *members
    int64_t n_texts
    size_t n_bytes     # of all texts
    uint32_t flags
    bint ranged
    int64_t next       # atomic: the first text that nobody has taken
    int32_t failed     # atomic
    llama_token *tokens
    int32_t *ranges
    const int64_t *offsets


# ---- a member's part ----

# Room for n more tokens. 0 or an error code.
cdef int reserve(const Job *job, Member *me, int64_t n) noexcept nogil:
    cdef int64_t cap
    cdef void *more
    if n <= me.cap - me.n:
        return 0
    cap = max(2 * me.cap, me.n + n)
    more = bnf_resize(me.tokens, <size_t>me.n * sizeof(int32_t), <size_t>cap * sizeof(int32_t))
    if more == NULL:
        return bnf_error_code()
    me.tokens = <int32_t *>more
    if job.ranged:
        more = bnf_resize(me.ranges, <size_t>me.n * 2 * sizeof(int32_t), <size_t>cap * 2 * sizeof(int32_t))
        if more == NULL:
            return bnf_error_code()   # cap stays: the tokens merely have more room than they know of
        me.ranges = <int32_t *>more
    me.cap = cap
    return 0


# The tokens of text i. 0 or an error code.
cdef int one_text(const Job *job, Member *me, int64_t i, bnf_merge_scratch *scratch) noexcept nogil:
    cdef Text *text = job.texts + i
    cdef int64_t room = <int64_t>text.length + 8   # a token a byte is nearly always the most
    cdef int64_t n
    cdef int code
    while True:
        code = reserve(job, me, room)
        if code < 0:
            return code
        n = bnf_tokenize_with(job.vocab, <const uint8_t *>job.given[i], text.length, job.flags, scratch, me.tokens + me.n,
                              me.ranges + 2 * me.n if job.ranged else NULL, me.cap - me.n)
        if n < 0:
            return <int>n
        if n > INT32_MAX:
            return bnf_fail(BITNET_ERROR_TOKENIZE, "%lld tokens, expected at most %d", <long long>n, INT32_MAX)
        if n <= me.cap - me.n:
            break
        room = n
    text.first = me.n
    text.n = <int32_t>n
    me.n += n
    return 0


# Texts are taken in order and whoever has taken one ends it, so the first of the texts that fail is always among those tried.
cdef void tokenize_texts(void *arg, int ith, int nth) noexcept nogil:
    cdef Job *job = <Job *>arg
    cdef Member *me = job.members + ith
    cdef bnf_merge_scratch scratch
    cdef int64_t i = bnf_ticket(&job.next)
    if i >= job.n_texts:
        return
    me.code = bnf_merge_begin(&scratch, job.n_bytes // <size_t>nth)
    if me.code == 0:
        me.code = reserve(job, me, <int64_t>(job.n_bytes // <size_t>(BYTES_PER_TOKEN * nth)))
    while me.code == 0:
        me.code = one_text(job, me, i, &scratch)
        if me.code < 0:
            break
        job.texts[i].member = ith
        if bnf_flag_read(&job.failed):
            break
        i = bnf_ticket(&job.next)
        if i >= job.n_texts:
            break
    if me.code < 0:
        me.failed = i
        memcpy(me.sentence, bnf_error_text(), strlen(bnf_error_text()) + 1)
        bnf_flag_raise(&job.failed)
    bnf_merge_free(&scratch)


# Texts are copied by those who have their tokens.
cdef void copy_texts(void *arg, int ith, int nth) noexcept nogil:
    cdef Job *job = <Job *>arg
    cdef const Member *me = job.members + ith
    cdef const Text *text
    cdef int64_t i
    for i in range(job.n_texts):
        text = job.texts + i
        if text.member != ith or text.n == 0:
            continue
        memcpy(job.tokens + job.offsets[i], me.tokens + text.first, <size_t>text.n * sizeof(int32_t))
        if job.ranged:
            memcpy(job.ranges + 2 * job.offsets[i], me.ranges + 2 * text.first, <size_t>text.n * 2 * sizeof(int32_t))


# ---- the call ----

# How long each text is, and all together. 0 or an error code.
cdef int measure(Job *job, const int64_t *lengths) noexcept nogil:
    cdef int64_t i
    cdef size_t length
    for i in range(job.n_texts):
        if job.given[i] == NULL and (lengths == NULL or lengths[i] != 0):
            return bnf_fail(BITNET_ERROR, "text %lld: NULL, expected %lld bytes", <long long>i,
                            <long long>(-1 if lengths == NULL else lengths[i]))
        length = strlen(job.given[i]) if lengths == NULL or lengths[i] < 0 else <size_t>lengths[i]
        if length > INT32_MAX:
            return bnf_fail(BITNET_ERROR_TOKENIZE, "text %lld: %zu bytes, expected at most %d", <long long>i, length, INT32_MAX)
        job.texts[i].length = length
        job.n_bytes += length   # at most 2^31 * 2^31
    return 0


# The sentence of the first text that failed, with its number.
cdef int report(const Job *job, int n_members) noexcept nogil:
    cdef const Member *first = NULL
    cdef int i
    for i in range(n_members):
        if job.members[i].code < 0 and (first == NULL or job.members[i].failed < first.failed):
            first = job.members + i
    if first == NULL:
        return 0
    return bnf_fail(first.code, "text %lld: %s", <long long>first.failed, first.sentence)


# With the texts measured and a member's place for each thread. Returns what bitnet_tokenize_batch returns.
cdef int64_t run(Job *job, bnf_pool *pool, int n_members, int64_t n_tokens_max, int64_t *offsets) noexcept nogil:
    cdef int64_t i, n = 0
    bnf_pool_run(pool, n_members, tokenize_texts, job)
    if report(job, n_members) < 0:
        return INT64_MIN
    for i in range(job.n_texts):
        offsets[i] = n
        n += job.texts[i].n
    offsets[job.n_texts] = n
    if n > n_tokens_max:
        return -n
    job.offsets = offsets
    bnf_pool_run(pool, n_members, copy_texts, job)
    return n


cdef public int64_t bitnet_tokenize_batch(const llama_model *vocab, const char *const *texts, const int64_t *lengths, int32_t n_texts,
                                          llama_token *tokens, int32_t *ranges, int64_t n_tokens_max, int64_t *offsets,
                                          uint32_t flags, int32_t n_threads) noexcept nogil:
    cdef Job job
    cdef bnf_pool *pool = NULL
    cdef int i, n_members
    cdef int64_t n = INT64_MIN
    bnf_clear_error()
    if vocab == NULL or vocab.vocab == NULL:
        bnf_fail(BITNET_ERROR, "vocab: NULL, expected a model")
        return INT64_MIN
    if n_texts < 0 or (texts == NULL and n_texts > 0):
        bnf_fail(BITNET_ERROR, "texts: NULL or a negative number of them (%d)", n_texts)
        return INT64_MIN
    if offsets == NULL:
        bnf_fail(BITNET_ERROR, "offsets: NULL, expected room for %lld numbers", <long long>n_texts + 1)
        return INT64_MIN
    memset(&job, 0, sizeof(job))
    job.vocab = <const bnf_vocab_t *>vocab.vocab
    job.given = texts
    job.n_texts = n_texts
    job.flags = flags
    job.tokens = tokens
    job.ranges = ranges
    job.ranged = tokens != NULL and ranges != NULL
    job.texts = <Text *>bnf_alloc_array(<size_t>n_texts, sizeof(Text))
    if job.texts != NULL and measure(&job, lengths) == 0:
        if n_threads <= 0:
            n_threads = bnf_pool_limit()
        n_members = <int>min(<int64_t>n_threads, min(<int64_t>n_texts, 1 + <int64_t>(job.n_bytes // BYTES_PER_THREAD)))
        pool = bnf_pool_new(max(n_members, 1))
    if pool != NULL:
        n_members = bnf_pool_size(pool)
        job.members = <Member *>bnf_alloc_array(<size_t>n_members, sizeof(Member))
        if job.members != NULL:
            n = run(&job, pool, n_members, n_tokens_max if tokens != NULL else 0, offsets)
            for i in range(n_members):
                bnf_release(job.members[i].tokens)
                bnf_release(job.members[i].ranges)
    bnf_release(job.members)
    bnf_release(job.texts)
    bnf_pool_free(pool)
    return n
