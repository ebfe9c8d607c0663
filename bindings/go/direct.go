package yokedcache

// #include "bridge.h"
import "C"

import "context"

// The number of calls one after another, with no other at the same time, after which the next runs outside the queue.
const alone = 4

// The most keys of a call outside the queue.
const directKeys = 1024

// The calls outside the queue. Calls one after another run as blocking calls of the library, on the thread of their caller:
// a queue would pass each to a thread of the library and back. Calls at the same time would block as many threads and share
// no round trips: they take the queue.
type directCalls struct {
	// The number of calls so far with no other at the same time.
	alone     int
	isRunning bool
	tokens    []*token
}

// A token with which the end of a context cancels a call.
type token struct {
	handle    *C.yc_cancel_token
	cancelled chan struct{}
}

func newToken() *token {
	return &token{C.yc_cancel_token_new(), make(chan struct{}, 1)}
}

func (token *token) cancel() {
	C.yc_cancel_token_cancel(token.handle)
	token.cancelled <- struct{}{}
}

func (token *token) free() {
	C.yc_cancel_token_free(token.handle)
}

func (direct *directCalls) free() {
	for _, token := range direct.tokens {
		token.free()
	}
	direct.tokens = nil
}

// Returns true for an operation whose time the library limits (socket_timeout). Others may block for long.
func (op *operation) isShort() bool {
	switch op.kind {
	case C.YC_OP_GET, C.YC_OP_SET, C.YC_OP_DELETE, C.YC_OP_EXISTS, C.YC_OP_EXPIRE, C.YC_OP_TTL, C.YC_OP_GET_VERSIONED, C.YC_OP_GET_INFO,
		C.YC_OP_SET_IF, C.YC_OP_DELETE_IF, C.YC_OP_GET_AND_EXPIRE, C.YC_OP_COUNTER_ADD, C.YC_OP_REDIS_COMMAND,
		C.YC_OP_PUBLISH:
		return true
	case C.YC_OP_GET_OR_LEASE:
		return op.initial < 0 // It does not wait for the load of another.
	case C.YC_OP_GET_MANY:
		return len(op.keys) > 0 && len(op.keys) <= directKeys
	}
	return false
}

// Returns true if the operation is to run outside the queue, by runDirect.
func (queue *queue) beginDirect(op *operation) bool {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	direct := &queue.direct
	if direct.isRunning || queue.inFlight() > 0 {
		direct.alone = 0
		return false
	}
	direct.alone++
	direct.isRunning = direct.alone > alone && op.isShort()
	return direct.isRunning
}

// Runs an operation outside the queue. The caller releases the returned call.
func (queue *queue) runDirect(ctx context.Context, op *operation) *call {
	call := calls.Get().(*call)
	queue.callDirect(ctx, func(token *C.yc_cancel_token) { queue.withContext(ctx, func() { queue.block(op, token, call) }) })
	call.err = becauseOf(ctx, call.err)
	return call
}

// Runs a call outside the queue with a token that the end of the context cancels, or nil if it never ends.
func (queue *queue) callDirect(ctx context.Context, block func(token *C.yc_cancel_token)) {
	if ctx.Done() == nil {
		block(nil)
		queue.endDirect(nil)
		return
	}
	token := queue.takeToken()
	keep := context.AfterFunc(ctx, token.cancel)
	block(token.handle)
	if !keep() {
		<-token.cancelled
		token.free()
		token = nil
	}
	queue.endDirect(token)
}

func (queue *queue) takeToken() *token {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	last := len(queue.direct.tokens) - 1
	if last < 0 {
		return newToken()
	}
	token := queue.direct.tokens[last]
	queue.direct.tokens = queue.direct.tokens[:last]
	return token
}

// Ends a call outside the queue, and keeps its token for a later one.
func (queue *queue) endDirect(token *token) {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	queue.direct.isRunning = false
	if token != nil {
		queue.direct.tokens = append(queue.direct.tokens, token)
	}
}

// Runs an operation on this thread, and records its result.
func (queue *queue) block(op *operation, token *C.yc_cancel_token, call *call) {
	done, err := runOnThread(queue.cache, token, op)
	call.record(&done)
	call.err = err
}
