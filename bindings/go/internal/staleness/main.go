// Command staleness reads numbered values through a near cache and writes some of them, for the test of programs in
// several languages: tests/together/staleness.h describes the file that they share. staleness URL FILE PROCESS MS
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

const (
	processes, owned   = 4, 12
	keys               = processes * owned
	block, times       = 64, 63
	group, firstTagged = 3, 6
	// A key is changed up to so many times, one after the other, and then left alone.
	burst = 4
	// The number of failures that are printed.
	shown     = 5
	tableSize = (1 + processes + keys) * block * 8
)

// The counters of a process.
const (
	reads = iota
	copies
	misses
	failedReads
	writes
	failedWrites
	worst
	failures
)

var (
	words        *[tableSize / 8]uint64
	process      int
	maxStaleness uint64
	cache        *yokedcache.Cache
)

// CLOCK_MONOTONIC, which all processes share; package time does not tell it.
func now() uint64 {
	var time syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&time)), 0)
	return uint64(time.Nano())
}

func isEnding() bool { return atomic.LoadUint64(&words[0]) != 0 }

func counter(which int) *uint64 { return &words[(1+process)*block+which] }

func count(which int, more uint64) { atomic.AddUint64(counter(which), more) }

func word(key, at int) *uint64 { return &words[(1+processes+key)*block+at] }

func nameOf(key int, generation uint64) string { return fmt.Sprintf("key-%d.%d", key, generation) }

// ---- Reading ----

func checkNumber(key int, bound, began uint64, value []byte, call string) {
	number, _ := strconv.ParseUint(string(value), 10, 64)
	bound &= 1<<32 - 1
	if number >= bound {
		return
	}
	next := number + 1
	if bound-number >= times {
		next = bound - (times - 1)
	}
	since, age := atomic.LoadUint64(word(key, 1+int(next%times))), uint64(0)
	if began > since {
		age = began - since
	}
	if key/owned != process {
		for known := atomic.LoadUint64(counter(worst)); age > known; known = atomic.LoadUint64(counter(worst)) {
			if atomic.CompareAndSwapUint64(counter(worst), known, age) {
				break
			}
		}
		if age <= maxStaleness {
			return
		}
	}
	if atomic.AddUint64(counter(failures), 1) > shown {
		return
	}
	fmt.Printf("FAILED process %d: %s of key %d returned %d %.1f ms after %d was stored (now %d)\n", process, call, key, number,
		float64(age)/1e6, next, bound)
}

// Reads all keys once, and returns how many had a value.
func readKeys(call string, get func(name string) (value []byte, found bool, err error)) (found uint64) {
	for key := 0; key < keys; key++ {
		bound := atomic.LoadUint64(word(key, 0))
		name, began := nameOf(key, bound>>32), now()
		value, isThere, err := get(name)
		switch {
		case err != nil:
			count(failedReads, 1)
		case isThere:
			checkNumber(key, bound, began, value, call)
			found++
		default:
			count(misses, 1)
		}
	}
	count(reads, keys)
	return found
}

// Reads copies only, and so never waits.
func look() {
	for !isEnding() {
		count(copies, readKeys("GetNear", cache.GetNear))
		time.Sleep(200 * time.Microsecond)
	}
}

func ask() {
	for !isEnding() {
		readKeys("Get", func(name string) ([]byte, bool, error) {
			value, err := cache.Get(context.Background(), name)
			if errors.Is(err, yokedcache.ErrMiss) {
				return nil, false, nil
			}
			return value, true, err
		})
		time.Sleep(200 * time.Microsecond)
	}
}

// ---- Writing ----

var numbers, generations [keys]uint64

func tagOf(key int) string { return fmt.Sprintf("tag-%d", key/group) }

func isTagged(key int) bool { return key%owned >= firstTagged }

func hasWritten(err error) bool {
	if err != nil {
		count(failedWrites, 1)
		return false
	}
	count(writes, 1)
	return true
}

func publish(key int) {
	number := numbers[key]
	atomic.StoreUint64(word(key, 1+int(number%times)), now())
	atomic.StoreUint64(word(key, 0), generations[key]<<32|number)
}

func store(key int) {
	options := []yokedcache.SetOption{yokedcache.WithTTL(time.Hour)}
	if isTagged(key) {
		options = append(options, yokedcache.WithTags(tagOf(key)))
	}
	numbers[key]++
	value := strconv.FormatUint(numbers[key], 10)
	if !hasWritten(cache.Set(context.Background(), nameOf(key, generations[key]), []byte(value), options...)) {
		generations[key]++
	}
	publish(key)
}

func remove(key int) {
	_, err := cache.Delete(context.Background(), nameOf(key, generations[key]))
	if hasWritten(err) {
		numbers[key]++
		publish(key)
	}
	store(key)
}

// Leaves the keys without values: only the tag tells of the change.
func invalidate(key int) {
	isWritten := hasWritten(cache.InvalidateTag(context.Background(), tagOf(key)))
	first := key - key%group
	for at := first; isWritten && at < first+group; at++ {
		numbers[at]++
		publish(at)
	}
}

func change(key, kind int) {
	switch {
	case kind < 2:
		store(key)
	case kind == 2 && isTagged(key):
		invalidate(key)
	default:
		remove(key)
	}
	time.Sleep(5 * time.Millisecond)
}

func writeKeys() {
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	for !isEnding() {
		key := process*owned + random.Intn(owned)
		for left := random.Intn(burst); left >= 0; left-- {
			change(key, random.Intn(4))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func open(arguments []string) error {
	file, err := os.OpenFile(arguments[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	bytes, err := syscall.Mmap(int(file.Fd()), 0, tableSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	words = (*[tableSize / 8]uint64)(unsafe.Pointer(&bytes[0]))
	process, _ = strconv.Atoi(arguments[2])
	milliseconds, _ := strconv.ParseUint(arguments[3], 10, 64)
	maxStaleness = milliseconds * 1_000_000
	cache, err = yokedcache.Open(arguments[0])
	return err
}

func main() {
	if err := open(os.Args[1:]); err != nil {
		fmt.Println("FAILED to open:", err)
		os.Exit(1)
	}
	var readers sync.WaitGroup
	for _, read := range []func(){look, ask} {
		readers.Add(1)
		go func(read func()) {
			defer readers.Done()
			read()
		}(read)
	}
	writeKeys()
	readers.Wait()
	cache.Close()
	if atomic.LoadUint64(counter(failures)) != 0 {
		os.Exit(1)
	}
}
