// Package hint carries, beside an error, what its reader can do about it.
package hint

import "errors"

// Error is an error with a hint: one line that says what to run or change next.
type Error struct {
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error that the hint belongs to.
func (e *Error) Unwrap() error { return e.Err }

// Wrap returns err with a hint, and nil when err is nil.
func Wrap(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Hint: hint}
}

// Default returns err with a hint unless it has one already: who knows why a
// wait ended knows better what to do than who waited.
func Default(err error, hint string) error {
	if Of(err) != "" {
		return err
	}
	return Wrap(err, hint)
}

// Of returns the outermost hint in err's chain, or "".
func Of(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
