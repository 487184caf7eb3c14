// Profiles itself with the unmodified Go SDK: CPU, heap, goroutines, mutex and block, with a label that is
// set while it runs, in a span of OpenTelemetry whose id and trace it prints.
//
// usage: everflame-client-go SERVER_URL SECONDS
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	otelpyroscope "github.com/grafana/otel-profiling-go"
	"github.com/grafana/pyroscope-go"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Window is how often the SDK uploads; its default is 15 s.
const window = time.Second

var (
	sink     uint64
	retained [][]byte
)

//go:noinline
func everflameHotGo(rounds int) uint64 {
	x := uint64(88172645463325252)
	for range rounds {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:noinline
func everflameAllocGo() {
	for range 64 {
		retained = append(retained, make([]byte, 32<<10))
	}
	if len(retained) > 1024 {
		retained = retained[512:]
	}
}

// everflameContendGo makes goroutines wait for one mutex, which shows in the mutex and block profiles.
//
//go:noinline
func everflameContendGo() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 4 {
				mu.Lock()
				time.Sleep(time.Millisecond)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

type stderrLogger struct{}

func (stderrLogger) Infof(string, ...any)  {}
func (stderrLogger) Debugf(string, ...any) {}
func (stderrLogger) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: everflame-client-go SERVER_URL SECONDS")
		os.Exit(2)
	}
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "SECONDS:", err)
		os.Exit(2)
	}
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: "client-go",
		ServerAddress:   os.Args[1],
		Tags:            map[string]string{"region": "test"},
		UploadRate:      window,
		Logger:          stderrLogger{},
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU,
			pyroscope.ProfileAllocObjects, pyroscope.ProfileAllocSpace,
			pyroscope.ProfileInuseObjects, pyroscope.ProfileInuseSpace,
			pyroscope.ProfileGoroutines,
			pyroscope.ProfileMutexCount, pyroscope.ProfileMutexDuration,
			pyroscope.ProfileBlockCount, pyroscope.ProfileBlockDuration,
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tracer := otelpyroscope.NewTracerProvider(trace.NewTracerProvider()).Tracer("everflame-client-go")
	ctx, span := tracer.Start(context.Background(), "checkout")
	fmt.Printf("span_id=%s\ntrace_id=%s\n", span.SpanContext().SpanID(), span.SpanContext().TraceID())
	for end := time.Now().Add(time.Duration(seconds * float64(time.Second))); time.Now().Before(end); {
		pyroscope.TagWrapper(ctx, pyroscope.Labels("endpoint", "cart"), func(context.Context) {
			sink += everflameHotGo(40_000_000)
		})
		everflameAllocGo()
		everflameContendGo()
	}
	span.End()
	// Stop alone closes the upload queue before what is in it was sent.
	profiler.Flush(true)
	if err := profiler.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
