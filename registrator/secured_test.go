package registrator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestATokenThatMayWriteServicesIsEnough registers at a Consul that denies what no
// policy allows.
func TestATokenThatMayWriteServicesIsEnough(t *testing.T) {
	t.Parallel()
	const root = "5c2f1ad0-4f4a-4d3e-9a55-000000000001"
	c, d := startConsul(t, denyByDefault(root)), useDocker(t)
	c.login(root)
	registersAndDeregisters(t, c, d, c.uri(), "CONSUL_HTTP_TOKEN="+c.tokenFor(`service_prefix "" { policy = "write" }`))
}

// denyByDefault is the argument of a Consul that denies what no policy allows.
func denyByDefault(root string) string {
	return `-hcl=acl { enabled = true default_policy = "deny" tokens { initial_management = "` + root + `" agent = "` + root + `" } }`
}

// tokenFor returns a token with one policy.
func (c *consul) tokenFor(rules string) string {
	c.t.Helper()
	eventually(c.t, func() error {
		_, _, err := c.api.ACL().PolicyCreate(&api.ACLPolicy{Name: "registrator", Rules: rules}, nil)
		return err
	})
	token, _, err := c.api.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "registrator"}}}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return token.SecretID
}

// TestConsulIsReachedByTLS uses consul-tls:// with a client certificate, named by
// Registrator's variables.
func TestConsulIsReachedByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificates(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	port := freePorts(t, 1)[0]
	c, d := startConsul(t, fmt.Sprint("-https-port=", port), fmt.Sprintf(
		`-hcl=tls { defaults { ca_file = %q cert_file = %q key_file = %q verify_incoming = true } }`,
		file("ca.pem"), file("cert.pem"), file("key.pem"))), useDocker(t)
	registersAndDeregisters(t, c, d, fmt.Sprintf("consul-tls://127.0.0.1:%d", port),
		"CONSUL_CACERT="+file("ca.pem"), "CONSUL_TLSCERT="+file("cert.pem"), "CONSUL_TLSKEY="+file("key.pem"))
}

// TestConsulIsReachedByASocket uses consul-unix://.
func TestConsulIsReachedByASocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "consul.sock")
	c, d := startConsul(t, "-hcl=addresses { http = \"127.0.0.1 unix://"+socket+"\" }"), useDocker(t)
	registersAndDeregisters(t, c, d, "consul-unix://"+socket)
}

// registersAndDeregisters starts a registrator with a URI and variables, and has
// it work once.
func registersAndDeregisters(t *testing.T, c *consul, d *docker, uri string, variables ...string) {
	t.Helper()
	host, name := unique(t, "host"), unique(t, "web")
	startChild(t, uri, configFor(host), variables...)
	id := d.run(serving(name))
	eventually(t, func() error { return c.has(host+":"+name, host+":"+name+":80") })
	d.stop(id)
	eventually(t, func() error { return c.has(host + ":" + name) })
}

// certificates writes an authority and a certificate for 127.0.0.1 that serves
// both sides.
func certificates(t *testing.T, dir string) {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "consul"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", sign(t, ca, ca, caKey, caKey))
	writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", sign(t, leaf, ca, key, caKey))
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "key.pem"), "EC PRIVATE KEY", der)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := writeFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})); err != nil {
		t.Fatal(err)
	}
}
