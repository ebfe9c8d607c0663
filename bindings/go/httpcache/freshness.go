package httpcache

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The most that a header can name (RFC 9111, 1.2.2).
const most = (1 << 31) * time.Second

// Returns the time for which a shared cache may serve a response, by its headers and without regard to its age (RFC 9111,
// 4.2.1). The result is false if they have neither Cache-Control nor Expires.
func lifetimeOf(header http.Header, now time.Time) (lifetime time.Duration, isGiven bool) {
	directives := directivesOf(header)
	for _, name := range []string{"no-store", "private", "no-cache"} {
		if _, has := directives[name]; has {
			return 0, true
		}
	}
	for _, name := range []string{"s-maxage", "max-age"} {
		if value, has := directives[name]; has {
			// A value that is no number makes the response stale.
			seconds, _ := secondsOf(value)
			return seconds, true
		}
	}
	if expires := header.Values("Expires"); len(expires) > 0 {
		// Several lines are no date, and no date has passed.
		end, err := http.ParseTime(strings.Join(expires, ", "))
		if err != nil {
			return 0, true
		}
		return max(min(end.Sub(dateOf(header, now)), most), 0), true
	}
	return 0, len(directives) > 0
}

// Returns the age of a response that was asked for at a time (RFC 9111, 4.2.3).
func ageOf(header http.Header, asked, now time.Time) time.Duration {
	age := max(now.Sub(dateOf(header, now)), 0)
	first, _, _ := strings.Cut(header.Get("Age"), ",")
	if given, err := secondsOf(strings.TrimSpace(first)); err == nil {
		age = max(age, given+now.Sub(asked))
	}
	return age.Truncate(time.Second)
}

func dateOf(header http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	return now
}

// Reads a number of seconds, which may be in quotes.
func secondsOf(text string) (time.Duration, error) {
	if len(text) > 1 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
		text = text[1 : len(text)-1]
	}
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, err
	}
	return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second, nil
}
