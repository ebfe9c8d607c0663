/* The leases that JavaScript holds. A table owns them: whatever JavaScript forgets is freed with the cache. */
#include "binding.h"

#include <stdlib.h>

enum { FIRST_LEASES = 16 };

/* Doubles the table, and chains the new places. */
static bool grow(handle *cache) {
    uint32_t room = cache->n_leases ? 2 * cache->n_leases : FIRST_LEASES;
    lease_place *grown = realloc(cache->leases, room * sizeof *grown);
    if (!grown) return false;
    for (uint32_t at = cache->n_leases; at < room; at++) grown[at] = (lease_place){NULL, at + 1 < room ? at + 2 : 0};
    cache->leases = grown;
    cache->free_lease = cache->n_leases + 1;
    cache->n_leases = room;
    return true;
}

/* Takes a lease over; returns its number, or 0 if there is no memory: the lease is still the caller's then. */
uint32_t keep_lease(handle *cache, yc_lease *lease) {
    if (!cache->free_lease && !grow(cache)) return 0;
    uint32_t number = cache->free_lease;
    lease_place *place = &cache->leases[number - 1];
    cache->free_lease = place->next_free;
    *place = (lease_place){lease, 0};
    return number;
}

/* Returns NULL for a number that no lease has. */
yc_lease *lease_of(const handle *cache, uint32_t number) {
    return number && number <= cache->n_leases ? cache->leases[number - 1].lease : NULL;
}

void free_leases(handle *cache) {
    for (uint32_t at = 0; at < cache->n_leases; at++) yc_lease_free(cache->leases[at].lease);
    free(cache->leases);
    cache->leases = NULL;
    cache->n_leases = cache->free_lease = 0;
}

/* freeLease(handle, number) frees a lease, and abandons it if it was not used. */
napi_value free_lease(napi_env env, napi_callback_info info) {
    napi_value given[2];
    uint32_t number = 0;
    if (!arguments(env, info, 2, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    if (!cache || !check(env, napi_get_value_uint32(env, given[1], &number))) return NULL;
    yc_lease *lease = lease_of(cache, number);
    if (!lease) return NULL;
    yc_lease_free(lease);
    cache->leases[number - 1] = (lease_place){NULL, cache->free_lease};
    cache->free_lease = number;
    return NULL;
}
