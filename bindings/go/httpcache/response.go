package httpcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// An entry is what the cache has for a key: a response, or how to get one.
type entry struct {
	// True if the handler has to be called for each request.
	Pass bool `json:"pass,omitempty"`
	// The request headers, in lower case and sorted, whose values select the response. It is under another key.
	Varying []string `json:"varying,omitempty"`
	// A part of the keys of these responses: without this entry, none of them is found.
	ID     string      `json:"id,omitempty"`
	Status int         `json:"status,omitempty"`
	Header http.Header `json:"header,omitempty"`
	// The time at which the response had the age 0, in seconds since 1970.
	Time int64  `json:"time,omitempty"`
	Body []byte `json:"-"`
}

// Returns the length of the head in four bytes, the head as JSON, and the body.
func (entry *entry) encode() []byte {
	head, err := json.Marshal(entry)
	if err != nil {
		panic(err) // The type has nothing that JSON cannot express.
	}
	data := make([]byte, 4, 4+len(head)+len(entry.Body))
	binary.BigEndian.PutUint32(data, uint32(len(head)))
	return append(append(data, head...), entry.Body...)
}

// Returns what selects the responses that depend on more request headers than a selection before.
func selectionBy(names []string, before *entry) *entry {
	if before.ID != "" {
		return &entry{Varying: names, ID: before.ID}
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // A system without random numbers runs no server.
	}
	return &entry{Varying: names, ID: hex.EncodeToString(id[:])}
}

var errNoEntry = errors.New("the value is no response of this version: use a key prefix or namespace of its own")

func decode(data []byte) (*entry, error) {
	if len(data) < 4 || uint64(binary.BigEndian.Uint32(data)) > uint64(len(data)-4) {
		return nil, errNoEntry
	}
	end := 4 + int(binary.BigEndian.Uint32(data))
	decoded := &entry{Body: data[end:]}
	if json.Unmarshal(data[4:end], decoded) != nil {
		return nil, errNoEntry
	}
	if isResponse := !decoded.Pass && decoded.Varying == nil; isResponse && (decoded.Status < 100 || decoded.Status > 999) {
		return nil, errNoEntry
	}
	return decoded, nil
}

// A response is what the handler returned to this request.
type response struct {
	entry
	// As the handler has set it, before Header was made of it.
	header   http.Header
	age      time.Duration
	tags     []string
	panicked any
	buffer   bytes.Buffer
}

// Calls the handler without the conditions of the request: its response is for others, too.
func (handler *handler) call(request *http.Request, ctx context.Context) *response {
	request = request.Clone(ctx)
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range"} {
		request.Header.Del(name)
	}
	request.Body = http.NoBody
	asked := time.Now()
	response := &response{header: http.Header{}}
	func() {
		defer func() { response.panicked = recover() }()
		handler.next.ServeHTTP(response, request)
	}()
	response.finish(handler.options.TagHeader, asked)
	return response
}

// Header returns the headers to be sent.
func (response *response) Header() http.Header { return response.header }

// WriteHeader ends the headers of a final response. Others are not sent.
func (response *response) WriteHeader(status int) {
	if response.Status == 0 && status >= 200 {
		response.Status = status
		response.entry.Header = response.header.Clone()
	}
}

// Write appends to the body.
func (response *response) Write(data []byte) (int, error) {
	response.WriteHeader(http.StatusOK)
	return response.buffer.Write(data)
}

// Completes the response with what its client needs to keep a copy.
func (response *response) finish(tagHeader string, asked time.Time) {
	response.WriteHeader(http.StatusOK)
	response.Body = response.buffer.Bytes()
	header := response.entry.Header
	response.header = header
	response.tags = tagsIn(header, tagHeader)
	header.Del(tagHeader)
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		header.Del(name)
	}
	now := time.Now()
	response.age = ageOf(header, asked, now)
	response.Time = now.Add(-response.age).Unix()
	if header.Get("Date") == "" {
		header.Set("Date", now.UTC().Format(http.TimeFormat))
	}
}

// Gives the response an ETag unless it has one.
func (response *response) addETag() {
	if response.Status == http.StatusOK && response.header.Get("Etag") == "" {
		sum := sha256.Sum256(response.Body)
		response.header.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	}
}

// Sends the response, or 304 if the client has it.
func (entry *entry) send(writer http.ResponseWriter, request *http.Request, cacheStatus string) {
	header := writer.Header()
	for name, values := range entry.Header {
		if name == "Vary" { // A handler around this one may have named more.
			values = append(header.Values(name), values...)
		}
		header[name] = values
	}
	header.Set("Cache-Status", "yokedcache; "+cacheStatus)
	if cacheStatus == "hit" {
		header.Set("Age", strconv.FormatInt(max(time.Now().Unix()-entry.Time, 0), 10))
	}
	if entry.Status == http.StatusOK && isFresh(request.Header, header) {
		for _, name := range []string{"Content-Encoding", "Content-Language", "Content-Length", "Content-Type"} {
			header.Del(name)
		}
		writer.WriteHeader(http.StatusNotModified)
		return
	}
	writer.WriteHeader(entry.Status)
	// An error is one of the client's connection.
	_, _ = writer.Write(entry.Body)
}
