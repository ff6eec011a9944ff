package deploy

import (
	"context"
	"errors"
	"time"

	"bg/proxy"
)

// prepareTimeout is how long a preparation may take.
const prepareTimeout = 10 * time.Second

// prepare has the new color's nginx files rendered and proven while the color is
// asked whether it is ready, and tested: all that is left for the switch is to
// look whether that still holds. What fails here fails there again, where it is
// reported.
func (r *run) prepare(ctx context.Context, step Step) {
	r.preparing.Wait() // the one for addresses that a restart has changed
	input := proxy.RenderInput{Color: step.Color, Want: r.addresses, Forbid: r.forbid(ctx, step.Color, r.addresses)}
	// The readiness that this runs beside may be over first.
	ctx, done := context.WithTimeoutCause(context.WithoutCancel(ctx), prepareTimeout, errors.New("the preparation took too long"))
	r.preparing.Go(func() {
		defer done()
		_ = r.Proxy.Prepare(ctx, input)
	})
}
