/* Views: their time limits, their end, their statistics, and views of a cache whose backend changes, on any backend. */
#include "numbered.h"
#include "proxy.h"
#include "server.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static server stored;
static bool has_server;

static const char *url(const char *query) { return has_server ? server_url(&stored, query) : "memory://?key_prefix=views"; }

static yc_cache *open_view(yc_cache *cache, const char *options) {
    yc_cache *view = NULL;
    yc_error *error = NULL;
    if (yc_view(cache, options, &view, &error) != YC_OK) {
        printf("FAILED to open the view %s: %s\n", options, yc_error_message(error));
        exit(1);
    }
    return view;
}

static yc_status set_text(yc_cache *cache, const char *key, const char *value) {
    return yc_set(cache, key, strlen(key), value, strlen(value), YC_TTL_DEFAULT, NULL, 0, NULL);
}

static bool has_text(yc_cache *cache, const char *key, const char *wanted) {
    char text[64];
    size_t len = 0;
    yc_status status = yc_get_into(cache, key, strlen(key), text, sizeof text, &len, NULL);
    if (!wanted) return status == YC_MISS;
    return status == YC_OK && len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

/* ---- Arguments ---- */

static void check_arguments(void) {
    yc_cache *cache = open_cache(url("key_prefix=arguments")), *view = NULL;
    CHECK_CALL(yc_view(NULL, "{}", &view, err), YC_E_INVALID);
    CHECK_CALL(yc_view(cache, "{}", NULL, err), YC_E_INVALID);
    const char *refused[] = {"{namespace: ''}",   "{namespace: 'a:b'}", "{name: a}",      "{timeout: 0}",      "{timeout: 2d}",
                             "{default_ttl: -1}", "{tags: ['']}",       "{tags: [1]}",    "[namespace]",       "{namespace: a",
                             "namespace",         "{timeout: soon}",    "{tags: {a: b}}", "{namespace: [a]}", "\xff"};
    for (size_t at = 0; at < sizeof refused / sizeof *refused; at++) {
        yc_error *error = NULL;
        if (!CHECK_STATUS(yc_view(cache, refused[at], &view, &error), YC_E_CONFIG)) printf("  %s\n", refused[at]);
        yc_error_free(error);
    }
    const char *accepted[] = {NULL, "", "{}", "{tags: 'a,b'}", "{\"namespace\": \"A-z_0.9\", \"timeout\": \"20ms\", \"default_ttl\": 0}"};
    for (size_t at = 0; at < sizeof accepted / sizeof *accepted; at++) {
        CHECK_STATUS(yc_view(cache, accepted[at], &view, NULL), YC_OK);
        CHECK_STATUS(set_text(view, "k", "v"), YC_OK);
        yc_cache_free(view);
    }
    view = open_view(cache, NULL);
    CHECK_CALL(yc_switch(view, "memory://", NULL, NULL, err), YC_E_UNSUPPORTED);
    CHECK_CALL(yc_migrate(view, cache, NULL, NULL, NULL, NULL, NULL, err), YC_E_UNSUPPORTED);
    CHECK_CALL(yc_migrate(cache, view, NULL, NULL, NULL, NULL, NULL, err), YC_E_UNSUPPORTED);
    yc_cache_free(view);
    close_cache(cache);
}

/* ---- Time limits ---- */

/* A time limit is that of the view, whether it is shorter or longer than that of the cache. */
static void check_times(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), "socket_timeout=600ms&key_prefix=times&health_check_interval=0"));
    yc_cache *brief = open_view(cache, "{timeout: 100ms}"), *patient = open_view(cache, "{timeout: 20s}");
    yc_cache *inner = open_view(patient, "{namespace: n}");
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(set_numbered(inner, 1), YC_OK);
    proxy_set(between, (proxy_fault){.mode = PROXY_DELAY, .milliseconds = 300});
    yc_error *error = NULL;
    CHECK_STATUS(get_numbered(brief, 1, &error), YC_E_TIMEOUT);
    CHECK(strstr(yc_error_message(error), "100ms") && strstr(yc_error_message(error), "view"));
    yc_error_free(error);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    yc_op op = {.kind = YC_OP_GET, .key = "key-1", .key_len = 5};
    CHECK_STATUS(yc_batch(brief, &op, 1, sizeof op, NULL), YC_OK);
    CHECK(op.status == YC_E_TIMEOUT);
    yc_error_free(op.error);
    /* One operation of a batch alone. */
    yc_op two[2] = {op, op};
    two[0].timeout_ms = 100;
    CHECK_STATUS(yc_batch(cache, two, 2, sizeof op, NULL), YC_OK);
    CHECK(two[0].status == YC_E_TIMEOUT && two[1].status == YC_OK);
    yc_error_free(two[0].error);
    yc_value_free(two[1].result);
    yc_slice key = slice("key-1");
    yc_value *value = NULL;
    yc_status of_key = YC_OK;
    CHECK_STATUS(yc_get_many(brief, &key, 1, &value, &of_key, NULL), YC_E_TIMEOUT);
    CHECK(value == NULL && of_key == YC_E_TIMEOUT);
    proxy_set(between, (proxy_fault){.mode = PROXY_DELAY, .milliseconds = 900});
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_E_TIMEOUT);
    CHECK_STATUS(get_numbered(patient, 1, NULL), YC_OK);
    CHECK_STATUS(get_numbered(inner, 1, NULL), YC_OK);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    yc_cache_free(inner);
    yc_cache_free(patient);
    yc_cache_free(brief);
    close_cache(cache);
    proxy_stop(between);
}

/* A queue of a view has its time limit. */
static void check_queue_times(void) {
    proxy *between = proxy_start(stored.port);
    yc_cache *cache = open_cache(url_of(stored.kind, proxy_port(between), "socket_timeout=20s&key_prefix=times&health_check_interval=0"));
    yc_cache *brief = open_view(cache, "{timeout: 100ms}");
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    proxy_set(between, (proxy_fault){.mode = PROXY_DELAY, .milliseconds = 600});
    yc_queue *queue = NULL;
    CHECK_STATUS(yc_queue_open(brief, 8, NULL, NULL, NULL, &queue, NULL), YC_OK);
    yc_op op = {.kind = YC_OP_GET, .key = "key-1", .key_len = 5};
    yc_completion came;
    size_t count = 0;
    CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &count, NULL), YC_OK);
    CHECK_STATUS(yc_queue_wait(queue, &came, 1, sizeof came, 20000, &count, NULL), YC_OK);
    CHECK(came.status == YC_E_TIMEOUT);
    yc_completion_clear(&came);
    /* A time limit of one operation is shorter or longer than that of the view. */
    for (int longer = 0; longer < 2; longer++) {
        op.timeout_ms = longer ? 20000 : 200;
        CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &count, NULL), YC_OK);
        CHECK_STATUS(yc_queue_wait(queue, &came, 1, sizeof came, 20000, &count, NULL), YC_OK);
        CHECK_STATUS(came.status, longer ? YC_OK : YC_E_TIMEOUT);
        yc_completion_clear(&came);
    }
    op.timeout_ms = 86400001;
    CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &count, NULL), YC_OK);
    CHECK_STATUS(yc_queue_wait(queue, &came, 1, sizeof came, 20000, &count, NULL), YC_OK);
    CHECK_STATUS(came.status, YC_E_INVALID);
    yc_completion_clear(&came);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    yc_queue_free(queue);
    yc_cache_free(brief);
    close_cache(cache);
    proxy_stop(between);
}

/* A read with a lease waits for another holder no longer than a call of the view. */
static void check_wait(void) {
    yc_cache *cache = open_cache(url("key_prefix=wait&socket_timeout=20s")), *brief = open_view(cache, "{timeout: 100ms}");
    yc_lease *lease = NULL, *other = NULL;
    yc_value *value = NULL;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 15000};
    CHECK_STATUS(yc_get_or_lease(cache, "k", 1, NULL, &value, &lease, NULL), YC_LEASED);
    double begun = now_ms();
    CHECK_STATUS(yc_get_or_lease(brief, "k", 1, &options, &value, &other, NULL), YC_E_BUSY);
    CHECK(now_ms() - begun < 10000);
    yc_lease_free(lease);
    yc_cache_free(brief);
    close_cache(cache);
}

/* ---- The end ---- */

/* A view has no threads and connections of its own, and its end ends nothing else. */
static void check_ends(void) {
    enum { VIEWS = 200 };
    /* One connection: a second would come while they are counted. */
    yc_cache *cache = open_cache(url("key_prefix=ends&pool_size=1")), *views[VIEWS];
    CHECK_STATUS(set_text(cache, "k", "v"), YC_OK);
    int threads = settled_threads(), files = count_files();
    for (int at = 0; at < VIEWS; at++) {
        views[at] = open_view(cache, at % 2 ? "{namespace: n}" : "{default_ttl: 1m}");
        CHECK(has_text(views[at], "k", at % 2 ? NULL : "v"));
    }
    CHECK(count_threads() == threads && count_files() == files);
    for (int at = 1; at < VIEWS; at++) {
        if (at % 3) CHECK_STATUS(yc_close(views[at], -1, NULL), YC_OK);
        if (at % 3) CHECK_CALL(yc_exists(views[at], "k", 1, err), YC_E_CLOSED);
        yc_cache_free(views[at]);
    }
    CHECK(has_text(views[0], "k", "v") && has_text(cache, "k", "v"));
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    CHECK_CALL(yc_exists(views[0], "k", 1, err), YC_E_CLOSED);
    CHECK_CALL(yc_set(views[0], "k", 1, "v", 1, 0, NULL, 0, err), YC_E_CLOSED);
    char text[8];
    size_t len;
    CHECK_CALL(yc_get_into(views[0], "k", 1, text, sizeof text, &len, err), YC_E_CLOSED);
    yc_cache *late = NULL;
    CHECK_CALL(yc_view(cache, NULL, &late, err), YC_E_CLOSED);
    CHECK_CALL(yc_view(views[0], NULL, &late, err), YC_E_CLOSED);
    yc_cache_free(cache);
    CHECK_CALL(yc_exists(views[0], "k", 1, err), YC_E_CLOSED);
    CHECK_STATUS(yc_close(views[0], -1, NULL), YC_OK);
    yc_cache_free(views[0]);
}

/* The end of a cache ends the queues and the subscriptions of its views. */
static void check_queues_end(void) {
    yc_cache *cache = open_cache(url("key_prefix=queues")), *view = open_view(cache, "{namespace: n}");
    yc_queue *queue = NULL;
    yc_completion came;
    size_t count = 1;
    CHECK_STATUS(yc_queue_open(view, 8, NULL, NULL, NULL, &queue, NULL), YC_OK);
    yc_subscription *subscription = NULL;
    yc_slice channel = slice("c");
    yc_filter filter = {.struct_size = sizeof filter, .channels = &channel, .n_channels = 1};
    bool subscribes = yc_subscribe(view, &filter, &subscription, NULL) == YC_OK;
    CHECK(subscribes == !(has_server && stored.kind == SERVER_MEMCACHED));
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    CHECK_STATUS(yc_queue_wait(queue, &came, 1, sizeof came, 20000, &count, NULL), YC_E_CLOSED);
    yc_message *message = NULL;
    if (subscribes) CHECK_STATUS(yc_subscription_next(subscription, 20000, &message, NULL), YC_E_CLOSED);
    yc_subscription_free(subscription);
    yc_queue_free(queue);
    yc_cache_free(cache);
    yc_cache_free(view);
}

/* A lease that outlives its view still counts at the cache. */
static void check_lease(void) {
    yc_cache *cache = open_cache(url("key_prefix=lease")), *view = open_view(cache, "{namespace: n}"), *other = open_view(cache, "{namespace: n}");
    yc_lease *lease = NULL, *next = NULL;
    yc_value *value = NULL;
    yc_lease_options at_once = {.struct_size = sizeof at_once, .wait_ms = -1};
    CHECK_STATUS(yc_get_or_lease(view, "k", 1, NULL, &value, &lease, NULL), YC_LEASED);
    CHECK_STATUS(yc_get_or_lease(other, "k", 1, &at_once, &value, &next, NULL), YC_E_BUSY);
    CHECK_STATUS(yc_get_or_lease(cache, "k", 1, NULL, &value, &next, NULL), YC_LEASED);
    yc_lease_free(next);
    yc_fill fill = {.struct_size = sizeof fill, .value = "v", .value_len = 1, .ttl_ms = YC_TTL_DEFAULT, .stale_for_ms = -1};
    CHECK_STATUS(yc_lease_fill(lease, &fill, NULL), YC_OK);
    yc_lease_free(lease);
    CHECK(has_text(other, "k", "v") && has_text(cache, "k", NULL));
    CHECK_STATUS(yc_get_or_lease(view, "l", 1, NULL, &value, &lease, NULL), YC_LEASED);
    yc_cache_free(view);
    CHECK_STATUS(yc_get_or_lease(other, "l", 1, &at_once, &value, &next, NULL), YC_E_BUSY);
    yc_lease_free(lease);
    yc_lease_options patient = {.struct_size = sizeof patient, .lease_ms = 60000, .wait_ms = 5000};
    CHECK_STATUS(yc_get_or_lease(other, "l", 1, &patient, &value, &next, NULL), YC_LEASED);
    yc_lease_free(next);
    yc_cache_free(other);
    close_cache(cache);
}

static void check_fork(void) {
    yc_cache *cache = open_cache(url("key_prefix=fork")), *view = open_view(cache, "{namespace: n}");
    CHECK_STATUS(set_text(view, "k", "v"), YC_OK);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        yc_cache *other = NULL;
        bool refuses = yc_exists(view, "k", 1, NULL) == YC_E_FORKED && yc_view(cache, NULL, &other, NULL) == YC_E_FORKED;
        yc_cache_free(view);
        _exit(refuses ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(has_text(view, "k", "v"));
    yc_cache_free(view);
    close_cache(cache);
}

/* ---- Statistics ---- */

static bool says(yc_cache *cache, const char *wanted) {
    yc_value *json = NULL;
    size_t len;
    CHECK_STATUS(yc_stats(cache, &json, NULL), YC_OK);
    const char *text = yc_value_data(json, &len);
    bool found = memmem(text, len, wanted, strlen(wanted));
    if (!found) printf("  %s is not in %.*s\n", wanted, (int)len, text);
    yc_value_free(json);
    return found;
}

static void check_statistics(void) {
    yc_cache *cache = open_cache(url("key_prefix=statistics")), *one = open_view(cache, "{namespace: one}"), *two = open_view(cache, "{namespace: two}");
    yc_cache *again = open_view(one, "{default_ttl: 1m}");
    CHECK_STATUS(set_text(one, "k", "v"), YC_OK);
    CHECK(has_text(one, "k", "v") && has_text(again, "k", "v") && has_text(two, "k", NULL));
    CHECK(stat_of(one, "hits") == 2 && stat_of(one, "misses") == 0 && stat_of(one, "sets") == 1 && stat_of(again, "hits") == 2);
    CHECK(stat_of(two, "hits") == 0 && stat_of(two, "misses") == 1);
    CHECK(stat_of(cache, "hits") == 2 && stat_of(cache, "misses") == 1 && stat_of(cache, "sets") == 1);
    CHECK(says(cache, "\"one\":{\"deletes\":0,\"hits\":2,\"invalidations\":0,\"misses\":0,\"sets\":1}"));
    CHECK(says(cache, "\"two\":{\"deletes\":0,\"hits\":0,\"invalidations\":0,\"misses\":1,\"sets\":0}"));
    CHECK(says(one, "\"namespace\":\"one\"") && says(cache, "\"namespace\":null"));
    uint64_t keys = 0, bytes = 0;
    CHECK_STATUS(yc_size(one, &keys, &bytes, NULL), YC_OK);
    CHECK(keys == 1 && bytes == YC_COUNT_UNKNOWN);
    for (int at = 0; at < 100; at++) {
        char options[64];
        snprintf(options, sizeof options, "{namespace: 'more.%d'}", at);
        yc_cache *view = open_view(cache, options);
        CHECK(has_text(view, "k", NULL) && stat_of(view, "misses") == 1);
        yc_cache_free(view);
    }
    CHECK(says(cache, "\"more.61\"") && says(cache, "\"two\""));
    yc_value *json = NULL;
    size_t len, names = 0;
    CHECK_STATUS(yc_stats(cache, &json, NULL), YC_OK);
    const char *text = yc_value_data(json, &len);
    for (const char *at = text; (at = memmem(at, len - (size_t)(at - text), "\"more.", 6)); at++) names++;
    CHECK(names == 62);
    yc_value_free(json);
    yc_cache_free(one);
    yc_cache_free(two);
    yc_cache_free(again);
    close_cache(cache);
}

/* ---- Changes of the backend ---- */

static void check_switch(void) {
    yc_cache *cache = open_cache(url("key_prefix=switch")), *view = open_view(cache, "{namespace: n, tags: [t]}");
    CHECK_STATUS(set_text(view, "k", "v"), YC_OK);
    CHECK_STATUS(yc_switch(cache, "memory://?key_prefix=next", "{copy: true}", NULL, NULL), YC_OK);
    CHECK(has_text(view, "k", "v") && has_text(cache, "k", NULL));
    CHECK_STATUS(set_text(view, "other", "w"), YC_OK);
    CHECK_STATUS(yc_invalidate_tag(cache, "t", 1, NULL, NULL), YC_OK);
    CHECK(has_text(view, "k", "v"));
    CHECK_STATUS(yc_invalidate_tag(view, "t", 1, NULL, NULL), YC_OK);
    CHECK(has_text(view, "k", NULL) && has_text(view, "other", NULL));
    yc_cache_free(view);
    close_cache(cache);
}

/* ---- Threads ---- */

typedef struct course {
    yc_cache *cache;
    int number;
    atomic_bool *ends;
} course;

/* Opens views of a namespace of its own, and finds there what it set, and nothing else. */
static void *use_views(void *data) {
    course *self = data;
    char options[64], wanted[32];
    snprintf(options, sizeof options, "{namespace: 'thread.%d', tags: [all]}", self->number);
    for (int turn = 0; !atomic_load(self->ends); turn++) {
        yc_cache *view = open_view(self->cache, options);
        snprintf(wanted, sizeof wanted, "%d of %d", turn, self->number);
        CHECK_STATUS(set_text(view, "k", wanted), YC_OK);
        CHECK(has_text(view, "k", wanted));
        if (turn % 3 == 0) CHECK_STATUS(yc_invalidate_tag(view, "all", 3, NULL, NULL), YC_OK);
        CHECK(has_text(view, "k", turn % 3 == 0 ? NULL : wanted));
        yc_cache_free(view);
    }
    return NULL;
}

static void check_threads(void) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    course courses[THREADS];
    atomic_bool ends = false;
    yc_cache *cache = open_cache(url("key_prefix=threads"));
    for (int at = 0; at < THREADS; at++) {
        courses[at] = (course){cache, at, &ends};
        CHECK(pthread_create(&threads[at], NULL, use_views, &courses[at]) == 0);
    }
    sleep_ms(1500);
    atomic_store(&ends, true);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    close_cache(cache);
}

/* Calls on views while their cache is closed: each is answered. */
static void *use_until_closed(void *data) {
    course *self = data;
    yc_cache *view = NULL;
    yc_status status = yc_view(self->cache, "{namespace: n}", &view, NULL);
    while (status == YC_OK) status = set_text(view, "k", "v");
    CHECK_STATUS(status, YC_E_CLOSED);
    atomic_store(self->ends, true);
    yc_cache_free(view);
    return NULL;
}

static void check_close_in_flight(void) {
    for (int turn = 0; turn < 20; turn++) {
        atomic_bool ends = false;
        yc_cache *cache = open_cache(url("key_prefix=closing"));
        course self = {cache, 0, &ends};
        pthread_t threads[2];
        yc_cache *kept = open_view(cache, "{namespace: n}");
        for (int at = 0; at < 2; at++) CHECK(pthread_create(&threads[at], NULL, use_until_closed, &self) == 0);
        while (!has_text(kept, "k", "v") && !atomic_load(&ends)) sleep_ms(1);
        sleep_ms(turn % 4);
        CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
        for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
        yc_cache_free(cache);
        yc_cache_free(kept);
    }
}

/* ---- Servers ---- */

static void check_outage(void) {
    yc_cache *cache = open_cache(url("key_prefix=outage&socket_timeout=1s&socket_connect_timeout=1s")), *view = open_view(cache, "{namespace: n}");
    CHECK_STATUS(set_numbered(view, 1), YC_OK);
    server_kill(&stored);
    CHECK_ONE_OF(get_numbered(view, 1, NULL), YC_E_CONNECT, YC_E_TIMEOUT);
    server_restart(&stored);
    CHECK(recovers(view, 2, 20000));
    yc_cache_free(view);
    close_cache(cache);
}

int main(int argc, char **argv) {
    const char *backend = argc > 1 ? argv[1] : "memory";
    has_server = strcmp(backend, "memory") != 0;
    int threads = count_threads(), files = count_files();
    if (has_server) server_start(&stored, strcmp(backend, "redis") == 0 ? SERVER_REDIS : SERVER_MEMCACHED, (const char *const[]){NULL});
    check_arguments();
    if (has_server) check_times();
    if (has_server) check_queue_times();
    check_wait();
    check_ends();
    check_queues_end();
    check_lease();
    check_fork();
    check_statistics();
    check_switch();
    check_threads();
    check_close_in_flight();
    if (has_server) check_outage();
    CHECK(threads_are(threads) && count_files() <= files);
    if (has_server) server_stop(&stored);
    return check_result();
}
