package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// config is the service's environment.
type config struct {
	Port        string        // PORT
	RedisAddr   string        // REDIS_ADDR
	RedisPrefix string        // REDIS_PREFIX: of all its keys
	Version     string        // VERSION: which the image sets
	Color       string        // COLOR
	StopGrace   time.Duration // STOP_GRACE: what running requests get to end

	// What makes it misbehave.
	StartDelay      time.Duration // START_DELAY=5s: listens that much later
	CrashAtStart    bool          // CRASH=start
	CrashAfter      time.Duration // CRASH=after:2s
	ExitCode        int           // EXIT_CODE: of a crash
	FailHealth      bool          // FAIL_HEALTH=true: /ping answers 503
	FailAfterSwitch bool          // FAIL_AFTER=switch: 500 to what comes through a proxy
	FailAfter       time.Duration // FAIL_AFTER=10s: 500 to everything by then
}

// configFrom reads the environment. An error names the variable.
func configFrom(lookup func(string) (string, bool)) (config, error) {
	e := environment{lookup: lookup}
	c := config{
		Port:        e.text("PORT", "8080"),
		RedisAddr:   e.text("REDIS_ADDR", "localhost:6379"),
		RedisPrefix: e.text("REDIS_PREFIX", "books-ms:"),
		Version:     e.text("VERSION", "dev"),
		Color:       e.text("COLOR", "none"),
		StopGrace:   e.duration("STOP_GRACE", "30s"),
		StartDelay:  e.duration("START_DELAY", "0s"),
		FailHealth:  e.boolean("FAIL_HEALTH"),
		ExitCode:    e.number("EXIT_CODE", "1"),
	}
	switch crash := e.text("CRASH", ""); crash {
	case "":
	case "start":
		c.CrashAtStart = true
	default:
		c.CrashAfter = e.parse("CRASH", strings.TrimPrefix(crash, "after:"))
	}
	switch fail := e.text("FAIL_AFTER", ""); fail {
	case "":
	case "switch":
		c.FailAfterSwitch = true
	default:
		c.FailAfter = e.parse("FAIL_AFTER", fail)
	}
	return c, e.err
}

// environment reads variables and keeps what was wrong with them.
type environment struct {
	lookup func(string) (string, bool)
	err    error
}

// text returns a variable; an empty one counts as not set, because Compose
// passes what the shell does not have as empty.
func (e *environment) text(name, otherwise string) string {
	if v, ok := e.lookup(name); ok && v != "" {
		return v
	}
	return otherwise
}

func (e *environment) duration(name, otherwise string) time.Duration {
	return e.parse(name, e.text(name, otherwise))
}

func (e *environment) parse(name, value string) time.Duration {
	d, err := time.ParseDuration(value)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	e.keep(name, value, err)
	return d
}

func (e *environment) number(name, otherwise string) int {
	value := e.text(name, otherwise)
	n, err := strconv.Atoi(value)
	e.keep(name, value, err)
	return n
}

func (e *environment) boolean(name string) bool {
	value := e.text(name, "false")
	b, err := strconv.ParseBool(value)
	e.keep(name, value, err)
	return b
}

func (e *environment) keep(name, value string, err error) {
	if err != nil {
		e.err = errors.Join(e.err, fmt.Errorf("%s=%s: %w", name, value, err))
	}
}
