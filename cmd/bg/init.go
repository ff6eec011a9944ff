package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"bg/config"
	"bg/hint"
	"bg/scaffold"
)

func initCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "write what a folder with a Dockerfile lacks for a first deployment, after showing it", ArgsUsage: "[SERVICE]",
		Description: "A Compose file with two colors, nginx's upstreams and locations, bg.yml and a Jenkinsfile.\n" +
			"Without SERVICE it is called like the folder. On a terminal it asks before it writes; in a\n" +
			"pipe it only shows, unless --yes is given. What exists stays, unless --force is given. A Compose\n" +
			"file that exists always stays; a published port is added to its service, when that has none.\n\n" +
			"   bg init books-ms\n" +
			"   bg init books-ms --service web         # of a Compose file that has several\n" +
			"   bg init books-ms --yes --health-path /healthz --path /api/",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "write without asking"},
			&cli.BoolFlag{Name: "force", Usage: "also write over files that exist"},
			&cli.StringFlag{Name: "service", Usage: "the `SERVICE` of an existing Compose file that runs in two colors (default the only one)"},
			&cli.IntFlag{Name: "port", Usage: "the container `PORT` that serves (default as the Dockerfile exposes, else 8080)"},
			&cli.StringFlag{Name: "image", Usage: "the image, without a tag (default SERVICE)"},
			&cli.StringFlag{Name: "health-path", Value: "/ping", Usage: "what a ready instance answers"},
			&cli.StringFlag{Name: "path", Value: "/", Usage: "the location in nginx that leads to the service"},
			&cli.StringFlag{Name: "proxy-container", Value: "nginx", EnvVars: []string{"BG_PROXY_CONTAINER"}, Usage: "the container that nginx runs in"},
			&cli.StringFlag{Name: "proxy-url", Value: "http://localhost:8000", EnvVars: []string{"BG_PROXY_URL"}, Usage: "base URL through nginx"},
			formatFlag(),
		},
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return initialise(c, s, os.Stdin) },
	}
}

// initialise shows the files and writes them when that is wanted.
func initialise(c *cli.Context, s streams, answers *os.File) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	about, err := described(c)
	if err != nil {
		return err
	}
	input := bufio.NewReader(answers)
	list, err := planned(s, about, answers, input)
	if err != nil {
		return err
	}
	if inJSON {
		err = writeJSON(s.Out, list)
	} else {
		err = showFiles(s.Out, list, c.Bool("force"))
	}
	if err != nil {
		return err
	}
	wanted, err := agreed(c, s, answers, input)
	if err != nil || !wanted {
		return err
	}
	written, err := scaffold.Write(".", list, c.Bool("force"))
	for _, name := range written {
		fmt.Fprintf(s.Err, "wrote %s\n", name)
	}
	if err == nil {
		fmt.Fprintf(s.Err, "next: docker build -t %s:1 . && bg doctor %s && bg deploy %s --tag 1\n", about.Image, about.Name, about.Name)
	}
	return err
}

// planned returns the files. Where the Compose file has several services, a person
// chooses.
func planned(s streams, about scaffold.Service, answers *os.File, input *bufio.Reader) ([]scaffold.File, error) {
	list, err := scaffold.Plan(".", about)
	several, open := errors.AsType[*scaffold.SeveralError](err)
	if open && term.IsTerminal(int(answers.Fd())) {
		fmt.Fprintf(s.Err, "%s. Which one runs in two colors? ", several)
		if about.Compose, err = answered(input); err != nil {
			return nil, err
		}
		if open = about.Compose == ""; !open {
			list, err = scaffold.Plan(".", about)
		}
	}
	switch {
	case open:
		return nil, hint.Wrap(usageError{several}, "say which one runs in two colors: --service "+several.Services[0])
	case errors.Is(err, scaffold.ErrFolder):
		return nil, hint.Wrap(usageError{err}, hint.Of(err))
	}
	return list, err
}

// answered returns the line that a person wrote, "" at the end of the input.
func answered(input *bufio.Reader) (string, error) {
	line, err := input.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// described is the service that the command line and the folder name. Its values
// are checked as those of bg.yml are: they are written into files.
func described(c *cli.Context) (scaffold.Service, error) {
	if c.Args().Len() > 1 {
		return scaffold.Service{}, usageError{fmt.Errorf("init takes at most one argument, the service, and got %d", c.Args().Len())}
	}
	name := c.Args().First()
	if name == "" {
		dir, err := filepath.Abs(".")
		if err != nil {
			return scaffold.Service{}, err
		}
		name = nameOf(filepath.Base(dir))
	}
	about := scaffold.Service{
		Name: name, Image: name, Port: scaffold.Port(".", 8080), Health: c.String("health-path"), Path: c.String("path"), Compose: c.String("service"),
		Proxy: c.String("proxy-container"), URL: c.String("proxy-url"),
	}
	if c.IsSet("port") {
		about.Port = c.Int("port")
	}
	if image := c.String("image"); image != "" {
		about.Image = image
	}
	if about.Port < 1 || about.Port > 65535 {
		return about, usageError{fmt.Errorf("--port: %d is not within 1 and 65535", about.Port)}
	}
	if !location.MatchString(about.Path) {
		return about, usageError{fmt.Errorf("--path: %q is not a path such as /api/v1/", about.Path)}
	}
	_, err := config.Load(config.Source{Service: about.Name, Dir: os.TempDir(), Flags: map[string]string{
		"image": about.Image, "health.path": about.Health, "proxy.container": about.Proxy, "proxy.url": about.URL,
	}})
	return about, err
}

// location matches what can stand in nginx's location as it is.
var location = regexp.MustCompile(`^/[A-Za-z0-9._/~-]*$`)

// noName matches what a service's name cannot have.
var noName = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes a service's name of a folder's.
func nameOf(folder string) string {
	return strings.Trim(noName.ReplaceAllString(strings.ToLower(folder), "-"), "-")
}

// showFiles writes all files for a person.
func showFiles(w io.Writer, list []scaffold.File, force bool) error {
	for _, f := range list {
		state := ""
		switch {
		case f.Adds != "":
			state = " (exists; this line is added to it, and all others stay)"
		case f.Exists && force && !f.Stays:
			state = " (exists, and is written over)"
		case f.Exists:
			state = " (exists, and stays as it is)"
		}
		if _, err := fmt.Fprintf(w, "=== %s: %s%s\n", f.Name, f.Why, state); err != nil {
			return err
		}
		if f.Adds != "" {
			if _, err := fmt.Fprintf(w, "+ %s\n\n", f.Adds); err != nil {
				return err
			}
		}
		if f.Exists && !force || f.Stays {
			continue
		}
		if _, err := fmt.Fprintln(w, f.Content); err != nil {
			return err
		}
	}
	return nil
}

// agreed reports whether the files are to be written.
func agreed(c *cli.Context, s streams, answers *os.File, input *bufio.Reader) (bool, error) {
	switch {
	case c.Bool("yes"):
		return true, nil
	case !term.IsTerminal(int(answers.Fd())):
		fmt.Fprintln(s.Err, "nothing was written: there is no terminal to ask on; --yes writes")
		return false, nil
	}
	fmt.Fprint(s.Err, "Write these files? [y/N] ")
	line, err := answered(input)
	if err != nil {
		return false, err
	}
	word := strings.ToLower(line)
	if word != "y" && word != "yes" {
		fmt.Fprintln(s.Err, "nothing was written")
		return false, nil
	}
	return true, nil
}
