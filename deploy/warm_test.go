package deploy

import (
	"errors"
	"testing"
	"time"

	"bg/color"
)

func TestARollbackToAWarmColorIsOnlyASwitch(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	deploy := w.request()
	deploy.Keep = time.Hour
	second := must(d.Deploy(t.Context(), deploy))(t)
	if w.running(d, color.Blue) != 1 || second.WarmUntil == nil || time.Until(*second.WarmUntil) < 50*time.Minute {
		t.Fatalf("blue is not warm: until %v", second.WarmUntil)
	}
	w.calls = nil
	back := w.request()
	back.Rollback, back.Keep = true, time.Hour
	third := must(d.Deploy(t.Context(), back))(t)
	w.called("healthy blue, render blue, apply blue, drained to blue, stop green")
	w.serving(d, color.Blue)
	if third.Restart != first.ID || third.ImageID != first.ImageID || third.WarmUntil != nil {
		t.Errorf("recorded: %+v", third)
	}
}

func TestAFailedSwitchBackLeavesTheWarmColorRunning(t *testing.T) {
	w, d := newWorld(t, color.None)
	must(d.Deploy(t.Context(), w.request()))(t)
	deploy := w.request()
	deploy.Keep = time.Hour
	must(d.Deploy(t.Context(), deploy))(t)
	back := w.request()
	back.Rollback = true
	w.failing("apply blue", errScript)
	if _, err := d.Deploy(t.Context(), back); !errors.Is(err, errScript) {
		t.Fatalf("%v", err)
	}
	w.serving(d, color.Green)
	if w.running(d, color.Blue) != 1 {
		t.Error("the warm color was stopped")
	}
}

func TestARollbackToADeploymentRunsItsVeryImage(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	for range 2 {
		must(d.Deploy(t.Context(), w.request()))(t)
	}
	back := w.request()
	back.Rollback, back.Target = true, first.ID
	done := must(d.Deploy(t.Context(), back))(t)
	if got := d.Engine.(*scriptedEngine).containers[color.Green][0].Image; got != first.ImageID || done.Image != first.Image {
		t.Errorf("runs %s instead of %s, and is recorded as %s", got, first.ImageID, done.Image)
	}
	w.serving(d, color.Green)
}

func TestARollbackToAnUnknownDeploymentChangesNothing(t *testing.T) {
	w, d := newWorld(t, color.None)
	must(d.Deploy(t.Context(), w.request()))(t)
	w.calls = nil
	back := w.request()
	back.Rollback, back.Target = true, "20200101-000000-0000"
	if _, err := d.Deploy(t.Context(), back); !errors.Is(err, ErrNothingKept) {
		t.Fatalf("%v", err)
	}
	w.called("")
	w.serving(d, color.Blue)
}
