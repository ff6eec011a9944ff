package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"bg/color"
	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hint"
	"bg/integration"
	"bg/probe"
	"bg/proxy"
	"bg/registry"
)

// wire puts the parts of a deployment together. The function that it returns
// closes them.
func wire(ctx context.Context, cfg *config.Config, shown reporter) (*deploy.Deployer, func(), error) {
	log := slog.New(slog.NewTextHandler(shown, &slog.HandlerOptions{Level: slog.LevelWarn}))

	// What follows a deployment: hooks, metrics, a trace.
	next, err := newFollowup(cfg, shown)
	if err != nil {
		return nil, nil, err
	}
	// Consul: the live color, the catalog, the journal and the locks.
	consul, err := registry.Open()
	if err != nil {
		return nil, nil, err
	}
	// Docker: the containers of both colors, and nginx's when it has one.
	containers, err := engine.Open(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	lock, err := proxyLock(ctx, cfg, containers)
	if err != nil {
		return nil, nil, err
	}
	// nginx: in its container, or on this machine.
	host := nginxHost(cfg, containers)
	if inContainer, ok := host.(*engine.ContainerHost); ok {
		go inContainer.Open(ctx) // it takes long, and is needed soon
	}
	nginx := proxy.New(proxyConfig(cfg), host, catalogConfig(), log)

	return &deploy.Deployer{
		Colors:   color.NewStore(consul, cfg.Consul.Prefix),
		Catalog:  registry.NewCatalog(consul),
		Journal:  registry.NewJournal(consul, cfg.Consul.Prefix),
		Locker:   registry.NewLocker(consul, cfg.Lock.TTL, log),
		Engine:   containers,
		Proxy:    nginx,
		Source:   source(cfg, next.pulling),
		Settings: settings(cfg, containers, lock),
		Report:   next.report,
		Output:   shown,
		Hooks:    next.hooks,
	}, func() { next.end(ctx); closeQuietly(containers, log) }, nil
}

func closeQuietly(e *engine.Engine, log *slog.Logger) {
	if err := e.Close(); err != nil {
		log.Warn("close Docker's client", "error", err)
	}
}

// withEngine runs do with the Docker Engine.
func withEngine(ctx context.Context, s streams, do func(*engine.Engine) error) error {
	log := slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := engine.Open(ctx, log)
	if err != nil {
		return err
	}
	defer closeQuietly(e, log)
	return do(e)
}

func source(cfg *config.Config, pulling func(engine.Pulling)) engine.Source {
	return engine.Source{
		Service: cfg.Service, Prefix: cfg.Consul.Prefix, File: cfg.Compose.File, Project: cfg.Compose.Project, Pattern: cfg.Compose.Service,
		Catalog: cfg.Catalog, Port: cfg.Compose.Port, Image: cfg.Image, Tag: cfg.Tag,
		Replicas: cfg.Replicas, Pull: engine.Pull(cfg.Compose.Pull), Pulling: pulling,
	}
}

func settings(cfg *config.Config, e *engine.Engine, lock string) deploy.Settings {
	runner := engine.Tests{Engine: e, Project: cfg.Compose.Project}
	return deploy.Settings{
		ProxyLock: lock,
		ProxyURL:  cfg.Proxy.URL,
		Pre:       tests(cfg.Tests.Pre, cfg, runner),
		Post:      tests(cfg.Tests.Post, cfg, runner),
		Probe:     probe.Config{URL: cfg.Proxy.URL, Path: cfg.Evidence.Path, Header: cfg.Proxy.Probe.Header, Rate: cfg.Evidence.Rate},
		Health: deploy.Readiness{
			Path: cfg.Health.Path, Passes: cfg.Health.Passes, Interval: cfg.Health.Interval, Timeout: cfg.Health.Timeout,
		},
		StartTimeout: cfg.Timeouts.Start, SwitchTimeout: cfg.Timeouts.Switch, DrainTimeout: cfg.Timeouts.Drain,
		UndoTimeout: cfg.Timeouts.Undo, StopTimeout: cfg.Timeouts.Stop, History: cfg.History,
	}
}

// proxyLock returns the key by which those who share a Consul take turns at one
// nginx: its container's id, or the machine. It has no prefix, because services
// with different ones may share an nginx.
func proxyLock(ctx context.Context, cfg *config.Config, e *engine.Engine) (string, error) {
	if cfg.Proxy.Host != nil {
		return "bg/nginx/" + whoami().Host, nil
	}
	id, err := e.ContainerID(ctx, cfg.Proxy.Container)
	return fmt.Sprintf("bg/nginx/%s-%.12s", cfg.Proxy.Container, id), err
}

func nginxHost(cfg *config.Config, e *engine.Engine) proxy.Host {
	if h := cfg.Proxy.Host; h != nil {
		return &proxy.Local{ReloadCommand: h.Reload, PidFile: h.PIDFile, ErrorLog: h.ErrorLog}
	}
	return engine.NewContainerHost(e.Client(), cfg.Proxy.Container)
}

func proxyConfig(cfg *config.Config) proxy.Config {
	p := proxy.Config{
		Service: cfg.Service, ColorKey: cfg.KVKey("color"), Catalog: cfg.CatalogPattern(),
		Upstreams: proxy.Managed{Source: cfg.Proxy.Upstreams.Template, Path: cfg.Proxy.Upstreams.Path},
		Includes:  proxy.Managed{Source: cfg.Proxy.Includes.File, Path: cfg.Proxy.Includes.Path},
		URL:       cfg.Proxy.URL, ProbePath: cfg.Proxy.Probe.Path, ProbeHeader: cfg.Proxy.Probe.Header,
		ReloadTimeout: cfg.Timeouts.Switch, DrainTimeout: cfg.Timeouts.Drain,
	}
	if cfg.Proxy.Host != nil {
		p.CheckCommand = cfg.Proxy.Host.Check
	}
	return p
}

// catalogConfig hands the CONSUL_* variables, as the Consul API understood
// them, to the client of the templates.
func catalogConfig() proxy.CatalogConfig {
	c := registry.Environment()
	address := c.Address
	if !strings.Contains(address, "://") { // CONSUL_HTTP_ADDR may have a scheme of its own
		address = c.Scheme + "://" + address
	}
	return proxy.CatalogConfig{
		Address: address, Insecure: c.TLSConfig.InsecureSkipVerify, Token: c.Token, TokenFile: c.TokenFile,
		CACert: c.TLSConfig.CAFile, CAPath: c.TLSConfig.CAPath, ClientCert: c.TLSConfig.CertFile, ClientKey: c.TLSConfig.KeyFile,
		ServerName: c.TLSConfig.Address,
	}
}

// tests makes integration tests of what bg.yml lists.
func tests(list []config.Test, cfg *config.Config, runner integration.Runner) []integration.Test {
	var all []integration.Test
	for _, t := range list {
		var test integration.Test
		switch {
		case t.HTTP != nil:
			test = integration.HTTP{Method: t.HTTP.Method, Path: t.HTTP.Path, Headers: t.HTTP.Header, Body: t.HTTP.Body, Status: t.HTTP.Status, Contains: t.HTTP.Contains, Follow: t.HTTP.Follow}
		case t.Compose != nil:
			test = integration.Compose{File: t.Compose.File, Service: t.Compose.Service, Runner: runner}
		default:
			test = integration.Command{Args: t.Run, Dir: cfg.Dir}
		}
		all = append(all, integration.Limited{Test: test, Label: t.Name, Timeout: t.Timeout})
	}
	return all
}

// newRequest says what is to be done and on whose behalf.
func newRequest(cfg *config.Config, rollback bool) deploy.Request {
	return deploy.Request{
		Service: cfg.Service, Prefix: cfg.Consul.Prefix, Rollback: rollback, By: whoami(), Config: cfg.Dir, LockWait: cfg.Lock.Wait, Keep: cfg.Keep,
		PreTests: len(cfg.Tests.Pre), PostTests: len(cfg.Tests.Post),
	}
}

// whoami names the person or the CI build that runs bg. What cannot be found
// out is "unknown": no deployment fails because of it.
func whoami() deploy.Who {
	who := deploy.Who{User: "unknown", Host: "unknown", PID: os.Getpid(), Build: os.Getenv("BUILD_URL")}
	if who.Build == "" {
		who.Build = os.Getenv("CI_JOB_URL")
	}
	if u, err := user.Current(); err == nil {
		who.User = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who.Host = host
	}
	return who
}

// loadConfig reads what holds for the service that the command line names.
func loadConfig(c *cli.Context) (*config.Config, error) {
	return loadFrom(c, config.Source{File: c.String("file")})
}

// loadFrom completes where a configuration comes from with the command line and
// the environment, and reads it.
func loadFrom(c *cli.Context, from config.Source) (*config.Config, error) {
	name, err := service(c)
	if err != nil {
		return nil, err
	}
	return loadService(c, from, name)
}

// loadService is loadFrom for commands with more arguments than the service.
func loadService(c *cli.Context, from config.Source, name string) (*config.Config, error) {
	from.Service, from.Lookup, from.Flags = name, os.LookupEnv, givenSettings(c)
	return config.Load(from)
}

// givenSettings returns the settings that the command line has. A command may
// have a flag of its own by a setting's name; those of settings are texts.
func givenSettings(c *cli.Context) map[string]string {
	given := map[string]string{}
	for _, set := range config.Settings() {
		isSetting := slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool {
			_, text := f.(*cli.StringFlag)
			return text && slices.Contains(f.Names(), set.Flag)
		})
		if set.Flag != "" && isSetting && c.IsSet(set.Flag) {
			given[set.Key] = c.String(set.Flag)
		}
	}
	return given
}

// fileFlag is the flag of the commands that need the service's folder.
func fileFlag() cli.Flag {
	return &cli.StringFlag{Name: "file", Aliases: []string{"f"}, EnvVars: []string{"BG_FILE"}, Usage: "the `FILE` to read instead of bg.yml"}
}

// loadFolder is loadConfig for the commands that need the service's folder.
// Where neither the command line nor the current folder names one, it is the one
// that the newest deployment was made from, if that was on this machine.
func loadFolder(c *cli.Context, notes io.Writer) (*config.Config, error) {
	if _, here := config.Find("."); here || c.String("file") != "" {
		return loadConfig(c)
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	client, err := registry.Open()
	if err != nil {
		return nil, err
	}
	document, err := registry.NewJournal(client, cfg.Consul.Prefix).Newest(c.Context, cfg.Service)
	if err != nil {
		return nil, err
	}
	folder := deploy.FolderOf(document, whoami().Host)
	if folder == "" {
		return nil, hint.Wrap(usageError{errors.New("this is not a service's folder: it has no bg.yml, nor a Compose file with nginx-upstreams.ctmpl or nginx-upstreams-blue.ctmpl")},
			"go there, or name its bg.yml with --file")
	}
	fmt.Fprintf(notes, "using %s, as the newest deployment of %s did\n", folder, cfg.Service)
	return loadFrom(c, config.Source{Dir: folder})
}

// settingFlags makes the flags of the settings that want picks. Their variables
// are read by package config, which knows where a bad value came from.
func settingFlags(want func(config.Setting) bool) []cli.Flag {
	var flags []cli.Flag
	for _, set := range config.Settings() {
		if set.Flag == "" || !want(set) {
			continue
		}
		flags = append(flags, &cli.StringFlag{Name: set.Flag, Usage: set.Usage + " [$" + set.Env + "]"})
	}
	return flags
}
