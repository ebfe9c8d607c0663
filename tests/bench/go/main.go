// Command bench compares the Go binding with the clients that Go programs use today: see README.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Keys that are read and written.
const entries = 10000

var (
	redisAddress     = flag.String("redis", "", "HOST:PORT of a Redis server")
	memcachedAddress = flag.String("memcached", "", "HOST:PORT of a Memcached server")
	inMemory         = flag.Bool("memory", true, "measure the memory backend")
	near             = flag.Bool("near", true, "measure the near cache, before the Redis server")
	quick            = flag.Bool("quick", false, "does it work? figures mean little")
	only             = flag.String("only", "", "workloads to measure, such as get,set-many; all without it")
	clients          = flag.String("clients", "", "contenders to measure, such as YokedCache,rueidis; all without it")
	levels           = flag.String("goroutines", "1,8,64,1024", "numbers of goroutines")
	rounds           = flag.Int("rounds", 7, "interleaved rounds")
	duration         = flag.Duration("duration", 500*time.Millisecond, "of a contender's turn in a round")
	jsonFile         = flag.String("json", "", "a file for the figures of all rounds")
)

// All rounds of a contender, for -json. A round is calls a second, the p99 in microseconds, and microseconds of CPU.
type record struct {
	Backend   string       `json:"backend"`
	Workload  string       `json:"workload"`
	Callers   int          `json:"callers"`
	Contender string       `json:"contender"`
	Rounds    [][3]float64 `json:"rounds"`
}

var records []record

func keep(backend string, contenders []*contender, workload workload, goroutines int, measured [][]measurement) {
	for at, contender := range contenders {
		one := record{"go " + backend, workload.name, goroutines, contender.name, nil}
		for round := range measured {
			mine := measured[round][at]
			one.Rounds = append(one.Rounds, [3]float64{mine.perSecond, microseconds(mine.p99), microseconds(mine.cpu)})
		}
		records = append(records, one)
	}
}

func microseconds(time time.Duration) float64 { return float64(time.Nanoseconds()) / 1000 }

// Writes what was measured so far: a run that is ended from outside leaves it.
func writeRecords() {
	if *jsonFile == "" {
		return
	}
	text, err := json.MarshalIndent(records, "", " ")
	// Ended while it writes, it leaves the file of before, and not a half.
	if err == nil {
		err = os.WriteFile(*jsonFile+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(*jsonFile+".new", *jsonFile)
	}
	if err != nil {
		panic(err)
	}
}

// One turn of a contender in a round.
type measurement struct {
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // Of this process, an operation.
}

// A workload is what each goroutine does again and again.
type workload struct {
	name string
	can  func(*contender) bool
	run  func(ctx context.Context, contender *contender, random *rand.Rand) error
	// Whether it changes entries, which removes their copies.
	changes bool
}

var keys = func() (keys []string) {
	for at := 0; at < entries; at++ {
		keys = append(keys, fmt.Sprintf("bench:%010d", at))
	}
	return keys
}()

var value = []byte(strings.Repeat("v", 100))

const many = 100

func someKeys(random *rand.Rand) []string {
	from := random.IntN(entries - many)
	return keys[from : from+many]
}

func one(*contender) bool { return true }

var workloads = []workload{
	{name: "get", can: one, run: func(ctx context.Context, contender *contender, random *rand.Rand) error {
		read, err := contender.get(ctx, keys[random.IntN(entries)])
		if err == nil && len(read) != len(value) {
			return fmt.Errorf("a value of %d bytes", len(read))
		}
		return err
	}},
	{name: "get-or-load", can: func(contender *contender) bool { return contender.getOrLoad != nil },
		run: func(ctx context.Context, contender *contender, random *rand.Rand) error {
			read, err := contender.getOrLoad(ctx, keys[random.IntN(entries)])
			if err == nil && len(read) != len(value) {
				return fmt.Errorf("a value of %d bytes", len(read))
			}
			return err
		}},
	{name: "set", can: one, changes: true, run: func(ctx context.Context, contender *contender, random *rand.Rand) error {
		return contender.set(ctx, keys[random.IntN(entries)], value)
	}},
	{name: "get-many", can: func(contender *contender) bool { return contender.getMany != nil },
		run: func(ctx context.Context, contender *contender, random *rand.Rand) error {
			hits, err := contender.getMany(ctx, someKeys(random))
			if err == nil && hits != many {
				return fmt.Errorf("%d hits", hits)
			}
			return err
		}},
	{name: "set-many", can: func(contender *contender) bool { return contender.setMany != nil }, changes: true,
		run: func(ctx context.Context, contender *contender, random *rand.Rand) error {
			return contender.setMany(ctx, someKeys(random), value)
		}},
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// One in so many operations is timed: all where they are slow.
func timedOneIn(backend string) int {
	if backend == "memory" || backend == "near" {
		return 16
	}
	return 1
}

func measure(backend string, contender *contender, workload workload, goroutines int) (measurement, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stop atomic.Bool
	var operations atomic.Int64
	var lock sync.Mutex
	var latencies []time.Duration
	var failure error
	var all sync.WaitGroup
	begun, cpu := time.Now(), cpuTime()
	for number := 0; number < goroutines; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(uint64(number), rand.Uint64()))
			count, every := 0, timedOneIn(backend)
			var own []time.Duration
			for !stop.Load() {
				timed := count%every == 0
				var from time.Time
				if timed {
					from = time.Now()
				}
				if err := workload.run(ctx, contender, random); err != nil {
					lock.Lock()
					failure = err
					lock.Unlock()
					stop.Store(true)
					break
				}
				if timed {
					own = append(own, time.Since(from))
				}
				count++
			}
			operations.Add(int64(count))
			lock.Lock()
			latencies = append(latencies, own...)
			lock.Unlock()
		}()
	}
	time.Sleep(*duration)
	stop.Store(true)
	all.Wait()
	taken, cpu := time.Since(begun), cpuTime()-cpu
	if failure != nil {
		return measurement{}, failure
	}
	slices.Sort(latencies)
	n := operations.Load()
	return measurement{float64(n) / taken.Seconds(), latencies[len(latencies)*99/100], cpu / time.Duration(n)}, nil
}

func median[T int64 | float64 | time.Duration](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// A row of a table, and YokedCache divided by each peer, round by round.
func report(contenders []*contender, measured [][]measurement) {
	for at, contender := range contenders {
		var perSecond, ratios []float64
		var p99, cpu []time.Duration
		for round := range measured {
			mine := measured[round][at]
			perSecond = append(perSecond, mine.perSecond)
			p99 = append(p99, mine.p99)
			cpu = append(cpu, mine.cpu)
			ratios = append(ratios, measured[round][0].perSecond/mine.perSecond)
		}
		ratio := fmt.Sprintf("%.2f", median(ratios))
		if at == 0 {
			ratio = ""
		}
		fmt.Printf("| %s | %.1f | %.1f | %.2f | %s |\n", contender.name, median(perSecond)/1000,
			microseconds(median(p99)), microseconds(median(cpu)), ratio)
	}
}

// The rounds of all, or the number of the contender that failed.
func interleave(backend string, able []*contender, workload workload, goroutines int) (measured [][]measurement, failed int) {
	measured = make([][]measurement, *rounds)
	for round := range measured {
		measured[round] = make([]measurement, len(able))
		for turn := range able {
			at := (turn + round) % len(able)
			figures, err := measure(backend, able[at], workload, goroutines)
			if err != nil {
				fmt.Printf("Missing: %s, %s, %s, %d goroutines: %v\n\n", able[at].name, backend, workload.name, goroutines, err)
				return nil, at
			}
			measured[round][at] = figures
		}
	}
	return measured, -1
}

func compare(backend string, contenders []*contender, workload workload, goroutines int) {
	var able []*contender
	for _, contender := range contenders {
		if workload.can(contender) {
			able = append(able, contender)
		}
	}
	fmt.Printf("\n%s, %s, %d goroutines\n\n", backend, workload.name, goroutines)
	measured, failed := interleave(backend, able, workload, goroutines)
	for failed >= 0 {
		if able[failed] == contenders[0] {
			os.Exit(1) // The ratios are those of the first one.
		}
		able = slices.Delete(able, failed, failed+1)
		measured, failed = interleave(backend, able, workload, goroutines)
	}
	fmt.Println("| | thousand/s | p99 µs | CPU µs each | YokedCache divided by it |\n|---|---|---|---|---|")
	report(able, measured)
	keep(backend, able, workload, goroutines, measured)
	writeRecords()
}

func named(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// The attempts to store a key that a contender dropped.
const attempts = 10

// Stores every key. A cache may drop sets, as ristretto does while its buffer is full: those are stored again.
func fill(contender *contender) {
	missing := keys
	for attempt := 0; len(missing) > 0; attempt++ {
		if attempt == attempts {
			fmt.Fprintf(os.Stderr, "%s: %d of %d keys are missing after %d attempts\n", contender.name, len(missing), len(keys), attempts)
			os.Exit(1)
		}
		missing = missingAfterSets(contender, missing)
	}
}

func missingAfterSets(contender *contender, keys []string) (missing []string) {
	ctx := context.Background()
	for _, key := range keys {
		if err := contender.set(ctx, key, value); err != nil {
			panic(err)
		}
	}
	if contender.settle != nil {
		contender.settle()
	}
	for _, key := range keys {
		if _, err := contender.get(ctx, key); err != nil {
			missing = append(missing, key)
		}
	}
	return missing
}

func run(backend string, workloads []workload, contenders ...*contender) {
	contenders = slices.DeleteFunc(contenders, func(one *contender) bool { return !named(*clients, one.name) })
	for _, contender := range contenders {
		fill(contender)
	}
	for _, workload := range workloads {
		for _, level := range strings.Split(*levels, ",") {
			if goroutines, err := strconv.Atoi(level); err == nil && named(*only, workload.name) {
				compare(backend, contenders, workload, goroutines)
			}
		}
	}
	for _, contender := range contenders {
		contender.close()
	}
}

func main() {
	flag.Parse()
	if *quick {
		*rounds, *duration = 3, 50*time.Millisecond
	}
	const options = "key_prefix=bench&default_ttl=1h"
	if *redisAddress != "" {
		url := "redis://" + *redisAddress + "?max_pending=10000&" + options
		run("redis", workloads, yoked(url), blockingCgo(url), goRedis(*redisAddress), rueidisClient(*redisAddress))
	}
	if *memcachedAddress != "" {
		url := "memcached://" + *memcachedAddress + "?max_pending=10000&" + options
		run("memcached", workloads, yoked(url), blockingCgo(url), goMemcache(*memcachedAddress))
	}
	if *inMemory {
		url := "memory://?max_size=20000&" + options
		run("memory", workloads, yoked(url), blockingCgo(url), ristrettoCache(), otterCache(), sturdycCache())
	}
	if *near && *redisAddress != "" {
		reads := slices.DeleteFunc(slices.Clone(workloads), func(one workload) bool { return one.changes })
		config := fmt.Sprintf(`{backend: redis, redis: {url: "redis://%s", key_prefix: bench-near, default_ttl: 1h, near: {max_staleness: 10m, max_size: 20000}}}`, *redisAddress)
		run("near", reads, yokedNear(config), yoked("memory://?max_size=20000&"+options), rueidisCached(*redisAddress))
	}
}
