/* The test of staleness_run.c on a cluster whose slots move and whose replicas take over from primaries that are well: then no
   write is lost. Needs servers of its own of kind cluster (tests/servers).
   staleness_cluster C-PROGRAM GO-PROGRAM NODE SCRIPT C++-PROGRAM */
#include "../c/servers/ports.h"
#include "../c/servers/slots.h"
#include "staleness_programs.h"

enum { SECONDS = 12, SETTLES_MS = 20000 };

static int nodes[MAX_PORTS];
static size_t n_nodes;
static unsigned seed;

static bool is_primary(int port) { return ask_info(port, "replication", "master_port") < 0; }

static int any_primary(int other_than) {
    int port = 0;
    while (!port || port == other_than || !is_primary(port)) port = nodes[(size_t)rand_r(&seed) % n_nodes];
    return port;
}

static void kill_tracking(void) {
    for (size_t at = 0; at < n_nodes; at++) kill_tracking_on(nodes[at]);
}

static void kill_connections(void) { CHECK(tell(any_primary(0), "CLIENT KILL TYPE normal")); }

/* The slot of a name on a server, or -1 when it has none. */
static long long any_slot(int port) {
    reply *name = ask(port, "RANDOMKEY");
    yc_slice words[] = {slice("CLUSTER"), slice("KEYSLOT"), {name ? name->text : NULL, name ? name->len : 0}};
    reply *slot = name && name->text ? ask_words(port, words, 3) : NULL;
    long long number = slot ? slot->number : -1;
    reply_free(name);
    reply_free(slot);
    return number;
}

static void move_slot(void) {
    int from = any_primary(0), to = any_primary(from);
    long long slot = any_slot(from);
    if (slot < 0) return;
    open_slot(from, to, slot);
    sleep_ms(200);
    while (move_names(from, to, slot, 1)) sleep_ms(20);
    close_slot(from, to, slot);
}

static void fail_over(void) {
    int replica = 0;
    while (!replica || is_primary(replica)) replica = nodes[(size_t)rand_r(&seed) % n_nodes];
    if (!tell(replica, "CLUSTER FAILOVER")) return;
    UNTIL(is_primary(replica), SETTLES_MS);
}

static int make_faults(void *seconds) {
    static void (*const faults[])(void) = {move_slot, fail_over, kill_tracking, move_slot, kill_connections, move_slot};
    double end = now_ms() + 1e3 * (double)*(long *)seconds;
    int made = 0;
    for (; now_ms() < end; made++) {
        faults[(size_t)made % (sizeof faults / sizeof *faults)]();
        sleep_ms(REST_MS);
    }
    return made;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    program programs[PROCESSES];
    long seconds = seconds_or(SECONDS);
    seed = new_seed();
    n_nodes = read_ports("YC_TEST_CLUSTER_PORTS", nodes);
    name_programs(programs, argv + 1);
    for (int number = 0; number < PROCESSES; number++) {
        snprintf(programs[number].url, sizeof programs[number].url, "%s?%s", variable("YC_TEST_URL"), OPTIONS);
    }
    run_programs(programs, make_faults, &seconds);
    return check_result();
}
