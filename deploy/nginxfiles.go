package deploy

import (
	"slices"
	"unicode/utf8"

	"bg/color"
	"bg/proxy"
)

// NginxFiles are the two files of a service in nginx, as a document keeps them.
type NginxFiles struct {
	Upstreams NginxFile `json:"upstreams,omitzero"`
	Includes  NginxFile `json:"includes,omitzero"`
	// Servers are the addresses that the upstreams file sends to.
	Servers []string `json:"servers,omitempty"`
}

// NginxFile is one of them. Text is for the people who read it in the Consul UI;
// what is no text is in Bytes, since JSON would change it.
type NginxFile struct {
	Path   string `json:"path,omitempty"`
	Absent bool   `json:"absent,omitempty"`
	Text   string `json:"text,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"`
}

// kept returns what a document keeps of nginx's files.
func kept(state proxy.State) *NginxFiles {
	return &NginxFiles{Upstreams: keptFile(state.Files.Upstreams), Includes: keptFile(state.Files.Includes), Servers: state.Upstreams}
}

func keptFile(f proxy.File) NginxFile {
	file := NginxFile{Path: f.Path, Absent: f.Absent}
	if utf8.Valid(f.Data) {
		file.Text = string(f.Data)
	} else {
		file.Bytes = f.Data
	}
	return file
}

// files returns the files as nginx is given them, c being their color.
func (n NginxFiles) files(c color.Color) proxy.Files {
	return proxy.Files{Color: c, Upstreams: n.Upstreams.file(), Includes: n.Includes.file()}
}

func (f NginxFile) file() proxy.File {
	data := f.Bytes
	if data == nil && !f.Absent {
		data = []byte(f.Text)
	}
	return proxy.File{Path: f.Path, Absent: f.Absent, Data: data}
}

// usable reports whether nginx is to get these files back when it is to send to c
// again. Where nothing of c is registered, there is nothing to make better ones of.
func (n NginxFiles) usable(c color.Color, seen Observation) bool {
	return n.fits(c, seen) || len(matching(seen.Containers[c], seen.Instances[c]).ours) == 0
}

// fits reports whether the files still send to the color that they were made
// for, and to nothing else: ports change when containers are started again. A
// service that was never deployed had no color to fit.
func (n NginxFiles) fits(c color.Color, seen Observation) bool {
	return c == color.None || len(n.Servers) > 0 &&
		!slices.ContainsFunc(n.Servers, func(address string) bool { return !seen.serves(c, address) })
}
