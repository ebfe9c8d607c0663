/* Concurrent setters and invalidators of shared tags, or with barriers of shared patterns, in several processes: no read that begins after an invalidation has returned
   finds an entry that was set before the invalidation began; and when all is invalidated at the end, nothing is left.

   Whether a set came before is known for certain: `begun` of a tag is raised before each of its invalidations, `returned`
   after it, and a setter writes down what `begun` was when its set had returned. An invalidation whose number is higher
   began later, so once `returned` has reached it that set's entry must not be read. A set that was under way when an
   invalidation began is judged by the next one.

   race [SECONDS [barriers]], or YC_RACE_SECONDS; 10. Caches that share nothing are raced by threads on one cache. With barriers a
   "tag" is a part of the key, and its pattern matches the keys that have it. */
#include "numbered.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { SETTERS = 3, READERS = 2, INVALIDATORS = 2, WORKERS = SETTERS + READERS + INVALIDATORS };
enum { TAGS = 6, KEYS = 48, TAGS_A_KEY = 2, MAX_SETS = 1 << 22, UNFINISHED = 0 };

/* What `begun` of a set's tags was when it had returned, plus one. */
typedef struct finished {
    atomic_uint begun[TAGS_A_KEY];
} finished;

/* What all workers see. */
typedef struct course {
    atomic_uint begun[TAGS], returned[TAGS];
    atomic_bool setters_end, others_end;
    atomic_uint sets, hits, misses, invalidations, errors, stale, foreign;
    finished sets_of[SETTERS][MAX_SETS];
} course;

/* What an entry holds. */
typedef struct content {
    unsigned key, setter, set;
} content;

typedef struct worker {
    unsigned number, seed;
    yc_cache *cache; /* NULL: opens its own. */
    pthread_t thread;
    pid_t process;
} worker;

static course *shared;
static char url[512];
static bool has_barriers;

/* ---- Keys and their tags ---- */

static unsigned tag_of(unsigned key, unsigned which) { return which ? 3 + key % 3 : key / 3 % 3; }

static yc_slice tag_slice(char *name, unsigned tag) {
    return (yc_slice){name, (size_t)snprintf(name, NUMBERED_KEY, "tag-%u", tag)};
}

/* The parts of a key are its tags. */
static size_t key_of(char *name, unsigned key) {
    if (!has_barriers) return numbered_key(name, key);
    return (size_t)snprintf(name, NUMBERED_KEY, "%u:%u:%u", tag_of(key, 0), tag_of(key, 1), key);
}

static yc_status invalidate_by_name(yc_cache *cache, unsigned tag) {
    char name[NUMBERED_KEY];
    yc_slice slice = tag_slice(name, tag);
    if (!has_barriers) return yc_invalidate_tag(cache, slice.data, slice.len, NULL, NULL);
    size_t len = (size_t)snprintf(name, sizeof name, tag < 3 ? "%u:*" : "?:%u:*", tag);
    return yc_invalidate_pattern(cache, name, len, NULL, NULL);
}

static bool has_failed(yc_status status, const char *what) {
    if (status >= 0) return false;
    if (atomic_fetch_add(&shared->errors, 1) < 5) printf("  %s: %s\n", what, yc_status_name(status));
    return true;
}

/* ---- Setters ---- */

static void set_one(yc_cache *cache, unsigned setter, unsigned set, unsigned key_number) {
    char key[NUMBERED_KEY], names[TAGS_A_KEY][NUMBERED_KEY];
    size_t key_len = key_of(key, key_number);
    content value = {key_number, setter, set};
    yc_slice tags[TAGS_A_KEY];
    for (unsigned at = 0; at < TAGS_A_KEY; at++) tags[at] = tag_slice(names[at], tag_of(key_number, at));
    size_t n_tags = has_barriers ? 0 : TAGS_A_KEY;
    if (has_failed(yc_set(cache, key, key_len, &value, sizeof value, 60000, tags, n_tags, NULL), "set")) return;
    finished *done = &shared->sets_of[setter][set];
    for (unsigned at = 0; at < TAGS_A_KEY; at++) {
        atomic_store(&done->begun[at], atomic_load(&shared->begun[tag_of(key_number, at)]) + 1);
    }
    atomic_fetch_add(&shared->sets, 1);
}

static void run_setter(worker *self, unsigned setter) {
    for (unsigned set = 0; set < MAX_SETS && !atomic_load(&shared->setters_end); set++) {
        set_one(self->cache, setter, set, (unsigned)rand_r(&self->seed) % KEYS);
    }
}

/* ---- Invalidators: each has tags of its own, so that their numbers are in order ---- */

static void invalidate(yc_cache *cache, unsigned tag) {
    unsigned number = atomic_fetch_add(&shared->begun[tag], 1) + 1;
    if (has_failed(invalidate_by_name(cache, tag), "invalidate")) return;
    atomic_store(&shared->returned[tag], number);
    atomic_fetch_add(&shared->invalidations, 1);
}

static void run_invalidator(worker *self, unsigned invalidator) {
    while (!atomic_load(&shared->others_end)) {
        unsigned tag = (unsigned)rand_r(&self->seed) % (TAGS / INVALIDATORS) * INVALIDATORS + invalidator;
        invalidate(self->cache, tag);
        sleep_ms(rand_r(&self->seed) % 3);
    }
}

/* ---- Readers ---- */

static bool is_sound(const content *value, size_t len, unsigned key) {
    return len == sizeof *value && value->key == key && value->setter < SETTERS && value->set < MAX_SETS;
}

/* `returned` is what it was before the read began. */
static void judge(const content *value, size_t len, unsigned key, const unsigned *returned) {
    if (!is_sound(value, len, key)) {
        atomic_fetch_add(&shared->foreign, 1);
        return;
    }
    for (unsigned at = 0; at < TAGS_A_KEY; at++) {
        unsigned begun = atomic_load(&shared->sets_of[value->setter][value->set].begun[at]);
        if (begun == UNFINISHED || returned[at] <= begun - 1) continue;
        if (atomic_fetch_add(&shared->stale, 1) < 5) printf("  key-%u of before invalidation %u was read after %u\n", key, begun, returned[at]);
    }
}

static bool read_one(yc_cache *cache, unsigned key_number) {
    char key[NUMBERED_KEY];
    size_t key_len = key_of(key, key_number), len = 0;
    unsigned returned[TAGS_A_KEY];
    content value;
    for (unsigned at = 0; at < TAGS_A_KEY; at++) returned[at] = atomic_load(&shared->returned[tag_of(key_number, at)]);
    yc_status status = yc_get_into(cache, key, key_len, &value, sizeof value, &len, NULL);
    has_failed(status, "get");
    if (status == YC_OK) judge(&value, len, key_number, returned);
    atomic_fetch_add(status == YC_OK ? &shared->hits : &shared->misses, 1);
    return status == YC_OK;
}

static void run_reader(worker *self) {
    while (!atomic_load(&shared->others_end)) read_one(self->cache, (unsigned)rand_r(&self->seed) % KEYS);
}

/* ---- Workers: processes, or threads on one cache ---- */

static void run_role(worker *self) {
    if (self->number < SETTERS) run_setter(self, self->number);
    else if (self->number < SETTERS + READERS) run_reader(self);
    else run_invalidator(self, self->number - SETTERS - READERS);
}

static void *run_thread(void *argument) {
    run_role(argument);
    return NULL;
}

static void run_process(worker *self) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    self->cache = open_cache(url);
    run_role(self);
    close_cache(self->cache);
    fflush(stdout);
    _exit(atomic_load(&checks_failed) != 0);
}

static void start(worker *self, unsigned number, yc_cache *cache) {
    *self = (worker){.number = number, .seed = number + 1, .cache = cache};
    fflush(stdout);
    if (cache) CHECK(pthread_create(&self->thread, NULL, run_thread, self) == 0);
    else if ((self->process = fork()) == 0) run_process(self);
    CHECK(self->process >= 0);
}

static void join(worker *self) {
    int status = 0;
    if (self->cache) pthread_join(self->thread, NULL);
    else CHECK(waitpid(self->process, &status, 0) == self->process && status == 0);
}

/* ---- The race ---- */

/* Setters end first; what they left is then forgotten by one invalidation. */
static void race(yc_cache *cache, int seconds) {
    worker workers[WORKERS];
    for (unsigned at = 0; at < WORKERS; at++) start(&workers[at], at, cache);
    sleep_ms(seconds * 1000L);
    atomic_store(&shared->setters_end, true);
    for (unsigned at = 0; at < SETTERS; at++) join(&workers[at]);
    atomic_store(&shared->others_end, true);
    for (unsigned at = SETTERS; at < WORKERS; at++) join(&workers[at]);
}

static void check_nothing_survives(yc_cache *cache) {
    unsigned survivors = 0;
    for (unsigned tag = 0; tag < TAGS; tag++) invalidate(cache, tag);
    for (unsigned key = 0; key < KEYS; key++) survivors += read_one(cache, key);
    if (!CHECK(survivors == 0)) printf("  %u of %u keys survived\n", survivors, (unsigned)KEYS);
}

static void report(void) {
    printf("%u sets, %u hits, %u misses, %u invalidations; %u errors, %u stale, %u foreign\n", shared->sets, shared->hits,
           shared->misses, shared->invalidations, shared->errors, shared->stale, shared->foreign);
    CHECK(shared->sets > 0 && shared->hits > 0 && shared->misses > 0 && shared->invalidations > 0);
    CHECK(shared->errors == 0 && shared->stale == 0 && shared->foreign == 0);
}

static bool can_share(void) {
    uint64_t can = 0;
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(yc_capabilities(cache, &can, NULL), YC_OK);
    close_cache(cache);
    return can & YC_CAN_SHARE;
}

static int seconds_to_run(int count, char **arguments) {
    const char *text = count > 1 ? arguments[1] : getenv("YC_RACE_SECONDS");
    return text ? atoi(text) : 10;
}

int main(int count, char **arguments) {
    /* Time enough for a machine that is busy: a call that is lost fails all the same. */
    const char *patience = strncmp(test_url(), "memory:", 7) ? "&socket_timeout=10s" : "";
    has_barriers = count > 2 && strcmp(arguments[2], "barriers") == 0;
    snprintf(url, sizeof url, "%s%ckey_prefix=race%ld%s%s", test_url(), strchr(test_url(), '?') ? '&' : '?', (long)getpid(), patience,
             has_barriers ? "&patterns=barrier" : "");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) return 1;
    bool processes = can_share();
    yc_cache *cache = processes ? NULL : open_cache(url);
    race(cache, seconds_to_run(count, arguments));
    if (processes) cache = open_cache(url); /* After the forks: a child may not inherit one. */
    check_nothing_survives(cache);
    report();
    yc_flush(cache, NULL, NULL);
    close_cache(cache);
    return check_result();
}
