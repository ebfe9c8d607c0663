/* A bad configuration is refused at once, by name; nothing stays open and no password is repeated. */
#include "calls.h"

#include <sys/stat.h>
#include <unistd.h>

#define CANARY "c4n4ry-s3cret"

static int threads, files;
static double slowest_ms;

/* Checks a refusal. The message has to contain `names`, if not NULL. */
static void check_refusal(yc_status came, yc_status wanted, yc_cache *cache, yc_error *error, const char *config, const char *names) {
    const char *message = yc_error_message(error);
    bool good = CHECK(came == wanted) & CHECK(yc_error_status(error) == wanted) & CHECK(cache == NULL);
    good &= CHECK(message[0] != '\0' && !strchr(message, '\n'));
    good &= CHECK(!names || strstr(message, names) != NULL) & CHECK(!strstr(message, CANARY));
    good &= CHECK(yc_error_retryable(error) == 0);
    good &= CHECK(threads_are(threads) && count_files() == files);
    if (!good) printf("  config: %.100s\n  names: %s\n  came: %s: %.300s\n", config, names ? names : "", yc_status_name(came), message);
    yc_error_free(error);
}

static void keep_slowest(double begun) {
    double took = now_ms() - begun;
    CHECK(took < 2000);
    if (took > slowest_ms) slowest_ms = took;
}

/* The check of a configuration says what opening it said, and gives no summary. */
static void check_same_refusal(yc_status came, yc_error *said, yc_error *error, yc_value *json, const char *config) {
    bool same = CHECK(came == yc_error_status(error)) & CHECK(strcmp(yc_error_message(said), yc_error_message(error)) == 0);
    if (!(CHECK(json == NULL) && same)) printf("  config: %.100s\n  check: %.300s\n", config, yc_error_message(said));
    yc_error_free(said);
}

static void check_refused_too(const char *config, yc_error *error) {
    yc_value *json = NULL;
    yc_error *said = NULL;
    yc_status came = yc_config_check(config, &json, &said);
    check_same_refusal(came, said, error, json, config);
    CHECK_STATUS(yc_config_check(config, NULL, NULL), came);
}

static void check_file_refused_too(const char *path, const char *environment, yc_error *error) {
    yc_value *json = NULL;
    yc_error *said = NULL;
    yc_status came = yc_config_check_file(path, environment, &json, &said);
    check_same_refusal(came, said, error, json, path);
}

static void refuse_with(yc_status wanted, const char *config, const char *names) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    double begun = now_ms();
    yc_status came = yc_open(config, &cache, &error);
    keep_slowest(begun);
    check_refused_too(config, error);
    check_refusal(came, wanted, cache, error, config, names);
}

static void refuse(const char *config, const char *names) { refuse_with(YC_E_CONFIG, config, names); }

static void refuse_file(const char *path, const char *environment, const char *names) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    double begun = now_ms();
    yc_status came = yc_open_file(path, environment, &cache, &error);
    keep_slowest(begun);
    check_file_refused_too(path, environment, error);
    check_refusal(came, YC_E_CONFIG, cache, error, path, names);
}

static void refuse_env(const char *names) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    yc_status came = yc_open_env(&cache, &error);
    check_refusal(came, YC_E_CONFIG, cache, error, "the environment", names);
}

static void check_unknown_options(void) {
    refuse("memory://?max_sise=1", "max_sise");
    refuse("memory://?max_sise=1", "max_size");
    refuse("memory://?nothing_like_it_at_all=1", "nothing_like_it_at_all");
    refuse("{backend: memory, memory: {default_tll: 1}}", "default_ttl");
    refuse("{backend: memory, memroy: {max_size: 1}}", "memroy");
    refuse("{backend: memory, max_size: 1}", "max_size");
    refuse("redis://127.0.0.1:1?pool=3", "pool_size");
    refuse("memory://?max_size=1&max_size=2", "max_size");
}

static void check_ill_typed_options(void) {
    refuse("memory://?max_size=many", "max_size");
    refuse("memory://?max_size=-1", "max_size");
    refuse("memory://?max_size=1.5", "max_size");
    refuse("memory://?max_size=99999999999999999999", "max_size");
    refuse("memory://?max_size=", "max_size");
    refuse("memory://?default_ttl=soon", "default_ttl");
    refuse("memory://?default_ttl=-1", "default_ttl");
    refuse("memory://?ttl_jitter=101", "ttl_jitter");
    refuse("memory://?max_value_bytes=1GB", "max_value_bytes");
    refuse("memory://?key_prefix=a*b", "key_prefix");
    refuse("memory://?key_prefix=", "key_prefix");
    refuse("{backend: memory, memory: {max_size: [1]}}", "max_size");
    refuse("{backend: memory, memory: {max_size: {a: 1}}}", "max_size");
    refuse("{backend: memory, memory: {max_size: true}}", "max_size");
    refuse("{backend: memory, memory: 7}", "memory");
    refuse("{backend: [memory]}", "backend");
}

static void check_long_prefix(void) {
    char config[200] = "memory://?key_prefix=";
    memset(config + strlen(config), 'p', 65);
    refuse(config, "key_prefix");
}

static void check_unknown_backends(void) {
    refuse("{backend: memroy}", "memory");
    refuse("{backend: postgres}", "`memory`, `redis` or `memcached`");
    refuse("{redis: {url: \"redis://127.0.0.1:1\"}}", "`backend: redis`");
    refuse("{backend: memcached, memcached: {servers: [[\"127.0.0.1\", 11212]]}}", "looks like a port");
    refuse("{backend: \"\"}", "backend");
    refuse("{}", "backend");
    refuse("memroy://", "memory");
    refuse("http://example.com", "http");
    refuse("memory://host:1", NULL);
    refuse("memory://?max_size=%zz", NULL);
    refuse("://", NULL);
}

static void check_texts_that_are_none(void) {
    static const char *const texts[] = {"", " ", "memory", "---", "[]", "null", "7", "{", "[[[[", "a: b: c", "{a: *b}", "\t", "\xEF\xBB\xBF"};
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) refuse(texts[at], NULL);
    refuse("\xff\xfe", "UTF-8");
    refuse("memory://?key_prefix=\xff", "UTF-8");
}

static void check_environments(void) {
    refuse("cache: {production: {backend: memory}}", "development");
    refuse("cache: {production: {backend: memory}}", "production");
    refuse("cache: {}", "development");
    refuse("cache: 7", "cache");
    refuse("cache: {development: 7}", "development");
}

/* The nesting and the references of a bomb end within the limits. */
static void check_bombs(void) {
    char *deep = filled('[', 200000), *keys = filled('a', 250000), *large = filled(' ', 300000);
    refuse(deep, NULL);
    refuse(keys, NULL);
    refuse(large, "256 KiB");
    refuse("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
           "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
           "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\nbackend: memory\n", NULL);
    refuse("a: &a [*a]\nbackend: memory\n", NULL);
    free(deep), free(keys), free(large);
}

/* A password stands in many places of a bad configuration; no message repeats it. */
static void check_canaries(void) {
    refuse("memory://user:" CANARY "@host:1/0?max_sise=1", NULL);
    refuse("memory://user:" CANARY "@host", NULL);
    refuse("nosuch://user:" CANARY "@host", NULL);
    refuse("://user:" CANARY "@host", NULL);
    refuse("redis//user:" CANARY "@host", NULL);
    refuse("{backend: \"redis://user:" CANARY "@host\"}", NULL);
    refuse("{backend: memory, memory: {max_size: \"redis://user:" CANARY "@host\"}}", "max_size");
    refuse("{backend: memory, memory: {\"redis://user:" CANARY "@host\": 1}}", NULL);
    refuse("{backend: memory, redis: {password: " CANARY "}}", "redis");
    refuse("{backend: memory, memory: {password: " CANARY "}}", "password");
    refuse("cache: {\"redis://u:" CANARY "@host\": {backend: memory}}", NULL);
    refuse("{backend: redis, redis: {password: " CANARY ", url: [", NULL);
    refuse_file("redis://user:" CANARY "@host", NULL, NULL);
}

/* A backend that this build lacks or a server that is refused: never a memory cache instead. */
static void check_password_option(void) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    yc_status status = yc_open("{backend: redis, redis: {password: " CANARY ", no_such_option: 1}}", &cache, &error);
    CHECK(status < 0 && cache == NULL && !strstr(yc_error_message(error), CANARY));
    yc_error_free(error);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void check_files(const char *path) {
    static const char good[] = "cache:\n  development: {backend: memory}\n  test: {backend: memory, memory: {max_size: 1}}\n";
    yc_cache *cache = NULL;
    refuse_file("/no/such/file.yaml", NULL, "/no/such/file.yaml");
    refuse_file("/", NULL, "/");
    refuse_file("", NULL, NULL);
    refuse_file("\xff\xfe", NULL, NULL);
    write_file(path, good);
    CHECK_CALL((cache = NULL, yc_open_file(path, "test", &cache, err) == YC_OK ? yc_cache_free(cache), YC_OK : -1), YC_OK);
    refuse_file(path, "production", "production");
    refuse_file(path, "production", path);
    refuse_file(path, "", NULL);
    refuse_file(path, "\xff", "UTF-8");
    write_file(path, "\xff\xfe");
    refuse_file(path, NULL, path);
    write_file(path, "cache:\n  development:\n    backend: memory\n    memory: {max_sise: 1}\n");
    refuse_file(path, NULL, "max_sise");
    refuse_file(path, NULL, "line");
    unlink(path);
}

/* Root reads every file; any other user is refused. */
static void check_unreadable_file(const char *path) {
    write_file(path, "backend: memory\n");
    CHECK(chmod(path, 0) == 0);
    if (geteuid() != 0) refuse_file(path, NULL, path);
    unlink(path);
}

static void unset_variables(void) {
    static const char *const names[] = {"YOKEDCACHE_URL", "YOKEDCACHE_CONFIG", "YOKEDCACHE_KEY_PREFIX", "YOKEDCACHE_DEFAULT_TTL", "ENVIRONMENT", "REDIS_URL", "REDIS_POOL_SIZE"};
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) unsetenv(names[at]);
}

static void check_variables(const char *path) {
    refuse_env("YOKEDCACHE_URL");
    setenv("YOKEDCACHE_CONFIG", "/no/such/file.yaml", 1);
    refuse_env("/no/such/file.yaml");
    setenv("YOKEDCACHE_URL", "memory://?max_sise=1", 1);
    refuse_env("max_sise");
    setenv("YOKEDCACHE_URL", "nosuch://user:" CANARY "@host", 1);
    refuse_env("YOKEDCACHE_URL");
    setenv("YOKEDCACHE_URL", "memory://", 1);
    setenv("YOKEDCACHE_DEFAULT_TTL", "soon", 1);
    refuse_env("YOKEDCACHE_DEFAULT_TTL");
    refuse("memory://", "YOKEDCACHE_DEFAULT_TTL");
    unsetenv("YOKEDCACHE_DEFAULT_TTL");
    unsetenv("YOKEDCACHE_URL");
    unsetenv("YOKEDCACHE_CONFIG");
    setenv("REDIS_URL", "redis://user:" CANARY "@host:0", 1);
    refuse_env("REDIS_URL");
    setenv("ENVIRONMENT", "staging", 1);
    write_file(path, "cache: {development: {backend: memory}}");
    refuse_file(path, NULL, "staging");
    unset_variables();
    unlink(path);
}

/* A variable that is not UTF-8 is refused by its name, not taken for one that is not set. */
static void check_variable_that_is_no_text(const char *name, const char *path) {
    setenv(name, "\xff\xfe", 1);
    write_file(path, "cache: {development: {backend: memory}}");
    refuse_file(path, NULL, name);
    unsetenv(name);
    unlink(path);
}

/* Nor is the next source taken in its place. */
static void check_url_variable_that_is_no_text(const char *path) {
    write_file(path, "backend: memory\n");
    setenv("YOKEDCACHE_CONFIG", path, 1);
    setenv("YOKEDCACHE_URL", "\xff\xfe", 1);
    refuse_env("YOKEDCACHE_URL");
    unset_variables();
    unlink(path);
}

static bool is_in(yc_value *json, const char *part) {
    size_t len;
    const char *text = yc_value_data(json, &len);
    if (CHECK(text != NULL && memmem(text, len, part, strlen(part)) != NULL)) return true;
    printf("  no %s in %.*s\n", part, (int)len, text);
    return false;
}

static bool says_canary(yc_value *json) {
    size_t len;
    const char *text = yc_value_data(json, &len);
    return memmem(text, len, CANARY, strlen(CANARY)) != NULL;
}

/* Without a limit of entries, those over the default limit stay too. */
static void check_no_limit(void) {
    char key[16];
    yc_cache *cache = open_cache("memory://?max_size=0");
    for (int at = 0; at < 10100; at++) {
        CHECK_STATUS(yc_set(cache, key, (size_t)snprintf(key, sizeof key, "%d", at), "v", 1, YC_TTL_DEFAULT, NULL, 0, NULL), YC_OK);
    }
    CHECK_STATUS(yc_exists(cache, "0", 1, NULL), YC_OK);
    CHECK_STATUS(yc_exists(cache, "10099", 5, NULL), YC_OK);
    close_cache(cache);
}

static void check_null_options(void) {
    yc_value *json = NULL;
    const char *config = "{\"backend\": \"memory\", \"memory\": {\"max_size\": null, \"key_prefix\": null}, \"fallback\": null}";
    close_cache(open_cache(config));
    CHECK_CALL((yc_value_free(json), json = NULL, yc_config_check(config, &json, err)), YC_OK);
    CHECK(is_in(json, "\"max_size\":10000") && is_in(json, "\"key_prefix\":\"yokedcache\"") && is_in(json, "\"fallback\":null"));
    yc_value_free(json);
}

/* Accepted options that are probably a mistake. */
static void check_notes(void) {
    yc_value *json = NULL;
    const char *config = "valkey://192.0.2.1?socket_timeout=5000&socket_connect_timeout=10";
    CHECK_CALL((yc_value_free(json), json = NULL, yc_config_check(config, &json, err)), YC_OK);
    CHECK(is_in(json, "\"backend\":\"redis\"") && is_in(json, "\"socket_timeout_ms\":5000000"));
    CHECK(is_in(json, "\"notes\":[\"") && is_in(json, "5000 is 5000 seconds") && is_in(json, "`5000ms`"));
    CHECK(is_in(json, "key_prefix is not set"));
    yc_value_free(json);
    json = NULL;
    config = "valkey://192.0.2.1?socket_timeout=5&key_prefix=app";
    CHECK_CALL((yc_value_free(json), json = NULL, yc_config_check(config, &json, err)), YC_OK);
    CHECK(is_in(json, "\"notes\":[]"));
    yc_value_free(json);
}

/* The resulting configuration: without a request, a thread or the password. */
static void check_summaries(const char *path) {
    yc_value *json = NULL;
    const char *config = "redis://app:" CANARY "@192.0.2.1:6380/3?key_prefix=checked&default_ttl=90s";
    CHECK_CALL((yc_value_free(json), json = NULL, yc_config_check(config, &json, err)), YC_OK);
    CHECK(is_in(json, "\"backend\":\"redis\"") && is_in(json, "\"servers\":[\"192.0.2.1:6380\"]") && is_in(json, "\"db\":3"));
    CHECK(is_in(json, "\"key_prefix\":\"checked\"") && is_in(json, "\"default_ttl_ms\":90000") && is_in(json, "\"password\":true"));
    CHECK(!says_canary(json));
    yc_value_free(json);
    json = NULL;
    write_file(path, "cache: {development: {backend: memory}, test: {backend: memory, memory: {max_size: 7}}}");
    CHECK_CALL((yc_value_free(json), json = NULL, yc_config_check_file(path, "test", &json, err)), YC_OK);
    CHECK(is_in(json, "\"max_size\":7"));
    yc_value_free(json);
    CHECK_CALL(yc_config_check_file(path, NULL, NULL, err), YC_OK);
    CHECK_CALL(yc_config_check("memory://", NULL, err), YC_OK);
    CHECK_CALL(yc_config_check(NULL, NULL, err), YC_E_INVALID);
    CHECK_CALL(yc_config_check_file(NULL, NULL, NULL, err), YC_E_INVALID);
    CHECK(threads_are(threads) && count_files() == files);
    unlink(path);
}

/* A good one works afterwards, from each source. */
static void check_good(void) {
    setenv("YOKEDCACHE_URL", "memory://?max_size=5", 1);
    yc_cache *cache = NULL;
    CHECK_STATUS(yc_open_env(&cache, NULL), YC_OK);
    close_cache(cache);
    unsetenv("YOKEDCACHE_URL");
    close_cache(open_cache("{\"backend\": \"memory\", \"memory\": {\"max_size\": 5, \"default_ttl\": \"5m\"}}"));
}

int main(void) {
    char path[] = "configuration-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    unset_variables();
    threads = count_threads(), files = count_files();
    check_unknown_options();
    check_ill_typed_options();
    check_long_prefix();
    check_unknown_backends();
    check_texts_that_are_none();
    check_environments();
    check_bombs();
    check_canaries();
    check_password_option();
    check_files(path);
    check_unreadable_file(path);
    check_variables(path);
    check_variable_that_is_no_text("YOKEDCACHE_KEY_PREFIX", path);
    check_variable_that_is_no_text("YOKEDCACHE_DEFAULT_TTL", path);
    check_variable_that_is_no_text("ENVIRONMENT", path);
    check_url_variable_that_is_no_text(path);
    check_summaries(path);
    check_notes();
    check_null_options();
    check_no_limit();
    check_good();
    printf("the slowest refusal took %.1f ms\n", slowest_ms);
    return check_result();
}
