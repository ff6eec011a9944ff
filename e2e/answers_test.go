package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorded is the newest document of a deployment in KV.
func (w *world) recorded() (d struct {
	ID, Outcome, Restarted string
	ImageID                string    `json:"image_id"`
	Started                time.Time `json:"started"`
	Steps                  []struct {
		Step, Duration string
		Started        time.Time
	}
},
) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.kv("deploy")), &d); err != nil {
		w.Fatal(err)
	}
	return d
}

func TestHistoryTellsOfEveryDeployment(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	first := w.recorded().ID
	w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo broken here; exit 3' }, {"))
	w.code(w.bg("deploy", w.service, "--tag", "2.0"), 13)
	failed := w.recorded().ID
	r := w.bg("history", w.service)
	w.code(r, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], failed) || !strings.HasPrefix(lines[2], first) {
		t.Errorf("not the two deployments, the newest first:\n%s", r.out)
	}
	r = w.bg("history", w.service, failed)
	w.says(r, "failed: pretest", "broken here", "UNDO", "removed "+w.service+"-app-green-1", "what was there when it failed")
}

func TestARollbackToAWarmColorIsASwitchAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.settings("keep: 10m\n")
	w.deploy("--tag", "1.0")
	w.deploy("--tag", "2.0")
	if got := w.containers(); !strings.Contains(got, "app-blue-1 running") || !strings.Contains(got, "app-green-1 running") {
		t.Fatalf("the old color does not stay warm: %s", got)
	}
	started := w.startTimes()
	w.begin()
	began := time.Now()
	w.code(w.bg("rollback", w.service, "--until", "commit"), 0) // what comes after it waits for nobody
	took := time.Since(began)
	if now := w.startTimes(); now != started {
		t.Errorf("a container was started, stopped or replaced:\n%s\nbefore:\n%s", now, started)
	}
	w.live("blue")
	d := w.recorded()
	var steps []string
	for _, s := range d.Steps {
		steps = append(steps, s.Step)
	}
	if got := strings.Join(steps, " "); got != "register switch commit" {
		t.Errorf("it is more than a switch: %s", got)
	}
	w.code(w.bg("resume", w.service), 0)
	w.end()
	w.live("blue")
	t.Logf("the rollback took %s, of which nginx had switched after %s", took.Round(time.Millisecond), d.Steps[2].Started.Sub(d.Started))
}

// startTimes says of each container of the service which one it is, since when it
// runs, and that it does.
func (w *world) startTimes() string {
	w.Helper()
	ids := strings.Fields(w.docker("ps", "-aq", "--filter", "label=com.docker.compose.project="+w.service))
	return w.docker(append([]string{"inspect", "-f", "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Status}}"}, ids...)...)
}

func TestARollbackToAnEarlierDeploymentRunsItsVeryImage(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	first := w.recorded()
	w.deploy("--tag", "2.0")
	w.deploy("--tag", "2.0")
	w.begin()
	year := first.ID[:4]
	r := w.bg("rollback", w.service, "--to", year)
	w.code(r, 2)
	w.says(r, "3 deployments of "+w.service+" begin or end with "+year+": ", first.ID)
	w.code(w.bg("rollback", w.service, "--to", strings.TrimPrefix(first.ID, year)), 0) // its end
	w.end()
	w.live("green")
	if _, header, _ := w.get("/ping"); header.Get("X-Version") != "1.0" || w.recorded().ImageID != first.ImageID {
		t.Errorf("version %s serves instead of 1.0", header.Get("X-Version"))
	}
	r = w.bg("rollback", w.service, "--to", "20200101-000000-0000")
	w.code(r, 2)
	w.says(r, "has no deployment 20200101-000000-0000", "bg history "+w.service)
}

func TestAPlanSaysWhetherThereIsSomethingToDo(t *testing.T) {
	w := newWorld(t)
	r := w.bg("plan", w.service, "--detailed-exitcode")
	w.code(r, 2)
	w.says(r, "was never deployed", "+++ /etc/nginx/upstreams/"+w.service+".conf", "--- /dev/null", "192.0.2.1:8080 stands for")
	w.deploy("--tag", "1.0")
	r = w.bg("plan", w.service, "--tag", "1.0", "--detailed-exitcode")
	w.code(r, 0)
	w.says(r, "Nothing to do", "-  server ", "+  server 192.0.2.1:8080;")

	r = w.bg("plan", w.service, "--tag", "2.0", "--detailed-exitcode")
	w.code(r, 2)
	w.says(r, "the image: "+stack.Name+":2.0 (sha256:")
	w.code(w.bg("plan", w.service, "--tag", "2.0"), 0) // without the flag it is an answer, whatever it says
	var view struct {
		Changes []string
		Old     struct{ ID string }
	}
	r = w.bg("plan", w.service, "--tag", "1.0", "--replicas", "2", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &view); err != nil || len(view.Changes) != 1 || view.Changes[0] != "2 containers instead of 1" {
		t.Errorf("%v: %+v\n%s", err, view, r.out)
	}
	w.file("docker-compose.yml", strings.ReplaceAll(compose, "      CRASH:", "      MORE: yes\n      CRASH:"))
	w.says(w.bg("plan", w.service, "--tag", "1.0"), "the Compose file: it does not describe")
	w.file("docker-compose.yml", compose)
	w.file("nginx-includes.conf", includes+"# another\n")
	w.says(w.bg("plan", w.service, "--tag", "1.0"), "nginx's files:", "+# another")
	w.file("nginx-includes.conf", "nonsense on;\n")
	r = w.bg("plan", w.service, "--tag", "1.0", "--detailed-exitcode")
	w.code(r, 1)
	w.says(r, "nginx refuses the new configuration", "nonsense")
	w.live("blue")
}

func TestAPlanSaysWhoHoldsTheService(t *testing.T) {
	w := newWorld(t)
	w.file("bg.yml", strings.ReplaceAll(settings, "pre:  [ {", "pre: [ { run: 'echo waiting here; sleep 60' }, {"))
	first := w.start("waiting here", "deploy", w.service)
	w.says(w.bg("plan", w.service), w.service+" is held by ")
	first.signal(t, syscall.SIGTERM)
	w.file("bg.yml", settings)
	w.deploy("--hold")
	r := w.bg("plan", w.service, "--detailed-exitcode")
	w.code(r, 2)
	w.says(r, "is paused: bg resume "+w.service)
	r = w.bg("gc", w.service)
	w.code(r, 3)
	w.says(r, "a deployment is unfinished", "bg abort "+w.service)
}

func TestGarbageOfAServiceIsRemovedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	mine := w.service + "-app"
	for _, tag := range []string{"1", "2", "3"} {
		// The label makes it an image of this run: Docker gives equal builds one id with many names.
		docker(t, "build", "-q", "-t", mine+":"+tag, "--build-arg", "VERSION="+tag, "--label", "of="+w.service, sample)
		w.deploy("--image", mine+":"+tag)
	}
	docker(t, "tag", mine+":1", mine+"-other:1")
	stranger := docker(t, "create", "--name", w.service+"-stranger", "-l", "SERVICE_IGNORE=true", mine+":3")
	t.Cleanup(func() { docker(t, "rm", "-f", stranger) })

	r := w.bg("gc", w.service, "--keep", "2", "--dry-run")
	w.code(r, 0)
	w.says(r, "kept image", "it is also called "+mine+"-other:1")
	docker(t, "rmi", mine+"-other:1")
	r = w.bg("gc", w.service, "--keep", "2", "--dry-run")
	w.says(r, "would remove image "+mine+":1")
	docker(t, "image", "inspect", mine+":1")
	w.begin()
	w.code(w.bg("gc", w.service, "--keep", "2"), 0)
	w.end()
	if got := docker(t, "images", "-q", mine+":1"); got != "" {
		t.Errorf("the old image is still there: %s", got)
	}
	docker(t, "image", "inspect", mine+":2", mine+":3", stack.Name+":1.0")
	docker(t, "inspect", stranger)
	w.live("blue")
	w.code(w.bg("rollback", w.service), 0)
	w.live("green")
}

func TestAColorThatWasWarmLongEnoughIsStoppedAndKept(t *testing.T) {
	w := newWorld(t)
	// Services of their own for gc --all: it sweeps all that Consul knows below a prefix.
	w.prefix = w.service + "-sweep/"
	w.env = append(w.env, "BG_CONSUL_PREFIX="+w.prefix)
	w.consul(http.MethodPut, "kv/"+w.prefix+"other/deploy", `{"id": "20261121-010203-7f3a", "by": {"host": "elsewhere.invalid"}}`)
	w.settings("keep: 1h\n")
	w.deploy("--tag", "1.0")
	w.deploy("--tag", "2.0")
	w.says(w.bg("gc", w.service), "kept "+w.service+"-app-blue-1: warm until ")
	w.settings("keep: 1s\n")
	w.deploy("--tag", "1.0")
	w.begin()
	folder := w.dir
	w.dir = t.TempDir() // as cron does it
	eventually(t, time.Minute, func() error {
		r := w.bg("gc", "--all", "-o", "json")
		w.code(r, 0)
		w.says(r, "other: left as it is: its newest deployment was made on another machine")
		if !strings.Contains(r.out, w.service+"-app-green-1\"\n") {
			return fmt.Errorf("not stopped yet: %s%s", r.out, r.report)
		}
		return nil
	})
	w.end()
	w.dir = folder
	if got := w.containers(); !strings.Contains(got, "app-green-1 exited") || !strings.Contains(got, "app-blue-1 running") {
		t.Errorf("containers: %s", got)
	}
	w.code(w.bg("rollback", w.service), 0)
	w.live("green")
}

func TestTheDoctorPassesWhatADeploymentPasses(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	r := w.bg("doctor", w.service)
	w.code(r, 0)
	w.says(r, "of this host, such as", "blue is live", "green: rendered against the catalog, nginx takes them", "by blue")
	trial := regexp.MustCompile(`(bg-doctor-\w+), a trial, was registered after`).FindStringSubmatch(r.out)
	if len(trial) == 0 || docker(t, "ps", "-aq", "--filter", "name="+trial[1]) != "" {
		t.Errorf("the trial %v was not made, or is left behind:\n%s", trial, r.out)
	}
}

func TestTheDoctorNamesWhatWouldStopADeployment(t *testing.T) {
	w := newWorld(t)
	docker(w, "rm", "-fv", w.nginx)
	w.file("single.conf", "")
	w.startNginx("-v", w.dir+"/single.conf:/etc/nginx/upstreams/"+w.service+".conf", "-v", "/etc/nginx/includes")
	w.settings("")
	w.file("docker-compose.yml", strings.ReplaceAll(compose, `["8080"]`, `["8080:8080"]`))
	w.file("nginx-upstreams-green.ctmpl", "upstream x { {{range }")
	r := w.bg("doctor", w.service, "--no-trial")
	w.code(r, 1)
	w.says(r, "is mounted by itself", "mend: mount its directory /etc/nginx/upstreams", "both colors publish the port 8080", "green: template "+w.dir)
	if strings.Contains(r.out, "Registrator") {
		t.Errorf("there was a trial:\n%s", r.out)
	}
	var found []struct{ Status, Area, Mend string }
	r = w.bg("doctor", w.service, "--no-trial", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &found); err != nil || len(found) < 10 {
		t.Errorf("%v: %s", err, r.out)
	}
}
