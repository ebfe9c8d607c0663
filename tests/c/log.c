/* The log callback: levels, lines, finalisers called once, and callbacks that call the library. */
#include "every.h"

#include <pthread.h>

typedef struct journal {
    atomic_int lines, finalised, most_level;
    atomic_bool well_formed;
    yc_cache *used;
    char text[4096];
} journal;

static void write_line(void *data, int32_t level, const char *line, size_t len) {
    journal *log = data;
    atomic_fetch_add(&log->lines, 1);
    if (level > atomic_load(&log->most_level)) atomic_store(&log->most_level, level);
    if (line[len] != '\0' || strlen(line) != len || strchr(line, '\n') || !len) atomic_store(&log->well_formed, false);
    if (strlen(log->text) + len + 2 < sizeof log->text) strcat(strcat(log->text, line), "\n");
}

static void finalise(void *data) { atomic_fetch_add(&((journal *)data)->finalised, 1); }

static journal fresh(void) {
    journal log = {.text = ""};
    atomic_store(&log.well_formed, true);
    return log;
}

static void open_and_close(const char *config) { close_cache(open_cache(config)); }

static void check_lines(void) {
    journal log = fresh();
    CHECK_CALL(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, err), YC_OK);
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, write_line, &log, finalise, NULL), YC_OK);
    open_and_close("memory://?key_prefix=seen");
    CHECK(atomic_load(&log.lines) >= 2 && atomic_load(&log.well_formed));
    CHECK(strstr(log.text, "opened") && strstr(log.text, "closed") && strstr(log.text, "seen"));
    CHECK(atomic_load(&log.finalised) == 0);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    CHECK(atomic_load(&log.finalised) == 1);
    int lines = atomic_load(&log.lines);
    open_and_close("memory://");
    CHECK(atomic_load(&log.lines) == lines);
}

static void check_levels(void) {
    for (int32_t level = YC_LOG_ERROR; level <= YC_LOG_TRACE; level++) {
        journal log = fresh();
        CHECK_STATUS(yc_set_log(level, write_line, &log, finalise, NULL), YC_OK);
        open_and_close("memory://");
        CHECK(atomic_load(&log.most_level) <= level);
        CHECK((atomic_load(&log.lines) > 0) == (level >= YC_LOG_INFO));
        CHECK_STATUS(yc_set_log(YC_LOG_TRACE, NULL, NULL, NULL, NULL), YC_OK);
        CHECK(atomic_load(&log.finalised) == 1);
    }
}

static void check_replacement(void) {
    journal first = fresh(), second = fresh();
    CHECK_STATUS(yc_set_log(YC_LOG_INFO, write_line, &first, finalise, NULL), YC_OK);
    CHECK_STATUS(yc_set_log(YC_LOG_INFO, write_line, &second, finalise, NULL), YC_OK);
    CHECK(atomic_load(&first.finalised) == 1 && atomic_load(&second.finalised) == 0);
    open_and_close("memory://");
    CHECK(atomic_load(&first.lines) == 0 && atomic_load(&second.lines) >= 2);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    CHECK(atomic_load(&first.finalised) == 1 && atomic_load(&second.finalised) == 1);
}

/* Off, or without a callback: the data is released at once. An unknown level: the data remains the caller's. */
static void check_finaliser_without_log(void) {
    journal log = fresh();
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, write_line, &log, finalise, NULL), YC_OK);
    CHECK(atomic_load(&log.finalised) == 1);
    CHECK_STATUS(yc_set_log(YC_LOG_INFO, NULL, &log, finalise, NULL), YC_OK);
    CHECK(atomic_load(&log.finalised) == 2);
    CHECK_STATUS(yc_set_log(99, write_line, &log, finalise, NULL), YC_E_INVALID);
    CHECK(atomic_load(&log.finalised) == 2);
}

static void check_no_finaliser(void) {
    journal log = fresh();
    CHECK_STATUS(yc_set_log(YC_LOG_INFO, write_line, &log, NULL, NULL), YC_OK);
    open_and_close("memory://");
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    CHECK(atomic_load(&log.lines) >= 2);
}

/* Calls that a callback makes are not logged: the logging would never end. */
static void call_library(void *data, int32_t level, const char *line, size_t len) {
    journal *log = data;
    write_line(data, level, line, len);
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(log->used, NULL) >= 0);
    open_and_close("memory://?key_prefix=inner");
}

static void check_callback_that_calls(void) {
    journal log = fresh();
    log.used = open_cache("memory://");
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, call_library, &log, finalise, NULL), YC_OK);
    open_and_close("memory://?key_prefix=outer");
    CHECK(strstr(log.text, "outer") && !strstr(log.text, "inner"));
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    close_cache(log.used);
}

/* A callback that ends logging, and a finaliser that opens a cache and sets a log. */
static void end_logging(void *data, int32_t level, const char *line, size_t len) {
    write_line(data, level, line, len);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
}

static void finalise_with_calls(void *data) {
    finalise(data);
    open_and_close("memory://");
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
}

static void check_callback_that_ends(void) {
    journal log = fresh();
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, end_logging, &log, finalise_with_calls, NULL), YC_OK);
    open_and_close("memory://");
    CHECK(atomic_load(&log.lines) == 1 && atomic_load(&log.finalised) == 1);
}

static atomic_bool stop_threads;

static void *open_for_a_while(void *unused) {
    while (!atomic_load(&stop_threads)) open_and_close("memory://");
    return unused;
}

/* Logs replaced while threads write: each is finalised once, and none is written to after that. */
static void write_unless_over(void *data, int32_t level, const char *line, size_t len) {
    CHECK(atomic_load(&((journal *)data)->finalised) == 0);
    atomic_fetch_add(&((journal *)data)->lines, 1);
    (void)level, (void)line, (void)len;
}

static void check_replacement_while_writing(void) {
    static journal logs[200];
    pthread_t threads[4];
    for (int at = 0; at < 4; at++) pthread_create(&threads[at], NULL, open_for_a_while, NULL);
    for (int at = 0; at < 200; at++) {
        CHECK_STATUS(yc_set_log(YC_LOG_TRACE, write_unless_over, &logs[at], finalise, NULL), YC_OK);
        sleep_ms(at % 3);
    }
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    atomic_store(&stop_threads, true);
    for (int at = 0; at < 4; at++) pthread_join(threads[at], NULL);
    for (int at = 0; at < 200; at++) CHECK(atomic_load(&logs[at].finalised) == 1);
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    while ((text = strstr(text, part))) count++, text++;
    return count;
}

/* Each probable mistake in a configuration is logged at the level WARN by each opening. */
static void check_notes(void) {
    journal log = fresh();
    CHECK_STATUS(yc_set_log(YC_LOG_WARN, write_line, &log, finalise, NULL), YC_OK);
    open_and_close("redis://127.0.0.1:1?connect=lazy&socket_timeout=5s&key_prefix=app");
    open_and_close("memory://");
    CHECK(!strstr(log.text, "key_prefix") && !strstr(log.text, "seconds"));
    open_and_close("redis://127.0.0.1:1?connect=lazy&socket_timeout=3000&socket_connect_timeout=10");
    CHECK(occurrences(log.text, "key_prefix is not set") == 1);
    CHECK(occurrences(log.text, "3000 is 3000 seconds") == 1 && strstr(log.text, "`3000ms`"));
    CHECK(!strstr(log.text, "socket_connect_timeout"));
    open_and_close("memcached://127.0.0.1:1?connect=lazy");
    CHECK(occurrences(log.text, "key_prefix is not set") == 2);
    CHECK(atomic_load(&log.most_level) <= YC_LOG_WARN && atomic_load(&log.well_formed));
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
}

int main(void) {
    check_lines();
    check_levels();
    check_replacement();
    check_finaliser_without_log();
    check_no_finaliser();
    check_notes();
    check_callback_that_calls();
    check_callback_that_ends();
    check_replacement_while_writing();
    return check_result();
}
