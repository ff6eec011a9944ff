package tracing

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	proto "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	protobuf "google.golang.org/protobuf/proto"

	"bg/color"
	"bg/deploy"
)

var began = time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)

func at(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

func deployment() deploy.Deployment {
	ended := at(1000)
	return deploy.Deployment{
		ID: "20261121-010203-7f3a", Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0",
		Started: began, Ended: &ended, Outcome: deploy.Failed, Reason: "posttest: exit status 4", Warnings: []string{"look"},
		Steps: []deploy.Record{
			{Step: deploy.Start, Color: color.Green, Started: at(10), Duration: "200ms", Observed: "started a"},
			{Step: deploy.Posttest, Color: color.Green, Started: at(300), Duration: "100ms", Error: "exit status 4"},
		},
		Undo: []deploy.Record{{Step: deploy.Start, Color: color.Green, Started: at(450), Duration: "300ms"}},
	}
}

// env makes the exporter's variables and those of Export the same ones.
func env(t *testing.T, pairs ...string) func(string) string {
	t.Helper()
	set := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
		t.Setenv(pairs[i], pairs[i+1])
	}
	return func(name string) string { return set[name] }
}

// text shows a trace: a span in each line, with its time after the beginning.
func text(request *collector.ExportTraceServiceRequest) string {
	var spans []*proto.Span
	for _, r := range request.ResourceSpans {
		for _, s := range r.ScopeSpans {
			spans = append(spans, s.Spans...)
		}
	}
	root := spans[slices.IndexFunc(spans, func(s *proto.Span) bool { return strings.HasPrefix(s.Name, "deploy ") })]
	var b strings.Builder
	for _, s := range spans {
		parent := "elsewhere"
		if string(s.ParentSpanId) == string(root.SpanId) {
			parent = root.Name
		}
		fmt.Fprintf(&b, "%s below %s: %d..%d ms %s\n", s.Name, parent, (int64(s.StartTimeUnixNano)-began.UnixNano())/1e6, (int64(s.EndTimeUnixNano)-began.UnixNano())/1e6, s.Status.GetMessage())
	}
	return b.String()
}

// receiver is an OTLP receiver over HTTP.
func receiver(t *testing.T) (string, *[]*collector.ExportTraceServiceRequest) {
	t.Helper()
	var got []*collector.ExportTraceServiceRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		raw, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || protobuf.Unmarshal(raw, &request) != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got = append(got, &request)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return server.URL, &got
}

func TestADeploymentIsATraceWithASpanForEachStep(t *testing.T) {
	url, got := receiver(t)
	if err := Export(t.Context(), env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", url, "OTEL_SERVICE_NAME", "our-deployments"), deployment(), began); err != nil {
		t.Fatal(err)
	}
	if len(*got) != 1 {
		t.Fatalf("%d requests", len(*got))
	}
	want := `start below deploy books-ms: 10..210 ms 
posttest below deploy books-ms: 300..400 ms exit status 4
undo start below deploy books-ms: 450..750 ms 
deploy books-ms below elsewhere: 0..1000 ms posttest: exit status 4
`
	if diff := cmp.Diff(want, text((*got)[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if about := (*got)[0].ResourceSpans[0].Resource.String(); !strings.Contains(about, "our-deployments") {
		t.Errorf("the resource: %s", about)
	}
}

func TestTheStagesOfADeploymentAreOneTrace(t *testing.T) {
	url, got := receiver(t)
	getenv := env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", url)
	for _, since := range []time.Time{began, at(250)} {
		if err := Export(t.Context(), getenv, deployment(), since); err != nil {
			t.Fatal(err)
		}
	}
	first, second := (*got)[0].ResourceSpans[0].ScopeSpans[0].Spans, (*got)[1].ResourceSpans[0].ScopeSpans[0].Spans
	if string(first[0].TraceId) != string(second[0].TraceId) {
		t.Error("they are two")
	}
	if strings.Contains(text((*got)[1]), "start below deploy books-ms: 10..") {
		t.Errorf("a step is told of twice:\n%s", text((*got)[1]))
	}
}

func TestATraceBelongsToThatOfTheCaller(t *testing.T) {
	url, got := receiver(t)
	getenv := env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", url, "TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := Export(t.Context(), getenv, deployment(), began); err != nil {
		t.Fatal(err)
	}
	spans := (*got)[0].ResourceSpans[0].ScopeSpans[0].Spans
	root := spans[len(spans)-1]
	if fmt.Sprintf("%x %x", root.TraceId, root.ParentSpanId) != "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331" {
		t.Errorf("trace %x, parent %x", root.TraceId, root.ParentSpanId)
	}
}

// grpcReceiver takes traces over gRPC.
type grpcReceiver struct {
	collector.UnimplementedTraceServiceServer
	got chan *collector.ExportTraceServiceRequest
}

func (g grpcReceiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	g.got <- request
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestTracesGoOverGRPCWhenTheEnvironmentSaysSo(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, receiver := grpc.NewServer(), grpcReceiver{got: make(chan *collector.ExportTraceServiceRequest, 1)}
	collector.RegisterTraceServiceServer(server, receiver)
	go server.Serve(l) //nolint:errcheck // Stop ends it
	defer server.Stop()
	getenv := env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if err := Export(t.Context(), getenv, deployment(), began); err != nil {
		t.Fatal(err)
	}
	if got := text(<-receiver.got); !strings.Contains(got, "undo start below deploy books-ms") {
		t.Errorf("got:\n%s", got)
	}
}

func TestAReceiverThatIsNotThereIsAnErrorWithinItsTime(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	if err := Export(t.Context(), env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", gone.URL), deployment(), began); err == nil || !strings.Contains(err.Error(), "export trace") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Export(ctx, env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://192.0.2.1:1"), deployment(), began); err == nil {
		t.Error("no error")
	}
}

func TestTracesAreWantedOnlyWhenTheEnvironmentNamesAReceiver(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want bool
	}{
		{"nothing", nil, false},
		{"a receiver", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, true},
		{"a receiver of traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:4318/v1/traces"}, true},
		{"disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_SDK_DISABLED": "true"}, false},
		{"no traces", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{"only a name", map[string]string{"OTEL_SERVICE_NAME": "a"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Wanted(func(name string) string { return tt.env[name] }); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAnUnknownProtocolIsNamed(t *testing.T) {
	err := Export(t.Context(), env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), deployment(), began)
	if err == nil || !strings.Contains(err.Error(), "http/json") {
		t.Errorf("%v", err)
	}
}
