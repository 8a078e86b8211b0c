/* What this machine can do at most: bytes read from memory, and int8 multiply-adds, per second, by a number of threads.
 * A program of its own, compiled with -march=native: `roofs read THREADS MIB PASSES` or `roofs mac THREADS MS PASSES`.
 * Prints one line for each pass: seconds and what was done in them (bytes, or multiply-adds). Next: roofs.py. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

typedef uint64_t line_t __attribute__((vector_size(64), may_alias));

static struct {
    int mac, n_threads, n_passes;
    uint64_t amount;          /* bytes in all, or milliseconds */
    const uint8_t *memory;
    pthread_barrier_t barrier;
    uint64_t sink;            /* atomic: keeps the sums alive */
} job;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sums a range. Prefetching 2 KiB ahead carries the stream over the borders of pages. */
static uint64_t read_range(const uint8_t *at, const uint8_t *end)
{
    line_t a = {0}, b = {0}, c = {0}, d = {0};
    for (; at < end; at += 256) {
        for (int i = 0; i < 256; i += 64)
            __builtin_prefetch(at + 2048 + i);
        a += *(const line_t *)at;
        b += *(const line_t *)(at + 64);
        c += *(const line_t *)(at + 128);
        d += *(const line_t *)(at + 192);
    }
    a += b + c + d;
    return a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
}

/* `steps` rounds of 12 independent products in registers: nothing but the multiplier can be the limit. The empty asm keeps
 * the compiler from joining the rounds. Returns the multiply-adds of a round. */
#if defined(__AVX512VNNI__)
#define MAC_NAME "vpdpbusd, 512 bits"
#define MACS 64
typedef __m512i vec_t;
#define BYTES(n) _mm512_set1_epi8(n)
#define ZERO _mm512_setzero_si512()
#define MAC(acc) acc = _mm512_dpbusd_epi32(acc, x, y); __asm__ volatile("" : "+v"(acc));
#elif defined(__AVX2__)
#define MAC_NAME "vpmaddubsw and vpaddw, 256 bits"
#define MACS 32
typedef __m256i vec_t;
#define BYTES(n) _mm256_set1_epi8(n)
#define ZERO _mm256_setzero_si256()
#define MAC(acc) \
    __asm__ volatile("" : "+x"(x)); \
    acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(x, y)); \
    __asm__ volatile("" : "+x"(acc));
#elif defined(__ARM_FEATURE_DOTPROD)
#define MAC_NAME "sdot"
#define MACS 16
typedef int32x4_t vec_t;
#define BYTES(n) vreinterpretq_s32_s8(vdupq_n_s8(n))
#define ZERO vdupq_n_s32(0)
#define MAC(acc) acc = vdotq_s32(acc, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y)); __asm__ volatile("" : "+w"(acc));
#endif

#if defined(MAC_NAME)
static uint64_t mac_rounds(uint64_t steps)
{
    vec_t x = BYTES(3), y = BYTES(-5); /* not an array of accumulators: gcc 12 would keep that in memory, at half the speed */
    vec_t a = ZERO, b = ZERO, c = ZERO, d = ZERO, e = ZERO, f = ZERO;
    vec_t g = ZERO, h = ZERO, i = ZERO, j = ZERO, k = ZERO, l = ZERO;
    for (uint64_t s = 0; s < steps; s++) {
        MAC(a) MAC(b) MAC(c) MAC(d) MAC(e) MAC(f) MAC(g) MAC(h) MAC(i) MAC(j) MAC(k) MAC(l)
    }
    return 12 * MACS;
}
#else
#define MAC_NAME "none"
static uint64_t mac_rounds(uint64_t steps)
{
    (void)steps;
    return 0;
}
#endif

static void *work(void *argument)
{
    const int ith = (int)(intptr_t)argument;
    const uint64_t lines = job.amount / 256;
    const uint8_t *begin = job.memory + lines * (uint64_t)ith / (uint64_t)job.n_threads * 256;
    const uint8_t *end = job.memory + lines * (uint64_t)(ith + 1) / (uint64_t)job.n_threads * 256;
    uint64_t steps = 1 << 16, macs = 0;
    if (job.mac) { /* about `amount` milliseconds a pass, as thread speeds go */
        const double t0 = seconds();
        macs = mac_rounds(steps);
        steps = (uint64_t)((double)steps * 1e-3 * (double)job.amount / (seconds() - t0)) + 1;
        static uint64_t common; /* all threads do the same number of rounds: thread 0's */
        if (ith == 0)
            common = steps;
        pthread_barrier_wait(&job.barrier);
        steps = common;
    }
    for (int pass = 0; pass < job.n_passes; pass++) {
        pthread_barrier_wait(&job.barrier);
        const double t0 = seconds();
        if (job.mac)
            mac_rounds(steps);
        else
            __atomic_fetch_add(&job.sink, read_range(begin, end), __ATOMIC_RELAXED);
        pthread_barrier_wait(&job.barrier);
        if (ith == 0)
            printf("%.9f %.0f\n", seconds() - t0,
                   job.mac ? (double)macs * (double)steps * job.n_threads : (double)(lines * 256));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: roofs read|mac THREADS MIB|MS PASSES\n");
        return 2;
    }
    job.mac = strcmp(argv[1], "mac") == 0;
    job.n_threads = atoi(argv[2]);
    job.amount = strtoull(argv[3], NULL, 10) << (job.mac ? 0 : 20);
    job.n_passes = atoi(argv[4]);
    if (job.n_threads < 1 || job.n_threads > 1024 || job.amount == 0) {
        fprintf(stderr, "roofs: THREADS and the amount must be positive\n");
        return 2;
    }
    printf("%s\n", job.mac ? MAC_NAME : "read");
    if (!job.mac) {
        /* 4 KiB more: the prefetches of the last lines stay inside. Huge pages, as packed weights get them. */
        void *memory = mmap(NULL, job.amount + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            fprintf(stderr, "roofs: no memory for a buffer of %s MiB\n", argv[3]);
            return 1;
        }
        madvise(memory, job.amount, MADV_HUGEPAGE);
        memset(memory, 1, job.amount + 4096);
        job.memory = memory;
    }
    pthread_barrier_init(&job.barrier, NULL, (unsigned)job.n_threads);
    pthread_t threads[1024];
    for (int i = 1; i < job.n_threads; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) != 0) {
            fprintf(stderr, "roofs: cannot start %d threads\n", job.n_threads);
            return 1;
        }
    work(NULL);
    for (int i = 1; i < job.n_threads; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
