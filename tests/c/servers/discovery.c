/* Memcached servers that an endpoint tells, as the managed services do (`config get cluster`): the cache follows a list that
   changes, without a call that fails, and nothing that was set before a change is read behind it. */
#include "numbered.h"
#include "refused.h"
#include "server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SERVERS = 3, THREADS = 4, LIST_ROOM = 1024, WAIT_MS = 20000 };

static server servers[SERVERS];

/* ---- The endpoint ---- */

enum talk { CONFIG, OLD, UNKNOWN };

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    int listener, port;
    enum talk talk;
    char list[LIST_ROOM];
    atomic_uint asked;
    atomic_bool ends;
} endpoint = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void answer(int fd, const char *line) {
    char reply[2 * LIST_ROOM];
    bool is_config = strcmp(line, "config get cluster\r\n") == 0, is_get = strcmp(line, "get AmazonElastiCache:cluster\r\n") == 0;
    pthread_mutex_lock(&endpoint.lock);
    bool knows = endpoint.talk == CONFIG ? is_config : endpoint.talk == OLD && is_get;
    if (knows) snprintf(reply, sizeof reply, "%s cluster 0 %zu\r\n%s\r\nEND\r\n", is_config ? "CONFIG" : "VALUE", strlen(endpoint.list), endpoint.list);
    else snprintf(reply, sizeof reply, is_get ? "END\r\n" : "ERROR\r\n");
    pthread_mutex_unlock(&endpoint.lock);
    send(fd, reply, strlen(reply), MSG_NOSIGNAL);
    if (knows) atomic_fetch_add(&endpoint.asked, 1);
}

/* One connection after another: each brings one request. */
static void *tell_lists(void *unused) {
    (void)unused;
    while (!atomic_load(&endpoint.ends)) {
        struct pollfd ready = {.fd = endpoint.listener, .events = POLLIN};
        if (poll(&ready, 1, 20) != 1) continue;
        int fd = accept4(endpoint.listener, NULL, NULL, SOCK_CLOEXEC);
        struct timeval patience = {.tv_sec = 2};
        char line[128] = "";
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ssize_t len = recv(fd, line, sizeof line - 1, 0);
        if (len > 0) answer(fd, line);
        /* The client ends it. */
        while (len > 0 && recv(fd, line, sizeof line, 0) > 0) continue;
        close(fd);
    }
    return NULL;
}

static void start_endpoint(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    endpoint.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(endpoint.listener, (struct sockaddr *)&address, len) == 0 && listen(endpoint.listener, 64) == 0);
    CHECK(getsockname(endpoint.listener, (struct sockaddr *)&address, &len) == 0);
    endpoint.port = ntohs(address.sin_port);
    atomic_store(&endpoint.ends, false);
    pthread_create(&endpoint.thread, NULL, tell_lists, NULL);
}

static void stop_endpoint(void) {
    atomic_store(&endpoint.ends, true);
    pthread_join(endpoint.thread, NULL);
    close(endpoint.listener);
}

/* Tells another list from now on: the servers of the bits of `which`. */
static void tell_list(enum talk talk, unsigned version, unsigned which) {
    pthread_mutex_lock(&endpoint.lock);
    endpoint.talk = talk;
    int len = snprintf(endpoint.list, LIST_ROOM, "%u\n", version);
    for (int at = 0; at < SERVERS; at++) {
        if (which >> at & 1) len += snprintf(endpoint.list + len, LIST_ROOM - (size_t)len, "%slocalhost|127.0.0.1|%d", endpoint.list[len - 1] == '\n' ? "" : " ", servers[at].port);
    }
    snprintf(endpoint.list + len, LIST_ROOM - (size_t)len, "\n");
    pthread_mutex_unlock(&endpoint.lock);
}

/* Until the endpoint was asked twice more: what it says now is known. */
static void wait_for_requests(void) {
    unsigned before = atomic_load(&endpoint.asked);
    for (int waited = 0; waited < WAIT_MS && atomic_load(&endpoint.asked) < before + 2; waited += 10) sleep_ms(10);
    CHECK(atomic_load(&endpoint.asked) >= before + 2);
}

/* ---- The cache ---- */

static void write_url(char url[512], const char *query) {
    snprintf(url, 512, "memcached://127.0.0.1:%d?discovery=config&discovery_interval=100ms&key_prefix=discovery&socket_timeout=5s%s", endpoint.port, query);
}

static yc_cache *open_discovered(const char *query) {
    char url[512];
    write_url(url, query);
    return open_cache(url);
}

/* The servers of the report of health, as bits. */
static unsigned used_servers(yc_cache *cache) {
    unsigned used = 0;
    size_t len;
    yc_value *report = NULL;
    if (!CHECK(yc_health(cache, &report, NULL) == YC_OK)) return 0;
    const char *text = yc_value_data(report, &len);
    for (int at = 0; at < SERVERS; at++) {
        char name[32];
        snprintf(name, sizeof name, "localhost:%d", servers[at].port);
        used |= (memmem(text, len, name, strlen(name)) != NULL) << at;
    }
    yc_value_free(report);
    return used;
}

static void wait_for_servers(yc_cache *cache, unsigned wanted) {
    for (int waited = 0; waited < WAIT_MS && used_servers(cache) != wanted; waited += 20) sleep_ms(20);
    CHECK(used_servers(cache) == wanted);
}

static yc_status set_text(yc_cache *cache, const char *key, const char *value, const char *tag) {
    yc_slice tags[] = {{tag, tag ? strlen(tag) : 0}};
    return yc_set(cache, key, strlen(key), value, strlen(value), YC_TTL_DEFAULT, tag ? tags : NULL, tag ? 1 : 0, NULL);
}

static yc_status get_text(yc_cache *cache, const char *key, char value[64]) {
    yc_value *found = NULL;
    size_t len;
    yc_status status = yc_get(cache, key, strlen(key), &found, NULL);
    if (status == YC_OK) {
        const char *data = yc_value_data(found, &len);
        snprintf(value, 64, "%.*s", (int)len, data);
    }
    yc_value_free(found);
    return status;
}

/* Whether the report of a key has this text. */
static bool explains(yc_cache *cache, const char *key, const char *wanted) {
    size_t len;
    yc_value *report = NULL;
    if (!CHECK(yc_explain(cache, key, strlen(key), NULL, 0, &report, NULL) == YC_OK)) return false;
    const char *text = yc_value_data(report, &len);
    bool found = memmem(text, len, wanted, strlen(wanted)) != NULL;
    if (!found) printf("  %.*s\n", (int)len, text);
    yc_value_free(report);
    return found;
}

/* ---- Callers while the list changes ---- */

typedef struct caller {
    pthread_t thread;
    yc_cache *cache;
    int number;
    unsigned calls, hits, errors, stale;
    char message[256]; /* Of the last error. */
} caller;

static atomic_bool callers_end;

/* A get brings what was set last, or nothing behind a change; never anything older. */
static void *call(void *argument) {
    caller *self = argument;
    char key[32], wanted[32], value[64];
    for (unsigned round = 0; !atomic_load(&callers_end); round++) {
        snprintf(key, sizeof key, "caller:%d:%u", self->number, round % 50);
        snprintf(wanted, sizeof wanted, "%u", round);
        yc_error *error = NULL;
        yc_status stored = yc_set(self->cache, key, strlen(key), wanted, strlen(wanted), YC_TTL_DEFAULT, &(yc_slice){"t", 1}, 1, &error);
        yc_status status = get_text(self->cache, key, value);
        if (error) snprintf(self->message, sizeof self->message, "%s", yc_error_message(error));
        yc_error_free(error);
        self->errors += (stored < 0) + (status < 0);
        self->hits += status == YC_OK;
        self->stale += status == YC_OK && strcmp(value, wanted) != 0;
        self->calls += 2;
    }
    return NULL;
}

static void start_callers(caller *callers, yc_cache *cache) {
    atomic_store(&callers_end, false);
    for (int at = 0; at < THREADS; at++) {
        callers[at] = (caller){.cache = cache, .number = at};
        pthread_create(&callers[at].thread, NULL, call, &callers[at]);
    }
}

static void end_callers(caller *callers) {
    atomic_store(&callers_end, true);
    for (int at = 0; at < THREADS; at++) {
        pthread_join(callers[at].thread, NULL);
        if (!CHECK(callers[at].calls > 100 && callers[at].errors == 0 && callers[at].stale == 0)) {
            printf("  %u calls, %u errors (%s), %u stale\n", callers[at].calls, callers[at].errors, callers[at].message, callers[at].stale);
        }
        /* Each change can cost the entry between a set and its get. */
        if (!CHECK(callers[at].hits + 10 >= callers[at].calls / 2)) printf("  %u hits in %u calls\n", callers[at].hits, callers[at].calls);
    }
}

/* From the version `first` on: a version is never told twice with other servers, or again after a later one. */
static void check_changes(const char *query, unsigned first) {
    caller callers[THREADS];
    tell_list(CONFIG, first, 3);
    yc_cache *cache = open_discovered(query);
    CHECK(used_servers(cache) == 3);
    start_callers(callers, cache);
    tell_list(CONFIG, first + 1, 7);
    wait_for_servers(cache, 7);
    tell_list(CONFIG, first + 2, 6);
    wait_for_servers(cache, 6);
    /* Calls that have begun with the earlier list end before the server does. */
    sleep_ms(200);
    server_kill(&servers[0]);
    sleep_ms(200);
    server_restart(&servers[0]);
    tell_list(CONFIG, first + 3, 7);
    wait_for_servers(cache, 7);
    end_callers(callers);
    close_cache(cache);
}

/* ---- What a list means ---- */

static void check_that_nothing_old_returns(void) {
    char value[64];
    tell_list(CONFIG, 11, 1);
    yc_cache *cache = open_discovered("");
    CHECK(set_text(cache, "replaced", "old", NULL) == YC_OK && set_text(cache, "deleted", "old", NULL) == YC_OK);
    CHECK(set_text(cache, "tagged", "old", "tag") == YC_OK && get_text(cache, "tagged", value) == YC_OK);
    tell_list(CONFIG, 12, 2);
    wait_for_servers(cache, 2);
    CHECK(get_text(cache, "replaced", value) == YC_MISS && set_text(cache, "replaced", "new", NULL) == YC_OK);
    CHECK(yc_delete(cache, "deleted", 7, NULL) == YC_MISS);
    CHECK(yc_invalidate_tags(cache, (yc_slice[]){{"tag", 3}}, 1, NULL, NULL) == YC_OK);
    tell_list(CONFIG, 13, 1);
    wait_for_servers(cache, 1);
    CHECK(explains(cache, "replaced", "\"outdated\""));
    CHECK(get_text(cache, "replaced", value) == YC_MISS && get_text(cache, "deleted", value) == YC_MISS);
    CHECK(get_text(cache, "tagged", value) == YC_MISS && yc_exists(cache, "tagged", 6, NULL) == YC_MISS);
    /* Another process of the same list shares its entries. */
    yc_cache *other = open_discovered("");
    CHECK(set_text(cache, "shared", "now", "tag") == YC_OK && get_text(other, "shared", value) == YC_OK);
    CHECK(yc_invalidate_tags(other, (yc_slice[]){{"tag", 3}}, 1, NULL, NULL) == YC_OK && get_text(cache, "shared", value) == YC_MISS);
    close_cache(other);
    close_cache(cache);
}

static void check_that_an_earlier_list_is_ignored(void) {
    char value[64];
    tell_list(CONFIG, 22, 3);
    yc_cache *cache = open_discovered("");
    CHECK(set_text(cache, "kept", "v", NULL) == YC_OK);
    tell_list(CONFIG, 21, 4);
    wait_for_requests();
    CHECK(used_servers(cache) == 3 && get_text(cache, "kept", value) == YC_OK);
    tell_list(CONFIG, 22, 3);
    wait_for_requests();
    CHECK(used_servers(cache) == 3 && get_text(cache, "kept", value) == YC_OK);
    close_cache(cache);
}

static void check_the_old_request(void) {
    char value[64];
    tell_list(OLD, 31, 5);
    yc_cache *cache = open_discovered("");
    CHECK(used_servers(cache) == 5 && set_text(cache, "a", "v", NULL) == YC_OK && get_text(cache, "a", value) == YC_OK);
    /* Without the endpoint the last list stays in use. */
    stop_endpoint();
    sleep_ms(300);
    CHECK(used_servers(cache) == 5 && get_text(cache, "a", value) == YC_OK && strcmp(value, "v") == 0);
    start_endpoint();
    close_cache(cache);
}

static void check_refusal(const char *query, yc_status wanted, const char *words) {
    char url[512];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    write_url(url, query);
    CHECK(yc_open(url, &cache, &error) == wanted);
    if (!CHECK(error && strstr(yc_error_message(error), words))) printf("  %s\n", error ? yc_error_message(error) : "no error");
    yc_error_free(error);
}

static void check_refusals(void) {
    char value[64];
    char url[512];
    tell_list(UNKNOWN, 1, 1);
    write_url(url, "");
    CHECK_REFUSED(url, "configuration endpoint", YC_E_CONFIG);
    check_refusal("&failover=eject", YC_E_CONFIG, "exclude each other");
    /* A call before the first list has the error of the endpoint, and one behind it succeeds. */
    yc_cache *cache = open_discovered("&connect=lazy");
    CHECK(get_text(cache, "a", value) == YC_E_CONFIG && set_text(cache, "a", "v", NULL) == YC_E_CONFIG);
    tell_list(CONFIG, 41, 1);
    for (int waited = 0; waited < WAIT_MS && set_text(cache, "a", "v", NULL) != YC_OK; waited += 20) sleep_ms(20);
    CHECK(get_text(cache, "a", value) == YC_OK);
    close_cache(cache);
}

int main(void) {
    for (int at = 0; at < SERVERS; at++) server_start(&servers[at], SERVER_MEMCACHED, NULL);
    start_endpoint();
    check_changes("", 1);
    check_changes("&binary=true", 5);
    check_that_nothing_old_returns();
    check_that_an_earlier_list_is_ignored();
    check_the_old_request();
    check_refusals();
    stop_endpoint();
    for (int at = 0; at < SERVERS; at++) server_stop(&servers[at]);
    return check_result();
}
