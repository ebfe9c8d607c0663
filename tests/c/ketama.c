/* Prints which server libmemcached has a name on: the oracle of the distributions.
 *
 * ketama ketama|weighted|modula md5|default KEYS SERVER[,WEIGHT] ...: a line of server numbers for name:0, name:1, ... */
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what) {
    fprintf(stderr, "ketama: %s\n", what);
    exit(1);
}

static void set(memcached_st *client, memcached_behavior_t behavior, uint64_t value) {
    if (memcached_behavior_set(client, behavior, value) != MEMCACHED_SUCCESS)
        fail("a behavior was refused");
}

static void add(memcached_st *client, char *server, int weighted) {
    char *comma = strchr(server, ',');
    unsigned weight = comma ? (unsigned)strtoul(comma + 1, NULL, 10) : 1;
    if (comma)
        *comma = 0;
    memcached_return_t added;
    if (server[0] == '/') {
        added = weighted ? memcached_server_add_unix_socket_with_weight(client, server, weight)
                         : memcached_server_add_unix_socket(client, server);
    } else {
        char *colon = strrchr(server, ':');
        if (!colon)
            fail("a server without a port");
        *colon = 0;
        in_port_t port = (in_port_t)strtoul(colon + 1, NULL, 10);
        added = weighted ? memcached_server_add_with_weight(client, server, port, weight)
                         : memcached_server_add(client, server, port);
    }
    if (added != MEMCACHED_SUCCESS)
        fail("a server was refused");
}

int main(int argc, char **argv) {
    if (argc < 5)
        fail("usage: ketama ketama|weighted|modula md5|default KEYS SERVER[,WEIGHT] ...");
    memcached_st *client = memcached_create(NULL);
    const char *distribution = argv[1];
    int weights = 0;
    for (int i = 4; i < argc; i++)
        weights |= strchr(argv[i], ',') != NULL;
    if (!strcmp(distribution, "weighted"))
        set(client, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
    else if (!strcmp(distribution, "ketama"))
        set(client, MEMCACHED_BEHAVIOR_KETAMA, 1);
    set(client, MEMCACHED_BEHAVIOR_HASH, strcmp(argv[2], "md5") ? MEMCACHED_HASH_DEFAULT : MEMCACHED_HASH_MD5);
    for (int i = 4; i < argc; i++)
        add(client, argv[i], weights);
    unsigned long keys = strtoul(argv[3], NULL, 10);
    for (unsigned long key = 0; key < keys; key++) {
        char name[64];
        /* Bytes over 127 too: the default hash reads characters as signed. */
        int len = snprintf(name, sizeof name, "app:e:%lu:\xc3\xa9%lx", key, key * 2654435761u);
        printf("%u\n", memcached_generate_hash(client, name, (size_t)len));
    }
    memcached_free(client);
    return 0;
}
