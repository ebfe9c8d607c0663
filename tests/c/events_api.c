/* What a script cannot say of events: handles, threads, event loops, queues, and a reader that is too slow. On Redis and
   Memcached it needs the option events (YC_TEST_OPTIONS).
   events_api [short]: fewer events, and no fork, whose child leaves what it inherits */
#include "event_readers.h"
#include "queues.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 4000, READERS = 4 };

static unsigned n_events = MOST;

/* ---- Handles ---- */

static void check_nothing(void) {
    size_t len = 9;
    int fd = -7;
    yc_event *event = NULL;
    yc_events *reader = NULL;
    CHECK(!yc_event_name(NULL, &len) && len == 0 && !yc_event_name(NULL, NULL) && yc_event_lost(NULL) == 0 && yc_event_kind(NULL) == 0);
    CHECK(yc_event_origin(NULL) == 0 && yc_event_sequence(NULL) == 0 && yc_event_time_ms(NULL) == 0 && yc_event_is_own(NULL) == 0);
    yc_event_free(NULL);
    yc_events_free(NULL);
    CHECK_CALL(yc_events_open(NULL, NULL, &reader, err), YC_E_INVALID);
    CHECK_CALL(yc_events_next(NULL, 0, &event, err), YC_E_INVALID);
    CHECK_CALL(yc_events_fd(NULL, &fd, err), YC_E_INVALID);
    CHECK_CALL(yc_events_close(NULL, err), YC_E_INVALID);
    CHECK(!event && !reader && fd == -7);
}

static void check_refused(yc_cache *cache, yc_events_filter filter, yc_status wanted) {
    yc_events *reader = NULL;
    CHECK_CALL(yc_events_open(cache, &filter, &reader, err), wanted);
    CHECK(reader == NULL);
}

static void check_filters(yc_cache *cache) {
    static char long_name[65537];
    static yc_slice many[1025];
    memset(long_name, 'a', sizeof long_name);
    for (size_t at = 0; at < 1025; at++) many[at] = slice("a");
    const uint32_t size = sizeof(yc_events_filter);
    const uint32_t sizes[] = {0, 1, 8, size - 1};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) check_refused(cache, (yc_events_filter){.struct_size = sizes[at]}, YC_E_INVALID);
    for (int bit = 1; bit < 32; bit++) check_refused(cache, (yc_events_filter){.struct_size = size, .flags = 1U << bit}, YC_E_INVALID);
    for (int bit = 7; bit < 64; bit++) check_refused(cache, (yc_events_filter){.struct_size = size, .kinds = 1ULL << bit | YC_EVENT_TAG}, YC_E_INVALID);
    for (int at = 0; at < 4; at++) {
        yc_events_filter filter = {.struct_size = size};
        filter.reserved[at] = 1;
        check_refused(cache, filter, YC_E_INVALID);
    }
    yc_slice none = {NULL, 1}, empty = {"", 0}, too_long = {long_name, sizeof long_name}, endless = {"a", SIZE_MAX};
    const yc_slice wrong[] = {none, empty, endless};
    for (size_t at = 0; at < 3; at++) check_refused(cache, (yc_events_filter){.struct_size = size, .tags = &wrong[at], .n_tags = 1}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .keys = &none, .n_keys = 1}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .keys = &endless, .n_keys = 1}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .tags = &too_long, .n_tags = 1}, YC_E_TOO_LARGE);
    check_refused(cache, (yc_events_filter){.struct_size = size, .keys = &too_long, .n_keys = 1}, YC_E_TOO_LARGE);
    check_refused(cache, (yc_events_filter){.struct_size = size, .n_tags = 1}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .n_keys = 1}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .tags = many, .n_tags = SIZE_MAX}, YC_E_INVALID);
    check_refused(cache, (yc_events_filter){.struct_size = size, .tags = many, .n_tags = 1025}, YC_E_TOO_LARGE);
    check_refused(cache, (yc_events_filter){.struct_size = size, .tags = many, .n_tags = 1000, .keys = many, .n_keys = 25}, YC_E_TOO_LARGE);
}

/* A filter of a longer, later struct is served; the most names and the longest one are too; NULL selects all events of others. */
static void check_allowed_filters(yc_cache *cache) {
    struct {
        yc_events_filter known;
        uint64_t later[4];
    } later = {{.struct_size = sizeof later, .flags = YC_EVENTS_OWN}, {0}};
    static yc_slice many[1024];
    static char long_name[65536];
    memset(long_name, 'b', sizeof long_name);
    for (size_t at = 0; at < 1024; at++) many[at] = (yc_slice){long_name, sizeof long_name};
    yc_events_filter most = {.struct_size = sizeof most, .flags = YC_EVENTS_OWN, .kinds = 127, .tags = many, .n_tags = 1000, .keys = many, .n_keys = 24};
    yc_events *first = listen_to(cache, &later.known), *second = listen_to(cache, &most), *others = listen_to(cache, NULL);
    yc_event *event = NULL;
    CHECK_STATUS(invalidate(cache, "short"), YC_OK);
    CHECK_STATUS(yc_invalidate_tag(cache, long_name, sizeof long_name, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_delete(cache, long_name, sizeof long_name, NULL), YC_MISS);
    CHECK(next_event_is(first, YC_EVENT_TAG, "short"));
    for (int turn = 0; turn < 2; turn++) {
        size_t len = 0;
        event = next_event(second);
        const void *name = yc_event_name(event, &len);
        CHECK(yc_event_kind(event) == (turn ? YC_EVENT_DELETE : YC_EVENT_TAG) && len == sizeof long_name && memcmp(name, long_name, len) == 0);
        yc_event_free(event);
    }
    CHECK_STATUS(yc_events_next(second, 30, &event, NULL), YC_MISS);
    CHECK_STATUS(yc_events_next(others, 0, &event, NULL), YC_MISS);
    yc_events_free(first);
    yc_events_free(second);
    yc_events_free(others);
}

static void check_arguments(yc_cache *cache) {
    yc_events *reader = listen_to(cache, kinds_of(0));
    yc_event *event = NULL;
    CHECK_CALL(yc_events_open(cache, NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_events_next(reader, -2, &event, err), YC_E_INVALID);
    CHECK_CALL(yc_events_next(reader, INT64_MIN, &event, err), YC_E_INVALID);
    CHECK_CALL(yc_events_next(reader, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_events_fd(reader, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_events_next(reader, 0, &event, err), YC_MISS);
    CHECK(event == NULL);
    /* A call that was refused has taken nothing. */
    CHECK_STATUS(invalidate(cache, "t"), YC_OK);
    CHECK_STATUS(yc_events_next(reader, 10000, NULL, NULL), YC_E_INVALID);
    CHECK(next_event_is(reader, YC_EVENT_TAG, "t"));
    yc_events_free(reader);
}

/* What an event says of itself, also after its reader and its cache are gone. */
static void check_event(void) {
    yc_cache *cache = open_cache(test_url());
    yc_events *reader = listen_to(cache, kinds_of(0));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t before = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    CHECK_STATUS(invalidate(cache, "one"), YC_OK);
    CHECK_STATUS(invalidate(cache, "two"), YC_OK);
    yc_event *one = next_event(reader), *two = next_event(reader);
    close_cache(cache);
    yc_events_free(reader);
    CHECK(is_event(one, YC_EVENT_TAG, "one") && is_event(two, YC_EVENT_TAG, "two"));
    CHECK(yc_event_is_own(one) == 1 && yc_event_origin(one) != 0 && yc_event_origin(one) == yc_event_origin(two));
    CHECK(yc_event_sequence(one) > 0 && yc_event_sequence(two) == yc_event_sequence(one) + 1);
    CHECK(yc_event_time_ms(one) >= before && yc_event_time_ms(two) >= yc_event_time_ms(one) && yc_event_time_ms(two) < before + 60000);
    yc_event_free(one);
    yc_event_free(two);
}

static void check_end(yc_events *reader) {
    yc_event *event = NULL;
    for (int turn = 0; turn < 3; turn++) CHECK_CALL(yc_events_next(reader, -1, &event, err), YC_E_CLOSED);
    CHECK_CALL(yc_events_close(reader, err), YC_OK);
    CHECK(event == NULL);
}

/* What waits at the end can still be taken. */
static void check_close(yc_cache *cache) {
    yc_events *reader = listen_to(cache, kinds_of(0)), *marker = listen_to(cache, kinds_of(0));
    CHECK_STATUS(invalidate(cache, "last"), YC_OK);
    CHECK(next_event_is(marker, YC_EVENT_TAG, "last"));
    sleep_ms(50);
    CHECK_CALL(yc_events_close(reader, err), YC_OK);
    CHECK_STATUS(invalidate(cache, "too late"), YC_OK);
    CHECK(next_event_is(marker, YC_EVENT_TAG, "too late"));
    CHECK(next_event_is(reader, YC_EVENT_TAG, "last"));
    check_end(reader);
    yc_events_free(reader);
    yc_events_free(marker);
}

static void check_closed_cache(void) {
    yc_cache *cache = open_cache(test_url());
    yc_events *closed = listen_to(cache, kinds_of(0)), *freed = listen_to(cache, kinds_of(0)), *late = NULL;
    int fd = -1;
    CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
    check_end(closed);
    CHECK_CALL(yc_events_open(cache, NULL, &late, err), YC_E_CLOSED);
    yc_events_free(closed);
    yc_cache_free(cache);
    CHECK_CALL(yc_events_fd(freed, &fd, err), YC_OK);
    check_end(freed);
    yc_events_free(freed);
    /* Freed without a close. */
    cache = open_cache(test_url());
    freed = listen_to(cache, NULL);
    yc_cache_free(cache);
    check_end(freed);
    yc_events_free(freed);
}

static void check_fork(yc_cache *cache) {
    yc_events *reader = listen_to(cache, kinds_of(0)), *late = NULL;
    yc_event *event = NULL;
    int fd, status = 0;
    CHECK_STATUS(invalidate(cache, "before"), YC_OK);
    yc_event *taken = next_event(reader);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        CHECK_CALL(yc_events_open(cache, NULL, &late, err), YC_E_FORKED);
        CHECK_CALL(yc_events_next(reader, -1, &event, err), YC_E_FORKED);
        CHECK_CALL(yc_events_fd(reader, &fd, err), YC_E_FORKED);
        CHECK_CALL(yc_events_close(reader, err), YC_E_FORKED);
        CHECK(is_event(taken, YC_EVENT_TAG, "before"));
        yc_event_free(taken);
        yc_events_free(reader);
        fflush(stdout);
        _exit(check_result());
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(invalidate(cache, "parent"), YC_OK);
    CHECK(next_event_is(reader, YC_EVENT_TAG, "parent"));
    yc_event_free(taken);
    yc_events_free(reader);
}

/* ---- Threads ---- */

typedef struct reading {
    pthread_t thread;
    yc_events *reader;
    unsigned char *seen;
    unsigned count;
    uint64_t last;
    yc_status end;
} reading;

static unsigned number_of(const yc_event *event) {
    size_t len;
    char text[16] = "";
    const void *name = yc_event_name(event, &len);
    if (name && len < sizeof text) memcpy(text, name, len);
    return (unsigned)strtoul(text, NULL, 10);
}

static void *read_all(void *argument) {
    reading *self = argument;
    yc_event *event = NULL;
    while ((self->end = yc_events_next(self->reader, -1, &event, NULL)) == YC_OK) {
        unsigned number = number_of(event);
        if (CHECK(yc_event_kind(event) == YC_EVENT_DELETE && number < n_events && yc_event_sequence(event) > self->last)) {
            __atomic_fetch_add(&self->seen[number], 1, __ATOMIC_RELAXED);
        }
        self->last = yc_event_sequence(event), self->count++;
        yc_event_free(event);
    }
    return NULL;
}

static void delete_number(yc_cache *cache, unsigned number) {
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    CHECK_STATUS(delete_key(cache, key), YC_MISS);
}

/* Threads share a reader: each event goes to one of them, in order; and all end with the reader. */
static void check_threads(yc_cache *cache) {
    static unsigned char seen[MOST];
    yc_events *reader = listen_to(cache, kinds_of(YC_EVENT_DELETE));
    reading readings[READERS];
    for (int at = 0; at < READERS; at++) {
        readings[at] = (reading){.reader = reader, .seen = seen};
        CHECK(pthread_create(&readings[at].thread, NULL, read_all, &readings[at]) == 0);
    }
    for (unsigned number = 0; number < n_events; number++) delete_number(cache, number);
    for (int tries = 0; tries < 2000 && !__atomic_load_n(&seen[n_events - 1], __ATOMIC_RELAXED); tries++) sleep_ms(5);
    CHECK_STATUS(yc_events_close(reader, NULL), YC_OK);
    unsigned count = 0;
    for (int at = 0; at < READERS; at++) {
        pthread_join(readings[at].thread, NULL);
        CHECK_STATUS(readings[at].end, YC_E_CLOSED);
        count += readings[at].count;
    }
    CHECK(count == n_events);
    for (unsigned number = 0; number < n_events; number++) CHECK(seen[number] == 1);
    yc_events_free(reader);
}

typedef struct writing {
    pthread_t thread;
    yc_cache *cache;
    unsigned first;
} writing;

static void *delete_numbers(void *argument) {
    writing *self = argument;
    for (unsigned number = self->first; number < n_events; number += READERS) delete_number(self->cache, number);
    return NULL;
}

/* Threads delete at the same time: each event comes once, without a gap, and every number of an event is another. */
static void check_writers(yc_cache *cache) {
    static unsigned char seen[MOST], numbers[2 * MOST];
    yc_events *reader = listen_to(cache, kinds_of(YC_EVENT_DELETE | YC_EVENT_TAG));
    writing writings[READERS];
    memset(seen, 0, sizeof seen);
    memset(numbers, 0, sizeof numbers);
    CHECK_STATUS(invalidate(cache, "first"), YC_OK);
    yc_event *event = next_event(reader);
    uint64_t first = yc_event_sequence(event);
    bool has_gap = false;
    yc_event_free(event);
    for (unsigned at = 0; at < READERS; at++) {
        writings[at] = (writing){.cache = cache, .first = at};
        CHECK(pthread_create(&writings[at].thread, NULL, delete_numbers, &writings[at]) == 0);
    }
    for (int at = 0; at < READERS; at++) pthread_join(writings[at].thread, NULL);
    CHECK_STATUS(invalidate(cache, "last"), YC_OK);
    while ((event = next_event(reader)) && yc_event_kind(event) != YC_EVENT_TAG) {
        uint64_t number = yc_event_sequence(event) - first;
        if (is_gap(event)) has_gap = true;
        else if (CHECK(number_of(event) < n_events && number <= n_events)) seen[number_of(event)]++, numbers[number]++;
        yc_event_free(event);
    }
    CHECK(is_event(event, YC_EVENT_TAG, "last") && yc_event_sequence(event) == first + n_events + 1);
    yc_event_free(event);
    CHECK(!has_gap);
    for (unsigned number = 0; number < n_events; number++) CHECK(seen[number] == 1 && numbers[number + 1] == 1);
    yc_events_free(reader);
}

typedef struct waiting {
    pthread_t thread;
    yc_events *reader;
    atomic_bool *begun;
    yc_status end;
} waiting;

static void *wait_for_end(void *argument) {
    waiting *self = argument;
    yc_event *event = NULL;
    atomic_store(self->begun, true);
    self->end = yc_events_next(self->reader, -1, &event, NULL);
    return NULL;
}

/* A reader, or its cache, is closed while threads wait in next. */
static void check_close_during_next(void) {
    for (int turn = 0; turn < 40; turn++) {
        yc_cache *cache = open_cache(test_url());
        yc_events *reader = listen_to(cache, kinds_of(0));
        waiting waitings[2];
        atomic_bool begun = false;
        for (int at = 0; at < 2; at++) {
            waitings[at] = (waiting){.reader = reader, .begun = &begun};
            CHECK(pthread_create(&waitings[at].thread, NULL, wait_for_end, &waitings[at]) == 0);
        }
        while (!atomic_load(&begun)) sleep_ms(1);
        if (turn % 4 > 1) sleep_ms(5);
        if (turn % 2) CHECK_STATUS(yc_events_close(reader, NULL), YC_OK);
        CHECK_STATUS(yc_close(cache, -1, NULL), YC_OK);
        for (int at = 0; at < 2; at++) {
            pthread_join(waitings[at].thread, NULL);
            CHECK_STATUS(waitings[at].end, YC_E_CLOSED);
        }
        yc_events_free(reader);
        yc_cache_free(cache);
    }
}

static atomic_bool stop_churn;

static void *open_and_free(void *cache) {
    while (!atomic_load(&stop_churn)) {
        yc_events *reader = NULL;
        yc_event *event = NULL;
        int fd;
        CHECK_STATUS(yc_events_open(cache, kinds_of(0), &reader, NULL), YC_OK);
        CHECK_STATUS(yc_events_fd(reader, &fd, NULL), YC_OK);
        if (yc_events_next(reader, 1, &event, NULL) == YC_OK) yc_event_free(event);
        yc_events_free(reader);
    }
    return NULL;
}

/* Readers come and go while others read: none of these misses an event. */
static void check_churn(yc_cache *cache) {
    pthread_t threads[2];
    yc_events *reader = listen_to(cache, kinds_of(YC_EVENT_DELETE));
    int files = count_files();
    atomic_store(&stop_churn, false);
    for (int at = 0; at < 2; at++) CHECK(pthread_create(&threads[at], NULL, open_and_free, cache) == 0);
    for (unsigned number = 0; number < n_events / 4; number++) {
        char key[16];
        snprintf(key, sizeof key, "%u", number);
        delete_number(cache, number);
        CHECK(next_event_is(reader, YC_EVENT_DELETE, key));
    }
    atomic_store(&stop_churn, true);
    for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
    for (int tries = 0; tries < 400 && count_files() > files; tries++) sleep_ms(5);
    CHECK(count_files() <= files);
    yc_events_free(reader);
}

/* Nobody reads: each event is received or lost in a gap, those that are received are in order, and their bytes are limited. */
static void check_slow_reader(yc_cache *cache) {
    enum { LIMIT = 10000, LONG = 100 };
    yc_events_filter filter = *kinds_of(YC_EVENT_DELETE);
    filter.max_bytes = LIMIT;
    yc_events *reader = listen_to(cache, &filter), *marker = listen_to(cache, kinds_of(YC_EVENT_FLUSH));
    uint64_t received = 0, lost = 0, bytes = 0, next = 0;
    for (unsigned number = 0; number < n_events; number++) {
        char key[LONG + 1];
        snprintf(key, sizeof key, "%0*u", LONG, number);
        CHECK_STATUS(delete_key(cache, key), YC_MISS);
    }
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK(next_event_is(marker, YC_EVENT_FLUSH, ""));
    while (received + lost < n_events) {
        yc_event *event = next_event(reader);
        if (!event) break;
        size_t len;
        char digits[17] = "";
        const char *name = yc_event_name(event, &len);
        if (name && CHECK(len == LONG)) memcpy(digits, name + LONG - 16, 16);
        if (name) CHECK(strtoull(digits, NULL, 10) == next);
        else CHECK(is_gap(event) && yc_event_lost(event) > 0 && yc_event_origin(event) == 0 && yc_event_sequence(event) == 0 && yc_event_time_ms(event) == 0);
        received += name != NULL, bytes += len, lost += yc_event_lost(event);
        next = received + lost;
        yc_event_free(event);
    }
    CHECK(received + lost == n_events && lost > 0 && received > 0 && bytes <= LIMIT);
    /* It receives again. */
    CHECK_STATUS(delete_key(cache, "again"), YC_MISS);
    CHECK(next_event_is(reader, YC_EVENT_DELETE, "again"));
    yc_events_free(reader);
    yc_events_free(marker);
}

static void *delete_cancelled(void *cache) {
    yc_op op = {.kind = YC_OP_DELETE, .key = "batch", .key_len = 5};
    CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK_STATUS(delete_key(cache, "call"), YC_MISS);
    CHECK_STATUS(yc_batch(cache, &op, 1, sizeof op, NULL), YC_OK);
    pthread_testcancel();
    CHECK(!"the thread is cancelled here");
    return NULL;
}

/* The cancellation of a thread waits for the end of its call, which tells the readers. */
static void check_cancelled_thread(yc_cache *cache) {
    yc_events *reader = listen_to(cache, kinds_of(0));
    pthread_t thread;
    int fd;
    void *result = NULL;
    CHECK_STATUS(yc_events_fd(reader, &fd, NULL), YC_OK);
    CHECK(pthread_create(&thread, NULL, delete_cancelled, cache) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(next_event_is(reader, YC_EVENT_DELETE, "call") && next_event_is(reader, YC_EVENT_DELETE, "batch"));
    yc_events_free(reader);
}

/* ---- Event loops and queues ---- */

static bool is_readable(int fd, int milliseconds) { return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, milliseconds) == 1; }

static void check_descriptor(yc_cache *cache) {
    yc_events *reader = listen_to(cache, kinds_of(0));
    int fd = -1, again = -1;
    yc_event *event = NULL;
    CHECK_CALL(yc_events_fd(reader, &fd, err), YC_OK);
    CHECK_CALL(yc_events_fd(reader, &again, err), YC_OK);
    CHECK(fd >= 0 && fd == again);
    for (int turn = 0; turn < 3; turn++) {
        CHECK(!is_readable(fd, 0));
        CHECK_STATUS(yc_delete_many(cache, (yc_slice[]){slice("a"), slice("b")}, 2, NULL, NULL), YC_OK);
        CHECK(is_readable(fd, 10000) && is_readable(fd, 0));
        CHECK(next_event_is(reader, YC_EVENT_DELETE, "a") && is_readable(fd, 10000));
        CHECK(next_event_is(reader, YC_EVENT_DELETE, "b"));
        CHECK(!is_readable(fd, 0));
        CHECK_STATUS(yc_events_next(reader, 0, &event, NULL), YC_MISS);
    }
    /* An event that is not wanted wakes nobody. */
    yc_events *flushes = listen_to(cache, kinds_of(YC_EVENT_FLUSH));
    CHECK_STATUS(yc_events_fd(flushes, &again, NULL), YC_OK);
    CHECK_STATUS(delete_key(cache, "a"), YC_MISS);
    CHECK(next_event_is(reader, YC_EVENT_DELETE, "a") && !is_readable(again, 20));
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK(is_readable(again, 10000));
    yc_events_free(flushes);
    CHECK(next_event_is(reader, YC_EVENT_FLUSH, ""));
    CHECK_STATUS(yc_events_close(reader, NULL), YC_OK);
    CHECK(is_readable(fd, 0));
    CHECK_STATUS(yc_events_next(reader, 0, &event, NULL), YC_E_CLOSED);
    CHECK(is_readable(fd, 0));
    yc_events_free(reader);
}

static void check_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_events *reader = listen_to(cache, kinds_of(0));
    yc_ticket ticket = 0;
    CHECK_CALL(yc_queue_events_next(queue, NULL, 0, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_queue_events_next(NULL, reader, 0, NULL, err), YC_E_INVALID);
    yc_op op = {.kind = YC_OP_EVENTS_NEXT, .key = "k", .key_len = 1, .user_data = 1};
    size_t accepted = 0;
    if (yc_queue_submit(queue, &op, 1, sizeof op, NULL, &accepted, NULL) == YC_OK) {
        yc_completion refused = take(queue);
        CHECK_STATUS(refused.status, YC_E_INVALID);
        yc_completion_clear(&refused);
    }
    CHECK_STATUS(yc_queue_events_next(queue, reader, 7, NULL, NULL), YC_OK);
    CHECK_STATUS(invalidate(cache, "hello"), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.status == YC_OK && came.kind == YC_OP_EVENTS_NEXT && came.user_data == 7 && is_event(came.event, YC_EVENT_TAG, "hello") && !came.message);
    yc_completion_clear(&came);
    CHECK(came.event == NULL);
    /* An operation that was cancelled has taken no event. */
    for (int turn = 0; turn < 200; turn++) {
        char text[16];
        snprintf(text, sizeof text, "%d", turn);
        CHECK_STATUS(yc_queue_events_next(queue, reader, 8, &ticket, NULL), YC_OK);
        CHECK_STATUS(invalidate(cache, text), YC_OK);
        bool was_cancelled = yc_queue_cancel(queue, ticket, NULL) == YC_OK;
        came = take(queue);
        if (was_cancelled) CHECK(came.status == YC_E_CANCELLED && !came.event && next_event_is(reader, YC_EVENT_TAG, text));
        else CHECK(is_event(came.event, YC_EVENT_TAG, text));
        yc_completion_clear(&came);
    }
    /* A reader is freed while an operation waits for its event. */
    CHECK_STATUS(yc_queue_events_next(queue, reader, 9, NULL, NULL), YC_OK);
    yc_events_free(reader);
    came = take(queue);
    CHECK(came.status == YC_E_CLOSED && came.user_data == 9 && !came.event);
    yc_completion_clear(&came);
    close_queue(queue);
}

/* The gap of a slow reader comes through a queue too. */
static void check_gap_in_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_events_filter filter = *kinds_of(YC_EVENT_DELETE);
    filter.max_bytes = 1;
    yc_events *reader = listen_to(cache, &filter), *marker = listen_to(cache, kinds_of(YC_EVENT_FLUSH));
    for (unsigned number = 0; number < 5; number++) delete_number(cache, number);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK(next_event_is(marker, YC_EVENT_FLUSH, ""));
    sleep_ms(50);
    for (int turn = 0; turn < 2; turn++) {
        CHECK_STATUS(yc_queue_events_next(queue, reader, 1, NULL, NULL), YC_OK);
        yc_completion came = take(queue);
        CHECK(turn ? is_gap(came.event) && yc_event_lost(came.event) == 4 : is_event(came.event, YC_EVENT_DELETE, "0"));
        yc_completion_clear(&came);
    }
    yc_events_free(reader);
    yc_events_free(marker);
    close_queue(queue);
}

/* A queue takes the readers of its own cache. */
static void check_other_cache(yc_cache *cache) {
    yc_cache *other = open_cache(test_url());
    yc_queue *queue = open_queue(other, 0);
    yc_events *reader = listen_to(cache, kinds_of(0));
    CHECK_CALL(yc_queue_events_next(queue, reader, 0, NULL, err), YC_E_INVALID);
    yc_events_free(reader);
    close_queue(queue);
    close_cache(other);
}

/* An event that waits for a reader is no call in flight, for whose end a switch would wait. */
static void check_switch(void) {
    yc_cache *cache = open_cache(test_url());
    yc_queue *queue = open_queue(cache, 0);
    yc_events *reader = listen_to(cache, NULL);
    CHECK_STATUS(yc_queue_events_next(queue, reader, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_switch(cache, "memory://", "{copy: true}", NULL, NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(is_event(came.event, YC_EVENT_SWITCH, "memory") && yc_event_is_own(came.event));
    yc_completion_clear(&came);
    yc_event *event = next_event(reader);
    CHECK(is_gap(event) && yc_event_lost(event) == YC_COUNT_UNKNOWN);
    yc_event_free(event);
    yc_events_free(reader);
    close_queue(queue);
    close_cache(cache);
}

/* Completions that nobody took give their events back, in order. */
static void check_freed_queue(yc_cache *cache) {
    yc_queue *queue = open_queue(cache, 0);
    yc_events *reader = listen_to(cache, kinds_of(0));
    static const char *const names[] = {"0", "1", "2", "3"};
    int fd = -1;
    CHECK_STATUS(yc_queue_fd(queue, &fd, NULL), YC_OK);
    for (int turn = 0; turn < 3; turn++) CHECK_STATUS(yc_queue_events_next(queue, reader, 1, NULL, NULL), YC_OK);
    for (int turn = 0; turn < 4; turn++) CHECK_STATUS(invalidate(cache, names[turn]), YC_OK);
    CHECK(is_readable(fd, 10000));
    sleep_ms(50);
    yc_queue_free(queue);
    for (int turn = 0; turn < 4; turn++) CHECK(next_event_is(reader, YC_EVENT_TAG, names[turn]));
    yc_events_free(reader);
}

/* The end of a cache is the end of the operations that wait for its events. */
static void check_closed_in_queue(void) {
    yc_cache *cache = open_cache(test_url());
    yc_queue *queue = open_queue(cache, 0);
    yc_events *reader = listen_to(cache, kinds_of(0));
    CHECK_STATUS(yc_queue_events_next(queue, reader, 1, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_events_close(reader, NULL), YC_OK);
    yc_completion came = take(queue);
    CHECK(came.status == YC_E_CLOSED && !came.event);
    yc_completion_clear(&came);
    CHECK_STATUS(yc_queue_events_next(queue, reader, 2, NULL, NULL), YC_OK);
    came = take(queue);
    CHECK(came.status == YC_E_CLOSED && came.user_data == 2);
    yc_completion_clear(&came);
    yc_events_free(reader);
    close_queue(queue);
    close_cache(cache);
}

int main(int count, char **arguments) {
    bool is_short = count > 1 && strcmp(arguments[1], "short") == 0;
    if (is_short) n_events = 500;
    yc_cache *cache = open_cache(test_url());
    check_nothing();
    check_filters(cache);
    check_allowed_filters(cache);
    check_arguments(cache);
    check_event();
    check_close(cache);
    check_closed_cache();
    if (!is_short) check_fork(cache);
    check_threads(cache);
    check_writers(cache);
    check_close_during_next();
    check_churn(cache);
    check_slow_reader(cache);
    check_cancelled_thread(cache);
    check_descriptor(cache);
    check_queue(cache);
    check_gap_in_queue(cache);
    check_freed_queue(cache);
    check_other_cache(cache);
    check_closed_in_queue();
    check_switch();
    close_cache(cache);
    return check_result();
}
