/* Near caches as the tests read them: which value a key has, whether the process has a copy of it, and what the statistics say. */
#ifndef NEAR_COPIES_H
#define NEAR_COPIES_H

#include "../calls.h"
#include "server.h"

enum { TEXT = 64, PATIENCE_MS = 15000, MAX_NEAR_URL = 512 };

/* What a read answered: its status, and the value of a hit. */
typedef struct answered {
    yc_status status;
    char text[TEXT];
} answered;

static inline bool is_text(const answered *self, const char *text) { return self->status == YC_OK && strcmp(self->text, text) == 0; }

static inline answered read_with(yc_cache *cache, const char *key, yc_status (*read)(yc_cache *, const void *, size_t, void *, size_t, size_t *, yc_error **)) {
    answered self = {0};
    size_t len = 0;
    self.status = read(cache, key, strlen(key), self.text, TEXT - 1, &len, NULL);
    if (self.status == YC_OK) self.text[len] = '\0';
    return self;
}

static inline answered get_text(yc_cache *cache, const char *key) { return read_with(cache, key, yc_get_into); }
static inline answered get_copy(yc_cache *cache, const char *key) { return read_with(cache, key, yc_get_near); }

static inline yc_status set_text(yc_cache *cache, const char *key, const char *text, int64_t ttl_ms, const char *tag) {
    yc_slice tags = {tag, tag ? strlen(tag) : 0};
    return yc_set(cache, key, strlen(key), text, strlen(text), ttl_ms, &tags, tag != NULL, NULL);
}

/* Reads a key until the process has a copy of this value. */
static inline bool has_copy(yc_cache *cache, const char *key, const char *text) {
    for (double end = now_ms() + PATIENCE_MS; now_ms() < end; sleep_ms(2)) {
        get_text(cache, key);
        answered copy = get_copy(cache, key);
        if (is_text(&copy, text)) return true;
    }
    printf("  no copy of %s with the value %s came\n", key, text);
    return false;
}

/* A number of the part "near" of the statistics; -1: there is none. True and false are 1 and 0. */
static inline long long near_number(yc_cache *cache, const char *name) {
    char quoted[TEXT], text[4096] = "";
    yc_value *json = NULL;
    size_t len;
    if (yc_stats(cache, &json, NULL) != YC_OK) return -1;
    const char *data = yc_value_data(json, &len);
    memcpy(text, data, len < sizeof text ? len : sizeof text - 1);
    yc_value_free(json);
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *part = strstr(text, "\"near\":{"), *found = part ? strstr(part, quoted) : NULL;
    if (!found) return -1;
    found += strlen(quoted);
    return strncmp(found, "true", 4) == 0 ? 1 : strtoll(found, NULL, 10);
}

/* Waits until a number of the statistics is at least this one. */
static inline bool near_reaches(yc_cache *cache, const char *name, long long number) {
    double end = now_ms() + PATIENCE_MS;
    while (near_number(cache, name) < number && now_ms() < end) sleep_ms(5);
    return near_number(cache, name) >= number;
}

/* Whether the report of the health has this text. */
static inline bool health_has(yc_cache *cache, const char *text) {
    yc_value *json = NULL;
    size_t len;
    if (yc_health(cache, &json, NULL) != YC_OK) return false;
    const char *data = yc_value_data(json, &len);
    bool has = memmem(data, len, text, strlen(text)) != NULL;
    yc_value_free(json);
    return has;
}

#endif
