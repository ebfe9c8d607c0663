package httpcache_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

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
