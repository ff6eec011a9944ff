package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokenizeReadsWhatNginxReads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		src  string
		want string // tokens, separated by |
	}{
		"words end at space and semicolon":      {"server  10.0.0.1:80\n weight=2;", "server|10.0.0.1:80|weight=2|;"},
		"braces stand alone":                    {"events{}", "events|{|}"},
		"a comment ends with its line":          {"# a; {\nb; # c\n", "b|;"},
		"a hash inside of a word is no comment": {"rewrite /a#b /c;", "rewrite|/a#b|/c|;"},
		"quotes hold separators":                {`add_header X "a; {b} #c" always;`, `add_header|X|a; {b} #c|always|;`},
		"single quotes too":                     {`log_format x 'a "b"';`, `log_format|x|a "b"|;`},
		"an escaped quote goes on":              {`x "a\"b";`, `x|a"b|;`},
		"other escapes keep the backslash":      {`location ~ \.php$ {}`, `location|~|\.php$|{|}`},
		"an escaped space joins a bare word":    {`x a\ b;`, `x|a\ b|;`},
		"a variable's braces belong to a word":  {"x ${host}y;", "x|${host}y|;"},
		"a closing brace inside of a word":      {"x a}b;", "x|a}b|;"},
		"Lua is left out":                       {"content_by_lua_block { if x then y = {} end }\nx;", "content_by_lua_block|{|}|x|;"},
		"nothing":                               {" \n\t# x", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tokens, err := tokenize([]byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, token := range tokens {
				if token.kind == tokenWord {
					got = append(got, token.text)
				} else {
					got = append(got, string(token.kind))
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "|")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDirectivesRefuseWhatNginxRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ src, want string }{
		"an open quote":             {"a;\nb \"c", `line 2: a quote is never closed`},
		"no semicolon at the end":   {"a;\nb c", `line 2: "b c" is not ended by ';'`},
		"no semicolon in a block":   {"a {\nb\n}", `line 3: "b" before '}' is not ended by ';'`},
		"a block that is not ended": {"a { b;", `1 blocks are never closed`},
		"a brace too many":          {"a;\n}", `line 2: '}' closes no block`},
		"a semicolon too many":      {"a;;", `line 1: unexpected ';'`},
		"open Lua":                  {"\nx_by_lua_block { {}", `line 2: a block of Lua is never closed`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := directives([]byte(test.src)); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// FuzzDirectives: whatever the text, reading it does not panic, tokens stand in
// it in order, and a copy with its includes redirected has the same directives.
func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{
		"upstream books-ms { server 10.0.0.1:80; }", "include \"a b\";\ninclude /x/*.conf;", "x ${a}b 'c\\'d' # e\n;", "a_by_lua_block {{}}", "a\\", "\"\\",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		tokens, err := tokenize(src)
		last := 0
		for _, token := range tokens {
			if token.start < last || token.end <= token.start || token.end > len(src) {
				t.Fatalf("token at %d-%d after %d, of %d", token.start, token.end, last, len(src))
			}
			last = token.end
		}
		list, errDirectives := directives(src)
		if err != nil && errDirectives == nil {
			t.Fatalf("directives accept what tokenize does not: %v", err)
		}
		_, _ = upstreams(src)
		if errDirectives != nil {
			return
		}
		again, err := directives(redirect(src, "/etc/nginx", "/tmp/x"))
		if err != nil || len(again) != len(list) {
			t.Fatalf("redirected: %d directives, %v; want %d", len(again), err, len(list))
		}
	})
}
