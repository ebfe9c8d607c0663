// Command share runs one operation on a shared cache, for the tests of programs in several languages:
// share set KEY VALUE TAG | get KEY | invalidate TAG. It prints what came back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func run(words []string) error {
	cache, err := yokedcache.Open(os.Getenv("YC_TEST_URL"))
	if err != nil {
		return err
	}
	defer func() { _ = cache.Close() }()
	ctx := context.Background()
	switch words[0] {
	case "set":
		return cache.Set(ctx, words[1], []byte(words[2]), yokedcache.WithTags(words[3]))
	case "invalidate":
		return cache.InvalidateTag(ctx, words[1])
	}
	value, err := cache.Get(ctx, words[1])
	if errors.Is(err, yokedcache.ErrMiss) {
		fmt.Println("miss")
		return nil
	}
	fmt.Printf("%s\n", value)
	return err
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
