package ssa_test

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/ssa"
)

// newClients are clients on the fixture's server, metered.
func (f *fixture) newClients(t *testing.T, opts ssa.ClientsOptions) *ssa.Clients {
	t.Helper()
	cfg := rest.CopyConfig(f.cfg)
	cfg.Wrap(f.meter.Wrap)
	opts.Manager = "kit"
	c, err := ssa.NewClients(cfg, opts)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// allowAccounts lets every service account of the namespace apply ConfigMaps.
func (f *fixture) allowAccounts(t *testing.T, names int) {
	t.Helper()
	grant(t, f, "nobody", "\n- {apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch]}")
	var subjects []any
	for i := range names {
		subjects = append(subjects, map[string]any{"kind": "ServiceAccount", "name": fmt.Sprintf("team-%d", i), "namespace": f.ns})
	}
	binding := objects(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: teams}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nobody}`)
	binding[0].Object["subjects"] = subjects
	f.apply(t, binding, f.options())
}

func TestManyIdentitiesShareDiscoveryAndConnections(t *testing.T) {
	const accounts, applies = 100, 1000
	f := setup(t)
	f.allowAccounts(t, accounts)
	var dials, discoveries atomic.Int64
	f.cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	discovery := regexp.MustCompile(`^/(api(/[^/]+)?|apis(/[^/]+(/[^/]+)?)?|openapi/.*)$`)
	f.meter.Observe(func(_, path string) {
		if discovery.MatchString(path) {
			discoveries.Add(1)
		}
	})
	clients := f.newClients(t, ssa.ClientsOptions{})
	before := f.meter.Count()
	var wg sync.WaitGroup
	failed := make(chan error, applies)
	limit := make(chan struct{}, 16)
	for i := range applies {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			name := fmt.Sprintf("team-%d", i%accounts)
			id, err := ssa.ServiceAccount(f.ns, name)
			if err != nil {
				failed <- err
				return
			}
			applier, err := clients.As(id)
			if err != nil {
				failed <- err
				return
			}
			opts := f.options()
			opts.Owner = name
			_, err = applier.Apply(t.Context(), objects(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d}", i)), opts)
			failed <- err
		})
	}
	wg.Wait()
	for range applies {
		require.NoError(t, <-failed)
	}
	require.EqualValues(t, 1, discoveries.Load(), "the one group version in use is asked for once")
	require.EqualValues(t, applies+1, f.meter.Count().Sub(before).Requests)
	require.LessOrEqual(t, dials.Load(), int64(16), "one pool of connections, and not one for each identity")
}

func TestApplierActsAsItsIdentity(t *testing.T) {
	f := setup(t)
	f.allowAccounts(t, 1)
	clients := f.newClients(t, ssa.ClientsOptions{})
	objs := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}")
	for name, c := range map[string]struct {
		id ssa.Identity
		ok bool
	}{
		"account":       {ssa.Identity{User: "system:serviceaccount:" + f.ns + ":team-0"}, true},
		"other account": {ssa.Identity{User: "system:serviceaccount:" + f.ns + ":team-1"}, false},
		"user":          {ssa.Identity{User: "jane", UID: "7", Extra: map[string][]string{"reason": {"test"}}}, false},
		"group":         {ssa.Identity{User: "jane", Groups: []string{"system:masters"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := clients.As(c.id)
			require.NoError(t, err)
			_, err = a.Apply(t.Context(), objs, f.options())
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.True(t, apierrors.IsForbidden(err), "%v", err)
			require.ErrorContains(t, err, c.id.User)
		})
	}
}

// An empty name sends no header at all: the request would be made with the rights
// of the program itself. White space is dropped on the way, to the same effect.
func TestAttackEmptyIdentities(t *testing.T) {
	f := setup(t)
	clients := f.newClients(t, ssa.ClientsOptions{})
	before := f.meter.Count()
	for name, id := range map[string]ssa.Identity{
		"nothing":                   {},
		"groups alone":              {Groups: []string{"system:masters"}},
		"UID alone":                 {UID: "1"},
		"extra alone":               {Extra: map[string][]string{"a": {"b"}}},
		"white space":               {User: "  "},
		"tab":                       {User: "\t"},
		"no-break space":            {User: "\u00a0"},
		"space at the end":          {User: "jane "},
		"line break":                {User: "jane\r\nImpersonate-Group: system:masters"},
		"zero byte":                 {User: "ja\x00ne"},
		"empty group":               {User: "jane", Groups: []string{""}},
		"blank group":               {User: "jane", Groups: []string{"a", " "}},
		"empty extra key":           {User: "jane", Extra: map[string][]string{"": {"x"}}},
		"empty extra value":         {User: "jane", Extra: map[string][]string{"x": {""}}},
		"blank UID":                 {User: "jane", UID: " "},
		"account without name":      {User: "system:serviceaccount:default:"},
		"account without namespace": {User: "system:serviceaccount::default"},
		"account of nothing":        {User: "system:serviceaccount:"},
		"account of three parts":    {User: "system:serviceaccount:a:b:c"},
		"large":                     {User: strings.Repeat("x", 1<<20)},
		"many groups":               {User: "jane", Groups: strings.Split(strings.Repeat("group,", 10_000)+"group", ",")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := clients.As(id)
			var wrong *ssa.IdentityError
			require.ErrorAs(t, err, &wrong)
			require.True(t, terminal(err))
			require.Less(t, len(err.Error()), 500)
		})
	}
	for _, pair := range [][2]string{{"", "a"}, {"a", ""}, {"a/b", "c"}, {"a", "b:c"}, {"a", "B"}, {" ", " "}, {strings.Repeat("a", 10_000), "b"}} {
		_, err := ssa.ServiceAccount(pair[0], pair[1])
		var wrong *ssa.IdentityError
		require.ErrorAs(t, err, &wrong, "%q", pair)
	}
	cfg := rest.CopyConfig(f.cfg)
	cfg.Impersonate.UserName = "jane"
	_, err := ssa.NewClients(cfg, ssa.ClientsOptions{})
	require.ErrorContains(t, err, "impersonates somebody itself")
	require.Zero(t, f.meter.Count().Sub(before).Requests)
}

func TestIdentitiesAreRememberedAndBounded(t *testing.T) {
	f := setup(t)
	clients := f.newClients(t, ssa.ClientsOptions{MaxIdentities: 2})
	as := func(id ssa.Identity) *ssa.Applier {
		a, err := clients.As(id)
		require.NoError(t, err)
		return a
	}
	a, b := as(ssa.Identity{User: "a"}), as(ssa.Identity{User: "b"})
	require.NotSame(t, a, b)
	require.Same(t, a, as(ssa.Identity{User: "a"}))
	c := as(ssa.Identity{User: "c"}) // b goes
	require.Same(t, a, as(ssa.Identity{User: "a"}))
	require.Same(t, c, as(ssa.Identity{User: "c"}))
	require.NotSame(t, b, as(ssa.Identity{User: "b"}))

	require.Same(t, as(ssa.Identity{User: "g", Groups: []string{"x", "y"}}), as(ssa.Identity{User: "g", Groups: []string{"y", "x"}}))
	require.NotSame(t, as(ssa.Identity{User: "g", Groups: []string{"xy"}}), as(ssa.Identity{User: "g", Groups: []string{"x", "y"}}))
	require.NotSame(t, as(ssa.Identity{User: "g", UID: "1"}), as(ssa.Identity{User: "g"}))

	clients.Close()
	_, err := clients.As(ssa.Identity{User: "a"})
	require.ErrorContains(t, err, "closed")
	_, err = b.Apply(t.Context(), objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"), f.options())
	require.True(t, apierrors.IsForbidden(err), "one that was handed out goes on working: %v", err)
}
