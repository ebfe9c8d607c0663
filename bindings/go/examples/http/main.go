// Command http serves cached pages. Each page has a tag for each user that it shows. A write to a user invalidates the
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

// show sends the page of a user. The request's context cancels the call when the client disconnects. If the cache fails,
// the page is rendered.
func (server *server) show(w http.ResponseWriter, r *http.Request, id string) {
	page, err := server.cache.Get(r.Context(), "page:user:"+id)
	if err == nil {
		w.Header().Set("X-Cache", "hit")
		w.Write(page)
		return
	}
	if !errors.Is(err, yokedcache.ErrMiss) {
		log.Print(err)
	}
	name, ok := server.db.name(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	page = []byte("<h1>" + html.EscapeString(name) + "</h1>\n")
	err = server.cache.Set(r.Context(), "page:user:"+id, page, yokedcache.WithTTL(time.Hour), yokedcache.WithTags("user:"+id))
	if err != nil {
		log.Print(err)
	}
	w.Header().Set("X-Cache", "miss")
	w.Write(page)
}

// rename writes the database first and invalidates the tag second, so that a page with the old name is invalidated. A page
// that is stored after the invalidation stays until its TTL. A failed invalidation is reported to the client.
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
