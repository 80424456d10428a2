package oci

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// Credential is for one registry. The zero value is that of a stranger.
type Credential struct {
	Username string
	Password string
	// IdentityToken is exchanged for tokens with a shorter life.
	IdentityToken string
	// Token is sent to the registry as it is.
	Token string
}

// String hides the credential.
func (c Credential) String() string { return "(credential)" }

// GoString hides the credential.
func (c Credential) GoString() string { return c.String() }

// hide takes the credential out of a text: a server may repeat what it was sent.
func (c Credential) hide() *strings.Replacer {
	var pairs []string
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password)), c.IdentityToken, c.Token, c.Password,
	} {
		if secret != "" {
			pairs = append(pairs, secret, "***")
		}
	}
	return strings.NewReplacer(pairs...)
}

func (c Credential) oras() auth.Credential {
	return auth.Credential{Username: c.Username, Password: c.Password, RefreshToken: c.IdentityToken, AccessToken: c.Token}
}

// ErrDockerConfig is what every error wraps that means "this is no docker config
// JSON". It says nothing of what is in it.
var ErrDockerConfig = errors.New(`not a docker config: {"auths": {"<registry>": {"auth": "<base64 of user:password>"}}}`)

const maxDockerConfig = 1 << 20

type dockerEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// DockerCredential finds the credential for a repository's URL in a docker config
// JSON, as a Secret of type kubernetes.io/dockerconfigjson has it. Of several that
// fit, the one with the longest path wins. If there is none, it returns a zero
// Credential. Credential helpers are not run.
func DockerCredential(config []byte, url string) (Credential, error) {
	var parsed struct {
		Auths map[string]dockerEntry `json:"auths"`
	}
	if len(config) > maxDockerConfig || json.Unmarshal(config, &parsed) != nil {
		return Credential{}, ErrDockerConfig
	}
	want, best := dockerName(url), ""
	var found *dockerEntry
	for key, entry := range parsed.Auths {
		name := dockerName(key)
		if want != name && !strings.HasPrefix(want, name+"/") {
			continue
		}
		// Two spellings of one name: the order of a map must not decide.
		if found == nil || len(name) > len(dockerName(best)) || len(name) == len(dockerName(best)) && key < best {
			found, best = &entry, key
		}
	}
	if found == nil {
		return Credential{}, nil
	}
	cred, err := found.credential()
	if err != nil {
		return Credential{}, fmt.Errorf("entry %q: %w", best, err)
	}
	return cred, nil
}

func (e dockerEntry) credential() (Credential, error) {
	cred := Credential{e.Username, e.Password, e.IdentityToken, e.RegistryToken}
	if e.Auth == "" {
		return cred, nil
	}
	raw, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Credential{}, ErrDockerConfig
	}
	cred.Username, cred.Password = user, strings.TrimRight(password, "\x00")
	return cred, nil
}

// dockerName is the host and path that a key or a URL means. Docker Hub has more
// than one name.
func dockerName(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	host, path, _ := strings.Cut(s, "/")
	host, path = strings.ToLower(host), strings.Trim(path, "/")
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		host = "docker.io"
	}
	if path == "" || path == "v1" || path == "v2" {
		return host
	}
	return host + "/" + path
}
