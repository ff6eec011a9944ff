//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bg/internal/fault"
)

// anyStep are the codes of a deployment that failed in a step and was undone.
var anyStep = []int{11, 12, 13, 14, 15, 16}

// clockCells move the clock of bg: ids, locks and what nginx logged go by it.
func clockCells() []cell {
	var all []cell
	for _, moved := range []string{"-24h", "-1h", "1h", "24h"} {
		all = append(all, cell{group: "clock moved", name: "by " + moved + " for one deployment, then right again", run: func(f *faulty) {
			f.env = append(f.env, fault.ClockVariable+"="+moved)
			f.must([]int{done}, "deploy", f.service)
			f.env = f.env[:len(f.env)-1]
			f.deployed()
			f.whole("blue")
		}}, cell{group: "clock moved", name: "by " + moved + " for one that is killed before its commit, then abort", run: func(f *faulty) {
			f.env = append(f.env, fault.ClockVariable+"="+moved)
			f.killed("before:commit", "deploy", f.service)
			f.env = f.env[:len(f.env)-1]
			f.must([]int{done}, "abort", f.service)
			f.whole("blue")
		}})
	}
	return all
}

// containerCells kill the new container. Once nginx sends to it, clients notice.
func containerCells() []cell {
	const path = "nginx sends to the container that is killed"
	var all []cell
	add := func(at, name, dataPath string, codes ...int) {
		all = append(all, cell{group: "new container killed", name: name, dataPath: dataPath, run: func(f *faulty) {
			r := f.at(at, func() { f.docker("kill", f.service+"-app-green-1") }, "deploy", f.service)
			f.endsWith(r, codes...)
			f.whole("blue")
		}})
	}
	add("in:register", "before it is registered", "", 12)
	add("in:tests", "in the pre tests", "", 13, 14)
	add("before:switch", "between pretest and switch", "", 13, 14)
	add("in:switch", "in switch, files written", path, 14)
	add("before:posttest", "between switch and posttest", path, 14, 15)
	add("before:commit", "between posttest and commit", path, 15, 16)
	return all
}

// nginxCells restart nginx's container and kill nginx's master, which its
// container's restart policy brings back.
func nginxCells() []cell {
	var all []cell
	for _, p := range []string{"in:start", "before:switch", "in:switch", "reload:switch", "in:tests#3", "before:commit", "in:drain", "before:stop"} {
		for _, kind := range []string{"nginx's container restarted", "nginx's master killed"} {
			all = append(all, cell{group: kind, name: named(p), dataPath: "nginx itself", nginx: []string{"--restart", "unless-stopped"}, run: func(f *faulty) {
				r := f.at(p, func() {
					if kind == "nginx's master killed" {
						f.killNginx()
					} else {
						f.docker("restart", "-t", "1", f.nginx)
					}
					f.nginxServes()
				}, "deploy", f.service)
				f.endsWith(r, done, 14, 15, 16, undoFailed)
				f.settle(r)
			}})
		}
	}
	return all
}

// named returns what a point is called in the table.
func named(at string) string {
	for _, p := range points {
		if p.at == at {
			return p.name
		}
	}
	return at
}

// killNginx kills nginx's master, and waits until the restart policy has brought
// another one: what is killed may answer for a moment more.
func (f *faulty) killNginx() {
	f.Helper()
	master := func() string { return f.docker("inspect", "-f", "{{.State.Pid}}", f.nginx) }
	killed := master()
	if _, err := output("kill", "-9", killed); err != nil {
		f.Fatal(err)
	}
	eventually(f, time.Minute, func() error {
		if now := master(); now == killed || now == "0" {
			return errors.New("nginx's container was not started again")
		}
		return nil
	})
}

// nginxServes waits until nginx answers again.
func (f *faulty) nginxServes() {
	f.Helper()
	eventually(f, time.Minute, func() error { _, _, err := f.get("/nothing"); return err })
}

// settle does what a person does after an exit code: nothing after a success or
// what was undone, an abort, or the finish of what is live, after a 20. The color
// that is live then follows from Consul.
func (f *faulty) settle(r result) {
	f.Helper()
	live := "blue"
	if strings.TrimSpace(f.kv("color")) == "green" {
		live = "green"
	}
	switch {
	case r.code == undoFailed && live == "blue":
		f.must([]int{done}, "abort", f.service)
	case live == "green" && !f.over():
		f.must([]int{done}, "resume", f.service)
	}
	f.whole(live)
}

// diskCells fill the file system that nginx's files live on.
func diskCells() []cell {
	const fill = "dd if=/dev/zero of=/etc/nginx/%s/.fill bs=4k 2>/dev/null; true"
	tmpfs := func(folder string) []string { return []string{"--tmpfs", "/etc/nginx/" + folder + ":size=64k"} }
	full := func(f *faulty, folder string) { f.docker("exec", f.nginx, "sh", "-c", fmt.Sprintf(fill, folder)) }
	free := func(f *faulty, folder string) { f.docker("exec", f.nginx, "rm", "-f", "/etc/nginx/"+folder+"/.fill") }
	return []cell{
		{group: "disk full", name: "before the upstreams are written", nginx: tmpfs("upstreams"), run: func(f *faulty) {
			f.endsWith(f.at("before:switch", func() { full(f, "upstreams") }, "deploy", f.service), 14)
			free(f, "upstreams")
			f.whole("blue")
		}},
		{group: "disk full", name: "before the locations are written, which changed", nginx: tmpfs("includes"), run: func(f *faulty) {
			f.file("nginx-includes.conf", includes+"# another one\n")
			f.endsWith(f.at("before:switch", func() { full(f, "includes") }, "deploy", f.service), 14)
			free(f, "includes")
			f.whole("blue")
		}},
		{group: "disk full", name: "when the switch has to be undone, then abort", nginx: tmpfs("upstreams"), run: func(f *faulty) {
			f.file("bg.yml", failingSettings)
			f.endsWith(f.at("before:posttest", func() { full(f, "upstreams") }, "deploy", f.service), undoFailed)
			free(f, "upstreams")
			f.must([]int{done}, "abort", f.service)
			f.whole("blue")
		}},
		{group: "disk full", name: "and bg killed there, then abort", nginx: tmpfs("upstreams"), run: func(f *faulty) {
			f.killed("after:switch", "deploy", f.service)
			full(f, "upstreams")
			f.must([]int{undoFailed}, "abort", f.service)
			free(f, "upstreams")
			f.must([]int{done}, "abort", f.service)
			f.whole("blue")
		}},
	}
}

// imageCells deploy while no image registry answers.
func imageCells() []cell {
	const nowhere = "127.0.0.1:1/books"
	return []cell{
		{group: "image registry gone", name: "an image that is not here", run: func(f *faulty) {
			f.must([]int{11}, "deploy", f.service, "--image", nowhere+":none")
			f.whole("blue")
		}},
		{group: "image registry gone", name: "an image that was built here", run: func(f *faulty) {
			image := nowhere + ":" + f.service
			f.docker("tag", stack.Name+":2.0", image)
			f.Cleanup(func() { docker(f, "rmi", image) })
			f.must([]int{done}, "deploy", f.service, "--image", image)
			f.whole("green")
			f.must([]int{done}, "deploy", f.service) // so that the image can go
		}},
		{group: "image registry gone", name: "a rollback", run: func(f *faulty) {
			f.deployed()
			f.must([]int{done}, "rollback", f.service)
			f.whole("blue")
		}},
	}
}

// own gives a cell a site of its own.
func own(servers int) func(*testing.T) *site {
	return func(t *testing.T) *site { return newSite(t, servers) }
}

// registratorCells let a deployment happen without the registrator.
func registratorCells() []cell {
	dead := func(f *faulty) { f.parts.registrator.kill() }
	back := func(f *faulty) { f.parts.registrator.start() }
	return []cell{
		{group: "registrator dead", name: "before start", site: own(1), run: func(f *faulty) {
			f.endsWith(f.at("before:start", func() { dead(f) }, "deploy", f.service, "--health-timeout", "5s"), 12)
			f.whole("blue")
			back(f)
		}},
		{group: "registrator dead", name: "between switch and failing post tests", site: own(1), run: func(f *faulty) {
			f.file("bg.yml", failingSettings)
			r := f.at("before:posttest", func() { dead(f) }, "deploy", f.service)
			f.endsWith(r, 15, undoFailed)
			back(f)
			f.registered()
			f.settle(r)
		}},
		{group: "registrator dead", name: "before stop", site: own(1), run: func(f *faulty) {
			r := f.at("before:stop", func() { dead(f) }, "deploy", f.service)
			f.endsWith(r, done)
			back(f)
			f.registered()
			f.settle(r)
		}},
		{group: "registrator dead", name: "and back in register", site: own(1), run: func(f *faulty) {
			f.parts.registrator.kill()
			f.endsWith(f.at("in:register", func() { back(f) }, "deploy", f.service), done)
			f.whole("green")
		}},
	}
}

// registered waits until a registrator that came back, or whose Consul did, has
// put right what it missed: what runs is registered, and nothing else.
func (f *faulty) registered() {
	f.Helper()
	eventually(f, time.Minute, func() error {
		containers := f.containers()
		for _, color := range []string{"blue", "green"} {
			runs := strings.Count(containers, "-app-"+color+"-1 running")
			if got := f.instances(color); len(got) != runs {
				return fmt.Errorf("%s is registered as %v, and %d containers run", color, got, runs)
			}
		}
		return nil
	})
}

// consulCells kill the leader of three servers, and take a single one away for
// longer than a lock lives without it.
func consulCells() []cell {
	var all []cell
	for _, at := range []string{"before:start", "in:register", "before:switch", "in:switch", "before:commit", "in:drain"} {
		all = append(all, cell{group: "leader of three Consul servers killed", name: named(at), site: own(3), run: func(f *faulty) {
			s := f.parts
			r := f.at(at, func() { s.follow(); s.servers[s.leader()].kill() }, "deploy", f.service)
			f.endsWith(r, append([]int{done, undoFailed}, anyStep...)...)
			s.led(s.Consul)
			f.registered()
			f.settle(r)
		}})
	}
	for _, at := range []string{"before:start", "in:register", "before:switch", "before:posttest", "before:commit", "in:commit", "in:drain"} {
		all = append(all, cell{group: "Consul gone for 30 s", name: named(at), site: own(1), run: func(f *faulty) {
			s := f.parts
			back := make(chan struct{})
			r := f.at(at, func() {
				s.servers[0].kill()
				go func() {
					defer close(back)
					time.Sleep(30 * time.Second) // the fault itself
					s.servers[0].start()
				}()
			}, "deploy", f.service)
			<-back
			s.led(s.Consul)
			f.endsWith(r, append([]int{done, undoFailed}, anyStep...)...)
			f.registered()
			f.settle(r)
		}})
	}
	return all
}

// follow makes sure that bg and the registrator talk to a server that does not
// lead: the one that leads is going to be killed.
func (s *site) follow() {
	s.t.Helper()
	n := s.leader()
	if s.addresses[n] != s.Consul {
		return
	}
	// Whoever is asked has to leave the lead to another one.
	a, err := fetch(s.t, http.MethodPost, "http://"+s.Consul+"/v1/operator/raft/transfer-leader", "")
	if err != nil || a.status != http.StatusOK {
		s.t.Fatalf("transfer the lead: %d %s %v", a.status, a.body, err)
	}
	eventually(s.t, time.Minute, func() error {
		if s.addresses[s.leader()] == s.Consul {
			return fmt.Errorf("%s still leads", s.Consul)
		}
		return nil
	})
}

// raceCells start two deployments at the same instant.
func raceCells() []cell {
	var all []cell
	for n := 1; n <= 5; n++ {
		all = append(all, cell{group: "two deployments at the same instant", name: fmt.Sprint("ten rounds, ", n), run: func(f *faulty) {
			live := "blue"
			for range 10 {
				f.race()
				live = other(live)
			}
			f.row.Codes = "10 times 0 and 3"
			f.whole(live)
		}})
	}
	return all
}

// race starts two deployments: one has to be done, and one has to name the other.
func (f *faulty) race() {
	f.Helper()
	var group sync.WaitGroup
	results := make([]result, 2)
	errs := make([]error, 2)
	for n := range results {
		env := slices.Concat(f.env, []string{"BG_LOCK_WAIT=0s"})
		group.Go(func() { results[n], errs[n] = execute(f.Context(), f.dir, env, bg, "deploy", f.service) })
	}
	group.Wait()
	if errs[0] != nil || errs[1] != nil {
		f.Fatal(errs)
	}
	codes := results[0].code + results[1].code
	if codes != done+held || results[0].code == results[1].code {
		f.Fatalf("exit codes %d and %d instead of 0 and 3:\n%s\n%s", results[0].code, results[1].code, results[0].report, results[1].report)
	}
	for _, r := range results {
		if r.code == held {
			f.says(r, "is held by", "pid")
		}
	}
}
