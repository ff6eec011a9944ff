package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"bg/color"
	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hint"
	"bg/registry"
)

// watchPause is the time between two looks of --watch: Docker and nginx tell
// nobody what changes there.
const watchPause = time.Second

func statusCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "say how a service stands, or all of them: live color, containers, nginx, deployment, and what disagrees", ArgsUsage: "[SERVICE]",
		Description: "What disagrees is named with the command that mends it. Without SERVICE it lists every service\n" +
			"that Consul knows; containers and nginx are looked at where this machine has the service's folder.\n\n" +
			"   bg status books-ms\n" +
			"   bg status books-ms --watch\n" +
			"   bg status\n" +
			"   bg status books-ms -o json | jq -r '.problems[].mend'",
		Flags: append(settingFlags(func(config.Setting) bool { return true }), fileFlag(), formatFlag(),
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on showing it until Ctrl-C"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return statusAction(c, s) },
	}
}

func statusAction(c *cli.Context, s streams) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	if c.Args().Len() > 1 {
		_, err := service(c)
		return err
	}
	look := func() (any, string, error) { return oneStatus(c, s) }
	if c.Args().Len() == 0 {
		look = func() (any, string, error) { return allStatus(c, s) }
	}
	show := func(value any, text string) error {
		if inJSON {
			return writeJSON(s.Out, value)
		}
		_, err := fmt.Fprint(s.Out, text)
		return err
	}
	if c.Bool("watch") {
		return watch(c.Context, s.Out, look, show)
	}
	value, text, err := look()
	if err != nil {
		return err
	}
	return show(value, text)
}

// watch shows what look returns until ctx ends: on a terminal always at the same
// place, elsewhere whenever it has changed.
func watch(ctx context.Context, out io.Writer, look func() (any, string, error), show func(any, string) error) error {
	f, isFile := out.(*os.File)
	live := isFile && term.IsTerminal(int(f.Fd()))
	shown := ""
	for {
		value, text, err := look()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Ctrl-C is how it ends
		case err != nil:
			return err
		}
		if live {
			fmt.Fprint(out, "\x1b[H\x1b[2J")
		}
		if now := ageless(value); live || now != shown {
			if err := show(value, text); err != nil {
				return err
			}
			shown = now
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// ageless is value without what changes each second.
func ageless(value any) string {
	if status, ok := value.(deploy.Status); ok && status.Open != nil {
		open := *status.Open
		open.Age = ""
		status.Open = &open
		value = status
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// oneStatus looks at the service that the command line names.
func oneStatus(c *cli.Context, s streams) (any, string, error) {
	cfg, err := loadFolder(c, io.Discard)
	if isA[usageError](err) {
		if cfg, err = loadConfig(c); err != nil {
			return nil, "", err
		}
		status, err := consulStatus(c.Context, cfg, hint.Wrap(errors.New("this is not the service's folder"), "go there, or name its bg.yml with --file"))
		return status, status.Text(), err
	}
	if err != nil {
		return nil, "", err
	}
	status, err := fullStatus(c.Context, cfg, s)
	return status, status.Text(), err
}

// fullStatus looks at everything that cfg describes.
func fullStatus(ctx context.Context, cfg *config.Config, s streams) (deploy.Status, error) {
	shown := newReporter(s, "text")
	defer shown.done()
	d, closing, err := wire(ctx, cfg, shown)
	if isOneOf(err, engine.ErrUnreachable) {
		return consulStatus(ctx, cfg, err)
	}
	if err != nil {
		return deploy.Status{}, err
	}
	defer closing()
	return d.Status(ctx, cfg.Service, d.Journal.(*registry.Journal)), nil
}

// consulStatus looks at what Consul has.
func consulStatus(ctx context.Context, cfg *config.Config, why error) (deploy.Status, error) {
	client, err := registry.Open()
	if err != nil {
		return deploy.Status{}, err
	}
	journal := registry.NewJournal(client, cfg.Consul.Prefix)
	d := &deploy.Deployer{Colors: color.NewStore(client, cfg.Consul.Prefix), Catalog: registry.NewCatalog(client), Journal: journal, Source: source(cfg, nil)}
	return deploy.ConsulStatus(ctx, d, cfg.Service, journal, why)
}

// nowhere is a folder that describes no service: what Consul says of one must not
// be mixed with the bg.yml of another.
var nowhere = config.Source{Dir: "/"}

// allStatus looks at every service.
func allStatus(c *cli.Context, s streams) (any, string, error) {
	base, err := loadService(c, nowhere, "all")
	if err != nil {
		return nil, "", err
	}
	client, err := registry.Open()
	if err != nil {
		return nil, "", err
	}
	journal := registry.NewJournal(client, base.Consul.Prefix)
	names, err := journal.Services(c.Context)
	if err != nil {
		return nil, "", err
	}
	list := make([]deploy.Status, 0, len(names))
	for _, name := range names {
		status, err := statusOf(c, s, journal, name)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, status)
	}
	return list, statusTable(list), nil
}

// statusOf looks at one of all services: at everything, where its folder is here.
func statusOf(c *cli.Context, s streams, journal *registry.Journal, name string) (deploy.Status, error) {
	document, err := journal.Newest(c.Context, name)
	if err != nil {
		return deploy.Status{}, err
	}
	if folder := deploy.FolderOf(document, whoami().Host); folder != "" {
		if _, err := os.Stat(folder); err == nil {
			if cfg, err := loadService(c, config.Source{Dir: folder}, name); err == nil {
				return fullStatus(c.Context, cfg, s)
			}
		}
	}
	cfg, err := loadService(c, nowhere, name)
	if err != nil {
		return deploy.Status{}, err
	}
	return consulStatus(c.Context, cfg, errors.New("its folder is not on this machine"))
}

// statusTable is one line for each service.
func statusTable(list []deploy.Status) string {
	if len(list) == 0 {
		return "no service was deployed\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tLIVE\tVERSION\tSINCE\tBY\tSTATE\tMEND")
	for _, s := range list {
		since, by, mend := "", "", ""
		if s.Since != nil {
			since = s.Since.Format(time.RFC3339)
		}
		if s.By != nil {
			by = s.By.User + "@" + s.By.Host
		}
		if len(s.Problems) > 0 {
			mend = s.Problems[0].Mend
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Service, s.Live, s.Version(), since, by, s.State(), mend)
	}
	if err := w.Flush(); err != nil {
		return err.Error() // a Builder never fails
	}
	return b.String()
}
