// Package tracing exports deployments as OpenTelemetry traces, a span for each
// step, when the standard OTEL_* variables ask for it.
package tracing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"bg/deploy"
)

// Wanted reports whether the environment names a receiver of traces. Without
// OTEL_EXPORTER_OTLP_ENDPOINT or its sibling for traces nothing is exported: the
// standard's default, localhost, would make every deployment wait for nobody.
func Wanted(getenv func(string) string) bool {
	named := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	exporter := getenv("OTEL_TRACES_EXPORTER")
	return named && (exporter == "" || exporter == "otlp") && !strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true")
}

// Export sends what this run of bg, which began at since, did of the deployment,
// and returns when it was taken. All runs of one deployment, such as the stages
// of a pipeline, are one trace; with TRACEPARENT it is a part of the caller's.
func Export(ctx context.Context, getenv func(string) string, d deploy.Deployment, since time.Time) error {
	exporter, err := newExporter(ctx, getenv)
	if err != nil {
		return fmt.Errorf("export trace: %w", err)
	}
	// What the OTEL_* variables say of the resource beats the name given here.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "bg")), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return errors.Join(fmt.Errorf("export trace: %w", err), exporter.Shutdown(ctx))
	}
	made := &spans{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(made), sdktrace.WithResource(about))
	carrier := propagation.MapCarrier{"traceparent": getenv("TRACEPARENT"), "tracestate": getenv("TRACESTATE")}
	parent := propagation.TraceContext{}.Extract(ctx, carrier)
	if !trace.SpanContextFromContext(parent).IsValid() {
		parent = trace.ContextWithRemoteSpanContext(ctx, origin(d))
	}
	record(parent, provider.Tracer("bg"), d, since)
	if err := errors.Join(provider.Shutdown(ctx), exporter.ExportSpans(ctx, made.list), exporter.Shutdown(ctx)); err != nil {
		return fmt.Errorf("export trace: %w", err)
	}
	return nil
}

// newExporter returns the exporter of the protocol that the environment names.
// It reads the other variables, such as those of headers and TLS, by itself.
func newExporter(ctx context.Context, getenv func(string) string) (*otlptrace.Exporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q is neither grpc nor http/protobuf", protocol)
}

// spans keeps what is made, so that all goes out in one request that ctx limits
// and whose error is known.
type spans struct{ list []sdktrace.ReadOnlySpan }

func (s *spans) ExportSpans(_ context.Context, ended []sdktrace.ReadOnlySpan) error {
	s.list = append(s.list, ended...)
	return nil
}

func (s *spans) Shutdown(context.Context) error { return nil }

// origin returns the span that all runs of one deployment descend from. Nobody
// ever exports it; its id makes one trace of them.
func origin(d deploy.Deployment) trace.SpanContext {
	sum := sha256.Sum256([]byte(d.Service + "/" + d.ID))
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

// record makes the spans, with the times of the document.
func record(ctx context.Context, tracer trace.Tracer, d deploy.Deployment, since time.Time) {
	steps, undo := after(d.Steps, since), after(d.Undo, since)
	begun := d.Started
	if begun.Before(since) {
		begun = since
	}
	ctx, root := tracer.Start(ctx, "deploy "+d.Service, trace.WithTimestamp(begun), trace.WithAttributes(
		attribute.String("bg.service", d.Service), attribute.String("bg.deployment", d.ID), attribute.String("bg.from", d.From.String()),
		attribute.String("bg.to", d.To.String()), attribute.String("bg.image", d.Image), attribute.String("bg.outcome", string(d.Outcome)),
		attribute.Bool("bg.rollback", d.Rollback), attribute.String("bg.by", d.By.User+"@"+d.By.Host), attribute.String("bg.build", d.By.Build)))
	end := begun
	for _, each := range steps {
		end = later(end, span(ctx, tracer, string(each.Step), each))
	}
	for _, each := range undo {
		end = later(end, span(ctx, tracer, "undo "+string(each.Step), each))
	}
	for _, w := range d.Warnings {
		root.AddEvent("warning", trace.WithTimestamp(end), trace.WithAttributes(attribute.String("message", w)))
	}
	if d.Ended != nil {
		end = later(end, *d.Ended)
	}
	if d.Reason != "" {
		root.SetStatus(codes.Error, d.Reason)
	}
	root.End(trace.WithTimestamp(end))
}

// span makes the span of one step and returns its end.
func span(ctx context.Context, tracer trace.Tracer, name string, r deploy.Record) time.Time {
	_, s := tracer.Start(ctx, name, trace.WithTimestamp(r.Started), trace.WithAttributes(
		attribute.String("bg.color", r.Color.String()), attribute.String("bg.cause", r.Cause), attribute.String("bg.observed", r.Observed)))
	took, err := time.ParseDuration(r.Duration)
	if err != nil { // it was begun, and bg was killed
		s.SetStatus(codes.Error, "what came of it is not known")
	}
	if r.Error != "" {
		s.SetStatus(codes.Error, r.Error)
	}
	end := r.Started.Add(took)
	s.End(trace.WithTimestamp(end))
	return end
}

// after returns the records that began at since or later.
func after(records []deploy.Record, since time.Time) (own []deploy.Record) {
	for _, r := range records {
		if !r.Started.Before(since) {
			own = append(own, r)
		}
	}
	return own
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
