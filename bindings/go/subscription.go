package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"runtime"
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
	source[Message]
}

var subscriptions = sourceKind[Message]{
	name:      "the subscription",
	operation: C.YC_OP_SUBSCRIPTION_NEXT,
	waiting: func(handle unsafe.Pointer) unsafe.Pointer {
		return unsafe.Pointer(C.yoked_go_waiting((*C.yc_subscription)(handle)))
	},
	take: func(item unsafe.Pointer) Message { return takeMessage((*C.yc_message)(item)) },
	end:  func(handle unsafe.Pointer) { C.yc_subscription_close((*C.yc_subscription)(handle), nil) },
	free: func(handle unsafe.Pointer) { C.yc_subscription_free((*C.yc_subscription)(handle)) },
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
	block := filter.block()
	return openSource(ctx, user, func() (*Subscription, error) { return cache.subscribe(&filter, block) })
}

// Returns the channels and patterns as yoked_go_subscribe() reads them.
func (filter *Filter) block() []byte {
	op := operation{keys: filter.Channels, tags: filter.Patterns}
	return op.appendPayload(nil)
}

// Subscribes to the channels of a filter, whose block this is.
func (cache *Cache) subscribe(filter *Filter, block []byte) (*Subscription, error) {
	var handle *C.yc_subscription
	var described *C.yc_error
	status := C.yoked_go_subscribe(cache.handle, (*C.uint8_t)(unsafe.SliceData(block)), C.size_t(len(filter.Channels)),
		C.size_t(len(filter.Patterns)), C.uint64_t(filter.MaxBytes), &handle, &described)
	if err := failure(status, described); err != nil {
		return nil, err
	}
	subscription := &Subscription{source[Message]{cache: cache, kind: &subscriptions, handle: unsafe.Pointer(handle)}}
	runtime.SetFinalizer(subscription, (*Subscription).Close)
	return subscription, nil
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
	return subscription.next(ctx)
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
	return sequence(ctx, subscription.Next)
}

// Close ends the subscription, drops the messages that were not taken, and releases its memory and its connection. Calls
// of Next that wait fail with [ErrClosed], as later calls do. Further calls return nil and have no effect.
func (subscription *Subscription) Close() error {
	if subscription == nil || subscription.cache == nil {
		return errNoSubscription()
	}
	runtime.SetFinalizer(subscription, nil)
	subscription.close()
	return nil
}

func errNoSubscription() error {
	return invalid("the subscription is nil: only Subscribe returns one")
}
