package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"unsafe"
)

// Publish sends a message to every subscription that selects the channel, in every process that uses the same servers
// and key_prefix, and returns their number: -1 if it is unknown, as in a cluster of Redis. A channel need not be
// created. A message is not stored: who is not subscribed does not get it. The library never sends a message twice.
//
// On the memory backend the message goes to the subscriptions of this cache. On Redis the option raw_channels removes the
// key_prefix from the names of channels.
//
// Errors: [ErrInvalid] for an empty channel; [ErrTooLarge] for a channel over 64 KiB and a message over max_value_bytes;
// [ErrDenied] if the user lacks the permission for the channel; [ErrUnsupported] on Memcached without the option events, see [CanPublish];
// [ErrTimeout] if no reply came: the message may have been sent.
func (cache *Cache) Publish(ctx context.Context, channel string, message []byte) (receivers int64, err error) {
	outcome, err := cache.run(ctx, &operation{kind: C.YC_OP_PUBLISH, key: channel, value: message})
	return outcome.number, err
}

// A Filter selects the channels of a subscription: those of the given names, and those that match a pattern. At least
// one is needed; the limit is 1024 together.
type Filter struct {
	// The names of channels.
	Channels []string
	// Globs, as those of [Cache.InvalidatePattern].
	Patterns []string
	// The most bytes of the messages that wait for Next; 0 selects 8 MiB.
	MaxBytes int
}

// A Message is a message of a channel, or a gap: messages may have been lost at this place.
type Message struct {
	// The channel, as the publisher named it; "" for a gap.
	Channel string
	// The bytes of the message, which the caller owns; nil for a gap.
	Data []byte
	// For a gap the number of messages that were lost, or -1 if it is not known how many, or whether any; 0 for a message.
	Lost int64
}

// IsGap reports whether this is a gap, not a message.
func (message Message) IsGap() bool {
	return message.Lost != 0
}

// A Subscription receives the messages of channels. [Cache.Subscribe] returns one. All methods are safe for concurrent
// use: each message is returned to one caller of Next.
//
// Messages wait in the subscription until Next takes them, at most [Filter].MaxBytes. What comes beyond that is dropped,
// and a gap with the number of dropped messages takes their place: a slow reader never slows down a publisher. If the
// connection is lost, the library subscribes again, and a gap without a number marks the place. So does [Cache.Switch].
// A message that several channels or patterns select comes once.
//
// Close a subscription that is no longer needed, also one of a closed cache. The garbage collector closes a subscription
// that was forgotten, but only after some time.
type Subscription struct {
	cache *Cache

	// Held for reading by each call of Next, so that the handle stays valid.
	lock   sync.RWMutex
	handle *C.yc_subscription // nil once closed.
}

// Subscribe subscribes to the channels of a filter, and waits until their messages are delivered: what is published after
// this call has returned is received. On Redis each subscription has a connection of its own. Subscribe occupies a
// thread until the server has answered.
//
// Errors: [ErrInvalid] for a filter that selects nothing, and for an empty channel or pattern; [ErrTooLarge] for one over
// 64 KiB, and for more than 1024; [ErrDenied] if the user lacks the permission for a channel; [ErrUnsupported] on
// Memcached without the option events, see [CanPublish]. If the server is down, the error is as that of [Cache.Get].
func (cache *Cache) Subscribe(ctx context.Context, filter Filter) (*Subscription, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	if filter.MaxBytes < 0 {
		user.leave()
		return nil, invalid("MaxBytes is %d: it must be 0 or more", filter.MaxBytes)
	}
	done := make(chan subscribed)
	// The call of the library cannot be cancelled: without its caller it ends later.
	go cache.subscribe(ctx, user, &filter, filter.block(), done)
	select {
	case result := <-done:
		return result.subscription, result.err
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}

type subscribed struct {
	subscription *Subscription
	err          error
}

// Returns the channels and patterns as yoked_go_subscribe() reads them.
func (filter *Filter) block() []byte {
	op := operation{keys: filter.Channels, tags: filter.Patterns}
	return op.appendPayload(nil)
}

// Subscribes, and hands the result to the caller unless that has left.
func (cache *Cache) subscribe(ctx context.Context, user user, filter *Filter, block []byte, done chan<- subscribed) {
	defer user.leave()
	var handle *C.yc_subscription
	var described *C.yc_error
	status := C.yoked_go_subscribe(cache.handle, (*C.uint8_t)(unsafe.SliceData(block)), C.size_t(len(filter.Channels)),
		C.size_t(len(filter.Patterns)), C.uint64_t(filter.MaxBytes), &handle, &described)
	result := subscribed{err: failure(status, described)}
	if result.err == nil {
		result.subscription = &Subscription{cache: cache, handle: handle}
		runtime.SetFinalizer(result.subscription, (*Subscription).Close)
	}
	select {
	case done <- result:
	case <-ctx.Done():
		if result.err == nil {
			result.subscription.Close()
		}
	}
}

// Next returns the next message or gap, and waits for it: until ctx is done, or the subscription or its cache is closed.
// A call that ends for one of these reasons takes no message: the next call gets it. While the server is down, Next
// waits; a gap follows. A goroutine that waits occupies no thread.
//
// Errors: [ErrClosed]; [ErrCancelled] or [ErrTimeout] if ctx is done, as of every method; [ErrDenied] if the server has
// refused the channels since; [ErrUnsupported] if [Cache.Switch] has selected a backend without channels. All but those of
// ctx are final.
func (subscription *Subscription) Next(ctx context.Context) (Message, error) {
	if subscription == nil || subscription.cache == nil {
		return Message{}, errNoSubscription()
	}
	user, err := subscription.cache.enter(ctx)
	if err != nil && !errors.Is(err, ErrClosed) {
		return Message{}, err
	}
	if err == nil {
		defer user.leave()
	}
	subscription.lock.RLock()
	defer subscription.lock.RUnlock()
	if subscription.handle == nil {
		return Message{}, &Error{Code: CodeClosed, Message: "the subscription was closed"}
	}
	// Messages that wait are returned also after the cache was closed.
	if waiting := C.yoked_go_waiting(subscription.handle); waiting != nil {
		return takeMessage(waiting), nil
	}
	if err != nil {
		return Message{}, err
	}
	return subscription.wait(ctx)
}

// Waits for a message in the queue.
func (subscription *Subscription) wait(ctx context.Context) (Message, error) {
	queue := subscription.cache.queue
	call := queue.begin(&operation{kind: C.YC_OP_SUBSCRIPTION_NEXT, handle: unsafe.Pointer(subscription.handle)})
	defer call.release()
	select {
	case <-call.done:
	case <-ctx.Done():
		queue.cancel(call.entry)
		<-call.done
	case <-subscription.cache.flights.closing:
		queue.cancel(call.entry)
		<-call.done
	}
	// A call that was cancelled too late has a message.
	switch {
	case call.err == nil:
		return takeMessage((*C.yc_message)(call.handle)), nil
	case subscription.cache.closed.Load() && errors.Is(call.err, ErrCancelled):
		return Message{}, ErrClosed
	}
	return Message{}, becauseOf(ctx, call.err)
}

// Copies a message and releases it.
func takeMessage(handle *C.yc_message) Message {
	defer C.yc_message_free(handle)
	parts := C.yoked_go_message(handle)
	if parts.lost != 0 {
		return Message{Lost: int64(parts.lost)}
	}
	channel := unsafe.Slice((*byte)(parts.channel), int(parts.channel_len))
	return Message{Channel: string(channel), Data: copied(parts.data, parts.len)}
}

// All returns the messages and gaps as a sequence for a range loop (Go 1.23), as Next returns them:
//
//	for message, err := range subscription.All(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%s: %s\n", message.Channel, message.Data)
//	}
//
// The sequence ends without an error when the subscription or its cache is closed. Any other error, also that of ctx, is
// its last element. The subscription stays open after the loop: another loop, or Next, continues.
func (subscription *Subscription) All(ctx context.Context) func(yield func(Message, error) bool) {
	return func(yield func(Message, error) bool) {
		for {
			message, err := subscription.Next(ctx)
			if errors.Is(err, ErrClosed) {
				return
			}
			if !yield(message, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the subscription, drops the messages that were not taken, and releases its memory and its connection. Calls
// of Next that wait fail with [ErrClosed], as later calls do. Further calls return nil and have no effect.
func (subscription *Subscription) Close() error {
	if subscription == nil || subscription.cache == nil {
		return errNoSubscription()
	}
	subscription.end()
	subscription.lock.Lock()
	defer subscription.lock.Unlock()
	runtime.SetFinalizer(subscription, nil)
	C.yc_subscription_free(subscription.handle)
	subscription.handle = nil
	return nil
}

// Ends the calls of Next that wait.
func (subscription *Subscription) end() {
	subscription.lock.RLock()
	defer subscription.lock.RUnlock()
	if subscription.handle != nil {
		C.yc_subscription_close(subscription.handle, nil)
	}
}

func errNoSubscription() error {
	return invalid("the subscription is nil: only Subscribe returns one")
}
