package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	bodyLimit = 8 << 20 // bytes of an answer that Contains is searched in
	shownBody = 512     // bytes of an answer that an error shows
)

// HTTP sends a request and looks at its answer.
type HTTP struct {
	Method   string // default GET
	Path     string // below the target's URL; it may have a query
	Headers  http.Header
	Body     string
	Status   int    // 0 accepts 200 to 299
	Contains string // what the answer's body has to contain
	Follow   bool   // redirects are followed
}

// Name returns the method and the path.
func (h HTTP) Name() string { return h.method() + " " + h.Path }

func (h HTTP) method() string {
	if h.Method == "" {
		return http.MethodGet
	}
	return h.Method
}

// AnswerError is an answer other than the expected one.
type AnswerError struct {
	URL    string
	Status string // such as "502 Bad Gateway"
	Want   string
	Body   string // its first 512 bytes
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("%s answered %s, want %s", e.URL, e.Status, e.Want)
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// Run sends the request. An answer that is not the expected one is an
// *AnswerError.
func (h HTTP) Run(ctx context.Context, target Target, out io.Writer) error {
	request, err := h.request(ctx, target)
	if err != nil {
		return err
	}
	answer, err := h.client().Do(request)
	if err != nil {
		// The URL is in the message once, not twice.
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return fmt.Errorf("%s: %w", request.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyLimit))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", request.URL, err)
	}
	fmt.Fprintf(out, "%s answered %s with %d bytes\n", request.URL, answer.Status, len(body))
	return h.judge(answer, string(body))
}

func (h HTTP) request(ctx context.Context, target Target) (*http.Request, error) {
	address := strings.TrimRight(target.URL, "/") + "/" + strings.TrimLeft(h.Path, "/")
	request, err := http.NewRequestWithContext(ctx, h.method(), address, strings.NewReader(h.Body))
	if err != nil {
		return nil, fmt.Errorf("make a request for %s: %w", address, err)
	}
	for name, values := range h.Headers {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Host = request.Header.Get("Host") // "" means the URL's
	return request, nil
}

// client returns a client for one request. It reuses no connection: one of the
// old configuration would answer with the old color. It takes no forward proxy,
// which could not reach a container's address.
func (h HTTP) client() *http.Client {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}
	if !h.Follow {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client
}

// judge returns what is wrong with an answer.
func (h HTTP) judge(answer *http.Response, body string) error {
	e := &AnswerError{URL: answer.Request.URL.String(), Status: answer.Status, Body: Excerpt(body)}
	switch status := answer.StatusCode; {
	case h.Status != 0 && status != h.Status:
		e.Want = fmt.Sprintf("%d", h.Status)
	case h.Status == 0 && (status < 200 || status > 299):
		e.Want = "200 to 299"
	case !strings.Contains(body, h.Contains):
		e.Want = fmt.Sprintf("a body with %q", h.Contains)
	default:
		return nil
	}
	return e
}

// Excerpt returns the start of body as one line that a terminal can show.
func Excerpt(body string) string {
	if len(body) > shownBody {
		body = body[:shownBody] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(body), "\ufffd"))
}
