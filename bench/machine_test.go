//go:build bench

package bench

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// machine says where a run takes place, before it makes the machine busy.
func machine() (Table, error) {
	t := Table{Head: []string{"", ""}}
	cpu, err := firstMatch("/proc/cpuinfo", `model name\s*: (.*)`)
	if err != nil {
		return t, err
	}
	memory, err := firstMatch("/proc/meminfo", `MemTotal:\s*(\d+) kB`)
	if err != nil {
		return t, err
	}
	var kilobytes float64
	if _, err := fmt.Sscan(memory, &kilobytes); err != nil {
		return t, err
	}
	load, err := firstMatch("/proc/loadavg", `(\S+ \S+ \S+)`)
	if err != nil {
		return t, err
	}
	t.Add("date", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	t.Add("processors", fmt.Sprintf("%d × %s", runtime.NumCPU(), cpu))
	t.Add("memory", fmt.Sprintf("%.1f GB", kilobytes*1024/1e9))
	t.Add("load average at the beginning", load)
	for _, version := range []struct {
		of      string
		command []string
	}{
		{"kernel", []string{"uname", "-sr"}},
		{"Docker", []string{"docker", "version", "-f", "Engine {{.Server.Version}}, client {{.Client.Version}}"}},
		{"Consul", []string{"docker", "exec", stack.Name + "-consul-1", "consul", "version"}},
		{"nginx", []string{"docker", "exec", stack.Name + "-nginx", "nginx", "-v"}},
		{"docker-compose", []string{"docker-compose", "version", "--short"}},
		{"consul-template", []string{"bin/consul-template", "-version"}},
		{"curl", []string{"curl", "-V"}},
		{"jq", []string{"jq", "-V"}},
		{"Go", []string{"go", "version"}},
		{"bg", []string{"bin/bg", "version"}},
	} {
		out, err := stack.Output(version.command[0], version.command[1:]...)
		if err != nil {
			return t, err
		}
		first, _, _ := strings.Cut(out, "\n")
		t.Add(version.of, first)
	}
	t.Add("rounds", fmt.Sprint(*rounds))
	return t, nil
}

// firstMatch returns what the parentheses of an expression match in a file.
func firstMatch(file, expression string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(expression).FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s has no %s", file, expression)
	}
	return string(found[1]), nil
}
