package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of the last command in args before its arguments,
// because urfave/cli ends the flags at the first argument, and people write
// `bg deploy books-ms --tag 1.4`. What follows "--" stays as it is.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	head, flags, commands := []string{args[0]}, app.Flags, app.Commands
	rest := args[1:]
	for len(rest) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		head, rest = append(head, rest[0]), rest[1:]
		flags, commands = commands[i].Flags, commands[i].Subcommands
	}
	if commands != nil {
		return args // a command that is still to be chosen
	}
	return append(head, reorder(flags, rest)...)
}

// reorder returns rest with its flags first.
func reorder(flags []cli.Flag, rest []string) []string {
	var first, arguments []string
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		switch {
		case word == "--":
			return slices.Concat(first, rest[i:i+1], arguments, rest[i+1:])
		case word == "-h" || word == "-help" || word == "--help":
			return []string{"--help"} // urfave/cli would look for help about the arguments
		case word == "-" || !strings.HasPrefix(word, "-"):
			arguments = append(arguments, word)
		case takesValue(flags, word) && i+1 < len(rest):
			first = append(first, word, rest[i+1])
			i++
		default:
			first = append(first, word)
		}
	}
	return append(first, arguments...)
}

// takesValue reports whether the flag that word names has its value in the next
// word.
func takesValue(flags []cli.Flag, word string) bool {
	name := strings.TrimLeft(word, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if _, isBool := f.(*cli.BoolFlag); !isBool && slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}
