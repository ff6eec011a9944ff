package registrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// reportTTL is how long a report may go without a word of the registrator until
	// Consul calls it critical: nobody keeps the catalog right any more.
	reportTTL = 5 * time.Minute
	// reportEvery is between two such words when nothing changed.
	reportEvery = time.Minute
	// maxReason bounds what of a failure's reason is repeated.
	maxReason = 500
	// reporter stands in the mark of a report where services of containers have
	// the container's id.
	reporter = "report"
)

// deployment is what a report needs of the document of a deployment.
type deployment struct {
	ID       string     `json:"id"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	Image    string     `json:"image"`
	Rollback bool       `json:"rollback"`
	Started  time.Time  `json:"started"`
	Ended    *time.Time `json:"ended"`
	Outcome  string     `json:"outcome"`
	Reason   string     `json:"reason"`
	By       struct {
		User string `json:"user"`
		Host string `json:"host"`
	} `json:"by"`
}

// report is the status of a check and its output.
type report struct{ status, text string }

// reportOf returns the service that carries the check of d's service, nil while KV
// was not read. It is an entry of its own, with neither address nor port: a check on
// the instances would take the live color out of every lookup when a deployment of
// the idle one failed, and would hold up the deployment that mends it.
func reportOf(d deployed, state standing, host Host) *Service {
	if !state.known() {
		return nil
	}
	r := state.report()
	return &Service{
		ID: reportID(d, host), Name: d.service + "-bg", Tags: []string{"bg"},
		Meta:   map[string]string{"bg_service": d.service},
		Mark:   Mark{Host: host.Name, Engine: host.Engine, Container: reporter},
		report: &r,
		Check: &api.AgentServiceCheck{Name: "Live color and last deployment of " + d.service, TTL: reportTTL.String(), Status: r.status,
			Notes: "bg registrator keeps this up to date from the keys under " + d.folder() + "/"},
	}
}

func reportID(d deployed, host Host) string { return host.Name + ":bg:" + d.folder() }

// report says how the service stands. A deployment that was undone is a warning:
// the live color goes on serving.
func (s standing) report() report {
	live := "no color is live yet"
	switch {
	case s.bad != "":
		return report{api.HealthCritical, fmt.Sprintf("which color is live is unknown: the key holds %q", s.bad)}
	case s.live != "":
		live = s.live + " is live"
	}
	if s.document == nil {
		return report{api.HealthPassing, live + "; no deployment is recorded"}
	}
	var d deployment
	if err := json.Unmarshal(s.document, &d); err != nil {
		return report{api.HealthWarning, live + "; the document of the newest deployment cannot be read"}
	}
	return report{statusOf(d.Outcome), live + "\n" + d.text()}
}

// statusOf returns the status of a check for the outcome of a deployment.
func statusOf(outcome string) string {
	switch outcome {
	case "running", "paused", "done":
		return api.HealthPassing
	case "undo failed": // a person must look
		return api.HealthCritical
	default:
		return api.HealthWarning
	}
}

func (d deployment) text() string {
	what := "deployment"
	if d.Rollback {
		what = "rollback"
	}
	from := d.From
	if from == "" {
		from = "nothing"
	}
	text := fmt.Sprintf("last %s %s, from %s to %s: %s\nimage %s, by %s on %s, since %s", what, d.ID, from, d.To, d.Outcome,
		d.Image, d.By.User, d.By.Host, d.Started.UTC().Format(time.RFC3339))
	if d.Ended != nil {
		text += " until " + d.Ended.UTC().Format(time.RFC3339)
	}
	if d.Reason != "" {
		text += "\n" + d.Reason[:min(len(d.Reason), maxReason)]
	}
	return text
}

// errReport is returned when Consul refuses a report: what containers serve is
// registered all the same.
var errReport = errors.New("report refused")

// applyReport registers a report. Consul's agent keeps a new output to itself for
// minutes while the status stays; what is registered anew it tells at once.
func (r *Registrator) applyReport(ctx context.Context, o op) error {
	err := r.agent.register(ctx, *o.service, false)
	if err == nil {
		err = r.agent.say(ctx, o.id, *o.service.report)
	}
	if err == nil {
		err = r.agent.register(ctx, *o.service, false)
	}
	r.status.called("report", err)
	if _, answered := errors.AsType[api.StatusError](err); answered {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	if err == nil {
		first, _, _ := strings.Cut(o.service.report.text, "\n")
		r.log.Info("reported", "id", o.id, "status", o.service.report.status, "says", first, "cause", o.cause)
	}
	return err
}

// reassure tells Consul now and then that the reports still hold.
func (r *Registrator) reassure(ctx context.Context, want truth) error {
	if time.Since(r.reported) < reportEvery {
		return nil
	}
	var errs []error
	for id, s := range want.services {
		if s.report != nil {
			r.reported = time.Now()
			err := r.agent.say(ctx, id, *s.report)
			if err != nil && !refused(err, http.StatusForbidden, http.StatusNotFound) { // its registration was refused already
				errs = append(errs, err)
			}
		}
	}
	return summary(errs)
}
