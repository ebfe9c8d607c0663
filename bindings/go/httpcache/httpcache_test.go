package httpcache_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/httpcache"
)

var ctx = context.Background()

func open(t testing.TB, prefix string) *yokedcache.Cache {
	t.Helper()
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	cache, err := yokedcache.Open(fmt.Sprintf("%s%skey_prefix=httpcache%d.%s", url, mark, os.Getpid(), prefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// A server with a cache around a handler, which counts the calls. An error of the cache fails the test.
type site struct {
	*httptest.Server
	testing.TB
	cache *yokedcache.Cache
	calls atomic.Int64
}

func serve(t testing.TB, options httpcache.Options, handle http.HandlerFunc) *site {
	site := &site{TB: t, cache: open(t, t.Name())}
	if options.OnError == nil {
		options.OnError = func(request *http.Request, err error) { t.Error(request.URL, err) }
	}
	site.Server = httptest.NewServer(httpcache.New(site.cache, options)(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		site.calls.Add(1)
		handle(writer, request)
	})))
	t.Cleanup(site.Server.Close)
	return site
}

// Returns the response to a request with these headers, each a name and a value, and its body.
func (site *site) get(path string, headers ...string) (*http.Response, string) {
	site.Helper()
	request, err := http.NewRequest(http.MethodGet, site.URL+path, nil)
	if err != nil {
		site.Fatal(err)
	}
	for at := 0; at < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	return site.do(request)
}

func (site *site) do(request *http.Request) (*http.Response, string) {
	site.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		site.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		site.Fatal(err)
	}
	return response, string(body)
}

func (site *site) called(wanted int64) {
	site.Helper()
	if calls := site.calls.Load(); calls != wanted {
		site.Errorf("the handler was called %d times, not %d", calls, wanted)
	}
}

func TestHit(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "public, max-age=60")
		writer.Header().Set("Cache-Tag", "users, user:1, users")
		writer.Header().Set("X-Own", "a")
		writer.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(writer, "page ", request.URL.RawQuery)
	})
	first, body := site.get("/a?b=1")
	if body != "page b=1" || first.Header.Get("Cache-Status") != "yokedcache; fwd=miss" || first.Header.Get("Age") != "" {
		t.Error(body, first.Header)
	}
	second, body := site.get("/a?b=1")
	if body != "page b=1" || second.Header.Get("Cache-Status") != "yokedcache; hit" || second.Header.Get("Age") == "" {
		t.Error(body, second.Header)
	}
	for _, name := range []string{"Etag", "Date", "X-Own", "Content-Type", "Cache-Control", "Content-Length"} {
		if first.Header.Get(name) == "" || first.Header.Get(name) != second.Header.Get(name) {
			t.Error(name, first.Header, second.Header)
		}
	}
	if first.Header.Get("Cache-Tag")+second.Header.Get("Cache-Tag") != "" {
		t.Error("the client got the tags")
	}
	site.called(1)
	site.get("/a?b=2")
	site.called(2)
	if err := site.cache.InvalidateTag(ctx, "user:1"); err != nil {
		t.Fatal(err)
	}
	site.get("/a?b=1")
	site.called(3)
}

func TestConditions(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		writer.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		if request.URL.Path == "/own" {
			writer.Header().Set("ETag", `W/"own"`)
		}
		if request.Header.Get("If-None-Match")+request.Header.Get("If-Modified-Since") != "" {
			writer.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(writer, "page")
	})
	// The first request has a condition: the response is for others, too.
	if response, body := site.get("/own", "If-None-Match", `"own"`); response.StatusCode != http.StatusNotModified || body != "" {
		t.Error(response, body)
	}
	response, _ := site.get("/own")
	if response.StatusCode != http.StatusOK || response.Header.Get("Etag") != `W/"own"` || response.Header.Get("Cache-Status") != "yokedcache; hit" {
		t.Error(response)
	}
	site.called(1)
	made, _ := site.get("/made")
	tag := made.Header.Get("Etag")
	for _, condition := range []struct {
		name, value string
		status      int
	}{
		{"If-None-Match", tag, 304}, {"If-None-Match", `"x", W/` + tag, 304}, {"If-None-Match", "*", 304}, {"If-None-Match", `"x"`, 200},
		{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT", 304}, {"If-Modified-Since", "Mon, 02 Jan 2006 15:04:04 GMT", 200},
		{"If-Modified-Since", "never", 200},
	} {
		response, body := site.get("/made", condition.name, condition.value)
		if response.StatusCode != condition.status || (body == "page") != (condition.status == 200) || response.Header.Get("Etag") != tag {
			t.Error(condition, response, body)
		}
	}
	site.called(2)
}

func TestWhatIsStored(t *testing.T) {
	site := serve(t, httpcache.Options{MaxBytes: 100}, func(writer http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		for _, name := range []string{"Cache-Control", "Set-Cookie", "Vary", "Expires"} {
			for _, value := range query[name] {
				writer.Header().Add(name, value)
			}
		}
		var status int
		if fmt.Sscan(query.Get("status"), &status); status != 0 {
			writer.WriteHeader(status)
		}
		fmt.Fprint(writer, "page", strings.Repeat(".", len(query.Get("long"))*10))
	})
	long := "long=" + strings.Repeat("x", 10)
	for query, isStored := range map[string]bool{
		"Cache-Control=max-age=60":                                   true,
		"Cache-Control=Max-Age=%2260%22":                             true,
		"Cache-Control=max-age=0,s-maxage=60":                        true,
		"Cache-Control=public&Cache-Control=s-maxage=60":             true,
		"Cache-Control=max-age=60&status=404":                        true,
		"Cache-Control=max-age=60&status=301":                        true,
		"":                                                           false,
		"Expires=Thu,%2001%20Dec%202099%2016:00:00%20GMT":            true,
		"Cache-Control=public":                                       false,
		"Cache-Control=max-age=0":                                    false,
		"Cache-Control=max-age=x":                                    false,
		"Cache-Control=max-age=-1":                                   false,
		"Cache-Control=max-age=60,s-maxage=0":                        false,
		"Cache-Control=no-store,max-age=60":                          false,
		"Cache-Control=max-age=60&Cache-Control=Private":             false,
		"Cache-Control=max-age=60,private=%22x%22":                   false,
		"Cache-Control=no-cache,max-age=60":                          false,
		"Cache-Control=max-age=60&Set-Cookie=a=b":                    false,
		"Cache-Control=max-age=60&Vary=*":                            false,
		"Cache-Control=max-age=60&status=500":                        false,
		"Cache-Control=max-age=60&status=201":                        false,
		"Cache-Control=max-age=60&" + long:                           false,
		"Cache-Control=max-age=60&long=x&Vary=&status=200&Expires=x": true,
	} {
		before := site.calls.Load()
		_, body := site.get("/?" + query)
		_, again := site.get("/?" + query)
		if calls := site.calls.Load() - before; calls != 1 && isStored || calls != 2 && !isStored || body != again {
			t.Errorf("%q: %d calls, %q, %q", query, calls, body, again)
		}
	}
}

func TestRequestsThatPass(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		body, _ := io.ReadAll(request.Body)
		fmt.Fprint(writer, request.Method, string(body))
	})
	site.get("/")
	for at, change := range []func(*http.Request){
		func(request *http.Request) {
			request.Method, request.Body = http.MethodPost, io.NopCloser(strings.NewReader("body"))
		},
		func(request *http.Request) { request.Method = http.MethodHead },
		func(request *http.Request) { request.Header.Set("Authorization", "x") },
		func(request *http.Request) { request.Header.Set("Range", "bytes=0-1") },
	} {
		request, _ := http.NewRequest(http.MethodGet, site.URL, nil)
		change(request)
		if _, body := site.do(request); at == 0 && body != "POSTbody" {
			t.Error(body)
		}
		site.called(int64(at + 2))
	}
	// POST has removed the response. A client cannot force a load.
	site.get("/")
	for _, directive := range []string{"no-cache", "no-store", "max-age=0", "only-if-cached", "min-fresh=1000"} {
		site.get("/", "Cache-Control", directive, "Pragma", "no-cache")
	}
	site.called(6)
}

func TestDefaultTTL(t *testing.T) {
	site := serve(t, httpcache.Options{TTL: time.Minute}, func(writer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/missing" {
			writer.WriteHeader(http.StatusNotFound)
		} else if request.URL.Path == "/private" {
			writer.Header().Set("Cache-Control", "private")
		}
	})
	for path, calls := range map[string]int64{"/": 1, "/missing": 2, "/private": 2} {
		before := site.calls.Load()
		site.get(path)
		site.get(path)
		if site.calls.Load()-before != calls {
			t.Error(path, site.calls.Load()-before)
		}
	}
}

func TestTimeToLive(t *testing.T) {
	site := serve(t, httpcache.Options{PassFor: time.Millisecond}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=1")
	})
	site.get("/")
	time.Sleep(1100 * time.Millisecond)
	site.get("/")
	site.called(2)
}

func TestVary(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		writer.Header().Set("Vary", "Accept-Language")
		language := request.Header.Get("Accept-Language")
		if language == "de" {
			// Only this one depends on another header, too.
			writer.Header().Set("Vary", "accept-language, X-Theme")
		}
		fmt.Fprint(writer, language, request.Header.Get("X-Theme"))
	})
	for turn := 0; turn < 4; turn++ {
		for _, one := range [][]string{{"en", ""}, {"de", "dark"}, {"de", "light"}, {"en", "dark"}, {"", ""}} {
			_, body := site.get("/", "Accept-Language", one[0], "X-Theme", one[1])
			if wanted := one[0] + one[1]; body != wanted && !(one[0] == "en" && body == "en" || one[0] == "en" && body == "endark") {
				t.Errorf("%q in place of %q", body, wanted)
			}
		}
	}
	before := site.calls.Load()
	response, _ := site.get("/", "Accept-Language", "de", "X-Theme", "light")
	site.called(before)
	if response.Header.Get("Vary") != "accept-language, X-Theme" || response.Header.Get("Cache-Status") != "yokedcache; hit" {
		t.Error(response.Header)
	}
	if before > 8 {
		t.Error(before, "calls for four responses")
	}
}

// Requests at the same time, which wait in a queue of their own before the handler answers.
func (site *site) crowd(requests int, get func(at int) string) map[string]int {
	site.Helper()
	var lock sync.Mutex
	var all sync.WaitGroup
	bodies := map[string]int{}
	for at := 0; at < requests; at++ {
		all.Add(1)
		go func(at int) {
			defer all.Done()
			body := get(at)
			lock.Lock()
			bodies[body]++
			lock.Unlock()
		}(at)
	}
	all.Wait()
	return bodies
}

func TestCrowdMakesOneCall(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		time.Sleep(100 * time.Millisecond)
		writer.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(writer, "page")
	})
	bodies := site.crowd(50, func(int) string {
		_, body := site.get("/")
		return body
	})
	if bodies["page"] != 50 {
		t.Error(bodies)
	}
	site.called(1)
}

// A private response is for its client alone, and its requests do not wait for each other.
func TestCrowdWithPrivateResponses(t *testing.T) {
	var running, most atomic.Int64
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		writer.Header().Set("Cache-Control", "private, max-age=60")
		fmt.Fprint(writer, request.Header.Get("X-User"))
	})
	bodies := site.crowd(30, func(at int) string {
		response, body := site.get("/", "X-User", fmt.Sprint(at))
		if response.Header.Get("Etag") != "" {
			t.Error("an ETag of a response that is not stored")
		}
		return body
	})
	if len(bodies) != 30 {
		t.Error(bodies)
	}
	site.called(30)
	if most.Load() < 2 {
		t.Error("one request at a time")
	}
}

func TestCrowdWithVariants(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		time.Sleep(20 * time.Millisecond)
		writer.Header().Set("Cache-Control", "max-age=60")
		writer.Header().Set("Vary", "X-User")
		fmt.Fprint(writer, request.Header.Get("X-User"))
	})
	site.crowd(40, func(at int) string {
		user := fmt.Sprint(at % 4)
		if _, body := site.get("/", "X-User", user); body != user {
			t.Errorf("%q got the response of %q", user, body)
		}
		return ""
	})
	// One response told the header, and each variant was loaded once more.
	site.called(5)
}

// A load that began before an invalidation is not stored.
func TestInvalidationDuringALoad(t *testing.T) {
	var site *site
	site = serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		writer.Header().Set("Cache-Tag", "users")
		if call := site.calls.Load(); call == 1 {
			if err := site.cache.InvalidateTag(ctx, "users"); err != nil {
				t.Error(err)
			}
		}
		fmt.Fprint(writer, site.calls.Load())
	})
	for _, wanted := range []string{"1", "2", "2"} {
		if _, body := site.get("/"); body != wanted {
			t.Error(body, wanted)
		}
	}
}

func TestCacheThatIsDown(t *testing.T) {
	cache, err := yokedcache.Open("redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	var lock sync.Mutex
	var reported []error
	options := httpcache.Options{OnError: func(_ *http.Request, err error) {
		lock.Lock()
		defer lock.Unlock()
		reported = append(reported, err)
	}}
	pages := httpcache.New(cache, options)(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(writer, "page")
	}))
	ask := func() {
		t.Helper()
		recorder := httptest.NewRecorder()
		pages.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		if recorder.Code != http.StatusOK || recorder.Body.String() != "page" {
			t.Error(recorder)
		}
	}
	ask()
	if len(reported) != 1 || !errors.Is(reported[0], yokedcache.ErrConnect) {
		t.Error(reported)
	}
	cache.Close()
	ask()
	if len(reported) < 2 || !errors.Is(reported[1], yokedcache.ErrClosed) {
		t.Error(reported)
	}
}

// The key of a page can have another value.
func TestForeignValue(t *testing.T) {
	cache := open(t, "foreign")
	var reported error
	options := httpcache.Options{OnError: func(_ *http.Request, err error) { reported = err }}
	pages := httpcache.New(cache, options)(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) { fmt.Fprint(writer, "page") }))
	for _, value := range []string{"x", "\xff\xff\xff\xff{}", "\x00\x00\x00\x02{}", "\x00\x00\x00\x01{}", "\x00\x00\x00\x0f{\"status\":1000}"} {
		if err := cache.Set(ctx, "GET example.com/", []byte(value)); err != nil {
			t.Fatal(err)
		}
		recorder := httptest.NewRecorder()
		reported = nil
		pages.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		if recorder.Body.String() != "page" || reported == nil {
			t.Error(recorder, reported)
		}
	}
}

func TestPanicOfTheHandler(t *testing.T) {
	pages := httpcache.New(open(t, "panic"), httpcache.Options{OnError: func(_ *http.Request, err error) { t.Error(err) }})(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if value := recover(); value != http.ErrAbortHandler {
			t.Error(value)
		}
	}()
	pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	t.Error("no panic")
}

// A client that leaves ends the context of the handler.
func TestClientThatLeaves(t *testing.T) {
	ended := make(chan struct{})
	begun := make(chan struct{})
	var once sync.Once
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		// The handler is called again when the load has failed: it may have an answer for a context that has ended.
		once.Do(func() {
			close(begun)
			<-request.Context().Done()
			close(ended)
		})
	})
	leaving, cancel := context.WithCancel(ctx)
	request, _ := http.NewRequestWithContext(leaving, http.MethodGet, site.URL, nil)
	go func() {
		<-begun
		cancel()
	}()
	if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}

//go:embed README.md
var readme string

//go:embed httpcache_test.go
var source string

func TestReadmeHasTheExample(t *testing.T) {
	_, code, _ := strings.Cut(readme, "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if code == "" || !strings.Contains(source, "\t"+strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t"), "\n\t\n", "\n\n")) {
		t.Error("README.md has another program than ExampleNew")
	}
}

func ExampleNew() {
	cache, err := yokedcache.Open("memory://?key_prefix=app") // or redis://localhost:6379/0?key_prefix=app
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	users := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "public, max-age=60")
		writer.Header().Set("Cache-Tag", "users, user:1")
		fmt.Fprint(writer, "<h1>Ada</h1>")
	})
	pages := httpcache.New(cache, httpcache.Options{OnError: func(request *http.Request, err error) { fmt.Println(request.URL, err) }})
	server := httptest.NewServer(pages(users))
	defer server.Close()

	for _, invalidate := range []bool{false, false, true} {
		if invalidate {
			err = cache.InvalidateTag(context.Background(), "user:1") // removes the page from all processes
		}
		response, err := http.Get(server.URL)
		fmt.Println(response.Status, response.Header.Get("Cache-Status"), err)
	}
	// Output:
	// 200 OK yokedcache; fwd=miss <nil>
	// 200 OK yokedcache; hit <nil>
	// 200 OK yokedcache; fwd=miss <nil>
}
