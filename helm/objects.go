package helm

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const notesFile = "NOTES.txt"

// sorter takes rendered documents apart.
type sorter struct {
	chart  string
	max    int
	count  int
	result Rendered
}

// source remembers where an object comes from.
func (s *sorter) source(obj *unstructured.Unstructured, file string) {
	if s.result.sources == nil {
		s.result.sources = map[*unstructured.Unstructured]string{}
	}
	s.result.sources[obj] = file
}

// manifests sorts the output of the templates into objects and hooks.
func (s *sorter) manifests(output map[string]string) error {
	for _, file := range sortedNames(output) {
		if path.Base(file) == notesFile {
			continue
		}
		objects, err := s.documents(file, output[file])
		if err != nil {
			return err
		}
		for _, obj := range objects {
			switch hook, known := hookOf(obj); {
			case !hook:
				s.result.Objects = append(s.result.Objects, obj)
			case known:
				s.result.Hooks = append(s.result.Hooks, obj)
			}
		}
	}
	rank := installRank()
	byKind := func(a, b *unstructured.Unstructured) int { return rank.compare(a.GetKind(), b.GetKind()) }
	slices.SortStableFunc(s.result.Objects, byKind)
	slices.SortStableFunc(s.result.Hooks, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(hookWeight(a), hookWeight(b)), cmp.Compare(a.GetName(), b.GetName()), byKind(a, b))
	})
	return nil
}

// crds reads the crds directories of a chart and its subcharts.
func (s *sorter) crds(c *chart.Chart) error {
	for _, crd := range c.CRDObjects() {
		objects, err := s.documents(crd.Filename, string(crd.File.Data))
		if err != nil {
			return err
		}
		s.result.CRDs = append(s.result.CRDs, objects...)
	}
	return nil
}

// documents reads the objects of a file; those of a List one by one.
func (s *sorter) documents(file, text string) ([]*unstructured.Unstructured, error) {
	split := releaseutil.SplitManifests(text)
	names := slices.Collect(maps.Keys(split))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	var objects []*unstructured.Unstructured
	for i, name := range names {
		fault := func(err error) error {
			return &ChartError{Chart: s.chart, File: file, Err: fmt.Errorf("document %d: %w", i+1, err)}
		}
		var found []*unstructured.Unstructured
		if err := guard(func() (err error) {
			found, err = decode(split[name])
			return err
		}); err != nil {
			return nil, fault(err)
		}
		if s.count += len(found); s.count > s.max {
			return nil, &LimitError{Chart: s.chart, File: file, Limit: "Objects", Max: s.max}
		}
		for _, obj := range found {
			s.source(obj, file)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// decode reads one YAML document.
func decode(text string) ([]*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("it is not YAML: %w; look at the template's indentation and quotes", err)
	}
	if string(data) == "null" { // nothing but comments
		return nil, nil
	}
	if !strings.HasPrefix(string(data), "{") {
		return nil, errors.New("it is not an object; a document holds one Kubernetes object")
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(data); err != nil {
		return nil, errors.New("it has no kind; give it an apiVersion and a kind")
	}
	if obj.GetAPIVersion() == "" {
		return nil, fmt.Errorf("the %s has no apiVersion; give it one", obj.GetKind())
	}
	if !obj.IsList() || !strings.HasSuffix(obj.GetKind(), "List") {
		return []*unstructured.Unstructured{obj}, nil
	}
	var items []*unstructured.Unstructured
	err = obj.EachListItem(func(item runtime.Object) error {
		if u, ok := item.(*unstructured.Unstructured); ok && u.GetKind() != "" && u.GetAPIVersion() != "" {
			items = append(items, u)
			return nil
		}
		return fmt.Errorf("item %d of the %s has no apiVersion or no kind; give it both", len(items)+1, obj.GetKind())
	})
	return items, err
}

// hookOf reports whether an object is a hook, and one of a kind that Helm runs.
func hookOf(obj *unstructured.Unstructured) (hook, known bool) {
	value, hook := obj.GetAnnotations()[release.HookAnnotation]
	if !hook {
		return false, false
	}
	for event := range strings.SplitSeq(value, ",") {
		switch strings.ToLower(strings.TrimSpace(event)) {
		case "pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade",
			"pre-rollback", "post-rollback", "test", "test-success":
		default:
			return true, false
		}
	}
	return true, true
}

func hookWeight(obj *unstructured.Unstructured) int {
	weight, err := strconv.Atoi(obj.GetAnnotations()[release.HookWeightAnnotation])
	if err != nil {
		return 0
	}
	return weight
}

// rank is the place of a kind in Helm's install order.
type rank map[string]int

func installRank() rank {
	r := rank{}
	for i, kind := range releaseutil.InstallOrder {
		r[kind] = i
	}
	return r
}

// compare puts unknown kinds last, by name.
func (r rank) compare(a, b string) int {
	i, known := r[a]
	j, knownToo := r[b]
	switch {
	case known && knownToo:
		return cmp.Compare(i, j)
	case known:
		return -1
	case knownToo:
		return 1
	default:
		return cmp.Compare(a, b)
	}
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
