// Package color holds the two colors of a service and the place where Consul
// keeps the live one.
package color

import "fmt"

// Color is one of the two colors of a service. Its value is the word that is
// stored in Consul KV.
type Color string

// The colors. None is the live color of a service that was never deployed.
const (
	None  Color = ""
	Blue  Color = "blue"
	Green Color = "green"
)

// Parse returns the color that word names. Only the exact words "blue" and
// "green" name one; None cannot be written as a word.
func Parse(word string) (Color, error) {
	switch c := Color(word); c {
	case Blue, Green:
		return c, nil
	default:
		return None, fmt.Errorf("%q is not a color (blue or green)", word)
	}
}

// Next returns the color that the next deployment takes when live is serving:
// the other one, and blue for a service that was never deployed.
func Next(live Color) Color {
	if live == Blue {
		return Green
	}
	return Blue
}

// String returns the word for c, and "none" for None.
func (c Color) String() string {
	if c == None {
		return "none"
	}
	return string(c)
}
