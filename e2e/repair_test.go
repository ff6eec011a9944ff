package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// problems returns what bg status finds, each with what mends it.
func (w *world) problems() string {
	w.Helper()
	r := w.bg("status", w.service, "-o", "json")
	w.code(r, 0)
	var status struct {
		Problems []struct{ What, Mend string }
		Unseen   []struct{ Part, Why string }
	}
	if err := json.Unmarshal([]byte(r.out), &status); err != nil {
		w.Fatalf("%v: %s", err, r.out)
	}
	var all strings.Builder
	for _, p := range status.Problems {
		all.WriteString(p.What + " -> " + p.Mend + "\n")
	}
	for _, u := range status.Unseen {
		all.WriteString("unseen: " + u.Part + ": " + u.Why + "\n")
	}
	return all.String()
}

// A harm is done to a service behind bg's back.
type harm struct {
	name string
	do   func(*world)
	says string // by bg status
}

// harms are what happens to hosts, and what people do.
var harms = []harm{
	{"nginx's file was edited", func(w *world) {
		edit(w, "sed -i 's/server .*;/server 127.0.0.1:1;/' /etc/nginx/upstreams/"+w.service+".conf && nginx -s reload")
	}, "its file sends to 127.0.0.1:1"},
	{"nginx's file was removed", func(w *world) {
		edit(w, "rm /etc/nginx/upstreams/"+w.service+".conf /etc/nginx/includes/"+w.service+".conf && nginx -s reload")
	}, "gone from nginx"},
	{"the container was restarted, so that its port is another", func(w *world) {
		docker(w, "restart", w.service+"-app-blue-1") // Docker gives it the next port
	}, "its file sends to"},
	{"the container was stopped", func(w *world) { docker(w, "stop", w.service+"-app-blue-1") }, "do not run"},
	{"the color in KV was deleted", func(w *world) { consul(w, http.MethodDelete, "kv/"+w.service+"/color", "") }, "has no color"},
}

// edit runs a command in nginx's container.
func edit(w *world, command string) {
	w.Helper()
	docker(w, "exec", w.nginx, "sh", "-c", command)
}

func TestWhatSomebodyBrokeIsSeenAndRepaired(t *testing.T) {
	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy()
			if found := w.problems(); found != "" {
				t.Fatalf("before anything was broken: %s", found)
			}
			h.do(w)
			eventually(w, time.Minute, func() error { // Registrator tells Consul a moment later
				if found := w.problems(); !strings.Contains(found, h.says) || !strings.Contains(found, "bg repair "+w.service) {
					return fmt.Errorf("it does not say %q: %s", h.says, found)
				}
				return nil
			})
			dry := w.bg("repair", w.service, "--dry-run")
			w.code(dry, 0)
			w.code(w.bg("repair", w.service), 0)
			w.live("blue")
			if found := w.problems(); found != "" {
				t.Errorf("after the repair: %s", found)
			}
			again := w.bg("repair", w.service, "--dry-run")
			w.says(again, "nothing to repair")
		})
	}
}

func TestTheStatusNamesAKilledDeploymentAndWhoHoldsTheService(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.file("bg.yml", strings.ReplaceAll(settings, inPretest, inPretest+" { run: 'echo waiting here; sleep 60' },"))
	b := w.start("waiting here", "deploy", w.service)
	w.says(w.bg("status", w.service), "running in pretest", "held by", "blue is live")
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = b.Wait()                              // it was killed
	eventually(w, time.Minute, func() error { // the lock goes with its session
		if found := w.problems(); !strings.Contains(found, "was killed in pretest") {
			return fmt.Errorf("status: %s", found)
		}
		return nil
	})
	w.says(w.bg("status"), "SERVICE", w.service, "interrupted", "bg resume "+w.service)
	w.settings("")
	w.code(w.bg("abort", w.service), 0)
	if found := w.problems(); found != "" {
		t.Errorf("after the abort: %s", found)
	}
}
