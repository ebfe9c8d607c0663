package yokedcache

// #include "bridge.h"
import "C"

import "time"

const (
	// DefaultStaleFor selects the stale_for of the configuration.
	DefaultStaleFor time.Duration = -1
	// NoWait is the value of [WithWait] with which a call does not wait for the load of another caller.
	NoWait time.Duration = -1
)

// A LoadOption is an optional property of a call that loads: [GetOrLoad], [GetOrLoadMany] or [Cache.GetOrLease].
// [WithTTL], [WithTags], [WithStaleFor], [WithAbsentTTL], [WithLease], [WithWait], [WithStaleIfError],
// [WithRetryAfter], [WithFresh] and [WithCodec] return one.
type LoadOption interface {
	isLoadOption()
}

func (SetOption) isLoadOption() {}
func (GetOption) isLoadOption() {}

// The property that a loadOption sets.
type property int

const (
	ofStaleFor property = iota
	ofAbsentTTL
	ofLease
	ofWait
	ofRetryAfter
	ofStaleIfError
	ofCodec
)

type loadOption struct {
	property property
	time     time.Duration
	codec    Codec
}

func (loadOption) isLoadOption() {}

// WithStaleFor sets the time after the TTL in which the value may be served as stale while one caller loads it again: at
// most 100 years, or [DefaultStaleFor], the default.
func WithStaleFor(time time.Duration) LoadOption {
	return loadOption{property: ofStaleFor, time: time}
}

// WithAbsentTTL sets the time for which the cache remembers that a load found nothing. The default, [DefaultTTL], is the
// negative_ttl of the configuration.
func WithAbsentTTL(ttl time.Duration) LoadOption {
	return loadOption{property: ofAbsentTTL, time: ttl}
}

// WithLease sets the time for which the right to load the key is valid: at most a day. The default, 0, is the option
// lease of the configuration (10 s). Choose a time that is longer than the slowest load: a value that comes later is
// returned, but not stored.
func WithLease(time time.Duration) LoadOption {
	return loadOption{property: ofLease, time: time}
}

// WithWait limits the time for which a call waits while another caller loads the key: at most a day, or [NoWait]. The
// default, 0, is the rest of the time of a context that has a deadline; otherwise it is the deadline of a call: the
// socket_timeout of the configuration, or 1 s on the memory backend. The context of the call always applies.
func WithWait(time time.Duration) LoadOption {
	return loadOption{property: ofWait, time: time}
}

// WithStaleIfError lets a call that finds a stale value wait for the load. It returns the stale value only if the load
// fails. Without this option, the call returns the stale value at once.
func WithStaleIfError() LoadOption {
	return loadOption{property: ofStaleIfError}
}

// WithRetryAfter sets the time for which no caller loads a key again after its load has failed: at most a day. Calls get
// the stale value, if there is one, or [ErrBusy]. The default is 0: the next caller loads the key again.
func WithRetryAfter(time time.Duration) LoadOption {
	return loadOption{property: ofRetryAfter, time: time}
}

// WithCodec selects the codec of values. Without it, []byte and string are stored unchanged, and values of other types
// as JSON.
func WithCodec(codec Codec) LoadOption {
	return loadOption{property: ofCodec, codec: codec}
}

// The options of a call that loads.
type loadSettings struct {
	ttl          time.Duration
	staleFor     time.Duration
	absentTTL    time.Duration
	lease        time.Duration
	wait         time.Duration
	retryAfter   time.Duration
	tags         []string
	codec        Codec // Nil: see WithCodec.
	staleIfError bool
	flags        C.uint32_t
}

var defaultLoadSettings = loadSettings{ttl: DefaultTTL, staleFor: DefaultStaleFor, absentTTL: DefaultTTL}

// Returns the settings with options, which are copied: they do not escape.
func (settings loadSettings) with(options []LoadOption) (loadSettings, error) {
	for _, option := range options {
		switch option := option.(type) {
		case SetOption:
			settings.addSetOption(option)
		case GetOption:
			settings.flags |= option.flags
		case loadOption:
			settings.add(option)
		default:
			return settings, invalid("a load option is nil: omit it")
		}
	}
	return settings, settings.check()
}

func (settings *loadSettings) addSetOption(option SetOption) {
	if option.hasTTL {
		settings.ttl = option.ttl
	}
	if settings.tags == nil {
		settings.tags = option.tags
	} else if len(option.tags) > 0 {
		settings.tags = append(settings.tags[:len(settings.tags):len(settings.tags)], option.tags...)
	}
}

func (settings *loadSettings) add(option loadOption) {
	switch option.property {
	case ofStaleFor:
		settings.staleFor = option.time
	case ofAbsentTTL:
		settings.absentTTL = option.time
	case ofLease:
		settings.lease = option.time
	case ofWait:
		settings.wait = option.time
	case ofRetryAfter:
		settings.retryAfter = option.time
	case ofStaleIfError:
		settings.staleIfError = true
	case ofCodec:
		settings.codec = option.codec
	}
}

const (
	longestTTL  = 100 * 365 * 24 * time.Hour
	longestLoad = 24 * time.Hour
)

// Refuses settings that the library would refuse after the load.
func (settings *loadSettings) check() error {
	switch {
	case outside(settings.ttl, DefaultTTL, longestTTL):
		return invalid("WithTTL is %v: it must be DefaultTTL, or 0 to 100 years", settings.ttl)
	case outside(settings.absentTTL, DefaultTTL, longestTTL):
		return invalid("WithAbsentTTL is %v: it must be DefaultTTL, or 0 to 100 years", settings.absentTTL)
	case outside(settings.staleFor, DefaultStaleFor, longestTTL):
		return invalid("WithStaleFor is %v: it must be DefaultStaleFor, or 0 to 100 years", settings.staleFor)
	case outside(settings.lease, 0, longestLoad):
		return invalid("WithLease is %v: it must be 0 for the default, or at most a day", settings.lease)
	case outside(settings.wait, NoWait, longestLoad):
		return invalid("WithWait is %v: it must be NoWait, 0 for the default, or at most a day", settings.wait)
	case outside(settings.retryAfter, 0, longestLoad):
		return invalid("WithRetryAfter is %v: it must be at most a day", settings.retryAfter)
	}
	return nil
}

func outside(value, least, most time.Duration) bool {
	return value < least || value > most
}

// Returns the operation that reads a key for loading.
func (settings *loadSettings) lookupOp(key string, wait time.Duration) operation {
	return operation{
		kind: C.YC_OP_GET_OR_LEASE, flags: settings.flags, key: key, tags: settings.tags,
		number: millis(settings.lease), initial: millis(wait),
	}
}
