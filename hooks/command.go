package hooks

import (
	"context"
	"io"

	"bg/integration"
)

// Command runs a program on this machine. It learns of the call by variables:
// BG_HOOK ("before switch", "failed"), BG_STEP, BG_SERVICE, BG_DEPLOY, BG_FROM,
// BG_TO, BG_COLOR (of the step, or the one that was to go live), BG_IMAGE,
// BG_OUTCOME and BG_REASON.
type Command struct{ integration.Command }

// Run runs the program; an exit code other than 0 is an error. What it started in
// its process group does not outlive it.
func (c Command) Run(ctx context.Context, call Call, out io.Writer) error {
	return c.Exec(ctx, call.env(), out)
}

func (c Call) env() map[string]string {
	d, of := c.Deployment, c.Step.Color
	if c.Step.Verb == "" {
		of = d.To
	}
	return map[string]string{
		"BG_HOOK": c.Moment, "BG_STEP": string(c.Step.Verb), "BG_SERVICE": d.Service, "BG_DEPLOY": d.ID,
		"BG_FROM": d.From.String(), "BG_TO": d.To.String(), "BG_COLOR": of.String(), "BG_IMAGE": d.Image,
		"BG_OUTCOME": string(d.Outcome), "BG_REASON": d.Reason,
	}
}
