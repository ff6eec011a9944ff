package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
)

// completions ask bg itself what may follow: urfave/cli answers when the last
// argument is --generate-bash-completion.
var completions = map[string]string{
	"bash": `_bg() {
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}") current="${COMP_WORDS[COMP_CWORD]}"
  [[ "$current" == -* ]] && words+=("$current")
  mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$current")
}
complete -o bashdefault -o default -F _bg bg
`,
	"zsh": `#compdef bg
_bg() {
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
		Usage:     "print the completion script of a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: "   source <(bg completion bash)\n" +
			"   bg completion fish > ~/.config/fish/completions/bg.fish",
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			script, ok := completions[shell]
			if shell == "fish" {
				var err error
				if script, err = c.App.ToFishCompletion(); err != nil {
					return fmt.Errorf("write the completion for fish: %w", err)
				}
				ok = true
			}
			if !ok {
				return usageError{errors.New("completion takes one of bash, zsh and fish")}
			}
			_, err := fmt.Fprint(s.Out, script)
			return err
		},
	}
}
