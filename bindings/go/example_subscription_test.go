package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_Publish() {
	cache := exampleCache()
	defer cache.Close()

	receivers, err := cache.Publish(context.Background(), "orders", []byte("order 7 was paid"))
	fmt.Println(receivers, err) // No subscription selects the channel.
	// Output:
	// 0 <nil>
}

func ExampleCache_Subscribe() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	subscription, err := cache.Subscribe(ctx, yokedcache.Filter{Channels: []string{"news"}, Patterns: []string{"orders:*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()
	cache.Publish(ctx, "orders:7", []byte("paid"))
	message, err := subscription.Next(ctx)
	fmt.Printf("%s: %s, %v\n", message.Channel, message.Data, err)
	// Output:
	// orders:7: paid, <nil>
}

// A filter with a limit of 1 MB for the messages that wait.
func ExampleFilter() {
	cache := exampleCache()
	defer cache.Close()

	_, err := cache.Subscribe(context.Background(), yokedcache.Filter{MaxBytes: 1 << 20})
	fmt.Println(errors.Is(err, yokedcache.ErrInvalid)) // It selects no channel.
	subscription, err := cache.Subscribe(context.Background(), yokedcache.Filter{Patterns: []string{"*"}, MaxBytes: 1 << 20})
	fmt.Println(err)
	subscription.Close()
	// Output:
	// true
	// <nil>
}

// A message that comes within a second.
func ExampleSubscription() {
	cache := exampleCache()
	defer cache.Close()
	subscription, err := cache.Subscribe(context.Background(), yokedcache.Filter{Channels: []string{"news"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()

	cache.Publish(context.Background(), "news", []byte("hello"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	message, err := subscription.Next(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("no message came in time")
	case errors.Is(err, yokedcache.ErrClosed):
		fmt.Println("the subscription was closed")
	case err != nil:
		fmt.Println(err)
	case message.IsGap():
		fmt.Println("messages were lost: read the state again")
	default:
		fmt.Printf("%s\n", message.Data)
	}
	// Output:
	// hello
}

// Close ends the calls that wait.
func ExampleSubscription_Close() {
	cache := exampleCache()
	defer cache.Close()
	subscription, err := cache.Subscribe(context.Background(), yokedcache.Filter{Channels: []string{"news"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	time.AfterFunc(10*time.Millisecond, func() { subscription.Close() })
	_, err = subscription.Next(context.Background())
	fmt.Println(errors.Is(err, yokedcache.ErrClosed))
	// Output:
	// true
}

// A reader that was too slow finds a gap where messages are missing.
func ExampleMessage() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()
	subscription, err := cache.Subscribe(ctx, yokedcache.Filter{Channels: []string{"news"}, MaxBytes: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()

	for at := 0; at < 3; at++ {
		cache.Publish(ctx, "news", make([]byte, 900))
	}
	for at := 0; at < 2; at++ {
		message, err := subscription.Next(ctx)
		fmt.Println(len(message.Data), message.IsGap(), message.Lost, err)
	}
	// Output:
	// 900 false 0 <nil>
	// 0 true 2 <nil>
}
