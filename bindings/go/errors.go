package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
)

// A Code says what kind of thing happened, for programs. Its numbers are those of the C ABI; later versions
// may add some.
type Code int32

// The kinds of errors; each has a sentinel such as [ErrTimeout].
const (
	CodeMiss         Code = C.YC_MISS
	CodeInvalid      Code = C.YC_E_INVALID
	CodeConfig       Code = C.YC_E_CONFIG
	CodeTooLarge     Code = C.YC_E_TOO_LARGE
	CodeUnsupported  Code = C.YC_E_UNSUPPORTED
	CodeABIMismatch  Code = C.YC_E_ABI_MISMATCH
	CodeClosed       Code = C.YC_E_CLOSED
	CodeForked       Code = C.YC_E_FORKED
	CodeCancelled    Code = C.YC_E_CANCELLED
	CodeBusy         Code = C.YC_E_BUSY
	CodeConnect      Code = C.YC_E_CONNECT
	CodeAuth         Code = C.YC_E_AUTH
	CodeDenied       Code = C.YC_E_DENIED
	CodeTLS          Code = C.YC_E_TLS
	CodeTimeout      Code = C.YC_E_TIMEOUT
	CodeServerMemory Code = C.YC_E_SERVER_MEMORY
	CodeProtocol     Code = C.YC_E_PROTOCOL
	CodeServer       Code = C.YC_E_SERVER
	CodePanic        Code = C.YC_E_PANIC
)

// String is the name of the code in the C ABI, such as "YC_E_TIMEOUT".
func (code Code) String() string {
	return C.GoString(C.yc_status_name(C.yc_status(code)))
}

// An Error is what every method of this package returns when it fails: errors.As finds it, errors.Is holds its
// code against the sentinels.
type Error struct {
	// What kind of thing happened.
	Code Code
	// What happened, to which thing, and what to do about it: one line that never holds a password or a value.
	Message string
	// Whether the same call may succeed later with nothing changed by the caller.
	Retryable bool

	cause error
}

// Error is the message.
func (err *Error) Error() string {
	return "yokedcache: " + err.Message
}

// Is tells whether target is an *Error of the same code, as the sentinels are.
func (err *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == err.Code
}

// Unwrap is what the context said, for a call that its context ended.
func (err *Error) Unwrap() error {
	return err.cause
}

// The sentinels: errors.Is(err, yokedcache.ErrTimeout). What a call returns is another *Error of the same code,
// with a message of its own.
var (
	// ErrMiss: the key is not there, has expired, or a tag of it was invalidated.
	ErrMiss = sentinel(CodeMiss, "the key is not there")
	// ErrInvalid: an argument is not allowed; the message names it.
	ErrInvalid = sentinel(CodeInvalid, "an argument is not allowed")
	// ErrConfig: the configuration cannot be used; the message names the option.
	ErrConfig = sentinel(CodeConfig, "the configuration cannot be used")
	// ErrTooLarge: a key, value or list of tags is over the limit; nothing was stored.
	ErrTooLarge = sentinel(CodeTooLarge, "over the limit")
	// ErrUnsupported: this backend or build cannot do it; the message says why.
	ErrUnsupported = sentinel(CodeUnsupported, "this backend cannot do it")
	// ErrABIMismatch: binding and library are of different releases.
	ErrABIMismatch = sentinel(CodeABIMismatch, "binding and library are of different releases")
	// ErrClosed: the cache was closed.
	ErrClosed = sentinel(CodeClosed, "the cache was closed")
	// ErrForked: the cache was opened by the parent process.
	ErrForked = sentinel(CodeForked, "the cache was opened by the parent process")
	// ErrCancelled: the context was cancelled first. The error is context.Canceled too.
	ErrCancelled = sentinel(CodeCancelled, "the call was cancelled")
	// ErrBusy: too much is in flight; see max_pending.
	ErrBusy = sentinel(CodeBusy, "too much is in flight")
	// ErrConnect: the server cannot be reached.
	ErrConnect = sentinel(CodeConnect, "the server cannot be reached")
	// ErrAuth: the server refused the credentials.
	ErrAuth = sentinel(CodeAuth, "the server refused the credentials")
	// ErrDenied: the server knows the user and forbids the command.
	ErrDenied = sentinel(CodeDenied, "the server forbids the command")
	// ErrTLS: TLS could not be agreed on.
	ErrTLS = sentinel(CodeTLS, "TLS could not be agreed on")
	// ErrTimeout: the deadline passed, that of the configuration or that of the context. If that of the context,
	// the error is context.DeadlineExceeded too.
	ErrTimeout = sentinel(CodeTimeout, "the deadline passed")
	// ErrServerMemory: the server has no memory for it.
	ErrServerMemory = sentinel(CodeServerMemory, "the server has no memory for it")
	// ErrProtocol: what came back is not the server's protocol.
	ErrProtocol = sentinel(CodeProtocol, "what came back is not the server's protocol")
	// ErrServer: the server answered with an error of another kind.
	ErrServer = sentinel(CodeServer, "the server answered with an error")
	// ErrPanic: a fault of the library; the cache stays usable.
	ErrPanic = sentinel(CodePanic, "a fault of the library")
)

// A variable of type error, not *Error: comparing it to a nil error works as everybody expects.
func sentinel(code Code, message string) error {
	return &Error{Code: code, Message: message}
}

func invalid(format string, arguments ...any) error {
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf(format, arguments...)}
}

// What a context says that ended a call, as an *Error.
func ended(ctx context.Context) error {
	cause := ctx.Err()
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: CodeTimeout, Message: "the context's deadline passed", Retryable: true, cause: cause}
	}
	return &Error{Code: CodeCancelled, Message: "the context was cancelled", cause: cause}
}

// The error of a status, of which the library gave this description; it is released.
func failure(status C.yc_status, described *C.yc_error) error {
	if status == C.YC_OK {
		return nil
	}
	if described == nil {
		return statusError(status)
	}
	defer C.yc_error_free(described)
	return &Error{
		Code:      Code(status),
		Message:   C.GoString(C.yc_error_message(described)),
		Retryable: C.yc_error_retryable(described) != 0,
	}
}

// The error of a status that comes without a description.
func statusError(status C.yc_status) error {
	switch status {
	case C.YC_OK:
		return nil
	case C.YC_MISS:
		return ErrMiss
	}
	return &Error{Code: Code(status), Message: Code(status).String()}
}
