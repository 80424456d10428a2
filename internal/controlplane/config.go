package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Config returns a configuration for a client with all rights (group
// system:masters) and without a client-side rate limit. Each call returns a
// fresh copy, for the caller to change.
func (p *Plane) Config() *rest.Config { return p.config(p.admin) }

// User returns a configuration for a client that authenticates as the named
// user, who has no rights but those that RBAC rules give to the user or the
// groups.
func (p *Plane) User(name string, groups ...string) (*rest.Config, error) {
	if name == "" {
		return nil, errors.New("controlplane: a user needs a name")
	}
	id, err := p.ca.client(name, groups...)
	if err != nil {
		return nil, fmt.Errorf("controlplane: user %q: %w", name, err)
	}
	return p.config(id), nil
}

// Kubeconfig returns a kubeconfig file with the rights of [Plane.Config], for
// kubectl and friends. It holds a private key.
func (p *Plane) Kubeconfig() []byte { return bytes.Clone(p.kubeconfig) }

func address(port int) string { return "https://127.0.0.1:" + strconv.Itoa(port) }

func (p *Plane) config(id identity) *rest.Config {
	return &rest.Config{
		Host: address(p.port),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   p.ca.pem,
			CertData: id.cert,
			KeyData:  id.key,
		},
		QPS: -1,
	}
}

func kubeconfig(config *rest.Config) ([]byte, error) {
	const name = "gitopskit"
	return clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}
