package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

var ctx = context.Background()

// ---- Results as tokens ----

func word(text string) []token          { return []token{{bare, text}} }
func value(text []byte) []token         { return []token{{quoted, string(text)}} }
func number[N int64 | int](n N) []token { return word(strconv.FormatInt(int64(n), 10)) }

// Returns the result of a call without a value.
func done(err error) []token {
	var failed *yokedcache.Error
	switch {
	case err == nil:
		return word("ok")
	case errors.Is(err, yokedcache.ErrMiss):
		return word("miss")
	case errors.As(err, &failed) && failed.Message != "":
		return append(word("error"), word(failed.Code.String())...)
	}
	return word("an-error-of-another-type:" + err.Error())
}

func hit(was bool, err error) []token {
	if err == nil && !was {
		return word("miss")
	}
	return done(err)
}

func valueOr(text []byte, err error) []token {
	if err == nil {
		return value(text)
	}
	return done(err)
}

func list(items [][]token) []token {
	all := []token{{mark, "["}}
	for _, item := range items {
		all = append(all, item...)
	}
	return append(all, token{mark, "]"})
}

// ---- Arguments of steps ----

func (step *statement) argument(at int) string {
	if at >= len(step.arguments) {
		stop("an argument is missing")
	}
	return step.arguments[at]
}

func readTTL(text string) time.Duration {
	switch text {
	case "default":
		return yokedcache.DefaultTTL
	case "never":
		return yokedcache.NoExpiry
	}
	millis, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		stop("not a time to live: " + text)
	}
	switch {
	case millis == -1:
		return yokedcache.DefaultTTL
	case millis > math.MaxInt64/int64(time.Millisecond):
		return math.MaxInt64
	case millis < 0:
		return -time.Millisecond
	}
	return time.Duration(millis) * time.Millisecond
}

func (step *statement) settings() (options []yokedcache.SetOption) {
	if ttl := step.option("ttl"); ttl != nil {
		options = append(options, yokedcache.WithTTL(readTTL(ttl[0])))
	}
	if tags := step.option("tags"); tags != nil {
		options = append(options, yokedcache.WithTags(tags...))
	}
	return options
}

func (step *statement) number(name string, otherwise int) int {
	text := step.option(name)
	if text == nil {
		return otherwise
	}
	number, err := strconv.Atoi(text[0])
	if err != nil {
		stop("not a number: " + text[0])
	}
	return number
}

// ---- Operations ----

// nil: the binding has nothing to answer.
type operation func(cache *yokedcache.Cache, step *statement) []token

var operations map[string]operation

func init() {
	operations = map[string]operation{
		"get":      runGet,
		"get_near": runGetNear,
		"get_into": runGetInto,
		"set": func(cache *yokedcache.Cache, step *statement) []token {
			return done(cache.Set(ctx, step.argument(0), []byte(step.argument(1)), step.settings()...))
		},
		"delete": func(cache *yokedcache.Cache, step *statement) []token {
			return hit(cache.Delete(ctx, step.argument(0)))
		},
		"exists": func(cache *yokedcache.Cache, step *statement) []token {
			return hit(cache.Exists(ctx, step.argument(0)))
		},
		"expire": func(cache *yokedcache.Cache, step *statement) []token {
			return hit(cache.Expire(ctx, step.argument(0), readTTL(step.argument(1))))
		},
		"ttl":           runTTL,
		"get_info":      runGetInfo,
		"get_versioned": runGetVersioned,
		"set_if":        runSetIf,
		"delete_if":     runDeleteIf,
		"get_and_expire": func(cache *yokedcache.Cache, step *statement) []token {
			return valueOr(cache.GetAndExpire(ctx, step.argument(0), readTTL(step.argument(1))))
		},
		"counter_add":        runCounterAdd,
		"redis":              runRedis,
		"publish":            runPublish,
		"subscribe":          runSubscribe,
		"next":               runNext,
		"unsubscribe":        runUnsubscribe,
		"events":             runEvents,
		"next_event":         runNextEvent,
		"invalidate_tag":     runInvalidateTags,
		"invalidate_tags":    runInvalidateTags,
		"invalidate_pattern": runInvalidatePattern,
		"clear":              runClear,
		"flush":              runFlush,
		"keys":               runKeys,
		"search":             runSearch,
		"get_many":           runGetMany,
		"set_many":           runSetMany,
		"delete_many":        runDeleteMany,
		"get_or_lease":       runGetOrLease,
		"fill":               runFill,
		"fill_absent":        runFillAbsent,
		"abandon":            runAbandon,
		"free":               runFree,
		"size":               runSize,
		"stats":              runStats,
		"health":             runHealth,
		"explain":            runExplain,
		"metrics":            runMetrics,
		"ping": func(cache *yokedcache.Cache, _ *statement) []token {
			return done(cache.Ping(ctx))
		},
		"close": func(cache *yokedcache.Cache, _ *statement) []token {
			return done(cache.Close())
		},
		"sleep":   runSleep,
		"switch":  runSwitch,
		"migrate": runMigrate,
	}
}

func runGet(cache *yokedcache.Cache, step *statement) []token {
	var options []yokedcache.GetOption
	if step.option("fresh") != nil {
		options = append(options, yokedcache.WithFresh())
	}
	return valueOr(cache.Get(ctx, step.argument(0), options...))
}

// With "wait" the key is read until its value is in the memory of this process, for so long at most.
func runGetNear(cache *yokedcache.Cache, step *statement) []token {
	end := time.Now().Add(time.Duration(step.number("wait", 0)) * time.Millisecond)
	for {
		text, found, err := cache.GetNear(step.argument(0))
		if found || err != nil {
			return valueOr(text, err)
		}
		if !time.Now().Before(end) {
			return word("miss")
		}
		if _, err := cache.Get(ctx, step.argument(0)); err != nil && !errors.Is(err, yokedcache.ErrMiss) {
			return done(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Go has no buffers to read into.
func runGetInto(cache *yokedcache.Cache, step *statement) []token {
	if step.option("cap") != nil {
		return nil
	}
	return valueOr(cache.Get(ctx, step.argument(0)))
}

func runTTL(cache *yokedcache.Cache, step *statement) []token {
	left, err := cache.TTL(ctx, step.argument(0))
	switch {
	case err != nil:
		return done(err)
	case left == yokedcache.NoExpiry:
		return number(-1)
	}
	return number(left.Milliseconds())
}

// Remembers a version under the name that the step gives it.
func (step *statement) remember(version uint64) {
	if name := step.option("as"); name != nil {
		run.versions[name[0]] = version
	}
}

// Returns the version that a step names, or has in digits.
func readVersion(name string) uint64 {
	if version, ok := run.versions[name]; ok {
		return version
	}
	version, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		stop("no version of this name is known: " + name)
	}
	return version
}

func (step *statement) ifOption() string {
	condition := step.option("if")
	if condition == nil {
		stop("the step has no condition")
	}
	return condition[0]
}

func (step *statement) condition() yokedcache.Condition {
	switch name := step.ifOption(); name {
	case "absent":
		return yokedcache.IfAbsent()
	case "present":
		return yokedcache.IfPresent()
	default:
		return yokedcache.IfVersion(readVersion(name))
	}
}

func runGetInfo(cache *yokedcache.Cache, step *statement) []token {
	var options []yokedcache.InfoOption
	if step.option("max_age") != nil {
		options = append(options, yokedcache.WithMaxAge(time.Duration(step.number("max_age", 0))*time.Millisecond))
	}
	info, err := cache.GetInfo(ctx, step.argument(0), options...)
	if err != nil {
		return done(err)
	}
	step.remember(info.Version)
	age, left := "unknown", "-1"
	if info.Age != yokedcache.AgeUnknown {
		age = strconv.FormatInt(info.Age.Milliseconds(), 10)
	}
	if info.TTL != yokedcache.NoExpiry {
		left = strconv.FormatInt(info.TTL.Milliseconds(), 10)
	}
	found := [][]token{value(info.Value), word(age), word(left), word(strconv.Itoa(info.TagCount))}
	for _, tag := range info.Tags {
		found = append(found, value([]byte(tag)))
	}
	return list(found)
}

func runGetVersioned(cache *yokedcache.Cache, step *statement) []token {
	text, version, err := cache.GetVersioned(ctx, step.argument(0))
	if err == nil {
		step.remember(version)
	}
	return valueOr(text, err)
}

func runSetIf(cache *yokedcache.Cache, step *statement) []token {
	stored, version, err := cache.SetIf(ctx, step.argument(0), []byte(step.argument(1)), step.condition(), step.settings()...)
	if err == nil && !stored {
		return word("unmet")
	}
	if stored {
		step.remember(version)
	}
	return done(err)
}

// The binding reports unmet and miss alike. Exists tells which: nothing else uses the key meanwhile.
func runDeleteIf(cache *yokedcache.Cache, step *statement) []token {
	deleted, err := cache.DeleteIf(ctx, step.argument(0), readVersion(step.ifOption()))
	if err != nil || deleted {
		return done(err)
	}
	there, err := cache.Exists(ctx, step.argument(0))
	if there && err == nil {
		return word("unmet")
	}
	return hit(there, err)
}

// Returns the options of a step on a lease. The runner's default is not to wait.
func (step *statement) loadOptions() (options []yokedcache.LoadOption) {
	for _, option := range step.settings() {
		options = append(options, option)
	}
	if lease := step.option("lease"); lease != nil {
		options = append(options, yokedcache.WithLease(readMillis(lease[0])))
	}
	wait := yokedcache.NoWait
	if given := step.option("wait"); given != nil {
		wait = readMillis(given[0])
	}
	options = append(options, yokedcache.WithWait(wait))
	if stale := step.option("stale"); stale != nil {
		options = append(options, yokedcache.WithStaleFor(readMillis(stale[0])))
	}
	return options
}

func readMillis(text string) time.Duration {
	return time.Duration(readInt64(text)) * time.Millisecond
}

func runGetOrLease(cache *yokedcache.Cache, step *statement) []token {
	found, err := cache.GetOrLease(ctx, step.argument(0), step.loadOptions()...)
	if err != nil {
		return done(err)
	}
	if found.Lease != nil {
		name := step.argument(0)
		if given := step.option("as"); given != nil {
			name = given[0]
		}
		run.leases[name].Free()
		run.leases[name] = found.Lease
	}
	return lookup(found)
}

func lookup(found yokedcache.Lookup) []token {
	switch {
	case found.State == yokedcache.StateAbsent:
		return word("absent")
	case found.State == yokedcache.StateVacant:
		return word("leased")
	case found.State == yokedcache.StateFresh && found.Lease == nil:
		return value(found.Value)
	}
	words := [][]token{value(found.Value)}
	if found.State == yokedcache.StateStale {
		words = append(words, word("stale"))
	}
	if found.Lease != nil {
		words = append(words, word("leased"))
	}
	return list(words)
}

func (step *statement) lease() *yokedcache.Lease {
	lease := run.leases[step.argument(0)]
	if lease == nil {
		stop("no lease has this name")
	}
	return lease
}

func filled(stored bool, err error) []token {
	if err == nil && !stored {
		return word("superseded")
	}
	return done(err)
}

func runFill(_ *yokedcache.Cache, step *statement) []token {
	return filled(step.lease().Fill(ctx, []byte(step.argument(1)), step.loadOptions()...))
}

func runFillAbsent(_ *yokedcache.Cache, step *statement) []token {
	options := step.loadOptions()
	if ttl := step.option("ttl"); ttl != nil {
		options = append(options, yokedcache.WithAbsentTTL(readTTL(ttl[0])))
	}
	return filled(step.lease().FillAbsent(ctx, options...))
}

func runAbandon(_ *yokedcache.Cache, step *statement) []token {
	return done(step.lease().Abandon(ctx, time.Duration(step.number("retry", 0))*time.Millisecond))
}

func runFree(_ *yokedcache.Cache, step *statement) []token {
	step.lease().Free()
	return word("ok")
}

func readInt64(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		stop("not a number: " + text)
	}
	return number
}

func runCounterAdd(cache *yokedcache.Cache, step *statement) []token {
	var options []yokedcache.CounterOption
	if ttl := step.option("ttl"); ttl != nil {
		options = append(options, yokedcache.WithTTL(readTTL(ttl[0])))
	}
	if initial := step.option("initial"); initial != nil {
		options = append(options, yokedcache.WithInitial(readInt64(initial[0])))
	}
	sum, err := cache.CounterAdd(ctx, step.argument(0), readInt64(step.argument(1)), options...)
	if err != nil {
		return done(err)
	}
	return number(sum)
}

func runRedis(cache *yokedcache.Cache, step *statement) []token {
	key := step.number("key", -1)
	args := make([]any, len(step.arguments))
	for at, text := range step.arguments {
		args[at] = text
	}
	if key >= len(args) || key == 0 || key < -1 {
		return nil // Keys are marked in this binding: it has no index that could be wrong.
	}
	if key > 0 {
		args[key] = yokedcache.Key(step.argument(key))
	}
	reply, err := cache.Redis().Do(ctx, args...)
	if err != nil {
		return done(err)
	}
	return replied(reply)
}

func replied(reply yokedcache.Reply) []token {
	switch reply.Kind {
	case yokedcache.ReplyNil:
		return word("miss")
	case yokedcache.ReplyInteger:
		return number(reply.Integer)
	case yokedcache.ReplyArray:
		items := make([][]token, len(reply.Elements))
		for at, element := range reply.Elements {
			items[at] = replied(element)
		}
		return list(items)
	}
	return value([]byte(reply.Text))
}

func counted(count yokedcache.Count, err error) []token {
	if err != nil {
		return done(err)
	}
	return word(count.String())
}

func runInvalidateTags(cache *yokedcache.Cache, step *statement) []token {
	if step.option("dry_run") != nil {
		return counted(cache.DryRunInvalidateTags(ctx, step.arguments...))
	}
	if !step.wantsOK() {
		return counted(cache.CountInvalidateTags(ctx, step.arguments...))
	}
	if step.operation == "invalidate_tag" {
		return done(cache.InvalidateTag(ctx, step.argument(0)))
	}
	return done(cache.InvalidateTags(ctx, step.arguments...))
}

func runInvalidatePattern(cache *yokedcache.Cache, step *statement) []token {
	if step.option("dry_run") != nil {
		return counted(cache.DryRunInvalidatePattern(ctx, step.argument(0)))
	}
	count, err := cache.InvalidatePattern(ctx, step.argument(0))
	if step.wantsOK() {
		return done(err)
	}
	return counted(count, err)
}

func runClear(cache *yokedcache.Cache, step *statement) []token {
	if step.option("dry_run") != nil {
		return counted(cache.DryRunClear(ctx))
	}
	if step.wantsOK() {
		return done(cache.Clear(ctx))
	}
	return counted(cache.CountClear(ctx))
}

func runFlush(cache *yokedcache.Cache, step *statement) []token {
	if step.option("dry_run") != nil {
		return counted(cache.DryRunFlush(ctx))
	}
	if step.wantsOK() {
		return done(cache.Flush(ctx))
	}
	return counted(cache.CountFlush(ctx))
}

func runKeys(cache *yokedcache.Cache, step *statement) []token {
	keys := cache.Keys(ctx, step.argument(0), yokedcache.WithAnyTag(step.option("tags")...)).PageSize(step.number("page", 0))
	defer keys.Close()
	var found []string
	for keys.Next() {
		found = append(found, keys.Key())
	}
	if keys.Err() != nil {
		return done(keys.Err())
	}
	sort.Strings(found)
	var items [][]token
	for _, key := range found {
		items = append(items, value([]byte(key)))
	}
	return list(items)
}

func runSearch(cache *yokedcache.Cache, step *statement) []token {
	var options []yokedcache.SearchOption
	if threshold := step.option("threshold"); threshold != nil {
		score, err := strconv.ParseFloat(threshold[0], 64)
		if err != nil {
			stop("not a threshold: " + threshold[0])
		}
		options = append(options, yokedcache.WithThreshold(score))
	}
	if step.option("limit") != nil {
		options = append(options, yokedcache.WithLimit(step.number("limit", 0)))
	}
	if tags := step.option("tags"); tags != nil {
		options = append(options, yokedcache.WithAnyTag(tags...))
	}
	matches, err := cache.Search(ctx, step.argument(0), options...)
	if err != nil {
		return done(err)
	}
	var items [][]token
	for _, match := range matches {
		score := strconv.FormatFloat(match.Score, 'f', 4, 64)
		items = append(items, []token{{quoted, match.Key}, {mark, "@"}, {bare, score}})
	}
	return list(items)
}

func runGetMany(cache *yokedcache.Cache, step *statement) []token {
	results, err := cache.GetMany(ctx, step.arguments)
	if err != nil {
		return done(err)
	}
	var items [][]token
	for _, result := range results {
		items = append(items, valueOr(result.Value, result.Err))
	}
	return list(items)
}

func runSetMany(cache *yokedcache.Cache, step *statement) []token {
	var entries []yokedcache.Entry
	for at := 0; at < len(step.arguments); at += 2 {
		entries = append(entries, yokedcache.Entry{Key: step.argument(at), Value: []byte(step.argument(at + 1))})
	}
	_, err := cache.SetMany(ctx, entries, step.settings()...)
	return done(err)
}

func runDeleteMany(cache *yokedcache.Cache, step *statement) []token {
	deleted, err := cache.DeleteMany(ctx, step.arguments)
	if err != nil {
		return done(err)
	}
	var items [][]token
	for _, was := range deleted {
		items = append(items, hit(was, nil))
	}
	return list(items)
}

func runSize(cache *yokedcache.Cache, _ *statement) []token {
	stats, err := cache.Stats(ctx)
	if err != nil {
		return done(err)
	}
	if stats.Keys == nil {
		return word("unknown")
	}
	return number(int64(*stats.Keys))
}

func runStats(cache *yokedcache.Cache, step *statement) []token {
	stats, err := cache.Stats(ctx)
	if err != nil {
		return done(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(stats.JSON, &members); err != nil {
		return done(err)
	}
	if string(members[step.argument(0)]) == "null" {
		return word("unknown")
	}
	return word(string(members[step.argument(0)]))
}

// The whole part of the first sample of a family.
func runMetrics(cache *yokedcache.Cache, step *statement) []token {
	text, err := cache.Metrics(ctx)
	if err != nil {
		return done(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, step.argument(0)+"{") {
			whole, _, _ := strings.Cut(line[strings.LastIndex(line, " ")+1:], ".")
			return word(whole)
		}
	}
	return word("not-in-the-metrics")
}

func runHealth(cache *yokedcache.Cache, _ *statement) []token {
	health, err := cache.Health(ctx)
	if err != nil {
		return done(err)
	}
	return value([]byte(health.Status))
}

func runSleep(_ *yokedcache.Cache, step *statement) []token {
	millis, err := strconv.Atoi(step.argument(0))
	if err != nil {
		stop("no number of milliseconds: " + step.argument(0))
	}
	time.Sleep(time.Duration(millis) * time.Millisecond)
	return word("ok")
}

func runSwitch(cache *yokedcache.Cache, step *statement) []token {
	copies := len(step.arguments) > 1 && step.arguments[1] == "copy"
	_, err := cache.Switch(ctx, step.argument(0), yokedcache.SwitchOptions{Copy: copies})
	return done(err)
}

func runMigrate(cache *yokedcache.Cache, step *statement) []token {
	report, err := cache.MigrateTo(ctx, run.named(step.argument(0)), yokedcache.MigrateOptions{})
	if err != nil {
		return done(err)
	}
	return number(int64(report.Copied))
}
