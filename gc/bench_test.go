package gc_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// What a new process does with an inventory of 100,000 entries of which one
// changed: load it, find the difference, save it.
func BenchmarkInventory100k(b *testing.B) {
	plane := testplane.Small(b)
	cfg := plane.Config()
	ns := testplane.Namespace(b, plane)
	first, err := gc.NewConfigMapStore(cfg, ns, "inventory", gc.StoreOptions{})
	require.NoError(b, err)
	require.NoError(b, first.Save(b.Context(), numbered(100_000)))

	var m meter.Meter
	metered := rest.CopyConfig(cfg)
	metered.Wrap(m.Wrap)
	b.ReportAllocs()
	before := m.Count()
	var saved meter.Count
	for b.Loop() {
		s, err := gc.NewConfigMapStore(metered, ns, "inventory", gc.StoreOptions{})
		require.NoError(b, err)
		stored, err := s.Load(b.Context())
		require.NoError(b, err)
		require.Len(b, stored, 100_000)
		want := append(gc.Inventory(nil), stored...)
		want[50_000].Intent += "changed"
		require.False(b, stored.Equal(want))
		require.Empty(b, stored.Minus(want))
		loaded := m.Count()
		require.NoError(b, s.Save(b.Context(), want))
		saved = m.Count().Sub(loaded)
	}
	total := m.Count().Sub(before)
	b.ReportMetric(float64(total.Requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(total.Received)/float64(b.N)/1e6, "MB-received/op")
	b.ReportMetric(float64(saved.Requests), "requests/save")
	b.ReportMetric(float64(saved.Sent)/1e3, "kB/save")
}
