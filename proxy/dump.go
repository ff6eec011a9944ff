package proxy

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"bg/hint"
)

// dump is the whole configuration that nginx would run with, as `nginx -T`
// prints it.
type dump struct {
	main    string   // the path of the main file
	order   []string // paths in the order that nginx read them
	content map[string][]byte
	version string // such as 1.30.6, "" when unknown
}

// dumpMark begins each file in the output of `nginx -T`.
const dumpMark = "# configuration file "

// parseDump splits the output of `nginx -T`.
func parseDump(out []byte) (dump, error) {
	d := dump{content: map[string][]byte{}}
	current := ""
	for line := range bytes.Lines(out) {
		if name, ok := markedFile(line); ok && (current == "" || complete(d.content[current])) {
			current = name
			d.order = append(d.order, name)
			continue
		}
		if current != "" {
			d.content[current] = append(d.content[current], line...)
		}
	}
	if len(d.order) == 0 {
		return dump{}, fmt.Errorf("nginx -T printed no configuration file")
	}
	d.main = d.order[0]
	for name, text := range d.content {
		d.content[name] = bytes.TrimSuffix(text, []byte("\n")) // nginx adds one
	}
	return d, nil
}

// markedFile returns the path in a line that begins a file.
func markedFile(line []byte) (string, bool) {
	name, marked := strings.CutPrefix(strings.TrimRight(string(line), "\n"), dumpMark)
	name, ended := strings.CutSuffix(name, ":")
	return name, marked && ended && path.IsAbs(name)
}

// complete reports whether text can be a whole file. A line that begins a file
// inside a block is a comment: somebody pasted the output of nginx -T.
func complete(text []byte) bool {
	_, err := directives(text)
	return err == nil
}

// includes reports whether nginx reads the file at name.
func (d dump) includes(name string) bool { return slices.Contains(d.order, name) }

// versionLine finds the version in what `nginx -v` prints; forks (openresty,
// angie, freenginx) name themselves.
var versionLine = regexp.MustCompile(`version: [a-z]+/(\d+(?:\.\d+)*)`)

// dump asks nginx for its whole configuration. When nginx finds that invalid,
// the error is ErrBroken and names file and line.
func (n *Nginx) dump(ctx context.Context, master process) (dump, error) {
	command, ok := n.testCommand(master, "-T")
	if !ok {
		return dump{}, errNoDump
	}
	out, stderr, err := n.host.Run(ctx, append(command, "-v"), nil)
	if reason := refusal(stderr); err != nil && reason != "" {
		return dump{}, hint.Wrap(fmt.Errorf("%w: %s", ErrBroken, reason),
			"nothing was changed; mend that file, see `"+strings.Join(n.cfg.CheckCommand, " ")+"`, and run the command again")
	}
	if err != nil {
		return dump{}, hosted("read", "nginx's configuration", err)
	}
	d, err := parseDump(out)
	if match := versionLine.FindSubmatch(stderr); match != nil {
		d.version = string(match[1])
	}
	return d, err
}

// errNoDump says that the configured check command is not nginx's own, so that
// nothing but the check itself can be asked.
var errNoDump = fmt.Errorf("the check command has no -t")

// testCommand returns the configured check command with option in place of its
// -t, for the configuration that the running master has: one that was started
// with -c or -p reads other files than a bare `nginx -t`.
func (n *Nginx) testCommand(master process, option string) (command []string, ok bool) {
	command = slices.Clone(n.cfg.CheckCommand)
	at := slices.Index(command, "-t")
	if at < 0 {
		return nil, false
	}
	command[at] = option
	args := strings.Fields(strings.TrimPrefix(master.title, masterTitle))
	for i := 0; i+1 < len(args); i++ {
		if (args[i] == "-c" || args[i] == "-p") && !slices.Contains(command, args[i]) {
			command = append(command, args[i], args[i+1])
		}
	}
	return command, true
}

// refusal returns the reason in what `nginx -t` or nginx's log says, "" when
// there is none. A configuration is refused at the level emerg; alert and crit are
// about workers that exited, handshakes, or a log that cannot be opened.
func refusal(output []byte) string {
	for line := range strings.Lines(string(output)) {
		if _, reason, found := strings.Cut(line, "[emerg] "); found {
			return strings.TrimSpace(pidPrefix.ReplaceAllString(reason, ""))
		}
	}
	return ""
}

// pidPrefix is what nginx puts before a message in its log: "7#7: ".
var pidPrefix = regexp.MustCompile(`^\d+#\d+: (\*\d+ )?`)
