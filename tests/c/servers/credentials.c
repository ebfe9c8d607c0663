/* Credentials that change while a cache is open. No message, log line or report contains one. */
#include "numbered.h"
#include "ports.h"
#include "server.h"
#include "watch.h"

#include <pthread.h>

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

/* ---- A callback that supplies them ---- */

enum { USERS = 8, POOL = 8, CALLERS = 4 };

typedef enum behaviour { ANSWERS, ANSWERS_LATER, FAILS, BLOCKS } behaviour;

/* Supplies the users yoked-0, yoked-1 and so on, a new one at each call, with their passwords. */
typedef struct supplier {
    atomic_uint asked, finalised;
    atomic_int behaviour;
    _Atomic int64_t valid_ms;
    /* At least 0: always this user. */
    atomic_int user;
    const char *password;
    pthread_t thread;
    yc_credentials_request *request;
} supplier;

static const char *user_name(unsigned number) {
    static _Thread_local char name[16];
    snprintf(name, sizeof name, "yoked-%u", number % USERS);
    return name;
}

static unsigned user_of(const supplier *self) {
    int fixed = atomic_load(&self->user);
    return fixed >= 0 ? (unsigned)fixed : atomic_load(&self->asked) - 1;
}

static void give(supplier *self, yc_credentials_request *request) {
    const char *user = user_name(user_of(self)), *password = self->password ? self->password : CANARY "0";
    CHECK_STATUS(yc_credentials_give(request, user, strlen(user), password, strlen(password), atomic_load(&self->valid_ms), NULL), YC_OK);
}

static void *give_later(void *data) {
    supplier *self = data;
    sleep_ms(100);
    give(self, self->request);
    return NULL;
}

static void supply(void *data, yc_credentials_request *request) {
    static const char reason[] = "the identity service is away";
    supplier *self = data;
    CHECK(atomic_load(&self->finalised) == 0);
    atomic_fetch_add(&self->asked, 1);
    while (atomic_load(&self->behaviour) == BLOCKS) sleep_ms(5);
    switch (atomic_load(&self->behaviour)) {
    case FAILS: CHECK_STATUS(yc_credentials_fail(request, reason, sizeof reason - 1, NULL), YC_OK); break;
    case ANSWERS_LATER:
        self->request = request;
        if (CHECK(pthread_create(&self->thread, NULL, give_later, self) == 0)) pthread_detach(self->thread);
        break;
    default: give(self, request);
    }
}

static void finalise(void *data) { atomic_fetch_add(&((supplier *)data)->finalised, 1); }

static supplier supplier_of(int64_t valid_ms) {
    supplier self = {.valid_ms = valid_ms};
    atomic_store(&self.user, -1);
    return self;
}

static yc_cache *open_unset(const server *on, const char *options) {
    char url[512];
    const char *form = on->kind == SERVER_REDIS ? "redis://127.0.0.1:%d?credentials=callback&%s" : "memcached://127.0.0.1:%d?credentials=callback&%s";
    snprintf(url, sizeof url, form, on->port, options);
    return open_cache(url);
}

static void set_supplier(yc_cache *cache, supplier *self) {
    yc_error *error = NULL;
    if (!CHECK_STATUS(yc_set_credentials(cache, supply, self, finalise, &error), YC_OK)) printf("  %s\n", yc_error_message(error));
    yc_error_free(error);
}

static yc_cache *open_with(const server *on, supplier *self, const char *options) {
    yc_cache *cache = open_unset(on, options);
    set_supplier(cache, self);
    return cache;
}

static void close_with(yc_cache *cache, const supplier *self) {
    check_reports(cache);
    close_cache(cache);
    CHECK(atomic_load(&self->finalised) == 1);
}

/* Lets all users log in with a password. */
static void accept_users(server *on, const char *password) {
    char lines[512] = "";
    for (unsigned number = 0; number < USERS; number++) {
        size_t len = strlen(lines);
        if (on->kind == SERVER_REDIS) CHECK(tell(on->port, "ACL SETUSER %s resetpass >%s on ~* &* +@all", user_name(number), password));
        snprintf(lines + len, sizeof lines - len, "%s:%s\n", user_name(number), password);
    }
    if (on->kind == SERVER_MEMCACHED) write_file(auth_file, "%s", lines);
}

static void end_all(server *on) {
    if (on->kind == SERVER_MEMCACHED) end_connections(on);
    for (unsigned number = 0; on->kind == SERVER_REDIS && number < USERS; number++) CHECK(tell(on->port, "CLIENT KILL USER %s", user_name(number)));
}

/* Before there is a callback, calls say what is missing, and the server sees no login. */
static void check_opening(const server *on) {
    yc_cache *cache = open_unset(on, "pool_size=2");
    yc_error *error = NULL;
    CHECK_STATUS(get_numbered(cache, NUMBER, &error), YC_E_AUTH);
    CHECK(strstr(yc_error_message(error), "yc_set_credentials"));
    yc_error_free(error);
    supplier self = supplier_of(0);
    set_supplier(cache, &self);
    check_usable(cache);
    CHECK(atomic_load(&self.asked) == 1);
    CHECK_STATUS(yc_set_credentials(cache, NULL, NULL, NULL, NULL), YC_OK);
    CHECK(atomic_load(&self.finalised) == 1);
    check_usable(cache);
    close_cache(cache);
    CHECK(atomic_load(&self.finalised) == 1);
}

/* All connections share the answer of one call. */
static void check_one_call(server *on) {
    supplier self = supplier_of(0);
    atomic_store(&self.behaviour, ANSWERS_LATER);
    yc_cache *cache = open_with(on, &self, "pool_size=8");
    check_usable(cache);
    for (int round = 0; round < 12; round++) {
        end_all(on);
        CHECK(comes_back(cache));
    }
    CHECK(atomic_load(&self.asked) == 1);
    close_with(cache, &self);
}

/* ---- Renewal under load ---- */

typedef struct caller {
    yc_cache *cache;
    atomic_bool *ends;
    unsigned calls;
} caller;

static void *keep_calling(void *data) {
    caller *self = data;
    for (; !atomic_load(self->ends); self->calls++) {
        yc_error *error = NULL;
        yc_status status = self->calls % 2 ? set_numbered(self->cache, NUMBER) : get_numbered(self->cache, NUMBER, &error);
        if (!CHECK_STATUS(status, YC_OK) && error) printf("  %s\n", yc_error_message(error));
        check_quiet(error);
        yc_error_free(error);
    }
    return NULL;
}

/* The connections of caches that have logged in as another user than this one. */
static unsigned count_others(const server *on, const char *user) {
    char wanted[32];
    unsigned others = 0, all = 0;
    snprintf(wanted, sizeof wanted, " user=%s ", user);
    reply *list = ask(on->port, "CLIENT LIST");
    for (char *line = list && list->text ? strtok(list->text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        if (!strstr(line, "name=yokedcache")) continue;
        all++;
        others += !strstr(line, wanted);
    }
    reply_free(list);
    CHECK(all > 0);
    return others;
}

/* The number of the connection of a cache that was made last. */
static long long last_connection(const server *on) {
    long long last = 0;
    reply *list = ask(on->port, "CLIENT LIST");
    for (char *line = list && list->text ? strtok(list->text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        long long number = strtoll(line + strlen("id="), NULL, 10);
        if (strstr(line, "name=yokedcache") && number > last) last = number;
    }
    reply_free(list);
    CHECK(last > 0);
    return last;
}

/* Publishes a number, and takes it; after a gap if there may be one. */
static unsigned exchange(yc_cache *cache, yc_subscription *subscription, unsigned number, bool may_lose) {
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof text, "%u", number), came_len;
    yc_message *message = NULL;
    CHECK_STATUS(yc_publish(cache, "news", 4, text, len, NULL, NULL), YC_OK);
    yc_status status = yc_subscription_next(subscription, 5000, &message, NULL);
    while (may_lose && status == YC_OK && yc_message_lost(message)) {
        yc_message_free(message);
        CHECK_STATUS(yc_publish(cache, "news", 4, text, len, NULL, NULL), YC_OK);
        status = yc_subscription_next(subscription, 5000, &message, NULL);
    }
    if (CHECK_STATUS(status, YC_OK)) {
        const char *came = yc_message_data(message, &came_len);
        CHECK(!yc_message_lost(message) && came_len == len && memcmp(came, text, len) == 0);
        yc_message_free(message);
    }
    return number + 1;
}

static yc_subscription *subscribe(yc_cache *cache) {
    yc_slice channel = slice("news");
    yc_filter filter = {.struct_size = sizeof filter, .channels = &channel, .n_channels = 1};
    yc_subscription *subscription = NULL;
    CHECK_STATUS(yc_subscribe(cache, &filter, &subscription, NULL), YC_OK);
    return subscription;
}

static yc_events *read_events(yc_cache *cache) {
    yc_events_filter filter = {.struct_size = sizeof filter};
    yc_events *events = NULL;
    CHECK_STATUS(yc_events_open(cache, &filter, &events, NULL), YC_OK);
    return events;
}

/* Open connections log in again, also those of a subscription, a near cache and a reader of events: none is made anew, and nothing fails. */
static void check_renewal(server *on) {
    bool is_redis = on->kind == SERVER_REDIS;
    supplier self = supplier_of(1500);
    yc_cache *cache = open_with(on, &self, is_redis ? "pool_size=8&near=1s&events_journal=100" : "pool_size=8");
    check_usable(cache);
    yc_subscription *subscription = is_redis ? subscribe(cache) : NULL;
    yc_events *events = is_redis ? read_events(cache) : NULL;
    atomic_bool ends = false;
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int at = 0; at < CALLERS; at++) {
        callers[at] = (caller){cache, &ends, 0};
        CHECK(pthread_create(&threads[at], NULL, keep_calling, &callers[at]) == 0);
    }
    if (is_redis) exchange(cache, subscription, 0, false);
    sleep_ms(300);
    long long before = is_redis ? last_connection(on) : 0;
    unsigned number = 1;
    for (double end = now_ms() + 30000; atomic_load(&self.asked) < 4 && now_ms() < end; sleep_ms(10))
        if (is_redis) number = exchange(cache, subscription, number, false);
    CHECK(atomic_load(&self.asked) >= 4);
    if (is_redis) {
        atomic_store(&self.valid_ms, 0);
        atomic_store(&self.user, 7);
        UNTIL(count_others(on, "yoked-7") == 0, 10000);
        number = exchange(cache, subscription, number, false);
        CHECK(last_connection(on) == before);
    }
    atomic_store(&ends, true);
    for (int at = 0; at < CALLERS; at++) CHECK(pthread_join(threads[at], NULL) == 0 && callers[at].calls > 0);
    yc_subscription_free(subscription);
    yc_events_free(events);
    close_with(cache, &self);
}

/* A user without HELLO: the connection of a subscription has no RESP3, in which it could log in, and is made anew. */
static void check_resp2(const server *on) {
    for (unsigned number = 0; number < USERS; number++) CHECK(tell(on->port, "ACL SETUSER %s -hello", user_name(number)));
    supplier self = supplier_of(2000);
    yc_cache *cache = open_with(on, &self, "pool_size=1");
    yc_subscription *subscription = subscribe(cache);
    unsigned number = exchange(cache, subscription, 0, false);
    UNTIL(atomic_load(&self.asked) >= 1, 1000);
    atomic_store(&self.valid_ms, 0);
    UNTIL(count_others(on, "yoked-1") == 0, 10000);
    exchange(cache, subscription, number, true);
    CHECK(atomic_load(&self.asked) == 2);
    yc_subscription_free(subscription);
    close_with(cache, &self);
    for (unsigned user = 0; user < USERS; user++) CHECK(tell(on->port, "ACL SETUSER %s +hello", user_name(user)));
}

/* ---- Refusals, failures and callbacks that block ---- */

/* The server's password changes and the callback supplies the old one for a while. */
static void check_refusal(server *on) {
    supplier self = supplier_of(0);
    yc_cache *cache = open_with(on, &self, "pool_size=8");
    check_usable(cache);
    accept_users(on, CANARY "new");
    end_all(on);
    yc_status status = YC_OK;
    for (double end = now_ms() + 2000; now_ms() < end; sleep_ms(5)) {
        yc_error *error = NULL;
        status = get_numbered(cache, NUMBER, &error);
        CHECK(status < 0);
        check_quiet(error);
        yc_error_free(error);
    }
    CHECK_STATUS(status, YC_E_AUTH);
    // One call at the start, and one in each pause: 0, 0.5 and 1 s.
    CHECK(atomic_load(&self.asked) >= 2 && atomic_load(&self.asked) <= 5);
    self.password = CANARY "new";
    UNTIL(get_numbered(cache, NUMBER, NULL) >= 0, 15000);
    close_with(cache, &self);
    accept_users(on, CANARY "0");
    end_all(on);
}

/* Whether a call fails with this reason: what is known of the server may be older at first. */
static bool call_fails_for(yc_cache *cache, const char *reason) {
    yc_error *error = NULL;
    CHECK_STATUS(get_numbered(cache, NUMBER, &error), YC_E_AUTH);
    bool is_known = strstr(yc_error_message(error), reason) != NULL;
    yc_error_free(error);
    return is_known;
}

static void check_failure(const server *on) {
    supplier self = supplier_of(0);
    yc_error *error = NULL;
    atomic_store(&self.behaviour, FAILS);
    yc_cache *cache = open_unset(on, "pool_size=2&socket_connect_timeout=500ms");
    CHECK_STATUS(yc_set_credentials(cache, supply, &self, finalise, &error), YC_E_AUTH);
    CHECK(strstr(yc_error_message(error), "the identity service is away"));
    yc_error_free(error);
    UNTIL(call_fails_for(cache, "the identity service is away"), 5000);
    atomic_store(&self.behaviour, ANSWERS);
    UNTIL(get_numbered(cache, NUMBER, NULL) >= 0, 15000);
    close_with(cache, &self);
}

/* Calls go on over open connections while the callback does not return. */
static void check_blocked(const server *on) {
    supplier self = supplier_of(1000);
    yc_cache *cache = open_with(on, &self, "pool_size=2");
    check_usable(cache);
    atomic_store(&self.behaviour, BLOCKS);
    UNTIL(atomic_load(&self.asked) >= 2, 10000);
    for (double end = now_ms() + 2500; now_ms() < end; sleep_ms(2)) CHECK_STATUS(get_numbered(cache, NUMBER, NULL), YC_OK);
    atomic_store(&self.behaviour, ANSWERS);
    UNTIL(atomic_load(&self.asked) >= 3, 10000);
    check_usable(cache);
    close_with(cache, &self);
}

/* A close does not wait longer than it may, and the finaliser runs when the callback has returned. */
static void check_blocked_close(const server *on) {
    supplier self = supplier_of(0);
    atomic_store(&self.behaviour, BLOCKS);
    yc_cache *cache = open_unset(on, "pool_size=1&socket_connect_timeout=300ms");
    yc_error *error = NULL;
    CHECK_STATUS(yc_set_credentials(cache, supply, &self, finalise, &error), YC_E_AUTH);
    CHECK(strstr(yc_error_message(error), "has not answered"));
    yc_error_free(error);
    CHECK_STATUS(yc_close(cache, 100, NULL), YC_E_TIMEOUT);
    CHECK(atomic_load(&self.finalised) == 0);
    atomic_store(&self.behaviour, ANSWERS);
    UNTIL(atomic_load(&self.finalised) == 1, 10000);
    yc_cache_free(cache);
    CHECK(atomic_load(&self.finalised) == 1 && atomic_load(&self.asked) == 1);
}

/* ---- Replacement, views and caches without servers ---- */

static void check_replacement(const server *on) {
    supplier first = supplier_of(0), second = supplier_of(0);
    yc_cache *cache = open_with(on, &first, "pool_size=2"), *view = NULL;
    check_usable(cache);
    atomic_store(&second.user, 5);
    CHECK_STATUS(yc_view(cache, "{namespace: n}", &view, NULL), YC_OK);
    set_supplier(view, &second);
    CHECK(atomic_load(&first.finalised) == 1);
    UNTIL(atomic_load(&second.asked) == 1, 10000);
    if (on->kind == SERVER_REDIS) UNTIL(count_others(on, "yoked-5") == 0, 10000);
    close_cache(view);
    CHECK(atomic_load(&second.finalised) == 0);
    check_usable(cache);
    close_with(cache, &second);
    CHECK(atomic_load(&first.finalised) == 1);
    CHECK_STATUS(yc_set_credentials(NULL, supply, &first, finalise, NULL), YC_E_INVALID);
    CHECK(atomic_load(&first.finalised) == 2);
}

static void check_unsupported(const server *on) {
    supplier self = supplier_of(0);
    yc_error *error = NULL;
    yc_cache *memory = open_cache("memory://");
    CHECK_STATUS(yc_set_credentials(memory, supply, &self, finalise, &error), YC_E_UNSUPPORTED);
    CHECK(strstr(yc_error_message(error), "no servers") && atomic_load(&self.finalised) == 1);
    yc_error_free(error);
    close_cache(memory);
    error = NULL;
    yc_cache *fixed = open_cache(url_with(on, "connect=lazy&password=" CANARY "0"));
    CHECK_STATUS(yc_set_credentials(fixed, supply, &self, finalise, &error), YC_E_UNSUPPORTED);
    CHECK(strstr(yc_error_message(error), "credentials: callback") && atomic_load(&self.finalised) == 2);
    yc_error_free(error);
    close_cache(fixed);
    CHECK_STATUS(yc_set_credentials(NULL, NULL, NULL, NULL, NULL), YC_E_INVALID);
}

static void supply_wrongly(void *data, yc_credentials_request *request) {
    static const char broken[] = "canary-S3cr3t\xff";
    switch (atomic_fetch_add((atomic_uint *)data, 1) % 4) {
    case 0: CHECK_STATUS(yc_credentials_give(request, "u", 1, "", 0, 0, NULL), YC_E_INVALID); break;
    case 1: CHECK_STATUS(yc_credentials_give(request, "u", 1, broken, sizeof broken - 1, 0, NULL), YC_E_INVALID); break;
    case 2: CHECK_STATUS(yc_credentials_give(request, "u", 1, CANARY, 5, -1, NULL), YC_E_INVALID); break;
    default: CHECK_STATUS(yc_credentials_fail(request, NULL, 5, NULL), YC_E_INVALID);
    }
}

static void check_wrong_answers(const server *on) {
    atomic_uint asked = 0;
    yc_error *error = NULL;
    yc_cache *cache = open_unset(on, "pool_size=1&socket_connect_timeout=100ms");
    CHECK_STATUS(yc_set_credentials(cache, supply_wrongly, &asked, NULL, &error), YC_E_AUTH);
    CHECK(strstr(yc_error_message(error), "the password is empty"));
    yc_error_free(error);
    UNTIL(atomic_load(&asked) >= 4, 20000);
    close_cache(cache);
}

/* ---- Other servers of a cache ---- */

static void check_cluster(void) {
    server node;
    const char *const options[] = {"--cluster-enabled", "yes", NULL};
    server_start(&node, SERVER_REDIS, options);
    CHECK(tell(node.port, "CLUSTER ADDSLOTSRANGE 0 16383"));
    accept_users(&node, CANARY "0");
    CHECK(tell(node.port, "CONFIG SET requirepass " CANARY "0"));
    supplier self = supplier_of(0);
    yc_cache *cache = open_with(&node, &self, "cluster=true&pool_size=4&connect=lazy");
    UNTIL(set_numbered(cache, NUMBER) == YC_OK, 10000);
    CHECK(atomic_load(&self.asked) == 1);
    close_with(cache, &self);
    server_stop(&node);
}

/* The fallback takes the same credentials. */
static void check_fallback(const server *on) {
    char text[512];
    supplier self = supplier_of(0);
    server first;
    start(&first, SERVER_REDIS);
    accept_users(&first, CANARY "0");
    const char *form = on->kind == SERVER_REDIS ? "redis: {port: %d, credentials: callback}" : "memcached: {servers: ['127.0.0.1:%d'], credentials: callback}";
    size_t len = (size_t)snprintf(text, sizeof text, "{backend: redis, redis: {host: 127.0.0.1, port: %d, credentials: callback}, fallback: {backend: %s, ",
                                  first.port, on->kind == SERVER_REDIS ? "redis" : "memcached");
    len += (size_t)snprintf(text + len, sizeof text - len, form, on->port);
    snprintf(text + len, sizeof text - len, "}}");
    yc_cache *cache = open_cache(text);
    set_supplier(cache, &self);
    check_usable(cache);
    server_kill(&first);
    UNTIL(set_numbered(cache, NUMBER) == YC_OK && get_numbered(cache, NUMBER, NULL) == YC_OK, 10000);
    CHECK(atomic_load(&self.asked) == 1);
    close_with(cache, &self);
    server_stop(&first);
}

/* A primary that sentinels know, with a replica that reads may go to. The sentinels have no credentials. */
static void check_sentinels(void) {
    char url[256];
    int ports[MAX_PORTS];
    size_t count = read_ports("YC_TEST_SENTINEL_PORTS", ports);
    CHECK(count > 0);
    reply *address = ask(ports[0], "SENTINEL GET-MASTER-ADDR-BY-NAME yoked");
    server primary = {.kind = SERVER_REDIS, .port = address && address->count == 2 ? atoi(address->items[1].text) : 0};
    reply_free(address);
    accept_users(&primary, CANARY "0");
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d/yoked?credentials=callback&pool_size=4&key_prefix=credentials", ports[0]);
    supplier self = supplier_of(0);
    yc_cache *cache = open_cache(url);
    set_supplier(cache, &self);
    check_usable(cache);
    reply *list = ask(primary.port, "CLIENT LIST");
    CHECK(list && list->text && strstr(list->text, " user=yoked-0 "));
    reply_free(list);
    CHECK(atomic_load(&self.asked) == 1);
    close_with(cache, &self);
    for (unsigned number = 0; number < USERS; number++) CHECK(tell(primary.port, "ACL DELUSER %s", user_name(number)));
}

static void check_callback(server *on) {
    accept_users(on, CANARY "0");
    if (on->kind == SERVER_MEMCACHED) end_connections(on);
    check_opening(on);
    check_one_call(on);
    check_renewal(on);
    if (on->kind == SERVER_REDIS) check_resp2(on);
    check_refusal(on);
    check_failure(on);
    check_blocked(on);
    check_blocked_close(on);
    check_replacement(on);
    check_unsupported(on);
    check_wrong_answers(on);
    check_fallback(on);
    if (on->kind == SERVER_REDIS) check_cluster();
}

int main(int argc, char **argv) {
    server_kind kind = argc > 1 && strcmp(argv[1], "memcached") == 0 ? SERVER_MEMCACHED : SERVER_REDIS;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(password_file, sizeof password_file, "%s/password", folder);
    snprintf(auth_file, sizeof auth_file, "%s/users", folder);
    watch_for("S3cr3t");
    if (argc > 1 && strcmp(argv[1], "sentinel") == 0) {
        check_sentinels();
        watch_end();
        CHECK(rmdir(folder) == 0);
        return check_result();
    }
    server on;
    start(&on, kind);
    check_password_file(&on);
    check_callback(&on);
    watch_end();
    server_stop(&on);
    remove(password_file);
    remove(auth_file);
    CHECK(rmdir(folder) == 0);
    return check_result();
}
