/* The log. Threads of the library add lines to a bounded queue; the loop of the thread that set the log takes them. */
#include "binding.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* The most lines that wait to be taken. */
enum { MOST_LINES = 1024 };

typedef struct line {
    struct line *next;
    int32_t level;
    struct timespec time;
    size_t len;
    char text[];
} line;

/* The lines for one function. The library owns it until its last line, JavaScript until it is collected. */
typedef struct line_log {
    atomic_int owners;
    watch *watch;               /* NULL after the end. The loop's thread uses it. */

    pthread_mutex_t lock;       /* For the rest. */
    int fd;                     /* Readable while lines wait. -1 after the end. */
    line *first, **end;
    size_t count;
    uint64_t dropped;           /* Since the line that was taken last. */
} line_log;

/* The log that the library writes to. The process has one, the last that any of its threads has set. */
static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER;
static line_log *current;

static void drop_lines(line_log *log) {
    for (line *next; log->first; log->first = next) {
        next = log->first->next;
        free(log->first);
    }
    log->end = &log->first;
    log->count = 0;
}

static void release_log(void *data) {
    line_log *log = data;
    if (atomic_fetch_sub(&log->owners, 1) > 1) return;
    drop_lines(log);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

/* ---- On any thread ---- */

static line *new_line(int32_t level, const char *text, size_t len) {
    line *made = malloc(sizeof *made + len);
    if (!made) return NULL;
    made->next = NULL;
    made->level = level;
    clock_gettime(CLOCK_REALTIME, &made->time);
    made->len = len;
    memcpy(made->text, text, len);
    return made;
}

static bool add_line(line_log *log, line *added) {
    if (!added || log->fd < 0 || log->count == MOST_LINES) return false;
    *log->end = added;
    log->end = &added->next;
    if (log->count++ == 0) eventfd_write(log->fd, 1);
    return true;
}

static void on_line(void *data, int32_t level, const char *text, size_t len) {
    line_log *log = data;
    line *added = new_line(level, text, len);
    pthread_mutex_lock(&log->lock);
    if (!add_line(log, added)) {
        free(added);
        log->dropped++;
    }
    pthread_mutex_unlock(&log->lock);
}

/* ---- On the loop's thread ---- */

/* The watch does not use the descriptor any more. */
static void close_fd(line_log *log) {
    pthread_mutex_lock(&log->lock);
    if (log->fd >= 0) close(log->fd);
    log->fd = -1;
    drop_lines(log);
    pthread_mutex_unlock(&log->lock);
}

static void end_log(line_log *log) {
    pthread_mutex_lock(&setting);
    if (current == log) {
        yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL);
        current = NULL;
    }
    pthread_mutex_unlock(&setting);
    watch_end(log->watch);
    close_fd(log);
}

/* Its JavaScript object was collected, or the environment ends. */
static void on_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    end_log(data);
    release_log(data);
}

static line_log *new_log(void) {
    line_log *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    atomic_init(&made->owners, 1);
    pthread_mutex_init(&made->lock, NULL);
    made->end = &made->first;
    made->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return made;
}

/* Makes it the log of the process; none for NULL. */
static yc_status write_to(line_log *log, int32_t level, yc_error **error) {
    pthread_mutex_lock(&setting);
    if (log) atomic_fetch_add(&log->owners, 1);
    yc_status status = log ? yc_set_log(level, on_line, log, release_log, error) : yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, error);
    if (status == YC_OK) current = log;
    else if (log) release_log(log);
    pthread_mutex_unlock(&setting);
    return status;
}

/* setLog(level, object, onLines) calls onLines() of the object while lines wait. Returns the log, or an error. setLog(0) ends
   logging; it returns undefined or an error. */
napi_value set_log(napi_env env, napi_callback_info info) {
    napi_value given[3], external;
    int32_t level = YC_LOG_OFF;
    yc_error *error = NULL;
    if (!arguments(env, info, 3, given) || !check(env, napi_get_value_int32(env, given[0], &level))) return NULL;
    if (level == YC_LOG_OFF) return write_to(NULL, level, &error) < 0 ? error_of(env, error) : NULL;
    line_log *log = new_log();
    if (!log) return throw_text(env, "out of memory");
    if (!check(env, napi_create_external(env, log, on_collected, NULL, &external))) {
        on_collected(env, log, NULL);
        return NULL;
    }
    if (log->fd < 0) return throw_text(env, "the system has no descriptor left for the log");
    if (!watch_begin(env, log->fd, given[1], given[2], &log->watch)) return NULL;
    watch_listen(log->watch, true);
    return write_to(log, level, &error) < 0 ? error_of(env, error) : external;
}

static line_log *log_of(napi_env env, napi_value value) {
    void *found = NULL;
    return check(env, napi_get_value_external(env, value, &found)) ? found : NULL;
}

static line *take_first(line_log *log, uint64_t *dropped) {
    pthread_mutex_lock(&log->lock);
    line *taken = log->first;
    if (taken) {
        log->first = taken->next;
        if (--log->count == 0) {
            eventfd_t ignored;
            log->end = &log->first;
            eventfd_read(log->fd, &ignored);
        }
        *dropped = log->dropped;
        log->dropped = 0;
    }
    pthread_mutex_unlock(&log->lock);
    return taken;
}

static napi_value line_of(napi_env env, const line *from, uint64_t dropped) {
    napi_value parts[4], list = NULL;
    double time = (double)(from->time.tv_sec * 1000 + from->time.tv_nsec / 1000000);
    bool made = check(env, napi_create_array_with_length(env, 4, &list)) &&
                check(env, napi_create_int32(env, from->level, &parts[0])) &&
                check(env, napi_create_string_utf8(env, from->text, from->len, &parts[1])) &&
                check(env, napi_create_double(env, time, &parts[2])) &&
                check(env, napi_create_double(env, (double)dropped, &parts[3]));
    for (uint32_t at = 0; made && at < 4; at++) made = check(env, napi_set_element(env, list, at, parts[at]));
    return made ? list : NULL;
}

/* takeLine(log) returns [level, text, time, dropped]; undefined without a line. */
napi_value take_line(napi_env env, napi_callback_info info) {
    napi_value given[1];
    uint64_t dropped = 0;
    line_log *log = arguments(env, info, 1, given) ? log_of(env, given[0]) : NULL;
    line *taken = log ? take_first(log, &dropped) : NULL;
    if (!taken) return NULL;
    napi_value result = line_of(env, taken, dropped);
    free(taken);
    return result;
}

/* endLog(log) ends it: no line waits any more. */
napi_value end_of_log(napi_env env, napi_callback_info info) {
    napi_value given[1];
    line_log *log = arguments(env, info, 1, given) ? log_of(env, given[0]) : NULL;
    if (log) end_log(log);
    return NULL;
}
