package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// The state is read after the reader is open: no change is missed in between.
func ExampleCache_OpenEvents() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	reader, err := cache.OpenEvents(ctx, yokedcache.EventFilter{Tags: []string{"prices"}, Own: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	cache.Get(ctx, "price:1")
	cache.InvalidateTag(ctx, "prices")
	event, err := reader.Next(ctx)
	fmt.Println(event.Kind, event.Name, err)
	// Output:
	// tag prices <nil>
}

// The deletions of some keys, and a limit of 1 MB for the events that wait.
func ExampleEventFilter() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()
	reader, err := cache.OpenEvents(ctx, yokedcache.EventFilter{
		Kinds:    yokedcache.EventDelete,
		Keys:     []string{"user:*"},
		Own:      true,
		MaxBytes: 1 << 20,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()

	cache.Delete(ctx, "order:1")
	cache.Delete(ctx, "user:1")
	event, err := reader.Next(ctx)
	fmt.Println(event.Name, err)
	// Output:
	// user:1 <nil>
}

func ExampleEventKind() {
	fmt.Println(yokedcache.EventTag)
	fmt.Println(yokedcache.EventTag | yokedcache.EventFlush)
	// Output:
	// tag
	// tag|flush
}

// Drops the values that the program has computed from entries which an event concerns.
func ExampleEvent() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()
	reader, err := cache.OpenEvents(ctx, yokedcache.EventFilter{Own: true, MaxBytes: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()

	cache.InvalidateTag(ctx, "prices")
	cache.Delete(ctx, "user:1")
	cache.DeleteMany(ctx, []string{string(make([]byte, 900)), string(make([]byte, 901))})
	for at := 0; at < 3; at++ {
		event, err := reader.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		switch event.Kind {
		case yokedcache.EventTag:
			fmt.Println("what has the tag", event.Name, "may have changed")
		case yokedcache.EventDelete:
			fmt.Println("the entry", event.Name, "may have changed")
		default: // EventFlush, EventPattern, EventGap.
			fmt.Println("anything may have changed")
		}
	}
	// Output:
	// what has the tag prices may have changed
	// the entry user:1 may have changed
	// anything may have changed
}

// An event that comes within a second.
func ExampleEventReader() {
	cache := exampleCache()
	defer cache.Close()
	reader, err := cache.OpenEvents(context.Background(), yokedcache.EventFilter{Own: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()

	cache.Flush(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	event, err := reader.Next(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("no event came in time")
	case errors.Is(err, yokedcache.ErrClosed):
		fmt.Println("the reader was closed")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(event.Kind, event.Own)
	}
	// Output:
	// flush true
}
