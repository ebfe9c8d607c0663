package yokedcache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

var ctx = context.Background()

func exampleCache() *yokedcache.Cache {
	cache, err := yokedcache.Open("memory://?key_prefix=example")
	if err != nil {
		log.Fatal(err)
	}
	return cache
}

// Writes a file into a new folder and returns its path. The caller removes the folder.
func exampleFile(text string) (folder, file string) {
	folder, err := os.MkdirTemp("", "yokedcache")
	if err != nil {
		log.Fatal(err)
	}
	file = filepath.Join(folder, "cache.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	return folder, file
}

const exampleConfig = `
cache:
  development: { backend: memory, memory: { max_size: 1000, key_prefix: dev } }
  production: { backend: memory, memory: { max_size: 1000000, key_prefix: prod } }
`

func Example() {
	cache, err := yokedcache.Open("memory://?max_size=10000&key_prefix=app")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	err = cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
	fmt.Println(err)
	name, err := cache.Get(ctx, "user:1")
	fmt.Println(string(name), err)
	fmt.Println(cache.InvalidateTag(ctx, "users"))
	_, err = cache.Get(ctx, "user:1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// <nil>
	// Ada <nil>
	// <nil>
	// true
}

func ExampleOpen() {
	_, err := yokedcache.Open("memory://?max_sise=1000")
	fmt.Println(errors.Is(err, yokedcache.ErrConfig))

	cache, err := yokedcache.Open("{backend: memory, memory: {max_size: 1000}}")
	fmt.Println(err)
	fmt.Println(cache.Close())
	// Output:
	// true
	// <nil>
	// <nil>
}

func ExampleOpenFile() {
	folder, file := exampleFile(exampleConfig)
	defer os.RemoveAll(folder)

	cache, err := yokedcache.OpenFile(file, "production")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	health, err := cache.Health(context.Background())
	fmt.Println(health.KeyPrefix, err)
	// Output: prod <nil>
}

func ExampleOpenEnv() {
	os.Setenv("YOKEDCACHE_URL", "memory://?key_prefix=app")
	defer os.Unsetenv("YOKEDCACHE_URL")

	cache, err := yokedcache.OpenEnv()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Close())
	// Output: <nil>
}

func ExampleCheckConfig() {
	text, err := yokedcache.CheckConfig("redis://:secret@cache.example.com?key_prefix=app")
	if err != nil {
		log.Fatal(err)
	}
	var settings struct {
		Backend  string   `json:"backend"`
		Servers  []string `json:"servers"`
		Password bool     `json:"password"`
	}
	err = json.Unmarshal(text, &settings)
	fmt.Println(settings.Backend, settings.Servers, settings.Password, err)
	// Output: redis [cache.example.com:6379] true <nil>
}

func ExampleCheckConfigFile() {
	folder, file := exampleFile(exampleConfig)
	defer os.RemoveAll(folder)

	_, err := yokedcache.CheckConfigFile(file, "production")
	fmt.Println(err)
	_, err = yokedcache.CheckConfigFile(file, "staging")
	fmt.Println(errors.Is(err, yokedcache.ErrConfig))
	// Output:
	// <nil>
	// true
}

func ExampleVersion() {
	fmt.Println(strings.HasPrefix(yokedcache.Version(), "0."))
	// Output: true
}

func ExampleCache() {
	var cache *yokedcache.Cache = exampleCache() // One cache serves all goroutines of a program.
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	names := make(chan []byte)
	for i := 0; i < 2; i++ {
		go func() {
			name, _ := cache.Get(ctx, "user:1")
			names <- name
		}()
	}
	fmt.Printf("%s %s\n", <-names, <-names)
	// Output: Ada Ada
}

func ExampleCache_Capabilities() {
	cache := exampleCache()
	defer cache.Close()

	capabilities := cache.Capabilities()
	fmt.Println("can list keys:", capabilities&yokedcache.CanList != 0)
	fmt.Println("shares entries with other processes:", capabilities&yokedcache.CanShare != 0)
	// Output:
	// can list keys: true
	// shares entries with other processes: false
}

func ExampleCapabilities() {
	required := yokedcache.CanList | yokedcache.CanCount
	cache := exampleCache()
	defer cache.Close()

	fmt.Println(cache.Capabilities()&required == required)
	// Output: true
}

func ExampleCache_Close() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	fmt.Println(cache.Close())
	_, err := cache.Get(ctx, "user:1")
	fmt.Println(errors.Is(err, yokedcache.ErrClosed))
	// Output:
	// <nil>
	// true
}

func ExampleCache_Shutdown() {
	cache := exampleCache()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	fmt.Println(cache.Shutdown(ctx))
	// Output: <nil>
}

func ExampleError() {
	_, err := yokedcache.Open("memory://?max_sise=1000")
	var failed *yokedcache.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Code, failed.Retryable, strings.Contains(failed.Message, "max_size"))
	}
	// Output: YC_E_CONFIG false true
}

func ExampleError_Error() {
	_, err := yokedcache.Open("memory://?max_size=none")
	var failed *yokedcache.Error
	if errors.As(err, &failed) {
		fmt.Println(strings.Contains(failed.Error(), failed.Message))
	}
	// Output: true
}

func ExampleError_Is() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	_, err := cache.Get(ctx, "")
	fmt.Println(errors.Is(err, yokedcache.ErrInvalid), errors.Is(err, yokedcache.ErrMiss))
	// Output: true false
}

func ExampleError_Unwrap() {
	cache := exampleCache()
	defer cache.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	_, err := cache.Get(ctx, "user:1")
	fmt.Println(errors.Is(err, context.Canceled), errors.Is(err, yokedcache.ErrCancelled))
	// Output: true true
}

func ExampleCode() {
	_, err := yokedcache.Open("memory://?max_size=none")
	var failed *yokedcache.Error
	if errors.As(err, &failed) {
		switch failed.Code {
		case yokedcache.CodeConfig:
			fmt.Println("correct the configuration")
		case yokedcache.CodeConnect, yokedcache.CodeTimeout:
			fmt.Println("try again later")
		}
	}
	// Output: correct the configuration
}

func ExampleCode_String() {
	fmt.Println(yokedcache.CodeTimeout)
	// Output: YC_E_TIMEOUT
}
