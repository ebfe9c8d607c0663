package yokedcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openLeasing(t testing.TB, options string) *yokedcache.Cache {
	t.Helper()
	cache := open(t, options)
	if cache.Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("leases need a server that compares before it writes (CanCompare)")
	}
	return cache
}

func TestLoadedValuesOfAllSizes(t *testing.T) {
	cache := openLeasing(t, "")
	tags := []string{}
	for at := 0; at < 20; at++ {
		tags = append(tags, fmt.Sprint("tag", at))
	}
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8193, 100000} {
		key, value := fmt.Sprint(size), bytes.Repeat([]byte{7, 0}, size)[:size]
		found, err := cache.GetOrLease(ctx, key, yokedcache.WithTags(tags...))
		if err != nil || found.State != yokedcache.StateVacant || found.Value != nil {
			t.Fatal(size, found, err)
		}
		stored, err := found.Lease.Fill(ctx, value, yokedcache.WithTags("late"))
		found.Lease.Free()
		again, err2 := cache.GetOrLease(ctx, key, yokedcache.WithTags(tags...))
		if err != nil || err2 != nil || !stored || again.Lease != nil || again.Value == nil || !bytes.Equal(again.Value, value) {
			t.Fatal(size, stored, err, err2)
		}
	}
	check(t, cache.InvalidateTag(ctx, tags[19]))
	if _, err := cache.Get(ctx, "1"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
}

func TestMisusedLeases(t *testing.T) {
	cache := openLeasing(t, "")
	found, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(yokedcache.NoWait))
	check(t, err)
	found.Lease.Free()
	found.Lease.Free()
	for name, lease := range map[string]*yokedcache.Lease{"nil": nil, "zero": {}, "freed": found.Lease} {
		_, err := lease.Fill(ctx, nil)
		_, err2 := lease.FillAbsent(ctx)
		err3 := lease.Abandon(ctx, 0)
		for _, err := range []error{err, err2, err3} {
			if !errors.Is(err, yokedcache.ErrInvalid) {
				t.Error(name, err)
			}
		}
		lease.Free()
	}
	for name, option := range map[string]yokedcache.LoadOption{
		"nil": nil, "lease": yokedcache.WithLease(25 * time.Hour), "negative lease": yokedcache.WithLease(-1),
		"wait": yokedcache.WithWait(-time.Hour), "ttl": yokedcache.WithTTL(-time.Hour),
		"stale": yokedcache.WithStaleFor(-time.Hour), "absent": yokedcache.WithAbsentTTL(-time.Hour),
		"tag": yokedcache.WithTags(""),
	} {
		if _, err := cache.GetOrLease(ctx, "k", option); !errors.Is(err, yokedcache.ErrInvalid) {
			t.Error(name, err)
		}
	}
	again, err := cache.GetOrLease(ctx, "k")
	if err != nil || again.State != yokedcache.StateVacant {
		t.Fatal(again, err)
	}
	again.Lease.Free()
}

// A lease is free as soon as its holder frees it, also on a server, and whatever else uses it at the time.
func TestFreedLeasesAreTakenByOthers(t *testing.T) {
	cache := openLeasing(t, "")
	for at := 0; at < 50; at++ {
		within(t, func() {
			found, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(time.Minute))
			check(t, err)
			var all sync.WaitGroup
			all.Add(1)
			go func() {
				defer all.Done()
				found.Lease.Abandon(ctx, 0)
			}()
			found.Lease.Free()
			all.Wait()
		})
	}
}

// A lookup whose context is done does not take a lease with it.
func TestACancelledLookupLosesNoLease(t *testing.T) {
	cache := openLeasing(t, "")
	for at := 0; at < 200; at++ {
		key := fmt.Sprint("k", at)
		ctx, cancel := context.WithTimeout(ctx, time.Duration(at)*10*time.Microsecond)
		found, err := cache.GetOrLease(ctx, key, yokedcache.WithLease(time.Hour), yokedcache.WithWait(yokedcache.NoWait))
		cancel()
		if err == nil {
			found.Lease.Free()
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	for at := 0; at < 200; at++ {
		found, err := cache.GetOrLease(ctx, fmt.Sprint("k", at), yokedcache.WithWait(10*time.Second))
		if err != nil || found.State != yokedcache.StateVacant {
			t.Fatal(at, found, err)
		}
		found.Lease.Free()
	}
}

// Callers that wait for a key which becomes free again and again leave while they take its lease.
func TestACancelledWaitLosesNoLease(t *testing.T) {
	cache := openLeasing(t, "&lease=60s")
	var all sync.WaitGroup
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for at := 0; at < 40; at++ {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(5000+(at*977+number*331)%15000)*time.Microsecond)
				found, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(time.Minute))
				cancel()
				if err == nil {
					found.Lease.Abandon(context.Background(), 0)
					found.Lease.Free()
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		}(number)
	}
	all.Wait()
	found, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(10*time.Second))
	if err != nil || found.State != yokedcache.StateVacant {
		t.Fatal(found, err)
	}
	found.Lease.Free()
}

// A caller that waits for another's load has no thread, and ends with its context.
func TestLookupsThatWaitHaveNoThread(t *testing.T) {
	cache := openLeasing(t, "")
	held, err := cache.GetOrLease(ctx, "k", yokedcache.WithLease(time.Hour))
	check(t, err)
	defer held.Lease.Free()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := threads(t)
	var all sync.WaitGroup
	for number := 0; number < 200; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(time.Hour)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	if now := threads(t); now > before+20 {
		t.Errorf("%d threads have become %d", before, now)
	}
	within(t, func() {
		cancel()
		all.Wait()
	})
}

func TestLeasesOfAClosedCache(t *testing.T) {
	cache, err := yokedcache.Open(testURL(""))
	check(t, err)
	if cache.Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("leases need a server that compares before it writes (CanCompare)")
	}
	found, err := cache.GetOrLease(ctx, "k")
	check(t, err)
	waiting := make(chan error)
	go func() {
		_, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(time.Hour))
		waiting <- err
	}()
	time.Sleep(20 * time.Millisecond)
	cache.Shutdown(cancelledContext())
	if err := <-waiting; !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	if _, err := found.Lease.Fill(ctx, nil); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	found.Lease.Free()
}

func cancelledContext() context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
