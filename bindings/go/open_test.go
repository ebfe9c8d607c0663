package yokedcache_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// The cache that YC_TEST_URL names, memory without it; with these options and a prefix of its own.
func open(t testing.TB, options string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(testURL(options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cache.Flush(ctx)
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return cache
}

var prefixes atomic.Int64

func testURL(options string) string {
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	if !onMemory() && !strings.Contains(options, "socket_timeout") {
		// Time enough for a machine that is busy: a call that is lost fails all the same.
		options += "&socket_timeout=10s"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	return fmt.Sprintf("%s%skey_prefix=go%d.%d-%d%s", url, mark, os.Getpid(), prefixes.Add(1), time.Now().UnixNano(), options)
}

func onMemory() bool {
	return os.Getenv("YC_TEST_URL") == "" || strings.HasPrefix(os.Getenv("YC_TEST_URL"), "memory:")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A server that takes connections and never answers.
func silentServer(t testing.TB) string {
	t.Helper()
	return "redis://" + listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
}

// A listener on a free port; serve is run for each connection, which is closed behind it or at the test's end.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var lock sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			lock.Lock()
			conns = append(conns, conn)
			lock.Unlock()
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		lock.Lock()
		defer lock.Unlock()
		for _, conn := range conns {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

// A cache whose calls wait until they are cancelled, or for a minute.
func openSilent(t testing.TB) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(silentServer(t) + "?connect=lazy&socket_timeout=60s&socket_connect_timeout=60s&max_pending=100000&events=true")
	check(t, err)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		cache.Shutdown(ended)
	})
	return cache
}
