package proxy

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"slices"
	"strings"

	"bg/hint"
)

// shadowScript unpacks a shadow of nginx's configuration and runs a command on
// it. Its arguments are the shadow's directory, the directory of the main file,
// and the command. What nginx's files name by a path relative to the main file
// (certificates, password files) is linked, so that it is found.
const shadowScript = `set -eu
root=$1 conf=$2
shift 2
umask 077
# fill links what the real directory $1 has and the copy $2 lacks. It is a
# subshell, so that it can call itself, and one ln for all, since processes cost.
fill() (
	real=$1 copy=$2
	set --
	for f in "$real"/* "$real"/.[!.]*; do
		name=${f##*/}
		if [ ! -e "$f" ] && [ ! -L "$f" ]; then
			continue
		elif [ -d "$copy/$name" ] && [ ! -L "$f" ]; then
			fill "$f" "$copy/$name"
		elif [ ! -e "$copy/$name" ]; then
			set -- "$@" "$f"
		fi
	done
	[ $# -eq 0 ] || ln -s "$@" "$copy"
)
mkdir "$root"
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
tar -xC "$root"
fill "$conf" "$root$conf"
"$@"
`

// try tests the configuration that nginx would have with files, in a shadow
// directory next to nginx, which is gone afterwards. Its error is ErrRefused
// when nginx does not take it, ErrNotIncluded when nginx would not read one.
func (n *Nginx) try(ctx context.Context, seen look, files Files) error {
	now := seen.config
	root := "/tmp/.bg-check-" + strings.ToLower(rand.Text()[:12])
	archive, err := shadow(now, files, root)
	if err != nil {
		return err
	}
	// -T instead of -t also says which files were read.
	test, _ := n.testCommand(seen.workers.master, "-T")
	script := []string{"sh", "-c", shadowScript, "sh", root, path.Dir(now.main)}
	out, stderr, err := n.host.Run(ctx, slices.Concat(script, test, []string{"-c", root + now.main}), archive)
	if reason := strings.ReplaceAll(refusal(stderr), root, ""); err != nil && reason != "" {
		return fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	if err != nil {
		return hosted("test", "the new files in a copy of nginx's configuration", err)
	}
	return included(out, root, files)
}

// included returns an error unless the output of `nginx -T` has each of files.
func included(out []byte, root string, files Files) error {
	d, err := parseDump(out)
	if err != nil {
		return err
	}
	for _, f := range files.list() {
		if !f.Absent && !d.includes(root+f.Path) {
			return hint.Wrap(fmt.Errorf("%w %s", ErrNotIncluded, f.Path),
				fmt.Sprintf("add `include %s/*.conf;` to %s, or change the path in bg.yml", path.Dir(f.Path), d.main[len(root):]))
		}
	}
	return nil
}

// shadow returns a tar archive of the configuration that now would be with
// files, for unpacking at root. Every include names the copy. A file that shall
// be absent is empty there, which a glob cannot tell apart.
func shadow(now dump, files Files, root string) ([]byte, error) {
	content := map[string][]byte{}
	for name, text := range now.content {
		content[name] = text
	}
	for _, f := range files.list() {
		content[f.Path] = f.Data
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, text := range content {
		redirected := redirect(text, path.Dir(now.main), root)
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o600, Size: int64(len(redirected))}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := w.Write(redirected); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack nginx's configuration: %w", err)
	}
	return archive.Bytes(), nil
}

// redirect returns text with each include pointing below root. Relative ones
// are relative to conf, the directory of the main file
// (https://nginx.org/en/docs/ngx_core_module.html#include).
// What cannot be read as nginx's stays as it is: nginx says better what is wrong.
func redirect(text []byte, conf, root string) []byte {
	list, err := directives(text)
	if err != nil {
		return text
	}
	var out bytes.Buffer
	done := 0
	for _, d := range list {
		if d.block || d.name() != "include" || len(d.parts) != 2 {
			continue
		}
		target := d.words[1]
		if !path.IsAbs(target) {
			target = path.Join(conf, target)
		}
		out.Write(text[done:d.parts[1].start])
		out.WriteString(quote(root + target))
		done = d.parts[1].end
	}
	out.Write(text[done:])
	return out.Bytes()
}

// quote writes a word the way tokenize reads it.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
