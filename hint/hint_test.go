package hint_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"bg/hint"
)

func TestAHintTravelsBesideItsError(t *testing.T) {
	inner := hint.Wrap(io.EOF, "inner")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"no error", nil, ""},
		{"an error without a hint", io.EOF, ""},
		{"an error with one", inner, "inner"},
		{"wrapped", fmt.Errorf("read: %w", inner), "inner"},
		{"joined", errors.Join(io.ErrUnexpectedEOF, inner), "inner"},
		{"the outermost of two", hint.Wrap(fmt.Errorf("read: %w", inner), "outer"), "outer"},
		{"the default of one that has a hint", hint.Default(fmt.Errorf("wait: %w", inner), "default"), "inner"},
		{"the default of one that has none", hint.Default(io.EOF, "default"), "default"},
		{"no error with a hint", hint.Wrap(nil, "never"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := hint.Of(tt.err); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAHintDoesNotChangeTheError(t *testing.T) {
	err := hint.Wrap(fmt.Errorf("read: %w", io.EOF), "try again")
	if err.Error() != "read: EOF" || !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if hint.Wrap(nil, "never") != nil {
		t.Error("no error became one")
	}
}
