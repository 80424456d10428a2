package ssa

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// DefaultMaxKubeconfig is the largest kubeconfig, in bytes.
const DefaultMaxKubeconfig = 1 << 20

// KubeconfigOptions of ConfigFromKubeconfig. The zero value allows nothing that
// reaches out of the kubeconfig itself.
type KubeconfigOptions struct {
	// Context chooses one; default is the kubeconfig's current-context.
	Context string
	// MaxBytes bounds the kubeconfig; default 1 MiB.
	MaxBytes int

	AllowExec             bool // run the program that it names, for credentials
	AllowAuthProvider     bool // let a client-go plugin get credentials
	AllowTokenFile        bool // read the bearer token from a file
	AllowCertificateFiles bool // read certificates and keys from files
	AllowInsecure         bool // plain http, or https without a look at the certificate
	AllowProxy            bool // send everything through the proxy that it names
}

// KubeconfigError says what of a kubeconfig was refused, and quotes no credential.
// It is terminal: the kubeconfig or the options must be changed.
type KubeconfigError struct {
	Field  string // as in "user.exec"; empty for the whole
	Reason string
	Option string // the field of KubeconfigOptions that would allow it, if there is one
}

func (e *KubeconfigError) Error() string {
	text := "kubeconfig: "
	if e.Field != "" {
		text += e.Field + ": "
	}
	text += e.Reason
	if e.Option != "" {
		text += "; remove it, or set KubeconfigOptions." + e.Option + " if you trust whoever wrote it"
	}
	return text
}

// Terminal says that another try cannot help.
func (e *KubeconfigError) Terminal() bool { return true }

// ConfigFromKubeconfig makes a rest.Config of a kubeconfig that comes from outside,
// such as from a Secret. What would run a program, read a file of this machine,
// go without a check of the server's certificate or take a detour is refused,
// each unless its own option allows it; so is every field that is not known. Other
// contexts than the chosen one are not looked at. Neither the environment nor any
// file is read, and proxies of the environment are not used.
//
// The error is a *KubeconfigError.
func ConfigFromKubeconfig(data []byte, opts KubeconfigOptions) (*rest.Config, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxKubeconfig
	}
	if len(data) > opts.MaxBytes {
		return nil, &KubeconfigError{Reason: fmt.Sprintf("it has %d bytes; at most %d are allowed", len(data), opts.MaxBytes)}
	}
	var k kubeconfig
	if yaml.UnmarshalStrict(data, &k) != nil {
		return nil, &KubeconfigError{Reason: "it is not YAML of the known fields, each once and of its type (details withheld: they may quote a credential)"}
	}
	cluster, user, err := k.choose(opts.Context)
	if err != nil {
		return nil, err
	}
	for _, check := range []error{cluster.check(opts), user.check(opts)} {
		if check != nil {
			return nil, check
		}
	}
	return config(cluster, user)
}

type kubeconfig struct {
	Kind           string    `json:"kind"`
	APIVersion     string    `json:"apiVersion"`
	Preferences    any       `json:"preferences"`
	Extensions     any       `json:"extensions"`
	CurrentContext string    `json:"current-context"`
	Clusters       []cluster `json:"clusters"`
	Users          []user    `json:"users"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster    string `json:"cluster"`
			User       string `json:"user"`
			Namespace  string `json:"namespace"`
			Extensions any    `json:"extensions"`
		} `json:"context"`
	} `json:"contexts"`
}

type cluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server                   string `json:"server"`
		TLSServerName            string `json:"tls-server-name"`
		InsecureSkipTLSVerify    bool   `json:"insecure-skip-tls-verify"`
		CertificateAuthority     string `json:"certificate-authority"`
		CertificateAuthorityData []byte `json:"certificate-authority-data"`
		ProxyURL                 string `json:"proxy-url"`
		DisableCompression       bool   `json:"disable-compression"`
		Extensions               any    `json:"extensions"`
	} `json:"cluster"`
}

type user struct {
	Name string `json:"name"`
	User struct {
		ClientCertificate     string                           `json:"client-certificate"`
		ClientCertificateData []byte                           `json:"client-certificate-data"`
		ClientKey             string                           `json:"client-key"`
		ClientKeyData         []byte                           `json:"client-key-data"`
		Token                 string                           `json:"token"`
		TokenFile             string                           `json:"tokenFile"`
		As                    string                           `json:"as"`
		AsUID                 string                           `json:"as-uid"`
		AsGroups              []string                         `json:"as-groups"`
		AsUserExtra           map[string][]string              `json:"as-user-extra"`
		Username              string                           `json:"username"`
		Password              string                           `json:"password"`
		AuthProvider          *clientcmdapi.AuthProviderConfig `json:"auth-provider"`
		Exec                  *clientcmdapi.ExecConfig         `json:"exec"`
		Extensions            any                              `json:"extensions"`
	} `json:"user"`
}

// choose finds a context with its cluster and its user. Names that stand twice are
// refused: programs do not agree on which one counts.
func (k *kubeconfig) choose(context string) (*cluster, *user, error) {
	field := "contexts"
	if context == "" {
		context, field = k.CurrentContext, "current-context"
	}
	if context == "" {
		return nil, nil, &KubeconfigError{Field: field, Reason: "it is empty; name a context"}
	}
	var clusterName, userName string
	found := 0
	for _, c := range k.Contexts {
		if c.Name == context {
			clusterName, userName = c.Context.Cluster, c.Context.User
			found++
		}
	}
	if found != 1 {
		return nil, nil, &KubeconfigError{Field: field, Reason: fmt.Sprintf("there are %d contexts named %q", found, clip.Quote(context, maxQuoted))}
	}
	var theCluster *cluster
	var theUser *user
	for i := range k.Clusters {
		if k.Clusters[i].Name == clusterName {
			if theCluster != nil {
				return nil, nil, &KubeconfigError{Field: "clusters", Reason: fmt.Sprintf("there are two clusters named %q", clip.Quote(clusterName, maxQuoted))}
			}
			theCluster = &k.Clusters[i]
		}
	}
	for i := range k.Users {
		if k.Users[i].Name == userName {
			if theUser != nil {
				return nil, nil, &KubeconfigError{Field: "users", Reason: fmt.Sprintf("there are two users named %q", clip.Quote(userName, maxQuoted))}
			}
			theUser = &k.Users[i]
		}
	}
	if theCluster == nil {
		return nil, nil, &KubeconfigError{Field: "clusters", Reason: fmt.Sprintf("there is no cluster named %q", clip.Quote(clusterName, maxQuoted))}
	}
	if theUser == nil {
		return nil, nil, &KubeconfigError{Field: "users", Reason: fmt.Sprintf("there is no user named %q", clip.Quote(userName, maxQuoted))}
	}
	return theCluster, theUser, nil
}

// refusal is a field that needs an option.
type refusal struct {
	field, option   string
	present, allows bool
	why             string
}

func refuse(rs []refusal) error {
	for _, r := range rs {
		if r.present && !r.allows {
			return &KubeconfigError{Field: r.field, Reason: r.why, Option: r.option}
		}
	}
	return nil
}

const readsFiles = "it reads a file of this machine"

func (c *cluster) check(o KubeconfigOptions) error {
	in := &c.Cluster
	server, err := url.Parse(in.Server)
	switch {
	case err != nil || server.Host == "" || server.Scheme != "https" && server.Scheme != "http":
		return &KubeconfigError{Field: "cluster.server", Reason: "it is not a URL that begins with https://; correct it"}
	case server.User != nil || server.RawQuery != "" || server.Fragment != "":
		return &KubeconfigError{Field: "cluster.server", Reason: "it holds more than host, port and path; credentials belong to the user"}
	}
	if in.ProxyURL != "" {
		p, err := url.Parse(in.ProxyURL)
		if err != nil || p.Host == "" || p.Scheme != "https" && p.Scheme != "http" && p.Scheme != "socks5" {
			return &KubeconfigError{Field: "cluster.proxy-url", Reason: "it is not an http, https or socks5 URL; correct it"}
		}
	}
	return refuse([]refusal{
		{"cluster.server", "AllowInsecure", server.Scheme == "http", o.AllowInsecure, "it is plain http, and credentials would be sent in the clear"},
		{"cluster.insecure-skip-tls-verify", "AllowInsecure", in.InsecureSkipTLSVerify, o.AllowInsecure, "anybody could pretend to be the server"},
		{"cluster.certificate-authority", "AllowCertificateFiles", in.CertificateAuthority != "", o.AllowCertificateFiles, readsFiles},
		{"cluster.proxy-url", "AllowProxy", in.ProxyURL != "", o.AllowProxy, "it sends requests through a machine of its choice"},
	})
}

func (u *user) check(o KubeconfigOptions) error {
	in := &u.User
	if in.As == "" && (in.AsUID != "" || len(in.AsGroups) > 0 || len(in.AsUserExtra) > 0) {
		return &KubeconfigError{Field: "user.as", Reason: "it is empty although groups, a UID or extras are given; name whom to impersonate"}
	}
	if in.As != "" {
		id := Identity{User: in.As, UID: in.AsUID, Groups: in.AsGroups, Extra: in.AsUserExtra}
		var wrong *IdentityError
		if errors.As(id.check(), &wrong) {
			return &KubeconfigError{Field: "user.as", Reason: wrong.Reason}
		}
	}
	return refuse([]refusal{
		{"user.exec", "AllowExec", in.Exec != nil, o.AllowExec, "it runs a program on this machine"},
		{"user.auth-provider", "AllowAuthProvider", in.AuthProvider != nil, o.AllowAuthProvider, "it runs a plugin on this machine"},
		{"user.tokenFile", "AllowTokenFile", in.TokenFile != "", o.AllowTokenFile, readsFiles},
		{"user.client-certificate", "AllowCertificateFiles", in.ClientCertificate != "", o.AllowCertificateFiles, readsFiles},
		{"user.client-key", "AllowCertificateFiles", in.ClientKey != "", o.AllowCertificateFiles, readsFiles},
	})
}

func config(c *cluster, u *user) (*rest.Config, error) {
	at, who := &c.Cluster, &u.User
	cfg := &rest.Config{
		Host: at.Server, DisableCompression: at.DisableCompression,
		BearerToken: who.Token, BearerTokenFile: who.TokenFile, Username: who.Username, Password: who.Password,
		Impersonate: rest.ImpersonationConfig{UserName: who.As, UID: who.AsUID, Groups: who.AsGroups, Extra: who.AsUserExtra},
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: at.TLSServerName, Insecure: at.InsecureSkipTLSVerify,
			CAFile: at.CertificateAuthority, CAData: at.CertificateAuthorityData,
			CertFile: who.ClientCertificate, CertData: who.ClientCertificateData,
			KeyFile: who.ClientKey, KeyData: who.ClientKeyData,
		},
		AuthProvider: who.AuthProvider,
		// Without a function here, client-go takes the proxy of the environment.
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	if at.ProxyURL != "" {
		proxy, err := url.Parse(at.ProxyURL)
		if err != nil {
			return nil, &KubeconfigError{Field: "cluster.proxy-url", Reason: "it is not a URL; correct it"}
		}
		cfg.Proxy = http.ProxyURL(proxy)
	}
	if who.Exec != nil {
		cfg.ExecProvider = who.Exec
		cfg.ExecProvider.StdinUnavailable = true
		if cfg.ExecProvider.InteractiveMode == "" {
			cfg.ExecProvider.InteractiveMode = clientcmdapi.NeverExecInteractiveMode
		}
	}
	return cfg, nil
}
