/* Calls that another thread cancels with a token: while a server is silent, beside a call that leads their connection, while
   they wait for the load of another, and at the moment of the reply. Every later reply belongs to its request. */
#include "numbered.h"
#include "proxy.h"
#include "server.h"

#include <pthread.h>

enum { CALLS = 4, ROUNDS = 600, NUMBERS = 50 };

/* A get of one number by yc_batch_cancellable() on a thread of its own. */
typedef struct get {
    yc_cache *cache;
    yc_cancel_token *token;
    unsigned number;
    yc_status status;
    pthread_t thread;
} get;

static yc_status get_cancellable(yc_cache *cache, yc_cancel_token *token, unsigned number) {
    char key[NUMBERED_KEY];
    yc_op op = {.kind = YC_OP_GET, .key = key, .key_len = numbered_key(key, number)};
    yc_status status = yc_batch_cancellable(cache, &op, 1, sizeof op, token, NULL);
    if (status != YC_OK) {
        CHECK(op.status == 0 && !op.result && !op.error);
        return status;
    }
    if (CHECK_STATUS(op.status, YC_OK)) {
        size_t len;
        const void *data = yc_value_data(op.result, &len);
        check_numbered(number, data, len);
    }
    yc_value_free(op.result);
    yc_error_free(op.error);
    return op.status;
}

static void *run_get(void *argument) {
    get *self = argument;
    self->status = get_cancellable(self->cache, self->token, self->number);
    return NULL;
}

static void begin_get(get *self, yc_cache *cache, unsigned number) {
    *self = (get){.cache = cache, .token = yc_cancel_token_new(), .number = number};
    CHECK(pthread_create(&self->thread, NULL, run_get, self) == 0);
}

static yc_status end_get(get *self) {
    CHECK(pthread_join(self->thread, NULL) == 0);
    yc_cancel_token_free(self->token);
    return self->status;
}

static void check_values(yc_cache *cache) {
    for (unsigned number = 0; number < NUMBERS; number++) CHECK_STATUS(get_numbered(cache, number, NULL), YC_OK);
}

/* One of these calls leads the connection, the others wait for it. All but one are cancelled before the replies come. */
static void check_late(yc_cache *cache, proxy *between, unsigned kept) {
    check_values(cache);
    proxy_set(between, (proxy_fault){.mode = PROXY_DELAY, .milliseconds = 1000});
    get gets[CALLS];
    for (unsigned at = 0; at < CALLS; at++) {
        begin_get(&gets[at], cache, at);
        sleep_ms(20);
    }
    for (unsigned at = 0; at < CALLS; at++)
        if (at != kept) yc_cancel_token_cancel(gets[at].token);
    for (unsigned at = 0; at < CALLS; at++) CHECK_STATUS(end_get(&gets[at]), at == kept ? YC_OK : YC_E_CANCELLED);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    check_values(cache);
}

/* The only call leads its connection. The server would answer, later: the call ends before that. */
static void check_alone(yc_cache *cache, proxy *between) {
    check_values(cache);
    proxy_set(between, (proxy_fault){.mode = PROXY_DELAY, .milliseconds = 900});
    get one;
    begin_get(&one, cache, 1);
    sleep_ms(100);
    yc_cancel_token_cancel(one.token);
    CHECK_STATUS(end_get(&one), YC_E_CANCELLED);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    check_values(cache);
}

static void check_token(yc_cache *cache) {
    yc_cancel_token *token = yc_cancel_token_new();
    CHECK_STATUS(get_cancellable(cache, token, 1), YC_OK);
    CHECK_STATUS(get_cancellable(cache, token, 2), YC_OK);
    yc_cancel_token_cancel(token);
    CHECK_STATUS(get_cancellable(cache, token, 1), YC_E_CANCELLED);
    CHECK_STATUS(get_cancellable(cache, token, 1), YC_E_CANCELLED);
    yc_cancel_token_free(token);
    yc_cancel_token_free(NULL);
    yc_cancel_token_cancel(NULL);
    yc_op op = {.kind = YC_OP_PING};
    CHECK_CALL(yc_batch_cancellable(cache, &op, 1, sizeof op, NULL, err), YC_E_INVALID);
}

/* The moment of the cancel moves over the time of a call. */
static void check_moments(yc_cache *cache) {
    unsigned answered = 0, cancelled = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        get one;
        begin_get(&one, cache, round % NUMBERS);
        for (volatile unsigned wait = 0; wait < round * 150; wait++) continue;
        yc_cancel_token_cancel(one.token);
        yc_status status = end_get(&one);
        CHECK(status == YC_OK || status == YC_E_CANCELLED);
        answered += status == YC_OK, cancelled += status == YC_E_CANCELLED;
        CHECK_STATUS(get_numbered(cache, (round + 1) % NUMBERS, NULL), YC_OK);
    }
    printf("%u answered, %u cancelled\n", answered, cancelled);
}

/* A call that waits for the load of another holder. Its lease is not lost. */
static void *wait_for_load(void *argument) {
    get *self = argument;
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = 60000};
    yc_op op = {.kind = YC_OP_GET_OR_LEASE, .key = "loaded", .key_len = 6, .value = &options, .value_len = sizeof options};
    self->status = yc_batch_cancellable(self->cache, &op, 1, sizeof op, self->token, NULL);
    return NULL;
}

static void check_waiting(yc_cache *cache) {
    yc_lease_options options = {.struct_size = sizeof options, .wait_ms = -1};
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "loaded", 6, &options, &value, &lease, NULL), YC_LEASED);
    get one = {.cache = cache, .token = yc_cancel_token_new()};
    CHECK(pthread_create(&one.thread, NULL, wait_for_load, &one) == 0);
    sleep_ms(100);
    yc_cancel_token_cancel(one.token);
    CHECK_STATUS(end_get(&one), YC_E_CANCELLED);
    yc_lease_free(lease);
    /* The lease ends in the background. */
    options.wait_ms = 20000;
    lease = NULL;
    CHECK_STATUS(yc_get_or_lease(cache, "loaded", 6, &options, &value, &lease, NULL), YC_LEASED);
    yc_lease_free(lease);
}

static void check_backend(yc_cache *cache) {
    set_numbers(cache, NUMBERS);
    check_token(cache);
    check_moments(cache);
    check_waiting(cache);
}

static void check_server(server_kind kind) {
    server own;
    server_start(&own, kind, NULL);
    proxy *between = proxy_start(own.port);
    char url[MAX_SERVER_URL];
    snprintf(url, sizeof url, "%s://127.0.0.1:%d?pool_size=1&socket_timeout=60s", kind == SERVER_REDIS ? "redis" : "memcached",
             proxy_port(between));
    yc_cache *cache = open_cache(url);
    check_backend(cache);
    check_alone(cache, between);
    for (unsigned kept = 0; kept < CALLS; kept++) check_late(cache, between, kept);
    close_cache(cache);
    proxy_stop(between);
    server_stop(&own);
}

int main(void) {
    yc_cache *memory = open_cache("memory://");
    check_backend(memory);
    close_cache(memory);
    check_server(SERVER_REDIS);
    check_server(SERVER_MEMCACHED);
    return check_result();
}
