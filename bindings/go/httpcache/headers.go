package httpcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"sort"
	"strings"
)

// ---- Lists ----

// Returns the elements of a header that is a list of tokens.
func listOf(header http.Header, name string) (list []string) {
	for _, element := range strings.Split(strings.Join(header.Values(name), ","), ",") {
		if element = strings.TrimSpace(element); element != "" {
			list = append(list, element)
		}
	}
	return list
}

// Returns each tag once: a handler may name one twice.
func tagsIn(header http.Header, name string) []string {
	tags := listOf(header, name)
	sort.Strings(tags)
	once := tags[:0]
	for at, tag := range tags {
		if at == 0 || tag != tags[at-1] {
			once = append(once, tag)
		}
	}
	return once
}

// A quoted string may contain commas. A quote that has no end is a character like others.
var directivePattern = regexp.MustCompile(`(?:"(?:[^"\\]|\\.)*"|[^,])+`)

// Returns the directives of Cache-Control by their names in lower case. Of several with one name it has the first.
func directivesOf(header http.Header) map[string]string {
	directives := map[string]string{}
	for _, line := range header.Values("Cache-Control") {
		for _, directive := range directivePattern.FindAllString(line, -1) {
			name, value, _ := strings.Cut(directive, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			if _, has := directives[name]; name != "" && !has {
				directives[name] = strings.TrimSpace(value)
			}
		}
	}
	return directives
}

// ---- Conditions ----

// An entity tag in quotes, or else what is between commas.
var entityTagPattern = regexp.MustCompile(`(?:W/)?"[^"]*"|[^\s,]+`)

// Reports whether the client has the response.
func isFresh(request, response http.Header) bool {
	if tags := entityTagPattern.FindAllString(strings.Join(request.Values("If-None-Match"), ","), -1); len(tags) > 0 {
		for _, tag := range tags {
			if tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(response.Get("Etag"), "W/") {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(request.Get("If-Modified-Since"))
	modified, failed := http.ParseTime(response.Get("Last-Modified"))
	return err == nil && failed == nil && !modified.After(since)
}

// ---- Vary ----

// Returns names and more, in lower case, sorted, each once.
func union(names, more []string) []string {
	all := append([]string(nil), names...)
	for _, name := range more {
		name = strings.ToLower(name)
		at := sort.SearchStrings(all, name)
		if at == len(all) || all[at] != name {
			all = append(all[:at], append([]string{name}, all[at:]...)...)
		}
	}
	return all
}

// Returns a hash of the request headers with these names.
func hashOf(header http.Header, names []string) string {
	hash := sha256.New()
	for _, name := range names {
		values, _ := json.Marshal([]any{name, header.Values(name)})
		hash.Write(values)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
