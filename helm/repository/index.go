package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
)

// Index is the index of a repository as it was at one time. It does not change,
// and may be used from any number of goroutines at once. It keeps the text of the
// index compressed, and reads of it what is asked for.
type Index struct {
	text     *text
	outline  *outline
	whole    map[string][]Version // of an odd index, instead of the two
	revision string
}

// ReadIndex reads an index that is not fetched from a repository, for example
// from a file.
//
// An error is an [IndexError], a [LimitError], the context's, or what in returns.
// What is wrong with one chart only is an error where that chart is looked up.
func ReadIndex(ctx context.Context, in io.Reader, limits Limits) (*Index, error) {
	limits = limits.withDefaults()
	text, out, err := scan(ctx, in, limits)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return readOdd(text, limits)
	}
	index := &Index{text: text, outline: out}
	sum := out.digest()
	index.revision = "sha256:" + hex.EncodeToString(sum[:])
	return index, index.checkHeader()
}

// checkHeader reads all that is not charts.
func (x *Index) checkHeader() error {
	const most = 1 << 20
	var header []byte
	for i, at := range x.outline.header {
		if at[1]-at[0] > most {
			return &IndexError{Err: errors.New("what is not charts is larger than 1 MiB")}
		}
		part, err := x.text.part(at[0], at[1])
		if err != nil {
			return &IndexError{Err: err}
		}
		if header = append(header, part...); x.outline.json && i == 0 && len(x.outline.header) > 1 {
			header = append(header, "{}"...)
		}
	}
	doc := &document{}
	if err := decode(header, x.outline.json, doc); err != nil {
		return &IndexError{Err: err}
	}
	if err := checkHeader(doc); err != nil {
		return &IndexError{Err: err}
	}
	return nil
}

// readOdd reads an index as a whole.
func readOdd(text *text, limits Limits) (*Index, error) {
	data, err := text.part(0, text.size)
	if err != nil {
		return nil, &IndexError{Err: err}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &IndexError{Err: errEmpty}
	}
	doc, err := decodeWhole(data)
	if err != nil {
		return nil, &IndexError{Err: err}
	}
	if len(doc.Entries) > limits.Charts {
		return nil, &LimitError{Limit: "Charts", Max: int64(limits.Charts)}
	}
	x := &Index{whole: make(map[string][]Version, len(doc.Entries))}
	out := &outline{charts: map[string]*span{}}
	for name, entries := range doc.Entries {
		if len(entries) > limits.Versions {
			return nil, &LimitError{Chart: name, Limit: "Versions", Max: int64(limits.Versions)}
		}
		x.whole[name] = readable(entries)
		chart := &span{}
		for _, e := range entries {
			canonical, err := json.Marshal(e)
			if err != nil {
				return nil, &IndexError{Chart: name, Err: err}
			}
			chart.digests = append(chart.digests, sha256.Sum256(canonical))
		}
		chart.digest = digestOf(chart.digests)
		out.charts[name] = chart
	}
	sum := out.digest()
	x.revision = "sha256:" + hex.EncodeToString(sum[:])
	return x, nil
}

func readable(entries []*entry) []Version {
	var versions []Version
	for _, e := range entries {
		if v, ok := e.version(); ok {
			versions = append(versions, v)
		}
	}
	return sorted(versions)
}

// Revision is a digest, sha256:<hex>, of all that the index says about charts.
// The order in it and the time at which it was generated do not matter.
func (x *Index) Revision() string { return x.revision }

// Charts are the names of all charts, in order.
func (x *Index) Charts() []string {
	if x.whole != nil {
		return slices.Sorted(maps.Keys(x.whole))
	}
	return slices.Sorted(maps.Keys(x.outline.charts))
}

// Versions of a chart, the newest first. Those that Helm leaves out because they
// are not valid are left out.
//
// An error is [ErrNoChart] or an [IndexError].
func (x *Index) Versions(name string) ([]Version, error) {
	if x.whole != nil {
		versions, ok := x.whole[name]
		if !ok {
			return nil, noChart(name)
		}
		return slices.Clone(versions), nil
	}
	chart := x.outline.charts[name]
	if chart == nil {
		return nil, noChart(name)
	}
	if len(chart.versions) == 0 {
		return nil, nil
	}
	first, last := chart.versions[0][0], chart.versions[len(chart.versions)-1][1]
	data, err := x.text.part(first, last)
	if err != nil {
		return nil, &IndexError{Chart: name, Err: err}
	}
	var versions []Version
	for _, at := range chart.versions {
		e, err := decodeVersion(data[at[0]-first:at[1]-first], x.outline.json)
		if err != nil {
			return nil, &IndexError{Chart: name, Err: err}
		}
		if v, ok := e.version(); ok {
			versions = append(versions, v)
		}
	}
	return sorted(versions), nil
}

func noChart(name string) error {
	return fmt.Errorf("%w: %q; check the name", ErrNoChart, fetch.Clip(name))
}

// Find returns the version of a chart that a SemVer range wants, as Helm does: the
// version that is written like that, if there is one, or else the newest in the
// range. An empty range is "*". Pre-releases are in a range only if it names one,
// as ">=1.0.0-0" does. Deprecated versions count.
//
// An error is [ErrNoChart], [ErrNoVersion] or an [IndexError].
func (x *Index) Find(name, version string) (Version, error) {
	versions, err := x.Versions(name)
	if err != nil {
		return Version{}, err
	}
	want := version
	if want == "" {
		want = "*"
	}
	wanted, err := semver.NewConstraint(want)
	if err != nil {
		return Version{}, fmt.Errorf("%w: %q is not a SemVer range; write it as 1.2.x or >=1.2.0 <2.0.0", ErrNoVersion, fetch.Clip(version))
	}
	for _, v := range versions {
		if v.Version == version {
			return v, nil
		}
	}
	for _, v := range versions {
		if wanted.Check(v.semver) {
			return v, nil
		}
	}
	return Version{}, fmt.Errorf("%w: %s of %s is not among %s", ErrNoVersion, fetch.Clip(want), fetch.Clip(name), some(versions))
}

// some names a few of the versions that there are.
func some(versions []Version) string {
	const few = 5
	var names []string
	for _, v := range versions[:min(few, len(versions))] {
		names = append(names, fetch.Clip(v.Version))
	}
	if more := len(versions) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d older ones", more))
	}
	if len(names) == 0 {
		return "the valid versions, which are none"
	}
	return strings.Join(names, ", ")
}
