/* Credentials that change while a cache is open. No message, log line or report contains one. */
#include "numbered.h"
#include "ports.h"
#include "server.h"
#include "watch.h"

#define CANARY "canary-S3cr3t-"

enum { RECOVERY_MS = 3000, NUMBER = 1 };

static char folder[] = "/tmp/yokedcache-credentials-XXXXXX";
static char password_file[64], auth_file[64];

static void write_file(const char *path, const char *format, const char *text) {
    FILE *file = fopen(path, "w");
    if (CHECK(file != NULL)) CHECK(fprintf(file, format, text) >= 0 && fclose(file) == 0);
}

static void check_quiet(const yc_error *error) { check_silent(yc_error_message(error), strlen(yc_error_message(error))); }

/* Opening fails with the status, and with a message that has these words. */
static void check_refused(const char *url, yc_status wanted, const char *first, const char *second) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    if (CHECK_STATUS(yc_open(url, &cache, &error), wanted) && wanted < 0) {
        if (!CHECK(strstr(yc_error_message(error), first) && strstr(yc_error_message(error), second)))
            printf("  %s\n", yc_error_message(error));
        check_quiet(error);
    }
    yc_error_free(error);
    yc_cache_free(cache);
}

static void check_usable(yc_cache *cache) {
    CHECK_STATUS(set_numbered(cache, NUMBER), YC_OK);
    CHECK_STATUS(get_numbered(cache, NUMBER, NULL), YC_OK);
}

/* ---- The server's passwords ---- */

/* Lets the user `yoked` log in with this password alone. Connections that are open stay open. */
static void accept_password(server *on, const char *password) {
    if (on->kind == SERVER_REDIS) {
        CHECK(tell(on->port, "ACL SETUSER yoked resetpass >%s on ~* &* +@all", password));
    } else {
        char line[128];
        snprintf(line, sizeof line, "yoked:%s\n", password);
        write_file(auth_file, "%s", line);
    }
}

/* Ends the connections of the user. Memcached reads its passwords when it starts. */
static void end_connections(server *on) {
    if (on->kind == SERVER_REDIS) {
        CHECK(tell(on->port, "CLIENT KILL USER yoked"));
    } else {
        server_kill(on);
        server_restart(on);
    }
}

static void start(server *on, server_kind kind) {
    write_file(auth_file, "yoked:%s\n", CANARY "0");
    const char *const redis[] = {"--user", "yoked", "on", ">" CANARY "0", "~*", "&*", "+@all", NULL};
    const char *const memcached[] = {"-Y", auth_file, NULL};
    server_start(on, kind, kind == SERVER_REDIS ? redis : memcached);
}

static const char *url_with(const server *on, const char *options) {
    static char url[512];
    const char *form = on->kind == SERVER_REDIS ? "redis://yoked@127.0.0.1:%d?%s" : "memcached://yoked@127.0.0.1:%d?%s";
    snprintf(url, sizeof url, form, on->port, options);
    return url;
}

static bool comes_back(yc_cache *cache) {
    yc_status status = YC_E_CONNECT;
    for (double end = now_ms() + RECOVERY_MS; status < 0 && now_ms() < end; sleep_ms(10)) {
        yc_error *error = NULL;
        status = get_numbered(cache, NUMBER, &error);
        check_quiet(error);
        yc_error_free(error);
    }
    return status >= 0;
}

/* ---- password_file ---- */

static void check_password_file(server *on) {
    char options[128], line[128];
    snprintf(options, sizeof options, "password_file=%s", password_file);
    const char *url = url_with(on, options);
    check_refused(url, YC_E_AUTH, password_file, "No such file");
    write_file(password_file, "%s", "\n");
    check_refused(url, YC_E_AUTH, password_file, "empty");
    write_file(password_file, "%s\n", CANARY "wrong");
    check_refused(url, YC_E_AUTH, "check username and password", "127.0.0.1");
    write_file(password_file, "%s\n", CANARY "0");
    yc_cache *cache = open_cache(url);
    check_usable(cache);
    for (int round = 1; round < 4; round++) {
        snprintf(line, sizeof line, CANARY "%d", round);
        write_file(password_file, round % 2 ? "%s\n" : "%s", line);
        accept_password(on, line);
        check_usable(cache);
        end_connections(on);
        CHECK(comes_back(cache));
        check_reports(cache);
    }
    close_cache(cache);
    accept_password(on, CANARY "0");
    end_connections(on);
}

int main(int argc, char **argv) {
    server_kind kind = argc > 1 && strcmp(argv[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(password_file, sizeof password_file, "%s/password", folder);
    snprintf(auth_file, sizeof auth_file, "%s/users", folder);
    server on;
    start(&on, kind);
    watch_for("S3cr3t");
    check_password_file(&on);
    watch_end();
    server_stop(&on);
    remove(password_file);
    remove(auth_file);
    CHECK(rmdir(folder) == 0);
    return check_result();
}
