package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
)

// named gives the name bg to the program, because every shell has a builtin of
// that name, which continues a job in the background. Without an argument, and
// with a job such as %1, it still is that.
const named = `bg() {
  case "${1-}" in
  '' | %* | [0-9]*) builtin bg "$@" ;;
  *) env bg "$@" ;;
  esac
}
`

// namedInFish is named for fish.
const namedInFish = `function bg
  if test (count $argv) -eq 0; or string match -qr '^[%0-9]' -- $argv[1]
    builtin bg $argv
  else
    env bg $argv
  end
end
`

// completions ask bg itself what may follow: urfave/cli answers when the last
// argument is --generate-bash-completion.
var completions = map[string]string{
	"bash": named + `_bg() {
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}") current="${COMP_WORDS[COMP_CWORD]}"
  [[ "$current" == -* ]] && words+=("$current")
  mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$current")
}
complete -o bashdefault -o default -F _bg bg
`,
	"zsh": named + `_bg() {
  local -a answers
  local -a asked=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && asked+=("${words[CURRENT]}")
  answers=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${asked[@]}" --generate-bash-completion 2>/dev/null)}")
  _describe 'bg' answers
}
compdef _bg bg
`,
}

func completionCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what gives a shell the name bg and completes its commands",
		ArgsUsage: "bash|zsh|fish",
		Description: "Every shell has a builtin named bg, so scripts write `env bg` or a path. After this, bg with\n" +
			"a command is this program; bg alone and bg %1 are the builtin.\n\n" +
			"   source <(env bg completion bash)\n" +
			"   env bg completion fish | source",
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			script, ok := completions[shell]
			if shell == "fish" {
				var err error
				if script, err = c.App.ToFishCompletion(); err != nil {
					return fmt.Errorf("write the completion for fish: %w", err)
				}
				script, ok = namedInFish+script, true
			}
			if !ok {
				return usageError{errors.New("completion takes one of bash, zsh and fish")}
			}
			_, err := fmt.Fprint(s.Out, script)
			return err
		},
	}
}
