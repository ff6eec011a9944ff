package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
	"bg/registry"
)

func historyCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "list the deployments of a service, or show one of them whole", ArgsUsage: "SERVICE [ID]",
		Description: "The newest one comes first. The beginning or the end of an ID will do, when no other one has it.\n\n" +
			"   bg history books-ms\n" +
			"   bg history books-ms 20261121-010203-7f3a\n" +
			"   bg history books-ms 7f3a\n" +
			"   bg history books-ms -o json | jq -r '.[] | select(.outcome == \"failed\").id'",
		Flags: append(settingFlags(func(set config.Setting) bool { return set.Key == "consul.prefix" }),
			formatFlag(), &cli.IntFlag{Name: "number", Aliases: []string{"n"}, Value: 20, Usage: "how many are listed in the table"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return history(c, s) },
	}
}

// formatFlag is the flag of all commands that answer a question.
func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table, or json"}
}

// answersJSON returns whether the answer is to be JSON, or the usage error of a
// format that does not exist.
func answersJSON(c *cli.Context) (bool, error) {
	switch format := c.String("output"); format {
	case "json", "table":
		return format == "json", nil
	default:
		return false, usageError{fmt.Errorf("--output is table or json, not %q", format)}
	}
}

// writeJSON writes value for a script.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func history(c *cli.Context, s streams) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	if n := c.Args().Len(); n < 1 || n > 2 {
		return usageError{fmt.Errorf("history takes the service and, if wanted, the id of one deployment: see %s --help", c.Command.HelpName)}
	}
	cfg, err := loadService(c, config.Source{}, c.Args().First())
	if err != nil {
		return err
	}
	client, err := registry.Open()
	if err != nil {
		return err
	}
	list, err := deploy.History(c.Context, registry.NewJournal(client, cfg.Consul.Prefix), cfg.Service)
	if err != nil {
		return err
	}
	if id := c.Args().Get(1); id != "" {
		one, err := deploy.Find(list, cfg.Service, id)
		if err != nil {
			return err
		}
		if inJSON {
			return writeJSON(s.Out, one)
		}
		return showDeployment(s.Out, one, time.Now())
	}
	if inJSON {
		return writeJSON(s.Out, list)
	}
	if len(list) == 0 {
		fmt.Fprintf(s.Err, "%s was never deployed\n", cfg.Service)
		return nil
	}
	return listDeployments(s.Out, list[:min(len(list), max(c.Int("number"), 1))], time.Now())
}

// listDeployments writes one line for each deployment.
func listDeployments(w io.Writer, list []deploy.Deployment, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTARTED\tTOOK\tCOLOR\tIMAGE\tBY\tOUTCOME")
	for _, d := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Started.UTC().Format(time.RFC3339), roughly(d.Took(now)),
			fmt.Sprintf("%s -> %s", d.From, d.To), shortImage(d.Image), d.By.User+"@"+d.By.Host, outcome(d))
	}
	return t.Flush()
}

// outcome says how a deployment ended, and why on the same line.
func outcome(d deploy.Deployment) string {
	text := string(d.Outcome)
	if d.Rollback {
		text += " (rollback)"
	}
	if d.Reason != "" {
		first, _, _ := strings.Cut(d.Reason, "\n")
		text += ": " + first
	}
	return text
}

// showDeployment writes all that is known of one deployment.
func showDeployment(w io.Writer, d deploy.Deployment, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	fact("deployment", d.ID)
	fact("service", fmt.Sprintf("%s, %s -> %s", d.Service, d.From, d.To))
	fact("outcome", outcome(d))
	fact("image", d.Image)
	fact("image id", d.ImageID)
	fact("digest", d.Digest)
	fact("containers of", d.Restart)
	fact("by", fmt.Sprintf("%s@%s (pid %d)", d.By.User, d.By.Host, d.By.PID))
	fact("build", d.By.Build)
	fact("described by", d.Config)
	fact("started", d.Started.UTC().Format(time.RFC3339))
	if d.Ended != nil {
		fact("ended", d.Ended.UTC().Format(time.RFC3339))
	}
	fact("took", roughly(d.Took(now)))
	if d.WarmUntil != nil {
		fact("warm until", fmt.Sprintf("%s (%s)", d.WarmUntil.UTC().Format(time.RFC3339), d.From))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := showRecords(w, "STEP", d.Steps); err != nil {
		return err
	}
	if err := showRecords(w, "UNDO", d.Undo); err != nil {
		return err
	}
	for _, warning := range d.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
	if d.Probe != nil {
		fmt.Fprintf(w, "\nprobes: %s\n", d.Probe)
	}
	if d.Evidence != nil {
		fmt.Fprintf(w, "\nwhat was there when it failed:\n%s", d.Evidence.Text())
	}
	return nil
}

// showRecords writes the steps, or what undid them, and what tests wrote.
func showRecords(w io.Writer, title string, records []deploy.Record) error {
	if len(records) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tCOLOR\tSTARTED\tTOOK\tOBSERVED\n", title)
	for _, r := range records {
		observed := r.Observed
		switch {
		case r.Error != "":
			observed = "FAILED: " + strings.ReplaceAll(r.Error, "\n", "; ")
		case r.Duration == "":
			observed = "begun; what came of it is not known"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Step, r.Color, r.Started.UTC().Format("15:04:05.000"), r.Duration, observed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range records {
		if r.Output != "" {
			fmt.Fprintf(w, "\noutput of %s:\n%s\n", r.Step, strings.TrimRight(r.Output, "\n"))
		}
	}
	return nil
}

// roughly rounds a time to what fits a table.
func roughly(d time.Duration) string {
	if d > time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// shortImage shortens an image's id to the length that Docker shows.
func shortImage(ref string) string {
	if id, isID := strings.CutPrefix(ref, "sha256:"); isID && len(id) > 12 {
		return "sha256:" + id[:12]
	}
	return ref
}
