package httpcache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/httpcache"
)

// Sets the headers that the query of a request names, and answers with the number of the call.
func echo(site **site) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		for name, values := range request.URL.Query() {
			for _, value := range values {
				writer.Header().Add(name, value)
			}
		}
		fmt.Fprint(writer, (*site).calls.Load())
	}
}

func serveEcho(t *testing.T, options httpcache.Options) (site *site) {
	site = serve(t, options, echo(&site))
	return site
}

// Reports whether a second request gets the stored response to a first one.
func (site *site) stores(headers ...string) (second *http.Response, isStored bool) {
	site.Helper()
	query := url.Values{}
	for at := 0; at < len(headers); at += 2 {
		query.Add(headers[at], headers[at+1])
	}
	path := "/?" + query.Encode()
	site.get(path)
	before := site.calls.Load()
	second, _ = site.get(path)
	return second, site.calls.Load() == before
}

func formatTime(after time.Duration) string {
	return time.Now().Add(after).UTC().Format(http.TimeFormat)
}

func TestDirectives(t *testing.T) {
	site := serveEcho(t, httpcache.Options{TTL: time.Minute})
	for _, one := range []struct {
		isStored bool
		lines    []string
	}{
		// The first of several counts.
		{true, []string{"max-age=60, max-age=0"}},
		{false, []string{"max-age=0, max-age=60"}},
		{false, []string{"max-age=0", "max-age=60"}},
		{false, []string{"s-maxage=0, max-age=60, s-maxage=60"}},
		{true, []string{"max-age=60, max-age=x"}},
		// Numbers.
		{true, []string{"max-age=2147483648"}},
		{true, []string{"max-age=99999999999999999999999"}},
		{true, []string{`max-age="60"`}},
		{false, []string{`max-age="60`}},
		{false, []string{`max-age=""`}},
		{false, []string{"max-age"}},
		{false, []string{"max-age="}},
		{false, []string{"max-age=-1"}},
		{false, []string{"max-age=+60"}},
		{false, []string{"max-age=60.5"}},
		{false, []string{"max-age=6_0"}},
		{false, []string{"max-age=1 2"}},
		{true, []string{"max-age = 60"}},
		{false, []string{"s-maxage=x, max-age=60"}},
		{true, []string{"s-maxage=60, max-age=x"}},
		// Quoted strings.
		{false, []string{`private="a, b", max-age=60`}},
		{false, []string{`no-cache="set-cookie", max-age=60`}},
		{false, []string{`extension="a, s-maxage=60", max-age=0`}},
		{false, []string{`extension="\", s-maxage=60", max-age=0`}},
		{true, []string{`extension="a, no-store", max-age=60`}},
		{false, []string{`max-age=60, extension="a, no-store`}},
		// Several lines.
		{false, []string{"", "private"}},
		{false, []string{"", "no-store"}},
		{false, []string{"max-age=60", "", "no-cache"}},
		{true, []string{""}},
		{true, []string{" , "}},
	} {
		var headers []string
		for _, line := range one.lines {
			headers = append(headers, "Cache-Control", line)
		}
		if _, isStored := site.stores(headers...); isStored != one.isStored {
			t.Errorf("%q: stored %v", one.lines, isStored)
		}
	}
}

func TestFieldsOfSeveralLines(t *testing.T) {
	site := serveEcho(t, httpcache.Options{})
	for _, headers := range [][]string{{"Set-Cookie", "", "Set-Cookie", "a=b"}, {"Vary", "", "Vary", "*"}, {"Vary", "Accept", "Vary", "Accept-Language, *"}} {
		if _, isStored := site.stores(append(headers, "Cache-Control", "max-age=60")...); isStored {
			t.Error(headers, "was stored")
		}
	}
	path := "/?Cache-Control=max-age%3d60&ETag=%22a%22"
	site.get(path)
	before := site.calls.Load()
	for _, one := range []struct {
		name  string
		lines []string
		calls int64
	}{{"Authorization", []string{"", "Basic x"}, 1}, {"Authorization", []string{""}, 1}, {"Range", []string{"", "bytes=0-1"}, 1}, {"If-None-Match", []string{"", `"x"`, `"a"`}, 0}} {
		request, _ := http.NewRequest(http.MethodGet, site.URL+path, nil)
		request.Header[one.name] = one.lines
		response, _ := site.do(request)
		if calls := site.calls.Load() - before; calls != one.calls || (response.StatusCode == http.StatusNotModified) != (one.name == "If-None-Match") {
			t.Error(one, calls, response)
		}
		before = site.calls.Load()
	}
}

func TestEntityTags(t *testing.T) {
	site := serveEcho(t, httpcache.Options{})
	for _, one := range []struct {
		tag, condition string
		status         int
	}{
		{`"a,b"`, `"a,b"`, 304}, {`"a,b"`, `"x", W/"a,b"`, 304}, {`W/"a, b"`, `"a, b","x"`, 304}, {`"a"`, `"x,"a","y"`, 200},
		{`"a"`, `"x, a"`, 200}, {`"a"`, `"b,""a"`, 304}, {`"a"`, `W/"a"`, 304}, {`"W/a"`, `"a"`, 200}, {`"a"`, "a", 200}, {`"a"`, `"A"`, 200},
		{`"*"`, `"x", "*"`, 304}, {`"a"`, " * ", 304}, {`"a"`, `"b,*"`, 200},
	} {
		path := "/?Cache-Control=max-age%3d60&ETag=" + url.QueryEscape(one.tag)
		if response, _ := site.get(path, "If-None-Match", one.condition); response.StatusCode != one.status {
			t.Error(one, response.StatusCode)
		}
	}
}

// RFC 9110, 15.4.5.
func TestFieldsOfNotModified(t *testing.T) {
	site := serveEcho(t, httpcache.Options{})
	expires := formatTime(time.Hour)
	path := "/?" + url.Values{
		"Cache-Control": {"max-age=60"}, "ETag": {`"a"`}, "Vary": {"Accept-Language"}, "Expires": {expires}, "Content-Location": {"/b"},
		"Content-Type": {"text/plain"}, "Content-Encoding": {"x"}, "Content-Language": {"en"}, "Cache-Tag": {"a"},
	}.Encode()
	for range [3]int{} {
		response, body := site.get(path, "If-None-Match", `"a"`)
		if response.StatusCode != http.StatusNotModified || body != "" {
			t.Fatal(response, body)
		}
		for name, wanted := range map[string]string{
			"Cache-Control": "max-age=60", "Etag": `"a"`, "Vary": "Accept-Language", "Expires": expires, "Content-Location": "/b", "Content-Type": "",
			"Content-Encoding": "", "Content-Language": "", "Content-Length": "", "Cache-Tag": "",
		} {
			if got := response.Header.Get(name); got != wanted {
				t.Errorf("%s: %q, not %q", name, got, wanted)
			}
		}
		if response.Header.Get("Date") == "" {
			t.Error("no Date")
		}
	}
}

func TestAge(t *testing.T) {
	site := serveEcho(t, httpcache.Options{TTL: time.Minute})
	for _, one := range []struct {
		age    int64 // The least Age of the stored response, -1 if it is not stored.
		maxAge string
		name   string
		values []string
	}{
		{age: 100, maxAge: "max-age=1000", name: "Age", values: []string{"100"}},
		{age: -1, maxAge: "max-age=60", name: "Age", values: []string{"60"}},
		{age: -1, maxAge: "max-age=60", name: "Age", values: []string{"9999999999999999999999"}},
		{age: -1, name: "Age", values: []string{"60"}},
		{age: 100, maxAge: "max-age=1000", name: "Age", values: []string{"100", "2000"}},
		{age: 100, maxAge: "max-age=1000", name: "Age", values: []string{"100, 2000"}},
		{age: 0, maxAge: "max-age=1000", name: "Age", values: []string{"-100"}},
		{age: 0, maxAge: "max-age=1000", name: "Age", values: []string{"x"}},
		{age: 100, maxAge: "max-age=1000", name: "Date", values: []string{formatTime(-100 * time.Second)}},
		{age: -1, maxAge: "max-age=60", name: "Date", values: []string{formatTime(-100 * time.Second)}},
		{age: 0, maxAge: "max-age=1000", name: "Date", values: []string{formatTime(time.Hour)}},
		{age: 0, maxAge: "max-age=1000", name: "Date", values: []string{"0"}},
	} {
		var headers []string
		if one.maxAge != "" {
			headers = append(headers, "Cache-Control", one.maxAge)
		}
		for _, value := range one.values {
			headers = append(headers, one.name, value)
		}
		second, isStored := site.stores(headers...)
		age, err := strconv.ParseInt(second.Header.Get("Age"), 10, 64)
		// The most leaves a slow machine some time.
		if isStored != (one.age >= 0) || isStored && (err != nil || age < one.age || age > one.age+90) {
			t.Error(one, isStored, second.Header)
		}
	}
}

func TestExpires(t *testing.T) {
	site := serveEcho(t, httpcache.Options{TTL: time.Minute})
	later, earlier := formatTime(time.Hour), formatTime(-time.Hour)
	for _, one := range []struct {
		isStored bool
		headers  []string
	}{
		{true, []string{"Expires", later}},
		{true, []string{"Expires", later, "Cache-Control", "public"}},
		{true, []string{"Expires", "Fri, 31 Dec 9999 23:59:59 GMT"}},
		{true, []string{"Expires", time.Now().Add(time.Hour).UTC().Format(time.ANSIC)}},
		{true, []string{"Expires", time.Now().Add(time.Hour).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT")}},
		{false, []string{"Expires", earlier}},
		{false, []string{"Expires", "0"}},
		{false, []string{"Expires", "-1"}},
		{false, []string{"Expires", ""}},
		{false, []string{"Expires", "2099-01-01T00:00:00Z"}},
		{false, []string{"Expires", "Thu, 01 Dec 2099 16:00:00 +0000"}},
		{false, []string{"Expires", later, "Expires", later}},
		{false, []string{"Expires", later, "Cache-Control", "private"}},
		{false, []string{"Expires", later, "Cache-Control", "max-age=0"}},
		{false, []string{"Expires", later, "Cache-Control", "max-age=x"}},
		{true, []string{"Expires", "0", "Cache-Control", "max-age=60"}},
		// It counts from the date of the response.
		{false, []string{"Expires", later, "Date", later}},
		{true, []string{"Expires", later, "Date", formatTime(-time.Minute)}},
		{false, []string{"Expires", later, "Age", "7200"}},
	} {
		if _, isStored := site.stores(one.headers...); isStored != one.isStored {
			t.Errorf("%q: stored %v", one.headers, isStored)
		}
	}
}

// ---- Requests that change something ----

func (site *site) send(method, path string) *http.Response {
	site.Helper()
	request, err := http.NewRequest(method, site.URL+path, nil)
	if err != nil {
		site.Fatal(err)
	}
	response, _ := site.do(request)
	return response
}

func serveChanges(t *testing.T) (site *site) {
	site = serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		if strings.HasPrefix(request.URL.Path, "/vary") {
			writer.Header().Set("Vary", "Accept-Language")
			if request.Header.Get("Accept-Language") == "de" {
				writer.Header().Set("Vary", "Accept-Language, X-Theme")
			}
		}
		if request.Method != http.MethodGet {
			for _, name := range []string{"Location", "Content-Location"} {
				if value := request.URL.Query().Get(name); value != "" {
					writer.Header().Set(name, strings.ReplaceAll(value, "HOST", request.Host))
				}
			}
			switch request.URL.Path {
			case "/silent":
				return
			case "/proxy":
				request.Host = "other.example"
			case "/hint":
				writer.WriteHeader(http.StatusEarlyHints)
			case "/flush":
				writer.(http.Flusher).Flush()
			}
			if status, _ := strconv.Atoi(request.URL.Query().Get("status")); status != 0 {
				writer.WriteHeader(status)
			}
		}
		if request.Method == http.MethodGet || !strings.Contains(request.URL.RawQuery, "status=204") && !strings.Contains(request.URL.RawQuery, "status=304") {
			fmt.Fprint(writer, site.calls.Load())
		}
	})
	return site
}

func (site *site) isHit(path string, headers ...string) bool {
	site.Helper()
	response, _ := site.get(path, headers...)
	return response.Header.Get("Cache-Status") == "yokedcache; hit"
}

func TestUnsafeMethods(t *testing.T) {
	site := serveChanges(t)
	for _, path := range []string{"/", "/silent", "/proxy", "/hint", "/flush"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "PURGE", "post"} {
			site.get(path)
			if !site.isHit(path) {
				t.Error(method, path, "no hit before")
			}
			site.send(method, path)
			if site.isHit(path) {
				t.Error(method, path, "hit afterwards")
			}
		}
	}
	for _, method := range []string{"HEAD", "OPTIONS", "TRACE"} {
		site.send(method, "/")
		if !site.isHit("/") {
			t.Error("no hit after", method)
		}
	}
	for status, isHit := range map[int]bool{200: false, 201: false, 204: false, 303: false, 304: false, 400: true, 409: true, 500: true} {
		path := fmt.Sprintf("/?status=%d", status)
		site.get(path)
		site.send("POST", path)
		if site.isHit(path) != isHit {
			t.Error(status, !isHit)
		}
	}
}

// Some clients ask for HTTP/2 with each request, and some handlers take the connection.
func TestUnsafeMethodsWithUpgrade(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		if request.URL.Path == "/hijack" && request.Method == "POST" {
			connection, _, err := writer.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprint(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			connection.Close()
		}
	})
	for _, path := range []string{"/", "/hijack"} {
		request, _ := http.NewRequest("POST", site.URL+path, nil)
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "h2c")
		site.get(path)
		if response, _ := site.do(request); response.StatusCode != http.StatusOK {
			t.Error(response)
		}
		if site.isHit(path) {
			t.Error(path, "hit afterwards")
		}
	}
}

// All variants of the response are removed, also those that are selected by more headers than others.
func TestUnsafeMethodsRemoveAllVariants(t *testing.T) {
	site := serveChanges(t)
	variants := [][]string{
		{"Accept-Language", "en"}, {"Accept-Language", "fr"}, {"Accept-Language", "de", "X-Theme", "dark"}, {"Accept-Language", "de", "X-Theme", "light"},
	}
	for round := 0; round < 3; round++ {
		for turn := 0; turn < 3; turn++ {
			for _, headers := range variants {
				site.get("/vary", headers...)
			}
		}
		for _, headers := range variants {
			if !site.isHit("/vary", headers...) {
				t.Error(round, headers, "no hit before")
			}
		}
		site.send("PUT", "/vary")
		before := site.calls.Load()
		for turn := 0; turn < 3; turn++ {
			for _, headers := range variants {
				_, body := site.get("/vary", headers...)
				if call, _ := strconv.ParseInt(body, 10, 64); call <= before {
					t.Error(round, headers, "got a response of the time before")
				}
			}
		}
	}
}

func TestUnsafeMethodsRemoveLocations(t *testing.T) {
	site := serveChanges(t)
	for _, one := range []struct {
		name, value string
		isHit       bool
	}{
		{"Location", "/users/1?a=b", false}, {"Content-Location", "/users/1?a=b", false}, {"Location", "users/1?a=b#top", false},
		{"Location", "http://HOST/users/1?a=b", false}, {"Location", "//HOST/users/1?a=b", false},
		{"Location", "http://other.example/users/1?a=b", true}, {"Location", "/users/1", true}, {"Location", ":", true}, {"Location", "mailto:a@b", true},
	} {
		site.get("/users/1?a=b")
		site.send("POST", "/users?"+url.Values{one.name: {one.value}, "status": {"201"}}.Encode())
		if site.isHit("/users/1?a=b") != one.isHit {
			t.Error(one)
		}
	}
}

// A response that was under way when the stored ones were removed is not stored, and requests that come then do not get it.
func TestUnsafeMethodDuringALoad(t *testing.T) {
	var site *site
	begun, release := make(chan struct{}), make(chan struct{})
	site = serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Cache-Control", "max-age=60")
		if site.calls.Load() == 1 {
			close(begun)
			<-release
			fmt.Fprint(writer, "old")
			return
		}
		fmt.Fprint(writer, "new")
	})
	get := func() chan string {
		ended := make(chan string, 1)
		go func() {
			_, body := site.get("/")
			ended <- body
		}()
		return ended
	}
	before := get()
	<-begun
	site.send("POST", "/")
	after := get()
	close(release)
	if old, new := <-before, <-after; old != "old" || new != "new" {
		t.Error(old, new)
	}
	if _, body := site.get("/"); body != "new" || !site.isHit("/") {
		t.Error(body)
	}
}

// A client that has left does not keep the response: its request has changed something.
func TestUnsafeMethodOfAClientThatLeft(t *testing.T) {
	cache := open(t, "left")
	pages := httpcache.New(cache, httpcache.Options{OnError: func(_ *http.Request, err error) { t.Error(err) }})(
		http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			writer.Header().Set("Cache-Control", "max-age=60")
		}))
	send := func(ctx context.Context, method string) string {
		recorder := httptest.NewRecorder()
		pages.ServeHTTP(recorder, httptest.NewRequest(method, "/", nil).WithContext(ctx))
		return recorder.Header().Get("Cache-Status")
	}
	send(ctx, "GET")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	send(ended, "POST")
	if status := send(ctx, "GET"); status != "yokedcache; fwd=miss" {
		t.Error(status)
	}
}

// The headers of a response that passes and has no body do not have the tags.
func TestTagsOfAnEmptyResponse(t *testing.T) {
	site := serve(t, httpcache.Options{}, func(writer http.ResponseWriter, request *http.Request) { writer.Header().Set("Cache-Tag", "a") })
	site.get("/")
	if response, _ := site.get("/"); response.Header.Get("Cache-Tag") != "" || response.Header.Get("Cache-Status") != "yokedcache; fwd=bypass" {
		t.Error(response.Header)
	}
}

func TestUnsafeMethodWithACacheThatIsDown(t *testing.T) {
	cache, err := yokedcache.Open("redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	var reported []error
	pages := httpcache.New(cache, httpcache.Options{OnError: func(_ *http.Request, err error) { reported = append(reported, err) }})(
		http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) { fmt.Fprint(writer, "changed") }))
	recorder := httptest.NewRecorder()
	pages.ServeHTTP(recorder, httptest.NewRequest("POST", "/", nil))
	if recorder.Code != http.StatusOK || recorder.Body.String() != "changed" || len(reported) != 1 || !errors.Is(reported[0], yokedcache.ErrConnect) {
		t.Error(recorder, reported)
	}
}
