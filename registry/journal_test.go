package registry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// journal returns a Journal, a service of its own and that service's lock.
func journal(t *testing.T) (*Journal, string, *Lock) {
	t.Helper()
	j, service := NewJournal(consul(t), "team/a/"), unique()
	_, lock := held(t, quiet(t, time.Minute), j.LockKey(service), ann)
	return j, service, lock
}

func TestADocumentIsKeptUnderItsIDAndAsTheNewest(t *testing.T) {
	j, service, lock := journal(t)
	for _, id := range []string{"20260101-000000-0001", "20260102-000000-0002"} {
		if err := j.Save(t.Context(), lock, service, id, []byte("document "+id)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"team/a/" + service + "/deploy":                       "document 20260102-000000-0002",
		"team/a/" + service + "/deploys/20260101-000000-0001": "document 20260101-000000-0001",
		"team/a/" + service + "/deploys/20260102-000000-0002": "document 20260102-000000-0002",
	}
	pairs, _, err := consul(t).KV().List("team/a/"+service+"/deploy", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range pairs {
		got[p.Key] = string(p.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	ids, err := j.List(t.Context(), service)
	if diff := cmp.Diff([]string{"20260102-000000-0002", "20260101-000000-0001"}, ids); diff != "" || err != nil {
		t.Errorf("%v, the newest first (-want +got):\n%s", err, diff)
	}
	newest, err := j.Newest(t.Context(), service)
	if err != nil || string(newest) != "document 20260102-000000-0002" {
		t.Errorf("newest: %s, %v", newest, err)
	}
	first, err := j.Read(t.Context(), service, "20260101-000000-0001")
	if err != nil || string(first) != "document 20260101-000000-0001" {
		t.Errorf("first: %s, %v", first, err)
	}
}

func TestAServiceThatWasNeverDeployedHasNoDocuments(t *testing.T) {
	j, service := NewJournal(consul(t), ""), unique()
	newest, err := j.Newest(t.Context(), service)
	if newest != nil || err != nil {
		t.Errorf("newest: %q, %v", newest, err)
	}
	one, err := j.Read(t.Context(), service, "1")
	if one != nil || err != nil {
		t.Errorf("one: %q, %v", one, err)
	}
	ids, err := j.List(t.Context(), service)
	if len(ids) != 0 || err != nil {
		t.Errorf("ids: %v, %v", ids, err)
	}
}

func TestNothingIsWrittenWithoutTheLock(t *testing.T) {
	j, service, lock := journal(t)
	_, other := held(t, quiet(t, time.Minute), unique()+"/lock", bob)
	tests := []struct {
		name string
		lock *Lock
	}{
		{"with the session of another lock", &Lock{Key: lock.Key, Session: other.Session}},
		{"with a key that nobody holds", &Lock{Key: unique() + "/lock", Session: lock.Session}},
		{"with a session that does not exist", &Lock{Key: lock.Key, Session: "11111111-2222-3333-4444-555555555555"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := j.Save(t.Context(), tt.lock, service, "1", []byte("document"))
			if !errors.Is(err, ErrConflict) || hint.Of(err) == "" {
				t.Errorf("%v", err)
			}
			if newest, err := j.Newest(t.Context(), service); newest != nil || err != nil {
				t.Errorf("it was written: %s, %v", newest, err)
			}
		})
	}
	t.Run("after it was lost", func(t *testing.T) {
		if _, err := consul(t).Session().Destroy(lock.Session, nil); err != nil {
			t.Fatal(err)
		}
		if err := j.Save(t.Context(), lock, service, "1", []byte("document")); !errors.Is(err, ErrConflict) {
			t.Errorf("%v", err)
		}
	})
}

func TestADocumentAndAColorAreWrittenTogetherOrNotAtAll(t *testing.T) {
	j, service, lock := journal(t)
	key := service + "/color"
	set := func(color string, index uint64) *api.TxnOp {
		return &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: []byte(color), Index: index}}
	}
	if err := j.Save(t.Context(), lock, service, "1", []byte("first"), set("blue", 0)); err != nil {
		t.Fatal(err)
	}
	pair, _, err := consul(t).KV().Get(key, nil)
	if err != nil || pair == nil || string(pair.Value) != "blue" {
		t.Fatalf("%v, %v", pair, err)
	}
	for name, index := range map[string]uint64{"created again": 0, "changed by an old index": pair.ModifyIndex - 1} {
		t.Run(name, func(t *testing.T) {
			if err := j.Save(t.Context(), lock, service, "2", []byte("second"), set("green", index)); !errors.Is(err, ErrConflict) {
				t.Errorf("%v", err)
			}
			newest, err := j.Newest(t.Context(), service)
			if string(newest) != "first" || err != nil {
				t.Errorf("newest: %s, %v", newest, err)
			}
		})
	}
	if err := j.Save(t.Context(), lock, service, "2", []byte("second"), set("green", pair.ModifyIndex)); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheNewestDocumentsAreKept(t *testing.T) {
	tests := []struct {
		name       string
		have, keep int
		spare      string
		want       []string
	}{
		{"some too many", 5, 2, "", []string{"20260105", "20260104"}},
		{"one of them spared", 5, 2, "20260102", []string{"20260105", "20260104", "20260102"}},
		{"as many as are kept", 2, 2, "", []string{"20260102", "20260101"}},
		{"fewer", 1, 2, "", []string{"20260101"}},
		{"none", 0, 2, "", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, service, lock := journal(t)
			for n := range tt.have {
				if err := j.Save(t.Context(), lock, service, fmt.Sprintf("2026010%d", n+1), []byte("document")); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Prune(t.Context(), service, tt.keep, tt.spare); err != nil {
				t.Fatal(err)
			}
			got, err := j.List(t.Context(), service)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v, left (-want +got):\n%s", err, diff)
			}
		})
	}
}
