/* What the processes of the staleness test share, for C and C++: a file of words of 64 bits, in blocks of 64 words.

   Block 0          word 0: 1 once the processes have to end
   Blocks 1 to 4    the counters of each process: see below
   Blocks 5 to 52   the keys: word 0 is the bound, the words behind it are the times of the last 63 numbers

   The values of a key are numbers that only grow. Once a change has returned, its writer puts the time into the word of its
   number, and then the number into the bound: whoever reads the key from then on may not get a smaller one, except from a
   copy that is not older than max_staleness. The upper half of the bound is part of the name of the key: a write that failed
   may happen later, so its name is not used any more. Times are those of CLOCK_MONOTONIC, in nanoseconds. A reader that is
   interrupted, and finds words that are too new, only gets a weaker check. */
#ifndef STALENESS_H
#define STALENESS_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 4, OWNED = 12, KEYS = PROCESSES * OWNED, BLOCK = 64, TIMES = BLOCK - 1, GROUP = 3, FIRST_TAGGED = 6 };
/* A key is changed up to so many times, one after the other, and then left alone. */
enum { BURST = 4 };
enum { TABLE_SIZE = (1 + PROCESSES + KEYS) * BLOCK * 8 };
/* How many failures a process prints. */
enum { SHOWN = 5 };

/* The counters of a process. */
enum { READS, COPIES, MISSES, ERRORS, WRITES, FAILED_WRITES, WORST_NS, FAILURES, COUNTERS };

typedef struct table {
    uint64_t *words;
    int process;
    uint64_t max_staleness;
} table;

/* A key as it is before a read. */
typedef struct place {
    int key;
    uint64_t bound, began;
    char name[32];
    size_t name_len;
} place;

static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t *map_table(const char *path) {
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *words = file < 0 ? MAP_FAILED : mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (words == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(file);
    return (uint64_t *)words;
}

/* Of the arguments of a process: URL FILE PROCESS MAX-STALENESS-MS. */
static inline table open_table(char **arguments) {
    table self;
    self.words = map_table(arguments[2]);
    self.process = atoi(arguments[3]);
    self.max_staleness = strtoull(arguments[4], NULL, 10) * 1000000;
    return self;
}

static inline bool is_ending(const table *self) { return __atomic_load_n(self->words, __ATOMIC_ACQUIRE) != 0; }

static inline uint64_t *counter(const table *self, int process, int which) { return self->words + (1 + process) * BLOCK + which; }

static inline void count(const table *self, int which, uint64_t more) {
    __atomic_fetch_add(counter(self, self->process, which), more, __ATOMIC_RELAXED);
}

static inline uint64_t *block_of(const table *self, int key) { return self->words + (1 + PROCESSES + key) * BLOCK; }

/* ---- Writing ---- */

/* From now on no number of the key below this one may be read. */
static inline void publish(const table *self, int key, uint64_t generation, uint64_t number) {
    uint64_t *block = block_of(self, key);
    __atomic_store_n(block + 1 + number % TIMES, clock_ns(), __ATOMIC_RELEASE);
    __atomic_store_n(block, generation << 32 | number, __ATOMIC_RELEASE);
}

static inline size_t name_key(char *name, size_t size, int key, uint64_t generation) {
    return (size_t)snprintf(name, size, "key-%d.%" PRIu64, key, generation);
}

static inline bool is_tagged(int key) { return key % OWNED >= FIRST_TAGGED; }

static inline size_t name_tag(char *name, size_t size, int key) { return (size_t)snprintf(name, size, "tag-%d", key / GROUP); }

/* A key of this process. */
static inline int choose_key(const table *self, unsigned *seed) { return self->process * OWNED + rand_r(seed) % OWNED; }

/* ---- Reading ---- */

static inline place place_of(const table *self, int key) {
    place at;
    at.key = key;
    at.bound = __atomic_load_n(block_of(self, key), __ATOMIC_ACQUIRE);
    at.name_len = name_key(at.name, sizeof at.name, key, at.bound >> 32);
    at.began = clock_ns();
    return at;
}

static inline void note_worst(const table *self, uint64_t age) {
    uint64_t *worst = counter(self, self->process, WORST_NS), known = __atomic_load_n(worst, __ATOMIC_RELAXED);
    while (age > known && !__atomic_compare_exchange_n(worst, &known, age, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
}

/* Checks a value that was read at a place. */
static inline void take_value(const table *self, const place *at, const char *bytes, size_t len, const char *call) {
    char text[24];
    snprintf(text, sizeof text, "%.*s", (int)len, bytes);
    uint64_t number = strtoull(text, NULL, 10), bound = at->bound & UINT32_MAX;
    if (number >= bound) return;
    /* The first change after it whose time is known. */
    uint64_t next = bound - number >= TIMES ? bound - (TIMES - 1) : number + 1;
    uint64_t since = __atomic_load_n(block_of(self, at->key) + 1 + next % TIMES, __ATOMIC_ACQUIRE);
    uint64_t age = at->began > since ? at->began - since : 0;
    bool is_own = at->key / OWNED == self->process;
    if (!is_own) note_worst(self, age);
    if (!is_own && age <= self->max_staleness) return;
    if (__atomic_fetch_add(counter(self, self->process, FAILURES), 1, __ATOMIC_RELAXED) >= SHOWN) return;
    printf("FAILED process %d: %s of %s returned %s %.1f ms after %" PRIu64 " was stored (now %" PRIu64 ")\n", self->process, call,
           at->name, text, (double)age / 1e6, next, bound);
}

#endif
