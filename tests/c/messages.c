/* What a script cannot say of channels: handles, threads, event loops, queues, and a reader that is too slow.
   messages [short]: fewer messages, and no fork, whose child leaves what it inherits */
#include "queues.h"
#include "subscriptions.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 20000, READERS = 4 };

static unsigned n_messages = MOST;

/* ---- Handles ---- */

static void check_nothing(void) {
    size_t len = 9;
    int fd;
    yc_message *message = NULL;
    CHECK(!yc_message_channel(NULL, &len) && len == 0 && !yc_message_data(NULL, NULL) && yc_message_lost(NULL) == 0);
    yc_message_free(NULL);
    yc_subscription_free(NULL);
    CHECK_CALL(yc_subscription_next(NULL, 0, &message, err), YC_E_INVALID);
    CHECK_CALL(yc_subscription_fd(NULL, &fd, err), YC_E_INVALID);
    CHECK_CALL(yc_subscription_close(NULL, err), YC_E_INVALID);
}

static void check_arguments(yc_cache *cache) {
    yc_subscription *subscription = NULL;
    yc_message *message = NULL;
    yc_slice channel = slice("news");
    yc_filter filter = *filter_of("news", NULL);
    CHECK_CALL(yc_subscribe(cache, NULL, &subscription, err), YC_E_INVALID);
    CHECK_CALL(yc_subscribe(cache, &filter, NULL, err), YC_E_INVALID);
    filter.struct_size = 8;
    CHECK_CALL(yc_subscribe(cache, &filter, &subscription, err), YC_E_INVALID);
    filter = (yc_filter){.struct_size = sizeof filter, .flags = 1, .channels = &channel, .n_channels = 1};
    CHECK_CALL(yc_subscribe(cache, &filter, &subscription, err), YC_E_INVALID);
    filter = (yc_filter){.struct_size = sizeof filter, .n_channels = 1};
    CHECK_CALL(yc_subscribe(cache, &filter, &subscription, err), YC_E_INVALID);
    filter = (yc_filter){.struct_size = sizeof filter, .channels = &channel, .n_channels = SIZE_MAX};
    CHECK_CALL(yc_subscribe(cache, &filter, &subscription, err), YC_E_INVALID);
    CHECK_CALL(yc_publish(cache, NULL, 1, "m", 1, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_publish(cache, "c", 1, NULL, 1, NULL, err), YC_E_INVALID);
    CHECK(subscription == NULL);
    subscription = subscribe(cache, filter_of("news", NULL));
    CHECK_CALL(yc_subscription_next(subscription, -2, &message, err), YC_E_INVALID);
    CHECK_CALL(yc_subscription_next(subscription, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_subscription_next(subscription, 0, &message, err), YC_MISS);
    yc_subscription_free(subscription);
}

static void check_close(yc_cache *cache) {
    yc_subscription *subscription = subscribe(cache, filter_of("closing", NULL));
    yc_message *message = NULL;
    CHECK_STATUS(publish(cache, "closing", "last"), YC_OK);
    CHECK(next_is(subscription, "closing", "last"));
    CHECK_CALL(yc_subscription_close(subscription, err), YC_OK);
    CHECK_STATUS(publish(cache, "closing", "too late"), YC_OK);
    CHECK_CALL(yc_subscription_next(subscription, -1, &message, err), YC_E_CLOSED);
    yc_subscription_free(subscription);
}

static void check_cache_is_freed(void) {
    yc_cache *cache = open_cache(test_url());
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    yc_message *message = NULL;
    yc_cache_free(cache);
    CHECK_CALL(yc_subscription_next(subscription, -1, &message, err), YC_E_CLOSED);
    yc_subscription_free(subscription);
}

static void check_fork(yc_cache *cache) {
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    yc_message *message = NULL;
    int fd, status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        CHECK_CALL(yc_subscription_next(subscription, -1, &message, err), YC_E_FORKED);
        CHECK_CALL(yc_subscription_fd(subscription, &fd, err), YC_E_FORKED);
        CHECK_CALL(yc_subscription_close(subscription, err), YC_E_FORKED);
        yc_subscription_free(subscription);
        _exit(check_result());
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(publish(cache, "news", "parent"), YC_OK);
    CHECK(next_is(subscription, "news", "parent"));
    yc_subscription_free(subscription);
}

/* ---- Threads ---- */

typedef struct reader {
    pthread_t thread;
    yc_subscription *subscription;
    unsigned char *seen;
    unsigned count, last;
    yc_status end;
} reader;

static void *read_all(void *argument) {
    reader *self = argument;
    yc_message *message = NULL;
    while ((self->end = yc_subscription_next(self->subscription, -1, &message, NULL)) == YC_OK) {
        size_t len;
        const void *data = yc_message_data(message, &len);
        unsigned number = n_messages;
        if (CHECK(len == sizeof number)) memcpy(&number, data, len);
        if (CHECK(number < n_messages && (self->count == 0 || number > self->last))) __atomic_fetch_add(&self->seen[number], 1, __ATOMIC_RELAXED);
        self->last = number, self->count++;
        yc_message_free(message);
    }
    return NULL;
}

/* Threads share a subscription: each message goes to one of them, in order; and all end with the subscription. */
static void check_threads(yc_cache *cache) {
    static unsigned char seen[MOST];
    yc_filter filter = *filter_of("numbers", NULL);
    filter.max_bytes = 1 << 30;
    yc_subscription *subscription = subscribe(cache, &filter);
    reader readers[READERS];
    for (int at = 0; at < READERS; at++) {
        readers[at] = (reader){.subscription = subscription, .seen = seen};
        CHECK(pthread_create(&readers[at].thread, NULL, read_all, &readers[at]) == 0);
    }
    for (unsigned number = 0; number < n_messages; number++) {
        CHECK_STATUS(yc_publish(cache, "numbers", 7, &number, sizeof number, NULL, NULL), YC_OK);
    }
    for (int tries = 0; tries < 2000 && !__atomic_load_n(&seen[n_messages - 1], __ATOMIC_RELAXED); tries++) sleep_ms(5);
    CHECK_STATUS(yc_subscription_close(subscription, NULL), YC_OK);
    unsigned count = 0;
    for (int at = 0; at < READERS; at++) {
        pthread_join(readers[at].thread, NULL);
        CHECK_STATUS(readers[at].end, YC_E_CLOSED);
        count += readers[at].count;
    }
    CHECK(count == n_messages);
    for (unsigned number = 0; number < n_messages; number++) CHECK(seen[number] == 1);
    yc_subscription_free(subscription);
}

/* Nobody reads: each message is received or counted as lost, and those that are received are in order. */
static void check_slow_reader(yc_cache *cache) {
    yc_filter filter = *filter_of(NULL, "num*");
    filter.max_bytes = 10000;
    yc_subscription *subscription = subscribe(cache, &filter);
    uint64_t received = 0, lost = 0, next = 0;
    for (unsigned number = 0; number < n_messages; number++) {
        CHECK_STATUS(yc_publish(cache, "numbers", 7, &number, sizeof number, NULL, NULL), YC_OK);
    }
    while (received + lost < n_messages) {
        yc_message *message = next_message(subscription);
        if (!message) break;
        size_t len;
        const void *data = yc_message_data(message, &len);
        unsigned number = 0;
        if (data) memcpy(&number, data, sizeof number);
        CHECK(!data || number == next);
        next += data ? 1 : yc_message_lost(message);
        received += data ? 1 : 0, lost += yc_message_lost(message);
        yc_message_free(message);
    }
    CHECK(received + lost == n_messages && lost > 0 && received > 0);
    yc_subscription_free(subscription);
}

static void *publish_cancelled(void *cache) {
    yc_op op = {.kind = YC_OP_PUBLISH, .key = "news", .key_len = 4, .value = "batch", .value_len = 5};
    CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK_STATUS(publish(cache, "news", "call"), YC_OK);
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    pthread_testcancel();
    CHECK(!"the thread is cancelled here");
    return NULL;
}

/* The cancellation of a thread waits for the end of its call, which tells an event loop. */
static void check_cancelled_publisher(yc_cache *cache) {
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    pthread_t thread;
    int fd;
    CHECK_STATUS(yc_subscription_fd(subscription, &fd, NULL), YC_OK);
    CHECK(pthread_create(&thread, NULL, publish_cancelled, cache) == 0);
    void *result = NULL;
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(next_is(subscription, "news", "call") && next_is(subscription, "news", "batch"));
    yc_subscription_free(subscription);
}

/* ---- Event loops and queues ---- */

static bool is_readable(int fd, int milliseconds) { return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, milliseconds) == 1; }

static void check_descriptor(yc_cache *cache) {
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    int fd = -1;
    yc_message *message = NULL;
    CHECK_CALL(yc_subscription_fd(subscription, &fd, err), YC_OK);
    for (int turn = 0; turn < 3; turn++) {
        CHECK(!is_readable(fd, 0));
        CHECK_STATUS(publish(cache, "news", "hello"), YC_OK);
        CHECK(is_readable(fd, 10000) && is_readable(fd, 0));
        CHECK(next_is(subscription, "news", "hello"));
        CHECK_STATUS(yc_subscription_next(subscription, 0, &message, NULL), YC_MISS);
    }
    CHECK_STATUS(yc_subscription_close(subscription, NULL), YC_OK);
    CHECK(is_readable(fd, 0));
    yc_subscription_free(subscription);
}

static void check_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    yc_op op = {.kind = YC_OP_PUBLISH, .key = "news", .key_len = 4, .value = "hello", .value_len = 5, .user_data = 1};
    yc_ticket ticket = 0;
    CHECK_CALL(yc_queue_subscription_next(queue, NULL, 0, NULL, err), YC_E_INVALID);
    CHECK_STATUS(submit(queue, op, NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.status == YC_OK && came.kind == YC_OP_PUBLISH && (came.number == 1 || came.number == -1) && !came.message);
    yc_completion_clear(&came);
    CHECK_STATUS(yc_queue_subscription_next(queue, subscription, 7, NULL, NULL), YC_OK);
    came = take(queue);
    CHECK(came.kind == YC_OP_SUBSCRIPTION_NEXT && came.user_data == 7 && is_message(came.message, "news", "hello"));
    yc_completion_clear(&came);
    CHECK(came.message == NULL);
    /* An operation that was cancelled has taken no message. */
    for (int turn = 0; turn < 200; turn++) {
        char text[16];
        snprintf(text, sizeof text, "%d", turn);
        CHECK_STATUS(yc_queue_subscription_next(queue, subscription, 8, &ticket, NULL), YC_OK);
        CHECK_STATUS(publish(cache, "news", text), YC_OK);
        bool was_cancelled = yc_queue_cancel(queue, ticket, NULL) == YC_OK;
        came = take(queue);
        if (was_cancelled) CHECK(came.status == YC_E_CANCELLED && !came.message && next_is(subscription, "news", text));
        else CHECK(is_message(came.message, "news", text));
        yc_completion_clear(&came);
    }
    /* A subscription is freed while an operation waits for its message. */
    CHECK_STATUS(yc_queue_subscription_next(queue, subscription, 9, NULL, NULL), YC_OK);
    yc_subscription_free(subscription);
    came = take(queue);
    CHECK(came.status == YC_E_CLOSED && came.user_data == 9);
    yc_completion_clear(&came);
    close_queue(queue);
}

static void check_other_cache(yc_cache *cache) {
    yc_cache *other = open_cache(test_url());
    yc_queue *queue = open_queue(other, 0);
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    CHECK_CALL(yc_queue_subscription_next(queue, subscription, 0, NULL, err), YC_E_INVALID);
    yc_subscription_free(subscription);
    close_queue(queue);
    close_cache(other);
}

/* A message that waits for a reader is no call in flight, for whose end a switch would wait. */
static void check_switch(void) {
    yc_cache *cache = open_cache(test_url());
    yc_queue *queue = open_queue(cache, 0);
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    CHECK_STATUS(yc_queue_subscription_next(queue, subscription, 1, NULL, NULL), YC_OK);
    double begun = now_ms();
    CHECK_STATUS(yc_switch(cache, "memory://", "{copy: true}", NULL, NULL), YC_OK);
    CHECK(now_ms() - begun < 30000);
    yc_completion came = take(queue);
    CHECK(yc_message_lost(came.message) == YC_COUNT_UNKNOWN);
    yc_completion_clear(&came);
    CHECK_STATUS(publish(cache, "news", "new"), YC_OK);
    yc_message *message = next_message(subscription);
    /* Another gap, if calls were in flight meanwhile. */
    if (yc_message_lost(message)) {
        yc_message_free(message);
        message = next_message(subscription);
    }
    CHECK(is_message(message, "news", "new"));
    yc_message_free(message);
    yc_subscription_free(subscription);
    close_queue(queue);
    close_cache(cache);
}

/* Completions that nobody took give their messages back, in order. */
static void check_freed_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_subscription *subscription = subscribe(cache, filter_of("news", NULL));
    static const char *const texts[] = {"0", "1", "2", "3"};
    int fd = -1;
    CHECK_STATUS(yc_queue_fd(queue, &fd, NULL), YC_OK);
    for (int turn = 0; turn < 3; turn++) CHECK_STATUS(yc_queue_subscription_next(queue, subscription, 1, NULL, NULL), YC_OK);
    for (int turn = 0; turn < 4; turn++) CHECK_STATUS(publish(cache, "news", texts[turn]), YC_OK);
    CHECK(is_readable(fd, 10000));
    sleep_ms(50);
    yc_queue_free(queue);
    for (int turn = 0; turn < 4; turn++) CHECK(next_is(subscription, "news", texts[turn]));
    yc_subscription_free(subscription);
}

int main(int count, char **arguments) {
    bool is_short = count > 1 && strcmp(arguments[1], "short") == 0;
    if (is_short) n_messages = 1000;
    yc_cache *cache = open_cache(test_url());
    check_nothing();
    check_arguments(cache);
    check_close(cache);
    check_cache_is_freed();
    if (!is_short) check_fork(cache);
    check_threads(cache);
    check_slow_reader(cache);
    check_cancelled_publisher(cache);
    check_descriptor(cache);
    check_queue(cache);
    check_freed_queue(cache);
    check_other_cache(cache);
    check_switch();
    close_cache(cache);
    return check_result();
}
