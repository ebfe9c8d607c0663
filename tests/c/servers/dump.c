/* What newer Memcached servers say to a walk over their names, and what a broken one might: said by a relay between the library
   and a server. */
#include "numbered.h"
#include "resp.h"
#include "server.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEYS = 30, CHUNK = 64 * 1024, TIMES = 5 };

static const char DUMP[] = "lru_crawler metadump hash\r\n", STATS[] = "stats\r\n";

typedef enum script { PASS, SAYS_OK, IS_LOCKED, IS_LOCKED_SHORT, EXPANDS, IS_FULL, NEVER_ENDS, HAS_LONG_NAMES } script;

static _Atomic(script) now;
static atomic_int times, dumps, early_dumps, server_port;

typedef struct ends_of {
    int client, server;
} ends_of;

static bool say(int fd, const char *text) { return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text); }

static void dump_without_end(int fd) {
    char lines[CHUNK] = "";
    size_t len = 0;
    for (unsigned at = 0; len + 100 < sizeof lines; at++)
        len += (size_t)snprintf(lines + len, 100, "key=dump%%3Ae%%3A%u exp=-1 la=1 cas=1 fetch=no cls=1 size=63\r\n", at);
    while (send(fd, lines, len, MSG_NOSIGNAL) == (ssize_t)len) continue;
}

static void dump_long_name(int fd) {
    char name[1000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    say(fd, "key=dump%3Ae%3A");
    say(fd, name);
    say(fd, " exp=-1 la=1 cas=1 fetch=no cls=1 size=63\r\nEND\r\n");
}

/* Whether the relay answered itself. */
static bool answers_dump(int client) {
    atomic_fetch_add(&dumps, 1);
    switch (atomic_load(&now)) {
    case SAYS_OK: say(client, "OK\r\n"); return false;
    case IS_LOCKED: return atomic_fetch_sub(&times, 1) > 0 && say(client, "ERROR locked try again later\r\n");
    case IS_LOCKED_SHORT: return atomic_fetch_sub(&times, 1) > 0 && say(client, "OK\r\nlocked try again later\r\n");
    case EXPANDS:
    case IS_FULL: atomic_fetch_add(&early_dumps, atomic_load(&times) > 0); return false;
    case NEVER_ENDS: dump_without_end(client); return true;
    case HAS_LONG_NAMES: dump_long_name(client); return true;
    default: return false;
    }
}

static bool answers_stats(int client) {
    bool expands = atomic_load(&now) == EXPANDS;
    if (!expands && atomic_load(&now) != IS_FULL) return false;
    if (atomic_fetch_sub(&times, 1) <= 0) return false;
    return say(client, "STAT curr_items 98305\r\nSTAT hash_power_level 16\r\nSTAT hash_is_expanding ") &&
           say(client, expands ? "1\r\nEND\r\n" : "0\r\nEND\r\n");
}

static bool is(const char *bytes, ssize_t len, const char *line) {
    return len == (ssize_t)strlen(line) && memcmp(bytes, line, (size_t)len) == 0;
}

static void *relay(void *argument) {
    ends_of both = *(ends_of *)argument;
    char bytes[CHUNK];
    struct pollfd ends[] = {{both.client, POLLIN, 0}, {both.server, POLLIN, 0}};
    free(argument);
    while (poll(ends, 2, -1) > 0) {
        bool from_client = ends[0].revents != 0;
        ssize_t len = recv(from_client ? both.client : both.server, bytes, sizeof bytes, 0);
        if (len <= 0) break;
        if (from_client && is(bytes, len, DUMP) && answers_dump(both.client)) continue;
        if (from_client && is(bytes, len, STATS) && answers_stats(both.client)) continue;
        if (send(from_client ? both.server : both.client, bytes, (size_t)len, MSG_NOSIGNAL) != len) break;
    }
    close(both.client);
    close(both.server);
    return NULL;
}

static void *accept_all(void *listener) {
    int client;
    while ((client = accept(*(int *)listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        ends_of *both = malloc(sizeof *both);
        *both = (ends_of){client, connect_to(atomic_load(&server_port))};
        pthread_create(&thread, NULL, relay, both);
        pthread_detach(thread);
    }
    return NULL;
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 50)) exit(check_result() | 1);
    getsockname(listener, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    return listener;
}

static void play(script one, int often) {
    atomic_store(&times, often);
    atomic_store(&dumps, 0);
    atomic_store(&early_dumps, 0);
    atomic_store(&now, one);
}

static yc_status list(yc_cache *cache, size_t *total) {
    yc_cursor *cursor = NULL;
    yc_keys *page = NULL;
    yc_status status;
    size_t count;
    *total = 0;
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &cursor, NULL), YC_OK);
    while ((status = yc_keys_next(cursor, 0, &page, NULL)) == YC_OK) {
        yc_keys_data(page, &count);
        *total += count;
        yc_keys_free(page);
    }
    yc_cursor_free(cursor);
    return status;
}

static void check_listed(yc_cache *cache, size_t wanted) {
    size_t total;
    CHECK_STATUS(list(cache, &total), YC_END);
    if (!CHECK(total == wanted)) printf("  listed %zu\n", total);
}

/* Everything that walks works with the words of a newer server. */
static void check_words(yc_cache *cache, script words) {
    uint64_t keys = 0;
    set_numbers(cache, KEYS);
    play(words, TIMES);
    check_listed(cache, KEYS);
    if (words != SAYS_OK) CHECK(atomic_load(&dumps) > TIMES);
    play(words, TIMES);
    CHECK_STATUS(yc_size(cache, &keys, NULL, NULL), YC_OK);
    CHECK(keys == KEYS);
    play(words, TIMES);
    CHECK_STATUS(yc_invalidate_pattern(cache, "key-1*", 6, NULL, NULL), YC_OK);
    check_listed(cache, KEYS - 11);
    play(words, TIMES);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    check_listed(cache, 0);
}

/* No walk begins while the table is being enlarged, or is about to be. */
static void check_waits(yc_cache *cache, script table) {
    set_numbers(cache, KEYS);
    play(table, TIMES);
    check_listed(cache, KEYS);
    CHECK(atomic_load(&early_dumps) == 0 && atomic_load(&dumps) == 1);
    play(PASS, 0);
}

/* What would never end, ends with an error; and the next walk is right. */
static void check_ends(yc_cache *cache, script broken) {
    size_t total;
    set_numbers(cache, KEYS);
    play(broken, 0);
    CHECK_ONE_OF(list(cache, &total), YC_E_PROTOCOL, YC_E_TIMEOUT);
    CHECK_ONE_OF(yc_flush(cache, NULL, NULL), YC_E_PROTOCOL, YC_E_TIMEOUT);
    play(PASS, 0);
    check_listed(cache, KEYS);
}

int main(void) {
    server of;
    int port;
    pthread_t thread;
    server_start(&of, SERVER_MEMCACHED, NULL);
    atomic_store(&server_port, of.port);
    int listener = listen_on_loopback(&port);
    pthread_create(&thread, NULL, accept_all, &listener);
    yc_cache *cache = open_cache(url_of(SERVER_MEMCACHED, port, "key_prefix=dump&socket_timeout=10s"));
    check_words(cache, SAYS_OK);
    check_words(cache, IS_LOCKED);
    check_words(cache, IS_LOCKED_SHORT);
    check_waits(cache, EXPANDS);
    check_waits(cache, IS_FULL);
    check_ends(cache, NEVER_ENDS);
    check_ends(cache, HAS_LONG_NAMES);
    close_cache(cache);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    server_stop(&of);
    return check_result();
}
