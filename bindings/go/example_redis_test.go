package yokedcache_test

import (
	"context"
	"errors"
	"fmt"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A hash on Redis. The other backends have no commands.
func ExampleCache_Redis() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	profile := yokedcache.Key("profile:1")
	_, err := cache.Redis().Do(ctx, "HSET", profile, "name", "Ada", "born", 1815)
	if errors.Is(err, yokedcache.ErrUnsupported) {
		fmt.Println("not on this backend")
		return
	}
	reply, err := cache.Redis().Do(ctx, "HGETALL", profile)
	fmt.Println(reply.Strings(), err)
	// Output:
	// not on this backend
}

// A command that may run twice.
func ExampleRedis() {
	cache := exampleCache()
	defer cache.Close()

	redis := cache.Redis().Idempotent()
	_, err := redis.Do(context.Background(), "SADD", yokedcache.Key("seen"), "192.0.2.1")
	fmt.Println(errors.Is(err, yokedcache.ErrUnsupported))
	// Output:
	// true
}

// Two keys with equal parts in braces share a server of a cluster: one command may use both.
func ExampleRedisKey() {
	cache, err := yokedcache.Open("redis://127.0.0.1:6379?connect=lazy")
	if err != nil {
		return
	}
	defer cache.Close()
	ctx := context.Background()

	_, err = cache.Redis().Do(ctx, "LMOVE", yokedcache.Key("{jobs}:new"), yokedcache.Key("{jobs}:running"), "LEFT", "RIGHT")
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleKey() {
	cache := exampleCache()
	defer cache.Close()

	// The key lies under the key_prefix of the cache.
	_, err := cache.Redis().Do(context.Background(), "RPUSH", yokedcache.Key("queue"), "job 1")
	fmt.Println(errors.Is(err, yokedcache.ErrUnsupported))
	// Output:
	// true
}

func ExampleRawKey() {
	cache := exampleCache()
	defer cache.Close()

	// A list that another program writes.
	_, err := cache.Redis().Do(context.Background(), "LLEN", yokedcache.RawKey("jobs"))
	fmt.Println(errors.Is(err, yokedcache.ErrUnsupported))
	// Output:
	// true
}

// A reply is a tree: an array has replies.
func ExampleReply() {
	reply := yokedcache.Reply{Kind: yokedcache.ReplyArray, Elements: []yokedcache.Reply{
		{Kind: yokedcache.ReplyString, Text: "Ada"}, {Kind: yokedcache.ReplyInteger, Integer: 36}, {Kind: yokedcache.ReplyNil},
	}}
	for _, element := range reply.Elements {
		fmt.Println(element.Text, element.Integer, element.IsNil())
	}
	// Output:
	// Ada 0 false
	//  36 false
	//  0 true
}

func ExampleReplyKind() {
	reply := yokedcache.Reply{Kind: yokedcache.ReplyError, Text: "WRONGTYPE the key holds a string"}
	switch reply.Kind {
	case yokedcache.ReplyError:
		fmt.Println(reply.Err())
	case yokedcache.ReplyNil:
		fmt.Println("no value")
	}
	// Output:
	// WRONGTYPE the key holds a string
}
