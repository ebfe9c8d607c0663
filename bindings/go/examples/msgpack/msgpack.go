// Package msgpack is an example of a codec: values as MessagePack, which is shorter than JSON and keeps bytes as they are. It
// is a module of its own, so that the binding has no dependencies.
package msgpack

import (
	"github.com/vmihailenco/msgpack/v5"
	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Codec is a codec for [yokedcache.WithCodec].
var Codec = yokedcache.NewCodec("MessagePack", msgpack.Marshal, msgpack.Unmarshal)
