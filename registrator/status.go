package registrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bg/hint"
)

// stopTimeout bounds how long open requests to /health and /metrics are waited for.
const stopTimeout = 2 * time.Second

// status is what /health and /metrics show.
type status struct {
	mu    sync.Mutex
	state Health

	registry      *prometheus.Registry
	containers    prometheus.Gauge
	registered    prometheus.Gauge
	events        prometheus.Counter
	passes        *prometheus.CounterVec
	passSeconds   prometheus.Histogram
	lagSeconds    prometheus.Histogram
	lastSync      prometheus.Gauge
	calls, errors *prometheus.CounterVec
	up            *prometheus.GaugeVec
}

// Health is the answer of /health, as JSON. The code is 200 when Synced, else 503.
type Health struct {
	Synced     bool      `json:"synced"` // Docker and Consul can be reached and were in step after the last pass
	Docker     bool      `json:"docker"`
	Consul     bool      `json:"consul"`
	Containers int       `json:"containers"`
	Services   int       `json:"services"`
	LastSync   time.Time `json:"last_sync"`
	Error      string    `json:"error,omitempty"` // of the last pass
}

func newStatus() *status {
	const ns = "bg_registrator"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: name, Help: help,
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30}})
	}
	s := &status{
		registry:    prometheus.NewRegistry(),
		containers:  gauge("containers", "Containers in Docker's list."),
		registered:  gauge("services", "Services that shall be registered."),
		events:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "events_total", Help: "Docker events received."}),
		passes:      counter("passes_total", "Comparisons of Docker with Consul.", "trigger"),
		passSeconds: histogram("pass_seconds", "Duration of a comparison with its calls."),
		lagSeconds:  histogram("lag_seconds", "From the first event to the end of the pass that made it up."),
		lastSync:    gauge("last_sync_timestamp_seconds", "Time of the last pass without an error."),
		calls:       counter("calls_total", "Registrations and deregistrations that Consul accepted.", "call"),
		errors:      counter("errors_total", "Failures.", "call"),
		up:          prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: "connected", Help: "1 when the daemon can be reached."}, []string{"to"}),
	}
	s.registry.MustRegister(s.containers, s.registered, s.events, s.passes, s.passSeconds, s.lagSeconds, s.lastSync,
		s.calls, s.errors, s.up, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

func (s *status) event() { s.events.Inc() }

// counted notes the size of what a pass looked at.
func (s *status) counted(containers, services int) {
	s.containers.Set(float64(containers))
	s.registered.Set(float64(services))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Containers, s.state.Services = containers, services
}

// called notes a call to Consul.
func (s *status) called(call string, err error) {
	if err != nil {
		s.errors.WithLabelValues(call).Inc()
		return
	}
	s.calls.WithLabelValues(call).Inc()
}

// passed notes how a pass ended, and whether the last full look at Docker is over.
func (s *status) passed(trigger string, from batch, took time.Duration, complete bool, err error) {
	s.passes.WithLabelValues(trigger).Inc()
	s.passSeconds.Observe(took.Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Error = ""
	if err != nil {
		s.errors.WithLabelValues("pass").Inc()
		s.state.Error = err.Error()
	}
	if err != nil && !errors.Is(err, errRefused) {
		s.state.Synced = false
		return
	}
	now := time.Now()
	if from.events > 0 {
		s.lagSeconds.Observe(now.Sub(from.since).Seconds())
	}
	s.lastSync.Set(float64(now.Unix()))
	s.state.LastSync = now.UTC()
	// Docker is always busy with some container while many start and stop. Only after
	// a connection was lost, each has to have been looked at once.
	s.state.Synced = s.state.Docker && s.state.Consul && (complete || s.state.Synced)
}

// connected notes whether a daemon can be reached and reports whether that is new.
// What was in step before a connection was lost need not be after it.
func (s *status) connected(daemon string, up bool) bool {
	value := map[bool]float64{true: 1}[up]
	s.up.WithLabelValues(daemon).Set(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	link := &s.state.Docker
	if daemon == "consul" {
		link = &s.state.Consul
	}
	changed := *link != up
	*link = up
	if changed {
		s.state.Synced = false
	}
	return changed
}

func (s *status) health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *status) services() int { return s.health().Services }

// handler answers /health and /metrics.
func (s *status) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		health := s.health()
		w.Header().Set("Content-Type", "application/json")
		if !health.Synced {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(health) // the client went away
	})
	return mux
}

// serve answers on the configured address until ctx ends.
func (r *Registrator) serve(ctx context.Context) error {
	if r.cfg.Listen == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.cfg.Listen)
	if err != nil {
		return hint.Wrap(fmt.Errorf("serve /health and /metrics: %w", err), "choose another address with -listen")
	}
	server := &http.Server{Handler: r.status.handler(), ReadHeaderTimeout: stopTimeout}
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = server.Shutdown(ctx) // after the time-out the process ends anyway
	})
	defer stop()
	r.log.Info("serving /health and /metrics", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve /health and /metrics: %w", err)
	}
	return nil
}
