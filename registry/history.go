package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// All returns the documents of all deployments of service, the newest first, as
// they were at one moment.
func (j *Journal) All(ctx context.Context, service string) ([][]byte, error) {
	pairs, _, err := j.client.KV().List(j.folder(service), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", j.folder(service), Classify(err))
	}
	slices.SortFunc(pairs, func(a, b *api.KVPair) int { return strings.Compare(b.Key, a.Key) })
	documents := make([][]byte, 0, len(pairs))
	for _, pair := range pairs {
		documents = append(documents, pair.Value)
	}
	return documents, nil
}

// Services returns the names of the services that have a deployment below the
// Journal's prefix, in alphabetical order.
func (j *Journal) Services(ctx context.Context) ([]string, error) {
	// The keys one level below the prefix are asked for first: a KV store holds
	// more than bg's keys.
	folders, _, err := j.client.KV().Keys(j.prefix, "/", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", j.prefix, Classify(err))
	}
	var services []string
	for _, folder := range folders {
		name, isFolder := strings.CutSuffix(strings.TrimPrefix(folder, j.prefix), "/")
		if !isFolder {
			continue
		}
		document, err := j.Newest(ctx, name)
		if err != nil {
			return nil, err
		}
		if document != nil {
			services = append(services, name)
		}
	}
	return services, nil
}

// Holder returns who holds the lock of service, nil when nobody does.
func (j *Journal) Holder(ctx context.Context, service string) (*Holder, error) {
	value, err := j.read(ctx, j.LockKey(service))
	if err != nil || value == nil {
		return nil, err
	}
	var holder Holder
	if err := json.Unmarshal(value, &holder); err != nil {
		return &Holder{User: "somebody", Host: "unknown"}, nil //nolint:nilerr // it is held, whoever wrote it
	}
	return &holder, nil
}
