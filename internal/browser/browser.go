// Package browser drives a real Chromium without a window, for tests that look at
// pages as a person does.
package browser

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The size of the window, in pixels, and so of pictures.
const (
	width  = 1280
	height = 900
)

// patience bounds how long something is waited for, so that a page that never comes
// ends the test. A page takes a second on an idle machine.
const patience = 5 * time.Minute

// reloadEvery is how long a person would look at a page that does not get ready.
const reloadEvery = 40 * time.Second

// visibleText is what a person can read on the page: its own text, and what fields
// for text hold.
const visibleText = `[document.body ? document.body.innerText : "",
	...[...document.querySelectorAll("textarea, input:not([type=checkbox]):not([type=radio])")].map(field => field.value)].join("\n")`

// Page is one tab of a browser of its own.
type Page struct {
	t   testing.TB
	ctx context.Context
}

// Open starts a Chromium with an empty profile, which ends with the test. The
// program is BG_CHROMIUM, or chromium in PATH; without one the test fails.
func Open(t testing.TB) *Page {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, // root may not have one
		chromedp.DisableGPU, chromedp.WindowSize(width, height), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(patience), chromedp.CombinedOutput(io.Discard))
	allocator, endAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		end()
		endAllocator()
	})
	p := &Page{t: t, ctx: ctx}
	// The first call starts the browser and decides how long it lives: no deadline.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return p
}

func find() (string, error) {
	if program := os.Getenv("BG_CHROMIUM"); program != "" {
		return program, nil
	}
	program, err := exec.LookPath("chromium")
	if err != nil {
		return "", fmt.Errorf("set BG_CHROMIUM, or install chromium (make chromium): %w", err)
	}
	return program, nil
}

// Visit goes to url and waits until the page is loaded.
func (p *Page) Visit(url string) {
	p.t.Helper()
	p.do("visit "+url, chromedp.Navigate(url))
}

// Prefers gives pages the color scheme, light or dark, that a system asks for.
func (p *Page) Prefers(scheme string) {
	p.t.Helper()
	wanted := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	p.do("prefer "+scheme, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, wanted)
		return err
	}))
}

// Text returns what a person can read on the page.
func (p *Page) Text() string {
	p.t.Helper()
	return Script[string](p, visibleText)
}

// Shows waits until a person can read all of words on the page.
func (p *Page) Shows(words ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf("the page does not show all of %q", words), func() bool {
		text := p.Text()
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
}

// until waits until is returns true, and shows the page when it never does. Like a
// person it loads a page anew that stays as it is for long.
func (p *Page) until(complaint string, is func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	tick, anew := time.NewTicker(100*time.Millisecond), time.NewTicker(reloadEvery)
	defer tick.Stop()
	defer anew.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-anew.C:
			p.do("load the page anew", chromedp.Reload())
		case <-deadline:
			p.t.Fatalf("after %s %s:\n%s\n%s", patience, complaint, Script[string](p, "location.href"), p.Text())
		}
	}
}

// Click clicks on the first element that a CSS selector finds, once it is visible. It
// looks for the element anew each time, because pages that are still being put together
// replace what was found a moment ago.
func (p *Page) Click(selector string) {
	p.t.Helper()
	script := fmt.Sprintf(`(() => {
		const found = [...document.querySelectorAll(%q)].find(element => element.offsetParent)
		found?.click()
		return found !== undefined
	})()`, selector)
	p.until("there is nothing to click at "+selector, func() bool { return Script[bool](p, script) })
}

// Script runs JavaScript in the page and returns what it evaluates to.
func Script[T any](p *Page, script string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		p.t.Fatalf("run %s in the page: %v", script, err)
	}
	return value
}

// Picture writes a PNG of the window to file, whose folder is made when missing.
func (p *Page) Picture(file string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		p.t.Fatalf("take a picture: %v", err)
	}
}

func (p *Page) do(what string, action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}
