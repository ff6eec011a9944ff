package color

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/hint"
	"bg/internal/consultest"
)

func TestMain(m *testing.M) {
	os.Exit(consultest.Run(m))
}

func TestOnlyTheTwoWordsAreColors(t *testing.T) {
	tests := []struct {
		word string
		want Color
		bad  bool
	}{
		{word: "blue", want: Blue},
		{word: "green", want: Green},
		{word: "", bad: true},
		{word: "none", bad: true},
		{word: "Blue", bad: true},
		{word: " blue", bad: true},
		{word: "blue\n", bad: true},
		{word: "bluegreen", bad: true},
		{word: "null", bad: true},
	}
	for _, tt := range tests {
		t.Run(strconv.Quote(tt.word), func(t *testing.T) {
			if got, err := Parse(tt.word); got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestTheNextColorIsTheOtherOneAndBlueAtFirst(t *testing.T) {
	tests := []struct{ live, next Color }{{None, Blue}, {Blue, Green}, {Green, Blue}}
	for _, tt := range tests {
		t.Run(tt.live.String(), func(t *testing.T) {
			if got := Next(tt.live); got != tt.next {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestAColorIsWrittenAsItsWord(t *testing.T) {
	for c, want := range map[Color]string{None: "none", Blue: "blue", Green: "green"} {
		if c.String() != want {
			t.Errorf("%q is written %q", string(c), c)
		}
	}
}

// connect gives all tests one client.
var connect = sync.OnceValues(func() (*api.Client, error) { return api.NewClient(api.DefaultConfig()) })

// service returns a client, a Store and the name of a service that nobody else has.
func service(t *testing.T) (*api.Client, *Store, string) {
	t.Helper()
	client, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	return client, NewStore(client, "team/a/"), "books-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

// put writes what a person or another tool writes.
func put(t *testing.T, client *api.Client, key, value string) {
	t.Helper()
	if _, err := client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestTheLiveColorIsTheOneInKV(t *testing.T) {
	tests := []struct {
		name, value string
		want        Color
		unknown     bool
	}{
		{name: "blue", value: "blue", want: Blue},
		{name: "green", value: "green", want: Green},
		{name: "written with echo", value: "green\n", want: Green},
		{name: "written on Windows", value: "blue\r\n", want: Blue},
		{name: "nothing in the key", value: "", unknown: true},
		{name: "a word that is no color", value: "purple", unknown: true},
		{name: "both", value: "blue green", unknown: true},
		{name: "JSON", value: `"blue"`, unknown: true},
		{name: "bytes", value: "\x00\xffblue", unknown: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, store, name := service(t)
			put(t, client, "team/a/"+name+"/color", tt.value)
			live, err := store.Live(t.Context(), name)
			if tt.unknown {
				if !errors.Is(err, ErrUnknown) || live != (Live{}) || hint.Of(err) == "" {
					t.Errorf("%v, %v", live, err)
				}
				return
			}
			if err != nil || live.Color != tt.want || live.Index == 0 {
				t.Errorf("%v, %v", live, err)
			}
		})
	}
}

func TestAServiceWithoutAKeyWasNeverDeployed(t *testing.T) {
	_, store, name := service(t)
	live, err := store.Live(t.Context(), name)
	if err != nil || live != (Live{}) {
		t.Errorf("%v, %v", live, err)
	}
}

func TestTheHintNamesTheKeyToWrite(t *testing.T) {
	client, store, name := service(t)
	put(t, client, store.Key(name), "purple")
	_, err := store.Live(t.Context(), name)
	want := "find out which color serves, then write it: consul kv put team/a/" + name + "/color blue (or green)"
	if got := hint.Of(err); got != want {
		t.Errorf("got %q", got)
	}
}

// set makes to the live color under the condition that seen still holds.
func set(t *testing.T, client *api.Client, op *api.TxnOp) bool {
	t.Helper()
	ok, _, _, err := client.Txn().Txn(api.TxnOps{op}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestAColorIsOnlyReplacedWhenItIsTheOneThatWasSeen(t *testing.T) {
	tests := []struct {
		name   string
		before string // in KV when it is read, "" for no key
		change func(*testing.T, *api.Client, string)
		want   Color
		ok     bool
	}{
		{name: "the first color", want: Blue, ok: true},
		{name: "the next color", before: "blue", want: Green, ok: true},
		{
			name: "somebody else was first", want: Green, ok: false,
			change: func(t *testing.T, c *api.Client, key string) { put(t, c, key, "green") },
		},
		{
			name: "somebody else changed it", before: "green", want: Blue, ok: false,
			change: func(t *testing.T, c *api.Client, key string) { put(t, c, key, "blue") },
		},
		{
			name: "somebody else changed it and back", before: "green", want: Green, ok: false,
			change: func(t *testing.T, c *api.Client, key string) { put(t, c, key, "blue"); put(t, c, key, "green") },
		},
		{
			name: "somebody else deleted it", before: "green", want: None, ok: false,
			change: func(t *testing.T, c *api.Client, key string) {
				if _, err := c.KV().Delete(key, nil); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, store, name := service(t)
			if tt.before != "" {
				put(t, client, store.Key(name), tt.before)
			}
			seen, err := store.Live(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(t, client, store.Key(name))
			}
			if ok := set(t, client, store.SetOp(name, seen, Next(seen.Color))); ok != tt.ok {
				t.Errorf("accepted: %t", ok)
			}
			if live, err := store.Live(t.Context(), name); err != nil || live.Color != tt.want {
				t.Errorf("then it is %s, %v", live.Color, err)
			}
		})
	}
}

func TestAnEndedContextEndsTheRead(t *testing.T) {
	_, store, name := service(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Live(ctx, name); !errors.Is(err, ctx.Err()) {
		t.Errorf("%v", err)
	}
}
