package main

import (
	"context"
	"errors"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

var kindsOfEvents = map[string]yokedcache.EventKind{
	"tag": yokedcache.EventTag, "pattern": yokedcache.EventPattern, "flush": yokedcache.EventFlush, "delete": yokedcache.EventDelete,
	"switch": yokedcache.EventSwitch, "begin": yokedcache.EventFallbackBegin, "end": yokedcache.EventFallbackEnd, "gap": yokedcache.EventGap,
}

func (step *statement) kindsOfEvents() (kinds yokedcache.EventKind) {
	for _, name := range step.option("kinds") {
		kind := kindsOfEvents[name]
		if kind == 0 {
			stop("there is no such kind of event: " + name)
		}
		kinds |= kind
	}
	return kinds
}

func runEvents(cache *yokedcache.Cache, step *statement) []token {
	reader, err := cache.OpenEvents(ctx, yokedcache.EventFilter{
		Kinds:    step.kindsOfEvents(),
		Tags:     step.option("tags"),
		Keys:     step.option("keys"),
		Own:      step.number("own", 0) != 0,
		MaxBytes: step.number("max_bytes", 0),
	})
	if err == nil {
		run.events[step.argument(0)] = reader
	}
	return done(err)
}

func runNextEvent(_ *yokedcache.Cache, step *statement) []token {
	reader := run.events[step.argument(0)]
	if reader == nil {
		stop("no reader of events has this name")
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(step.number("wait", 10000))*time.Millisecond)
	defer cancel()
	event, err := reader.Next(limited)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return word("miss")
	case err != nil:
		return done(err)
	}
	return printedEvent(event)
}

func printedEvent(event yokedcache.Event) []token {
	parts := [][]token{word("unknown"), value([]byte(event.Name))}
	for name, kind := range kindsOfEvents {
		if kind == event.Kind {
			parts[0] = word(name)
		}
	}
	if event.IsGap() {
		parts[1] = number(event.Lost)
	}
	if event.Own {
		parts = append(parts, word("own"))
	}
	return list(parts)
}
