package proxy

import (
	"fmt"
	"strings"
)

// tokenKind is what a token of an nginx file is.
type tokenKind byte

const (
	tokenWord  tokenKind = 'w'
	tokenEnd   tokenKind = ';'
	tokenOpen  tokenKind = '{'
	tokenClose tokenKind = '}'
)

// token is one token of an nginx file.
type token struct {
	kind       tokenKind
	text       string // a word without its quotes and escapes
	line       int    // from 1
	start, end int    // byte offsets in the source
}

// tokenize splits an nginx file as ngx_conf_read_token does (nginx's
// src/core/ngx_conf_file.c): a word ends at space, ';' or '{'; quotes and
// comments count only where a word begins; "${" belongs to its word.
func tokenize(src []byte) ([]token, error) {
	l := lexer{src: src, line: 1}
	for l.skipSpace(); l.pos < len(src); l.skipSpace() {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return l.tokens, nil
}

type lexer struct {
	src    []byte
	pos    int
	line   int
	tokens []token
}

// skipSpace moves past white space and comments.
func (l *lexer) skipSpace() {
	for comment := false; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '\n':
			l.line++
			comment = false
		case comment:
		case c == '#':
			comment = true
		case !isSpace(c):
			return
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// next reads the token that begins at pos.
func (l *lexer) next() error {
	t := token{kind: tokenWord, line: l.line, start: l.pos}
	switch c := l.src[l.pos]; c {
	case ';', '{', '}':
		t.kind = tokenKind(c)
		l.emit(t, l.pos+1)
		if c == '{' && l.inLua() {
			return l.skipLua()
		}
		return nil
	case '"', '\'':
		return l.quoted(t, c)
	default:
		l.bare(t)
		return nil
	}
}

// emit appends t, which ends before the offset to, and moves there.
func (l *lexer) emit(t token, to int) {
	l.line += strings.Count(string(l.src[t.start:to]), "\n")
	t.end, l.pos = to, to
	l.tokens = append(l.tokens, t)
}

// quoted reads a word in quotes. It may span lines.
func (l *lexer) quoted(t token, quote byte) error {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case quote:
			t.text = unescape(string(l.src[l.pos+1 : i]))
			l.emit(t, i+1)
			return nil
		}
	}
	return fmt.Errorf("line %d: a quote is never closed", t.line)
}

// bare reads a word without quotes.
func (l *lexer) bare(t token) {
	i := l.pos
	for ; i < len(l.src); i++ {
		c := l.src[i]
		if isSpace(c) || c == ';' || c == '{' && (i == l.pos || l.src[i-1] != '$') {
			break
		}
		if c == '\\' {
			i++
		}
	}
	i = min(i, len(l.src))
	t.text = unescape(string(l.src[l.pos:i]))
	l.emit(t, i)
}

// unescape resolves the escapes that nginx knows; it keeps the backslash of any
// other.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`, `\t`, "\t", `\r`, "\r", `\n`, "\n").Replace(text)
}

// inLua reports whether the block that the last token opened holds Lua, which
// has another lexer: content_by_lua_block and its like, from OpenResty.
func (l *lexer) inLua() bool {
	for i := len(l.tokens) - 2; i >= 0 && l.tokens[i].kind == tokenWord; i-- {
		if strings.HasSuffix(l.tokens[i].text, "_by_lua_block") {
			return true
		}
	}
	return false
}

// skipLua moves to the brace that closes a block of Lua. It counts braces only,
// so one in a Lua string misleads it.
func (l *lexer) skipLua() error {
	from := l.line
	for depth := 1; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case '\n':
			l.line++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("line %d: a block of Lua is never closed", from)
}
