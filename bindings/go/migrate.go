package yokedcache

// #include <stdlib.h>
// #include "migrate.h"
import "C"

import (
	"context"
	"encoding/json"
	"runtime/cgo"
	"time"
	"unicode/utf8"
	"unsafe"
)

// SwitchOptions selects how [Cache.Switch] replaces a backend. The zero value copies nothing.
type SwitchOptions struct {
	// True to copy the entries of the cache before the new backend serves. Otherwise the new backend starts with the
	// entries that it has.
	Copy bool `json:"copy,omitempty"`
	// The maximum number of entries copied per second; 0 for no limit.
	Rate int `json:"rate,omitempty"`
}

// A SwitchReport is the report of [Cache.Switch]. Later versions of the library may add members to JSON.
type SwitchReport struct {
	// The name of the backend that serves now.
	Backend string `json:"backend"`
	// The report of the copy; nil without [SwitchOptions].Copy.
	Copied *MigrateReport `json:"copied"`

	// The complete report.
	JSON json.RawMessage `json:"-"`
}

// MigrateOptions selects what [Cache.MigrateTo] copies, and how. The zero value copies every entry without a
// limit.
type MigrateOptions struct {
	// The glob of the keys to copy (see [Cache.InvalidatePattern]), in UTF-8; "" selects every key.
	Pattern string `json:"pattern,omitempty"`
	// The maximum number of entries copied per second; 0 for no limit.
	Rate int `json:"rate,omitempty"`
	// True to count what would be copied, and store nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// The position at which to continue: the Resume of the last progress or report of an earlier run, also of another
	// process.
	Resume string `json:"resume,omitempty"`
	// Called every few hundred keys on the goroutine of MigrateTo, which waits for it. Return false to stop the
	// migration; MigrateTo then returns a report and no error. The function may call methods of both caches. It must
	// not close either cache: Close would wait for the migration.
	Progress func(MigrateProgress) bool `json:"-"`
}

// A MigrateProgress is the progress of a migration.
type MigrateProgress struct {
	Examined uint64 // Keys examined.
	Copied   uint64 // Entries stored in the target; with DryRun, entries that would be.
	Skipped  uint64 // Entries not copied because the target has one or the source has it no longer.
	Failed   uint64 // Entries that could not be copied.
	Resume   string // The [MigrateOptions].Resume that continues from this position or slightly before it; "" at the end.
}

// A MigrateReport is the report of a migration. Later versions of the library may add members to JSON.
type MigrateReport struct {
	// True if every key was examined.
	Complete bool              `json:"complete"`
	DryRun   bool              `json:"dry_run"`
	Examined uint64            `json:"examined"` // Keys examined.
	Copied   uint64            `json:"copied"`   // Entries stored in the target; with DryRun, entries that would be.
	Skipped  map[string]uint64 `json:"skipped"`  // Entries not copied, by reason: "present" in the target, "gone" from the source.
	Failed   uint64            `json:"failed"`   // Entries that could not be copied.
	Failures map[string]uint64 `json:"failures"` // The same entries, by the message of the error.
	// The largest expiry drift in a sample, in milliseconds; nil if no sampled entry expires.
	LargestTTLDriftMillis *uint64 `json:"largest_ttl_drift_ms"`
	ElapsedMillis         uint64  `json:"elapsed_ms"`
	// The [MigrateOptions].Resume that continues from this position or slightly before it; "" at the end.
	Resume string `json:"resume"`

	// The complete report; nil if MigrateTo returned an error of the library.
	JSON json.RawMessage `json:"-"`
}

// Elapsed returns the duration of the migration.
func (report *MigrateReport) Elapsed() time.Duration {
	return time.Duration(report.ElapsedMillis) * time.Millisecond
}

// Switch replaces the backend of the cache by the one of a configuration, as [Open] takes it. Calls in flight
// finish on the old backend, later calls are served by the new one, and none fails. The key prefix, default TTL
// and fallback are those of the new configuration; counters and latencies stay. With [SwitchOptions].Copy, changes
// during the copy are copied too, and no invalidation is lost.
//
// Switch occupies a thread until the old backend is closed. It checks ctx only before it begins. After that, only
// [Cache.Close] ends it early.
//
// Errors: [ErrConfig], the errors of [Open] for the new backend, [ErrBusy] while another switch of this cache is
// running, [ErrUnsupported] if entries are to be copied and the old backend cannot list keys, and [ErrClosed] if
// the cache is closed. After an error the cache continues to use the old backend.
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
	if err == nil {
		cache.times.Store(timesOf(CheckConfig(config)))
	}
	return report, err
}

func (cache *Cache) switchTo(config, options *C.char, report *SwitchReport) ([]byte, error) {
	// From now on, an operation may have to wait for a server: submit it, so that no thread waits.
	cache.fastPath.Store(false)
	var described *C.yc_error
	var value *C.yc_value
	status := C.yc_switch(cache.handle, config, options, &value, &described)
	// Fails for a closed cache only, where the capabilities do not matter.
	cache.describe()
	if err := failure(status, described); err != nil {
		return nil, err
	}
	return readReport(value, report)
}

// MigrateTo copies the entries of this cache into another cache: values, remaining times to live and tags. An
// entry that the target already has stays, and so does an entry that is written there during the migration. No
// copy undoes an invalidation that this process makes on either side; the page "Operating" of the library's guide
// describes those of other processes. Both caches stay in use. An entry that is written to this cache during the
// migration may or may not be copied: [Cache.Switch] copies such entries too.
//
// MigrateTo occupies a thread until it returns. A context that is done, or a cache that is closed, ends it at the
// next progress. It then returns the error of the context (see the package documentation) or [ErrClosed], together
// with the report so far, whose Resume continues the migration.
//
// Errors: [ErrInvalid] for a migration of a cache onto itself (the same servers and prefix) and for a wrong
// Resume, [ErrConfig] for wrong options, [ErrUnsupported] if this cache cannot list keys, and the error of a
// server that fails for more than about three seconds. Entries that were copied stay, and the report has the last
// progress.
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
	migration := &migration{ctx: ctx, source: cache, target: target, progress: options.Progress}
	return migration.run(written)
}

// Returns options as JSON in C memory. The given texts of them must be UTF-8.
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

// Decodes a report, releases it and returns its text.
func readReport(value *C.yc_value, into any) ([]byte, error) {
	text := takeValue(value)
	return text, decodeReport(text, into)
}

// ---- Progress ----

// A migration in flight, with its last progress.
type migration struct {
	ctx            context.Context
	source, target *Cache
	progress       func(MigrateProgress) bool
	last           MigrateProgress
	panicked       any
}

func (migration *migration) run(options *C.char) (MigrateReport, error) {
	handle := cgo.NewHandle(migration)
	defer handle.Delete()
	var described *C.yc_error
	var value *C.yc_value
	status := C.yoked_go_migrate(migration.source.handle, migration.target.handle, options, C.uintptr_t(handle), &value, &described)
	if migration.panicked != nil {
		C.yc_value_free(value)
		C.yc_error_free(described)
		panic(migration.panicked)
	}
	if err := failure(status, described); err != nil {
		return migration.partialReport(), err
	}
	var report MigrateReport
	text, err := readReport(value, &report)
	report.JSON = text
	if err == nil && !report.Complete {
		err = migration.stopped()
	}
	return report, err
}

// Returns a report of the last progress, for a migration that failed.
func (migration *migration) partialReport() MigrateReport {
	last := &migration.last
	return MigrateReport{Examined: last.Examined, Copied: last.Copied, Failed: last.Failed, Resume: last.Resume}
}

// Returns the reason to stop; nil if only the function of the caller can stop it.
func (migration *migration) stopped() error {
	switch {
	case migration.ctx.Err() != nil:
		return ended(migration.ctx)
	case migration.source.closed.Load() || migration.target.closed.Load():
		return ErrClosed
	}
	return nil
}

// Records progress and decides whether to continue. A panic of the function of the caller bypasses the library.
func (migration *migration) shouldContinue(progress MigrateProgress) (on bool) {
	defer func() { migration.panicked = recover() }()
	migration.last = progress
	if migration.stopped() != nil {
		return false
	}
	return migration.progress == nil || migration.progress(progress)
}

//export yokedGoProgress
func yokedGoProgress(handle C.uintptr_t, progress *C.yc_progress) C.int32_t {
	now := MigrateProgress{
		Examined: uint64(progress.examined),
		Copied:   uint64(progress.copied),
		Skipped:  uint64(progress.skipped),
		Failed:   uint64(progress.failed),
	}
	if progress.resume != nil {
		now.Resume = C.GoString(progress.resume)
	}
	if cgo.Handle(handle).Value().(*migration).shouldContinue(now) {
		return 0
	}
	return 1
}
