// Package grpccache caches the replies of unary methods of a gRPC server.
//
//	methods := map[string]grpccache.Method{"/shop.Users/Get": {TTL: time.Minute}}
//	server := grpc.NewServer(grpc.UnaryInterceptor(grpccache.UnaryServerInterceptor(cache, grpccache.Options{Methods: methods})))
//
// Of many calls with the same request one calls the handler, among all processes that share a store and a prefix.
package grpccache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Options selects the methods whose replies are stored.
type Options struct {
	// The methods by their full names, such as "/shop.Users/Get". Other methods pass to their handlers.
	Methods map[string]Method
	// The time for which a call waits while another one calls the handler with the same request, at most a day. The call then
	// calls the handler itself. The default is 10 seconds.
	Wait time.Duration
	// Receives the errors of the cache with the full name of the method, on the goroutine of the call. They never fail a call:
	// it calls the handler.
	OnError func(ctx context.Context, method string, err error)
}

// A Method selects how the replies of a method are stored.
type Method struct {
	// The time to live of a reply. The default, 0, is the default_ttl of the configuration.
	TTL time.Duration
	// Returns the tags of a reply, by which it can be invalidated. Nil: none.
	Tags func(request, reply proto.Message) []string
	// Returns what the reply depends on in addition to the request, such as the tenant or the user of the call. Nil: nothing.
	Varies func(ctx context.Context) string
}

// UnaryServerInterceptor returns an interceptor that stores the replies of the methods of the options in a cache. The caller
// closes the cache.
//
// The key of a reply is the method, what Varies returns, and a hash of the request. Choose methods that change nothing, and name
// in Varies whatever else their replies depend on: a reply is returned to each caller with the same key. Place interceptors that
// authorize calls before this one.
//
// An error of the handler is returned to its caller and to the calls of the process that wait for it. It is not stored. Headers
// and trailers of the handler are not stored either. The context of the handler has the values of the call's; it ends when no
// call waits for the reply.
//
// The type of a reply must be linked into the program, as generated code is.
func UnaryServerInterceptor(cache *yokedcache.Cache, options Options) grpc.UnaryServerInterceptor {
	if options.Wait == 0 {
		options.Wait = 10 * time.Second
	}
	methods := make(map[string]Method, len(options.Methods))
	for name, method := range options.Methods {
		methods[name] = method
	}
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		method, known := methods[info.FullMethod]
		message, isMessage := request.(proto.Message)
		if !known || !isMessage {
			return handler(ctx, request)
		}
		call := call{cache, &options, method, info.FullMethod, message, handler}
		return call.reply(ctx)
	}
}

type call struct {
	cache   *yokedcache.Cache
	options *Options
	method  Method
	name    string
	request proto.Message
	handler grpc.UnaryHandler
}

// A handlerError is the error of a handler. It has no Unwrap: whatever it is, the cache takes it for a failed load.
type handlerError struct{ cause error }

func (err *handlerError) Error() string { return err.cause.Error() }

// Returns the reply to a call.
func (call *call) reply(ctx context.Context) (any, error) {
	key, err := call.key(ctx)
	if err != nil {
		call.report(ctx, err)
		return call.handler(ctx, call.request)
	}
	data, err := call.cache.Get(ctx, key)
	if err != nil {
		// A load says nothing of a store that is down: the calls of the process then share it.
		if !isMiss(err) {
			call.report(ctx, err)
		}
		var own *any
		if data, own, err = call.load(ctx, key); own != nil {
			return *own, nil
		}
	}
	if failed, ok := err.(*handlerError); ok {
		return nil, failed.cause
	}
	if err == nil {
		var reply proto.Message
		if reply, err = decode(data); err == nil {
			return reply, nil
		}
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	call.report(ctx, err)
	return call.handler(ctx, call.request)
}

// Returns what the cache has after a load, and the reply if this call's handler returned one.
func (call *call) load(ctx context.Context, key string) ([]byte, *any, error) {
	// The loader may still run when this call has ended.
	var replied atomic.Pointer[any]
	data, err := yokedcache.GetOrLoad(ctx, call.cache, key, func(ctx context.Context, fill *yokedcache.Fill) ([]byte, error) {
		reply, err := call.handler(ctx, call.request)
		if err != nil {
			return nil, &handlerError{err}
		}
		replied.Store(&reply)
		message, ok := reply.(proto.Message)
		if !ok {
			return nil, fmt.Errorf("the reply is of type %T, which is no message", reply)
		}
		if call.method.Tags != nil {
			fill.Tags = call.method.Tags(call.request, message)
		}
		return encode(message)
	}, call.settings()...)
	own := replied.Load()
	if own != nil && err != nil {
		call.report(ctx, err)
	}
	return data, own, err
}

func (call *call) settings() []yokedcache.LoadOption {
	settings := []yokedcache.LoadOption{yokedcache.WithWait(call.options.Wait)}
	if call.method.TTL != 0 {
		settings = append(settings, yokedcache.WithTTL(call.method.TTL))
	}
	return settings
}

func isMiss(err error) bool {
	failed, ok := err.(*yokedcache.Error)
	return ok && failed.Code == yokedcache.CodeMiss
}

// Reports an error of the cache. It is not an error that a caller has left.
func (call *call) report(ctx context.Context, err error) {
	if ctx.Err() == nil && call.options.OnError != nil {
		call.options.OnError(ctx, call.name, fmt.Errorf("grpccache: %w", err))
	}
}

func (call *call) key(ctx context.Context) (string, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(call.request)
	if err != nil {
		return "", err
	}
	varied := ""
	if call.method.Varies != nil {
		varied = call.method.Varies(ctx)
	}
	sum := sha256.Sum256(data)
	return call.name + "\n" + varied + "\n" + hex.EncodeToString(sum[:]), nil
}

// Returns a message with the name of its type.
func encode(message proto.Message) ([]byte, error) {
	named, err := anypb.New(message)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(named)
}

func decode(data []byte) (proto.Message, error) {
	var named anypb.Any
	if err := proto.Unmarshal(data, &named); err != nil {
		return nil, err
	}
	return named.UnmarshalNew()
}
