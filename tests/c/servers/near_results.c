/* Near caches answer as plain ones do: a random course of operations on both, threads on one cache, and callers that wait for a load.
   near_results redis|memcached [STEPS [SEED]] */
#include "near_copies.h"
#include "resp.h"

#include <pthread.h>

static server stored;

/* ---- A near cache beside a plain one ---- */

enum { KEYS = 12, TAGS = 3, BOTH = 2, MOST_KEYS = 5, LONG_MS = 600000, SHORT_MS = 5, CLOCKS_MS = 5000 };

/* The near cache, and the plain one under another prefix. */
static yc_cache *caches[BOTH];

/* What a course remembers of each key in each cache. */
typedef struct remembered {
    uint64_t version;
    yc_lease *lease;
} remembered;

static remembered known[BOTH][KEYS];
static unsigned seed;
static const char *now_doing = "";

static unsigned below(unsigned limit) { return (unsigned)rand_r(&seed) / 7 % limit; }

/* What an operation has answered. */
typedef struct outcome {
    yc_status status;
    char text[TEXT];
    long long number;
    bool has_lease;
} outcome;

/* Takes a value over, and frees it. */
static void take_value(outcome *self, yc_value *value) {
    size_t len = 0;
    const char *data = yc_value_data(value, &len);
    snprintf(self->text, TEXT, value ? "%.*s" : "(none)", (int)len, data ? data : "");
    yc_value_free(value);
}

static bool is_same(const outcome *near, const outcome *plain, long long tolerance) {
    long long apart = near->number > plain->number ? near->number - plain->number : plain->number - near->number;
    return near->status == plain->status && near->has_lease == plain->has_lease && apart <= tolerance && strcmp(near->text, plain->text) == 0;
}

static bool compare(const outcome results[BOTH], const char *key, long long tolerance) {
    if (CHECK(is_same(&results[0], &results[1], tolerance))) return true;
    for (int at = 0; at < BOTH; at++) {
        printf("  %s of %s %s: %s \"%s\" %lld%s\n", now_doing, key, at ? "plain" : "near", yc_status_name(results[at].status), results[at].text,
               results[at].number, results[at].has_lease ? " and a lease" : "");
    }
    return false;
}

/* The arguments of a step, the same for both caches. */
typedef struct step {
    unsigned key, keys[MOST_KEYS], count, condition;
    char name[TEXT], names[MOST_KEYS][TEXT], text[TEXT];
    yc_slice tags[TAGS], slices[MOST_KEYS], values[MOST_KEYS];
    size_t n_tags;
    int64_t ttl_ms, stale_for_ms, delta;
    uint32_t flags;
} step;

static const char *const TAG_NAMES[TAGS] = {"red", "green", "blue"};

static void choose(step *self, unsigned number) {
    *self = (step){.key = below(KEYS), .count = 1 + below(MOST_KEYS), .condition = 1 + below(3), .delta = (int64_t)below(20) - 10};
    snprintf(self->name, TEXT, "key-%u", self->key);
    snprintf(self->text, TEXT, below(3) ? "value-%u" : "%u", number);
    for (unsigned tag = 0; tag < TAGS; tag++) {
        if (below(3) == 0) self->tags[self->n_tags++] = slice(TAG_NAMES[tag]);
    }
    for (unsigned at = 0; at < self->count; at++) {
        self->keys[at] = (self->key + at) % KEYS;
        snprintf(self->names[at], TEXT, "key-%u", self->keys[at]);
        self->slices[at] = slice(self->names[at]);
        self->values[at] = slice(self->text);
    }
    self->ttl_ms = below(3) ? LONG_MS : YC_TTL_NEVER;
    self->stale_for_ms = below(3) ? 0 : LONG_MS;
    self->flags = below(4) ? 0 : YC_FILL_ABSENT;
}

typedef struct kind {
    const char *name;
    void (*run)(const step *of, int on, outcome *out);
    unsigned weight;
    long long tolerance;
    bool passes_time; /* It may leave an entry that is over after SHORT_MS. */
} kind;

static void run_get(const step *of, int on, outcome *out) {
    yc_value *value = NULL;
    out->status = yc_get(caches[on], of->name, strlen(of->name), &value, NULL);
    take_value(out, value);
}

/* A copy is that of the value that a get would return. */
static void run_get_near(const step *of, int on, outcome *out) {
    answered copy = {.status = YC_MISS};
    if (on == 0) copy = get_copy(caches[0], of->name);
    answered read = get_text(caches[on], of->name);
    out->status = read.status;
    snprintf(out->text, TEXT, "%s", copy.status == YC_OK ? copy.text : read.text);
    CHECK(copy.status == YC_MISS || copy.status == YC_OK);
}

static void run_set(const step *of, int on, outcome *out) {
    out->status = yc_set(caches[on], of->name, strlen(of->name), of->text, strlen(of->text), of->ttl_ms, of->tags, of->n_tags, NULL);
}

static void run_set_short(const step *of, int on, outcome *out) {
    out->status = yc_set(caches[on], of->name, strlen(of->name), of->text, strlen(of->text), SHORT_MS, of->tags, of->n_tags, NULL);
}

static void run_delete(const step *of, int on, outcome *out) { out->status = yc_delete(caches[on], of->name, strlen(of->name), NULL); }
static void run_exists(const step *of, int on, outcome *out) { out->status = yc_exists(caches[on], of->name, strlen(of->name), NULL); }
static void run_expire(const step *of, int on, outcome *out) { out->status = yc_expire(caches[on], of->name, strlen(of->name), of->ttl_ms, NULL); }
static void run_expire_short(const step *of, int on, outcome *out) { out->status = yc_expire(caches[on], of->name, strlen(of->name), SHORT_MS, NULL); }

static void run_ttl(const step *of, int on, outcome *out) {
    int64_t left = 0;
    out->status = yc_ttl(caches[on], of->name, strlen(of->name), &left, NULL);
    out->number = left;
}

static void run_invalidate(const step *of, int on, outcome *out) {
    out->status = yc_invalidate_tags(caches[on], of->tags, of->n_tags, NULL, NULL);
}

static void run_flush(const step *of, int on, outcome *out) { (void)of, out->status = yc_flush(caches[on], NULL, NULL); }

static void run_get_many(const step *of, int on, outcome *out) {
    yc_value *values[MOST_KEYS];
    yc_status statuses[MOST_KEYS];
    size_t len = 0;
    out->status = yc_get_many(caches[on], of->slices, of->count, values, statuses, NULL);
    for (unsigned at = 0; at < of->count; at++) {
        outcome one = {.status = statuses[at]};
        take_value(&one, values[at]);
        len += (size_t)snprintf(out->text + len, TEXT - len, "%.9s ", one.text + (strlen(one.text) > 9 ? strlen(one.text) - 9 : 0));
        out->number = out->number * 10 + one.status;
    }
}

static void run_set_many(const step *of, int on, outcome *out) {
    out->status = yc_set_many(caches[on], of->slices, of->values, of->count, of->ttl_ms, of->tags, of->n_tags, NULL, NULL);
}

static void run_delete_many(const step *of, int on, outcome *out) {
    yc_status statuses[MOST_KEYS];
    out->status = yc_delete_many(caches[on], of->slices, of->count, statuses, NULL);
    for (unsigned at = 0; at < of->count; at++) out->number = out->number * 10 + statuses[at];
}

static void run_count(const step *of, int on, outcome *out) {
    int64_t sum = 0;
    out->status = yc_counter_add(caches[on], of->name, strlen(of->name), of->delta, 5, of->ttl_ms, &sum, NULL);
    out->number = sum;
}

static void run_get_versioned(const step *of, int on, outcome *out) {
    yc_value *value = NULL;
    out->status = yc_get_versioned(caches[on], of->name, strlen(of->name), &value, &known[on][of->key].version, NULL);
    take_value(out, value);
}

static void run_set_if(const step *of, int on, outcome *out) {
    uint64_t *version = &known[on][of->key].version;
    int32_t condition = (int32_t)of->condition;
    if (condition == YC_IF_VERSION && *version == 0) condition = YC_IF_PRESENT;
    out->status = yc_set_if(caches[on], of->name, strlen(of->name), of->text, strlen(of->text), of->ttl_ms, of->tags, of->n_tags, condition,
                            condition == YC_IF_VERSION ? *version : 0, version, NULL);
}

static void run_delete_if(const step *of, int on, outcome *out) {
    uint64_t version = known[on][of->key].version;
    out->status = version ? yc_delete_if(caches[on], of->name, strlen(of->name), version, NULL) : YC_MISS;
}

static void run_get_and_expire(const step *of, int on, outcome *out) {
    yc_value *value = NULL;
    out->status = yc_get_and_expire(caches[on], of->name, strlen(of->name), of->ttl_ms, &value, NULL);
    take_value(out, value);
}

/* A lease of the key that is still held is given back first, on both sides. */
static void run_lease(const step *of, int on, outcome *out) {
    remembered *of_key = &known[on][of->key];
    yc_lease_options options = {.struct_size = sizeof options, .lease_ms = LONG_MS, .wait_ms = -1, .tags = of->tags, .n_tags = of->n_tags};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    out->status = yc_get_or_lease(caches[on], of->name, strlen(of->name), &options, &value, &lease, NULL);
    out->has_lease = lease != NULL;
    take_value(out, value);
    if (!lease) return;
    yc_lease_free(of_key->lease);
    of_key->lease = lease;
}

static void fill(const step *of, int on, outcome *out, int64_t ttl_ms) {
    yc_lease *lease = known[on][of->key].lease;
    yc_fill fill = {.struct_size = sizeof fill, .flags = of->flags, .value = of->text, .value_len = strlen(of->text), .ttl_ms = ttl_ms,
                    .stale_for_ms = of->stale_for_ms, .tags = of->tags, .n_tags = of->n_tags};
    known[on][of->key].lease = NULL;
    out->status = lease ? yc_lease_fill(lease, &fill, NULL) : YC_MISS;
    yc_lease_free(lease);
}

static void run_fill(const step *of, int on, outcome *out) { fill(of, on, out, LONG_MS); }
static void run_fill_short(const step *of, int on, outcome *out) { fill(of, on, out, SHORT_MS); }

static void run_abandon(const step *of, int on, outcome *out) {
    yc_lease *lease = known[on][of->key].lease;
    known[on][of->key].lease = NULL;
    out->status = lease ? yc_lease_abandon(lease, 0, NULL) : YC_MISS;
    yc_lease_free(lease);
}

static void run_batch(const step *of, int on, outcome *out) {
    yc_op ops[3];
    memset(ops, 0, sizeof ops);
    for (int at = 0; at < 3; at++) {
        ops[at].kind = at == 1 ? YC_OP_SET : YC_OP_GET;
        ops[at].key = of->name, ops[at].key_len = strlen(of->name);
        ops[at].flags = at == 0 && of->flags ? YC_OP_FRESH : 0;
    }
    ops[1].value = of->text, ops[1].value_len = strlen(of->text), ops[1].ttl_ms = of->ttl_ms;
    out->status = yc_batch(caches[on], ops, 3, sizeof *ops, NULL);
    for (int at = 0; at < 3; at++) {
        outcome one = {0};
        take_value(&one, ops[at].result);
        out->number = out->number * 10 + ops[at].status;
        if (at != 1) snprintf(out->text + strlen(out->text), TEXT - strlen(out->text), "%.20s ", one.text);
        yc_error_free(ops[at].error);
    }
}

static const kind KINDS[] = {
    {"get", run_get, 12, 0, false},           {"get_near", run_get_near, 12, 0, false},       {"set", run_set, 6, 0, false},
    {"set for a moment", run_set_short, 1, 0, true}, {"delete", run_delete, 3, 0, false},     {"exists", run_exists, 2, 0, false},
    {"expire", run_expire, 2, 0, false},      {"expire at once", run_expire_short, 1, 0, true}, {"ttl", run_ttl, 3, CLOCKS_MS, false},
    {"invalidate", run_invalidate, 3, 0, false}, {"get_many", run_get_many, 6, 0, false},     {"set_many", run_set_many, 2, 0, false},
    {"delete_many", run_delete_many, 1, 0, false}, {"counter_add", run_count, 3, 0, false},   {"get_versioned", run_get_versioned, 3, 0, false},
    {"set_if", run_set_if, 4, 0, false},      {"delete_if", run_delete_if, 2, 0, false},      {"get_and_expire", run_get_and_expire, 2, 0, false},
    {"get_or_lease", run_lease, 10, 0, false}, {"fill", run_fill, 5, 0, false},               {"fill for a moment", run_fill_short, 2, 0, true},
    {"abandon", run_abandon, 1, 0, false},    {"batch", run_batch, 3, 0, false},              {"flush", run_flush, 1, 0, false},
};

static const kind *choose_kind(void) {
    unsigned all = 0, at = 0;
    for (at = 0; at < sizeof KINDS / sizeof *KINDS; at++) all += KINDS[at].weight;
    unsigned left = below(all);
    for (at = 0; left >= KINDS[at].weight; at++) left -= KINDS[at].weight;
    return &KINDS[at];
}

static bool run_both(const kind *it, const step *of) {
    outcome results[BOTH] = {{.status = 0}, {.status = 0}};
    unsigned before = seed;
    now_doing = it->name;
    for (int on = 0; on < BOTH; on++) {
        seed = before;
        it->run(of, on, &results[on]);
    }
    return compare(results, of->name, it->tolerance);
}

/* `lasts`: copies last long enough that a part of the reads is served from them. */
static void check_same(const char *near_url, unsigned steps, bool lasts) {
    static const kind read_again = {"get afterwards", run_get_near, 0, 0, false};
    unsigned first_seed = seed;
    step of;
    memset(known, 0, sizeof known);
    caches[0] = open_cache(near_url);
    caches[1] = open_cache(server_url(&stored, "key_prefix=two&socket_timeout=10s"));
    CHECK(near_reaches(caches[0], "serving", 1));
    for (unsigned number = 0; number < steps; number++) {
        const kind *it = choose_kind();
        choose(&of, number);
        bool same = run_both(it, &of);
        if (it->passes_time) sleep_ms(4 * SHORT_MS);
        if (!same || !run_both(&read_again, &of)) {
            printf("  after step %u (%s) of the course with seed %u\n", number, it->name, first_seed);
            break;
        }
    }
    CHECK(near_number(caches[0], "hits") > (lasts ? (long long)steps / 20 : 0) && near_number(caches[0], "fills") > 0);
    CHECK(lasts || stored.kind == SERVER_REDIS || near_number(caches[0], "confirmed") > 0);
    for (int on = 0; on < BOTH; on++) {
        for (int key = 0; key < KEYS; key++) yc_lease_free(known[on][key].lease);
        close_cache(caches[on]);
    }
}

static void check_courses(unsigned steps) {
    check_same(server_url(&stored, "key_prefix=one&near=10s&socket_timeout=10s"), steps, true);
    check_same(server_url(&stored, "key_prefix=one&near=20ms&socket_timeout=10s"), steps, false);
    if (stored.kind != SERVER_REDIS) return;
    /* A user who may not have changes told. */
    char url[MAX_NEAR_URL];
    CHECK(tell(stored.port, "ACL SETUSER reader on >secret ~* &* +@all -client|tracking"));
    snprintf(url, sizeof url, "redis://reader:secret@127.0.0.1:%d?key_prefix=one&near=1s&socket_timeout=10s", stored.port);
    check_same(url, steps, true);
}

/* ---- Threads on one cache ---- */

enum { WRITERS = 3, READERS = 3, KEYS_OF_A_WRITER = 4, ALL_KEYS = WRITERS * KEYS_OF_A_WRITER };

static yc_cache *shared;
static atomic_uint returned[ALL_KEYS];
static atomic_bool ends;
static atomic_uint all_reads, all_sets, all_copies;

/* What a way to read has found: a number, or -1 for a miss of the copies. */
static long read_number(unsigned key, unsigned way) {
    char name[TEXT];
    snprintf(name, sizeof name, "counted-%u", key);
    answered read = {0};
    if (way % 4 == 0) {
        read = get_copy(shared, name);
        if (read.status == YC_MISS) return -1;
        atomic_fetch_add(&all_copies, 1);
    } else if (way % 4 == 1) {
        yc_slice slices[2] = {slice(name), slice("counted-0")};
        yc_value *values[2];
        read.status = yc_get_many(shared, slices, 2, values, NULL, NULL);
        outcome one = {0};
        take_value(&one, values[0]);
        snprintf(read.text, TEXT, "%s", one.text);
        yc_value_free(values[1]);
    } else if (way % 4 == 2) {
        yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
        yc_value *value = NULL;
        yc_lease *lease = NULL;
        outcome one = {0};
        read.status = yc_get_or_lease(shared, name, strlen(name), &options, &value, &lease, NULL);
        take_value(&one, value);
        snprintf(read.text, TEXT, "%s", one.text);
        yc_lease_free(lease);
    } else {
        read = get_text(shared, name);
    }
    atomic_fetch_add(&all_reads, 1);
    if (!CHECK_STATUS(read.status, YC_OK)) return -1;
    return strtol(read.text, NULL, 10);
}

static bool set_number(unsigned key, unsigned number) {
    char name[TEXT], text[TEXT];
    snprintf(name, sizeof name, "counted-%u", key);
    snprintf(text, sizeof text, "%u", number);
    atomic_fetch_add(&all_sets, 1);
    return CHECK_STATUS(set_text(shared, name, text, YC_TTL_NEVER, NULL), YC_OK);
}

static void *write_numbers(void *data) {
    unsigned writer = *(unsigned *)data, way = writer;
    for (unsigned number = 2; !atomic_load(&ends); number++) {
        for (unsigned key = writer * KEYS_OF_A_WRITER; key < (writer + 1) * KEYS_OF_A_WRITER; key++) {
            if (!set_number(key, number)) return NULL;
            atomic_store(&returned[key], number);
            for (int times = 0; times < 3; times++) {
                long read = read_number(key, way++);
                if (!CHECK(read == -1 || read == (long)number)) printf("  the writer of %u read %ld\n", number, read);
            }
        }
        sleep_ms(1);
    }
    return NULL;
}

static void *read_numbers(void *data) {
    unsigned own = *(unsigned *)data + 1, way = own;
    while (!atomic_load(&ends)) {
        unsigned key = (unsigned)rand_r(&own) / 5 % ALL_KEYS;
        long floor = atomic_load(&returned[key]), read = read_number(key, way++);
        if (!CHECK(read == -1 || read >= floor)) printf("  %ld was read after the set of %ld had returned\n", read, floor);
    }
    return NULL;
}

static void check_threads(long milliseconds) {
    pthread_t threads[WRITERS + READERS];
    unsigned numbers[WRITERS + READERS];
    shared = open_cache(server_url(&stored, "key_prefix=threads&near=1s&socket_timeout=10s"));
    CHECK(near_reaches(shared, "serving", 1));
    for (unsigned key = 0; key < ALL_KEYS; key++) {
        set_number(key, 1);
        atomic_store(&returned[key], 1);
    }
    for (unsigned at = 0; at < WRITERS + READERS; at++) {
        numbers[at] = at < WRITERS ? at : at - WRITERS;
        if (!CHECK(pthread_create(&threads[at], NULL, at < WRITERS ? write_numbers : read_numbers, &numbers[at]) == 0)) exit(check_result());
    }
    sleep_ms(milliseconds);
    atomic_store(&ends, true);
    for (unsigned at = 0; at < WRITERS + READERS; at++) pthread_join(threads[at], NULL);
    printf("%u sets, %u reads, %u of copies alone, %lld fills, %lld revoked\n", all_sets, all_reads, all_copies, near_number(shared, "fills"),
           near_number(shared, "revoked_fills"));
    CHECK(all_copies > 0 && near_number(shared, "fills") > 0);
    close_cache(shared);
}

/* ---- Callers that wait for the load of another ---- */

typedef struct waiter {
    yc_cache *cache;
    const char *key;
    atomic_bool begun;
    outcome out;
} waiter;

static void *wait_for_load(void *data) {
    waiter *self = data;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 20000};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    atomic_store(&self->begun, true);
    self->out.status = yc_get_or_lease(self->cache, self->key, strlen(self->key), &options, &value, &lease, NULL);
    self->out.has_lease = lease != NULL;
    take_value(&self->out, value);
    yc_lease_free(lease);
    return NULL;
}

static void check_waiters(void) {
    static const char options[] = "key_prefix=waits&near=1s&socket_timeout=10s";
    yc_cache *loads = open_cache(server_url(&stored, options)), *waits = open_cache(server_url(&stored, options));
    for (int turn = 0; turn < 20; turn++) {
        char key[TEXT];
        snprintf(key, sizeof key, "load-%d", turn);
        yc_lease_options lease_options = {.struct_size = sizeof lease_options, .wait_ms = -1, .lease_ms = 60000};
        yc_fill fill = {.struct_size = sizeof fill, .value = key, .value_len = strlen(key), .ttl_ms = 60000};
        yc_value *value = NULL;
        yc_lease *lease = NULL;
        waiter self = {.cache = waits, .key = key};
        pthread_t thread;
        CHECK_STATUS(yc_get_or_lease(loads, key, strlen(key), &lease_options, &value, &lease, NULL), YC_LEASED);
        if (!CHECK(pthread_create(&thread, NULL, wait_for_load, &self) == 0)) exit(check_result());
        while (!atomic_load(&self.begun)) sleep_ms(1);
        sleep_ms(turn * 3);
        CHECK_STATUS(yc_lease_fill(lease, &fill, NULL), YC_OK);
        pthread_join(thread, NULL);
        yc_lease_free(lease);
        if (!CHECK(self.out.status == YC_OK && !self.out.has_lease && strcmp(self.out.text, key) == 0)) {
            printf("  %s \"%s\"\n", yc_status_name(self.out.status), self.out.text);
        }
        CHECK(has_copy(waits, key, key) && has_copy(loads, key, key));
    }
    close_cache(loads);
    close_cache(waits);
}

int main(int argc, char **argv) {
    bool redis = argc < 2 || strcmp(argv[1], "memcached") != 0;
    unsigned steps = argc > 2 ? (unsigned)atoi(argv[2]) : 3000;
    int threads = count_threads(), files = count_files();
    seed = argc > 3 ? (unsigned)atoi(argv[3]) : (unsigned)time(NULL);
    server_start(&stored, redis ? SERVER_REDIS : SERVER_MEMCACHED, NULL);
    check_courses(steps);
    check_waiters();
    check_threads(4000);
    CHECK(threads_are(threads) && count_files() <= files);
    server_stop(&stored);
    return check_result();
}
