/* A server that evicts what it likes, stamps too: entries are lost, never served after their invalidation, and sets go on.
   Needs the server of kind lru (tests/servers). */
#include "numbered.h"
#include "ports.h"

enum { TAGS = 500, ROUNDS = 6, FILL_ENTRIES = 3000, FILL_BYTES = 10000, TAGS_READ = 50 };

/* How often each tag was invalidated; its entry's value says after how many it was set. */
static unsigned generations[TAGS];
static yc_cache *cache;

static size_t key_of(char *key, unsigned tag) { return (size_t)snprintf(key, NUMBERED_KEY, "tagged-%u", tag); }

static void set_tagged(unsigned tag) {
    char key[NUMBERED_KEY], name[NUMBERED_KEY];
    size_t key_len = key_of(key, tag), name_len = (size_t)snprintf(name, sizeof name, "tag-%u", tag);
    yc_slice slices[] = {{name, name_len}, slice("every")};
    CHECK_STATUS(yc_set(cache, key, key_len, &generations[tag], sizeof generations[tag], YC_TTL_NEVER, slices, 2, NULL), YC_OK);
}

static void invalidate(unsigned tag) {
    char name[NUMBERED_KEY];
    size_t len = (size_t)snprintf(name, sizeof name, "tag-%u", tag);
    CHECK_STATUS(yc_invalidate_tag(cache, name, len, NULL, NULL), YC_OK);
    generations[tag]++;
}

/* Whether it was a hit, which has to be of now. */
static bool get_tagged(unsigned tag) {
    char key[NUMBERED_KEY];
    unsigned generation = 0;
    size_t key_len = key_of(key, tag), len = 0;
    yc_status status = yc_get_into(cache, key, key_len, &generation, sizeof generation, &len, NULL);
    CHECK_ONE_OF(status, YC_OK, YC_MISS);
    if (status == YC_OK) CHECK(len == sizeof generation && generation == generations[tag]);
    return status == YC_OK;
}

static unsigned count_hits(void) {
    unsigned hits = 0;
    for (unsigned tag = 0; tag < TAGS; tag++) hits += get_tagged(tag);
    return hits;
}

/* More than there is room for. The first tags' entries are read all the time and stay; their stamps may not. */
static void fill(unsigned round) {
    char *value = filled('x', FILL_BYTES);
    for (unsigned number = 0; number < FILL_ENTRIES; number++) {
        unsigned key[2] = {round, number};
        CHECK_STATUS(yc_set(cache, key, sizeof key, value, FILL_BYTES, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
        if (number % 10 == 0) get_tagged(number / 10 % TAGS_READ);
    }
    free(value);
}

static void check_round(unsigned round) {
    for (unsigned tag = 0; tag < TAGS; tag++) set_tagged(tag);
    CHECK(count_hits() > 0);
    for (unsigned tag = round % 2; tag < TAGS; tag += 2) invalidate(tag);
    count_hits();
    fill(round);
    count_hits();
}

/* Entries whose stamps alone are evicted, as if by chance: every one is a miss. */
static void check_lost_stamps(int port) {
    for (unsigned tag = 0; tag < TAGS; tag++) set_tagged(tag);
    reply *names = ask_names(port);
    for (size_t at = 0; at < names->count; at++) {
        yc_slice name = {names->items[at].text, names->items[at].len}, words[] = {slice("DEL"), name};
        if (!memmem(name.data, name.len, "tagged-", 7)) reply_free(ask_words(port, words, 2));
    }
    reply_free(names);
    CHECK(count_hits() == 0);
    for (unsigned tag = 0; tag < TAGS; tag++) set_tagged(tag);
    CHECK(count_hits() == TAGS);
}

int main(void) {
    char url[512];
    int port = atoi(variable("YC_TEST_PORT"));
    snprintf(url, sizeof url, "%s?key_prefix=eviction", variable("YC_TEST_URL"));
    cache = open_cache(url);
    check_lost_stamps(port);
    long long before = ask_info(port, "stats", "evicted_keys");
    for (unsigned round = 0; round < ROUNDS; round++) check_round(round);
    CHECK(ask_info(port, "stats", "evicted_keys") - before > ROUNDS * 500);
    CHECK_STATUS(yc_invalidate_tag(cache, "every", 5, NULL, NULL), YC_OK);
    CHECK(count_hits() == 0);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    close_cache(cache);
    return check_result();
}
