package ssa_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/ssa"
)

func TestValidationComesBeforeTheFirstChange(t *testing.T) {
	f := setup(t)
	bad := objects(t, app+"\n---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: bad}\ndata: {a: c4n4ry!}")
	opts := f.options()
	opts.Validate = true
	res, err := f.applier.Apply(t.Context(), bad, opts)
	var invalid *ssa.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Faults, 2)
	require.ErrorContains(t, err, "nothing was applied, because the server would refuse some of it: apply Service "+f.ns+"/bad")
	require.NotContains(t, everything(err), "c4n4ry")
	require.True(t, terminal(err))
	require.Empty(t, res.Changes)
	list, err := f.others.Resource(services).Namespace(f.ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, list.Items)

	objs := objects(t, app)
	before := f.meter.Count().Requests
	prev := f.apply(t, objs, opts)
	require.EqualValues(t, 2*len(objs), f.meter.Count().Requests-before)
	opts.Previous = prev.Entries
	before = f.meter.Count().Requests
	require.Equal(t, len(objs), f.apply(t, objs, opts).Count(ssa.Unchanged))
	require.EqualValues(t, 4, f.meter.Count().Requests-before, "where nothing changes there is nothing to validate")
}

func TestValidationPassesOverWhatComesWithTheSet(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.ReplaceAll(strings.ReplaceAll(widgets, "GROUP", f.ns+".example.com"), "{name: one}", "{name: one, namespace: "+f.ns+"-new}")+
		"\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: "+f.ns+"-new}")
	opts := f.options()
	opts.Validate = true
	require.Equal(t, 3, f.apply(t, objs, opts).Count(ssa.Created))

	text := immutables["immutable ConfigMap"]
	f.apply(t, objects(t, f.variant(text, false)), opts)
	_, err := f.applier.Apply(t.Context(), objects(t, f.variant(text, true)), opts)
	var invalid *ssa.ValidationError
	require.ErrorAs(t, err, &invalid)
	opts.Policy = ssa.Recreate
	require.True(t, f.apply(t, objects(t, f.variant(text, true)), opts).Changes[0].Replaced)
}

func TestValidationOfConflicts(t *testing.T) {
	f := setup(t)
	f.existing(t, "them", `"a.b": theirs`)
	opts := f.options()
	opts.Validate, opts.Conflicts = true, ssa.Report
	_, err := f.applier.Apply(t.Context(), configMap(t, "", dotted), opts)
	var conflict *ssa.ConflictError
	require.ErrorAs(t, err, &conflict)
	var invalid *ssa.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.False(t, terminal(err))
	opts.Conflicts = ssa.Leave
	require.Len(t, f.apply(t, configMap(t, "", dotted), opts).Changes[0].Left, 1)
}

func TestValidationIsCancelled(t *testing.T) {
	f := setup(t)
	f.apply(t, nil, f.options())
	_, err := f.applier.Targets(t.Context(), objects(t, app), f.options()) // so that the types are known
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	opts := f.options()
	opts.Validate = true
	_, err = f.applier.Apply(ctx, objects(t, app), opts)
	require.ErrorIs(t, err, context.Canceled)
}

// What is created once is not judged by what is there.
func TestValidationOfWhatIsThere(t *testing.T) {
	f := setup(t)
	text := immutables["immutable ConfigMap"]
	f.apply(t, objects(t, f.variant(text, false)), f.options())
	opts := f.options()
	opts.Validate, opts.Policy = true, ssa.IfNotPresent
	require.Equal(t, ssa.Unchanged, f.apply(t, objects(t, f.variant(text, true)), opts).Changes[0].Action)
}
