// Package stacktest runs a stack of its own, and the sample's images and
// database, for the scenarios and the benchmarks: they share nothing with each
// other, nor with a stack that a person runs.
package stacktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// commandTimeout is how long a command of the set-up may take.
const commandTimeout = 5 * time.Minute

// Tags are the sample's versions.
var Tags = []string{"1.0", "2.0"}

// Stack says where the parts of a stack are.
type Stack struct {
	Name     string
	Root     string // the checkout
	BG       string // the program
	Consul   string // the address of Consul's API
	Redis    string // the sample's database, as containers reach it
	Host     string // where its Docker publishes ports
	HostPort string // of an nginx in the network of its Docker; "": it has one of its own
	Env      []string
}

// New returns a stack that is not there yet. Its name begins with prefix and is
// the repository of the sample's images, too.
func New(root, bg, prefix string) Stack {
	name, consul, http := prefix+Random(), strconv.Itoa(FreePort()), strconv.Itoa(FreePort())
	return Stack{Name: name, Root: root, BG: bg, Consul: "127.0.0.1:" + consul, Host: "127.0.0.1", Env: []string{
		"BG_STACK=" + name, "BG_CONSUL_PORT=" + consul, "BG_HTTP_PORT=" + http,
		"BG_NGINX_CONTAINER=" + name + "-nginx", "BG_STACK_IMAGE=bg:" + name,
	}}
}

// Up builds the sample's images and starts the stack and the database.
func (s *Stack) Up() error {
	for _, tag := range Tags {
		if _, err := s.Output("make", "-s", "-C", filepath.Join("examples", "books-ms"), "image", "TAG="+tag, "IMAGE="+s.Name); err != nil {
			return err
		}
	}
	if _, err := s.Output(s.BG, "stack", "up"); err != nil {
		return err
	}
	return s.startRedis()
}

// Down ends the stack and removes its images.
func (s *Stack) Down() error {
	var errs []error
	for _, command := range [][]string{
		{s.BG, "stack", "down", "--volumes"},
		{"docker", "rm", "-fv", s.Name + "-redis"},
		{"docker", "rmi", "-f", s.Name + ":" + Tags[0], s.Name + ":" + Tags[1], "bg:" + s.Name},
	} {
		_, err := s.Output(command[0], command[1:]...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Output runs a command in the checkout with the variables of this stack, and
// returns what it printed.
func (s *Stack) Output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env, command.Dir = append(os.Environ(), s.Env...), s.Root
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// startRedis starts the one database of all services that need none of their
// own. Containers of other networks reach it where the default bridge publishes.
func (s *Stack) startRedis() error {
	name := s.Name + "-redis"
	if _, err := s.Output("docker", "run", "-d", "--name", name, "-p", "6379", "-l", "SERVICE_IGNORE=true", "redis:8"); err != nil {
		return err
	}
	address, err := s.Output("docker", "inspect", "-f", `{{.NetworkSettings.Gateway}}:{{(index (index .NetworkSettings.Ports "6379/tcp") 0).HostPort}}`, name)
	s.Redis = address
	return err
}

// FreePort returns a port of the loopback that is free at this moment.
func FreePort() int {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		panic(err)
	}
	return port
}

// Random returns a few characters that no other run has.
func Random() string {
	b := make([]byte, 3)
	_, _ = rand.Read(b) // never fails, says crypto/rand
	return hex.EncodeToString(b)
}
