package deploy

import (
	"context"
	"time"

	"bg/color"
	"bg/probe"
	"bg/proxy"
)

// beginProbe begins to ask the service through nginx, as evidence of what
// clients see. Before a service was first live there is nothing that could
// answer: then the first switch begins it.
func (r *run) beginProbe(ctx context.Context) {
	if r.plan.From != color.None {
		r.probe = probe.Start(ctx, r.Settings.Probe, r.record.Started)
	}
}

// switched tells the probe that nginx was made to send to another color.
func (r *run) switched(ctx context.Context, change proxy.Change, to color.Color) {
	if change.Sent.IsZero() {
		return // nginx did so already
	}
	from := color.Next(to)
	if r.plan.From == color.None {
		from = color.None
		if to == r.plan.To && r.probe == nil {
			r.probe = probe.Start(ctx, r.Settings.Probe, r.record.Started)
			r.probe.Step(string(Switch))
		} else {
			to = color.None
		}
	}
	r.probe.Switched(change.Sent, from, to)
}

// endProbe puts what clients saw into the document, and tells of it.
func (r *run) endProbe() {
	seen := r.probe.End()
	r.probe = nil
	r.record.Probe = r.record.Probe.Join(seen)
	if seen != nil {
		r.Report(Event{Time: time.Now(), Kind: Probed, Message: seen.String()})
	}
}
