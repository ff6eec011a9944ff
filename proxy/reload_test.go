package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// slowNginx is an nginx whose reloads take effect when told to.
type slowNginx struct {
	file    string // on disk
	read    string // what the workers run with
	worker  int    // the PID of the one that there is
	said    string // in its log
	reloads int
	takes   func(reload int, logRead bool) bool // whether it has read the file by now
	logRead bool
}

func (s *slowNginx) ReadFile(context.Context, string) ([]byte, error) { return []byte(s.file), nil }

func (s *slowNginx) WriteFile(_ context.Context, _ string, data []byte) error {
	s.file = string(data)
	return nil
}

func (s *slowNginx) RemoveFile(context.Context, string) error {
	return errors.New("nothing is to be removed")
}

func (s *slowNginx) Run(context.Context, []string, []byte) (stdout, stderr []byte, err error) {
	return nil, nil, nil
}

func (s *slowNginx) Reload(context.Context) error {
	s.reloads++
	return nil
}

func (s *slowNginx) Log(context.Context, time.Time) ([]byte, error) {
	s.logRead = true
	return []byte(s.said), nil
}

func (s *slowNginx) Processes(context.Context) ([]string, error) {
	if want := 10 + s.reloads; s.worker != want && s.takes(s.reloads, s.logRead) {
		s.worker, s.read = want, s.file
	}
	return []string{"1 0 " + masterTitle, fmt.Sprintf("%d 1 %s", s.worker, workerTitle)}, nil
}

func TestAReloadIsBelievedToBeRefusedOnlyAsFarAsItsWorkersSaySo(t *testing.T) {
	t.Parallel()
	const foreign = "2026/11/21 02:00:00 [emerg] 99#99: of another tool\n"
	tests := map[string]struct {
		said    string
		takes   func(reload int, logRead bool) bool
		want    error
		read    string
		reloads int
	}{
		"a handshake that failed is no refusal": {
			"2026/11/21 02:00:00 [crit] 7#7: *5 SSL_do_handshake() failed\n",
			func(_ int, logRead bool) bool { return logRead }, nil, "green", 1,
		},
		"after a refusal nginx reads the old file again, since it may have read the new one": {
			foreign, func(reload int, _ bool) bool { return reload == 2 }, ErrRefused, "blue", 2,
		},
		"what nginx refuses twice it has never read": {
			foreign, func(int, bool) bool { return false }, ErrRefused, "blue", 2,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := &slowNginx{file: "blue", read: "blue", worker: 10, said: tt.said, takes: tt.takes}
			n := New(Config{Service: "books-ms", Upstreams: Managed{Path: "/up"}, ReloadTimeout: 2 * time.Second, RestoreTimeout: 9 * time.Second}, host, CatalogConfig{}, slog.New(slog.DiscardHandler))
			with := func(text string) Files { return Files{Upstreams: File{Path: "/up", Data: []byte(text)}} }
			change, way := Change{Files: with("green"), Previous: with("blue")}, []write{{file: with("green").Upstreams, state: with("green")}}
			err := n.perform(t.Context(), &change, look{}, way, func(context.Context, Files) (int, error) { return 0, nil })
			if err != nil {
				err = n.putBack(t.Context(), change, way, err)
			}
			if !errors.Is(err, tt.want) || errors.Is(err, ErrRestore) {
				t.Errorf("%v", err)
			}
			if host.read != tt.read || host.file != tt.read || host.reloads != tt.reloads {
				t.Errorf("%+v", host)
			}
		})
	}
}
