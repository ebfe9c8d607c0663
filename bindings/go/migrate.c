/* The other side of migrate.h. */
#include "migrate.h"

/* In migrate.go. */
extern int32_t yokedGoProgress(uintptr_t told, yc_progress *progress);

static int32_t tell(void *told, const yc_progress *progress)
{
    return yokedGoProgress((uintptr_t)told, (yc_progress *)progress);
}

yc_status yoked_go_migrate(yc_cache *source, yc_cache *target, const char *options, uintptr_t told, yc_value **report,
                           yc_error **error)
{
    return yc_migrate(source, target, options, tell, (void *)told, NULL, report, error);
}
