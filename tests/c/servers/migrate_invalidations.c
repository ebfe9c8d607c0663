/* What is invalidated while a migration runs stays invalid, between any two backends: a tag, tags, a pattern, a key, all;
   at the target and at the source; by this handle, by another handle, and (a tag at the source) by another process. */
#include "numbered.h"
#include "server.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* `CHANGED` entries have what is invalidated, the others stay. */
enum { ENTRIES = 900, CHANGED = 3, PAIRS = 3, CONFIG = 256 };

typedef enum change { TAG, TAGS, PATTERN, DELETE, DELETE_MANY, FLUSH, CHANGES } change;
static const char *const CHANGE_NAMES[] = {"tag", "tags", "pattern", "delete", "delete_many", "flush"};

static char configs[PAIRS][2][CONFIG];

static bool is_changed(int at) { return at % CHANGED == 0; }

static size_t key_of(char *key, int at) { return (size_t)sprintf(key, "%s:%d", is_changed(at) ? "changed" : "kept", at); }

static void set_entries(yc_cache *cache) {
    yc_slice changed[] = {slice("common"), slice("changed")}, kept[] = {slice("common"), slice("kept")};
    char key[64];
    for (int at = 0; at < ENTRIES; at++) {
        size_t len = key_of(key, at);
        CHECK_STATUS(yc_set(cache, key, len, "old", 3, 600000, is_changed(at) ? changed : kept, 2, NULL), YC_OK);
    }
}

/* ---- One change ---- */

static void delete_each(yc_cache *cache) {
    char key[64];
    for (int at = 0; at < ENTRIES; at += CHANGED) {
        CHECK(yc_delete(cache, key, key_of(key, at), NULL) >= 0);
    }
}

static void delete_together(yc_cache *cache) {
    static char keys[ENTRIES][32];
    static yc_slice slices[ENTRIES];
    size_t count = 0;
    for (int at = 0; at < ENTRIES; at += CHANGED, count++) slices[count] = (yc_slice){keys[count], key_of(keys[count], at)};
    CHECK_STATUS(yc_delete_many(cache, slices, count, NULL, NULL), YC_OK);
}

static void make(yc_cache *cache, change what) {
    yc_slice tags[] = {slice("unknown"), slice("changed")};
    switch (what) {
    case TAG: CHECK_STATUS(yc_invalidate_tag(cache, "changed", 7, NULL, NULL), YC_OK); break;
    case TAGS: CHECK_STATUS(yc_invalidate_tags(cache, tags, 2, NULL, NULL), YC_OK); break;
    case PATTERN: CHECK_STATUS(yc_invalidate_pattern(cache, "changed:*", 9, NULL, NULL), YC_OK); break;
    case DELETE: delete_each(cache); break;
    case DELETE_MANY: delete_together(cache); break;
    default: CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    }
}

/* ---- In the middle of a migration ---- */

typedef struct middle {
    yc_cache *cache;
    change what;
    uint64_t copied;
    bool is_done, in_another_process;
} middle;

static void make_in_another_process(const middle *self) {
    char tag[] = "changed", url[CONFIG];
    snprintf(url, sizeof url, "%s", (const char *)configs[self->what][0]);
    pid_t child = fork();
    if (child == 0) {
        execl(getenv("YC_SELF"), "migrate_invalidations", "invalidate", url, tag, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
}

static int32_t change_in_the_middle(void *data, const yc_progress *progress) {
    middle *self = data;
    if (self->is_done || progress->examined < ENTRIES / 2) return 0;
    self->is_done = true;
    self->copied = progress->copied;
    if (self->in_another_process) make_in_another_process(self);
    else make(self->cache, self->what);
    return 0;
}

static void print_report(yc_value *report) {
    size_t len = 0;
    const char *text = yc_value_data(report, &len);
    printf("  %.*s\n", (int)len, text);
}

static int count_readable(yc_cache *cache, bool changed) {
    char key[64];
    int readable = 0;
    for (int at = 0; at < ENTRIES; at++) {
        if (is_changed(at) == changed) readable += yc_exists(cache, key, key_of(key, at), NULL) == YC_OK;
    }
    return readable;
}

static void migrate_through(yc_cache *source, yc_cache *target, middle *change) {
    yc_value *report = NULL;
    yc_error *error = NULL;
    if (!CHECK_STATUS(yc_migrate(source, target, "{rate: 100000}", change_in_the_middle, change, NULL, &report, &error), YC_OK)) {
        printf("  %s\n", yc_error_message(error));
    }
    CHECK(change->is_done && change->copied > 0 && change->copied < ENTRIES);
    int changed = count_readable(target, true), kept = count_readable(target, false);
    if (!CHECK(changed == 0)) print_report(report);
    /* Others arrive; a flush at the source empties what was copied, one at the target ends the copying. */
    if (change->what == FLUSH) CHECK(kept == 0 || source != change->cache);
    else if (!CHECK(kept == ENTRIES - ENTRIES / CHANGED)) print_report(report);
    yc_value_free(report);
    yc_error_free(error);
}

static void empty(yc_cache *source, yc_cache *target) {
    CHECK_STATUS(yc_flush(source, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(target, NULL, NULL), YC_OK);
}

static void check_pair(const char *from, const char *to, const char *name) {
    yc_cache *source = open_cache(from), *target = open_cache(to);
    for (change what = TAG; what < CHANGES; what++) {
        for (int at_target = 0; at_target < 2; at_target++) {
            middle other_side = {.cache = at_target ? target : source, .what = what};
            int failed = atomic_load(&checks_failed);
            set_entries(source);
            migrate_through(source, target, &other_side);
            if (atomic_load(&checks_failed) > failed) printf("  %s, %s at the %s\n", name, CHANGE_NAMES[what], at_target ? "target" : "source");
            empty(source, target);
        }
    }
    close_cache(source);
    close_cache(target);
}

static void check_all_pairs(void) {
    char name[64];
    for (int from = 0; from < PAIRS; from++) {
        for (int to = 0; to < PAIRS; to++) {
            sprintf(name, "from %.6s to %.6s", configs[from][0], configs[to][1]);
            check_pair(configs[from][0], configs[to][1], name);
        }
    }
}

/* Another handle of the same store: one of the target is known to the migration too. */
static void check_other_handle(const char *from, const char *to, bool at_target, change what) {
    yc_cache *source = open_cache(from), *target = open_cache(to), *other = open_cache(at_target ? to : from);
    middle other_side = {.cache = other, .what = what};
    set_entries(source);
    migrate_through(source, target, &other_side);
    empty(source, target);
    close_cache(source);
    close_cache(target);
    close_cache(other);
}

static void check_another_process(int from, int to) {
    yc_cache *source = open_cache(configs[from][0]), *target = open_cache(configs[to][1]);
    middle other_side = {.what = (change)from, .in_another_process = true};
    set_entries(source);
    migrate_through(source, target, &other_side);
    empty(source, target);
    close_cache(source);
    close_cache(target);
}

static int invalidate(const char *config, const char *tag) {
    yc_cache *cache = open_cache(config);
    yc_status status = yc_invalidate_tag(cache, tag, strlen(tag), NULL, NULL);
    close_cache(cache);
    return status != YC_OK;
}

/* ---- With threads ---- */

typedef struct deleter {
    pthread_t thread;
    yc_cache *target;
    unsigned judged;
} deleter;

/* The migration is about to be called; it has copied something; it has returned. */
static atomic_bool called, begun, ends;

static int32_t note_begin(void *data, const yc_progress *progress) {
    (void)data;
    if (progress->examined > 0) atomic_store(&begun, true);
    return 0;
}

/* What was deleted, and not set since, is not there. A delete that returned before the migration began is undone by it:
   it is judged only when the migration had begun before it, or was not called until it had been looked at. */
static void *delete_and_look(void *argument) {
    deleter *self = argument;
    char key[64];
    for (int at = 0; !atomic_load(&ends); at = (at + 1) % ENTRIES) {
        size_t len = key_of(key, at);
        bool counts = atomic_load(&begun);
        CHECK(yc_delete(self->target, key, len, NULL) >= 0);
        yc_status found = yc_exists(self->target, key, len, NULL);
        counts |= !atomic_load(&called);
        CHECK(found >= 0);
        if (counts) CHECK_STATUS(found, YC_MISS);
        self->judged += counts;
    }
    return NULL;
}

static void check_beside_deletes(const char *from, const char *to) {
    yc_cache *source = open_cache(from), *target = open_cache(to);
    unsigned judged = 0;
    for (int round = 0; round < 5; round++) {
        deleter other_side = {.target = target};
        set_entries(source);
        atomic_store(&called, false);
        atomic_store(&begun, false);
        atomic_store(&ends, false);
        pthread_create(&other_side.thread, NULL, delete_and_look, &other_side);
        atomic_store(&called, true);
        CHECK_STATUS(yc_migrate(source, target, "{rate: 9000}", note_begin, NULL, NULL, NULL, NULL), YC_OK);
        atomic_store(&ends, true);
        pthread_join(other_side.thread, NULL);
        judged += other_side.judged;
        empty(source, target);
    }
    CHECK(judged > 0);
    close_cache(source);
    close_cache(target);
}

int main(int argc, char **argv) {
    server redis, memcached;
    if (argc > 3) return invalidate(argv[2], argv[3]);
    setenv("YC_SELF", argv[0], 1);
    server_start(&redis, SERVER_REDIS, NULL);
    server_start(&memcached, SERVER_MEMCACHED, NULL);
    for (int side = 0; side < 2; side++) {
        const char *query = side ? "socket_timeout=10s&key_prefix=target" : "socket_timeout=10s&key_prefix=source";
        sprintf(configs[0][side], "memory://?max_size=100000");
        sprintf(configs[1][side], "%s", server_url(&redis, query));
        sprintf(configs[2][side], "%s", server_url(&memcached, query));
    }
    check_all_pairs();
    for (int what = TAG; what < CHANGES; what++) check_other_handle(configs[1][0], configs[2][1], what % 2, (change)what);
    for (int what = TAG; what < CHANGES; what++) check_other_handle(configs[2][0], configs[1][1], what % 2 == 0, (change)what);
    for (int from = 1; from < PAIRS; from++) {
        for (int to = 0; to < PAIRS; to++) check_another_process(from, to);
    }
    for (int to = 0; to < PAIRS; to++) check_beside_deletes(configs[0][0], configs[to][1]);
    server_stop(&redis);
    server_stop(&memcached);
    return check_result();
}
