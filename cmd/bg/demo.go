package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"bg/color"
	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hint"
	"bg/load"
)

// The demo deploys the sample of a checkout.
const (
	demoService = "books-ms"
	demoFolder  = "examples/books-ms"
)

// The demo's load: at least so many requests of each kind are sent while the
// deployments run.
const (
	demoKeepAlive = 10_000
	demoClose     = 10_000
	demoSlow      = 200
)

func demoCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "start the stack and deploy the sample twice under load (in a checkout of bg)",
		Description: "It counts every failed request, prints how long each step took, and leaves everything\n" +
			"running for you to look at. bg stack down --volumes ends the stack.\n\n" +
			"   bg demo",
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return demo(c.Context, s) },
	}
}

// demo shows what bg is for.
func demo(ctx context.Context, s streams) error {
	if _, err := os.Stat(demoFolder); errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(usageError{fmt.Errorf("there is no %s here", demoFolder)}, "run it in a checkout of bg, as make demo does")
	}
	if err := stackUp(ctx, s); err != nil {
		return err
	}
	if err := demoImages(ctx, s.Err); err != nil {
		return err
	}
	var requests demoLoad
	var done []*deploy.Deployment
	for _, tag := range []string{"1.0", "2.0"} {
		d, err := demoDeploy(ctx, s, tag, &requests)
		if err != nil {
			requests.stop()
			return err
		}
		done = append(done, d)
	}
	results := requests.enough(ctx)
	demoTables(s.Out, done, results)
	for _, r := range results {
		if r.Failed > 0 {
			return fmt.Errorf("%d of %d %s requests failed: %v", r.Failed, r.Sent, r.Name, r.Errors)
		}
	}
	return nil
}

// demoImages makes the database's image and the sample's two versions.
func demoImages(ctx context.Context, notes io.Writer) error {
	if err := withEngine(ctx, streams{Err: notes}, func(e *engine.Engine) error { return ensureImage(ctx, e, "redis:8", notes) }); err != nil {
		return err
	}
	for _, tag := range []string{"1.0", "2.0"} {
		fmt.Fprintf(notes, "building %s:%s\n", demoService, tag)
		command := exec.CommandContext(ctx, "make", "-s", "-C", demoFolder, "image", "TAG="+tag)
		command.Stdout, command.Stderr = notes, notes
		if err := command.Run(); err != nil {
			return fmt.Errorf("build %s:%s: %w", demoService, tag, err)
		}
	}
	return nil
}

// demoDeploy deploys one version. The load begins when nginx sends to the first
// color for the first time: before that there is nothing that could answer.
func demoDeploy(ctx context.Context, s streams, tag string, requests *demoLoad) (*deploy.Deployment, error) {
	cfg, err := config.Load(config.Source{
		File: filepath.Join(demoFolder, "bg.yml"), Service: demoService, Lookup: os.LookupEnv,
		Flags: map[string]string{"tag": tag},
	})
	if err != nil {
		return nil, err
	}
	d, closing, err := wire(ctx, cfg, newReporter(s, "text"))
	if err != nil {
		return nil, err
	}
	defer closing()
	report, started := d.Report, error(nil)
	d.Report = func(e deploy.Event) {
		answers := e.Kind == deploy.Planned && e.Plan.From != color.None || e.Kind == deploy.End && e.Step == deploy.Switch
		if answers {
			started = errors.Join(started, requests.start(ctx, cfg.Proxy.URL))
		}
		report(e)
	}
	fmt.Fprintln(s.Err)
	deployment, err := d.Deploy(ctx, newRequest(cfg, false))
	return deployment, errors.Join(err, started)
}

// demoLoad is the load of the demo. Its zero value has not begun.
type demoLoad struct {
	mu   sync.Mutex
	load *load.Load
}

// start begins the load, once.
func (l *demoLoad) start(ctx context.Context, url string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.load != nil {
		return nil
	}
	var err error
	l.load, err = load.Start(context.WithoutCancel(ctx), url,
		load.Clients{Name: "keep-alive", Number: 16, Path: "/api/v1/books", KeepAlive: true, Label: "X-Color"},
		load.Clients{Name: "non-keep-alive", Number: 16, Path: "/ping", Label: "X-Color"},
		load.Clients{Name: "slow (700 ms)", Number: 64, Path: "/api/v1/slow?ms=700", KeepAlive: true, Label: "X-Color"},
		load.Clients{Name: "POST", Number: 2, Method: "POST", Path: "/api/v1/books", Body: `{"title":"The DevOps 2.0 Toolkit","author":"demo"}`, Pause: 20 * time.Millisecond, Label: "X-Color"},
	)
	return err
}

// enough goes on until each kind of request was sent often enough, and returns
// the counts.
func (l *demoLoad) enough(ctx context.Context) []load.Result {
	wanted := map[string]int{"keep-alive": demoKeepAlive, "non-keep-alive": demoClose, "slow (700 ms)": demoSlow}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		short := false
		for _, r := range l.load.Results() {
			short = short || r.Sent < wanted[r.Name]
		}
		if !short {
			break
		}
		<-tick.C
	}
	return l.stop()
}

func (l *demoLoad) stop() []load.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.load == nil {
		return nil
	}
	return l.load.Stop()
}

// demoTables prints what the deployments and the requests did.
func demoTables(w io.Writer, deployments []*deploy.Deployment, results []load.Result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTEP\tCOLOR\tTOOK\tOBSERVED")
	for _, d := range deployments {
		fmt.Fprintf(t, "%s\t%s -> %s\t%s\t%s\n", d.Service, d.From, d.To, d.Took(time.Now()).Round(time.Millisecond), d.Image)
		for _, step := range d.Steps {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", step.Step, step.Color, step.Duration, step.Observed)
		}
	}
	fmt.Fprintln(t, "\nREQUESTS\tSENT\tFAILED\tSLOWEST\tANSWERED BY")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\tblue %d, green %d\n", r.Name, r.Sent, r.Failed, r.Slowest.Round(time.Millisecond), r.Labels["blue"], r.Labels["green"])
	}
	t.Flush() //nolint:errcheck // a table on standard output
	fmt.Fprintf(w, "\nConsul UI: http://127.0.0.1:8500/ui/dc1/kv/%s/\n", demoService)
	fmt.Fprintf(w, "try: curl -i localhost:8000/ping; bin/bg rollback %s\n", demoService)
}
