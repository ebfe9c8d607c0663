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

// Operations of one queue: neither what waits in it nor this binding bounds a program, the cache's own
// max_pending does. Tests lower it.
var queueCapacity = 1000000

// A queue submits operations and hands out what became of them. Goroutines that submit at the same time share
// a crossing into the library: the first leads, and takes along what others have added meanwhile.
type queue struct {
	handle *C.yc_queue
	event  *os.File
	reader *C.yoked_go_reader
	ended  chan struct{}
	users  *users

	lock    sync.Mutex
	leading bool
	filling *batch
	spare   *batch
	slots   []slot
	unused  []uint32
}

// A batch is operations that were added and not submitted yet.
type batch struct {
	block   []byte
	entries []entry
	tickets []uint64
}

// An entry says which slot, at which of its uses, a record is for.
type entry struct {
	slot uint32
	use  uint32
}

// A slot is a call in flight; its number is what the library is given in place of a pointer.
type slot struct {
	call *call
	// How often the slot was used before: a late word about one use is not taken for one about another.
	use uint32
	// Whether the context was done before the ticket was known.
	cancelled bool
	// 0 until it is known.
	ticket uint64
}

// A call is one goroutine that waits, and what its operation came to.
type call struct {
	done      chan struct{}
	entry     entry
	status    C.yc_status
	err       error
	value     []byte
	handle    unsafe.Pointer
	remaining int64
	removed   uint64
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// Hands a call back, when nothing of it is needed any more.
func (call *call) release() {
	call.err, call.value, call.handle = nil, nil, nil
	calls.Put(call)
}

func newQueue(cache *C.yc_cache, users *users) (*queue, error) {
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
		handle:  handle,
		event:   os.NewFile(uintptr(fd), "yokedcache"),
		reader:  C.yoked_go_reader_new(),
		ended:   make(chan struct{}),
		users:   users,
		filling: &batch{},
		spare:   &batch{},
	}
	go queue.read()
	return queue, nil
}

// Releases the queue of a cache that is closed, in which no call is left.
func (queue *queue) free() {
	queue.event.Close()
	<-queue.ended
	C.yoked_go_reader_free(queue.reader)
	C.yc_queue_free(queue.handle)
}

// ---- Submitting ----

// Runs an operation and waits for it. The call is the caller's to release, unless there is an error.
func (queue *queue) run(ctx context.Context, op *operation) (*call, error) {
	call := calls.Get().(*call)
	queue.add(op, call)
	queue.wait(ctx, call)
	if call.err != nil {
		err := call.err
		call.release()
		return nil, becauseOf(ctx, err)
	}
	return call, nil
}

// A call that its context ended says so.
func becauseOf(ctx context.Context, err error) error {
	if failed, ok := err.(*Error); ok && failed.Code == CodeCancelled && ctx.Err() != nil {
		return ended(ctx)
	}
	return err
}

// Adds an operation to the batch that is filling, and leads if nobody does.
func (queue *queue) add(op *operation, call *call) {
	outside := op.outside()
	queue.lock.Lock()
	call.entry = queue.take(call)
	batch := queue.filling
	batch.block = op.appendRecord(batch.block, outside, uint64(call.entry.slot))
	batch.entries = append(batch.entries, call.entry)
	lead := !queue.leading
	queue.leading = true
	alone := len(queue.slots)-len(queue.unused) == 1
	queue.lock.Unlock()
	if lead {
		queue.lead(call, alone)
	}
}

// A slot for a call. The lock is held.
func (queue *queue) take(call *call) entry {
	if len(queue.unused) == 0 {
		queue.slots = append(queue.slots, slot{})
		queue.unused = append(queue.unused, uint32(len(queue.slots)-1))
	}
	last := len(queue.unused) - 1
	number := queue.unused[last]
	queue.unused = queue.unused[:last]
	place := &queue.slots[number]
	place.call = call
	return entry{number, place.use}
}

// Gives a slot back; whose it was. The lock is held.
func (queue *queue) give(number uint32) *call {
	place := &queue.slots[number]
	call := place.call
	*place = slot{use: place.use + 1}
	queue.unused = append(queue.unused, number)
	return call
}

// Submits batches until there is none. The goroutines that are ready to run may add to the first one before it
// goes. Who leads goes on with its own work as soon as it can: then another goroutine leads.
func (queue *queue) lead(own *call, alone bool) {
	if !alone {
		runtime.Gosched()
	}
	for queue.submitFilling() {
		if own != nil && len(own.done) > 0 {
			go queue.leadOn(queue.users.enter())
			return
		}
	}
}

// Leads for calls that may be over before it is: the queue stays until it leaves.
func (queue *queue) leadOn(user user) {
	defer user.leave()
	queue.lead(nil, true)
}

// Submits the batch that is filling; false, and nobody leads, when it is empty.
func (queue *queue) submitFilling() bool {
	queue.lock.Lock()
	batch := queue.filling
	if len(batch.entries) == 0 {
		queue.leading = false
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
	var refusal *C.yc_error
	C.yoked_go_submit(queue.handle, (*C.uint8_t)(&batch.block[0]), C.size_t(len(batch.block)),
		(*C.uint64_t)(&batch.tickets[0]), &refusal)
	late, refused := queue.note(batch)
	for _, ticket := range late {
		C.yc_queue_cancel(queue.handle, C.yc_ticket(ticket), nil)
	}
	if len(refused) > 0 {
		refuse(refused, refusal)
	}
}

// Remembers the tickets of what was submitted, and has the batch filled again. Answers the tickets that were
// cancelled already, and the calls that were refused.
func (queue *queue) note(batch *batch) (late []uint64, refused []*call) {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	for at, entry := range batch.entries {
		place, ticket := &queue.slots[entry.slot], batch.tickets[at]
		if ticket == 0 {
			refused = append(refused, queue.give(entry.slot))
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
		// The library's advice addresses programs that take completions themselves.
		err = &Error{Code: CodeBusy, Retryable: true, Message: fmt.Sprintf("%d operations of this cache are under way, "+
			"which is the limit: wait for some of them, or limit how many goroutines call it", queueCapacity)}
	}
	for _, call := range refused {
		call.err = err
		call.done <- struct{}{}
	}
}

// ---- Waiting ----

// Waits for a call. One whose context is done is cancelled, and has its completion then.
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

// Hands out completions until there will be none. Between two batches the goroutine is parked in the poller.
func (queue *queue) read() {
	defer close(queue.ended)
	var waiting [C.YOKED_GO_BATCH]*call
	event, err := queue.event.SyscallConn()
	if err == nil {
		err = event.Read(func(uintptr) bool { return queue.drain(waiting[:]) })
	}
	// The event is closed, after the cache, or the system has no poller for it.
	for err != nil && !queue.drain(waiting[:]) {
		time.Sleep(100 * time.Microsecond)
	}
}

// Hands out what there is; whether there will be no more.
func (queue *queue) drain(waiting []*call) bool {
	for {
		count := int(C.yoked_go_take(queue.handle, queue.reader))
		if count <= 0 {
			return count < 0
		}
		done := queue.reader.done[:count]
		queue.find(done, waiting)
		for at := range done {
			waiting[at].complete(&done[at])
			waiting[at] = nil
		}
		// Whom this woke may submit again before the next look.
		runtime.Gosched()
	}
}

// Whose completions they are; their slots are free then.
func (queue *queue) find(done []C.yoked_go_done, waiting []*call) {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	for at := range done {
		waiting[at] = queue.give(uint32(done[at].user_data))
	}
}

// Takes what the operation came to, and wakes who waits. What is long is a handle, and copied there.
func (call *call) complete(done *C.yoked_go_done) {
	call.status = done.status
	call.handle = done.handle
	call.remaining = int64(done.remaining_ms)
	call.removed = uint64(done.removed)
	if done.status < 0 {
		call.err = describedBy(done)
	} else if done.data != nil && done.handle == nil {
		call.value = copied(done.data, done.len)
	}
	call.done <- struct{}{}
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
