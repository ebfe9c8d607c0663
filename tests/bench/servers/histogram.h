/* A histogram of durations, 64 buckets for each power of two: at most 1/64 too short. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { BUCKETS = 64 * 36 };

static inline int bucket_of(uint64_t nanoseconds)
{
    int shift = nanoseconds < 128 ? 0 : 57 - __builtin_clzll(nanoseconds);
    int bucket = shift * 64 + (int)(nanoseconds >> shift);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static inline double microseconds_of(int bucket)
{
    int shift = bucket < 128 ? 0 : bucket / 64 - 1;
    return (double)((uint64_t)(bucket - shift * 64) << shift) / 1e3;
}

#endif
