/* Subscriptions whose server fails, refuses them, or is replaced: a gap where messages may be missing, and never an end
   that nobody is told of.
   channels */
#include "proxy.h"
#include "resp.h"
#include "scripted.h"
#include "server.h"
#include "../subscriptions.h"

#include <signal.h>

static const char OPTIONS[] = "socket_timeout=500ms&socket_connect_timeout=500ms&key_prefix=channels";

/* Publishes until a message comes: the subscription is there again. */
static bool hears_again(yc_subscription *subscription, yc_cache *cache) {
    double end = now_ms() + 10000;
    while (now_ms() < end) {
        yc_message *message = NULL;
        if (publish(cache, "news", "again") == YC_OK && yc_subscription_next(subscription, 20, &message, NULL) == YC_OK) {
            bool is = is_message(message, "news", "again");
            yc_message_free(message);
            return CHECK(is);
        }
        sleep_ms(5);
    }
    return false;
}

/* Waits for the gap that ends an outage. */
static bool has_gap(yc_subscription *subscription) {
    yc_message *message = NULL;
    double end = now_ms() + 15000;
    yc_status status;
    do status = yc_subscription_next(subscription, 200, &message, NULL);
    while (status != YC_OK && now_ms() < end);
    bool is = yc_message_lost(message) == YC_COUNT_UNKNOWN;
    yc_message_free(message);
    return is;
}

static void check_outage(void) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&of, OPTIONS));
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL)), *second = NULL;
    yc_message *message = NULL;
    for (int turn = 0; turn < 5; turn++) {
        CHECK_STATUS(publish(cache, "news", "before"), YC_OK);
        CHECK(next_is(subscription, "news", "before"));
        server_kill(&of);
        CHECK_STATUS(publish(cache, "news", "lost"), YC_E_CONNECT);
        sleep_ms(50);
        CHECK_CALL(yc_subscription_next(subscription, 50, &message, err), YC_E_CONNECT);
        CHECK_CALL(yc_subscribe(cache, filter_of("news", NULL), &second, err), YC_E_CONNECT);
        server_restart(&of);
        CHECK(has_gap(subscription));
        CHECK(hears_again(subscription, cache));
        while (yc_subscription_next(subscription, 100, &message, NULL) == YC_OK) yc_message_free(message);
    }
    /* Killed with its cache. */
    server_kill(&of);
    close_cache(cache);
    CHECK_CALL(yc_subscription_next(subscription, -1, &message, err), YC_E_CLOSED);
    yc_subscription_free(subscription);
    server_stop(&of);
}

/* Nothing happens for long: the subscriptions stay, and no gap says otherwise. */
static void check_idle(yc_cache *cache) {
    yc_subscription *idle[8];
    yc_message *message = NULL;
    for (int at = 0; at < 8; at++) idle[at] = subscribe(cache, filter_of("news", NULL));
    CHECK_STATUS(yc_subscription_next(idle[0], 12000, &message, NULL), YC_MISS);
    for (int at = 0; at < 8; at++) {
        CHECK_STATUS(yc_subscription_next(idle[at], 0, &message, NULL), YC_MISS);
        yc_subscription_free(idle[at]);
    }
}

/* Each connection of the server is closed, its subscriptions too. */
static void check_killed_clients(yc_cache *cache, const server *of) {
    yc_subscription *subscription = subscribe(cache, filter_of(NULL, "n*"));
    for (int turn = 0; turn < 10; turn++) {
        CHECK(tell(of->port, "CLIENT KILL TYPE pubsub"));
        CHECK(has_gap(subscription));
        CHECK_STATUS(publish(cache, "news", "after"), YC_OK);
        CHECK(next_is(subscription, "news", "after"));
    }
    yc_subscription_free(subscription);
}

static void check_receivers(yc_cache *cache) {
    yc_subscription *first = subscribe(cache, filter_of("news", NULL)), *second = subscribe(cache, filter_of(NULL, "n*"));
    uint64_t receivers = 9;
    CHECK_STATUS(yc_publish(cache, "other", 5, "m", 1, &receivers, NULL), YC_OK);
    CHECK(receivers == 0);
    CHECK_STATUS(yc_publish(cache, "news", 4, "m", 1, &receivers, NULL), YC_OK);
    CHECK(receivers == 2);
    yc_subscription_free(first);
    yc_subscription_free(second);
}

/* A user without the permission for the channels, also one who loses it. */
static void check_denied(const server *of) {
    char config[256];
    yc_subscription *subscription = NULL;
    yc_message *message = NULL;
    CHECK(tell(of->port, "ACL SETUSER reader on >secret ~* +@all resetchannels &channels:c:allowed"));
    snprintf(config, sizeof config, "redis://reader:secret@127.0.0.1:%d?%s", of->port, OPTIONS);
    yc_cache *cache = open_cache(config);
    CHECK_CALL(yc_subscribe(cache, filter_of("secret", NULL), &subscription, err), YC_E_DENIED);
    CHECK_CALL(yc_subscribe(cache, filter_of(NULL, "*"), &subscription, err), YC_E_DENIED);
    CHECK_CALL(yc_publish(cache, "secret", 6, "m", 1, NULL, err), YC_E_DENIED);
    subscription = subscribe(cache, filter_of("allowed", NULL));
    CHECK_STATUS(publish(cache, "allowed", "hello"), YC_OK);
    CHECK(next_is(subscription, "allowed", "hello"));
    CHECK(tell(of->port, "ACL SETUSER reader resetchannels"));
    CHECK_CALL(yc_subscription_next(subscription, 10000, &message, err), YC_E_DENIED);
    yc_subscription_free(subscription);
    close_cache(cache);
}

/* The connection of the subscription is silent without an end: it is replaced, and the gap says so. */
static void check_black_hole(const server *of) {
    proxy *between = proxy_start(of->port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), OPTIONS)), *direct = open_cache(server_url(of, OPTIONS));
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    proxy_freeze(between);
    CHECK_STATUS(publish(direct, "news", "lost"), YC_OK);
    CHECK(has_gap(subscription));
    CHECK_STATUS(publish(direct, "news", "after"), YC_OK);
    CHECK(next_is(subscription, "news", "after"));
    /* Idle, but alive: no gap. */
    yc_message *message = NULL;
    CHECK_STATUS(yc_subscription_next(subscription, 7000, &message, NULL), YC_MISS);
    yc_subscription_free(subscription);
    close_cache(cache);
    close_cache(direct);
    proxy_stop(between);
}

/* The address leads to another server, and the one before lives on: the publications and the subscription of a cache meet at
   one of them, whichever of its connections moved first. */
static void check_moved_address(const server *of) {
    for (int listener_first = 0; listener_first < 2; listener_first++) {
        server other;
        server_start(&other, SERVER_REDIS, NULL);
        proxy *between = proxy_start(of->port);
        yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), OPTIONS)), *there = open_cache(server_url(&other, OPTIONS));
        yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
        CHECK_STATUS(publish(cache, "news", "before"), YC_OK);
        CHECK(next_is(subscription, "news", "before"));
        proxy_direct(between, other.port);
        CHECK(tell(of->port, "CLIENT KILL TYPE %s", listener_first ? "pubsub" : "normal"));
        CHECK(has_gap(subscription));
        CHECK_STATUS(publish(there, "news", "there"), YC_OK);
        CHECK(next_is(subscription, "news", "there"));
        double end = now_ms() + 10000;
        while (publish(cache, "news", "after") != YC_OK && now_ms() < end) sleep_ms(10);
        CHECK(next_is(subscription, "news", "after"));
        yc_subscription_free(subscription);
        close_cache(cache);
        close_cache(there);
        proxy_stop(between);
        server_stop(&other);
    }
}

/* ---- Memcached, whose channels a Redis server carries ---- */

static void check_memcached(void) {
    server of, carrier;
    char url[512];
    yc_message *message = NULL;
    uint64_t flags = 0;
    server_start(&of, SERVER_MEMCACHED, NULL);
    server_start(&carrier, SERVER_REDIS, NULL);
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d?%s&events=redis://127.0.0.1:%d/0?socket_timeout=500ms", of.port, OPTIONS, carrier.port);
    yc_cache *cache = open_cache(url), *redis = open_cache(server_url(&carrier, OPTIONS));
    CHECK(yc_capabilities(cache, &flags, NULL) == YC_OK && flags & YC_CAN_PUBLISH && !(flags & YC_CAN_COMMAND));
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL)), *other = subscribe(redis, filter_of("news", NULL));
    CHECK_STATUS(publish(cache, "news", "hello"), YC_OK);
    CHECK(next_is(subscription, "news", "hello") && next_is(other, "news", "hello"));
    CHECK_STATUS(publish(redis, "news", "from Redis"), YC_OK);
    CHECK(next_is(subscription, "news", "from Redis"));
    server_kill(&carrier);
    CHECK_STATUS(yc_set(cache, "a", 1, "1", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, "a", 1, NULL), YC_OK);
    CHECK_STATUS(publish(cache, "news", "lost"), YC_E_CONNECT);
    CHECK_STATUS(yc_subscription_next(subscription, 50, &message, NULL), YC_E_CONNECT);
    server_restart(&carrier);
    CHECK(has_gap(subscription) && hears_again(subscription, cache));
    yc_subscription_free(subscription);
    yc_subscription_free(other);
    close_cache(cache);
    close_cache(redis);
    server_stop(&carrier);
    server_stop(&of);
}

/* ---- A server that answers wrongly ---- */

static const char *answers_to_subscribe[] = {
    "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n", /* Of a channel outside the prefix. */
    "+OK\r\n", ":7\r\n", "$-1\r\n", "*0\r\n", "*-1\r\n", "*1\r\n:7\r\n", "*1\r\n$7\r\nunknown\r\n", "*3\r\n$7\r\nmessage\r\n", "?\r\n", "*99999999999\r\n",
    "-ERR unknown command\r\n", "*2\r\n$7\r\nmessage\r\n$15\r\nchannels:c:news\r\n",
};

typedef struct script {
    const char *answer;
    int times;
} script;

/* Answers rightly, but the first attempts to subscribe wrongly. */
static size_t answer(void *data, const yc_slice *words, size_t count, char out[SCRIPTED_ROOM]) {
    script *self = data;
    if (is_command(words, count, "SUBSCRIBE")) {
        static const char right[] = "*3\r\n$9\r\nsubscribe\r\n$15\r\nchannels:c:news\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$15\r\nchannels:c:news\r\n$5\r\nright\r\n";
        return say(out, __atomic_sub_fetch(&self->times, 1, __ATOMIC_SEQ_CST) < 0 ? right : self->answer);
    }
    if (is_command(words, count, "PING")) return say(out, "+PONG\r\n");
    if (is_command(words, count, "INFO")) return say(out, "$0\r\n\r\n");
    if (is_command(words, count, "CLIENT")) return say(out, "+OK\r\n");
    return say(out, "-NOSCRIPT No matching script\r\n");
}

static void check_wrong_answers(void) {
    for (size_t at = 0; at < sizeof answers_to_subscribe / sizeof *answers_to_subscribe; at++) {
        script script = {answers_to_subscribe[at], 1};
        scripted *of = scripted_start(NULL, answer, &script);
        yc_cache *cache = open_cache(url_of(SERVER_REDIS, scripted_port(of), OPTIONS));
        yc_subscription *subscription = NULL;
        yc_error *error = NULL;
        yc_status status = yc_subscribe(cache, filter_of("news", NULL), &subscription, &error);
        CHECK(status < 0 && error && !subscription);
        yc_error_free(error);
        subscription = subscribe(cache, filter_of("news", NULL));
        CHECK(next_is(subscription, "news", "right"));
        yc_subscription_free(subscription);
        close_cache(cache);
        scripted_stop(of);
    }
}

int main(void) {
    server of;
    int threads = count_threads(), files = count_files();
    server_start(&of, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&of, OPTIONS));
    check_receivers(cache);
    check_killed_clients(cache, &of);
    check_idle(cache);
    close_cache(cache);
    check_denied(&of);
    check_black_hole(&of);
    check_moved_address(&of);
    server_stop(&of);
    check_outage();
    check_wrong_answers();
    check_memcached();
    CHECK(threads_are(threads) && count_files() <= files);
    return check_result();
}
