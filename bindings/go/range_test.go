//go:build go1.23

package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_AllKeys() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	for key, err := range cache.AllKeys(ctx, "user:*") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(key)
	}
	// Output: user:1
}

func ExampleSubscription_All() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()
	subscription, err := cache.Subscribe(ctx, yokedcache.Filter{Channels: []string{"news"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	cache.Publish(ctx, "news", []byte("hello"))
	cache.Publish(ctx, "news", []byte("goodbye"))
	for message, err := range subscription.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if message.IsGap() {
			fmt.Println("messages were lost: read the state again")
			continue
		}
		fmt.Printf("%s\n", message.Data)
		if string(message.Data) == "goodbye" {
			subscription.Close() // Ends the loop.
		}
	}
	// Output:
	// hello
	// goodbye
}

func ExampleCache_Events() {
	cache := exampleCache()
	defer cache.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	go func() { // The writer: usually another process.
		for ctx.Err() == nil {
			cache.InvalidateTag(ctx, "prices")
			time.Sleep(time.Millisecond)
		}
	}()
	for event, err := range cache.Events(ctx, yokedcache.EventFilter{Tags: []string{"prices"}, Own: true}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if event.Kind == yokedcache.EventTag {
			fmt.Println("what has the tag", event.Name, "may have changed")
		} else {
			fmt.Println("anything may have changed") // A flush, a pattern, a gap.
		}
		break // Closes the reader.
	}
	// Output: what has the tag prices may have changed
}

func TestARangeOverKeys(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanList == 0 {
		t.Skip("Memcached cannot list keys")
	}
	for at := 0; at < 10; at++ {
		check(t, cache.Set(ctx, fmt.Sprint(at), nil))
	}
	found := 0
	for _, err := range cache.AllKeys(ctx, "*") {
		check(t, err)
		if found++; found == 5 {
			break
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for key, err := range cache.AllKeys(cancelled, "*") {
		if key != "" || !errors.Is(err, context.Canceled) {
			t.Error(key, err)
		}
	}
	if found != 5 {
		t.Error(found)
	}
}

func TestARangeOverEvents(t *testing.T) {
	cache := openWithEvents(t)
	stop := keepInvalidating(t, cache, "t")
	found := 0
	for event, err := range cache.Events(ctx, own) {
		check(t, err)
		if event.Name != "t" {
			t.Error(event)
		}
		if found++; found == 5 {
			break
		}
	}
	stop()
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for event, err := range cache.Events(limited, own) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(event, err)
		}
		found++
	}
	if found != 6 {
		t.Error(found)
	}
}
