package yokedcache

// #include <stdlib.h>
// #include "log.h"
import "C"

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// LevelTrace is the level of the lines that the library writes with YC_LOG_TRACE. It is below [slog.LevelDebug].
const LevelTrace slog.Level = slog.LevelDebug - 4

// A LogOption is an optional property of [SetLogger]. [WithLogLevel] returns one.
type LogOption interface {
	setLogOption(*logSink)
}

type logLevel slog.Level

func (level logLevel) setLogOption(sink *logSink) { sink.level = slog.Level(level) }

// WithLogLevel sets the lowest level of the lines that a logger gets. The default is [slog.LevelInfo]. The lowest level
// of the library is [LevelTrace]. The handler of the logger may have a higher level of its own.
func WithLogLevel(level slog.Level) LogOption {
	return logLevel(level)
}

// SetLogger sets the logger of the library, for all caches of the process, in place of the previous one. A nil logger ends
// logging. Without SetLogger the library writes no lines. The guide's page reports.md lists the lines of each level. No
// line contains a key, a value or a password.
//
// A record has the message and the time of its line, and no source. Levels are those of slog; see also [LevelTrace].
//
// One goroutine calls the handler of the logger, for one line after the other. The library does not wait for it: a handler
// that blocks stalls no call of a cache. Up to 1024 lines wait for it. Lines beyond that are dropped, and the next record
// has their number as the attribute "dropped".
//
// SetLogger returns when the previous logger has got the lines that were written before, and its handler is not called any
// more. If the handler blocks, so does SetLogger. A handler may use caches and call SetLogger. What it calls on the
// goroutine that runs it writes no lines, and SetLogger does not wait there: lines that are left for the previous logger
// are dropped. A handler that panics ends the program, as on any goroutine of it.
//
// Errors: [ErrABIMismatch] for a library of another release.
func SetLogger(logger *slog.Logger, options ...LogOption) error {
	var described *C.yc_error
	if status := C.yc_check_abi(C.YC_VERSION_NUMBER, &described); status != C.YC_OK {
		return failure(status, described)
	}
	previous, err := replaceSink(newSink(logger, options))
	if err != nil || previous == nil {
		return err
	}
	if C.yoked_go_is_handling() {
		C.yoked_go_log_discard(previous.log)
		close(previous.left)
	} else {
		close(previous.left)
		<-previous.ended
	}
	return nil
}

// The sink that the library writes to; nil without a logger.
var (
	sinkLock    sync.Mutex
	currentSink *logSink
)

// Sets the sink of the library, which is nil for none, and returns the previous one.
func replaceSink(sink *logSink) (previous *logSink, err error) {
	sinkLock.Lock()
	defer sinkLock.Unlock()
	var log *C.yoked_go_log
	level := C.int32_t(C.YC_LOG_OFF)
	if sink != nil {
		log, level = sink.log, libraryLevel(sink.level)
	}
	var described *C.yc_error
	if status := C.yoked_go_set_log(level, log, &described); status != C.YC_OK {
		if sink != nil {
			C.yoked_go_log_free(log)
		}
		return nil, failure(status, described)
	}
	if sink != nil {
		go sink.run()
	}
	previous, currentSink = currentSink, sink
	return previous, nil
}

// ---- The lines of one logger ----

// A logSink passes lines of the library to the handler of a logger.
type logSink struct {
	handler slog.Handler
	level   slog.Level
	log     *C.yoked_go_log
	// The number of dropped lines that no record has told.
	dropped uint64
	// Closed when SetLogger does not use the log any more.
	left chan struct{}
	// Closed after the last call of the handler.
	ended chan struct{}
}

// Returns nil without a logger.
func newSink(logger *slog.Logger, options []LogOption) *logSink {
	if logger == nil {
		return nil
	}
	sink := &logSink{handler: logger.Handler(), left: make(chan struct{}), ended: make(chan struct{})}
	for _, option := range options {
		if option != nil {
			option.setLogOption(sink)
		}
	}
	if sink.log = C.yoked_go_log_new(); sink.log == nil {
		panic("yokedcache: out of memory")
	}
	return sink
}

// Passes lines until the library writes no more of them.
func (sink *logSink) run() {
	// The thread, not the goroutine, is known where the library writes a line: it has no other goroutine.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var line C.yoked_go_line
	finished := false
	defer func() {
		if !finished {
			// The handler has ended this goroutine with runtime.Goexit.
			C.yoked_go_set_handling(false)
			go sink.run()
		}
	}()
	for C.yoked_go_log_next(sink.log, &line) {
		sink.pass(&line)
	}
	finished = true
	close(sink.ended)
	<-sink.left
	C.yoked_go_log_free(sink.log)
}

func (sink *logSink) pass(line *C.yoked_go_line) {
	text := C.GoStringN(line.text, C.int(line.len))
	C.free(unsafe.Pointer(line.text))
	record := slog.NewRecord(time.Unix(int64(line.seconds), int64(line.nanoseconds)), slogLevel(line.level), text, 0)
	sink.dropped += uint64(line.dropped)
	C.yoked_go_set_handling(true)
	if ctx := context.Background(); record.Level >= sink.level && sink.handler.Enabled(ctx, record.Level) {
		if sink.dropped > 0 {
			record.AddAttrs(slog.Uint64("dropped", sink.dropped))
			sink.dropped = 0
		}
		sink.handler.Handle(ctx, record)
	}
	C.yoked_go_set_handling(false)
}

// ---- Levels ----

func slogLevel(level C.int32_t) slog.Level {
	switch level {
	case C.YC_LOG_ERROR:
		return slog.LevelError
	case C.YC_LOG_WARN:
		return slog.LevelWarn
	case C.YC_LOG_INFO:
		return slog.LevelInfo
	case C.YC_LOG_DEBUG:
		return slog.LevelDebug
	}
	return LevelTrace
}

// Returns the level of the library that contains all lines of a level and above.
func libraryLevel(level slog.Level) C.int32_t {
	switch {
	case level > slog.LevelWarn:
		return C.YC_LOG_ERROR
	case level > slog.LevelInfo:
		return C.YC_LOG_WARN
	case level > slog.LevelDebug:
		return C.YC_LOG_INFO
	case level > LevelTrace:
		return C.YC_LOG_DEBUG
	}
	return C.YC_LOG_TRACE
}
