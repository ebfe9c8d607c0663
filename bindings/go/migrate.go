package yokedcache

// #include <stdlib.h>
// #include "migrate.h"
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/cgo"
	"time"
	"unicode/utf8"
	"unsafe"
)

// SwitchOptions is how [Cache.Switch] replaces a backend.
type SwitchOptions struct {
	// Whether what the cache holds is copied before the new backend serves. Without it the new one begins with what it has.
	Copy bool `json:"copy,omitempty"`
	// The most entries copied a second; 0: no limit.
	Rate int `json:"rate,omitempty"`
}

// A SwitchReport is what a switch did. Later versions of the library may tell more: it is all in JSON.
type SwitchReport struct {
	// The name of the backend that serves now.
	Backend string `json:"backend"`
	// What was copied; nil when nothing was to be.
	Copied *MigrateReport `json:"copied"`

	// The whole report.
	JSON json.RawMessage `json:"-"`
}

// MigrateOptions is what [Cache.MigrateTo] copies, and how.
type MigrateOptions struct {
	// Only keys that match this glob (see [Cache.InvalidatePattern]), which is UTF-8; "": all.
	Pattern string `json:"pattern,omitempty"`
	// The most entries a second; 0: no limit.
	Rate int `json:"rate,omitempty"`
	// Count what would be copied, and store nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Go on where an earlier run was, also one of another process: the Resume that it told last.
	Resume string `json:"resume,omitempty"`
	// Told how far it is after each few hundred keys, on the goroutine that called MigrateTo, which waits for it; false
	// ends the migration there, without an error. It may call methods, and must not close one of the two caches, whose
	// Close would wait for it.
	Progress func(MigrateProgress) bool `json:"-"`
}

// A MigrateProgress is how far a migration is.
type MigrateProgress struct {
	Examined uint64 // Keys looked at.
	Copied   uint64 // Entries stored at the target, or that would be.
	Skipped  uint64 // Entries that were not, for a reason that is no failure: the target has one, or it is gone.
	Failed   uint64 // Entries that could not be.
	Resume   string // What MigrateOptions take to go on from here, or a little before; "" at the end.
}

// A MigrateReport is what a migration did. Later versions of the library may tell more: it is all in JSON.
type MigrateReport struct {
	// Whether it came to its end.
	Complete bool              `json:"complete"`
	DryRun   bool              `json:"dry_run"`
	Examined uint64            `json:"examined"` // Keys looked at.
	Copied   uint64            `json:"copied"`   // Entries stored at the target, or that would be.
	Skipped  map[string]uint64 `json:"skipped"`  // Entries that were not, by reason: "present" at the target, "gone" from the source.
	Failed   uint64            `json:"failed"`   // Entries that could not be.
	Failures map[string]uint64 `json:"failures"` // And why.
	// The most that the end of an entry of a sample has moved, in milliseconds; nil when none of the sample has an end.
	LargestTTLDriftMillis *uint64 `json:"largest_ttl_drift_ms"`
	ElapsedMillis         uint64  `json:"elapsed_ms"`
	// What MigrateOptions take to go on from here, or a little before; "" at the end.
	Resume string `json:"resume"`

	// The whole report; nil beside an error.
	JSON json.RawMessage `json:"-"`
}

// Elapsed is how long it took.
func (report *MigrateReport) Elapsed() time.Duration {
	return time.Duration(report.ElapsedMillis) * time.Millisecond
}

// Switch replaces the backend of the cache by the one that a configuration asks for, as [Open] takes it. Calls that are
// under way finish on the old one, later ones are served by the new one, and none fails. The key prefix, default TTL and
// fallback are the new configuration's; what was counted and timed stays. With Copy what changes meanwhile follows, and
// no invalidation is lost.
//
// It blocks a thread until the old backend is closed. The context counts before it begins; then only closing the cache
// ends it early, with [ErrClosed].
//
// It fails with [ErrConfig], with what opening the new backend fails with, with [ErrBusy] while another switch of this
// cache is under way, and with [ErrUnsupported] where the old backend cannot list the keys to copy. The cache goes on as
// it was then.
func (cache *Cache) Switch(ctx context.Context, config string, options SwitchOptions) (SwitchReport, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return SwitchReport{}, err
	}
	defer user.leave()
	text, err := newCString(config, "config")
	if err != nil {
		return SwitchReport{}, err
	}
	defer C.free(unsafe.Pointer(text))
	written, err := newOptions(options)
	if err != nil {
		return SwitchReport{}, err
	}
	defer C.free(unsafe.Pointer(written))
	var report SwitchReport
	report.JSON, err = cache.switchTo(text, written, &report)
	return report, err
}

func (cache *Cache) switchTo(config, options *C.char, report *SwitchReport) ([]byte, error) {
	// What may have to wait for a server is submitted from now on: no thread waits for it.
	cache.atOnce.Store(false)
	var described *C.yc_error
	var value *C.yc_value
	status := C.yc_switch(cache.handle, config, options, &value, &described)
	// Fails for a cache that is closed, where it makes no difference.
	cache.describe()
	if err := failure(status, described); err != nil {
		return nil, err
	}
	return readReport(value, report)
}

// MigrateTo copies the entries of this cache into another: values, tags, and what is left of their times to live. What the
// target has already stays, and so does what is written there meanwhile. No copy undoes an invalidation that this
// process makes on either side; the README describes those of other processes. Both caches stay in use. Entries that
// are written to this cache meanwhile may be copied or not: [Cache.Switch] copies and follows.
//
// It blocks a thread until it is done. A context that is done, or a cache that is closed, ends it at the next progress: the
// error is what the context says, or [ErrClosed], and the report is of what was done, with the Resume to go on from.
//
// It fails with [ErrInvalid] for a cache onto itself (the same servers and prefix) and for a wrong Resume, with
// [ErrConfig] for wrong options, with [ErrUnsupported] where this cache cannot list keys, and with a server's failure that
// lasts longer than about three seconds. What was copied until then stays, and the report has the last progress.
func (cache *Cache) MigrateTo(ctx context.Context, target *Cache, options MigrateOptions) (MigrateReport, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return MigrateReport{}, err
	}
	defer user.leave()
	other, err := target.enter(ctx)
	if err != nil {
		return MigrateReport{}, err
	}
	defer other.leave()
	written, err := newOptions(options, options.Pattern, options.Resume)
	if err != nil {
		return MigrateReport{}, err
	}
	defer C.free(unsafe.Pointer(written))
	migration := &migration{ctx: ctx, source: cache, target: target, tell: options.Progress}
	return migration.run(written)
}

// Options as the library takes them, in C memory. These texts of them have to be UTF-8, as JSON is.
func newOptions(options any, texts ...string) (*C.char, error) {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return nil, invalid("an option is not UTF-8: %q", text)
		}
	}
	written, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	return newCString(string(written), "options")
}

// A report of the library, which is released; its text.
func readReport(value *C.yc_value, into any) ([]byte, error) {
	text := takeValue(value)
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("yokedcache: the report of the library: %w", err)
	}
	return text, nil
}

// ---- Progress ----

// A migration is one that is under way, and what its progress told last.
type migration struct {
	ctx            context.Context
	source, target *Cache
	tell           func(MigrateProgress) bool
	last           MigrateProgress
	panicked       any
}

func (migration *migration) run(options *C.char) (MigrateReport, error) {
	told := cgo.NewHandle(migration)
	defer told.Delete()
	var described *C.yc_error
	var value *C.yc_value
	status := C.yoked_go_migrate(migration.source.handle, migration.target.handle, options, C.uintptr_t(told), &value, &described)
	if migration.panicked != nil {
		C.yc_value_free(value)
		C.yc_error_free(described)
		panic(migration.panicked)
	}
	if err := failure(status, described); err != nil {
		return migration.soFar(), err
	}
	var report MigrateReport
	text, err := readReport(value, &report)
	report.JSON = text
	if err == nil && !report.Complete {
		err = migration.stopped()
	}
	return report, err
}

// What is known of one that failed.
func (migration *migration) soFar() MigrateReport {
	last := &migration.last
	return MigrateReport{Examined: last.Examined, Copied: last.Copied, Failed: last.Failed, Resume: last.Resume}
}

// Why it has to end; nil when only the caller's own function may want that.
func (migration *migration) stopped() error {
	switch {
	case migration.ctx.Err() != nil:
		return ended(migration.ctx)
	case migration.source.closed.Load() || migration.target.closed.Load():
		return ErrClosed
	}
	return nil
}

// Whether it goes on. A panic of the caller's function goes around the library, not through it.
func (migration *migration) goesOn(progress MigrateProgress) (on bool) {
	defer func() { migration.panicked = recover() }()
	migration.last = progress
	if migration.stopped() != nil {
		return false
	}
	return migration.tell == nil || migration.tell(progress)
}

//export yokedGoProgress
func yokedGoProgress(told C.uintptr_t, progress *C.yc_progress) C.int32_t {
	now := MigrateProgress{
		Examined: uint64(progress.examined),
		Copied:   uint64(progress.copied),
		Skipped:  uint64(progress.skipped),
		Failed:   uint64(progress.failed),
	}
	if progress.resume != nil {
		now.Resume = C.GoString(progress.resume)
	}
	if cgo.Handle(told).Value().(*migration).goesOn(now) {
		return 0
	}
	return 1
}
