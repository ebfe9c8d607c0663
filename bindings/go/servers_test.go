package yokedcache_test

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Starts a server of the test's own, and waits until it answers at its URL. The function kills it.
func startProgram(t *testing.T, url, program string, arguments ...string) (kill func()) {
	t.Helper()
	server := exec.Command(program, arguments...)
	check(t, server.Start())
	kill = sync.OnceFunc(func() {
		server.Process.Kill()
		server.Wait()
	})
	t.Cleanup(kill)
	for begun := time.Now(); time.Since(begun) < soon; time.Sleep(20 * time.Millisecond) {
		if cache, err := yokedcache.Open(url); err == nil {
			check(t, cache.Close())
			return kill
		}
	}
	t.Fatal("the server did not start")
	return kill
}

func startRedis(t *testing.T, port string, options ...string) (kill func()) {
	t.Helper()
	arguments := []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}
	return startProgram(t, "redis://127.0.0.1:"+port, "redis-server", append(arguments, options...)...)
}

func startMemcached(t *testing.T, port string) (kill func()) {
	t.Helper()
	return startProgram(t, "memcached://127.0.0.1:"+port, "memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "nobody", "-m", "64")
}

// Starts a server of the backend that is tested.
func startServer(t *testing.T, port string) (scheme string, kill func()) {
	t.Helper()
	if onMemory() {
		t.Skip("the memory backend has no server that can go down")
	}
	if strings.HasPrefix(testURL(""), "redis") {
		return "redis", startRedis(t, port)
	}
	return "memcached", startMemcached(t, port)
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	check(t, err)
	return port
}

// A proxy stands between a cache and a server on this machine, which seems to be down as long as the proxy is cut.
type proxy struct {
	address string
	lock    sync.Mutex
	isDown  bool
	cuts    int
	open    []net.Conn
}

func startProxy(t *testing.T, port string) *proxy {
	t.Helper()
	proxy := &proxy{}
	proxy.address = listen(t, func(conn net.Conn) {
		proxy.lock.Lock()
		isDown, cuts := proxy.isDown, proxy.cuts
		proxy.lock.Unlock()
		if isDown {
			return
		}
		server, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return
		}
		defer server.Close()
		proxy.lock.Lock()
		proxy.open = append(proxy.open, conn, server)
		// It may have been cut, and mended, since it was accepted.
		isCut := proxy.cuts != cuts
		proxy.lock.Unlock()
		if isCut {
			return
		}
		go io.Copy(server, conn)
		io.Copy(conn, server)
	})
	return proxy
}

// Closes all connections, and refuses new ones until mend is called.
func (proxy *proxy) cut() {
	proxy.lock.Lock()
	defer proxy.lock.Unlock()
	proxy.isDown = true
	proxy.cuts++
	for _, conn := range proxy.open {
		conn.Close()
	}
}

func (proxy *proxy) mend() {
	proxy.lock.Lock()
	defer proxy.lock.Unlock()
	proxy.isDown = false
}
