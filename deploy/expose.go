package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bg/color"
	"bg/hint"
	"bg/proxy"
)

// expose plans that a color which is held before the switch can be reached through
// nginx by those who ask for it. Where nothing is live there is nowhere to send all
// others to.
func (p *Plan) expose(seen Observation) {
	if !seen.Proxy.Previews || p.From == color.None || p.Until != Register && p.Until != Pretest {
		return
	}
	p.add(Expose, p.To, fmt.Sprintf("nginx sends there who asks for it by %s, and all others to %s", proxy.PreviewName, p.From))
}

// expose makes nginx send those to the new color who ask for it. For its undo, and
// for whoever comes after a kill, it is a switch: nginx may send to the new color.
// A preview that cannot be had is a warning, and nginx is as it was then.
func (r *run) expose(ctx context.Context, step Step) (string, error) {
	want, err := r.want(r.plan.From)
	if err != nil {
		return "", err
	}
	change, err := r.apply(ctx, step, proxy.RenderInput{
		Color: r.plan.From, Want: want, Preview: proxy.Preview{Color: step.Color, Want: r.addresses},
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, proxy.ErrRestore) {
		r.warn(hint.Default(fmt.Errorf("%s cannot be reached through nginx while it is held: %w", step.Color, err),
			"the location has to use the variable of the template that bg ships: see templates/nginx-includes.conf.ctmpl"))
		return "no preview", nil
	}
	if err != nil {
		return "", err
	}
	r.record.Preview = fmt.Sprintf("curl -H '%s: %s' %s/%s", proxy.PreviewName, step.Color,
		strings.TrimRight(r.Settings.ProxyURL, "/"), strings.TrimLeft(r.Settings.Probe.Path, "/"))
	return change.String(), nil
}

// PreviewText says how the color that is held is reached, "" when it is not.
func (d Deployment) PreviewText() string {
	if d.Preview == "" || d.Outcome != Paused {
		return ""
	}
	return previewText(d.Preview, d.To.String())
}

func previewText(command, to string) string {
	return fmt.Sprintf("preview: %s (or with the cookie %s=%s)", command, proxy.PreviewName, to)
}
