/* A thousand caches in one process: no thread for each, and a few kilobytes of memory. Prints the time of an open. */
#include "calls.h"

#include <unistd.h>

enum { CACHES = 1000 };

static yc_cache *caches[CACHES];

/* The resident memory of the process. */
static double resident_kb(void) {
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &all, &resident) == 2);
    if (file) fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static int by_time(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Opens the caches. Returns the median time of an open in microseconds. */
static double open_all(const char *config) {
    static double times[CACHES];
    for (int at = 0; at < CACHES; at++) {
        double begun = now_ms();
        caches[at] = open_cache(config);
        times[at] = (now_ms() - begun) * 1000;
    }
    qsort(times, CACHES, sizeof *times, by_time);
    return times[CACHES / 2];
}

/* Stores an entry that expires in each cache, which starts the sweeper. */
static void store_all(void) {
    for (int at = 0; at < CACHES; at++) CHECK_STATUS(yc_set(caches[at], "key", 3, "value", 5, 60000, NULL, 0, NULL), YC_OK);
}

/* Whether the sweeper has removed the entry of every cache. An explanation tells an entry that has expired from one that
 * is gone, and removes nothing itself. */
static bool all_swept(void) {
    bool gone = true;
    for (int at = 0; gone && at < CACHES; at++) {
        yc_value *why = NULL;
        size_t len;
        CHECK_STATUS(yc_explain(caches[at], "key", 3, NULL, 0, &why, NULL), YC_OK);
        const char *text = yc_value_data(why, &len);
        gone = memmem(text, len, "\"not_stored\"", 12) != NULL;
        yc_value_free(why);
    }
    return gone;
}

/* One thread sweeps them all. */
static void check_sweeping(int threads) {
    for (int at = 0; at < CACHES; at++) CHECK_STATUS(yc_expire(caches[at], "key", 3, 1, NULL), YC_OK);
    for (int tries = 0; tries < 500 && !all_swept(); tries++) sleep_ms(10);
    CHECK(all_swept());
    CHECK(threads_are(threads + 1));
}

/* The bounds are well above what is measured, and below what a thread or a set of histograms for each cache takes. */
static void check_many(const char *config, double most_idle_kb, double most_used_kb) {
    int threads = settled_threads(), files = count_files();
    close_cache(open_cache(config));
    double before = resident_kb(), opening = open_all(config);
    double idle = (resident_kb() - before) / CACHES;
    CHECK(threads_are(threads) && count_files() == files);
    store_all();
    double used = (resident_kb() - before) / CACHES;
    CHECK(threads_are(threads + 1) && count_files() == files);
    printf("%s: opened in %.0f us, %.1f kB each when idle, %.1f kB each with an entry\n", config, opening, idle, used);
    CHECK(idle < most_idle_kb && used < most_used_kb);
    check_sweeping(threads);
    for (int at = 0; at < CACHES; at++) close_cache(caches[at]);
    CHECK(threads_are(threads));
}

int main(void) {
    check_many("memory://?max_size=1000&cleanup_interval=20ms", 10, 16);
    check_many("memory://?cleanup_interval=20ms", 12, 18);
    return check_result();
}
