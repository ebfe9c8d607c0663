/* Migrations that report progress to a Go function. */
#ifndef YOKED_GO_MIGRATE_H
#define YOKED_GO_MIGRATE_H

#include <yokedcache.h>

/* Calls yc_migrate(). handle is the cgo.Handle that receives progress: a number, not a Go pointer in C memory. */
yc_status yoked_go_migrate(yc_cache *source, yc_cache *target, const char *options, uintptr_t handle, yc_value **report,
                           yc_error **error);

#endif
