package repository

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
)

// Version is one version of a chart, as the index describes it. What cannot be
// printed was taken out of its texts.
type Version struct {
	Name        string
	Version     string // a SemVer
	AppVersion  string
	Description string
	KubeVersion string // a SemVer constraint; may be empty
	Type        string // application or library; application if empty
	Deprecated  bool
	Created     time.Time // zero if the index does not say
	Digest      string    // of the archive: sha256 in hexadecimal; may be empty
	URLs        []string  // of the archive, absolute or relative to the repository

	semver *semver.Version
}

// document is an index as Helm reads it.
type document struct {
	ServerInfo  map[string]any      `json:"serverInfo,omitempty"`
	APIVersion  string              `json:"apiVersion"`
	Generated   time.Time           `json:"generated"`
	Entries     map[string][]*entry `json:"entries"`
	PublicKeys  []string            `json:"publicKeys,omitempty"`
	Annotations map[string]string   `json:"annotations,omitempty"`
}

// entry is a version in an index as Helm reads it; fields that mean nothing any
// longer are there because unknown ones are refused.
type entry struct {
	*chart.Metadata
	URLs          []string  `json:"urls"`
	Created       time.Time `json:"created,omitempty"`
	Removed       bool      `json:"removed,omitempty"`
	Digest        string    `json:"digest,omitempty"`
	Checksum      string    `json:"checksum,omitempty"`
	Engine        string    `json:"engine,omitempty"`
	TillerVersion string    `json:"tillerVersion,omitempty"`
	URL           string    `json:"url,omitempty"`
}

var (
	errTwice        = errors.New("it is there twice")
	errEmpty        = errors.New("it is empty")
	errNoAPIVersion = errors.New("it has no apiVersion")
)

// guard turns a panic of the code below into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it cannot be read")
		}
	}()
	return f()
}

// decode reads into v as strictly as Helm reads the format.
func decode(data []byte, isJSON bool, v any) error {
	return guard(func() error {
		if isJSON {
			return json.Unmarshal(data, v)
		}
		return yaml.UnmarshalStrict(data, v)
	})
}

// decodeWhole reads an index whose format is odd.
func decodeWhole(data []byte) (*document, error) {
	doc := &document{}
	if err := decode(data, json.Valid(data), doc); err != nil {
		return nil, err
	}
	return doc, checkHeader(doc)
}

func checkHeader(doc *document) error {
	if doc.APIVersion == "" {
		return errNoAPIVersion
	}
	return nil
}

// decodeVersion reads one version: in YAML a list of one.
func decodeVersion(data []byte, isJSON bool) (*entry, error) {
	if isJSON {
		var e *entry
		return e, decode(data, true, &e)
	}
	var list []*entry
	if err := decode(data, false, &list); err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d versions where one is", len(list))
	}
	return list[0], nil
}

// version returns what an entry says, and whether it is one that Helm takes. It
// leaves out what is not valid, but for aliases that are not unique, which some
// servers make by forgetting them.
func (e *entry) version() (Version, bool) {
	if e == nil {
		return Version{}, false
	}
	if e.Metadata == nil {
		e.Metadata = &chart.Metadata{}
	}
	if e.APIVersion == "" {
		e.APIVersion = chart.APIVersionV1
	}
	if err := guard(e.Validate); err != nil && !strings.HasPrefix(err.Error(), "validation: more than one dependency with name or alias") {
		return Version{}, false
	}
	parsed, err := semver.NewVersion(e.Metadata.Version)
	if err != nil {
		return Version{}, false
	}
	urls := slices.Clone(e.URLs)
	for i := range urls {
		urls[i] = visible(urls[i])
	}
	return Version{
		Name: e.Name, Version: e.Metadata.Version, AppVersion: e.AppVersion, Description: e.Description, KubeVersion: e.KubeVersion,
		Type: e.Type, Deprecated: e.Deprecated, Created: e.Created, Digest: visible(e.Digest), URLs: urls, semver: parsed,
	}, true
}

// visible takes out what cannot be printed.
func visible(s string) string { return fetch.Visible(s) }

// sorted has the newest version first, always in the same order.
func sorted(versions []Version) []Version {
	slices.SortStableFunc(versions, func(a, b Version) int {
		return cmp.Or(b.semver.Compare(a.semver), b.Created.Compare(a.Created), strings.Compare(b.Version, a.Version))
	})
	return versions
}
