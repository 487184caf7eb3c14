// Asks a server what profilecli asks, through the generated client that profilecli is built on, over each
// of the protocols that its --protocol knows, and prints what it got: one JSON object a protocol.
//
// usage: everflame-client-pyroscope-api SERVER_URL PPROF_FILE
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	profilev1 "github.com/grafana/pyroscope/api/gen/proto/go/google/v1"
	pushv1 "github.com/grafana/pyroscope/api/gen/proto/go/push/v1"
	"github.com/grafana/pyroscope/api/gen/proto/go/push/v1/pushv1connect"
	querierv1 "github.com/grafana/pyroscope/api/gen/proto/go/querier/v1"
	"github.com/grafana/pyroscope/api/gen/proto/go/querier/v1/querierv1connect"
	typesv1 "github.com/grafana/pyroscope/api/gen/proto/go/types/v1"
)

const (
	profileType = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
	hour        = int64(time.Hour / time.Millisecond)
)

// What one protocol brought.
type found struct {
	Protocol string
	// Total of the pprof that `query profile` writes, and of the older method behind it.
	PprofTotal, MergedTotal int64
	// Bytes of the trees that `--tree` and `--span-selector` read.
	TreeBytes, SpanTreeBytes int
	// Locations that a profile for the compiler keeps a stack at most.
	PgoDepth int
	// What `query series`, `query label-values-cardinality` and `query top` list.
	Series       []map[string]string
	LabelNames   []string
	Values       []string
	TopSum       float64
	TopGroup     string
	Exemplars    []string
	SpanIds      []string
	HeatmapSum   int32
	Types        []string
	Ingested     bool
	DiffTotals   [2]int64
	Flame, Empty []string
}

// What profilecli adds to each request.
type headers struct{ next http.RoundTripper }

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "pyroscope/2.2.0")
	r.Header.Set("X-Scope-OrgID", "anonymous")
	r.Header.Set("Accept", "*/*; allow-utf8-labelnames=true")
	return h.next.RoundTrip(r)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: everflame-client-pyroscope-api SERVER_URL PPROF_FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	protocols := http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	h1 := &http.Client{Transport: headers{http.DefaultTransport}}
	h2 := &http.Client{Transport: headers{&http.Transport{Protocols: &protocols}}}
	for _, way := range []struct {
		name    string
		http    *http.Client
		options []connect.ClientOption
	}{
		{"connect", h1, nil},
		{"grpc", h2, []connect.ClientOption{connect.WithGRPC()}},
		{"grpc-web", h1, []connect.ClientOption{connect.WithGRPCWeb()}},
		{"connect-json-gzip", h1, []connect.ClientOption{connect.WithProtoJSON(), connect.WithSendGzip()}},
	} {
		service := "api-" + way.name
		if err := upload(pushv1connect.NewPusherServiceClient(way.http, server, way.options...), service, raw); err != nil {
			return fmt.Errorf("%s: upload: %w", way.name, err)
		}
		result, err := ask(querierv1connect.NewQuerierServiceClient(way.http, server, way.options...), service)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		result.Protocol = way.name
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return err
		}
	}
	ready, err := h1.Get(server + "/ready")
	if err != nil {
		return err
	}
	defer ready.Body.Close()
	if ready.StatusCode != http.StatusOK {
		return fmt.Errorf("ready: %s", ready.Status)
	}
	return nil
}

func upload(client pushv1connect.PusherServiceClient, service string, raw []byte) error {
	_, err := client.Push(context.Background(), connect.NewRequest(&pushv1.PushRequest{
		Series: []*pushv1.RawProfileSeries{{
			Labels: []*typesv1.LabelPair{
				{Name: "__name__", Value: "process_cpu"},
				{Name: "service_name", Value: service},
			},
			Samples: []*pushv1.RawSample{{RawProfile: raw}},
		}},
	}))
	return err
}

func ask(client querierv1connect.QuerierServiceClient, service string) (*found, error) {
	ctx := context.Background()
	now := time.Now().UnixMilli()
	start, end := now-hour, now+hour
	selector := fmt.Sprintf("{service_name=%q}", service)
	out := &found{}
	stacks := func(change func(*querierv1.SelectMergeStacktracesRequest)) (*querierv1.SelectMergeStacktracesResponse, error) {
		request := &querierv1.SelectMergeStacktracesRequest{
			ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end,
		}
		change(request)
		answer, err := client.SelectMergeStacktraces(ctx, connect.NewRequest(request))
		if err != nil {
			return nil, err
		}
		return answer.Msg, nil
	}

	// query series, query label-values-cardinality
	series, err := client.Series(ctx, connect.NewRequest(&querierv1.SeriesRequest{
		Matchers: []string{selector}, Start: start, End: end, LabelNames: []string{"__profile_type__", "service_name", "span_name"},
	}))
	if err != nil {
		return nil, fmt.Errorf("Series: %w", err)
	}
	for _, set := range series.Msg.LabelsSet {
		labels := map[string]string{}
		for _, pair := range set.Labels {
			labels[pair.Name] = pair.Value
		}
		out.Series = append(out.Series, labels)
	}
	names, err := client.LabelNames(ctx, connect.NewRequest(&typesv1.LabelNamesRequest{
		Matchers: []string{selector}, Start: start, End: end,
	}))
	if err != nil {
		return nil, fmt.Errorf("LabelNames: %w", err)
	}
	out.LabelNames = names.Msg.Names
	values, err := client.LabelValues(ctx, connect.NewRequest(&typesv1.LabelValuesRequest{
		Name: "service_name", Matchers: []string{selector}, Start: start, End: end,
	}))
	if err != nil {
		return nil, fmt.Errorf("LabelValues: %w", err)
	}
	out.Values = values.Msg.Names
	types, err := client.ProfileTypes(ctx, connect.NewRequest(&querierv1.ProfileTypesRequest{Start: start, End: end}))
	if err != nil {
		return nil, fmt.Errorf("ProfileTypes: %w", err)
	}
	for _, one := range types.Msg.ProfileTypes {
		out.Types = append(out.Types, one.ID)
	}
	stats, err := client.GetProfileStats(ctx, connect.NewRequest(&typesv1.GetProfileStatsRequest{}))
	if err != nil {
		return nil, fmt.Errorf("GetProfileStats: %w", err)
	}
	out.Ingested = stats.Msg.DataIngested

	// query profile, with and without --tree
	answer, err := stacks(func(r *querierv1.SelectMergeStacktracesRequest) {
		r.Format = querierv1.ProfileFormat_PROFILE_FORMAT_PPROF
	})
	if err != nil {
		return nil, fmt.Errorf("PPROF: %w", err)
	}
	out.PprofTotal = total(answer.GetPprof().GetProfile())
	merged, err := client.SelectMergeProfile(ctx, connect.NewRequest(&querierv1.SelectMergeProfileRequest{
		ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end,
	}))
	if err != nil {
		return nil, fmt.Errorf("SelectMergeProfile: %w", err)
	}
	out.MergedTotal = total(merged.Msg)
	if answer, err = stacks(func(r *querierv1.SelectMergeStacktracesRequest) {
		r.Format = querierv1.ProfileFormat_PROFILE_FORMAT_TREE
	}); err != nil {
		return nil, fmt.Errorf("TREE: %w", err)
	}
	out.TreeBytes = len(answer.Tree)
	if answer, err = stacks(func(r *querierv1.SelectMergeStacktracesRequest) {}); err != nil {
		return nil, fmt.Errorf("flame graph: %w", err)
	}
	out.Flame = answer.GetFlamegraph().GetNames()
	if answer, err = stacks(func(r *querierv1.SelectMergeStacktracesRequest) {
		r.LabelSelector = `{service_name="nobody"}`
	}); err != nil {
		return nil, fmt.Errorf("nothing: %w", err)
	}
	out.Empty = answer.GetFlamegraph().GetNames()

	// query go-pgo
	if answer, err = stacks(func(r *querierv1.SelectMergeStacktracesRequest) {
		r.Format = querierv1.ProfileFormat_PROFILE_FORMAT_PPROF
		r.StackTraceSelector = &typesv1.StackTraceSelector{GoPgo: &typesv1.GoPGO{KeepLocations: 5, AggregateCallees: true}}
	}); err != nil {
		return nil, fmt.Errorf("go-pgo: %w", err)
	}
	for _, sample := range answer.GetPprof().GetProfile().GetSample() {
		out.PgoDepth = max(out.PgoDepth, len(sample.LocationId))
	}

	// query top
	points, err := client.SelectSeries(ctx, connect.NewRequest(&querierv1.SelectSeriesRequest{
		ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end,
		Step: float64(end-start) / 1000, GroupBy: []string{"service_name"},
	}))
	if err != nil {
		return nil, fmt.Errorf("SelectSeries: %w", err)
	}
	for _, one := range points.Msg.Series {
		out.TopGroup = one.Labels[0].Value
		for _, point := range one.Points {
			out.TopSum += point.Value
		}
	}

	// query exemplars profile, query exemplars span
	if points, err = client.SelectSeries(ctx, connect.NewRequest(&querierv1.SelectSeriesRequest{
		ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end, Step: 15,
		ExemplarType: typesv1.ExemplarType_EXEMPLAR_TYPE_INDIVIDUAL,
	})); err != nil {
		return nil, fmt.Errorf("exemplars: %w", err)
	}
	for _, one := range points.Msg.Series {
		for _, point := range one.Points {
			for _, exemplar := range point.Exemplars {
				out.Exemplars = append(out.Exemplars, exemplar.ProfileId)
			}
		}
	}
	heat, err := client.SelectHeatmap(ctx, connect.NewRequest(&querierv1.SelectHeatmapRequest{
		ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end, Step: 15,
		QueryType: querierv1.HeatmapQueryType_HEATMAP_QUERY_TYPE_SPAN, ExemplarType: typesv1.ExemplarType_EXEMPLAR_TYPE_SPAN,
	}))
	if err != nil {
		return nil, fmt.Errorf("SelectHeatmap: %w", err)
	}
	for _, one := range heat.Msg.Series {
		for _, slot := range one.Slots {
			for _, count := range slot.Counts {
				out.HeatmapSum += count
			}
			for _, exemplar := range slot.Exemplars {
				out.SpanIds = append(out.SpanIds, exemplar.SpanId)
			}
		}
	}
	if len(out.SpanIds) > 0 {
		span, err := client.SelectMergeSpanProfile(ctx, connect.NewRequest(&querierv1.SelectMergeSpanProfileRequest{
			ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end,
			SpanSelector: out.SpanIds[:1], Format: querierv1.ProfileFormat_PROFILE_FORMAT_TREE,
		}))
		if err != nil {
			return nil, fmt.Errorf("SelectMergeSpanProfile: %w", err)
		}
		out.SpanTreeBytes = len(span.Msg.Tree)
		if answer, err = stacks(func(r *querierv1.SelectMergeStacktracesRequest) {
			r.Format, r.SpanSelector = querierv1.ProfileFormat_PROFILE_FORMAT_TREE, out.SpanIds[:1]
		}); err != nil {
			return nil, fmt.Errorf("span selector: %w", err)
		}
		if !bytes.Equal(answer.Tree, span.Msg.Tree) {
			return nil, fmt.Errorf("the two ways to select span %s differ", out.SpanIds[0])
		}
	}

	// Not a command, but the other question of the service that has two sides.
	side := &querierv1.SelectMergeStacktracesRequest{ProfileTypeID: profileType, LabelSelector: selector, Start: start, End: end}
	diff, err := client.Diff(ctx, connect.NewRequest(&querierv1.DiffRequest{
		Left: side, Right: proto.Clone(side).(*querierv1.SelectMergeStacktracesRequest),
	}))
	if err != nil {
		return nil, fmt.Errorf("Diff: %w", err)
	}
	out.DiffTotals = [2]int64{diff.Msg.GetFlamegraph().GetLeftTicks(), diff.Msg.GetFlamegraph().GetRightTicks()}
	return out, nil
}

func total(profile *profilev1.Profile) int64 {
	var sum int64
	for _, sample := range profile.GetSample() {
		for _, value := range sample.Value {
			sum += value
		}
	}
	return sum
}
