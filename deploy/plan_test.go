package deploy

import (
	"errors"
	"testing"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// Where the observations of these tests have the colors.
const (
	blueAddress  = "10.0.0.1:32001"
	greenAddress = "10.0.0.1:32002"
)

// observed is an Observation of books-ms in which image 2.0 is to be deployed
// and nothing runs.
func observed(change func(*Observation)) Observation {
	seen := Observation{Image: "books-ms:2.0", Containers: map[color.Color][]engine.Container{}, Instances: map[color.Color][]registry.Instance{}}
	change(&seen)
	return seen
}

// runs puts a registered container of color c into an observation.
func (o *Observation) runs(c color.Color, address int) {
	o.has(c, "running")
	o.Instances[c] = []registry.Instance{{ID: "host:books-ms-" + c.String() + ":8080", Address: "10.0.0.1", Port: address}}
}

// has puts a container of color c that is in state into an observation.
func (o *Observation) has(c color.Color, state string) {
	o.Containers[c] = []engine.Container{{Name: "books-ms-" + c.String(), Image: "books-ms:1.0", State: state}}
}

// live makes c the live color: its container runs, and nginx sends to it.
func (o *Observation) live(c color.Color, port int, address string) {
	o.Live = color.Live{Color: c, Index: 7}
	o.runs(c, port)
	o.Proxy = proxy.State{Upstreams: []string{address}}
}

// warm puts containers of green that were live before and still run into an
// observation.
func (o *Observation) warm() {
	const port = 32002
	o.runs(color.Green, port)
	o.Containers[color.Green][0].Ports = []engine.Port{{Container: 8080, Host: port}}
	o.Kept = true
}

// plans are the situations in which a plan can be made, each with a golden text.
var plans = []struct {
	name    string
	request Request
	seen    func(*Observation)
}{
	{name: "first-deploy", request: Request{PreTests: 1, PostTests: 2}, seen: func(*Observation) {}},
	{name: "blue-to-green", request: Request{PreTests: 2, PostTests: 1}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
	}},
	{name: "green-to-blue-replaces-old-containers", seen: func(o *Observation) {
		o.live(color.Green, 32002, greenAddress)
		o.has(color.Blue, "exited")
	}},
	{name: "several-replicas", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.Containers[color.Blue] = append(o.Containers[color.Blue], engine.Container{State: "running"}, engine.Container{State: "exited"})
	}},
	{name: "rollback-with-kept-containers", request: Request{Rollback: true, PostTests: 1}, seen: func(o *Observation) {
		o.live(color.Green, 32002, greenAddress)
		o.has(color.Blue, "exited")
		o.Kept, o.PreviousImage = true, "sha256:1111"
	}},
	{name: "rollback-by-image-of-the-history", request: Request{Rollback: true}, seen: func(o *Observation) {
		o.live(color.Green, 32002, greenAddress)
		o.PreviousImage = "sha256:1111"
	}},
	{name: "rollback-does-not-take-containers-that-were-never-live", request: Request{Rollback: true}, seen: func(o *Observation) {
		o.live(color.Green, 32002, greenAddress)
		o.has(color.Blue, "exited")
		o.PreviousImage = "sha256:1111"
	}},
	{name: "deploy-that-keeps-the-old-color-warm", request: Request{Keep: 10 * time.Minute}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
	}},
	{name: "deploy-over-a-warm-color", request: Request{Keep: 10 * time.Minute}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.warm()
	}},
	{name: "rollback-to-a-warm-color", request: Request{Rollback: true, Keep: 10 * time.Minute, PreTests: 1, PostTests: 1}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.warm()
		o.Proxy.Leaving = []int{17} // not a reason to wait: they may go on at green
	}},
	{name: "rollback-to-a-warm-color-that-lost-its-registration", request: Request{Rollback: true}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.warm()
		o.Instances[color.Green] = nil
	}},
	{name: "rollback-to-an-image-of-the-history", request: Request{Rollback: true, Target: "20261120-1"}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.warm()
		o.Target = Deployment{ID: "20261120-1", Outcome: Done, Image: "books-ms:0.9"}
		o.TargetImage = "books-ms@sha256:0900"
	}},
	{name: "rollback-to-a-deployment-whose-containers-were-kept", request: Request{Rollback: true, Target: "20261121-2"}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.has(color.Green, "exited")
		o.Containers[color.Green][0].Deployment = "20261121-1"
		o.Kept = true
		o.Target = Deployment{ID: "20261121-2", Restart: "20261121-1", Outcome: Done, Image: "books-ms:1.0"}
	}},
	{name: "interrupted-deployment", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.runs(color.Green, 32002)
		o.Proxy.Upstreams = []string{greenAddress}
	}},
	{name: "interrupted-undo", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.runs(color.Green, 32002)
		o.Proxy.Leaving = []int{17}
	}},
	{name: "interrupted-deployment-whose-container-lost-its-registration", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.has(color.Green, "running")
		o.Containers[color.Green][0].Ports = []engine.Port{{Container: 8080, Host: 32002}}
		o.Proxy.Upstreams = []string{greenAddress}
	}},
	{name: "old-workers-of-somebody-else", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.Proxy.Leaving = []int{17}
	}},
	{name: "interrupted-deployment-and-rollback", request: Request{Rollback: true}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.runs(color.Green, 32002)
		o.Proxy.Upstreams = []string{greenAddress}
		o.Kept = true
	}},
	{name: "deployment-that-is-held-and-exposed", request: Request{Until: Pretest}, seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.Proxy.Previews = true
	}},
	{name: "preview-of-a-deployment-that-was-given-up", seen: func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.Proxy.Preview = []string{greenAddress}
	}},
	{name: "old-color-without-running-containers", seen: func(o *Observation) {
		o.Live = color.Live{Color: color.Blue, Index: 7}
		o.has(color.Blue, "exited")
		o.Proxy.Upstreams = []string{blueAddress}
	}},
}

func TestThePlanNamesEachStepWithItsCause(t *testing.T) {
	for _, tt := range plans {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Service = "books-ms"
			plan, err := MakePlan(tt.request, observed(tt.seen))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "plan-"+tt.name, plan.Text())
		})
	}
}

func TestARollbackRestartsWhatWasKeptAndElseCreatesWhatTheHistoryNames(t *testing.T) {
	want := map[string]Plan{
		"rollback-with-kept-containers":                          {Image: "books-ms:1.0", Restart: true},
		"rollback-by-image-of-the-history":                       {Image: "sha256:1111"},
		"rollback-does-not-take-containers-that-were-never-live": {Image: "sha256:1111"},
		"blue-to-green": {Image: "books-ms:2.0"},
	}
	for _, tt := range plans {
		if _, asked := want[tt.name]; !asked {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			plan, err := MakePlan(tt.request, observed(tt.seen))
			if err != nil || plan.Image != want[tt.name].Image || plan.Restart != want[tt.name].Restart {
				t.Errorf("image %s, restart %t, %v", plan.Image, plan.Restart, err)
			}
		})
	}
}

func TestAPlanIsRefusedWhenItCannotBeMadeSafely(t *testing.T) {
	tests := []struct {
		name    string
		request Request
		seen    func(*Observation)
		want    error
		says    string
		hint    string
	}{
		{
			name: "nginx sends to both colors",
			seen: func(o *Observation) {
				o.live(color.Blue, 32001, blueAddress)
				o.runs(color.Green, 32002)
				o.Proxy.Upstreams = []string{blueAddress, greenAddress}
			},
			want: ErrInconsistent,
			says: "it is not clear which color is live: nginx sends to blue and to green (10.0.0.1:32001, 10.0.0.1:32002)",
			hint: "leave one color in nginx's upstreams file, reload nginx, and deploy again",
		},
		{
			name: "nginx sends to a color, and Consul knows of none",
			seen: func(o *Observation) {
				o.runs(color.Blue, 32001)
				o.Proxy.Upstreams = []string{blueAddress}
			},
			want: ErrInconsistent,
			says: "it is not clear which color is live: Consul KV has no color of books-ms, and nginx sends to blue",
			hint: "check consul.prefix; if blue serves, write it: consul kv put books-ms/color blue",
		},
		{
			name: "nginx sends to nobody known while the idle color runs",
			seen: func(o *Observation) {
				o.live(color.Blue, 32001, blueAddress)
				o.has(color.Green, "running")
				o.Proxy.Upstreams = []string{"10.0.0.9:1"}
			},
			want: ErrInconsistent,
			says: "it is not clear which color is live: nginx sends to 10.0.0.9:1, which is no known instance, while containers of green run",
			hint: "is Registrator running? if nothing sends to green, stop its containers and deploy again",
		},
		{
			name:    "rollback of what was never deployed",
			request: Request{Rollback: true}, seen: func(*Observation) {},
			want: ErrNothingKept, says: "nothing to roll back to: books-ms was never deployed", hint: "bg deploy books-ms",
		},
		{
			name:    "rollback with neither containers nor history",
			request: Request{Rollback: true}, seen: func(o *Observation) { o.live(color.Blue, 32001, blueAddress) },
			want: ErrNothingKept,
			says: "nothing to roll back to: no container of green is left, and the history names no image",
			hint: "bg deploy books-ms --image IMAGE",
		},
		{
			name:    "rollback to a deployment that failed",
			request: Request{Rollback: true, Target: "20261120-1"}, seen: func(o *Observation) {
				o.live(color.Blue, 32001, blueAddress)
				o.Target = Deployment{ID: "20261120-1", Outcome: Failed}
			},
			want: ErrNothingKept, says: "nothing to roll back to: deployment 20261120-1 was never live: failed", hint: "bg history books-ms",
		},
		{
			name:    "rollback to what is live",
			request: Request{Rollback: true, Target: "20261120-1"}, seen: func(o *Observation) {
				o.live(color.Blue, 32001, blueAddress)
				o.Containers[color.Blue][0].Deployment = "20261120-1"
				o.Target = Deployment{ID: "20261120-1", Outcome: Done}
			},
			want: ErrNothingKept, says: "nothing to roll back to: deployment 20261120-1 is what is live", hint: "bg history books-ms",
		},
		{
			name:    "rollback to an image that is lost",
			request: Request{Rollback: true, Target: "20261120-1"}, seen: func(o *Observation) {
				o.live(color.Blue, 32001, blueAddress)
				o.Target = Deployment{ID: "20261120-1", Outcome: Done, Image: "books-ms:0.9"}
			},
			want: ErrNothingKept,
			says: "nothing to roll back to: the image of deployment 20261120-1, books-ms:0.9, is not on this Engine any more, and it was in no registry",
			hint: "build it again and bg deploy books-ms --image IMAGE",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Service = "books-ms"
			plan, err := MakePlan(tt.request, observed(tt.seen))
			if !errors.Is(err, tt.want) || err.Error() != tt.says || hint.Of(err) != tt.hint {
				t.Errorf("%v (hint: %s)", err, hint.Of(err))
			}
			if len(plan.Steps) > 0 {
				t.Errorf("it has steps: %v", plan.Steps)
			}
		})
	}
}
