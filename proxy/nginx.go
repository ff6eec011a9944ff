// Package proxy switches an nginx from one color of a service to the other. It
// renders the service's files to memory, proves them against the whole of
// nginx's configuration before they touch the disk, writes them so that what is
// on disk is valid at every instant, and believes a reload only when it has seen
// the new workers, the end of the old ones and answers of the new color.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"bg/color"
	"bg/hint"
)

// The errors of this package, for errors.Is.
var (
	// ErrUnreachable: nginx, or the container it runs in, is not there.
	ErrUnreachable = errors.New("nginx cannot be reached")
	// ErrTemplate: a template does not parse, misses a key or uses a denied function.
	ErrTemplate = errors.New("template")
	// ErrHostile: the catalog holds a value that could leave its place in an nginx file.
	ErrHostile = errors.New("unsafe value in the catalog")
	// ErrEmpty: what was rendered has no server to send requests to.
	ErrEmpty = errors.New("no server to send requests to")
	// ErrForeign: the upstream list lacks an instance of this deployment, or
	// names one that is not its own.
	ErrForeign = errors.New("the upstream list is not this deployment's")
	// ErrBroken: nginx's configuration was invalid before anything was changed.
	ErrBroken = errors.New("nginx's configuration is already broken")
	// ErrRefused: nginx does not accept the new files.
	ErrRefused = errors.New("nginx refuses the new configuration")
	// ErrNotIncluded: nginx does not read a path that bg writes.
	ErrNotIncluded = errors.New("nginx does not include the file")
	// ErrUnconfirmed: nginx took the configuration, and yet the new color was
	// not seen to answer.
	ErrUnconfirmed = errors.New("the switch was not confirmed")
	// ErrRestore: the previous files could not be put back. A person must look.
	ErrRestore = errors.New("the previous nginx files could not be put back")
	// ErrDrain: workers of the old configuration outlived the drain's time.
	ErrDrain = errors.New("old nginx workers are still there")
)

// Disk is the file system that nginx reads. Paths are absolute.
type Disk interface {
	// ReadFile returns fs.ErrNotExist for a file that is absent.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// WriteFile replaces the file with data at once, mode 0644, or leaves it as
	// it was and nothing beside it. It returns syscall.EBUSY when the path is a
	// mount of its own, fs.ErrNotExist when its directory is absent, and
	// syscall.ENOSPC when the disk is full.
	WriteFile(ctx context.Context, path string, data []byte) error
	// RemoveFile does nothing when the file is absent.
	RemoveFile(ctx context.Context, path string) error
}

// Master is nginx's master process.
type Master interface {
	// Processes returns one line "PID PARENT TITLE" for each process of nginx.
	Processes(ctx context.Context) ([]string, error)
	// Reload makes the master read its configuration again. It returns at
	// once: whether nginx took it must be observed.
	Reload(ctx context.Context) error
	// Log returns what is in nginx's error log since then, by the caller's
	// clock, or the end of it.
	Log(ctx context.Context, since time.Time) ([]byte, error)
}

// Host is where nginx runs: a container, or this machine. An error of it that
// has a method Unreachable() bool returning true says that nothing is there.
type Host interface {
	Disk
	Master
	// Run runs cmd with stdin next to nginx and returns what it wrote. The
	// error of a command that fails names its exit code.
	Run(ctx context.Context, cmd []string, stdin []byte) (stdout, stderr []byte, err error)
}

// Managed is one of the files that bg writes for a service.
type Managed struct {
	// Source is the file on this machine. "{color}" in it becomes the color
	// being rendered. A name that ends with .ctmpl is rendered, any other is
	// copied.
	Source string
	// Path is the absolute path in nginx's file system, "" when bg does not
	// write this file.
	Path string
}

func (m Managed) source(c color.Color) string {
	return strings.ReplaceAll(m.Source, "{color}", string(c))
}

// Config says which nginx files belong to a service. Zero values mean the
// defaults that are named.
type Config struct {
	Service   string
	ColorKey  string  // the KV key of the live color, with its prefix; default Service/color
	Catalog   string  // the service's name in the catalog; default "{service}-{color}"
	Upstreams Managed // defines the upstream blocks
	Includes  Managed // the locations that use them; optional

	CheckCommand []string // default nginx -t; with "-t" in it, so that bg can make -T of it

	URL         string // base URL through nginx, such as http://localhost:8000; "" means no probes
	ProbePath   string // default /
	ProbeHost   string // the Host header of probes; default the URL's
	ProbeHeader string // the response header that carries the color; default X-BG-Color

	RenderTimeout  time.Duration // default 15 s
	ReloadTimeout  time.Duration // for new workers to appear and old ones to stop accepting; default 15 s
	ConfirmTimeout time.Duration // for the probes; default 10 s
	RestoreTimeout time.Duration // for putting the previous files back; default 30 s
	DrainTimeout   time.Duration // what Observe compares nginx's time-outs with; 0 means it does not

	// Read reads a Source; default os.ReadFile.
	Read func(path string) ([]byte, error)
}

// withDefaults fills in what c leaves empty.
func (c Config) withDefaults() Config {
	setDefault(&c.ColorKey, c.Service+"/color")
	setDefault(&c.Catalog, "{service}-{color}")
	setDefault(&c.ProbePath, "/")
	setDefault(&c.ProbeHeader, "X-BG-Color")
	setDefault(&c.RenderTimeout, 15*time.Second)
	setDefault(&c.ReloadTimeout, 15*time.Second)
	setDefault(&c.ConfirmTimeout, 10*time.Second)
	setDefault(&c.RestoreTimeout, 30*time.Second)
	if len(c.CheckCommand) == 0 {
		c.CheckCommand = []string{"nginx", "-t"}
	}
	if c.Read == nil {
		c.Read = os.ReadFile
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// catalogName returns the name that color c of the service has in the catalog.
func (c Config) catalogName(of color.Color) string {
	return strings.NewReplacer("{service}", c.Service, "{color}", string(of)).Replace(c.Catalog)
}

// Nginx is one service's share of an nginx.
type Nginx struct {
	cfg     Config
	host    Host
	catalog CatalogConfig
	log     *slog.Logger

	mu     sync.Mutex
	proven proof // what was proven last
	seen   look  // what was seen last
}

// New returns the Nginx on host that cfg describes. Templates read from the
// Consul that catalog names. Nothing is contacted yet.
func New(cfg Config, host Host, catalog CatalogConfig, log *slog.Logger) *Nginx {
	return &Nginx{cfg: cfg.withDefaults(), host: host, catalog: catalog, log: log}
}

// Files are the two files of a service, as they are or shall be.
type Files struct {
	Color     color.Color // what they were rendered for; None when unknown
	Preview   color.Color // who asks for it reaches this one; None when nobody can
	Upstreams File
	Includes  File
}

// File is one file in nginx's file system. One with an empty Path does not
// take part.
type File struct {
	Path   string
	Data   []byte
	Absent bool
}

// unreachable is what a Host's error is when nothing is there.
type unreachable interface {
	error
	Unreachable() bool
}

// hosted adds to an error of the Host what this package knows about it.
func hosted(verb, object string, err error) error {
	if err == nil {
		return nil
	}
	if gone, ok := errors.AsType[unreachable](err); ok && gone.Unreachable() {
		return hint.Wrap(fmt.Errorf("%w: %w", ErrUnreachable, err), hint.Of(err))
	}
	return fmt.Errorf("%s %s: %w", verb, object, err)
}
