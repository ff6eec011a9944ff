package engine

import (
	"bytes"
	"slices"
	"testing"
)

func TestOnlyTheErrorLogIsReadOutOfAContainersOutput(t *testing.T) {
	t.Parallel()
	const good = "2026/11/21 01:02:03 [error] 7#7: *1 connect() failed\nnginx: [emerg] bind() to 0.0.0.0:80 failed\n"
	// What a client sends is in the access log.
	const output = `{"agent":"2026/11/21 01:02:03 [emerg] 7#7: not so"}` + "\n10.0.0.1 - - [21/Nov/2026] \"GET / [error] \"\n" + good + "no line's end: [emerg] "
	for size := 1; size < len(output); size++ {
		var log errorLog
		for part := range slices.Chunk([]byte(output), size) {
			if n, err := log.Write(part); n != len(part) || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		if string(log.kept) != good {
			t.Fatalf("in pieces of %d bytes: %q", size, log.kept)
		}
	}
	var log errorLog
	for range 20_000 {
		_, _ = log.Write([]byte(good)) // never fails
	}
	if len(log.kept) < maxLog || len(log.kept) > 2*maxLog || !bytes.HasSuffix(log.kept, []byte(good)) {
		t.Errorf("%d bytes are kept", len(log.kept))
	}
}
