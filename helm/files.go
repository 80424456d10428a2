package helm

import (
	"encoding/base64"
	"path"
	"strings"

	"github.com/gobwas/glob"
	"helm.sh/helm/v3/pkg/chart"
)

// files is what templates see as .Files: the chart's own files that are neither
// templates nor values. Its methods are those of Helm.
type files map[string][]byte

func newFiles(from []*chart.File) files {
	f := make(files, len(from))
	for _, file := range from {
		f[file.Name] = file.Data
	}
	return f
}

// GetBytes returns a file, empty if there is none.
func (f files) GetBytes(name string) []byte {
	if data, ok := f[name]; ok {
		return data
	}
	return []byte{}
}

// Get returns a file as a text, empty if there is none.
func (f files) Get(name string) string { return string(f[name]) }

// Glob returns the files that match; all of them if the pattern is malformed.
func (f files) Glob(pattern string) files {
	matcher, err := glob.Compile(pattern, '/')
	if err != nil {
		matcher = glob.MustCompile("**")
	}
	matching := files{}
	for name, data := range f {
		if matcher.Match(name) {
			matching[name] = data
		}
	}
	return matching
}

// AsConfig returns the files as the data of a ConfigMap.
func (f files) AsConfig() string {
	return f.asData(func(data []byte) string { return string(data) })
}

// AsSecrets returns the files as the data of a Secret.
func (f files) AsSecrets() string { return f.asData(base64.StdEncoding.EncodeToString) }

func (f files) asData(encode func([]byte) string) string {
	if f == nil {
		return ""
	}
	data := map[string]string{}
	for _, name := range sortedNames(f) { // of two files with one base name, the last wins
		data[path.Base(name)] = encode(f[name])
	}
	return toYAML(data)
}

// Lines returns the lines of a file.
func (f files) Lines(name string) []string {
	if len(f[name]) == 0 {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(string(f[name]), "\n"), "\n")
}
