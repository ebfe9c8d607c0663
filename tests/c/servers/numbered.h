/* Entries whose value follows from their key, so that an answer meant for another key shows. */
#ifndef NUMBERED_H
#define NUMBERED_H

#include "../calls.h"

enum { NUMBERED_KEY = 32, NUMBERED_VALUE = 40 };

static inline size_t numbered_key(char *key, unsigned number) {
    return (size_t)snprintf(key, NUMBERED_KEY, "key-%u", number);
}

static inline size_t numbered_value(char *value, unsigned number) {
    return (size_t)snprintf(value, NUMBERED_VALUE, "value of key-%u, %08x", number, number * 2654435761u);
}

static inline void check_numbered(unsigned number, const void *data, size_t len) {
    char wanted[NUMBERED_VALUE];
    size_t wanted_len = numbered_value(wanted, number);
    if (!CHECK(len == wanted_len && memcmp(data, wanted, len) == 0)) {
        printf("  wanted %s, came %.*s\n", wanted, (int)(len < 200 ? len : 200), (const char *)data);
    }
}

static inline yc_status set_numbered(yc_cache *cache, unsigned number) {
    char key[NUMBERED_KEY], value[NUMBERED_VALUE];
    size_t key_len = numbered_key(key, number), value_len = numbered_value(value, number);
    return yc_set(cache, key, key_len, value, value_len, YC_TTL_NEVER, NULL, 0, NULL);
}

/* A hit has to be this key's value. */
static inline yc_status get_numbered(yc_cache *cache, unsigned number, yc_error **err) {
    char key[NUMBERED_KEY];
    size_t key_len = numbered_key(key, number), len;
    yc_value *value = NULL;
    yc_status status = yc_get(cache, key, key_len, &value, err);
    if (status == YC_OK) {
        const void *data = yc_value_data(value, &len);
        check_numbered(number, data, len);
    }
    yc_value_free(value);
    return status;
}

/* Sets the numbers below `count`. */
static inline void set_numbers(yc_cache *cache, unsigned count) {
    for (unsigned number = 0; number < count; number++) CHECK_STATUS(set_numbered(cache, number), YC_OK);
}

/* A time, and how long this thread had waited for a processor until then: what other programs took is not the library's. */
typedef struct moment {
    double at, waited;
} moment;

static inline double waited_for_processor(void) {
    unsigned long long ran, waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file && fscanf(file, "%llu %llu", &ran, &waited) != 2) waited = 0;
    if (file) fclose(file);
    return (double)waited / 1e6;
}

static inline moment moment_now(void) { return (moment){now_ms(), waited_for_processor()}; }

/* What no call may take longer than its deadline. */
enum { DEADLINE_SLACK_MS = 50 };

static inline bool in_time(moment begun, double deadline_ms) {
    double took = now_ms() - begun.at, waited = waited_for_processor() - begun.waited;
    if (CHECK(took - waited <= deadline_ms + DEADLINE_SLACK_MS)) return true;
    printf("  a call with a deadline of %g ms took %g ms\n", deadline_ms, took);
    return false;
}

static inline yc_status get_in_time(yc_cache *cache, unsigned number, double deadline_ms) {
    moment begun = moment_now();
    yc_status status = get_numbered(cache, number, NULL);
    in_time(begun, deadline_ms);
    return status;
}

static inline bool is_one_of(yc_status status, const yc_status *allowed, size_t count) {
    for (size_t at = 0; at < count; at++) {
        if (status == allowed[at]) return true;
    }
    printf("  %s\n", yc_status_name(status));
    return false;
}

#define CHECK_ONE_OF(call, ...) \
    CHECK(is_one_of((call), (const yc_status[]){__VA_ARGS__}, sizeof((const yc_status[]){__VA_ARGS__}) / sizeof(yc_status)))

/* Whether the numbers below `count`, one after another, are all served; of one that is not, the status is kept. */
static inline bool serves(yc_cache *cache, unsigned count, yc_status *last) {
    for (unsigned number = 0; number < count; number++) {
        if ((*last = get_numbered(cache, number, NULL)) < 0) return false;
    }
    return true;
}

/* Whether they are again within that time; until then errors may come that a later call does not have. */
static inline bool recovers(yc_cache *cache, unsigned count, double milliseconds) {
    double begun = now_ms();
    yc_status last = YC_OK;
    while (!serves(cache, count, &last) && now_ms() - begun < milliseconds) {
        if (!CHECK_ONE_OF(last, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_PROTOCOL, YC_E_SERVER)) return false;
        sleep_ms(5);
    }
    if (last >= 0 && now_ms() - begun <= milliseconds) return true;
    printf("  after %g ms: %s\n", now_ms() - begun, yc_status_name(last));
    return false;
}

/* A number of a report behind `"name":`, or -1. */
static inline long long stat_of(yc_cache *cache, const char *name) {
    char quoted[64];
    yc_value *json = NULL;
    size_t len;
    if (yc_stats(cache, &json, NULL) != YC_OK) return -1;
    const char *data = yc_value_data(json, &len);
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = memmem(data, len, quoted, strlen(quoted));
    long long number = -1;
    if (found) {
        char digits[32] = "";
        size_t left = len - (size_t)(found + strlen(quoted) - data);
        memcpy(digits, found + strlen(quoted), left < sizeof digits - 1 ? left : sizeof digits - 1);
        number = strtoll(digits, NULL, 10);
    }
    yc_value_free(json);
    return number;
}

#endif
