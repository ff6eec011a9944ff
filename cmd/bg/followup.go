package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hooks"
	"bg/integration"
	"bg/metrics"
	"bg/report"
	"bg/tracing"
)

// followupTimeout is how long the numbers and the trace of a deployment may take.
// Each hook has its own limit.
const followupTimeout = 10 * time.Second

// followup does what follows the end of a deployment outside of it: hooks,
// metrics, a trace, a report. What fails of it is a warning, because the deployment has
// ended by then.
type followup struct {
	cfg    *config.Config
	hooks  *hooks.Hooks
	shown  reporter
	client *http.Client
	since  time.Time

	mu    sync.Mutex
	ended []deploy.Deployment
}

// newFollowup checks all that bg.yml says about it, before anything is changed.
func newFollowup(cfg *config.Config, shown reporter) (*followup, error) {
	f := &followup{cfg: cfg, shown: shown, client: &http.Client{}, since: time.Now()}
	f.hooks = &hooks.Hooks{Output: shown}
	for _, h := range cfg.Hooks {
		hook := hooks.Hook{On: h.On, Timeout: h.Timeout, Required: h.Required, Action: hooks.Command{Command: integration.Command{Args: h.Run, Dir: cfg.Dir}}}
		if h.Webhook != nil {
			w, err := h.Fill(os.LookupEnv)
			if err != nil {
				return nil, err
			}
			hook.Action = hooks.Webhook{URL: w.URL, Header: w.Header, JSON: w.Format == "json", Client: f.client}
		}
		f.hooks.List = append(f.hooks.List, hook)
	}
	return f, nil
}

// report hands an event on, and keeps deployments that it ends.
func (f *followup) report(e deploy.Event) {
	if e.Kind == deploy.Finished {
		f.mu.Lock()
		d := *e.Deployment
		d.Steps, d.Undo, d.Warnings = slices.Clone(d.Steps), slices.Clone(d.Undo), slices.Clone(d.Warnings)
		f.ended = append(f.ended, d)
		f.mu.Unlock()
	}
	f.shown.report(e)
}

// pulling makes an event of how far a pull is.
func (f *followup) pulling(p engine.Pulling) {
	f.report(deploy.Event{Time: time.Now(), Kind: deploy.Pulling, Step: deploy.Start, Pull: &deploy.Pull{Image: p.Image, Done: p.Done, Total: p.Total}})
}

// end does all that follows. An interrupt of the deployment does not cancel it.
func (f *followup) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.ended {
		failed := f.hooks.End(ctx, d)
		for _, err := range append(failed, f.numbers(ctx, d)) {
			if err != nil {
				f.shown.report(deploy.Event{Time: time.Now(), Kind: deploy.Warning, Message: err.Error()})
			}
		}
	}
	f.ended = nil
}

// numbers hands on what d did and measured, to those who want it.
func (f *followup) numbers(ctx context.Context, d deploy.Deployment) error {
	ctx, cancel := context.WithTimeout(ctx, followupTimeout)
	defer cancel()
	var failed []error
	if file := f.cfg.Report; file != "" {
		failed = append(failed, report.WriteFile(file, d, version, time.Now()))
	}
	if file := f.cfg.Metrics.File; file != "" {
		failed = append(failed, metrics.Write(file, d))
	}
	if base := f.cfg.Metrics.Push; base != "" {
		failed = append(failed, metrics.Push(ctx, base, f.client, d))
	}
	if tracing.Wanted(os.Getenv) {
		failed = append(failed, tracing.Export(ctx, os.Getenv, d, f.since))
	}
	return errors.Join(failed...)
}
