package engine

import (
	"bytes"
	"regexp"
)

// maxLog is how much of a log's end is kept.
const maxLog = 256 << 10

// errorLine matches a line of nginx's error log, and what it says before it has
// one. A container's output also has the access log, in which clients write.
var errorLine = regexp.MustCompile(`^([0-9/]{10} [0-9:]{8}|nginx:) \[[a-z]+\] `)

// errorLog keeps the end of the error log of what is written to it.
type errorLog struct{ partial, kept []byte }

func (l *errorLog) Write(p []byte) (int, error) {
	l.partial = append(l.partial, p...)
	left := l.partial
	for {
		line, rest, whole := bytes.Cut(left, []byte("\n"))
		if !whole {
			break
		}
		if errorLine.Match(line) {
			l.kept = append(append(l.kept, line...), '\n')
		}
		left = rest
	}
	l.partial = append(l.partial[:0], left...)
	if len(l.kept) > 2*maxLog {
		l.kept = append(l.kept[:0], l.kept[len(l.kept)-maxLog:]...)
	}
	return len(p), nil
}
