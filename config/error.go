package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error is a mistake in the configuration. Its text has the place, what is
// wrong, and the lines of the file around it.
type Error struct {
	Where   string // bg.yml:3:1, BG_REPLICAS or --replicas
	Message string
	Excerpt string // of the file, "" for other places
}

func (e *Error) Error() string {
	text := e.Message
	if e.Where != "" {
		text = e.Where + ": " + text
	}
	if e.Excerpt != "" {
		text += "\n" + e.Excerpt
	}
	return text
}

// origin is the place where a value was set; the zero origin is a default's.
type origin struct {
	where   string
	key     string // what the message names beside the place
	excerpt string
}

// fail returns the error about the value that was set at o.
func (o origin) fail(format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	if o.key != "" {
		message = o.key + ": " + message
	}
	return &Error{Where: o.where, Message: harmless(message), Excerpt: o.excerpt}
}

// excerptWidth is the number of characters of a line that an excerpt shows.
const excerptWidth = 120

// excerpt shows line, which counts from 1, with the two before it, and a caret
// below column.
func excerpt(lines []string, line, column int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	var b strings.Builder
	for n := max(1, line-2); n <= line; n++ {
		mark := ' '
		if n == line {
			mark = '>'
		}
		fmt.Fprintf(&b, "%c %4d | %s\n", mark, n, printable(lines[n-1]))
	}
	column = min(max(column, 1), len([]rune(lines[line-1]))+1, excerptWidth)
	return b.String() + strings.Repeat(" ", len("> 1234 | ")+column-1) + "^"
}

// printable returns line for a terminal: cut, and each character in one column,
// so that the caret stays below its own.
func printable(line string) string {
	runes := []rune(line)
	if len(runes) > excerptWidth {
		runes = runes[:excerptWidth]
	}
	return strings.TrimRight(harmless(string(runes)), " ")
}

// harmless returns text with a space for each character that a terminal would
// act on instead of showing it.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// didYouMean returns the end of a message about an unknown word: the known one
// that is nearest, else all of them.
func didYouMean(word string, known []string) string {
	near := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(word, a), distance(word, b)) })
	if distance(word, near) <= max(1, len(near)/3) {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known are " + strings.Join(known, ", ")
}

// distance returns the number of characters to insert, delete or replace that
// make b of a (Levenshtein), without regard to case.
func distance(a, b string) int {
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range to {
			cost := 1
			if r == s {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(to)]
}
