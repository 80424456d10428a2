package ssa_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/ssa"
)

const plainKubeconfig = `
apiVersion: v1
kind: Config
preferences: {}
current-context: main
contexts:
- {name: main, context: {cluster: c, user: u, namespace: shop}}
- {name: other, context: {cluster: c, user: risky}}
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443/base", tls-server-name: kubernetes}
users:
- name: u
  user: {token: c4n4ry}
- name: risky
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, id]}}
`

func TestKubeconfig(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("KUBECONFIG", "/nowhere")
	cfg, err := ssa.ConfigFromKubeconfig([]byte(plainKubeconfig), ssa.KubeconfigOptions{})
	require.NoError(t, err)
	require.Equal(t, "https://10.0.0.1:6443/base", cfg.Host)
	require.Equal(t, "c4n4ry", cfg.BearerToken)
	require.Equal(t, "kubernetes", cfg.ServerName)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Host, nil)
	require.NoError(t, err)
	proxy, err := cfg.Proxy(req)
	require.NoError(t, err)
	require.Nil(t, proxy, "the environment's proxies are not asked")
	_, err = ssa.New(cfg, ssa.Options{})
	require.NoError(t, err)
}

func TestKubeconfigOfARealServer(t *testing.T) {
	plane := testplane.Small(t)
	f := setup(t)
	cfg, err := ssa.ConfigFromKubeconfig(plane.Kubeconfig(), ssa.KubeconfigOptions{})
	require.NoError(t, err)
	f.applier = newApplier(t, cfg, f.meter)
	f.apply(t, objects(t, app), f.options())
}

// Each of these would do something on the machine of whoever uses the kubeconfig,
// or hand its credentials to others.
func TestAttackKubeconfigs(t *testing.T) {
	rows := []struct{ name, old, new, field, option string }{
		{"exec", `{token: c4n4ry}`, `{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [c4n4ry]}}`, "user.exec", "AllowExec"},
		{"empty exec", `{token: c4n4ry}`, `{token: c4n4ry, exec: {}}`, "user.exec", "AllowExec"},
		{"exec in capitals", `{token: c4n4ry}`, `{token: c4n4ry, EXEC: {apiVersion: client.authentication.k8s.io/v1, command: sh}}`, "user.exec", "AllowExec"},
		{"auth provider", `{token: c4n4ry}`, `{auth-provider: {name: gcp, config: {cmd-path: /bin/sh, secret: c4n4ry}}}`, "user.auth-provider", "AllowAuthProvider"},
		{"token file", `{token: c4n4ry}`, `{tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}`, "user.tokenFile", "AllowTokenFile"},
		{"certificate file", `{token: c4n4ry}`, `{client-certificate: /etc/a, client-key-data: YzRuNHJ5}`, "user.client-certificate", "AllowCertificateFiles"},
		{"key file", `{token: c4n4ry}`, `{client-key: /etc/a}`, "user.client-key", "AllowCertificateFiles"},
		{"authority file", `tls-server-name: kubernetes`, `certificate-authority: /etc/passwd`, "cluster.certificate-authority", "AllowCertificateFiles"},
		{"no verification", `tls-server-name: kubernetes`, `insecure-skip-tls-verify: true`, "cluster.insecure-skip-tls-verify", "AllowInsecure"},
		{"plain http", `https://10.0.0.1`, `http://10.0.0.1`, "cluster.server", "AllowInsecure"},
		{"proxy", `tls-server-name: kubernetes`, `proxy-url: "http://c4n4ry@evil.example"`, "cluster.proxy-url", "AllowProxy"},
	}
	allow := map[string]func(*ssa.KubeconfigOptions){
		"AllowExec":             func(o *ssa.KubeconfigOptions) { o.AllowExec = true },
		"AllowAuthProvider":     func(o *ssa.KubeconfigOptions) { o.AllowAuthProvider = true },
		"AllowTokenFile":        func(o *ssa.KubeconfigOptions) { o.AllowTokenFile = true },
		"AllowCertificateFiles": func(o *ssa.KubeconfigOptions) { o.AllowCertificateFiles = true },
		"AllowInsecure":         func(o *ssa.KubeconfigOptions) { o.AllowInsecure = true },
		"AllowProxy":            func(o *ssa.KubeconfigOptions) { o.AllowProxy = true },
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			require.Contains(t, plainKubeconfig, row.old)
			text := []byte(strings.Replace(plainKubeconfig, row.old, row.new, 1))
			var all ssa.KubeconfigOptions
			for option, set := range allow {
				if option != row.option {
					set(&all)
				}
			}
			for _, opts := range []ssa.KubeconfigOptions{{}, all} { // every other option allows it as little as none
				_, err := ssa.ConfigFromKubeconfig(text, opts)
				var refused *ssa.KubeconfigError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, row.field, refused.Field)
				require.Equal(t, row.option, refused.Option)
				require.True(t, terminal(err))
				require.NotContains(t, everything(err), "c4n4ry")
			}
			var only ssa.KubeconfigOptions
			allow[row.option](&only)
			cfg, err := ssa.ConfigFromKubeconfig(text, only)
			require.NoError(t, err)
			require.False(t, row.option != "" && harmless(cfg), "what was allowed is in the config")
		})
	}
}

// harmless reports whether a config has nothing that needs an option.
func harmless(cfg *rest.Config) bool {
	proxied := false
	if cfg.Proxy != nil {
		u, err := cfg.Proxy(&http.Request{})
		proxied = err != nil || u != nil
	}
	return cfg.ExecProvider == nil && cfg.AuthProvider == nil && cfg.BearerTokenFile == "" && cfg.CAFile == "" && cfg.CertFile == "" &&
		cfg.KeyFile == "" && !cfg.Insecure && strings.HasPrefix(strings.ToLower(cfg.Host), "https://") && cfg.Proxy != nil && !proxied
}

func TestAttackAmbiguousAndMalformedKubeconfigs(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"two clusters of a name": {"clusters:\n", "clusters:\n- {name: c, cluster: {server: \"https://evil.example\"}}\n", "two clusters named"},
		"two users of a name":    {"users:\n", "users:\n- {name: u, user: {token: other}}\n", "two users named"},
		"two contexts of a name": {"contexts:\n", "contexts:\n- {name: main, context: {cluster: c, user: u}}\n", "2 contexts named"},
		"no such context":        {"current-context: main", "current-context: none", "0 contexts named"},
		"no context":             {"current-context: main", "current-context: \"\"", "it is empty"},
		"no such user":           {"user: u,", "user: x,", "no user named"},
		"no such cluster":        {"cluster: c, user: u,", "cluster: x, user: u,", "no cluster named"},
		"unknown field":          {"{token: c4n4ry}", "{token: c4n4ry, c4n4ry: true}", "known fields"},
		"field twice":            {"{token: c4n4ry}", "{token: c4n4ry, token: c4n4ry}", "known fields"},
		"wrong type":             {"{token: c4n4ry}", "{token: [c4n4ry]}", "known fields"},
		"no YAML":                {"{token: c4n4ry}", "{token: c4n4ry", "known fields"},
		"bad base64":             {"{token: c4n4ry}", "{client-key-data: c4n4ry}", "known fields"},
		"no scheme":              {"https://10.0.0.1:6443/base", "10.0.0.1:6443", "begins with https://"},
		"other scheme":           {"https://10.0.0.1:6443/base", "unix:///var/run/x", "begins with https://"},
		"credentials in the URL": {"https://10.0.0.1", "https://user:c4n4ry@10.0.0.1", "credentials belong to the user"},
		"groups without a name":  {"{token: c4n4ry}", "{token: c4n4ry, as-groups: [system:masters]}", "name whom to impersonate"},
		"blank name":             {"{token: c4n4ry}", "{token: c4n4ry, as: ' '}", "white space"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, plainKubeconfig, c.old)
			_, err := ssa.ConfigFromKubeconfig([]byte(strings.Replace(plainKubeconfig, c.old, c.new, 1)), ssa.KubeconfigOptions{})
			var refused *ssa.KubeconfigError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, everything(err), "c4n4ry")
		})
	}
	_, err := ssa.ConfigFromKubeconfig([]byte(plainKubeconfig), ssa.KubeconfigOptions{Context: "other"})
	require.ErrorContains(t, err, "user.exec")
	_, err = ssa.ConfigFromKubeconfig([]byte(plainKubeconfig), ssa.KubeconfigOptions{MaxBytes: 100})
	require.ErrorContains(t, err, "at most 100")
	_, err = ssa.ConfigFromKubeconfig(make([]byte, 2<<20), ssa.KubeconfigOptions{})
	require.ErrorContains(t, err, "at most 1048576")
	_, err = ssa.ConfigFromKubeconfig(nil, ssa.KubeconfigOptions{})
	require.ErrorContains(t, err, "name a context")
}

func TestAttackAliasesInKubeconfigs(t *testing.T) {
	text := "preferences: {a: &a [x,x,x,x,x,x,x,x,x,x]"
	for c := 'b'; c <= 'i'; c++ {
		text += ", " + string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "*" + string(c-1) + "]"
	}
	_, err := ssa.ConfigFromKubeconfig([]byte(text+"}\n"+plainKubeconfig), ssa.KubeconfigOptions{})
	require.Error(t, err)
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(plainKubeconfig))
	f.Add([]byte(strings.Replace(plainKubeconfig, "{token: c4n4ry}", "{tokenFile: x}", 1)))
	f.Add([]byte("current-context: &a a\ncontexts: [*a]"))
	f.Add([]byte(`{"current-context":"a","contexts":[{"name":"a"}],"clusters":[{"cluster":{"server":"HTTPS://x"}}],"users":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := ssa.ConfigFromKubeconfig(data, ssa.KubeconfigOptions{})
		if err == nil && !harmless(cfg) {
			t.Errorf("%q gave %v", data, cfg)
		}
	})
}
