package yokedcache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Gets a token of an identity service.
func fetchToken(context.Context) (string, error) { return "token", nil }

func ExampleWithCredentials() {
	// Without "connect=lazy", Open waits for the function and for the servers.
	cache, err := yokedcache.Open("rediss://cache.example.com:6379?credentials=callback&connect=lazy",
		yokedcache.WithCredentials(func(ctx context.Context) (yokedcache.Credentials, error) {
			token, err := fetchToken(ctx)
			return yokedcache.Credentials{Username: "app", Password: token, ValidFor: 15 * time.Minute}, err
		}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Close())
	// Output: <nil>
}

func ExampleCredentials() {
	credentials := yokedcache.Credentials{Username: "app", Password: "token", ValidFor: time.Hour}
	fmt.Println(credentials.Username, credentials.ValidFor)
	// Output: app 1h0m0s
}

func ExampleOpenOption() {
	var options []yokedcache.OpenOption
	cache, err := yokedcache.Open("memory://", options...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Close())
	// Output: <nil>
}
