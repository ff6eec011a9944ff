package config

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"bg/hint"
)

// Hook is a command or a request that a deployment makes around its steps or at
// its end: one of Run and Webhook is set.
type Hook struct {
	On       []string // "before switch", "after" any step, "failed", "end" with any outcome
	Timeout  time.Duration
	Required bool     // its failure fails the step
	Run      []string // a command and its arguments; from a text in the file, sh -c
	Webhook  *Webhook

	origin origin
}

// Webhook is where a hook posts to.
type Webhook struct {
	URL    string      // may hold ${NAME} of the environment
	Header http.Header // its values may, too
	Format string      // slack or json
}

// hookTimeout is the time of a hook that names none.
const hookTimeout = 30 * time.Second

// StepWords and OutcomeWords are what a hook can be on: the verbs of a
// deployment and how it can end.
func StepWords() []string {
	return []string{"start", "register", "pretest", "expose", "switch", "posttest", "commit", "drain", "stop"}
}

// OutcomeWords are the ways in which a run of bg leaves a deployment.
func OutcomeWords() []string {
	return []string{"done", "failed", "interrupted", "undo failed", "paused", "aborted"}
}

// hookWords are all words that a hook can be on.
func hookWords() []string {
	words := append(OutcomeWords(), "end", "before", "after")
	for _, step := range StepWords() {
		words = append(words, "before "+step, "after "+step)
	}
	return words
}

// hookList is the leaf that reads hooks.
func (l *loader) hookList(key string, node ast.Node) error {
	return l.list(key, node, func(key string, node ast.Node) error {
		hook, err := l.hook(key, node)
		l.cfg.Hooks = append(l.cfg.Hooks, hook)
		return err
	})
}

func (l *loader) hook(key string, node ast.Node) (Hook, error) {
	h, webhook := Hook{Timeout: hookTimeout, origin: l.origin(node, key)}, Webhook{Format: "slack"}
	leaves := map[string]leaf{
		"on":       func(key string, node ast.Node) (err error) { h.On, err = l.moments(key, node); return err },
		"timeout":  l.into(duration, func(v string) (err error) { h.Timeout, err = parseDuration(v, time.Second, day); return err }),
		"required": func(key string, node ast.Node) (err error) { h.Required, err = l.yes(key, node); return err },
		"run":      func(key string, node ast.Node) (err error) { h.Run, err = l.command(key, node); return err },
	}
	for name, read := range l.webhookLeaves(&webhook) {
		leaves["webhook."+name] = func(key string, node ast.Node) error { h.Webhook = &webhook; return read(key, node) }
	}
	if err := l.mapping(node, key, "", leaves); err != nil {
		return h, err
	}
	return h, l.wholeHook(key, node, h)
}

// wholeHook returns what h lacks.
func (l *loader) wholeHook(key string, node ast.Node, h Hook) error {
	around := func(word string) bool { return strings.HasPrefix(word, "before") || strings.HasPrefix(word, "after") }
	switch {
	case len(h.On) == 0:
		return l.fail(node, key, "does not say when: on is missing, such as \"before switch\" or failed")
	case (h.Run == nil) == (h.Webhook == nil):
		return l.fail(node, key, "takes one of run and webhook")
	case h.Webhook != nil && h.Webhook.URL == "":
		return l.fail(node, join(key, "webhook"), "the url is missing")
	case h.Required && !slices.ContainsFunc(h.On, around):
		return l.fail(node, key, "is required, and stops nothing: the deployment has ended by then")
	}
	return nil
}

// moments reads when a hook is called: a text or a list of them.
func (l *loader) moments(key string, node ast.Node) (words []string, err error) {
	add := l.into(text, func(v string) error {
		words = append(words, v)
		if known := hookWords(); !slices.Contains(known, v) {
			return fmt.Errorf("unknown word %q%s", v, didYouMean(v, known))
		}
		return nil
	})
	if _, several := node.(*ast.SequenceNode); several {
		return words, l.list(key, node, add)
	}
	err = add(key, node)
	return words, err
}

// yes reads true or false.
func (l *loader) yes(key string, node ast.Node) (bool, error) {
	value, ok := node.(*ast.BoolNode)
	if !ok {
		return false, l.fail(node, key, "is %s; it takes true or false", describe(node))
	}
	return value.Value, nil
}

func (l *loader) webhookLeaves(w *Webhook) map[string]leaf {
	return map[string]leaf{
		"url": l.into(text, checked(&w.URL, func(v string) error {
			// What stands for a variable is checked when it is filled in.
			if strings.Contains(v, "${") {
				return checkLine(v)
			}
			return checkHookURL(v)
		})),
		"header": func(key string, node ast.Node) (err error) { w.Header, err = l.header(key, node); return err },
		"format": l.into(text, checked(&w.Format, func(v string) error {
			if words := []string{"slack", "json"}; !slices.Contains(words, v) {
				return fmt.Errorf("unknown word %q%s", v, didYouMean(v, words))
			}
			return nil
		})),
	}
}

// checkHookURL accepts an address with a secret in its path or query. Messages
// about it do not show it.
func checkHookURL(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("it is not a URL such as https://hooks.example/services/T0/B0")
	}
	return checkLine(u.Host)
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Fill returns w with the variables in it filled in: a webhook's address is
// often a secret, which does not belong in a file. A variable that is not set is
// an *Error with the place of the hook.
func (h Hook) Fill(lookup func(string) (string, bool)) (Webhook, error) {
	var missing string
	fill := func(text string) string {
		return variable.ReplaceAllStringFunc(text, func(found string) string {
			name := variable.FindStringSubmatch(found)[1]
			value, _ := lookup(name)
			if value == "" && missing == "" {
				missing = name
			}
			return value
		})
	}
	filled := Webhook{URL: fill(h.Webhook.URL), Header: h.Webhook.Header.Clone(), Format: h.Webhook.Format}
	for _, values := range filled.Header {
		for i := range values {
			values[i] = fill(values[i])
		}
	}
	if missing != "" {
		return filled, hint.Wrap(h.origin.fail("names the variable %s, which is not set", missing), "export "+missing+"=…, or leave the hook out")
	}
	if err := checkHookURL(filled.URL); err != nil {
		return filled, h.origin.fail("webhook.url: %v", err)
	}
	return filled, nil
}
