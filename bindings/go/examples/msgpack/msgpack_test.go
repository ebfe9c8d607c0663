package msgpack_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/examples/msgpack"
)

type user struct {
	Name    string    `msgpack:"name"`
	Created time.Time `msgpack:"created"`
	Avatar  []byte    `msgpack:"avatar"`
	Tags    []string  `msgpack:"tags,omitempty"`
}

var ctx = context.Background()

func open(t testing.TB) *yokedcache.Cache {
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	cache, err := yokedcache.Open(fmt.Sprintf("%s?key_prefix=msgpack%d", url, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cache.Flush(ctx)
		cache.Close()
	})
	return cache
}

func Example() {
	cache, err := yokedcache.Open("memory://?key_prefix=app")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	users := yokedcache.NewTyped[user](cache, yokedcache.WithCodec(msgpack.Codec), yokedcache.WithTTL(time.Minute))
	ada, err := users.GetOrLoad(ctx, "user:1", func(context.Context, *yokedcache.Fill) (user, error) {
		return user{Name: "Ada", Avatar: []byte{0, 255}}, nil
	})
	fmt.Println(ada.Name, ada.Avatar, err)
	// Output: Ada [0 255] <nil>
}

func TestValuesComeBack(t *testing.T) {
	cache := open(t)
	users := yokedcache.NewTyped[user](cache, yokedcache.WithCodec(msgpack.Codec))
	wanted := user{Name: "Ada", Created: time.Unix(1700000000, 5).UTC(), Avatar: bytes.Repeat([]byte{0, 255}, 3000)}
	loads := 0
	for round := 0; round < 2; round++ {
		got, err := users.GetOrLoad(ctx, "user", func(context.Context, *yokedcache.Fill) (user, error) {
			loads++
			return wanted, nil
		})
		got.Created = got.Created.UTC()
		if err != nil || !reflect.DeepEqual(got, wanted) || loads != 1 {
			t.Error(got, err, loads)
		}
	}
	text, err := cache.Get(ctx, "user")
	if err != nil || text[0]&0xf0 != 0x80 || !bytes.Contains(text, []byte("avatar")) {
		t.Errorf("no map of MessagePack: %x %v", text[:20], err)
	}
}

func TestAValueThatIsNoMessagePackIsAnError(t *testing.T) {
	cache := open(t)
	if err := cache.Set(ctx, "user", []byte("\xc1")); err != nil {
		t.Fatal(err)
	}
	_, err := yokedcache.GetOrLoad(ctx, cache, "user", func(context.Context, *yokedcache.Fill) (user, error) {
		t.Error("it was loaded")
		return user{}, nil
	}, yokedcache.WithCodec(msgpack.Codec))
	if err == nil || !strings.Contains(err.Error(), `"user"`) || !strings.Contains(err.Error(), "MessagePack") {
		t.Error(err)
	}
}
