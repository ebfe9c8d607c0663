/* Implements migrate.h. */
#include "migrate.h"

/* Exported by migrate.go. */
extern int32_t yokedGoProgress(uintptr_t handle, yc_progress *progress);

static int32_t on_progress(void *handle, const yc_progress *progress)
{
    return yokedGoProgress((uintptr_t)handle, (yc_progress *)progress);
}

yc_status yoked_go_migrate(yc_cache *source, yc_cache *target, const char *options, uintptr_t handle, yc_value **report,
                           yc_error **error)
{
    return yc_migrate(source, target, options, on_progress, (void *)handle, NULL, report, error);
}
