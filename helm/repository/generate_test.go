package repository_test

import (
	"fmt"
	"strings"
	"unicode"
)

// bigIndex makes an index of at least size bytes, as helm repo index writes it.
func bigIndex(size int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n")
	for chart := 0; b.Len() < size; chart++ {
		fmt.Fprintf(&b, "  chart-%04d:\n", chart)
		for v := 50; v > 0; v-- {
			fmt.Fprintf(&b, `  - annotations:
      artifacthub.io/changes: |
        - "fixed: something"
        - kind: added
    apiVersion: v2
    appVersion: "%[2]d.0"
    created: "2024-01-02T03:04:05.%09[2]dZ"
    dependencies:
    - condition: redis.enabled
      name: redis
      repository: https://charts.example.org/%[2]d
      version: 1.x.x
    description: A chart of number %[1]d that does a lot of things, so many of them
      that they need a second line
    digest: %064[2]x
    home: https://example.org/chart-%[1]d
    keywords:
    - one
    - two
    maintainers:
    - email: someone@example.org
      name: Some One
    name: chart-%04[1]d
    sources:
    - https://github.com/example/chart-%[1]d
    type: application
    urls:
    - https://example.org/charts/chart-%04[1]d-1.%[2]d.0.tgz
    version: 1.%[2]d.0
`, chart, v)
		}
	}
	b.WriteString("generated: \"2024-01-02T03:04:05.000000001Z\"\n")
	return b.String()
}

// visible says that a rune may be in what we return.
func visible(r rune) bool { return unicode.IsPrint(r) }
