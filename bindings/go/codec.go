package yokedcache

import (
	"context"
	"encoding/json"
	"fmt"
)

// A Codec converts values to bytes and back. [JSON] is one, and [NewCodec] makes others. Many goroutines call the methods
// at the same time. Unmarshal may keep the bytes that it gets, but not change them. Marshal returns bytes that nothing
// changes later. An error contains the name of a codec that has a method String.
type Codec interface {
	Marshal(value any) ([]byte, error)
	Unmarshal(data []byte, into any) error
}

// JSON is the codec of package encoding/json.
var JSON = NewCodec("JSON", json.Marshal, json.Unmarshal)

// NewCodec returns a codec that consists of two functions, such as those of a package for MessagePack. Errors contain its
// name.
func NewCodec(name string, marshal func(value any) ([]byte, error), unmarshal func(data []byte, into any) error) Codec {
	return &functions{name, marshal, unmarshal}
}

type functions struct {
	name      string
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

func (codec *functions) Marshal(value any) ([]byte, error)     { return codec.marshal(value) }
func (codec *functions) Unmarshal(data []byte, into any) error { return codec.unmarshal(data, into) }
func (codec *functions) String() string                        { return codec.name }

// Encodes a loaded value. Its caller may change the value later, so the bytes are a copy.
func encode[T any](value T, codec Codec, key string) loaded {
	result := loaded{own: &value}
	if codec == nil {
		switch plain := any(value).(type) {
		case []byte:
			result.bytes = cloned(plain)
			return result
		case string:
			result.bytes = []byte(plain)
			return result
		}
		codec = JSON
	}
	text, err := codec.Marshal(value)
	if err != nil {
		return loaded{err: codecError("encode", codec, key, err)}
	}
	result.bytes = cloned(text)
	return result
}

// Decodes a value. Shared bytes are used by others now or later.
func decode[T any](data []byte, shared bool, codec Codec, key string) (T, error) {
	if codec == nil {
		var value T
		switch into := any(&value).(type) {
		case *[]byte:
			if shared {
				data = cloned(data)
			}
			*into = data
			return value, nil
		case *string:
			*into = string(data)
			return value, nil
		}
		codec = JSON
	}
	// Package encoding/json keeps none of the bytes.
	if shared && codec != JSON {
		data = cloned(data)
	}
	return decodeBy[T](data, codec, key)
}

func decodeBy[T any](data []byte, codec Codec, key string) (T, error) {
	var value T
	if err := codec.Unmarshal(data, &value); err != nil {
		return *new(T), codecError("decode", codec, key, err)
	}
	return value, nil
}

func codecError(action string, codec Codec, key string, err error) error {
	name := fmt.Sprintf("%T", codec)
	if named, ok := codec.(fmt.Stringer); ok {
		name = named.String()
	}
	return fmt.Errorf("yokedcache: cannot %s the value of key %q with the codec %s: %w", action, key, name, err)
}

// GetJSON returns the value of a key, decoded from JSON.
//
// Errors: as [Cache.Get], and the error of package encoding/json if the value does not decode to the type.
func GetJSON[T any](ctx context.Context, cache *Cache, key string, options ...GetOption) (T, error) {
	text, err := cache.Get(ctx, key, options...)
	if err != nil {
		return *new(T), err
	}
	return decodeBy[T](text, JSON, key)
}

// SetJSON stores a value, encoded as JSON, as [Cache.Set] does.
//
// Errors: as [Cache.Set], and the error of package encoding/json if the value cannot be encoded.
func SetJSON[T any](ctx context.Context, cache *Cache, key string, value T, options ...SetOption) error {
	text, err := JSON.Marshal(value)
	if err != nil {
		return codecError("encode", JSON, key, err)
	}
	return cache.Set(ctx, key, text, options...)
}
