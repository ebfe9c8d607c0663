package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
)

// A Code is the kind of an error, for programs. The numbers are those of the C ABI. Later versions may add codes.
type Code int32

// The codes of errors. Each has a sentinel such as [ErrTimeout].
const (
	CodeMiss         Code = C.YC_MISS
	CodeAbsent       Code = C.YC_ABSENT
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

// String returns the name of the code in the C ABI, such as "YC_E_TIMEOUT".
func (code Code) String() string {
	return C.GoString(C.yc_status_name(C.yc_status(code)))
}

// An Error is an error of the library. errors.As extracts it; errors.Is compares its code with the sentinels.
type Error struct {
	// The kind of the error.
	Code Code
	// The subject, the cause and the remedy in one line, which never contains a password or a value.
	Message string
	// True if the same call may succeed later without a change by the caller.
	Retryable bool

	cause error
}

// Error returns the message.
func (err *Error) Error() string {
	return "yokedcache: " + err.Message
}

// Is reports whether target is an [*Error] with the same code, as the sentinels are.
func (err *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == err.Code
}

// Unwrap returns the error of the context that ended the call, or nil.
func (err *Error) Unwrap() error {
	return err.cause
}

// The sentinels, for errors.Is(err, yokedcache.ErrTimeout). A call returns another [*Error] of the same code with
// a message of its own.
var (
	// ErrMiss reports that the key does not exist, has expired, or was invalidated by one of its tags.
	ErrMiss = sentinel(CodeMiss, "the key does not exist")
	// ErrAbsent reports that the value to be loaded does not exist. The loader of [GetOrLoad] returns it, or an error
	// that wraps it, and the cache remembers the absence.
	//
	// A loader that calls GetOrLoad for another key may get ErrAbsent from that call. If the loader returns this error,
	// plain or wrapped with %w, its own key is remembered as absent, too. If the absence of the other key is a failure
	// of this load, return an error that does not wrap ErrAbsent:
	//
	//	team, err := yokedcache.GetOrLoad(ctx, cache, "team:7", loadTeam)
	//	if errors.Is(err, yokedcache.ErrAbsent) {
	//		return User{}, fmt.Errorf("the team of user 1: %v", err) // %v does not wrap
	//	}
	ErrAbsent = sentinel(CodeAbsent, "the value does not exist")
	// ErrInvalid reports an argument that is not allowed. The message names it.
	ErrInvalid = sentinel(CodeInvalid, "an argument is not allowed")
	// ErrConfig reports a configuration that cannot be used. The message names the option.
	ErrConfig = sentinel(CodeConfig, "the configuration cannot be used")
	// ErrTooLarge reports a key, value or list of tags over the limit. Nothing was stored.
	ErrTooLarge = sentinel(CodeTooLarge, "a key, value or list of tags is over the limit")
	// ErrUnsupported reports an operation that this backend or build cannot perform. The message says why.
	ErrUnsupported = sentinel(CodeUnsupported, "this backend cannot perform the operation")
	// ErrABIMismatch reports that the binding and the library are of different releases.
	ErrABIMismatch = sentinel(CodeABIMismatch, "the binding and the library are of different releases: install the same minor version of both")
	// ErrClosed reports that the cache was closed.
	ErrClosed = sentinel(CodeClosed, "the cache was closed")
	// ErrForked reports that the parent process opened the cache. Open a new one in this process.
	ErrForked = sentinel(CodeForked, "the cache was opened by the parent process: open one in this process")
	// ErrCancelled reports that the context was cancelled first. The error matches context.Canceled too.
	ErrCancelled = sentinel(CodeCancelled, "the call was cancelled")
	// ErrBusy reports that too many operations are in flight (see max_pending), that another caller is still loading
	// the key, or that the process has no memory or file descriptor left. Try again later.
	ErrBusy = sentinel(CodeBusy, "too many operations are in flight: try again later")
	// ErrConnect reports that the server cannot be reached.
	ErrConnect = sentinel(CodeConnect, "the server cannot be reached")
	// ErrAuth reports that the server refused the credentials.
	ErrAuth = sentinel(CodeAuth, "the server refused the credentials")
	// ErrDenied reports that the server knows the user and forbids the command.
	ErrDenied = sentinel(CodeDenied, "the server forbids the command")
	// ErrTLS reports that the TLS handshake failed: certificate, host name or version.
	ErrTLS = sentinel(CodeTLS, "the TLS handshake failed")
	// ErrTimeout reports that a deadline passed: that of the configuration or that of the context. In the second case
	// the error matches context.DeadlineExceeded too.
	ErrTimeout = sentinel(CodeTimeout, "the deadline passed")
	// ErrServerMemory reports that the server has no memory for the entry.
	ErrServerMemory = sentinel(CodeServerMemory, "the server has no memory for the entry")
	// ErrProtocol reports a reply that does not follow the protocol of the server.
	ErrProtocol = sentinel(CodeProtocol, "the reply does not follow the protocol of the server")
	// ErrServer reports that the server replied with an error of another kind.
	ErrServer = sentinel(CodeServer, "the server answered with an error")
	// ErrPanic reports a fault of the library. The cache stays usable. Please report it.
	ErrPanic = sentinel(CodePanic, "the library failed internally: please report it")
)

// Returns the type error, not *Error: a comparison with a nil error then works as expected.
func sentinel(code Code, message string) error {
	return &Error{Code: code, Message: message}
}

func invalid(format string, arguments ...any) error {
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf(format, arguments...)}
}

// Returns the error of a context that ended a call, as an *Error.
func ended(ctx context.Context) error {
	cause := ctx.Err()
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: CodeTimeout, Message: "the context's deadline passed", Retryable: true, cause: cause}
	}
	return &Error{Code: CodeCancelled, Message: "the context was cancelled", cause: cause}
}

// Returns the error of a status with its description, which is released.
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

// Returns the error of a status without a description.
func statusError(status C.yc_status) error {
	switch status {
	case C.YC_OK:
		return nil
	case C.YC_MISS:
		return ErrMiss
	}
	return &Error{Code: Code(status), Message: Code(status).String()}
}
