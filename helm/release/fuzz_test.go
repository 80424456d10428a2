package release_test

import (
	"testing"

	"github.com/gitopskit/gitopskit/helm/release"
)

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add("eyJuYW1lIjoieCIsInZlcnNpb24iOjF9")
	f.Add("H4sIAAAAAAAA/6pWykvMTVWyUqpQ0lEqSy0qzszPU7IyrAUAAAD//w==")
	f.Fuzz(func(_ *testing.T, data string) { _ = release.Decode(data) })
}

func FuzzManifest(f *testing.F) {
	f.Add("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
	f.Add("apiVersion: v1\nkind: List\nitems: [{kind: A}, 1, null]\n")
	f.Add("---\n---\n# nothing\n---\n[]\n")
	f.Fuzz(func(_ *testing.T, text string) { _ = release.ParseManifest(text) })
}
