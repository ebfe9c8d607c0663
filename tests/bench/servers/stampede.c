/*
 * stampede.c - many callers ask for one cold key at once; one of them loads it.
 *
 *   stampede URL PROCESSES CALLERS LOAD_MS
 *
 * Prints in one line: the loads, the callers that got the value, and the milliseconds from the fill until the last
 * caller had it. CALLERS are the threads of each process.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yokedcache.h>

enum { STACK = 256 * 1024 };

/* Shared by all processes. */
static struct {
    atomic_int ready, started, loads, served;
    _Atomic double filled, last;
} *shared;

static yc_cache *cache;
static char key[64];
static int load_ms;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000L }, NULL);
}

static void must(yc_status status, yc_error *error)
{
    if (status < 0) {
        fprintf(stderr, "stampede: %s\n", yc_error_message(error));
        _exit(1);
    }
}

static void served(void)
{
    double now = now_ms(), last = atomic_load(&shared->last);
    while (last < now && !atomic_compare_exchange_weak(&shared->last, &last, now)) {
    }
    atomic_fetch_add(&shared->served, 1);
}

static void load(yc_lease *lease)
{
    yc_error *error = NULL;
    yc_fill fill = { .struct_size = sizeof fill, .value = "value", .value_len = 5, .ttl_ms = 60000 };
    atomic_fetch_add(&shared->loads, 1);
    sleep_ms(load_ms);
    must(yc_lease_fill(lease, &fill, &error), error);
    atomic_store(&shared->filled, now_ms());
    yc_lease_free(lease);
}

static void *call(void *unused)
{
    yc_value *value = NULL;
    yc_lease *lease = NULL;
    yc_error *error = NULL;
    (void)unused;
    while (!atomic_load(&shared->started)) {
        sleep_ms(1);
    }
    must(yc_get_or_lease(cache, key, strlen(key), NULL, &value, &lease, &error), error);
    if (lease) {
        load(lease);
    }
    served();
    yc_value_free(value);
    return NULL;
}

static void run_process(const char *url, int callers)
{
    pthread_t threads[callers];
    pthread_attr_t attributes;
    yc_error *error = NULL;
    must(yc_open(url, &cache, &error), error);
    must(yc_ping(cache, &error), error);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (int at = 0; at < callers; at++) {
        pthread_create(&threads[at], &attributes, call, NULL);
    }
    atomic_fetch_add(&shared->ready, 1);
    for (int at = 0; at < callers; at++) {
        pthread_join(threads[at], NULL);
    }
    yc_close(cache, -1, NULL);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "stampede URL PROCESSES CALLERS LOAD_MS\n");
        return 1;
    }
    int processes = atoi(argv[2]), failed = 0, status;
    load_ms = atoi(argv[4]);
    snprintf(key, sizeof key, "cold:%d:%.0f", getpid(), now_ms());
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int at = 0; at < processes; at++) {
        if (fork() == 0) {
            run_process(argv[1], atoi(argv[3]));
        }
    }
    while (atomic_load(&shared->ready) < processes && waitpid(-1, &status, WNOHANG) == 0) {
        sleep_ms(1);
    }
    atomic_store(&shared->started, 1);
    while (wait(&status) > 0) {
        failed |= status;
    }
    printf("%d %d %.1f\n", shared->loads, shared->served, shared->last - shared->filled);
    return failed != 0;
}
