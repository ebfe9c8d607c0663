/* idle.c - what memory caches cost that are not called: the time to open one, resident memory, threads. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yokedcache.h>

enum { CACHES = 1000 };

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* A number of /proc/self/status, such as VmRSS in kB. */
static long status(const char *name)
{
    char line[256];
    long number = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            number = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file) {
        fclose(file);
    }
    return number;
}

static yc_cache *open_one(void)
{
    yc_cache *cache;
    yc_error *error = NULL;
    if (yc_open("memory://", &cache, &error) != YC_OK) {
        fprintf(stderr, "idle: %s\n", yc_error_message(error));
        exit(1);
    }
    return cache;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(void)
{
    static double times[CACHES];
    static yc_cache *caches[CACHES];
    double started = now_us();
    open_one();
    double first = now_us() - started;
    long idle = status("VmRSS"), threads = status("Threads"), before = idle;
    for (int i = 0; i < CACHES; i++) {
        started = now_us();
        caches[i] = open_one();
        times[i] = now_us() - started;
    }
    double grown = (double)(status("VmRSS") - before) / CACHES, more = (double)(status("Threads") - threads) / CACHES;
    qsort(times, CACHES, sizeof *times, compare);
    printf("# Idle caches\n\n| of memory caches that are not called | measured |\n|---|---|\n");
    printf("| yc_open, median of %d, µs | %.1f |\n", CACHES, times[CACHES / 2]);
    printf("| the first yc_open of a process, µs | %.1f |\n", first);
    printf("| resident memory of an idle program with one cache, MB | %.1f |\n", (double)idle / 1e3);
    printf("| threads of an idle program with one cache | %ld |\n", threads);
    printf("| resident memory of each of %d more caches, kB | %.1f |\n", CACHES, grown);
    printf("| threads of each of %d more caches | %.3f |\n", CACHES, more);
    for (int i = 0; i < CACHES; i++) {
        yc_cache_free(caches[i]);
    }
    return 0;
}
