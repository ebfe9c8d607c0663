package yokedcache

// #include <stdlib.h>
// #include "credentials.h"
import "C"

import (
	"context"
	"runtime/cgo"
	"time"
	"unsafe"
)

// Credentials is the user and the password with which the connections of a cache log in.
type Credentials struct {
	// Username is the user; "" is the default user of Redis.
	Username string
	// Password is the password or the token of the user.
	Password string
	// ValidFor is the time from now for which a server accepts them, in whole milliseconds; 0: they do not expire.
	ValidFor time.Duration
}

// An OpenOption is an optional property of [Open], [OpenFile] and [OpenEnv]. [WithCredentials] returns one.
type OpenOption interface {
	setOpenOption(*openOptions)
}

type openOptions struct {
	supply func(context.Context) (Credentials, error)
}

type credentialsOption func(context.Context) (Credentials, error)

func (supply credentialsOption) setOpenOption(options *openOptions) { options.supply = supply }

// WithCredentials has a function supply the credentials of a cache while it is in use: tokens that expire. The
// configuration needs the option "credentials: callback" in the section of the servers, as in
// "rediss://cache.example.com:6379?credentials=callback".
//
// One goroutine at a time calls the function: before the first connection, shortly before the credentials expire, and when
// a server has refused them. All connections share the answer. Open connections log in again, and no call fails because of
// that. The text of an error of the function is part of the error of calls that need a new connection ([ErrAuth]); it must
// not contain a secret. The function is called again after a pause. Its context is done when the cache is closed. It must
// not use the cache.
func WithCredentials(supply func(ctx context.Context) (Credentials, error)) OpenOption {
	return credentialsOption(supply)
}

// A supplier is the function of one cache.
type supplier struct {
	supply func(context.Context) (Credentials, error)
	ctx    context.Context
	cancel context.CancelFunc
}

// Sets the function that supplies the credentials of a cache, if there is one.
func setCredentials(cache *C.yc_cache, options []OpenOption) error {
	var chosen openOptions
	for _, option := range options {
		if option != nil {
			option.setOpenOption(&chosen)
		}
	}
	if chosen.supply == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	handle := cgo.NewHandle(&supplier{chosen.supply, ctx, cancel})
	var described *C.yc_error
	return failure(C.yoked_go_set_credentials(cache, C.uintptr_t(handle), &described), described)
}

// The thread of the library does not wait for the function.
//
//export yokedGoSupply
func yokedGoSupply(handle C.uintptr_t, request *C.yc_credentials_request) {
	go cgo.Handle(handle).Value().(*supplier).answer(request)
}

//export yokedGoSupplyEnd
func yokedGoSupplyEnd(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(*supplier).cancel()
	cgo.Handle(handle).Delete()
}

func (supplier *supplier) answer(request *C.yc_credentials_request) {
	reason := "the function ended its goroutine"
	defer func() {
		if request != nil {
			text := C.CString(reason)
			defer C.free(unsafe.Pointer(text))
			C.yc_credentials_fail(request, text, C.size_t(len(reason)), nil)
		}
	}()
	credentials, err := supplier.supply(supplier.ctx)
	switch {
	case err != nil:
		reason = err.Error()
	case credentials.ValidFor < 0:
		reason = "ValidFor is negative"
	default:
		give(request, credentials)
		request = nil
	}
}

func give(request *C.yc_credentials_request, credentials Credentials) {
	user, password := C.CString(credentials.Username), C.CString(credentials.Password)
	defer C.free(unsafe.Pointer(user))
	defer C.free(unsafe.Pointer(password))
	valid := C.int64_t(credentials.ValidFor.Milliseconds())
	if valid == 0 && credentials.ValidFor > 0 {
		valid = 1
	}
	// Wrong credentials fail the request.
	C.yc_credentials_give(request, user, C.size_t(len(credentials.Username)), password, C.size_t(len(credentials.Password)), valid, nil)
}
