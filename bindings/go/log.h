/* Log lines of the library, in a bounded queue that Go takes them from. */
#ifndef YOKED_GO_LOG_H
#define YOKED_GO_LOG_H

#include <stdbool.h>
#include <yokedcache.h>

/* The most lines that wait to be taken. */
enum { YOKED_GO_LOG_LINES = 1024 };

/* The lines for one logger. The library writes to it until it is replaced. */
typedef struct yoked_go_log yoked_go_log;

typedef struct yoked_go_line {
    int32_t level; /* A YC_LOG_ number. */
    int64_t seconds, nanoseconds; /* The time of the line, since 1970. */
    uint64_t dropped; /* The number of lines that were dropped since the line that was taken before. */
    size_t len;
    char *text; /* Owned by the caller: free(). */
} yoked_go_line;

/* Returns NULL if the system has no memory. */
yoked_go_log *yoked_go_log_new(void);

/* Makes it the log of the process. Without a log (NULL) logging ends. */
yc_status yoked_go_set_log(int32_t level, yoked_go_log *log, yc_error **error);

/* Waits for a line. Returns false when the library does not write to the log any more and every line was taken. */
bool yoked_go_log_next(yoked_go_log *log, yoked_go_line *line);

/* Drops the lines that wait, and all later ones. */
void yoked_go_log_discard(yoked_go_log *log);

/* Frees a log that the library does not write to. */
void yoked_go_log_free(yoked_go_log *log);

/* Sets whether the thread runs a handler. Its calls of the library write no lines then: logging would not end. */
void yoked_go_set_handling(bool on);
bool yoked_go_is_handling(void);

#endif
