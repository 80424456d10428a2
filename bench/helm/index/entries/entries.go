// Package entries makes indexes of Helm repositories for benchmarks.
package entries

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
)

// Chart is one that the indexes have, and Newest its newest version.
const (
	Chart  = "chart-0007"
	Newest = "1.49.0"
)

// Check holds that the newest version was found.
func Check(version string) error {
	if version != Newest {
		return fmt.Errorf("version %s was found, not %s", version, Newest)
	}
	return nil
}

// Write writes an index of at least size bytes, as helm repo index writes it: of
// charts with 50 versions each, the newest last.
func Write(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := &counting{w: bufio.NewWriter(f)}
	w.printf("apiVersion: v1\nentries:\n")
	for chart := 0; w.n < size && w.err == nil; chart++ {
		w.printf("  chart-%04d:\n", chart)
		for version := range 50 {
			w.version(chart, version)
		}
	}
	w.printf("generated: \"2026-01-02T03:04:05.000000006Z\"\n")
	return errors.Join(w.err, w.w.Flush(), f.Close())
}

// version writes what an average chart says of itself.
func (w *counting) version(chart, version int) {
	w.printf(`  - annotations:
      artifacthub.io/changes: |
        - kind: fixed
          description: "Something that was wrong before"
      category: Infrastructure
    apiVersion: v2
    appVersion: "%[2]d.0"
    created: "2026-01-02T03:04:05.%09[2]dZ"
    dependencies:
    - condition: redis.enabled
      name: redis
      repository: https://charts.example.org/redis
      version: %[2]d.x.x
    description: A chart that does a lot of things for its users, so many of them
      that it takes more than one line to say so
    digest: %[3]x
    home: https://example.org/chart-%[1]d
    icon: https://example.org/chart-%[1]d.png
    keywords:
    - database
    - cache
    maintainers:
    - email: someone@example.org
      name: Some One
    name: chart-%04[1]d
    sources:
    - https://github.com/example/chart-%[1]d
    type: application
    urls:
    - https://charts.example.org/files/chart-%04[1]d-1.%[2]d.0.tgz
    version: 1.%[2]d.0
`, chart, version, sha256.Sum256([]byte{byte(chart), byte(chart >> 8), byte(version)}))
}

// counting counts what is written, and keeps the first error.
type counting struct {
	w   *bufio.Writer
	n   int
	err error
}

func (w *counting) printf(format string, args ...any) {
	n, err := fmt.Fprintf(w.w, format, args...)
	w.n += n
	if w.err == nil {
		w.err = err
	}
}
