/* An invalidation that is sent again, as its first copy is stuck in the network, and whose first copy arrives last of all:
   it must not bring back what another process set and invalidated in between. */
#include "numbered.h"
#include "resp.h"
#include "server.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_LINES = 16, MAX_HELD = 1 << 16 };

static const yc_slice TAG = {"tag", 3};

/* ---- A network that holds what a connection sends, and delivers it later ---- */

typedef struct line {
    int client, server;
    bool is_held;
    char held[MAX_HELD];
    size_t len;
} line;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static line lines[MAX_LINES];
static size_t count_of_lines;
static int server_port;

static void forward(line *on, const char *bytes, size_t len) {
    pthread_mutex_lock(&lock);
    if (!on->is_held) {
        send(on->server, bytes, len, MSG_NOSIGNAL);
    } else if (on->len + len <= MAX_HELD) {
        memcpy(on->held + on->len, bytes, len);
        on->len += len;
    }
    pthread_mutex_unlock(&lock);
}

static void *carry_requests(void *data) {
    line *on = data;
    char bytes[4096];
    for (ssize_t len; (len = recv(on->client, bytes, sizeof bytes, 0)) > 0;) forward(on, bytes, (size_t)len);
    return NULL;
}

static void *carry_replies(void *data) {
    line *on = data;
    char bytes[4096];
    for (ssize_t len; (len = recv(on->server, bytes, sizeof bytes, 0)) > 0;) send(on->client, bytes, (size_t)len, MSG_NOSIGNAL);
    return NULL;
}

static void start_thread(void *(*body)(void *), void *data) {
    pthread_t thread;
    if (CHECK(pthread_create(&thread, NULL, body, data) == 0)) pthread_detach(thread);
}

/* Descriptors stay open to the end of the test: what was held has to have a way. */
static void *accept_lines(void *data) {
    int listener = *(int *)data;
    for (int client; count_of_lines < MAX_LINES && (client = accept(listener, NULL, NULL)) >= 0;) {
        line *on = &lines[count_of_lines];
        on->client = client;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server_port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        on->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(on->server, (struct sockaddr *)&address, sizeof address) == 0);
        pthread_mutex_lock(&lock);
        count_of_lines++;
        pthread_mutex_unlock(&lock);
        start_thread(carry_requests, on);
        start_thread(carry_replies, on);
    }
    return NULL;
}

static int start_network(void) {
    static int listener;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, MAX_LINES) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    start_thread(accept_lines, &listener);
    return ntohs(address.sin_port);
}

static void hold_lines(void) {
    pthread_mutex_lock(&lock);
    for (size_t at = 0; at < count_of_lines; at++) lines[at].is_held = true;
    pthread_mutex_unlock(&lock);
}

/* How many bytes arrive late. */
static size_t deliver(void) {
    size_t all = 0;
    pthread_mutex_lock(&lock);
    for (size_t at = 0; at < count_of_lines; all += lines[at++].len) send(lines[at].server, lines[at].held, lines[at].len, MSG_NOSIGNAL);
    pthread_mutex_unlock(&lock);
    return all;
}

/* ---- Two processes' caches ---- */

static void set_tagged(yc_cache *cache, const char *key) {
    CHECK_STATUS(yc_set(cache, key, strlen(key), "secret", 6, YC_TTL_NEVER, &TAG, 1, NULL), YC_OK);
}

static yc_status get(yc_cache *cache, const char *key) {
    yc_value *value = NULL;
    yc_status status = yc_get(cache, key, strlen(key), &value, NULL);
    yc_value_free(value);
    return status;
}

static void invalidate(yc_cache *cache) { CHECK_STATUS(yc_invalidate_tag(cache, "tag", 3, NULL, NULL), YC_OK); }

int main(int argc, char **argv) {
    server_kind kind = argc > 1 && strcmp(argv[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    server stored;
    server_start(&stored, kind, (const char *const[]){NULL});
    server_port = stored.port;
    int port = start_network();
    yc_cache *direct = open_cache(server_url(&stored, "key_prefix=late"));
    yc_cache *stuck = open_cache(url_of(kind, port, "key_prefix=late&pool_size=1&socket_timeout=10s"));
    set_tagged(direct, "first");
    CHECK_STATUS(get(stuck, "first"), YC_OK);
    hold_lines();
    invalidate(stuck);
    CHECK_STATUS(get(direct, "first"), YC_MISS);
    set_tagged(direct, "second");
    CHECK_STATUS(get(direct, "second"), YC_OK);
    invalidate(direct);
    CHECK_STATUS(get(direct, "second"), YC_MISS);
    CHECK(deliver() > 0);
    for (int at = 0; at < 20; at++, sleep_ms(10)) CHECK_STATUS(get(direct, "second"), YC_MISS);
    close_cache(stuck);
    close_cache(direct);
    server_stop(&stored);
    return check_result();
}
