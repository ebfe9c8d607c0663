package grpccache_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	grpccache "github.com/yokedcache/yokedcache-go/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

var ctx = context.Background()

const check = "/grpc.health.v1.Health/Check"

func open(t testing.TB, prefix string) *yokedcache.Cache {
	t.Helper()
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	cache, err := yokedcache.Open(fmt.Sprintf("%s%skey_prefix=grpc%d.%s", url, mark, os.Getpid(), prefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// A service of the package grpc, which needs no generated code here.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
	calls atomic.Int64
	check func(ctx context.Context, name string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error)
}

func (service *service) Check(ctx context.Context, request *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	service.calls.Add(1)
	status, err := service.check(ctx, request.Service)
	if err != nil {
		return nil, err
	}
	return &grpc_health_v1.HealthCheckResponse{Status: status}, nil
}

// Starts a server with the interceptor, and returns a client of it.
func serve(t testing.TB, cache *yokedcache.Cache, options grpccache.Options, service *service) grpc_health_v1.HealthClient {
	t.Helper()
	if options.OnError == nil {
		options.OnError = func(_ context.Context, method string, err error) { t.Error(method, err) }
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpccache.UnaryServerInterceptor(cache, options)))
	grpc_health_v1.RegisterHealthServer(server, service)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return grpc_health_v1.NewHealthClient(connection)
}

func only(method grpccache.Method) grpccache.Options {
	return grpccache.Options{Methods: map[string]grpccache.Method{check: method}}
}

func ask(t testing.TB, client grpc_health_v1.HealthClient, ctx context.Context, name string) int {
	t.Helper()
	reply, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
	if err != nil {
		t.Error(err)
		return -1
	}
	return int(reply.Status)
}

func TestHitsAndTags(t *testing.T) {
	cache := open(t, "hits")
	service := &service{}
	service.check = func(_ context.Context, name string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		return grpc_health_v1.HealthCheckResponse_ServingStatus(len(name)), nil
	}
	tags := func(request, reply proto.Message) []string {
		return []string{request.(*grpc_health_v1.HealthCheckRequest).Service, fmt.Sprint(int(reply.(*grpc_health_v1.HealthCheckResponse).Status))}
	}
	client := serve(t, cache, only(grpccache.Method{TTL: time.Minute, Tags: tags}), service)
	calls := func(wanted int64) {
		t.Helper()
		for _, name := range []string{"a", "bb", "bb", "a"} {
			if status := ask(t, client, ctx, name); status != len(name) {
				t.Error(name, status)
			}
		}
		if service.calls.Load() != wanted {
			t.Error(service.calls.Load(), "calls, not", wanted)
		}
	}
	calls(2)
	for at, tag := range []string{"a", "2"} {
		if err := cache.InvalidateTag(ctx, tag); err != nil {
			t.Fatal(err)
		}
		calls(int64(3 + at))
	}
}

func TestTimeToLive(t *testing.T) {
	service := &service{check: func(context.Context, string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) { return 1, nil }}
	client := serve(t, open(t, "ttl"), only(grpccache.Method{TTL: time.Millisecond}), service)
	ask(t, client, ctx, "")
	time.Sleep(50 * time.Millisecond)
	ask(t, client, ctx, "")
	if service.calls.Load() != 2 {
		t.Error(service.calls.Load())
	}
}

func TestOtherMethodsPass(t *testing.T) {
	service := &service{check: func(context.Context, string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) { return 1, nil }}
	client := serve(t, open(t, "pass"), grpccache.Options{}, service)
	ask(t, client, ctx, "")
	ask(t, client, ctx, "")
	if service.calls.Load() != 2 {
		t.Error(service.calls.Load())
	}
}

func TestVaries(t *testing.T) {
	service := &service{check: func(ctx context.Context, _ string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		values, _ := metadata.FromIncomingContext(ctx)
		return grpc_health_v1.HealthCheckResponse_ServingStatus(len(values.Get("tenant")[0])), nil
	}}
	varies := func(ctx context.Context) string {
		values, _ := metadata.FromIncomingContext(ctx)
		return strings.Join(values.Get("tenant"), ",")
	}
	client := serve(t, open(t, "varies"), only(grpccache.Method{TTL: time.Minute, Varies: varies}), service)
	for _, tenant := range []string{"x", "xx", "x", "xx"} {
		if status := ask(t, client, metadata.AppendToOutgoingContext(ctx, "tenant", tenant), ""); status != len(tenant) {
			t.Error(tenant, status)
		}
	}
	if service.calls.Load() != 2 {
		t.Error(service.calls.Load())
	}
}

func TestCrowdMakesOneCall(t *testing.T) {
	service := &service{check: func(context.Context, string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		time.Sleep(100 * time.Millisecond)
		return 1, nil
	}}
	client := serve(t, open(t, "crowd"), only(grpccache.Method{TTL: time.Minute}), service)
	var all sync.WaitGroup
	for at := 0; at < 50; at++ {
		all.Add(1)
		go func() {
			defer all.Done()
			ask(t, client, ctx, "")
		}()
	}
	all.Wait()
	if service.calls.Load() != 1 {
		t.Error(service.calls.Load())
	}
}

// Errors keep their codes, whatever they wrap, and are not stored.
func TestErrorsOfTheHandler(t *testing.T) {
	failures := []error{status.Error(codes.NotFound, "no such service"), yokedcache.ErrAbsent, fmt.Errorf("in a layer below: %w", yokedcache.ErrConnect)}
	service := &service{}
	service.check = func(context.Context, string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		return 0, failures[service.calls.Load()-1]
	}
	client := serve(t, open(t, "errors"), only(grpccache.Method{TTL: time.Minute}), service)
	for at, failure := range failures {
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if status.Code(err) != status.Code(failure) || status.Convert(err).Message() != status.Convert(failure).Message() {
			t.Error(at, err)
		}
	}
	if service.calls.Load() != 3 {
		t.Error(service.calls.Load())
	}
}

func TestCallerThatLeaves(t *testing.T) {
	ended := make(chan struct{})
	service := &service{check: func(ctx context.Context, _ string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}}
	client := serve(t, open(t, "leaves"), only(grpccache.Method{TTL: time.Minute}), service)
	limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := client.Check(limited, &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	<-ended
}

// The call ends as its own context does, also if the handler saw first that no call waits: its context is then cancelled.
func TestEndOfTheCallAndOfTheHandler(t *testing.T) {
	interceptor := grpccache.UnaryServerInterceptor(open(t, "ends"), only(grpccache.Method{TTL: time.Minute}))
	info := &grpc.UnaryServerInfo{FullMethod: check}
	for round := 0; round < 200; round++ {
		limited, cancel := context.WithTimeout(ctx, time.Millisecond)
		handler := func(ctx context.Context, _ any) (any, error) {
			for ctx.Err() == nil {
			}
			return nil, ctx.Err()
		}
		_, err := interceptor(limited, &grpc_health_v1.HealthCheckRequest{}, info, handler)
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatal(round, err)
		}
	}
}

func TestCacheThatIsDown(t *testing.T) {
	cache, err := yokedcache.Open("redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	var lock sync.Mutex
	var reported []error
	options := only(grpccache.Method{TTL: time.Minute})
	options.OnError = func(_ context.Context, method string, err error) {
		lock.Lock()
		defer lock.Unlock()
		if method != check {
			t.Error(method)
		}
		reported = append(reported, err)
	}
	service := &service{check: func(context.Context, string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) { return 1, nil }}
	client := serve(t, cache, options, service)
	ask(t, client, ctx, "")
	cache.Close()
	ask(t, client, ctx, "")
	if len(reported) < 2 || !errors.Is(reported[0], yokedcache.ErrConnect) || !errors.Is(reported[1], yokedcache.ErrClosed) {
		t.Error(reported)
	}
	if service.calls.Load() != 2 {
		t.Error(service.calls.Load())
	}
}

//go:embed README.md
var readme string

//go:embed interceptor_test.go
var source string

func TestReadmeHasTheExample(t *testing.T) {
	_, code, _ := strings.Cut(readme, "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if code == "" || !strings.Contains(source, "\t"+strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t"), "\n\t\n", "\n\n")) {
		t.Error("README.md has another program than ExampleUnaryServerInterceptor")
	}
}

func ExampleUnaryServerInterceptor() {
	cache, err := yokedcache.Open("memory://?key_prefix=app") // or redis://localhost:6379/0?key_prefix=app
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	methods := map[string]grpccache.Method{
		"/grpc.health.v1.Health/Check": {
			TTL: time.Minute,
			Tags: func(request, _ proto.Message) []string {
				return []string{request.(*grpc_health_v1.HealthCheckRequest).Service}
			},
		},
	}
	interceptor := grpccache.UnaryServerInterceptor(cache, grpccache.Options{
		Methods: methods,
		OnError: func(_ context.Context, method string, err error) { fmt.Println(method, err) },
	})
	server := grpc.NewServer(grpc.UnaryInterceptor(interceptor))
	defer server.Stop()

	// The server does this for each call:
	request, info := &grpc_health_v1.HealthCheckRequest{Service: "users"}, &grpc.UnaryServerInfo{FullMethod: "/grpc.health.v1.Health/Check"}
	handler := func(context.Context, any) (any, error) {
		fmt.Println("called")
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
	}
	for call := 1; call <= 2; call++ {
		reply, err := interceptor(context.Background(), request, info, handler)
		fmt.Println(reply.(*grpc_health_v1.HealthCheckResponse).Status, err)
	}
	// Output:
	// called
	// SERVING <nil>
	// SERVING <nil>
}
