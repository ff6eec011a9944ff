package proxy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sockets of an nginx that listens on 80 (0050) and 81 (0051), with a service at
// port 8080 (1F90).
const sockets80 = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000069a7eecf 100 0 0 10 0
   1: 030011AC:0050 010011AC:A99A 01 00000000:00000000 02:000003E8 00000000   999        0 101 1 00000000edc04bc1 20 4 28 15 -1
   2: 030011AC:0050 010011AC:A9A8 01 00000000:00000000 00:00000000 00000000   999        0 102 1 000000007a6ff6b9 20 4 30 12 -1
   3: 030011AC:A9B8 020011AC:1F90 01 00000000:00000000 00:00000000 00000000   999        0 103 1 00000000f0f118f2 20 4 26 13 -1
   4: 030011AC:0050 010011AC:A9AA 06 00000000:00000000 03:00000F9B 00000000     0        0 0 3 0000000000000000
   5: 030011AC:0050 010011AC:A9AC 01 00000000:00000000 00:00000000 00000000   999        0 104 1 00000000f0f118f3 20 4 26 13 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 105 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF0000030011AC:0051 0000000000000000FFFF0000010011AC:A9AE 01 00000000:00000000 00:00000000 00000000   999        0 106 1 0000000000000000 20 4 30 10 -1
`

func TestConnectionsOfOldWorkersAreCountedByWhatTheyWaitFor(t *testing.T) {
	tests := []struct {
		name string
		own  string
		want *Connections
		says string
	}{
		{name: "no worker"},
		{name: "a request", own: "socket:[101]\nsocket:[103]\nsocket:[999]\n", want: &Connections{Busy: 1}, says: "1 with a request, a stream or a WebSocket"},
		{name: "idle ones", own: "socket:[101]\nsocket:[102]\n", want: &Connections{Idle: 2}, says: "2 idle keep-alive"},
		{name: "both, one of them of IPv6", own: "socket:[101]\nsocket:[106]\nsocket:[103]\n", want: &Connections{Busy: 1, Idle: 1}, says: "1 with a request, a stream or a WebSocket, 1 idle keep-alive"},
		{name: "a kept connection to the service", own: "socket:[103]\n", want: &Connections{}, says: "0 with a request, a stream or a WebSocket"},
		{name: "another process's connection does not count", own: "socket:[104]\n/dev/null\n", want: &Connections{Idle: 1}, says: "1 idle keep-alive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := count([]byte(sockets80 + tt.own))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if got != nil && got.String() != tt.says {
				t.Errorf("it says %q instead of %q", got, tt.says)
			}
		})
	}
}
