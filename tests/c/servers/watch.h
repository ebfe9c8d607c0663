/* Holds log lines, messages and reports against a word that none of them may have: a password. */
#ifndef WATCH_H
#define WATCH_H

#include "../calls.h"

static const char *watched_word = "";
static atomic_uint watched_lines;

static inline void check_silent(const char *text, size_t len) {
    if (*watched_word && !CHECK(memmem(text, len, watched_word, strlen(watched_word)) == NULL)) printf("  it is in: %.*s\n", (int)len, text);
}

static inline void watch_line(void *data, int32_t level, const char *line, size_t len) {
    (void)data, (void)level;
    atomic_fetch_add(&watched_lines, 1);
    check_silent(line, len);
}

static inline void check_report(yc_status status, yc_value *json) {
    size_t len;
    const char *text = yc_value_data(json, &len);
    if (status == YC_OK) check_silent(text, len);
    yc_value_free(status == YC_OK ? json : NULL);
}

static inline void check_reports(yc_cache *cache) {
    yc_value *json = NULL;
    check_report(yc_health(cache, &json, NULL), json);
    json = NULL;
    check_report(yc_stats(cache, &json, NULL), json);
}

static inline void watch_for(const char *word) {
    watched_word = word;
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, watch_line, NULL, NULL, NULL), YC_OK);
}

static inline void watch_end(void) {
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    CHECK(atomic_load(&watched_lines) > 0);
}

#endif
