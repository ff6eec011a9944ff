package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"bg/hint"
)

// same reports whether f and other leave the same on disk.
func (f File) same(other File) bool {
	return f.Path == other.Path && f.Absent == other.Absent && bytes.Equal(f.Data, other.Data)
}

// list returns the files that take part.
func (f Files) list() []File {
	return slices.DeleteFunc([]File{f.Upstreams, f.Includes}, func(f File) bool { return f.Path == "" })
}

// same reports whether f and other leave the same on disk.
func (f Files) same(other Files) bool {
	return f.Upstreams.same(other.Upstreams) && f.Includes.same(other.Includes)
}

// read returns the managed files as they are on disk.
func (n *Nginx) read(ctx context.Context) (Files, error) {
	upstreams, err := n.readFile(ctx, n.cfg.Upstreams.Path)
	if err != nil {
		return Files{}, err
	}
	includes, err := n.readFile(ctx, n.cfg.Includes.Path)
	return Files{Upstreams: upstreams, Includes: includes}, err
}

func (n *Nginx) readFile(ctx context.Context, name string) (File, error) {
	if name == "" {
		return File{}, nil
	}
	text, err := n.host.ReadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return File{Path: name, Absent: true}, nil
	}
	return File{Path: name, Data: text}, hosted("read", name, err)
}

// writeFile makes f what is on disk.
func (n *Nginx) writeFile(ctx context.Context, f File) error {
	if f.Absent {
		return hosted("remove", f.Path, n.host.RemoveFile(ctx, f.Path))
	}
	err := n.host.WriteFile(ctx, f.Path, f.Data)
	dir := path.Dir(f.Path)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return hint.Wrap(hosted("write", f.Path, err),
			fmt.Sprintf("the file is a mount of its own and cannot be replaced; mount its directory %s instead", dir))
	case errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(hosted("write", f.Path, err),
			fmt.Sprintf("make the directory %s where nginx runs, and include %s/*.conf in nginx.conf", dir, dir))
	case errors.Is(err, syscall.ENOSPC):
		return hint.Wrap(hosted("write", f.Path, err), fmt.Sprintf("the disk below %s is full: free some space", dir))
	case errors.Is(err, syscall.EROFS):
		return hint.Wrap(hosted("write", f.Path, err), fmt.Sprintf("mount %s writable", dir))
	}
	return hosted("write", f.Path, err)
}

// writes returns the files to write one after another to come from one state
// of the disk to another, and after each the state that is then on disk.
type write struct {
	file  File
	state Files
}

// orders returns the ways from one state to another, best first. Locations name
// an upstream and not the other way round, so what they name is there first and
// goes last. The third way keeps both upstreams for a while, for an upstream
// block whose name changes.
func orders(from, to Files) [][]write {
	withUpstreams := Files{Upstreams: to.Upstreams, Includes: from.Includes}
	withIncludes := Files{Upstreams: from.Upstreams, Includes: to.Includes}
	switch {
	case from.Upstreams.same(to.Upstreams):
		return [][]write{{{to.Includes, to}}}
	case from.Includes.same(to.Includes):
		return [][]write{{{to.Upstreams, to}}}
	}
	upstreamsFirst := []write{{to.Upstreams, withUpstreams}, {to.Includes, to}}
	includesFirst := []write{{to.Includes, withIncludes}, {to.Upstreams, to}}
	both := withUpstreams
	both.Upstreams.Data = slices.Concat(from.Upstreams.Data, []byte("\n"), to.Upstreams.Data)
	bothThenOne := []write{{both.Upstreams, both}, {to.Includes, Files{Upstreams: both.Upstreams, Includes: to.Includes}}, {to.Upstreams, to}}
	switch {
	case to.Upstreams.Absent:
		return [][]write{includesFirst, upstreamsFirst}
	case from.Upstreams.Absent:
		return [][]write{upstreamsFirst, includesFirst}
	}
	return [][]write{upstreamsFirst, includesFirst, bothThenOne}
}
