/* Implements log.h. A thread of the library only adds a line: it enters no Go code and waits for no handler. */
#include "log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct node {
    struct node *next;
    int32_t level;
    struct timespec time;
    size_t len;
    char text[];
} node;

struct yoked_go_log {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    node *first, **end;
    size_t count;
    uint64_t dropped;
    bool is_discarding, is_finalised;
};

static _Thread_local bool is_handling;

void yoked_go_set_handling(bool on) { is_handling = on; }
bool yoked_go_is_handling(void) { return is_handling; }

yoked_go_log *yoked_go_log_new(void)
{
    yoked_go_log *log = calloc(1, sizeof *log);
    if (!log) return NULL;
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->changed, NULL);
    log->end = &log->first;
    return log;
}

static node *new_node(int32_t level, const char *line, size_t len)
{
    node *made = malloc(sizeof *made + len);
    if (!made) return NULL;
    made->next = NULL;
    made->level = level;
    clock_gettime(CLOCK_REALTIME, &made->time);
    made->len = len;
    memcpy(made->text, line, len);
    return made;
}

static void add(yoked_go_log *log, node *line)
{
    pthread_mutex_lock(&log->lock);
    if (line && !log->is_discarding && log->count < YOKED_GO_LOG_LINES) {
        *log->end = line;
        log->end = &line->next;
        log->count++;
        line = NULL;
        pthread_cond_signal(&log->changed);
    } else {
        log->dropped++;
    }
    pthread_mutex_unlock(&log->lock);
    free(line);
}

static void on_line(void *data, int32_t level, const char *line, size_t len)
{
    if (!is_handling) add(data, new_node(level, line, len));
}

static void on_finalised(void *data)
{
    yoked_go_log *log = data;
    pthread_mutex_lock(&log->lock);
    log->is_finalised = true;
    pthread_cond_signal(&log->changed);
    pthread_mutex_unlock(&log->lock);
}

yc_status yoked_go_set_log(int32_t level, yoked_go_log *log, yc_error **error)
{
    if (!log) return yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, error);
    return yc_set_log(level, on_line, log, on_finalised, error);
}

/* Takes the first line. The log is locked. */
static node *take(yoked_go_log *log)
{
    node *line = log->first;
    if (!line) return NULL;
    log->first = line->next;
    if (!log->first) log->end = &log->first;
    log->count--;
    return line;
}

/* Turns a node into a line, whose text takes the memory of the node. */
static void turn_into(node *from, yoked_go_line *line)
{
    line->level = from->level;
    line->seconds = from->time.tv_sec;
    line->nanoseconds = from->time.tv_nsec;
    line->len = from->len;
    line->text = memmove(from, from->text, from->len);
}

bool yoked_go_log_next(yoked_go_log *log, yoked_go_line *line)
{
    pthread_mutex_lock(&log->lock);
    while (!log->first && !log->is_finalised) pthread_cond_wait(&log->changed, &log->lock);
    node *taken = take(log);
    if (taken) {
        line->dropped = log->dropped;
        log->dropped = 0;
    }
    pthread_mutex_unlock(&log->lock);
    if (taken) turn_into(taken, line);
    return taken;
}

void yoked_go_log_discard(yoked_go_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->is_discarding = true;
    for (node *line; (line = take(log));) free(line);
    pthread_mutex_unlock(&log->lock);
}

void yoked_go_log_free(yoked_go_log *log)
{
    /* Also waits for the thread that finalised it, which may still hold the lock. */
    yoked_go_log_discard(log);
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->changed);
    free(log);
}
