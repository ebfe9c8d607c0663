/* Memory that is not there, and replies that would take more than any value may: the call fails, and the process lives. */
#include "numbered.h"
#include "server.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 64 << 20, LEFT = 32 << 20, PART = 1 << 20, PARTS = LARGE / PART, NAMES = 1 << 20, PAGE = 4096 };

/* A field of /proc/self/status in bytes. */
static size_t used(const char *field) {
    char line[256];
    size_t kilobytes = 0, len = strlen(field);
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, field, len) == 0 && line[len] == ':') kilobytes = strtoul(line + len + 1, NULL, 10);
    }
    if (file) fclose(file);
    return kilobytes * 1024;
}

/* From now on this process gets no more than LEFT. */
static void make_scarce(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = used("VmSize") + LEFT;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void make_plenty(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static yc_status set_large(yc_cache *cache, const char *bytes) {
    return yc_set(cache, "large", 5, bytes, LARGE, YC_TTL_NEVER, NULL, 0, NULL);
}

static yc_status get_large(yc_cache *cache) {
    yc_value *value = NULL;
    size_t len;
    yc_status status = yc_get(cache, "large", 5, &value, NULL);
    if (status == YC_OK) {
        yc_value_data(value, &len);
        CHECK(len == LARGE);
    }
    yc_value_free(value);
    return status;
}

/* Many values that are small each. */
static yc_status set_parts(yc_cache *cache, const char *bytes) {
    static yc_slice keys[PARTS], values[PARTS];
    static yc_status statuses[PARTS];
    for (size_t at = 0; at < PARTS; at++) {
        keys[at] = (yc_slice){bytes + at, at + 1};
        values[at] = (yc_slice){bytes, PART};
    }
    return yc_set_many(cache, keys, values, PARTS, YC_TTL_NEVER, NULL, 0, statuses, NULL);
}

/* The status of the completion. */
static yc_status submit_large(yc_queue *queue, const char *bytes) {
    yc_op op = {.kind = YC_OP_SET, .key = "large", .key_len = 5, .value = bytes, .value_len = LARGE};
    yc_completion completion;
    size_t accepted, count = 0;
    CHECK_STATUS(yc_queue_submit(queue, &op, 1, sizeof op, NULL, &accepted, NULL), YC_OK);
    CHECK_STATUS(yc_queue_wait(queue, &completion, 1, sizeof completion, 10000, &count, NULL), YC_OK);
    yc_status status = completion.status;
    yc_completion_clear(&completion);
    return status;
}

static void check_small(yc_cache *cache) {
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
}

static void check_scarce(const char *url, const char *bytes, const yc_slice *names) {
    static yc_status statuses[NAMES];
    static yc_value *values[NAMES];
    yc_queue *queue = NULL;
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    check_small(cache);
    make_scarce();
    CHECK_STATUS(set_large(cache, bytes), YC_E_BUSY);
    CHECK_STATUS(get_large(cache), YC_MISS);
    CHECK_STATUS(set_parts(cache, bytes), YC_E_BUSY);
    CHECK_STATUS(yc_get_many(cache, names, NAMES, values, statuses, NULL), YC_E_BUSY);
    check_small(cache);
    make_plenty();
    CHECK_STATUS(set_large(cache, bytes), YC_OK);
    CHECK_STATUS(get_large(cache), YC_OK);
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    yc_queue_free(queue);
    close_cache(cache);
}

/* Many small entries, which no check of one call's size stops: the cache evicts where it can no longer grow. */
static void check_small_entries(const char *options, const char *bytes, size_t len, size_t tag_count) {
    enum { SMALL_BYTES = 128 << 20 };
    char url[128];
    snprintf(url, sizeof url, "memory://?max_size=10000000%s", options);
    yc_cache *cache = open_cache(url);
    size_t number = 0, count = SMALL_BYTES / len;
    uint64_t kept = 0;
    make_scarce();
    for (yc_status status = YC_OK; number < count && status == YC_OK; number++) {
        yc_slice tags[] = {slice("all"), {&number, sizeof number}};
        CHECK_STATUS(status = yc_set(cache, &number, sizeof number, bytes, len, YC_TTL_NEVER, tags, tag_count, NULL), YC_OK);
    }
    size_t last = number - 1;
    CHECK_STATUS(yc_exists(cache, &last, sizeof last, NULL), YC_OK);
    CHECK_STATUS(yc_size(cache, &kept, NULL, NULL), YC_OK);
    if (!CHECK(kept > (LEFT / 2) / (len + 256) && kept < count)) printf("  %zu bytes: %llu of %zu\n", len, (unsigned long long)kept, count);
    make_plenty();
    close_cache(cache);
}

/* Does the same in a process of its own: what an earlier check has freed would be no lack. */
static void check_small_entries_alone(const char *options, const char *bytes, size_t len, size_t tag_count) {
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        check_small_entries(options, bytes, len, tag_count);
        exit(check_result());
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A value that the server has and this process has no room for; it is there again when there is. */
static void check_reply(const char *url, const char *bytes) {
    yc_queue *queue = NULL;
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(yc_queue_open(cache, 0, NULL, NULL, NULL, &queue, NULL), YC_OK);
    CHECK_STATUS(set_large(cache, bytes), YC_OK);
    make_scarce();
    CHECK_STATUS(get_large(cache), YC_E_BUSY);
    CHECK_STATUS(submit_large(queue, bytes), YC_E_BUSY);
    CHECK(recovers(cache, 1, 5000));
    check_small(cache);
    make_plenty();
    CHECK_STATUS(get_large(cache), YC_OK);
    CHECK_STATUS(yc_queue_close(queue, -1, NULL), YC_OK);
    yc_queue_free(queue);
    close_cache(cache);
}

/* ---- A server that answers a GET with an array that has no end in sight ---- */

static void send_endless(int client) {
    static char elements[7 * 4096];
    enum { CHUNKS = (128 << 20) / sizeof elements };
    for (size_t at = 0; at < sizeof elements; at += 7) memcpy(elements + at, "$1\r\na\r\n", 7);
    bool going = send(client, "*16000000\r\n", 11, MSG_NOSIGNAL) == 11;
    for (size_t chunk = 0; going && chunk < CHUNKS; chunk++) {
        for (size_t sent = 0; going && sent < sizeof elements;) {
            ssize_t more = send(client, elements + sent, sizeof elements - sent, MSG_NOSIGNAL);
            going = more > 0;
            sent += going ? (size_t)more : 0;
        }
    }
}

/* One answer for each command of a request, which comes as a whole: what a client asks of a new connection is short. */
static bool answer_commands(int client, const char *request, size_t len) {
    const char *end = request + len;
    for (const char *at = request; (at = memchr(at, '*', (size_t)(end - at))); at++) {
        if (at != request && at[-1] != '\n') continue;
        bool known = memmem(at, (size_t)(end - at), "CLIENT", 6) || memmem(at, (size_t)(end - at), "PING", 4);
        const char *answer = known ? "+OK\r\n" : "-ERR unknown command\r\n";
        if (send(client, answer, strlen(answer), MSG_NOSIGNAL) < 0) return false;
    }
    return true;
}

static void serve(int client) {
    char request[4096];
    ssize_t len;
    while ((len = recv(client, request, sizeof request, 0)) > 0) {
        if (memmem(request, (size_t)len, "\r\nGET\r\n", 7)) send_endless(client);
        else if (!answer_commands(client, request, (size_t)len)) return;
    }
}

static void *serve_endless(void *listener) {
    int client;
    while ((client = accept(*(int *)listener, NULL, NULL)) >= 0) {
        serve(client);
        close(client);
    }
    return NULL;
}

/* What is no value is not kept, however long it is. */
static void check_endless(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    pthread_t thread;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    CHECK(pthread_create(&thread, NULL, serve_endless, &listener) == 0);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, ntohs(address.sin_port), "pool_size=1&socket_timeout=60s"));
    size_t before = used("VmHWM");
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_E_PROTOCOL);
    size_t after = used("VmHWM");
    if (!CHECK(after - before < 48 << 20)) printf("  it took %zu MiB\n", (after - before) >> 20);
    close_cache(cache);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

int main(void) {
    char *bytes = filled('v', LARGE);
    yc_slice *names = malloc(NAMES * sizeof *names);
    for (size_t at = 0; at < NAMES; at++) names[at] = slice("name");
    server redis;
    check_small_entries_alone("", bytes, 400, 0);
    check_small_entries_alone("&eviction=s3fifo", bytes, 400, 0);
    check_small_entries_alone("", bytes, 100, 2);
    check_small_entries_alone("", bytes, 30000, 0);
    server_start(&redis, SERVER_REDIS, NULL);
    check_endless();
    const char options[] = "socket_timeout=30s&max_value_bytes=100MiB&max_pending_bytes=1GiB";
    check_scarce("memory://?max_value_bytes=100MiB", bytes, names);
    check_scarce(server_url(&redis, options), bytes, names);
    check_reply(server_url(&redis, options), bytes);
    server_stop(&redis);
    free(names);
    free(bytes);
    return check_result();
}
