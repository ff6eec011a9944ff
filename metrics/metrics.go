// Package metrics gives the numbers of a deployment to Prometheus: as a file for
// node_exporter's textfile collector, or by a Pushgateway.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"

	"bg/deploy"
)

// Write writes the numbers of d to file, at once: a reader finds the old ones or
// the new ones. The folder has to exist.
func Write(file string, d deploy.Deployment) error {
	numbers, err := gather(d, prometheus.Labels{"service": d.Service})
	if err != nil {
		return err
	}
	if err := prometheus.WriteToTextfile(file, numbers); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// Push replaces the numbers of d's service at the Pushgateway with this base URL.
func Push(ctx context.Context, base string, client *http.Client, d deploy.Deployment) error {
	numbers, err := gather(d, nil)
	if err != nil {
		return err
	}
	// The Pushgateway adds the service, which the numbers are grouped by.
	err = push.New(base, "bg").Client(client).Grouping("service", d.Service).Gatherer(numbers).PushContext(ctx)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if err != nil {
		return fmt.Errorf("push metrics to %s: %w", base, err)
	}
	return nil
}

// gather makes gauges of d, all with labels. They tell of the newest deployment; how many there
// were is what Prometheus makes of their changes.
func gather(d deploy.Deployment, all prometheus.Labels) (*prometheus.Registry, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bg_deployment_" + name, Help: help, ConstLabels: all}, labels)
	}
	started := gauge("start_timestamp_seconds", "When the newest deployment began.")
	ended := gauge("end_timestamp_seconds", "When the newest deployment ended.")
	took := gauge("duration_seconds", "How long the newest deployment took.")
	outcome := gauge("outcome", "1 for the outcome of the newest deployment, 0 for the others.", "outcome")
	steps := gauge("step_duration_seconds", "How long each step of the newest deployment took.", "step", "color")
	undo := gauge("undo_duration_seconds", "How long each step of the undo took.", "step", "color")
	warnings := gauge("warnings", "What the newest deployment left for a person to do.")

	started.WithLabelValues().Set(timestamp(d.Started))
	warnings.WithLabelValues().Set(float64(len(d.Warnings)))
	if d.Ended != nil {
		ended.WithLabelValues().Set(timestamp(*d.Ended))
		took.WithLabelValues().Set(d.Ended.Sub(d.Started).Seconds())
	}
	for _, each := range []deploy.Outcome{deploy.Done, deploy.Failed, deploy.Interrupted, deploy.UndoFailed} {
		outcome.WithLabelValues(string(each)).Set(0)
	}
	outcome.WithLabelValues(string(d.Outcome)).Set(1)
	if err := errors.Join(durations(steps, d.Steps), durations(undo, d.Undo)); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	for _, each := range []prometheus.Collector{started, ended, took, outcome, steps, undo, warnings} {
		if err := registry.Register(each); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return registry, nil
}

// durations adds up the time of each step: one that was taken again counts twice.
func durations(into *prometheus.GaugeVec, records []deploy.Record) error {
	for _, r := range records {
		if r.Duration == "" {
			continue // it was begun, and bg was killed
		}
		took, err := time.ParseDuration(r.Duration)
		if err != nil {
			return fmt.Errorf("duration of %s: %w", r.Step, err)
		}
		into.WithLabelValues(string(r.Step), r.Color.String()).Add(took.Seconds())
	}
	return nil
}

func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
