// Command conformance runs the conformance scripts it is given over the cache that YC_TEST_URL names, with the options of
// YC_TEST_OPTIONS: see tests/conformance/README.md of the library.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// The lines before steps: options of the cache, and the conditions under which a case applies.
type conditions struct {
	options      string
	needs, lacks yokedcache.Capabilities
	wrongScheme  bool
}

type state int

const (
	stateNone state = iota
	stateFresh
	stateRunning
	statePassedBy
	stateFailed
)

// A runner is where in its files it is, and what came of the cases so far.
type runner struct {
	url, file      string
	options        string // Of all caches.
	line           int
	state          state
	ofFile, ofCase conditions
	name, prefix   string
	first          *yokedcache.Cache
	caches         map[string]*yokedcache.Cache
	versions       map[string]uint64
	leases         map[string]*yokedcache.Lease
	subscriptions  map[string]*yokedcache.Subscription
	events         map[string]*yokedcache.EventReader
	inBatch        bool
	batchCache     string

	cases, passed, failed, notApplicable int
}

var run runner

// A script that cannot be run ends the program.
func stop(why string) {
	fmt.Fprintf(os.Stderr, "%s:%d: %s\n", run.file, run.line, why)
	os.Exit(2)
}

// ---- Opening ----

func optionsOf(step *statement) string {
	text := ""
	for _, option := range step.options {
		if option.name != "suffix" {
			text += "&" + option.name + "=" + option.values[0]
		}
	}
	return text
}

func (run *runner) urlWith(suffix, options string) string {
	mark := "?"
	if strings.Contains(run.url, "?") {
		mark = "&"
	}
	return run.url + mark + "key_prefix=" + run.prefix + suffix + run.options + run.ofCase.options + options
}

func (run *runner) open(suffix, options string) (*yokedcache.Cache, error) {
	return yokedcache.Open(run.urlWith(suffix, options))
}

// Opens a further cache for a step.
func (run *runner) runOpen(step *statement) []token {
	suffix := ""
	if given := step.option("suffix"); given != nil {
		suffix = given[0]
	}
	cache, err := run.open(suffix, optionsOf(step))
	if err == nil {
		run.caches[step.argument(0)] = cache
	}
	return done(err)
}

// Opens a view of a cache for a step.
func (run *runner) runView(cache *yokedcache.Cache, step *statement) []token {
	var options yokedcache.ViewOptions
	for _, option := range step.options {
		value := option.values[0]
		switch option.name {
		case "namespace":
			options.Namespace = value
		case "default_ttl":
			ttl, err := time.ParseDuration(value)
			if err != nil {
				stop(err.Error())
			}
			options.DefaultTTL = ttl
			if ttl == 0 {
				options.DefaultTTL = -1 // Never: a field that is zero is not given.
			}
		case "tags":
			options.Tags = option.values
		case "max_age":
			age, err := time.ParseDuration(value)
			if err != nil {
				stop(err.Error())
			}
			options.MaxAge = age
		case "touch_on_get":
			options.TouchOnGet = value == "true"
		case "patterns":
			options.Patterns = value
		default:
			stop("a view has no such option")
		}
	}
	view, err := cache.View(options)
	if err == nil {
		run.caches[step.argument(0)] = view
	}
	return done(err)
}

// ---- Cases ----

func (run *runner) applies() bool {
	can := run.first.Capabilities()
	return can&run.ofCase.needs == run.ofCase.needs && can&run.ofCase.lacks == 0
}

// Opens the case's cache, at its first step.
func (run *runner) startCase() {
	run.state = stateRunning
	run.caches = map[string]*yokedcache.Cache{}
	run.versions = map[string]uint64{}
	run.leases = map[string]*yokedcache.Lease{}
	run.subscriptions = map[string]*yokedcache.Subscription{}
	run.events = map[string]*yokedcache.EventReader{}
	if run.ofCase.wrongScheme {
		run.state = statePassedBy
		return
	}
	cache, err := run.open("", "")
	if err != nil {
		fmt.Printf("FAILED %s:%d: case %s\n  its cache did not open: %v\n", run.file, run.line, run.name, err)
		run.state = stateFailed
		return
	}
	run.first = cache
	if !run.applies() {
		run.state = statePassedBy
	}
}

// Leaves nothing in a shared store.
func (run *runner) closeCaches() {
	if run.first != nil {
		run.caches[""] = run.first
	}
	for _, lease := range run.leases {
		lease.Free()
	}
	for _, subscription := range run.subscriptions {
		if err := subscription.Close(); err != nil {
			fmt.Println("the subscription did not close:", err)
		}
	}
	for _, reader := range run.events {
		if err := reader.Close(); err != nil {
			fmt.Println("the reader of events did not close:", err)
		}
	}
	for _, cache := range run.caches {
		if err := cache.Flush(ctx); err != nil && !errors.Is(err, yokedcache.ErrClosed) {
			fmt.Println("the cache was not emptied:", err)
		}
		if err := cache.Close(); err != nil {
			fmt.Println("the cache did not close:", err)
		}
	}
	run.first, run.caches = nil, nil
}

func (run *runner) endCase() {
	switch run.state {
	case stateNone:
		return
	case stateFresh:
		stop("the case above has no step")
	case stateRunning:
		run.passed++
	case stateFailed:
		run.failed++
	case statePassedBy:
		run.notApplicable++
	}
	run.cases++
	run.closeCaches()
	run.state = stateNone
}

func (run *runner) beginCase(name string) {
	run.endCase()
	run.state = stateFresh
	run.ofCase = run.ofFile
	run.name = strings.TrimRight(name, "\r\n")
	run.prefix = fmt.Sprintf("g%d.%d.%d-", os.Getpid(), run.cases, time.Now().Unix())
}

// ---- Steps ----

var capabilities = map[string]yokedcache.Capabilities{
	"list": yokedcache.CanList, "count": yokedcache.CanCount, "share": yokedcache.CanShare, "size": yokedcache.CanSize,
	"compare": yokedcache.CanCompare, "command": yokedcache.CanCommand, "publish": yokedcache.CanPublish, "near": yokedcache.CanNear,
	"events": yokedcache.CanEvents,
	// No cache of a case is a view.
	"root": 0,
}

func (run *runner) capability(name string) yokedcache.Capabilities {
	capability, ok := capabilities[name]
	if !ok {
		stop("there is no such capability: " + name)
	}
	return capability
}

// Applies a step with, needs, lacks or only. Returns false for any other step.
func (run *runner) readCondition(step *statement) bool {
	if step.operation != "with" && step.operation != "needs" && step.operation != "lacks" && step.operation != "only" {
		return false
	}
	on := &run.ofCase
	if run.state == stateNone {
		on = &run.ofFile
	} else if run.state != stateFresh {
		stop("this stands behind a step of its case")
	}
	switch step.operation {
	case "with":
		on.options += optionsOf(step)
	case "needs":
		for _, name := range step.arguments {
			on.needs |= run.capability(name)
		}
	case "lacks":
		for _, name := range step.arguments {
			on.lacks |= run.capability(name)
		}
	case "only":
		on.wrongScheme = on.wrongScheme || !run.hasScheme(step.arguments)
	}
	return true
}

func (run *runner) hasScheme(names []string) bool {
	for _, name := range names {
		if strings.HasPrefix(run.url, name+":") {
			return true
		}
	}
	return false
}

func (run *runner) check(step *statement, came []token) {
	if match(step.wanted, came) {
		return
	}
	fmt.Printf("FAILED %s:%d: case %s\n  wanted: %s\n  came:   %s\n", run.file, step.line, run.name, printed(step.wanted), printed(came))
	run.state = stateFailed
}

func (run *runner) cacheOf(step *statement) *yokedcache.Cache {
	if step.cache == "" {
		return run.first
	}
	return run.named(step.cache)
}

func (run *runner) named(name string) *yokedcache.Cache {
	cache := run.caches[name]
	if cache == nil {
		stop("no cache of this name was opened")
	}
	return cache
}

func (run *runner) runStep(step *statement) {
	switch step.operation {
	case "open":
		run.check(step, run.runOpen(step))
		return
	case "view":
		run.check(step, run.runView(run.cacheOf(step), step))
		return
	case "check_config":
		_, err := yokedcache.CheckConfig(run.urlWith("", optionsOf(step)))
		run.check(step, done(err))
		return
	}
	operation := operations[step.operation]
	if operation == nil {
		stop("there is no such operation: " + step.operation)
	}
	if came := operation(run.cacheOf(step), step); came != nil {
		run.check(step, came)
	}
}

// The binding has no batch, as goroutines that call together share a crossing: its operations are calls in their order.
func (run *runner) takeStep(step *statement, ofBatch bool) {
	if ofBatch && !run.inBatch {
		stop("no batch stands above this")
	}
	run.inBatch = ofBatch
	if ofBatch {
		step.cache = run.batchCache
	}
	if run.readCondition(step) {
		return
	}
	if run.state == stateNone {
		stop("this step belongs to no case")
	}
	if run.state == stateFresh {
		run.startCase()
	}
	if step.operation == "batch" {
		run.inBatch, run.batchCache = true, step.cache
	} else if run.state == stateRunning {
		run.runStep(step)
	}
}

func (run *runner) readLine(line string) {
	line = strings.TrimLeft(line, " \t")
	if name, ok := strings.CutPrefix(line, "case "); ok {
		run.beginCase(name)
		return
	}
	words, err := readTokens(line)
	if err != nil {
		stop(err.Error())
	}
	if len(words) == 0 {
		return
	}
	ofBatch := isMark(words, 0, "|")
	if ofBatch {
		words = words[1:]
	}
	step, err := readStatement(words, run.line)
	if err != nil {
		stop(err.Error())
	}
	run.takeStep(step, ofBatch)
}

func (run *runner) runFile(path string) {
	run.file, run.ofFile = path, conditions{}
	text, err := os.ReadFile(path)
	if err != nil {
		stop(err.Error())
	}
	for at, line := range strings.Split(string(text), "\n") {
		run.line = at + 1
		run.readLine(line)
	}
	run.endCase()
}

func main() {
	run.url = os.Getenv("YC_TEST_URL")
	if run.url == "" {
		run.url = "memory://"
	}
	if options := os.Getenv("YC_TEST_OPTIONS"); options != "" {
		run.options = "&" + options
	}
	for _, path := range os.Args[1:] {
		run.runFile(path)
	}
	fmt.Printf("conformance: %d cases, %d passed, %d failed, %d not applicable\n", run.cases, run.passed, run.failed, run.notApplicable)
	if run.failed > 0 || run.cases == 0 {
		os.Exit(1)
	}
}
