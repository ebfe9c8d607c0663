package yokedcache_test

import (
	"fmt"
	"log"
	"log/slog"
	"os"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Removes the time from a record, for an output that stays the same.
func withoutTime(_ []string, attribute slog.Attr) slog.Attr {
	if attribute.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attribute
}

func ExampleSetLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	if err := yokedcache.SetLogger(logger.With("component", "cache")); err != nil {
		log.Fatal(err)
	}
	defer yokedcache.SetLogger(nil)

	cache, err := yokedcache.Open("memory://?key_prefix=app")
	if err != nil {
		log.Fatal(err)
	}
	cache.Close()
	// Output:
	// level=INFO msg="opened backend=memory key_prefix=app" component=cache
	// level=INFO msg="closed backend=memory key_prefix=app" component=cache
}

func ExampleWithLogLevel() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	yokedcache.SetLogger(logger, yokedcache.WithLogLevel(slog.LevelWarn))
	defer yokedcache.SetLogger(nil)

	cache, err := yokedcache.Open("memory://?key_prefix=app") // Writes a line of the level INFO, which is not passed.
	if err != nil {
		log.Fatal(err)
	}
	cache.Close()
	fmt.Println("no warnings")
	// Output: no warnings
}

func ExampleLogOption() {
	level := slog.LevelInfo
	if os.Getenv("APP_DEBUG") != "" {
		level = yokedcache.LevelTrace
	}
	options := []yokedcache.LogOption{yokedcache.WithLogLevel(level)}
	err := yokedcache.SetLogger(slog.Default(), options...)
	fmt.Println(err)
	yokedcache.SetLogger(nil)
	// Output: <nil>
}
