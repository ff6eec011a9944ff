package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// ErrConflict is returned when a transaction was refused because something that
// it depends on had changed: the lock or the live color.
var ErrConflict = errors.New("the transaction was refused by Consul")

// Journal keeps the documents of deployments in KV: the newest one under
// <prefix><service>/deploy, and every one under <prefix><service>/deploys/<id>.
type Journal struct {
	client *api.Client
	prefix string
}

// NewJournal returns a Journal. Prefix goes before each key; it is "" or ends
// with a slash.
func NewJournal(client *api.Client, prefix string) *Journal {
	return &Journal{client: client, prefix: prefix}
}

func (j *Journal) newest(service string) string { return j.prefix + service + "/deploy" }
func (j *Journal) folder(service string) string { return j.prefix + service + "/deploys/" }

// LockKey returns the key of service's lock.
func (j *Journal) LockKey(service string) string { return j.prefix + service + "/lock" }

// Save writes a deployment's document and into the lock how far its holder is,
// and does what more says, in one transaction that Consul only accepts while lock
// is held. It fails with ErrConflict when it is not, which is ErrLost too, or when
// a condition of more does not hold.
func (j *Journal) Save(ctx context.Context, lock *Lock, service, id string, document []byte, more ...*api.TxnOp) error {
	ops := append(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: lock.Key, Session: lock.Session}},
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: j.newest(service), Value: document}},
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: j.folder(service) + id, Value: document}},
	}, more...)
	if lock.holder != (Holder{}) {
		value, err := json.MarshalIndent(lock.holder, "", "  ")
		if err != nil {
			return err
		}
		// Setting a key that is locked leaves the lock as it is.
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: lock.Key, Value: value}})
	}
	ok, answer, _, err := j.client.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("write %s: %w", j.newest(service), classifyTxn(err))
	}
	if ok {
		return nil
	}
	refused := ErrConflict
	var reasons []string
	for _, e := range answer.Errors {
		reasons = append(reasons, e.What)
		if e.OpIndex == 0 { // the check of the session
			refused = fmt.Errorf("%w: %w", ErrLost, ErrConflict)
		}
	}
	return hint.Wrap(fmt.Errorf("write %s: %w: %s", j.newest(service), refused, strings.Join(reasons, "; ")),
		"somebody else changed this service: see bg current-color "+service)
}

// classifyTxn is Classify for transactions, whose errors have no status code: the
// client makes them "Failed request: " and the answer's text.
func classifyTxn(err error) error {
	text := err.Error()
	switch {
	case !strings.HasPrefix(text, "Failed request:"):
		return Classify(err)
	case strings.Contains(text, "Permission denied") || strings.Contains(text, "ACL not found"):
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	case strings.Contains(text, "too large"): // of a value, and of all of the transaction
		return hint.Wrap(err, "Consul's limits.txn_max_req_len and limits.kv_max_value_size are 512 KiB each, unless they are set otherwise")
	default:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
}

// Newest returns the document of the newest deployment of service, and nil when
// there was none.
func (j *Journal) Newest(ctx context.Context, service string) ([]byte, error) {
	return j.read(ctx, j.newest(service))
}

// Read returns the document of the deployment id of service, and nil when there
// is none.
func (j *Journal) Read(ctx context.Context, service, id string) ([]byte, error) {
	return j.read(ctx, j.folder(service)+id)
}

func (j *Journal) read(ctx context.Context, key string) ([]byte, error) {
	pair, _, err := j.client.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, Classify(err))
	}
	if pair == nil {
		return nil, nil
	}
	return pair.Value, nil
}

// List returns the ids of the deployments of service, the newest first.
func (j *Journal) List(ctx context.Context, service string) ([]string, error) {
	keys, _, err := j.client.KV().Keys(j.folder(service), "", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", j.folder(service), Classify(err))
	}
	ids := make([]string, 0, len(keys))
	for _, key := range keys {
		ids = append(ids, strings.TrimPrefix(key, j.folder(service)))
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// Owner returns the service that has the document id, "" when none has. It reads
// the names of all keys below the prefix.
func (j *Journal) Owner(ctx context.Context, id string) (string, error) {
	keys, _, err := j.client.KV().Keys(j.prefix, "", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("list keys below %q: %w", j.prefix, Classify(err))
	}
	for _, key := range keys {
		if service, found := strings.CutSuffix(strings.TrimPrefix(key, j.prefix), "/deploys/"+id); found {
			return service, nil
		}
	}
	return "", nil
}

// Prune deletes all but the newest keep documents of service and those that are
// spared by their ids.
func (j *Journal) Prune(ctx context.Context, service string, keep int, spare ...string) error {
	ids, err := j.List(ctx, service)
	if err != nil {
		return err
	}
	for _, id := range ids[min(keep, len(ids)):] {
		if slices.Contains(spare, id) {
			continue
		}
		if _, err := j.client.KV().Delete(j.folder(service)+id, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
			return fmt.Errorf("delete %s: %w", j.folder(service)+id, Classify(err))
		}
	}
	return nil
}
