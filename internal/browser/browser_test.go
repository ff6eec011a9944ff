package browser

import (
	"bytes"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

const page = `<title>t</title><p>hello</p><p hidden>not to be seen</p><textarea>in a field</textarea>
<button onclick="setTimeout(() => document.querySelector('p').textContent = 'clicked', 50)">go</button>`

func TestInABrowserAPageIsReadClickedAndPhotographed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte(page)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	p := Open(t)
	p.Visit(server.URL)
	p.Shows("hello", "in a field")
	if text := p.Text(); bytes.Contains([]byte(text), []byte("not to be seen")) {
		t.Errorf("what is hidden is shown: %s", text)
	}
	p.Click("button")
	p.Shows("clicked")
	if sum := Script[int](p, "40 + 2"); sum != 42 {
		t.Errorf("40 + 2 is %d in the browser", sum)
	}
	file := filepath.Join(t.TempDir(), "new", "picture.png")
	p.Picture(file)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds(); size.Dx() != width || size.Dy() != height {
		t.Errorf("the picture has %v", size)
	}
}
