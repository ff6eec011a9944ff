// Package templates holds the files that `bg init` writes into a service's
// folder, and nginx's main configuration.
package templates

import "embed"

// Files holds nginx.conf, nginx-upstreams.ctmpl and nginx-includes.conf.ctmpl.
// The latter two are consul-template's and read the variables BG_SERVICE,
// BG_COLOR, BG_CATALOG (the name of the color in Consul's catalog), BG_PREVIEW and
// BG_PREVIEW_CATALOG (the same of a color that is held, else empty) and, in
// includes, BG_PATH (the location; "/" by default).
//
//go:embed nginx.conf nginx-upstreams.ctmpl nginx-includes.conf.ctmpl
var Files embed.FS
