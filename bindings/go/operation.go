package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/binary"
	"unsafe"
)

// An operation holds the arguments of the caller. They are copied before the call returns.
type operation struct {
	kind      C.int32_t
	flags     C.uint32_t
	ttl       C.int64_t
	key       string   // For PUBLISH the channel.
	value     []byte   // For PUBLISH the message.
	keys      []string // For GET_MANY and DELETE_MANY.
	entries   []Entry  // For SET_MANY.
	tags      []string // Of REDIS_COMMAND the arguments.
	limit     uint64
	condition Condition // For SET_IF; for DELETE_IF its version.
	number    C.int64_t // The delta of COUNTER_ADD, the key index of REDIS_COMMAND, lease_ms of GET_OR_LEASE, stale_for_ms of LEASE_FILL.
	initial   C.int64_t // The initial value of COUNTER_ADD, wait_ms of GET_OR_LEASE.
	threshold float64
	ctx       context.Context // That of the call, if the cache has a tracer.
	handle    unsafe.Pointer  // The cursor of KEYS_NEXT, the source of SUBSCRIPTION_NEXT and EVENTS_NEXT, the lease of LEASE_FILL and LEASE_ABANDON.
}

const (
	recordSize = int(unsafe.Sizeof(C.yoked_go_record{}))
	lengthSize = 8
	// Larger payloads are copied before the queue is locked, into memory of their own.
	longPayload = 8192
)

// Reports whether the operation waits for a message or an event, which may take any time.
func (op *operation) listens() bool {
	return op.kind == C.YC_OP_SUBSCRIPTION_NEXT || op.kind == C.YC_OP_EVENTS_NEXT
}

func (op *operation) listLen() int {
	return len(op.keys) + 2*len(op.entries) + len(op.tags)
}

func (op *operation) payloadSize() int {
	size := lengthSize*op.listLen() + len(op.key) + len(op.value)
	for _, key := range op.keys {
		size += len(key)
	}
	for at := range op.entries {
		size += len(op.entries[at].Key) + len(op.entries[at].Value)
	}
	for _, tag := range op.tags {
		size += len(tag)
	}
	return size
}

func (op *operation) appendPayload(to []byte) []byte {
	to = op.appendLengths(to)
	to = append(to, op.key...)
	to = append(to, op.value...)
	for _, key := range op.keys {
		to = append(to, key...)
	}
	for at := range op.entries {
		to = append(to, op.entries[at].Key...)
	}
	for at := range op.entries {
		to = append(to, op.entries[at].Value...)
	}
	for _, tag := range op.tags {
		to = append(to, tag...)
	}
	return to
}

func (op *operation) appendLengths(to []byte) []byte {
	for _, key := range op.keys {
		to = appendLength(to, len(key))
	}
	for at := range op.entries {
		to = appendLength(to, len(op.entries[at].Key))
	}
	for at := range op.entries {
		to = appendLength(to, len(op.entries[at].Value))
	}
	for _, tag := range op.tags {
		to = appendLength(to, len(tag))
	}
	return to
}

func appendLength(to []byte, length int) []byte {
	return binary.NativeEndian.AppendUint64(to, uint64(length))
}

// Returns the payload in C memory if it is too long to be copied under the lock, else nil.
func (op *operation) outside() unsafe.Pointer {
	size := op.payloadSize()
	if size <= longPayload {
		return nil
	}
	memory := C.yoked_go_allocate(C.size_t(size))
	op.appendPayload(unsafe.Slice((*byte)(memory), size)[:0])
	return memory
}

// Appends the record of the operation to a block whose length is a multiple of 8.
func (op *operation) appendRecord(block []byte, outside unsafe.Pointer, userData uint64) []byte {
	start := len(block)
	block = append(block, make([]byte, recordSize)...)
	if outside == nil {
		block = op.appendPayload(block)
	}
	for len(block)%8 != 0 {
		block = append(block, 0)
	}
	record := (*C.yoked_go_record)(unsafe.Pointer(&block[start]))
	record.size = C.uint64_t(len(block) - start)
	record.kind = op.kind
	record.flags = op.flags
	record.ttl_ms = op.ttl
	record.user_data = C.uint64_t(userData)
	record.key_len = C.uint64_t(len(op.key))
	record.value_len = C.uint64_t(len(op.value))
	record.n_list = C.uint64_t(op.listLen())
	record.n_keys = C.uint64_t(len(op.keys) + len(op.entries))
	record.limit = C.uint64_t(op.limit)
	record.condition = op.condition.kind
	record.version = C.uint64_t(op.condition.version)
	record.number = op.number
	record.initial = op.initial
	record.threshold = C.double(op.threshold)
	record.outside = C.uintptr_t(uintptr(outside))
	record.handle = C.uintptr_t(uintptr(op.handle))
	return block
}
