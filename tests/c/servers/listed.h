/* Listings of numbered entries, a page at a time, and which of them were seen. */
#ifndef LISTED_H
#define LISTED_H

#include "numbered.h"

typedef struct listed {
    yc_cursor *cursor;
    unsigned char *times;
    unsigned count;
} listed;

static inline listed listed_open(yc_cache *cache, unsigned count) {
    listed self = {.times = calloc(count, 1), .count = count};
    CHECK_STATUS(yc_keys_open(cache, "*", 1, &self.cursor, NULL), YC_OK);
    return self;
}

static inline void listed_note(listed *self, yc_slice key) {
    char text[2 * NUMBERED_KEY] = "";
    unsigned number;
    memcpy(text, key.data, key.len < sizeof text ? key.len : sizeof text - 1);
    const char *found = strstr(text, "key-");
    if (CHECK(found && sscanf(found, "key-%u", &number) == 1 && number < self->count) && self->times[number] < 255) self->times[number]++;
}

/* YC_OK after a page, YC_END behind the last; or an error. */
static inline yc_status listed_next(listed *self) {
    yc_keys *page = NULL;
    size_t count;
    yc_status status = yc_keys_next(self->cursor, 0, &page, NULL);
    if (status != YC_OK) return status;
    const yc_slice *keys = yc_keys_data(page, &count);
    for (size_t at = 0; at < count; at++) listed_note(self, keys[at]);
    yc_keys_free(page);
    return YC_OK;
}

/* The rest of the pages; what fails in between and may be tried again is. */
static inline void listed_finish(listed *self, double milliseconds) {
    double begun = now_ms();
    yc_status status;
    while ((status = listed_next(self)) != YC_END && now_ms() - begun < milliseconds) {
        if (status == YC_OK) continue;
        CHECK_ONE_OF(status, YC_E_CONNECT, YC_E_TIMEOUT, YC_E_BUSY, YC_E_SERVER);
        sleep_ms(20);
    }
    CHECK_STATUS(status, YC_END);
}

/* How many were never listed. */
static inline unsigned listed_missing(const listed *self) {
    unsigned missing = 0;
    for (unsigned number = 0; number < self->count; number++) missing += !self->times[number];
    return missing;
}

static inline void listed_close(listed *self) {
    yc_cursor_free(self->cursor);
    free(self->times);
}

/* Sets the numbers below `count`, many at a time. */
static inline void set_many_numbers(yc_cache *cache, unsigned count) {
    enum { CHUNK = 500 };
    static char keys[CHUNK][NUMBERED_KEY], values[CHUNK][NUMBERED_VALUE];
    yc_slice names[CHUNK], contents[CHUNK];
    for (unsigned first = 0; first < count; first += CHUNK) {
        unsigned some = count - first < CHUNK ? count - first : CHUNK;
        for (unsigned at = 0; at < some; at++) {
            names[at] = (yc_slice){keys[at], numbered_key(keys[at], first + at)};
            contents[at] = (yc_slice){values[at], numbered_value(values[at], first + at)};
        }
        CHECK_STATUS(yc_set_many(cache, names, contents, some, YC_TTL_NEVER, NULL, 0, NULL, NULL), YC_OK);
    }
}

/* How many of the numbers below `count` are still read. */
static inline unsigned count_readable(yc_cache *cache, unsigned count) {
    unsigned readable = 0;
    for (unsigned number = 0; number < count; number++) readable += get_numbered(cache, number, NULL) != YC_MISS;
    return readable;
}

#endif
