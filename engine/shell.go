package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// shellIdle is how long a shell is kept for the next command: for longer than a
// container takes to start, so that the switch finds the shell of the first look.
const shellIdle = 10 * time.Second

// shell is a shell that stays open in a container, for a run of commands: to
// start a process there takes the Engine some fifty milliseconds, and a shell
// that is there already a few.
//
// It reads commands from its standard input. The end of each is marked in both
// of its outputs, by a word that nobody can know before. When this process ends
// the input ends, and the shell with it.
type shell struct {
	turn chan struct{} // holds one value: who has it may use the rest
	open func(ctx context.Context) (types.HijackedResponse, error)
	conn *session
	idle *time.Timer
}

// session is a shell that runs.
type session struct {
	types.HijackedResponse
	mark  string
	marks *marks
	ended chan struct{} // closed when its output ended
	err   error         // why, after that
}

func newShell(open func(context.Context) (types.HijackedResponse, error)) *shell {
	s := &shell{turn: make(chan struct{}, 1), open: open}
	s.turn <- struct{}{}
	return s
}

// run runs a command with stdin, and returns what it left. It is one command at
// a time. When ctx ends first, the command runs on, and the next one gets another
// shell.
func (s *shell) run(ctx context.Context, cmd []string, stdin []byte) (output, error) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return output{}, context.Cause(ctx)
	}
	conn, err := s.session(ctx)
	if err != nil {
		return output{}, err
	}
	out, err := conn.run(ctx, cmd, stdin)
	if err != nil {
		s.drop()
		return output{}, err
	}
	s.idle = time.AfterFunc(shellIdle, s.close)
	return out, nil
}

// start has the shell started for a command that is to come.
func (s *shell) start(ctx context.Context) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return
	}
	if _, err := s.session(ctx); err == nil {
		s.idle = time.AfterFunc(shellIdle, s.close)
	}
}

// session returns the shell that runs, or a new one. The caller has the turn.
func (s *shell) session(ctx context.Context) (*session, error) {
	if s.idle != nil {
		s.idle.Stop()
	}
	if s.conn != nil {
		select {
		case <-s.conn.ended: // the container was stopped meanwhile
			s.drop()
		default:
			return s.conn, nil
		}
	}
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.conn = begin(conn)
	return s.conn, nil
}

// close ends the shell, unless it is being used.
func (s *shell) close() {
	select {
	case <-s.turn:
		s.drop()
		s.turn <- struct{}{}
	default:
	}
}

// drop ends the shell. The caller has the turn.
func (s *shell) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// begin reads what a shell writes until it ends.
func begin(conn types.HijackedResponse) *session {
	mark := "bg-" + rand.Text()
	s := &session{HijackedResponse: conn, mark: mark, ended: make(chan struct{})}
	s.marks = &marks{mark: []byte("\n" + mark), done: make(chan output, 1)}
	go func() {
		_, err := stdcopy.StdCopy(s.marks.stdout(), s.marks.stderr(), conn.Reader)
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		s.err = err
		close(s.ended)
	}()
	return s
}

// run runs one command and waits for its end.
func (s *session) run(ctx context.Context, cmd []string, stdin []byte) (output, error) {
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s.Conn, s.line(cmd, stdin))
		sent <- err
	}()
	for {
		select {
		case out := <-s.marks.done:
			return out, nil
		case err := <-sent:
			if err != nil {
				return output{}, fmt.Errorf("write to the shell: %w", err)
			}
			sent = nil // and now for the answer
		case <-s.ended:
			return output{}, fmt.Errorf("read from the shell: %w", s.err)
		case <-ctx.Done():
			return output{}, context.Cause(ctx)
		}
	}
}

// line is what the shell reads for a command. Its input is text here, since the
// shell's own input is; whatever the command leaves unread of it is dropped.
func (s *session) line(cmd []string, stdin []byte) string {
	var b strings.Builder
	quoted := make([]string, 0, len(cmd))
	for _, word := range cmd {
		quoted = append(quoted, quote(word))
	}
	command := strings.Join(quoted, " ")
	if stdin == nil {
		fmt.Fprintf(&b, "%s </dev/null\n", command)
	} else {
		fmt.Fprintf(&b, "base64 -d <<'%s' | %s\n", s.mark, command)
		for chunk := []byte(base64.StdEncoding.EncodeToString(stdin)); len(chunk) > 0; {
			n := min(len(chunk), 4096)
			b.Write(append(chunk[:n:n], '\n'))
			chunk = chunk[n:]
		}
		fmt.Fprintf(&b, "%s\n", s.mark)
	}
	fmt.Fprintf(&b, "printf '\\n%s %%d\\n' $?; printf '\\n%s\\n' >&2\n", s.mark, s.mark)
	return b.String()
}

// quote writes a word for a shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// marks collects both outputs of a shell, and hands them over when the mark of a
// command's end has come in both.
type marks struct {
	mark []byte
	done chan output

	mu        sync.Mutex
	out, errs bytes.Buffer
	ended     [2]bool
	now       output
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (m *marks) stdout() io.Writer {
	return writerFunc(func(p []byte) (int, error) { return m.write(p, &m.out, 0) })
}

func (m *marks) stderr() io.Writer {
	return writerFunc(func(p []byte) (int, error) { return m.write(p, &m.errs, 1) })
}

// write takes a piece of one of the outputs.
func (m *marks) write(p []byte, kept *bytes.Buffer, which int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := max(0, kept.Len()-len(m.mark))
	kept.Write(p)
	at := bytes.Index(kept.Bytes()[from:], m.mark)
	if at < 0 {
		return len(p), nil
	}
	at += from
	rest := kept.Bytes()[at+len(m.mark):]
	end := bytes.IndexByte(rest, '\n')
	if end < 0 {
		return len(p), nil // the code is still on its way
	}
	text := bytes.Clone(kept.Bytes()[:at])
	if which == 0 {
		code, err := strconv.Atoi(string(bytes.TrimSpace(rest[:end])))
		if err != nil {
			return len(p), errors.New("the shell's mark has no exit code")
		}
		m.now.stdout, m.now.code = text, code
	} else {
		m.now.stderr = text
	}
	kept.Reset()
	if m.ended[which] = true; m.ended[1-which] {
		m.done <- m.now
		m.now, m.ended = output{}, [2]bool{}
	}
	return len(p), nil
}

// openShell starts a shell in the container as user, "" for its own.
func (h *ContainerHost) openShell(ctx context.Context, user string) (types.HijackedResponse, error) {
	created, err := h.docker.ContainerExecCreate(ctx, h.name, container.ExecOptions{
		User: user, Cmd: []string{"sh"}, Env: []string{"LC_ALL=C"}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return types.HijackedResponse{}, h.reached(err)
	}
	// The shell outlives the call that it is opened for.
	conn, err := h.docker.ContainerExecAttach(context.WithoutCancel(ctx), created.ID, container.ExecAttachOptions{})
	return conn, h.reached(err)
}
