package proxy

import (
	"fmt"
	"slices"
	"strings"

	dep "github.com/hashicorp/consul-template/dependency"
)

// key returns the value of a KV key, and an error when there is none.
func (d *data) key(name string) (value string, err error) {
	defer d.keep(&err)
	found, err := d.lookup(name)
	if err == nil && found == nil {
		return "", fmt.Errorf("KV key %s does not exist", name)
	}
	return deref(found), err
}

func (d *data) keyExists(name string) (exists bool, err error) {
	defer d.keep(&err)
	found, err := d.lookup(name)
	return found != nil, err
}

func (d *data) keyOrDefault(name, otherwise string) (value string, err error) {
	defer d.keep(&err)
	found, err := d.lookup(name)
	if deref(found) == "" {
		return otherwise, err
	}
	return *found, err
}

func deref(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

// lookup returns the value of a KV key, nil when there is none. The key of the
// live color has the color that is being rendered: in KV it still is the old one.
func (d *data) lookup(name string) (*string, error) {
	if d.isColorKey(strings.TrimPrefix(name, "/")) {
		value := string(d.color)
		return &value, nil
	}
	q, err := parseQuery(dep.KVGetQueryRe, "key", name)
	if err != nil {
		return nil, err
	}
	return once(d, "KV key "+name, func() (*string, error) {
		pair, _, err := d.clients.Consul().KV().Get(q.parts["key"], q.options().ToConsulOpts().WithContext(d.ctx))
		if err != nil || pair == nil {
			return nil, err
		}
		value := string(pair.Value)
		return &value, nil
	})
}

func (d *data) isColorKey(key string) bool {
	return key == d.cfg.ColorKey || key == d.cfg.Service+"/color"
}

// ls returns the pairs right below prefix, without what is deeper.
func (d *data) ls(prefix string, refuseEmpty bool) (pairs []*dep.KeyPair, err error) {
	defer d.keep(&err)
	return d.list(prefix, refuseEmpty, func(p *dep.KeyPair) bool { return p.Key == "" || strings.Contains(p.Key, "/") })
}

// tree returns the pairs below prefix at any depth, without folders.
func (d *data) tree(prefix string, refuseEmpty bool) (pairs []*dep.KeyPair, err error) {
	defer d.keep(&err)
	return d.list(prefix, refuseEmpty, func(p *dep.KeyPair) bool { return p.Key == "" || strings.HasSuffix(p.Key, "/") })
}

// list returns the pairs below prefix that leaveOut does not name.
func (d *data) list(prefix string, refuseEmpty bool, leaveOut func(*dep.KeyPair) bool) ([]*dep.KeyPair, error) {
	all, err := d.below(prefix)
	if err != nil {
		return nil, err
	}
	pairs := slices.DeleteFunc(slices.Clone(all), leaveOut)
	if refuseEmpty && len(pairs) == 0 {
		return nil, fmt.Errorf("KV has no key below %s", prefix)
	}
	return pairs, nil
}

// below returns every pair whose key begins with prefix.
func (d *data) below(prefix string) ([]*dep.KeyPair, error) {
	q, err := parseQuery(dep.KVListQueryRe, "ls", prefix)
	if err != nil {
		return nil, err
	}
	return once(d, "KV below "+prefix, func() ([]*dep.KeyPair, error) {
		found, _, err := d.clients.Consul().KV().List(q.parts["prefix"], q.options().ToConsulOpts().WithContext(d.ctx))
		var pairs []*dep.KeyPair
		for _, p := range found {
			pair := &dep.KeyPair{
				Path: p.Key, Key: strings.TrimLeft(strings.TrimPrefix(p.Key, q.parts["prefix"]), "/"), Value: string(p.Value),
				CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, LockIndex: p.LockIndex, Flags: p.Flags, Session: p.Session,
			}
			if d.isColorKey(p.Key) {
				pair.Value = string(d.color)
			}
			pairs = append(pairs, pair)
		}
		return pairs, err
	})
}
