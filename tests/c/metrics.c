/* The metrics of many caches as one text: families, labels, order, closed caches, threads. */
#include "every.h"

#include <pthread.h>

/* The text of caches, which the caller frees. */
static char *text_of(yc_cache *const *caches, const char *const *names, size_t count) {
    yc_value *value = NULL;
    size_t len = 0;
    if (!CHECK_STATUS(yc_metrics_many(caches, names, count, &value, NULL), YC_OK)) return strdup("");
    const char *data = yc_value_data(value, &len);
    CHECK(memchr(data, '\0', len) == NULL && (len == 0 || (data[0] == '#' && data[len - 1] == '\n')));
    char *text = strndup(data, len);
    yc_value_free(value);
    return text;
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    while ((text = strstr(text, part))) count++, text++;
    return count;
}

/* Each line belongs to the family whose declaration came last, and no family is declared twice. */
static void check_families(const char *text) {
    char family[128] = "", all[8192] = "\n", *copy = strdup(text), *rest = copy;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char name[128], named[160];
        if (sscanf(line, "# TYPE %127s", name) == 1) {
            snprintf(named, sizeof named, "\n%s\n", name);
            CHECK(!strstr(all, named));
            strcpy(family, name);
            strcat(strcat(all, name), "\n");
        } else if (line[0] != '#') {
            CHECK(strncmp(line, family, strlen(family)) == 0);
        }
    }
    CHECK(strlen(all) > 100);
    free(copy);
}

static void check_none(void) {
    char *text = text_of(NULL, NULL, 0);
    CHECK(strcmp(text, "") == 0);
    free(text);
}

/* One cache: the text of yc_metrics() with one label more. */
static void check_one(void) {
    yc_cache *cache = open_cache("memory://?key_prefix=one");
    const char *name = "the one";
    CHECK_STATUS(yc_set(cache, "a", 1, "v", 1, 0, NULL, 0, NULL), YC_OK);
    char *text = text_of(&cache, &name, 1);
    check_families(text);
    CHECK(strstr(text, "\nyokedcache_sets_total{cache=\"the one\",backend=\"memory\",key_prefix=\"one\"} 1\n") != NULL);
    yc_value *own = NULL;
    size_t len;
    CHECK_STATUS(yc_metrics(cache, &own, NULL), YC_OK);
    const char *alone = yc_value_data(own, &len);
    int types = 0;
    for (const char *at = alone; at < alone + len && (at = memmem(at, len - (size_t)(at - alone), "# TYPE", 6)); at++) types++;
    CHECK(types == occurrences(text, "# TYPE") && types > 10);
    yc_value_free(own);
    free(text);
    close_cache(cache);
}

/* Three caches, of which two are the same and one is a view: their samples are in the order of the names. */
static void check_three(void) {
    yc_cache *one = open_cache("memory://?key_prefix=one"), *two = open_cache("memory://?key_prefix=two"), *view = NULL;
    CHECK_STATUS(yc_view(two, "{namespace: n}", &view, NULL), YC_OK);
    CHECK_STATUS(yc_set(two, "a", 1, "v", 1, 0, NULL, 0, NULL), YC_OK);
    CHECK_STATUS(yc_set(view, "b", 1, "v", 1, 0, NULL, 0, NULL), YC_OK);
    yc_cache *caches[] = {two, one, view, two};
    const char *names[] = {"z", "a\\b\"c\nd", "\xc3\xa4", "Z"};
    char *text = text_of(caches, names, 4);
    check_families(text);
    CHECK(strstr(text, "# TYPE yokedcache_sets_total counter\n"
                       "yokedcache_sets_total{cache=\"z\",backend=\"memory\",key_prefix=\"two\"} 2\n"
                       "yokedcache_sets_total{cache=\"a\\\\b\\\"c\\nd\",backend=\"memory\",key_prefix=\"one\"} 0\n"
                       "yokedcache_sets_total{cache=\"\xc3\xa4\",backend=\"memory\",key_prefix=\"two\",namespace=\"n\"} 1\n"
                       "yokedcache_sets_total{cache=\"Z\",backend=\"memory\",key_prefix=\"two\"} 2\n"
                       "# HELP") != NULL);
    /* The view has no size, and only its cache tells of namespaces. */
    CHECK(occurrences(text, "\nyokedcache_keys{") == 3 && occurrences(text, "\nyokedcache_namespace_sets_total{cache=") == 2);
    free(text);
    yc_cache_free(view);
    close_cache(one);
    close_cache(two);
}

/* A closed cache is left out, and names must differ from its name all the same. */
static void check_closed(void) {
    yc_cache *open = open_cache("memory://"), *closed = open_cache("memory://");
    CHECK_STATUS(yc_close(closed, -1, NULL), YC_OK);
    yc_cache *caches[] = {closed, open};
    const char *names[] = {"closed", "open"}, *same[] = {"same", "same"};
    char *text = text_of(caches, names, 2);
    check_families(text);
    CHECK(!strstr(text, "cache=\"closed\"") && strstr(text, "cache=\"open\""));
    free(text);
    text = text_of(caches, names, 1);
    CHECK(strcmp(text, "") == 0);
    free(text);
    yc_value *value = NULL;
    CHECK_CALL(yc_metrics_many(caches, same, 2, &value, err), YC_E_INVALID);
    yc_cache_free(closed);
    close_cache(open);
}

/* ---- Texts while caches are used, and closed ---- */

typedef struct scene {
    yc_cache *caches[3];
    atomic_bool stop;
} scene;

static const char *const SCENE_NAMES[] = {"a", "b", "c"};

static void *scrape(void *data) {
    scene *scene = data;
    while (!atomic_load(&scene->stop)) free(text_of(scene->caches, SCENE_NAMES, 3));
    return NULL;
}

static void *use(void *data) {
    scene *scene = data;
    for (size_t turn = 0; !atomic_load(&scene->stop); turn++) EVERY[turn % EVERY_COUNT].run(scene->caches[turn % 3], NULL);
    return NULL;
}

static void check_threads(void) {
    scene scene = {.stop = false};
    pthread_t threads[6];
    for (int at = 0; at < 3; at++) scene.caches[at] = open_cache(at == 2 ? "redis://127.0.0.1:1?connect=lazy&key_prefix=no" : "memory://");
    for (int at = 0; at < 6; at++) pthread_create(&threads[at], NULL, at % 2 ? scrape : use, &scene);
    sleep_ms(300);
    for (int at = 0; at < 3; at++) {
        CHECK_STATUS(yc_close(scene.caches[at], -1, NULL), YC_OK);
        sleep_ms(50);
    }
    atomic_store(&scene.stop, true);
    for (int at = 0; at < 6; at++) pthread_join(threads[at], NULL);
    for (int at = 0; at < 3; at++) yc_cache_free(scene.caches[at]);
}

/* Caches on servers are asked on a thread of the library, which does not outlive them. A log function may ask, too: also on
   that thread. */
static void ask(void *data, int32_t level, const char *line, size_t len) {
    (void)level, (void)line, (void)len;
    scene *scene = data;
    free(text_of(scene->caches, SCENE_NAMES, 3));
}

static void check_caches_without_servers(void) {
    int before = settled_threads();
    scene scene = {.stop = false};
    for (int at = 0; at < 3; at++) scene.caches[at] = open_cache("memory://");
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, ask, &scene, NULL, NULL), YC_OK);
    yc_cache *others[] = {open_cache("redis://127.0.0.1:1?connect=lazy&key_prefix=a"), open_cache("memcached://127.0.0.1:1?connect=lazy&key_prefix=b"),
                          open_cache("redis://127.0.0.1:1?connect=lazy&key_prefix=c")};
    char *text = text_of(others, SCENE_NAMES, 3);
    check_families(text);
    CHECK(occurrences(text, "\nyokedcache_up{") == 3 && strstr(text, "yokedcache_up{cache=\"b\",backend=\"memcached\",key_prefix=\"b\"} 0\n"));
    free(text);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    for (int at = 0; at < 3; at++) close_cache(others[at]), close_cache(scene.caches[at]);
    CHECK(threads_are(before));
}

/* The function of the log asks for the metrics of caches on servers, on the library's own thread. */
static void check_log_function_that_asks(void) {
    scene scene = {.stop = false};
    for (int at = 0; at < 3; at++) scene.caches[at] = open_cache("redis://127.0.0.1:1?connect=lazy&key_prefix=asked");
    CHECK_STATUS(yc_set_log(YC_LOG_TRACE, ask, &scene, NULL, NULL), YC_OK);
    yc_cache *lazy = open_cache("redis://127.0.0.1:1?connect=lazy&key_prefix=a");
    CHECK_STATUS(yc_exists(lazy, "a", 1, NULL), YC_E_CONNECT);
    CHECK_STATUS(yc_set_log(YC_LOG_OFF, NULL, NULL, NULL, NULL), YC_OK);
    close_cache(lazy);
    for (int at = 0; at < 3; at++) close_cache(scene.caches[at]);
}

int main(void) {
    check_none();
    check_one();
    check_three();
    check_closed();
    check_threads();
    check_caches_without_servers();
    check_log_function_that_asks();
    return check_result();
}
