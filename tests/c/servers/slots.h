/* Slots of a cluster that go from one node to another. */
#ifndef SLOTS_H
#define SLOTS_H

#include "../calls.h"
#include "resp.h"

/* The name of a node, to be freed. */
static inline char *node_name(int port) {
    reply *name = ask(port, "CLUSTER MYID");
    char *text = strdup(name && name->text ? name->text : "");
    reply_free(name);
    return text;
}

/* From now on names of the slot may be at either. */
static inline void open_slot(int from, int to, long long slot) {
    char *source = node_name(from), *target = node_name(to);
    CHECK(tell(to, "CLUSTER SETSLOT %lld IMPORTING %s", slot, source));
    CHECK(tell(from, "CLUSTER SETSLOT %lld MIGRATING %s", slot, target));
    free(source);
    free(target);
}

/* All of them have moved. */
static inline void close_slot(int from, int to, long long slot) {
    char *target = node_name(to);
    CHECK(tell(to, "CLUSTER SETSLOT %lld NODE %s", slot, target));
    CHECK(tell(from, "CLUSTER SETSLOT %lld NODE %s", slot, target));
    free(target);
}

/* Moves up to `count` names of a slot at once; how many went. */
static inline size_t move_names(int from, int to, long long slot, int count) {
    char port[16];
    reply *names = ask(from, "CLUSTER GETKEYSINSLOT %lld %d", slot, count);
    size_t moved = names ? names->count : 0;
    yc_slice *words = calloc(moved + 7, sizeof *words);
    snprintf(port, sizeof port, "%d", to);
    yc_slice head[] = {slice("MIGRATE"), slice("127.0.0.1"), slice(port), {"", 0}, slice("0"), slice("5000"), slice("KEYS")};
    memcpy(words, head, sizeof head);
    for (size_t at = 0; at < moved; at++) words[7 + at] = (yc_slice){names->items[at].text, names->items[at].len};
    reply *answer = moved ? ask_words(from, words, moved + 7) : NULL;
    CHECK(!moved || (answer && answer->kind == '+'));
    reply_free(answer);
    reply_free(names);
    free(words);
    return moved;
}

#endif
