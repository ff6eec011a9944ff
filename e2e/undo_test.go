package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A failure is a way in which a deployment fails, and what has to come of it.
type failure struct {
	name    string
	prepare func(*world)
	args    []string
	env     []string
	code    int
	says    []string
}

// failures are all undos of the flow's table, and the bad input that leads to
// them.
var failures = []failure{
	{name: "an image that cannot be pulled", args: []string{"--image", "nowhere.invalid/none:1"}, code: 11, says: []string{"nowhere.invalid/none:1", "hint:"}},
	{name: "a container that exits at once", env: []string{"CRASH=start"}, code: 12, says: []string{"exited with code 1", "it was removed; its log: bg history "}},
	{name: "a container that loops", env: []string{"CRASH=start"}, prepare: func(w *world) {
		w.file("docker-compose.yml", strings.ReplaceAll(compose, "    stop_grace", "    restart: always\n    stop_grace"))
	}, code: 12, says: []string{"restarted 3 times"}},
	{name: "a container that never gets ready", env: []string{"FAIL_HEALTH=true"}, args: []string{"--health-timeout", "2s"}, code: 12, says: []string{"503", "not ready within 2s"}},
	{name: "a container that is unhealthy", env: []string{"FAIL_HEALTH=true"}, prepare: func(w *world) {
		w.file("docker-compose.yml", strings.ReplaceAll(compose, "{ disable: true }", "{ test: [CMD, /books-ms, -check], interval: 200ms, start_period: 0s, retries: 2 }"))
	}, code: 12, says: []string{"is unhealthy"}},
	{name: "a container that is registered under another name", prepare: func(w *world) {
		w.file("docker-compose.yml", strings.ReplaceAll(compose, "SERVICE-green", "another"))
	}, code: 2, says: []string{"SERVICE_NAME", "hint:"}},
	{name: "a pre test that fails", prepare: func(w *world) {
		w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo broken here; exit 3' }, {"))
	}, code: 13, says: []string{"broken here", "exit status 3"}},
	{name: "a template that does not parse", prepare: func(w *world) { w.file("nginx-upstreams-green.ctmpl", "upstream x { {{range }") }, code: 14, says: []string{"nginx-upstreams-green.ctmpl"}},
	{name: "a template that misses a key", prepare: func(w *world) {
		w.file("nginx-upstreams-green.ctmpl", `{{ key "no/such/key" }}`+strings.ReplaceAll(upstreams, "COLOR", "green"))
	}, code: 14, says: []string{"no/such/key"}},
	{name: "a template that renders no server", prepare: func(w *world) {
		w.file("nginx-upstreams-green.ctmpl", "upstream SERVICE { }\nmap \"\" $live_color { default green; }\n")
	}, code: 14, says: []string{"no server"}},
	{name: "a template that renders the old color", prepare: func(w *world) {
		w.file("nginx-upstreams-green.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "blue"))
	}, code: 14, says: []string{"upstream list"}},
	{name: "a template that nginx refuses", prepare: func(w *world) {
		w.file("nginx-upstreams-green.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "green")+"nonsense on;\n")
	}, code: 14, says: []string{"nonsense"}},
	{name: "a full disk", prepare: func(w *world) {
		docker(w, "exec", w.nginx, "sh", "-c", "dd if=/dev/zero of=/etc/nginx/upstreams/.fill bs=4k 2>/dev/null; true")
	}, code: 14, says: []string{"full"}},
	{name: "a post test that fails", prepare: func(w *world) {
		w.file("bg.yml", strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'curl -sf $DOMAIN/ping; exit 4' }, {"))
	}, code: 15, says: []string{"exit status 4"}},
	{name: "a color that somebody changed meanwhile", prepare: func(w *world) {
		w.file("bg.yml", strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'echo blue | curl -sf -X PUT --data-binary @- http://"+stack.Consul+"/v1/kv/$BG_SERVICE/color' }, {"))
	}, code: 16, says: []string{"the transaction was refused by Consul"}},
}

func TestAFailedDeploymentLeavesTheLiveColorServing(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			w := newWorldFor(t, f)
			w.deploy()
			w.begin()
			if f.prepare != nil {
				f.prepare(w)
			}
			w.env = append(w.env, f.env...)
			r := w.bg(append([]string{"deploy", w.service}, f.args...)...)
			w.end()
			w.code(r, f.code)
			w.says(r, f.says...)
			w.live("blue")
			if f.name == "a full disk" {
				docker(w, "exec", w.nginx, "rm", "/etc/nginx/upstreams/.fill")
			}
			w.nothingLeft()
		})
	}
}

// newWorldFor makes a world whose nginx fits the failure.
func newWorldFor(t *testing.T, f failure) *world {
	w := newWorld(t)
	if f.name == "a full disk" {
		docker(w, "rm", "-fv", w.nginx)
		w.startNginx("--tmpfs", "/etc/nginx/upstreams:size=64k", "-v", "/etc/nginx/includes")
		w.settings("")
	}
	return w
}

func TestAnInterruptUndoesTheDeployment(t *testing.T) {
	for _, c := range []struct {
		name, during string
		signal       syscall.Signal
		settings     string
	}{
		{"SIGINT in the pre tests", "waiting here", syscall.SIGINT, strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo waiting here; sleep 60' }, {")},
		{"SIGTERM in the post tests", "waiting here", syscall.SIGTERM, strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'echo waiting here; sleep 60' }, {")},
		{"SIGTERM while it waits for health", "503", syscall.SIGTERM, settings},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy()
			w.begin()
			w.file("bg.yml", c.settings)
			if c.settings == settings {
				w.env = append(w.env, "FAIL_HEALTH=true")
			}
			b := w.start(c.during, "deploy", w.service)
			if code := b.signal(t, c.signal); code != 130 {
				t.Errorf("exit code %d instead of 130", code)
			}
			w.end()
			w.live("blue")
			w.nothingLeft()
		})
	}
}

func TestASecondDeploymentOfAServiceEndsWithTheHoldersName(t *testing.T) {
	w := newWorld(t)
	w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo waiting here; sleep 60' }, {"))
	first := w.start("waiting here", "deploy", w.service)
	r := w.bg("deploy", w.service)
	w.code(r, 3)
	w.says(r, "is held by", "pid")
	first.signal(t, syscall.SIGTERM)
}

func TestAnUndoThatFailsIsSaid(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.file("bg.yml", strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'docker pause NGINX; docker stop -t 0 NGINX; exit 1' }, {"))
	r := w.bg("deploy", w.service)
	w.code(r, 20)
	w.says(r, "and undoing it")
	if got := w.containers(); strings.Count(got, "running") != 2 {
		t.Errorf("both colors have to run while nobody knows what nginx sends to: %s", got)
	}
}

func TestTheNewContainerIsKilledBeforeTheCommit(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.begin()
	w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'docker kill ${BG_SERVICE}-app-green-1; sleep 30' }, {"))
	r := w.bg("deploy", w.service)
	w.end()
	w.code(r, 13)
	w.says(r, "does not stay up")
	w.live("blue")
	w.nothingLeft()
}

func TestMountingASingleFileIsRefused(t *testing.T) {
	w := newWorld(t)
	docker(w, "rm", "-fv", w.nginx)
	w.file("mounted.conf", "")
	w.startNginx("-v", w.dir+"/mounted.conf:/etc/nginx/upstreams/"+w.service+".conf", "-v", "/etc/nginx/includes")
	w.settings("")
	r := w.bg("deploy", w.service)
	w.code(r, 14)
	w.says(r, "hint:", "directory")
	if got := w.containers(); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestAHostileAddressInTheCatalogIsRefused(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.begin()
	w.file("nginx-upstreams-green.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "green")+
		`# {{range service "SERVICE-evil|any"}}{{.Address}}{{end}}`)
	body := `{"Node":"evil-` + w.service + `","Address":"10.0.0.1","Service":{"ID":"evil","Service":"` + w.service + `-evil","Address":"10.0.0.1; } server { listen 81","Port":80}}`
	consul(t, http.MethodPut, "catalog/register", body)
	t.Cleanup(func() { consul(t, http.MethodPut, "catalog/deregister", `{"Node":"evil-`+w.service+`"}`) })
	r := w.bg("deploy", w.service)
	w.end()
	w.code(r, 14)
	w.says(r, "unsafe value in the catalog")
	w.live("blue")
	w.nothingLeft()
}

func TestADeploymentThatWasKilledIsUndoneByTheNextOne(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.begin()
	w.env = append(w.env, "BG_LOCK_TTL=10s")
	w.file("bg.yml", strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'echo waiting here; sleep 60' }, {"))
	b := w.start("waiting here", "deploy", w.service)
	b.signal(t, syscall.SIGKILL)
	if _, header, _ := w.get("/ping"); header.Get("X-Color") != "green" || w.kv("color") != "blue" {
		t.Fatalf("it was not killed between switch and commit: %s answers", header.Get("X-Color"))
	}
	w.settings("")
	r := w.deploy("--tag", "2.0", "--lock-wait", "1m")
	w.end()
	w.says(r, "a switch was begun", "interrupted and was undone")
	w.live("green")
}

func TestAnInterruptEndsTheWaitForALock(t *testing.T) {
	w := newWorld(t)
	w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo waiting here; sleep 60' }, {"))
	first := w.start("waiting here", "deploy", w.service)
	second := w.start("another deployment holds", "deploy", w.service, "--lock-wait", "1m")
	if code := second.signal(t, syscall.SIGINT); code != 130 {
		t.Errorf("exit code %d instead of 130", code)
	}
	first.signal(t, syscall.SIGTERM)
}
