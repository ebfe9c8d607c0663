package httpcache

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Calls the handler for a request that may change what is stored. The stored responses of its URI are removed before a
// response without an error is sent (RFC 9111, 4.4).
func (handler *handler) change(writer http.ResponseWriter, request *http.Request) {
	// The handler may change its request, and has made its change also if the client leaves.
	original := request.WithContext(context.WithoutCancel(request.Context()))
	hooked := &hookedWriter{ResponseWriter: writer, before: func(status int) {
		if status >= 200 && status < 400 {
			handler.forget(original, writer.Header())
		}
	}}
	handler.next.ServeHTTP(hooked, request)
	hooked.begin(http.StatusOK)
}

// Reports whether a request may change what its URI names. CONNECT has no such URI.
func isUnsafe(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return false
	}
	return true
}

// Removes the stored responses of the URI of a request, and of those that its response names.
func (handler *handler) forget(request *http.Request, response http.Header) {
	for _, key := range append(locationsOf(request, response), keyOf(request, &entry{})) {
		_, err := handler.cache.Delete(request.Context(), key)
		handler.report(request, err)
	}
}

// Returns the keys of Location and Content-Location that are of the same host.
func locationsOf(request *http.Request, response http.Header) (keys []string) {
	base, err := url.Parse("http://" + request.Host + targetOf(request))
	if err != nil {
		return nil
	}
	for _, name := range []string{"Location", "Content-Location"} {
		value := response.Get(name)
		if location, err := base.Parse(value); err == nil && value != "" && strings.EqualFold(location.Host, base.Host) {
			keys = append(keys, prefixOf(request)+location.RequestURI())
		}
	}
	return keys
}

// A hookedWriter calls a function with the status of a response before its headers are sent.
type hookedWriter struct {
	http.ResponseWriter
	before func(status int)
	begun  bool
}

func (writer *hookedWriter) begin(status int) {
	if !writer.begun {
		writer.begun = status >= 200
		writer.before(status)
	}
}

func (writer *hookedWriter) WriteHeader(status int) {
	writer.begin(status)
	writer.ResponseWriter.WriteHeader(status)
}

func (writer *hookedWriter) Write(data []byte) (int, error) {
	writer.begin(http.StatusOK)
	return writer.ResponseWriter.Write(data)
}

// Flush is for handlers that stream a response which is not stored.
func (writer *hookedWriter) Flush() {
	writer.begin(http.StatusOK)
	_ = http.NewResponseController(writer.ResponseWriter).Flush()
}

// Hijack is for handlers that take the connection. Their status is not known.
func (writer *hookedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	connection, buffered, err := http.NewResponseController(writer.ResponseWriter).Hijack()
	if err == nil {
		writer.begin(http.StatusOK)
	}
	return connection, buffered, err
}

// Unwrap is for http.ResponseController.
func (writer *hookedWriter) Unwrap() http.ResponseWriter { return writer.ResponseWriter }
