package registrator

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the catalog entries that came out as the golden ones")

// contractCase is one file of testdata/contract: a container definition, as
// Docker's API takes it, and the catalog entries that it becomes. Its comment
// says what the case shows. What Docker chooses is a placeholder: $NET is a
// network, $PEER the container of peer.json; in the catalog $ID, $IP, $PEERIP and
// $HOSTIP stand for an id and addresses, $HOST(80/tcp) for a port of the host.
type contractCase struct {
	file    string
	archive *txtar.Archive
	cfg     Config
	name    string   // of the container
	id      string   // of the container
	define  []string // placeholders in definitions, and what they stand for
	chosen  []string // what Docker chose, and its placeholder

	bindings map[string][]Binding // of the container, and of its peer
}

// catalogEntry is what the golden files show of a service.
type catalogEntry struct {
	ID      string
	Name    string
	Address string
	Port    int
	Tags    []string
	Meta    map[string]string
	Check   *api.AgentServiceCheck `json:",omitempty"`
}

// TestContract runs each case on real Docker and compares what the catalog of a
// real Consul has in the end, with the check as it was sent: the catalog does
// not show where a check goes.
func TestContract(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t, "-enable-script-checks"), useDocker(t)
	files, err := filepath.Glob("testdata/contract/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	sent := record(t, c)
	groups := map[Config][]*contractCase{}
	run, creating := unique(t, "contract"), errgroup.Group{}
	creating.SetLimit(callsAtOnce)
	for _, file := range files {
		k := loadCase(t, file, run)
		creating.Go(func() error { return k.create(d) })
		groups[k.cfg] = append(groups[k.cfg], k)
	}
	if err := creating.Wait(); err != nil {
		t.Fatal(err)
	}
	for cfg, cases := range groups {
		r := startRegistrator(t, d, sent.uri(), cfg)
		r.synced(t)
		for _, k := range cases {
			t.Run(strings.TrimPrefix(k.name, run+"-"), func(t *testing.T) {
				k.compare(t, k.entries(t, c, sent.registrations(t)))
			})
		}
		r.stop()
		before := sent.count(run)
		if err := r.pass(t.Context(), batch{full: true}); err != nil {
			t.Error(err)
		}
		if again := sent.count(run) - before; again > 0 {
			t.Errorf("%d registrations were sent again although nothing differed", again)
		}
	}
}

// asInFiles is what the golden files have in place of a run's prefix of names.
const asInFiles = "bgreg-contract"

// loadCase reads a case. Names and ids begin with run, so that runs do not meet.
func loadCase(t *testing.T, file, run string) *contractCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := run + "-" + strings.TrimSuffix(filepath.Base(file), ".txtar")
	k := &contractCase{file: file, archive: archive, name: name, cfg: configFor("host"),
		define: []string{"$PEER", name + "-peer", asInFiles, run}, chosen: []string{run, asInFiles}, bindings: map[string][]Binding{}}
	k.cfg.IP = "192.0.2.7"
	if flags := k.section("config.json"); flags != nil {
		if err := json.Unmarshal(flags, &k.cfg); err != nil {
			t.Fatalf("%s: config.json: %v", file, err)
		}
	}
	return k
}

func (k *contractCase) section(name string) []byte {
	for _, f := range k.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// create runs the case's containers.
func (k *contractCase) create(d *docker) error {
	container, peer := k.section("container.json"), k.section("peer.json")
	if bytes.Contains(container, []byte("$NET")) || bytes.Contains(peer, []byte("$NET")) {
		network, err := d.network()
		if err != nil {
			return err
		}
		k.define = append(k.define, "$NET", network)
	}
	if peer != nil {
		if _, err := k.start(d, k.name+"-peer", peer, "$PEERIP"); err != nil {
			return err
		}
	}
	id, err := k.start(d, k.name, container, "$IP")
	if err != nil {
		return err
	}
	k.id = id
	address, _, err := engine{d.api}.address(d.t.Context(), k.cfg.Hostname)
	k.chosen = append(k.chosen, address, "$HOSTIP", short(k.id), "$ID")
	return err
}

// start runs a container, and remembers the address, under a placeholder, and the
// ports that Docker gave to it.
func (k *contractCase) start(d *docker, name string, definition []byte, placeholder string) (string, error) {
	c := spec{Name: name}
	decoder := json.NewDecoder(strings.NewReader(strings.NewReplacer(k.define...).Replace(string(definition))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return "", fmt.Errorf("%s: %w", k.file, err)
	}
	c.Env = append(c.Env, "FAIL_AFTER=10m") // it only has to stay
	id, err := d.addAndStart(c)
	if err != nil {
		return "", err
	}
	s, found, err := engine{d.api}.inspect(d.t.Context(), id)
	if err != nil {
		return "", err
	}
	if !found || !s.running {
		return "", fmt.Errorf("%s: the container does not run", k.file)
	}
	if ip := s.ip(); ip != "" {
		k.chosen = append(k.chosen, ip, placeholder)
	}
	maps.Copy(k.bindings, s.Bindings)
	return id, nil
}

// entries returns what the catalog has for the case's container, each entry as text.
func (k *contractCase) entries(t *testing.T, c *consul, sent map[string]api.AgentServiceRegistration) []string {
	t.Helper()
	services, err := c.services("")
	if err != nil {
		t.Fatal(err)
	}
	entries := []string{}
	for _, id := range slices.Sorted(maps.Keys(services)) {
		if markOf(services[id].TaggedAddresses).Container != short(k.id) {
			continue
		}
		var found *api.CatalogService
		eventually(t, func() error {
			ids, err := c.catalogIDs(services[id].Service)
			if found = ids[id]; err == nil && found == nil {
				err = fmt.Errorf("the catalog does not have %s", id)
			}
			return err
		})
		entries = append(entries, k.text(t, found, sent[id].Check))
	}
	return entries
}

// text writes an entry down, with placeholders for what Docker chose.
func (k *contractCase) text(t *testing.T, s *api.CatalogService, check *api.AgentServiceCheck) string {
	t.Helper()
	text, err := json.MarshalIndent(catalogEntry{ID: s.ServiceID, Name: s.ServiceName, Address: s.ServiceAddress,
		Port: s.ServicePort, Tags: s.ServiceTags, Meta: s.ServiceMeta, Check: check}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprintf("%d/tcp", s.ServiceTaggedAddresses[markOf(s.ServiceTaggedAddresses).key()].Port)
	if strings.HasSuffix(s.ServiceID, ":udp") {
		port = strings.Replace(port, "tcp", "udp", 1)
	}
	chosen := slices.Clone(k.chosen)
	for _, b := range k.bindings[port] {
		chosen = append(chosen, b.Port, "$HOST("+port+")")
	}
	return strings.NewReplacer(chosen...).Replace(string(text)) + "\n"
}

// compare compares the entries with the golden ones.
func (k *contractCase) compare(t *testing.T, entries []string) {
	t.Helper()
	text := strings.Join(entries, "")
	if *update {
		k.rewrite(t, text)
	} else if diff := cmp.Diff(string(k.section("catalog.json")), text); diff != "" {
		t.Errorf("%s(-golden +catalog):\n%s", k.archive.Comment, diff)
	}
}

func (k *contractCase) rewrite(t *testing.T, catalog string) {
	t.Helper()
	k.archive.Files = slices.DeleteFunc(k.archive.Files, func(f txtar.File) bool { return f.Name == "catalog.json" })
	k.archive.Files = append(k.archive.Files, txtar.File{Name: "catalog.json", Data: []byte(catalog)})
	if err := writeFile(k.file, txtar.Format(k.archive)); err != nil {
		t.Fatal(err)
	}
}

// registrations returns the newest registration that was sent for each id.
func (m *middleman) registrations(t *testing.T) map[string]api.AgentServiceRegistration {
	t.Helper()
	byID := map[string]api.AgentServiceRegistration{}
	for _, body := range m.bodies(http.MethodPut, "/v1/agent/service/register") {
		var r api.AgentServiceRegistration
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatal(err)
		}
		byID[r.ID] = r
	}
	return byID
}
