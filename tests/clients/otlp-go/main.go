// Sends one profile by every way that the OpenTelemetry collector has, with the collector's own library.
//
// usage: everflame-client-otlp-go SERVER_URL
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
)

// Two stacks of 100 samples a second: main and work 5 times; main and idle once, by the thread w1, in a span.
func profiles(service string) pprofile.Profiles {
	out := pprofile.NewProfiles()
	tables := out.Dictionary()
	text := func(value string) int32 {
		for at, known := range tables.StringTable().All() {
			if known == value {
				return int32(at)
			}
		}
		tables.StringTable().Append(value)
		return int32(tables.StringTable().Len() - 1)
	}
	text("")
	tables.MappingTable().AppendEmpty()
	tables.FunctionTable().AppendEmpty()
	tables.LocationTable().AppendEmpty()
	tables.StackTable().AppendEmpty()
	tables.AttributeTable().AppendEmpty()
	tables.LinkTable().AppendEmpty()
	for _, name := range []string{"main", "work", "idle"} {
		function := tables.FunctionTable().AppendEmpty()
		function.SetNameStrindex(text(name))
		function.SetFilenameStrindex(text(name + ".c"))
		line := tables.LocationTable().AppendEmpty().Lines().AppendEmpty()
		line.SetFunctionIndex(int32(tables.FunctionTable().Len() - 1))
		line.SetLine(7)
	}
	tables.StackTable().AppendEmpty().LocationIndices().FromRaw([]int32{2, 1})
	tables.StackTable().AppendEmpty().LocationIndices().FromRaw([]int32{3, 1})
	thread := tables.AttributeTable().AppendEmpty()
	thread.SetKeyStrindex(text("thread.name"))
	thread.Value().SetStr("w1")
	link := tables.LinkTable().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{15: 0xab})
	link.SetSpanID(pcommon.SpanID{7: 0xcd})

	resource := out.ResourceProfiles().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", service)
	resource.Resource().Attributes().PutStr("region", "test")
	scope := resource.ScopeProfiles().AppendEmpty()
	scope.Scope().SetName("everflame-client-otlp-go")
	profile := scope.Profiles().AppendEmpty()
	profile.SampleType().SetTypeStrindex(text("samples"))
	profile.SampleType().SetUnitStrindex(text("count"))
	profile.PeriodType().SetTypeStrindex(text("cpu"))
	profile.PeriodType().SetUnitStrindex(text("nanoseconds"))
	profile.SetPeriod(10_000_000)
	profile.SetTime(pcommon.NewTimestampFromTime(time.Now()))
	profile.SetDurationNano(uint64(time.Second))
	sample := profile.Samples().AppendEmpty()
	sample.SetStackIndex(1)
	sample.Values().Append(5)
	sample = profile.Samples().AppendEmpty()
	sample.SetStackIndex(2)
	sample.Values().Append(1)
	sample.AttributeIndices().Append(1)
	sample.SetLinkIndex(1)
	return out
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: everflame-client-otlp-go SERVER_URL")
		os.Exit(2)
	}
	if err := send(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(server string) error {
	connection, err := grpc.NewClient(strings.TrimPrefix(server, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := pprofileotlp.NewGRPCClient(connection)
	for service, options := range map[string][]grpc.CallOption{
		"otlp-go-grpc":      nil,
		"otlp-go-grpc-gzip": {grpc.UseCompressor("gzip")},
	} {
		answer, err := client.Export(context.Background(), pprofileotlp.NewExportRequestFromProfiles(profiles(service)), options...)
		if err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		if partial := answer.PartialSuccess(); partial.RejectedProfiles() != 0 || partial.ErrorMessage() != "" {
			return fmt.Errorf("%s: %d rejected: %s", service, partial.RejectedProfiles(), partial.ErrorMessage())
		}
	}
	for _, way := range []struct {
		service, contentType string
		json, gzip           bool
	}{
		{"otlp-go-protobuf", "application/x-protobuf", false, false},
		{"otlp-go-protobuf-gzip", "application/x-protobuf", false, true},
		{"otlp-go-json", "application/json", true, false},
		{"otlp-go-json-gzip", "application/json", true, true},
	} {
		if err := post(server, way.service, way.contentType, way.json, way.gzip); err != nil {
			return fmt.Errorf("%s: %w", way.service, err)
		}
	}
	return nil
}

// What the exporter otlphttp does with a batch.
func post(server, service, contentType string, asJSON, compressed bool) error {
	request := pprofileotlp.NewExportRequestFromProfiles(profiles(service))
	body, err := request.MarshalProto()
	if asJSON {
		body, err = request.MarshalJSON()
	}
	if err != nil {
		return err
	}
	if compressed {
		var out bytes.Buffer
		writer := gzip.NewWriter(&out)
		if _, err := writer.Write(body); err != nil {
			return err
		}
		if err := writer.Close(); err != nil {
			return err
		}
		body = out.Bytes()
	}
	post, err := http.NewRequest(http.MethodPost, server+"/v1development/profiles", bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", contentType)
	if compressed {
		post.Header.Set("Content-Encoding", "gzip")
	}
	got, err := http.DefaultClient.Do(post)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	body, err = io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", got.Status, body)
	}
	answer := pprofileotlp.NewExportResponse()
	if asJSON {
		err = answer.UnmarshalJSON(body)
	} else {
		err = answer.UnmarshalProto(body)
	}
	if err == nil && answer.PartialSuccess().RejectedProfiles() != 0 {
		err = fmt.Errorf("rejected: %s", answer.PartialSuccess().ErrorMessage())
	}
	return err
}
