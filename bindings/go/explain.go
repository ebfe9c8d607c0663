package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"
	"time"
)

// Explanation is the report of [Cache.Explain]. A member that does not apply has its zero value or is nil. Later
// versions of the library may add members to JSON.
type Explanation struct {
	// Exists reports whether [Cache.Get] returns a value.
	Exists bool `json:"exists"`
	// The state: "fresh"; "stale", past the time to live, but a loading read may return it; "absent", the cache
	// remembers that a load found nothing; or "missing".
	State string `json:"state"`
	// The reason of a miss: "not_stored", "expired", "invalidated", "absent", "leased" (a caller loads the key),
	// "held_back" (the last load failed), "damaged", "foreign" (another program wrote the bytes), "later_version"
	// (a later version of the library did) or "outdated" (on Memcached with failover: eject or discovery: config). "" if the key exists.
	Reason string `json:"reason"`
	// The state and its reason as text, which may change.
	Message string `json:"message"`

	TTLMillis   *uint64 `json:"ttl_ms"`   // The time left of a fresh value or an absence; nil if it never ends.
	StaleMillis *uint64 `json:"stale_ms"` // The time left of a stale value, or of a fresh one after its TTL.

	// The time since the entry was set, and up to two seconds more. Another time to live does not change it. It is nil
	// if the time of the set is not stored.
	AgeMillis *uint64 `json:"age_ms"`

	Version     string  `json:"version"`      // The version for [IfVersion] in decimal digits.
	ValueBytes  *uint64 `json:"value_bytes"`  // The length of the value.
	StoredBytes *uint64 `json:"stored_bytes"` // The bytes on the server, or the memory that the entry takes.

	Tags []ExplainedTag `json:"tags"`
	// The tags that Explain was asked for and that the entry does not have.
	TagsNotCarried []string        `json:"tags_not_carried"`
	Lease          *ExplainedLease `json:"lease"`

	Serving    string  `json:"serving"`     // "primary", or "fallback" if the fallback serves.
	Backend    string  `json:"backend"`     // "memory", "redis" or "memcached".
	Server     string  `json:"server"`      // The server of the key, or "memory".
	Topology   string  `json:"topology"`    // "single", "sentinel" or "cluster" on Redis.
	Slot       *uint16 `json:"slot"`        // The slot of the key in a cluster.
	StoredName string  `json:"stored_name"` // The name on the server; bytes that cannot be printed are escaped.

	// The complete report.
	JSON json.RawMessage `json:"-"`
}

// ExplainedTag is a tag of an entry. Entries contain hashes of their tags: Name is "" unless [Cache.Explain] was
// asked for it.
type ExplainedTag struct {
	Name string `json:"name"`
	Hash string `json:"hash"` // 16 hexadecimal digits, as in the stored name of the version of the tag.
	// "current", "invalidated", or "lost" if the server does not have the version of the tag any more, which
	// counts as an invalidation.
	Status string `json:"status"`
}

// ExplainedLease is the lease of a key.
type ExplainedLease struct {
	Kind       string `json:"kind"`    // "held", or "held_back" after a load that failed.
	LeftMillis uint64 `json:"left_ms"` // The time after which it ends by itself.
}

// TTL returns the remaining time to live of a fresh value or an absence, or [NoExpiry] if it never ends. It returns 0, the
// same number, if the key is missing or its value is stale: see State first.
func (explanation *Explanation) TTL() time.Duration {
	if explanation.TTLMillis == nil {
		return NoExpiry
	}
	return time.Duration(*explanation.TTLMillis) * time.Millisecond
}

// Explain reports whether a key is a hit, why, and where it is. Tags of the entry that are among tags are reported by
// name. Explain is not counted as a hit or a miss, is no use of the entry, and changes nothing.
func (cache *Cache) Explain(ctx context.Context, key string, tags ...string) (*Explanation, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	text, err := cache.queue.get(ctx, &operation{kind: C.YC_OP_EXPLAIN, key: key, tags: tags})
	if err != nil {
		return nil, err
	}
	explanation := &Explanation{JSON: text}
	return explanation, decodeReport(text, explanation)
}
