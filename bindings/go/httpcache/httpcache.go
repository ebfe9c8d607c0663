// Package httpcache caches the responses of an http.Handler.
//
//	pages := httpcache.New(cache, httpcache.Options{})
//	http.Handle("/users/", pages(users))
//
// It stores responses to GET for the time that their Cache-Control allows to shared caches, and serves them with an ETag. Of
// many requests for a response one calls the handler, among all processes that share a store and a prefix. A handler names the
// tags of a response in the header Cache-Tag; cache.InvalidateTag then removes it from all processes. POST and other methods
// that change something remove the responses of their URI.
package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Options selects what is stored. The zero value is usable.
type Options struct {
	// The time to live of a response with the status 200 that has neither Cache-Control nor Expires. With 0 such a response is
	// not stored.
	TTL time.Duration
	// The header in which the handler names the tags of a response, separated by commas. It is removed from the responses to
	// requests that the cache handles. The default is Cache-Tag.
	TagHeader string
	// The size of the largest body that is stored, in bytes. The default is 1 MiB.
	MaxBytes int
	// The time for which a request waits while another one calls the handler for the same response, at most a day. The
	// request then calls the handler itself. The default is 10 seconds.
	Wait time.Duration
	// The time for which the cache remembers that a response is not stored, so that the next requests do not wait for each
	// other. The default is 10 seconds.
	PassFor time.Duration
	// Receives the errors of the cache, on the goroutine of the request. They never fail a request: it calls the handler.
	OnError func(*http.Request, error)
}

// New returns a middleware that caches the responses of a handler in a cache. Use a view with a namespace to clear all
// responses at once. The caller closes the cache.
//
// Requests other than GET, and those with Authorization, Range or Upgrade, pass to the handler. The Cache-Control of a request
// has no effect. A response with a status from 200 to 399 to a method that is not known to be safe removes the stored responses
// of its URI, and of its Location and Content-Location on the same host, before it is sent.
//
// A response is stored if its status is 200, 301, 308, 404 or 410; if the time of s-maxage, else of max-age, else of Expires, or
// else Options.TTL, is longer than its age; without no-store, private, no-cache, Set-Cookie and Vary: *; and up to
// Options.MaxBytes. A response with Vary is stored for each value of the request headers that it names. A stored response with
// the status 200 gets an ETag unless it has one. If-None-Match, or If-Modified-Since without it, is answered with 304.
//
// The handler gets requests without conditions, with a context that ends when no request waits for the response. It runs on
// another goroutine, and its response is held in memory until it returns: it cannot be flushed or hijacked. Do not wrap handlers
// that stream. A panic of the handler continues on the goroutine of its request.
func New(cache *yokedcache.Cache, options Options) func(http.Handler) http.Handler {
	if options.TagHeader == "" {
		options.TagHeader = "Cache-Tag"
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = 1 << 20
	}
	if options.Wait == 0 {
		options.Wait = 10 * time.Second
	}
	if options.PassFor == 0 {
		options.PassFor = 10 * time.Second
	}
	return func(next http.Handler) http.Handler {
		return &handler{cache, options, next}
	}
}

type handler struct {
	cache   *yokedcache.Cache
	options Options
	next    http.Handler
}

// A response may name headers that no response before it has named: each turn learns of more, and selects by them.
const turns = 3

func (handler *handler) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if isUnsafe(request) {
		handler.change(writer, request)
		return
	}
	if !isCacheable(request) {
		handler.next.ServeHTTP(writer, request)
		return
	}
	selection := &entry{}
	for turn := 0; turn < turns; turn++ {
		found, own := handler.find(request, selection)
		switch {
		case own != nil:
			own.send(writer, request, "fwd=miss")
			return
		case found == nil || found.Pass:
			handler.pass(writer, request)
			return
		case found.Varying == nil:
			found.send(writer, request, "hit")
			return
		}
		selection = found
	}
	handler.pass(writer, request)
}

func isCacheable(request *http.Request) bool {
	has := func(name string) bool { return len(request.Header.Values(name)) > 0 }
	return request.Method == http.MethodGet && !has("Authorization") && !has("Range") && !has("Upgrade")
}

// Calls the handler for this request alone, with its conditions.
func (handler *handler) pass(writer http.ResponseWriter, request *http.Request) {
	writer.Header().Set("Cache-Status", "yokedcache; fwd=bypass")
	hooked := &hookedWriter{ResponseWriter: writer, before: func(int) { writer.Header().Del(handler.options.TagHeader) }}
	handler.next.ServeHTTP(hooked, request)
	hooked.begin(http.StatusOK)
}

// errPanicked ends a load whose handler panicked.
var errPanicked = errors.New("the handler panicked")

// Returns what the cache has for a request, or the response of the handler if this request called it. Both are nil if the
// cache failed.
func (handler *handler) find(request *http.Request, selection *entry) (*entry, *response) {
	ctx, key := request.Context(), keyOf(request, selection)
	data, err := handler.cache.Get(ctx, key)
	if errors.Is(err, yokedcache.ErrMiss) {
		err = nil
	}
	// A load says nothing of a store that is down: the requests of the process then share it.
	handler.report(request, err)
	if data == nil {
		var own *response
		if data, own, err = handler.load(request, key, selection); own != nil {
			return nil, own
		}
	}
	if err != nil {
		return nil, nil
	}
	found, err := decode(data)
	handler.report(request, err)
	return found, nil
}

func (handler *handler) load(request *http.Request, key string, selection *entry) ([]byte, *response, error) {
	// The loader may still run when this request has ended.
	var called atomic.Pointer[response]
	data, err := yokedcache.GetOrLoad(request.Context(), handler.cache, key, func(ctx context.Context, fill *yokedcache.Fill) ([]byte, error) {
		response := handler.call(request, ctx)
		defer called.Store(response)
		if response.panicked != nil {
			return nil, errPanicked
		}
		return handler.entryOf(response, selection, fill).encode(), nil
	}, yokedcache.WithWait(handler.options.Wait))
	own := called.Load()
	if own != nil && own.panicked != nil {
		panic(own.panicked)
	}
	if !errors.Is(err, errPanicked) {
		handler.report(request, err)
	}
	return data, own, err
}

// Reports an error of the cache. It is not an error that a client has left.
func (handler *handler) report(request *http.Request, err error) {
	if err != nil && request.Context().Err() == nil && handler.options.OnError != nil {
		handler.options.OnError(request, fmt.Errorf("httpcache: %w", err))
	}
}

// The least time for which the cache remembers the names of Vary. Responses are lost with them.
const selectionTTL = 24 * time.Hour

// Returns what is stored of a response, and sets for how long.
func (handler *handler) entryOf(response *response, selection *entry, fill *yokedcache.Fill) *entry {
	life := handler.lifeOf(response)
	if life <= 0 {
		fill.TTL = handler.options.PassFor
		return &entry{Pass: true}
	}
	response.addETag()
	fill.StaleFor = 0
	names := union(selection.Varying, listOf(response.header, "Vary"))
	if len(names) > len(selection.Varying) {
		// The key that selects the response is known now.
		fill.TTL = max(life, selectionTTL)
		return selectionBy(names, selection)
	}
	fill.TTL, fill.Tags = life, response.tags
	return &response.entry
}

// Returns the time for which a response may be stored: not at all unless it is positive.
func (handler *handler) lifeOf(response *response) time.Duration {
	switch response.Status {
	case http.StatusOK, http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusNotFound, http.StatusGone:
	default:
		return 0
	}
	if len(response.Body) > handler.options.MaxBytes || len(response.header.Values("Set-Cookie")) > 0 {
		return 0
	}
	for _, name := range listOf(response.header, "Vary") {
		if name == "*" {
			return 0
		}
	}
	lifetime, isGiven := lifetimeOf(response.header, time.Now())
	if !isGiven && response.Status == http.StatusOK {
		lifetime = handler.options.TTL
	}
	return lifetime - response.age
}

// Returns the key of the response to a request, given the request headers that it depends on.
func keyOf(request *http.Request, selection *entry) string {
	key := prefixOf(request) + targetOf(request)
	if len(selection.Varying) == 0 {
		return key
	}
	return key + "\n" + selection.ID + " " + hashOf(request.Header, selection.Varying)
}

func prefixOf(request *http.Request) string { return "GET " + strings.ToLower(request.Host) }

func targetOf(request *http.Request) string {
	if strings.HasPrefix(request.RequestURI, "/") {
		return request.RequestURI
	}
	return request.URL.RequestURI()
}
