package main

import (
	"encoding/json"
	"strconv"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Runs explain KEY FIELD: the field of that name; of a tag its status, of a lease its kind.
func runExplain(cache *yokedcache.Cache, step *statement) []token {
	why, err := cache.Explain(ctx, step.argument(0), step.option("tags")...)
	if err != nil {
		return done(err)
	}
	switch field := step.argument(1); {
	case field == "tag":
		return textOrUnknown(statusOf(why, step.option("tags")[0]))
	case field == "lease" && why.Lease == nil:
		return word("unknown")
	case field == "lease":
		return value([]byte(why.Lease.Kind))
	case field == "left_ms":
		return number(int64(why.Lease.LeftMillis))
	default:
		return member(why, field)
	}
}

func statusOf(why *yokedcache.Explanation, name string) string {
	for _, tag := range why.Tags {
		if tag.Name == name {
			return tag.Status
		}
	}
	return ""
}

func textOrUnknown(text string) []token {
	if text == "" {
		return word("unknown")
	}
	return value([]byte(text))
}

func member(why *yokedcache.Explanation, field string) []token {
	var members map[string]any
	if err := json.Unmarshal(why.JSON, &members); err != nil {
		return done(err)
	}
	switch found := members[field].(type) {
	case nil:
		return word("unknown")
	case string:
		return value([]byte(found))
	case bool:
		return hit(found, nil)
	case float64:
		return number(int64(found))
	}
	return word("not-in-the-report " + strconv.Quote(field))
}
