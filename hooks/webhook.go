package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"bg/color"
	"bg/deploy"
)

// Webhook posts to a URL. An answer other than 2xx is an error. The URL is a
// secret: no message shows more of it than its host.
type Webhook struct {
	URL    string
	Header http.Header
	JSON   bool // the whole call; else the text that Slack and its like take
	Client *http.Client
}

// Name says where the hook posts to.
func (w Webhook) Name() string {
	u, err := url.Parse(w.URL)
	if err != nil {
		return "webhook"
	}
	return "webhook at " + u.Host
}

// Run posts the call.
func (w Webhook) Run(ctx context.Context, call Call, _ io.Writer) error {
	body, err := w.body(call)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address is no URL")
	}
	if w.Header != nil {
		request.Header = w.Header.Clone()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := w.Client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		return fmt.Errorf("post: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // the status says enough
		return fmt.Errorf("answered %s: %q", response.Status, said)
	}
	return nil
}

func (w Webhook) body(call Call) ([]byte, error) {
	if w.JSON {
		return json.Marshal(struct {
			Moment     string            `json:"moment"`
			Step       deploy.Verb       `json:"step,omitempty"`
			Color      color.Color       `json:"color,omitempty"`
			Deployment deploy.Deployment `json:"deployment"`
		}{call.Moment, call.Step.Verb, call.Step.Color, call.Deployment})
	}
	return json.Marshal(map[string]string{"text": call.Text()})
}

// slackEscape replaces what has a meaning in Slack's texts:
// https://api.slack.com/reference/surfaces/formatting#escaping
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Text says in a line or two what happens, for people in a channel.
func (c Call) Text() string {
	d := c.Deployment
	var b strings.Builder
	if c.Step.Verb != "" {
		fmt.Fprintf(&b, "%s: %s of %s, %s", d.Service, c.Moment, c.Step.Color, d.Image)
	} else {
		b.WriteString(ending(d))
	}
	fmt.Fprintf(&b, " (deployment %s by %s@%s)", d.ID, d.By.User, d.By.Host)
	if d.Reason != "" {
		fmt.Fprintf(&b, "\n%s", d.Reason)
	}
	text := slackEscape.Replace(b.String())
	if d.By.Build != "" {
		text += "\n" + slackEscape.Replace(d.By.Build)
	}
	return text
}

// ending says how a deployment stands.
func ending(d deploy.Deployment) string {
	switch d.Outcome {
	case deploy.Done:
		return fmt.Sprintf("%s is %s now: %s", d.Service, d.To, d.Image)
	case deploy.UndoFailed:
		return fmt.Sprintf("%s needs somebody to look: %s failed and could not be undone", d.Service, d.Image)
	case deploy.Failed, deploy.Interrupted:
		return fmt.Sprintf("%s stays %s: %s %s and was undone", d.Service, d.From, d.Image, d.Outcome)
	default:
		return fmt.Sprintf("%s: %s is %s", d.Service, d.Image, d.Outcome)
	}
}
