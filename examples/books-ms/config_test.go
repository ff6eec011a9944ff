package main

import (
	"strings"
	"testing"
	"time"
)

func TestTheEnvironmentIsTheConfiguration(t *testing.T) {
	defaults := config{Port: "8080", RedisAddr: "localhost:6379", RedisPrefix: "books-ms:", Version: "dev", Color: "none",
		StopGrace: 30 * time.Second, ExitCode: 1}
	with := func(change func(*config)) config { c := defaults; change(&c); return c }
	tests := []struct {
		name string
		env  map[string]string
		want config
	}{
		{"nothing", nil, defaults},
		{"empty is not set", map[string]string{"CRASH": "", "PORT": "", "FAIL_HEALTH": ""}, defaults},
		{"start late", map[string]string{"START_DELAY": "5s"}, with(func(c *config) { c.StartDelay = 5 * time.Second })},
		{"crash at once", map[string]string{"CRASH": "start", "EXIT_CODE": "7"}, with(func(c *config) { c.CrashAtStart, c.ExitCode = true, 7 })},
		{"crash later", map[string]string{"CRASH": "after:2s"}, with(func(c *config) { c.CrashAfter = 2 * time.Second })},
		{"unhealthy", map[string]string{"FAIL_HEALTH": "true"}, with(func(c *config) { c.FailHealth = true })},
		{"fail after the switch", map[string]string{"FAIL_AFTER": "switch"}, with(func(c *config) { c.FailAfterSwitch = true })},
		{"fail later", map[string]string{"FAIL_AFTER": "10s"}, with(func(c *config) { c.FailAfter = 10 * time.Second })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := configFrom(lookup(test.env))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestAWrongVariableIsNamed(t *testing.T) {
	for _, name := range []string{"START_DELAY", "CRASH", "EXIT_CODE", "FAIL_HEALTH", "FAIL_AFTER", "STOP_GRACE"} {
		_, err := configFrom(lookup(map[string]string{name: "maybe"}))
		if err == nil || !strings.Contains(err.Error(), name+"=maybe") {
			t.Errorf("%s=maybe: %v", name, err)
		}
	}
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}
