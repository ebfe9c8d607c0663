/* Explanations of keys where a script cannot go: what another process invalidates and leases, bytes that are damaged or of
   another program, servers in a cluster and a ring, a fallback, and the counters of a server that must stay as they are.
   The argument is redis, memcached, or servers for those of YC_TEST_URL (a cluster). */
#include "../calls.h"
#include "ports.h"
#include "resp.h"
#include "server.h"

#include <sys/socket.h>
#include <sys/wait.h>

enum { KEYS = 16, MAX_TEXT = 4096 };

/* ---- Reports ---- */

/* The report on a key with the tag "t"; freed by the caller. */
static char *explain(yc_cache *cache, const char *key) {
    yc_value *json = NULL;
    yc_error *error = NULL;
    yc_slice tag = slice("t");
    if (!CHECK_STATUS(yc_explain(cache, key, strlen(key), &tag, 1, &json, &error), YC_OK)) {
        printf("  %s\n", yc_error_message(error));
        yc_error_free(error);
        return strdup("");
    }
    size_t len;
    const char *data = yc_value_data(json, &len);
    char *text = strndup(data, len);
    yc_value_free(json);
    return text;
}

/* Checks that the report on a key has some parts. */
static void check_has(yc_cache *cache, const char *key, const char *const *parts) {
    char *text = explain(cache, key);
    for (; *parts; parts++) {
        if (!CHECK(strstr(text, *parts) != NULL)) printf("  no %s in %s\n", *parts, text);
    }
    free(text);
}

#define CHECK_HAS(cache, key, ...) check_has(cache, key, (const char *const[]){__VA_ARGS__, NULL})

/* The number behind the name of a field, or -1. */
static long long number_in(const char *text, const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = strstr(text, quoted);
    return found && found[strlen(quoted)] != 'n' ? strtoll(found + strlen(quoted), NULL, 10) : -1;
}

/* ---- Another process ---- */

/* Runs in a child, which opens a cache of its own. With `stays` it does not end before it is killed. */
static pid_t in_child(const char *url, void (*work)(yc_cache *), bool stays) {
    int done[2];
    char ready = 0;
    CHECK(pipe(done) == 0);
    fflush(stdout);
    int failed_before = atomic_load(&checks_failed);
    pid_t child = fork();
    if (!child) {
        work(open_cache(url));
        ready = atomic_load(&checks_failed) == failed_before;
        if (write(done[1], &ready, 1) != 1) _exit(1);
        while (stays) pause();
        _exit(0);
    }
    CHECK(read(done[0], &ready, 1) == 1 && ready);
    close(done[0]);
    close(done[1]);
    return child;
}

static void end_child(pid_t child, bool is_killed) {
    int status = 0;
    if (is_killed) kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
}

static void invalidate(yc_cache *cache) { CHECK_STATUS(yc_invalidate_tag(cache, "t", 1, NULL, NULL), YC_OK); }

static void take_leases(yc_cache *cache) {
    yc_lease_options options = {.struct_size = sizeof options, .lease_ms = 60000, .wait_ms = -1};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "held", 4, &options, &value, &lease, NULL), YC_LEASED);
    CHECK_STATUS(yc_get_or_lease(cache, "failed", 6, &options, &value, &lease, NULL), YC_LEASED);
    CHECK_STATUS(yc_lease_abandon(lease, 60000, NULL), YC_OK);
    CHECK_STATUS(yc_get_or_lease(cache, "stale", 5, &options, &value, &lease, NULL), YC_STALE);
}

static void fill_stale(yc_cache *cache) {
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "stale", 5, NULL, &value, &lease, NULL), YC_LEASED);
    yc_fill fill = {.struct_size = sizeof fill, .value = "old", .value_len = 3, .ttl_ms = 20, .stale_for_ms = 60000};
    CHECK_STATUS(yc_lease_fill(lease, &fill, NULL), YC_OK);
    yc_lease_free(lease);
    sleep_ms(40);
}

static void check_others(const char *url) {
    yc_cache *cache = open_cache(url);
    yc_slice tags[] = {slice("t"), slice("u")};
    CHECK_STATUS(yc_set(cache, "tagged", 6, "v", 1, 60000, tags, 2, NULL), YC_OK);
    CHECK_HAS(cache, "tagged", "\"exists\":true", "\"name\":\"t\",\"status\":\"current\"", "\"name\":null,\"status\":\"current\"");
    end_child(in_child(url, invalidate, false), false);
    CHECK_HAS(cache, "tagged", "\"exists\":false", "\"reason\":\"invalidated\"", "\"name\":\"t\",\"status\":\"invalidated\"",
              "\"name\":null,\"status\":\"current\"", "tags were invalidated after the entry was stored: t\"");
    fill_stale(cache);
    pid_t holder = in_child(url, take_leases, true);
    CHECK_HAS(cache, "held", "\"reason\":\"leased\"", "\"kind\":\"held\"", "\"version\":null");
    CHECK_HAS(cache, "failed", "\"reason\":\"held_back\"", "\"kind\":\"held_back\"");
    CHECK_HAS(cache, "stale", "\"state\":\"stale\"", "\"reason\":\"expired\"", "\"kind\":\"held\"", "\"value_bytes\":3");
    char *text = explain(cache, "held");
    long long left = number_in(text, "left_ms");
    CHECK(left > 30000 && left <= 61000);
    free(text);
    end_child(holder, true);
    CHECK_HAS(cache, "held", "\"kind\":\"held\"");
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK_HAS(cache, "held", "\"reason\":\"not_stored\"", "\"lease\":null");
    close_cache(cache);
}

/* ---- Versions and sizes ---- */

static void check_version(const char *url) {
    yc_cache *cache = open_cache(url);
    char *value = filled('x', 1000), part[64];
    uint64_t version = 0;
    CHECK_STATUS(yc_set_if(cache, "v", 1, value, 1000, 60000, NULL, 0, YC_IF_ABSENT, 0, &version, NULL), YC_OK);
    snprintf(part, sizeof part, "\"version\":\"%llu\"", (unsigned long long)version);
    CHECK_HAS(cache, "v", part, "\"value_bytes\":1000");
    CHECK_STATUS(yc_expire(cache, "v", 1, YC_TTL_NEVER, NULL), YC_OK);
    CHECK_HAS(cache, "v", part, "\"ttl_ms\":null", "\"exists\":true");
    free(value);
    close_cache(cache);
}

/* ---- Bytes that are not an entry ---- */

static bool say(int port, const char *text, size_t len, const char *wanted) {
    char answer[64] = "";
    int fd = connect_to(port);
    bool done = fd >= 0 && send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len && recv(fd, answer, sizeof answer - 1, 0) > 0;
    if (fd >= 0) close(fd);
    return done && strncmp(answer, wanted, strlen(wanted)) == 0;
}

/* Stores bytes under a name, as another program does. */
static void store(const server *on, const char *name, const char *bytes, size_t len) {
    char text[MAX_TEXT];
    if (on->kind == SERVER_REDIS) {
        yc_slice words[] = {slice("SET"), slice(name), {bytes, len}};
        reply *answer = ask_words(on->port, words, 3);
        CHECK(answer && answer->kind == '+');
        reply_free(answer);
        return;
    }
    int head = snprintf(text, sizeof text, "set %s 0 0 %zu\r\n", name, len);
    memcpy(text + head, bytes, len);
    memcpy(text + head + len, "\r\n", 2);
    CHECK(say(on->port, text, (size_t)head + len + 2, "STORED"));
}

/* Reads the stored bytes of a name; returns their number. */
static size_t load(const server *on, const char *name, char *bytes, size_t room) {
    char text[MAX_TEXT];
    size_t len = 0;
    if (on->kind == SERVER_REDIS) {
        reply *answer = ask(on->port, "GET %s", name);
        if (CHECK(answer && answer->text && answer->len <= room)) memcpy(bytes, answer->text, len = answer->len);
        reply_free(answer);
        return len;
    }
    int fd = connect_to(on->port), asked = snprintf(text, sizeof text, "get %s\r\n", name);
    CHECK(send(fd, text, (size_t)asked, MSG_NOSIGNAL) == asked);
    ssize_t came = recv(fd, text, sizeof text, 0);
    close(fd);
    char *end = came > 0 ? memchr(text, '\n', (size_t)came) : NULL;
    if (!CHECK(end != NULL)) return 0;
    const char *digits = memrchr(text, ' ', (size_t)(end - text));
    len = digits ? strtoul(digits, NULL, 10) : 0;
    if (!CHECK(len <= room && end + 1 + len <= text + came)) return 0;
    memcpy(bytes, end + 1, len);
    return len;
}

static bool is_stored(const server *on, const char *name) {
    char text[MAX_TEXT];
    if (on->kind == SERVER_REDIS) {
        reply *answer = ask(on->port, "EXISTS %s", name);
        bool there = answer && answer->number == 1;
        reply_free(answer);
        return there;
    }
    return say(on->port, text, (size_t)snprintf(text, sizeof text, "get %s\r\n", name), "VALUE");
}

/* From the metrics: the statistics read entries to count them. */
static long long decode_errors(yc_cache *cache) {
    yc_value *metrics = NULL;
    CHECK_STATUS(yc_metrics(cache, &metrics, NULL), YC_OK);
    size_t len;
    const char *data = yc_value_data(metrics, &len);
    char *text = strndup(data, len), *found = strstr(text, "\nyokedcache_decode_errors_total{");
    const char *number = found ? strstr(found, "} ") : NULL;
    long long errors = CHECK(number != NULL) ? strtoll(number + 2, NULL, 10) : -1;
    free(text);
    yc_value_free(metrics);
    return errors;
}

static void check_bytes(const server *on, const char *query) {
    yc_cache *cache = open_cache(server_url(on, query));
    char bytes[1024];
    CHECK_STATUS(yc_set(cache, "whole", 5, "value", 5, 60000, NULL, 0, NULL), YC_OK);
    size_t len = load(on, "x:e:whole", bytes, sizeof bytes);
    long long before = decode_errors(cache);
    store(on, "x:e:foreign", "bytes of another program", 24);
    store(on, "x:e:empty", "", 0);
    store(on, "x:e:other", bytes, len);
    store(on, "x:e:cut", bytes, len - 3);
    bytes[len - 10] ^= 1;
    store(on, "x:e:damaged", bytes, len);
    bytes[2] = 9;
    store(on, "x:e:later", bytes, len);
    CHECK_HAS(cache, "whole", "\"exists\":true", "\"stored_name\":\"x:e:whole\"");
    CHECK_HAS(cache, "foreign", "\"exists\":false", "\"reason\":\"foreign\"", "\"stored_bytes\":24", "\"version\":null");
    CHECK_HAS(cache, "empty", "\"reason\":\"foreign\"", "\"stored_bytes\":0");
    CHECK_HAS(cache, "other", "\"reason\":\"foreign\"");
    CHECK_HAS(cache, "cut", "\"reason\":\"damaged\"");
    CHECK_HAS(cache, "damaged", "\"reason\":\"damaged\"");
    CHECK_HAS(cache, "later", "\"reason\":\"later_version\"");
    CHECK(decode_errors(cache) == before);
    CHECK(is_stored(on, "x:e:damaged") && is_stored(on, "x:e:foreign"));
    if (on->kind == SERVER_REDIS) {
        CHECK(tell(on->port, "LPUSH x:e:list a"));
        CHECK_HAS(cache, "list", "\"reason\":\"foreign\"");
        CHECK(is_stored(on, "x:e:list"));
    }
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
}

/* In a ring that servers leave an entry counts with the epoch of its server, which these flags are not. */
static void check_ring(const server *one) {
    server other;
    char url[MAX_SERVER_URL], bytes[1024];
    server_start(&other, SERVER_MEMCACHED, (const char *const[]){NULL});
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d,127.0.0.1:%d?key_prefix=x&failover=eject", one->port, other.port);
    yc_cache *cache = open_cache(url);
    yc_slice tag = slice("t");
    CHECK_STATUS(yc_set(cache, "ring", 4, "value", 5, 60000, &tag, 1, NULL), YC_OK);
    CHECK_HAS(cache, "ring", "\"exists\":true", "\"name\":\"t\",\"status\":\"current\"");
    const server *owner = is_stored(one, "x:e:ring") ? one : &other;
    snprintf(url, sizeof url, "\"server\":\"127.0.0.1:%d\"", owner->port);
    CHECK_HAS(cache, "ring", url);
    size_t len = load(owner, "x:e:ring", bytes, sizeof bytes);
    store(owner, "x:e:ring", bytes, len);
    CHECK_HAS(cache, "ring", "\"exists\":false", "\"reason\":\"outdated\"", "\"value_bytes\":5");
    store(owner, "x:e:ring", "foreign", 7);
    CHECK_HAS(cache, "ring", "\"reason\":\"foreign\"");
    CHECK_HAS(cache, "nothing", "\"reason\":\"not_stored\"");
    close_cache(cache);
    server_stop(&other);
}

/* A tag whose version is gone from the server counts as invalidated. */
static void check_lost_tag(const server *on, const char *query) {
    yc_cache *cache = open_cache(server_url(on, query));
    yc_slice tag = slice("t");
    CHECK_STATUS(yc_set(cache, "lost", 4, "v", 1, 60000, &tag, 1, NULL), YC_OK);
    char *text = explain(cache, "lost"), name[64], command[128];
    const char *hash = strstr(text, "\"hash\":\"");
    snprintf(name, sizeof name, "x:t:%.16s", hash ? hash + strlen("\"hash\":\"") : "");
    free(text);
    CHECK(is_stored(on, name));
    if (on->kind == SERVER_REDIS) CHECK(tell(on->port, "DEL %s", name));
    else CHECK(say(on->port, command, (size_t)snprintf(command, sizeof command, "delete %s\r\n", name), "DELETED"));
    CHECK_HAS(cache, "lost", "\"reason\":\"invalidated\"", "\"name\":\"t\",\"status\":\"lost\"", "are missing");
    CHECK(!is_stored(on, name));
    close_cache(cache);
}

/* ---- No use of an entry ---- */

/* Memcached marks an item that was read. */
static void check_unused(const server *on) {
    yc_cache *cache = open_cache(server_url(on, "key_prefix=x"));
    CHECK_STATUS(yc_set(cache, "unused", 6, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_HAS(cache, "unused", "\"exists\":true");
    char text[] = "me x:e:unused\r\n", answer[256] = "";
    int fd = connect_to(on->port);
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) > 0 && recv(fd, answer, sizeof answer - 1, 0) > 0);
    close(fd);
    if (!CHECK(strstr(answer, "fetch=no"))) printf("  %s\n", answer);
    close_cache(cache);
}

/* ---- Servers ---- */

static void check_place(const server *on) {
    yc_cache *cache = open_cache(server_url(on, "key_prefix=x"));
    char part[64];
    snprintf(part, sizeof part, "\"server\":\"127.0.0.1:%d\"", on->port);
    CHECK_HAS(cache, "k", part, on->kind == SERVER_REDIS ? "\"topology\":\"single\"" : "\"topology\":null", "\"slot\":null",
              "\"serving\":\"primary\"", on->kind == SERVER_REDIS ? "\"backend\":\"redis\"" : "\"backend\":\"memcached\"");
    close_cache(cache);
}

/* The node of a cluster that has a name itself. */
static int node_with(const int *ports, size_t n_ports, const char *name) {
    int owner = 0;
    for (size_t at = 0; at < n_ports; at++) {
        reply *answer = ask(ports[at], "GET %s", name);
        if (answer && answer->kind == '$' && answer->text) owner = ports[at];
        reply_free(answer);
    }
    return owner;
}

static void check_cluster(const char *url) {
    int ports[MAX_PORTS];
    size_t n_ports = read_ports("YC_TEST_CLUSTER_PORTS", ports);
    char options[512], key[32], name[64], server_part[64], slot_part[64];
    snprintf(options, sizeof options, "%s%ckey_prefix=explained", url, strchr(url, '?') ? '&' : '?');
    yc_cache *cache = open_cache(options);
    for (int number = 0; number < KEYS; number++) {
        snprintf(key, sizeof key, "key-%d", number);
        snprintf(name, sizeof name, "explained:e:%s", key);
        CHECK_STATUS(yc_set(cache, key, strlen(key), "v", 1, 60000, NULL, 0, NULL), YC_OK);
        reply *slot = ask(ports[0], "CLUSTER KEYSLOT %s", name);
        snprintf(server_part, sizeof server_part, "\"server\":\"127.0.0.1:%d\"", node_with(ports, n_ports, name));
        snprintf(slot_part, sizeof slot_part, "\"slot\":%lld,", slot ? slot->number : -1);
        CHECK_HAS(cache, key, "\"exists\":true", "\"topology\":\"cluster\"", server_part, slot_part);
        reply_free(slot);
    }
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
}

/* While the fallback serves, the report is the fallback's. */
static void check_fallback(server *on) {
    yc_cache *cache = open_cache(server_url(on, "key_prefix=x&fallback=memory&socket_timeout=300ms&socket_connect_timeout=300ms"));
    CHECK_STATUS(yc_set(cache, "k", 1, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_HAS(cache, "k", "\"serving\":\"primary\"", "\"exists\":true");
    server_kill(on);
    CHECK_HAS(cache, "k", "\"serving\":\"fallback\"", "\"backend\":\"memory\"", "\"server\":\"memory\"", "\"reason\":\"not_stored\"");
    CHECK_STATUS(yc_set(cache, "k", 1, "v", 1, 60000, NULL, 0, NULL), YC_OK);
    CHECK_HAS(cache, "k", "\"serving\":\"fallback\"", "\"exists\":true");
    close_cache(cache);
}

/* Without one, a server that is down is an error, never a miss. */
static void check_down(server *on) {
    yc_cache *cache = open_cache(server_url(on, "key_prefix=x&connect=lazy&socket_timeout=300ms&socket_connect_timeout=300ms"));
    yc_value *json = NULL;
    yc_status status = yc_explain(cache, "k", 1, NULL, 0, &json, NULL);
    CHECK((status == YC_E_CONNECT || status == YC_E_TIMEOUT) && !json);
    close_cache(cache);
}

static void check_server(server_kind kind) {
    server own;
    server_start(&own, kind, (const char *const[]){NULL});
    const char *const queries[] = {"key_prefix=x", "key_prefix=x&binary=true"};
    for (int way = 0; way < (kind == SERVER_MEMCACHED ? 2 : 1); way++) {
        char url[MAX_SERVER_URL];
        snprintf(url, sizeof url, "%s", server_url(&own, queries[way]));
        check_others(url);
        check_version(url);
        check_bytes(&own, queries[way]);
        check_lost_tag(&own, queries[way]);
    }
    check_place(&own);
    if (kind == SERVER_MEMCACHED) {
        check_unused(&own);
        check_ring(&own);
    }
    check_fallback(&own);
    check_down(&own);
    server_stop(&own);
}

int main(int count, char **arguments) {
    const char *which = count > 1 ? arguments[1] : "redis";
    if (strcmp(which, "servers") == 0) check_cluster(test_url());
    else check_server(strcmp(which, "redis") == 0 ? SERVER_REDIS : SERVER_MEMCACHED);
    return check_result();
}
