package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Facts are what Consul tells about itself.
type Facts struct {
	Address string        // where it was asked
	Version string        // "" when the token may not read it
	Node    string        // the agent's, "" when the token may not read it
	Leader  string        // "" when there is none
	Ahead   time.Duration // of this machine's clock, by Consul's Date header, which has whole seconds
}

// Right is something that a token has to be allowed.
type Right struct {
	Resource string `json:"Resource"` // key, service, session, node, agent
	Segment  string `json:"Segment"`  // the name, or a prefix of keys
	Access   string `json:"Access"`   // read, write, list
	Allow    bool   `json:"Allow,omitempty"`
}

func (r Right) String() string { return fmt.Sprintf("%s %q %s", r.Resource, r.Segment, r.Access) }

// Inquiry asks Consul what its API client does not tell: headers, and the rights
// of the token.
type Inquiry struct {
	config  *api.Config
	client  *http.Client
	address string // for people
	base    string // of URLs
}

// NewInquiry returns an Inquiry to the Consul that the CONSUL_* variables name.
// Nothing is sent yet.
func NewInquiry() (*Inquiry, error) {
	config := api.DefaultConfig()
	socket, local := strings.CutPrefix(config.Address, "unix://")
	if local {
		config.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	client, err := api.NewHttpClient(config.Transport, config.TLSConfig)
	if err != nil {
		return nil, fmt.Errorf("configure Consul's client: %w", err)
	}
	q := &Inquiry{config: config, client: client, address: config.Address, base: config.Address}
	switch {
	case local:
		q.base = config.Scheme + "://localhost"
	case !strings.Contains(q.base, "://"):
		q.base = config.Scheme + "://" + q.base
		q.address = q.base
	}
	return q, q.readToken()
}

// readToken reads the token from the file that the environment names, as Consul's
// client does.
func (q *Inquiry) readToken() error {
	if q.config.TokenFile == "" {
		return nil
	}
	text, err := os.ReadFile(q.config.TokenFile)
	if token := strings.TrimSpace(string(text)); token != "" {
		q.config.Token = token
	}
	return err
}

// Facts asks for the leader, the version and the time.
func (q *Inquiry) Facts(ctx context.Context) (Facts, error) {
	facts := Facts{Address: q.address}
	asked := time.Now()
	answer, err := q.ask(ctx, http.MethodGet, "/v1/status/leader", nil)
	if err != nil {
		return facts, err
	}
	if answer.code != http.StatusOK {
		return facts, fmt.Errorf("%w: %d: %s", ErrUnreachable, answer.code, bytes.TrimSpace(answer.body))
	}
	if there, err := http.ParseTime(answer.date); err == nil {
		facts.Ahead = there.Sub(asked.Truncate(time.Second))
	}
	if err := json.Unmarshal(answer.body, &facts.Leader); err != nil {
		return facts, fmt.Errorf("%w: %s does not answer as Consul: %w", ErrUnreachable, q.address, err)
	}
	answer, err = q.ask(ctx, http.MethodGet, "/v1/agent/self", nil)
	if err != nil || answer.code != http.StatusOK {
		return facts, err // a token need not be allowed to read that
	}
	var self struct {
		Config struct{ Version, NodeName string }
	}
	err = json.Unmarshal(answer.body, &self)
	facts.Version, facts.Node = self.Config.Version, self.Config.NodeName
	return facts, err
}

// Denied returns those of rights that the token does not have. It asks for them
// outright: Consul leaves what a token may not read out of its answers without a
// word. Without access control nothing is denied, and controlled is false.
func (q *Inquiry) Denied(ctx context.Context, rights []Right) (denied []Right, controlled bool, err error) {
	question, err := json.Marshal(rights)
	if err != nil {
		return nil, false, err
	}
	answer, err := q.ask(ctx, http.MethodPost, "/v1/internal/acl/authorize", question)
	if err != nil {
		return nil, false, err
	}
	switch text := string(bytes.TrimSpace(answer.body)); {
	case answer.code == http.StatusUnauthorized && strings.Contains(text, "ACL support disabled"):
		return nil, false, nil
	case answer.code == http.StatusForbidden || answer.code == http.StatusUnauthorized:
		return nil, true, fmt.Errorf("%w: %s", ErrForbidden, text)
	case answer.code != http.StatusOK:
		return nil, true, fmt.Errorf("ask for the token's rights: %d: %s", answer.code, text)
	}
	var answers []Right
	if err := json.Unmarshal(answer.body, &answers); err != nil {
		return nil, true, fmt.Errorf("ask for the token's rights: %w", err)
	}
	for _, r := range answers {
		if !r.Allow {
			denied = append(denied, r)
		}
	}
	return denied, true, nil
}

// reply is what Consul answered.
type reply struct {
	code int
	date string
	body []byte
}

// ask makes one request with the token.
func (q *Inquiry) ask(ctx context.Context, method, path string, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, q.base+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if q.config.Token != "" {
		request.Header.Set("X-Consul-Token", q.config.Token)
	}
	if auth := q.config.HttpAuth; auth != nil {
		request.SetBasicAuth(auth.Username, auth.Password)
	}
	answer, err := q.client.Do(request)
	if err != nil {
		return reply{}, Classify(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	return reply{code: answer.StatusCode, date: answer.Header.Get("Date"), body: text}, Classify(err)
}
