package proxy

import "regexp"

// denied lists the functions of consul-template, as glob patterns, that have no
// place in a template that a deployment renders: those that run programs or
// write files, those that talk to Vault and Nomad, and those of Consul that a
// deployment does not read consistently.
func denied() []string {
	return []string{
		"plugin", "writeToFile",
		"secret", "secrets", "pkiCert",
		"nomad*",
		"connect", "caRoots", "caLeaf", "node", "partitions", "peerings", "exportedServices", "importedServices",
		"sockaddr", "spew_*",
	}
}

// credential matches the names of environment variables that hold a secret.
var credential = regexp.MustCompile(`(?i)token|passw|passphrase|secret|credential|auth|private|(^|_)(key|pwd|pass)$|access_key|api_?key`)
