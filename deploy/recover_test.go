package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// the id of the deployment that was killed in these tests.
const killed = "20261121-010203-7f3a"

// death is a moment in the life of a deployment of green, at which bg ends.
type death struct {
	Deployment
	Observation
}

// killedIn is a deployment, from blue or from none, that was killed in a step:
// all before it are done, and of the step itself nothing is known but its intent.
// Everything that a step does to the world was done.
func killedIn(verb Verb, from color.Color) death {
	d := death{
		Deployment: Deployment{ID: killed, Service: "books-ms", From: from, To: color.Green, Image: "books-ms:2.0", Outcome: Running,
			By: Who{User: "jenkins", Host: "ci-1", PID: 4711}, Started: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)},
		Observation: observed(func(o *Observation) {
			if from != color.None {
				o.live(from, 32001, blueAddress)
				o.Containers[from][0].Ports = []engine.Port{{Container: 8080, Host: 32001}}
			}
			o.Proxy.Files = proxy.Files{Upstreams: proxy.File{Path: "/u.conf", Absent: from == color.None}}
		}),
	}
	for _, v := range order[:slices.Index(order, verb)+1] {
		d.step(v, v != verb)
	}
	return d
}

// step takes a step.
func (d *death) step(verb Verb, done bool) {
	of := d.To
	switch verb {
	case Start:
		d.Observation.Containers[d.To] = []engine.Container{{ID: "0123456789abcdef", Name: "books-ms-green", State: "running", Deployment: d.ID, Ports: []engine.Port{{Container: 8080, Host: 32002}}}}
		d.Deployment.Containers = []string{"0123456789ab"}
	case Register:
		d.Instances[d.To] = []registry.Instance{{ID: "host:books-ms-green:8080", Address: "10.0.0.1", Port: 32002, Deployment: d.ID}}
		d.Addresses = []string{greenAddress}
	case Switch:
		d.Before = kept(d.Proxy)
		d.Proxy.Upstreams = []string{greenAddress}
	case Commit:
		if at := time.Date(2026, 11, 21, 1, 2, 30, 0, time.UTC); done {
			d.Outcome, d.Committed, d.Observation.Live.Color = Done, &at, d.To
		}
	case Drain, Stop:
		of = d.From
	case Pretest, Posttest, Expose, Remove: // they leave nothing behind
	}
	if verb == Stop && done {
		d.Observation.Containers[d.From][0].State = "exited"
	}
	r := Record{Step: verb, Color: of}
	if done {
		r.Duration, r.Observed = "1s", "as it should be"
	}
	d.Steps = append(d.Steps, r)
}

// again makes d the rollback to a container that was kept.
func (d *death) again() {
	d.Deployment.Kept, d.Restart, d.Rollback = true, "20261120-000000-0001", true
	d.Observation.Containers[d.To][0].Deployment = d.Restart
	for i := range d.Instances[d.To] {
		d.Instances[d.To][i].Deployment = d.Restart
	}
}

// recovery is a planner.
type recovery func(Deployment, Observation) (Plan, error)

var recoveries = map[string]recovery{
	"abort": AbortPlan,
	"clear": ClearPlan,
	"resume": func(d Deployment, seen Observation) (Plan, error) {
		return ResumePlan(Request{Service: d.Service, PreTests: 1, PostTests: 1}, d, seen)
	},
}

// text is what a planner says, for a golden file.
func text(p Plan, err error) string {
	if err != nil {
		return fmt.Sprintf("error: %v\nhint: %s\n", err, hint.Of(err))
	}
	return p.Text()
}

func TestEveryMomentOfAKillHasItsPlan(t *testing.T) {
	for name, plan := range recoveries {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for _, verb := range order {
				d := killedIn(verb, color.Blue)
				fmt.Fprintf(&all, "killed in %s\n%s\n", verb, text(plan(d.Deployment, d.Observation)))
			}
			golden(t, "killed-"+name, all.String())
		})
	}
}

func TestEveryMomentOfAKillOfAFirstDeploymentHasItsPlan(t *testing.T) {
	for name, plan := range recoveries {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for _, verb := range []Verb{Start, Register, Pretest, Switch, Posttest, Commit} {
				d := killedIn(verb, color.None)
				fmt.Fprintf(&all, "killed in %s\n%s\n", verb, text(plan(d.Deployment, d.Observation)))
			}
			golden(t, "killed-first-"+name, all.String())
		})
	}
}

// moments are those at which something else is to be seen than after a kill alone.
var moments = []struct {
	name string
	dead func() death
}{
	{"before its first step", func() death { d := killedIn(Start, color.Blue); d.Steps = nil; return d }},
	{"before the effect of start", func() death {
		d := killedIn(Start, color.Blue)
		d.Observation.Containers[color.Green], d.Deployment.Containers = nil, nil
		return d
	}},
	{"in a rollback", func() death { d := killedIn(Posttest, color.Blue); d.again(); return d }},
	{"in a rollback whose container is gone", func() death {
		d := killedIn(Pretest, color.Blue)
		d.again()
		d.Observation.Containers[color.Green], d.Instances[color.Green] = nil, nil
		return d
	}},
	{"in the switch, before nginx's files were written", func() death {
		d := killedIn(Switch, color.Blue)
		d.Proxy.Upstreams = []string{blueAddress}
		return d
	}},
	{"in the undo of the switch, between the files and the reload", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Undo = []Record{{Step: Switch, Color: color.Green}}
		d.Proxy.Upstreams = []string{blueAddress}
		return d
	}},
	{"in the undo of start", func() death {
		d := killedIn(Pretest, color.Blue)
		d.Undo = []Record{{Step: Start, Color: color.Green}}
		d.Observation.Containers[color.Green][0].State = "exited"
		return d
	}},
	{"after an undo that failed", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Outcome, d.Undo = UndoFailed, []Record{{Step: Switch, Color: color.Green, Duration: "1s", Error: "nginx is not there"}}
		return d
	}},
	{"paused after pretest", func() death {
		d := killedIn(Pretest, color.Blue)
		d.Steps[len(d.Steps)-1].Duration, d.Outcome = "1s", Paused
		return d
	}},
	{"paused after pretest, and exposed", func() death {
		d := killedIn(Pretest, color.Blue)
		d.Steps[len(d.Steps)-1].Duration, d.Outcome, d.Before = "1s", Paused, kept(d.Proxy)
		d.step(Expose, true)
		d.Proxy.Preview = []string{greenAddress}
		return d
	}},
	{"paused after pretest and exposed, and the new container ended", func() death {
		d := killedIn(Pretest, color.Blue)
		d.Steps[len(d.Steps)-1].Duration, d.Outcome, d.Before = "1s", Paused, kept(d.Proxy)
		d.step(Expose, true)
		d.Proxy.Preview, d.Instances[color.Green] = []string{greenAddress}, nil
		d.Observation.Containers[color.Green][0].State = "exited"
		return d
	}},
	{"in the exposure, between the file and the reload", func() death {
		d := killedIn(Pretest, color.Blue)
		d.Steps[len(d.Steps)-1].Duration, d.Before = "1s", kept(d.Proxy)
		d.step(Expose, false)
		d.Proxy.Preview = []string{greenAddress}
		return d
	}},
	{"paused after the commit", func() death {
		d := killedIn(Drain, color.Blue)
		d.Steps, d.Outcome = d.Steps[:len(d.Steps)-1], Paused
		return d
	}},
	{"in a posttest that was taken again", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Steps[len(d.Steps)-1].Duration = "1s"
		d.step(Switch, true)
		d.step(Posttest, false)
		return d
	}},
	{"and the new container was restarted on another port", func() death {
		d := killedIn(Commit, color.Blue)
		d.Instances[color.Green][0].Port, d.Observation.Containers[color.Green][0].Ports[0].Host = 32009, 32009
		return d
	}},
	{"and the new container ended", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Observation.Containers[color.Green][0].State, d.Instances[color.Green] = "exited", nil
		return d
	}},
	{"and one of two new containers ended", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Deployment.Containers = append(d.Deployment.Containers, "fedcba987654")
		d.Observation.Containers[color.Green] = append(d.Observation.Containers[color.Green], engine.Container{ID: "fedcba9876543210", Name: "books-ms-green-2", State: "exited", Deployment: d.ID})
		return d
	}},
	{"in a first deployment, and the new container ended", func() death {
		d := killedIn(Posttest, color.None)
		d.Observation.Containers[color.Green][0].State = "exited"
		return d
	}},
	{"and the old container was restarted on another port", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Instances[color.Blue][0].Port, d.Observation.Containers[color.Blue][0].Ports[0].Host = 32008, 32008
		return d
	}},
	{"in the switch away from what is to be replaced, between the files and the reload", func() death {
		d := killedIn(Start, color.Blue)
		d.Steps = []Record{{Step: Switch, Color: color.Blue}}
		d.Observation.Containers[color.Green][0].Deployment, d.Deployment.Containers = "20261120-000000-0001", nil
		return d
	}},
	{"and somebody changed the color in KV", func() death {
		d := killedIn(Posttest, color.Blue)
		d.Observation.Live.Color = color.Green
		return d
	}},
	{"after the commit, and somebody switched nginx back by hand", func() death {
		d := killedIn(Drain, color.Blue)
		d.Proxy.Upstreams = []string{blueAddress}
		return d
	}},
	{"after the commit, the new container ended, and somebody switched nginx back by hand", func() death {
		d := killedIn(Drain, color.Blue)
		d.Observation.Containers[color.Green][0].State, d.Instances[color.Green] = "exited", nil
		d.Proxy.Upstreams = []string{blueAddress}
		return d
	}},
	{"after the commit, and the new container ended", func() death {
		d := killedIn(Drain, color.Blue)
		d.Observation.Containers[color.Green][0].State, d.Instances[color.Green] = "exited", nil
		return d
	}},
	{"after the commit, and somebody changed the color in KV", func() death {
		d := killedIn(Drain, color.Blue)
		d.Observation.Live.Color = color.Blue
		return d
	}},
}

func TestWhatElseMayHaveHappenedHasItsPlan(t *testing.T) {
	for name, plan := range recoveries {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for _, m := range moments {
				d := m.dead()
				fmt.Fprintf(&all, "killed %s\n%s\n", m.name, text(plan(d.Deployment, d.Observation)))
			}
			golden(t, "moments-"+name, all.String())
		})
	}
}

func TestAStepThatWasTakenAgainIsAsItsLastRecordSays(t *testing.T) {
	d := killedIn(Posttest, color.Blue)
	if !d.did(Switch) || d.did(Posttest) {
		t.Fatal("the step before the kill is not done, or the one that it hit is")
	}
	d.step(Switch, false)
	if d.did(Switch) {
		t.Error("an earlier record counts")
	}
	d.step(Switch, true)
	d.Steps[len(d.Steps)-1].Error = "nginx refuses"
	if d.did(Switch) {
		t.Error("a failure counts as done")
	}
}

func TestADeploymentIsOpenUntilItsEndIsKnown(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		d    Deployment
		want bool
	}{
		{Deployment{}, false},
		{Deployment{Outcome: Running}, true},
		{Deployment{Outcome: Paused}, true},
		{Deployment{Outcome: UndoFailed, Ended: &now}, true},
		{Deployment{Outcome: Done}, true},
		{Deployment{Outcome: Done, Ended: &now}, false},
		{Deployment{Outcome: Failed, Ended: &now}, false},
		{Deployment{Outcome: Interrupted, Ended: &now}, false},
		{Deployment{Outcome: Aborted, Ended: &now}, false},
	} {
		if tt.d.Open() != tt.want {
			t.Errorf("%q, ended %v: open is %t", tt.d.Outcome, tt.d.Ended, tt.d.Open())
		}
	}
}

func TestAStageEndsAfterItsStep(t *testing.T) {
	var all strings.Builder
	for _, until := range order {
		p, err := MakePlan(Request{Service: "books-ms", Until: until}, observed(func(o *Observation) {
			o.live(color.Blue, 32001, blueAddress)
			o.runs(color.Green, 32002)
			o.Proxy.Upstreams = []string{greenAddress} // what is done first belongs to no stage
		}))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "until %s: %s, paused after %q\n", until, verbs(p), p.Until)
	}
	for _, until := range order {
		d := killedIn(Posttest, color.Blue)
		d.Steps = d.Steps[:len(d.Steps)-1]
		p, err := ResumePlan(Request{Service: "books-ms", Until: until}, d.Deployment, d.Observation)
		if err != nil && !errors.Is(err, ErrOver) {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "resumed after switch until %s: %s, paused after %q, %v\n", until, verbs(p), p.Until, err)
	}
	golden(t, "until", all.String())
}

// verbs are the verbs of a plan, in a row.
func verbs(p Plan) string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, string(s.Verb))
	}
	return strings.Join(list, " ")
}

func TestNginxFilesComeBackFromTheDocumentByteByByte(t *testing.T) {
	for name, data := range map[string][]byte{"text": []byte("upstream x { }\n"), "no text": {0xff, 0xfe, '\n'}, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			files := proxy.Files{Upstreams: proxy.File{Path: "/u", Data: data}, Includes: proxy.File{Path: "/i", Absent: true}}
			back := kept(proxy.State{Files: files}).files(color.Blue)
			if string(back.Upstreams.Data) != string(data) || back.Upstreams.Absent || !back.Includes.Absent || back.Includes.Path != "/i" || back.Color != color.Blue {
				t.Errorf("%+v", back)
			}
		})
	}
}

func TestAPlanAfterAnInterruptedDeploymentIsMadeForWhatIsThereThen(t *testing.T) {
	var all strings.Builder
	for _, verb := range order {
		d := killedIn(verb, color.Blue)
		p, err := MakePlan(Request{Service: "books-ms"}, d.after(d.Deployment))
		fmt.Fprintf(&all, "killed in %s\n%s\n", verb, text(p, err))
	}
	golden(t, "killed-then-plan", all.String())
}
