// Package bg embeds the files with which `bg stack` runs Consul, the registrator
// and nginx on one machine.
package bg

import "embed"

// Stack holds docker-compose.yml, the file of its configs entry,
// templates/nginx.conf, and the Dockerfile of its registrator, under their paths
// in this repository.
//
//go:embed docker-compose.yml templates/nginx.conf Dockerfile
var Stack embed.FS
