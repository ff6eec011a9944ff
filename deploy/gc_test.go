package deploy

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// past is a deployment that went as outcome says and made image live.
func past(id string, to color.Color, outcome Outcome, image string) Deployment {
	ended := noon.Add(-time.Hour)
	return Deployment{ID: id, From: color.Next(to), To: to, Outcome: outcome, Image: "books-ms:" + image, ImageID: "sha256:" + image, Ended: &ended}
}

// image is an image of the service, with one tag.
func image(tag string, users ...string) engine.Image {
	return engine.Image{ID: "sha256:" + tag, Names: []string{"books-ms:" + tag}, UsedBy: users}
}

// attic is a service whose green runs version 4 and whose blue was version 3;
// two older versions are remembered.
func attic(change func(*Attic)) Attic {
	a := Attic{
		Now: noon, Foreign: map[string]string{},
		History: []Deployment{past("d4", color.Green, Done, "4"), past("d3", color.Blue, Done, "3"), past("d2", color.Green, Done, "2"), past("d1", color.Blue, Done, "1")},
		Images:  []engine.Image{image("4", "live"), image("3", "kept"), image("2"), image("1")},
		Observation: observed(func(o *Observation) {
			o.live(color.Green, 32002, greenAddress)
			o.Containers[color.Green][0] = engine.Container{ID: "live", Name: "books-ms-green", State: "running", Deployment: "d4"}
			o.Containers[color.Blue] = []engine.Container{{ID: "kept", Name: "books-ms-blue", State: "exited", Deployment: "d3"}}
		}),
	}
	a.Owned = slices.Concat(a.Containers[color.Green], a.Containers[color.Blue])
	change(&a)
	return a
}

// warmed lets blue run on until d4's time is over at until.
func (a *Attic) warmed(until time.Time) {
	a.Containers[color.Blue][0].State = "running"
	a.Owned[1].State = "running"
	a.History[0].WarmUntil = &until
}

func TestASweepTakesWhatNoRollbackNeedsAndNothingElse(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Attic)
		want   Sweep
	}{
		{name: "the images of old versions", change: func(*Attic) {}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "not the image of a container of another service", change: func(a *Attic) { a.Images[2].UsedBy = []string{"stranger"} },
			want: Sweep{Images: []string{"books-ms:1"}, Kept: []string{"image books-ms:2: container stranger uses it"}}},
		{name: "not what another service deployed", change: func(a *Attic) { a.Foreign["sha256:1"] = "shop" },
			want: Sweep{Images: []string{"books-ms:2"}, Kept: []string{"image books-ms:1: service shop deployed it too"}}},
		{name: "not an image with a name that is not the service's", change: func(a *Attic) { a.Images[3].Names = append(a.Images[3].Names, "base:stable") },
			want: Sweep{Images: []string{"books-ms:2"}, Kept: []string{"image books-ms:1, base:stable: it is also called base:stable"}}},
		{name: "not an image that another repository has", change: func(a *Attic) { a.Images[3].Digests = []string{"shop@sha256:aa", "books-ms@sha256:bb"} },
			want: Sweep{Images: []string{"books-ms:2"}, Kept: []string{"image books-ms:1: it is also shop@sha256:aa"}}},
		{name: "not an old version that is among the newest again", change: func(a *Attic) {
			a.History = slices.Insert(a.History, 0, past("d5", color.Blue, Done, "1"))
			a.Live.Color = color.Blue
			a.Containers[color.Blue][0] = engine.Container{ID: "live", Name: "books-ms-blue", State: "running", Deployment: "d5"}
			a.Containers[color.Green][0].State = "exited"
			a.Owned = slices.Concat(a.Containers[color.Green], a.Containers[color.Blue])
			a.Proxy.Upstreams = nil
			a.Images[0].UsedBy, a.Images[1].UsedBy = []string{"live"}, nil
		}, want: Sweep{Images: []string{"books-ms:3", "books-ms:2"}}},
		{name: "not the image of the newest attempt, which failed", change: func(a *Attic) {
			a.History = slices.Insert(a.History, 0, past("d5", color.Blue, Failed, "5"))
			a.Images = append(a.Images, image("5"))
		}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "a stopped container that a killed deployment left, and its image", change: func(a *Attic) {
			a.Owned = append(a.Owned, engine.Container{ID: "old", Name: "books-ms-blue-2", State: "exited", Deployment: "d1"})
			a.Images[3].UsedBy = []string{"old"}
		}, want: Sweep{Containers: []string{"books-ms-blue-2"}, Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "not a stopped replica of what is live", change: func(a *Attic) {
			a.Owned = append(a.Owned, engine.Container{ID: "replica", Name: "books-ms-green-2", State: "exited", Deployment: "d4"})
		}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "not what is live, though the history has forgotten its deployment", change: func(a *Attic) {
			a.History = []Deployment{past("d9", color.Blue, Failed, "9"), past("d3", color.Blue, Done, "3")}
			a.Containers[color.Green][0].State, a.Owned[0].State = "exited", "exited"
		}, want: Sweep{}},
		{name: "not what may have been live before, though the history has forgotten its deployment", change: func(a *Attic) {
			a.History = []Deployment{past("d4", color.Green, Done, "4"), past("d1", color.Blue, Done, "1")}
		}, want: Sweep{}},
		{name: "what a failed deployment left where something else was live", change: func(a *Attic) {
			a.History = slices.Insert(a.History, 0, past("d5", color.Blue, Failed, "5"))
			a.Containers[color.Blue][0].Deployment, a.Owned[1].Deployment = "d5", "d5"
		}, want: Sweep{Containers: []string{"books-ms-blue"}, Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "a color that was warm long enough is stopped", change: func(a *Attic) { a.warmed(noon.Add(-time.Second)) },
			want: Sweep{Stop: []string{"books-ms-blue"}, Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "a color that is warm still stays", change: func(a *Attic) { a.warmed(noon.Add(time.Minute)) },
			want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}, Kept: []string{"books-ms-blue: warm until 2026-11-21T12:01:00Z"}}},
		{name: "a color that nginx sends to stays", change: func(a *Attic) {
			a.warmed(noon.Add(-time.Second))
			a.runs(color.Blue, 32001)
			a.Containers[color.Blue][0].Deployment = "d3"
			a.Proxy.Upstreams = []string{blueAddress}
		}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}, Kept: []string{"books-ms-blue: nginx sends to it"}}},
		{name: "a color with old workers stays", change: func(a *Attic) {
			a.warmed(noon.Add(-time.Second))
			a.Proxy = proxy.State{Leaving: []int{17}}
		}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}, Kept: []string{"books-ms-blue: old nginx workers may still have requests there"}}},
		{name: "containers that bg never made live stay", change: func(a *Attic) {
			a.warmed(noon.Add(-time.Second))
			a.Containers[color.Blue][0].Deployment = "by hand"
		}, want: Sweep{Images: []string{"books-ms:2", "books-ms:1"}}},
		{name: "nothing of a service that was never deployed", change: func(a *Attic) { a.History = nil }, want: Sweep{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MakeSweep("books-ms", 2, attic(tt.change))
			if err != nil {
				t.Fatal(err)
			}
			for name, lists := range map[string][2][]string{
				"stop": {tt.want.Stop, got.Stop}, "containers": {tt.want.Containers, got.Containers},
				"images": {tt.want.Images, got.Images}, "kept": {tt.want.Kept, got.Kept},
			} {
				if diff := cmp.Diff(append([]string{}, lists[0]...), lists[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestWhileADeploymentIsUnfinishedNothingIsSwept(t *testing.T) {
	_, err := MakeSweep("books-ms", 2, attic(func(a *Attic) {
		a.History = slices.Insert(a.History, 0, Deployment{ID: "d5", Outcome: Running})
	}))
	if !errors.Is(err, ErrUnfinished) {
		t.Errorf("%v", err)
	}
}

// shelf is a Store without images, and the history of one service.
type shelf struct {
	*registry.Journal
	service string
}

func (shelf) Owned(context.Context, engine.Source) ([]engine.Container, error) { return nil, nil }
func (shelf) Images(context.Context) ([]engine.Image, error)                   { return nil, nil }
func (shelf) RemoveImage(context.Context, engine.Image) error                  { return nil }
func (s shelf) Services(context.Context) ([]string, error)                     { return []string{s.service}, nil }

// cooled is a service whose blue was warm until now.
func cooled(t *testing.T) (*world, *Deployer, *Sweeper) {
	t.Helper()
	w, d := newWorld(t, color.None)
	must(d.Deploy(t.Context(), w.request()))(t)
	deploy := w.request()
	deploy.Keep = time.Nanosecond
	must(d.Deploy(t.Context(), deploy))(t)
	w.calls = nil
	kept := shelf{registry.NewJournal(w.consul, ""), w.service}
	return w, d, &Sweeper{Deployer: d, Store: kept, Histories: kept}
}

func TestAColorIsCooledOnlyWhenNginxWasSeenSendingToTheLiveOne(t *testing.T) {
	w, d, sweeper := cooled(t)
	w.failing("apply green", errScript)
	if _, err := sweeper.Sweep(t.Context(), w.request(), 2, false); !errors.Is(err, errScript) {
		t.Fatalf("%v", err)
	}
	if w.running(d, color.Blue) != 1 {
		t.Fatal("blue was stopped, and it is not known what nginx sends to")
	}
	delete(w.script, "apply green")
	w.calls = nil
	must(sweeper.Sweep(t.Context(), w.request(), 2, false))(t)
	w.called("render green, apply green, drained to green, stop blue, remove nothing")
	w.whole(d, color.Green, Done)
}

func TestAColorIsNotCooledWhileAReplicaOfTheLiveOneIsNotRegistered(t *testing.T) {
	w, d, sweeper := cooled(t)
	w.deregister(d.Engine.(*scriptedEngine).containers[color.Green][0].ID)
	if _, err := sweeper.Sweep(t.Context(), w.request(), 2, false); !errors.Is(err, ErrInconsistent) || hint.Of(err) == "" {
		t.Errorf("%v", err)
	}
	w.called("")
}

func TestTheHistoryNeverForgetsWhatWasLiveLast(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	second := must(d.Deploy(t.Context(), w.request()))(t)
	d.Settings.History = 1
	w.failing("pretest", errScript)
	for range 3 {
		if _, err := d.Deploy(t.Context(), w.request()); !errors.Is(err, errScript) {
			t.Fatal(err)
		}
	}
	left := must(d.Journal.List(t.Context(), w.service))(t)
	if diff := cmp.Diff([]string{w.journal().ID, second.ID, first.ID}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestASweepSaysWhatItDidOrWouldDo(t *testing.T) {
	s := Sweep{Service: "books-ms", Stop: []string{"books-ms-blue"}, Containers: []string{"books-ms-green-2"}, Images: []string{"books-ms:1"}, Kept: []string{"image books-ms:2: container stranger uses it"}}
	golden(t, "sweep", s.Text(false)+"\n"+s.Text(true)+"\n"+Sweep{Service: "books-ms"}.Text(true))
}
