/* Migrations that tell a Go function how far they are. */
#ifndef YOKED_GO_MIGRATE_H
#define YOKED_GO_MIGRATE_H

#include <yokedcache.h>

/* yc_migrate(); told is the cgo.Handle of who is told: a number, not a Go pointer in C memory. */
yc_status yoked_go_migrate(yc_cache *source, yc_cache *target, const char *options, uintptr_t told, yc_value **report,
                           yc_error **error);

#endif
