package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"

	"helm.sh/helm/v3/pkg/chart"
)

// MarshalJSON writes the chart as Helm keeps it in the record of a release: its
// metadata, templates, values, schema and files, without its subcharts.
func (c *Chart) MarshalJSON() ([]byte, error) { return json.Marshal(c.chart) }

// Digest of all that the chart is made of, its subcharts included, as
// "sha256:<hex>". Charts with the same digest render the same objects.
func (c *Chart) Digest() string {
	c.once.Do(func() {
		h := sha256.New()
		digest(h, c.chart)
		c.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	})
	return c.digest
}

// digest writes one chart after the other. Lengths keep their borders apart.
func digest(h hash.Hash, c *chart.Chart) {
	text, err := json.Marshal(c)
	if err != nil { // values are what YAML holds, which JSON can write
		text = []byte(err.Error())
	}
	fmt.Fprintf(h, "%d %d\n", len(text), len(c.Dependencies()))
	h.Write(text)
	for _, sub := range c.Dependencies() {
		digest(h, sub)
	}
}
