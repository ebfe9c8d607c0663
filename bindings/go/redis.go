package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"unsafe"
)

// Redis runs commands of Redis on the connections of a cache. [Cache.Redis] returns one. It is safe for concurrent use.
type Redis struct {
	cache      *Cache
	idempotent bool
}

// Redis returns the commands of the server: hashes, lists, sets, sorted sets, streams and scripts. Their data lies
// outside the entries of the cache: Flush, invalidations, a switch, a migration and a fallback do not concern it, and
// the other backends have nothing like it.
func (cache *Cache) Redis() Redis {
	return Redis{cache: cache}
}

// Idempotent returns commands that the library may send again if a reply was lost. Use it only for a command that does
// the same when it runs twice.
func (redis Redis) Idempotent() Redis {
	redis.idempotent = true
	return redis
}

// A RedisKey is an argument of [Redis.Do] that is a key. The first one decides which server of a cluster runs the
// command. [Key] and [RawKey] return one.
type RedisKey struct {
	name string
	raw  bool
}

// Key returns a key under the key_prefix of the cache, apart from the keys of entries. Equal parts in braces share a
// slot of a cluster: Key("{user:1}:queue") and Key("{user:1}:log").
func Key(key string) RedisKey {
	return RedisKey{name: key}
}

// RawKey returns a key with exactly this name, such as one that another program writes.
func RawKey(name string) RedisKey {
	return RedisKey{name: name, raw: true}
}

// A ReplyKind distinguishes replies.
type ReplyKind int32

const (
	// ReplyNil is no value.
	ReplyNil ReplyKind = C.YC_REPLY_NIL
	// ReplyString is a string of any bytes.
	ReplyString ReplyKind = C.YC_REPLY_STRING
	// ReplyStatus is a short text such as OK.
	ReplyStatus ReplyKind = C.YC_REPLY_STATUS
	// ReplyInteger is a whole number.
	ReplyInteger ReplyKind = C.YC_REPLY_INTEGER
	// ReplyArray is a list of replies.
	ReplyArray ReplyKind = C.YC_REPLY_ARRAY
	// ReplyError is an error, as an element of an array. An error that is the whole reply is the error of [Redis.Do].
	ReplyError ReplyKind = C.YC_REPLY_ERROR
)

// A Reply is the reply of a server to a command.
type Reply struct {
	Kind ReplyKind
	// The bytes of a string, a status or an error.
	Text string
	// The value of an integer.
	Integer int64
	// The elements of an array.
	Elements []Reply
}

// IsNil reports whether the reply is no value.
func (reply Reply) IsNil() bool {
	return reply.Kind == ReplyNil
}

// Strings returns the text of each element of an array; "" for one that is no string.
func (reply Reply) Strings() []string {
	texts := make([]string, len(reply.Elements))
	for at := range reply.Elements {
		texts[at] = reply.Elements[at].Text
	}
	return texts
}

// Do runs a command, with the deadline of the cache (socket_timeout). The arguments are the name of the command and its
// arguments: strings, byte slices, integers, floating-point numbers, and keys ([Key], [RawKey]). The library never sends
// a command again that the server may have run, unless it is [Redis.Idempotent].
//
// Errors: [ErrInvalid] for a command that blocks (BLPOP, XREAD with BLOCK) or changes the state of a connection (SELECT,
// MULTI, SUBSCRIBE), and for an argument of another type; [ErrServer] if the server refused the command; [ErrDenied] if
// the user lacks the permission; [ErrTooLarge] for an argument, or a string of the reply, over max_value_bytes;
// [ErrTimeout] if no reply came: the command may have run; [ErrUnsupported] if the backend is not Redis, see
// [CanCommand].
func (redis Redis) Do(ctx context.Context, args ...any) (Reply, error) {
	user, err := redis.cache.enter(ctx)
	if err != nil {
		return Reply{}, err
	}
	defer user.leave()
	op := &operation{kind: C.YC_OP_REDIS_COMMAND, number: C.YC_NO_KEY}
	if redis.idempotent {
		op.flags = C.YC_OP_IDEMPOTENT
	}
	if err := redis.addArguments(op, args); err != nil {
		return Reply{}, err
	}
	call, err := redis.cache.queue.run(ctx, op)
	if err != nil {
		return Reply{}, err
	}
	defer call.release()
	return takeReply((*C.yc_reply)(call.handle)), nil
}

func (redis Redis) addArguments(op *operation, args []any) error {
	for at, arg := range args {
		text, err := redis.argument(arg)
		if err != nil {
			return err
		}
		if _, isKey := arg.(RedisKey); isKey && op.number == C.YC_NO_KEY {
			op.number = C.int64_t(at)
		}
		op.tags = append(op.tags, text)
	}
	return nil
}

func (redis Redis) argument(arg any) (string, error) {
	switch arg := arg.(type) {
	case string:
		return arg, nil
	case []byte:
		return string(arg), nil
	case RedisKey:
		if arg.raw {
			return arg.name, nil
		}
		return redis.nameOf(arg.name)
	case int:
		return strconv.Itoa(arg), nil
	case int32:
		return strconv.FormatInt(int64(arg), 10), nil
	case int64:
		return strconv.FormatInt(arg, 10), nil
	case uint32:
		return strconv.FormatUint(uint64(arg), 10), nil
	case uint64:
		return strconv.FormatUint(arg, 10), nil
	case float64:
		return strconv.FormatFloat(arg, 'g', -1, 64), nil
	}
	return "", invalid("an argument of a command has the type %T: use a string, []byte, int, int64, uint64, float64 or Key", arg)
}

func (redis Redis) nameOf(key string) (string, error) {
	var name *C.yc_value
	var described *C.yc_error
	status := C.yoked_go_redis_name(redis.cache.handle, bytesOf(key), C.size_t(len(key)), &name, &described)
	if status != C.YC_OK {
		return "", failure(status, described)
	}
	return string(takeValue(name)), nil
}

// Copies a reply and releases it.
func takeReply(handle *C.yc_reply) Reply {
	defer C.yc_reply_free(handle)
	block := make([]byte, int(C.yoked_go_reply_size(handle)))
	C.yoked_go_reply_write(handle, (*C.uint8_t)(&block[0]))
	reply, _ := readReply(block)
	return reply
}

// Reads a reply as yoked_go_reply_write() writes it. Returns the rest of the block.
func readReply(block []byte) (Reply, []byte) {
	const header = int(unsafe.Sizeof(C.yoked_go_reply{}))
	reply := Reply{Kind: ReplyKind(binary.NativeEndian.Uint64(block))}
	number := int64(binary.NativeEndian.Uint64(block[8:]))
	rest := block[header:]
	switch reply.Kind {
	case ReplyInteger:
		reply.Integer = number
	case ReplyArray:
		reply.Elements = make([]Reply, number)
		for at := range reply.Elements {
			reply.Elements[at], rest = readReply(rest)
		}
	default:
		reply.Text, rest = string(rest[:number]), rest[number:]
	}
	return reply, rest
}

// Err returns the error of an element of an array, nil for another reply.
func (reply Reply) Err() error {
	if reply.Kind != ReplyError {
		return nil
	}
	return errors.New(reply.Text)
}
