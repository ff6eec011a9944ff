package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"bg/engine"
	"bg/integration"
)

const (
	// logLines is how much of each container's log a failure keeps.
	logLines = 200
	// evidenceTimeout is how long all of it may take: an undo cannot wait.
	evidenceTimeout = 5 * time.Second
	// maxEvidence is how many bytes of the document the evidence takes.
	maxEvidence = 64 << 10
	// maxPart is how many of them all that is no container's log takes, each.
	maxPart = 8 << 10
	// shownLines is how much of a log, and of nginx's, a person is shown.
	shownLines = 20
)

// Evidence is what was there when a deployment failed, kept before it was
// undone. Lines are in the order of their writing; of what was too long the
// newest lines are kept.
type Evidence struct {
	// Answer is the failing check's, nil when it was none of HTTP.
	Answer *Answer `json:"answer,omitempty"`
	// Checks are those of Consul, and health checks of Docker, that do not pass.
	Checks []FailingCheck `json:"checks,omitempty"`
	// Nginx are its warnings and errors since the deployment began.
	Nginx []string `json:"nginx,omitempty"`
	// Logs are the ends of the new containers' logs.
	Logs []ContainerLog `json:"logs,omitempty"`
	// Missing says what could not be read, and why.
	Missing []string `json:"missing,omitempty"`
}

// Answer is an answer other than the expected one.
type Answer struct {
	From   string `json:"from"`   // the URL
	Status string `json:"status"` // such as "502 Bad Gateway"
	Want   string `json:"want"`
	Body   string `json:"body,omitempty"` // its start
}

// FailingCheck is a health check that does not pass.
type FailingCheck struct {
	Of     string `json:"of"` // the instance, or the container
	Name   string `json:"name"`
	Status string `json:"status"`
	Output string `json:"output,omitempty"`
}

// ContainerLog is the end of a container's log.
type ContainerLog struct {
	Container string   `json:"container"`
	Lines     []string `json:"lines"`
}

// UnmarshalJSON also reads the documents of earlier versions, whose evidence is
// one text.
func (e *Evidence) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*e = Evidence{Logs: []ContainerLog{{Lines: lines(text)}}}
		return nil
	}
	type plain Evidence
	return json.Unmarshal(data, (*plain)(e))
}

// empty reports whether there is nothing to tell.
func (e Evidence) empty() bool {
	return e.Answer == nil && len(e.Checks)+len(e.Nginx)+len(e.Logs)+len(e.Missing) == 0
}

// Text returns the evidence for a person to read, with the last lines of each
// log. Nothing in it can steer a terminal.
func (e Evidence) Text() string {
	var b strings.Builder
	if a := e.Answer; a != nil {
		fmt.Fprintf(&b, "%s answered %s, want %s: %s\n", a.From, a.Status, a.Want, a.Body)
	}
	for _, c := range e.Checks {
		fmt.Fprintf(&b, "%s: %s is %s: %s\n", c.Of, c.Name, c.Status, c.Output)
	}
	shown(&b, "nginx", e.Nginx)
	for _, l := range e.Logs {
		shown(&b, l.Container, l.Lines)
	}
	for _, m := range e.Missing {
		fmt.Fprintf(&b, "not kept: %s\n", m)
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, b.String())
}

// shown writes the end of a log under its title.
func shown(b *strings.Builder, title string, list []string) {
	switch {
	case len(list) == 0:
		return
	case len(list) > shownLines:
		fmt.Fprintf(b, "%s, the last %d of %d lines:\n", title, shownLines, len(list))
	default:
		fmt.Fprintf(b, "%s:\n", title)
	}
	for _, line := range list[max(0, len(list)-shownLines):] {
		fmt.Fprintf(b, "  %s\n", line)
	}
}

// cut returns e with as many of its newest lines as the document has room for.
func (e Evidence) cut() Evidence {
	e.Nginx = newest(e.Nginx, maxPart)
	e.Missing = newest(e.Missing, maxPart)
	room := maxPart
	for i := range e.Checks {
		e.Checks[i].Output = beginning(e.Checks[i].Output, maxPart/8)
		if room -= size(e.Checks[i]); room < 0 {
			e.Checks = e.Checks[:i]
			break
		}
	}
	room = maxEvidence - size(Evidence{Answer: e.Answer, Checks: e.Checks, Nginx: e.Nginx, Missing: e.Missing})
	for i, l := range e.Logs {
		// What one log leaves is for those after it.
		share := room / (len(e.Logs) - i)
		e.Logs[i].Lines = newest(l.Lines, share-size(ContainerLog{Container: l.Container}))
		room -= size(e.Logs[i])
	}
	return e
}

// newest returns the last lines that take at most room bytes of the document.
// When not even one does, it is the end of that.
func newest(list []string, room int) []string {
	for i, line := range slices.Backward(list) {
		if room -= size(line); room >= 0 {
			continue
		}
		if i == len(list)-1 {
			return []string{last(line, max(0, (room+size(line))/6-indent))} // an escaped byte takes six
		}
		return list[i+1:]
	}
	return list
}

// indent is what each line of the document has before and after its text.
const indent = 12

// size returns how many bytes of the document v takes.
func size(v any) int {
	text, err := json.MarshalIndent(v, "      ", "  ")
	if err != nil {
		return maxEvidence // a string that is no text; none is one
	}
	return len(text) + indent
}

// beginning returns the start of text, at most limit bytes of it.
func beginning(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// lines splits text, which may end with a line's end.
func lines(text string) []string {
	text = strings.TrimRight(strings.ToValidUTF8(text, "?"), "\r\n")
	if text == "" {
		return nil
	}
	list := strings.Split(text, "\n")
	for i := range list {
		list[i] = strings.TrimRight(list[i], "\r")
	}
	return list
}

// keepEvidence keeps what was there when cause made the deployment fail. It is
// written with the intent of the first undo, before that is done.
func (r *run) keepEvidence(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	e := r.collect(ctx, cause).cut()
	if e.empty() {
		return
	}
	r.record.Evidence = &e
	r.Report(Event{Time: time.Now(), Kind: Log, Evidence: &e})
}

// collect reads all evidence side by side.
func (r *run) collect(ctx context.Context, cause error) Evidence {
	containers := r.created(ctx)
	e := Evidence{Answer: answerOf(cause), Logs: make([]ContainerLog, len(containers))}
	var nginx, consul []string
	var checks []FailingCheck
	failed := make([]string, len(containers))
	var all errgroup.Group
	for i, c := range containers {
		e.Logs[i].Container = c.Name
		all.Go(func() error {
			text, err := r.Engine.Logs(ctx, c.ID, logLines)
			e.Logs[i].Lines, failed[i] = lines(text), complaint("the log of "+c.Name, err)
			return nil
		})
	}
	all.Go(func() (err error) {
		e.Nginx, err = r.Proxy.ErrorLines(ctx, r.record.Started)
		nginx = append(nginx, complaint("nginx's log", err))
		return nil
	})
	all.Go(func() error {
		name := r.Source.Catalog(r.plan.To)
		instances, err := r.Catalog.Instances(ctx, name)
		for _, i := range instances {
			for _, c := range i.Failing() {
				checks = append(checks, FailingCheck{Of: name + " at " + i.HostPort(), Name: c.Name, Status: c.Status, Output: strings.TrimSpace(c.Output)})
			}
		}
		consul = append(consul, complaint("Consul's checks", err))
		return nil
	})
	_ = all.Wait() // none of them fails: what could not be read is said in Missing
	e.Checks = append(unhealthy(containers), checks...)
	e.Logs = slices.DeleteFunc(e.Logs, func(l ContainerLog) bool { return len(l.Lines) == 0 })
	e.Missing = slices.DeleteFunc(slices.Concat(failed, nginx, consul), func(s string) bool { return s == "" })
	return e
}

// created returns the new color's containers as they are now, also those that
// could be created and not be started.
func (r *run) created(ctx context.Context) []engine.Container {
	if now, err := r.Engine.Refresh(ctx, r.containers); len(r.containers) > 0 && err == nil {
		return now
	}
	all, err := r.Engine.List(ctx, r.Source, r.plan.To)
	if err != nil {
		return r.containers
	}
	return slices.DeleteFunc(all, func(c engine.Container) bool { return c.Deployment != r.record.Origin() })
}

// answerOf returns the answer that cause is about.
func answerOf(cause error) *Answer {
	failed, ok := errors.AsType[*integration.AnswerError](cause)
	if !ok {
		return nil
	}
	return &Answer{From: failed.URL, Status: failed.Status, Want: failed.Want, Body: failed.Body}
}

// unhealthy returns the health checks of Docker that do not pass.
func unhealthy(containers []engine.Container) []FailingCheck {
	var list []FailingCheck
	for _, c := range containers {
		if c.Health != "" && c.Health != "healthy" {
			list = append(list, FailingCheck{Of: c.Name, Name: "HEALTHCHECK", Status: c.Health, Output: strings.TrimSpace(c.HealthOutput)})
		}
	}
	return list
}

// complaint says that something could not be read, "" when it could.
func complaint(what string, err error) string {
	if err == nil {
		return ""
	}
	return what + ": " + err.Error()
}
