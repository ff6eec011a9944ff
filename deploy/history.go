package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/hint"
)

// The errors of looking for a deployment by a part of its id.
var (
	// ErrNoDeployment: the journal has no such deployment.
	ErrNoDeployment = errors.New("no such deployment")
	// ErrAmbiguous: the part fits several.
	ErrAmbiguous = errors.New("not clear which deployment is meant")
)

// Documents reads the journal of a service.
type Documents interface {
	// All returns every document, the newest first.
	All(ctx context.Context, service string) ([][]byte, error)
}

// History returns the deployments of service that the journal remembers, the
// newest first.
func History(ctx context.Context, journal Documents, service string) ([]Deployment, error) {
	documents, err := journal.All(ctx, service)
	if err != nil {
		return nil, err
	}
	list := make([]Deployment, len(documents))
	for i, document := range documents {
		if err := json.Unmarshal(document, &list[i]); err != nil {
			return nil, hint.Wrap(fmt.Errorf("a deployment of %s is no JSON document: %w", service, err), "look at "+service+"/deploys/ in Consul KV and delete what bg did not write")
		}
	}
	return list, nil
}

// prune deletes all but the newest keep documents. The newest of each color that
// was live stays, however many attempts failed since: a rollback and a sweep need
// to know what was live.
func (d *Deployer) prune(ctx context.Context, service string, keep int) error {
	ids, err := d.Journal.List(ctx, service)
	if err != nil || len(ids) <= keep {
		return err
	}
	spare := map[color.Color]string{}
	for _, id := range ids {
		document, err := d.Journal.Read(ctx, service, id)
		if err != nil {
			return err
		}
		var past Deployment
		if json.Unmarshal(document, &past) != nil || !past.Live() || spare[past.To] != "" {
			continue // what cannot be read is no help to anybody, and goes when it is old
		}
		if spare[past.To] = id; len(spare) == 2 {
			break
		}
	}
	return d.Journal.Prune(ctx, service, keep, slices.Collect(maps.Values(spare))...)
}

// Find returns the one deployment of list that part names, see named.
func Find(list []Deployment, service, part string) (Deployment, error) {
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	id, err := named(ids, service, part)
	if err != nil {
		return Deployment{}, err
	}
	return list[slices.Index(ids, id)], nil
}

// maxCandidates is how many ids an error names.
const maxCandidates = 10

// named returns the one of ids that part is, begins or ends: an id's last four
// letters are what tells deployments of one day apart. The error is ErrNoDeployment
// or ErrAmbiguous.
func named(ids []string, service, part string) (string, error) {
	if slices.Contains(ids, part) {
		return part, nil
	}
	found := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, part) && !strings.HasSuffix(id, part) })
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return "", hint.Wrap(fmt.Errorf("%w: %s has no %s", ErrNoDeployment, service, part), "bg history "+service)
	}
	some := strings.Join(found[:min(len(found), maxCandidates)], ", ")
	if len(found) > maxCandidates {
		some += ", …"
	}
	return "", hint.Wrap(fmt.Errorf("%w: %d deployments of %s begin or end with %s: %s", ErrAmbiguous, len(found), service, part, some),
		"write more of the id: bg history "+service)
}

// Took returns how long the deployment took, or takes until now when it has
// not ended.
func (d Deployment) Took(now time.Time) time.Duration {
	if d.Ended != nil {
		now = *d.Ended
	}
	return now.Sub(d.Started)
}
