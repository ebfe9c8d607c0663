/* A server that dies, stops or is full: errors in time, never a miss or another's value, and service again soon.
   outage redis|memcached */
#include "../every.h"
#include "numbered.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { CYCLES = 20, NUMBERS = 50, READERS = 4, DEADLINE_MS = 500, RECOVERY_MS = 1000, REPLACED_MS = 3000 };

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&pool_size=2&key_prefix=outage";

/* ---- Killed ---- */

/* These tell of the cache itself, and may do so without a server; and a batch or a queue whose operations failed ran them.
   Memcached has no commands of Redis and no channels; without their options, no backend with servers has events, and no cache generations. */
static bool needs_server(const char *name, server_kind kind) {
    static const char *const without[] = {"yc_stats", "yc_health", "yc_metrics", "yc_metrics_many", "yc_size", "yc_capabilities", "yc_batch", "yc_queue_open", "yc_redis_name", "yc_get_near",
                                         "yc_events_open", "yc_clear", "yc_set_trace", "yc_set_credentials"};
    static const char *const unsupported[] = {"yc_redis_command", "yc_publish", "yc_subscribe"};
    for (size_t at = 0; kind == SERVER_MEMCACHED && at < sizeof unsupported / sizeof *unsupported; at++) {
        if (strcmp(name, unsupported[at]) == 0) return false;
    }
    for (size_t at = 0; at < sizeof without / sizeof *without; at++) {
        if (strcmp(name, without[at]) == 0) return false;
    }
    return true;
}

static void check_every_call_while_down(yc_cache *cache, server_kind kind) {
    for (size_t at = 0; at < EVERY_COUNT; at++) {
        moment begun = moment_now();
        yc_status status = EVERY[at].run(cache, NULL);
        bool in_its_time = in_time(begun, DEADLINE_MS), right = CHECK(status == YC_E_CONNECT || !needs_server(EVERY[at].name, kind));
        if (!in_its_time || !right) printf("  %s: %s\n", EVERY[at].name, yc_status_name(status));
    }
}

static void check_while_down(yc_cache *cache) {
    for (unsigned number = 0; number < 5; number++) {
        CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_E_CONNECT);
        CHECK_STATUS(set_numbered(cache, number), YC_E_CONNECT);
    }
}

static void check_cycle(server *of, yc_cache *cache, int cycle) {
    set_numbers(cache, NUMBERS);
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_numbered(cache, number, NULL), YC_OK);
    server_kill(of);
    check_while_down(cache);
    if (cycle == 0) check_every_call_while_down(cache, of->kind);
    server_restart(of);
    CHECK(recovers(cache, 1, RECOVERY_MS));
}

static void check_kills(server_kind kind) {
    server killed;
    int threads = count_threads(), files = count_files(), files_used = 0;
    server_start(&killed, kind, NULL);
    yc_cache *cache = open_cache(server_url(&killed, OPTIONS));
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        check_cycle(&killed, cache, cycle);
        if (cycle == 0) files_used = count_files();
    }
    CHECK(count_files() <= files_used + 4);
    close_cache(cache);
    CHECK(threads_are(threads) && count_files() == files);
    server_stop(&killed);
}

/* ---- Stopped ---- */

typedef struct reader {
    pthread_t thread;
    yc_cache *cache;
    unsigned seed;
    atomic_bool *ends;
    atomic_uint hits;
} reader;

static void *read_on(void *argument) {
    reader *self = argument;
    while (!atomic_load(self->ends)) {
        yc_status status = get_in_time(self->cache, (unsigned)rand_r(&self->seed) % NUMBERS, DEADLINE_MS);
        CHECK_ONE_OF(status, YC_OK, YC_E_TIMEOUT, YC_E_CONNECT);
        if (status == YC_OK) atomic_fetch_add(&self->hits, 1);
    }
    return NULL;
}

static void start_readers(reader *readers, yc_cache *cache, atomic_bool *ends) {
    for (unsigned at = 0; at < READERS; at++) {
        readers[at] = (reader){.cache = cache, .seed = at + 1, .ends = ends};
        pthread_create(&readers[at].thread, NULL, read_on, &readers[at]);
    }
}

/* Whether each of them hits once more within that time. */
static bool all_hit(reader *readers, double milliseconds) {
    double end = now_ms() + milliseconds;
    bool all = true;
    for (int at = 0; at < READERS; at++) {
        unsigned before = atomic_load(&readers[at].hits);
        while (atomic_load(&readers[at].hits) == before && now_ms() < end) sleep_ms(1);
        all = all && atomic_load(&readers[at].hits) != before;
    }
    return all;
}

static void check_stop(const server *of, yc_cache *cache, long milliseconds) {
    reader readers[READERS];
    atomic_bool ends = false;
    start_readers(readers, cache, &ends);
    CHECK(all_hit(readers, REPLACED_MS));
    server_signal(of, SIGSTOP);
    sleep_ms(milliseconds);
    server_signal(of, SIGCONT);
    CHECK(all_hit(readers, REPLACED_MS));
    atomic_store(&ends, true);
    for (int at = 0; at < READERS; at++) pthread_join(readers[at].thread, NULL);
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_in_time(cache, number, DEADLINE_MS), YC_OK);
}

static void check_stops(server_kind kind) {
    server stopped;
    server_start(&stopped, kind, NULL);
    yc_cache *cache = open_cache(server_url(&stopped, OPTIONS));
    set_numbers(cache, NUMBERS);
    check_stop(&stopped, cache, 100);
    check_stop(&stopped, cache, 1000);
    check_stop(&stopped, cache, 5000);
    close_cache(cache);
    server_stop(&stopped);
}

/* ---- Alive, and of no use ---- */

static void check_pause(const server *of, yc_cache *cache) {
    CHECK(tell(of->port, "CLIENT PAUSE 200 ALL"));
    CHECK_STATUS(get_in_time(cache, 1, DEADLINE_MS), YC_OK);
    CHECK(tell(of->port, "CLIENT PAUSE 1500 ALL"));
    CHECK_STATUS(get_in_time(cache, 1, DEADLINE_MS), YC_E_TIMEOUT);
    CHECK(recovers(cache, 1, 1500 + REPLACED_MS));
    CHECK_STATUS(get_in_time(cache, 2, DEADLINE_MS), YC_OK);
}

/* The old entry stays readable, and what cannot be forgotten is no success. */
static void check_full_memory(const server *of, yc_cache *cache) {
    yc_slice tag = slice("tag");
    CHECK_STATUS(yc_set(cache, "tagged", 6, "v", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
    CHECK(tell(of->port, "CONFIG SET maxmemory 1"));
    CHECK_CALL(yc_set(cache, "new", 3, "v", 1, YC_TTL_NEVER, NULL, 0, err), YC_E_SERVER_MEMORY);
    CHECK_CALL(yc_set(cache, "new", 3, "v", 1, YC_TTL_NEVER, &tag, 1, err), YC_E_SERVER_MEMORY);
    CHECK_STATUS(get_in_time(cache, 1, DEADLINE_MS), YC_OK);
    CHECK_STATUS(yc_exists(cache, "tagged", 6, NULL), YC_OK);
    if (yc_invalidate_tag(cache, "tag", 3, NULL, NULL) == YC_OK) CHECK_STATUS(yc_exists(cache, "tagged", 6, NULL), YC_MISS);
    CHECK(tell(of->port, "CONFIG SET maxmemory 0"));
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(yc_exists(cache, "new", 3, NULL), YC_MISS);
}

static void check_redis_alive(void) {
    server alive;
    server_start(&alive, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&alive, OPTIONS));
    set_numbers(cache, NUMBERS);
    check_pause(&alive, cache);
    check_full_memory(&alive, cache);
    close_cache(cache);
    server_stop(&alive);
}

/* The error names the limit. */
static bool is_refused_for_number(yc_cache *cache) {
    yc_error *error = NULL;
    yc_status status = get_numbered(cache, 1, &error);
    bool right = CHECK_ONE_OF(status, YC_E_CONNECT, YC_E_SERVER, YC_E_BUSY);
    bool named = CHECK(strstr(yc_error_message(error), "clients") != NULL);
    if (!named) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
    return right && named;
}

/* Trying again does not flood the server. */
static void check_maxclients(void) {
    enum { CLIENTS = 4, SECONDS = 2, CONNECTS_A_SECOND = 20, POOL = 2 };
    const char *const options[] = {"--maxclients", "4", NULL};
    server full;
    int taken[CLIENTS];
    char url[MAX_SERVER_URL + 16];
    server_start(&full, SERVER_REDIS, options);
    for (int at = 0; at < CLIENTS; at++) taken[at] = connect_to(full.port);
    snprintf(url, sizeof url, "%s&connect=lazy", server_url(&full, OPTIONS));
    yc_cache *cache = open_cache(url);
    for (double end = now_ms() + SECONDS * 1e3; now_ms() < end && is_refused_for_number(cache);) sleep_ms(1);
    for (int at = 0; at < CLIENTS; at++) close(taken[at]);
    CHECK(server_answers(&full));
    CHECK(recovers(cache, 1, REPLACED_MS));
    CHECK(ask_info(full.port, "stats", "rejected_connections") <= SECONDS * CONNECTS_A_SECOND * POOL);
    close_cache(cache);
    server_stop(&full);
}

/* ---- Loading ---- */

/* Its keys are loaded slowly from now on. */
static void slow_down(server *of) {
    int at = 0;
    while (of->options[at]) at++;
    of->options[at++] = "--key-load-delay";
    of->options[at++] = "500";
    of->options[at++] = "--loading-process-events-interval-bytes";
    of->options[at] = "1024";
}

static void check_loading(void) {
    const char *const options[] = {"--enable-debug-command", "yes", NULL};
    server loading;
    unsigned refused = 0;
    yc_status status;
    server_start(&loading, SERVER_REDIS, options);
    yc_cache *cache = open_cache(server_url(&loading, OPTIONS));
    set_numbers(cache, NUMBERS);
    CHECK(tell(loading.port, "DEBUG POPULATE 4000 other 100") && tell(loading.port, "SAVE"));
    slow_down(&loading);
    server_kill(&loading);
    server_restart(&loading);
    for (double end = now_ms() + 20000; (status = get_in_time(cache, 1, DEADLINE_MS)) < 0 && now_ms() < end; refused++) {
        CHECK_ONE_OF(status, YC_E_CONNECT, YC_E_SERVER, YC_E_BUSY, YC_E_TIMEOUT);
        sleep_ms(5);
    }
    CHECK_STATUS(status, YC_OK);
    CHECK(refused > 0);
    close_cache(cache);
    server_stop(&loading);
}

int main(int count, char **arguments) {
    server_kind kind = count > 1 && strcmp(arguments[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    check_kills(kind);
    check_stops(kind);
    if (kind == SERVER_REDIS) {
        check_redis_alive();
        check_maxclients();
        check_loading();
    }
    return check_result();
}
