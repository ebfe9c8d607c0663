/* Credentials that a Go function supplies. */
#ifndef YOKED_GO_CREDENTIALS_H
#define YOKED_GO_CREDENTIALS_H

#include <stdint.h>
#include <yokedcache.h>

/* Calls yc_set_credentials(). handle is a cgo.Handle, which the library gives back at the end: a number, not a Go pointer. */
yc_status yoked_go_set_credentials(yc_cache *cache, uintptr_t handle, yc_error **error);

#endif
