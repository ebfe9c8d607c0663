/* Implements credentials.h. */
#include "credentials.h"

/* Exported by credentials.go. */
extern void yokedGoSupply(uintptr_t handle, yc_credentials_request *request);
extern void yokedGoSupplyEnd(uintptr_t handle);

static void on_request(void *handle, yc_credentials_request *request) { yokedGoSupply((uintptr_t)handle, request); }
static void on_end(void *handle) { yokedGoSupplyEnd((uintptr_t)handle); }

yc_status yoked_go_set_credentials(yc_cache *cache, uintptr_t handle, yc_error **error)
{
    return yc_set_credentials(cache, on_request, (void *)handle, on_end, error);
}
