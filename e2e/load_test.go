package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/coder/websocket"

	"bg/load"
)

// everyClient are the kinds of clients that a service may have, all at once. The
// keep-alive ones take what the machine has left.
func everyClient() []load.Clients {
	const label = "X-Color"
	const book = `{"title":"The DevOps 2.0 Toolkit","author":"load"}`
	return []load.Clients{
		{Name: "keep-alive", Number: 16, Path: "/ping", KeepAlive: true, Label: label},
		// Each takes a port for a while: more would run out of them.
		{Name: "non-keep-alive", Number: 4, Path: "/ping", Pause: 5 * time.Millisecond, Label: label},
		{Name: "slow GET (700 ms)", Number: 16, Path: "/api/v1/slow?ms=700", KeepAlive: true, Label: label},
		{Name: "POST", Number: 4, Method: "POST", Path: "/api/v1/books", Body: book, KeepAlive: true, Pause: 2 * time.Millisecond, Label: label},
		{Name: "chunked upload", Number: 4, Method: "POST", Path: "/api/v1/books", Body: book, KeepAlive: true, Label: label, Kind: load.Uploads},
		{Name: "server-sent events", Number: 8, Path: "/api/v1/events?ms=50", Label: label, Kind: load.Events, Life: 2 * time.Second},
		{Name: "WebSocket", Number: 8, Path: "/api/v1/echo", Label: label, Kind: load.WebSocket, Life: 2 * time.Second, Pause: 20 * time.Millisecond},
	}
}

// quietConf writes the stack's nginx.conf with changes, and without the log of
// each request.
func quietConf(t *testing.T, changes ...string) string {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join(root, "templates/nginx.conf"))))
	changes = append(changes, "access_log /dev/stdout bg buffer=4k flush=1s;", "access_log off;")
	for pair := range slices.Chunk(changes, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("nginx.conf has no %q", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	name := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // nginx reads it as another user
		t.Fatal(err)
	}
	return name
}

// newLoadWorld makes a service behind an nginx that can carry a load.
func newLoadWorld(t *testing.T, changes ...string) *world {
	t.Helper()
	t.Parallel()
	w := newWorldOf(t, &stack)
	w.conf = quietConf(t, changes...)
	w.startNginx("-v", "/etc/nginx/upstreams", "-v", "/etc/nginx/includes")
	w.files()
	return w
}

// observed is what the document of a deployment says about it.
type observed struct {
	Outcome string
	Started time.Time
	Ended   time.Time
	Steps   []struct{ Step, Duration, Observed string }
	Probe   struct {
		Sent, Failed int
		Turns        []struct {
			At      time.Time
			LastOld *float64 `json:"last_old"`
		}
	}
}

// document returns what the newest deployment left in Consul.
func (w *world) document() observed {
	w.Helper()
	var d observed
	if err := json.Unmarshal([]byte(w.kv("deploy")), &d); err != nil {
		w.Fatal(err)
	}
	return d
}

// tally is what a run of the suite did.
type tally struct {
	deploys, rollbacks, failed int // deployments
	probes, probesFailed       int
	took                       map[string][]time.Duration // by step
}

// switches counts nginx's: a deployment that fails after its switch has two.
func (t *tally) switches() int { return t.deploys + t.rollbacks + 2*t.failed }

// add counts one deployment.
func (t *tally) add(d observed) {
	t.probes += d.Probe.Sent
	t.probesFailed += d.Probe.Failed
	t.took["all"] = append(t.took["all"], d.Ended.Sub(d.Started))
	for _, s := range d.Steps {
		if took, err := time.ParseDuration(s.Duration); err == nil {
			t.took[s.Step] = append(t.took[s.Step], took)
		}
	}
	for _, turn := range d.Probe.Turns {
		if turn.LastOld != nil {
			t.took["last answer of the old color, after the reload"] = append(t.took["last answer of the old color, after the reload"], time.Duration(*turn.LastOld*float64(time.Second)))
		}
	}
}

// table tells of a run.
func (t *tally) table(results []load.Result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	total, failed := 0, 0
	fmt.Fprintln(w, "CLIENTS\tREQUESTS\tFAILED\tEVENTS\tBLUE\tGREEN\tSLOWEST")
	for _, r := range results {
		total, failed = total+r.Sent, failed+r.Failed
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", r.Name, r.Sent, r.Failed, r.Events, r.Labels["blue"], r.Labels["green"], r.Slowest.Round(time.Millisecond))
	}
	fmt.Fprintf(w, "all\t%d\t%d\t\t\t\t\n", total, failed)
	for _, r := range results {
		for reason, n := range r.Reasons {
			fmt.Fprintf(w, "  %s: %d x %s\n", r.Name, n, reason)
		}
	}
	fmt.Fprintf(w, "\n%d switches of nginx: %d deployments, %d rollbacks, %d deployments that failed after their switch; %d of %d probes failed\n",
		t.switches(), t.deploys, t.rollbacks, t.failed, t.probesFailed, t.probes)
	fmt.Fprintln(w, "\nSTEP\tTIMES\tMEDIAN\tSLOWEST")
	for _, step := range []string{"all", "start", "register", "pretest", "switch", "posttest", "commit", "drain", "stop", "last answer of the old color, after the reload"} {
		if list := slices.Sorted(slices.Values(t.took[step])); len(list) > 0 {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", step, len(list), list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond))
		}
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// failingPost are settings whose post tests fail, after the switch.
var failingPost = strings.ReplaceAll(settings, "post: [ {", "post: [ { run: 'exit 4' }, {")

// turn makes the n-th deployment of a run: one of ten fails after its switch,
// two are rollbacks. It returns the color that is live then.
func (t *tally) turn(w *world, n int, live string) string {
	w.Helper()
	other := map[string]string{"blue": "green", "green": "blue"}[live]
	switch n % 10 {
	case 2:
		w.file("bg.yml", failingPost)
		w.code(w.bg("deploy", w.service, "--tag", "2.0"), 15)
		w.settings("")
		t.failed++
		return live
	case 4, 8:
		w.code(w.bg("rollback", w.service), 0)
		t.rollbacks++
	default:
		w.deploy("--tag", []string{"1.0", "2.0"}[n%2])
		t.deploys++
	}
	return other
}

func TestSwitchesUnderEveryKindOfClientLoseNothing(t *testing.T) {
	w := newLoadWorld(t)
	w.deploy()
	done, began := tally{took: map[string][]time.Duration{}}, time.Now()
	var err error
	if w.load, err = load.Start(t.Context(), w.url, everyClient()...); err != nil {
		t.Fatal(err)
	}
	// The table is there also when a deployment ends the test.
	defer func() {
		results := w.end()
		t.Logf("%d s of load\n%s", int(time.Since(began).Seconds()), done.table(results))
	}()
	live := "blue"
	for n := 0; done.switches() < loadSwitches || sent(w.load.Results()) < loadRequests; n++ {
		live = done.turn(w, n, live)
		w.live(live)
		done.add(w.document())
	}
	for _, r := range w.load.Results() {
		if r.Labels["blue"] == 0 || r.Labels["green"] == 0 {
			t.Errorf("%s: both colors should have answered: %v", r.Name, r.Labels)
		}
	}
	if done.probes == 0 || done.probesFailed > 0 {
		t.Errorf("%d of %d probes failed", done.probesFailed, done.probes)
	}
}

// sent counts the requests of all clients.
func sent(results []load.Result) (n int) {
	for _, r := range results {
		n += r.Sent
	}
	return n
}

// cutAfter is when the nginx of the scenario below cuts what is still open.
const cutAfter = 6 * time.Second

func TestAWebSocketOutlivesASwitchUntilTheDrainsDeadlineAndFindsItsSessionOnTheNewColor(t *testing.T) {
	w := newLoadWorld(t, "worker_shutdown_timeout 55s;", fmt.Sprintf("worker_shutdown_timeout %s;", cutAfter))
	w.deploy()
	conn, color := w.webSocket()
	if color != "blue" {
		t.Fatalf("%s answers", color)
	}
	messages, cut := 0, make(chan time.Time, 1)
	say := func() error {
		message := fmt.Sprintf("message %d", messages+1)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			return err
		}
		_, back, err := conn.Read(t.Context())
		if err == nil && string(back) != message {
			err = fmt.Errorf("%q came back as %q", message, back)
		}
		if err == nil {
			messages++
		}
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for say() == nil {
			time.Sleep(10 * time.Millisecond) // a client that has something to say now and then
		}
		cut <- time.Now()
	}()
	r := w.deploy("--tag", "2.0")
	d := w.document()
	if len(d.Probe.Turns) != 1 {
		t.Fatalf("switches: %+v", d.Probe.Turns)
	}
	if lived := (<-cut).Sub(d.Probe.Turns[0].At); lived < cutAfter {
		t.Errorf("the WebSocket was cut %s after the reload, before the deadline of %s\n%s", lived, cutAfter, r.report)
	}
	w.says(r, "worker_shutdown_timeout cut connections: 1 with a request, a stream or a WebSocket")
	again, color := w.webSocket()
	if color != "green" {
		t.Errorf("the client that connects anew lands on %s", color)
	}
	_, last, err := again.Read(t.Context())
	if want := fmt.Sprintf("message %d", messages); err != nil || string(last) != want && string(last) != fmt.Sprintf("message %d", messages+1) {
		t.Errorf("its session says %q instead of %q, %v", last, want, err)
	}
}

// webSocket opens one with a session, and returns the color that answers. A
// greeting is read when the session is new.
func (w *world) webSocket() (conn *websocket.Conn, color string) {
	w.Helper()
	conn, answer, err := websocket.Dial(w.Context(), strings.Replace(w.url, "http", "ws", 1)+"/api/v1/echo?session=ann", nil) //nolint:bodyclose // Dial: "You never need to close resp.Body yourself."
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.CloseNow() }) // it may be closed
	if color = answer.Header.Get("X-Color"); color == "blue" {
		if _, last, err := conn.Read(w.Context()); err != nil || len(last) > 0 {
			w.Fatalf("a new session says %q, %v", last, err)
		}
	}
	return conn, color
}
