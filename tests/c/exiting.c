/* A process that ends while eight threads are in calls ends with its own code, in every one of many tries. */
#include "every.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, TRIES = 60, SECONDS_TO_HANG = 20 };

static void *call_for_ever(void *cache) {
    for (unsigned turn = 0;; turn++) {
        if (EVERY[turn % EVERY_COUNT].run(cache, NULL) < 0) return NULL;
    }
}

static void *log_for_ever(void *unused) {
    for (;;) close_cache(open_cache(busy_url()));
    return unused;
}

static void ignore_line(void *data, int32_t level, const char *line, size_t len) { (void)data, (void)level, (void)line, (void)len; }

/* Every other try closes its cache first. */
static void end_while_busy(int number) {
    pthread_t thread;
    alarm(SECONDS_TO_HANG);
    yc_cache *cache = open_cache(busy_url());
    yc_set_log(YC_LOG_TRACE, ignore_line, NULL, NULL, NULL);
    for (int at = 0; at < THREADS - 1; at++) pthread_create(&thread, NULL, call_for_ever, cache);
    pthread_create(&thread, NULL, log_for_ever, NULL);
    sleep_ms(number % 20);
    if (number % 2) yc_close(cache, 0, NULL);
    exit(0);
}

int main(void) {
    for (int number = 0; number < TRIES; number++) {
        int status = 0;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) end_while_busy(number);
        CHECK(waitpid(child, &status, 0) == child);
        if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) printf("  try %d: status %#x\n", number, (unsigned)status);
    }
    return check_result();
}
