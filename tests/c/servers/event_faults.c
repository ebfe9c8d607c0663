/* Events whose servers fail, refuse them, or lose them: an event that is missing has a gap at its place or behind it.
   event_faults [cluster] */
#include "../event_readers.h"
#include "ports.h"
#include "proxy.h"
#include "resp.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>

enum { WRITERS = 3, PER_WRITER = 20000, MAX_ITEMS = 1 << 18, MOST_PATIENCE_MS = 30000 };

static const char EVENTS[] = "key_prefix=ev&socket_timeout=500ms&socket_connect_timeout=500ms&events=true";
static const char PATIENT[] = "key_prefix=ev&socket_timeout=10s&events=true";
static const char JOURNAL[] = "key_prefix=ev&socket_timeout=500ms&socket_connect_timeout=500ms&events_journal=1000";
static const char SHORT_JOURNAL[] = "key_prefix=ev&socket_timeout=5s&events_journal=10";
/* Nothing is sent at the opening. */
static const char LAZY_JOURNAL[] = "key_prefix=ev&socket_timeout=5s&events_journal=10&connect=lazy";

/* ---- What a reader receives ---- */

/* An event of a writer by its number, or a gap (-1). */
typedef struct item {
    int number;
    uint64_t kind, sequence;
} item;

typedef struct record {
    pthread_t thread;
    yc_events *reader;
    item *items;
    atomic_uint count;
    /* A bit for each writer whose last event has come. */
    atomic_uint ends;
} record;

static void *receive(void *argument) {
    record *self = argument;
    yc_event *event = NULL;
    yc_status status;
    while ((status = yc_events_next(self->reader, -1, &event, NULL)) == YC_OK) {
        char name[32] = "";
        size_t len;
        int writer, number;
        unsigned at = atomic_load(&self->count);
        const void *data = yc_event_name(event, &len);
        if (data && len < sizeof name) memcpy(name, data, len);
        if (sscanf(name, "end-%d", &writer) == 1) {
            atomic_fetch_or(&self->ends, 1U << writer);
        } else if (CHECK(at < MAX_ITEMS && (is_gap(event) || sscanf(name, "%d-%d", &writer, &number) == 2))) {
            self->items[at] = (item){is_gap(event) ? -1 : writer * PER_WRITER + number, yc_event_kind(event), yc_event_sequence(event)};
            atomic_store(&self->count, at + 1);
        }
        yc_event_free(event);
    }
    CHECK_STATUS(status, YC_E_CLOSED);
    return NULL;
}

static record *record_start(yc_cache *cache) {
    record *self = calloc(1, sizeof *self);
    self->items = malloc(MAX_ITEMS * sizeof *self->items);
    self->reader = listen_to(cache, NULL);
    CHECK(pthread_create(&self->thread, NULL, receive, self) == 0);
    return self;
}

static void record_end(record *self) {
    CHECK_STATUS(yc_events_close(self->reader, NULL), YC_OK);
    pthread_join(self->thread, NULL);
    yc_events_free(self->reader);
}

static void record_free(record *self) {
    free(self->items);
    free(self);
}

/* ---- Writers ---- */

typedef struct removal {
    bool is_done;
    /* How many items the record had before. */
    unsigned begun;
} removal;

typedef struct writer {
    pthread_t thread;
    yc_cache *cache;
    record *record;
    int number, pause_ms;
    unsigned limit, count, done;
    atomic_bool *ends;
    removal removals[PER_WRITER];
} writer;

static const uint64_t KINDS[] = {YC_EVENT_DELETE, YC_EVENT_TAG, YC_EVENT_DELETE, YC_EVENT_PATTERN};

static yc_status remove_as(yc_cache *cache, uint64_t kind, const char *name) {
    if (kind == YC_EVENT_DELETE) return delete_key(cache, name);
    if (kind == YC_EVENT_TAG) return invalidate(cache, name);
    return yc_invalidate_pattern(cache, name, strlen(name), NULL, NULL);
}

static void *write_all(void *argument) {
    writer *self = argument;
    for (; self->count < self->limit && !atomic_load(self->ends); self->count++) {
        char name[32];
        removal *removal = &self->removals[self->count];
        snprintf(name, sizeof name, "%d-%u", self->number, self->count);
        removal->begun = atomic_load(&self->record->count);
        removal->is_done = remove_as(self->cache, KINDS[self->count % 4], name) >= 0;
        self->done += removal->is_done;
        /* A server that is away fails at once. */
        sleep_ms(removal->is_done ? self->pause_ms : 5);
    }
    return NULL;
}

static writer *writer_start(int number, yc_cache *cache, record *record, unsigned limit, int pause_ms, atomic_bool *ends) {
    writer *self = calloc(1, sizeof *self);
    *self = (writer){.cache = cache, .record = record, .number = number, .pause_ms = pause_ms, .limit = limit, .ends = ends};
    CHECK(pthread_create(&self->thread, NULL, write_all, self) == 0);
    return self;
}

/* Waits until the last event of a writer has come: those before it have, or will never. */
static void write_end(yc_cache *cache, record *record, int number) {
    char name[32];
    snprintf(name, sizeof name, "end-%d", number);
    double end = now_ms() + MOST_PATIENCE_MS;
    while (!(atomic_load(&record->ends) >> number & 1) && now_ms() < end) {
        if (invalidate(cache, name) >= 0) {
            for (int tries = 0; tries < 100 && !(atomic_load(&record->ends) >> number & 1); tries++) sleep_ms(10);
        }
        sleep_ms(5);
    }
    CHECK(atomic_load(&record->ends) >> number & 1);
}

/* Each event that a successful call has caused came, or a gap at its place or behind it. One that may not have been sent is sent
   again with another number; no number comes twice between two gaps. */
static void check_writer(const writer *self, const record *record, unsigned *missing) {
    enum { SEQUENCES = 4 * PER_WRITER };
    int *last = malloc(PER_WRITER * sizeof *last), *came = malloc(SEQUENCES * sizeof *came), gap = -1;
    for (unsigned at = 0; at < PER_WRITER; at++) last[at] = -1;
    for (unsigned at = 0; at < SEQUENCES; at++) came[at] = -1;
    for (int at = 0; at < (int)atomic_load(&record->count); at++) {
        const item *it = &record->items[at];
        if (it->number < 0) gap = at;
        if (it->number / PER_WRITER != self->number || it->number < 0) continue;
        unsigned number = (unsigned)it->number % PER_WRITER;
        if (!CHECK(it->kind == KINDS[number % 4])) printf("  number %u\n", number);
        if (!CHECK(it->sequence < SEQUENCES && (came[it->sequence] < 0 || came[it->sequence] < gap))) {
            printf("  writer %d, number %u came twice, at %d and %d\n", self->number, number, last[number], at);
            break;
        }
        last[number] = came[it->sequence] = at;
    }
    for (unsigned number = 0; number < self->count; number++) {
        const removal *removal = &self->removals[number];
        if (!removal->is_done || last[number] >= 0) continue;
        (*missing)++;
        if (!CHECK(gap >= (int)removal->begun)) {
            printf("  writer %d, number %u is missing behind %u events; the last gap is at %d\n", self->number, number, removal->begun, gap);
        }
    }
    free(last);
    free(came);
}

static unsigned count_gaps(const record *record) {
    unsigned count = 0;
    for (unsigned at = 0; at < atomic_load(&record->count); at++) count += record->items[at].number < 0;
    return count;
}

/* ---- Faults at any moment ---- */

static void cut_somewhere(const server *of, proxy *between, unsigned turn, unsigned *seed) {
    switch (turn % 5) {
        case 0: CHECK(tell(of->port, "CLIENT KILL TYPE normal")); break;
        case 1: CHECK(tell(of->port, "CLIENT KILL TYPE pubsub")); break;
        case 2: proxy_set(between, (proxy_fault){.mode = PROXY_CUT, .offset = (size_t)rand_r(seed) % 300, .reset = rand_r(seed) % 2}); break;
        case 3: proxy_set(between, (proxy_fault){.mode = PROXY_HOLD}); break;
        default: proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE, .reset = rand_r(seed) % 2});
    }
    sleep_ms(rand_r(seed) % 60);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
}

/* Writers and a reader at work. */
typedef struct work {
    writer *writers[WRITERS];
    yc_cache *caches[WRITERS], *cache;
    record *record;
    atomic_bool ends;
} work;

static void work_begin(work *self, const char *const *urls, const char *reader_url, unsigned limit, int pause_ms) {
    *self = (work){.cache = open_cache(reader_url)};
    self->record = record_start(self->cache);
    for (int at = 0; at < WRITERS; at++) {
        self->caches[at] = open_cache(urls[at]);
        self->writers[at] = writer_start(at, self->caches[at], self->record, limit, pause_ms, &self->ends);
    }
}

/* Waits for what is still to come, and checks that nothing is lost without a gap, or at all. */
static void work_end(work *self, bool may_lose, const char *what) {
    unsigned missing = 0, done = 0;
    for (int at = 0; at < WRITERS; at++) pthread_join(self->writers[at]->thread, NULL);
    for (int at = 0; at < WRITERS; at++) write_end(self->caches[at], self->record, at);
    record_end(self->record);
    for (int at = 0; at < WRITERS; at++) {
        check_writer(self->writers[at], self->record, &missing);
        done += self->writers[at]->done;
        close_cache(self->caches[at]);
        free(self->writers[at]);
    }
    printf("%s: %u removals, %u events missing, %u gaps\n", what, done, missing, count_gaps(self->record));
    CHECK(done > 0);
    if (may_lose) CHECK(count_gaps(self->record) > 0);
    else CHECK(count_gaps(self->record) == 0 && missing == 0);
    record_free(self->record);
    close_cache(self->cache);
}

/* Writers and their reader lose their connections, and if `restarts` the server its data. */
static void run_faults(const char *options, bool restarts, unsigned limit, unsigned turns, int pause_ms) {
    char through[MAX_SERVER_URL], direct[MAX_SERVER_URL];
    const char *const urls[WRITERS] = {direct, through, through};
    server of;
    work work;
    unsigned seed = 7;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    snprintf(direct, sizeof direct, "%s", server_url(&of, options));
    snprintf(through, sizeof through, "%s", url_of(SERVER_REDIS, proxy_port(between), options));
    work_begin(&work, urls, through, limit, pause_ms);
    for (unsigned turn = 0; turn < turns; turn++) {
        if (restarts && turn % 6 == 5) {
            server_kill(&of);
            sleep_ms(rand_r(&seed) % 60);
            server_restart(&of);
        } else {
            cut_somewhere(&of, between, turn, &seed);
        }
        sleep_ms(rand_r(&seed) % 120);
    }
    if (restarts) atomic_store(&work.ends, true);
    work_end(&work, restarts, options);
    proxy_stop(between);
    server_stop(&of);
}

/* ---- Journals that do not have what is missing ---- */

/* Removes until the event comes, as one may be lost with a gap. Whether a gap came before it. */
static bool is_told(yc_cache *writer, yc_events *reader) {
    static unsigned number;
    char tag[32];
    bool has_gap = false;
    double end = now_ms() + MOST_PATIENCE_MS;
    snprintf(tag, sizeof tag, "told-%u", ++number);
    for (unsigned attempts = 0; now_ms() < end;) {
        yc_event *event = NULL;
        if (invalidate(writer, tag) < 0) {
            sleep_ms(5);
            continue;
        }
        attempts++;
        while (yc_events_next(reader, 3000, &event, NULL) == YC_OK) {
            bool is = is_event(event, YC_EVENT_TAG, tag);
            has_gap |= is_gap(event);
            yc_event_free(event);
            if (is) {
                CHECK(has_gap || attempts == 1);
                return has_gap;
            }
        }
    }
    CHECK(!"the event comes");
    return has_gap;
}

static void delete_some(yc_cache *cache, unsigned count) {
    for (unsigned at = 0; at < count; at++) {
        char name[32];
        snprintf(name, sizeof name, "some-%u", at);
        CHECK(delete_key(cache, name) >= 0);
    }
}

/* The journal is cut off in front of what the reader has not read, or is lost with its server, with or without an event that the
   reader has read before. */
static void check_lost_journal(bool is_cut_off, bool has_read) {
    const char *options = has_read ? SHORT_JOURNAL : LAZY_JOURNAL;
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), options)), *writer = open_cache(server_url(&of, options));
    yc_events *reader = listen_to(cache, NULL);
    if (has_read) CHECK(!is_told(writer, reader));
    proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE});
    delete_some(writer, is_cut_off ? 500 : 1);
    if (!is_cut_off) {
        server_kill(&of);
        server_restart(&of);
    }
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    /* Long enough to have read on before the next event. */
    sleep_ms(700);
    if (!CHECK(is_told(writer, reader))) printf("  %s, %s event before\n", is_cut_off ? "cut off" : "lost", has_read ? "an" : "no");
    CHECK(!is_told(writer, reader));
    yc_events_free(reader);
    close_cache(cache);
    close_cache(writer);
    proxy_stop(between);
    server_stop(&of);
}

/* The same while the reply to a read is on its way, on a connection that stays. */
static void check_late_read(bool has_read) {
    const char *options = has_read ? SHORT_JOURNAL : LAZY_JOURNAL;
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), options)), *writer = open_cache(server_url(&of, options));
    yc_events *reader = listen_to(cache, NULL);
    if (has_read) CHECK(!is_told(writer, reader));
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLD});
    double end = now_ms() + MOST_PATIENCE_MS;
    while (proxy_held(between) == 0 && now_ms() < end) sleep_ms(5);
    delete_some(writer, 500);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    if (!CHECK(is_told(writer, reader))) printf("  %s event before\n", has_read ? "an" : "no");
    yc_events_free(reader);
    close_cache(cache);
    close_cache(writer);
    proxy_stop(between);
    server_stop(&of);
}

/* A flush leaves the journal, from which a reader that was away reads on. */
static void check_flush(void) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), JOURNAL)), *writer = open_cache(server_url(&of, JOURNAL));
    yc_events *reader = listen_to(cache, NULL);
    CHECK(!is_told(writer, reader));
    proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE});
    CHECK_STATUS(delete_key(writer, "a"), YC_MISS);
    CHECK_STATUS(yc_flush(writer, NULL, NULL), YC_OK);
    CHECK_STATUS(delete_key(writer, "b"), YC_MISS);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    CHECK(next_event_is(reader, YC_EVENT_DELETE, "a") && next_event_is(reader, YC_EVENT_FLUSH, "") && next_event_is(reader, YC_EVENT_DELETE, "b"));
    reply *length = ask(of.port, "XLEN ev:v:journal");
    CHECK(length && length->kind == ':' && length->number >= 4);
    reply_free(length);
    yc_events_free(reader);
    close_cache(cache);
    close_cache(writer);
    proxy_stop(between);
    server_stop(&of);
}

/* ---- Permissions ---- */

static const char *url_as(const server *of, const char *user, const char *options) {
    static char url[256];
    snprintf(url, sizeof url, "redis://%s:secret@127.0.0.1:%d?%s", user, of->port, options);
    return url;
}

/* The opening finds out that the user may not tell of removals. */
static void check_denied_opening(const server *of, const char *options, const char *taken) {
    yc_cache *cache = NULL;
    CHECK(tell(of->port, "ACL SETUSER opener reset on >secret ~* &* +@all"));
    CHECK(tell(of->port, "ACL SETUSER opener %s", taken));
    CHECK_CALL(yc_open(url_as(of, "opener", options), &cache, err), YC_E_DENIED);
    CHECK(cache == NULL);
}

static void check_denied_reader(const server *of, const char *options, const char *taken, const char *given) {
    yc_events *reader = NULL;
    yc_event *event = NULL;
    CHECK(tell(of->port, "ACL SETUSER reader reset on >secret ~* &* +@all"));
    CHECK(tell(of->port, "ACL SETUSER reader %s", taken));
    yc_cache *cache = open_cache(url_as(of, "reader", options)), *writer = open_cache(server_url(of, options));
    CHECK_CALL(yc_events_open(cache, NULL, &reader, err), YC_E_DENIED);
    CHECK(reader == NULL);
    CHECK(tell(of->port, "ACL SETUSER reader %s", given));
    reader = listen_to(cache, NULL);
    CHECK(!is_told(writer, reader));
    /* A right that is taken away is the end, once the server has said so. */
    CHECK(tell(of->port, "ACL SETUSER reader %s", taken));
    CHECK(tell(of->port, "CLIENT KILL TYPE pubsub"));
    CHECK_CALL(yc_events_next(reader, 10000, &event, err), YC_E_DENIED);
    CHECK_CALL(yc_events_next(reader, -1, &event, err), YC_E_DENIED);
    yc_events_free(reader);
    close_cache(cache);
    close_cache(writer);
}

/* Whether the next event is this one, or a gap. */
static bool next_is_gap_or(yc_events *reader, uint64_t kind, const char *name) {
    yc_event *event = next_event(reader);
    bool is = is_gap(event) || is_event(event, kind, name);
    yc_event_free(event);
    return is;
}

/* Removals do not need the right to tell of them; once it is there, the readers are told. */
static void check_denied_writer(const server *of, const char *options, const char *taken, const char *given) {
    CHECK(tell(of->port, "ACL SETUSER writer reset on >secret ~* &* +@all"));
    yc_cache *cache = open_cache(url_as(of, "writer", options)), *other = open_cache(server_url(of, options));
    yc_events *reader = listen_to(other, NULL);
    CHECK(!is_told(cache, reader));
    CHECK(tell(of->port, "ACL SETUSER writer %s", taken));
    yc_slice tag = slice("t");
    for (int turn = 0; turn < 3; turn++) {
        CHECK_STATUS(yc_set(other, "a", 1, "1", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
        CHECK_STATUS(delete_key(cache, "a"), YC_OK);
        CHECK_STATUS(yc_exists(other, "a", 1, NULL), YC_MISS);
        CHECK_STATUS(yc_set(other, "a", 1, "1", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
        CHECK_STATUS(invalidate(cache, "t"), YC_OK);
        CHECK_STATUS(yc_exists(other, "a", 1, NULL), YC_MISS);
    }
    CHECK_STATUS(yc_invalidate_pattern(cache, "a*", 2, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    CHECK(tell(of->port, "ACL SETUSER writer %s", given));
    if (!CHECK(next_is_gap_or(reader, YC_EVENT_DELETE, "a"))) printf("  %s\n", taken);
    is_told(cache, reader);
    yc_events_free(reader);
    close_cache(cache);
    close_cache(other);
}

static void check_permissions(void) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    check_denied_opening(&of, EVENTS, "resetchannels");
    check_denied_opening(&of, EVENTS, "-publish");
    check_denied_opening(&of, JOURNAL, "-xadd");
    check_denied_reader(&of, EVENTS, "-subscribe", "+subscribe");
    check_denied_reader(&of, JOURNAL, "-xread -xrange -xrevrange", "+xread +xrange +xrevrange");
    check_denied_writer(&of, EVENTS, "resetchannels", "&*");
    check_denied_writer(&of, EVENTS, "-publish", "+publish");
    check_denied_writer(&of, JOURNAL, "-xadd", "+xadd");
    server_stop(&of);
}

/* A server without memory for its journal removes, and tells of that when it has some again. */
static void check_full_server(void) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&of, JOURNAL)), *other = open_cache(server_url(&of, JOURNAL));
    yc_events *reader = listen_to(other, NULL);
    CHECK(!is_told(cache, reader));
    CHECK_STATUS(yc_set(other, "a", 1, "1", 1, YC_TTL_NEVER, NULL, 0, NULL), YC_OK);
    CHECK(tell(of.port, "CONFIG SET maxmemory 1"));
    CHECK_STATUS(delete_key(cache, "a"), YC_OK);
    sleep_ms(200);
    CHECK(tell(of.port, "CONFIG SET maxmemory 0"));
    CHECK(next_is_gap_or(reader, YC_EVENT_DELETE, "a"));
    yc_events_free(reader);
    close_cache(cache);
    close_cache(other);
    server_stop(&of);
}

/* ---- One request ---- */

typedef struct held_call {
    pthread_t thread;
    yc_cache *cache;
    uint64_t kind;
    atomic_bool is_over;
    yc_status status;
} held_call;

static void *call_held(void *argument) {
    held_call *self = argument;
    self->status = remove_as(self->cache, self->kind, "held");
    atomic_store(&self->is_over, true);
    return NULL;
}

/* The event comes while no reply has reached the writer: the removal, which is made then, and the event were one request. */
static void check_one_request(const char *options) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), options)), *other = open_cache(server_url(&of, options));
    yc_events *reader = listen_to(other, NULL);
    yc_slice tag = slice("held");
    const uint64_t kinds[] = {YC_EVENT_TAG, YC_EVENT_DELETE};
    for (int at = 0; at < 2; at++) {
        held_call call = {.cache = cache, .kind = kinds[at]};
        CHECK_STATUS(yc_set(other, "held", 4, "1", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
        /* The connection is there, and its scripts are known. */
        CHECK(!is_told(cache, reader));
        CHECK(delete_key(cache, "first") >= 0 && next_event_is(reader, YC_EVENT_DELETE, "first"));
        proxy_set(between, (proxy_fault){.mode = PROXY_HOLD});
        CHECK(pthread_create(&call.thread, NULL, call_held, &call) == 0);
        CHECK(next_event_is(reader, kinds[at], "held"));
        CHECK(!atomic_load(&call.is_over));
        CHECK_STATUS(yc_exists(other, "held", 4, NULL), YC_MISS);
        proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
        pthread_join(call.thread, NULL);
        CHECK_STATUS(call.status, YC_OK);
    }
    /* Each came once. */
    yc_event *event = NULL;
    CHECK_STATUS(yc_events_next(reader, 100, &event, NULL), YC_MISS);
    yc_events_free(reader);
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
    server_stop(&of);
}

/* ---- Messages that are none ---- */

/* What others send to the channel, or add to the journal, is a gap at most, and the next event comes. */
static void check_garbage(const char *options) {
    static const char garbage[] = "\x01" "12345678" "12345678" "12345678" "12345678" "t\xff\xff\xff\xff" "name";
    static const size_t lengths[] = {0, 1, 8, 9, 17, 32, 34, 35, 38, sizeof garbage - 1};
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&of, options)), *other = open_cache(server_url(&of, options));
    yc_events *reader = listen_to(other, NULL);
    bool has_journal = strstr(options, "events_journal") != NULL;
    CHECK(!is_told(cache, reader));
    for (size_t at = 0; at < sizeof lengths / sizeof *lengths; at++) {
        yc_slice data = {garbage, lengths[at]};
        yc_slice message[] = {slice("PUBLISH"), slice("ev:v:events"), data}, added[] = {slice("XADD"), slice("ev:v:journal"), slice("*"), slice("e"), data};
        reply *answer = has_journal ? ask_words(of.port, added, 5) : ask_words(of.port, message, 3);
        CHECK(answer && answer->kind != '-');
        reply_free(answer);
        if (!CHECK(is_told(cache, reader))) printf("  %zu bytes\n", lengths[at]);
    }
    if (has_journal) {
        CHECK(tell(of.port, "XADD ev:v:journal * other field e 1 more fields"));
        CHECK(is_told(cache, reader));
        /* Somebody removes the journal; in the next millisecond, as its numbers are times. */
        sleep_ms(5);
        CHECK(tell(of.port, "DEL ev:v:journal"));
        CHECK(is_told(cache, reader));
        /* Something else has its name: removals succeed, and the readers are told once the journal is there again. */
        CHECK(tell(of.port, "SET ev:v:journal x"));
        CHECK_STATUS(delete_key(cache, "a"), YC_MISS);
        CHECK_STATUS(invalidate(cache, "t"), YC_OK);
        sleep_ms(200);
        CHECK(tell(of.port, "DEL ev:v:journal"));
        CHECK(next_is_gap_or(reader, YC_EVENT_DELETE, "a"));
        is_told(cache, reader);
    }
    yc_events_free(reader);
    close_cache(cache);
    close_cache(other);
    server_stop(&of);
}

/* ---- A replica takes the place of its master ---- */

/* The replica does not have what was added last. */
static void check_lost_by_failover(bool has_read_it) {
    static const char *const quick[] = {"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", NULL};
    server master, replica;
    server_start(&master, SERVER_REDIS, quick);
    server_start(&replica, SERVER_REDIS, quick);
    proxy *between = proxy_start(master.port), *before_writer = proxy_start(master.port);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), JOURNAL)), *writer = open_cache(url_of(SERVER_REDIS, proxy_port(before_writer), JOURNAL));
    yc_events *reader = listen_to(cache, NULL);
    CHECK(!is_told(writer, reader));
    CHECK(tell(replica.port, "REPLICAOF 127.0.0.1 %d", master.port));
    double end = now_ms() + MOST_PATIENCE_MS;
    while (ask_info(replica.port, "replication", "master_sync_in_progress") != 0 || ask_info(replica.port, "replication", "slave_repl_offset") <= 0) {
        if (!CHECK(now_ms() < end)) break;
        sleep_ms(20);
    }
    CHECK(!is_told(writer, reader));
    end = now_ms() + MOST_PATIENCE_MS;
    while (ask_info(replica.port, "replication", "slave_repl_offset") < ask_info(master.port, "replication", "master_repl_offset") && now_ms() < end) sleep_ms(20);
    CHECK(tell(replica.port, "REPLICAOF NO ONE"));
    if (!has_read_it) proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE});
    CHECK(delete_key(writer, "lost") >= 0);
    if (has_read_it) CHECK(next_event_is(reader, YC_EVENT_DELETE, "lost"));
    server_kill(&master);
    proxy_direct(between, replica.port);
    proxy_direct(before_writer, replica.port);
    proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
    sleep_ms(700);
    bool has_gap = is_told(writer, reader);
    if (!has_read_it) CHECK(has_gap);
    CHECK(!is_told(writer, reader));
    yc_events_free(reader);
    close_cache(cache);
    close_cache(writer);
    proxy_stop(between);
    proxy_stop(before_writer);
    server_stop(&replica);
    server_stop(&master);
}

/* ---- Removals that take long ---- */

enum { WALKED = 10000, WALKS = 3 };

static void *delete_until(void *argument) {
    writer *self = argument;
    for (unsigned at = 0; !atomic_load(self->ends); at++) {
        char name[32];
        snprintf(name, sizeof name, "other-%u", at % 100);
        CHECK(delete_key(self->cache, name) >= 0);
    }
    return NULL;
}

static void set_walked(yc_cache *cache) {
    static char names[WALKED][16];
    static yc_slice keys[WALKED];
    for (int at = 0; at < WALKED; at++) {
        snprintf(names[at], sizeof names[at], "walked-%d", at);
        keys[at] = slice(names[at]);
    }
    CHECK_STATUS(yc_set_many(cache, keys, keys, WALKED, YC_TTL_NEVER, NULL, 0, NULL, NULL), YC_OK);
}

/* The event of a walk comes after it, although many others of the same cache came meanwhile; and nothing is lost. */
static void check_walks(void) {
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    yc_cache *cache = open_cache(server_url(&of, PATIENT)), *other = open_cache(server_url(&of, PATIENT));
    yc_events_filter filter = {.struct_size = sizeof filter, .kinds = YC_EVENT_PATTERN | YC_EVENT_FLUSH};
    yc_events *reader = listen_to(other, &filter);
    atomic_bool ends = false;
    writer *deleting = calloc(1, sizeof *deleting);
    *deleting = (writer){.cache = cache, .ends = &ends};
    CHECK(pthread_create(&deleting->thread, NULL, delete_until, deleting) == 0);
    for (int turn = 0; turn < WALKS; turn++) {
        set_walked(other);
        CHECK_STATUS(yc_invalidate_pattern(cache, "walked*", 7, NULL, NULL), YC_OK);
        CHECK(next_event_is(reader, YC_EVENT_PATTERN, "walked*"));
        set_walked(other);
        CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
        CHECK(next_event_is(reader, YC_EVENT_FLUSH, ""));
    }
    atomic_store(&ends, true);
    pthread_join(deleting->thread, NULL);
    free(deleting);
    yc_events_free(reader);
    close_cache(cache);
    close_cache(other);
    server_stop(&of);
}

/* ---- A fallback ---- */

/* What is removed while the fallback serves reaches the others once the servers are back. */
static void check_fallback(const char *options) {
    char with_fallback[256];
    server of;
    server_start(&of, SERVER_REDIS, NULL);
    proxy *between = proxy_start(of.port);
    snprintf(with_fallback, sizeof with_fallback, "%s&fallback=memory", options);
    yc_cache *cache = open_cache(url_of(SERVER_REDIS, proxy_port(between), with_fallback)), *other = open_cache(server_url(&of, options));
    yc_events *own = listen_to(cache, NULL);
    for (int kind = 0; kind < 4; kind++) {
        yc_slice tag = slice("t");
        yc_events *reader = listen_to(other, NULL);
        CHECK_STATUS(yc_set(other, "a", 1, "1", 1, YC_TTL_NEVER, &tag, 1, NULL), YC_OK);
        proxy_set(between, (proxy_fault){.mode = PROXY_REFUSE});
        double end = now_ms() + MOST_PATIENCE_MS;
        yc_event *event = NULL;
        while (yc_exists(cache, "x", 1, NULL) < 0 && now_ms() < end) sleep_ms(5);
        do event = (yc_event_free(event), next_event(own));
        while (is_gap(event));
        CHECK(is_event(event, YC_EVENT_FALLBACK_BEGIN, "memory"));
        yc_event_free(event);
        if (kind == 0) CHECK(delete_key(cache, "a") >= 0);
        if (kind == 1) CHECK_STATUS(invalidate(cache, "t"), YC_OK);
        if (kind == 2) CHECK_STATUS(yc_invalidate_pattern(cache, "a*", 2, NULL, NULL), YC_OK);
        if (kind == 3) CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
        proxy_set(between, (proxy_fault){.mode = PROXY_PASS});
        event = NULL;
        do event = (yc_event_free(event), next_event(own));
        while (is_gap(event));
        CHECK(is_event(event, YC_EVENT_FALLBACK_END, "redis"));
        yc_event_free(event);
        CHECK_STATUS(yc_exists(other, "a", 1, NULL), YC_MISS);
        event = next_event(reader);
        bool is = is_gap(event) || is_event(event, YC_EVENT_DELETE, "a") || is_event(event, YC_EVENT_TAG, "t") ||
                  is_event(event, YC_EVENT_PATTERN, "a*") || is_event(event, YC_EVENT_FLUSH, "");
        if (!CHECK(is)) printf("  kind %d\n", kind);
        yc_event_free(event);
        yc_events_free(reader);
    }
    yc_events_free(own);
    close_cache(cache);
    close_cache(other);
    proxy_stop(between);
    server_stop(&of);
}

/* ---- Memcached, whose events a Redis server carries ---- */

static void check_memcached(void) {
    server of, carrier;
    char url[512];
    static char long_key[60001];
    server_start(&of, SERVER_MEMCACHED, NULL);
    server_start(&carrier, SERVER_REDIS, NULL);
    snprintf(url, sizeof url, "memcached://127.0.0.1:%d?key_prefix=ev&events=redis://127.0.0.1:%d/0?socket_timeout=500ms", of.port, carrier.port);
    yc_cache *cache = open_cache(url), *other = open_cache(url);
    yc_events *reader = listen_to(other, NULL);
    CHECK(!is_told(cache, reader));
    /* It is silent for a moment: nothing is lost, unless that was longer than a reader waits for an answer. */
    server_signal(&carrier, SIGSTOP);
    delete_some(cache, 100);
    server_signal(&carrier, SIGCONT);
    bool is_whole = true;
    for (unsigned at = 0; at < 100 && is_whole; at++) {
        char name[32];
        snprintf(name, sizeof name, "some-%u", at);
        yc_event *event = next_event(reader);
        is_whole = CHECK(is_gap(event) || is_event(event, YC_EVENT_DELETE, name)) && !is_gap(event);
        yc_event_free(event);
    }
    /* It is gone: removals succeed, and a gap tells of them once it is there again. */
    server_kill(&carrier);
    delete_some(cache, 100);
    CHECK_STATUS(invalidate(cache, "gone"), YC_OK);
    CHECK_STATUS(yc_invalidate_pattern(cache, "none*", 5, NULL, NULL), YC_OK);
    CHECK_STATUS(yc_flush(cache, NULL, NULL), YC_OK);
    server_restart(&carrier);
    CHECK(is_told(cache, reader));
    /* More than a cache keeps: a gap stands for it. */
    memset(long_key, 'k', sizeof long_key - 1);
    server_signal(&carrier, SIGSTOP);
    for (int at = 0; at < 200; at++) {
        memcpy(long_key, (char[]){(char)('0' + at / 10 % 10), (char)('0' + at % 10)}, 2);
        CHECK_STATUS(delete_key(cache, long_key), YC_MISS);
    }
    server_signal(&carrier, SIGCONT);
    CHECK(is_told(cache, reader));
    yc_events_free(reader);
    close_cache(other);
    /* The close does not wait for a carrier that is gone. */
    server_kill(&carrier);
    delete_some(cache, 1);
    close_cache(cache);
    server_stop(&carrier);
    server_stop(&of);
}

/* ---- Clusters ---- */

/* Connections end on all nodes; if `may_lose`, replicas take over as well, in agreement with their masters. */
static void check_cluster(const char *options, bool may_lose) {
    char url[512];
    const char *const urls[WRITERS] = {url, url, url};
    int ports[MAX_PORTS];
    size_t n_ports = read_ports("YC_TEST_CLUSTER_PORTS", ports);
    work work;
    snprintf(url, sizeof url, "%s?%s", variable("YC_TEST_URL"), options);
    work_begin(&work, urls, url, may_lose ? PER_WRITER : 300, 5);
    for (unsigned turn = 0; turn < 24; turn++) {
        for (size_t at = 0; at < n_ports; at++) {
            /* Masters refuse it. */
            if (may_lose && turn % 6 == 5) reply_free(ask(ports[at], "CLUSTER FAILOVER"));
            else CHECK(tell(ports[at], "CLIENT KILL TYPE %s", turn % 2 ? "normal" : "pubsub"));
        }
        sleep_ms(may_lose && turn % 6 == 5 ? 700 : 70);
    }
    atomic_store(&work.ends, true);
    work_end(&work, may_lose, options);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "cluster") == 0) {
        check_cluster(EVENTS, true);
        check_cluster(JOURNAL, true);
        check_cluster(JOURNAL, false);
        return check_result();
    }
    int threads = count_threads(), files = count_files();
    run_faults(EVENTS, true, PER_WRITER, 24, 0);
    run_faults(JOURNAL, false, 250, 15, 5);
    run_faults(JOURNAL, true, PER_WRITER, 18, 1);
    for (int way = 0; way < 4; way++) check_lost_journal(way % 2, way / 2);
    check_late_read(true);
    check_late_read(false);
    check_flush();
    check_permissions();
    check_full_server();
    check_one_request(PATIENT);
    check_one_request("key_prefix=ev&socket_timeout=10s&events_journal=100");
    check_garbage(EVENTS);
    check_garbage(JOURNAL);
    check_lost_by_failover(true);
    check_lost_by_failover(false);
    check_walks();
    check_fallback(EVENTS);
    check_fallback(JOURNAL);
    check_memcached();
    CHECK(threads_are(threads) && count_files() <= files);
    return check_result();
}
