package deploy

import (
	"errors"
	"strings"
	"testing"

	"bg/color"
	"bg/hint"
)

func TestADeploymentIsNamedByWhatNoOtherOneBeginsOrEndsWith(t *testing.T) {
	ids := []string{"20261122-010203-7f3a", "20261121-020304-7f3a", "20261121-010203-0b1c", "20261121"}
	tests := []struct {
		part, want string
		err        error
		says       string
	}{
		{part: "20261122-010203-7f3a", want: "20261122-010203-7f3a"},
		{part: "20261122", want: "20261122-010203-7f3a"},
		{part: "0b1c", want: "20261121-010203-0b1c"},
		{part: "020304-7f3a", want: "20261121-020304-7f3a"},
		{part: "20261121", want: "20261121"}, // it is one
		{part: "7f3a", err: ErrAmbiguous, says: "2 deployments of books-ms begin or end with 7f3a: 20261122-010203-7f3a, 20261121-020304-7f3a"},
		{part: "010203", err: ErrNoDeployment, says: "books-ms has no 010203"}, // in its midst
	}
	for _, tt := range tests {
		t.Run(tt.part, func(t *testing.T) {
			got, err := named(ids, "books-ms", tt.part)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Fatalf("%q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || hint.Of(err) == "") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOfManyCandidatesAFewAreNamed(t *testing.T) {
	var ids []string
	for _, tail := range "abcdefghijklmnop" {
		ids = append(ids, "20261121-"+string(tail))
	}
	if _, err := named(ids, "books-ms", "2026"); strings.Count(err.Error(), "20261121-") != maxCandidates || !strings.HasSuffix(err.Error(), ", …") {
		t.Errorf("%v", err)
	}
}

func TestARollbackAndAResumeTakeAPartOfAnId(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	must(d.Deploy(t.Context(), w.request()))(t)
	back := w.request()
	back.Rollback, back.Target, back.Until = true, first.ID[len("20261121-"):], Pretest
	held := must(d.Deploy(t.Context(), back))(t)
	w.serving(d, color.Green)
	if held.To != color.Blue {
		t.Errorf("%+v", held)
	}
	resume := w.request()
	resume.ID = "20"
	if _, err := d.Resume(t.Context(), resume); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("%v", err)
	}
	resume.ID = first.ID[len("20261121-"):]
	if _, err := d.Resume(t.Context(), resume); !errors.Is(err, ErrOtherDeployment) {
		t.Errorf("%v", err)
	}
	resume.ID = held.ID[len("20261121-"):]
	must(d.Resume(t.Context(), resume))(t)
	w.serving(d, color.Blue)
}
