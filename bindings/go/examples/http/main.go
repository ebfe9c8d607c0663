// Command http serves cached pages. Each page has a tag for each user that it shows. Of many requests one renders a page. A write to a user invalidates the
// user's pages in every process that shares the cache.
//
//	go run ./examples/http -cache redis://localhost:6379
//	curl -i localhost:8080/users/1
//	curl -X POST 'localhost:8080/users/1?name=Grace'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// database stands for the database of a real program.
type database struct {
	lock  sync.Mutex
	names map[string]string
}

func (db *database) name(id string) (string, bool) {
	db.lock.Lock()
	defer db.lock.Unlock()
	name, ok := db.names[id]
	return name, ok
}

func (db *database) rename(id, name string) {
	db.lock.Lock()
	defer db.lock.Unlock()
	db.names[id] = name
}

type server struct {
	cache *yokedcache.Cache
	db    *database
}

func (server *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, "/users/")
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		server.rename(w, r, id)
	default:
		server.show(w, r, id)
	}
}

// show sends the page of a user. Of many requests for a page that is not cached one renders it, in all processes. The
// request's context ends its own wait when the client disconnects. If the cache fails, the page is rendered.
func (server *server) show(w http.ResponseWriter, r *http.Request, id string) {
	var rendered atomic.Bool // By this request: the loader runs on a goroutine of its own.
	render := func(ctx context.Context, fill *yokedcache.Fill) ([]byte, error) {
		rendered.Store(true)
		name, ok := server.db.name(id)
		if !ok {
			return nil, yokedcache.ErrAbsent
		}
		return []byte("<h1>" + html.EscapeString(name) + "</h1>\n"), nil
	}
	page, err := yokedcache.GetOrLoad(r.Context(), server.cache, "page:user:"+id, render,
		yokedcache.WithTTL(time.Hour), yokedcache.WithTags("user:"+id))
	switch {
	case errors.Is(err, yokedcache.ErrAbsent):
		http.NotFound(w, r)
		return
	case err != nil:
		log.Print(err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("X-Cache", map[bool]string{false: "hit", true: "miss"}[rendered.Load()])
	w.Write(page)
}

// rename writes the database first and invalidates the tag second. A page with the old name is invalidated, or not stored
// if it is being rendered: no request that begins after rename has returned gets it. That a user does not exist is
// remembered under the tag, too. A failed invalidation is reported to the client.
func (server *server) rename(w http.ResponseWriter, r *http.Request, id string) {
	server.db.rename(id, r.URL.Query().Get("name"))
	if err := server.cache.InvalidateTag(r.Context(), "user:"+id); err != nil {
		http.Error(w, "stored; pages may be old for a while: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	config := flag.String("cache", "memory://?max_size=10000", "the cache: a URL, or YAML")
	address := flag.String("listen", "localhost:8080", "where to serve")
	flag.Parse()

	cache, err := yokedcache.Open(*config)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	pages := &http.Server{Handler: &server{cache, &database{names: map[string]string{"1": "Ada"}}}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		pages.Shutdown(context.Background())
	}()
	if err := pages.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
