package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const day = 24 * time.Hour

// textOf returns the setting of a text that check accepts.
func textOf(key, usage string, field func(*Config) *string, check func(string) error) Setting {
	return Setting{Key: key, Usage: usage, kind: text, set: func(c *Config, value string) error {
		*field(c) = value
		return check(value)
	}}
}

// numberOf returns the setting of a number from low to high.
func numberOf(key, usage string, low, high int, field func(*Config) *int) Setting {
	return Setting{Key: key, Usage: usage, kind: number, set: func(c *Config, value string) error {
		n, err := parseNumber(value, low, high)
		*field(c) = n
		return err
	}}
}

// durationOf returns the setting of a time from low to high.
func durationOf(key, usage string, low, high time.Duration, field func(*Config) *time.Duration) Setting {
	return Setting{Key: key, Usage: usage, kind: duration, set: func(c *Config, value string) error {
		d, err := parseDuration(value, low, high)
		*field(c) = d
		return err
	}}
}

func parseNumber(value string, low, high int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", value)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%d is not within %d and %d", n, low, high)
	}
	return n, nil
}

func parseDuration(value string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		if _, err := strconv.Atoi(value); err == nil {
			return 0, fmt.Errorf("%s has no unit; write %ss for seconds", value, value)
		}
		return 0, fmt.Errorf("%q is not a duration such as 500ms, 30s or 5m", value)
	}
	if d < low || d > high {
		return 0, fmt.Errorf("%s is not within %s and %s", d, low, high)
	}
	return d, nil
}

func setKeep(c *Config, value string) (err error) {
	if c.Keep = 0; value == "stopped" {
		return nil
	}
	if c.Keep, err = parseDuration(value, time.Second, 30*day); err != nil {
		return fmt.Errorf("%q is neither \"stopped\" nor a duration from 1s to 720h", value)
	}
	return nil
}

func setPrefix(c *Config, value string) error {
	c.Consul.Prefix = value
	if value == "" {
		return nil
	}
	c.Consul.Prefix = strings.TrimSuffix(value, "/") + "/"
	return matches(prefixForm, `letters, digits, ".", "_", "-" and single slashes, without one at the start`)(value)
}

// The forms of names. Each keeps out what could leave its place in a Consul
// key, a URL, an nginx file or a terminal.
var (
	serviceForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	catalogForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	prefixForm    = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*/?$`)
	projectForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	containerForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	imageForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)
	tagForm       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	headerForm    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
	methodForm    = regexp.MustCompile(`^[A-Z]+$`)
	nginxPathForm = regexp.MustCompile(`^/[A-Za-z0-9._/@+,:=-]+$`)
)

// matches returns a check for form; allowed says it in words.
func matches(form *regexp.Regexp, allowed string) func(string) error {
	return func(value string) error {
		if !form.MatchString(value) {
			return fmt.Errorf("%q is not allowed; it takes %s", value, allowed)
		}
		return nil
	}
}

// optional returns check for values that may also be empty.
func optional(check func(string) error) func(string) error {
	return func(value string) error {
		if value == "" {
			return nil
		}
		return check(value)
	}
}

func checkService(value string) error {
	if len(value) > 63 {
		return fmt.Errorf("%q is longer than 63 characters", value)
	}
	return matches(serviceForm, `lower-case letters, digits and, inside, "-"`)(value)
}

func checkImage(value string) error {
	return optional(matches(imageForm, "an image's name such as registry:5000/team/books-ms:1.2"))(value)
}

func checkTag(value string) error {
	return optional(matches(tagForm, `letters, digits, "_", "." and "-"`))(value)
}

func checkContainer(value string) error {
	return matches(containerForm, "a container's name")(value)
}

func checkHeader(value string) error {
	return matches(headerForm, `letters, digits and "-"`)(value)
}

func checkCatalog(value string) error {
	err := filled(value, matches(catalogForm, `letters, digits, ".", "_", "-", {service} and {color}`), "{service}", "{color}")
	if err == nil && !strings.Contains(value, "{color}") {
		return fmt.Errorf("%q has no {color}; the colors need two names", value)
	}
	return err
}

func checkProject(value string) error {
	return filled(value, matches(projectForm, `lower-case letters, digits, "_", "-" and {service}`), "{service}")
}

func checkComposeService(value string) error {
	return optional(func(value string) error {
		return filled(value, matches(containerForm, `letters, digits, ".", "_", "-", {service} and {color}`), "{service}", "{color}")
	})(value)
}

func checkPull(value string) error {
	words := []string{"always", "missing", "never"}
	if !slices.Contains(words, value) {
		return fmt.Errorf("unknown word %q%s", value, didYouMean(value, words))
	}
	return nil
}

// filled checks value with the placeholders that it may hold filled in.
func filled(value string, check func(string) error, placeholders ...string) error {
	for rest := value; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			break
		}
		name, after, closed := strings.Cut(after, "}")
		if p := "{" + name + "}"; closed && !slices.Contains(placeholders, p) {
			return fmt.Errorf("unknown placeholder %q%s", p, didYouMean(p, placeholders))
		}
		rest = after
	}
	for _, p := range placeholders {
		value = strings.ReplaceAll(value, p, "x")
	}
	return check(value)
}

// checkFile returns a check for the name of a file on this machine.
func checkFile(placeholders ...string) func(string) error {
	return func(value string) error {
		return filled(value, func(name string) error {
			if name == "" {
				return errors.New("the name of a file is missing")
			}
			return checkLine(name)
		}, placeholders...)
	}
}

// checkMetricsFile accepts a name that node_exporter reads.
func checkMetricsFile(value string) error {
	if !strings.HasSuffix(value, ".prom") {
		return fmt.Errorf("%q does not end with .prom", value)
	}
	return checkFile("{service}")(value)
}

// checkLine accepts a text that fits on one line.
func checkLine(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("%q has control characters", value)
	}
	return nil
}

// checkNginxPath accepts a path that can stand in an nginx file as it is, and
// that both colors share: with a file for each, nginx would read two.
func checkNginxPath(value string) error {
	return filled(value, func(name string) error {
		switch {
		case !strings.HasPrefix(name, "/"):
			return fmt.Errorf("%q is not an absolute path", value)
		case path.Clean(name) != name:
			return fmt.Errorf("%q is not in its shortest form, without \"..\", \"//\" and a slash at the end", value)
		}
		return matches(nginxPathForm, "letters, digits and ._/@+,:=-")(name)
	}, "{service}")
}

// checkURLPath accepts a path with an optional query, as requests carry it.
func checkURLPath(value string) error {
	if !strings.HasPrefix(value, "/") || strings.HasPrefix(value, "//") {
		return fmt.Errorf("%q does not start with one slash", value)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>\^{|}#`+"`", r) }) {
		return fmt.Errorf("%q has characters that a URL needs escaped", value)
	}
	_, err := url.ParseRequestURI(value)
	return err
}

func checkURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q is not a URL such as http://localhost:8000", value)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has more than a scheme, a host, a port and a path", u.Redacted())
	}
	return nil
}
