package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// The most operations that one call has in flight: max_pending of a cache is hundreds at least.
const together = 256

// The number of operations of one queue. It is high, because max_pending of the configuration limits a cache, not
// this binding. Tests lower it.
var queueCapacity = 1000000

// A queue submits operations and hands out their completions. Goroutines that submit at the same time share one
// crossing into the library: the first becomes the leader and submits what the others, the followers, have added
// meanwhile.
type queue struct {
	cache  *C.yc_cache
	handle *C.yc_queue
	event  *os.File
	reader *C.yoked_go_reader
	ended  chan struct{}
	users  *users
	// The tracer of the cache, and the number of the queue in the contexts of its spans.
	tracing     *tracingPlace
	traceNumber uint64

	lock      sync.Mutex
	direct    directCalls
	hasLeader bool
	filling   *batch
	spare     *batch
	slots     []slot
	unused    []uint32
	// The number of slots whose calls wait for messages or events.
	listening int
}

// A batch holds operations that were added and not yet submitted.
type batch struct {
	block   []byte
	entries []entry
	tickets []uint64
}

// An entry names the slot of a record, and which use of the slot it is.
type entry struct {
	slot uint32
	use  uint32
}

// A slot is a call in flight. Its number represents it in the library, in place of a pointer.
type slot struct {
	call *call
	// The number of earlier uses: it distinguishes a late message about an earlier use.
	use uint32
	// True if the context was done before the ticket was known.
	cancelled bool
	// True if the call waits for a message or an event, which may take any time.
	listens bool
	// 0 until the ticket is known.
	ticket uint64
	// The context of the call, if the cache has a tracer.
	ctx context.Context
}

// A call is one waiting goroutine with the result of its operation.
type call struct {
	done      chan struct{}
	entry     entry
	status    C.yc_status
	err       error
	value     []byte
	handle    unsafe.Pointer
	remaining int64
	removed   uint64
	version   uint64
	number    int64
	tagCount  uint64
	lease     *C.yc_lease
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// Returns a call to the pool, when nothing of it is needed any longer.
func (call *call) release() {
	call.err, call.value, call.handle, call.lease = nil, nil, nil, nil
	calls.Put(call)
}

func newQueue(cache *C.yc_cache, users *users, tracing *tracingPlace) (*queue, error) {
	var handle *C.yc_queue
	var described *C.yc_error
	if status := C.yc_queue_open(cache, C.size_t(queueCapacity), nil, nil, nil, &handle, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	var fd C.int
	if status := C.yoked_go_fd(handle, &fd, &described); status != C.YC_OK {
		C.yc_queue_free(handle)
		return nil, failure(status, described)
	}
	queue := &queue{
		cache:   cache,
		handle:  handle,
		event:   os.NewFile(uintptr(fd), "yokedcache"),
		reader:  C.yoked_go_reader_new(),
		ended:   make(chan struct{}),
		users:   users,
		tracing: tracing,
		filling: &batch{},
		spare:   &batch{},
	}
	queue.traceNumber = addTraceContext(queue)
	go queue.read()
	return queue, nil
}

// Releases the queue of a closed cache without calls.
func (queue *queue) free() {
	queue.event.Close()
	<-queue.ended
	queue.direct.free()
	C.yoked_go_reader_free(queue.reader)
	C.yc_queue_free(queue.handle)
	removeTraceContext(queue.traceNumber)
}

// ---- Submitting ----

// Runs an operation and waits for it. The caller releases the returned call.
func (queue *queue) run(ctx context.Context, op *operation) (*call, error) {
	var call *call
	queue.keepContext(ctx, op)
	if queue.beginDirect(op) {
		call = queue.runDirect(ctx, op)
	} else {
		call = queue.begin(op)
		queue.wait(ctx, call)
	}
	if call.err != nil {
		err := call.err
		call.release()
		return nil, becauseOf(ctx, err)
	}
	return call, nil
}

// Begins an operation. The caller releases the returned call.
func (queue *queue) begin(op *operation) *call {
	call := calls.Get().(*call)
	queue.add(op, call)
	return call
}

// Runs a read for loading, and waits for it. The caller releases the returned call.
func (queue *queue) lookup(ctx context.Context, op *operation) *call {
	queue.keepContext(ctx, op)
	if queue.beginDirect(op) {
		return queue.runDirect(ctx, op)
	}
	return queue.await(ctx, queue.begin(op))
}

// Waits for a read for loading. One whose context is done continues without its caller: with its reply, the key's lease
// would be lost until it expires.
func (queue *queue) await(ctx context.Context, reading *call) *call {
	select {
	case <-reading.done:
		return reading
	case <-ctx.Done():
		go reading.discard(queue.users.enter())
		left := calls.Get().(*call)
		left.err = ended(ctx)
		return left
	}
}

// Runs reads for loading, together. The caller releases the returned calls.
func (queue *queue) lookups(ctx context.Context, ops []operation) []*call {
	for at := range ops {
		queue.keepContext(ctx, &ops[at])
	}
	reading := queue.addAll(ops)
	for at, call := range reading {
		reading[at] = queue.await(ctx, call)
	}
	return reading
}

// Runs short operations, together.
func (queue *queue) outcomes(ctx context.Context, ops []operation) []result {
	results := make([]result, len(ops))
	for at := range ops {
		queue.keepContext(ctx, &ops[at])
	}
	for at, call := range queue.addAll(ops) {
		queue.wait(ctx, call)
		results[at] = result{call.outcome(), becauseOf(ctx, call.err)}
		call.release()
	}
	return results
}

// Waits for a call that nothing else waits for, and frees its results.
func (call *call) discard(user user) {
	defer user.leave()
	<-call.done
	C.yc_lease_free(call.lease)
	call.takeValue()
	call.release()
}

// Replaces the error of a call that was cancelled by its context.
func becauseOf(ctx context.Context, err error) error {
	if failed, ok := err.(*Error); ok && failed.Code == CodeCancelled && ctx.Err() != nil {
		return ended(ctx)
	}
	return err
}

// Adds an operation to the batch that is filling, and leads if there is no leader.
func (queue *queue) add(op *operation, call *call) {
	outside := op.outside()
	queue.lock.Lock()
	queue.fill(op, call, outside)
	lead := !queue.hasLeader
	queue.hasLeader = true
	single := queue.inFlight() <= 1
	queue.lock.Unlock()
	if lead {
		queue.drive(call, single)
	}
}

// Adds operations to the batch that is filling, and leads if there is no leader. The caller releases the calls.
func (queue *queue) addAll(ops []operation) []*call {
	added, outside := make([]*call, len(ops)), make([]unsafe.Pointer, len(ops))
	for at := range ops {
		added[at], outside[at] = calls.Get().(*call), ops[at].outside()
	}
	queue.lock.Lock()
	for at := range ops {
		queue.fill(&ops[at], added[at], outside[at])
	}
	lead := !queue.hasLeader && len(ops) > 0
	queue.hasLeader = queue.hasLeader || lead
	queue.lock.Unlock()
	if lead {
		queue.drive(added[len(added)-1], true)
	}
	return added
}

// Adds an operation to the batch that is filling. The lock is held.
func (queue *queue) fill(op *operation, call *call, outside unsafe.Pointer) {
	call.entry = queue.claimSlot(call, op.listens())
	queue.slots[call.entry.slot].ctx = op.ctx
	batch := queue.filling
	batch.block = op.appendRecord(batch.block, outside, uint64(call.entry.slot))
	batch.entries = append(batch.entries, call.entry)
}

// Returns the number of calls in flight, except those that wait for messages or events. The lock is held.
func (queue *queue) inFlight() int {
	return len(queue.slots) - len(queue.unused) - queue.listening
}

// Claims a slot for a call. The lock is held.
func (queue *queue) claimSlot(call *call, listens bool) entry {
	if len(queue.unused) == 0 {
		queue.slots = append(queue.slots, slot{})
		queue.unused = append(queue.unused, uint32(len(queue.slots)-1))
	}
	last := len(queue.unused) - 1
	number := queue.unused[last]
	queue.unused = queue.unused[:last]
	place := &queue.slots[number]
	place.call, place.listens = call, listens
	if listens {
		queue.listening++
	}
	return entry{number, place.use}
}

// Releases a slot and returns its call. The lock is held.
func (queue *queue) releaseSlot(number uint32) *call {
	place := &queue.slots[number]
	call := place.call
	if place.listens {
		queue.listening--
	}
	*place = slot{use: place.use + 1}
	queue.unused = append(queue.unused, number)
	return call
}

// Submits batches until no operation is left. First it lets goroutines that are ready to run add to the first batch. A
// leader whose own call is complete hands leadership to another goroutine.
func (queue *queue) drive(own *call, single bool) {
	if !single {
		runtime.Gosched()
	}
	for queue.submitFilling() {
		if own != nil && len(own.done) > 0 {
			go queue.driveInBackground(queue.users.enter())
			return
		}
	}
}

// Leads for calls that may end before it does: the queue stays open until this user leaves.
func (queue *queue) driveInBackground(user user) {
	defer user.leave()
	queue.drive(nil, true)
}

// Submits the batch that is filling. Returns false, and releases leadership, if it is empty.
func (queue *queue) submitFilling() bool {
	queue.lock.Lock()
	batch := queue.filling
	if len(batch.entries) == 0 {
		queue.hasLeader = false
		queue.lock.Unlock()
		return false
	}
	queue.filling, queue.spare = queue.spare, nil
	queue.lock.Unlock()
	queue.submit(batch)
	return true
}

func (queue *queue) submit(batch *batch) {
	n := len(batch.entries)
	if cap(batch.tickets) < n {
		batch.tickets = make([]uint64, 2*n)
	}
	batch.tickets = batch.tickets[:n]
	var described *C.yc_error
	C.yoked_go_submit(queue.handle, (*C.uint8_t)(&batch.block[0]), C.size_t(len(batch.block)),
		(*C.uint64_t)(&batch.tickets[0]), C.uint64_t(queue.traceNumber), &described)
	late, refused := queue.recordTickets(batch)
	for _, ticket := range late {
		C.yc_queue_cancel(queue.handle, C.yc_ticket(ticket), nil)
	}
	if len(refused) > 0 {
		refuse(refused, described)
	}
}

// Records the tickets of a submitted batch and releases the batch. Returns the tickets that were cancelled already
// and the calls that were refused.
func (queue *queue) recordTickets(batch *batch) (late []uint64, refused []*call) {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	for at, entry := range batch.entries {
		place, ticket := &queue.slots[entry.slot], batch.tickets[at]
		if ticket == 0 {
			refused = append(refused, queue.releaseSlot(entry.slot))
		} else if place.use == entry.use {
			place.ticket = ticket
			if place.cancelled {
				late = append(late, ticket)
			}
		}
	}
	batch.clear()
	queue.spare = batch
	return late, refused
}

// Keeps the memory unless it is more than a usual batch needs.
func (batch *batch) clear() {
	const most = 1 << 20
	if cap(batch.block) > most {
		batch.block = nil
	}
	if cap(batch.entries) > most/64 {
		batch.entries, batch.tickets = nil, nil
	}
	batch.block, batch.entries = batch.block[:0], batch.entries[:0]
}

func refuse(refused []*call, described *C.yc_error) {
	err := failure(C.yc_error_status(described), described)
	if err == nil || errors.Is(err, ErrBusy) {
		// The remedy in the library's message addresses programs that take completions themselves.
		err = &Error{Code: CodeBusy, Retryable: true, Message: fmt.Sprintf("%d operations of this cache are in flight, "+
			"which is the limit: wait for some of them, or limit the number of goroutines that call the cache", queueCapacity)}
	}
	for _, call := range refused {
		call.err = err
		call.done <- struct{}{}
	}
}

// ---- Waiting ----

// Waits for a call. A call whose context is done is cancelled; its completion follows.
func (queue *queue) wait(ctx context.Context, call *call) {
	if ctx.Done() == nil {
		<-call.done
		return
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		queue.cancel(call.entry)
		<-call.done
	}
}

func (queue *queue) cancel(entry entry) {
	queue.lock.Lock()
	place := &queue.slots[entry.slot]
	ticket := uint64(0)
	if place.use == entry.use {
		place.cancelled = true
		ticket = place.ticket
	}
	queue.lock.Unlock()
	if ticket != 0 {
		C.yc_queue_cancel(queue.handle, C.yc_ticket(ticket), nil)
	}
}

// ---- Completing ----

// Hands out completions until the queue is closed. Between two batches the goroutine is parked in the poller.
func (queue *queue) read() {
	defer close(queue.ended)
	var waiting [C.YOKED_GO_BATCH]*call
	event, err := queue.event.SyscallConn()
	if err == nil {
		err = event.Read(func(uintptr) bool { return queue.drain(waiting[:]) })
	}
	// Without a poller for the event, and after the event was closed: poll.
	for err != nil && !queue.drain(waiting[:]) {
		time.Sleep(100 * time.Microsecond)
	}
}

// Hands out the available completions. Returns true if the queue is closed.
func (queue *queue) drain(waiting []*call) bool {
	for {
		count := int(C.yoked_go_take(queue.handle, queue.reader))
		if count <= 0 {
			return count < 0
		}
		done := queue.reader.done[:count]
		queue.match(done, waiting)
		for at := range done {
			waiting[at].complete(&done[at])
			waiting[at] = nil
		}
		// The goroutines that this woke may submit again before the next drain.
		runtime.Gosched()
	}
}

// Finds the calls of completions and releases their slots.
func (queue *queue) match(done []C.yoked_go_done, waiting []*call) {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	for at := range done {
		waiting[at] = queue.releaseSlot(uint32(done[at].user_data))
	}
}

// Records the result of the operation and wakes the waiting goroutine. A long result is a handle, which that
// goroutine copies.
func (call *call) complete(done *C.yoked_go_done) {
	call.record(done)
	if done.status < 0 {
		call.err = describedBy(done)
	} else if done.data != nil && done.handle == nil {
		call.value = copied(done.data, done.len)
	}
	call.done <- struct{}{}
}

// Records the result of the operation, except its error and a short value.
func (call *call) record(done *C.yoked_go_done) {
	call.status = done.status
	call.handle = done.handle
	call.remaining = int64(done.remaining_ms)
	call.removed = uint64(done.removed)
	call.version = uint64(done.version)
	call.number = int64(done.number)
	call.tagCount = uint64(done.tag_count)
	call.lease = done.lease
}

func describedBy(done *C.yoked_go_done) error {
	if done.message == nil {
		return statusError(done.status)
	}
	return &Error{Code: Code(done.status), Message: C.GoString(done.message), Retryable: done.retryable != 0}
}

func copied(data *C.uint8_t, length C.size_t) []byte {
	return append([]byte{}, unsafe.Slice((*byte)(data), int(length))...)
}
