package main

import (
	"context"
	"errors"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func runPublish(cache *yokedcache.Cache, step *statement) []token {
	receivers, err := cache.Publish(ctx, step.argument(0), []byte(step.argument(1)))
	if err != nil || step.wantsOK() {
		return done(err)
	}
	return number(receivers)
}

func runSubscribe(cache *yokedcache.Cache, step *statement) []token {
	filter := yokedcache.Filter{
		Channels: step.option("channels"),
		Patterns: step.option("patterns"),
		MaxBytes: step.number("max_bytes", 0),
	}
	subscription, err := cache.Subscribe(ctx, filter)
	if err == nil {
		run.subscriptions[step.argument(0)] = subscription
	}
	return done(err)
}

func (step *statement) subscription() *yokedcache.Subscription {
	subscription := run.subscriptions[step.argument(0)]
	if subscription == nil {
		stop("no subscription has this name")
	}
	return subscription
}

func runNext(_ *yokedcache.Cache, step *statement) []token {
	wait := time.Duration(step.number("wait", 10000)) * time.Millisecond
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	message, err := step.subscription().Next(limited)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return word("miss")
	case err != nil:
		return done(err)
	case message.IsGap():
		return list([][]token{word("lost"), number(message.Lost)})
	}
	return list([][]token{word(message.Channel), value(message.Data)})
}

func runUnsubscribe(_ *yokedcache.Cache, step *statement) []token {
	err := step.subscription().Close()
	delete(run.subscriptions, step.argument(0))
	return done(err)
}
